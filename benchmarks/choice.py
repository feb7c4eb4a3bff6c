"""Whether a choice stays as rows change, and what choosing costs against knowing.

    OMP_NUM_THREADS=1 python benchmarks/choice.py [stay|regret] [--seeds 20] [--write]

``stay``: on three tables one row in a hundred is replaced, with many seeds, and the choice is made
again with what is in use as incumbent: how often method, settings, hub and corrections stay, how
far first scores move (median), and how much of the first tens is the same. Beside it, how often
the method would have stayed without an incumbent.

``regret``: on twelve tables whole groups are held out. The choice sees the others only; every
method it tried, at its best setting on the folds, is then fitted to them and asked the held-out
items. Regret is what the best of them, over all seeds, is above the chosen ones, over all seeds;
the gap to the plain baselines is counted alike.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.alignment.binding import Binding
from conjoin.alignment.choice import Choice
from conjoin.claims.datasets.registry import open_bench
from conjoin.project.fit.incumbent import drift
from conjoin.project.fit.stored import Fit
from conjoin.retrieval.calibration.cross_fit import Rehearsal
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.hubness.choose import correctors, decide
from conjoin.retrieval.index.index import Index
from conjoin.selection.choose import _prefer_cheap, on_folds
from conjoin.selection.folds import Folds
from conjoin.selection.trials import Sweep
from conjoin.spaces import Pairs, Space
from conjoin.storage.digest import stable_hash

RESULT = Path(__file__).parent / "results/choice.json"
#: Closed forms of the shortlist: what decides within a small budget.
METHODS = [
    n for n in catalogue.shortlist("aligner") if catalogue.find("aligner", n).cost != "trained"
]
#: Share of the rows that are replaced.
REPLACED = 0.01
#: Parts that groups are cut into; one is held out.
PARTS = 3
#: Tables of the regret: data, lines, coordinates of each view at most.
TABLES = (
    ("digits:left+right", 150, 32), ("digits:left+right", 400, 32), ("digits:left+right", 1000, 32),
    ("digits:left+right", 1797, 32), ("digits:left+whole", 400, 64), ("wine:acids+colours", 178, 8),
    ("motions:acceleration+rotation", 80, 156), ("umls:graph+name", 135, 384),
    ("kinships:subject+object", 104, 25), ("emoji:image+text", 150, 256),
    ("emoji:image+text", 400, 256), ("emoji:image+text", 1000, 256),
)  # fmt: skip
#: Tables of which rows are replaced; about a tenth of their rows is kept back as new ones.
CHANGED = (
    ("digits:left+right", 1200, 32), ("emoji:image+text", 1200, 128), ("latent", 1200, 64),
)  # fmt: skip

Spaces = Mapping[str, Space]


def latent(rows: int, wide: int) -> tuple[Spaces, np.ndarray]:
    """Two views of one table of factors, with noise of their own."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((rows, 24)) * np.arange(1, 25) ** -0.5
    found = {}
    for name, dim in (("a", wide), ("b", wide // 2)):
        x = z @ rng.standard_normal((24, dim)) / 5 + 0.35 * rng.standard_normal((rows, dim))
        found[name] = Space.of(x.astype(np.float32), [str(row) for row in range(rows)], name=name)
    return found, np.arange(rows)


def table(name: str, rows: int, wide: int) -> tuple[Spaces, np.ndarray]:
    """Views of a cut of a table, row by row the same items, and the group of each."""
    if name == "latent":
        return latent(rows, wide)
    bench = open_bench(name)
    first, second = bench.spaces
    i, j, _ = bench.pairs.between(first, second)
    order = sorted(range(len(i)), key=lambda k: stable_hash(f"cut/{bench.spaces[first].ids[i[k]]}"))
    lines = np.array(order[:rows])
    ids = [str(line) for line in range(len(lines))]
    groups = [bench.groups[str(bench.spaces[first].ids[row])] for row in i[lines]]
    spaces = {}
    for view, at in ((first, i[lines]), (second, j[lines])):
        own = np.asarray(bench.spaces[view].pooled().vectors[at], np.float32)[:, :wide]
        spaces[view] = Space.of(own, ids, name=view)
    return spaces, np.unique(groups, return_inverse=True)[1]


def paired(spaces: Spaces, groups: np.ndarray) -> Pairs:
    """Row k of one view beside row k of the other."""
    lines = np.arange(len(groups))
    return replace(Pairs.of(**dict.fromkeys(spaces, lines)), group=groups)


def made(spaces: Spaces, groups: np.ndarray, before: Any = None) -> tuple[Choice, Any, Fit, Index]:
    """A choice with its corrections, and the index they make."""
    lines = paired(spaces, groups)
    folds = Folds(spaces, lines, 0)
    stands = None if before is None else before[0]
    choice = on_folds(folds, hubs=list(spaces), methods=METHODS, incumbent=stands)
    binding = Binding.fit(spaces, lines, method=choice.make(), hub=choice.hub)
    binding = replace(binding, choice=choice)
    rules = {} if before is None else before[1]
    found = correctors(decide(Rehearsal(binding, spaces, lines, folds=folds), rules))
    bound = {name: binding.bind(name, space) for name, space in spaces.items()}
    corrections = Rules(found).corrections(binding, spaces, lines, bound)
    return choice, found, Fit(Path(), binding), Index.build(bound, corrections=corrections)


def changed(name: str, rows: int, wide: int, seeds: int) -> dict[str, Any]:
    """How a choice stays on one table."""
    spaces, groups = table(name, rows, wide)
    rows = len(groups)
    kept, spare = np.arange(rows - rows // 10), np.arange(rows - rows // 10, rows)

    def part(at: np.ndarray) -> tuple[Spaces, np.ndarray]:
        return {n: s.take(at) for n, s in spaces.items()}, groups[at]

    first = made(*part(kept))
    lines: list[dict[str, Any]] = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 1])
        count = max(1, round(REPLACED * len(kept)))
        at = np.sort(np.r_[rng.permutation(kept)[count:], rng.permutation(spare)[:count]])
        now = made(*part(at), before=first)
        free = _prefer_cheap(now[0].trials)
        moved = drift((first[2], first[3]), (now[2], now[3]), now[2].binding.maps and part(at)[0])
        assert moved is not None
        lines.append({
            "stayed": now[0].same(first[0]), "corrections": now[1] == first[1],
            "used": sorted([*edge, one.name] for edge, one in now[1].items()),
            "alone": Choice(free.method, free.fields, free.hub).same(first[0]),
            "score": moved.score, "top": moved.top,
        })  # fmt: skip
        print(name, seed, lines[-1], flush=True)
    return {
        "table": name, "rows": len(kept), "method": first[0].method,
        **{key: float(np.mean([line[key] for line in lines]))
           for key in ("stayed", "corrections", "alone", "top")},
        "score": float(np.median([line["score"] for line in lines])), "seeds": seeds,
    }  # fmt: skip


def held_out(name: str, rows: int, wide: int, seeds: int) -> dict[str, Any]:
    """What the choice and what every method reaches on held-out groups of one table."""
    spaces, groups = table(name, rows, wide)
    lines = paired(spaces, groups)
    own, others = list[float](), dict[str, list[float]]()
    for seed in range(seeds):
        outer = Folds(spaces, lines, seed, count=PARTS)
        inner = Folds(spaces, outer.train(0), seed)
        choice = on_folds(inner, hubs=list(spaces), methods=METHODS)
        own.append(_asked(outer, choice))
        for method, trial in choice.best_of().items():
            one = Choice(method, trial.fields, trial.hub)
            others.setdefault(method, []).append(_asked(outer, one))
        print(name, rows, seed, choice.method, round(own[-1], 3), flush=True)
    means = {method: float(np.mean(found)) for method, found in others.items()}
    plain = max(means[method] for method in catalogue.simple("aligner") if method in means)
    return {
        "table": name, "rows": rows, "seeds": seeds,
        "chosen": float(np.mean(own)), "methods": means,
        "regret": max(means.values()) - float(np.mean(own)), "gap": float(np.mean(own)) - plain,
    }  # fmt: skip


def _asked(outer: Folds, choice: Choice) -> float:
    sweep = Sweep(catalogue.find("aligner", choice.method), outer, outer.seed)
    return outer.score(0, sweep.fit(choice.fields, 0, choice.hub))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("part", choices=("stay", "regret"))
    asked.add_argument("--only", type=int, nargs="*", help="places of tables, to run some of them")
    asked.add_argument("--seeds", type=int, default=0)
    asked.add_argument("--write", action="store_true")
    told = asked.parse_args()
    jobs: dict[str, tuple[Any, Callable[..., dict[str, Any]], int]] = {
        "stay": (CHANGED, changed, 20), "regret": (TABLES, held_out, 5),
    }  # fmt: skip
    tables, job, seeds = jobs[told.part]
    for place in told.only or range(len(tables)):
        found = job(*tables[place], told.seeds or seeds)
        print(json.dumps(found, indent=1), flush=True)
        if told.write:
            known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
            part = {**known.get(told.part, {}), str(place): found}
            known[told.part] = dict(sorted(part.items(), key=lambda item: int(item[0])))
            RESULT.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
