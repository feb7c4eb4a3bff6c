"""Does a measure, read without the test items, order bindings as their recall on those does?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin import catalogue
from conjoin.alignment.binding import Binding
from conjoin.alignment.closed_form.linear import Identity
from conjoin.alignment.trained.contrastive_heads import ContrastiveHeads, fresh, training
from conjoin.catalogue import Choice
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import INNER, Bench, Setting, refuse_leak, whole_setting
from conjoin.evaluation.memo import once
from conjoin.evaluation.retrieval import drawn, judged
from conjoin.maps.base import Map
from conjoin.metrics.base import Geometry
from conjoin.spaces import Pairs, Rows
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import stable_hash

#: Recipes of bindings: a label, an aligner, its fields, and which view is the hub.
RECIPES: tuple[tuple[str, str, dict[str, Any], int], ...] = (
    ("identity", "identity", {}, 0),
    ("centered", "mean-centering", {}, 0),
    ("procrustes", "procrustes", {}, 0),
    *(("ridge to the first", "ridge", {"lam": lam}, 0) for lam in (0.01, 1.0)),
    *(("ridge to the second", "ridge", {"lam": lam}, 1) for lam in (0.01, 1.0)),
    *(("cca, unweighed", "cca", {"lam": lam, "power": 0.0}, 0) for lam in (0.1, 10.0)),
    *(("cca", "cca", {"lam": lam, "power": 1.0}, 0) for lam in (0.1, 10.0)),
)
#: Shares of the training lines a recipe is fitted to; the last ones make poor bindings. What
#: hardly looks at pairs is fitted once.
BUDGETS = (1.0, 0.25, 1 / 16)
ONCE = frozenset({"identity", "mean-centering"})
#: Fewest lines of a budget, and most lines that are measured.
FEWEST, MEASURED = 8, 300
#: Encoders from which leaving one out still leaves six couples.
ENCODERS = 5


#: Temperatures and hidden units of heads that are followed through their training, and the passes
#: after which they are looked at.
TRAININGS = tuple((t, h) for t in (0.03, 0.1, 0.3) for h in (64, 256))
PASSES = (1, 3, 8, 20, 40)


@dataclass(frozen=True)
class Stopped(ContrastiveHeads):
    """Heads from a random start, as they are after ``passes`` of a training that goes on.

    No pair is held out, and nothing is repeated: two stops of one seed are two moments of the same
    training, whose rate falls as if it went on to ``steps``.
    """

    passes: int = 1

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """One map a view."""
        heads = fresh(self, views, pairs, frozen, self.width)
        run = training(self, heads, views, frozen)
        return {**frozen, **heads.maps(run.run(pairs, seed, None, self.passes).params)}


@dataclass(frozen=True, eq=False)
class Case:
    """A binding, or a couple of encoders: what a measure reads, and what came of it.

    Parameters
    ----------
    views : vectors of validation rows, line by line.
    recall : recall@10 on held-out rows, over both directions.
    parts : what it shares with other cases: its recipe, or its encoders.
    """

    views: dict[str, np.ndarray]
    recall: float
    parts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Followed:
    """A measure's value of every case, in the direction in which higher should be better."""

    values: np.ndarray
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Tracking:
    """Spearman correlation of a measure with held-out recall@10, over bindings or encoders.

    The arms are measures. With ``over="bindings"`` a case is one of :data:`RECIPES` fitted to one
    of :data:`BUDGETS` of the training lines; the measure reads the bound vectors of validation
    lines, a fifth of the training groups, to which nothing was fitted. With ``over="encoders"`` a
    case is a couple of views, measured on raw validation rows; its recall is that of CCA fitted
    to the rest. The correlation is signed by the measure's direction; a measure of one view is
    averaged over both; an arm that measures nothing is worth 0, as is chance.

    Units make the jackknife's variance of the correlation ρ the bootstrap's: leaving out unit j
    of n gives ``ρ₋ⱼ``, and its value is ``ρ + (n - 1) (mean ρ₋ - ρ₋ⱼ)``, whose mean is ρ. Over
    bindings a unit is a case and its cluster the recipe, so the interval says what other recipes
    might show; over encoders a unit is an encoder with all its couples. Test queries are not
    resampled: recall of a case on them is taken as it is. With ``over="training"`` a case is a
    moment, one of :data:`PASSES`, of the training of heads by InfoNCE at one of
    :data:`TRAININGS`, which is its cluster.

    Parameters
    ----------
    over : ``bindings``, ``encoders`` or ``training``.

    References
    ----------
    Jackknife pseudo-values: Davison and Hinkley 1997, chapter 2.
    """

    over: Annotated[str, Choice(("bindings", "encoders", "training"))] = "bindings"
    metrics: ClassVar[tuple[str, ...]] = ("spearman",)
    judges: ClassVar[str] = "metric"
    beside: ClassVar[tuple[str, ...]] = ()

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Nine tenths of the training lines; of two views, or of all for encoders.

        Raises
        ------
        ConjoinError : there are too few encoders.
        """
        names = tuple(bench.spaces)
        if self.over == "encoders" and len(names) < ENCODERS:
            raise ConjoinError(
                f"data {bench.name}", f"{len(names)} encoders", f"name {ENCODERS} views or more"
            )
        whole = whole_setting(bench, names if self.over == "encoders" else names[:2])
        return whole.with_train(drawn(whole.train, None, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Followed:
        """The measure's value of every case.

        Raises
        ------
        ConjoinError : the arm is no measure of vectors, or cannot read such views.
        """
        cases = _cases(setting, self.over, seed)
        if isinstance(made.aligner, Identity):
            return Followed(np.zeros(len(cases)), cases)
        if not isinstance(made.aligner, Geometry):
            raise ConjoinError("arm", "no measure of vectors", "name one, such as cka")
        return Followed(np.array([measured(made.aligner, case) for case in cases]), cases)

    def judge(self, setting: Setting, fitted: Followed) -> Scores:
        """The correlation, by what leaving each unit out changes."""
        recalls = np.array([case.recall for case in fitted.cases])
        left, groups = _left_out(fitted.cases, self.over)
        whole = spearman(fitted.values, recalls)
        apart = np.array([spearman(fitted.values[kept], recalls[kept]) for kept in left])
        values = whole + (len(apart) - 1) * (apart.mean() - apart)
        return {"spearman": Units(values, groups)}

    def chance(self, setting: Setting) -> Scores:
        """No correlation."""
        labels: list[tuple[str, ...]] = [(recipe[0],) for recipe, _ in plan(setting)]
        if self.over == "encoders":
            labels = [names for names in _couples(setting)]
        if self.over == "training":
            labels = [(str(one),) for one in TRAININGS for _ in PASSES]
        cases = [Case({}, 0.0, parts) for parts in labels]
        left, groups = _left_out(cases, self.over)
        return {"spearman": Units(np.zeros(len(left)), groups)}


def measured(measure: Geometry, case: Case) -> float:
    """A measure's value of a case, turned so that higher should be better."""
    views = case.views
    if measure.views == 1 and not measure.many:
        value = float(np.mean([measure({name: x}).value for name, x in views.items()]))
    else:
        value = measure(views).value
    return value if measure.higher_is_better else -value


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Correlation of ranks, ties sharing theirs; 0 where a side is constant.

    Examples
    --------
    >>> spearman(np.array([1.0, 2.0, 9.0]), np.array([0.1, 0.2, 0.3]))
    1.0
    """
    from scipy.stats import rankdata

    a, b = (r - r.mean() for r in (rankdata(x), rankdata(y)))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def _left_out(cases: Sequence[Case], over: str) -> tuple[list[np.ndarray], np.ndarray]:
    """For each unit the cases that stay without it, and the clusters of the units."""
    if over == "encoders":
        names = sorted({name for case in cases for name in case.parts})
        left = [np.array([name not in case.parts for case in cases]) for name in names]
    else:
        names = [case.parts[0] for case in cases]
        left = [np.arange(len(cases)) != place for place in range(len(cases))]
    return left, np.array([stable_hash(name) for name in names])


@once(6)
def _cases(setting: Setting, over: str, seed: int) -> tuple[Case, ...]:
    learn, held = validation(setting, seed)
    made = {"bindings": _of_bindings, "encoders": _of_encoders, "training": _of_training}
    return tuple(made[over](setting, learn, held, seed))


def validation(setting: Setting, seed: int) -> tuple[Pairs, Pairs]:
    """Lines to fit to, and whole groups of lines to measure on.

    Raises
    ------
    ConjoinError : the two share a group, or one of them is tested.
    """
    fold = setting.train.folds(INNER, seed + 1)
    learn, held = setting.train.take(fold != 0), setting.train.take(fold == 0)
    refuse_leak(learn, held)
    refuse_leak(learn, setting.bed.test)
    refuse_leak(held, setting.bed.test)
    return learn, held


def _lines(held: Pairs, names: tuple[str, str], seed: int) -> dict[str, np.ndarray]:
    """Rows of two views on the lines that hold both, each row once, some where there are many."""
    rows = np.stack([held.column(name) for name in names], axis=1)
    rows = rows[(rows != ABSENT).all(axis=1)]
    for column in (0, 1):
        rows = rows[np.unique(rows[:, column], return_index=True)[1]]
    rng = np.random.default_rng([seed, stable_hash("measured")])
    rows = rows[np.sort(rng.permutation(len(rows))[:MEASURED])]
    return dict(zip(names, rows.T, strict=True))


def plan(setting: Setting) -> list[tuple[tuple[str, str, dict[str, Any], int], float]]:
    """Recipes and shares of training lines; mean-centering is for views of one width only."""
    widths = {setting.spaces[name].dim for name in setting.train.names}
    return [
        (recipe, share)
        for recipe in RECIPES
        if recipe[1] != "mean-centering" or len(widths) == 1
        for share in (BUDGETS[:1] if recipe[1] in ONCE else BUDGETS)
    ]


def _of_bindings(setting: Setting, learn: Pairs, held: Pairs, seed: int) -> Iterator[Case]:
    names = (learn.names[0], learn.names[1])
    spaces = {name: setting.spaces[name] for name in names}
    for (label, aligner, fields, hub), share in plan(setting):
        some = drawn(learn, min(len(learn), max(FEWEST, round(share * len(learn)))), seed)
        made = catalogue.find("aligner", aligner).make(fields)
        fitted = Binding.fit(spaces, some, method=made, hub=names[hub], seed=seed)
        yield _case(setting, fitted, _lines(held, names, seed), label)


def _of_training(setting: Setting, learn: Pairs, held: Pairs, seed: int) -> Iterator[Case]:
    names = (learn.names[0], learn.names[1])
    spaces = {name: setting.spaces[name] for name in names}
    settings = catalogue.find("aligner", "infonce-head").settings
    for one in TRAININGS:
        fields = {**settings, "temperature": one[0], "hidden": one[1]}
        for passes in PASSES:
            made = Stopped(**fields, passes=passes)
            fitted = Binding.fit(spaces, learn, method=made, hub=names[0], seed=seed)
            yield _case(setting, fitted, _lines(held, names, seed), str(one))


def _case(
    setting: Setting, fitted: Binding, rows: Mapping[str, np.ndarray], label: str
) -> Case:  # fmt: skip
    """Where a binding puts validation rows, and its recall on held-out ones."""
    first, second = rows
    views = {
        name: np.asarray(fitted.bind(name, setting.spaces[name].take(own)).vectors)
        for name, own in rows.items()
    }
    return Case(views, _recall(setting, fitted, (first, second)), (label,))


def _couples(setting: Setting) -> list[tuple[str, str]]:
    """Couples of views that held-out lines join."""
    return setting.bed.test.edges()


def _of_encoders(setting: Setting, learn: Pairs, held: Pairs, seed: int) -> Iterator[Case]:
    for names in _couples(setting):
        spaces = {name: setting.spaces[name].pooled() for name in names}
        fitted = Binding.fit(spaces, learn.select(names), method="cca", hub=names[0], seed=seed)
        rows = _lines(held, names, seed)
        views = {name: np.asarray(spaces[name].take(own).vectors) for name, own in rows.items()}
        pooled = replace(setting, bed=replace(setting.bed, spaces={**setting.spaces, **spaces}))
        yield Case(views, _recall(pooled, fitted, names), names)


def _recall(setting: Setting, fitted: Binding, names: tuple[str, str]) -> float:
    """Recall@10 of held-out queries, the mean of both directions."""
    found = [
        judged(setting, fitted, [way], ("recall@10",))["recall@10"].values.mean()
        for way in (names, names[::-1])
    ]
    return float(np.mean(found))
