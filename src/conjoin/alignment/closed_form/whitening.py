"""Closed forms that first change the coordinates of each view: whitening, and a shared subspace."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.base import ClosedForm
from conjoin.alignment.closed_form.covariance import Joint, Moments, Root, require_reached
from conjoin.alignment.closed_form.linear import (
    CCA,
    Procrustes,
    Ridge,
    Side,
    affine_of,
    directed_maps,
    float_affine,
    svd,
)
from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError
from conjoin.maps.base import Affine, Map, Normalise, stages

Rank = Annotated[int | None, Choice((None, 32, 64, 128, 256))]


@dataclass(frozen=True)
class Whitening(ClosedForm):
    """Unit variance in every kept direction: ``y = (x - mean) U_k (Λ_k + λ s I)^(-1/2)``.

    ``U Λ Uᵀ`` is the covariance, largest first, ``s`` the mean of ``Λ`` (Huang et al. 2021; the
    cut to ``k`` directions is of Su et al. 2021). With ``then="nothing"`` all views share one
    ``U`` and ``Λ``, of the mean of their covariances: a view's own axes have no order that
    another's would agree with. That needs views of one width, and helps where one encoder made
    them. With ``then="procrustes"`` each view is whitened by its own covariance and then rotated
    to the hub, which works between encoders too; with all directions kept and ``λ → 0`` two
    views so treated are those of CCA with ``power=0``, up to one rotation of both. What differs
    is the cut: here to the directions in which a view varies most, in CCA to those it shares.

    Views added to frozen ones share their whitening (``nothing``), or are whitened and turned
    towards their partners (``procrustes``).

    Parameters
    ----------
    then : what follows, ``nothing`` or ``procrustes``.
    rank : directions kept of each view; ``None`` keeps all.
    lam : λ, which holds back directions of little variance.

    References
    ----------
    WhiteningBERT also averages the first and the last layer: ``output=layers`` of the ``hf``
    encoder gives layers side by side, which whitening weighs like any other coordinates.
    """

    #: The hub's directions are those all others are turned to.
    directed: ClassVar[bool] = True

    then: Annotated[str, Choice(("nothing", "procrustes"))] = "nothing"
    rank: Rank = None
    lam: Annotated[float, Search(1e-6, 1e1, log=True)] = 0.1

    def solve(self, joint: Joint, frozen: Mapping[str, Any] = {}) -> dict[str, Map]:
        """The maps from moments."""
        if self.then == "nothing":
            return self._share(joint, frozen)
        if joint.frozen:
            return directed_maps(joint, frozen, self._turn)
        require_reached(joint, list(joint.dims)[:1])
        own = {}
        for name in joint.dims:
            side = Side.of(joint, name)
            key = ("axes", name)  # λ and the rank move nothing of it, so a climb pays for it once
            if key not in joint.memo:
                joint.memo[key] = np.linalg.eigh(side.cov)
            weight = self._weight(side.cov, side.eps, joint.memo[key])
            own[name] = _plain(weight, side.mean)
        turned = Procrustes().solve(through(joint, own))
        return {name: _after(own[name], turned[name]) for name in own}

    def _share(self, joint: Joint, frozen: Mapping[str, Any]) -> dict[str, Map]:
        fresh = [name for name in joint.dims if name not in joint.frozen]
        start = [name for name in joint.dims if name in joint.frozen] or fresh[:1]
        require_reached(joint, start)
        if joint.frozen:
            held = unfinished(frozen[start[0]])
            weight = held.weight if isinstance(held, Affine) else None
            if weight is None or {joint.dims[name] for name in fresh} != {len(weight)}:
                raise ConjoinError(
                    f"view {fresh[0]}", f"cannot share the whitening of {start[0]}",
                    'use then="procrustes", or fit all views together',
                )  # fmt: skip
            return directed_maps(joint, frozen, lambda name, m: affine_of(weight, m))
        odd = [name for name in fresh if joint.dims[name] != joint.dims[fresh[0]]]
        if odd:
            raise ConjoinError(
                f"view {odd[0]}",
                f"has {joint.dims[odd[0]]} dimensions, view {fresh[0]} {joint.dims[fresh[0]]}",
                'use then="procrustes", which needs no common width',
            )
        sides = {name: Side.of(joint, name) for name in fresh}
        shared = np.mean([side.cov for side in sides.values()], axis=0)
        weight = self._weight(shared, max(side.eps for side in sides.values()))
        still = np.zeros(weight.shape[1])
        return {name: float_affine(weight, side.mean, still) for name, side in sides.items()}

    def _turn(self, name: str, m: Moments) -> Affine:
        white = self._weight(m.c_xx, m.eps)
        u, _, vt = svd(white.T @ m.c_xy)
        weight = white @ (u @ vt)
        spread = float(np.sum((m.c_xx @ weight) * weight))
        weight *= np.sqrt(np.trace(m.c_yy) / spread) if spread > 0 else 1.0
        return float_affine(weight, m.mean_x, m.mean_y)

    def _weight(self, cov: np.ndarray, eps: float, axes: Any = None) -> np.ndarray:
        values, vectors = np.linalg.eigh(cov) if axes is None else axes
        values, vectors = values[::-1][: self.rank], vectors[:, ::-1][:, : self.rank]
        ridged = values + self.lam * np.trace(cov) / len(cov)
        live = ridged > eps * len(cov) * max(ridged[0], np.finfo(float).tiny)
        vectors = vectors[:, live]
        largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
        return vectors * np.where(largest < 0, -1, 1) / np.sqrt(ridged[live])


@dataclass(frozen=True)
class Subspace(ClosedForm):
    """Least squares inside the directions that two views share most.

    With ``P_v`` the first ``k`` canonical directions of a view (regularised CCA on the pairs)
    and ``z_v = (x_v - mean) P_v``, the hub is mapped by ``z_hub`` and every other view by
    ``z_v A``, where ``A`` is least squares of ``z_hub`` on ``z_v`` over the pairs (Hadgi et al.
    2025). Were CCA not regularised, ``A`` would be the diagonal of the correlations: directions
    then weigh ``ρ`` in one view and 1 in the other, half of what CCA with ``power=1`` gives both.
    A view added to frozen ones is mapped to its own ``k`` directions shared with where these
    place its partners, ``t``, and by least squares from those to ``t``.

    Parameters
    ----------
    rank : k.
    lam : λ of the CCA, over the mean eigenvalue of each view's covariance.
    """

    #: The hub's coordinates are those all others are fitted to.
    directed: ClassVar[bool] = True

    rank: Annotated[int, Choice((8, 16, 32, 64, 128))] = 32
    lam: Annotated[float, Search(1e-4, 1e2, log=True)] = 1.0

    def solve(self, joint: Joint, frozen: Mapping[str, Any] = {}) -> dict[str, Map]:
        """The maps from moments."""
        if joint.frozen:
            return directed_maps(joint, frozen, self._extend)
        require_reached(joint, list(joint.dims)[:1])
        means, weights, _ = CCA(self.lam)._directions(joint)
        cut = {name: _plain(weights[name][:, : self.rank], means[name]) for name in joint.dims}
        fitted = Ridge(0.0).solve(through(joint, cut))
        return {name: _after(cut[name], fitted[name]) for name in cut}

    def _extend(self, name: str, m: Moments) -> Affine:
        root, other = Root.of(m.c_xx, self.lam, m.eps), Root.of(m.c_yy, self.lam, m.eps)
        crossed = other.whiten(root.whiten(m.c_xy).T).T
        u = svd(crossed)[0]
        down = root.back(u[:, : self.rank])
        inner = Root.of(down.T @ m.c_xx @ down, 0.0, m.eps)
        weight = down @ inner.back(inner.whiten(down.T @ m.c_xy))
        return float_affine(weight, m.mean_x, m.mean_y)


def unfinished(held: Any) -> Any:
    """A map without the scaling to unit length that a binding ends it with."""
    steps = [step for step in stages(held) if not isinstance(step, Normalise)]
    return steps[0] if len(steps) == 1 else held


def through(joint: Joint, maps: Mapping[str, Affine]) -> Joint:
    """The moments of the views as affine maps place them, without reading a row."""
    edges = {
        (a, b): m.onto(maps[b]).swapped().onto(maps[a]).swapped()
        for (a, b), m in joint.edges.items()
    }
    dims = {name: maps[name].weight.shape[1] for name in joint.dims}  # type: ignore[union-attr]
    return Joint(dims, edges, joint.frozen)


def _plain(weight: np.ndarray, mean: np.ndarray) -> Affine:
    return Affine(weight, mean, np.zeros(weight.shape[1]))


def _after(first: Affine, then: Any) -> Affine:
    """Both as one map, in float32."""
    assert first.weight is not None
    weight = first.weight if then.weight is None else first.weight @ then.weight
    bias = then.apply(first.bias[None])[0]
    return float_affine(weight, first.shift, bias)


__all__ = ["Subspace", "Whitening"]
