"""What each direction gained or lost by a change, on the same queries."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.metrics.retrieval.ranks import rank_queries
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.spaces import Space
from conjoin.stats.bootstrap import interval, paired_difference

METRIC, FIRST = "recall@10", 10


@dataclass(frozen=True, eq=False)
class Asked:
    """One direction: which rows ask, which are searched, and who is right for whom."""

    query: str
    target: str
    rows: np.ndarray
    gallery: np.ndarray
    wanted: Relevance
    groups: np.ndarray


@dataclass(frozen=True)
class Change:
    """A direction before and after.

    Parameters
    ----------
    before, after : recall@10; ``None`` where the direction was, or is, not there.
    gain, low, high : of the difference on the same queries, or of what is there.
    n : queries.
    """

    query: str
    target: str
    before: float | None
    after: float | None
    gain: float
    low: float
    high: float
    n: int

    @property
    def said(self) -> str:
        """Gained, lost, the same, new or gone."""
        if self.before is None:
            return "new"
        if self.after is None:
            return "gone"
        if self.low > 0:
            return "gained"
        return "lost" if self.high < 0 else "no sure change"

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {**self.__dict__, "metric": METRIC, "said": self.said}


def regression(
    before: Mapping[str, Space], after: Mapping[str, Space], asks: Iterable[Asked], seed: int = 0
) -> list[Change]:
    """Every direction's recall@10 before and after, paired by query, resampled by group.

    Parameters
    ----------
    before, after : bound vectors by modality, each side of one frame; rows of a modality that is
        in both are in the same order.
    """
    found = []
    for ask in asks:
        values = [_hits(side, ask) for side in (before, after)]
        known = [v for v in values if v is not None]
        if not known:
            continue
        if len(known) == 2:
            gain, low, high, _ = paired_difference(known[1], known[0], ask.groups, seed=seed)
        else:
            sign = 1.0 if values[1] is not None else -1.0
            ends = sorted(sign * end for end in interval(known[0], ask.groups, seed=seed))
            gain, (low, high) = sign * float(known[0].mean()), ends
        means = [None if v is None else float(v.mean()) for v in values]
        found.append(Change(ask.query, ask.target, means[0], means[1], gain, low, high,
                            len(ask.wanted)))  # fmt: skip
    return found


def _hits(spaces: Mapping[str, Space], ask: Asked) -> np.ndarray | None:
    if ask.query not in spaces or ask.target not in spaces:
        return None
    asked, shown = spaces[ask.query], spaces[ask.target]
    if len(asked) <= ask.rows.max() or len(shown) <= ask.gallery.max():
        raise ConjoinError("regression", "rows of before and after differ", "give the same rows")
    frame = asked.frame
    left: Any = asked.take(ask.rows).vectors
    right: Any = shown.take(ask.gallery).vectors
    ranking = rank_queries(
        frame.query(np.asarray(left, np.float32)), frame.item(np.asarray(right, np.float32)),
        ask.wanted,
    )  # fmt: skip
    return ranking.hits(FIRST)
