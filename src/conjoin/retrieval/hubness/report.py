"""Hubness of an index: how unevenly its items turn up, with intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.storage.digest import stable_hash

#: Hits of a query that count.
K = 10
#: Blocks of query groups, each left out in turn.
BLOCKS = 50


def skewness(counts: np.ndarray) -> np.ndarray:
    """``mean (N − mean N)³ / sd(N)³`` over the last axis; 0 where all occur equally often.

    Examples
    --------
    >>> round(float(skewness(np.array([0, 0, 0, 4]))), 3)
    1.155
    """
    off = counts - counts.mean(axis=-1, keepdims=True)
    spread = np.sqrt(np.square(off).mean(axis=-1))
    safe = np.where(spread > 0, spread, 1.0)
    return np.asarray(np.where(spread > 0, (off**3).mean(axis=-1) / safe**3, 0.0))


def never(counts: np.ndarray) -> np.ndarray:
    """Share of items that no list shows, over the last axis."""
    return np.asarray((counts == 0).mean(axis=-1))


def blocks_of(groups: np.ndarray, blocks: int = BLOCKS) -> np.ndarray:
    """``[n]`` block of each group, by hash, so that no arm or seed changes it."""
    names, own = np.unique(groups, return_inverse=True)
    place = np.array([stable_hash(f"hubs/{name}") % blocks for name in names], dtype=np.int64)
    return place[own]


def left_out(lists: np.ndarray, n: int, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts of all lists ``[n]``, and without each block in turn ``[b, n]``."""
    flat = np.repeat(blocks, lists.shape[1])
    names = np.unique(blocks)
    parts = np.zeros((len(names), n))
    for place, name in enumerate(names):
        parts[place] = np.bincount(lists.ravel()[flat == name], minlength=n)
    whole = parts.sum(axis=0)
    return whole, whole - parts


@dataclass(frozen=True)
class Hubness:
    """How unevenly a direction's lists show its items; 95 % intervals by the jackknife.

    Parameters
    ----------
    skewness : of how often an item is among the first ten; ``skewness_low, skewness_high``.
    never : share of items no list shows; ``never_low, never_high``.
    queries, items : how many were counted.
    """

    skewness: float
    skewness_low: float
    skewness_high: float
    never: float
    never_low: float
    never_high: float
    queries: int
    items: int

    @classmethod
    def of(cls, lists: np.ndarray, n: int, groups: np.ndarray) -> "Hubness":
        """Measure lists ``[q, k]`` of the rows of a gallery of ``n``.

        Blocks of whole query groups are left out in turn. Resampling queries with replacement
        would show some of them twice and so make hubs by itself.
        """
        whole, without = left_out(lists, n, blocks_of(groups))
        found: list[float] = []
        for measure in (skewness, never):
            value, apart = float(measure(whole)), measure(without)
            half = 0.0
            if (count := len(apart)) > 1:
                error = np.sqrt((count - 1) / count * np.square(apart - apart.mean()).sum())
                from scipy.stats import t as student  # half a second to import

                half = float(student.ppf(0.975, count - 1) * error)
            found += [value, value - half, value + half]
        skew, skew_low, skew_high, share, low, high = found
        return cls(
            skew, skew_low, skew_high, share, max(0.0, low), min(1.0, high), len(lists), n
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return dict(self.__dict__)
