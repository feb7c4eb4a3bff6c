"""Coordinates that need no rotation: how near a row lies to anchors that every view has."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from scipy.spatial.distance import cdist

from conjoin.alignment.closed_form.covariance import (
    FEWEST,
    Joint,
    Moments,
    check_views,
    require_reached,
)
from conjoin.alignment.closed_form.whitening import unfinished
from conjoin.catalogue import Choice
from conjoin.errors import ConjoinError
from conjoin.maps.base import Composable, Map, as_array
from conjoin.spaces import Frame, Pairs, Rows, unit
from conjoin.spaces.pairs import ABSENT

#: Rows compared with the anchors, or read, at a time.
BLOCK = 2048
#: Rows among which anchors are spread, at most; others are as good.
SPREAD_OVER = 8192
SIMILARITIES = ("cosine", "euclidean", "l1", "linf")


def nearness(kind: str, x: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """``[n, m]``: cosines, or distances with a minus, so that all grow as rows come nearer."""
    if kind == "cosine":
        return unit(x) @ unit(anchors).T
    if kind == "euclidean":
        squares = (x * x).sum(axis=1)[:, None] + (anchors * anchors).sum(axis=1)
        return -np.sqrt(np.maximum(squares - 2 * (x @ anchors.T), 0))
    return -cdist(x, anchors, {"l1": "cityblock", "linf": "chebyshev"}[kind]).astype(x.dtype)


@dataclass(frozen=True, eq=False)
class RelativeMap(Composable):
    """``y = agg_s(unit(n_s(x - shift, a_1 - shift), …, n_s(x - shift, a_m - shift)))``.

    ``n_s`` is one of several kinds of :func:`nearness`. Where ``scale`` holds rows, coordinates
    are first brought to mean 0 and spread 1 over the anchors, and each vector of them to mean 0.

    Parameters
    ----------
    anchors : ``[m, d]``, as the view holds them; they are known again by their values.
    shift : ``[d]``.
    mean, scale : ``[kinds, m]``, or ``[0, m]`` to leave coordinates as they are.
    kinds : of nearness.
    aggregate : ``concat`` sets their vectors side by side, ``sum`` adds them.
    """

    anchors: np.ndarray
    shift: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    kinds: tuple[str, ...] = ("cosine",)
    aggregate: str = "concat"
    source: Frame | None = None
    target: Frame | None = None
    name = "relative"

    @classmethod
    def of(
        cls, anchors: np.ndarray, kinds: tuple[str, ...], aggregate: str, standard: bool
    ) -> "RelativeMap":
        """The map of these anchors; its means and spreads are those between different ones."""
        m, d = anchors.shape
        if not standard:
            none = np.zeros((0, m), np.float32)
            return cls(anchors, np.zeros(d, np.float32), none, none, kinds, aggregate)
        shift = anchors.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = (anchors - shift).astype(np.float64)
        means, scales = [], []
        for kind in kinds:
            near = nearness(kind, centred, centred)
            others = near[~np.eye(m, dtype=bool)].reshape(m, m - 1)
            spread = others.std(axis=1)
            means.append(others.mean(axis=1))
            scales.append(1 / np.maximum(spread, 1e-6 * (spread.max() or 1.0)))
        mean, scale = (np.array(part, np.float32) for part in (means, scales))
        return cls(anchors, shift, mean, scale, kinds, aggregate)

    def apply(self, x: Any) -> np.ndarray:
        """Map ``[..., d]`` → ``[..., kinds m]`` or ``[..., m]``, a block of rows at a time."""
        x = as_array(x)
        m, d = self.anchors.shape
        if x.shape[-1] != d:
            raise ConjoinError("x", f"has {x.shape[-1]} dimensions", f"give vectors of {d}")
        rows = x.reshape(-1, d)
        wide = m if self.aggregate == "sum" else m * len(self.kinds)
        out = np.empty((len(rows), wide), x.dtype)
        shift = self.shift.astype(x.dtype)
        anchors = self.anchors.astype(x.dtype) - shift
        for at in range(0, len(rows), BLOCK):
            out[at : at + BLOCK] = self._block(rows[at : at + BLOCK] - shift, anchors)
        return out.reshape(*x.shape[:-1], wide)

    def _block(self, x: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        parts = []
        for number, kind in enumerate(self.kinds):
            near = nearness(kind, x, anchors)
            if len(self.scale):
                near = (near - self.mean[number]) * self.scale[number]
                near -= near.mean(axis=1, keepdims=True)
            parts.append(unit(near))
        return np.sum(parts, axis=0) if self.aggregate == "sum" else np.concatenate(parts, axis=1)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Its anchors and what standardises them."""
        arrays = {"anchors": self.anchors, "shift": self.shift}
        arrays |= {"mean": self.mean, "scale": self.scale} if len(self.scale) else {}
        return {"kinds": list(self.kinds), "aggregate": self.aggregate}, arrays

    @classmethod
    def from_state(
        cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "RelativeMap":
        """Make a map from :meth:`state`."""
        none = np.zeros((0, len(arrays["anchors"])), np.float32)
        return cls(
            arrays["anchors"], arrays["shift"], arrays.get("mean", none),
            arrays.get("scale", none), tuple(fields["kinds"]), fields["aggregate"],
        )  # fmt: skip


@dataclass(frozen=True)
class Relative:
    """Each row by its nearness to anchors: ``y = (sim(x, a_1), …, sim(x, a_m))``, to unit length.

    The anchors of the views are partners of each other, so that row ``k`` of one lies where
    its partner lies in another, if views differ by what the similarity does not see: rotation
    and scale for the cosine (Moschella et al. 2023). ``similarity="product"`` joins cosine,
    Euclidean, L1 and L∞, each blind to other changes (Cannistraci et al. 2024). Rows are
    compared by the cosine of their relative coordinates.

    An anchor is drawn by a hash of its vector in the hub and of the seed, whatever the order of
    rows. Views added to frozen ones take the partners of the frozen views' anchors, which are
    recognised by their values; their similarity and aggregation are those of the frozen maps.

    Parameters
    ----------
    anchors : at most; all items that every view has, where there are fewer.
    similarity : one of the four, or ``product`` of all.
    aggregate : of a product: ``concat`` or ``sum``.
    pick : anchors at ``random``; ``farthest`` from those before; or next to ``kmeans`` centres.
    standard : subtract the anchors' mean from rows, and give every coordinate mean 0 and spread
        1 over the anchors and every row's mean 0: an anchor near to all then says nothing.
    """

    anchors: Annotated[int, Choice((64, 128, 256, 512, 1024))] = 512
    similarity: Annotated[str, Choice((*SIMILARITIES, "product"))] = "product"
    aggregate: Annotated[str, Choice(("concat", "sum"))] = "concat"
    pick: Annotated[str, Choice(("random", "farthest", "kmeans"))] = "random"
    standard: Annotated[bool, Choice((True, False))] = True

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """One map a view.

        Raises
        ------
        ConjoinError : no two items are in every view; a frozen map is not of this kind, or its
            anchors have no partner in a view; else as every aligner.
        """
        order = _order(views, pairs, frozen)
        for name in views:
            _finite(name, views[name], pairs.column(name))
        if frozen:
            return self._extend(views, pairs, frozen, order)
        items = _joined(views, pairs, order, np.unique(_present(pairs, order[0])))
        whole = np.all([rows != ABSENT for rows in items.values()], axis=0)
        if whole.sum() < FEWEST:
            raise ConjoinError(
                f"view {order[-1]}", f"{whole.sum()} items lead to it through every view",
                f"give {FEWEST} or more that all views have",
            )  # fmt: skip
        hub = _gather(views[order[0]], items[order[0]][whole])
        picked = np.flatnonzero(whole)[self._picked(hub, seed)]
        kinds = SIMILARITIES if self.similarity == "product" else (self.similarity,)
        made = {}
        for name in views:
            anchors = _gather(views[name], items[name][picked])
            made[name] = RelativeMap.of(anchors, kinds, self.aggregate, self.standard)
        return dict(made)

    def _picked(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """Numbers of the anchors among distinct rows."""
        _, order = np.unique(_keys(rows, seed), return_index=True)
        if self.pick == "random" or len(order) <= self.anchors:
            return order[: self.anchors]
        pool = order[: max(SPREAD_OVER, self.anchors)]
        spread = {"farthest": _farthest, "kmeans": _centres}[self.pick]
        return pool[spread(unit(rows[pool] - rows[pool].mean(axis=0)), self.anchors)]

    def _extend(
        self, views: Mapping[str, Rows], pairs: Pairs, frozen: Mapping[str, Any], order: list[str]
    ) -> dict[str, Map]:
        made = dict(frozen)
        bare = {name: unfinished(held) for name, held in frozen.items()}
        first = next(iter(bare.values()))
        known = {}
        for name, held in bare.items():
            if not isinstance(held, RelativeMap):
                raise ConjoinError(f"frozen {name}", "is no relative map", "fit all views together")
            known[name] = _found(views[name], np.unique(_present(pairs, name)), held.anchors)
        items = _joined(views, pairs, order, known)
        for name in order:
            if name in frozen:
                continue
            lacking = int((items[name] == ABSENT).sum())
            if lacking:
                raise ConjoinError(
                    f"view {name}",
                    f"has no partner of {lacking} of the {len(first.anchors)} anchors of "
                    f"{', '.join(frozen)}",
                    "pair it with those items, or fit all views together",
                )
            anchors = _gather(views[name], items[name])
            made[name] = RelativeMap.of(anchors, first.kinds, first.aggregate, len(first.scale) > 0)
        return {name: made[name] for name in views}


def _order(views: Mapping[str, Rows], pairs: Pairs, frozen: Mapping[str, Any]) -> list[str]:
    """The views as pairs lead to them, refused as every aligner refuses them."""
    check_views(views, pairs, frozen)
    none = np.zeros((0, 0))
    edges = {}
    for a, b in pairs.select(list(views)).edges():
        if not {a, b} <= frozen.keys():
            n = len(pairs.between(a, b)[0])
            edges[a, b] = Moments(n, n, none, none, none, none, none)
    given: Mapping[str, Any] = views
    widths = {name: int(rows.shape[1]) for name, rows in given.items()}
    joint = Joint(widths, edges, frozenset(frozen))
    return require_reached(joint, [name for name in views if name in frozen] or list(views)[:1])


def _joined(
    views: Mapping[str, Rows],
    pairs: Pairs,
    order: list[str],
    start: np.ndarray | Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Each item's row in every view, :data:`ABSENT` where no pair leads to one."""
    known = {order[0]: start} if isinstance(start, np.ndarray) else dict(start)
    for name in order:
        if name in known:
            continue
        rows = np.full(len(next(iter(known.values()))), ABSENT)
        for other, theirs in known.items():
            left, right, weight = pairs.between(other, name)
            best = np.lexsort((weight,))  # the heaviest partner is written last
            partner = np.full(len(views[other]) + 1, ABSENT)
            partner[left[best]] = right[best]
            rows = np.where(rows == ABSENT, partner[theirs], rows)
        known[name] = rows
    return known


def _present(pairs: Pairs, name: str) -> np.ndarray:
    column = pairs.column(name)
    return column[column != ABSENT]


def _gather(view: Any, rows: np.ndarray) -> np.ndarray:
    """Rows of a view in float32, in that order."""
    sought, back = np.unique(rows, return_inverse=True)
    return np.asarray(view[sought], dtype=np.float32)[back]


def _blocks(view: Any, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for at in range(0, len(rows), BLOCK):
        yield rows[at : at + BLOCK], np.asarray(view[rows[at : at + BLOCK]])


def _finite(name: str, view: Any, column: np.ndarray) -> None:
    for rows, held in _blocks(view, np.unique(column[column != ABSENT])):
        fine = np.isfinite(held).all(axis=1)
        if not fine.all():
            raise ConjoinError(
                f"view {name}", f"row {rows[np.argmin(fine)]} holds NaN or infinity",
                "drop or fill it",
            )  # fmt: skip


def _keys(rows: np.ndarray, seed: int) -> np.ndarray:
    """A number for each row that only its values and the seed decide."""
    key = seed.to_bytes(8, "little", signed=True)
    rows = np.ascontiguousarray(rows, dtype=np.float32) + np.float32(0)  # -0 is 0
    found = (hashlib.blake2b(row.tobytes(), digest_size=8, key=key).digest() for row in rows)
    return np.array([int.from_bytes(digest, "little") for digest in found], dtype=np.uint64)


def _found(view: Any, rows: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """The row of a view that holds each anchor's values, :data:`ABSENT` where none does."""
    place: dict[int, int] = {}
    for numbers, held in _blocks(view, rows):
        place |= dict(zip(_keys(held, 0).tolist(), numbers.tolist(), strict=True))
    return np.array([place.get(key, ABSENT) for key in _keys(anchors, 0).tolist()])


def _farthest(rows: np.ndarray, count: int) -> np.ndarray:
    """From the first row on, each time the one farthest from all before."""
    picked = np.zeros(count, dtype=np.int64)
    gap = np.full(len(rows), np.inf)
    for k in range(1, count):
        gap = np.minimum(gap, 1 - rows @ rows[picked[k - 1]])
        picked[k] = gap.argmax()
    return picked


def _centres(rows: np.ndarray, count: int) -> np.ndarray:
    """The rows nearest to centres that ten rounds of k-means find; others fill up."""
    centres = rows[:count].copy()
    for _ in range(10):
        home = (rows @ centres.T - (centres * centres).sum(axis=1) / 2).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, home, rows)
        size = np.bincount(home, minlength=count)
        centres[size > 0] = sums[size > 0] / size[size > 0, None]
    nearest = np.unique((rows @ unit(centres).T).argmax(axis=0))
    return np.concatenate([nearest, np.setdiff1d(np.arange(len(rows)), nearest)])[:count]


__all__ = ["Relative", "RelativeMap", "nearness"]
