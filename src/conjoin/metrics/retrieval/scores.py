"""Retrieval scores: how high the right answers rank, with what chance would reach."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError, nearest
from conjoin.metrics.measurement import Measurement
from conjoin.metrics.retrieval.ranks import Ranking, discounts, rank_queries
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.spaces import Space, Tokens, require_same
from conjoin.stats.bootstrap import ends, mean_draws, median_interval

#: What is reported when nothing else is asked for.
METRICS = ("recall@1", "recall@5", "recall@10", "mrr", "ndcg@10", "median_rank")


@runtime_checkable
class Metric(Protocol):
    """A frozen dataclass that reads a ranking; its catalogue rows are of kind ``measure``."""

    range: ClassVar[tuple[float, float]]
    higher_is_better: ClassVar[bool]
    average: ClassVar[str]

    @property
    def name(self) -> str:
        """What people call it, such as ``recall@10``."""
        ...

    @property
    def meaning(self) -> str:
        """One plain sentence."""
        ...

    def per_query(self, ranking: Ranking) -> np.ndarray:
        """``[q]`` values; the metric is their mean or median, as ``average`` says."""
        ...

    def chance(self, relevance: Relevance) -> float:
        """The exact value for galleries sorted at random."""
        ...

    def __call__(self, ranking: Ranking) -> Measurement:
        """The measurement, without an interval."""
        ...


class _Measured:
    """What every metric gets from ``per_query``: the call."""

    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    average: ClassVar[str] = "mean"

    def __call__(self: Any, ranking: Ranking) -> Measurement:
        summary = np.median if self.average == "median" else np.mean
        value = float(summary(self.per_query(ranking)))
        return _measurement(self, value, len(ranking), ranking.n_items)


@dataclass(frozen=True)
class Recall(_Measured):
    r"""Share of queries with a right answer among the first ``k`` items (a hit on any counts).

    Also known as success@k or hit rate. By chance
    :math:`1 - \binom{n - r}{k} / \binom{n}{k}` with ``r`` right answers among ``n``.
    """

    k: int = 10

    def __post_init__(self) -> None:
        _check_k(self.name, self.k)

    @property
    def name(self) -> str:
        """``recall@k``."""
        return f"recall@{self.k}"

    @property
    def meaning(self) -> str:
        """One plain sentence."""
        return f"Share of queries with a right answer among the first {self.k}."

    def per_query(self, ranking: Ranking) -> np.ndarray:
        """1 where a right answer is among the first ``k``, else 0."""
        return ranking.hits(self.k)

    def chance(self, relevance: Relevance) -> float:
        """The exact value for galleries sorted at random."""
        k = min(self.k, relevance.n_items)
        return _expected(relevance, lambda n, r: 1 - _missed(n, r)[k])


@dataclass(frozen=True)
class MRR(_Measured):
    """Mean of one over the rank of the first right answer (Voorhees 1999)."""

    name: ClassVar[str] = "mrr"
    meaning: ClassVar[str] = "One over the rank of the first right answer, on average."

    def per_query(self, ranking: Ranking) -> np.ndarray:
        """One over the best rank."""
        return ranking.reciprocals()

    def chance(self, relevance: Relevance) -> float:
        """The exact value for galleries sorted at random."""
        return _expected(
            relevance, lambda n, r: float((-np.diff(_missed(n, r)) / np.arange(1, n + 1)).sum())
        )


@dataclass(frozen=True)
class NDCG(_Measured):
    r"""Discounted gain of the right answers among the first ``k``, over the best possible.

    .. math:: \frac{\sum_{i \le k,\ i\ \text{right}} 1 / \log_2(i + 1)}
                   {\sum_{i \le \min(r, k)} 1 / \log_2(i + 1)}

    Source: Järvelin and Kekäläinen 2002, with gains of 0 and 1.
    """

    k: int = 10

    def __post_init__(self) -> None:
        _check_k(self.name, self.k)

    @property
    def name(self) -> str:
        """``ndcg@k``."""
        return f"ndcg@{self.k}"

    @property
    def meaning(self) -> str:
        """One plain sentence."""
        return f"How near the first {self.k} are to the best order, early places counting more."

    def per_query(self, ranking: Ranking) -> np.ndarray:
        """Discounted gain over its ideal."""
        return ranking.gains(self.k)

    def chance(self, relevance: Relevance) -> float:
        """The exact value for galleries sorted at random."""
        gains = discounts(min(self.k, relevance.n_items))
        return _expected(
            relevance, lambda n, r: r / n * gains.sum() / gains[: min(r, self.k)].sum()
        )


@dataclass(frozen=True)
class MAP(_Measured):
    """Mean over queries of the average precision at each right answer, over the whole gallery."""

    name: ClassVar[str] = "map"
    meaning: ClassVar[str] = "Share of right answers down to each right answer, on average."

    def per_query(self, ranking: Ranking) -> np.ndarray:
        """Average precision of each query."""
        return ranking.precisions()

    def chance(self, relevance: Relevance) -> float:
        """The exact value for galleries sorted at random."""
        harmonic = float((1 / np.arange(1, relevance.n_items + 1)).sum())
        return _expected(
            relevance, lambda n, r: (harmonic + (r - 1) / max(n - 1, 1) * (n - harmonic)) / n
        )


@dataclass(frozen=True)
class MedianRank(_Measured):
    """Median over queries of the rank of the first right answer."""

    name: ClassVar[str] = "median_rank"
    meaning: ClassVar[str] = (
        "Half of the queries find their first right answer at this rank or better."
    )
    range: ClassVar[tuple[float, float]] = (1.0, math.inf)
    higher_is_better: ClassVar[bool] = False
    average: ClassVar[str] = "median"

    def per_query(self, ranking: Ranking) -> np.ndarray:
        """The best rank."""
        return ranking.best.astype(np.float64)

    def chance(self, relevance: Relevance) -> float:
        """The median of the best rank over all queries and all random orders."""
        n = relevance.n_items
        numbers, shares = np.unique(relevance.counts, return_counts=True)
        missed = sum(
            share / len(relevance) * _missed(n, int(r))
            for r, share in zip(numbers, shares, strict=True)
        )
        # Two ends, as for a sample's median: the chance to be later falls to, then below, a half.
        first = np.flatnonzero(missed <= 0.5 + 1e-12)[0]
        after = np.flatnonzero(missed < 0.5 - 1e-12)[0]
        return float(first + after) / 2


def metric(name: str) -> Metric:
    """The retrieval metric of that name; any ``k`` goes, as in ``recall@50``.

    Raises
    ------
    ConjoinError : there is none; near matches are named.

    Examples
    --------
    >>> metric("ndcg@3")
    NDCG(k=3)
    """
    known = of_kind("metric")
    if name in known:
        made = known[name].make()
        if isinstance(made, Metric):
            return made
        raise ConjoinError("metric", f"{name} does not read a ranking", f"give one of {METRICS}")
    base, _, k = name.partition("@")
    row = known.get(f"{base}@10")
    if row is None or not k.isdecimal():
        raise ConjoinError("metric", f"{name!r} is unknown", nearest(name, known))
    return row.make({"k": int(k)})


def chance(relevance: Relevance, name: str) -> float:
    """What metric ``name`` is worth, exactly, when galleries are sorted at random."""
    return float(metric(name).chance(relevance))


def chance_measurements(
    relevance: Relevance, metrics: Sequence[str] = METRICS
) -> list[Measurement]:
    """The row of chance in a table: each metric's exact value for galleries sorted at random."""
    asked = [metric(name) for name in metrics]
    return [
        _measurement(each, each.chance(relevance), len(relevance), relevance.n_items)
        for each in asked
    ]


