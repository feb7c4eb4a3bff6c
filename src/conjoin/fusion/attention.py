"""Fusion by attention: one sequence of all views, bottlenecks between them, weights on two levels.

A block is the usual one with its norms in front: ``x ← x + A(norm(x))``, ``x ← x + F(norm(x))``
with ``A`` softmax attention over the tokens that are present and ``F`` two layers with a relu.
"""

from typing import Any

import numpy as np

from conjoin.fusion.architectures import Found, Params, Spec, dense, head_of, scored
from conjoin.fusion.backend import layer_norm, mean_of, softmax

#: Spread of learned tokens at the start, as in BERT.
TOKEN = 0.02
#: Hidden units of the second part of a block, in multiples of its width.
WIDE = 2


def block_init(spec: Spec, rng: np.random.Generator, name: str) -> dict[str, np.ndarray]:
    """The parameters of one block."""
    wide = spec.hidden
    made = {}
    for part in ("query", "key", "value", "join"):
        made[f"{name}/{part}"] = dense(rng, wide, wide, 0.5 if part == "join" else 1.0)
    for part in ("query", "value", "join"):  # a bias of keys changes no share
        made[f"{name}/{part}_bias"] = np.zeros(wide)
    made |= {f"{name}/gain{k}": np.ones(wide) for k in (1, 2)}
    made |= {f"{name}/norm{k}": np.zeros(wide) for k in (1, 2)}
    made[f"{name}/inner"] = dense(rng, wide, WIDE * wide, np.sqrt(2))
    made[f"{name}/inner_bias"] = np.zeros(WIDE * wide)
    made[f"{name}/outer"] = dense(rng, WIDE * wide, wide, 0.5)
    made[f"{name}/outer_bias"] = np.zeros(wide)
    return made


