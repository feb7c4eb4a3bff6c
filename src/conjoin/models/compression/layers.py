"""Transformers of texts with fewer layers, or fewer units in their feed-forward blocks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.models.tuning.methods import layers_of
from conjoin.models.tuning.text_model import TextModel
from conjoin.transfer.linear_heads import RidgeRegressor

#: Texts of the sample that moments of a block's units are taken of: some ten thousand tokens.
MOMENTS = 256
#: Names of the two linear maps of a feed-forward block, as architectures call them.
BLOCKS = (("intermediate.dense", "output.dense"), ("ffn.lin1", "ffn.lin2"))


@dataclass(frozen=True)
class Layers:
    """The first layers of a transformer, and a ridge map onto the vectors of all of them.

    With ``h_k`` the pooled output of layer k of L and z the original vector,
    ``W, b = argmin mean ‖W h_k + b − z‖² + λ t ‖W‖²`` on the sample, t the mean eigenvalue of the
    covariance of h, at unit length afterwards. All layers kept gives the original, without a map.

    Parameters
    ----------
    share : of the layers kept, rounded up.
    lam : λ of the ridge.

    Errors
    ------
    ConjoinError : the encoder is no transformer of texts.

    Examples
    --------
    >>> Layers(share=0.5).count(6), Layers(share=0.4).count(6)
    (3, 3)

    References
    ----------
    Keeping the first layers: Sajjad et al. 2023 (sajjad2023dropping). The map is ours: there the
    cut model is fine-tuned.
    """

    share: Annotated[float, Search(0.05, 1.0)] = 0.5
    lam: Annotated[float, Search(1e-4, 1e2, log=True)] = 0.01
    arithmetic: ClassVar[int] = 1
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    tries: ClassVar[tuple[Mapping[str, Any], ...]] = ({"share": 2 / 3}, {"share": 0.5},
                                                      {"share": 1 / 3})  # fmt: skip
    whole: ClassVar[Mapping[str, Any] | None] = {"share": 1.0}

    def count(self, layers: int) -> int:
        """Layers kept, of so many."""
        return min(layers, int(np.ceil(self.share * layers - 1e-9)))

    def write(self, uri: str, sample: Sequence[Any], folder: Path, *, seed: int = 0) -> str:
        """As :meth:`~conjoin.models.compression.base.Compression.write`; opens as ``st:``."""
        import torch

        model = TextModel.open(uri)
        stack = layers_of(model.transformer)
        keep = self.count(len(stack))
        if keep < len(stack):
            wanted = model.encode(list(sample))
            del stack[keep:]
            _set(model.transformer.config, ("num_hidden_layers", "n_layers"), keep)
            plain = without_norm(model)
            made = RidgeRegressor(self.lam, standardise=False).fit(
                plain.encode(list(sample)), wanted
            )
            weight = torch.from_numpy(np.ascontiguousarray(made.weight.T, dtype=np.float32))
            bias = torch.from_numpy(np.asarray(made.bias, np.float32).reshape(-1))
            model = with_map(plain, weight, bias)
        return saved(model, folder)


@dataclass(frozen=True)
class Neurons:
    """The units of each feed-forward block that weigh most, the rest left out.

    Unit j of a block with activations ``a ∈ R^I`` and second matrix ``V ∈ R^{d × I}`` weighs
    ``‖V_j‖ √E[a_j²]`` over the tokens of the sample. With S the units kept and ``G = Σ a aᵀ``,
    ``V' = V G_{:S} (G_SS + λ tr(G_SS)/|S| I)^{-1}``, the least-squares restitution of what the
    others gave. Blocks are taken from the first to the last, each on what those before it give.

    Parameters
    ----------
    share : of the units kept, the same count in every block.
    lam : λ.

    Errors
    ------
    ConjoinError : no feed-forward block of a known kind.

    Examples
    --------
    >>> Neurons(share=0.5).count(1536)
    768

    References
    ----------
    The weight of a unit: Sun et al. 2024 (sun2024wanda), there of single entries; the restitution:
    Hassibi and Stork 1993 (hassibi1993surgeon).
    """

    share: Annotated[float, Search(0.05, 1.0)] = 0.5
    lam: Annotated[float, Search(1e-8, 1.0, log=True)] = 1e-4
    arithmetic: ClassVar[int] = 1
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    tries: ClassVar[tuple[Mapping[str, Any], ...]] = ({"share": 0.5}, {"share": 0.25})
    whole: ClassVar[Mapping[str, Any] | None] = {"share": 1.0}

    def count(self, units: int) -> int:
        """Units kept, of so many."""
        return max(1, min(units, round(self.share * units)))

    def write(self, uri: str, sample: Sequence[Any], folder: Path, *, seed: int = 0) -> str:
        """As :meth:`~conjoin.models.compression.base.Compression.write`; opens as ``st:``."""
        model = TextModel.open(uri)
        for first, second in _blocks(model.transformer, uri):
            keep = self.count(first.out_features)
            if keep < first.out_features:
                moments = _moments(model, second, list(sample)[:MOMENTS])
                at, weight = restitution(
                    second.weight.detach().numpy().astype(np.float64), moments, keep, self.lam
                )
                _narrow(first, second, at, weight)
                _set(model.transformer.config, ("intermediate_size", "hidden_dim"), keep)
        return saved(model, folder)


def restitution(
    v: np.ndarray, moments: np.ndarray, keep: int, lam: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which units of a block stay, ``[keep]`` in order, and their columns ``[d, keep]``.

    Parameters
    ----------
    v : ``[d, I]`` the second matrix.
    moments : ``[I, I]`` sums of products of activations.
    """
    worth = np.linalg.norm(v, axis=0) * np.sqrt(np.maximum(np.diag(moments), 0))
    at = np.sort(np.argsort(-worth, kind="stable")[:keep])
    own = moments[np.ix_(at, at)]
    scale = lam * np.trace(own) / keep
    if scale <= 0:
        return at, v[:, at]
    return at, np.linalg.solve(own + scale * np.eye(keep), moments[at] @ v.T).T


