"""An index rehearsed on its training pairs: held-out queries against what it will hold.

Each fold's maps are fitted without its pairs. Its queries are then put to two galleries: the
fold's own rows, new to the maps like every row of a test; and every training row of the target,
as an index holds them, where one new row is to be found amid many that the maps have seen. Test
items take no part.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.catalogue import find
from conjoin.errors import ConjoinError
from conjoin.metrics.retrieval.relevance import Relevance, relevance, relevance_by_id
from conjoin.retrieval.hubness.query_bank import Own
from conjoin.selection.folds import Folds, bound_rows
from conjoin.selection.trials import Sweep
from conjoin.spaces import Pairs, Space, Tokens

Edge = tuple[str, str]

#: Rows of a gallery, rows of a fold that are new to it, and those of them that ask, at most.
GALLERY, QUERIES, ASKED = 8192, 2000, 500
#: Rows of a bank while it is decided whether to correct, and of one that corrects, at most.
BANK, SERVED = 2000, 10_000


@dataclass(frozen=True, eq=False)
class Scene:
    """One direction of one fold.

    Parameters
    ----------
    q, x : queries and gallery as an index scores them.
    rows : row of each gallery vector in the target's space.
    wanted : right answers, in rows of ``q`` and ``x``.
    groups : cluster of each query that has an answer.
    bank, items : training queries and items, on which a correction is fitted.
    own : which of those belong to which rows of the gallery.
    paired : whether training pairs join the two modalities.
    whole : whether the gallery is all training rows, or the fold's alone.
    asked, bank_rows : rows of ``q`` and of ``bank`` in the query's space.
    """

    query: str
    target: str
    fold: int
    q: np.ndarray
    x: np.ndarray
    rows: np.ndarray
    wanted: Relevance
    groups: np.ndarray
    bank: np.ndarray
    items: np.ndarray
    own: Own
    paired: bool
    whole: bool
    asked: np.ndarray
    bank_rows: np.ndarray


class Rehearsal:
    """Scenes of every direction whose answers are known, fold by fold.

    Parameters
    ----------
    binding : its method and settings are fitted anew without each fold.
    pieces : by modality, pieces of its cells as its encoder sees them, under the ids and parts of
        the rows they are pieces of: what a query into the query's own modality is rehearsed by.
    folds : of the same pairs and seed, as a choice left them: what it fitted is not fitted again.
    report : told of each fold.
    """

    def __init__(
        self, binding: Binding, spaces: Mapping[str, Space], train: Pairs, *, seed: int = 0,
        pieces: Mapping[str, Space] = {}, folds: Folds | None = None,
        report: Callable[[str], None] = lambda _: None,
    ):  # fmt: skip
        self.binding, self.seed, self.pieces, self.report = binding, seed, pieces, report
        self.spaces = {name: spaces[name] for name in train.names}
        self.folds = folds or Folds(self.spaces, train, seed)
        self._parts: dict[int, Binding] = {}
        self._scenes: list[Scene] | None = None

    @property
    def scenes(self) -> list[Scene]:
        """Every direction of every fold, with small banks; frames of token sets have none."""
        if self._scenes is None:
            self._scenes = []
            if self.binding.frame.score != "maxsim":
                for number in self.folds.numbers:
                    self.report(f"held-out queries, fold {number + 1} of {len(self.folds.numbers)}")
                    self._scenes.extend(self._met(self._of_fold(number)))
        return self._scenes

    @property
    def served(self) -> Iterable[Scene]:
        """Galleries of new items with banks as the index has them, a fold at a time."""
        yield from self._as_served(whole=False)

    @property
    def whole(self) -> Iterable[Scene]:
        """The same for galleries that also hold what was trained on."""
        yield from self._as_served(whole=True)

    def _as_served(self, *, whole: bool) -> Iterable[Scene]:
        rows = max(len(_present(self.folds.pairs, name)) for name in self.folds.pairs.names)
        if self.binding.frame.score == "maxsim" or rows <= BANK:
            yield from (scene for scene in self.scenes if scene.whole == whole)
            return
        self._scenes = None  # large, and not asked again
        for number in self.folds.numbers:
            self.report(f"what scores mean, fold {number + 1} of {len(self.folds.numbers)}")
            yield from self._met(self._of_fold(number, SERVED, (whole,)))

    def _met(self, scenes: Iterable[Scene]) -> Iterable[Scene]:
        """Those scenes that can be met; here all."""
        return scenes

    @property
    def asked_by_pieces(self) -> Iterable[Scene]:
        """Pieces of each fold's cells, put to the fold's rows of every modality."""
        if self.binding.frame.score == "maxsim":
            return
        names = [name for name in self.folds.pairs.names if name in self.pieces]
        for number in self.folds.numbers if names else ():
            self.report(f"pieces of cells, fold {number + 1} of {len(self.folds.numbers)}")
            for name in names:
                yield from self._by_pieces(number, name)

    def _by_pieces(self, number: int, query: str) -> Iterator[Scene]:
        part, train, held = self.part(number), self.folds.train(number), self.folds.held(number)
        own, space = self.pieces[query], self.spaces[query]
        place = {key: row for row, key in enumerate(zip(own.ids, own.parts, strict=True))}
        rows = _present(held, query)
        rows = rows[[(space.ids[r], space.parts[r]) in place for r in rows]] if len(rows) else rows
        if not len(rows):
            return
        cut = np.array([place[space.ids[r], space.parts[r]] for r in rows])
        q = part.frame.query(bound_rows(own, part.maps[query], cut))
        group, bank = _groups(held, query), bank_of(part, self.spaces, train, query)
        joined = {frozenset(edge) for edge in held.edges()}
        for target in held.names:
            shown = _present(held, target)[:QUERIES]
            try:
                wanted = self._wanted(query, target, held, rows, shown,
                                      frozenset((query, target)) in joined)  # fmt: skip
            except ConjoinError:
                continue
            yield Scene(
                query, target, number, q,
                bound_rows(self.spaces[target], part.maps[target], shown), shown, wanted,
                np.array([group[row] for row in rows[wanted.queries]]), bank,
                bank_of(part, self.spaces, train, target),
                Own(row_groups(train, target, shown), bank_groups(self.spaces, train, query),
                    bank_groups(self.spaces, train, target)), False, False,
                rows, bank_rows_of(self.spaces, train, query),
            )  # fmt: skip

    def part(self, number: int) -> Binding:
        """The binding fitted without a fold."""
        if number not in self._parts and self.binding.joint:
            # What its encoder gave is no more fitted without a fold than with it.
            kept = self.binding.joint
            made = Binding.as_it_is({n: self.spaces[n] for n in kept if n in self.spaces})
            for name, choice in self.binding.beside.items():
                if name in self.spaces:
                    own = {n: self.spaces[n] for n in (*made.maps, name)}
                    made = made.extend(own, self.folds.train(number), choice=choice)
            self._parts[number] = made
        if number not in self._parts:
            train, choice = self.folds.train(number), self.binding.choice
            if choice.aligner is None:
                sweep = Sweep(find("aligner", choice.method), self.folds, self.seed)
                maps = sweep.fit(choice.fields, number, choice.hub)
                made = Binding.placed(maps, self.spaces, train, choice, self.seed)
            else:
                made = Binding.fit(
                    self.spaces, train, method=choice.make(), hub=choice.hub, seed=self.seed
                )  # fmt: skip
            self._parts[number] = made
        return self._parts[number]

    def _of_fold(
        self, number: int, most: int = BANK, galleries: tuple[bool, ...] = (False, True)
    ) -> Iterator[Scene]:
        """Scenes of a fold.

        Parameters
        ----------
        most : rows of a bank at most.
        galleries : the fold's own rows, and every row the index holds.
        """
        part, train, held = self.part(number), self.folds.train(number), self.folds.held(number)
        asking = self.folds.held(number, ASKED)
        asked = {name: _present(asking, name)[:ASKED] for name in held.names}
        own = {n: np.union1d(asked[n], _present(held, n)[:QUERIES]) for n in asked}
        shown = {n: self._gallery(n, own[n]) if True in galleries else own[n] for n in own}
        vectors = {
            name: bound_rows(self.spaces[name], part.maps[name], shown[name]) for name in shown
        }
        banks = {name: bank_of(part, self.spaces, train, name, most) for name in shown}
        whose = {name: bank_groups(self.spaces, train, name, most) for name in shown}
        joined = {frozenset(edge) for edge in held.edges()}
        group = {name: _groups(held, name) for name in held.names}
        for query in held.names:
            q = part.frame.query(vectors[query][np.searchsorted(shown[query], asked[query])])
            for target in held.names:
                paired = frozenset((query, target)) in joined
                for whole in galleries if query != target else ():
                    kept = shown[target] if whole else own[target]
                    try:
                        wanted = self._wanted(query, target, held, asked[query], kept, paired)
                    except ConjoinError:
                        continue
                    yield Scene(
                        query, target, number, q,
                        vectors[target] if len(kept) == len(shown[target])
                        else vectors[target][np.searchsorted(shown[target], kept)], kept, wanted,
                        np.array([group[query][row] for row in asked[query][wanted.queries]]),
                        banks[query], banks[target],
                        Own(row_groups(train, target, kept), whose[query], whose[target]),
                        paired, whole, asked[query], bank_rows_of(self.spaces, train, query, most),
                    )  # fmt: skip

    def _gallery(self, name: str, own: np.ndarray) -> np.ndarray:
        rows = _present(self.folds.pairs, name)
        if len(rows) > GALLERY:
            others = np.setdiff1d(rows, own)
            drawn = np.random.default_rng([self.seed, 7]).permutation(others)
            rows = np.sort(np.concatenate([own, drawn[: max(0, GALLERY - len(own))]]))
        return rows

    def _wanted(
        self, query: str, target: str, held: Pairs, asked: np.ndarray, shown: np.ndarray,
        paired: bool,
    ) -> Relevance:  # fmt: skip
        one, other = self.spaces[query], self.spaces[target]
        if not paired:
            return relevance_by_id(one.take(asked), other.take(shown))
        return relevance(one, other, held, query, target, query_rows=asked, gallery_rows=shown)


def _present(pairs: Pairs, name: str) -> np.ndarray:
    rows = np.unique(pairs.column(name))
    return rows[rows >= 0]


def _groups(pairs: Pairs, name: str) -> dict[int, int]:
    """The group of each row."""
    own = pairs.column(name)
    return {int(row): int(group) for row, group in zip(own, pairs.group, strict=True) if row >= 0}


def bank_rows_of(
    spaces: Mapping[str, Space], train: Pairs, name: str, most: int = SERVED
) -> np.ndarray:
    """The training rows of a modality that make its bank."""
    rows = _present(train, name) if name in train.names else np.arange(len(spaces[name]))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng([0, 5]).permutation(rows)[:most])
    return rows


def bank_of(
    binding: Binding, spaces: Mapping[str, Space], train: Pairs, name: str, most: int = SERVED
) -> np.ndarray:
    """Training rows of a modality in the joint frame: what a correction is fitted on."""
    rows = bank_rows_of(spaces, train, name, most)
    found: Any = bound_rows(spaces[name], binding.maps[name], rows)
    return found.mean() if isinstance(found, Tokens) else found


def row_groups(pairs: Pairs, name: str, rows: np.ndarray) -> np.ndarray:
    """The group of each row, numbered alike in every modality; −1 where pairs lack it."""
    if name not in pairs.names:
        return np.full(len(rows), -1)
    known = _groups(pairs, name)
    numbers = {int(group): place for place, group in enumerate(np.unique(pairs.group))}
    return np.array([numbers[known[int(r)]] if int(r) in known else -1 for r in rows])


def bank_groups(
    spaces: Mapping[str, Space], train: Pairs, name: str, most: int = SERVED
) -> np.ndarray:
    """The groups of the rows of :func:`bank_of`."""
    return row_groups(train, name, bank_rows_of(spaces, train, name, most))
