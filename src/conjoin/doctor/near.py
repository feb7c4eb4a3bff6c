"""Things that are there more than once: duplicates, twins, and what leaks over the split.

A near pair is measured by Lowe's ratio: the distance of the two over the distance at which their
further neighbours lie. So one threshold serves every encoder and every part of its space.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.doctor.case import FEWEST, Case, Progress, View
from conjoin.doctor.finding import KINDS, Finding, precision_of

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
    place, column = np.nonzero(view.gaps <= 1.5 * most * view.spread[view.first][:, None])
    left, right = view.first[place], view.near[place, column]
    low, high = np.minimum(left, right), np.maximum(left, right)
    couples = np.unique(np.stack([low, high], axis=1), axis=0)
    found = []
    for start in range(0, len(couples), 4096):
        i, j = couples[start : start + 4096].T
        gap = 1 - np.einsum("nd,nd->n", view.centred(i), view.centred(j))
        ratio = np.maximum(gap, 0) / ((view.spread[i] + view.spread[j]) / 2)
        kept = ratio <= most
        near = zip(i[kept].tolist(), j[kept].tolist(), ratio[kept].tolist(), strict=True)
        found += [Near(a, b, r) for a, b, r in near]
    progress(f"neighbours in {view.name}", 1, 1)
    return sorted(found, key=lambda n: (n.ratio, n.left, n.right))


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
    rows = np.flatnonzero(view.sound)
    order = rows[np.argsort(view.same[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(view.same[order], prepend=-1))
    for part in np.split(order, starts[1:]) if len(order) else []:
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
    ratios: dict[tuple[str, str], dict[str, float]] = {}
    for view in case.views.values():
        ids = view.space.ids
        for near in near_pairs(view, most, progress):
            _note(ratios, view.name, (str(ids[near.left]), str(ids[near.right])), near.ratio)
        for one in _exact(case, view):
            for couple in _couples(one.items):
                _note(ratios, view.name, couple, 0.0)
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


def _note(
    ratios: dict[tuple[str, str], dict[str, float]], name: str, couple: tuple[str, str], r: float
) -> None:
    low, high = sorted(couple)
    if low != high:
        by = ratios.setdefault((low, high), {})
        by[name] = min(r, by.get(name, r))


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
