"""Whether probabilities keep their word on held-out queries, and what "nothing" rejects."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.errors import ConjoinError
from conjoin.metrics.retrieval.relevance import Relevance, relevance_by_id
from conjoin.retrieval.calibration.calibration import CONTEXT, Calibration
from conjoin.retrieval.calibration.graded_relevance import RELEVANT, Grades
from conjoin.retrieval.calibration.out_of_distribution import MOST, familiarity, spread
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.evaluation import TestBed
from conjoin.retrieval.hits import Hits
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.ranking.choose_fair import Asked, Mixed, measure
from conjoin.retrieval.ranking.modality_fair import MIXINGS, Mixing
from conjoin.spaces import Space
from conjoin.stats.bootstrap import ends, interval, mean_draws
from conjoin.storage.digest import stable_hash

#: Bins of probability in a table of reliability, with equal numbers of queries: so many at most,
#: and as few as hold so many each.
BINS, EACH = 8, 20
#: Draws of outcomes from the probabilities themselves.
DRAWS = 500


@dataclass(frozen=True)
class Reliability:
    """How one direction's calibration does on held-out queries among held-out items.

    Parameters
    ----------
    meaning : what a probability is the chance of: ``partner`` or ``relevant``.
    error : expected calibration error of the best hits: the mean over bins of how far the share
        of right ones lies from the mean probability. ``error_low, error_high`` resample groups;
        ``error_ideal`` is what probabilities that are exactly right would show by luck alone.
    table : ``(mean probability, share right, hits)`` of each bin.
    kept : share of lists with a right answer among their first ten that are not said to hold
        nothing relevant, with its interval.
    rejected : share told so once every right answer was taken out, with its interval.
    scrambled : the same for queries whose coordinates were shuffled among items.
    """

    query: str
    target: str
    queries: int
    rows: int
    error: float
    error_low: float
    error_high: float
    error_ideal: float
    table: tuple[tuple[float, float, int], ...]
    kept: tuple[float, float, float]
    rejected: tuple[float, float, float]
    scrambled: tuple[float, float, float]
    curve: str
    meaning: str = "partner"

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in self.__dict__.items()}


@dataclass(frozen=True)
class Trust:
    """What scores and mixed lists are worth on held-out queries.

    Parameters
    ----------
    mixing : the way in use.
    """

    reliability: tuple[Reliability, ...]
    mixed: tuple[Mixed, ...]
    mixing: str

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "reliability": [one.to_json() for one in self.reliability],
            "mixed": [one.to_json() for one in self.mixed], "mixing": self.mixing,
        }  # fmt: skip

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Trust":
        """Read back what :meth:`to_json` wrote."""
        told = [
            Reliability(**{
                **one, "table": tuple(tuple(row) for row in one["table"]),
                **{key: tuple(one[key]) for key in ("kept", "rejected", "scrambled")},
            })
            for one in raw["reliability"]
        ]  # fmt: skip
        mixed = [Mixed(**{**one, "gain": tuple(one["gain"])}) for one in raw["mixed"]]
        return cls(tuple(told), tuple(mixed), raw["mixing"])


def trust(
    bed: TestBed, binding: Binding, rules: Rules, *, seed: int = 0,
    pieces: Mapping[str, Space] = {}, grades: Grades | None = None,
) -> Trust:  # fmt: skip
    """Put held-out queries to an index of held-out items and read what it says of them.

    Parameters
    ----------
    pieces : by modality, pieces of held-out cells under their items' ids and parts; they ask
        their own modality, and all of them at once.
    grades : what is relevant beside partners, for probabilities that say so.
    """
    if binding.frame.score == "maxsim":
        return Trust((), (), rules.mixing.method)
    raw = {n: bed.spaces[n].take(bed.rows[n]) for n in bed.spaces if n in binding.maps}
    bound = {name: binding.bind(name, space) for name, space in raw.items()}
    whole = {name: bed.spaces[name] for name in bound}
    index = Index.build(
        bound, rules.corrections(binding, whole, bed.train, bound, bed.rows),
        calibrations=rules.serving(bound), mixing=rules.mixing,
    )  # fmt: skip
    index = replace(index, familiar=_trained(bed, binding, bound))
    found: list[Reliability] = []
    asked: dict[tuple[str, str], tuple[Relevance, list[Hits]]] = {}
    for query, target in bed.directions():
        if query not in bound or target not in bound:
            continue
        try:
            wanted = bed.relevance(query, target)
        except ConjoinError:
            continue
        space = bound[query].take(wanted.queries)
        deep = CONTEXT + int(wanted.counts.max()) + 1
        lists = index.search_many(space, query, into=[target], k=deep)
        asked[query, target] = (wanted, lists)
        calibration = index.calibrations.get((query, target))
        if calibration is None:
            continue
        odd = binding.bind(query, _scrambled(raw[query].take(wanted.queries), seed))
        strange = index.search_many(odd, query, into=[target], k=CONTEXT)
        groups = bed.clusters(query, wanted)
        right, far = right_ids(wanted, bound[target]), None
        if grades is not None and calibration.meaning == RELEVANT:
            right = _relevant(right, grades, space, bound[target])
            far = _far(index, query, space, grades, calibration)
            gone = CONTEXT + max(map(len, right)) + 1
            lists = index.search_many(space, query, into=[target], k=gone)
        found.append(_one((query, target), calibration, (right, far), lists, strange, groups, seed))
    cut = {}
    for name in (name for name in pieces if name in bound):
        told, own = _by_pieces(bed, binding, index, (name, pieces[name]), seed)
        found.extend(told)
        cut.update(own)
    asked = {edge: one for edge, one in asked.items() if (edge[0], edge[0]) not in cut} | cut
    mixed = _mixed(bed, bound, asked, rules.mixing, seed)
    return Trust(tuple(found), tuple(mixed), rules.mixing.method)


def _by_pieces(
    bed: TestBed, binding: Binding, index: Index, pieces: tuple[str, Space], seed: int
) -> tuple[list[Reliability], dict[tuple[str, str], tuple[Relevance, list[Hits]]]]:
    """Pieces of a modality's held-out cells, put to every modality; what is said of their own."""
    name, cut = pieces
    held = bed.spaces[name].take(bed.rows[name])
    place = {key: row for row, key in enumerate(zip(held.ids, held.parts, strict=True))}
    cut = cut.take(np.array([(i, p) in place for i, p in zip(cut.ids, cut.parts, strict=True)]))
    whole = np.array([place[key] for key in zip(cut.ids, cut.parts, strict=True)], dtype=np.int64)
    cut, whole = cut.take(np.argsort(whole)), np.sort(whole)
    known: list[Reliability] = []
    found: dict[tuple[str, str], tuple[Relevance, list[Hits]]] = {}
    if not len(whole):
        return known, found
    asks = binding.bind(name, cut)
    for target in index.spaces:
        try:
            wanted = bed.relevance(name, target) if target != name else relevance_by_id(held, held)
        except ConjoinError:
            continue
        wanted, kept = _of_rows(wanted, whole)
        if not len(kept):
            continue
        deep = CONTEXT + int(wanted.counts.max()) + 1
        lists = index.search_many(asks.take(kept), name, into=[target], k=deep)
        found[name, target] = (wanted, lists)
        calibration = index.calibrations.get((name, target))
        if target != name or calibration is None:
            continue
        odd = binding.bind(name, _scrambled(cut.take(kept), seed))
        strange = index.search_many(odd, name, into=[target], k=CONTEXT)
        groups = bed.clusters(name, wanted)
        right = right_ids(wanted, index.spaces[target])
        known.append(_one((name, target), calibration, (right, None), lists, strange,
                          groups, seed))  # fmt: skip
    return known, found


