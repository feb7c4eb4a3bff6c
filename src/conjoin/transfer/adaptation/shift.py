"""Whether rows of a target come from where the source's do, and whether answers collapsed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.storage.digest import stable_hash
from conjoin.transfer.base import check_rows

#: Permutations, rows of each side at most, and directions looked at.
PERMUTED, ROWS, DIMS = 400, 1000, 32
#: Adapting is refused where it leaves less than this share of the classes answered before.
COLLAPSE = 0.5


@dataclass(frozen=True)
class Shift:
    """What a test for a shift found.

    Parameters
    ----------
    p : chance of a difference as large between two draws of one domain.
    mean : distance of the means, in deviations of the source on average over directions.
    spread : mean of ``|log(σ_t / σ_s)|`` over directions.
    """

    p: float
    mean: float
    spread: float

    @property
    def found(self) -> bool:
        """At level .05."""
        return self.p < 0.05


def shift_test(source: Any, target: Any, *, seed: int = 0) -> Shift:
    """Test by permutation whether means or spreads of two sets of rows differ.

    Rows are taken to the principal directions of both; the statistic is the squared distance of
    the means of the coordinates and of their squares, each divided by its deviation.

    Parameters
    ----------
    source, target : ``[n, d]`` and ``[m, d]``.

    Raises
    ------
    ConjoinError : rows are of unlike widths or not finite, or one side has fewer than ten.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 4))
    >>> shift_test(x[:30], x[30:]).found, shift_test(x[:30], x[30:] + 1).found
    (False, True)
    """
    here = check_rows(source, "source")
    there = check_rows(target, "target", here.shape[1])
    for where, rows in (("source", here), ("target", there)):
        if len(rows) < 10:
            raise ConjoinError(where, f"has {len(rows)} rows", "ten are needed to test for a shift")
    rng = np.random.default_rng([seed, stable_hash("shift test")])
    here, there = (
        x if len(x) <= ROWS else x[rng.choice(len(x), ROWS, replace=False)] for x in (here, there)
    )
    both = np.concatenate([here, there]).astype(np.float64)
    z = _directions(both)
    features = np.concatenate([z, z**2], axis=1)
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-12)
    n = len(here)
    own = _apart(features, np.arange(len(both)) < n)
    drawn = [_apart(features, rng.permutation(len(both)) < n) for _ in range(PERMUTED)]
    p = (1 + sum(value >= own for value in drawn)) / (1 + PERMUTED)
    a, b = z[:n], z[n:]
    size = np.maximum(a.std(axis=0), 1e-12)
    mean = float((np.abs(b.mean(axis=0) - a.mean(axis=0)) / size).mean())
    spread = float(np.abs(np.log(np.maximum(b.std(axis=0), 1e-12) / size)).mean())
    return Shift(float(p), mean, spread)


def _directions(x: np.ndarray) -> np.ndarray:
    inside = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(inside.T @ inside / len(x))
    kept = vectors[:, ::-1][:, : min(DIMS, x.shape[1])]
    size = np.sqrt(np.maximum(values[::-1][: kept.shape[1]], 1e-24))
    return np.asarray(inside @ kept / size)


def _apart(features: np.ndarray, first: np.ndarray) -> float:
    gap = features[first].mean(axis=0) - features[~first].mean(axis=0)
    return float(gap @ gap)


def answered(shares: np.ndarray) -> float:
    """How many classes are answered, as the exponential of the shares' entropy.

    >>> answered(np.array([0.25, 0.25, 0.25, 0.25])), answered(np.array([1.0, 0.0, 0.0, 0.0]))
    (4.0, 1.0)
    """
    kept = shares[shares > 0]
    return float(np.exp(-(kept * np.log(kept)).sum()).round(12))


def collapsed(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether far fewer classes are answered after than before."""
    return answered(after) < COLLAPSE * answered(before)
