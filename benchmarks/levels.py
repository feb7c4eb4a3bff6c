"""The levels conjoin should reach on its bundled sample, over several split seeds.

Run: ``python benchmarks/levels.py [--workspace DIR] [--seeds 5] [--only NAME…]
[--methods NAME…] [--json]``.

For every split seed the method, its fields, its hub and the corrections are chosen on folds of
the training pairs, as ``conjoin fit`` does; held-out items are looked at once, to judge.
``--workspace`` names a workspace that ``conjoin demo`` made: it is copied, its embeddings are
reused. Without it the sample is embedded into a temporary folder first. ``--methods`` lets the
choice be among fewer aligners, which is quicker.
"""

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.cli.actions.align.demo import prepare
from conjoin.items.split import Split, make_split
from conjoin.project.workspace import Workspace
from conjoin.retrieval.evaluation import Evaluation, TestBed, choose_corrections, evaluate
from conjoin.selection.choose import by_validation
from conjoin.storage.digest import stable_hash

METRIC = "recall@10"


@dataclass(frozen=True)
class Level:
    """One experiment: which modalities, what a split keeps together, and the aims.

    Parameters
    ----------
    drawn : items drawn at random, whole groups, before the split; all when ``None``.
    aims : least mean recall@10 of a direction.
    """

    name: str
    modalities: tuple[str, ...]
    group: str | None
    test: int
    aims: dict[tuple[str, str], float]
    drawn: int | None = None


LEVELS = (
    Level("families", ("image", "text"), "family", 500, {("image", "text"): 0.53}),
    Level("kin", ("image", "text"), "kin", 500, {}),
    Level("random", ("image", "text"), None, 500, {}),
    Level(
        "speech", ("text", "image", "speech"), "family", 500,
        {("image", "text"): 0.53, ("speech", "text"): 0.45},
    ),
    Level("small", ("image", "text"), "family", 235, {}, drawn=785),
)  # fmt: skip


def workspace(given: Path | None, folder: Path) -> Workspace:
    """A copy of a finished demo workspace, or a fresh one with everything embedded."""
    if given is not None:
        shutil.copytree(given, folder, dirs_exist_ok=True)
    ws = prepare(folder)
    for modality in ws.modalities:
        ws.embed(modality.name)
    return ws


def make_bed(ws: Workspace, level: Level, seed: int) -> TestBed:
    """Training pairs and held-out rows of one split seed."""
    part = ws.config.split.model_copy(update={"group": level.group})
    config = ws.config.model_copy(update={"split": part})
    spaces = ws.spaces(list(level.modalities))
    groups = ws.items.groups(config)
    ids = ws.items.ids
    if level.drawn is not None:
        few = np.isin(ids, make_split(ids, groups, test=level.drawn, seed=seed + 1000).test)
        ids, groups = ids[few], groups[few]
    split = make_split(ids, groups, test=level.test, seed=seed)
    pairs = ws.items.pairs(config, spaces)

    def side(items: np.ndarray) -> np.ndarray:
        names = np.unique(groups[np.isin(ids, items)])
        return np.isin(pairs.group, [stable_hash(str(name)) for name in names])

    return TestBed(
        spaces, pairs.take(side(split.train)), pairs.take(side(split.test)),
        held_rows(spaces, split), dict(zip(map(str, ids), map(str, groups), strict=True)),
    )  # fmt: skip


def held_rows(spaces: dict[str, Any], split: Split) -> dict[str, np.ndarray]:
    """The held-out rows of each modality."""
    return {name: np.flatnonzero(split.is_test(space.ids)) for name, space in spaces.items()}


def run(ws: Workspace, level: Level, seed: int, methods: list[str] | None) -> dict[str, Any]:
    """Choose and fit on the training pairs, judge on the held-out ones."""
    started = time.perf_counter()
    bed = make_bed(ws, level, seed)
    chooser = partial(by_validation, methods=methods)
    binding = Binding.fit(bed.spaces, bed.train, method="auto", seed=seed, chooser=chooser)
    corrections = choose_corrections(binding, bed.spaces, bed.train, seed=seed)
    found = evaluate(bed, binding, corrections, baselines=("ridge",), seed=seed)
    return {
        "seed": seed,
        "train": len(bed.train),
        "test": len(next(iter(bed.rows.values()))),
        "groups": len(set(bed.groups.values())),
        "chosen": f"{binding.choice.method} {dict(binding.choice.fields)}",
        "hub": binding.hub,
        "corrections": [f"{q}→{t} {name}" for (q, t), name in corrections.items()],
        "rows": [row for row in found.to_json()["results"] if row["metric"] == METRIC],
        "notes": list(Evaluation.from_json(found.to_json()).notes),
        "seconds": round(time.perf_counter() - started, 1),
    }


def role(row: dict[str, Any]) -> str:
    """Under which heading a row is averaged: what was chosen may differ from seed to seed."""
    return "chosen" if row["chosen"] else str(row["method"])


def summary(level: Level, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean, spread and mean interval of each direction and method over the seeds."""
    cells: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in runs:
        for row in one["rows"]:
            cells.setdefault((row["query"], row["target"], role(row)), []).append(row)
    lines = []
    for (query, target, method), rows in cells.items():
        values = np.array([row["value"] for row in rows])
        ends = [
            None if rows[0][end] is None else float(np.mean([row[end] for row in rows]))
            for end in ("low", "high")
        ]
        lines.append({
            "level": level.name, "query": query, "target": target, "method": method,
            "mean": float(values.mean()),
            "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
            "low": ends[0], "high": ends[1], "seeds": len(values),
            "each": [round(float(v), 4) for v in values],
            "aim": level.aims.get((query, target)) if method == "chosen" else None,
        })  # fmt: skip
    return lines


def shown(line: dict[str, Any]) -> str:
    """One row of the printed table, in Markdown."""
    spread = "" if line["sd"] is None else f" ± {line['sd']:.3f}"
    span = "" if line["low"] is None else f"{line['low']:.3f} to {line['high']:.3f}"
    aim = ""
    if line["aim"] is not None:
        aim = f"{line['aim']:.2f} {'reached' if line['mean'] >= line['aim'] else 'missed'}"
    direction = f"{line['query']}→{line['target']}"
    return (
        f"| {line['level']} | {direction} | {line['method']} | {line['mean']:.3f}{spread} "
        f"| {span} | {aim} |"
    )


def show(level: Level, runs: list[dict[str, Any]], lines: list[dict[str, Any]]) -> None:
    """Print what each seed chose, then the table."""
    for one in runs:
        print(
            f"{level.name}, seed {one['seed']}: {one['train']} pairs, {one['test']} held out, "
            f"{one['groups']} groups; {one['chosen']}, hub {one['hub']}, "
            f"{', '.join(one['corrections']) or 'no correction'}; {one['seconds']} s"
        )
    print("| level | direction | method | recall@10 | 95 % interval | aim |")
    print("|---|---|---|---|---|---|")
    for line in lines:
        print(shown(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, help="a workspace of conjoin demo, copied")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=[level.name for level in LEVELS])
    parser.add_argument("--methods", nargs="*", help="aligners to choose among; all by default")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        ws = workspace(given.workspace, Path(folder) / "sample")
        for level in LEVELS:
            if given.only and level.name not in given.only:
                continue
            runs = [run(ws, level, seed, given.methods) for seed in range(given.seeds)]
            lines = summary(level, runs)
            found.append({"level": level.name, "summary": lines, "runs": runs})
            if not given.json:
                show(level, runs, lines)
    if given.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