def _of_rows(wanted: Relevance, rows: np.ndarray) -> tuple[Relevance, np.ndarray]:
    """The answers of some queries, and which of ``rows`` have any."""
    lines = np.flatnonzero(np.isin(wanted.queries, rows))
    kept = np.flatnonzero(np.isin(rows, wanted.queries))
    if not len(lines):
        return wanted, kept
    items = [wanted.of(int(line)) for line in lines]
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in items])])
    made = Relevance(
        wanted.queries[lines], offsets, np.concatenate(items), wanted.item_of, wanted.dropped
    )
    return made, kept


def _trained(bed: TestBed, binding: Binding, names: Iterable[str]) -> dict[str, Space]:
    """The training rows of each modality, which queries are compared with."""
    found = {}
    for name in names:
        rows = bed.train.column(name)
        found[name] = binding.bind(name, bed.spaces[name].take(np.unique(rows[rows >= 0])))
    return found


def _scrambled(space: Space, seed: int) -> Space:
    """Queries that look like the modality coordinate by coordinate, and like nothing as a whole."""
    rng = np.random.default_rng([seed, stable_hash("scrambled")])
    x = np.array(space.pooled().vectors, dtype=np.float32)
    for column in range(x.shape[1]):
        x[:, column] = x[rng.permutation(len(x)), column]
    return replace(space, vectors=x)


