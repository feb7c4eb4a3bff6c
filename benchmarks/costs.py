"""Measure the table of costs by which budgets count work: ``src/conjoin/execution/costs.json``.

Every engine is run at a few sizes on one core, and ``units = Σ_p c_p · p(size)`` with ``c ≥ 0`` is
fitted to its CPU-seconds, relative errors weighing alike. The parts are those of
:mod:`conjoin.execution.costs`. CPU-seconds hardly hang on what else runs; still, run it alone:

    OMP_NUM_THREADS=1 python benchmarks/costs.py --write

What was measured is kept in ``benchmarks/results/costs.json`` and not measured again; remove it to
start anew. Without ``--write`` the table is only printed.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from conjoin import catalogue
from conjoin.alignment.binding import Binding
from conjoin.alignment.closed_form.covariance import Joint
from conjoin.errors import ConjoinError, MissingDependency
from conjoin.execution import costs
from conjoin.execution.costs import Shape
from conjoin.fusion.inputs import Inputs
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.hubness.query_bank import DualSoftmax
from conjoin.retrieval.index.index import Index
from conjoin.selection.choose import cannot_feed
from conjoin.selection.folds import Folds
from conjoin.selection.trials import Sweep
from conjoin.spaces import Pairs, Space

MEASURED = Path(__file__).parent / "results/costs.json"
TABLE = Path(__file__).parents[1] / "src/conjoin/execution/costs.json"
#: Lines and widths at which engines are run.
SIZES = (
    (200, (64, 48)), (600, (256, 384)), (600, (1280, 384)), (2400, (256, 384)), (6000, (384, 384)),
)  # fmt: skip
#: Lines and widths of folds that are scored, and of rehearsals.
SCORED = ((500, (64, 48)), (2500, (256, 128)), (6000, (384, 256)), (10_000, (1280, 384)))
REHEARSED = ((300, (64, 48)), (1200, (384, 384)), (3000, (1280, 384)), (10_000, (384, 256)))
#: Items, widths and classes of fusions.
FUSED = ((400, (16, 16, 16), 3), (2000, (64, 64, 64), 5), (6000, (128, 128, 128), 10))
#: Fusions that are run, and the steps of each.
FUSIONS: dict[str, tuple[int | None, ...]] = {
    "late": (None,), "concat": (None,), "imputed-logistic": (None,), "boosted-trees": (20, 60),
    "side": (20, 80),
}  # fmt: skip
#: An engine that took so many seconds once is measured at no further size.
DEAR = 2.0
#: Steps of a training.
STEPS = (10, 30)
#: Steps of those of the shortlist besides.
WHOLE = 100

Line = tuple[dict[str, float], float]


def spaces_of(pairs: int, dims: tuple[int, ...], seed: int = 0) -> dict[str, Space]:
    """Views of one latent table, each with noise of its own."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((pairs, 48)) * np.arange(1, 49) ** -0.5
    found = {}
    for name, dim in zip("abc", dims, strict=False):
        x = latent @ rng.standard_normal((48, dim)) / 7 + 0.3 * rng.standard_normal((pairs, dim))
        found[name] = Space.of(x.astype(np.float32), name=name)
    return found


def seconds(job: Callable[[], Any]) -> tuple[float, Any]:
    """CPU-seconds of a job, and its result."""
    start = time.process_time()
    found = job()
    return time.process_time() - start, found


def fitted(lines: list[Line]) -> dict[str, float]:
    """Coefficients that are not negative, by least squares of relative errors."""
    names = sorted({name for parts, _ in lines for name, value in parts.items() if value})
    took = np.array([max(took, 1e-4) for _, took in lines])
    design = np.array([[parts.get(name, 0.0) for name in names] for parts, _ in lines])
    scale = design.max(axis=0)
    found, _ = nnls(design / scale / took[:, None], np.ones(len(took)))
    return {n: float(f"{c / s:.3g}") for n, c, s in zip(names, found, scale, strict=True) if c > 0}


