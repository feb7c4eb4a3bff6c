"""How networks fuse what views are projected to: gates, products, a state passed along, experts.

Every function here is written once for NumPy and torch. ``z`` holds ``[b, hidden]`` projections by
view, ``here`` ``[b, views]`` what is present; ``p`` holds the parameters by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.fusion.backend import mean_of, softmax

Params = Mapping[str, Any]
Found = dict[str, Any]

#: Logarithms of variances stay within these.
LOGVAR = 6.0


@dataclass(frozen=True)
class Spec:
    """The shape of a network.

    Parameters
    ----------
    kind : which of :data:`KINDS`.
    names, dims : views and their widths.
    out : scores an item.
    hidden : width of projections and of the fused vector.
    layers, heads : of attention.
    tokens : tokens a view is cut into, or bottlenecks.
    rank : of the low-rank product.
    """

    kind: str
    names: tuple[str, ...]
    dims: tuple[int, ...]
    out: int
    hidden: int
    layers: int = 1
    heads: int = 4
    tokens: int = 2
    rank: int = 4


def dense(rng: np.random.Generator, wide: int, out: int, gain: float = 1.0) -> np.ndarray:
    """Weights ``[wide, out]`` that keep the spread of what they are given, times ``gain``."""
    return rng.normal(size=(wide, out)) * gain / np.sqrt(wide)


def head_of(spec: Spec, rng: np.random.Generator, wide: int | None = None) -> dict[str, np.ndarray]:
    """The linear head on a fused vector."""
    wide = wide or spec.hidden
    return {"head": dense(rng, wide, spec.out, 0.1), "head_bias": np.zeros(spec.out)}


def scored(p: Params, vector: Any) -> Found:
    """A fused vector and its scores."""
    return {"vector": vector, "logits": vector @ p["head"] + p["head_bias"]}


# Views side by side: late fusion of features


def side_init(spec: Spec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A head over all projections."""
    return head_of(spec, rng, spec.hidden * len(spec.names))


def side(ops: Any, spec: Spec, p: Params, z: Params, here: Any) -> Found:
    """``s = [r₁ … r_M] W + b`` with ``r_m = relu(z_m)``, 0 where absent."""
    mask = ops.floats(here)
    parts = [ops.relu(z[n]) * mask[:, k, None] for k, n in enumerate(spec.names)]
    return scored(p, ops.concat(parts, 1))


# Gates


