"""What "relevant" is worth on the sample: is a probability what it says, is "nothing" told?

    python benchmarks/relevance.py WORKSPACE [--queries 300]

WORKSPACE is made by ``conjoin demo``. Held-out items ask the index in use, every direction, ten
hits a query. A hit is relevant where it shares a keyword and the group with the query's item, or
is that item. Then everything relevant to a query is taken out of the index, in all modalities, and
it is asked again: the chance that the list holds an answer should have fallen. Nothing that is
measured here took part in a fit: curves are of folds of the training pairs.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.project.evaluation.evaluate import versions
from conjoin.project.fit.relevance import grades_of
from conjoin.project.fit.stored import current_fit
from conjoin.project.workspace import Workspace
from conjoin.retrieval.calibration.calibration import CONTEXT, Calibration
from conjoin.retrieval.calibration.fit import auroc
from conjoin.retrieval.calibration.graded_relevance import Grades
from conjoin.retrieval.calibration.out_of_distribution import familiarity, spread
from conjoin.retrieval.calibration.reliability import expected_error
from conjoin.retrieval.index.index import Index
from conjoin.spaces import Space

RESULT = Path(__file__).parent / "results" / "relevance.json"


def measured(ws: Workspace, most: int, seed: int) -> dict[str, Any]:
    """Every direction's calibration error over hits, and how well "nothing" is told."""
    index, grades = Index.open(ws.state / ws.current["index"]), grades_of(ws)
    if grades is None:
        raise SystemExit("conjoin.toml has no [relevance]")
    ids = np.array([str(item) for item in ws.items.ids])
    held = ids[ws.split.is_test(ws.items.ids)]
    asked = np.sort(np.random.default_rng(seed).permutation(held)[:most])
    found = []
    for (query, target), one in sorted(index.calibrations.items()):
        if one.meaning == "relevant":
            space = index.spaces[query]
            own = space.take(np.flatnonzero(np.isin(space.ids, asked)))
            found.append({"query": query, "target": target,
                          **direction(index, (query, target), one, own, grades)})  # fmt: skip
    total = {
        key: float(np.mean([one[key] for one in found]))
        for key in ("error", "auroc", "kept", "said_nothing")
    }
    made = current_fit(ws).binding.choice
    return {"method": made.method, "queries": most, "hits": CONTEXT, "seed": seed,
            "versions": versions(), "mean": total, "directions": found}  # fmt: skip


def direction(
    index: Index, edge: tuple[str, str], one: Calibration, own: Space, grades: Grades
) -> dict[str, Any]:
    """One direction's figures."""
    query, target = edge
    lists = index.search_many(own, query, into=[target], k=CONTEXT)
    hits = [found.lists[target] for found in lists]
    p = np.array([[hit.probability for hit in row] for row in hits], dtype=np.float64)
    right = np.stack([
        grades.relevant([item], [hit.id for hit in row])[0]
        for item, row in zip(own.ids, hits, strict=True)
    ])  # fmt: skip
    flat = np.repeat(np.arange(len(p)), CONTEXT)
    error, low, high, ideal, table = expected_error(
        p.ravel(), right.ravel().astype(float), flat, bins=10
    )
    answered = right.any(axis=1)
    on, nothing = chances(index, edge, one, own, p, None)
    gone = grades.relevant(own.ids, index.spaces[target].ids)
    names = index.spaces[target].ids.astype(str)
    left = []
    for line in range(len(own)):
        found = index.search(own.take(np.array([line])), query, into=[target], k=CONTEXT,
                             exclude=names[gone[line]].tolist())  # fmt: skip
        left.append([hit.probability for hit in found.lists[target]])
    off, said = chances(index, edge, one, own, np.array(left, dtype=np.float64), grades)
    return {
        "error": error, "error_low": low, "error_high": high, "by_luck": ideal,
        "table": [list(row) for row in table], "relevant": float(right.mean()),
        "answered": float(answered.mean()), "auroc": auroc(on[answered], off),
        "auroc_all": auroc(on, off), "kept": float(1 - nothing[answered].mean()),
        "said_nothing": float(said.mean()),
    }  # fmt: skip


def chances(
    index: Index,
    edge: tuple[str, str],
    one: Calibration,
    own: Space,
    p: np.ndarray,
    grades: Grades | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Each list's chance to hold an answer, and whether it is told to hold none."""
    held = index.spaces[edge[0]]
    rows = spread(len(held), int(one.facts["bank"]))
    bank = held.take(rows)
    gone = bank.ids[None] == own.ids[:, None] if grades is None else grades.relevant(
        own.ids, bank.ids)  # fmt: skip
    near = familiarity(np.asarray(own.vectors), np.asarray(bank.vectors), gone)
    chance = one.chance(p, near)
    count = len(index.spaces[edge[1]])
    told = [one.odd(float(n)) or one.nothing(float(c), count)
            for n, c in zip(near, chance, strict=True)]  # fmt: skip
    return chance, np.array([said is not None for said in told])


def main() -> None:
    """Measure, print and write."""
    asks = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asks.add_argument("workspace", type=Path)
    asks.add_argument("--queries", type=int, default=300)
    asks.add_argument("--seed", type=int, default=0)
    asks.add_argument("--out", type=Path, default=RESULT)
    given = asks.parse_args()
    found = measured(Workspace(given.workspace, writes=False), given.queries, given.seed)
    for one in found["directions"]:
        print(f"{one['query']:>8} → {one['target']:<8} error {one['error']:.3f} "
              f"(by luck {one['by_luck']:.3f}), AUROC {one['auroc']:.3f} "
              f"(all {one['auroc_all']:.3f}), kept {one['kept']:.3f}, "
              f"told nothing {one['said_nothing']:.3f}")  # fmt: skip
    print(found["mean"])
    given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
