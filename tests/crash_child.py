"""A writer to be killed: changes a store until it is; run by test_index_crash.

Usage: ``python crash_child.py``. For every line ``job folder seed`` on stdin it forks a child that
says ``go`` and then runs the job over and over; the child's process id is printed first.
"""

import os
import sys
from pathlib import Path

# What takes long to import and starts no thread is there before the fork.
import lance_namespace  # noqa: F401
import numpy as np
import pandas  # noqa: F401
import pyarrow.compute
import pyarrow.dataset  # noqa: F401

from conjoin.search.correction import CSLS
from conjoin.search.index import Index
from conjoin.search.store import IndexStore
from conjoin.spaces import Frame, Space, unit

FRAME = Frame.mint("given", "crash", 16, {"name": "crash"})


def rows(tag: str, n: int, seed: int) -> Space:
    """Rows that say in their ids which change brought them."""
    rng = np.random.default_rng([seed, n])
    ids = np.array([f"{tag}-{row}" for row in range(n)])
    return Space(ids, unit(rng.standard_normal((n, 16)).astype(np.float32)), FRAME)


def whole(tag: str, n: int, seed: int) -> Index:
    """An index of two modalities with a correction."""
    spaces = {"text": rows(tag, n, seed), "image": rows(tag, n, seed + 1)}
    fix = CSLS(3).fit(spaces["image"].vectors, spaces["text"].vectors[:50])
    return Index.build(spaces, {("text", "image"): fix})


def work(job: str, folder: Path, seed: int) -> None:
    """One change after the other, for ever."""
    store = IndexStore(folder)
    step = 0
    while True:
        step += 1
        tag = f"{job}{seed}.{step}"
        if job == "add":
            store.add({"text": rows(tag, 300, step), "image": rows(tag, 300, -step % 97)}, why=tag)
        elif job == "compact":
            store.compact()
            store.add({"text": rows(tag, 20, step), "image": rows(tag, 20, step)}, why=tag)
        else:
            store.build(whole(tag, 1500, step))


def main() -> None:
    """Fork a child a line."""
    for line in sys.stdin:
        job, folder, seed = line.split()
        child = os.fork()
        if child == 0:
            import lancedb  # noqa: F401

            sys.stdout.write("go\n")
            sys.stdout.flush()
            work(job, Path(folder), int(seed))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
