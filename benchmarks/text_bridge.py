"""Another text encoder into a joint space by texts alone, beside one that learned from pairs.

No hub is reachable, so a joint model is stood in for by one made here: pictures and averaged word
vectors of emoji, bound by canonical correlation on two thirds of the groups of families. The new
text encoder is MiniLM. ``own`` asks with the joint model's own text side, ``texts`` with MiniLM
through a map fitted to the texts of those groups and no picture, ``pairs`` with MiniLM bound to
the joint frame by the pairs. All are asked the captions of the held-out groups, among their
pictures: recall@10, with 95 % intervals over queries and paired gains over ``pairs``.

    OMP_NUM_THREADS=1 python benchmarks/text_bridge.py --seeds 3 --write
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.claims.datasets.registry import open_bench
from conjoin.maps.base import apply_rows
from conjoin.selection.text_bridge import compared, own_found, text_bridge
from conjoin.spaces import unit

OUT = Path(__file__).parent / "results/text_bridge.json"
BENCH, PICTURES, OLD, NEW = "emoji-upgrade:image+old+new", "image", "old", "new"


def arms(seed: int) -> dict[str, Any]:
    """Recall of the three arms on one third of the groups."""
    bench = open_bench(BENCH)
    spaces = bench.spaces
    lines = bench.pairs
    fold = lines.folds(3, seed)
    learn, held = lines.take(fold != 0), lines.take(fold == 0)
    joint = Binding.fit({n: spaces[n] for n in (PICTURES, OLD)}, learn.select((PICTURES, OLD)),
                        method="cca", hub=PICTURES)  # fmt: skip
    bound = {name: joint.bind(name, spaces[name]) for name in (PICTURES, OLD)}
    taught = {name: np.unique(learn.column(name)) for name in (OLD, NEW)}
    made = text_bridge(bound[OLD].take(taught[OLD]), spaces[NEW].take(taught[NEW]), seed=seed)
    paired = joint.extend(spaces, learn)
    asked = {name: held.column(name) for name in (OLD, NEW, PICTURES)}
    gallery = unit(np.asarray(bound[PICTURES].vectors, np.float32)[asked[PICTURES]])
    new = spaces[NEW].take(asked[NEW])
    queries = {
        "pairs": np.asarray(paired.bind(NEW, new).vectors),
        "texts": np.asarray(apply_rows(made.item, new.vectors)),
        "own": np.asarray(bound[OLD].vectors)[asked[OLD]],
    }
    hits = {name: own_found(rows, gallery) for name, rows in queries.items()}
    return {"seed": seed, "texts": len(taught[NEW]), "method": made.choice.method,
            "arms": compared(hits, "pairs", seed)}  # fmt: skip


def main() -> None:
    """Run and print, or write the results."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--write", action="store_true")
    given = asked.parse_args()
    lines = [arms(seed) for seed in range(given.seeds)]
    means = {
        name: round(float(np.mean([line["arms"][name]["value"] for line in lines])), 4)
        for name in ("own", "texts", "pairs")
    }
    text = json.dumps({"bench": BENCH, "recall@10": means, "runs": lines}, indent=1)
    print(text)
    if given.write:
        OUT.write_text(text + "\n")


if __name__ == "__main__":
    main()
