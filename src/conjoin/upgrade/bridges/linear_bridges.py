"""Bridges that are solved: from an old encoder's vectors to a new one's, or back.

An upgrade is an aligner over views such as ``old.text`` and ``new.text``; the hub is the side that
keeps its place. Orthogonal and affine bridges are ``procrustes`` and ``ridge``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.base import ClosedForm
from conjoin.alignment.closed_form.covariance import Joint, Moments, Root, require_reached
from conjoin.alignment.closed_form.linear import (
    Identity,
    Lam,
    affine_of,
    centred_map,
    directed_maps,
)
from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError
from conjoin.maps.base import Affine, Composable, Map, as_array
from conjoin.spaces import Frame, Pairs, Rows

#: Rows mapped at a time.
BLOCK = 4096
#: Rounds of k-means after its start.
ROUNDS = 20

#: Fits one view to where its partners lie: rows, targets, weights and groups → a map.
Reach = Callable[["Reached"], Any]


@dataclass(frozen=True, eq=False)
class Reached:
    """A view's rows and where its placed partners lie, line by line.

    Parameters
    ----------
    name : the view.
    x, target : ``[m, d]`` and ``[m, e]``.
    weight, group : ``[m]``.
    used : coordinates of ``target`` that it fills; others are zeros all along.
    """

    name: str
    x: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    group: np.ndarray
    used: int

    def take(self, lines: np.ndarray) -> "Reached":
        """Some of the lines."""
        return replace(
            self, x=self.x[lines], target=self.target[lines], weight=self.weight[lines],
            group=self.group[lines],
        )  # fmt: skip


def outward(
    views: Mapping[str, Rows],
    pairs: Pairs,
    frozen: Mapping[str, Any],
    start: Callable[[Joint], Mapping[str, Any]],
    one: Reach,
) -> dict[str, Map]:
    """Fit each view to where its nearest placed partners lie, from the hub outwards.

    Parameters
    ----------
    start : the maps of the views that are not fitted, from the moments of all.

    Raises
    ------
    ConjoinError : as every aligner.
    """
    joint = Joint.of(views, pairs, frozen)
    placed: dict[str, Any] = dict(start(joint))
    order = require_reached(joint, list(placed))
    used = {name: joint.dims[name] for name in placed}
    while todo := [name for name in order if name not in placed]:
        layer = {}
        for name in todo:
            near = [other for other in joint.partners(name) if other in placed]
            if near:
                layer[name] = one(_lines(name, near, views, pairs, placed, used))
        placed |= layer
        used |= {name: 0 for name in layer}
    return {name: placed[name] for name in views}


def _lines(
    name: str, near: list[str], views: Mapping[str, Rows], pairs: Pairs,
    placed: Mapping[str, Any], used: Mapping[str, int],
) -> Reached:  # fmt: skip
    rows, targets, weights, groups = [], [], [], []
    group_of: dict[int, int] = {}
    column = pairs.column(name)
    for row, group in zip(column.tolist(), pairs.group.tolist(), strict=True):
        group_of.setdefault(row, group)
    for other in near:
        i, j, weight = pairs.between(name, other)
        rows.append(np.asarray(as_array(views[name])[i], np.float32))
        target = placed[other].apply(as_array(views[other])[j])
        targets.append(np.asarray(target, np.float32))
        weights.append(weight)
        groups.append(np.array([group_of[row] for row in i.tolist()]))
    width = targets[0].shape[1]
    filled = max(used[other] or width for other in near)
    return Reached(
        name, np.concatenate(rows), np.concatenate(targets), np.concatenate(weights),
        np.concatenate(groups), min(filled, width),
    )  # fmt: skip


def centred_hub(joint: Joint, frozen: Mapping[str, Any]) -> dict[str, Any]:
    """The frozen maps, or the hub's: it only loses its mean."""
    if frozen:
        return {name: frozen[name] for name in joint.dims if name in frozen}
    hub = next(iter(joint.dims))
    require_reached(joint, [hub])
    return {hub: centred_map(joint, hub)}


