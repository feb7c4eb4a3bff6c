"""What a method is judged on: real spaces, their pairs, and which of them it never sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, nearest
from conjoin.retrieval.evaluation import TestBed
from conjoin.spaces import Pairs, Space
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import digest, stable_hash

#: Groups whose hash falls below this share of all are held out, once and for every run.
HELD_OUT = 0.3
#: Part of the hash, so that no earlier split of the same data is repeated.
SALT = "claims"
#: One part in so many of the training groups is validation.
INNER = 5


@dataclass(frozen=True, eq=False)
class Bench:
    """A data set as every task reads it.

    Parameters
    ----------
    name : such as ``emoji:image+text``.
    spaces : the views, first the one asked for first.
    pairs : every line of rows that belong together.
    groups : group of each item id; a group is never split.
    labels : class of each item id, where there are classes.
    names : by view, one vector (or several parts) a class, its ids being the classes.
    """

    name: str
    spaces: Mapping[str, Space]
    pairs: Pairs
    groups: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, Space] = field(default_factory=dict)

    def view(self, name: str) -> Space:
        """The space of a view.

        Raises
        ------
        ConjoinError : there is none.
        """
        if name not in self.spaces:
            raise ConjoinError(f"data {self.name}", f"no view {name}", nearest(name, self.spaces))
        return self.spaces[name]

    @property
    def digest(self) -> str:
        """A hash of what it holds: frames, ids, contents, pairs, groups, labels and their names."""
        spaces, names = (
            [
                [name, s.frame.id, digest(s.ids.tolist()), digest(s.content.tolist())]
                for name, s in held.items()
            ]
            for held in (self.spaces, self.names)
        )
        pairs = digest(np.ascontiguousarray(self.pairs.rows).tobytes())
        groups, labels = sorted(self.groups.items()), sorted(self.labels.items())
        return digest([self.name, spaces, pairs, groups, labels, names])

    def held(self, name: str) -> np.ndarray:
        """Whether each row of a view is in the frozen test set."""
        ids = self.view(name).ids
        share = {g: stable_hash(f"{SALT}/{g}") / 2**63 for g in set(self.groups.values())}
        return np.array([share[self.groups[str(item)]] < HELD_OUT for item in ids])


@dataclass(frozen=True, eq=False)
class Setting:
    """One seed of a task: what an arm may train on, and what it is then judged by.

    Parameters
    ----------
    bed : spaces, training pairs, held-out pairs and rows, groups.
    bench : the data it was cut from.
    """

    bed: TestBed
    bench: Bench

    @property
    def spaces(self) -> Mapping[str, Space]:
        """Every view, whole."""
        return self.bed.spaces

    @property
    def train(self) -> Pairs:
        """The training pairs."""
        return self.bed.train

    def with_train(self, pairs: Pairs) -> "Setting":
        """The same with other training pairs."""
        return replace(self, bed=replace(self.bed, train=pairs))

    def pooled(self) -> "Setting":
        """The same with token sets reduced to their means, for methods that take vectors."""
        spaces = {name: space.pooled() for name, space in self.spaces.items()}
        return replace(self, bed=replace(self.bed, spaces=spaces))

    def inner(self, seed: int, parts: int = INNER) -> "Setting":
        """The same task inside its own training pairs: one part in ``parts`` is held out.

        Hyper-parameters are chosen here, so that the test rows are touched once.
        """
        train = self.train
        count = min(parts, len(np.unique(train.group)))
        if count < 2:
            raise ConjoinError("pairs", "one group only", "give more groups")
        fold = train.folds(count, seed)
        held = train.take(fold == 0)
        rows = {}
        for name in self.spaces:
            own = held.column(name) if name in held.names else np.empty(0, np.int64)
            rows[name] = np.unique(own[own != ABSENT])
        bed = replace(self.bed, train=train.take(fold != 0), test=held, rows=rows)
        return replace(self, bed=bed)


def whole_setting(bench: Bench, views: Sequence[str] | None = None) -> Setting:
    """Everything outside the frozen test set to train on, the test set to be judged by.

    Parameters
    ----------
    views : the views that take part; all when not given.

    Raises
    ------
    ConjoinError : a test item's group is also trained on, or a side is empty.
    """
    names = tuple(views or bench.spaces)
    spaces = {name: bench.view(name) for name in names}
    held = {name: bench.held(name) for name in names}
    pairs = bench.pairs.select(names)
    inside: np.ndarray = _inside(pairs, held)
    train = pairs.take(np.flatnonzero(~inside.any(axis=1)))
    test = pairs.take(np.flatnonzero(inside.all(axis=1)))
    if not len(train) or not len(test):
        raise ConjoinError(
            f"data {bench.name}", f"{len(train)} training and {len(test)} held-out pairs",
            "take a larger data set",
        )  # fmt: skip
    refuse_leak(train, test)
    rows = {name: np.flatnonzero(held[name]) for name in names}
    return Setting(TestBed(spaces, train, test, rows, bench.groups), bench)


def refuse_leak(train: Pairs, test: Pairs) -> None:
    """Refuse a split that lets a group, or a row, be on both sides.

    Raises
    ------
    ConjoinError : one is.
    """
    if np.isin(test.group, train.group).any():
        raise ConjoinError("split", "a group is trained on and tested", "split whole groups")
    for name in set(train.names) & set(test.names):
        own, other = train.column(name), test.column(name)
        if np.isin(other[other != ABSENT], own).any():
            raise ConjoinError("split", f"a row of {name} is trained on and tested", "split rows")


def _inside(pairs: Pairs, held: Mapping[str, np.ndarray]) -> np.ndarray:
    """``[m, views]`` whether a line's row is held out; an absent row follows its line."""
    columns = []
    for name in pairs.names:
        own = pairs.column(name)
        columns.append(np.where(own == ABSENT, -1, held[name][np.maximum(own, 0)].astype(int)))
    table: Any = np.stack(columns, axis=1)
    line = table.max(axis=1, keepdims=True)
    return np.where(table < 0, line, table).astype(bool)
