"""What more pairs would bring: a learning curve and its forecast."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.alignment.choice import Choice
from conjoin.display import Tabular
from conjoin.errors import ConjoinError
from conjoin.evaluation.benchmark import Bench, Setting
from conjoin.evaluation.pair_acquisition import FEWEST, METRIC, SEEDS, Picking, pick, score_of
from conjoin.evaluation.retrieval import drawn
from conjoin.retrieval.evaluation import TestBed
from conjoin.selection.choose import cannot_feed
from conjoin.spaces.given import instance_of, whole_number
from conjoin.storage.digest import stable_hash

#: Sizes of the curve.
SIZES = 6
#: Pairs that a curve is carried on by, and items named, at most.
MOST = 10**9
#: Resamples of the curve.
DRAWS = 500
#: One part in so many of the training groups is what the curve is read on.
READ = 4
#: Spread of the errors of forecasting a curve a step ahead, at least.
FLOOR = 0.005


@dataclass(frozen=True)
class Curve:
    """``recall(n) = top − drop · (n / n₀)^(−rate)``, a power law that levels off.

    Parameters
    ----------
    top : what endless pairs would reach, in [0, 1].
    drop : what is missing from it at the smallest size, at least 0.
    rate : in [0.05, 2].
    start : n₀, the smallest size.
    """

    top: float
    drop: float
    rate: float
    start: float

    @classmethod
    def fit(cls, sizes: np.ndarray, values: np.ndarray) -> "Curve":
        """Least squares over a grid of rates; top and drop are linear for each."""
        start = float(sizes.min())
        best: tuple[float, Curve] | None = None
        for rate in np.geomspace(0.05, 2, 60):
            falling = (sizes / start) ** -rate
            design = np.stack([np.ones_like(falling), -falling], axis=1)
            top, drop = np.linalg.lstsq(design, values, rcond=None)[0]
            top = min(max(top, float(values.max())), 1.0)
            drop = max(float((falling @ (top - values)) / (falling @ falling)), 0.0)
            error = float(((top - drop * falling - values) ** 2).sum())
            if best is None or error < best[0]:
                best = error, cls(float(top), drop, float(rate), start)
        assert best is not None
        return best[1]

    def at(self, n: float) -> float:
        """The recall at ``n`` pairs."""
        return float(np.clip(self.top - self.drop * (n / self.start) ** -self.rate, 0.0, 1.0))

    def shift(self, n: float, measured: float) -> float:
        """How far what was measured at ``n`` pairs lies above the curve."""
        return measured - self.at(n)


@dataclass(frozen=True)
class Point:
    """Recall at a number of pairs, with its 95 % interval; ``measured`` or forecast."""

    pairs: int
    value: float
    low: float
    high: float
    measured: bool


@dataclass(frozen=True)
class Check:
    """The forecast of the largest size from the smaller ones, against what was measured."""

    pairs: int
    forecast: float
    low: float
    high: float
    measured: float

    @property
    def held(self) -> bool:
        """Whether the measured value lies in the forecast's interval."""
        return self.low <= self.measured <= self.high


