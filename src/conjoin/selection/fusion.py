"""Choose a fusion on folds, judge it on held-out items beside plain ones, say what to use."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.alignment.choice import Trial
from conjoin.catalogue import Row
from conjoin.errors import ConjoinError
from conjoin.execution import costs
from conjoin.execution.budget import Work
from conjoin.execution.checkpoint import Kept
from conjoin.execution.costs import Shape
from conjoin.fusion.inputs import Inputs, absent_rows, tables_of
from conjoin.fusion.linear import Late
from conjoin.fusion.missing import Missing, credit, missing_report
from conjoin.fusion.model import Fused
from conjoin.fusion.target import Target
from conjoin.items.split import make_split
from conjoin.selection.fusion_trials import FEWEST, FOLDS, PLAIN, Choosing, FusionFolds, Plan
from conjoin.selection.plain_fusions import PlainFusions
from conjoin.spaces.given import (
    budget_of,
    labels_of,
    mapping_of,
    mask_of,
    matrix_of,
    name_of,
    whole_number,
)
from conjoin.stats.paired import DRAWS, LEVEL, Paired
from conjoin.storage.digest import digest, stable_hash

#: What a fusion must beat.
TO_BEAT = "best-single"
#: Training items at most that methods are chosen by.
SAMPLE = 20_000
#: Fewer of them where views are wide and the budget is small: so many numbers a unit of it, but
#: not fewer items than this, if the budget is enough for these.
NUMBERS, LEAST = 2**17, 4_000
#: Numbers that plain methods are chosen on before anything else is tried; from so many of them
#: two folds are enough.
FIRST, ENOUGH = 2**20, 2**20
#: Fewest items in any case; plain methods take so many fits.
PROBE, PLAIN_FITS = 500, 5.0
#: Resampled groups that intervals rest on: fewer draws where groups are many.
RESAMPLED = 2**23
#: Numbers of heads that are remembered at most.
REMEMBERED = 2**24
#: Methods named where several tie.
TIES = 4
#: From so many times the budget it is said that it was too short.
LATE = 1.3
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
    trials : every method tried on folds: mean, settings, units of work.
    units : of work that all of it took, by the table of costs.
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
    units: float
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
            "notes": list(self.notes), "units": round(self.units, 1),
        }  # fmt: skip


def fuse(
    views: Any,
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

    The best mean on folds of the training items is taken. Plain methods are tried first: the best
    single view, the late mean, an imputed logistic regression and, up to 64 columns, boosted trees.
    Unless folds say that a line through the columns is not enough, that is all, and no clock is
    read. Otherwise linear fusions climb over their settings and trained ones race. Held-out items
    then judge what was taken beside the class shares and the plain methods.

    Parameters
    ----------
    views : ``[n, d]`` by name: arrays, data frames, tensors, columns of vectors. Row i of each is
        item i's, whatever an index says.
    labels : ``[n]`` classes (strings, integers, truth values) or numbers (floats).
    present : ``[n]`` booleans by view; without any, an item has the view unless its row is NaN
        throughout.
    groups : items of one group are never on both sides.
    held : ``[n]`` booleans, which items judge; a quarter of the groups where not given.
    method : a row of kind ``fusion``, or ``auto``.
    budget : units of work, about a second of a quiet core each, that all of it should take where
        more than plain methods are tried: fewer items, folds and methods where it is small. The
        plain methods on all training items are its floor. With ``None`` every method is tried to
        its end.

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
    method = name_of(method, "method")
    seed, budget = whole_number(seed, "seed"), budget_of(budget)
    given = mapping_of(present, "present", "give truth values by name of a view")
    tables = {name: matrix_of(view, f"view {name}") for name, view in tables_of(views).items()}
    for name, table in tables.items():
        if name not in given and (absent := absent_rows(table)).any():
            given[name] = ~absent
    inputs = Inputs.of(tables, given)
    labels = labels_of(labels, "labels", len(inputs))
    sides = None if held is None else mask_of(held, "held", len(inputs))
    owners = None if groups is None else labels_of(groups, "groups", len(inputs))
    return Fusing(inputs, labels, owners, sides, seed).run(method, budget)


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
        self._heads, self._fitted = SharedHeads(), dict[tuple[Any, ...], Fused]()
        self._work = Work()

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
        clock = self._work = Work(budget)
        cost = "" if method == "auto" else catalogue.find("fusion", method).cost
        if cost == "trained":  # what was asked for has no settings to choose: it goes first
            self.report(f"{method} on all training items")
            self._whole(method, {})
        trials, untried = self._chosen_by(method, budget, clock)
        chosen = method if method != "auto" else self._best(trials)
        fitted, values = dict[str, Fused](), dict[str, np.ndarray]()
        asked = self.inputs.take(self.test)
        for name in dict.fromkeys((*PLAIN, chosen)):
            self.report(f"{name} on held-out items")
            fitted[name] = self._whole(name, trials[name].fields if name in trials else {})
            values[name] = credit(fitted[name], asked, self.labels[self.test])
        values[self.guess] = self._guess()
        arms = self._arms(values, trials)
        use, said = self._recommended(method, chosen, arms, fitted, trials)
        said += self._doubts(use, values)
        fused = fitted[use]
        self.report("every subset of the modalities")
        missing = self._missing(fused)
        order = getattr(fitted[TO_BEAT].body, "order", (0,))
        tried = [
            {"method": t.method, "fields": dict(t.fields), "validation": t.mean,
             "folds": len(t.scores), "units": t.units}
            for t in sorted(trials.values(), key=lambda t: -t.mean)
        ]  # fmt: skip
        if budget is not None and clock.spent > LATE * budget:
            self.notes.append(
                f"it took {clock.spent:.0f} units, the budget was {budget:.0f}: plain methods are "
                "always fitted to all training items"
            )
        return Decision(
            (*said, *missing.said), fused, trials[use].fields if use in trials else {},
            arms, missing.metric, missing, tuple(tried), untried,
            self.inputs.names[order[0]], (len(self.learn), len(self.test)), clock.spent,
            tuple(self.notes), catalogue.find("fusion", use).papers,
        )  # fmt: skip

    def _chosen_by(
        self, method: str, budget: float | None, clock: Work
    ) -> tuple[dict[str, Trial], Mapping[str, str]]:
        """Trials on folds, and what was not tried: plain methods first, and alone if they tie."""
        if method == "auto" and budget is not None:
            width = sum(self.inputs.dims().values())
            count = min(SAMPLE, max(LEAST, FIRST // width))
            self.folds = FusionFolds(self, count)
            if len(self.folds.lines) * width > ENOUGH:
                self.folds.numbers = range(FEWEST)
            plain = PlainFusions(self, self.folds, clock.open())
            trials = plain.run()
            if plain.settled:
                self._note_sample(count)
                return trials, plain.left_out()
        self.folds = FusionFolds(self, self._sample(budget))
        choosing = Choosing(self, self.folds, method, Plan(clock, self.folds))
        return choosing.run(), choosing.untried

    def _note_sample(self, count: int) -> None:
        """Say so where methods are chosen on a part of the items."""
        if count < len(self.learn):
            self.notes.append(
                f"methods were chosen on {count} of {len(self.learn)} training items, and those "
                "shown then fitted to all of them"
            )

    @property
    def guess(self) -> str:
        """What knowing the training labels alone is called."""
        return "class shares" if self.target.classes is not None else "training mean"

    def _sample(self, budget: float | None) -> int:
        """How many training items methods are chosen by."""
        if budget is None:
            return SAMPLE
        width = sum(self.inputs.dims().values())
        count = min(SAMPLE, max(LEAST, int(NUMBERS * budget / width)))
        count = min(count, max(min(LEAST, PROBE), self._by_pace(budget)))
        self._note_sample(count)
        return count

    def _by_pace(self, budget: float) -> int:
        """As many items as linear methods can be tried on, by what the table says they cost."""
        count = len(self.learn)
        row = catalogue.find("fusion", "concat")
        each = self.units(row, {}, count, 0)[0] / count * PLAIN_FITS
        left = max(budget - each * count, 0) / 2
        return int(left / max(each * FEWEST * (1 - 1 / FOLDS), 1e-12))

    def units(
        self, row: Row, fields: Mapping[str, Any], items: int, asked: int
    ) -> tuple[float, float]:
        """Units of a fit on so many items, and of judging so many, by the table of costs."""
        dims = tuple(self.inputs.dims().values())
        outputs = 1 if self.target.classes is None else len(self.target.classes)
        return costs.of_fusion(row, fields, Shape(items, dims), (outputs, asked))

    def _whole(self, name: str, fields: Mapping[str, Any]) -> Fused:
        """A method fitted to all training items, or opened where it was before."""
        asked = (name, *sorted(fields.items()))
        if asked not in self._fitted:
            row = catalogue.find("fusion", name)
            self._work.spend(self.units(row, fields, len(self.learn), 0)[0])
            self._fitted[asked] = self.kept.file(
                ["fit", name, dict(fields)], lambda: self.fit(name, fields, self.learn),
                Fused.load, lambda fused, path: fused.save(path),
            )  # fmt: skip
        return self._fitted[asked]

    def fit(self, name: str, fields: Mapping[str, Any], lines: np.ndarray) -> Fused:
        """A method on some items."""
        made = catalogue.find("fusion", name).make(dict(fields))
        if isinstance(made, Late):
            return replace(self._heads.fit(self, made, lines), method=name)
        return replace(self.fitted(made, lines), method=name)

    def fitted(self, made: Any, lines: np.ndarray) -> Fused:
        """A method, with its settings, on some items."""
        own = self.inputs.take(lines)
        present = {view: own.here[:, k] for k, view in enumerate(own.names)}
        fused: Fused = made.fit(own.views, present, labels=self.labels[lines], seed=self.seed)
        return fused

    def _best(self, trials: Mapping[str, Trial]) -> str:
        """The best mean on folds; of equal means the simplest."""
        rank = {name: place for place, name in enumerate((*PLAIN, *trials))}
        cost = {n: catalogue.COSTS.index(catalogue.find("fusion", n).cost) for n in trials}
        return max(trials, key=lambda n: (trials[n].mean, -cost[n], -rank[n]))

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
        paired = Paired.of(
            {n: own[None] for n, own in values.items()}, groups, draws=_draws(groups)
        )
        level = 1 - LEVEL / max(len(values) - 2, 1)
        found = []
        for name, own in values.items():
            low, high = paired.effect(name).interval()
            low, high = max(low, 0.0 if self.target.classes else low), min(high, 1.0)
            gain = None if name in (TO_BEAT, self.guess) else paired.effect(name, TO_BEAT)
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
        best = self.inputs.names[fitted[TO_BEAT].body.order[0]]
        own, said = next(arm for arm in arms if arm.method == chosen), list[str]()
        over = f"the best single modality ({best})"
        if own.gain is None or own.gain_low is None or own.gain_high is None:
            said.append(f"nothing beats {over}: use it")
        else:
            gain = f"{own.gain:+.3f} [{own.gain_low:+.3f}, {own.gain_high:+.3f}]"
            if own.gain_low > 0:
                said.append(f"use {chosen}: {gain} over {over}")
            elif own.gain_high < 0:
                said.append(f"{chosen}, best on folds, is worse than {over} here: {gain}")
            else:
                said.append(f"use {chosen}: on held-out items a tie with {over}, {gain}")
        if method != "auto":
            said.append(f"{method} is kept, as you named it")
        if chosen != TO_BEAT:
            said.append(_together(trials))
        said.append(_tied(trials, chosen))
        return chosen, [line for line in said if line]

    def _doubts(self, use: str, values: Mapping[str, np.ndarray]) -> list[str]:
        """What is said where a decision is not clearly better than knowing the labels alone."""
        groups = self.groups[self.test]
        pair = {name: values[name][None] for name in (use, self.guess)}
        effect = Paired.of(pair, groups, draws=_draws(groups)).effect(use, self.guess)
        low, high = effect.interval()
        if low > 0:
            return []
        return [
            f"do not rely on it: {use} is {effect.value:+.3f} [{low:+.3f}, {high:+.3f}] over the "
            f"{self.guess}, without any modality"
        ]

    def _missing(self, fused: Fused) -> Missing:
        known = self.test
        return missing_report(
            fused, self.inputs.take(known), self.labels[known], self.groups[known],
            self.inputs.here, self.seed,
        )  # fmt: skip


def _draws(groups: np.ndarray) -> int:
    """Resamples behind an interval: fewer where groups are many."""
    return min(DRAWS, max(1000, RESAMPLED // len(np.unique(groups))))


class SharedHeads:
    """Late means that differ in their rule only share their heads, and are fitted once.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> views = {name: rng.normal(size=(60, 3)) for name in ("ear", "eye")}
    >>> job = Fusing(Inputs.of(views, {}), np.arange(60) % 2, None, None, 0)
    >>> job.fit("best-single", {}, job.learn).body.order, job.fit("late", {}, job.learn).body.order
    ((0, 1), (0, 1))
    """

    def __init__(self) -> None:
        self._held = dict[tuple[float, str], Fused]()
        self._size, self._lock = 0, Lock()  # folds are fitted side by side

    def fit(self, job: "Fusing", made: Late, lines: np.ndarray) -> Fused:
        """What ``made.fit`` gives, from heads that are there already where they are."""
        key, best = (made.lam, digest(lines.tolist())), made.weigh == "best"
        held = self._held.get(key)
        refused = job.target.classes is None and not (best or made.weigh == "even")
        if held is None or refused or (best and held.body.weigh != "best"):
            fused = job.fitted(made, lines)
            self._keep(key, fused)
            return fused
        order = held.body.order if best else tuple(range(len(held.body.order)))
        body = replace(held.body, weigh=made.weigh, temperature=made.temperature, order=order)
        return replace(held, body=body)

    def _keep(self, key: tuple[float, str], fused: Fused) -> None:
        size = sum(weight.size for weight, _ in fused.body.heads.values())
        with self._lock:
            if self._held.pop(key, None) is not None:
                self._size -= size
            while self._held and self._size + size > REMEMBERED:
                gone = self._held.pop(next(iter(self._held)))
                self._size -= sum(weight.size for weight, _ in gone.body.heads.values())
            if size <= REMEMBERED:
                self._held[key], self._size = fused, self._size + size


def _tied(trials: Mapping[str, Trial], chosen: str) -> str:
    """Which methods folds cannot tell from the one that was taken for its mean."""
    if chosen not in trials:
        return ""
    own, near = trials[chosen], []
    for trial in trials.values():
        gap = np.array(own.scores) - np.array(trial.scores)
        error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
        if trial is not own and abs(gap.mean()) <= error:
            near.append(trial)
    near.sort(key=lambda t: -t.mean)
    if not near:
        return ""
    others = ", ".join(f"{t.method} {t.mean:.3f}" for t in near[:TIES])
    more = f" and {len(near) - TIES} more" if len(near) > TIES else ""
    return f"a tie on folds: {chosen} {own.mean:.3f}, {others}{more}; the best mean is taken"


def _together(trials: Mapping[str, Trial]) -> str:
    """Whether views tell more side by side than apart, on folds.

    Du et al. (2023) choose between a model over all views and one a view by which kind of feature
    prevails; this test of it is the project's own.

    Where one head over all views does not beat the mean of a head a view, what tells lies within
    the views, and late fusion is enough.
    """
    if "late" not in trials or "imputed-logistic" not in trials:
        return ""
    gap = np.array(trials["imputed-logistic"].scores) - np.array(trials["late"].scores)
    error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
    if gap.mean() > 2 * error:
        return "the modalities tell more together than apart: fuse them in one model"
    if gap.mean() < -2 * error:
        return "the modalities tell it apart: a model each and their mean is the way (late)"
    return "one model over all and a mean of one each cannot be told apart on folds"
