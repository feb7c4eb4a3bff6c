"""A writer that is killed: changes a store until it is; run by test_index_crash.

Usage: ``python crash_child.py``. For every line ``job folder seed moment`` on stdin it forks a
child that runs the job over and over until it kills itself, at the ``moment``-th file that Python
opens for writing, renames or locks. Once the child is gone ``over`` is said. No clock is asked: a
busy machine kills at the same places.
"""

import os
import signal
import sys
from pathlib import Path

# What takes long to import and starts no thread is there before the fork.
import lance_namespace  # noqa: F401
import numpy as np
import pandas  # noqa: F401
import pyarrow.compute
import pyarrow.dataset  # noqa: F401

from conjoin.retrieval.hubness.csls import CSLS
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.index.store import IndexStore
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


def killed_at(moment: int, folder: str) -> None:
    """Let this process die at so many steps on files of a folder."""
    left = [moment]

    def heed(event: str, given: tuple) -> None:
        if event not in ("os.rename", "os.remove", "open") or folder not in str(given[0]):
            return
        if event == "open" and not (given[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(heed)


def main() -> None:
    """Fork a child a line, and wait for its end."""
    for line in sys.stdin:
        job, folder, seed, moment = line.split()
        child = os.fork()
        if child == 0:
            import lancedb  # noqa: F401

            killed_at(int(moment), folder)
            work(job, Path(folder), int(seed))
        os.waitpid(child, 0)
        sys.stdout.write("over\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