def evaluate_direction(
    query: Space,
    gallery: Space,
    relevance: Relevance,
    groups: np.ndarray | None = None,
    metrics: Sequence[str] = METRICS,
    *,
    scale: float = 1.0,
    offset: np.ndarray | None = None,
    seed: int = 0,
) -> list[Measurement]:
    """Measure one direction of search with 95 % intervals by group.

    Rows are scored as their frame says: by angle, inner product, geodesic distance, or token by
    token.

    Parameters
    ----------
    query, gallery : vectors bound into one frame, the rows ``relevance`` was built from.
    groups : ``[len(relevance)]`` cluster of each query that has an answer; its item id when not
        given. With fewer than two groups there is no interval.
    metrics : names of retrieval metrics.
    scale, offset : a correction, as in :func:`rank_queries`.

    Raises
    ------
    FrameError : the frames differ.
    ConjoinError : a metric is unknown, or lengths disagree.
    """
    require_same(query.frame, gallery.frame, "evaluate")
    wanted = [metric(name) for name in metrics]
    groups = query.ids[relevance.queries] if groups is None else np.asarray(groups)
    if len(groups) != len(relevance):
        raise ConjoinError(
            "groups", f"{len(groups)} for {len(relevance)} queries with an answer", "give one each"
        )
    asked, shown = query.vectors, gallery.vectors
    if query.frame.score != "maxsim":
        asked, shown = query.frame.query(_whole(query)), gallery.frame.item(_whole(gallery))
    ranking = rank_queries(asked, shown, relevance, scale=scale, offset=offset)
    return with_intervals(ranking, wanted, groups, seed=seed)


