"""Neighbour measures and linear CKA against their naive forms and the bound.

Run: ``python benchmarks/geometry.py [--n 20000] [--dim 384] [--repeats 3] [--json]``.
CPU-seconds of one thread; each figure in a process of its own, so that peak memory is that
method's above the data, and all by turns, so that a busy machine slows all alike. The bound of
neighbours is the floating-point work of all n² products at the GEMM rate of the same run;
symmetric tiles need half of them, so a ratio below 1 is possible. The bound of CKA is that of its
three products, xᵀx, xᵀy and yᵀy; two are symmetric, so a third of it can be saved. The naive
neighbours hold n × n scores and sort them, at ``--small`` rows; their cost is compared with ours
at that size. So is the kernel form of CKA.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

K = 10
TASKS = ("knn", "knn small", "naive knn small", "cka", "cka small", "kernel cka small", "gemm")


def cpu(work: Callable[[], object]) -> tuple[float, object]:
    """CPU-seconds of a call, and what it returned."""
    start = time.process_time()
    out = work()
    return time.process_time() - start, out


def peak() -> float:
    """Highest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def data(n: int, dim: int, seed: int) -> np.ndarray:
    """Clustered rows of length 1, made in pieces so that making them sets no peak."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((64, dim), dtype=np.float32)
    x = np.empty((n, dim), dtype=np.float32)
    for start in range(0, n, 1024):
        part = x[start : start + 1024]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
        part += centres[rng.integers(0, 64, len(part))]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return x


def naive_knn(x: np.ndarray) -> np.ndarray:
    scores = x @ x.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1)[:, :K]


def kernel_cka(x: np.ndarray, y: np.ndarray) -> float:
    kernels = []
    for v in (x, y):
        kernel = v @ v.T
        kernel -= kernel.mean(axis=0)
        kernel -= kernel.mean(axis=1, keepdims=True)
        kernels.append(kernel)
    own = np.linalg.norm(kernels[0]) * np.linalg.norm(kernels[1])
    return float((kernels[0] * kernels[1]).sum() / own)


def task(name: str, n: int, dim: int) -> dict[str, float]:
    from conjoin.metrics.similarity.cka import CKA
    from conjoin.metrics.similarity.mutual_knn import knn

    if name == "gemm":
        a = np.random.default_rng(0).standard_normal((2048, 2048), dtype=np.float32)
        return {"gflops": 2 * 2048**3 / min(cpu(lambda: a @ a)[0] for _ in range(6)) / 1e9}
    x = data(n, dim, 0)
    warm = data(2048, dim, 2)
    if "knn" in name:
        work = naive_knn if name.startswith("naive") else (lambda v: knn(v, K))
        work(warm[:64])
        before = peak()
        took, found = cpu(lambda: work(x))
        check = float(np.sort(np.asarray(found), axis=1)[:: max(1, n // 100)].sum())
        return {"seconds": took, "memory": peak() - before, "check": check}
    y = data(n, dim, 1)
    measure = kernel_cka if name.startswith("kernel") else CKA().compare
    measure(warm[:1024], warm[1024:])
    before = peak()
    took, value = cpu(lambda: measure(x, y))
    return {"seconds": took, "memory": peak() - before, "check": float(value)}


def child(name: str, n: int, dim: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--task", name, "--n", str(n), "--dim", str(dim)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measure(n: int, small: int, dim: int, repeats: int) -> dict[str, object]:
    turns = [
        {name: child(name, small if name.endswith("small") else n, dim) for name in TASKS}
        for _ in range(repeats)
    ]
    found = {
        name: {key: float(np.median([turn[name][key] for turn in turns])) for key in turns[0][name]}
        for name in TASKS
    }
    rate = max(turn["gemm"]["gflops"] for turn in turns)
    bounds = {"knn": 2 * n * n * dim / rate / 1e9, "cka": 6 * n * dim**2 / rate / 1e9}
    seconds = {name: found[name]["seconds"] for name in TASKS if name != "gemm"}
    return {
        "n": n, "small": small, "dim": dim, "gemm_gflops": rate, "bounds": bounds,
        "found": {name: found[name] for name in seconds},
        "knn_over_bound": seconds["knn"] / bounds["knn"],
        "naive_knn_over_ours": seconds["naive knn small"] / seconds["knn small"],
        "knn_same_rows": found["naive knn small"]["check"] == found["knn small"]["check"],
        "cka_over_bound": seconds["cka"] / bounds["cka"],
        "kernel_cka_over_ours": seconds["kernel cka small"] / seconds["cka small"],
        "cka_apart": abs(found["kernel cka small"]["check"] - found["cka small"]["check"]),
    }  # fmt: skip


def show(result: dict) -> None:
    print(f"n={result['n']} (small {result['small']}), d={result['dim']}, "
          f"GEMM {result['gemm_gflops']:.0f} GFLOP/s")  # fmt: skip
    for name, entry in result["found"].items():
        print(f"{name:18} {entry['seconds']:7.3f} CPU-s {entry['memory']:7.0f} MB")
    print(f"neighbours: {result['knn_over_bound']:.2f}x the bound (goal 1.5, 100 MB); naive is "
          f"{result['naive_knn_over_ours']:.1f}x ours at {result['small']}, same rows: "
          f"{result['knn_same_rows']}")  # fmt: skip
    print(f"linear CKA: {result['cka_over_bound']:.2f}x the bound (goal 1.7); kernel form is "
          f"{result['kernel_cka_over_ours']:.1f}x ours at {result['small']}, apart "
          f"{result['cka_apart']:.1e}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--small", type=int, default=5_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        print(json.dumps(task(given.task, given.n, given.dim)))
        return
    result = measure(given.n, given.small, given.dim, given.repeats)
    print(json.dumps(result)) if given.json else show(result)


if __name__ == "__main__":
    main()
