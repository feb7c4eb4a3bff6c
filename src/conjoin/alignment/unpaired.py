"""Alignment without pairs: find them by the shape of each view alone, then fit as if given.

Each aligner matches rows of two views, and hands the pairs it found to regularised CCA. What it
found may be nothing: :class:`Guessed` maps say how far independent restarts agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.covariance import Mapped, check_kinds, check_rows
from conjoin.alignment.closed_form.linear import CCA
from conjoin.alignment.optimal_transport.gromov_wasserstein import (
    Descent,
    Factors,
    gromov_wasserstein,
)
from conjoin.alignment.optimal_transport.sinkhorn import sinkhorn
from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError
from conjoin.maps.base import Affine, Map
from conjoin.spaces import Pairs, Rows, unit

#: Neighbours whose mean similarity is taken off in CSLS.
NEIGHBOURS = 10
#: Share of candidates seen, and rounds at it: from loose to strict.
LEVELS = ((0.1, 40), (0.2, 30), (0.4, 20), (0.8, 10), (1.0, 10))
#: Share of each view's rows in each further restart: restarts on the same rows could agree on the
#: same mistake.
SUBSET = 0.95
#: Fewest rows of each view coupled at once.
BATCH = 500
#: Fewest rows of a view.
FEWEST = 8
#: Rows of the hub-side block in the last, full matching.
BLOCK = 2048
#: Entropies of Sinkhorn and of Gromov-Wasserstein, from loose to strict.
COOLING, GROMOV_COOLING = (0.1, 0.07, 0.05, 0.03, 0.02), (0.3, 0.1)
#: Share of Gromov-Wasserstein against the cost between sorted similarities.
ALPHA = 0.5


@dataclass(frozen=True, eq=False)
class Guessed(Affine):
    """An affine map fitted to pairs that were guessed: ``y = (x - shift) @ weight + bias``.

    Parameters
    ----------
    agreement : share of rows that independent restarts match to the same row, in [0, 1]. Near 0
        nothing was found, whatever the map looks like; high is necessary, not sufficient.
    value : mean similarity of nearest rows under the best restart, by which it was picked.
    """

    agreement: float = 0.0
    value: float = 0.0
    name = "guessed"

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Arrays that make this map again, and what is known of its trust."""
        _, arrays = super().state()
        return {"agreement": self.agreement, "value": self.value}, arrays

    @classmethod
    def from_state(cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Guessed":
        """Make a map from :meth:`state`."""
        made = Affine.from_state({}, arrays)
        return cls(made.weight, made.shift, made.bias, None, None, **fields)


@dataclass(frozen=True, eq=False)
class Matched:
    """Rows of two views guessed to belong together.

    Parameters
    ----------
    left, right : ``[k]`` row numbers, each row at most once.
    agreement, value : as of :class:`Guessed`.
    """

    left: np.ndarray
    right: np.ndarray
    agreement: float
    value: float


class Pairless:
    """What aligners that guess pairs share: who is matched with whom, and the fit that follows."""

    #: It needs no pairs; those given are seeds.
    pairless: ClassVar[bool] = True
    #: It leaves its hub in place, so which view that is matters.
    directed: ClassVar[bool] = True
    lam: float

    def match(self, x: np.ndarray, y: np.ndarray, seeds: np.ndarray, seed: int) -> Matched:
        """Pairs of rows of two views from ``seeds [k, 2]``, which may be none."""
        raise NotImplementedError

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """Match each view with the hub, or with the placed view it shares most seeds with.

        Raises
        ------
        ConjoinError : a view holds token sets, too few rows, or rows that are not finite.
        """
        check_kinds(views, frozen)
        check_rows(views, pairs)
        rows = {n: _finite(n, Mapped.of(v, frozen[n]) if n in frozen else v)
                for n, v in views.items()}  # fmt: skip
        placed = [n for n in views if n in frozen] or [next(iter(views))]
        found, lines = {}, Pairs(tuple(views), np.empty((0, len(views)), np.int64))
        while todo := [n for n in views if n not in placed]:
            _, name, near = max(
                ((len(_seeds(pairs, near, name)), name, near) for name in todo for near in placed),
                key=lambda entry: entry[0],
            )
            known = _seeds(pairs, near, name)
            found[name] = self.match(rows[near], rows[name], known, seed)
            lines = lines.join(_lines(near, name, found[name], known))
            placed.append(name)
        maps = CCA(self.lam).fit(views, lines, frames=frames, frozen=frozen, seed=seed)
        return {n: m if n in frozen else _guessed(m, found.get(n)) for n, m in maps.items()}


@dataclass(frozen=True)
class Matching(Pairless):
    """Seed growth: guess pairs, rotate, match anew, until all rows take part.

    A first guess compares each row's sorted similarities to its own view, ``sort(x_i Xᵀ)``, as
    they do not depend on the axes (Artetxe et al. 2018); ``start="gromov"`` takes them as the
    cost across of fused Gromov–Wasserstein (Alvarez-Melis, Jaakkola 2018; Vayer et al. 2019).
    Then, round by round, the rotation ``U Vᵀ`` of ``Xᵀ P Y = U S Vᵀ`` and new pairs ``P``:
    nearest rows either way by ``2 cos - r_x - r_y`` (CSLS, Conneau et al. 2018) among a random
    share of candidates that grows from .1 to 1, or with ``match_by="sinkhorn"`` the entropic
    coupling of a random share of both views (Wasserstein–Procrustes, Grave et al. 2019).

    Views are centred, scaled to unit rows and cut to their leading directions. Rows mutually
    nearest at the end are the pairs; the best of ``restarts`` by mean similarity of nearest rows
    is kept, and no true pair is looked up. Pairs that are given are seeds: the first guess, and
    part of every round. Two views need a common structure and mostly common items; where they
    have none the maps' ``agreement`` is low.

    Parameters
    ----------
    start : where the first guess comes from.
    match_by : how rows are matched in each round.
    dims : leading directions of each view in which rows are matched.
    rows : rows of each view that take part in the growth, drawn at random.
    restarts : runs by different draws and rows; ``agreement`` of the maps compares them.
    lam : ridge of the final CCA.
    """

    start: Annotated[str, Choice(("profiles", "gromov"))] = "profiles"
    match_by: Annotated[str, Choice(("csls", "sinkhorn"))] = "csls"
    dims: Annotated[int, Choice((32, 64, 128, 256))] = 128
    rows: Annotated[int, Choice((500, 1000, 2000, 4000))] = 2000
    restarts: int = 2
    lam: Annotated[float, Search(1e-4, 1e2, log=True)] = 1.0

    def match(self, x: np.ndarray, y: np.ndarray, seeds: np.ndarray, seed: int) -> Matched:
        """Grow pairs from nothing, or from ``seeds``."""
        width = min(self.dims, x.shape[1], y.shape[1], len(x) - 1, len(y) - 1)
        x, y = _standard(x, width), _standard(y, width)
        runs = [
            self._run(x, y, seeds, np.random.default_rng([seed, 23, number]), SUBSET**number)
            for number in range(max(self.restarts, 1))
        ]
        best = max(runs, key=lambda run: run[2])
        others = [run for run in runs if run is not best]
        same = [np.mean(best[0] == other[0]) for other in others]
        agreement = float(np.mean(same)) if same else 0.0
        left = np.flatnonzero(best[1][best[0]] == np.arange(len(x)))
        return Matched(left, best[0][left], agreement, best[2])

    def _run(
        self,
        x: np.ndarray,
        y: np.ndarray,
        seeds: np.ndarray,
        rng: np.random.Generator,
        part: float,
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """One restart: nearest row of y for each of x, of x for each of y, and the criterion."""
        keep_x = _draw(rng, len(x), min(self.rows, int(part * len(x))))
        keep_y = _draw(rng, len(y), min(self.rows, int(part * len(y))))
        some_x, some_y, known = x[keep_x], y[keep_y], (x[seeds[:, 0]], y[seeds[:, 1]])
        cross = known[0].T @ known[1] if len(seeds) else self._first(some_x, some_y)
        least = BATCH if self.match_by == "sinkhorn" else 2 * NEIGHBOURS
        for (share, rounds), eps in zip(LEVELS, COOLING, strict=True):
            for _ in range(rounds):
                u, _, vt = np.linalg.svd(cross)
                near = some_x @ u, some_y @ vt.T
                picked = (
                    _share(rng, len(some_x), share, least),
                    _share(rng, len(some_y), share, least),
                )
                if self.match_by == "csls":
                    cross = _grown(some_x, some_y, near, picked)
                else:
                    cross = _coupled(some_x, some_y, near, picked, eps)
                if len(seeds):
                    cross += known[0].T @ known[1]
        u, _, vt = np.linalg.svd(cross)
        return _nearest(x @ u, y @ vt.T)

    def _first(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The cross product of the pairs first guessed."""
        alike = _profiles(x, y)
        if self.start == "profiles":
            forth, back = alike.argmax(axis=1), alike.argmax(axis=0)
            return x.T @ y[forth] + x[back].T @ y
        across = (1 - alike) / (1 - alike).std()
        inner_x, inner_y = (Factors.inner(side / np.sqrt((side @ side.T).std())) for side in (x, y))
        coupling = None
        for eps in GROMOV_COOLING:
            found = gromov_wasserstein(
                inner_x, inner_y, eps=eps, across=across, alpha=ALPHA,
                solve=Descent(rounds=6, tol=1e-2, inner=1e-2, start=coupling),
            )  # fmt: skip
            coupling = found.plan.matrix
        return (x.T @ coupling) @ y


@dataclass(frozen=True)
class MomentMatching(Pairless):
    """Principal axes matched by rank, signs by skewness: ``sign_k = sign(Σ_i z_ik³)``.

    Both views are centred and whitened, ``z = (x - mean) V S^-1``, so that axis k of one is held
    to be axis k of the other. Blind to all but the first three moments; the baseline that
    methods without pairs should beat. Mutually nearest rows are then paired.

    Parameters
    ----------
    dims : leading axes matched.
    lam : ridge of the final CCA.
    """

    dims: Annotated[int, Choice((4, 8, 16, 32))] = 8
    lam: Annotated[float, Search(1e-4, 1e2, log=True)] = 1.0

    def match(self, x: np.ndarray, y: np.ndarray, seeds: np.ndarray, seed: int) -> Matched:
        """Pair the rows that are mutually nearest on matched axes."""
        width = min(self.dims, x.shape[1], y.shape[1], len(x) - 1, len(y) - 1)
        forth, back, value = _nearest(*(_axes(side, width) for side in (x, y)))
        left = np.flatnonzero(back[forth] == np.arange(len(x)))
        return Matched(left, forth[left], 0.0, value)


def _standard(x: np.ndarray, width: int) -> np.ndarray:
    """Centred rows of unit length in their leading directions, twice so that both hold."""
    x = unit(x - x.mean(axis=0))
    x = x - x.mean(axis=0)
    if x.shape[1] > width:
        x = x @ np.linalg.eigh(x.T.astype(np.float64) @ x)[1][:, ::-1][:, :width].astype(x.dtype)
    elif x.shape[1] < width:
        raise AssertionError("width is at most that of either view")
    return unit(x)


def _axes(x: np.ndarray, width: int) -> np.ndarray:
    """Whitened leading axes, each skewed to the right, as unit rows."""
    x = (x - x.mean(axis=0)).astype(np.float64)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    keep = slice(-1, -1 - width, -1)
    z = x @ vectors[:, keep] / np.sqrt(np.maximum(values[keep], np.finfo(float).tiny))
    return unit(z * np.where((z**3).sum(axis=0) < 0, -1.0, 1.0))


def _profiles(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How alike the sorted similarities of each row to its own view are, less neighbours' means."""
    points = min(len(x), len(y))
    sides = []
    for side in (x, y):
        ordered = np.sort(side @ side.T, axis=1)
        ordered = ordered[:, np.linspace(0, len(side) - 1, points).round().astype(int)]
        sides.append(unit(ordered - ordered.mean(axis=0)))
    alike = sides[0] @ sides[1].T
    return alike - (_crowding(alike)[:, None] + _crowding(alike.T)) / 2


def _crowding(alike: np.ndarray) -> np.ndarray:
    """Mean similarity of each row to its nearest."""
    k = min(NEIGHBOURS, alike.shape[1])
    return np.partition(alike, -k, axis=1)[:, -k:].mean(axis=1)


def _draw(rng: np.random.Generator, count: int, most: int) -> np.ndarray:
    return np.arange(count) if count <= most else np.sort(rng.permutation(count)[:most])


def _share(rng: np.random.Generator, count: int, share: float, least: int) -> np.ndarray:
    kept = max(int(share * count), least)
    return np.arange(count) if kept >= count else rng.permutation(count)[:kept]


def _grown(
    x: np.ndarray,
    y: np.ndarray,
    near: tuple[np.ndarray, np.ndarray],
    picked: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """``Xᵀ P Y`` of nearest rows either way, among the picked candidates."""
    towards = near[1][picked[1]] @ near[0].T
    towards -= _crowding(towards)[:, None] / 2
    forth = picked[1][towards.argmax(axis=0)]
    towards = near[0][picked[0]] @ near[1].T
    towards -= _crowding(towards)[:, None] / 2
    back = picked[0][towards.argmax(axis=0)]
    return x.T @ y[forth] + x[back].T @ y


def _coupled(
    x: np.ndarray,
    y: np.ndarray,
    near: tuple[np.ndarray, np.ndarray],
    picked: tuple[np.ndarray, np.ndarray],
    eps: float,
) -> np.ndarray:
    """``Xᵀ P Y`` of the entropic coupling of the picked rows."""
    cost = 1 - near[0][picked[0]] @ near[1][picked[1]].T
    coupling = sinkhorn(cost, eps=eps, tol=1e-2).matrix
    return (x[picked[0]].T @ coupling) @ y[picked[1]] * len(x)


def _nearest(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Nearest row of y for each of x and of x for each of y by CSLS, a block of x at a time.

    The last is the mean over both of the similarity to the nearest row.
    """
    blocks = [slice(at, at + BLOCK) for at in range(0, len(x), BLOCK)]
    k = min(NEIGHBOURS, len(x))
    crowd_x, best = np.empty(len(x), x.dtype), np.full((len(y), k), -np.inf, x.dtype)
    top_x = np.empty(len(x), x.dtype)
    for rows in blocks:
        alike = x[rows] @ y.T
        crowd_x[rows], top_x[rows] = _crowding(alike), alike.max(axis=1)
        pool = np.hstack([best, alike.T])
        best = np.partition(pool, -k, axis=1)[:, -k:]
    crowd_y = best.mean(axis=1)
    forth, back = np.empty(len(x), np.int64), np.zeros(len(y), np.int64)
    reached = np.full(len(y), -np.inf, x.dtype)
    for rows in blocks:
        alike = x[rows] @ y.T
        forth[rows] = (alike - crowd_y / 2).argmax(axis=1)
        alike -= crowd_x[rows, None] / 2
        at = alike.argmax(axis=0)
        value = alike[at, np.arange(len(y))]
        better = value > reached
        back[better], reached[better] = at[better] + rows.start, value[better]
    return forth, back, float((top_x.mean() + best.max(axis=1).mean()) / 2)


def _seeds(pairs: Pairs, near: str, name: str) -> np.ndarray:
    i, j, _ = pairs.between(near, name)
    return np.stack([i, j], axis=1)


def _lines(near: str, name: str, found: Matched, seeds: np.ndarray) -> Pairs:
    """Lines of the pairs found, and of the seeds, whose rows are not matched anew."""
    free = ~(np.isin(found.left, seeds[:, 0]) | np.isin(found.right, seeds[:, 1]))
    left = np.concatenate([seeds[:, 0], found.left[free]])
    right = np.concatenate([seeds[:, 1], found.right[free]])
    return Pairs((near, name), np.stack([left, right], axis=1))


def _finite(name: str, view: Any) -> np.ndarray:
    rows = np.asarray(view[:])
    rows = rows if rows.dtype == np.float64 else rows.astype(np.float32)
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise ConjoinError(f"view {name}", f"row {row} holds NaN or infinity", "drop or fill it")
    if len(rows) < FEWEST:
        raise ConjoinError(f"view {name}", f"{len(rows)} rows", f"give {FEWEST} or more")
    return rows


def _guessed(fitted: Any, found: Matched | None) -> Guessed:
    trust = (0.0, 0.0) if found is None else (found.agreement, found.value)
    return Guessed(fitted.weight, fitted.shift, fitted.bias, None, None, *trust)