def with_intervals(
    ranking: Ranking,
    metrics: Sequence[Metric],
    groups: np.ndarray,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> list[Measurement]:
    """The measurements of a ranking with intervals; all metrics share the same resamples.

    Parameters
    ----------
    metrics : metrics, not names.
    groups : ``[len(ranking)]`` cluster of each ranked query.
    """
    found = [each(ranking) for each in metrics]
    count = len(np.unique(groups))
    if count < 2:
        return found
    means = [i for i, each in enumerate(metrics) if each.average == "mean"]
    spans: dict[int, tuple[float, float]] = {}
    if means:
        values = np.stack([metrics[i].per_query(ranking) for i in means], axis=1)
        drawn = mean_draws(values, groups, seed=seed)
        spans = {i: ends(drawn[:, column], count, level) for column, i in enumerate(means)}
    for i, each in enumerate(metrics):
        if i not in spans:
            spans[i] = median_interval(each.per_query(ranking), groups, level=level, seed=seed)
    return [replace(one, low=spans[i][0], high=spans[i][1]) for i, one in enumerate(found)]


def _whole(space: Space) -> np.ndarray:
    """A space's vectors as one float32 array."""
    if isinstance(space.vectors, Tokens):
        raise ConjoinError(space.frame.label, "holds token sets", "pool them: space.pooled()")
    return np.asarray(space.vectors, dtype=np.float32)


def _measurement(each: Metric, value: float, n: int, n_items: int) -> Measurement:
    least, most = each.range
    span = (least, float(n_items) if math.isinf(most) else most)
    return Measurement(each.name, value, None, None, n, span, each.higher_is_better, each.meaning)


def _check_k(name: str, k: int) -> None:
    if k < 1:
        raise ConjoinError(name, f"k is {k}", "give at least 1")


def _missed(n: int, r: int) -> np.ndarray:
    """``[n + 1]`` chance that none of ``r`` right answers is among the first 0, 1, … n of ``n``."""
    left = np.arange(n, 0, -1)
    return np.concatenate([[1.0], np.cumprod(np.maximum(left - r, 0) / left)])


def _expected(relevance: Relevance, of: Callable[[int, int], float]) -> float:
    """Mean over queries of a function of the gallery's size and the number of right answers."""
    numbers, shares = np.unique(relevance.counts, return_counts=True)
    values = [of(relevance.n_items, int(r)) for r in numbers]
    return float(np.average(values, weights=shares))
