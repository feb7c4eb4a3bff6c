"""Classification of one view by the names of classes, read by another view's encoder."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError, nearest
from conjoin.evaluation.arms import Made, Scores, Units, bind
from conjoin.evaluation.benchmark import INNER, SALT, Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import drawn, ranked
from conjoin.metrics.retrieval.relevance import Relevance, relevance
from conjoin.spaces import Pairs, Space
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import stable_hash

Budget = Annotated[int | None, Search(4, 1e7, log=True)]
ACCURACIES = ("accuracy", "balanced")


@dataclass(frozen=True, eq=False)
class ClassSetting(Setting):
    """Rows to be classified by the names of some classes.

    Parameters
    ----------
    view, text : the view classified, and the view that reads the names.
    classes : the candidates; of these and no others are the rows asked.
    whole : whether the candidates were kept out of training as whole classes.
    """

    view: str = ""
    text: str = ""
    classes: tuple[str, ...] = ()
    whole: bool = False

    def inner(self, seed: int, parts: int = INNER) -> "ClassSetting":
        """One part in ``parts`` of the training groups, or of the classes where they are whole."""
        if not self.whole:
            inside = super().inner(seed, parts)
            assert isinstance(inside, ClassSetting)
            return _asking(inside, inside.bed.rows[self.view])
        names = self.bench.names[self.text]
        known = sorted(set(labels_of(self.spaces[self.view], self.bench)) & set(names.ids.tolist()))
        known = [label for label in known if label not in self.classes]
        if len(known) < 4:
            raise ConjoinError("classes", f"{len(known)} to train on", "keep fewer out")
        order = np.random.default_rng([seed, stable_hash("classes")]).permutation(len(known))
        chosen = tuple(known[i] for i in order[: max(2, len(known) // parts)])
        rows = self.train.column(self.view)
        return without_classes(self, chosen, np.unique(rows[rows != ABSENT]))


@dataclass(frozen=True)
class ZeroShot:
    """Classify held-out rows by the nearest name of a class, bound as any other text is.

    No label is trained on. Accuracy counts rows, balanced accuracy classes; guessing is worth one
    over the number of candidates.

    Parameters
    ----------
    view : the view classified; the first of the data where not given.
    text : the view whose encoder read the names; the first with names where not given.
    unseen : share of classes whose items are all kept out of training; only their items are
        asked, and only their names are candidates. With 0 held-out items of all classes are
        asked, and others of their class may have been among the training pairs.
    pairs : training lines; ``None`` takes nine tenths.
    """

    view: str | None = None
    text: str | None = None
    unseen: Annotated[float, Search(0.0, 0.9)] = 0.0
    pairs: Budget = None
    metrics: ClassVar[tuple[str, ...]] = ACCURACIES

    def setting(self, bench: Bench, seed: int) -> ClassSetting:
        """Training pairs without the tested items, or without their classes.

        Raises
        ------
        ConjoinError : there are no names or labels, or too few classes.
        """
        view, text = self._views(bench)
        whole = whole_setting(bench, (view, text))
        names = bench.names[text].ids.tolist()
        classes = tuple(sorted(set(labels_of(whole.spaces[view], bench)) & set(names)))
        if len(classes) < 2:
            raise ConjoinError(f"data {bench.name}", f"{len(classes)} named classes", "label more")
        setting = ClassSetting(whole.bed, bench, view, text, classes)
        if self.unseen:
            chosen = held_classes(classes, self.unseen)
            setting = without_classes(setting, chosen, np.arange(len(whole.spaces[view])))
        else:
            setting = _asking(setting, whole.bed.rows[view])
        setting = replace(
            setting, bed=replace(setting.bed, train=drawn(setting.train, self.pairs, seed))
        )
        refuse_tested(setting.train, setting.spaces, _tested(setting), bench)
        if setting.whole:
            refuse_seen(setting.train, setting.spaces, setting.classes, bench)
        return setting

    def _views(self, bench: Bench) -> tuple[str, str]:
        names = list(bench.spaces)
        view = self.view or names[0]
        bench.view(view)
        text = self.text or next((n for n in names if n in bench.names and n != view), None)
        if text is None or text not in bench.names or text == view:
            raise ConjoinError(
                f"data {bench.name}", f"no names of classes in {text or 'any view'}",
                nearest(text or "", bench.names),
            )  # fmt: skip
        return view, text

    def fit(self, setting: ClassSetting, made: Made, seed: int) -> Binding:
        """A binding of the two views."""
        return bind(setting, made, seed)

    def judge(self, setting: ClassSetting, fitted: Binding) -> Scores:
        """Right or wrong, row by row."""
        rows, names, wanted = _named(setting)
        ranking = ranked(fitted.bind(setting.view, rows), fitted.bind(setting.text, names), wanted)
        return scored(setting, rows.take(wanted.queries), ranking.hits(1))

    def chance(self, setting: ClassSetting) -> Scores:
        """A candidate drawn at random."""
        rows, _, wanted = _named(setting)
        return scored(setting, rows.take(wanted.queries), wanted.counts / wanted.n_items)


def _named(setting: ClassSetting) -> tuple[Space, Space, Relevance]:
    """The rows asked, the names of the candidates, and whose name is right."""
    rows = setting.spaces[setting.view].take(setting.bed.rows[setting.view])
    names = setting.bench.names[setting.text].of_items(np.array(setting.classes))
    labels = labels_of(rows, setting.bench)
    lines = [(i, j) for j, name in enumerate(names.ids) for i in np.flatnonzero(labels == name)]
    links = Pairs(("row", "name"), np.array(lines, dtype=np.int64).reshape(-1, 2))
    return rows, names, relevance(rows, names, links, "row", "name")


def labels_of(space: Space, bench: Bench) -> np.ndarray:
    """``[n]`` the class of each row; empty where it has none."""
    return np.array([bench.labels.get(str(item), "") for item in space.ids], dtype=str)


def scored(setting: Setting, rows: Space, right: np.ndarray) -> Scores:
    """Rows, and rows weighed so that each class counts the same."""
    _, owner, counts = np.unique(
        labels_of(rows, setting.bench), return_inverse=True, return_counts=True
    )
    weight = len(rows) / (len(counts) * counts[owner])
    groups = np.array([stable_hash(g) for g in groups_of(rows.ids, setting.bench)])
    return {"accuracy": Units(right, groups), "balanced": Units(right * weight, groups)}


def groups_of(ids: Iterable[Any], bench: Bench) -> list[str]:
    """The group of each item."""
    return [str(bench.groups.get(str(item), str(item))) for item in ids]


def held_classes(classes: Iterable[str], share: float) -> tuple[str, ...]:
    """A share of the classes, two at least, the same for every run."""
    known = sorted(classes, key=lambda name: stable_hash(f"{SALT}/class/{name}"))
    count = max(2, round(share * len(known)))
    if count > len(known) - 2:
        raise ConjoinError(
            "unseen", f"{count} of {len(known)} classes", "leave two or more to train on"
        )
    return tuple(sorted(known[:count]))


def _asking(setting: ClassSetting, among: np.ndarray) -> ClassSetting:
    """The setting asked in the rows that belong to its candidates, and of no other view."""
    labels = labels_of(setting.spaces[setting.view], setting.bench)
    kept = among[np.isin(labels[among], setting.classes)]
    if not len(kept):
        raise ConjoinError("classes", "no row of any to be asked", "label more items")
    none = np.empty(0, np.int64)
    rows = {name: kept if name == setting.view else none for name in setting.spaces}
    return replace(setting, bed=replace(setting.bed, rows=rows))


def without_classes(
    setting: ClassSetting, classes: tuple[str, ...], rows: np.ndarray
) -> ClassSetting:
    """The setting with whole classes kept out of training, asked in those of ``rows``."""
    setting = _asking(replace(setting, classes=classes, whole=True), rows)
    kin = set(groups_of(_tested(setting), setting.bench))
    kept = [
        all(
            setting.bench.labels.get(item) not in classes
            and setting.bench.groups.get(item, item) not in kin
            for item in line
        )
        for line in _ids(setting.train, setting.spaces)
    ]
    lines = np.array(kept, dtype=bool)
    bed = replace(setting.bed, train=setting.train.take(lines), test=setting.train.take(~lines))
    return replace(setting, bed=bed)


def _tested(setting: ClassSetting) -> np.ndarray:
    """Ids of the rows asked."""
    return setting.spaces[setting.view].ids[setting.bed.rows[setting.view]]


def _ids(pairs: Pairs, spaces: Mapping[str, Space]) -> list[list[str]]:
    """The item ids on each line."""
    columns = [(spaces[name].ids, pairs.column(name)) for name in pairs.names]
    return [
        [str(ids[own[line]]) for ids, own in columns if own[line] != ABSENT]
        for line in range(len(pairs))
    ]


def refuse_seen(
    train: Pairs, spaces: Mapping[str, Space], classes: Iterable[str], bench: Bench
) -> None:
    """Refuse training lines with an item of a class that is to be unseen.

    Raises
    ------
    ConjoinError : one has.
    """
    wanted = set(classes)
    for line in _ids(train, spaces):
        for item in line:
            if bench.labels.get(item) in wanted:
                raise ConjoinError(
                    "pairs", f"item {item} is of an unseen class", "train on other classes"
                )


def refuse_tested(
    train: Pairs, spaces: Mapping[str, Space], tested: Iterable[Any], bench: Bench
) -> None:
    """Refuse training lines with a tested item, or one of its group.

    Raises
    ------
    ConjoinError : one has.
    """
    kin = set(groups_of(tested, bench))
    for line in _ids(train, spaces):
        if not kin.isdisjoint(groups_of(line, bench)):
            raise ConjoinError("pairs", f"item {line[0]} is tested", "train on other groups")
