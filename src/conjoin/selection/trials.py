"""Trials of a method on held-out folds: a climb over its settings, or a race of trained ones."""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

from conjoin.alignment.choice import Trial
from conjoin.catalogue import Row
from conjoin.errors import ConjoinError, MissingDependency, optional
from conjoin.execution import costs
from conjoin.execution.budget import SHORT, Work
from conjoin.selection.coordinate_search import Climb, default_of
from conjoin.selection.folds import LINES, Folds

#: Folds on which a closed form climbs, and lines of each; its best setting is then scored on all.
PROBES, PROBED = 2, 500
#: Units of a fold from which folds run side by side: threads cost more than less is worth.
BESIDE = 0.05
#: Shares of its training steps that a method runs in turn.
RUNGS = (0.25, 0.5, 1.0)
#: A trained method that fails to stay among this share of its rung goes no further.
KEPT = 0.5
#: Trained methods taken to all folds at most.
FINALISTS = 8


class Sweep:
    """Trials of one method on held-out folds, remembered.

    Parameters
    ----------
    work : counts what trials cost; where it has a budget, a climb ends with it.
    """

    def __init__(self, row: Row, folds: Folds, seed: int, work: Work | None = None):
        self.row, self.folds, self.seed = row, folds, seed
        self.work = work or Work()
        self.cut = False  # whether the budget ended a climb
        self._seen: dict[tuple[str, tuple], Trial] = {}

    def trials(self) -> list[Trial]:
        """Everything tried so far."""
        return list(self._seen.values())

    def descend(self, hub: str) -> Trial:
        """Climb on the first folds; score the best setting, and the default, on all.

        Where the budget runs out the climb ends at the best met so far, which alone is scored.
        """
        probes = min(PROBES, len(self.folds.numbers))
        start = dict(self.row.settings)

        def score(fields: dict[str, Any]) -> float:
            if fields != start and not self.work.allows(self.units(fields, hub, probes, PROBED)):
                self.cut = True
                return float("-inf")
            return self.trial(fields, hub, folds=probes, lines=PROBED).mean

        best, _ = Climb(self.row, score).run()
        ends = [self.trial(fields, hub) for fields in ([best] if self.cut else [start, best])]
        return max(ends, key=lambda t: t.mean)

    def trial(
        self, fields: dict[str, Any], hub: str, folds: int | None = None, lines: int = LINES
    ) -> Trial:
        """Fit and score one setting on each fold, or on the first few; remembered.

        Parameters
        ----------
        lines : of a fold that are asked, at most.
        """
        key = (hub, (folds, self.folds.asked(lines), *sorted(fields.items())))
        if key not in self._seen:
            numbers = list(itertools.islice(self.folds.numbers, folds))
            units = self.units(fields, hub, len(numbers), lines)
            if hasattr(self.row.load(), "solve"):
                for number in numbers:
                    self.folds.joint(number, hub)

            def one(number: int) -> float:
                return self.folds.score(number, self.fit(fields, number, hub), lines)

            apart = self.row.cost == "trained" or units < BESIDE * len(numbers)
            scores = tuple(side_by_side(one, numbers, apart=apart))
            self.work.spend(units)
            self._seen[key] = Trial(self.row.name, fields, hub, scores, round(units, 3))
        return self._seen[key]

    def units(self, fields: Mapping[str, Any], hub: str, folds: int, lines: int = LINES) -> float:
        """What a trial costs, by the table: its fits, its scores, and moments not yet made."""
        shape = self.folds.shape(hub)
        each = costs.of_fit(self.row, fields, shape)
        each += costs.of_score(self.folds.asked(lines), shape.dims)
        if not hasattr(self.row.load(), "solve"):
            return folds * each
        return folds * each + self.folds.owed()

    def fit(self, fields: Mapping[str, Any], number: int, hub: str) -> dict[str, Any]:
        """The maps of one setting, fitted to everything outside a fold with a seed of its own."""
        aligner = self.row.make(fields)
        if hasattr(aligner, "solve"):
            return dict(aligner.solve(self.folds.joint(number, hub)))
        views = self.folds.views(hub)
        frames = {name: self.folds.spaces[name].frame.id for name in views}
        train = self.folds.train(number).select(list(views))
        seed = self.seed + number

        def fit() -> dict[str, Any]:
            return dict(aligner.fit(views, train, frames=frames, seed=seed))

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
    unfinished : methods that the budget or the data kept from running to their end, and why.
    """

    trials: tuple[Trial, ...]
    unfinished: Mapping[str, str]


def race(sweeps: Mapping[str, Sweep], hub: str, to_beat: float, work: Work) -> Raced:
    """Successive halving of trained methods on one fold, the leaders then on all.

    Every method runs a quarter of its steps, the better half of them half, and the better half
    of those all (Jamieson and Talwalkar 2016); those then within reach of ``to_beat``, the best
    closed form on that fold, at most :data:`FINALISTS`, are scored on every fold. Where what is
    left of the budget would not see a half through to its end, only so many of the best go on as
    it would.
    """
    left: dict[str, str] = {}
    alive = [name for name, sweep in sweeps.items() if _ends(sweep, hub, work)]
    if not alive:  # what none would see through only costs
        return Raced((), dict.fromkeys(sweeps, SHORT))
    alive, reached = list(sweeps), dict[str, Trial]()
    if any(sweep.row.extra == "train" for sweep in sweeps.values()):
        _warm()
    for place, share in enumerate(RUNGS):
        here = _rung({name: sweeps[name] for name in alive}, hub, share, (work, left))
        reached |= here
        order = sorted(here, key=lambda n: -here[n].mean)
        half = order[: kept(len(order), share)]
        others = len(sweeps[order[0]].folds.numbers) - 1 if order else 0
        whole = [sweeps[name].units(dict(sweeps[name].row.settings), hub, 1) for name in half]
        alive = half[: afforded(whole, RUNGS[place + 1 :], others, work)]
        for lost in half[len(alive) :]:
            said = f"place {order.index(lost) + 1} of {len(order)} after {share:.0%}"
            left[lost] = f"{SHORT}: {said} of its training"
    for name in alive[:FINALISTS]:
        settings = dict(sweeps[name].row.settings)
        others = len(sweeps[name].folds.numbers) - 1
        if reached[name].scores[0] < to_beat:
            continue
        if work.allows(sweeps[name].units(settings, hub, others)):
            reached[name] = sweeps[name].trial(settings, hub)
        else:
            left[name] = f"{SHORT} for all folds"
    return Raced(tuple(reached.values()), left)


def _rung(
    sweeps: Mapping[str, Sweep], hub: str, share: float, told: tuple[Work, dict[str, str]]
) -> dict[str, Trial]:
    """A share of the training of each, on one fold; who cannot is named in ``left``."""
    work, left = told
    here = {}
    for name, sweep in sweeps.items():
        fields = shortened(sweep.row, share)
        if not work.allows(sweep.units(fields, hub, 1)):
            left[name] = SHORT
            continue
        try:
            here[name] = sweep.trial(fields, hub, folds=1)
        except ConjoinError as error:
            left[name] = str(error)
    return here


def _ends(sweep: Sweep, hub: str, work: Work) -> bool:
    """Whether a method, were it alone in the race, would see its end."""
    whole = sweep.units(dict(sweep.row.settings), hub, 1)
    return work.allows(_ahead([whole], RUNGS, len(sweep.folds.numbers) - 1))


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


def afforded(whole: Sequence[float], rungs: Sequence[float], others: int, work: Work) -> int:
    """How many of the best see the race's end in what is left; the leader always goes on.

    Parameters
    ----------
    whole : units of a whole training on one fold, best method first.
    rungs : shares of the training that are still to run.
    others : folds on which the finalists are then scored.

    Examples
    --------
    >>> afforded([10.0, 10.0, 10.0, 10.0], (0.5, 1.0), 4, Work(75.0))
    2
    """
    count = len(whole)
    while count > 1 and not work.allows(_ahead(whole[:count], rungs, others)):
        count -= 1
    return count


def _ahead(whole: Sequence[float], rungs: Sequence[float], others: int) -> float:
    """Units from here to the end of the race."""
    if not rungs:
        return others * sum(whole[:FINALISTS])
    on = whole[: kept(len(whole), rungs[0])]
    return rungs[0] * sum(whole) + _ahead(on, rungs[1:], others)


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
