"""How many directions a space really uses: effective rank, RankMe, stable rank, dimension."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.metrics.base import Reads
from conjoin.metrics.measurement import Measurement

#: Rows read at a time.
BLOCK = 4096

_TURNED = frozenset({"order", "rotation", "scale"})


def singular_values(x: np.ndarray, *, centre: bool = False) -> np.ndarray:
    """Singular values of ``[n, d]`` rows, falling; from moments in float64, read in blocks.

    Values below about 1e-8 of the largest are rounding.
    """
    middle = x.mean(axis=0, dtype=np.float64) if centre else np.zeros(x.shape[1])
    if len(x) < x.shape[1]:
        rows = x.astype(np.float64) - middle
        gram = rows @ rows.T
    else:
        gram = np.zeros((x.shape[1], x.shape[1]))
        for start in range(0, len(x), BLOCK):
            rows = x[start : start + BLOCK].astype(np.float64) - middle
            gram += rows.T @ rows
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0))


class _OneSpace(Reads):
    views: ClassVar[int] = 1
    paired: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (1.0, np.inf)
    invariances: ClassVar[frozenset[str]] = _TURNED


@dataclass(frozen=True)
class EffectiveRank(_OneSpace):
    """Exponential of the entropy of the singular values: the number of directions in use.

    ``exp(−Σ p log p)`` with ``p = σ / Σ σ``; 1 for rows on a line, d for equal singular values.

    What to do: far below the dimension, shorten the vectors or whiten them; watch it while a map
    trains, a fall means collapse.

    Parameters
    ----------
    centre : whether the mean is taken off first.

    References
    ----------
    Roy and Vetterli 2007 (roy2007effective). Jung et al. 2024 (jung2024rank) follow the rank of
    sentence embeddings while they are tuned.
    """

    centre: bool = False
    name: ClassVar[str] = "effective-rank"
    meaning: ClassVar[str] = (
        "How many directions the vectors really use; far below their width, shorten them."
    )

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        (x,) = self.read(views)
        found = singular_values(x, centre=self.centre)
        share = found[found > 0] / found.sum()
        return self.told(np.exp(-(share * np.log(share)).sum()), len(x))


@dataclass(frozen=True)
class RankMe(_OneSpace):
    """Effective rank as used to choose among encoders without labels.

    ``exp(−Σ p log p)`` with ``p = σ / Σ σ + ε`` over ``min(n, d)`` singular values of rows that
    are not centred, ``ε = 1e-7``. Depends on n: compare at equal n.

    What to do: of encoders trained alike, start with the one whose value is highest.

    References
    ----------
    Garrido et al. 2023 (garrido2023rankme).
    """

    name: ClassVar[str] = "rankme"
    meaning: ClassVar[str] = (
        "Directions in use; of encoders trained alike the higher one is better."
    )

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        (x,) = self.read(views)
        found = singular_values(x)
        share = found / found.sum() + 1e-7
        return self.told(max(1.0, np.exp(-(share * np.log(share)).sum())), len(x))


@dataclass(frozen=True)
class StableRank(_OneSpace):
    """Total energy over that of the strongest direction: ``Σ σ² / max σ²``.

    Near 1 where one direction, often the mean, outweighs everything.

    What to do: near 1 without ``centre``, take the mean off before anything else.

    Parameters
    ----------
    centre : whether the mean is taken off first.

    References
    ----------
    Rudelson and Vershynin 2007 (rudelson2007sampling).
    """

    centre: bool = False
    name: ClassVar[str] = "stable-rank"
    meaning: ClassVar[str] = (
        "Energy of all directions over that of the strongest; near 1, take the mean off."
    )

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        (x,) = self.read(views)
        energy = np.square(singular_values(x, centre=self.centre))
        return self.told(energy.sum() / energy[0], len(x))


@dataclass(frozen=True)
class EffectiveDimension(_OneSpace):
    """Principal components that together hold a share of the variance of rows of length 1.

    The smallest m with ``Σ_{i ≤ m} λ_i ≥ share · Σ λ_i``, eigenvalues of the covariance falling.

    What to do: a bound space of few dimensions wastes the rest of its width: fit with a smaller
    ``dim``, or add a term that spreads rows evenly.

    Parameters
    ----------
    share : of the variance.

    References
    ----------
    Fahim et al. 2024 (fahim2024gap) show the shares of variance of the components; that
    they are counted at a threshold, and at which one, is ours.
    """

    share: Annotated[float, Search(0.5, 0.999)] = 0.95
    name: ClassVar[str] = "effective-dimension"
    meaning: ClassVar[str] = "Principal components that hold most of the variance."
    on_sphere: ClassVar[bool] = True
    invariances: ClassVar[frozenset[str]] = _TURNED | {"lengths"}

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        (x,) = self.read(views)
        held = np.cumsum(np.square(singular_values(x, centre=True)))
        enough = self.share * held[-1] * (1 - 1e-9)
        return self.told(int(np.searchsorted(held, enough)) + 1, len(x))
