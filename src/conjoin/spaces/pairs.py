"""Which rows of which spaces belong together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from conjoin.errors import ConjoinError, nearest
from conjoin.spaces.given import row_numbers
from conjoin.spaces.space import Space, require_spaces
from conjoin.storage.digest import stable_hash

ABSENT = -1


@dataclass(frozen=True, eq=False)
class Pairs:
    """Lines of rows that belong together, partial and many-to-many.

    Parameters
    ----------
    names : the views, one a column.
    rows : ``[m, len(names)]`` row numbers; :data:`ABSENT` where a line lacks a view.
    weight : ``[m]`` trust in each line, above 0; ones when not given.
    group : ``[m]`` lines of one group are never split and are one cluster in statistics;
        each line its own when not given.

    Raises
    ------
    ConjoinError : shapes disagree, a weight is not positive, or a row is below absent.
    """

    names: tuple[str, ...]
    rows: np.ndarray
    weight: np.ndarray = field(default_factory=lambda: np.empty(0))
    group: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape[1] != len(self.names):
            raise ConjoinError(
                "pairs",
                f"rows of shape {self.rows.shape} for {len(self.names)} views",
                "give one column of row numbers a view",
            )
        if self.rows.size and self.rows.min() < ABSENT:
            raise ConjoinError("pairs", "a row number below -1", "give -1 where a view is absent")
        m = len(self.rows)
        if len(self.weight) != m:
            object.__setattr__(self, "weight", np.ones(m))
        if len(self.group) != m:
            object.__setattr__(self, "group", np.arange(m))
        if m and not (np.isfinite(self.weight).all() and self.weight.min() > 0):
            raise ConjoinError("pairs.weight", "a weight is not above 0", "drop that line instead")

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, **rows: Sequence[int] | np.ndarray) -> "Pairs":
        """Pairs from one sequence of row numbers a view.

        Examples
        --------
        >>> len(Pairs.of(text=[0, 1], image=[1, -1]))
        2
        """
        columns = [row_numbers(column, f"pairs {name}") for name, column in rows.items()]
        if not columns:
            raise ConjoinError("pairs", "no view was given", "give row numbers by view")
        if len({len(column) for column in columns}) > 1:
            raise ConjoinError(
                "pairs", f"{[len(c) for c in columns]} rows", "give each view as many row numbers"
            )
        return cls(tuple(rows), np.stack(columns, axis=1))

    @classmethod
    def by_id(cls, spaces: Mapping[str, Space], groups: Mapping[str, str] | None = None) -> "Pairs":
        """Lines of the rows that share an item id.

        An item with several parts of a view gives as many lines as its longest view; shorter
        views repeat from their first part. Items seen in one view only give no line.

        Parameters
        ----------
        groups : the group of each item id; an item is its own group when not given.

        Raises
        ------
        ConjoinError : no item has two views.
        """
        require_spaces(spaces, "pairs")
        names = tuple(spaces)
        rows_by_item: dict[str, list[list[int]]] = {}
        for column, space in enumerate(spaces.values()):
            for row in np.lexsort((space.parts, space.ids)):
                slots = rows_by_item.setdefault(str(space.ids[row]), [[] for _ in names])
                slots[column].append(int(row))
        lines, owners = [], []
        for item in sorted(rows_by_item):
            slots = rows_by_item[item]
            if sum(bool(slot) for slot in slots) < 2:
                continue
            for turn in range(max(map(len, slots))):
                lines.append([slot[turn % len(slot)] if slot else ABSENT for slot in slots])
                owners.append(groups.get(item, item) if groups else item)
        if not lines:
            raise ConjoinError(
                "pairs", f"no item has two of {', '.join(names)}", "check that the ids agree"
            )
        group = np.array([stable_hash(str(owner)) for owner in owners])
        return cls(names, np.array(lines, dtype=np.int64), group=group)

    def column(self, name: str) -> np.ndarray:
        """Row numbers of a view, :data:`ABSENT` where a line lacks it."""
        if name not in self.names:
            raise ConjoinError("view", f"{name!r} is not paired", nearest(name, self.names))
        return self.rows[:, self.names.index(name)]

    def between(self, left: str, right: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The distinct pairs of two views: rows of ``left``, rows of ``right``, weights.

        The weight of a pair on several lines is the largest.
        """
        i, j = self.column(left), self.column(right)
        both = (i != ABSENT) & (j != ABSENT)
        i, j, weight = i[both], j[both], self.weight[both]
        order = np.lexsort((-weight, j, i))
        i, j, weight = i[order], j[order], weight[order]
        first = np.ones(len(i), dtype=bool)
        first[1:] = (i[1:] != i[:-1]) | (j[1:] != j[:-1])
        return i[first], j[first], weight[first]

    def edges(self) -> list[tuple[str, str]]:
        """The pairs of views that share at least one line, in the order of ``names``."""
        here = self.rows != ABSENT
        together = here.T.astype(np.int64) @ here
        return [
            (a, b)
            for p, a in enumerate(self.names)
            for q, b in enumerate(self.names)
            if p < q and together[p, q]
        ]

    def take(self, lines: np.ndarray) -> "Pairs":
        """The lines asked for (integers or booleans), in that order."""
        return replace(
            self, rows=self.rows[lines], weight=self.weight[lines], group=self.group[lines]
        )

    def select(self, names: Sequence[str]) -> "Pairs":
        """Only the views named; lines left with fewer than two of them are dropped.

        Raises
        ------
        ConjoinError : a view named has no column.
        """
        rows = np.stack([self.column(name) for name in names], axis=1)
        live = (rows != ABSENT).sum(axis=1) >= min(2, len(names))
        return Pairs(tuple(names), rows[live], self.weight[live], self.group[live])

    def join(self, other: "Pairs") -> "Pairs":
        """Lines of both, over the views of either; equal group numbers are one group."""
        names = tuple(dict.fromkeys((*self.names, *other.names)))
        rows = np.full((len(self) + len(other), len(names)), ABSENT, dtype=np.int64)
        rows[: len(self), [names.index(n) for n in self.names]] = self.rows
        rows[len(self) :, [names.index(n) for n in other.names]] = other.rows
        return Pairs(
            names,
            rows,
            np.concatenate([self.weight, other.weight]),
            np.concatenate([self.group, other.group]),
        )

    def folds(self, count: int, seed: int) -> np.ndarray:
        """Fold of each line in [0, count): whole groups, dealt as evenly as they allow.

        Raises
        ------
        ConjoinError : there are fewer groups than folds.
        """
        values, inverse, sizes = np.unique(self.group, return_inverse=True, return_counts=True)
        if len(values) < count:
            raise ConjoinError(
                "pairs", f"{len(values)} groups for {count} folds", "give more pairs or groups"
            )
        order = np.random.default_rng([seed, 7]).permutation(len(values))
        order = order[np.argsort(-sizes[order], kind="stable")]
        fold_of = np.empty(len(values), dtype=np.int64)
        load = np.zeros(count)
        for group in order:
            fold = int(load.argmin())
            fold_of[group] = fold
            load[fold] += sizes[group]
        return fold_of[inverse]
