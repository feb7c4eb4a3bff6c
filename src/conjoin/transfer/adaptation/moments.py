"""Rows of the target given the mean, the spread or the covariance of the source."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.covariance import Moments
from conjoin.catalogue import Choice, Search
from conjoin.maps.base import Affine
from conjoin.transfer.adaptation.base import Source, check_source, check_target
from conjoin.transfer.adaptation.fitted import Moved


@dataclass(frozen=True)
class Unchanged:
    """The head as it is, ``f' = f``: what every adaptation must beat."""

    reads: ClassVar[str] = "nothing"

    def fit(self, fitted: Any, x: Any, *, source: Source | None = None, seed: int = 0) -> Any:
        """The head itself."""
        check_target(fitted, x)
        return fitted


@dataclass(frozen=True)
class MatchMoments:
    """``x' = (x − μ_t) A + μ_s`` of the target's rows; then the head as it is.

    A is the identity for ``mean``, ``diag(σ_s / σ_t)`` for ``deviation`` and
    ``C_t^{−½} C_s^{½}`` for ``covariance``, with ``shrink`` times the mean variance of the source
    added to all variances. Equal moments change nothing. Labels of neither side are read; where
    classes are not as common in the target as in the source, the shift moves classes too.

    Parameters
    ----------
    order : how much is matched.
    shrink : of the covariances.

    References
    ----------
    Sun et al. 2016 (sun2016coral) take the source to the target and fit anew, with variances
    plus 1; this is the way back, by which a fitted head stays as it is.
    """

    order: Annotated[str, Choice(("mean", "deviation", "covariance"))] = "deviation"
    shrink: Annotated[float, Search(1e-3, 10.0, log=True)] = 1.0
    reads: ClassVar[str] = "rows"

    def fit(self, fitted: Any, x: Any, *, source: Source | None = None, seed: int = 0) -> Moved:
        """The head behind an affine map."""
        rows = check_target(fitted, x)
        given = check_source(source, rows.shape[1], "moments")
        return Moved(fitted, matched(given.x, rows, self.order, self.shrink))


def matched(source: np.ndarray, target: np.ndarray, order: str, shrink: float) -> Affine:
    """The affine map that gives the target's rows the source's moments, from one pass of each.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(50, 2))
    >>> np.allclose(matched(x, 3 * x + 1, "deviation", 0.001).apply(3 * x + 1), x, atol=0.01)
    True
    """
    if order == "covariance":
        here, there = _whole(source), _whole(target)
        dim = source.shape[1]
        extra = shrink * float(np.trace(here.c_xx)) / dim or 1e-12
        a = _power(there.c_xx, extra, -0.5) @ _power(here.c_xx, extra, 0.5)
        return Affine(a, there.mean_x, here.mean_x)
    mean_s, mean_t = (np.asarray(x.mean(axis=0, dtype=np.float64)) for x in (source, target))
    if order == "mean":
        return Affine(None, mean_t, mean_s)
    var_s, var_t = (np.asarray(x.var(axis=0, dtype=np.float64)) for x in (source, target))
    least = max(1e-6 * float(var_s.mean()), 1e-24)
    scale = np.sqrt((var_s + least) / (var_t + least))
    return Affine(np.diag(scale), mean_t, mean_s)


def _whole(x: np.ndarray) -> Moments:
    at = np.arange(len(x))
    return Moments.of(x, np.empty((len(x), 0), x.dtype), at, at)


def _power(second: np.ndarray, extra: float, power: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(second)
    return (vectors * (np.maximum(values, 0) + extra) ** power) @ vectors.T
