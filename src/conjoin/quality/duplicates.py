"""Things that are there more than once: duplicates, twins, and what leaks over the split.

A near pair is measured by Lowe's ratio: the distance of the two over the distance at which their
further neighbours lie. So one threshold serves every encoder and every part of its space.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.quality.finding import KINDS, Finding, precision_of
from conjoin.quality.inputs import FEWEST, Case, Progress, View

#: Confidence of a near pair is ``1 / (1 + (ratio / MIDDLE) ** STEEP)``.
MIDDLE, STEEP = 0.25, 4.0
#: The same for twins, whose cells are alike in meaning and not in form.
TWIN_MIDDLE, TWIN_STEEP = 0.4, 4.0
#: Least ratio that counts in a mean of two, and the largest that is looked at, over the mean's.
CLOSE, WIDE = 0.05, 2.5
#: Rows of one group of equal cells that are listed.
LISTED = 20


@dataclass(frozen=True)
class Near:
    """Two rows of one modality that lie near each other: rows, and the ratio of distances."""

    left: int
    right: int
    ratio: float


def near_pairs(view: View, most: float, progress: Progress) -> list[Near]:
    """Pairs of different cells whose ratio is at most ``most``, nearest first.

    Neighbours come from the reduced space; those near enough there are measured in the full one.
    """
    if len(view.first) < FEWEST:
        return []
    progress(f"neighbours in {view.name}", 0, 1)
    left, right = _candidates(view, most)
    ratio = _ratios(view, left, right)
    kept = ratio <= most
    near = zip(left[kept].tolist(), right[kept].tolist(), ratio[kept].tolist(), strict=True)
    progress(f"neighbours in {view.name}", 1, 1)
    return sorted((Near(a, b, r) for a, b, r in near), key=lambda n: (n.ratio, n.left, n.right))


def _candidates(view: View, most: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the pairs that are near enough in the reduced space, the smaller first."""
    place, column = np.nonzero(view.gaps <= 1.5 * most * view.spread[view.first][:, None])
    left, right = view.first[place], view.near[place, column]
    couples = np.unique(np.minimum(left, right) * len(view) + np.maximum(left, right))
    return couples // len(view), couples % len(view)


