"""Comparing methods on a workspace, and keeping what came of it for the next fit."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from conjoin.alignment.binding import pairs_digest
from conjoin.alignment.choice import Choice
from conjoin.alignment.modality_graph import check_hub, hub_candidates
from conjoin.evaluation.compare import Comparison, compare
from conjoin.project.evaluation.evaluate import test_bed, versions
from conjoin.project.workspace import Workspace
from conjoin.spaces import Pairs, Space
from conjoin.storage.digest import digest
from conjoin.storage.files import FORMAT, read_json, write_json


def compare_workspace(
    ws: Workspace,
    *,
    families: Sequence[str],
    budget: float | None,
    seed: int,
    note: Callable[[str], None],
) -> tuple[Comparison, Path]:
    """Compare methods on a workspace's pairs and keep the result where ``fit`` finds it."""
    bed = test_bed(ws)
    check_hub(ws.config.fit.hub, list(bed.spaces))
    hubs = [ws.config.fit.hub] if ws.config.fit.hub else hub_candidates(bed.train)
    found = compare(bed, hubs=hubs, families=families, budget=budget, seed=seed, report=note)
    path = _path(ws, bed.spaces, bed.train)
    before = read_json(path).get("touch", 0) if path.exists() else 0
    record = {
        "version": FORMAT, "versions": versions(), "seed": seed, "families": list(families),
        "touch": before + found.touches, **found.to_json(),
    }  # fmt: skip
    write_json(path, record)
    return found, path


def compared(ws: Workspace, spaces: Mapping[str, Space], train: Pairs) -> Choice | None:
    """What the last comparison on these very pairs chose, or nothing."""
    path = _path(ws, spaces, train)
    if not path.exists():
        return None
    return Choice.from_json(read_json(path, ["choice"])["choice"])


def _path(ws: Workspace, spaces: Mapping[str, Space], train: Pairs) -> Path:
    rows: list[Any] = [
        [name, space.frame.id, digest([space.ids.tolist(), space.content.tolist()])]
        for name, space in sorted(spaces.items())
    ]
    return ws.state / "comparisons" / f"{digest([rows, pairs_digest(spaces, train)])}.json"