@dataclass(frozen=True)
class LowRank(ClosedForm):
    """Reduced-rank ridge: least squares onto the hub through ``rank`` directions.

    ``W = W_ridge V_r V_rᵀ`` with ``V_r`` the leading right singular vectors of
    ``(C_xx + λ s I)^(-1/2) C_xy``; at full rank it is ridge. It stores ``rank (d + e)`` numbers.

    Parameters
    ----------
    lam : λ over ``s``, the mean eigenvalue of ``C_xx``.
    rank : directions kept, at most what the widths allow.

    References
    ----------
    Izenman 1975; with a ridge, Mukherjee and Zhu 2011.
    """

    directed: ClassVar[bool] = True

    lam: Lam = 0.3
    rank: Annotated[int, Choice((16, 32, 64, 128, 256))] = 64

    def solve(self, joint: Joint, frozen: Mapping[str, Any] = {}) -> dict[str, Map]:
        """The maps from moments."""
        return directed_maps(joint, frozen, self._one)

    def _one(self, name: str, m: Moments) -> Affine:
        root = Root.of(m.c_xx, self.lam, m.eps)
        whitened = root.whiten(m.c_xy)
        kept = np.linalg.svd(whitened, full_matrices=False)[2][: self.rank]
        return affine_of((root.back(whitened) @ kept.T) @ kept, m)


@dataclass(frozen=True)
class ReEmbed(Identity):
    """Every row by the new encoder: ``y = [x, 0]``, the ceiling a bridge is measured against.

    As maps it is ``nothing``; what tells them apart is which vectors a driver serves. It needs
    the model itself, so nothing that has only vectors tries it.
    """


