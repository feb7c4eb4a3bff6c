"""Fitting with the decisions people made, and what they changed."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.errors import ConjoinError
from conjoin.metrics.retrieval.scores import rank_queries
from conjoin.project.fit.stored import Fit
from conjoin.project.quality.examine import fixes_of
from conjoin.project.workspace import Workspace
from conjoin.retrieval.evaluation import TestBed
from conjoin.selection.folds import as_queries, bound_rows
from conjoin.spaces import Pairs, Space
from conjoin.stats.bootstrap import paired_difference

#: Hits counted.
K = 10


def require_fixes(ws: Workspace) -> None:
    """Refuse to fit with fixes where none was decided."""
    if not fixes_of(ws):
        raise ConjoinError(
            "--with-fixes", "no pair was dropped or fixed",
            "run: conjoin doctor --html page.html, decide, then conjoin doctor --decisions FILE",
        )  # fmt: skip


def change(ws: Workspace, made: Fit, *, seed: int) -> dict[str, Any]:
    """The fit in use against the same method without the fixes, on the same held-out items.

    Both arms have the method, settings and hub of the fit with fixes, without corrections. Both
    are judged on the held-out pairs that follow the decisions: those dropped are asked of
    neither. Intervals resample groups; the arms are paired query by query.
    """
    spaces = ws.spaces()
    told = ws.followed(spaces)
    choice = made.binding.choice
    plain = Binding.fit(
        spaces, ws.sides(spaces)[0], method=choice.make(), hub=choice.hub, seed=seed
    )
    bed = _bed(ws, spaces, told.train, told.held)
    each = [_direction(bed, plain, made.binding, *edge) for edge in _directions(told.held)]
    found = [entry for entry in each if entry is not None]
    if not found:
        raise ConjoinError("--with-fixes", "no held-out pair is left", "drop fewer")
    rows = [_told(name, *arms, seed=seed) for name, *arms in found]
    pooled = [np.concatenate([entry[at] for entry in found]) for at in (1, 2, 3)]
    return {
        "dropped": told.dropped, "moved": told.moved, "linked": told.linked,
        "train": [len(ws.sides(spaces)[0]), len(told.train)],
        "held_out": [len(ws.sides(spaces)[1]), len(told.held)],
        "notes": list(told.notes), "metric": f"recall@{K}",
        "all": _told("all", *pooled, seed=seed), "directions": rows,
    }  # fmt: skip


def _directions(held: Pairs) -> list[tuple[str, str]]:
    return [way for edge in held.edges() for way in (edge, edge[::-1])]


def _bed(ws: Workspace, spaces: Mapping[str, Space], train: Pairs, held: Pairs) -> TestBed:
    rows = {}
    for name in spaces:
        used = held.column(name)
        rows[name] = np.unique(used[used >= 0])
    groups = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))
    return TestBed(spaces, train, held, rows, groups)


def _direction(
    bed: TestBed, plain: Binding, fixed: Binding, query: str, target: str
) -> tuple[str, np.ndarray, np.ndarray, np.ndarray] | None:
    wanted = bed.relevance(query, target)
    clusters = bed.clusters(query, wanted)
    arms = []
    for binding in (plain, fixed):
        q = bound_rows(bed.spaces[query], binding.maps[query], bed.rows[query])
        x = bound_rows(bed.spaces[target], binding.maps[target], bed.rows[target])
        arms.append(rank_queries(as_queries(q, binding.maps[query]), x, wanted).hits(K))
    return f"{query} → {target}", arms[0], arms[1], clusters


def _told(
    name: str, plain: np.ndarray, fixed: np.ndarray, groups: np.ndarray, *, seed: int
) -> dict[str, Any]:
    if len(np.unique(groups)) < 2:
        raise ConjoinError("--with-fixes", f"{name}: one held-out group", "hold out more")
    gain, low, high, p = paired_difference(fixed, plain, groups, seed=seed)
    return {
        "direction": name, "without": float(plain.mean()), "with": float(fixed.mean()),
        "change": gain, "low": low, "high": high, "p": p, "queries": len(plain),
    }  # fmt: skip