def right_ids(wanted: Relevance, gallery: Space) -> list[set[str]]:
    """Ids of the right answers of each query."""
    by_item: dict[int, set[str]] = {}
    for item, name in zip(wanted.item_of, gallery.ids, strict=True):
        by_item.setdefault(int(item), set()).add(str(name))
    return [
        set().union(*(by_item[int(item)] for item in wanted.of(line)))
        for line in range(len(wanted))
    ]


def _relevant(
    right: Sequence[set[str]], grades: Grades, asked: Space, gallery: Space
) -> list[set[str]]:
    """Right answers and whatever else is relevant."""
    ids = gallery.ids.astype(str)
    marks = grades.relevant(asked.ids, ids)
    return [own | set(ids[mark].tolist()) for own, mark in zip(right, marks, strict=True)]


def _far(
    index: Index, query: str, asked: Space, grades: Grades, calibration: Calibration
) -> np.ndarray | None:
    """How familiar queries are once what is relevant to them is gone."""
    held = index.familiar[query]
    rows = spread(len(held), int(calibration.facts.get("bank", MOST)))
    gone = grades.relevant(asked.ids, held.ids[rows])
    return familiarity(
        np.asarray(asked.vectors), np.asarray(held.take(rows).vectors, np.float32), gone
    )


def _one(
    edge: tuple[str, str],
    calibration: Calibration,
    answers: tuple[Sequence[set[str]], np.ndarray | None],
    lists: Sequence[Hits],
    strange: Sequence[Hits],
    groups: np.ndarray,
    seed: int,
) -> Reliability:
    right, far = answers
    rows = calibration.rows
    best, hit, off, within, refused = [], [], [], [], []
    for line, (found, own) in enumerate(zip(lists, right, strict=True)):
        shown = found.lists[edge[1]]
        refused.append(edge[1] in found.nothing)
        best.append(shown[0].probability or 0.0)
        hit.append(shown[0].id in own)
        within.append(any(h.id in own for h in shown[:CONTEXT]))
        others = np.array([h.score for h in shown if h.id not in own])
        near = None if far is None else float(far[line])
        p = calibration.probabilities(others, rows) if len(others) else np.zeros(1)
        off.append(calibration.odd(near) is not None
                   or float(calibration.chance(p, near)) < calibration.least(rows))  # fmt: skip
    odd = np.array([edge[1] in found.nothing for found in strange])
    no = np.array(refused)
    p, y = np.array(best), np.array(hit, dtype=float)
    every = np.ones(len(p), dtype=bool)
    error, low, high, ideal, table = expected_error(p, y, groups, seed)

    def share(values: np.ndarray, of: np.ndarray) -> tuple[float, float, float]:
        value, owner = values[of].astype(float), groups[of]
        if len(np.unique(owner)) < 2:
            return (float(value.mean()) if len(value) else 1.0), 0.0, 1.0
        return float(value.mean()), *interval(value, owner, seed=seed)

    return Reliability(
        *edge, len(p), rows, error, low, high, ideal, table, share(~no, np.array(within)),
        share(np.array(off) | (no if far is None else ~every), every), share(odd, every),
        calibration.curve, calibration.meaning,
    )  # fmt: skip


