"""Whether an item is found equally well in every language."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.metrics.base import Reads
from conjoin.metrics.measurement import Measurement
from conjoin.metrics.similarity.mutual_knn import partner_ranks


def rank_variance(ranks: np.ndarray) -> np.ndarray:
    """``[n]`` variance of each item's ranks over languages (divided by their number).

    Parameters
    ----------
    ranks : ``[n, languages]`` ranks from 1; at least two languages.

    Examples
    --------
    >>> rank_variance(np.array([[1, 1], [1, 3]])).tolist()
    [0.0, 1.0]
    """
    ranks = np.asarray(ranks, dtype=np.float64)
    if ranks.ndim != 2 or ranks.shape[1] < 2 or not (ranks >= 1).all():
        raise ConjoinError("ranks", f"shape {ranks.shape}", "give [n, languages], ranks from 1")
    return ranks.var(axis=1)


@dataclass(frozen=True)
class MeanRankVariance(Reads):
    """Mean over items of the variance, across languages, of the rank at which each is found.

    ``mean_i var_l rank_l(i)``; the first view is the gallery (pictures), every other one holds
    the same items' texts in one language, and ``rank_l(i)`` is the place of picture i among all
    for text i. 0 where all languages find alike, well or badly: read it beside recall. Where
    ranks are already known, take ``rank_variance(ranks).mean()``.

    What to do: a high value with a good recall hides a weak language: look at recall by language.

    References
    ----------
    Nie et al. 2024 (nie2024onetok) name it; the divisor, the number of languages, and ranks
    from 1 are our reading.
    """

    name: ClassVar[str] = "mean-rank-variance"
    meaning: ClassVar[str] = (
        "How unequally languages find the same item; high, look at recall by language."
    )
    views: ClassVar[int] = 3
    many: ClassVar[bool] = True
    shared: ClassVar[bool] = True
    on_sphere: ClassVar[bool] = True
    higher_is_better: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, np.inf)
    invariances: ClassVar[frozenset[str]] = frozenset(
        {"order", "common rotation", "scale", "common scale", "lengths"}
    )

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        gallery, *languages = self.read(views)
        ranks = np.stack([partner_ranks(texts, gallery) for texts in languages], axis=1)
        return self.told(rank_variance(ranks).mean(), len(gallery))
