"""Held-out folds of training pairs, and what fitted maps reach on them."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from conjoin.alignment.closed_form.covariance import Joint
from conjoin.errors import ConjoinError
from conjoin.execution.costs import Shape, of_moments
from conjoin.maps.base import Affine, apply_rows, score_of
from conjoin.metrics.retrieval.relevance import Relevance, relevance
from conjoin.metrics.retrieval.scores import chance, rank_queries
from conjoin.spaces import Frame, Pairs, Space, Tokens, unit

#: Folds of the training groups.
FOLDS = 5
#: Lines scored a fold at most; more would not change a choice.
LINES = 2000
#: Where the moments of all folds together are kept.
WHOLE = -1


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
        self.spaces, self.pairs, self.seed = spaces, pairs, seed
        count = min(count, len(np.unique(pairs.group)))
        if count < 2:
            raise ConjoinError("pairs", "one group only", "give more groups, or name a method")
        self.fold = pairs.folds(count, seed)
        self.numbers = range(count)
        self._tests: dict[tuple[int, int], list[Test]] = {}
        self._joints: dict[tuple[int, str], Joint] = {}
        self._moments: dict[int, Joint] = {}
        self._parts: dict[int, Joint] = {}
        self._fitted: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._still: dict[tuple[int, str, bytes], Any] = {}

    def train(self, number: int) -> Pairs:
        """The lines outside fold ``number``."""
        return self.pairs.take(self.fold != number)

    def fitted(self, key: tuple[Any, ...], fit: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Maps that take long to fit, fitted once and remembered under ``key``."""
        if key not in self._fitted:
            self._fitted[key] = fit()
        return self._fitted[key]

    def joint(self, number: int, hub: str) -> Joint:
        """The moments of everything outside fold ``number``: the whole less the fold.

        They are made once for every hub: what a couple knows is read from either side.
        """
        if (number, hub) not in self._joints:
            made = self._moments_of(number)
            dims = {name: made.dims[name] for name in self.views(hub)}
            self._joints[number, hub] = Joint(dims, made.edges, made.frozen)
        return self._joints[number, hub]

    def _moments_of(self, number: int) -> Joint:
        """Every line is read once: the whole is the sum of its folds."""
        if WHOLE not in self._moments:
            views = self.views(next(iter(self.spaces)))
            for fold in self.numbers:
                self._parts[fold] = Joint.of(views, self.pairs.take(self.fold == fold))
            self._moments[WHOLE] = reduce(operator.add, self._parts.values())
        if number not in self._moments:
            self._moments[number] = self._moments[WHOLE] - self._parts.pop(number)
        return self._moments[number]

    def shape(self, hub: str) -> Shape:
        """The size of what is fitted without a fold."""
        rest = len(self.pairs) * (len(self.numbers) - 1) // len(self.numbers)
        return Shape(rest, tuple(_width(view) for view in self.views(hub).values()))

    def owed(self) -> float:
        """Units of the moments, where they are not made yet."""
        shape = self.shape(next(iter(self.spaces)))
        return 0.0 if WHOLE in self._moments else of_moments(Shape(len(self.pairs), shape.dims))

    def asked(self, lines: int) -> int:
        """Lines of a fold that are asked, where so many are wanted at most."""
        return min(lines, int(np.bincount(self.fold).max()))

    def views(self, hub: str) -> dict[str, Any]:
        """The vectors by view, hub first."""
        order = [hub, *(name for name in self.spaces if name != hub)]
        return {name: self.spaces[name].vectors for name in order}

    def held(self, number: int, most: int | None = None) -> Pairs:
        """At most so many lines of fold ``number``, drawn at random where it has more."""
        lines = np.flatnonzero(self.fold == number)
        # By group and row, so that the order in which lines are given does not decide.
        lines = lines[np.lexsort((*self.pairs.rows[lines].T, self.pairs.group[lines]))]
        order = np.random.default_rng([number, 11]).permutation(len(lines))
        return self.pairs.take(np.sort(lines[order[: LINES if most is None else most]]))

    def tests(self, number: int, most: int | None = None) -> list[Test]:
        """Queries, gallery and right answers of each direction of the fold's pair sources."""
        most = self.asked(LINES if most is None else most)
        if (number, most) not in self._tests:
            held = self.held(number, most)
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
            self._tests[number, most] = found
        return self._tests[number, most]

    def chance(self) -> float:
        """What :meth:`score` is worth for galleries in random order, over all folds."""
        found = [
            np.mean([chance(test.wanted, f"recall@{k}") for k in (1, 5, 10)])
            for number in self.numbers
            for test in self.tests(number)
        ]
        return float(np.mean(found))

    def score(self, number: int, maps: Mapping[str, Any], most: int | None = None) -> float:
        """Mean of recall@1, @5, @10 over both directions of every pair source.

        Parameters
        ----------
        most : lines of the fold that are asked, :data:`LINES` when not given.
        """
        return float(np.mean([hits.mean() for hits, _ in self._hits(number, maps, most)]))

    def units(self, number: int, maps: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """``[q]`` mean of hit@1, @5 and @10 of each query of a fold, and its group.

        Queries of every direction count so that all directions together weigh alike.
        """
        found = self._hits(number, maps, None)
        total = sum(len(hits) for hits, _ in found)
        weighed = [hits * (total / (len(found) * len(hits))) for hits, _ in found]
        return np.concatenate(weighed), np.concatenate([groups for _, groups in found])

    def _hits(
        self, number: int, maps: Mapping[str, Any], most: int | None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        found = []
        for test in self.tests(number, most):
            q = self._placed(number, test.query, maps[test.query], test.asked)
            x = self._placed(number, test.target, maps[test.target], test.gallery)
            ranking = rank_queries(as_queries(q, maps[test.query]), x, test.wanted)
            hits = np.mean([ranking.hits(k) for k in (1, 5, 10)], axis=0)
            found.append((hits, self._groups(test)))
        return found

    def _groups(self, test: Test) -> np.ndarray:
        own = self.pairs.column(test.query)
        group = np.zeros(int(own.max()) + 1, dtype=np.int64)
        group[own[own >= 0]] = self.pairs.group[own >= 0]
        return np.asarray(group[test.asked[test.wanted.queries]])

    def _placed(self, number: int, name: str, item: Any, rows: np.ndarray) -> Any:
        """Rows under a map; those of a hub that only loses its mean are placed once a fold."""
        if not isinstance(item, Affine) or item.weight is not None:
            return bound_rows(self.spaces[name], item, rows)
        shift = np.asarray(item.shift).tobytes() + np.asarray(item.bias).tobytes()
        key = (number, name, shift + rows.tobytes())
        if key not in self._still:
            self._still[key] = bound_rows(self.spaces[name], item, rows)
        return self._still[key]


def _width(view: Any) -> int:
    return int(view.dim if isinstance(view, Tokens) else view.shape[1])


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