def block(ops: Any, spec: Spec, p: Params, name: str, x: Any, mask: Any) -> tuple[Any, Any]:
    """Tokens ``[b, t, d]`` after a block, and the shares ``[b, heads, t, t]`` it gave.

    Parameters
    ----------
    mask : ``[b, t]`` which tokens may be looked at.
    """
    normed = layer_norm(x, p[f"{name}/gain1"], p[f"{name}/norm1"], ops)
    query, key, value = (
        _split(normed @ p[f"{name}/{part}"] + p.get(f"{name}/{part}_bias", 0.0), spec.heads)
        for part in ("query", "key", "value")
    )
    scores = query @ key.swapaxes(2, 3) / float(np.sqrt(spec.hidden // spec.heads))
    shares = softmax(ops, scores, mask[:, None, None, :])
    seen = (shares @ value).swapaxes(1, 2).reshape(x.shape)
    x = x + seen @ p[f"{name}/join"] + p[f"{name}/join_bias"]
    normed = layer_norm(x, p[f"{name}/gain2"], p[f"{name}/norm2"], ops)
    inner = ops.relu(normed @ p[f"{name}/inner"] + p[f"{name}/inner_bias"])
    return x + inner @ p[f"{name}/outer"] + p[f"{name}/outer_bias"], shares


def _split(x: Any, heads: int) -> Any:
    """``[b, t, d]`` as ``[b, heads, t, d / heads]``."""
    return x.reshape(x.shape[0], x.shape[1], heads, -1).swapaxes(1, 2)


def _normed(spec: Spec) -> dict[str, np.ndarray]:
    return {"last_gain": np.ones(spec.hidden), "last_norm": np.zeros(spec.hidden)}


def _cut_init(spec: Spec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """How a projection becomes tokens, and what says which view and place a token is of."""
    made = {}
    for name in spec.names:
        made[f"cut/{name}"] = dense(rng, spec.hidden, spec.tokens * spec.hidden)
        made[f"place/{name}"] = TOKEN * rng.normal(size=(spec.tokens, spec.hidden))
    return made


def _cut(spec: Spec, p: Params, z: Params, name: str) -> Any:
    tokens = (z[name] @ p[f"cut/{name}"]).reshape(-1, spec.tokens, spec.hidden)
    return tokens + p[f"place/{name}"]


# One sequence


def sequence_init(spec: Spec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A token a view, one to read from, and the blocks."""
    made = {**head_of(spec, rng), **_normed(spec)}
    made["read"] = TOKEN * rng.normal(size=spec.hidden)
    for name in spec.names:
        made[f"place/{name}"] = TOKEN * rng.normal(size=spec.hidden)
    for layer in range(spec.layers):
        made |= block_init(spec, rng, f"block{layer}")
    return made


def sequence(ops: Any, spec: Spec, p: Params, z: Params, here: Any) -> Found:
    """``[read, z₁ + e₁, …]`` through the blocks; the first token is the fused vector."""
    read = ops.broadcast(p["read"], (len(here), spec.hidden))
    x = ops.stack([read, *(z[n] + p[f"place/{n}"] for n in spec.names)], 1)
    mask = ops.concat([here[:, :1] | ~here[:, :1], here], 1)
    shares: Any = None
    for layer in range(spec.layers):
        x, shares = block(ops, spec, p, f"block{layer}", x, mask)
    vector = layer_norm(x[:, 0], p["last_gain"], p["last_norm"], ops)
    return {**scored(p, vector), "weights": shares[:, :, 0, 1:].mean(axis=1)}


# Bottlenecks


def bottleneck_init(spec: Spec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Blocks of its own a view, and tokens they share."""
    made = {**head_of(spec, rng), **_normed(spec), **_cut_init(spec, rng)}
    made["shared"] = TOKEN * rng.normal(size=(spec.tokens, spec.hidden))
    for name in spec.names:
        made[f"read/{name}"] = np.zeros(spec.hidden)
        for layer in range(spec.layers):
            made |= block_init(spec, rng, f"{name}/block{layer}")
    return made


def bottleneck(ops: Any, spec: Spec, p: Params, z: Params, here: Any) -> Found:
    """Views meet in shared tokens only.

    A layer runs each view's block on its own tokens with the shared ones behind them; the shared
    ones of the next layer are the mean of the copies that come out. The scores are the mean of
    those of each view's first token.
    """
    count = len(here)
    shared = ops.broadcast(p["shared"], (count, spec.tokens, spec.hidden))
    streams = {}
    for name in spec.names:
        read = ops.broadcast(p[f"read/{name}"], (count, 1, spec.hidden))
        streams[name] = ops.concat([read, _cut(spec, p, z, name)], 1)
    own = spec.tokens + 1
    every = ops.broadcast(here[:, :1] | ~here[:, :1], (count, own + spec.tokens))
    for layer in range(spec.layers):
        copies = []
        for name in spec.names:
            x = ops.concat([streams[name], shared], 1)
            x, _ = block(ops, spec, p, f"{name}/block{layer}", x, every)
            streams[name] = x[:, :own]
            copies.append(x[:, own:])
        shared = mean_of(ops, copies, here)
    reads = [layer_norm(streams[n][:, 0], p["last_gain"], p["last_norm"], ops) for n in spec.names]
    return scored(p, mean_of(ops, reads, here))


# Weights on two levels


def levels_init(spec: Spec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One block over all tokens, and what scores an element and a view."""
    made = {**head_of(spec, rng), **_normed(spec), **_cut_init(spec, rng)}
    for layer in range(spec.layers):
        made |= block_init(spec, rng, f"block{layer}")
    made["element"] = dense(rng, spec.hidden, 1)
    made["view"] = dense(rng, spec.hidden, 1)
    return made


def levels(ops: Any, spec: Spec, p: Params, z: Params, here: Any) -> Found:
    """``h = Σ_m (1 + β_m) Σ_i (1 + α_mi) x_mi`` over present views, in parts of their number.

    ``α_m = softmax_i(x_mi · a)`` within a view; with ``v_m = Σ_i (1 + α_mi) x_mi``,
    ``β = softmax_m(v_m · c)`` over present views.
    """
    count, each = len(here), spec.tokens
    x = ops.concat([_cut(spec, p, z, n) for n in spec.names], 1)
    mask = ops.stack([here] * each, 2).reshape(count, -1)
    for layer in range(spec.layers):
        x, _ = block(ops, spec, p, f"block{layer}", x, mask)
    x = layer_norm(x, p["last_gain"], p["last_norm"], ops)
    x = x.reshape(count, len(spec.names), each, spec.hidden)
    within = softmax(ops, (x @ p["element"])[..., 0])
    pooled = ((1 + within[..., None]) * x).sum(axis=2) / (each + 1)
    between = softmax(ops, (pooled @ p["view"])[..., 0], here)
    weights = (1 + between) * ops.floats(here)
    total = weights.sum(axis=1, keepdims=True)
    vector = (weights[..., None] * pooled).sum(axis=1) / total
    return {**scored(p, vector), "weights": weights / total}


ATTENTION = {
    "sequence": (sequence_init, sequence),
    "bottleneck": (bottleneck_init, bottleneck),
    "levels": (levels_init, levels),
}