def gated_init(spec: Spec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A gate a view, read from every view."""
    made = head_of(spec, rng)
    for name in spec.names:
        made[f"gate/{name}/bias"] = np.zeros(spec.hidden)
        for source in spec.names:
            made[f"gate/{name}/{source}"] = dense(rng, spec.hidden, spec.hidden)
    return made


def gated(ops: Any, spec: Spec, p: Params, z: Params, here: Any) -> Found:
    """``h = Σ g_m ⊙ tanh(z_m)``, ``g = softmax_m(Σ_j z_j V_jm + c_m)`` over present views.

    For two views that are both present the first gate is ``σ(a₁ − a₂)`` and the second one minus
    it, as in the gated unit.
    """
    mask = ops.floats(here)
    masked = {n: z[n] * mask[:, k, None] for k, n in enumerate(spec.names)}
    asked = []
    for name in spec.names:
        said = p[f"gate/{name}/bias"]
        for source in spec.names:
            said = said + masked[source] @ p[f"gate/{name}/{source}"]
        asked.append(said)
    gates = softmax(ops, ops.stack(asked, 2), here[:, None, :])
    made = ops.stack([ops.tanh(z[n]) for n in spec.names], 2)
    return {**scored(p, (gates * made).sum(axis=2)), "weights": gates.mean(axis=1)}


# The low-rank product


def product_init(spec: Spec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Factors ``[1 + hidden, rank · hidden]`` a view; the first row is that of the appended 1."""
    made = head_of(spec, rng)
    for name in spec.names:
        factor = dense(rng, spec.hidden + 1, spec.rank * spec.hidden)
        factor[0] += 1
        made[f"factor/{name}"] = factor
    made["mix"] = np.full(spec.rank, 1 / spec.rank)
    made["shift"] = np.zeros(spec.hidden)
    return made


def product(ops: Any, spec: Spec, p: Params, z: Params, here: Any) -> Found:
    """``h = Σ_r w_r Π_m [1, relu(z_m)] F_m^(r) + b``, the product over present views."""
    whole: Any = 1.0
    mask = ops.floats(here)
    for place, name in enumerate(spec.names):
        factor = p[f"factor/{name}"]
        part = ops.relu(z[name]) @ factor[1:] + factor[0]
        own = mask[:, place, None]
        whole = whole * (part * own + (1 - own))
    split = whole.reshape(-1, spec.rank, spec.hidden)
    return scored(p, (split * p["mix"][:, None]).sum(axis=1) + p["shift"])


# A state passed along


def state_init(spec: Spec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Where the state starts, and how a view changes it."""
    made = head_of(spec, rng)
    made["start"] = 0.1 * rng.normal(size=spec.hidden)
    for name in spec.names:
        made[f"old/{name}"] = dense(rng, spec.hidden, spec.hidden)
        made[f"new/{name}"] = dense(rng, spec.hidden, spec.hidden)
        made[f"new/{name}/bias"] = np.zeros(spec.hidden)
    return made


def state(ops: Any, spec: Spec, p: Params, z: Params, here: Any) -> Found:
    """``s ← relu(s U_m + z_m) W_m + b_m``, view after view; what is absent is skipped.

    Scores are read after every step, the start included; ``changes`` are mean squared steps.
    """
    now = ops.broadcast(p["start"], (len(here), spec.hidden))
    steps, changes = [scored(p, now)["logits"]], []
    for place, name in enumerate(spec.names):
        made = ops.relu(now @ p[f"old/{name}"] + z[name])
        made = made @ p[f"new/{name}"] + p[f"new/{name}/bias"]
        after = ops.where(here[:, place, None], made, now)
        changes.append(((after - now) ** 2).mean(axis=1))
        steps.append(scored(p, after)["logits"])
        now = after
    return {**scored(p, now), "steps": steps, "changes": changes}


# Predicted views


def predicted_init(spec: Spec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A head over all projections, and a predictor of each from the others."""
    made = side_init(spec, rng)
    for name in spec.names:
        made[f"ask/{name}"] = 0.1 * rng.normal(size=spec.hidden)
    made["inner"] = dense(rng, spec.hidden, 2 * spec.hidden, np.sqrt(2))
    made["inner_bias"] = np.zeros(2 * spec.hidden)
    made["outer"] = dense(rng, 2 * spec.hidden, spec.hidden)
    return made


def predicted(ops: Any, spec: Spec, p: Params, z: Params, here: Any) -> Found:
    """As :func:`side`, with ``ẑ_m = relu((mean_j z_j + q_m) A + a) B`` in place of absent ones."""
    around = mean_of(ops, [z[n] for n in spec.names], here)
    guesses = {}
    for name in spec.names:
        inner = ops.relu((around + p[f"ask/{name}"]) @ p["inner"] + p["inner_bias"])
        guesses[name] = inner @ p["outer"]
    parts = [
        ops.relu(ops.where(here[:, k, None], z[n], guesses[n])) for k, n in enumerate(spec.names)
    ]
    return {**scored(p, ops.concat(parts, 1)), "guesses": guesses}


# Experts


def experts_init(spec: Spec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Mean and log-variance of each expert, and a decoder to each view's rows."""
    made = head_of(spec, rng)
    for name, dim in zip(spec.names, spec.dims, strict=True):
        made[f"mean/{name}"] = dense(rng, spec.hidden, spec.hidden)
        made[f"mean/{name}/bias"] = np.zeros(spec.hidden)
        made[f"logvar/{name}"] = dense(rng, spec.hidden, spec.hidden, 0.1)
        made[f"logvar/{name}/bias"] = np.zeros(spec.hidden)
        made[f"decode/{name}"] = dense(rng, spec.hidden, dim, 0.1)
        made[f"decode/{name}/bias"] = np.zeros(dim)
    return made


def _experts(ops: Any, spec: Spec, p: Params, z: Params) -> tuple[Any, Any]:
    means, logvars = [], []
    for name in spec.names:
        inner = ops.relu(z[name])
        means.append(inner @ p[f"mean/{name}"] + p[f"mean/{name}/bias"])
        said = inner @ p[f"logvar/{name}"] + p[f"logvar/{name}/bias"]
        logvars.append(LOGVAR * ops.tanh(said / LOGVAR))
    return ops.stack(means, 1), ops.stack(logvars, 1)


def poe(ops: Any, spec: Spec, p: Params, z: Params, here: Any) -> Found:
    """The product of the present experts ``N(μ_m, σ²_m)`` and a prior ``N(0, 1)``.

    ``1 / σ² = 1 + Σ 1 / σ²_m`` and ``μ = σ² Σ μ_m / σ²_m``.
    """
    means, logvars = _experts(ops, spec, p, z)
    sharp = ops.exp(-logvars) * ops.floats(here)[:, :, None]
    total = 1 + sharp.sum(axis=1)
    mean = (means * sharp).sum(axis=1) / total
    logvar = -_log(ops, total)
    found = {"means": means, "logvars": logvars, "mean": mean, "logvar": logvar}
    return {**scored(p, mean), **found, "weights": (sharp / total[:, None]).mean(axis=2)}


def moe(ops: Any, spec: Spec, p: Params, z: Params, here: Any) -> Found:
    """The even mixture of the present experts; its mean is the fused vector."""
    means, logvars = _experts(ops, spec, p, z)
    mean = mean_of(ops, [means[:, k] for k in range(len(spec.names))], here)
    return {**scored(p, mean), "means": means, "logvars": logvars, "weights": ops.floats(here)}


def _log(ops: Any, x: Any) -> Any:
    return np.log(x) if isinstance(x, np.ndarray) else x.log()


Init = Callable[[Spec, np.random.Generator], dict[str, np.ndarray]]
Fuse = Callable[[Any, Spec, Params, Params, Any], Found]

#: Plain bodies by name; those of attention are in their own file.
PLAIN: Mapping[str, tuple[Init, Fuse]] = {
    "side": (side_init, side),
    "gated": (gated_init, gated),
    "product": (product_init, product),
    "state": (state_init, state),
    "predicted": (predicted_init, predicted),
    "poe": (experts_init, poe),
    "moe": (experts_init, moe),
}
