"""Fusions tried on folds of the training items, so that the whole run ends within its budget."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from conjoin import catalogue
from conjoin.alignment.choice import Trial
from conjoin.catalogue import Row
from conjoin.errors import ConjoinError, MissingDependency
from conjoin.execution.budget import Work
from conjoin.execution.checkpoint import Kept
from conjoin.fusion.inputs import Inputs
from conjoin.fusion.missing import credit, subsets_of
from conjoin.fusion.model import Fused
from conjoin.selection.folds import LINES
from conjoin.selection.trials import Sweep, race, shortened, side_by_side
from conjoin.storage.digest import stable_hash

#: Always on the table, simplest first.
PLAIN = ("best-single", "late", "imputed-logistic")
#: Tried where there are at most so many columns.
TREES, COLUMNS = "boosted-trees", 64
#: Folds of the training items; where time is short fewer of them are scored, but not fewer than
#: tell how sure a mean is.
FOLDS, FEWEST = 4, 2
#: Share of the time for choosing which linear methods may climb in, all of them together.
CLOSED = 0.4
#: A racing method takes about so many times its first, shortest trial; one of them alone, to its
#: end and fitted to all items, so many.
RACE, ALONE = 10.0, 24.0
#: No race begins with less than this share of the budget left.
START = 0.2
#: Parts of a training that the first trial in a race is.
QUARTER = 0.25
#: Best single is its heads and those of three folds of two thirds.
HEADS = 3.0
#: Units of intervals and pages at the end, beside what scoring takes.
CLOSING = 1.0


class Job(Protocol):
    """What choosing asks of a run."""

    seed: int
    kept: Kept
    inputs: Inputs
    labels: np.ndarray
    groups: np.ndarray
    learn: np.ndarray
    test: np.ndarray
    notes: list[str]

    def fit(self, name: str, fields: Mapping[str, Any], lines: np.ndarray) -> Fused:
        """A method on some items."""
        ...

    def report(self, text: str) -> None:
        """Told what is being tried."""
        ...

    def units(
        self, row: Row, fields: Mapping[str, Any], items: int, asked: int
    ) -> tuple[float, float]:
        """Units of a fit on so many items, and of judging so many."""
        ...


class FusionFolds:
    """Folds of whole groups of the training items.

    Parameters
    ----------
    job : the run they belong to.
    most : items of them at most.
    """

    def __init__(self, job: Job, most: int):
        self.job, self.most = job, most
        rng = np.random.default_rng([job.seed, stable_hash("folds")])
        lines = job.learn
        if len(lines) > most:
            lines = np.sort(rng.choice(lines, most, replace=False))
        names, first, owner = np.unique(job.groups[lines], return_index=True, return_inverse=True)
        count = min(FOLDS, len(names))
        if count < FEWEST:
            raise ConjoinError("groups", "one in training", "give items of more groups")
        self.lines, self.numbers = lines, range(count)
        self.fold = _dealt(job.labels[lines][first], count, rng)[owner]
        self._check_kinds()

    def __len__(self) -> int:
        return len(self.numbers)

    def _check_kinds(self) -> None:
        """Refuse labels of which a fold may hold all but one class."""
        labels = self.job.labels
        if labels.dtype.kind == "f":
            return
        for number in self.numbers:
            kinds = np.unique(labels[self.train(number)].astype(str))
            if len(kinds) < 2:
                raise ConjoinError(
                    "labels", f"all training items but those of one group are {str(kinds[0])!r}",
                    "label items of other classes in two groups or more",
                )  # fmt: skip

    def guess(self, number: int) -> float:
        """The mean credit of a fold decided by the labels of the others alone."""
        lines = self.lines[self.fold == number]
        if self.job.labels.dtype.kind == "f":
            return 0.0
        names, counts = np.unique(self.job.labels[self.train(number)], return_counts=True)
        return float((self.job.labels[lines] == names[counts.argmax()]).mean())

    def train(self, number: int) -> np.ndarray:
        """The items outside a fold."""
        return self.lines[self.fold != number]

    def score(self, number: int, fused: Fused) -> float:
        """The mean credit of a fold."""
        lines = self.lines[self.fold == number]
        return float(credit(fused, self.job.inputs.take(lines), self.job.labels[lines]).mean())


def _dealt(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``[n]`` a fold each, at random; each class is dealt evenly over all."""
    order = rng.permutation(len(labels))
    if labels.dtype.kind != "f":
        order = order[np.argsort(labels[order].astype(str), kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % count
    return fold


def by_steps(row: Row) -> bool:
    """Whether a method is a network: its time is that of its steps, however many the items."""
    return row.cost == "trained" and row.extra == "train"


class Plan:
    """What a run may still begin, so that all of it ends within its budget.

    A linear fusion takes time in proportion to the items, a trained one so many steps whatever
    they are. What fits and scores took on folds foretells what the fits to all training items and
    the report will take; that is kept free, and choosing has the rest.

    Parameters
    ----------
    clock : the work of the whole run, in units of the table of costs: no clock decides anything.
    """

    def __init__(self, clock: Work, folds: FusionFolds):
        self.clock, self.folds = clock, folds
        self._fits, self._scores = dict[str, float](), 0.0

    def saw(self, name: str, fit: float, score: float) -> None:
        """A fold's fit and its score take so many units."""
        self._fits[name] = max(self._fits.get(name, 0.0), fit)
        self._scores = max(self._scores, score)

    def fold(self, name: str) -> float:
        """About how long a fit on a fold takes: 0 where nothing is known."""
        seen = self._fits.get(name, 0.0)
        row = catalogue.find("fusion", name)
        if by_steps(row):
            return seen
        # Heads of one pull serve all late means; which finds them made already is not foretold.
        late = row.load() is catalogue.find("fusion", "late").load()
        alike = "best-single" if late else "imputed-logistic"
        share = HEADS if alike == "best-single" and name != alike else 1.0
        return max(seen, self._fits.get(alike, 0.0) / share)

    def whole(self, name: str) -> float:
        """About how long a fit to all training items takes."""
        if by_steps(catalogue.find("fusion", name)):
            return self.fold(name)
        return self.fold(name) * len(self.folds.job.learn) / max(len(self.folds.train(0)), 1)

    def left(self, then: Sequence[str] = PLAIN) -> float:
        """Seconds left for choosing if these are fitted to all items afterwards."""
        budget = self.clock.budget
        if budget is None:
            return float("inf")
        folds, job = self.folds, self.folds.job
        asked = len(then) + len(subsets_of(len(job.inputs.names)))
        inside = max(len(folds.lines) - len(folds.train(0)), 1)
        scored = self._scores * len(job.test) / inside * asked
        fits = sum(self.whole(name) for name in then)
        return budget - self.clock.spent - fits - scored - CLOSING

    def until(self, left: float) -> Work:
        """Work of its own that ends after so many units."""
        return Work(None if self.clock.budget is None else max(left, 0.0), self.clock)


class FusionSweep(Sweep):
    """Trials of one fusion on folds, remembered; climbs and races as any sweep does.

    Parameters
    ----------
    plan : told how long fits and scores took.
    """

    def __init__(
        self, row: Row, folds: FusionFolds, seed: int, clock: Work, plan: Plan | None = None
    ):
        self.row, self.seed, self.work, self.plan = row, seed, clock, plan
        self.folds: Any = folds
        self.cut, self._seen = False, {}
        self._scored = dict[tuple[Any, ...], float]()

    def descend(self, hub: str) -> Trial:
        """As any sweep, beginning nothing that would not end in budget: at worst the default."""
        first = self.trial(dict(self.row.settings), hub)
        if self.work.budget is None:
            return super().descend(hub)
        self.work = Work(self.work.left - first.units, self.work)
        return super().descend(hub) if self.work.allows() else first

    def units(self, fields: Mapping[str, Any], hub: str, folds: int, lines: int = LINES) -> float:
        """What a trial costs by the table, folds that were scored before aside."""
        numbers = list(self.folds.numbers)[:folds]
        own = [n for n in numbers if (n, *sorted(fields.items())) not in self._scored]
        return len(own) * sum(self._each(fields))

    def _each(self, fields: Mapping[str, Any]) -> tuple[float, float]:
        """Units of one fit on a fold and of its score."""
        train = len(self.folds.train(0))
        held = max(len(self.folds.lines) - train, 1)
        return self.folds.job.units(self.row, fields, train, held)

    def trial(
        self, fields: dict[str, Any], hub: str, folds: int | None = None, lines: int = LINES
    ) -> Trial:
        """A trial; a fold scored before, or by a run that was killed, is not scored again."""
        numbers = list(self.folds.numbers)[:folds]
        found = dict[int, float]()

        def one(number: int) -> float:
            found[number] = self._fold(fields, number)
            return found[number]

        fit, score = self._each(fields)
        self.work.spend(self.units(fields, hub, len(numbers)))
        if self.plan and (self.row.cost != "trained" or fields == dict(self.row.settings)):
            self.plan.saw(self.row.name, fit, score)  # a shortened training foretells nothing
        scores = tuple(side_by_side(one, numbers, apart=self.row.cost == "trained"))
        return Trial(self.row.name, fields, hub, scores, round(len(numbers) * (fit + score), 3))

    def _fold(self, fields: dict[str, Any], number: int) -> float:
        """The score of one fold, remembered here and on disk."""
        own = (number, *sorted(fields.items()))
        key = ["fold", self.row.name, dict(sorted(fields.items())), number, self.folds.most]

        def make() -> Mapping[str, float]:
            return {"score": self.folds.score(number, self.fit(fields, number, ""))}

        if own not in self._scored:
            self._scored[own] = self.folds.job.kept.value(key, make)["score"]
        return self._scored[own]

    def fit(self, fields: Mapping[str, Any], number: int, hub: str) -> Any:
        """The method fitted to everything outside a fold."""
        return self.folds.job.fit(self.row.name, fields, self.folds.train(number))


class Choosing:
    """The trials of one run: plain methods on folds, climbs of linear ones, a race of the others.

    Parameters
    ----------
    method : a fusion's name, or ``auto``.
    untried : methods not run to their end, and why.
    """

    def __init__(self, job: Job, folds: FusionFolds, method: str, plan: Plan):
        self.job, self.folds, self.method, self.plan = job, folds, method, plan
        self.untried = dict[str, str]()
        self.rows = catalogue.of_kind("fusion")
        named = list(self.rows) if method == "auto" else [*PLAIN, method]
        self.wanted = list(dict.fromkeys((*PLAIN, *named)))
        self.shown = PLAIN if method == "auto" else tuple(dict.fromkeys((*PLAIN, method)))
        self.sweeps = {
            name: FusionSweep(self.rows[name], folds, job.seed, plan.clock.open(), plan)
            for name in self.wanted
        }

    def run(self) -> dict[str, Trial]:
        """The best trial of each method that was scored on all folds."""
        closed = [name for name in self.wanted if not by_steps(self.rows[name])]
        columns = sum(self.job.inputs.dims().values())
        if columns > COLUMNS and TREES in closed and TREES not in self.shown:
            closed.remove(TREES)
            self.untried[TREES] = f"{columns} columns, more than {COLUMNS}: name it to try it"
        found = self._defaults(closed)
        clock = self.plan.until(CLOSED * self.plan.left(self.shown))
        names = list(found)
        for place, name in enumerate(names):
            own = clock.share(1 / (len(names) - place))
            self.job.report(f"{name} on folds{_left(clock)}")
            self.sweeps[name].work = own
            found[name] = self.sweeps[name].descend("")
        if self.method == "auto":
            found |= self._raced(found)
        return found

    def _defaults(self, closed: Sequence[str]) -> dict[str, Trial]:
        """Linear methods as they are, on as many folds as time allows; plain ones always."""
        if self.plan.clock.budget is not None:
            for name in PLAIN:
                self.job.report(f"{name} on a fold")
                self.sweeps[name].trial(dict(self.rows[name].settings), "", folds=1)
            self._fewer()
        found = dict[str, Trial]()
        for name in closed:
            count = len(self.folds)
            needed = self.sweeps[name].units(dict(self.rows[name].settings), "", count)
            if name not in self.shown and self.plan.left(self.shown) < needed:
                self.untried[name] = "no time to try it on folds"
                continue
            self.job.report(f"{name} on {count} folds")
            try:
                found[name] = self.sweeps[name].trial(dict(self.rows[name].settings), "")
            except ConjoinError as error:
                if name in self.shown:
                    raise
                self.untried[name] = str(error)
        return found

    def _fewer(self) -> None:
        """Score fewer folds where all of them would take more than half of the time left."""
        one, all_of = sum(self.plan.fold(name) for name in PLAIN), len(self.folds)
        count = all_of
        while count > FEWEST and one * (count - 1) > 0.5 * self.plan.left():
            count -= 1
        if count < all_of:
            self.folds.numbers = range(count)
            self.job.notes.append(
                f"methods were scored on {count} of {all_of} folds, for time: a longer --budget "
                "scores all"
            )

    def _raced(self, found: Mapping[str, Trial]) -> dict[str, Trial]:
        """Trained methods that were scored on all folds: as many race as time allows."""
        rows = {n: r for n, r in self.rows.items() if by_steps(r)}
        first, short = next(iter(rows)), "no time to let it race"
        if self.plan.left() < START * (self.plan.clock.budget or 0.0):
            self.untried |= dict.fromkeys(rows, short)
            return {}
        try:
            self.job.report(f"{first} on a fold")
            quarter = shortened(rows[first], QUARTER)
            trial = self.sweeps[first].trial(quarter, "", folds=1)
        except MissingDependency as error:
            self.untried |= dict.fromkeys(rows, str(error))
            return {}
        named, each = list(rows), max(trial.units, 1e-3)
        left = self.plan.left()
        if left < ALONE * each:
            named = []
        elif left < float("inf"):
            left -= each / QUARTER  # the winner is fitted to all items
            named = named[: max(1, int(left / (RACE * each)))]
        self.untried |= {name: short for name in rows if name not in named}
        if not named:
            return {}
        clock = self.plan.until(left)
        self.job.report(f"{', '.join(named)} race{_left(clock)}")
        lead = max(trial.scores[0] for trial in found.values())
        raced = race({n: self.sweeps[n] for n in named}, "", lead, clock)
        self.untried |= dict(raced.unfinished)
        return {t.method: t for t in raced.trials if len(t.scores) == len(self.folds)}


def _left(clock: Work) -> str:
    """The work that choosing may still take."""
    if clock.budget is None:
        return ""
    return f"; at most {clock.left:.0f} units more"
