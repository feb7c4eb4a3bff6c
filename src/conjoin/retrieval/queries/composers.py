"""Trained composers: a reference and a change, vectors of one frame, make the target's vector."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.losses import Param
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.spaces import Batch, Pairs
from conjoin.storage.digest import stable_hash
from conjoin.training.loop import Arrays, PairBatches, Schedule, train
from conjoin.training.networks import dropped

#: Fewest triplets to train on.
FEWEST = 16
_SIDES = ("query", "change", "target")


@dataclass(frozen=True, eq=False)
class Network:
    """The trainable: ``query`` holds the reference, ``change`` the change; puts out the query.

    Parameters
    ----------
    compose : ``(reference, change, parameters, drop) -> query``, ``drop`` giving dropout factors.
    shapes : shape of each parameter; those of one dimension start at 0 and are not pulled there.
    ones : parameters that start at 1.
    """

    compose: Any
    shapes: Mapping[str, tuple[int, ...]]
    dim: int
    dropout: float
    ones: tuple[str, ...] = ()
    names: ClassVar[tuple[str, ...]] = ("query", "target")

    def init(self, seed: int) -> dict[str, Param]:
        """Matrices drawn so that they keep the size of what they multiply."""
        made = {}
        for name, shape in self.shapes.items():
            if len(shape) == 1:
                made[name] = Param(np.full(shape, float(name in self.ones)))
                continue
            rng = np.random.default_rng([seed, stable_hash(f"composer {name}")])
            made[name] = Param(rng.normal(size=shape) / np.sqrt(shape[0]), decay=True)
        return made

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """The composed query, and the target where it lies."""

        def drop(role: str, x: Any) -> Any:
            factors = dropped(batch, role, tuple(x.shape), self.dropout)
            return x if factors is None else x * factors

        query = self.compose(batch.rows["query"], batch.rows["change"], params, drop)
        return {"query": query, "target": batch.rows["target"]}


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained composer ready for queries of a reference and a change, in that order."""

    compose: Any
    held: Mapping[str, np.ndarray]

    def vectors(self, reference: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Queries ``[m, d]`` of length 1."""
        params = {key: torch.from_numpy(np.array(value)) for key, value in self.held.items()}
        with torch.no_grad():
            rows = [torch.from_numpy(np.asarray(x, np.float32)) for x in (reference, change)]
            out = self.compose(*rows, params, lambda role, x: x)
        return np.asarray(torch.nn.functional.normalize(out, dim=1).numpy())

    def vector(self, parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The query of two parts.

        Raises
        ------
        ConjoinError : there are other than two, or one is not wanted.
        """
        if len(parts) != 2 or not (np.asarray(weights) == 1).all():
            raise ConjoinError(
                "--combine", "this one takes a reference and a change, unweighed",
                "give one --like or --query beside words, or compose by sum",
            )  # fmt: skip
        return self.vectors(parts[:1], parts[1:])[0]

    def scores(self, parts: np.ndarray, weights: np.ndarray, items: Any) -> np.ndarray:
        """Cosines with the query."""
        return np.asarray(items, dtype=np.float64) @ self.vector(parts, weights)

    def arrays(self) -> dict[str, np.ndarray]:
        """Its parameters."""
        return dict(self.held)


@dataclass(frozen=True)
class Combiner:
    """A gated mean of both and a learned remainder: ``q = unit(λ c + (1 − λ) r + v)``.

    With ``u = [relu(c A + a); relu(r B + b)]``: ``λ = sigmoid(relu(u G + g) h + h₀)`` and
    ``v = relu(u M + m) O + o``, after dropout on each hidden layer. Trained by naming each query's
    target among the batch's, ``−log softmax(q · t / τ)``, one way.

    Parameters
    ----------
    projection : width of A and B; ``hidden`` of G and M.
    dropout : as published ½.
    temperature : τ; as published 0.01, where towers were tuned for sums first.
    lr, weight_decay : of AdamW.
    steps, batch : steps at most and lines in each.

    References
    ----------
    Baldrati et al. 2024 (baldrati2024combiner), as in the authors' code.
    """

    projection: Annotated[int, Search(16, 4096, log=True)] = 256
    hidden: Annotated[int, Search(16, 8192, log=True)] = 512
    dropout: Annotated[float, Search(0.0, 0.8)] = 0.5
    temperature: Annotated[float, Search(0.005, 0.5, log=True)] = 0.05
    lr: Annotated[float, Search(1e-5, 1e-2, log=True)] = 1e-3
    weight_decay: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-2
    steps: Annotated[int, Search(1, 10_000, log=True)] = 200
    batch: Annotated[int, Search(8, 4096, log=True)] = 128

    def fit(
        self, reference: np.ndarray, change: np.ndarray, target: np.ndarray, *, seed: int = 0
    ) -> Trained:
        """Train on triplets.

        Raises
        ------
        ConjoinError : there are too few.
        """
        d, p, h = reference.shape[1], self.projection, self.hidden
        shapes = {
            "text": (d, p), "text_bias": (p,), "image": (d, p), "image_bias": (p,),
            "mix": (2 * p, h), "mix_bias": (h,), "out": (h, d), "out_bias": (d,),
            "gate": (2 * p, h), "gate_bias": (h,), "share": (h, 1), "share_bias": (1,),
        }  # fmt: skip
        network = Network(combined, shapes, d, self.dropout)
        return learned(self, network, reference, change, target, seed)

    def restore(self, arrays: Mapping[str, np.ndarray]) -> Trained:
        """What :meth:`fit` gave."""
        return Trained(combined, arrays)


def combined(reference: Any, change: Any, w: Mapping[str, Any], drop: Any) -> Any:
    """The Combiner's query before it is brought to length 1."""
    text = drop("text", torch.relu(change @ w["text"] + w["text_bias"]))
    image = drop("image", torch.relu(reference @ w["image"] + w["image_bias"]))
    both = torch.cat([text, image], dim=1)
    mixed = drop("mix", torch.relu(both @ w["mix"] + w["mix_bias"]))
    gate = drop("gate", torch.relu(both @ w["gate"] + w["gate_bias"]))
    share = torch.sigmoid(gate @ w["share"] + w["share_bias"])
    return mixed @ w["out"] + w["out_bias"] + share * change + (1 - share) * reference


@dataclass(frozen=True)
class TransAgg:
    """A small transformer sees both and says how to weigh them: ``q = unit(α c + β f + γ r)``.

    The sequence (c, separator, r) goes through one encoder layer, normalised first, with GELU;
    of its first and last outputs ``f = relu([r'; c'] M + m) O + o``, and ``(α, β, γ) = f W + w``,
    not normalised. Loss as of :class:`Combiner`. Published over all word and patch tokens; here
    the sequence is the two vectors.

    Parameters
    ----------
    hidden : units of M; the layer's own hidden part is twice as wide as a vector.
    dropout, temperature, lr, weight_decay, steps, batch : as of :class:`Combiner`.

    References
    ----------
    Liu et al. 2023 (liu2023transagg), as in the authors' code.
    """

    hidden: Annotated[int, Search(16, 8192, log=True)] = 512
    dropout: Annotated[float, Search(0.0, 0.8)] = 0.3
    temperature: Annotated[float, Search(0.005, 0.5, log=True)] = 0.05
    lr: Annotated[float, Search(1e-5, 1e-2, log=True)] = 5e-4
    weight_decay: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-2
    steps: Annotated[int, Search(1, 10_000, log=True)] = 200
    batch: Annotated[int, Search(8, 4096, log=True)] = 128

    def fit(
        self, reference: np.ndarray, change: np.ndarray, target: np.ndarray, *, seed: int = 0
    ) -> Trained:
        """Train on triplets.

        Raises
        ------
        ConjoinError : there are too few.
        """
        d, h = reference.shape[1], self.hidden
        shapes = {
            "sep": (1, d), "qkv": (d, 3 * d), "qkv_bias": (3 * d,), "join": (d, d),
            "join_bias": (d,), "scale1": (d,), "shift1": (d,), "scale2": (d,), "shift2": (d,),
            "wide": (d, 2 * d), "wide_bias": (2 * d,), "narrow": (2 * d, d), "narrow_bias": (d,),
            "mix": (2 * d, h), "mix_bias": (h,), "out": (h, d), "out_bias": (d,),
            "weigh": (d, 3), "weigh_bias": (3,),
        }  # fmt: skip
        ones = ("scale1", "scale2", "weigh_bias")
        network = Network(aggregated, shapes, d, self.dropout, ones)
        return learned(self, network, reference, change, target, seed)

    def restore(self, arrays: Mapping[str, np.ndarray]) -> Trained:
        """What :meth:`fit` gave."""
        return Trained(aggregated, arrays)


def aggregated(reference: Any, change: Any, w: Mapping[str, Any], drop: Any) -> Any:
    """TransAgg's query before it is brought to length 1."""
    rows, d = reference.shape
    x = torch.stack([change, w["sep"].expand(rows, d), reference], dim=1)
    norm = torch.nn.functional.layer_norm
    x = x + drop("attend", attended(norm(x, (d,), w["scale1"], w["shift1"]), w))
    inner = norm(x, (d,), w["scale2"], w["shift2"]) @ w["wide"] + w["wide_bias"]
    inner = drop("wide", torch.nn.functional.gelu(inner))
    x = x + drop("narrow", inner @ w["narrow"] + w["narrow_bias"])
    both = torch.cat([x[:, 2], x[:, 0]], dim=1)
    fused = drop("mix", torch.relu(both @ w["mix"] + w["mix_bias"])) @ w["out"] + w["out_bias"]
    share = fused @ w["weigh"] + w["weigh_bias"]
    return share[:, :1] * change + share[:, 1:2] * fused + share[:, 2:] * reference


def attended(x: Any, w: Mapping[str, Any]) -> Any:
    """Self-attention by as many heads, up to 8, as divide the width."""
    rows, length, d = x.shape
    heads = max(h for h in range(1, 9) if d % h == 0)
    split = (x @ w["qkv"] + w["qkv_bias"]).reshape(rows, length, 3, heads, d // heads)
    q, k, v = split.permute(2, 0, 3, 1, 4)
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return mixed.transpose(1, 2).reshape(rows, length, d) @ w["join"] + w["join_bias"]


def learned(
    method: Any, network: Network, reference: np.ndarray, change: np.ndarray,
    target: np.ndarray, seed: int,
) -> Trained:  # fmt: skip
    """Train a network on triplets; equal targets are no negatives of each other."""
    count = len(reference)
    if count < FEWEST:
        raise ConjoinError("triplets", f"{count} to train on", f"give {FEWEST}, or compose by sum")
    rows = {
        name: np.asarray(x, dtype=np.float32)
        for name, x in zip(_SIDES, (reference, change, target), strict=True)
    }
    same = np.unique(rows["target"], axis=0, return_inverse=True)[1].reshape(-1)
    shown = {"query": np.arange(count), "change": np.arange(count), "target": same}
    lines = np.arange(count)
    pairs = Pairs(_SIDES, np.stack([lines, lines, lines], axis=1))
    batches = PairBatches(rows, pairs, method.batch, shown)
    epochs = max(1, -(-method.steps // len(batches)))
    schedule = Schedule(epochs, None, method.lr, method.weight_decay)
    loss = InfoNCE(method.temperature, symmetric=False)
    found: Arrays = train(network, batches, loss, seed=seed, schedule=schedule).params
    return Trained(network.compose, found)
