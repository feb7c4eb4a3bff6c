"""Decide an item's class from whatever views it has."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import SALT, Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import drawn
from conjoin.fusion.inputs import Picked
from conjoin.spaces import Pairs, Space
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import stable_hash

#: Most of a class that lacks a view.
MOST = 0.95


@dataclass(frozen=True, eq=False)
class Shares:
    """What knows the shares of the classes only: it names the most frequent one."""

    label: str

    def predict(self, views: Mapping[str, Any], present: Mapping[str, np.ndarray]) -> np.ndarray:
        """The same class for every item."""
        return np.full(len(next(iter(views.values()))), self.label)


@dataclass(frozen=True)
class Fusing:
    """Classify held-out items from the views they have, part of all views being taken away.

    Trained and tested with views missing. Each item keeps one view at least; what an item lacks is
    fixed by its id. With ``how="random"`` a view is missing with probability ``missing``. With
    ``how="label"`` it is missing with twice that (95 % at most) from every second class, which
    classes those are being another for every second view: what is missing tells the class.
    ``turned`` has those classes swapped in the test, as when another clinic orders other
    examinations.

    Parameters
    ----------
    missing : share of the views of an item.
    how : by chance, or by class.
    turned : whether what is missing tells another class in the test.
    pairs : training items; ``None`` takes nine tenths.
    noise : spread of the noise that the first view's held-out rows carry, in units of the spread
        of each of its coordinates over the training items; trained on without any.

    References
    ----------
    The swap of what missingness tells: Swamy et al. 2023 (swamy2023multimodn).
    """

    missing: Annotated[float, Search(0.0, 0.9)] = 0.4
    how: Annotated[str, Choice(("random", "label"))] = "random"
    turned: bool = False
    pairs: Annotated[int | None, Search(4, 1e7, log=True)] = None
    noise: Annotated[float, Search(0.0, 100.0)] = 0.0
    neutral: ClassVar[Mapping[str, Any]] = {"noise": 0.0}
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "balanced")
    judges: ClassVar[str] = "fusion"
    beside: ClassVar[tuple[str, ...]] = ("chance", "best-single", "late", "concat")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """One line an item with a label, on both sides without what is missing.

        Raises
        ------
        ConjoinError : the data have no labels, or the split leaks.
        """
        if not bench.labels:
            raise ConjoinError(f"data {bench.name}", "no labels", "take data that have classes")
        whole = whole_setting(bench)
        train = drawn(_items(whole.train, whole.spaces, bench), self.pairs, seed)
        test = _items(whole.bed.test, whole.spaces, bench)
        kinds = {name: k for k, name in enumerate(sorted(set(bench.labels.values())))}
        sides = {
            side: self._without(pairs, whole.spaces, bench, kinds, turned)
            for side, pairs, turned in (("train", train, False), ("test", test, self.turned))
        }
        rows = {
            name: np.unique(own[own != ABSENT])
            for name in sides["test"].names
            for own in (sides["test"].column(name),)
        }
        bed = replace(whole.bed, train=sides["train"], test=sides["test"], rows=rows)
        return replace(whole, bed=bed)

    def _without(
        self, pairs: Pairs, spaces: Mapping[str, Space], bench: Bench, kinds: Mapping[str, int],
        turned: bool,
    ) -> Pairs:  # fmt: skip
        """The lines without the rows that are taken away."""
        rows = np.array(pairs.rows)
        for line, item in enumerate(items_of(pairs, spaces)):
            rng = np.random.default_rng([stable_hash(f"{SALT}/missing/{item}")])
            draw = rng.random(rows.shape[1])
            kind = kinds[bench.labels[item]] + turned
            here = rows[line] != ABSENT
            gone = here & (draw < self._chance(kind, rows.shape[1]))
            if (gone == here).all():
                gone[int(np.where(here, draw, -1).argmax())] = False
            rows[line, gone] = ABSENT
        return Pairs(pairs.names, rows, pairs.weight, pairs.group)

    def _chance(self, kind: int, views: int) -> np.ndarray:
        """How likely each view is missing from an item of a class."""
        if self.how == "random":
            return np.full(views, self.missing)
        odd = (np.arange(views) + kind) % 2 == 1
        return np.where(odd, min(2 * self.missing, MOST), 0.0)

    def fit(self, setting: Setting, made: Made, seed: int) -> Any:
        """The arm fitted to the training items."""
        views, present = views_of(setting.train, setting.spaces)
        labels = labels_of(setting.train, setting)
        if isinstance(made.aligner, Identity):
            names, counts = np.unique(labels, return_counts=True)
            return Shares(str(names[counts.argmax()]))
        return made.aligner.fit(views, present, labels=labels, seed=seed)

    def judge(self, setting: Setting, fitted: Any) -> Scores:
        """Whether each held-out item is decided rightly."""
        views, present = views_of(setting.bed.test, setting.spaces)
        if self.noise:
            first = next(iter(views))
            views[first] = self._noisy(setting, first)
        right = fitted.predict(views, present) == labels_of(setting.bed.test, setting)
        return _units(setting, right.astype(np.float64))

    def _noisy(self, setting: Setting, name: str) -> np.ndarray:
        """The held-out rows of a view under noise that each item's id decides."""
        rows = np.asarray(setting.spaces[name].vectors, np.float32)
        train, test = (pairs.column(name) for pairs in (setting.train, setting.bed.test))
        spread = rows[train[train != ABSENT]].std(axis=0)
        draws = [
            np.random.default_rng([stable_hash(f"{SALT}/noise/{item}")]).normal(size=rows.shape[1])
            for item in items_of(setting.bed.test, setting.spaces)
        ]
        held = rows[np.maximum(test, 0)] + self.noise * spread * np.array(draws)
        return np.where((test == ABSENT)[:, None], 0.0, held).astype(np.float32)

    def chance(self, setting: Setting) -> Scores:
        """One over the number of classes in training."""
        count = len(set(labels_of(setting.train, setting)))
        return _units(setting, np.full(len(setting.bed.test), 1 / count))


def items_of(pairs: Pairs, spaces: Mapping[str, Space]) -> list[str]:
    """The item of each line."""
    found = np.full(len(pairs), "", dtype=object)
    for name in pairs.names:
        own = pairs.column(name)
        at = np.flatnonzero(own != ABSENT)
        found[at] = spaces[name].ids[own[at]]
    return [str(item) for item in found]


def views_of(
    pairs: Pairs, spaces: Mapping[str, Space]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Views with a row a line, and which of the rows are there."""
    views = {name: Picked(spaces[name].vectors, pairs.column(name)) for name in pairs.names}
    return views, {name: pairs.column(name) != ABSENT for name in pairs.names}


def labels_of(pairs: Pairs, setting: Setting) -> np.ndarray:
    """The class of each line."""
    return np.array([setting.bench.labels[item] for item in items_of(pairs, setting.spaces)])


def _items(pairs: Pairs, spaces: Mapping[str, Space], bench: Bench) -> Pairs:
    """The first line of each item that has a label."""
    items = np.array(items_of(pairs, spaces))
    first = np.unique(items, return_index=True)[1]
    kept = np.zeros(len(items), dtype=bool)
    kept[first] = True
    return pairs.take(kept & np.array([item in bench.labels for item in items]))


def _units(setting: Setting, right: np.ndarray) -> Scores:
    """Accuracy counts items, balanced accuracy classes."""
    labels = labels_of(setting.bed.test, setting)
    _, owner, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weight = len(labels) / (len(counts) * counts[owner])
    groups = setting.bed.test.group.astype(np.int64)
    return {"accuracy": Units(right, groups), "balanced": Units(right * weight, groups)}
