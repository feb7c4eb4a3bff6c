"""Bridges that are trained: a small network beside ridge, and rotations that lose nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.covariance import Joint, Moments, Root, require_reached
from conjoin.alignment.closed_form.linear import Lam
from conjoin.catalogue import Choice, Search
from conjoin.errors import optional
from conjoin.losses import Param
from conjoin.maps.base import Affine, Chain, Map, as_array
from conjoin.maps.mlp import ResidualMLP, hidden_part
from conjoin.spaces import Batch, Pairs, Rows
from conjoin.spaces.frame import unit
from conjoin.storage.digest import stable_hash
from conjoin.training.early_stopping import CHECKS, HOLD_OUT
from conjoin.training.loop import Arrays, PairBatches, Schedule, Trained, train
from conjoin.upgrade.bridges.linear_bridges import Reached, centred_hub, outward

Steps = Annotated[int, Search(20, 5000, log=True)]
Rate = Annotated[float, Search(1e-4, 1e-1, log=True)]


@dataclass(frozen=True, eq=False)
class Following:
    """The loss of a bridge as an objective: what its network says of ``y`` beside ``target``."""

    parts: Any
    decomposes: ClassVar[bool] = False

    def init(self, names: Any, dim: int) -> dict[str, Param]:
        """Nothing to train."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """The weighted mean of the network's losses."""
        loss = self.parts(out["y"], batch)
        return (loss * batch.weights).sum() / batch.weights.sum()


def nearness(y: np.ndarray, given: Reached, own: np.ndarray) -> float:
    """Mean cosine of mapped rows to their targets."""
    y, target = y[:, : given.used], given.target[own][:, : given.used]
    return float((unit(y) * unit(target)).sum(1).mean())


#: From lines, what is trained, where it starts on these lines, and the lines as it reads them.
Build = Callable[[Reached], tuple[Any, Reached]]


def follow(
    build: Build, given: Reached, pace: "Pace", seed: int,
    worth: Callable[[np.ndarray, Reached, np.ndarray], float] = nearness,
) -> tuple[Any, Arrays]:  # fmt: skip
    """Train on all lines for as long as was best on an eighth of their groups.

    What is held out is held out of the start too: it is built anew on the other lines, so that
    the start can be beaten where training helps. The last training starts from all lines. With
    fewer than sixteen groups training runs its whole length.

    Parameters
    ----------
    build : the closed form that training starts from, on some lines.
    worth : of mapped rows, given the numbers of those that were held out; more is better.

    Returns
    -------
    tuple
        The network as built on all lines, and its arrays.
    """
    if len(np.unique(given.group)) < 2 * HOLD_OUT:
        network, lines = build(given)
        return network, _run(network, lines, pace, seed).params
    fold = _lines_of(given).folds(HOLD_OUT, seed)
    held = np.flatnonzero(fold == 0)
    network, learn = build(given.take(np.flatnonzero(fold != 0)))

    def validate(arrays: Arrays) -> float:
        return worth(network.map_of(arrays).apply(given.x[held]), given, held)

    found = _run(network, learn, pace, seed, validate)
    whole, lines = build(given)
    if found.epoch == 0:
        start = whole.init(seed).items()
        return whole, {key: np.asarray(p.value, np.float32) for key, p in start}
    return whole, _run(whole, lines, pace, seed, stop=found.epoch).params


def _lines_of(given: Reached) -> Pairs:
    at = np.arange(len(given.x))
    return Pairs(("x", "target"), np.stack([at, at], axis=1), given.weight, given.group)