def aligners(known: list[list[Any]]) -> dict[str, dict[str, float]]:
    """Every engine of an aligner that two views of vectors can feed.

    Parameters
    ----------
    known : what was measured before, ``[method, pairs, dims, steps, seconds]`` each; added to.
    """
    done = {(name, pairs, tuple(dims), steps) for name, pairs, dims, steps, _ in known}
    dear: dict[str, float] = {}
    for name, _, _, _, took in known:
        dear[name] = max(dear.get(name, 0.0), took)
    heads = catalogue.find("aligner", "infonce-head").make({"steps": 1})
    small = spaces_of(40, (8, 8))
    heads.fit({n: s.vectors for n, s in small.items()}, Pairs.by_id(small), seed=0)  # imports
    for pairs, dims in SIZES:
        spaces = spaces_of(pairs, dims)
        lots, views = Pairs.by_id(spaces), {n: s.vectors for n, s in spaces.items()}
        took, joint = seconds(lambda: Joint.of(views, lots))  # noqa: B023
        if ("moments", pairs, dims, None) not in done:
            known.append(["moments", pairs, list(dims), None, round(took, 4)])
        for row in _engines():
            if cannot_feed(row, spaces) or (dear.get(row.name, 0.0) > DEAR and not row.shortlist):
                continue
            trained = "steps" in catalogue.ranges(row.load())
            some = (*STEPS, *((WHOLE,) if row.shortlist else ())) if trained else (None,)
            for steps in some:
                if (row.name, pairs, dims, steps) in done:
                    continue
                try:
                    aligner = row.make({} if steps is None else {"steps": steps})
                    if hasattr(aligner, "solve"):
                        took, _ = seconds(lambda: aligner.solve(Joint(joint.dims, joint.edges)))  # noqa: B023
                    else:
                        took, _ = seconds(lambda: aligner.fit(views, lots, seed=0))  # noqa: B023
                except (ConjoinError, MissingDependency):
                    continue
                dear[row.name] = max(dear.get(row.name, 0), took)
                known.append([row.name, pairs, list(dims), steps, round(took, 4)])
                print(f"{row.name:20} {pairs:6} {dims} {steps} {took:.3f}", flush=True)
    return {name: fitted(own) for name, own in _lines(known).items()}


def _engines() -> list[catalogue.Row]:
    """A row of each engine."""
    found: dict[str, catalogue.Row] = {}
    for row in catalogue.of_kind("aligner").values():
        if "of" not in row.settings:
            found.setdefault(row.target, row)
    names = {row.name for row in found.values()} - {"whitening"} | {"whitened-procrustes"}
    return [row for row in catalogue.of_kind("aligner").values() if row.name in names]


def _lines(known: list[list[Any]]) -> dict[str, list[Line]]:
    lines: dict[str, list[Line]] = {}
    for name, pairs, dims, steps, took in known:
        shape = Shape(pairs, tuple(dims))
        if name == "moments":
            lines.setdefault(name, []).append((shape.parts(), took))
            continue
        row = catalogue.find("aligner", name)
        parts = costs.parts_of(row, {} if steps is None else {"steps": steps}, shape)
        lines.setdefault(row.target, []).append((parts, took))
    return lines


def scoring() -> list[list[Any]]:
    """Placing and ranking the lines of a fold: ``[parts, seconds]`` each."""
    lines: list[list[Any]] = []
    for pairs, dims in SCORED:
        spaces = spaces_of(pairs, dims)
        folds = Folds(spaces, Pairs.by_id(spaces), 0)
        maps = Sweep(catalogue.find("aligner", "ridge"), folds, 0).fit({}, 0, "b")
        folds.score(0, maps)
        for most in (500, 2000):
            folds.score(0, maps, most)
            took, _ = seconds(lambda: folds.score(0, maps, most))  # noqa: B023
            lines.append([pairs, list(dims), folds.asked(most), round(took, 4)])
    return lines


def rest() -> list[list[Any]]:
    """Rehearsals and indexes: ``[pairs, dims, after, index]``, dims of the hub first."""
    found: list[list[Any]] = []
    for pairs, dims in REHEARSED:
        spaces = spaces_of(pairs, dims)
        lots = Pairs.by_id(spaces)
        folds = Folds(spaces, lots, 0)
        for number in folds.numbers:
            folds.joint(number, "b")
        took, binding = seconds(lambda: Binding.fit(spaces, lots, method="ridge", hub="b"))  # noqa: B023
        spent, rules = seconds(lambda: Rules.rehearse(binding, spaces, lots, folds=folds))  # noqa: B023
        bound = {name: binding.bind(name, space) for name, space in spaces.items()}
        best = {edge: DualSoftmax() for edge in (("a", "b"), ("b", "a"))}
        chosen = replace(rules, correctors=best)
        built, _ = seconds(
            lambda: Index.build(bound, corrections=chosen.corrections(binding, spaces, lots, bound))  # noqa: B023
        )
        print(f"{pairs} {dims} rehearsed {spent:.2f}, fitted {took:.2f}, indexed {built:.2f}")
        found.append([pairs, list(dims[::-1]), round(spent + took, 3), round(built, 3)])
    return found


