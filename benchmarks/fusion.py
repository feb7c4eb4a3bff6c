"""Fusions against scikit-learn's logistic regression on the views side by side, and on many items.

Times are CPU-seconds of one thread.

``python benchmarks/fusion.py`` prints time to train and to decide, accuracy, and the peak of
resident memory above the interpreter's, each method in a process of its own, with 40 % of the rows
missing at random. ``python benchmarks/fusion.py many`` runs ``fuse`` on memory-mapped views of
25,000 and 100,000 items: what is held should not grow with them.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

VIEWS, WIDTH, CLASSES, ITEMS, TEST = 3, 128, 10, 20_000, 5_000
METHODS = ("sklearn", "late", "concat", "side", "attention", "multimodn", "mbt", "poe")


def planted(folder: Path, items: int) -> None:
    """Views as ``.npy`` files: a class and its neighbours told by each in part."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, CLASSES, items)
    for view in range(VIEWS):
        centres = np.random.default_rng(view).normal(size=(CLASSES, WIDTH)) * 0.28
        shape = (items, WIDTH)
        made = np.lib.format.open_memmap(folder / f"{view}.npy", "w+", np.float32, shape)
        for start in range(0, items, 5000):
            some = label[start : start + 5000]
            made[start : start + 5000] = centres[some] + rng.normal(size=(len(some), WIDTH))
        made.flush()
    here = rng.random((items, VIEWS)) > 0.4
    here[~here.any(axis=1), 0] = True
    np.save(folder / "label.npy", label)
    np.save(folder / "here.npy", here)


def opened(folder: Path):
    views = {str(v): np.load(folder / f"{v}.npy", mmap_mode="r") for v in range(VIEWS)}
    return views, np.load(folder / "here.npy"), np.load(folder / "label.npy")


def peak() -> float:
    """Megabytes resident at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def by_sklearn(views, here, label):
    from sklearn.linear_model import LogisticRegression

    before = peak()

    def side(lines):
        parts = [np.where(here[lines, k, None], v[lines], 0) for k, v in enumerate(views.values())]
        return np.concatenate(parts, axis=1)

    learn, test = np.arange(TEST, len(label)), np.arange(TEST)
    clock = time.process_time()
    fitted = LogisticRegression(C=1 / (0.01 * len(learn)), max_iter=200).fit(
        side(learn), label[learn]
    )
    trained = time.process_time() - clock
    clock = time.process_time()
    right = (fitted.predict(side(test)) == label[test]).mean()
    return trained, time.process_time() - clock, right, peak() - before


def by_fusion(name, views, here, label):
    from conjoin.catalogue import find
    from conjoin.fusion.inputs import Inputs

    if find("fusion", name).cost == "trained":
        import torch  # noqa: F401 - its own size is not the method's

    inputs = Inputs(views, here)
    learn, test = inputs.take(np.arange(TEST, len(label))), inputs.take(np.arange(TEST))
    before = peak()
    clock = time.process_time()
    present = {n: learn.here[:, k] for k, n in enumerate(learn.names)}
    fitted = find("fusion", name).make().fit(learn.views, present, labels=label[TEST:])
    trained = time.process_time() - clock
    clock = time.process_time()
    said = fitted.target.decode(fitted.scores_of(test))
    right = (said == label[:TEST].astype(str)).mean()
    return trained, time.process_time() - clock, right, peak() - before


def by_many(folder):
    from conjoin.claims.deciding import Fusing
    from conjoin.fusion.inputs import Inputs

    views, here, label = opened(folder)
    inputs = Inputs(views, here)
    import torch  # noqa: F401

    before, clock = peak(), time.process_time()
    found = Fusing(inputs, label, None, None, 0).run("side", 10)
    value = next(arm.value for arm in found.arms if arm.method == "side")
    return time.process_time() - clock, 0.0, value, peak() - before


def run(kind: str, folder: Path) -> dict:
    """One method in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "one", kind, str(folder)], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        kind, folder = sys.argv[2], Path(sys.argv[3])
        if kind == "many":
            found = by_many(folder)
        elif kind == "sklearn":
            found = by_sklearn(*opened(folder))
        else:
            found = by_fusion(kind, *opened(folder))
        names = ("train", "decide", "accuracy", "megabytes")
        print(json.dumps(dict(zip(names, map(float, found), strict=True))))
        return
    many = sys.argv[1:2] == ["many"]
    for items in (25_000, 100_000) if many else (ITEMS + TEST,):
        with tempfile.TemporaryDirectory() as place:
            planted(Path(place), items)
            for kind in ("many",) if many else METHODS:
                found = run(kind, Path(place))
                label = f"fuse, {items} items" if many else kind
                print(
                    f"{label:22s} train {found['train']:7.1f} s   decide {TEST} items "
                    f"{found['decide']:6.2f} s   accuracy {found['accuracy']:.3f}   "
                    f"{found['megabytes']:6.0f} MB", flush=True,
                )  # fmt: skip


if __name__ == "__main__":
    main()