def saved(model: TextModel, folder: Path) -> str:
    """Write a model, and tell the URI under which it runs fastest where its vectors allow."""
    model.save(folder)
    return f"st:{folder}?precision=fast"


def without_norm(model: TextModel) -> TextModel:
    """The model without its step to unit length."""
    from sentence_transformers import SentenceTransformer

    kept = [m for m in model.pipeline if type(m).__name__ != "Normalize"]
    made = SentenceTransformer(modules=kept, device="cpu")
    return TextModel(made.eval(), model.base, model.name)


def with_map(model: TextModel, weight: Any, bias: Any) -> TextModel:
    """The model, then a linear map ``weight @ x + bias``, then unit length."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as parts

    dense = parts.Dense(
        weight.shape[1], weight.shape[0], bias=True, activation_function=torch.nn.Identity()
    )
    with torch.no_grad():
        dense.linear.weight.copy_(weight)
        dense.linear.bias.copy_(bias)
    made = SentenceTransformer(modules=[*model.pipeline, dense, parts.Normalize()], device="cpu")
    return TextModel(made.eval(), model.base, model.name)


def _blocks(transformer: Any, uri: str) -> Iterator[tuple[Any, Any]]:
    """The linear maps of each feed-forward block, first layer first."""
    found = []
    for layer in layers_of(transformer):
        named = dict(layer.named_modules())
        for first, second in BLOCKS:
            if first in named and second in named:
                found.append((named[first], named[second]))
    if not found:
        kind = type(transformer).__name__
        raise ConjoinError(
            uri, f"no feed-forward block that is known, in a {kind}",
            "take fewer-layers or onnx-int8",
        )  # fmt: skip
    yield from found


def _moments(model: TextModel, second: Any, sample: list[str]) -> np.ndarray:
    """``Σ a aᵀ`` of what goes into a linear map, over all tokens of the sample."""
    total = np.zeros((second.in_features, second.in_features))

    def add(module: Any, inputs: tuple[Any, ...]) -> None:
        a = inputs[0].detach().reshape(-1, second.in_features).numpy().astype(np.float32)
        np.add(total, a.T @ a, out=total)

    hook = second.register_forward_pre_hook(add)
    try:
        model.encode(sample)
    finally:
        hook.remove()
    return total


def _narrow(first: Any, second: Any, at: np.ndarray, weight: np.ndarray) -> None:
    import torch

    index = torch.from_numpy(at)
    with torch.no_grad():
        first.weight = torch.nn.Parameter(first.weight[index].clone())
        if first.bias is not None:
            first.bias = torch.nn.Parameter(first.bias[index].clone())
        second.weight = torch.nn.Parameter(torch.from_numpy(weight.astype(np.float32).copy()))
    first.out_features = second.in_features = len(at)


def _set(config: Any, names: tuple[str, ...], value: int) -> None:
    """One field of an architecture's configuration, whatever it calls it."""
    known = [name for name in names if name in config.to_dict()]
    setattr(config, (known or list(names))[0], value)