def _ratios(view: View, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Distances of pairs of rows over the distances of their further neighbours."""
    out = np.empty(len(left))
    for start in range(0, len(left), 4096):
        part = slice(start, start + 4096)
        i, j = left[part], right[part]
        gap = 1 - np.einsum("nd,nd->n", view.centred(i), view.centred(j))
        out[part] = np.maximum(gap, 0) / ((view.spread[i] + view.spread[j]) / 2)
    return out


def sureness(ratio: float, middle: float = MIDDLE, steep: float = STEEP) -> float:
    """Confidence that two things so near are one, from 1 at no distance to 0.5 at ``middle``."""
    return float(1 / (1 + (ratio / middle) ** steep))


def _furthest(least: float, middle: float, steep: float) -> float:
    """The ratio at which confidence is ``least``."""
    least = min(max(least, 1e-3), 1 - 1e-6)
    return float(middle * (1 / least - 1) ** (1 / steep))


def duplicates(case: Case, least: float, progress: Progress) -> list[Finding]:
    """Equal and nearly equal cells of different items, by modality, and items equal throughout."""
    found: list[Finding] = []
    shared: dict[tuple[str, str], dict[str, float]] = {}
    for view in case.views.values():
        mine = [*_exact(case, view), *_close(case, view, least, progress)]
        for one in mine:
            for a, b in _couples(one.items):
                shared.setdefault((a, b), {})[view.name] = one.confidence
        found += mine
    return found + _throughout(case, shared) + _across(case)


def _exact(case: Case, view: View) -> Iterator[Finding]:
    for part in _alike(view):
        items = list(dict.fromkeys(str(view.space.ids[row]) for row in part))
        if len(items) > 1:
            known = bool((view.space.content[part] > 0).all())
            evidence = {
                "cells": "equal" if known else "equal vectors", "count": len(items),
                "linked": _linked(case, items),
            }  # fmt: skip
            yield Finding(
                "duplicate", tuple(items[:LISTED]), view.name, 1.0 if known else 0.99,
                None, evidence, KINDS["duplicate"],
            )  # fmt: skip


def _close(case: Case, view: View, least: float, progress: Progress) -> Iterator[Finding]:
    ids = view.space.ids
    for near in near_pairs(view, _furthest(least, MIDDLE, STEEP), progress):
        items = (str(ids[near.left]), str(ids[near.right]))
        if items[0] != items[1]:
            sure = sureness(near.ratio)
            evidence = {
                "cells": "near", "ratio": round(near.ratio, 4), "linked": _linked(case, items)
            }  # fmt: skip
            yield Finding(
                "duplicate", items, view.name, sure, precision_of("duplicate", sure), evidence,
                KINDS["duplicate"],
            )  # fmt: skip


def _throughout(case: Case, shared: dict[tuple[str, str], dict[str, float]]) -> list[Finding]:
    """Items that are duplicates in every modality that either of them has."""
    has = {name: set(view.space.ids.tolist()) for name, view in case.views.items()}
    found = []
    for (a, b), sure in shared.items():
        either = {name for name, ids in has.items() if a in ids or b in ids}
        if len(either) > 1 and either <= set(sure):
            confidence = min(sure.values())
            evidence = {"cells": "every modality", "linked": _linked(case, (a, b))}
            found.append(
                Finding(
                    "duplicate", (a, b), "+".join(sorted(either)), confidence,
                    precision_of("duplicate", confidence), evidence, KINDS["duplicate"],
                )
            )  # fmt: skip
    return found


def _across(case: Case) -> list[Finding]:
    """Cells of equal content in different modalities: a column read twice, or a cell misplaced."""
    owners: dict[int, list[tuple[str, str]]] = {}
    for name, view in case.views.items():
        for item, content in zip(view.space.ids.tolist(), view.space.content.tolist(), strict=True):
            if content:
                owners.setdefault(content, []).append((name, str(item)))
    found = []
    for held in owners.values():
        names = sorted({name for name, _ in held})
        if len(names) > 1:
            items = tuple(dict.fromkeys(item for _, item in held))
            evidence = {"cells": "equal in both", "linked": _linked(case, items)}
            found.append(
                Finding("duplicate", items[:LISTED], "+".join(names), 1.0, None, evidence,
                        KINDS["duplicate"])
            )  # fmt: skip
    return found


def twins(case: Case, least: float, progress: Progress) -> list[Finding]:
    """Items of different groups that are near in two or more modalities: one thing, twice.

    Confidence is that of the geometric mean of their ratios in the two modalities in which they
    are nearest, a ratio counting as :data:`CLOSE` at least.
    """
    most = WIDE * _furthest(least, TWIN_MIDDLE, TWIN_STEEP)
    number: dict[str, int] = {}
    for view in case.views.values():
        for item in view.space.ids.tolist():
            number.setdefault(str(item), len(number))
    names = list(number)
    told = {v.name: _couples_near(case, v, number, most, progress) for v in case.views.values()}
    each = [np.unique(keys) for keys, _, _ in told.values()]
    keys, count = np.unique(np.concatenate(each), return_counts=True)
    both = keys[count > 1]
    ratios: dict[tuple[str, str], dict[str, float]] = {}
    for name, (mine, left, right) in told.items():
        kept = np.isin(mine, both)
        view, left, right = case.views[name], left[kept], right[kept]
        measured = np.where(view.same[left] == view.same[right], 0, _ratios(view, left, right))
        for key, ratio in zip(mine[kept].tolist(), measured.tolist(), strict=True):
            if ratio <= most:
                one, other = sorted((names[key // len(names)], names[key % len(names)]))
                by = ratios.setdefault((one, other), {})
                by[name] = min(ratio, by.get(name, ratio))
    found = []
    for (a, b), by in ratios.items():
        if len(by) < 2 or _linked(case, (a, b)):
            continue
        nearest = sorted(by.items(), key=lambda entry: entry[1])[:2]
        ratio = float(np.prod([max(value, CLOSE) for _, value in nearest]) ** 0.5)
        sure = sureness(ratio, TWIN_MIDDLE, TWIN_STEEP)
        if sure >= least:
            evidence = {"ratios": {name: round(r, 4) for name, r in sorted(by.items())}}
            found.append(
                Finding(
                    "twin", (a, b), "+".join(sorted(n for n, _ in nearest)), sure,
                    precision_of("twin", sure), evidence, KINDS["twin"],
                )
            )  # fmt: skip
    return found


def _couples_near(
    case: Case, view: View, number: dict[str, int], most: float, progress: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of rows that may be near in a modality: keys of their items, and the rows.

    Equal cells are among them. They are measured only where another modality has the items too.
    """
    progress(f"neighbours in {view.name}", 0, 1)
    item = np.array([number[str(i)] for i in view.space.ids.tolist()], dtype=np.int64)
    left, right = np.array(list(_equal(view)), dtype=np.int64).reshape(-1, 2).T
    if len(view.first) >= FEWEST:
        near = _candidates(view, most)
        left, right = np.append(left, near[0]), np.append(right, near[1])
    low, high = np.minimum(item[left], item[right]), np.maximum(item[left], item[right])
    apart = low != high
    progress(f"neighbours in {view.name}", 1, 1)
    return (low * len(number) + high)[apart], left[apart], right[apart]


def _equal(view: View) -> Iterator[tuple[int, int]]:
    """Pairs of rows that show the same; of many, the first with some others."""
    for part in _alike(view):
        few = part[:LISTED].tolist()
        for at, a in enumerate(few if len(few) <= 6 else few[:1]):
            for b in few[at + 1 :]:
                yield a, b


def _alike(view: View) -> list[np.ndarray]:
    """Sound rows that show the same, where there are several."""
    rows = np.flatnonzero(view.sound)
    order = rows[np.argsort(view.same[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(view.same[order], prepend=-1))
    parts = np.split(order, starts[1:]) if len(order) else []
    return [part for part in parts if len(part) > 1]


def leaks(case: Case, near: list[Finding], least: float) -> list[Finding]:
    """Held-out items that training has in another guise.

    Parameters
    ----------
    near : duplicates and twins, of which those across the split leak.
    """
    if not case.held:
        return []
    found: dict[tuple[str, str], Finding] = {}
    for one in sorted(near, key=lambda f: -f.confidence):
        for a, b in _couples(one.items):
            if (a in case.held) == (b in case.held):
                continue
            held, seen = (a, b) if a in case.held else (b, a)
            evidence = {"held_out": held, "training": seen, "because": one.kind, **one.evidence}
            told = Finding(
                "leak", (held, seen), one.modality, one.confidence,
                precision_of("leak", one.confidence), evidence, KINDS["leak"],
            )  # fmt: skip
            found.setdefault((held, seen), told)
    return [*found.values(), *_same_ids(case), *_split_columns(case, least)]


def _same_ids(case: Case) -> list[Finding]:
    """Ids on both sides that differ in case, blanks, leading zeros or a file's ending alone."""
    sides: dict[str, dict[bool, str]] = {}
    for item in map(str, case.items):
        sides.setdefault(_plain(item), {}).setdefault(item in case.held, item)
    return [
        Finding(
            "leak", (both[True], both[False]), "", 0.9, precision_of("leak", 0.9),
            {"held_out": both[True], "training": both[False], "because": "ids alike"},
            KINDS["leak"],
        )
        for both in sides.values() if len(both) == 2
    ]  # fmt: skip


def _plain(item: str) -> str:
    text = re.sub(r"[\s_-]+", "-", item.strip().casefold())
    text = re.sub(r"\.(png|jpe?g|webp|gif|wav|ogg|flac|mp3|txt|json)$", "", text)
    return re.sub(r"(?<![0-9a-z.])0+(?=\d+(?![0-9a-z]))", "", text)


def _split_columns(case: Case, least: float) -> list[Finding]:
    """Columns of many small groups whose values lie on both sides of the split.

    Such a column (a product, a speaker, a scene) may say what should not be split. Confidence is
    the share of items that share a value and are nearer to each other than random items are.
    """
    found = []
    for name, values in case.columns.items():
        owners: dict[str, list[int]] = {}
        for row, value in enumerate(values):
            if isinstance(value, str | int) and not isinstance(value, bool):
                owners.setdefault(str(value), []).append(row)
        several = [rows for rows in owners.values() if len(rows) > 1]
        filled = sum(map(len, owners.values()))
        if len(owners) < max(10, 0.2 * filled) or not several:
            continue
        torn = [rows for rows in several if len({case.items[r] in case.held for r in rows}) == 2]
        sure = _kinship(case, several) if torn else 0.0
        if sure < least:
            continue
        items = tuple(str(case.items[row]) for rows in torn[:LISTED] for row in rows[:2])
        evidence: dict[str, Any] = {
            "because": "a column's values are on both sides", "column": name, "values": len(torn),
        }  # fmt: skip
        found.append(Finding("leak", items, "", sure, None, evidence, KINDS["leak"]))
    return found


def _kinship(case: Case, several: list[list[int]]) -> float:
    """How often items of one value are nearer than random ones, less how often they are not."""
    rng = np.random.default_rng([case.seed, 17])
    best = 0.0
    couples = [(str(case.items[rows[0]]), str(case.items[rows[1]])) for rows in several[:2000]]
    for view in case.views.values():
        row_of = {str(item): row for row, item in enumerate(view.space.ids.tolist())}
        here = [(row_of[a], row_of[b]) for a, b in couples if a in row_of and b in row_of]
        if len(here) < 5:
            continue
        i, j = np.array(here).T
        other = rng.permutation(len(view))[np.arange(len(i)) % len(view)]
        near = np.einsum("nd,nd->n", view.reduced[i], view.reduced[j])
        far = np.einsum("nd,nd->n", view.reduced[i], view.reduced[other])
        best = max(best, float(2 * (near > far).mean() - 1))
    return best


def _linked(case: Case, items: Any) -> bool:
    return len({case.group(item) for item in items}) == 1


def _couples(items: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Each pair of a few items; of many, the first with each other one."""
    few = items[:LISTED]
    for at, a in enumerate(few if len(few) <= 6 else few[:1]):
        for b in few[at + 1 :]:
            yield (a, b) if a <= b else (b, a)
