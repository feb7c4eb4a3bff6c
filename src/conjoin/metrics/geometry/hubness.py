"""Hubs: items of a gallery that turn up for every query, and items that never do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.metrics.base import Reads
from conjoin.metrics.measurement import Measurement
from conjoin.metrics.similarity.mutual_knn import nearest


def occurrences(queries: np.ndarray, gallery: np.ndarray, k: int) -> np.ndarray:
    """``[g]`` number of queries that have each gallery row among their k nearest.

    Parameters
    ----------
    queries, gallery : rows of one frame, of length 1 for neighbours by angle.
    """
    return np.bincount(nearest(queries, gallery, k).ravel(), minlength=len(gallery))


@dataclass(frozen=True)
class _Hubs(Reads):
    k: Annotated[int, Search(1, 100)] = 10
    paired: ClassVar[bool] = False
    shared: ClassVar[bool] = True
    on_sphere: ClassVar[bool] = True
    higher_is_better: ClassVar[bool] = False
    invariances: ClassVar[frozenset[str]] = frozenset(
        {"order", "pairing", "common rotation", "scale", "common scale", "lengths"}
    )

    def counts(self, views: Mapping[str, np.ndarray]) -> np.ndarray:
        """Occurrences of each row of the second view in the lists of the first."""
        queries, gallery = self.read(views)
        return occurrences(queries, gallery, self.k)


@dataclass(frozen=True)
class HubSkewness(_Hubs):
    """Skewness of how often each gallery item is among the k nearest of a query.

    ``mean (N − mean N)³ / sd(N)³`` over gallery items, N counted over queries of the first view
    in the second; 0 where every item occurs equally often, above 1 where hubs rule.

    What to do: well above 1, let ``conjoin fit`` try corrections (CSLS): they are made for it.

    Parameters
    ----------
    k : hits of a query.

    References
    ----------
    Radovanović et al. 2010 (radovanovic2010hubs), who count within one space.
    """

    name: ClassVar[str] = "hub-skewness"
    meaning: ClassVar[str] = (
        "How unevenly items turn up as hits; well above 1, correct the scores (csls)."
    )
    range: ClassVar[tuple[float, float]] = (-np.inf, np.inf)

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        counts = self.counts(views).astype(np.float64)
        off = counts - counts.mean()
        spread = np.sqrt(np.square(off).mean())
        value = float((off**3).mean() / spread**3) if spread > 0 else 0.0
        return self.told(value, len(counts))


@dataclass(frozen=True)
class AntiHubs(_Hubs):
    """Share of gallery items that no query has among its k nearest.

    ``mean [N = 0]``; they cannot be found by any of these queries.

    What to do: a large share means that the gallery holds items search will never show: correct
    the scores, or look at what those items are.

    Parameters
    ----------
    k : hits of a query.

    References
    ----------
    Radovanović et al. 2010 (radovanovic2010hubs).
    """

    name: ClassVar[str] = "anti-hubs"
    meaning: ClassVar[str] = "Share of items that no query finds; look at what they are."

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        counts = self.counts(views)
        return self.told((counts == 0).mean(), len(counts))


@dataclass(frozen=True)
class LargestHub(_Hubs):
    """How often the most frequent gallery item is among the k nearest of a query.

    ``max N`` as a share of the queries, in [0, 1]; the mean share is ``k`` over the gallery's size.

    What to do: an item in every tenth list is often a blank picture or an empty text: remove it.

    Parameters
    ----------
    k : hits of a query.

    References
    ----------
    Radovanović et al. 2010 (radovanovic2010hubs) report the largest count.
    """

    name: ClassVar[str] = "largest-hub"
    meaning: ClassVar[str] = "Share of queries that see the most frequent item; look at that item."

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        counts = self.counts(views)
        return self.told(counts.max() / len(next(iter(views.values()))), len(counts))
