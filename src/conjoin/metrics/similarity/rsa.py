"""Representational similarity: do two spaces order the distances between things alike?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.metrics.base import Pairwise, Reads, unit_rows
from conjoin.metrics.measurement import Measurement
from conjoin.storage.digest import stable_hash

#: Pairs read at a time.
BLOCK = 8192


def pairs_of(n: int, most: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows i < j of all pairs of n things, or of ``most`` of them drawn at random."""
    total = n * (n - 1) // 2
    if total <= most:
        return np.triu_indices(n, 1)
    rng = np.random.default_rng([seed, stable_hash("rsa pairs")])
    flat = np.sort(rng.choice(total, most, replace=False))
    # The pair number f in row-major upper-triangle order belongs to the row i that solves
    # i (2n − i − 1) / 2 ≤ f; the root is exact to one step for any n that fits in memory.
    i = (n - 0.5 - np.sqrt((n - 0.5) ** 2 - 2.0 * flat)).astype(np.int64)
    start = i * (2 * n - i - 1) // 2
    i = np.where(start > flat, i - 1, i)
    i = np.where((i + 1) * (2 * n - i - 2) // 2 <= flat, i + 1, i)
    return i, flat - i * (2 * n - i - 1) // 2 + i + 1


def dissimilarities(
    x: np.ndarray, most: int = 200_000, seed: int = 0, where: str = "rows"
) -> np.ndarray:
    """One minus the cosine of pairs of rows: the upper triangle, or a draw of it.

    The same n, ``most`` and seed give the same pairs for every space.
    """
    i, j = pairs_of(len(x), most, seed)
    z = unit_rows(np.asarray(x), where)
    found = np.empty(len(i))
    for start in range(0, len(i), BLOCK):
        part = slice(start, start + BLOCK)
        found[part] = 1 - np.einsum("pd,pd->p", z[i[part]], z[j[part]])
    return found


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, ties sharing their mean, centred and scaled to length 1 on the last axis."""
    from scipy.stats import rankdata

    found = rankdata(values, axis=-1)
    found = found - found.mean(axis=-1, keepdims=True)
    return found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-300)


def noise_ceiling(ratings: np.ndarray) -> tuple[float, float]:
    """The lowest and highest mean correlation that any model could reach with several raters.

    Upper: each rater against the mean of all ranks, itself included. Lower: each rater against
    the mean of the others. A model between them explains all that raters agree on.

    Parameters
    ----------
    ratings : ``[r, p]`` dissimilarities of the same p pairs by each of r raters (people, seeds of
        one training, encoders of one kind); at least two.

    Raises
    ------
    ConjoinError : fewer than two raters, or a rating is not finite.

    References
    ----------
    Nili et al. 2014 (nili2014toolbox), with Spearman's correlation.

    Examples
    --------
    >>> noise_ceiling(np.array([[0.1, 0.2, 0.9], [0.0, 0.5, 0.6]]))
    (1.0, 1.0)
    """
    if ratings.ndim != 2 or len(ratings) < 2 or ratings.shape[1] < 3:
        raise ConjoinError("ratings", f"shape {ratings.shape}", "give 2 raters and 3 pairs or more")
    if not np.isfinite(ratings).all():
        raise ConjoinError("ratings", "hold NaN or infinity", "drop pairs that lack a rating")
    from scipy.stats import rankdata

    places = rankdata(ratings, axis=-1)  # halves: sums are exact, and so are ties of the means
    total = places.sum(axis=0)
    upper = np.mean([_between(ranks(one), ranks(total)) for one in places])
    lower = np.mean([_between(ranks(one), ranks(total - one)) for one in places])
    return float(np.clip(lower, -1, 1)), float(np.clip(upper, -1, 1))


def _between(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.round(a @ b, 12))


@dataclass(frozen=True)
class RSA(Pairwise):
    """Spearman correlation of the dissimilarities within two spaces.

    ``ρ( 1 − cos(x_i, x_j), 1 − cos(y_i, y_j) )`` over pairs i < j, ties sharing their rank; over
    a draw of the pairs where there are more than ``pairs``.

    What to do: the number means little alone: set it between the bounds of
    :func:`noise_ceiling` over several encoders of one kind.

    Parameters
    ----------
    pairs : most pairs read.
    seed : decides which, where not all are read.

    References
    ----------
    Kriegeskorte et al. 2008 (kriegeskorte2008rsa); Ogg et al. 2024 (ogg2024turing).
    """

    pairs: Annotated[int, Search(1_000, 5_000_000, log=True)] = 200_000
    seed: int = 0
    name: ClassVar[str] = "rsa"
    meaning: ClassVar[str] = "How far both spaces agree on which things are far apart."
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    on_sphere: ClassVar[bool] = True
    invariances: ClassVar[frozenset[str]] = frozenset(
        {"order", "swap", "rotation", "scale", "lengths"}
    )

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Ranked dissimilarities."""
        return ranks(dissimilarities(x, self.pairs, self.seed))

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Their correlation."""
        return float(np.clip(a @ b, -1, 1))


@dataclass(frozen=True)
class RaterAgreement(Reads):
    """The lower noise ceiling of several spaces: how well the others predict each of them.

    The mean over views of the Spearman correlation between its dissimilarities and the mean rank
    of the others'; :func:`noise_ceiling` gives the upper bound too, which the meaning names.

    What to do: no comparison with these spaces can be expected to exceed it; where it is low, the
    spaces disagree among themselves and an RSA against one of them says little.

    Parameters
    ----------
    pairs : most pairs read.
    seed : decides which, where not all are read.

    References
    ----------
    Nili et al. 2014 (nili2014toolbox).
    """

    pairs: Annotated[int, Search(1_000, 5_000_000, log=True)] = 200_000
    seed: int = 0
    name: ClassVar[str] = "noise-ceiling"
    meaning: ClassVar[str] = "How well several spaces predict one another."
    many: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    on_sphere: ClassVar[bool] = True
    invariances: ClassVar[frozenset[str]] = frozenset(
        {"order", "swap", "rotation", "scale", "lengths"}
    )

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The lower ceiling; the upper one is in the meaning."""
        read = self.read(views)
        lower, upper = noise_ceiling(
            np.stack([dissimilarities(x, self.pairs, self.seed) for x in read])
        )
        said = f"What the spaces themselves agree on; no model can exceed {upper:.3f}."
        return self.told(lower, len(read[0]), said)
