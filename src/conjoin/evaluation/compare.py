"""Which method helps on the user's own pairs: the engine of claims, pointed at a workspace."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.alignment.binding import Binding
from conjoin.alignment.choice import Choice, Trial
from conjoin.display import Tabular
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Scores, Units
from conjoin.evaluation.benchmark import Bench, Setting, refuse_leak
from conjoin.evaluation.retrieval import by_chance, directions, judged
from conjoin.execution.budget import SHORT, Work
from conjoin.retrieval.evaluation import TestBed
from conjoin.selection.choose import hubs_of, on_folds
from conjoin.selection.folds import Folds
from conjoin.selection.trials import Sweep
from conjoin.spaces.given import budget_of, instance_of, names_of, whole_number
from conjoin.stats.paired import LEVEL, Effect, Paired, verdicts

#: The baseline a recommendation must beat.
TO_BEAT = "ridge"
#: Finalists scored on held-out items at most, the simple ones aside.
FINALISTS = 8
#: Share of the budget after which nothing new is tried on validation.
VALIDATION = 0.85
METRIC = "recall@10"


@dataclass(frozen=True)
class Placed:
    """A finalist on held-out items.

    Parameters
    ----------
    validation : mean over the folds of recall@1, @5 and @10.
    value, low, high : :data:`METRIC` over all directions, with its 95 % interval.
    gain, gain_low, gain_high : over :data:`TO_BEAT`, corrected for the number of finalists.
    units : of a fit, by the table of costs.
    """

    method: str
    cost: str
    fields: Mapping[str, Any]
    hub: str
    validation: float
    value: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float
    units: float


@dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """What was tried, how the finalists did, and what to use.

    Parameters
    ----------
    said : the recommendation in a sentence.
    choice : the method to fit, with every trial behind it.
    ranked : finalists, best first.
    chance : :data:`METRIC` of a random order.
    untried : methods that were not run to their end, and why.
    touches : how many fits were judged on the held-out items.
    units : of work that the whole comparison took.
    """

    said: str
    choice: Choice
    ranked: tuple[Placed, ...]
    chance: float
    untried: Mapping[str, str]
    touches: int
    units: float

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per finalist: recall@10 on held-out items, with its 95 % interval."""
        return ("method", "recall@10", "low", "high", "validation"), [
            (f"* {one.method}" if one.method == self.choice.method else one.method, one.value,
             one.low, one.high, one.validation)
            for one in self.ranked
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            "recommendation": self.said, "use": self.choice.method,
            "fields": dict(self.choice.fields), "hub": self.choice.hub, "metric": METRIC,
            "chance": self.chance, "ranked": [asdict(one) for one in self.ranked],
            "not_tried": dict(self.untried), "touches": self.touches,
            "units": round(self.units, 1), "choice": self.choice.to_json(),
        }  # fmt: skip


def _guessed(setting: Setting) -> float:
    """What a gallery in random order is worth."""
    return float(by_chance(setting, directions(setting), [METRIC])[METRIC].values.mean())


