"""Views of one encoder as one view: a shared head, and an item's rows as several partners."""

from collections.abc import Mapping

import numpy as np

from conjoin.maps.base import as_array
from conjoin.spaces import Pairs, Rows
from conjoin.spaces.pairs import ABSENT


def tied(
    views: Mapping[str, Rows], pairs: Pairs, frames: Mapping[str, str], kept: Mapping[str, object]
) -> tuple[dict[str, Rows], Pairs, dict[str, str]]:
    """Views, pairs, and the view each stands in, with views of equal frame put together.

    A line of k views of one frame becomes k lines, each with one of them beside the other views.

    Parameters
    ----------
    frames : source frame by view; views without one stand alone.
    kept : views that stand alone whatever their frame.
    """
    members: dict[str, list[str]] = {}
    for name in views:
        alone = name in kept or name not in frames
        members.setdefault(name if alone else f"frame {frames[name]}", []).append(name)
    if len(members) == len(views):
        return dict(views), pairs, {name: name for name in views}
    rows: dict[str, Rows] = {}
    home: dict[str, str] = {}
    columns: dict[str, list[np.ndarray]] = {}
    for names in members.values():
        first = names[0]
        parts = [as_array(views[name]) for name in names] if len(names) > 1 else []
        rows[first] = np.concatenate(parts) if parts else views[first]
        starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
        home |= dict.fromkeys(names, first)
        columns[first] = [
            np.where(own == ABSENT, ABSENT, own + start)
            for own, start in zip((pairs.column(n) for n in names), starts, strict=True)
        ]
    turns = range(max(len(own) for own in columns.values()))
    made = [np.stack([own[t % len(own)] for own in columns.values()], axis=1) for t in turns]
    lines = np.stack(made, axis=1).reshape(-1, len(columns))
    weight, group = (np.repeat(part, len(turns)) for part in (pairs.weight, pairs.group))
    every = Pairs(tuple(columns), lines, weight, group)
    return rows, every.select(tuple(columns)), home
