"""Heads on 100k vectors against scikit-learn's logistic regression and the bound of its products.

Run: ``python benchmarks/heads.py [--n 100000] [--dim 384] [--classes 10 100] [--json]``.
CPU-seconds of one thread. Vectors have a spectrum that falls as an encoder's does. Both minimise
the same loss, whose value at the end is shown: less is better. The bound of one pass is the work of
its two products, ``4 n d c``, at the GEMM rate measured in the same process; a head's cost is shown
over one pass, so it counts the passes it needs and what they cost beside the products.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402


def cpu(work: Callable[[], object]) -> tuple[float, object]:
    """CPU-seconds of a call, and what it returned."""
    start = time.process_time()
    out = work()
    return time.process_time() - start, out


def peak() -> float:
    """Highest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def data(n: int, d: int, c: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    spectrum = (np.arange(1, d + 1) ** -0.7).astype(np.float32)
    centres = (0.5 * rng.standard_normal((c, d)) * spectrum).astype(np.float32)
    y = rng.integers(0, c, n)
    x = rng.standard_normal((n, d), dtype=np.float32)
    x *= spectrum
    x += centres[y]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, y


def gemm() -> float:
    """GFLOP/s of a large product in float32."""
    a = np.random.default_rng(0).standard_normal((2048, 2048), dtype=np.float32)
    return 2 * 2048**3 / float(np.median([cpu(lambda: a @ a)[0] for _ in range(3)])) / 1e9


def loss(x: np.ndarray, y: np.ndarray, w: np.ndarray, b: np.ndarray, pull: float) -> float:
    total = 0.0
    for start in range(0, len(x), 8192):
        z = x[start : start + 8192] @ w.astype(np.float32) + b.astype(np.float32)
        top = z.max(axis=1)
        own = z[np.arange(len(z)), y[start : start + 8192]]
        total += float((np.log(np.exp(z - top[:, None]).sum(axis=1)) + top - own).sum())
    return total / len(x) + pull / 2 * float((w**2).sum())


def measure(n: int, d: int, c: int) -> dict[str, object]:
    from sklearn.linear_model import LogisticRegression

    from conjoin.transfer.linear_heads import NearestMean, RidgeClassifier
    from conjoin.transfer.logistic import Logistic

    x, y = data(n, d, c)
    Logistic().fit(x[:500], y[:500])
    pull = 0.03 * float(np.var(x, axis=0, dtype=np.float64).sum()) / d
    rate, before = gemm(), peak()
    out: dict[str, object] = {"n": n, "dim": d, "classes": c}
    found = {}
    for name, head in (
        ("nearest-mean", NearestMean()), ("ridge-classifier", RidgeClassifier()),
        ("logistic", Logistic(lam=0.03)),
    ):  # fmt: skip
        took, made = cpu(lambda h=head: h.fit(x, y))
        found[name] = {"seconds": took, "memory": peak() - before}
        if name == "logistic":
            found[name]["loss"] = loss(x, y, made.weight, made.bias, pull)
    peer = LogisticRegression(C=1 / (pull * n), max_iter=1000)
    took, made = cpu(lambda: peer.fit(x, y))
    found["scikit-learn"] = {
        "seconds": took, "memory": peak() - before,
        "loss": loss(x, y, made.coef_.T, made.intercept_, pull),
    }  # fmt: skip
    rate = (rate + gemm()) / 2
    bound = 4 * n * d * c / rate / 1e9
    for each in found.values():
        each["over_pass"] = each["seconds"] / bound
    ratio = found["logistic"]["seconds"] / found["scikit-learn"]["seconds"]
    return {**out, "gemm_gflops": rate, "pass_seconds": bound, "heads": found, "ratio": ratio}


def show(result: dict) -> None:
    shape = f"n={result['n']} d={result['dim']} classes={result['classes']}"
    rate, bound = result["gemm_gflops"], result["pass_seconds"]
    print(f"{shape}: GEMM {rate:.0f} GFLOP/s, one pass {bound:.2f} CPU-s")
    for name, one in result["heads"].items():
        last = f"  loss {one['loss']:.5f}" if "loss" in one else ""
        print(f"  {name:17}{one['seconds']:7.2f} CPU-s  {one['over_pass']:6.1f} passes  "
              f"{one['memory']:5.0f} MB above the data{last}")  # fmt: skip
    print(f"  logistic over scikit-learn: {result['ratio']:.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    found = []
    for count in arguments.classes:
        found.append(measure(arguments.n, arguments.dim, count))
        if not arguments.json:
            show(found[-1])
    if arguments.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