def expected_error(
    p: np.ndarray, y: np.ndarray, groups: np.ndarray, seed: int = 0, bins: int | None = None
) -> tuple[float, float, float, float, tuple[tuple[float, float, int], ...]]:
    """Calibration error over bins of equal numbers, its interval, its level by luck, the table.

    ``Σ_b n_b / n · |mean p − mean y|``. The error is a mean of absolute values and so above 0 for
    the best of calibrations; ``ideal`` is its mean where outcomes are drawn from ``p``. There are
    :data:`BINS` bins, or as many as hold :data:`EACH` each where that is fewer.

    Examples
    --------
    >>> p = np.repeat([0.1, 0.9], 50)
    >>> y = np.concatenate([np.arange(50) < 5, np.arange(50) < 45]).astype(float)
    >>> round(expected_error(p, y, np.arange(100), bins=2)[0], 6)
    0.0
    """
    bins = max(1, min(BINS, len(p) // EACH)) if bins is None else bins
    order = np.argsort(p, kind="stable")
    place = np.empty(len(p), dtype=np.int64)
    place[order] = np.minimum(np.arange(len(p)) * bins // len(p), bins - 1)
    marks = np.eye(bins)[place]

    def error(gap: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(gap @ marks / len(p)).sum(axis=-1))

    value = float(error(p - y))
    low = high = value
    if len(np.unique(groups)) > 1:
        drawn = np.abs(mean_draws(marks * (p - y)[:, None], groups, seed=seed)).sum(axis=1)
        # A resampled mean of absolute values lies above the sample's; its spread is what counts.
        low, high = ends(drawn - drawn.mean() + value, len(np.unique(groups)), 0.95)
        low, high = max(0.0, min(low, value)), max(high, value)
    rng = np.random.default_rng([seed, stable_hash("ideal")])
    ideal = float(error(p - (rng.random((DRAWS, len(p))) < p)).mean())
    table = tuple(
        (float(p[place == b].mean()), float(y[place == b].mean()), int((place == b).sum()))
        for b in range(bins)
        if (place == b).any()
    )
    return value, low, high, ideal, table


def _mixed(
    bed: TestBed,
    bound: Mapping[str, Space],
    asked: Mapping[tuple[str, str], tuple[Relevance, list[Hits]]],
    rule: Mixing,
    seed: int,
) -> list[Mixed]:
    """Mixed lists of every query that has answers in two modalities or more."""
    lines: dict[tuple[str, int], dict[str, int]] = {}
    for (source, target), (wanted, _) in asked.items():
        for line, row in enumerate(wanted.queries):
            lines.setdefault((source, int(row)), {})[target] = line
    found = []
    known = {edge: right_ids(wanted, bound[edge[1]]) for edge, (wanted, _) in asked.items()}
    for (source, row), own in lines.items():
        if len(own) < 2:
            continue
        shown = {t: asked[source, t][1][line].lists[t][:CONTEXT] for t, line in own.items()}
        counts = {t: int(asked[source, t][0].counts[line]) for t, line in own.items()}
        right = set().union(*(known[source, t][line] for t, line in own.items()))
        item = str(bound[source].ids[row])
        share = {t: count / sum(counts.values()) for t, count in counts.items()}
        found.append(Asked(source, shown, frozenset(right), share, bed.groups.get(item, item)))
    return measure(found, {name: Mixing(name, rule.spread) for name in MIXINGS}, seed)
