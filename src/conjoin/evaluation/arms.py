"""An arm of a comparison: a method by name, its settings chosen on validation, fitted."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin import catalogue
from conjoin.alignment.binding import Binding
from conjoin.catalogue import Row
from conjoin.errors import ConjoinError
from conjoin.evaluation.benchmark import Bench, Setting
from conjoin.evaluation.tries import tries

CHANCE = "chance"


@dataclass(frozen=True, eq=False)
class Units:
    """Scores of the held-out units, in an order that no arm and no seed changes.

    Parameters
    ----------
    values : ``[n]`` scores, each in the metric's units.
    groups : ``[n]`` the cluster of each unit.
    """

    values: np.ndarray
    groups: np.ndarray


Scores = Mapping[str, Units]


@dataclass(frozen=True)
class Arm:
    """A method by its catalogue names: ``cca``, or ``cca+noise`` with an augmentation.

    Parameters
    ----------
    aligner : the name of a method of ``kind``; where that kind has none of the name, of an aligner
        (so that ``identity`` is an arm of every task), or else of a measure.
    kind : what the task judges.

    Examples
    --------
    >>> Arm.parse("cca+noise").augmentation
    'noise'
    """

    aligner: str
    augmentation: str | None = None
    kind: str = "aligner"

    @classmethod
    def parse(cls, text: str, kind: str = "aligner") -> "Arm":
        """Read an arm as claims write it."""
        aligner, _, augmentation = text.partition("+")
        return cls(aligner, augmentation or None, kind)

    def __str__(self) -> str:
        return self.aligner + (f"+{self.augmentation}" if self.augmentation else "")

    @property
    def method(self) -> Row:
        """The row of the method.

        Raises
        ------
        ConjoinError : no kind looked through has it.
        """
        for kind in dict.fromkeys((self.kind, "aligner", "metric")):
            known = catalogue.of_kind(kind)
            if self.aligner in known:
                return known[self.aligner]
        return catalogue.find(self.kind, self.aligner)

    @property
    def row(self) -> Row:
        """The row whose hyper-parameters are searched: the augmentation's where there is one."""
        if self.augmentation:
            return catalogue.find("augmentation", self.augmentation)
        return self.method


@dataclass(frozen=True, eq=False)
class Made:
    """An arm with its settings, ready to be fitted.

    Parameters
    ----------
    aligner : an aligner; a method of another kind where the task judges those.
    hub : the view directed methods leave in place.
    """

    aligner: Any
    augmentation: Any
    hub: str


@runtime_checkable
class Task(Protocol):
    """A protocol: what is trained on, what is asked, and how an answer is scored.

    A frozen dataclass whose fields are the condition of a claim. ``metrics`` names the scores,
    higher is better in all of them. A task that judges methods of another kind than aligners says
    so in an attribute ``judges``, and the arms that always stand beside in ``beside``.
    """

    metrics: ClassVar[tuple[str, ...]]

    def setting(self, bench: Bench, seed: int) -> Setting:
        """What an arm may train on with this seed; the test rows are the same for every seed.

        Raises
        ------
        ConjoinError : the data leak, or cannot feed the task.
        """
        ...

    def fit(self, setting: Setting, made: Made, seed: int) -> Any:
        """Fit an arm on the training part of a setting."""
        ...

    def judge(self, setting: Setting, fitted: Any) -> Scores:
        """Scores of the held-out part, by metric."""
        ...

    def chance(self, setting: Setting) -> Scores:
        """What guessing is worth, unit by unit."""
        ...


@dataclass(frozen=True, eq=False)
class Ran:
    """One arm on one seed.

    Parameters
    ----------
    fields : the settings validation chose.
    tried : settings tried on validation.
    tuning, seconds : time of the choice and of the last fit.
    """

    scores: Scores
    fields: Mapping[str, Any]
    tried: int
    tuning: float
    seconds: float


def run_arm(
    task: Task,
    bench: Bench,
    arm: Arm,
    metric: str,
    seed: int,
    fields: Mapping[str, Any] | None = None,
) -> Ran:
    """Choose an arm's settings inside the training part, fit it there, and judge it once.

    Parameters
    ----------
    metric : what the settings are chosen by.
    fields : settings already chosen, by which the search is skipped.
    """
    setting = task.setting(bench, seed)
    if arm.aligner == CHANCE:
        return Ran(task.chance(setting), {}, 0, 0.0, 0.0)
    if "tokens" not in arm.method.needs:
        setting = setting.pooled()
    clock = time.perf_counter()
    tried = 0
    if fields is None:
        fields, tried = tuned(task, setting, arm, metric, seed)
    tuning, clock = time.perf_counter() - clock, time.perf_counter()
    fitted = task.fit(setting, make(arm, setting, fields), seed)
    seconds = time.perf_counter() - clock
    return Ran(task.judge(setting, fitted), dict(fields), tried, tuning, seconds)


def tuned(
    task: Task, setting: Setting, arm: Arm, metric: str, seed: int
) -> tuple[dict[str, Any], int]:
    """The best of an arm's tries on a fifth of the training groups; its defaults stay on ties.

    Raises
    ------
    ConjoinError : the defaults cannot be fitted; other tries that cannot are passed over.
    """
    inner = setting.inner(seed)
    hubs = tuple(dict.fromkeys(setting.train.names))
    directed = bool(getattr(arm.method.load(), "directed", False))
    best, worth = dict[str, Any](), float("-inf")
    tried = tries(arm.row, {"hub": hubs} if directed and len(hubs) == 2 else {})
    if len(tried) == 1:
        return tried[0], 1
    for number, fields in enumerate(tried):
        try:
            fitted = task.fit(inner, make(arm, inner, fields), seed)
            found = float(task.judge(inner, fitted)[metric].values.mean())
        except ConjoinError:
            if not number:
                raise
            continue
        if found > worth:
            best, worth = fields, found
    return best, len(tried)


def judges(task: Task | type) -> str:
    """The kind of method a task judges."""
    return str(getattr(task, "judges", "aligner"))


def beside(task: Task | type) -> tuple[str, ...]:
    """The arms of every table of a task: none of metrics; chance and the simple of aligners.

    A task may name others in ``beside``.
    """
    always = (CHANCE, *catalogue.simple("aligner", trained=True))
    return tuple(getattr(task, "beside", always))


def make(arm: Arm, setting: Setting, fields: Mapping[str, Any]) -> Made:
    """An arm with these settings."""
    own = {name: value for name, value in fields.items() if name != "hub"}
    hub = fields.get("hub") or setting.train.names[0]
    aligner = arm.method
    if arm.augmentation:
        made = catalogue.find("augmentation", arm.augmentation).make(own)
        return Made(aligner.make(), made, hub)
    return Made(aligner.make(own), None, hub)


def bind(setting: Setting, made: Made, seed: int) -> Binding:
    """The binding of a setting's training pairs; what most tasks fit.

    Raises
    ------
    ConjoinError : the arm has an augmentation, which this would leave out; or pairs are too few.
    """
    if made.augmentation is not None:
        raise ConjoinError(
            "arm", "an augmentation, and nothing is trained on augmented rows here",
            "name an aligner that augments its own batches, or take the task transfer",
        )  # fmt: skip
    names = setting.train.names
    spaces = {name: setting.spaces[name] for name in names}
    return Binding.fit(spaces, setting.train, method=made.aligner, hub=made.hub, seed=seed)