def rest_units(lines: list[list[Any]]) -> dict[str, dict[str, float]]:
    """The table of what follows a choice."""
    after, index = list[Line](), list[Line]()
    for pairs, dims, spent, built in lines:
        one, other = costs.rest_parts(Shape(pairs * 4 // 5, tuple(dims)), 5)
        after.append((one, spent))
        index.append((other, built))
    return {"rest": fitted(after), "index": fitted(index)}


def fusions(known: list[list[Any]]) -> list[list[Any]]:
    """Plain fusions and a trained one: ``[method, items, dims, outputs, steps, seconds]``.

    Parameters
    ----------
    known : what was measured before, which is not measured again.
    """
    from conjoin.fusion.missing import credit

    done = {(name, items, steps) for name, items, _, _, steps, _ in known}
    found = list(known)
    for items, dims, outputs in FUSED:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, outputs, items)
        views = {
            name: (rng.standard_normal((outputs, dim))[labels] + rng.standard_normal((items, dim)))
            for name, dim in zip("abc", dims, strict=True)
        }
        for name, many in FUSIONS.items():
            row = catalogue.find("fusion", name)
            for steps in many:
                if (name, items, steps) in done:
                    continue
                made = row.make({} if steps is None else {"steps": steps})
                took, fused = seconds(lambda: made.fit(views, {}, labels=labels, seed=0))  # noqa: B023
                found.append([name, items, list(dims), outputs, steps, round(took, 4)])
                print(*found[-1], flush=True)
        if ("credit", items, None) not in done:
            inputs = Inputs.of(views, {})
            took, _ = seconds(lambda: credit(fused, inputs, labels))  # noqa: B023
            found.append(["credit", items, list(dims), outputs, None, round(took, 4)])
    return found


def fusion_units(lines: list[list[Any]]) -> dict[str, dict[str, float]]:
    """The table of fusions; engines that were not run are priced as those of their class."""
    sorted_: dict[str, list[Line]] = {}
    for name, items, dims, outputs, steps, took in lines:
        shape = Shape(items, tuple(dims))
        if name == "credit":
            parts = {"fixed": 1.0, "read": items * sum(dims) * outputs / costs.GIGA}
            sorted_.setdefault(name, []).append((parts, took))
            continue
        row = catalogue.find("fusion", name)
        fields = {} if steps is None else {"steps": steps}
        parts = costs.fusion_parts(row, fields, shape, outputs)
        sorted_.setdefault(row.target, []).append((parts, took))
    found = {name: fitted(own) for name, own in sorted_.items()}
    concat, side = (catalogue.find("fusion", name).target for name in ("concat", "side"))
    return {**found, "fusion closed": found[concat], "fusion trained": found[side]}


def by_class(units: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """For engines that are not in the table: of each part the dearest of their class."""
    found: dict[str, dict[str, float]] = {name: {} for name in catalogue.COSTS}
    for row in catalogue.of_kind("aligner").values():
        for part, cost in units.get(row.target, {}).items():
            own = found[row.cost]
            own[part] = max(own.get(part, 0.0), cost) if part == "fixed" else own.get(part, 0.0)
    for row in catalogue.of_kind("aligner").values():
        costs_of = units.get(row.target, {})
        if row.name in ("ridge", "infonce-head"):
            found[row.cost] |= {p: c for p, c in costs_of.items() if p != "fixed"}
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--write", action="store_true", help="write the table into the package")
    told = asked.parse_args()
    known = json.loads(MEASURED.read_text()) if MEASURED.exists() else {"aligners": []}
    units = aligners(known["aligners"])
    known["fusions"] = fusions(known.get("fusions", []))
    for name, job in (("score", scoring), ("rest", rest)):
        if name not in known:
            known[name] = job()
        if told.write:
            MEASURED.write_text(json.dumps(known) + "\n")
    scored = [(costs.score_parts(n, tuple(dims)), took) for _, dims, n, took in known["score"]]
    units |= {
        "score": fitted(scored),
        **rest_units(known["rest"]),
        **fusion_units(known["fusions"]),
    }
    units |= by_class(units)
    if told.write:
        TABLE.write_text(json.dumps({"units": dict(sorted(units.items()))}, indent=1) + "\n")
    print(json.dumps(units, indent=1))


if __name__ == "__main__":
    main()
