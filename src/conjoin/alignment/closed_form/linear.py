"""Closed forms: nothing, mean-centering, ridge, Procrustes and canonical correlation.

Each is solved from a ``Joint`` alone: ``fit`` makes one and calls
``solve``; a driver makes one itself and solves it for many methods, λ and folds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import scipy.linalg

from conjoin.alignment.closed_form.base import ClosedForm
from conjoin.alignment.closed_form.covariance import Joint, Moments, Root, require_reached
from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError
from conjoin.maps.base import Affine, Map

#: Widths of all views together up to which views of any graph are decomposed as they are.
EXACT = 1000

Lam = Annotated[float, Search(1e-4, 1e2, log=True)]


@dataclass(frozen=True)
class Identity(ClosedForm):
    """Leave every view as it is: ``y = [x, 0]``, zeros up to the width of the widest.

    Views whose encoders already speak to each other are compared as they stand, others by
    chance, which is what it is there to show. Against frozen views, wider ones are cut.
    """

    def solve(self, joint: Joint, frozen: Mapping[str, Any] = {}) -> dict[str, Map]:
        """The maps from the widths alone."""
        start = [name for name in joint.dims if name in frozen] or list(joint.dims)[:1]
        require_reached(joint, start)
        known = [joint.dims[name] for name in frozen]
        wide = known[0] if known else max(joint.dims.values())
        return {
            name: frozen[name]
            if name in frozen
            else float_affine(None if d == wide else np.eye(d, wide), np.zeros(d), np.zeros(wide))
            for name, d in joint.dims.items()
        }


@dataclass(frozen=True)
class MeanCentering(ClosedForm):
    """Subtract each view's mean: ``y = x - mean(x)``; the do-almost-nothing baseline.

    Needs views of one width. Against frozen views the mean moves to theirs:
    ``y = x - mean(x) + mean(placed partners)``.
    """

    #: It leaves its hub in place, so which view that is matters.
    directed: ClassVar[bool] = True

    def solve(self, joint: Joint, frozen: Mapping[str, Any] = {}) -> dict[str, Map]:
        """The maps from moments."""
        return directed_maps(joint, frozen, self._one)

    def _one(self, name: str, m: Moments) -> Affine:
        dx, dy = m.s_xy.shape
        if dx != dy:
            raise ConjoinError(
                f"view {name}", f"has {dx} dimensions, the joint space {dy}",
                "use ridge, procrustes or cca",
            )  # fmt: skip
        return affine_of(None, m)


@dataclass(frozen=True)
class Ridge(ClosedForm):
    """Least squares onto the hub: ``W = (C_xx + λ s I)⁻¹ C_xy``, centred (Hoerl, Kennard 1970).

    Parameters
    ----------
    lam : λ over ``s``, the mean eigenvalue of ``C_xx``; so it does not depend on scale.
    """

    #: It leaves its hub in place, so which view that is matters.
    directed: ClassVar[bool] = True

    lam: Lam = 0.3

    def solve(self, joint: Joint, frozen: Mapping[str, Any] = {}) -> dict[str, Map]:
        """The maps from moments."""
        return directed_maps(joint, frozen, self._one)

    def _one(self, name: str, m: Moments) -> Affine:
        root = Root.of(m.c_xx, self.lam, m.eps)
        return affine_of(root.back(root.whiten(m.c_xy)), m)


@dataclass(frozen=True)
class Procrustes(ClosedForm):
    """The rotation nearest to the hub: ``W = U Vᵀ`` of ``C_xy = U S Vᵀ`` (Schönemann 1966).

    Where the widths differ, ``W`` has orthonormal rows or columns.

    Parameters
    ----------
    scale : also multiply by the best single factor, ``ΣS / tr(Wᵀ C_xx W)``.
    """

    #: It leaves its hub in place, so which view that is matters.
    directed: ClassVar[bool] = True

    scale: Annotated[bool, Choice((False, True))] = False

    def solve(self, joint: Joint, frozen: Mapping[str, Any] = {}) -> dict[str, Map]:
        """The maps from moments."""
        # Of more than two views what is decomposed hangs on where the others were put.
        memo = joint.memo if len(joint.dims) == 2 else {}
        return directed_maps(joint, frozen, lambda name, m: self._one(name, m, memo))

    def _one(self, name: str, m: Moments, memo: dict[Any, Any]) -> Affine:
        key = ("rotation", name)
        if key not in memo:
            memo[key] = svd(m.c_xy)
        u, s, vt = memo[key]
        weight = u @ vt
        if self.scale:
            spread = float(np.sum((m.c_xx @ weight) * weight))
            weight = weight * (s.sum() / spread if spread > 0 else 1.0)
        return affine_of(weight, m)


@dataclass(frozen=True)
class CCA(ClosedForm):
    """Regularised canonical correlation (Hotelling 1936; Vinod 1976), of any number of views.

    Two views: with ``F_v F_vᵀ = (C_vv + λ s_v I)⁻¹`` and ``F_xᵀ C_xy F_y = U ρ Vᵀ``, the maps are
    ``(x - mean) F_x U_k ρ^power`` and ``(y - mean) F_y V_k ρ^power``. More views: the eigenvectors
    of the block matrix of all ``F_aᵀ C_ab F_b`` over the paired couples (Kettenring 1971, sum of
    correlations), each view's block over its share in the leading eigenvector of the couples'
    graph; for two views that is the same thing.

    A view added to frozen ones lies where these place its partners, ``t``. With
    ``F_xᵀ C_xt = U S Vᵀ`` its map is ``c (x - mean) F_x U S^(power / (1 + power)) Vᵀ + mean(t)``,
    ``c`` giving it the spread of ``t``. Directions are thus weighed as the fit of the frozen
    views weighed theirs: fitted to one side of a two-view CCA on the same pairs, it is that
    CCA's other side up to ``c``. (Ridge, whose exponent is 1, shrinks directions twice.)

    Parameters
    ----------
    lam : λ over the mean eigenvalue of each view's covariance.
    rank : directions kept; ``None`` keeps all.
    power : 0 is classic, 1 weighs directions by their correlation.
    """

    lam: Lam = 1.0
    rank: Annotated[int | None, Choice((None, 32, 64, 128, 256))] = None
    power: Annotated[float, Search(0.0, 2.0)] = 1.0

    def solve(self, joint: Joint, frozen: Mapping[str, Any] = {}) -> dict[str, Map]:
        """The maps from moments."""
        if joint.frozen:
            return directed_maps(joint, frozen, self._extend)
        require_reached(joint, list(joint.dims)[:1])
        means, weights, rho = self._directions(joint)
        kept = slice(None if self.rank is None else min(self.rank, len(rho)))
        scale = np.maximum(rho[kept], 0) ** self.power
        return {
            name: float_affine(weight[:, kept] * scale, means[name], np.zeros(len(scale)))
            for name, weight in weights.items()
        }

    def _directions(
        self, joint: Joint
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
        """Means, all directions and their correlations: decomposed once for each λ."""
        key = ("cca", self.lam)
        if key not in joint.memo:
            sides = {name: Side.of(joint, name) for name in joint.dims}
            roots = {n: Root.of(side.cov, self.lam, side.eps) for n, side in sides.items()}
            solve = _canonical if len(sides) == 2 else _multiset
            parts, rho = solve(joint, roots)
            signs = _signs(parts)
            weights = {n: (root.back(parts[n]) * signs) for n, root in roots.items()}
            joint.memo[key] = ({n: side.mean for n, side in sides.items()}, weights, rho)
        found: tuple[Any, Any, Any] = joint.memo[key]
        return found

    def _extend(self, name: str, m: Moments) -> Affine:
        root = Root.of(m.c_xx, self.lam, m.eps)
        u, s, vt = svd(root.whiten(m.c_xy))
        live = s > m.eps * max(m.s_xy.shape) * s[0]
        weight = root.back(u[:, live]) * s[live] ** (self.power / (1 + self.power)) @ vt[live]
        spread = float(np.sum((m.c_xx @ weight) * weight))
        weight *= np.sqrt(np.trace(m.c_yy) / spread) if spread > 0 else 1.0
        return affine_of(weight, m)


@dataclass(frozen=True, eq=False)
class Side:
    """A view's mean and covariance over all its pairs."""

    mean: np.ndarray
    cov: np.ndarray
    eps: float

    @classmethod
    def of(cls, joint: Joint, name: str) -> "Side":
        """Merge what each couple knows of the view."""
        known = joint.partners(name)
        if len(known) == 1:
            m = joint.between(name, known[0])
            return cls(m.mean_x, m.c_xx, m.eps)
        n, mean, scatter, eps = 0.0, np.zeros(joint.dims[name]), np.zeros(()), 0.0
        for m in (joint.between(name, other) for other in known):
            gap, total = m.mean_x - mean, n + m.n
            scatter = scatter + m.s_xx + (n * m.n / total) * np.outer(gap, gap)
            mean, n, eps = mean + (m.n / total) * gap, total, max(eps, m.eps)
        return cls(mean, scatter / n, eps)


