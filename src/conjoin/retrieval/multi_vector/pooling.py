"""Trained pooling: a small transformer over an item's parts makes one vector of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import torch

from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError
from conjoin.losses import Param
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.spaces import Batch, Pairs, Tokens, unit
from conjoin.storage.digest import stable_hash
from conjoin.training.loop import PairBatches, Schedule, padded, train
from conjoin.training.networks import dropped

#: Fewest items to train on.
FEWEST = 16
#: Places that are told apart; later parts share the last.
PLACES = 32
#: Items pooled together.
BLOCK = 1024


@dataclass(frozen=True, eq=False)
class _Network:
    """The trainable: ``query`` stays where it lies, ``item`` holds parts and is pooled."""

    rule: str
    dim: int
    layers: int
    dropout: float
    names: ClassVar[tuple[str, ...]] = ("query", "item")

    def init(self, seed: int) -> dict[str, Param]:
        """Layers that add little at first, so that training begins near the mean of the parts."""
        d, made = self.dim, {"place": Param(np.zeros((PLACES, self.dim)))}
        if self.rule == "passages":
            rng = np.random.default_rng([seed, stable_hash("pooling cls")])
            made = {"cls": Param(rng.normal(size=(1, d)) / np.sqrt(d)), "more": Param(np.zeros(1))}
        shapes = {"qkv": (d, 3 * d), "join": (d, d), "wide": (d, 2 * d), "narrow": (2 * d, d)}
        for layer in range(self.layers):
            for name, shape in shapes.items():
                rng = np.random.default_rng([seed, stable_hash(f"pooling {layer} {name}")])
                less = np.sqrt(2 * self.layers) if name in ("join", "narrow") else 1.0
                drawn = rng.normal(size=shape) / np.sqrt(shape[0]) / less
                made[f"{layer}/{name}"] = Param(drawn, decay=True)
                made[f"{layer}/{name}_bias"] = Param(np.zeros(shape[1]))
            for name in ("one", "two"):
                made[f"{layer}/scale_{name}"] = Param(np.ones(d))
                made[f"{layer}/shift_{name}"] = Param(np.zeros(d))
        return made

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """Queries, and items pooled."""

        def drop(role: str, x: Any) -> Any:
            factors = dropped(batch, role, tuple(x.shape), self.dropout)
            return x if factors is None else x * factors

        item = pooled(self.rule, self.layers, batch.rows["item"], batch.masks["item"], params, drop)
        return {"query": batch.rows["query"], "item": item}


@dataclass(frozen=True)
class TrainedPooling:
    """Parts ``x_1 … x_m`` of length 1 read by a transformer; the query is left as it is.

    * ``temporal``: ``q · unit(mean_j unit(x_j + T(x + p)_j))``, the layers of ``T`` normalised
      first, ``p`` a learned vector of each place: the order of the parts counts;
    * ``passages``: ``q · unit(mean_j x_j + a T([c; x])_0)``, the layers normalised last, ``c`` a
      learned vector whose output speaks for the item, without places; ``a`` is learned from 0.
      As published it is the output alone, which an encoder that is trained along learns to read;
      frozen vectors need the mean to begin from.

    Trained on lines that belong together by naming each query's item among the batch's and each
    item's query, ``−log softmax(q · x / τ)`` both ways. Encoders stay frozen.

    Parameters
    ----------
    rule : one of these.
    layers : of the transformer; as published 4 (``temporal``) and 2 (``passages``).
    dropout, temperature, lr, weight_decay : of the training by AdamW.
    steps, batch : steps at most and lines in each.

    References
    ----------
    ``temporal``: Luo et al. 2022 (luo2022clip4clip), ``seqTransf``. ``passages``: Li et al. 2024
    (li2024parade), its transformer without position embeddings. Both as in the authors' code,
    where the encoder is trained too. Their LSTM, their convolutions over exactly 16 passages, and
    the scorer that reads query and parts together are not built.
    """

    rule: Annotated[str, Choice(("temporal", "passages"))] = "temporal"
    layers: Annotated[int, Search(1, 4)] = 1
    dropout: Annotated[float, Search(0.0, 0.5)] = 0.1
    temperature: Annotated[float, Search(0.01, 0.5, log=True)] = 0.05
    lr: Annotated[float, Search(1e-5, 1e-2, log=True)] = 3e-4
    weight_decay: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-2
    steps: Annotated[int, Search(1, 10_000, log=True)] = 120
    batch: Annotated[int, Search(8, 4096, log=True)] = 128
    held: Mapping[str, np.ndarray] | None = field(default=None, compare=False)
    reads: ClassVar[str] = "parts"

    def fit(self, queries: Any, items: Any, *, seed: int = 0) -> "TrainedPooling":
        """Train on lines that belong together.

        Raises
        ------
        ConjoinError : lines of queries and items differ.
        """
        asked, parts = self.queries(queries), _units(items)
        if len(asked) != len(parts):
            raise ConjoinError("items", f"{len(parts)} for {len(asked)} queries", "pair them")
        same = np.unique(asked, axis=0, return_inverse=True)[1].reshape(-1)
        lines = np.arange(len(asked))
        batches = PairBatches(
            {"query": asked.astype(np.float32), "item": parts},
            Pairs(("query", "item"), np.stack([lines, lines], axis=1)), self.batch,
            {"query": same, "item": same},
        )  # fmt: skip
        epochs = max(1, -(-self.steps // len(batches)))
        network = _Network(self.rule, parts.dim, self.layers, self.dropout)
        made = train(
            network, batches, InfoNCE(self.temperature), seed=seed,
            schedule=Schedule(epochs, None, self.lr, self.weight_decay),
        )  # fmt: skip
        return replace(self, held=made.params)

    def queries(self, x: Any) -> np.ndarray:
        """The mean of a query's parts, to length 1."""
        held = _units(x)
        return unit(np.add.reduceat(held.vectors, held.offsets[:-1], axis=0))

    def items(self, x: Any) -> np.ndarray:
        """One vector an item.

        Raises
        ------
        ConjoinError : nothing is trained.
        """
        parts = _units(x)
        if self.held is None:
            raise ConjoinError("pooling", "is not trained", "call fit first")
        params = {key: torch.from_numpy(np.asarray(v, np.float64)) for key, v in self.held.items()}
        out = []
        for start in range(0, len(parts), BLOCK):
            rows, mask = padded(parts.take(np.arange(start, min(start + BLOCK, len(parts)))))
            with torch.no_grad():
                made = pooled(
                    self.rule, self.layers, torch.from_numpy(rows).double(),
                    torch.from_numpy(mask), params, lambda role, x: x,
                )  # fmt: skip
            out.append(unit(made.numpy()))
        return np.concatenate(out) if out else np.empty((0, parts.dim))

    def scores(self, queries: Any, items: Any) -> np.ndarray:
        """Inner products."""
        return np.asarray(queries @ items.T)