@dataclass(frozen=True, eq=False)
class LocalAffine(Composable):
    """``y = Σ_c g_c(x) ((x − μ_c) W_c + b_c)``, ``g`` a softmax of ``−|x − μ_c|² / (2 width²)``.

    Parameters
    ----------
    centres : ``[c, d]`` μ.
    weights : ``[c, d, e]``.
    biases : ``[c, e]``.
    width : of the kernel, in units of ``x``.
    """

    centres: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    width: float
    source: Frame | None = None
    target: Frame | None = None
    name = "local-affine"

    def apply(self, x: Any) -> np.ndarray:
        """Map ``[..., d]`` → ``[..., e]``, in the precision of ``x``."""
        x = as_array(x)
        d = self.centres.shape[1]
        if x.shape[-1] != d:
            raise ConjoinError("x", f"has {x.shape[-1]} dimensions", f"give vectors of {d}")
        flat = x.reshape(-1, d)
        out = np.empty((len(flat), self.biases.shape[1]), flat.dtype)
        for at in range(0, len(flat), BLOCK):
            out[at : at + BLOCK] = self._block(flat[at : at + BLOCK])
        return out.reshape(*x.shape[:-1], self.biases.shape[1])

    def _block(self, x: np.ndarray) -> np.ndarray:
        gate = gates(x, self.centres, self.width).astype(x.dtype)
        y = np.zeros((len(x), self.biases.shape[1]), x.dtype)
        for c, centre in enumerate(self.centres.astype(x.dtype)):
            part = (x - centre) @ self.weights[c].astype(x.dtype) + self.biases[c].astype(x.dtype)
            y += gate[:, c : c + 1] * part
        return y

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The kernel's width and the arrays."""
        arrays = {"centres": self.centres, "weights": self.weights, "biases": self.biases}
        return {"width": self.width}, arrays

    @classmethod
    def from_state(
        cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "LocalAffine":
        """Make a map from :meth:`state`."""
        return cls(arrays["centres"], arrays["weights"], arrays["biases"], float(fields["width"]))


def gates(x: np.ndarray, centres: np.ndarray, width: float) -> np.ndarray:
    """``[n, c]`` share of each centre in each row."""
    x, centres = x.astype(np.float64), centres.astype(np.float64)
    far = (x * x).sum(1)[:, None] - 2 * x @ centres.T + (centres * centres).sum(1)
    share = -far / (2 * width * width)
    share = np.exp(share - share.max(axis=1, keepdims=True))
    return share / share.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class LocalBridge:
    """A mixture of locals: one ridge a region of the view, blended by nearness.

    ``y = Σ_c g_c(x) ((x − μ_c) W_c + b_c)``; ``μ`` by k-means, ``g_c`` a softmax of squared
    distances. ``W_c`` minimises its region's weighted squares plus ``pull`` times the mean
    eigenvalue of ``C_xx`` times ``|W_c − W|²``, ``W`` being ridge over all rows, so that a region
    of few rows stays near the whole.

    Parameters
    ----------
    lam : λ of the ridge over all rows.
    regions : how many.
    pull : how strongly regions are held to the whole.

    References
    ----------
    Local experts with soft gates: Jacobs et al. 1991; mixtures of local bridges between versions
    of an encoder: as adapters for drifted embeddings do.
    """

    directed: ClassVar[bool] = True

    lam: Lam = 0.3
    regions: Annotated[int, Choice((2, 4, 8, 16))] = 4
    pull: Annotated[float, Search(1e-2, 1e2, log=True)] = 1.0

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """One mixture a view; the hub only loses its mean."""
        return outward(views, pairs, frozen, lambda j: centred_hub(j, frozen), self._one)

    def _one(self, given: Reached) -> Map:
        x, y = given.x.astype(np.float64), given.target.astype(np.float64)
        w = given.weight
        m = Moments.of(x, y, np.arange(len(x)), np.arange(len(x)), w)
        root = Root.of(m.c_xx, self.lam, m.eps)
        whole = root.back(root.whiten(m.c_xy))
        centres = k_means(x, w, self.regions)
        width = spread_of(x, w, centres)
        share = gates(x, centres, width) * w[:, None]
        hold = self.pull * np.trace(m.c_xx) / x.shape[1] * m.n / len(centres)
        weights, biases = [], []
        for c, centre in enumerate(centres):
            local = _local(x, y, share[:, c], whole, hold)
            weights.append(local[0])
            biases.append(local[2] + (centre - local[1]) @ local[0])
        kind = np.float32
        return LocalAffine(
            centres.astype(kind), np.stack(weights).astype(kind), np.stack(biases).astype(kind),
            float(width),
        )  # fmt: skip


def _local(
    x: np.ndarray, y: np.ndarray, share: np.ndarray, whole: np.ndarray, hold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A region's weight, held to the whole's, and its means of both sides."""
    total = max(float(share.sum()), np.finfo(float).tiny)
    mean_x, mean_y = share @ x / total, share @ y / total
    dx, dy = x - mean_x, y - mean_y
    scatter = (dx * share[:, None]).T @ dx
    crossed = (dx * share[:, None]).T @ dy - scatter @ whole
    scatter.ravel()[:: len(scatter) + 1] += max(hold, 1e-12)
    return whole + np.linalg.solve(scatter, crossed), mean_x, mean_y


def k_means(x: np.ndarray, weight: np.ndarray, count: int) -> np.ndarray:
    """``[≤ count, d]`` centres, the same whatever the order of the rows.

    Starts by cutting the widest region in two at its mean, across its leading direction (Su and
    Dy 2007), and goes on by Lloyd's rounds.
    """
    from scipy.linalg import eigh

    owner = np.zeros(len(x), dtype=np.int64)
    for new in range(1, count):
        worth = [_scatter(x[owner == c], weight[owner == c]) for c in range(new)]
        widest = int(np.argmax(worth))
        mine = np.flatnonzero(owner == widest)
        if worth[widest] <= 0 or len(mine) < 4:
            break
        mean = np.average(x[mine], axis=0, weights=weight[mine])
        rows = (x[mine] - mean) * np.sqrt(weight[mine])[:, None]
        last = rows.shape[1] - 1
        lead = eigh(rows.T @ rows, subset_by_index=[last, last])[1][:, 0]
        owner[mine[(x[mine] - mean) @ lead > 0]] = new
    centres = _means(x, weight, owner)
    for _ in range(ROUNDS):
        far = (centres * centres).sum(1) - 2 * x @ centres.T
        moved = far.argmin(axis=1)
        if np.array_equal(moved, owner):
            break
        owner = np.unique(moved, return_inverse=True)[1]
        centres = _means(x, weight, owner)
    return centres


def _means(x: np.ndarray, weight: np.ndarray, owner: np.ndarray) -> np.ndarray:
    # One product: adding rows one after the other takes as long as all the rest.
    member = np.zeros((int(owner.max()) + 1, len(x)))
    member[owner, np.arange(len(x))] = weight
    return np.asarray(member @ x / member.sum(axis=1, keepdims=True))


def _scatter(x: np.ndarray, weight: np.ndarray) -> float:
    if len(x) < 2:
        return 0.0
    rows = x - np.average(x, axis=0, weights=weight)
    return float((weight[:, None] * rows * rows).sum())


def spread_of(x: np.ndarray, weight: np.ndarray, centres: np.ndarray) -> float:
    """Root of the mean squared distance of rows to their centre; 1 where they all lie on it."""
    far = (x * x).sum(1)[:, None] - 2 * x @ centres.T + (centres * centres).sum(1)
    mean = float(np.average(np.maximum(far.min(axis=1), 0), weights=weight))
    # A row as near to two centres as its own spread is shared by both; the square root of the
    # width keeps gates soft in many dimensions, where all distances are alike.
    return np.sqrt(mean / np.sqrt(x.shape[1])) if mean > 0 else 1.0