@dataclass(frozen=True, repr=False)
class Forecast(Tabular):
    """A learning curve with its forecast, the check of it, and the items to pair next."""

    method: str
    points: tuple[Point, ...]
    check: Check
    picking: Picking
    said: str

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per number of pairs."""
        return ("pairs", "recall@10", "low", "high", ""), [
            (p.pairs, p.value, p.low, p.high, "measured" if p.measured else "forecast")
            for p in self.points
        ]

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {**asdict(self), "metric": METRIC, "check": {**asdict(self.check),
                "held": self.check.held}}  # fmt: skip


def forecast(
    bed: TestBed,
    choice: Choice,
    *,
    more: int = 500,
    count: int = 20,
    seed: int = 0,
    report: Callable[[str], None] = lambda _: None,
) -> Forecast:
    """Measure recall over growing numbers of training pairs and carry the curve on.

    A quarter of the training groups is set apart to read the curve on; of the others growing
    subsets are drawn, nested within a seed. The curve is refitted in resamples of seeds and of
    groups read, which gives the interval; the error made in forecasting the largest size from
    the others widens it. What the curve gains from there on is added to what was measured last:
    a curve that passes below it forecasts no loss.

    Parameters
    ----------
    choice : the method whose curve is drawn.
    more : pairs the forecast adds.
    count : items to name for pairing.

    Raises
    ------
    ConjoinError : there are too few pairs for a curve, or they cannot feed the method.
    """
    _refuse_odd(bed, choice, more, count, seed)
    _refuse_unfed(bed, choice)
    setting = _setting(bed, seed)
    total = len(setting.train)
    if total < 4 * FEWEST:
        raise ConjoinError("pairs", f"{total} to learn from", f"give {4 * FEWEST} or more")
    sizes = np.unique(np.geomspace(FEWEST, total, SIZES + 1).round().astype(int))[1:]
    scores, groups = _measured(setting, choice, sizes, seed, report)
    drawn_curves = _curves(sizes, scores, groups, seed)
    check = _checked(sizes, scores, groups, seed)
    slack = max(abs(check.forecast - check.measured), FLOOR)
    means = scores.mean(axis=(1, 2))
    spread = np.quantile(scores.mean(axis=2), [0.025, 0.975], axis=1)
    ends = [
        np.quantile([curve.at(float(n)) for curve in drawn_curves], [0.025, 0.975])
        for n in (*sizes, total + more, 2 * total)
    ]
    points = [
        Point(int(n), float(m), float(min(low, e[0])), float(max(high, e[1])), True)
        for n, m, low, high, e in zip(sizes, means, *spread, ends, strict=False)
    ]
    whole = Curve.fit(sizes.astype(float), means)
    shift = whole.shift(float(total), float(means[-1]))
    for n, (low, high) in zip((total + more, 2 * total), ends[len(sizes) :], strict=True):
        value, low, high = (
            float(np.clip(x + shift, 0, 1)) for x in (whole.at(n), low - slack, high + slack)
        )
        points.append(Point(int(n), value, min(low, value), max(high, value), False))
    points.sort(key=lambda p: p.pairs)
    picking = pick(bed, setting, choice, count=count, seed=seed, report=report)
    return Forecast(choice.method, tuple(points), check, picking, _said(points, total, more, check))


def _refuse_odd(bed: Any, choice: Any, more: Any, count: Any, seed: Any) -> None:
    instance_of(bed, TestBed, "bed", "give a TestBed: spaces, training pairs, held-out rows")
    instance_of(
        choice, Choice, "choice", "give what by_validation chose, or Choice.of(method, hub)"
    )
    whole_number(seed, "seed")
    whole_number(more, "more", 1, MOST)
    whole_number(count, "count", 0, MOST)


def _refuse_unfed(bed: TestBed, choice: Choice) -> None:
    if choice.aligner is None:
        spaces = {name: bed.spaces[name] for name in bed.train.names}
        why = cannot_feed(catalogue.find("aligner", choice.method), spaces)
        if why:
            raise ConjoinError(f"method {choice.method}", why, "name one these pairs can feed")


def _said(points: Sequence[Point], total: int, more: int, check: Check) -> str:
    now = next(p for p in points if p.measured and p.pairs == total)
    then = next(p for p in points if not p.measured and p.pairs == total + more)
    trust = "held" if check.held else "failed: trust this one less"
    return (
        f"{total:,} pairs give {METRIC} {now.value:.2f} [{now.low:.2f}, {now.high:.2f}]; the next "
        f"{more:,} add about {then.value - now.value:+.3f}, to {then.value:.2f} "
        f"[{then.low:.2f}, {then.high:.2f}]. As a check, {check.pairs:,} were forecast from fewer: "
        f"{check.forecast:.2f}, measured {check.measured:.2f}; the check {trust}."
    )


def _setting(bed: TestBed, seed: int) -> Setting:
    """Training pairs alone, a part of their groups set apart to read the curve on."""
    bench = Bench("your data", bed.spaces, bed.train, bed.groups)
    spaces = {name: bed.spaces[name] for name in bed.train.names}
    whole = Setting(TestBed(spaces, bed.train, bed.test, bed.rows, bed.groups), bench)
    return whole.inner(seed, READ)


def _measured(
    setting: Setting,
    choice: Choice,
    sizes: np.ndarray,
    seed: int,
    report: Callable[[str], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Scores ``[sizes, seeds, n]`` and the groups of the queries."""
    found, groups = [], np.empty(0)
    for size in sizes:
        report(f"{size} pairs")
        row = []
        for number in range(SEEDS):
            lines = drawn(setting.train, int(size), seed + number)
            units = score_of(setting, choice, lines, number)
            row.append(units.values)
            groups = units.groups
        found.append(row)
    return np.array(found), groups


def _curves(sizes: np.ndarray, scores: np.ndarray, groups: np.ndarray, seed: int) -> list[Curve]:
    """Curves of resamples of seeds and groups."""
    rng = np.random.default_rng([seed, stable_hash("curves")])
    _, owner = np.unique(groups, return_inverse=True)
    count, seeds = int(owner.max()) + 1, scores.shape[1]
    table = np.stack([[np.bincount(owner, row, count) for row in size] for size in scores])
    weights = np.bincount(owner, minlength=count).astype(float)
    found = []
    for _ in range(DRAWS):
        picked = rng.multinomial(count, np.full(count, 1 / count))
        chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds)) / seeds
        values = (table @ picked / (weights @ picked)) @ chosen
        found.append(Curve.fit(sizes.astype(float), values))
    return found


def _checked(sizes: np.ndarray, scores: np.ndarray, groups: np.ndarray, seed: int) -> Check:
    """Forecast the largest size from the others."""
    last = float(sizes[-1])
    means = scores.mean(axis=(1, 2))

    def carried(count: int) -> tuple[Curve, float]:
        """The curve of the first sizes, and how far the last of them lies above it."""
        curve = Curve.fit(sizes[:count].astype(float), means[:count])
        return curve, curve.shift(float(sizes[count - 1]), float(means[count - 1]))

    whole, up = carried(len(sizes) - 1)
    known = [curve.at(last) + up for curve in _curves(sizes[:-1], scores[:-1], groups, seed)]
    earlier, before = carried(len(sizes) - 2)
    slack = float(max(abs(earlier.at(float(sizes[-2])) + before - means[-2]), FLOOR))
    mean = float(np.clip(whole.at(last) + up, 0, 1))
    low, high = (float(x) for x in np.quantile(known, [0.025, 0.975]))
    return Check(
        int(last), mean, min(low - slack, mean), max(high + slack, mean), float(means[-1])
    )  # fmt: skip


def method_of(name: str | None, chosen: Choice) -> Choice:
    """The method a forecast is made for: the one named, else the one in use."""
    if name is None:
        return chosen
    return Choice(name, dict(catalogue.find("aligner", name).settings), chosen.hub)
