"""Held-out folds of training pairs, and what fitted maps reach on them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.maps.map import apply_rows, score_of
from conjoin.maps.moments import Joint
from conjoin.measures.relevance import Relevance, relevance
from conjoin.measures.retrieval import chance, rank_queries
from conjoin.spaces import Frame, Pairs, Space, Tokens, unit

#: Folds of the training groups.
FOLDS = 5
#: Lines scored a fold at most; more would not change a choice.
LINES = 2000


@dataclass(frozen=True, eq=False)
class Test:
    """One direction of a fold: rows asked, rows searched, and who is right for whom."""

    query: str
    target: str
    asked: np.ndarray
    gallery: np.ndarray
    wanted: Relevance


class Folds:
    """Held-out folds of the pairs, and the score of fitted maps on one.

    Queries and gallery of a fold are what the fold holds, at most :data:`LINES` lines.
    """

    def __init__(self, spaces: Mapping[str, Space], pairs: Pairs, seed: int, count: int = FOLDS):
        self.spaces, self.pairs = spaces, pairs
        count = min(count, len(np.unique(pairs.group)))
        if count < 2:
            raise ConjoinError("pairs", "one group only", "give more groups, or name a method")
        self.fold = pairs.folds(count, seed)
        self.numbers = range(count)
        self._tests: dict[int, list[Test]] = {}
        self._joints: dict[tuple[int, str], Joint] = {}
        self._fitted: dict[tuple[Any, ...], dict[str, Any]] = {}

    def train(self, number: int) -> Pairs:
        """The lines outside fold ``number``."""
        return self.pairs.take(self.fold != number)

    def fitted(self, key: tuple[Any, ...], fit: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Maps that take long to fit, fitted once and remembered under ``key``."""
        if key not in self._fitted:
            self._fitted[key] = fit()
        return self._fitted[key]

    def joint(self, number: int, hub: str) -> Joint:
        """The moments of everything outside fold ``number``: the whole less the fold."""
        if (number, hub) not in self._joints:
            if (-1, hub) not in self._joints:
                self._joints[-1, hub] = Joint.of(self.views(hub), self.pairs)
            fold = Joint.of(self.views(hub), self.pairs.take(self.fold == number))
            self._joints[number, hub] = self._joints[-1, hub] - fold
        return self._joints[number, hub]

    def views(self, hub: str) -> dict[str, Any]:
        """The vectors by view, hub first."""
        order = [hub, *(name for name in self.spaces if name != hub)]
        return {name: self.spaces[name].vectors for name in order}

    def held(self, number: int) -> Pairs:
        """At most :data:`LINES` lines of fold ``number``, drawn at random where it has more."""
        lines = np.flatnonzero(self.fold == number)
        # By group and row, so that the order in which lines are given does not decide.
        lines = lines[np.lexsort((*self.pairs.rows[lines].T, self.pairs.group[lines]))]
        order = np.random.default_rng([number, 11]).permutation(len(lines))
        return self.pairs.take(np.sort(lines[order[:LINES]]))

    def tests(self, number: int) -> list[Test]:
        """Queries, gallery and right answers of each direction of the fold's pair sources."""
        if number not in self._tests:
            held = self.held(number)
            found = []
            for edge in held.edges():
                i, j, _ = held.between(*edge)
                rows = dict(zip(edge, (np.unique(i), np.unique(j)), strict=True))
                for query, target in (edge, edge[::-1]):
                    wanted = relevance(
                        self.spaces[query], self.spaces[target], held, query, target,
                        query_rows=rows[query], gallery_rows=rows[target],
                    )  # fmt: skip
                    found.append(Test(query, target, rows[query], rows[target], wanted))
            self._tests[number] = found
        return self._tests[number]

    def chance(self) -> float:
        """What :meth:`score` is worth for galleries in random order, over all folds."""
        found = [
            np.mean([chance(test.wanted, f"recall@{k}") for k in (1, 5, 10)])
            for number in self.numbers
            for test in self.tests(number)
        ]
        return float(np.mean(found))

    def score(self, number: int, maps: Mapping[str, Any]) -> float:
        """Mean of recall@1, @5, @10 over both directions of every pair source."""
        found = []
        for test in self.tests(number):
            q = bound_rows(self.spaces[test.query], maps[test.query], test.asked)
            x = bound_rows(self.spaces[test.target], maps[test.target], test.gallery)
            ranking = rank_queries(as_queries(q, maps[test.query]), x, test.wanted)
            found.append(np.mean([ranking.recall(k) for k in (1, 5, 10)]))
        return float(np.mean(found))


def bound_rows(space: Space, item: Any, rows: np.ndarray) -> Any:
    """Some rows of a space under a map, as a gallery: at unit length where cosine scores them."""
    taken = space.vectors.take(rows) if isinstance(space.vectors, Tokens) else space.vectors[rows]
    placed: Any = apply_rows(item, taken)
    return unit(placed) if score_of(item) == "cosine" else placed


def as_queries(rows: Any, item: Any) -> Any:
    """Rows under a map as queries, whose inner product with a gallery ranks as its score does."""
    if score_of(item) != "lorentz":
        return rows
    return Frame("", rows.shape[1], score="lorentz").query(rows)
