"""Choose a fusion on folds, judge it on held-out items beside plain ones, say what to use."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.binding.trials import Clock, Sweep, Trial, race, shortened, side_by_side
from conjoin.catalogue import Row
from conjoin.claims.statistics import DRAWS, LEVEL, Paired
from conjoin.errors import ConjoinError, MissingDependency
from conjoin.fusion.fused import Fused
from conjoin.fusion.inputs import Inputs
from conjoin.fusion.masks import Missing, credit, missing_report
from conjoin.fusion.target import Target
from conjoin.items.split import make_split
from conjoin.spaces import Rows, stable_hash
from conjoin.transfer.kept import Kept

#: Always on the table, simplest first.
PLAIN = ("best-single", "late", "concat")
#: What a fusion must beat.
TO_BEAT = "best-single"
#: Folds of the training items, and items of them at most that methods are chosen by.
FOLDS, SAMPLE = 4, 20_000
#: Fewer of them where views are wide and time is short: so many numbers a second of the budget,
#: but not fewer items than this.
NUMBERS, LEAST = 2**17, 4_000
#: Resampled groups that intervals rest on: fewer draws where groups are many.
RESAMPLED = 2**25
#: Share of the budget after which nothing new is tried.
VALIDATION = 0.6
#: Share of that time which linear methods may climb in, all of them together.
CLOSED = 0.4
#: A racing method takes about so many times its first, shortest trial.
RACE = 10.0
#: Share of the items held out where no split is given.
HELD_OUT = 0.25


@dataclass(frozen=True)
class Arm:
    """A method on held-out items.

    Parameters
    ----------
    value, low, high : accuracy, or variance explained.
    balanced : mean accuracy of the classes; ``None`` for numbers.
    gain, gain_low, gain_high : over the best single modality, corrected for the methods shown.
    validation : the same on folds of the training items.
    """

    method: str
    fields: Mapping[str, Any]
    value: float
    low: float
    high: float
    balanced: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    validation: float | None


@dataclass(frozen=True, eq=False)
class Decision:
    """What was fitted, how it does, and what to do.

    Parameters
    ----------
    said : the recommendation, a sentence each.
    fused : the fitted fusion that is recommended.
    arms : best first.
    metric : ``accuracy`` or ``explained``.
    missing : the missing-modality report, of ``fused`` on held-out items.
    trials : every method tried on folds: mean, settings, seconds.
    untried : methods not run to their end, and why.
    best_single : the modality that decides best alone.
    items : items trained on and held out.
    notes : what was left out of the data.
    """

    said: tuple[str, ...]
    fused: Fused
    fields: Mapping[str, Any]
    arms: tuple[Arm, ...]
    metric: str
    missing: Missing
    trials: tuple[Mapping[str, Any], ...]
    untried: Mapping[str, str]
    best_single: str
    items: tuple[int, int]
    seconds: float
    notes: tuple[str, ...] = ()
    papers: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            "recommendation": list(self.said), "use": self.fused.method,
            "fields": dict(self.fields), "metric": self.metric,
            "classes": self.fused.target.classes and list(self.fused.target.classes),
            "modalities": list(self.fused.names), "best_single": self.best_single,
            "trained": self.items[0], "held_out": self.items[1],
            "arms": [asdict(arm) for arm in self.arms], "trials": [dict(t) for t in self.trials],
            "not_tried": dict(self.untried), "missing": self.missing.to_json(),
            "notes": list(self.notes), "seconds": round(self.seconds, 1),
        }  # fmt: skip


def fuse(
    views: Mapping[str, Rows],
    labels: Any,
    *,
    present: Mapping[str, np.ndarray] | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
    held: np.ndarray | None = None,
    method: str = "auto",
    budget: float | None = 60.0,
    seed: int = 0,
) -> Decision:
    """Train a classifier or regressor on all views, for items that have any of them.

    The method is chosen on folds of the training items: linear fusions climb over their settings,
    trained ones race. Held-out items then judge it beside the class shares, the best single view,
    the late mean and the views side by side.

    Parameters
    ----------
    views : ``[n, d]`` by name; row i of each is item i's.
    labels : ``[n]`` classes (strings, integers) or numbers (floats).
    present : ``[n]`` booleans by view; a view without any is there for every item.
    groups : items of one group are never on both sides.
    held : ``[n]`` booleans, which items judge; a quarter of the groups where not given.
    method : a row of kind ``fusion``, or ``auto``.
    budget : seconds that choosing may take; ``None`` for no end.

    Raises
    ------
    ConjoinError : as the methods' ``fit``, or the method is unknown.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> label = np.arange(200) % 2
    >>> views = {name: label[:, None] + rng.normal(size=(200, 4)) for name in ("ear", "eye")}
    >>> found = fuse(views, label, method="late", present={"ear": rng.random(200) > 0.5})
    >>> found.fused.method, found.metric
    ('late', 'accuracy')
    """
    return Fusing(Inputs.of(views, present or {}), labels, groups, held, seed).run(method, budget)


class Fusing:
    """One run of :func:`fuse`.

    Parameters
    ----------
    report : told what is being tried.
    kept : where scored folds and finished fits lie, so that a run that was killed goes on.
    """

    def __init__(
        self, inputs: Inputs, labels: Any, groups: Any, held: np.ndarray | None, seed: int,
        report: Callable[[str], None] = lambda _: None, kept: Kept | None = None,
    ):  # fmt: skip
        self.seed, self.report, self.notes = seed, report, list[str]()
        self.kept = kept or Kept()
        self.labels = np.asarray(labels)
        count = len(inputs)
        for name, given in (("labels", self.labels), ("groups", groups), ("held", held)):
            if given is not None and len(given) != count:
                raise ConjoinError(name, f"{len(given)} for {count} items", "give one an item")
        named = np.arange(count) if groups is None else np.asarray(groups)
        self.groups = np.array([stable_hash(str(group)) for group in named])
        if held is None:
            ids = [str(i) for i in range(count)]
            split = make_split(ids, self.groups.astype(str), test=HELD_OUT, seed=seed)
            held = split.is_test(np.array(ids))
        self.learn, self.test = np.flatnonzero(~held), np.flatnonzero(held)
        if not len(self.learn) or len(np.unique(self.groups[self.test])) < 2:
            raise ConjoinError(
                "items", f"{len(self.learn)} to train on and {len(self.test)} held out",
                "label more items",
            )  # fmt: skip
        self.target = Target.of(self.labels[self.learn])
        self.inputs = self._known(inputs)
        self.folds = FusionFolds(self, SAMPLE)

    def _known(self, inputs: Inputs) -> Inputs:
        """Note labels that only held-out items have: they can never be right."""
        if self.target.classes is not None:
            unseen = self.target.encode(self.labels[self.test], strict=False) < 0
            if unseen.any():
                names = sorted(set(self.labels[self.test][unseen].astype(str)))
                self.notes.append(
                    f"{int(unseen.sum())} held-out items are of classes that no training item "
                    f"has ({', '.join(names[:5])}): they count as wrong"
                )
        return inputs

    def run(self, method: str, budget: float | None) -> Decision:
        """Choose, fit, judge and report."""
        clock, untried = Clock(budget), dict[str, str]()
        if method != "auto":
            catalogue.find("fusion", method)
        self.folds = FusionFolds(self, self._sample(budget))
        trials = self._tried(method, clock, untried)
        chosen = method if method != "auto" else self._best(trials)
        names = list(dict.fromkeys((*PLAIN, chosen)))
        fitted, values = dict[str, Fused](), dict[str, np.ndarray]()
        asked = self.inputs.take(self.test)
        for place, name in enumerate(names):
            left = sum(self._seconds(other, trials) for other in names[place:])
            self.report(f"{name} on held-out items; about {max(left, 1):.0f} s left")
            fitted[name] = self._whole(name, trials[name].fields if name in trials else {})
            values[name] = credit(fitted[name], asked, self.labels[self.test])
        values["class shares"] = self._guess()
        arms = self._arms(values, trials)
        use, said = self._recommended(method, chosen, arms, fitted, trials)
        fused = fitted[use]
        self.report("every subset of the modalities")
        missing = self._missing(fused)
        order = getattr(fitted[TO_BEAT].body, "order", (0,))
        tried = [
            {"method": t.method, "fields": dict(t.fields), "validation": t.mean,
             "folds": len(t.scores), "seconds": t.seconds}
            for t in sorted(trials.values(), key=lambda t: -t.mean)
        ]  # fmt: skip
        return Decision(
            (*said, *missing.said), fused, trials[use].fields if use in trials else {},
            arms, missing.metric, missing, tuple(tried), untried,
            self.inputs.names[order[0]], (len(self.learn), len(self.test)), clock.spent,
            tuple(self.notes), catalogue.find("fusion", use).papers,
        )  # fmt: skip

    def _sample(self, budget: float | None) -> int:
        """How many training items methods are chosen by."""
        if budget is None:
            return SAMPLE
        width = sum(self.inputs.dims().values())
        count = min(SAMPLE, max(LEAST, int(NUMBERS * budget / width)))
        if count < len(self.learn):
            self.notes.append(
                f"methods were chosen on {count} of {len(self.learn)} training items, and those "
                "shown then fitted to all of them"
            )
        return count

    def _seconds(self, name: str, trials: Mapping[str, Trial]) -> float:
        """About how long a method takes on all training items, by its trials on folds."""
        if name not in trials:
            return 0.0
        one = trials[name].seconds / len(trials[name].scores)
        if catalogue.find("fusion", name).cost == "trained":
            return one  # so many steps, whatever the items
        return one * len(self.learn) / max(len(self.folds.train(0)), 1)

    def _whole(self, name: str, fields: Mapping[str, Any]) -> Fused:
        """A method fitted to all training items, or opened where it was before."""
        return self.kept.file(
            ["fit", name, dict(fields)], lambda: self.fit(name, fields, self.learn), Fused.load,
            lambda fused, path: fused.save(path),
        )  # fmt: skip

    def fit(self, name: str, fields: Mapping[str, Any], lines: np.ndarray) -> Fused:
        """A method on some items."""
        own = self.inputs.take(lines)
        present = {view: own.here[:, k] for k, view in enumerate(own.names)}
        made = catalogue.find("fusion", name).make(dict(fields))
        fused = made.fit(own.views, present, labels=self.labels[lines], seed=self.seed)
        return replace(fused, method=name)

    def _tried(self, method: str, clock: Clock, untried: dict[str, str]) -> dict[str, Trial]:
        """The best trial of each method on folds; of the named one and the plain ones only."""
        rows = catalogue.of_kind("fusion")
        limit = Clock(None if clock.budget is None else VALIDATION * clock.budget)
        wanted = list(rows) if method == "auto" else list(dict.fromkeys((*PLAIN, method)))
        closed = [n for n in (*PLAIN, *rows) if n in wanted and rows[n].cost != "trained"]
        closed = list(dict.fromkeys(closed))
        found: dict[str, Trial] = {}
        for name in closed:
            if name not in PLAIN and not limit.allows():
                untried[name] = "time ran out"
                continue
            self.report(f"{name} on folds{_left(limit)}")
            own = Clock(limit.budget and CLOSED * limit.budget / len(closed))
            try:
                found[name] = FusionSweep(rows[name], self.folds, self.seed, own).descend("")
            except ConjoinError as error:
                if name in PLAIN:
                    raise
                untried[name] = str(error)
        if method == "auto":
            trained = {n: rows[n] for n in wanted if rows[n].cost == "trained"}
            found |= self._raced(trained, found, limit, untried)
        return found

    def _raced(
        self, rows: Mapping[str, Row], found: Mapping[str, Trial], clock: Clock,
        untried: dict[str, str],
    ) -> dict[str, Trial]:  # fmt: skip
        """Trained methods that were scored on all folds: as many race as time allows."""
        sweeps = {n: FusionSweep(row, self.folds, self.seed, clock) for n, row in rows.items()}
        first = next(iter(sweeps))
        try:
            self.report(f"{first} on a fold")
            trial = sweeps[first].trial(shortened(rows[first], 0.25), "", folds=1)
        except MissingDependency as error:
            untried |= dict.fromkeys(rows, str(error))
            return {}
        count = len(rows)
        if clock.budget is not None:
            left = clock.budget - clock.spent
            count = min(count, max(2, int(left / (RACE * max(trial.seconds, 1e-3)))))
        named = list(rows)[:count]
        untried |= dict.fromkeys(list(rows)[count:], "no time to let it race")
        self.report(f"{', '.join(named)} race{_left(clock)}")
        lead = max(trial.scores[0] for trial in found.values())
        raced = race({n: sweeps[n] for n in named}, "", lead, clock)
        untried |= dict(raced.unfinished)
        return {t.method: t for t in raced.trials if len(t.scores) == len(self.folds)}

    def _best(self, trials: Mapping[str, Trial]) -> str:
        """The leader, or the simplest that folds cannot tell from it."""
        rank = {name: place for place, name in enumerate((*PLAIN, *trials))}
        lead = max(trials.values(), key=lambda t: t.mean)
        near = []
        for trial in trials.values():
            gap = np.array(lead.scores) - np.array(trial.scores)
            error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
            if gap.mean() <= error:
                near.append(trial.method)
        cost = {n: catalogue.COSTS.index(catalogue.find("fusion", n).cost) for n in near}
        return min(near, key=lambda n: (cost[n], -trials[n].mean if cost[n] else rank[n]))

    def _guess(self) -> np.ndarray:
        labels = self.labels[self.test]
        if self.target.classes is None:
            return 1 - self.target.encode(labels).astype(np.float64) ** 2
        usual = self.target.classes[int(np.argmax(self.target.prior))]
        return (labels.astype(str) == usual).astype(np.float64)

    def _arms(
        self, values: Mapping[str, np.ndarray], trials: Mapping[str, Trial]
    ) -> tuple[Arm, ...]:
        groups, labels = self.groups[self.test], self.labels[self.test].astype(str)
        draws = min(DRAWS, max(1000, RESAMPLED // len(np.unique(groups))))
        paired = Paired.of({n: own[None] for n, own in values.items()}, groups, draws=draws)
        level = 1 - LEVEL / max(len(values) - 2, 1)
        found = []
        for name, own in values.items():
            low, high = paired.effect(name).interval()
            gain = None if name in (TO_BEAT, "class shares") else paired.effect(name, TO_BEAT)
            span = (None, None) if gain is None else gain.interval(level)
            even = None
            if self.target.classes is not None:
                even = float(np.mean([own[labels == each].mean() for each in np.unique(labels)]))
            trial = trials.get(name)
            found.append(Arm(
                name, {} if trial is None else dict(trial.fields), float(own.mean()), low, high,
                even, None if gain is None else gain.value, span[0], span[1],
                None if trial is None else trial.mean,
            ))  # fmt: skip
        return tuple(sorted(found, key=lambda arm: -arm.value))

    def _recommended(
        self, method: str, chosen: str, arms: Sequence[Arm], fitted: Mapping[str, Fused],
        trials: Mapping[str, Trial],
    ) -> tuple[str, list[str]]:  # fmt: skip
        by_name = {arm.method: arm for arm in arms}
        order = fitted[TO_BEAT].body.order
        best = self.inputs.names[order[0]]
        own, said = by_name[chosen], []
        beaten = any(arm.gain_low is not None and arm.gain_low > 0 for arm in arms)
        if chosen != TO_BEAT and own.gain_low is not None and own.gain_low > 0:
            use = chosen
            said.append(
                f"use {chosen}: {own.gain:+.3f} [{own.gain_low:+.3f}, {own.gain_high:+.3f}] over "
                f"the best single modality ({best})"
            )
        elif not beaten:
            use = TO_BEAT
            said.append(f"nothing beats the best single modality ({best}): use it")
        else:
            use = max((a for a in arms if (a.gain_low or 0) > 0), key=lambda a: a.value).method
            said.append(f"{chosen}, chosen on folds, does not beat {best} alone; {use} does")
        if method != "auto" and use != method:
            use = method
            said.append(f"{method} is kept, as you named it")
        if use != TO_BEAT:
            said.append(_together(trials))
        return use, [line for line in said if line]

    def _missing(self, fused: Fused) -> Missing:
        known = self.test
        return missing_report(
            fused, self.inputs.take(known), self.labels[known], self.groups[known],
            self.inputs.here, self.seed,
        )  # fmt: skip


def _left(clock: Clock) -> str:
    """The time that choosing may still take."""
    if clock.budget is None:
        return ""
    return f"; at most {max(clock.budget - clock.spent, 0):.0f} s more of choosing"


def _together(trials: Mapping[str, Trial]) -> str:
    """Whether views tell more side by side than apart (Du et al. 2023, recalled), on folds.

    Where one head over all views does not beat the mean of a head a view, what tells lies within
    the views, and late fusion is enough.
    """
    if "late" not in trials or "concat" not in trials:
        return ""
    gap = np.array(trials["concat"].scores) - np.array(trials["late"].scores)
    error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
    if gap.mean() > 2 * error:
        return "the modalities tell more together than apart: fuse them in one model"
    if gap.mean() < -2 * error:
        return "the modalities tell it apart: a model each and their mean is the way (late)"
    return "one model over all and a mean of one each cannot be told apart on folds"


class FusionFolds:
    """Folds of whole groups of the training items.

    Parameters
    ----------
    job : the run they belong to.
    most : items of them at most.
    """

    def __init__(self, job: Fusing, most: int):
        self.job, self.most = job, most
        rng = np.random.default_rng([job.seed, stable_hash("folds")])
        lines = job.learn
        if len(lines) > most:
            lines = np.sort(rng.choice(lines, most, replace=False))
        names, owner = np.unique(job.groups[lines], return_inverse=True)
        count = min(FOLDS, len(names))
        if count < 2:
            raise ConjoinError("groups", "one in training", "give items of more groups")
        self.lines = lines
        self.fold = rng.permutation(np.arange(len(names)) % count)[owner]
        self.numbers = range(count)

    def __len__(self) -> int:
        return len(self.numbers)

    def train(self, number: int) -> np.ndarray:
        """The items outside a fold."""
        return self.lines[self.fold != number]

    def score(self, number: int, fused: Fused) -> float:
        """The mean credit of a fold."""
        lines = self.lines[self.fold == number]
        return float(credit(fused, self.job.inputs.take(lines), self.job.labels[lines]).mean())


class FusionSweep(Sweep):
    """Trials of one fusion on folds, remembered; climbs and races as any sweep does."""

    def __init__(self, row: Row, folds: FusionFolds, seed: int, clock: Clock):
        self.row, self.seed, self.clock = row, seed, clock
        self.folds: Any = folds
        self._seen = {}
        self._scored = dict[tuple[Any, ...], Mapping[str, float]]()

    def descend(self, hub: str) -> Trial:
        """As any sweep; the default alone where a single trial of it takes the time there is."""
        first = self.trial(dict(self.row.settings), hub)
        return super().descend(hub) if self.clock.allows(first.seconds) else first

    def trial(self, fields: dict[str, Any], hub: str, folds: int | None = None) -> Trial:
        """A trial; a fold scored before, or by a run that was killed, is not scored again."""
        numbers = list(self.folds.numbers)[:folds]
        apart = self.row.cost == "trained"
        found = dict[int, Mapping[str, float]]()

        def one(number: int) -> float:
            found[number] = self._fold(fields, number)
            return found[number]["score"]

        scores = tuple(side_by_side(one, numbers, apart=apart))
        spent = sum(found[number]["seconds"] for number in numbers)
        if not apart:
            spent /= min(os.cpu_count() or 1, len(numbers))
        return Trial(self.row.name, fields, hub, scores, round(spent, 3))

    def _fold(self, fields: dict[str, Any], number: int) -> Mapping[str, float]:
        """The score of one fold and the seconds it took, remembered here and on disk."""
        own = (number, *sorted(fields.items()))
        key = ["fold", self.row.name, dict(sorted(fields.items())), number, self.folds.most]

        def make() -> Mapping[str, float]:
            start = time.perf_counter()
            score = self.folds.score(number, self.fit(fields, number, ""))
            return {"score": score, "seconds": time.perf_counter() - start}

        if own not in self._scored:
            self._scored[own] = self.folds.job.kept.value(key, make)
        return self._scored[own]

    def fit(self, fields: Mapping[str, Any], number: int, hub: str) -> Any:
        """The method fitted to everything outside a fold."""
        return self.folds.job.fit(self.row.name, fields, self.folds.train(number))