def _crossed(joint: Joint, roots: Mapping[str, Root], a: str, b: str) -> np.ndarray:
    m = joint.between(a, b)
    return roots[b].whiten(roots[a].whiten(m.c_xy).T).T


def _canonical(joint: Joint, roots: Mapping[str, Root]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    a, b = joint.dims
    u, rho, vt = thin_svd(_crossed(joint, roots, a, b))
    return {a: u, b: vt.T}, rho


def _multiset(joint: Joint, roots: Mapping[str, Root]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    names = list(joint.dims)
    blocks = {
        (a, b): _crossed(joint, roots, a, b)
        for p, a in enumerate(names)
        for b in names[p + 1 :]
        if b in joint.partners(a)
    }
    widths = {}
    for (a, b), block in blocks.items():
        widths[a], widths[b] = block.shape
    graph = np.zeros((len(names), len(names)))
    for a, b in blocks:
        graph[names.index(a), names.index(b)] = graph[names.index(b), names.index(a)] = 1
    rank = min(widths.values())
    sides = _two_sides(graph)
    if sides is None:
        solve = _leading if sum(widths.values()) <= EXACT else _leading_reduced
        values, vectors = solve(names, widths, blocks, rank)
    else:
        values, vectors = _across(names, widths, blocks, sides, rank)
    most, shares = np.linalg.eigh(graph)
    parts = {n: vectors[n] / abs(shares[k, -1]) for k, n in enumerate(names)}
    return parts, values / most[-1]


def svd(m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thin singular value decomposition by divide and conquer, or by QR where that gives up.

    LAPACK's quicker routine does not converge for a few finite, harmless matrices.
    """
    try:
        u, s, vt = np.linalg.svd(m, full_matrices=False)
    except np.linalg.LinAlgError:
        u, s, vt = scipy.linalg.svd(m, full_matrices=False, lapack_driver="gesvd")
    return u, s, vt


def thin_svd(m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thin singular value decomposition, through the smaller Gram matrix where that is safe.

    Squaring blurs singular values near 1e-8 of the largest, so those below 1e-5 of it, which
    only rounding and the ridge tell from nothing, are left out. A nearly square matrix, where
    nothing would be won, is decomposed as it is.
    """
    if 2 * m.shape[0] > m.shape[1]:
        if 2 * m.shape[1] > m.shape[0]:
            return svd(m)
        u, s, vt = thin_svd(m.T)
        return vt.T, s, u.T
    values, vectors = np.linalg.eigh(m @ m.T)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    live = values > 1e-10 * values[0]
    s, u = np.sqrt(values[live]), vectors[:, live]
    return u, s, (u.T @ m) / s[:, None]


Blocks = Mapping[tuple[str, str], np.ndarray]


def _leading(
    names: list[str], widths: Mapping[str, int], blocks: Blocks, rank: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Leading eigenvectors of the symmetric block matrix, cut into views."""
    spans = _spans(names, widths)
    big = np.zeros((sum(widths.values()),) * 2)
    for (a, b), block in blocks.items():
        big[spans[a], spans[b]], big[spans[b], spans[a]] = block, block.T
    last = len(big) - 1
    values, vectors = scipy.linalg.eigh(big, subset_by_index=[last - rank + 1, last])
    return values[::-1], {n: vectors[spans[n], ::-1] for n in names}


def _leading_reduced(
    names: list[str], widths: Mapping[str, int], blocks: Blocks, rank: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The same, each view first cut to the ``rank`` directions that cross most with the others.

    A leading eigenvector's part in a view lies almost wholly among them (for two views wholly);
    the cost falls from the cube of all widths together to that of ``rank`` a view.
    """
    basis = {}
    for name in names:
        crossed = [b if name == pair[0] else b.T for pair, b in blocks.items() if name in pair]
        across = crossed[0] if len(crossed) == 1 else np.hstack(crossed)
        basis[name] = np.eye(widths[name]) if widths[name] <= rank else _range(across, rank)
    small = {(a, b): basis[a].T @ block @ basis[b] for (a, b), block in blocks.items()}
    cut = {name: basis[name].shape[1] for name in names}
    values, vectors = _leading(names, cut, small, rank)
    return values, {name: basis[name] @ part for name, part in vectors.items()}


def _range(m: np.ndarray, rank: int) -> np.ndarray:
    """Orthonormal ``[d, rank + 32]`` that holds the leading left singular vectors of ``m``.

    Subspace iteration from a fixed random start (Halko, Martinsson and Tropp 2011, algorithm
    4.4): a few products instead of a decomposition of the whole.
    """
    width = min(rank + 32, *m.shape)
    start = np.random.default_rng(0).standard_normal((m.shape[1], width))
    q = np.linalg.qr(m @ start)[0]
    for _ in range(3):
        q = np.linalg.qr(m @ (m.T @ q))[0]
    return q


def _across(
    names: list[str],
    widths: Mapping[str, int],
    blocks: Blocks,
    sides: np.ndarray,
    rank: int,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The same where couples only cross between two sides, as in a star: singular vectors.

    Eigenvectors of ``[[0, B], [Bᵀ, 0]]`` are ``(u, v) / √2`` of ``B``'s singular pairs, at a
    fraction of the cost.
    """
    left = [n for n, side in zip(names, sides, strict=True) if not side]
    right = [n for n, side in zip(names, sides, strict=True) if side]
    rows, columns = _spans(left, widths), _spans(right, widths)
    across = np.zeros((sum(widths[n] for n in left), sum(widths[n] for n in right)))
    for (a, b), block in blocks.items():
        if a in rows:
            across[rows[a], columns[b]] = block
        else:
            across[rows[b], columns[a]] = block.T
    u, values, vt = thin_svd(across)
    half = np.sqrt(0.5)
    parts = {n: half * u[span, :rank] for n, span in rows.items()}
    parts |= {n: half * vt[:rank, span].T for n, span in columns.items()}
    return values[:rank], parts


def _spans(names: list[str], widths: Mapping[str, int]) -> dict[str, slice]:
    ends = np.cumsum([0, *(widths[n] for n in names)])
    return {n: slice(ends[k], ends[k + 1]) for k, n in enumerate(names)}


def _two_sides(graph: np.ndarray) -> np.ndarray | None:
    """A side, 0 or 1, for each view so that couples only cross; ``None`` if there is none."""
    side = np.full(len(graph), -1)
    side[0] = 0
    for _ in graph:
        reached = (graph @ (side == 0) > 0, graph @ (side == 1) > 0)
        side[reached[0] & (side < 0)] = 1
        side[reached[1] & (side < 0)] = 0
    clash = any(side[a] == side[b] for a, b in zip(*np.nonzero(graph), strict=True))
    return None if clash or (side < 0).any() else side


def _signs(parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """+1 or -1 a direction, so that the hub's largest whitened coordinate is positive."""
    hub = next(iter(parts.values()))
    return np.where(hub[np.abs(hub).argmax(axis=0), np.arange(hub.shape[1])] < 0, -1.0, 1.0)


def directed_maps(
    joint: Joint, frozen: Mapping[str, Any], one: Callable[[str, Moments], Affine]
) -> dict[str, Map]:
    """Fit each view to where its nearest placed partners lie, from the hub outwards."""
    hub = next(iter(joint.dims))
    start = [name for name in joint.dims if name in joint.frozen] or [hub]
    order = require_reached(joint, start)
    placed = {name: _plain(joint.dims[name]) for name in start}
    if not joint.frozen:
        placed[hub] = centred_map(joint, hub)
    while todo := [name for name in order if name not in placed]:
        layer = {}
        for name in todo:
            near = [other for other in joint.partners(name) if other in placed]
            if near:
                layer[name] = one(name, _toward(joint, name, near, placed))
        placed |= layer
    return {name: frozen[name] if name in frozen else placed[name] for name in joint.dims}


def _toward(joint: Joint, name: str, near: list[str], placed: Mapping[str, Affine]) -> Moments:
    """Moments of a view against where its placed partners lie, over the pairs of all of them.

    Least squares to each partner of a line is least squares to their mean.
    """
    found = [joint.between(name, other).onto(placed[other]) for other in near]
    total = found[0]
    for more in found[1:]:
        total = total + more
    return total


def _plain(dim: int) -> Affine:
    return Affine(None, np.zeros(dim), np.zeros(dim))


def centred_map(joint: Joint, hub: str) -> Affine:
    """The hub's own map: it loses its mean."""
    return float_affine(None, Side.of(joint, hub).mean, np.zeros(joint.dims[hub]))


def affine_of(weight: np.ndarray | None, m: Moments) -> Affine:
    """``y = (x - mean(x)) W + mean(y)``; no rotation where ``W`` is ``None``."""
    return float_affine(weight, m.mean_x, m.mean_y)


def float_affine(weight: np.ndarray | None, shift: np.ndarray, bias: np.ndarray) -> Affine:
    """``y = (x - shift) W + bias`` in float32, as maps are kept."""
    return Affine(
        None if weight is None else weight.astype(np.float32),
        shift.astype(np.float32),
        bias.astype(np.float32),
    )


__all__ = ["CCA", "Identity", "MeanCentering", "Procrustes", "Ridge"]
