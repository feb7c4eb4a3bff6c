"""Hyperbolic space of curvature −c as the upper sheet of a hyperboloid.

A point is held by its space components ``x``; its time component is ``√(1/c + |x|²)``. With
``⟨x, y⟩ = x·y − x₀ y₀`` the distance is ``arcosh(−c ⟨x, y⟩) / √c``. Curvatures are positive
numbers or scalar tensors. Formulas as in Desai et al. 2023 (desai2023meru).
"""

import math
from typing import Any

import torch

#: Largest argument of sinh: beyond it the space components overflow half precision.
FARTHEST = math.asinh(2.0**15)


def tiny(like: Any) -> float:
    """Where quantities with an infinite slope at 0 are cut, for the precision of ``like``."""
    return float(torch.finfo(like.dtype).eps)


def root(curvature: Any) -> Any:
    """``√c`` of a number or a tensor."""
    return curvature**0.5


def length(x: Any) -> Any:
    """``[..., 1]`` lengths of rows, above 0."""
    return x.square().sum(-1, keepdim=True).clamp_min(tiny(x) ** 2).sqrt()


def lift(v: Any, curvature: Any = 1.0) -> Any:
    """Exponential map at the origin: ``x = sinh(√c |v|) v / (√c |v|)``.

    Parameters
    ----------
    v : ``[..., d]`` tangent vectors.

    Returns
    -------
    Space components ``[..., d]``.
    """
    scaled = root(curvature) * length(v)
    return scaled.clamp_max(FARTHEST).sinh() / scaled * v


def lower(x: Any, curvature: Any = 1.0) -> Any:
    """Logarithmic map at the origin, the inverse of :func:`lift` short of its cut."""
    scaled = root(curvature) * length(x)
    return scaled.asinh() / scaled * x


def time(x: Any, curvature: Any = 1.0) -> Any:
    """Time components ``[...]`` of points by their space components ``[..., d]``."""
    return (1 / curvature + x.square().sum(-1)).sqrt()


def distances(x: Any, y: Any, curvature: Any = 1.0) -> Any:
    """Geodesic distances ``[n, m]`` between rows of ``[n, d]`` and of ``[m, d]``.

    Distances below the root of the precision come out as about that, so that the slope stays
    finite.
    """
    inner = x @ y.T - time(x, curvature)[:, None] * time(y, curvature)
    beyond = (-curvature * inner - 1).clamp_min(tiny(x))
    return torch.log1p(beyond + (beyond * (beyond + 2)).sqrt()) / root(curvature)


def half_aperture(x: Any, curvature: Any = 1.0, radius: float = 0.1) -> Any:
    """Half the opening of each point's cone of entailment: ``arcsin(2K / (√c |x|))``, in (0, π/2].

    Parameters
    ----------
    radius : K; points nearer to the origin than ``2K/√c`` have the widest cone.
    """
    share = 2 * radius / (root(curvature) * length(x)[..., 0])
    return share.clamp_max(1 - tiny(x)).asin()


def exterior_angle(x: Any, y: Any, curvature: Any = 1.0) -> Any:
    """Angle at ``x`` between the ray away from the origin and the way to ``y``, in [0, π].

    ``arccos( (y₀ + x₀ c⟨x, y⟩) / (|x| √((c⟨x, y⟩)² − 1)) )``, row by row.
    """
    x0, y0 = time(x, curvature), time(y, curvature)
    inner = curvature * ((x * y).sum(-1) - x0 * y0)
    side = (inner.square() - 1).clamp_min(tiny(x)).sqrt()
    cosine = (y0 + x0 * inner) / (length(x)[..., 0] * side)
    edge = 1 - tiny(x)
    return cosine.clamp(-edge, edge).acos()
