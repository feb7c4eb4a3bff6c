"""Sinkhorn against POT at equal precision and equal accuracy, and the bound of reading the kernel.

Run: ``python benchmarks/transport.py [--n 2000 5000] [--repeats 3] [--json]``. POT runs until its
marginals are within 1e-6 of the mass, or for a fixed number of iterations where that would take
too long; ours then runs until its marginals are as near as POT's came, or 1e-6. CPU-seconds
are of one thread, each method in turn on the same cost. The bound is one read of the kernel an
iteration at the bandwidth measured in the same run. Where POT's scaling breaks down, its
stabilised method is run instead.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import ot  # noqa: E402

from conjoin.alignment.optimal_transport.sinkhorn import sinkhorn  # noqa: E402

#: Error of the marginals at which POT stops, and its most iterations by number of points.
TOL = 1e-6
STEPS = {2000: 200, 5000: 60}


def cpu(work: Callable[[], object]) -> tuple[float, object]:
    start = time.process_time()
    out = work()
    return time.process_time() - start, out


def cost_of(n: int, kind: np.dtype) -> np.ndarray:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, n, 10))
    cost = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
    return (cost / cost.max()).astype(kind)


def bandwidth(matrix: np.ndarray) -> float:
    """GB/s at which the matrix can be read once."""
    flat = matrix.ravel()
    return matrix.nbytes / min(cpu(lambda: flat @ flat)[0] for _ in range(5)) / 1e9


def off(plan: np.ndarray) -> float:
    """Total error of the marginals of a coupling of uniform masses."""
    plan = plan.astype(np.float64)
    n, m = plan.shape
    return max(np.abs(plan.sum(1) - 1 / n).sum(), np.abs(plan.sum(0) - 1 / m).sum())


def peer(cost: np.ndarray, eps: float, steps: int) -> tuple[float, np.ndarray, str, int]:
    mass = np.full(len(cost), 1 / len(cost), cost.dtype)
    took, plan = np.nan, np.full_like(cost, np.nan)
    for method in ("sinkhorn", "sinkhorn_stabilized"):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            took, (plan, log) = cpu(lambda m=method: ot.sinkhorn(
                mass, mass, cost, eps, method=m, numItermax=steps,
                stopThr=TOL / len(cost) ** 0.5, log=True,
            ))  # fmt: skip
        if np.isfinite(plan).all() and off(plan) < 0.5:
            return took, plan, method, log["niter"] + 1
    return took, plan, "fails", steps


def measure(n: int, eps: float, kind: str, repeats: int) -> dict[str, object]:
    cost = cost_of(n, np.dtype(kind))
    reached, rounds, method, steps = np.nan, [], "", 0
    for _ in range(repeats):
        theirs, plan, method, steps = peer(cost, eps, STEPS.get(n, 100))
        reached = off(plan)
        # Where POT finds nothing, ours has to come as near as its float64 run would.
        tol = max(reached, TOL) if method != "fails" else 1e-3
        del plan
        ours, found = cpu(lambda t=tol: sinkhorn(cost, eps=eps, tol=t))
        final, _ = cpu(lambda f=found: f.matrix)
        rounds.append((theirs, ours + final, found.steps))
    theirs, ours, taken = (float(np.median(column)) for column in zip(*rounds, strict=True))
    rate = bandwidth(cost)
    return {
        "n": n, "eps": eps, "kind": kind, "pot": method, "pot_seconds": theirs,
        "pot_steps": steps, "error": reached, "seconds": ours, "steps": taken,
        "ratio": ours / theirs, "ratio_a_step": (ours / taken) / (theirs / steps),
        "gigabytes_a_second": rate, "over_bound": ours / (taken * cost.nbytes / rate / 1e9),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[2000, 5000])
    parser.add_argument("--eps", type=float, nargs="+", default=[0.02, 1e-3])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    arguments = parser.parse_args()
    for n in arguments.n:
        for eps in arguments.eps:
            for kind in ("float64", "float32"):
                r = measure(n, eps, kind, arguments.repeats)
                if arguments.json:
                    print(json.dumps(r), flush=True)
                    continue
                print(
                    f"n={n} eps={eps:g} {kind}: {r['ratio']:.2f}x POT {r['pot']} "
                    f"({r['seconds']:.2f} s, {r['steps']:.0f} steps; {r['pot_seconds']:.2f} s, "
                    f"{r['pot_steps']} steps; error {r['error']:.1e}), "
                    f"{r['ratio_a_step']:.2f}x a step, {r['over_bound']:.1f}x the bound at "
                    f"{r['gigabytes_a_second']:.0f} GB/s", flush=True,
                )  # fmt: skip


if __name__ == "__main__":
    main()
