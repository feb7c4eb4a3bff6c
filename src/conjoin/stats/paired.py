"""From paired scores over seeds to an effect, its interval and a verdict.

Sources: Owen, The Pigeonhole Bootstrap, Annals of Applied Statistics 1 (2007), for resampling two
crossed factors and by how much it overstates; Searle, Casella and McCulloch, Variance Components
(1992), for the sum it is brought back to; Satterthwaite, Biometrics Bulletin 2 (1946); Holm
(1979); Benjamini and Hochberg (1995).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from conjoin.errors import ConjoinError
from conjoin.stats.bootstrap import fdr, holm
from conjoin.storage.digest import stable_hash

#: Resamples behind every interval.
DRAWS = 20_000
#: Chance of calling an effect that is not there, over all claims of a family.
LEVEL = 0.05
#: Chance of seeing an effect as large as the minimum detectable one.
POWER = 0.8

#: Standard deviations up to which the draws show the shape of a tail; beyond, it is carried on.
SEEN = 3.0

HOLDS, FAILS, UNDECIDED = "holds here", "does not hold here", "undecided"
#: Undecided, and no effect of :data:`BLIND` times the smallest of interest would have been seen.
CANNOT = "these data cannot tell"
#: Better than doing nothing, and not better than a simple arm of the same table.
ONLY = "beats doing nothing only"
BLIND = 5.0


@dataclass(frozen=True, eq=False)
class Effect:
    """Mean difference of two arms over seeds and groups.

    Parameters
    ----------
    value : arm minus baseline.
    draws : ``[d]`` the same in resamples of seeds and groups, sorted, with the spread of
        :class:`Spread`.
    freedom : degrees of freedom of its error (Satterthwaite), for the t quantile.
    seeds, units, groups : how much it rests on.
    """

    value: float
    draws: np.ndarray
    freedom: float
    seeds: int
    units: int
    groups: int

    def interval(self, level: float = 1 - LEVEL) -> tuple[float, float]:
        """Ends at a level in (0, 1), widened for few seeds or groups."""
        t = float(-stdtrit(self.freedom, (1 - level) / 2))
        seen = min(t, SEEN)
        ends = np.quantile(self.draws, [ndtr(-seen), ndtr(seen)])
        low, high = self.value + (ends - self.value) * (t / seen)
        return float(low), float(high)

    @property
    def p(self) -> float:
        """Two-sided p-value: the level whose interval just touches zero."""
        below = min((self.draws <= 0).mean(), (self.draws >= 0).mean())
        wide = float(np.std(self.draws))
        if wide == 0:
            return float(self.value == 0)
        z = -ndtri(min(0.5, float(below))) if below > ndtr(-SEEN) else abs(self.value) / wide
        return float(min(1.0, 2 * stdtr(self.freedom, -z)))

    def detectable(self, level: float = 1 - LEVEL) -> float:
        """The effect that would be called at ``level`` with a chance of :data:`POWER`."""
        reach = -stdtrit(self.freedom, (1 - level) / 2) - stdtrit(self.freedom, 1 - POWER)
        return float(reach * np.std(self.draws))


@dataclass(frozen=True, eq=False)
class Paired:
    """Scores of several arms on the same units, resampled together.

    Each draw weighs seeds and groups by multinomial counts, the mean of an arm being
    ``Σ v_s w_g x_sg / (Σ v_s · Σ w_g n_g)``; what varies from seed to seed and what varies from
    group to group both widen an interval. The weights are the same for every arm. The draws give
    an interval its shape; its width is that of :class:`Spread`.

    Parameters
    ----------
    tables : by arm, ``[seeds, groups]`` sums of scores.
    sizes : ``[groups]`` units of each group.
    means : by arm, ``[draws]`` means in the resamples.
    """

    tables: Mapping[str, np.ndarray]
    sizes: np.ndarray
    means: Mapping[str, np.ndarray]

    @classmethod
    def of(
        cls,
        scores: Mapping[str, np.ndarray],
        groups: np.ndarray,
        *,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> "Paired":
        """Resample arms of ``[seeds, n]`` scores.

        Raises
        ------
        ConjoinError : shapes disagree, or there are fewer than two groups.
        """
        shapes = {each.shape for each in scores.values()}
        if len(shapes) != 1 or any(len(s) != 2 or s[1] != len(groups) for s in shapes):
            raise ConjoinError(
                "scores", f"{sorted(shapes)}, {len(groups)} groups",
                "give [seeds, units] of the same units",
            )  # fmt: skip
        names, owner = np.unique(groups, return_inverse=True)
        if len(names) < 2:
            raise ConjoinError("groups", "fewer than two", "an interval needs at least two groups")
        sizes = np.bincount(owner).astype(np.float64)
        tables = {
            arm: np.stack([np.bincount(owner, row, len(names)) for row in each.astype(np.float64)])
            for arm, each in scores.items()
        }
        rng = np.random.default_rng([seed, stable_hash("effect")])
        block = max(1, 4_000_000 // len(names))
        parts = [
            _resampled(tables, sizes, rng, min(block, draws - start))
            for start in range(0, draws, block)
        ]
        return cls(tables, sizes, {arm: np.concatenate([p[arm] for p in parts]) for arm in tables})

    def effect(self, arm: str, baseline: str | None = None) -> Effect:
        """The effect of an arm over another, or its own mean without one."""
        table, draws = self.tables[arm], self.means[arm]
        if baseline is not None:
            table, draws = table - self.tables[baseline], draws - self.means[baseline]
        spread, units = Spread.of(table, self.sizes), int(self.sizes.sum())
        value = float(table.sum() / (len(table) * units))
        wide = float(np.std(draws))
        if wide > 0:
            draws = value + (draws - value) * (np.sqrt(spread.total) / wide)
        return Effect(value, np.sort(draws), spread.freedom, len(table), units, len(self.sizes))


@dataclass(frozen=True)
class Spread:
    """The variance of a mean over crossed seeds and groups, and how well it is known.

    With ``V_s`` the variance of the seeds' means over their number, ``V_g`` that of the groups'
    and ``V_e`` that of what neither explains, the mean's variance is ``V_s + V_g − V_e``, each
    of the first two holding the last once. Resampling both factors gives ``V_s + V_g + V_e``,
    up to three times too much where nothing but noise differs between the arms.
    """

    total: float
    freedom: float

    @classmethod
    def of(cls, table: np.ndarray, sizes: np.ndarray) -> "Spread":
        """From ``[seeds, groups]`` sums and the size of each group."""
        seeds, groups = table.shape
        units = sizes.sum()
        by_seed = table.sum(axis=1) / units
        apart = table - by_seed[:, None] * sizes
        of_groups = (apart.mean(axis=0) ** 2).sum() / units**2 * groups / (groups - 1)
        if seeds == 1:
            return cls(float(of_groups), float(groups - 1))
        of_seeds = by_seed.var(ddof=1) / seeds
        noise = apart.var(axis=0, ddof=1).sum() / (seeds * units**2) * groups / (groups - 1)
        own = max(of_seeds - noise, 0.0)
        total = of_groups + own
        doubt = of_seeds if own > 0 else 0.0
        parts = doubt**2 / (seeds - 1) + of_groups**2 / (groups - 1)
        return cls(float(total), float(total**2 / parts) if parts > 0 else float(groups - 1))


def effect(
    arm: np.ndarray, baseline: np.ndarray, groups: np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> Effect:
    """The effect of an arm over a baseline, resampled as in :class:`Paired`.

    Parameters
    ----------
    arm, baseline : ``[seeds, n]`` scores of the same units in the same order.
    groups : ``[n]`` cluster of each unit.

    Raises
    ------
    ConjoinError : shapes disagree, or there are fewer than two groups.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> found = effect(rng.normal(0.5, 1, (5, 200)), rng.normal(0, 1, (5, 200)), np.arange(200))
    >>> low, high = found.interval()
    >>> bool(low > 0.3 and high < 0.7)
    True
    """
    both = Paired.of({"arm": arm, "baseline": baseline}, groups, draws=draws, seed=seed)
    return both.effect("arm", "baseline")


def _resampled(
    tables: Mapping[str, np.ndarray], sizes: np.ndarray, rng: np.random.Generator, count: int
) -> dict[str, np.ndarray]:
    groups = len(sizes)
    seeds = len(next(iter(tables.values())))
    picked = rng.integers(0, groups, (count, groups)) + np.arange(count)[:, None] * groups
    weights = np.bincount(picked.ravel(), minlength=count * groups).reshape(count, groups)
    weights = weights.astype(np.float64)
    chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), count) / seeds
    total = weights @ sizes
    return {
        arm: ((weights @ table.T) / total[:, None] * chosen).sum(axis=1)
        for arm, table in tables.items()
    }


@dataclass(frozen=True)
class Verdict:
    """What a claim came to.

    Parameters
    ----------
    said : :data:`HOLDS`, :data:`FAILS`, :data:`UNDECIDED` or :data:`CANNOT`.
    low, high : 95 % interval of the effect.
    least, most : the same at the level Holm's method leaves for it among its family.
    p, adjusted, share : p-value, Holm's, and Benjamini and Hochberg's over all claims.
    detectable : the effect these data would show four times in five.
    """

    said: str
    effect: float
    low: float
    high: float
    least: float
    most: float
    p: float
    adjusted: float
    share: float
    detectable: float


def verdicts(
    effects: Sequence[Effect],
    smallest: Sequence[float],
    families: Sequence[str],
    bounds: Sequence[tuple[float, float]] | None = None,
    fixed: Sequence["Corrected"] | None = None,
) -> list[Verdict]:
    """Judge claims together: Holm within each family, false discoveries over all.

    A claim *holds here* when its corrected lower end is above zero and the estimate at least
    the smallest effect of interest; it *does not hold here* when its corrected upper end is
    below that; otherwise it is *undecided*, or *these data cannot tell* where not even
    :data:`BLIND` times the smallest effect of interest would have been seen.

    Parameters
    ----------
    bounds : the least and the largest effect that the metric of each claim allows; no interval
        ends beyond them.
    fixed : p-values corrected already, where more are judged than have an effect here.
    """
    if not effects:
        return []
    bounds = bounds or [(-np.inf, np.inf)] * len(effects)
    fixed = fixed or corrected([each.p for each in effects], families)
    return [
        _verdict(each, least, one, bound)
        for each, least, one, bound in zip(effects, smallest, fixed, bounds, strict=True)
    ]


@dataclass(frozen=True)
class Corrected:
    """A p-value among others: Holm's, the false discoveries', and how many Holm leaves it."""

    adjusted: float
    share: float
    left: int


def corrected(pvalues: Sequence[float], families: Sequence[str]) -> list[Corrected]:
    """Holm within each family, and false discoveries over all.

    Examples
    --------
    >>> [one.left for one in corrected([0.5, 0.01, 0.04], ["a", "a", "b"])]
    [1, 2, 1]
    """
    p = np.asarray(pvalues, dtype=np.float64)
    shares = fdr(p)
    adjusted, left = np.empty(len(p)), np.empty(len(p), dtype=np.int64)
    for family in dict.fromkeys(families):
        own = np.flatnonzero(np.array(families) == family)
        adjusted[own] = holm(p[own])
        left[own[np.argsort(p[own], kind="stable")]] = np.arange(len(own), 0, -1)
    return [
        Corrected(float(a), float(q), int(k))
        for a, q, k in zip(adjusted, shares, left, strict=True)
    ]


def said_of(value: float, smallest: float, adjusted: float, most: float, detectable: float) -> str:
    """The verdict of an effect, its corrected p-value and upper end, and what could be seen.

    Examples
    --------
    >>> said_of(0.1, 0.02, 0.001, 0.2, 0.03), said_of(0.05, 0.02, 0.4, 0.3, 0.2)
    ('holds here', 'these data cannot tell')
    """
    if value >= smallest and value > 0 and adjusted < LEVEL:
        return HOLDS
    if most < smallest:
        return FAILS
    return CANNOT if smallest > 0 and detectable > BLIND * smallest else UNDECIDED


def _verdict(
    each: Effect, smallest: float, fixed: Corrected, bounds: tuple[float, float]
) -> Verdict:
    level = 1 - LEVEL / fixed.left
    ends = (*each.interval(), *each.interval(level))
    low, high, least, most = (float(np.clip(end, *bounds)) for end in ends)
    seen = each.detectable(level)
    said = said_of(each.value, smallest, fixed.adjusted, most, seen)
    return Verdict(
        said, each.value, low, high, least, most, each.p, fixed.adjusted, fixed.share, seen
    )
