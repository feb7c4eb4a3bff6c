"""Time and memory of a correction by a bank of queries, beside the formula written plainly.

    python benchmarks/correction.py [--gallery 20000] [--bank 4000] [--dim 384] [--out FILE]

One thread. The bound is the time of the matrix product alone at the best speed the machine showed
in the same run; memory is the peak of what was allocated beyond gallery and bank.
"""

import argparse
import json
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from conjoin.retrieval.hubness.csls import CSLS
from conjoin.retrieval.hubness.query_bank import InvertedSoftmax
from conjoin.spaces import unit


def best_of(call: Callable[[], object], times: int = 3) -> tuple[float, float]:
    """Least CPU seconds of some runs, and the peak of memory in MB of one more."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(seconds), peak / 1e6


def naive(gallery: np.ndarray, bank: np.ndarray, beta: float) -> np.ndarray:
    """All similarities at once, as published code has it."""
    return np.log(np.exp(gallery @ bank.T * beta).mean(axis=1)) / beta


def peak_speed(dim: int) -> float:
    """The best FLOP a second of a product of this width."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2048, dim)).astype(np.float32)
    b = rng.normal(size=(dim, 2048)).astype(np.float32)
    out = np.empty((2048, 2048), dtype=np.float32)
    seconds, _ = best_of(lambda: np.matmul(a, b, out=out), 7)
    return 2 * 2048 * 2048 * dim / seconds


def main() -> None:
    """Print one line a method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gallery", type=int, default=20_000)
    parser.add_argument("--bank", type=int, default=4_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rng = np.random.default_rng(1)
    gallery, bank = (
        unit(rng.normal(size=(n, given.dim)).astype(np.float32))
        for n in (given.gallery, given.bank)
    )
    bound = 2 * given.gallery * given.bank * given.dim / peak_speed(given.dim)
    print(f"{given.gallery} x {given.bank}, {given.dim} wide: bound {bound:.2f} s")
    runs = {
        "naive": lambda: naive(gallery, bank, 20.0),
        "inverted-softmax": lambda: InvertedSoftmax(20.0).fit(gallery, bank),
        "inverted-softmax, sharp": lambda: InvertedSoftmax(80.0).fit(gallery, bank),
        "qb-norm": lambda: InvertedSoftmax(20.0, True).fit(gallery, bank),
        "csls": lambda: CSLS().fit(gallery, bank),
    }
    found = {}
    for name, call in runs.items():
        seconds, peak = best_of(call)
        found[name] = {"seconds": seconds, "over bound": seconds / bound, "peak MB": peak}
        print(f"{name:24} {seconds:6.2f} s  {seconds / bound:5.2f}x  {peak:7.1f} MB")
    gap = np.abs(InvertedSoftmax(20.0).fit(gallery, bank).offset[:, 0] - naive(gallery, bank, 20.0))
    print(f"largest difference from naive {gap.max():.1e}")
    if given.out:
        sizes = {"gallery": given.gallery, "bank": given.bank, "dim": given.dim}
        given.out.write_text(json.dumps({**sizes, "bound": bound, "runs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
