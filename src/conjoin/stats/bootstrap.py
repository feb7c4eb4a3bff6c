"""How far a number may be trusted: resampling whole groups, and many tests at once.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 16;
Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69 (2015);
Holm, Scandinavian Journal of Statistics 6 (1979); Benjamini and Hochberg, JRSS B 57 (1995).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.storage.digest import stable_hash

#: Numbers held at once while resampling (32 MB of float64).
HELD = 2**22


def interval(
    values: np.ndarray, groups: np.ndarray, *, draws: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Interval of a mean, whole groups resampled with replacement.

    Each draw is the ratio ``Σ w·sum / Σ w·count`` over groups with multinomial weights ``w``, so
    groups of unequal size are treated rightly. The ends are percentiles, moved outwards for few
    groups by Hesterberg's rule (a percentile interval of G groups is too short by about
    ``√((G − 1) / G)`` and a normal for a t quantile). Values that are all the same give an
    interval of no width: the bootstrap cannot see what was never drawn.

    Parameters
    ----------
    values : ``[n]`` finite numbers.
    groups : ``[n]`` labels; rows of one group rise and fall together. At least two groups.

    Examples
    --------
    >>> low, high = interval(np.arange(100) % 2, np.arange(100))
    >>> bool(0.38 < low < 0.45 and 0.55 < high < 0.62)
    True
    """
    owner = check_groups(values, groups)
    means = mean_draws(np.asarray(values)[:, None], groups, draws=draws, seed=seed)[:, 0]
    return ends(means, int(owner.max()) + 1, level)


def median_interval(
    values: np.ndarray, groups: np.ndarray, *, draws: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Interval of a median, whole groups resampled with replacement; see :func:`interval`."""
    owner = check_groups(values, groups)
    order = np.argsort(values, kind="stable")
    levels, first = np.unique(np.asarray(values, dtype=np.float64)[order], return_index=True)
    found = []
    for weights in _weights(int(owner.max()) + 1, len(values), draws, seed):
        reached = np.cumsum(weights[:, owner[order]], axis=1)
        upto = reached[:, np.append(first[1:], len(order)) - 1]
        half = reached[:, -1:] / 2
        lower, upper = (upto < half).sum(axis=1), (upto <= half).sum(axis=1)
        found.append((levels[lower] + levels[upper]) / 2)
    return ends(np.concatenate(found), int(owner.max()) + 1, level)


def paired_difference(
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray,
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float, float]:
    """Difference of two means on the same rows: ``(difference, low, high, p)``.

    ``p`` is two-sided, the level at which the interval would just touch 0; it is never below
    about ``2 / draws``.

    Parameters
    ----------
    a, b : ``[n]`` values of two methods on the same rows, in the same order.
    groups : ``[n]`` labels, as in :func:`interval`.
    """
    if np.shape(a) != np.shape(b):
        raise ConjoinError("b", f"{np.shape(b)} values for {np.shape(a)}", "pair them row by row")
    apart = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    count = int(check_groups(apart, groups).max()) + 1
    means = mean_draws(apart[:, None], groups, draws=draws, seed=seed)[:, 0]
    tail = (1 + min((means <= 0).sum(), (means >= 0).sum())) / (draws + 1)
    low, high = ends(means, count, level)
    return float(apart.mean()), low, high, _p_value(min(0.5, float(tail)), count)


def mean_draws(
    values: np.ndarray, groups: np.ndarray, *, draws: int = 2000, seed: int = 0
) -> np.ndarray:
    """Means of every column of ``[n, m]`` values in the same resamples of groups: ``[draws, m]``.

    Memory is that of a block of draws, not of all of them.
    """
    owner = check_groups(values, groups)
    count = int(owner.max()) + 1
    columns = np.asarray(values, dtype=np.float64).T
    sums = np.stack([np.bincount(owner, column, count) for column in columns], axis=1)
    sizes = np.bincount(owner, minlength=count).astype(np.float64)
    table = np.concatenate([sums, sizes[:, None]], axis=1)
    drawn = [w.astype(np.float64) @ table for w in _weights(count, count, draws, seed)]
    total = np.concatenate(drawn)
    return total[:, :-1] / total[:, -1:]


def ends(drawn: np.ndarray, groups: int, level: float) -> tuple[float, float]:
    """Ends of the interval of level ``level`` of a statistic's draws, widened for few groups."""
    from scipy.special import ndtr, stdtrit

    if not 0 < level < 1:
        raise ConjoinError("level", f"{level}", "give a number between 0 and 1, such as 0.95")
    stretch = np.sqrt(groups / (groups - 1))
    tail = float(ndtr(stretch * stdtrit(groups - 1, (1 - level) / 2)))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def holm(pvalues: np.ndarray) -> np.ndarray:
    """P-values adjusted so that any false finding is as rare as the level (Holm 1979).

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03])).round(3)
    array([0.03, 0.06, 0.06])
    """
    p = _check_p(pvalues)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _unsort(stepped, order)


def fdr(pvalues: np.ndarray) -> np.ndarray:
    """P-values adjusted for the share of false findings (Benjamini and Hochberg 1995).

    Examples
    --------
    >>> fdr(np.array([0.01, 0.04, 0.03])).round(3)
    array([0.03, 0.04, 0.04])
    """
    p = _check_p(pvalues)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    return _unsort(np.minimum.accumulate(scaled[::-1])[::-1], order)


def check_groups(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Number the groups from 0.

    Raises
    ------
    ConjoinError : lengths differ, a value is not finite, or there are fewer than two groups.
    """
    if len(values) != len(groups):
        raise ConjoinError("groups", f"{len(groups)} for {len(values)} values", "give one a value")
    if not np.isfinite(values).all():
        raise ConjoinError("values", "hold NaN or infinity", "drop those rows first")
    owner = np.unique(groups, return_inverse=True)[1]
    if len(owner) == 0 or owner.max() < 1:
        raise ConjoinError("groups", "fewer than two", "an interval needs at least two groups")
    return owner


def resamples(groups: int, draws: int, seed: Sequence[int], width: int = 0) -> Iterator[np.ndarray]:
    """Multinomial counts of each group, ``[≤ block, groups]`` at a time, ``draws`` rows in all.

    Parameters
    ----------
    width : numbers that a row makes elsewhere, where these are more than the groups.
    """
    if draws < 1:
        raise ConjoinError("draws", f"{draws}", "give at least 1, better 2000")
    rng = np.random.default_rng(list(seed))
    block = max(1, HELD // max(groups, width))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        picked = rng.integers(0, groups, (size, groups)) + np.arange(size)[:, None] * groups
        yield np.bincount(picked.ravel(), minlength=size * groups).reshape(size, groups)


def _weights(groups: int, width: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Those behind an interval."""
    return resamples(groups, draws, [seed, stable_hash("bootstrap")], width)


def _p_value(tail: float, groups: int) -> float:
    """Undo the widening of :func:`ends`, so that p and interval tell one story."""
    from scipy.special import ndtri, stdtr

    return float(min(1.0, 2 * stdtr(groups - 1, ndtri(tail) / np.sqrt(groups / (groups - 1)))))


def _check_p(pvalues: np.ndarray) -> np.ndarray:
    p = np.asarray(pvalues, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ConjoinError(
            "pvalues", "not a list of numbers from 0 to 1", "check the tests' results"
        )
    return p


def _unsort(stepped: np.ndarray, order: np.ndarray) -> np.ndarray:
    out = np.empty_like(stepped)
    out[order] = np.minimum(stepped, 1)
    return out
