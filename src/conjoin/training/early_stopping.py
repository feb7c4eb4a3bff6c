"""When to stop training: held-out rows name their partners."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from conjoin.catalogue import find, ranges
from conjoin.maps.base import Normalise, score_of
from conjoin.metrics.retrieval.late_interaction import maxsim_scores
from conjoin.spaces import Batch, Frame, Pairs, Tokens
from conjoin.spaces.pairs import ABSENT
from conjoin.training.loop import Arrays, PairBatches, Schedule, Trainable, Trained, train
from conjoin.training.samplers import Mining

#: One part in so many is held out to decide when to stop.
HOLD_OUT = 8

#: Validations in a whole training.
CHECKS = 20


class Mapped(Trainable, Protocol):
    """A trainable that becomes maps."""

    def maps(self, arrays: Arrays) -> dict[str, Any]:
        """One map a view that is trained; rows of the others are where they lie already."""
        ...


@dataclass(frozen=True)
class Pace:
    """How long and how fast: the fields of a method that training reads.

    Parameters
    ----------
    steps : at most (whole passes, one at least).
    batch : lines in each.
    """

    steps: int
    batch: int
    lr: float
    weight_decay: float

    @classmethod
    def of(cls, method: Any) -> "Pace":
        """From the fields of those names."""
        return cls(method.steps, method.batch, method.lr, method.weight_decay)


@dataclass(frozen=True, eq=False)
class Training:
    """One trainable, what it minimises, and the rows it is trained on.

    Parameters
    ----------
    rows : vectors or token sets by view, frozen views where their maps place them.
    shown : what each row shows, by view.
    augment : makes of each batch the one that is trained on.
    together : judge by naming a view from the product of all others.
    whole : keep the lines of a group in one batch.
    mining : which lines share a batch and which may not be contrasted.
    """

    trainable: Mapped
    objective: Any
    rows: Mapping[str, Any]
    shown: Mapping[str, np.ndarray]
    pace: Pace
    augment: Callable[[Batch], Batch] | None = None
    together: bool = False
    whole: bool = False
    mining: Mining | None = None

    def run(
        self, pairs: Pairs, seed: int, held: Pairs | None = None, stop: int | None = None
    ) -> Trained:
        """Train with early stopping by ``held``, or for ``stop`` passes."""
        pace = self.pace
        batches = PairBatches(self.rows, pairs, pace.batch, self.shown, self.whole, self.mining)
        epochs = max(1, -(-pace.steps // len(batches)))
        schedule = Schedule(
            epochs, stop, pace.lr, pace.weight_decay, every=max(1, epochs // CHECKS), patience=4
        )

        def validate(arrays: Arrays) -> float:
            return float(self.scores(arrays, held).mean())  # type: ignore[arg-type]

        return train(
            self.trainable,
            batches,
            self.objective,
            seed=seed,
            schedule=schedule,
            validate=None if held is None else validate,
            augment=self.augment,
        )

    def fit(self, pairs: Pairs, seed: int) -> Arrays:
        """Train on all pairs, for as long as was best on an eighth of their groups held out.

        With fewer than 16 groups, or a couple of views that has too few pairs to hold some out,
        training runs its whole length.
        """
        parts = split(pairs, seed)
        if parts is None:
            return self.run(pairs, seed).params
        learn, held = parts
        found = self.run(learn, seed, held)
        return self.run(pairs, seed, None, max(1, found.epoch)).params

    def scores(self, arrays: Arrays, held: Pairs) -> np.ndarray:
        """``1 − log(rank) / log(n)`` of each held-out row's partner among n, both ways.

        1 where it comes first, 0 where last; a doubling of the rank costs the same anywhere.
        """
        maps = self.trainable.maps(arrays)
        if self.together and (found := self._from_all(maps, held)) is not None:
            return found
        how = score_of(next(iter(maps.values())))
        values = []
        for a, b in held.edges():
            i, j, _ = held.between(a, b)
            u, v = (self._placed(maps, name, at) for name, at in ((a, i), (b, j)))
            values += _both_ways(u, v, how)
        return np.concatenate(values)

    def _placed(self, maps: Mapping[str, Any], name: str, at: np.ndarray) -> Any:
        rows = self.rows[name]
        taken = rows.take(at) if isinstance(rows, Tokens) else rows[at]
        if name in maps:
            return maps[name].apply(taken)
        how = score_of(next(iter(maps.values())))
        return Normalise().apply(taken) if how == "cosine" else taken

    def _from_all(self, maps: Mapping[str, Any], held: Pairs) -> np.ndarray | None:
        whole = (held.rows != ABSENT).all(axis=1)
        if len(held.names) < 3 or not whole.any():
            return None
        placed = {n: self._placed(maps, n, held.column(n)[whole]) for n in held.names}
        values = []
        for name, target in placed.items():
            others = np.prod([x for n, x in placed.items() if n != name], axis=0)
            values.append(_places(others @ target.T, 1))
        return np.concatenate(values)


def split(pairs: Pairs, seed: int) -> tuple[Pairs, Pairs] | None:
    """Pairs to learn from and an eighth, whole groups, to stop by; ``None`` with too few."""
    if len(np.unique(pairs.group)) < 2 * HOLD_OUT:
        return None
    fold = pairs.folds(HOLD_OUT, seed)
    learn, held = pairs.take(fold != 0), pairs.take(fold == 0)
    if len(held.edges()) < len(pairs.edges()) or len(learn.edges()) < len(pairs.edges()):
        return None  # a couple of views with a pair or two: too few to stop by
    return learn, held


def objective_named(name: str, temperature: float | None = None) -> Any:
    """The objective of that row, started at ``temperature`` where it has one and one is given."""
    row = find("loss", name)
    has = "temperature" in ranges(row.load()) and "temperature" not in row.settings
    return row.make({"temperature": temperature} if has and temperature else None)


def _both_ways(u: Any, v: Any, score: str) -> list[np.ndarray]:
    if score == "maxsim":
        return [_places(maxsim_scores(u, v), 1), _places(maxsim_scores(v, u), 1)]
    if score == "lorentz":
        u = Frame("", u.shape[1], score=score).query(u)
    scores = u @ v.T
    return [_places(scores, 0), _places(scores, 1)]


def _places(scores: np.ndarray, axis: int) -> np.ndarray:
    right = np.diag(scores)
    rank = 1 + (scores > np.expand_dims(right, 1 - axis)).sum(axis=1 - axis)
    return 1 - np.log(rank) / np.log(max(len(rank), 2))
