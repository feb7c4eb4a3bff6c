"""Trials of a method on held-out folds: a climb over its settings, or a race of trained ones."""

import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from conjoin.binding.climb import Climb, default_of
from conjoin.binding.folds import Folds
from conjoin.catalogue import Row
from conjoin.errors import ConjoinError, MissingDependency, optional

#: Folds on which a closed form climbs; its best setting is then scored on all.
PROBES = 2
#: Shares of its training steps that a method runs in turn.
RUNGS = (0.25, 0.5, 1.0)
#: A trained method that fails to stay among this share of its rung goes no further.
KEPT = 0.5
#: Trained methods taken to all folds at most.
FINALISTS = 8


@dataclass(frozen=True)
class Trial:
    """One setting of one method and what it reached on each fold.

    Parameters
    ----------
    scores : mean of recall@1, @5 and @10 over the directions of all pair sources, a fold each.
    """

    method: str
    fields: Mapping[str, Any]
    hub: str
    scores: tuple[float, ...]
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        """Mean over folds."""
        return float(np.mean(self.scores))


class Clock:
    """Seconds left of a budget; without one there is no end.

    Parameters
    ----------
    budget : seconds; ``None`` for no end.
    """

    def __init__(self, budget: float | None = None):
        self.budget, self._start = budget, time.perf_counter()

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._start

    def allows(self, seconds: float = 0.0) -> bool:
        """Whether something that takes ``seconds`` still ends in time."""
        return self.budget is None or self.spent + seconds < self.budget

    def share(self, part: float) -> "Clock":
        """A clock of its own over a part of this one's budget, at most what is left of it.

        Examples
        --------
        >>> Clock(60.0).share(0.5).budget
        30.0
        """
        if self.budget is None:
            return self
        return Clock(min(part * self.budget, max(0.0, self.budget - self.spent)))


class Sweep:
    """Trials of one method on held-out folds, remembered."""

    def __init__(self, row: Row, folds: Folds, seed: int, clock: Clock | None = None):
        self.row, self.folds, self.seed = row, folds, seed
        self.clock = clock or Clock()
        self.cut = False  # whether time ended a climb
        self._seen: dict[tuple[str, tuple], Trial] = {}

    def trials(self) -> list[Trial]:
        """Everything tried so far."""
        return list(self._seen.values())

    def descend(self, hub: str) -> Trial:
        """Climb on the first folds; score the best setting, and the default, on all.

        Where time runs out the climb ends at the best met so far, which alone is scored.
        """
        probes = min(PROBES, len(self.folds.numbers))
        start = dict(self.row.settings)

        def score(fields: dict[str, Any]) -> float:
            if fields != start and not self.clock.allows():
                self.cut = True
                return float("-inf")
            return self.trial(fields, hub, folds=probes).mean

        best, _ = Climb(self.row, score).run()
        ends = [self.trial(fields, hub) for fields in ([best] if self.cut else [start, best])]
        return max(ends, key=lambda t: t.mean)

    def trial(self, fields: dict[str, Any], hub: str, folds: int | None = None) -> Trial:
        """Fit and score one setting on each fold, or on the first few; remembered."""
        key = (hub, (folds, *sorted(fields.items())))
        if key not in self._seen:
            clock = time.perf_counter()
            numbers = list(itertools.islice(self.folds.numbers, folds))
            if hasattr(self.row.load(), "solve"):
                for number in numbers:
                    self.folds.joint(number, hub)

            def one(number: int) -> float:
                return self.folds.score(number, self.fit(fields, number, hub))

            scores = tuple(side_by_side(one, numbers, apart=self.row.cost == "trained"))
            seconds = round(time.perf_counter() - clock, 3)
            self._seen[key] = Trial(self.row.name, fields, hub, scores, seconds)
        return self._seen[key]

    def fit(self, fields: Mapping[str, Any], number: int, hub: str) -> dict[str, Any]:
        """The maps of one setting, fitted to everything outside a fold with a seed of its own."""
        binder = self.row.make(fields)
        if hasattr(binder, "solve"):
            return dict(binder.solve(self.folds.joint(number, hub)))
        views = self.folds.views(hub)
        frames = {name: self.folds.spaces[name].frame.id for name in views}
        train = self.folds.train(number).select(list(views))
        seed = self.seed + number

        def fit() -> dict[str, Any]:
            return dict(binder.fit(views, train, frames=frames, seed=seed))

        # A trained method's fits are the dear part of a comparison, and few: none is done twice.
        if self.row.cost != "trained":
            return fit()
        return self.folds.fitted((self.row.name, *sorted(fields.items()), hub, number, seed), fit)