def pooled(rule: str, layers: int, x: Any, mask: Any, w: Mapping[str, Any], drop: Any) -> Any:
    """Items ``[b, d]`` of parts ``[b, t, d]``; ``drop(role, x)`` drops units."""
    if rule == "passages":
        seen = torch.cat([w["cls"].expand(len(x), 1, x.shape[2]), x], dim=1)
        both = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        for layer in range(layers):
            seen = _last(seen, both, _own(w, layer), lambda r, v, at=layer: drop(f"{at} {r}", v))
        return _mean(x, mask) + w["more"] * seen[:, 0]
    place = torch.arange(x.shape[1]).clamp(max=PLACES - 1)
    seen = x + w["place"][place]
    for layer in range(layers):
        seen = _first(seen, mask, _own(w, layer), lambda r, v, at=layer: drop(f"{at} {r}", v))
    return _mean(torch.nn.functional.normalize(x + seen, dim=2), mask)


def _mean(x: Any, mask: Any) -> Any:
    """The mean of the parts there are."""
    return (x * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


def _own(w: Mapping[str, Any], layer: int) -> dict[str, Any]:
    start = f"{layer}/"
    return {key.removeprefix(start): v for key, v in w.items() if key.startswith(start)}


def _first(x: Any, mask: Any, w: Mapping[str, Any], drop: Any) -> Any:
    """A layer normalised first."""
    x = x + drop("attend", _attended(_norm(x, w, "one"), w, mask))
    return x + drop("narrow", _hidden(_norm(x, w, "two"), w))


def _last(x: Any, mask: Any, w: Mapping[str, Any], drop: Any) -> Any:
    """A layer normalised last."""
    x = _norm(x + drop("attend", _attended(x, w, mask)), w, "one")
    return _norm(x + drop("narrow", _hidden(x, w)), w, "two")


def _attended(x: Any, w: Mapping[str, Any], mask: Any) -> Any:
    """Self-attention among the parts there are, by as many heads, up to 8, as divide the width."""
    rows, length, d = x.shape
    heads = max(h for h in range(1, 9) if d % h == 0)
    split = (x @ w["qkv"] + w["qkv_bias"]).reshape(rows, length, 3, heads, d // heads)
    q, k, v = split.permute(2, 0, 3, 1, 4)
    mixed = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask[:, None, None, :]
    )
    return mixed.transpose(1, 2).reshape(rows, length, d) @ w["join"] + w["join_bias"]


def _norm(x: Any, w: Mapping[str, Any], name: str) -> Any:
    shape = (x.shape[2],)
    return torch.nn.functional.layer_norm(x, shape, w[f"scale_{name}"], w[f"shift_{name}"])


def _hidden(x: Any, w: Mapping[str, Any]) -> Any:
    inner = torch.nn.functional.gelu(x @ w["wide"] + w["wide_bias"])
    return inner @ w["narrow"] + w["narrow_bias"]


def _units(x: Any) -> Tokens:
    """Token sets with every part at length 1; empty ones are refused."""
    if not isinstance(x, Tokens):
        raise ConjoinError("parts", "are vectors by encoder", "give token sets")
    if len(x) and np.diff(x.offsets).min() < 1:
        raise ConjoinError("parts", "an item has none", "leave it out")
    return Tokens(unit(np.asarray(x.vectors, dtype=np.float64)), x.offsets)
