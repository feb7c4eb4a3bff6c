"""Students: small maps from cheap vectors to where one or several teachers put the same items."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.linear import Ridge
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError, optional
from conjoin.maps.base import Map, Normalise, identity
from conjoin.spaces import Batch, Pairs
from conjoin.spaces.frame import unit
from conjoin.training.early_stopping import CHECKS, objective_named, split
from conjoin.training.loop import Arrays, PairBatches, Schedule, Trained, train
from conjoin.training.networks import Heads, scaled
from conjoin.transfer.base import check_labels, check_rows
from conjoin.transfer.teachers import side_by_side, teachers_of

STUDENT, TARGET = "student", "target"
#: Fewest rows a student learns from.
FEWEST = 4


@dataclass(frozen=True)
class RidgeStudent:
    """The linear map with the least squared error to the teacher's unit vectors, to unit length.

    ``W = (Σ + λ I)⁻¹ Cov(x, t)``, λ in units of Σ's mean eigenvalue; several teachers are put
    side by side, each at unit length. The baseline of every other student.

    Parameters
    ----------
    lam : λ.

    References
    ----------
    Hoerl and Kennard 1970 (hoerl1970ridge).
    """

    lam: Annotated[float, Search(1e-4, 1e2, log=True)] = 0.3

    def fit(
        self, x: Any, teachers: Any, y: Any = None, *, groups: Any = None, seed: int = 0
    ) -> Map:
        """An affine map and a normalisation."""
        rows, found, _, _ = ready(x, teachers, y, groups)
        return affine(rows, side_by_side(found), self.lam).then(Normalise())


@dataclass(frozen=True)
class TrainedStudent:
    """A residual network that starts as ridge and learns what its loss asks of it.

    ``s = c ridge(x)``, with ``c`` giving it length 1 on average, and the student is
    ``s + s Δ + b + relu(norm(x) W₁ + b₁) W₂`` at unit length, where Δ, b and ``W₂`` start at
    zero. It minimises ``weight · loss + regress · |ŝ − t̂|²`` by batches; the loss is an
    objective of the catalogue that is given the student first and then each teacher, or where
    ``together`` all of them side by side. An eighth of the rows, whole groups, decides when to
    stop, by how near to the top of all held-out teacher rows each finds its own; if nothing is
    better than ridge there, ridge it stays. Then training is repeated on all rows for as long as
    was best.

    Parameters
    ----------
    loss : name of the objective; ``alignment`` is regression by cosine.
    weight, regress : what the loss and what regression count.
    together : the loss sees the teachers side by side and not one by one.
    lam : λ of ridge at the start.
    hidden : units of the hidden layer.
    dropout : share of hidden units dropped a step.
    noise : expected length of the random vector added to each row of s a step.
    lr, weight_decay : of AdamW.
    steps, batch : steps at most (whole passes, one at least) and rows in each.

    References
    ----------
    Teachers side by side: Zhang and Bottou 2023 (zhang2023rich). The start from ridge and the
    stop are this project's.
    """

    weight: Annotated[float, Search(0.01, 100.0, log=True)] = 1.0
    regress: Annotated[float, Search(0.0, 10.0)] = 0.0
    lam: Annotated[float, Search(1e-4, 1e2, log=True)] = 0.3
    hidden: Annotated[int, Search(16, 2048, log=True)] = 256
    dropout: Annotated[float, Search(0.0, 0.8)] = 0.3
    noise: Annotated[float, Search(0.0, 8.0)] = 0.0
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 1e-3
    weight_decay: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-2
    steps: Annotated[int, Search(1, 10_000, log=True)] = 200
    batch: Annotated[int, Search(16, 8192, log=True)] = 256
    loss: str = "alignment"
    together: bool = True

    def fit(
        self, x: Any, teachers: Any, y: Any = None, *, groups: Any = None, seed: int = 0
    ) -> Map:
        """A map of ``x`` to where the teachers, side by side, put it."""
        optional("torch", "train")
        rows, found, labels, owners = ready(x, teachers, y, groups)
        rows = rows.astype(np.float32, copy=False)
        target = side_by_side(found)
        run = _Run(self, rows, target, {} if self.together else found, labels)
        lines = np.arange(len(rows))
        pairs = Pairs((STUDENT, TARGET), np.stack([lines, lines], axis=1), group=owners)
        parts = split(pairs, seed)
        if parts is None:
            return run.mapped(run.train(pairs, seed).params, pairs)
        learn, held = parts
        best = run.train(learn, seed, held)
        if best.epoch == 0:
            return affine(rows, target, self.lam).then(Normalise())
        return run.mapped(run.train(pairs, seed, None, best.epoch).params, pairs)


def ready(
    x: Any, teachers: Any, y: Any, groups: Any
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray | None, np.ndarray]:
    """Rows, teachers by name, labels as numbers, groups as numbers; or one clear refusal."""
    rows = check_rows(x, "x")
    if len(rows) < FEWEST:
        raise ConjoinError("x", f"{len(rows)} rows", f"give at least {FEWEST}")
    found = teachers_of(teachers, len(rows))
    labels = None
    if y is not None:
        labels = np.unique(check_labels(y, len(rows)), return_inverse=True)[1]
    owners = np.arange(len(rows))
    if groups is not None:
        owners = np.unique(check_labels(groups, len(rows), "groups"), return_inverse=True)[1]
    return rows, found, labels, owners


def affine(x: np.ndarray, target: np.ndarray, lam: float) -> Any:
    """Ridge regression of rows on rows."""
    lines = np.arange(len(x))
    pairs = Pairs.of(target=lines, student=lines)
    # Frozen, the teacher stays where it is; as a hub it would lose its mean.
    frozen = {TARGET: identity(target.shape[1])}
    return Ridge(lam).fit({TARGET: target, STUDENT: x}, pairs, frozen=frozen)[STUDENT]


@dataclass(frozen=True, eq=False)
class _Learner:
    """The student, the teachers as they are, and what the student was at first."""

    heads: Heads
    views: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (STUDENT, *self.views)

    @property
    def dim(self) -> int:
        return self.heads.dim

    def init(self, seed: int) -> dict[str, Any]:
        return self.heads.init(seed)

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        import torch

        weight, bias = (torch.from_numpy(part) for part in self.heads.straight[STUDENT])
        first = torch.addmm(bias, batch.rows[STUDENT], weight)
        out = {STUDENT: self.heads.forward(batch, params)[STUDENT]}
        return {**out, **{n: batch.rows[n] for n in self.views}, "frozen": first}


@dataclass(frozen=True)
class _Regressed:
    """A loss on the teachers beside regression on the target, which the loss does not see."""

    loss: Any
    weight: float
    regress: float
    hidden: tuple[str, ...]
    decomposes: ClassVar[bool] = False

    def init(self, names: Any, dim: int) -> dict[str, Any]:
        return dict(self.loss.init(names, dim))

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        import torch

        seen = {n: x for n, x in out.items() if n not in self.hidden}
        total = self.weight * self.loss(seen, batch, params)
        if self.regress:
            s, t = (torch.nn.functional.normalize(out[n], dim=1) for n in (STUDENT, TARGET))
            total = total + self.regress * (s - t).square().sum(1).mean()
        return total


@dataclass(frozen=True, eq=False)
class _Labels:
    """Batches of pairs with the classes of their lines."""

    inner: PairBatches
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.inner)

    def epoch(self, number: int, seed: int) -> Iterator[Batch]:
        import torch

        for batch in self.inner.epoch(number, seed):
            if self.labels is None:
                yield batch
                continue
            own = self.labels[batch.ids[STUDENT].numpy()]
            yield replace(batch, labels=torch.from_numpy(own))


@dataclass(frozen=True, eq=False)
class _Run:
    """One student's training: what it is given, and what it becomes."""

    method: TrainedStudent
    rows: np.ndarray
    target: np.ndarray
    apart: Mapping[str, np.ndarray]
    labels: np.ndarray | None

    def train(
        self, pairs: Pairs, seed: int, held: Pairs | None = None, stop: int | None = None
    ) -> Trained:
        """Train on these lines, stopping early by ``held`` or after ``stop`` passes."""
        m = self.method
        learner = self._learner(pairs)
        names = learner.views
        views = {STUDENT: self.rows, TARGET: self.target, **self.apart}
        lines = np.repeat(pairs.rows[:, :1], len(names) + 1, axis=1)
        wide = Pairs((STUDENT, *names), lines, pairs.weight, pairs.group)
        batches = PairBatches({n: views[n] for n in wide.names}, wide, m.batch)
        epochs = max(1, -(-m.steps // len(batches)))
        schedule = Schedule(
            epochs, stop, m.lr, m.weight_decay, every=max(1, epochs // CHECKS), patience=4
        )
        objective = _Regressed(
            objective_named(m.loss), m.weight, m.regress, (TARGET,) if self.apart else ()
        )

        def validate(arrays: Arrays) -> float:
            at = held.rows[:, 0]  # type: ignore[union-attr]
            made = learner.heads.maps(arrays)[STUDENT].apply(self.rows[at])
            return nearness(made, self.target[at])

        return train(
            learner, _Labels(batches, self.labels), objective, seed=seed, schedule=schedule,
            validate=None if held is None else validate,
        )  # fmt: skip

    def _learner(self, pairs: Pairs) -> _Learner:
        """A student that continues the ridge of these lines."""
        m, at = self.method, pairs.rows[:, 0]
        start = affine(self.rows[at], self.target[at], m.lam)
        straight = {STUDENT: scaled(start, self.rows[at])}
        heads = Heads((STUDENT,), straight, m.hidden, m.dropout, m.noise)
        return _Learner(heads, (TARGET, *self.apart))

    def mapped(self, arrays: Arrays, pairs: Pairs) -> Map:
        """The student of these arrays."""
        return self._learner(pairs).heads.maps(arrays)[STUDENT]


def nearness(made: np.ndarray, target: np.ndarray) -> float:
    """Mean of ``1 − log(rank) / log(n)`` of each row's own target among all n of them."""
    return float(nearness_each(made, target).mean())


def nearness_each(made: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``[n]`` the same a row; ties count half."""
    ranks = own_ranks(made, target)
    return 1 - np.log(ranks) / np.log(max(len(ranks), 2))


def own_ranks(made: np.ndarray, target: np.ndarray, block: int = 1024) -> np.ndarray:
    """``[n]`` rank of each row's own target by cosine, from 1; ties count half."""
    u, v = unit(made), unit(target)
    ranks = np.empty(len(u))
    for start in range(0, len(u), block):
        scores = u[start : start + block] @ v.T
        line = np.arange(len(scores))
        own = scores[line, start + line][:, None]
        ties = (scores == own).sum(axis=1) - 1
        ranks[start : start + block] = 1 + (scores > own).sum(axis=1) + ties / 2
    return ranks
