"""One transformer block with switches, as functions of named tensors.

Parameters live in flat dictionaries under names such as ``tower/text/0/attn/query/weight``, so
that a weight can be frozen, averaged, converted or exported by its name. Weights of linear maps
are ``[out, in]``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.losses import Param
from conjoin.models.pretraining.steps import Step

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Shape:
    """The switches of a block.

    Parameters
    ----------
    dim, heads : width of a token, and attention heads; ``heads`` divides ``dim``.
    hidden : width inside the feed-forward part.
    norm : layer norm before each part (``pre``) or after each sum (``post``, as BERT has it).
    eps : of the layer norms.
    qk_norm : queries and keys brought to the same length before they meet, with a trained scale
        for each (Chameleon).
    """

    dim: int = 64
    heads: int = 4
    hidden: int = 128
    norm: str = "pre"
    eps: float = 1e-5
    qk_norm: bool = False


@dataclass(frozen=True, eq=False)
class Sight:
    """Which tokens exist and which may attend to which.

    Parameters
    ----------
    keep : ``[b, t]`` booleans, true where a token exists.
    edges : ``[b or 1, t, s]`` booleans, true where the row may look at the column; all if none.
    """

    keep: Any
    edges: Any = None

    def mask(self, keep: Any = None) -> Any:
        """``[b, 1, 1 or t, s]`` for the attention; ``keep`` is of the tokens looked at."""
        keep = self.keep if keep is None else keep
        seen = keep[:, None, None, :]
        return seen if self.edges is None else seen & self.edges[:, None]


@dataclass(frozen=True, eq=False)
class Context:
    """Tokens that a block looks at besides its own: ``[b, s, d]`` and what exists of them."""

    x: Any
    keep: Any


def normal(rng: np.random.Generator, rows: int, columns: int, gain: float = 1.0) -> Param:
    """A weight ``[rows, columns]`` that keeps the size of what it multiplies, times ``gain``."""
    values = rng.standard_normal((rows, columns)) * (gain / np.sqrt(columns))
    return Param(values, decay=True)


def linear_init(
    rng: np.random.Generator, name: str, wide: int, out: int, gain: float = 1.0
) -> dict[str, Param]:
    """Weight and bias of a linear map."""
    return {
        f"{name}/weight": normal(rng, out, wide, gain),
        f"{name}/bias": Param(np.zeros(out)),
    }


def norm_init(name: str, dim: int) -> dict[str, Param]:
    """Scale and shift of a layer norm that changes nothing yet."""
    return {f"{name}/weight": Param(np.ones(dim)), f"{name}/bias": Param(np.zeros(dim))}


def linear(x: Any, params: Params, name: str) -> Any:
    """``x Wᵀ + b``."""
    import torch.nn.functional as F

    return F.linear(x, params[f"{name}/weight"], params[f"{name}/bias"])


def norm(x: Any, params: Params, name: str, eps: float = 1e-5) -> Any:
    """A layer norm over the last axis."""
    import torch.nn.functional as F

    weight = params[f"{name}/weight"]
    return F.layer_norm(x, weight.shape, weight, params[f"{name}/bias"], eps)


def block_init(
    rng: np.random.Generator,
    name: str,
    shape: Shape,
    *,
    ways: Sequence[str] = ("",),
    cross: bool = False,
    gated: bool = False,
) -> dict[str, Param]:
    """Parameters of one block.

    Parameters
    ----------
    ways : names of feed-forward parts of which each token takes one; one part named "" if alone.
    cross : whether it also attends to a context.
    gated : whether what the context gives is multiplied by a number that starts at 0.
    """
    made: dict[str, Param] = {}
    parts = ("attn", "cross") if cross else ("attn",)
    for part in parts:
        for one in ("query", "key", "value"):
            made |= linear_init(rng, f"{name}/{part}/{one}", shape.dim, shape.dim)
        made |= linear_init(rng, f"{name}/{part}/out", shape.dim, shape.dim, 0.5)
        made |= norm_init(f"{name}/{part}/norm", shape.dim)
        if shape.qk_norm:
            made[f"{name}/{part}/scale"] = Param(np.full(shape.heads, np.sqrt(shape.dim)))
    if gated:
        made[f"{name}/cross/gate"] = Param(0.0)
    for way in ways:
        made |= linear_init(rng, f"{name}/ffn{way}/up", shape.dim, shape.hidden)
        made |= linear_init(rng, f"{name}/ffn{way}/down", shape.hidden, shape.dim, 0.5)
        made |= norm_init(f"{name}/ffn{way}/norm", shape.dim)
    return made


def attention(x: Any, to: Any, params: Params, name: str, shape: Shape, mask: Any) -> Any:
    """Scaled dot-product attention of ``x [b, t, d]`` to ``to [b, s, d]``.

    ``mask`` is ``[b, 1, 1 or t, s]``; a token that may look at nothing gets zeros.
    """
    import torch
    import torch.nn.functional as F

    def split(y: Any) -> Any:
        return y.unflatten(-1, (shape.heads, -1)).transpose(1, 2)

    q = split(linear(x, params, f"{name}/query"))
    k, v = (split(linear(to, params, f"{name}/{part}")) for part in ("key", "value"))
    scale = None
    if shape.qk_norm:
        q = F.normalize(q, dim=-1) * params[f"{name}/scale"][:, None, None]
        k, scale = F.normalize(k, dim=-1), 1.0
    blind = ~mask.any(-1, keepdim=True)
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask | blind, scale=scale)
    found = torch.where(blind, 0.0, found)
    return linear(found.transpose(1, 2).flatten(2), params, f"{name}/out")


def feed_forward(x: Any, params: Params, name: str) -> Any:
    """Up, GELU, down."""
    import torch.nn.functional as F

    return linear(F.gelu(linear(x, params, f"{name}/up")), params, f"{name}/down")


def block(
    x: Any,
    sight: Sight,
    params: Params,
    name: str,
    shape: Shape,
    *,
    step: Step,
    way: str = "",
    context: Context | None = None,
) -> Any:
    """Self-attention, attention to a context where one is given, feed-forward.

    ``x + attn(LN x)``, ``x + α·cross(LN x, context)``, ``x + ffn(LN x)`` with ``norm="pre"``;
    with ``post`` the norm stands after each sum. α is 1 where the block has no gate.
    """
    post = shape.norm == "post"

    def add(x: Any, part: str, change: Any) -> Any:
        place = f"{name}/{part}/norm"
        if post:
            return norm(x + step.drop(change(x), f"{name}/{part}"), params, place, shape.eps)
        return x + step.drop(change(norm(x, params, place, shape.eps)), f"{name}/{part}")

    x = add(x, "attn", lambda y: attention(y, y, params, f"{name}/attn", shape, sight.mask()))
    if context is not None:
        seen = context.keep[:, None, None, :]
        gate = params.get(f"{name}/cross/gate", 1.0)
        held = context.x
        x = add(
            x, "cross",
            lambda y: gate * attention(y, held, params, f"{name}/cross", shape, seen),
        )  # fmt: skip
    return add(x, f"ffn{way}", lambda y: feed_forward(y, params, f"{name}/ffn{way}"))


def causal(length: int) -> Any:
    """``[1, t, t]``: each token looks at itself and what stands before it."""
    import torch

    return torch.ones(1, length, length, dtype=torch.bool).tril()
