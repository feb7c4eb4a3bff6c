"""The engine of trained fusions: any body, any addition, with views dropped at random."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np

from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError, optional
from conjoin.fusion.architectures import Spec
from conjoin.fusion.inputs import Inputs, Table
from conjoin.fusion.linear import prepared
from conjoin.fusion.losses import BALANCES, BODIES_OF, EXTRAS, FusionLoss
from conjoin.fusion.model import Fused
from conjoin.fusion.network import KINDS, Net, NetworkBody
from conjoin.fusion.target import Target
from conjoin.maps.standardise import Standardise
from conjoin.spaces import Batch, Pairs
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import stable_hash
from conjoin.training.loop import Arrays, PairBatches, Schedule, Trained, train

#: One item in so many decides when to stop; at most so many of them.
HOLD_OUT, HELD = 8, 2048
#: Fewer items than this are all trained on, for all steps.
FEWEST = 64
#: Validations in a whole training.
CHECKS = 20


@dataclass(frozen=True)
class FusionNet:
    """A network on whatever views an item has, trained with views dropped at random.

    Rows are standardised, ``x̂_m``, and projected, ``z_m = x̂_m W_m + b_m``; ``body`` makes a fused
    vector ``h`` of the projections that are present, and ``s = h W + b`` are the scores. The loss
    is cross-entropy (half the squared error for numbers) plus ``strength`` times what ``extra``
    and ``balance`` add. Each step an item keeps each of its views with probability
    ``1 − drop``, one at least. An eighth of the items decides when to stop, as they are and with
    views dropped; then training is repeated on all of them for as long.

    Bodies: ``side`` is ``[relu(z_m)]`` side by side, 0 where absent; ``gated`` is ``Σ g_m ⊙
    tanh(z_m)`` with gates that sum to 1; ``product`` is ``Σ_r w_r Π_m [1, relu(z_m)] F_m^(r)``;
    ``sequence`` is a transformer over one token a view; ``bottleneck`` one where views meet in
    shared tokens only; ``levels`` weighs elements and then views; ``state`` is changed by view
    after view; ``predicted`` guesses absent projections; ``poe`` and ``moe`` are experts with
    their own doubts.

    Parameters
    ----------
    body : how projections are fused.
    extra : what is learned besides: ``stepwise`` (decide after every view), ``similar`` (the
        vectors of fewer views and of all predict each other), ``guessed`` (absent projections are
        predicted), ``bound`` (views are rebuilt from a drawn vector), ``mutual``
        (each expert is the others' prior).
    balance : against one view drowning the others: ``competing``, ``taught`` by networks of one
        view each, or ``harmonised`` gradients.
    strength : weight of ``extra`` and ``balance``.
    drop : share of views dropped a step.
    hidden : width of the projections; a multiple of four.
    layers : blocks of attention.
    tokens : tokens a view is cut into, and bottlenecks.
    rank : terms of the product.
    dropout : share of units of the projections dropped a step.
    lr, weight_decay : of AdamW.
    steps, batch : steps at most, and items in each.

    References
    ----------
    Named by the rows. That a body reads projections of frozen vectors, is trained with views
    dropped and decides on its own what to do without some, is this project's restatement.
    """

    body: Annotated[str, Choice(tuple(KINDS))] = "sequence"
    extra: Annotated[str, Choice(("none", *EXTRAS))] = "none"
    balance: Annotated[str, Choice(("none", *BALANCES))] = "none"
    strength: Annotated[float, Search(0.01, 10.0, log=True)] = 1.0
    drop: Annotated[float, Search(0.0, 0.8)] = 0.3
    hidden: int = 64
    layers: int = 1
    tokens: int = 2
    rank: int = 4
    dropout: Annotated[float, Search(0.0, 0.8)] = 0.3
    lr: Annotated[float, Search(1e-4, 1e-1, log=True)] = 3e-3
    weight_decay: Annotated[float, Search(1e-4, 1.0, log=True)] = 1e-2
    steps: Annotated[int, Search(1, 10_000, log=True)] = 400
    batch: Annotated[int, Search(16, 4096, log=True)] = 256

    @property
    def arithmetic(self) -> int:
        """2 where ``similar``: it has a predictor and both ways."""
        return 2 if self.extra == "similar" else 1

    def fit(
        self,
        views: Mapping[str, Table],
        present: Mapping[str, np.ndarray],
        *,
        labels: Any = None,
        weight: np.ndarray | None = None,
        seed: int = 0,
    ) -> Fused:
        """Train the network; see :class:`~conjoin.fusion.model.Fusion`.

        Raises
        ------
        ConjoinError : as there; torch is missing, or ``extra`` does not go with ``body``.
        """
        optional("torch", "train")
        bodies = BODIES_OF.get(self.extra, (self.body,))
        if self.body not in bodies:
            raise ConjoinError(
                "extra", f"{self.extra} with body {self.body}", f"give body {' or '.join(bodies)}"
            )
        inputs, target, y, w = prepared(views, present, labels, weight)
        scalers = {name: inputs.scaler(name, w) for name in inputs.names}
        dims = tuple(len(scaler.shift) for scaler in scalers.values())
        spec = Spec(
            self.body, inputs.names, dims, target.width, self.hidden, self.layers,
            tokens=self.tokens, rank=self.rank,
        )  # fmt: skip
        task = Taskwork(self, inputs, target, y, w, scalers)
        teachers = task.teachers(spec, seed) if self.balance == "taught" else {}
        loss = FusionLoss(target.classes is None, self.extra, self.balance, self.strength, teachers)
        params = task.trained(spec, loss, seed)
        return Fused(self.body, target, scalers, NetworkBody(spec, params))


@dataclass(frozen=True, eq=False)
class Taskwork:
    """One fit: what is trained on, by the fields of a method."""

    method: FusionNet
    inputs: Inputs
    target: Target
    y: np.ndarray
    weight: np.ndarray
    scalers: Mapping[str, Standardise]

    def trained(self, spec: Spec, loss: FusionLoss, seed: int) -> Arrays:
        """Parameters after training with early stopping, repeated on all items."""
        lines = np.flatnonzero(self._own(spec).any(axis=1))
        if len(lines) < FEWEST:
            return self._run(spec, loss, lines, None, seed, None).params
        order = np.random.default_rng([seed, stable_hash("stop")]).permutation(lines)
        held, learn = order[: len(lines) // HOLD_OUT], np.sort(order[len(lines) // HOLD_OUT :])
        first = self._run(spec, loss, learn, np.sort(held[:HELD]), seed, None)
        return self._run(spec, loss, lines, None, seed, max(1, first.epoch)).params

    def teachers(self, spec: Spec, seed: int) -> dict[str, Any]:
        """For each view the projection of a network trained on it alone."""
        import torch

        found = {}
        for name, dim in zip(spec.names, spec.dims, strict=True):
            alone = replace(spec, kind="side", names=(name,), dims=(dim,))
            params = self.trained(alone, FusionLoss(self.target.classes is None), seed)
            weight, bias = (
                torch.from_numpy(params[key]) for key in (f"stem/{name}", f"stem/{name}/bias")
            )
            found[name] = lambda x, weight=weight, bias=bias: x @ weight + bias
        return found

    def _own(self, spec: Spec) -> np.ndarray:
        return self.inputs.here[:, [self.inputs.names.index(name) for name in spec.names]]

    def _run(
        self, spec: Spec, loss: FusionLoss, lines: np.ndarray, held: np.ndarray | None, seed: int,
        stop: int | None,
    ) -> Trained:  # fmt: skip
        method = self.method
        own = self._own(spec)
        pairs = Pairs(spec.names, np.where(own, np.arange(len(own))[:, None], ABSENT)[lines],
                      self.weight[lines])  # fmt: skip
        views = {name: self.inputs.views[name] for name in spec.names}
        batches = LabelledBatches(views, pairs, method.batch, labels=self.y[lines])
        epochs = max(1, -(-method.steps // len(batches)))
        schedule = Schedule(
            epochs, stop, method.lr, method.weight_decay, every=max(1, epochs // CHECKS),
            patience=5,
        )  # fmt: skip
        scalers = {name: self.scalers[name] for name in spec.names}
        check = None if held is None else self._check(spec, scalers, held, seed)
        return train(
            Net(spec, scalers, method.dropout), batches, loss, seed=seed, schedule=schedule,
            validate=check, augment=Dropped(method.drop) if len(spec.names) > 1 else None,
        )  # fmt: skip

    def _check(
        self, spec: Spec, scalers: Mapping[str, Standardise], held: np.ndarray, seed: int
    ) -> Any:
        """The mean log-likelihood of held-out items, as they are and with views dropped."""
        views = {name: self.inputs.views[name] for name in spec.names}
        here = self._own(spec)[held]
        rng = np.random.default_rng([seed, stable_hash("check")])
        asked = Inputs(views, self._own(spec)).take(held)
        fewer = asked.with_here(kept_of(here, self.method.drop, rng))
        right = self.y[held]
        labels = (
            right * self.target.spread + self.target.mean
            if self.target.classes is None
            else np.array(self.target.classes)[right]
        )

        def validate(params: Arrays) -> float:
            fused = Fused("", self.target, scalers, NetworkBody(spec, params))
            return float(
                np.mean([fused.log_likelihood(some, labels).mean() for some in (asked, fewer)])
            )

        return validate


@dataclass(frozen=True, eq=False)
class LabelledBatches(PairBatches):
    """Batches that hold the label of each line.

    Parameters
    ----------
    labels : ``[m]`` class numbers, or numbers.
    """

    labels: np.ndarray = None  # type: ignore[assignment]

    def batch(self, lines: np.ndarray) -> Batch:
        """The lines asked for, with their labels."""
        torch = optional("torch", "train")
        return replace(super().batch(lines), labels=torch.from_numpy(self.labels[lines]))


@dataclass(frozen=True)
class Dropped:
    """Views dropped at random, one at least being kept; rows and ids stay as they are."""

    share: float

    def __call__(self, batch: Batch) -> Batch:
        """The batch with fewer views present."""
        torch = optional("torch", "train")
        if not self.share:
            return batch
        here = torch.stack(list(batch.present.values()), 1).numpy()
        kept = torch.from_numpy(kept_of(here, self.share, batch.draw("drop views")))
        present = {name: kept[:, place] for place, name in enumerate(batch.present)}
        return replace(batch, present=present)


def kept_of(here: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which present views stay when each is dropped with probability ``share``: one at least."""
    draw = rng.random(here.shape)
    kept = here & (draw >= share)
    surest = np.where(here, draw, -1).argmax(axis=1)
    lost = ~kept.any(axis=1)
    kept[np.flatnonzero(lost), surest[lost]] = True
    return kept
