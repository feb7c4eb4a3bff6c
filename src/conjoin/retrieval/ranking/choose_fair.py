"""Which way of mixing lists is fair and finds most: a choice on held-out queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.retrieval.calibration.cross_fit import Edge, Rehearsal
from conjoin.retrieval.calibration.fit import Fitted, Lists
from conjoin.retrieval.hits import Hit
from conjoin.retrieval.hubness.choose import simultaneous
from conjoin.retrieval.hubness.csls import Corrector
from conjoin.retrieval.ranking.modality_fair import MIXINGS, Mixing

#: Places of a mixed list that count.
K = 10
#: How far exposure may be from its target, as a share of all places.
FAIR = 0.1


@dataclass(frozen=True, eq=False)
class Asked:
    """A query with its lists by target modality, its right ids, and the target of exposure.

    Parameters
    ----------
    share : what part of the shown places each modality should have; that of its right answers.
    """

    source: str
    lists: Mapping[str, tuple[Hit, ...]]
    right: frozenset[str]
    share: Mapping[str, float]
    group: Any


@dataclass(frozen=True)
class Mixed:
    """What one way of mixing came to over the queries of one modality.

    Parameters
    ----------
    recall : share of queries with a right answer among the first ten of the mixed list.
    gain : over ``rrf``; the interval holds for all ways at once.
    exposure : share of shown places by modality; ``target`` what it should be.
    off : half the sum of their differences.
    """

    source: str
    method: str
    recall: float
    gain: tuple[float, float, float]
    exposure: Mapping[str, float]
    target: Mapping[str, float]
    off: float
    queries: int

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {**self.__dict__, "gain": list(self.gain), "exposure": dict(self.exposure),
                "target": dict(self.target)}  # fmt: skip


def measure(asked: Sequence[Asked], ways: Mapping[str, Mixing], seed: int = 0) -> list[Mixed]:
    """Recall and exposure of every way that every query's lists allow, by source modality."""
    found = []
    for source in dict.fromkeys(one.source for one in asked):
        own = [one for one in asked if one.source == source]
        usable = {
            name: way for name, way in ways.items()
            if all(way.covers(source, one.lists) for one in own)
        }  # fmt: skip
        mixed = {
            name: [[hit for hit, _ in way.order(one.lists, K, source)[1]] for one in own]
            for name, way in usable.items()
        }
        hits = {
            name: np.array([
                any(hit.id in one.right for hit in shown)
                for one, shown in zip(own, lists, strict=True)
            ], dtype=float)
            for name, lists in mixed.items()
        }  # fmt: skip
        groups = np.array([str(one.group) for one in own])
        if len(set(groups.tolist())) < 2:
            continue
        gaps = np.stack([hits[name] - hits["rrf"] for name in usable], axis=1)
        gains = simultaneous(gaps, groups, seed)
        target = _mean_share([one.share for one in own])
        for name, gain in zip(usable, gains, strict=True):
            exposure = _exposure(mixed[name], list(own[0].lists))
            off = sum(abs(exposure[m] - target.get(m, 0.0)) for m in exposure) / 2
            recall = float(hits[name].mean())
            found.append(Mixed(source, name, recall, gain, exposure, target, off, len(own)))
    return found


def _mean_share(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for share in shares for name in share)
    return {name: float(np.mean([share.get(name, 0.0) for share in shares])) for name in names}


def _exposure(lists: Sequence[Sequence[Hit]], names: Sequence[str]) -> dict[str, float]:
    shown = [hit.modality for hits in lists for hit in hits]
    return {name: shown.count(name) / max(1, len(shown)) for name in names}