def compare(
    bed: TestBed,
    *,
    hubs: Sequence[str],
    families: Sequence[str] = (),
    budget: float | None = None,
    seed: int = 0,
    report: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Try every method these data can feed, score the finalists on held-out items, recommend.

    Closed forms climb over their settings on folds of the training pairs, trained methods race
    by successive halving, and the leaders are scored on all five folds. Finalists are the choice
    of validation, what it cannot be told from, and the simple methods; each is fitted five
    times, without one fold each time and with a seed of its own, and only then asked the
    held-out items. What is recommended was chosen on validation; held-out items decide whether
    it beats :data:`TO_BEAT` and whether something simpler ties with it.

    Parameters
    ----------
    bed : spaces, training pairs and held-out rows.
    hubs : modalities that could be the hub, best first.
    families : of the catalogue, to try only these (and the simple methods).
    budget : units of work that it ends within; the simple methods end in any case.

    Raises
    ------
    ConjoinError : a family is unknown, no method can be fed, or held-out pairs share a group or a
        row with training pairs.
    """
    hubs, families = _asked(bed, hubs, families, seed)
    work = Work(budget_of(budget))
    refuse_leak(bed.train, bed.test)
    folds = Folds({name: bed.spaces[name] for name in bed.train.names}, bed.train, seed)
    choice = on_folds(
        folds, hubs=hubs, methods=methods_of(families),
        budget=None if budget is None else VALIDATION * budget, report=report,
    )  # fmt: skip
    work.spend(choice.units)
    setting = Setting(bed, Bench("your data", bed.spaces, bed.train, bed.groups))
    found: dict[str, tuple[Trial, Scores]] = {}
    untried = dict(choice.skipped)
    for trial in _finalists(choice):
        # The choice and what it must beat are always asked: without either nothing is said.
        if len(found) > 1 and not work.allows(_still(trial)):
            untried[trial.method] = f"{SHORT} for the held-out items"
            continue
        work.spend(_still(trial))
        report(f"{trial.method} on held-out items")
        try:
            found[trial.method] = (trial, _on_test(folds, setting, trial, seed))
        except ConjoinError as error:
            untried[trial.method] = str(error)
    placed, paired = _placed(found, untried)
    known = _guessed(setting)
    said, method = _recommended(choice, placed, paired)
    best = found[method][0]
    choice = replace(choice, method=method, fields=best.fields, hub=best.hub)
    looks = len(found) * len(folds.numbers)
    return Comparison(said, choice, tuple(placed), known, untried, looks, work.spent)


def _asked(bed: Any, hubs: Any, families: Any, seed: Any) -> tuple[list[str], list[str]]:
    """Hubs and families, where all that is given can be used."""
    instance_of(bed, TestBed, "bed", "give a TestBed: spaces, training pairs, held-out rows")
    whole_number(seed, "seed")
    return hubs_of(hubs, bed.train.names), names_of(families, "families")


def methods_of(families: Sequence[str]) -> list[str]:
    """The aligners of some families and the simple ones; every aligner where none is named.

    Raises
    ------
    ConjoinError : a family is unknown.
    """
    rows = catalogue.of_kind("aligner").values()
    if not families:
        return [row.name for row in rows]
    known = sorted({row.family for row in rows if row.family})
    for family in families:
        if family not in known:
            raise ConjoinError("families", f"{family!r} is unknown", f"give of {', '.join(known)}")
    return [row.name for row in rows if row.family in families or row.simple]


def _finalists(choice: Choice) -> list[Trial]:
    """The choice, the simple methods, and what the folds cannot tell from the best."""
    best = choice.best_of()
    whole = max(len(trial.scores) for trial in best.values())
    complete = {name: t for name, t in best.items() if len(t.scores) == whole}
    leader = max(complete.values(), key=lambda t: t.mean)
    near = []
    for trial in sorted(complete.values(), key=lambda t: -t.mean):
        gap = np.array(leader.scores) - np.array(trial.scores)
        error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
        if gap.mean() <= 2 * error:
            near.append(trial.method)
    simple = catalogue.simple("aligner", trained=True)
    names = dict.fromkeys([choice.method, TO_BEAT, *near[:FINALISTS], *simple])
    return [complete[name] for name in names if name in complete]


def _still(trial: Trial) -> float:
    """Units that fitting a finalist takes: the folds remember trained fits."""
    return 0.0 if catalogue.find("aligner", trial.method).cost == "trained" else trial.units


def _on_test(folds: Folds, setting: Setting, trial: Trial, seed: int) -> Scores:
    """Scores ``[seeds, n]`` of a method fitted without each fold in turn."""
    row = catalogue.find("aligner", trial.method)
    choice = Choice(trial.method, trial.fields, trial.hub)
    found = []
    for number in folds.numbers:
        maps = Sweep(row, folds, seed).fit(trial.fields, number, trial.hub)
        binding = Binding.placed(maps, folds.spaces, folds.train(number), choice, seed + number)
        found.append(judged(setting, binding, directions(setting), [METRIC]))
    values = np.stack([scores[METRIC].values for scores in found])
    return {METRIC: Units(values, found[0][METRIC].groups)}


def _placed(
    found: Mapping[str, tuple[Trial, Scores]], untried: Mapping[str, str]
) -> tuple[list[Placed], Paired]:
    """Finalists best first, and their scores resampled together."""
    if not found:
        why = next(iter(untried.values()), "no method was tried")
        said = f"no method can be judged on held-out items ({why})"
        raise ConjoinError("pairs", said, "give more pairs")
    groups = next(iter(found.values()))[1][METRIC].groups
    paired = Paired.of({name: own[METRIC].values for name, (_, own) in found.items()}, groups)
    rivals = [name for name in found if name != TO_BEAT and TO_BEAT in found]
    against = verdicts(
        [paired.effect(name, TO_BEAT) for name in rivals], [0.0] * len(rivals), [""] * len(rivals)
    )
    gains = dict(zip(rivals, against, strict=True))
    listed = []
    for name, (trial, _) in found.items():
        own = paired.effect(name)
        low, high = own.interval()
        gain = gains.get(name)
        over = (gain.effect, gain.least, gain.most) if gain else (0.0, 0.0, 0.0)
        units = round(trial.units / max(len(trial.scores), 1), 3)
        listed.append(
            Placed(
                name, catalogue.find("aligner", name).cost, trial.fields, trial.hub, trial.mean,
                own.value, low, high, *over, units,
            )
        )  # fmt: skip
    return sorted(listed, key=lambda one: -one.value), paired


def _recommended(choice: Choice, placed: Sequence[Placed], paired: Paired) -> tuple[str, str]:
    """The sentence at the end, and the method it names."""
    by_name = {one.method: one for one in placed}
    lead = by_name.get(choice.method) or placed[0]
    if TO_BEAT in by_name and lead.method != TO_BEAT and lead.gain_low <= 0:
        simplest = TO_BEAT
        for name in ("identity", "mean-centering"):
            if name in by_name and paired.effect(TO_BEAT, name).interval()[0] <= 0:
                simplest = name
                break
        if simplest == "identity":
            return "nothing beats the vectors as they are: use nothing", simplest
        return f"nothing beats {simplest}: use {simplest}", simplest
    ties = [
        one for one in placed
        if one is not lead and (one.gain_low > 0 or lead.method == TO_BEAT)
        and _simpler(one, lead) and _tied(paired.effect(one.method, lead.method))
    ]  # fmt: skip
    if ties:
        simple = min(ties, key=_rank)
        return f"{lead.method} and {simple.method} tie: use {simple.method}, the simpler", (
            simple.method
        )
    return f"use {lead.method}", lead.method


def _tied(found: Effect) -> bool:
    low, high = found.interval(1 - LEVEL)
    return low <= 0 <= high


def _simpler(one: Placed, other: Placed) -> bool:
    return _rank(one) < _rank(other)


def _rank(one: Placed) -> tuple[int, int]:
    """Cheaper classes are simpler; within one, the simple methods in their order."""
    simple = catalogue.simple("aligner", trained=True)
    place = simple.index(one.method) if one.method in simple else len(simple)
    return catalogue.COSTS.index(one.cost), place