@dataclass(frozen=True)
class Raced:
    """What a race of trained methods came to.

    Parameters
    ----------
    trials : the last trial of each: on one fold, perhaps with fewer steps, of those that fell
        behind, and on all folds of the finalists.
    unfinished : methods that time or the data kept from running to their end, and why.
    """

    trials: tuple[Trial, ...]
    unfinished: Mapping[str, str]


def race(sweeps: Mapping[str, Sweep], hub: str, to_beat: float, clock: Clock) -> Raced:
    """Successive halving of trained methods on one fold, the leaders then on all.

    Every method runs a quarter of its steps, the better half of them half, and the better half
    of those all (Jamieson and Talwalkar 2016); those then within reach of ``to_beat``, the best
    closed form on that fold, at most :data:`FINALISTS`, are scored on every fold. Where the time
    left would not see a half through to its end, only so many of the best go on as it would.
    """
    left: dict[str, str] = {}
    alive: list[str] = list(sweeps)
    reached: dict[str, Trial] = {}
    if any(sweep.row.extra == "train" for sweep in sweeps.values()):
        _warm()
    for place, share in enumerate(RUNGS):
        here = {}
        for name in alive:
            if not clock.allows(2 * reached[name].seconds if name in reached else 0.0):
                left[name] = "time ran out"
                continue
            try:
                fields = shortened(sweeps[name].row, share)
                here[name] = sweeps[name].trial(fields, hub, folds=1)
            except ConjoinError as error:
                left[name] = str(error)
        reached |= here
        order = sorted(here, key=lambda n: -here[n].mean)
        half = order[: kept(len(order), share)]
        others = len(sweeps[order[0]].folds.numbers) - 1 if order else 0
        costs = [here[name].seconds / share for name in half]
        alive = half[: afforded(costs, RUNGS[place + 1 :], others, clock)]
        for lost in half[len(alive) :]:
            said = f"place {order.index(lost) + 1} of {len(order)} after {share:.0%}"
            left[lost] = f"{said} of its training, and no time for more"
    for name in alive[:FINALISTS]:
        others = len(sweeps[name].folds.numbers) - 1
        if reached[name].scores[0] < to_beat:
            continue
        if clock.allows(reached[name].seconds * others):
            reached[name] = sweeps[name].trial(dict(sweeps[name].row.settings), hub)
        else:
            left[name] = "time ran out before all folds"
    return Raced(tuple(reached.values()), left)


def _warm() -> None:
    """Import what training imports: it is no cost of the method that happens to come first."""
    try:
        torch = optional("torch", "train")
    except MissingDependency:
        return
    torch.optim.AdamW([torch.zeros(1)])


def kept(count: int, share: float) -> int:
    """How many of a rung go on: the better half, or all after the last rung."""
    return count if share == 1 else max(1, round(count * KEPT))


def afforded(costs: Sequence[float], rungs: Sequence[float], others: int, clock: Clock) -> int:
    """How many of the best see the race's end in the time left; the leader always goes on.

    Parameters
    ----------
    costs : seconds of a whole training on one fold, best method first.
    rungs : shares of the training that are still to run.
    others : folds on which the finalists are then scored.

    Examples
    --------
    >>> afforded([10.0, 10.0, 10.0, 10.0], (0.5, 1.0), 4, Clock(75.0))
    2
    """
    count = len(costs)
    while count > 1 and not clock.allows(_ahead(costs[:count], rungs, others)):
        count -= 1
    return count


def _ahead(costs: Sequence[float], rungs: Sequence[float], others: int) -> float:
    """Seconds from here to the end of the race."""
    if not rungs:
        return others * sum(costs[:FINALISTS])
    on = costs[: kept(len(costs), rungs[0])]
    return rungs[0] * sum(costs) + _ahead(on, rungs[1:], others)


def shortened(row: Row, share: float) -> dict[str, Any]:
    """A method's settings with that share of its training steps."""
    settings = dict(row.settings)
    if share < 1 and "steps" in {entry.name for entry in fields(row.load())}:
        steps = settings.get("steps", default_of(row.load(), "steps"))
        settings["steps"] = max(1, round(steps * share))
    return settings


def side_by_side(
    job: Callable[[int], float], numbers: Sequence[int], *, apart: bool
) -> list[float]:
    """Run a job for each fold: one thread each for linear algebra, or one after the other.

    Two folds at once use two cores fully; one decomposition over two threads does not.
    """
    if apart or len(numbers) < 2:
        return [job(number) for number in numbers]
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(job, numbers))