def choose(measured: Sequence[Mixed]) -> str:
    """The way that finds most among those that are fair to every source, if clearly more.

    Fair is an exposure within :data:`FAIR` of its target. Reciprocal rank stays unless another
    way's gain over it, averaged over sources, is above 0 by every source's interval or has none
    below 0 and one above.
    """
    best, most = "rrf", 0.0
    for name in dict.fromkeys(one.method for one in measured):
        own = [one for one in measured if one.method == name]
        sources = {one.source for one in measured}
        if {one.source for one in own} != sources or max(one.off for one in own) > FAIR:
            continue
        worse = any(one.gain[2] < 0 for one in own)
        better = any(one.gain[1] > 0 for one in own)
        mean = float(np.mean([one.gain[0] for one in own]))
        if better and not worse and mean > most:
            best, most = name, mean
    return best


def spreads(lists: Mapping[Edge, Lists]) -> dict[Edge, tuple[float, float]]:
    """Mean and spread of each direction's first scores."""
    return {
        edge: (float(own.scores.mean()), float(max(own.scores.std(), 1e-9)))
        for edge, own in lists.items()
    }


def asked_of(
    rehearsal: Rehearsal,
    lists: Mapping[Edge, Lists],
    fitted: Mapping[Edge, Fitted],
    chosen: Mapping[Edge, Corrector],
) -> list[Asked]:
    """Every rehearsed query that has lists in two modalities or more."""
    ids = {name: space.ids for name, space in rehearsal.spaces.items()}
    by_query: dict[tuple[str, int, int], dict[str, int]] = {}
    for (source, target), own in lists.items():
        for line, (fold, row) in enumerate(zip(own.fold, own.asked, strict=True)):
            by_query.setdefault((source, int(fold), int(row)), {})[target] = line
    found = []
    for (source, _, _), lines in by_query.items():
        if len(lines) < 2:
            continue
        made, right, counts = {}, set(), {}
        for target, line in lines.items():
            edge = (source, target)
            own = lists[edge]
            name = chosen[edge].name if edge in chosen else None
            likely = fitted[edge].held_out[line] if edge in fitted else None
            made[target] = _hits(own, line, ids[target], target, name, likely)
            counts[target] = int(own.answers[line])
            right |= {str(item) for item in ids[target][own.partners[line]]}
        total = sum(counts.values())
        share = {name: count / total for name, count in counts.items()}
        first = next(iter(lines))
        group = lists[source, first].groups[lines[first]]
        found.append(Asked(source, made, frozenset(right), share, group))
    return found


def _hits(
    own: Lists, line: int, ids: np.ndarray, target: str, name: str | None, likely: np.ndarray | None
) -> tuple[Hit, ...]:
    hits = []
    for place, row in enumerate(own.rows[line]):
        score, plain = float(own.scores[line, place]), float(own.plain[line, place])
        scores = {"cosine": plain} if name is None else {"cosine": plain, name: score}
        p = None if likely is None else float(likely[place])
        hits.append(Hit(str(ids[row]), target, 0, score, place + 1, scores, probability=p))
    return tuple(hits)


def mixing(
    rehearsal: Rehearsal,
    lists: Mapping[Edge, Lists],
    fitted: Mapping[Edge, Fitted],
    chosen: Mapping[Edge, Corrector],
    pieces: tuple[Mapping[Edge, Lists], Mapping[Edge, Fitted]] = ({}, {}),
) -> Mixing:
    """The way to mix, chosen on rehearsed queries, with what was measured of every way.

    Parameters
    ----------
    pieces : lists asked by pieces of cells, and what is said of them. Where the query's own
        modality is among them they take the place of the others: such is a search of everything.
    """
    cut = asked_of(rehearsal, *pieces, chosen)
    cut = [one for one in cut if one.source in one.lists]
    own = {one.source for one in cut}
    asked = [one for one in asked_of(rehearsal, lists, fitted, chosen) if one.source not in own]
    asked += cut
    spread = {**spreads({e: x for e, x in pieces[0].items() if e[0] == e[1]}), **spreads(lists)}
    ways = {name: Mixing(name, spread) for name in MIXINGS}
    measured = measure(asked, ways, rehearsal.seed)
    facts = tuple(one.to_json() for one in measured)
    return Mixing(choose(measured) if measured else "rrf", spread, facts)