def _run(
    network: Any, given: Reached, pace: "Pace", seed: int,
    validate: Callable[[Arrays], float] | None = None, stop: int | None = None,
) -> Trained:  # fmt: skip
    batches = PairBatches({"x": given.x, "target": given.target}, _lines_of(given), pace.batch)
    epochs = max(1, -(-pace.steps // len(batches)))
    schedule = Schedule(
        epochs, stop, pace.lr, pace.weight_decay, every=max(1, epochs // CHECKS), early=True,
        patience=5,
    )  # fmt: skip
    return train(
        network, batches, Following(network.loss), seed=seed, schedule=schedule, validate=validate
    )


@dataclass(frozen=True)
class Pace:
    """How long and how fast a bridge is trained."""

    steps: int
    batch: int
    lr: float
    weight_decay: float


def distance(y: Any, target: Any) -> Any:
    """``1 − cos`` of each row, in torch."""
    import torch

    return 1 - torch.nn.functional.cosine_similarity(y, target, dim=1)


@dataclass(frozen=True, eq=False)
class Beside:
    """The trainable of a residual bridge: ridge, and a hidden layer that starts at zero.

    Parameters
    ----------
    weight, bias : of the ridge.
    contrast : weight of naming each row's target among the batch, at ``temperature``.
    aim : what is made small, ``1 − cos`` or the ``squared`` distance.
    """

    weight: np.ndarray
    bias: np.ndarray
    hidden: int
    contrast: float
    temperature: float
    names: tuple[str, ...] = ("y",)
    aim: str = "cosine"

    @property
    def dim(self) -> int:
        """Width of the outputs."""
        return len(self.bias)

    def init(self, seed: int) -> dict[str, Param]:
        """A bridge that is still the ridge."""
        rng = np.random.default_rng([seed, stable_hash("residual bridge")])
        wide = len(self.weight)
        return {
            "bias": Param(np.zeros(self.dim)),
            "inner": Param(rng.normal(size=(wide, self.hidden)) * np.sqrt(2 / wide), decay=True),
            "inner_bias": Param(np.zeros(self.hidden)),
            "outer": Param(np.zeros((self.hidden, self.dim)), decay=True),
        }

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """``x W + b`` and the hidden part."""
        import torch

        x = batch.rows["x"]
        weight, bias = torch.from_numpy(self.weight), torch.from_numpy(self.bias)
        return {"y": torch.addmm(bias + params["bias"], x, weight) + hidden_part(x, params)}

    def loss(self, y: Any, batch: Batch) -> Any:
        """``1 − cos`` or ``|y − target|²``, and InfoNCE among the batch where it is asked for."""
        target = batch.rows["target"]
        far = self.aim == "squared"
        found = (y - target).square().sum(1) if far else distance(y, target)
        if self.contrast:
            found = found + self.contrast * naming(y, target, self.temperature)
        return found

    def map_of(self, arrays: Arrays) -> Map:
        """The bridge as a map."""
        held = {**arrays, "weight": self.weight, "bias": self.bias + arrays["bias"]}
        return ResidualMLP.from_state({"unit": False}, held)


def naming(y: Any, target: Any, temperature: float) -> Any:
    """``[b]`` cross-entropy of naming each row's target by cosine, in torch."""
    import torch

    u, v = (torch.nn.functional.normalize(part, dim=1) for part in (y, target))
    labels = torch.arange(len(u))
    return torch.nn.functional.cross_entropy(u @ v.T / temperature, labels, reduction="none")


@dataclass(frozen=True)
class ResidualBridge:
    """A residual network onto the hub: ``y = x W + b + relu(norm(x) W₁ + b₁) W₂``.

    ``W`` is ridge, ``W₂`` starts at zero; the network minimises ``1 − cos(y, target)``, or with
    ``aim="squared"`` ``|y − target|²``. Without the ``straight`` path ``W`` is zero, and ``b``
    starts at the targets' mean. An eighth of the groups decides when to stop, held out of the
    ridge as well; at zero passes it is ridge.

    Parameters
    ----------
    lam : λ of the ridge.
    hidden : width of the hidden layer.
    steps, batch, lr, weight_decay : of the training.
    aim : what is made small.
    straight : keep the ridge beside the hidden layer.

    References
    ----------
    One of the three adapters between versions of an encoder of Vejendla 2025. By regression:
    Wang et al. 2024 (wang2024v2amapper), from pictures to sounds.
    """

    directed: ClassVar[bool] = True
    #: 2: the groups that decide when to stop are held out of the start too, and are asked early.
    arithmetic: ClassVar[int] = 2
    neutral: ClassVar[Mapping[str, Any]] = {"aim": "cosine", "straight": True}

    lam: Lam = 0.3
    hidden: int = 256
    lr: Rate = 3e-4
    weight_decay: float = 1e-2
    steps: Steps = 300
    batch: int = 256
    aim: Annotated[str, Choice(("cosine", "squared"))] = "cosine"
    straight: bool = True

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """One network a view; the hub only loses its mean."""
        optional("torch", "train")
        return outward(
            views, pairs, frozen, lambda j: centred_hub(j, frozen), lambda g: self._one(g, seed)
        )

    def _one(self, given: Reached, seed: int) -> Map:
        network, arrays = follow(lambda g: (self._beside(g), g), given, self._pace, seed)
        made: Map = network.map_of(arrays)
        return made

    def _beside(self, given: Reached) -> Beside:
        """What is trained, from the ridge of these lines."""
        weight, bias = ridge_of(given, self.lam)
        if not self.straight:
            mean = np.average(given.target, axis=0, weights=given.weight)
            weight, bias = np.zeros_like(weight), mean.astype(np.float32)
        return Beside(weight, bias, self.hidden, 0.0, 1.0, aim=self.aim)

    @property
    def _pace(self) -> Pace:
        return Pace(self.steps, self.batch, self.lr, self.weight_decay)


def ridge_of(given: Reached, lam: float) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of the ridge onto the targets."""
    at = np.arange(len(given.x))
    m = Moments.of(given.x, given.target, at, at, given.weight)
    root = Root.of(m.c_xx, lam, m.eps)
    weight = root.back(root.whiten(m.c_xy))
    return weight.astype(np.float32), (m.mean_y - m.mean_x @ weight).astype(np.float32)


@dataclass(frozen=True)
class XBT(ResidualBridge):
    """One projection for all modalities of the new model, learnt from its texts alone.

    ``φ(x) = x W + b + relu(norm(x) W₁ + b₁) W₂`` is fitted to the couple of the hub and the view
    with most pairs to it, by ``1 − cos`` plus ``contrast`` times InfoNCE. Views of that view's
    frame, such as pictures of the same two-tower model, are read by the same ``φ`` without being
    trained. Where lines pair such a view with the first, it gets an adapter before ``φ``,
    ``x + (x − mean) A B`` of rank ``rank``, trained to name its partners' ``φ``: no old vector is
    looked at then, and the new encoder is left as it is.

    Parameters
    ----------
    lam, hidden, lr, weight_decay, steps, batch : as of :class:`ResidualBridge`, in both stages.
    aim : of the first stage, as there; its straight path stays.
    contrast : weight of InfoNCE in the first stage.
    temperature : of both stages' InfoNCE.
    rank : of the adapters; 0 leaves them out.

    References
    ----------
    Jang and Lim 2025 (abstract: text-only pretraining of a projection from new to old, then
    parameter-efficient tuning on pairs without the old model; the losses are restated).
    """

    contrast: Annotated[float, Search(0.0, 2.0)] = 0.5
    temperature: Annotated[float, Search(0.01, 1.0, log=True)] = 0.07
    rank: Annotated[int, Choice((0, 8, 16))] = 8

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """``φ`` for each source frame, behind an adapter where one was trained."""
        optional("torch", "train")
        joint = Joint.of(views, pairs, frozen)
        require_reached(joint, list(frozen) or list(views)[:1])
        tower = self._tower(joint, views, frames, frozen)
        rest = [name for names in tower.values() for name in names]
        kept = {name: rows for name, rows in views.items() if name not in rest}
        maps = outward(
            kept, pairs.select(tuple(kept)), {n: m for n, m in frozen.items() if n in kept},
            lambda j: centred_hub(j, frozen), lambda g: self._one(g, seed),
        )  # fmt: skip
        for first, names in tower.items():
            for name in names:
                maps[name] = self._adapted(name, first, views, pairs, maps[first], seed)
        return {name: maps[name] for name in views}

    def _tower(
        self, joint: Joint, views: Mapping[str, Rows], frames: Mapping[str, str],
        frozen: Mapping[str, Any],
    ) -> dict[str, list[str]]:  # fmt: skip
        """By the view each projection is learnt from, the views of its frame that share it."""
        placed = set(frozen) or {next(iter(views))}
        members: dict[str, list[str]] = {}
        for name in views:
            if name not in placed and name in frames:
                members.setdefault(frames[name], []).append(name)

        def worth(name: str) -> int:
            near = [other for other in joint.partners(name) if other in placed]
            return sum(joint.between(name, other).count for other in near)

        found = {}
        for names in members.values():
            first = max(names, key=worth)
            if len(names) > 1 and worth(first):
                found[first] = [name for name in names if name != first]
        return found

    def _beside(self, given: Reached) -> Beside:
        weight, bias = ridge_of(given, self.lam)
        return Beside(weight, bias, self.hidden, self.contrast, self.temperature, aim=self.aim)

    def _adapted(
        self, name: str, first: str, views: Mapping[str, Rows], pairs: Pairs, phi: Any, seed: int
    ) -> Map:
        i, j, weight = pairs.between(name, first)
        if not self.rank or len(i) < 2 * HOLD_OUT:
            return phi
        x = np.asarray(as_array(views[name])[i], np.float32)
        target = np.asarray(phi.apply(as_array(views[first])[j]), np.float32)
        given = Reached(name, x, target, weight, np.unique(i, return_inverse=True)[1],
                        target.shape[1])  # fmt: skip

        def build(some: Reached) -> tuple[Adapter, Reached]:
            return Adapter(phi, some.x.mean(axis=0), self.rank, self.temperature), some

        network, arrays = follow(build, given, self._pace, seed)
        made: Map = network.map_of(arrays)
        return made


@dataclass(frozen=True, eq=False)
class Adapter:
    """The trainable of an adapter before a frozen projection: ``φ(x + (x − mean) A B)``."""

    phi: Any
    mean: np.ndarray
    rank: int
    temperature: float
    names: tuple[str, ...] = ("y",)

    @property
    def dim(self) -> int:
        """Width of the outputs."""
        return len(self.phi.bias)

    def init(self, seed: int) -> dict[str, Param]:
        """An adapter that changes nothing yet."""
        rng = np.random.default_rng([seed, stable_hash("adapter")])
        wide = len(self.mean)
        down = rng.normal(size=(wide, self.rank)) / np.sqrt(wide)
        return {"down": Param(down, decay=True), "up": Param(np.zeros((self.rank, wide)))}

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """What ``φ`` makes of the adapted rows."""
        import torch

        x = batch.rows["x"]
        x = x + (x - torch.from_numpy(self.mean)) @ params["down"] @ params["up"]
        held = {k: torch.from_numpy(np.array(v)) for k, v in self.phi.state()[1].items()}
        return {"y": torch.addmm(held["bias"], x, held["weight"]) + hidden_part(x, held)}

    def loss(self, y: Any, batch: Batch) -> Any:
        """InfoNCE against the partners' projections."""
        return naming(y, batch.rows["target"], self.temperature)

    def map_of(self, arrays: Arrays) -> Map:
        """Adapter and projection as one map."""
        change = arrays["down"] @ arrays["up"]
        weight = np.eye(len(self.mean), dtype=np.float32) + change
        return Chain((Affine(weight, self.mean, self.mean), self.phi))
