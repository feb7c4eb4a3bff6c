"""Closed-form maps against scikit-learn's Ridge and the bound of the covariance product.

Run: ``python benchmarks/closed_forms.py [--n 100000] [--dims 1280 384] [--repeats 3] [--json]``.
CPU-seconds are of one thread; each figure is measured in a process of its own, so that peak
memory is that method's above the data. The bound is the floating-point work of the symmetric
product of ``[x y]`` at the GEMM rate measured in the same process right before and after the
pass: on a busy machine a rate from another moment would say little.
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

TASKS = ("ours", "sklearn")


def cpu(work: Callable[[], object]) -> tuple[float, object]:
    """CPU-seconds of a call, and what it returned."""
    start = time.process_time()
    out = work()
    return time.process_time() - start, out


def peak() -> float:
    """Highest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def data(n: int, dx: int, dy: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, dx), dtype=np.float32)
    y = rng.standard_normal((n, dy), dtype=np.float32)
    y += x[:, :dy]  # in place: a temporary would hide later peaks
    return x, y


def ours(n: int, dx: int, dy: int) -> dict[str, float]:
    from conjoin.alignment.closed_form.covariance import Joint
    from conjoin.alignment.closed_form.linear import CCA, Procrustes, Ridge
    from conjoin.spaces import Pairs

    x, y = data(n, dx, dy)
    views, pairs = {"y": y, "x": x}, Pairs.of(y=np.arange(n), x=np.arange(n))
    warm = np.arange(64)
    Ridge().fit({"y": y[:64, :8], "x": x[:64, :8]}, Pairs.of(y=warm, x=warm))
    before = peak()
    rate = gemm()
    took, joint = cpu(lambda: Joint.of(views, pairs))
    out = {"pass": took, "memory": peak() - before, "gflops": (rate + gemm()) / 2}
    for name, method in (
        ("ridge", Ridge(0.3)), ("ridge again", Ridge(3.0)), ("procrustes", Procrustes()),
        ("cca", CCA(1.0)), ("cca again", CCA(0.1)), ("cca 128", CCA(1.0, 128)),
    ):  # fmt: skip
        out[name], _ = cpu(lambda m=method: m.solve(joint))
    out["over_bound"] = (took + out["ridge"]) / bound(n, dx + dy, out["gflops"])
    return {**out, "memory with solves": peak() - before}


def sklearn(n: int, dx: int, dy: int) -> dict[str, float]:
    from sklearn.linear_model import Ridge

    x, y = data(n, dx, dy)
    Ridge().fit(x[:64, :8], y[:64, :8])
    before = peak()
    rate = gemm()
    took, _ = cpu(lambda: Ridge(alpha=0.3 * n).fit(x, y))
    memory, rate = peak() - before, (rate + gemm()) / 2
    over = took / bound(n, dx + dy, rate)
    return {"ridge": took, "memory": memory, "gflops": rate, "over_bound": over}


def gemm() -> float:
    """GFLOP/s of a large product in float32."""
    a = np.random.default_rng(0).standard_normal((2048, 2048), dtype=np.float32)
    return 2 * 2048**3 / float(np.median([cpu(lambda: a @ a)[0] for _ in range(4)])) / 1e9


def bound(n: int, d: int, gflops: float) -> float:
    """CPU-seconds of half a product ``[d, n] [n, d]``."""
    return n * d**2 / gflops / 1e9


def child(task: str, shape: list[int]) -> dict[str, float]:
    command = [sys.executable, __file__, "--task", task, "--n", str(shape[0]), "--dims"]
    done = subprocess.run(
        [*command, *map(str, shape[1:])], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.median([run[key] for run in runs])) for key in runs[0]}


def measure(shape: list[int], repeats: int) -> dict[str, object]:
    """Run the tasks by turns, so that a busy machine slows all alike."""
    turns = [{task: child(task, shape) for task in TASKS} for _ in range(repeats)]
    found = {task: median([turn[task] for turn in turns]) for task in TASKS}
    n, dx, dy = shape
    aside = ("pass", "memory", "memory with solves", "gflops", "over_bound")
    solves = {
        key: float(np.median([turn["ours"][key] / turn["ours"]["pass"] for turn in turns]))
        for key in found["ours"] if key not in aside
    }  # fmt: skip
    rate = found["ours"]["gflops"]
    return {
        "n": n, "dims": [dx, dy], "gemm_gflops": rate,
        "bound_seconds": bound(n, dx + dy, rate), "ours": found["ours"],
        "sklearn": found["sklearn"], "ours_over_bound": found["ours"]["over_bound"],
        "sklearn_over_bound": found["sklearn"]["over_bound"], "solve_share_of_pass": solves,
    }  # fmt: skip


def show(result: dict) -> None:
    print(f"n={result['n']} dims={result['dims']}, GEMM {result['gemm_gflops']:.0f} GFLOP/s, "
          f"bound {result['bound_seconds']:.2f} CPU-s")  # fmt: skip
    for who, key in (("ours", "pass"), ("sklearn", "ridge")):
        print(f"{who:8} {result[who][key]:6.2f} CPU-s  {result[who]['memory']:6.0f} MB  "
              f"{result[who + '_over_bound']:.2f}x the bound (one ridge)")  # fmt: skip
    for name, share in result["solve_share_of_pass"].items():
        print(f"  {name:12} {100 * share:5.1f} % of the pass (goal 5)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--dims", type=int, nargs=2, default=[1280, 384])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shape = [arguments.n, *arguments.dims]
    if arguments.task:
        print(json.dumps({"ours": ours, "sklearn": sklearn}[arguments.task](*shape)))
        return
    result = measure(shape, arguments.repeats)
    print(json.dumps(result)) if arguments.json else show(result)


if __name__ == "__main__":
    main()
