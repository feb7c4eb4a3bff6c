"""A workspace whose text encoder can be upgraded, for tests."""

import json
import sys
from contextlib import contextmanager

import numpy as np

from conjoin.project.fit import pipeline
from conjoin.project.workspace import Workspace
from shelf import config, write_table

#: The old encoder reads a blurred column, the new one a sharp one of another width: whatever is
#: embedded anew is found better.
N = 240


def table(seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(N, 10))
    near = z[: N // 2] + 0.05 * rng.normal(size=(N // 2, 10))
    z[N // 2 :] = near
    mix = np.random.default_rng(5)
    blurred = z @ mix.normal(size=(10, 12)) + 2.2 * rng.normal(size=(N, 12))
    sharp = z @ mix.normal(size=(10, 16)) + 0.1 * rng.normal(size=(N, 16))
    image = z @ mix.normal(size=(10, 14)) + 0.1 * rng.normal(size=(N, 14))
    return {
        "id": [f"i{k}" for k in range(N)],
        "name": [f"thing {k}" for k in range(N)],
        "kind": ["one" if a < -0.5 else "two" if a < 0.5 else "three" for a in z[:, 0]],
        "text": [json.dumps({"b": b.round(5).tolist(), "s": s.round(5).tolist()})
                 for b, s in zip(blurred, sharp, strict=True)],
        "a": image.astype(np.float32).tolist(),
    }  # fmt: skip


ENCODERS = """
import json
import numpy as np
SHIFT, SHUFFLED = 0.0, False
def _of(cells, key):
    rows = []
    for cell in cells:
        try:
            rows.append(json.loads(cell)[key])
        except ValueError:
            width = 12 if key == "b" else 16
            rows.append([(hash_of(cell) % (7 + k)) + 1.0 for k in range(width)])
    return np.asarray(rows, np.float32)
def hash_of(cell):
    return sum(ord(c) * (i + 1) for i, c in enumerate(cell))
def old(cells):
    return _of(cells, "b")
def new(cells):
    rows = _of(cells, "s") + SHIFT
    return rows[np.random.default_rng(0).permutation(len(rows))] if SHUFFLED else rows
def third(cells):
    s = _of(cells, "s")
    mix = np.random.default_rng(8).normal(size=(16, 40))
    return np.tanh(0.3 * s @ mix).astype(np.float32)
"""
THIRD = "python:upgrade_encoders:third?kind=text"
OLD, NEW = "python:upgrade_encoders:old?kind=text", "python:upgrade_encoders:new?kind=text"


@contextmanager
def encoders(folder):
    """The three encoders can be imported, from a folder."""
    folder.mkdir()
    (folder / "upgrade_encoders.py").write_text(ENCODERS)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


def fitted(folder, uri=OLD, more=None):
    """A workspace of texts, read by one of the encoders, and of vectors, fitted by ridge."""
    columns = {**table(), **(more or {})}
    write_table(folder, columns)
    names = ("a", *(more or {}))
    config(folder, (("text", "text", uri), *names), '[fit]\nmethod = "ridge"')
    space = Workspace(folder)
    for name in ("text", *names):
        space.embed(name)
    pipeline.fit(space, method="ridge", **({"hub": "text"} if more else {}))
    return folder
