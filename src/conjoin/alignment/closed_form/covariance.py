"""What every closed form needs of paired rows: one pass, mergeable, O(d²) memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg

from conjoin.errors import ConjoinError
from conjoin.maps.base import Affine
from conjoin.spaces import Pairs, Rows, Tokens

#: Pairs of a view with the others that a method needs at least.
FEWEST = 2

#: Pairs gathered at a time; 1280 + 384 dimensions make a block of 27 MB.
BLOCK = 4096
#: Blocks summed in float32 before their sum is carried over to float64.
CARRY = 4


@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted means and scatter of the pairs of two views.

    ``s_xy = Σ w (x - mean_x)ᵀ (y - mean_y)``; covariances are scatter over ``n``.
    ``a + b`` is the moments of both sets of pairs, ``a - b`` of the pairs of ``a`` not in ``b``
    (a training set is the total less one fold). Merging follows Chan, Golub and LeVeque (1983).

    Parameters
    ----------
    n : sum of the weights.
    count : number of pairs.
    mean_x, mean_y : ``[dx]`` and ``[dy]``.
    s_xx, s_xy, s_yy : ``[dx, dx]``, ``[dx, dy]``, ``[dy, dy]``, float64.
    eps : relative rounding of the products summed; directions below it are noise.
    """

    n: float
    count: int
    mean_x: np.ndarray
    mean_y: np.ndarray
    s_xx: np.ndarray
    s_xy: np.ndarray
    s_yy: np.ndarray
    eps: float = 2.0**-52

    @classmethod
    def of(
        cls,
        x: Any,
        y: Any,
        i: np.ndarray,
        j: np.ndarray,
        weight: np.ndarray | None = None,
        *,
        block: int = BLOCK,
    ) -> "Moments":
        """Moments of the pairs ``(x[i], y[j])``, read a block at a time.

        One symmetric product of ``[x y]`` a block, in float32 when both views are at most that
        and there are more than two blocks, carried over to float64 every few blocks; rows are
        shifted by the mean of the first block so that a large common mean costs no digits.

        Raises
        ------
        ConjoinError : a row is not finite.
        """
        weights = np.ones(len(i)) if weight is None else np.asarray(weight, dtype=np.float64)
        wide = len(i) <= 2 * block or np.float64 in (x.dtype, y.dtype)
        kind = np.dtype(np.float64) if wide else np.dtype(np.float32)
        dx, d = x.shape[1], x.shape[1] + y.shape[1]
        scatter, sums, n = _Scatter(d, kind), np.zeros(d), 0.0
        shift = np.zeros(d, kind)
        buffer = np.empty((min(block, len(i)), d), kind)
        for at in range(0, len(i), block):
            z, w = buffer[: len(i[at : at + block])], weights[at : at + block]
            xs, ys = _take(x, i[at : at + block]), _take(y, j[at : at + block])
            if at == 0:
                first = [np.asarray(rows).mean(axis=0, dtype=np.float64) for rows in (xs, ys)]
                shift = np.concatenate(first).astype(kind)
            np.subtract(xs, shift[:dx], out=z[:, :dx], dtype=kind)
            np.subtract(ys, shift[dx:], out=z[:, dx:], dtype=kind)
            sums += w.astype(kind) @ z
            if (w != 1).any():
                z *= np.sqrt(w).astype(kind)[:, None]
            scatter.add(z)
            n += w.sum()
        total = scatter.whole()
        if not np.isfinite(total).all():
            _refuse("x", x, i)
            _refuse("y", y, j)
            raise ConjoinError("x or y", "is too large to square", "scale it first")
        offset = sums / n if n else sums
        total -= np.outer(sums, offset)
        mean = offset + shift
        return cls(
            n, len(i), mean[:dx], mean[dx:], total[:dx, :dx].copy(), total[:dx, dx:].copy(),
            total[dx:, dx:].copy(), _eps(kind),
        )  # fmt: skip

    def __add__(self, other: "Moments") -> "Moments":
        return self._merge(other, 1)

    def __sub__(self, other: "Moments") -> "Moments":
        return self._merge(other, -1)

    def _merge(self, other: "Moments", sign: int) -> "Moments":
        n = self.n + sign * other.n
        if n <= 0:
            raise ConjoinError("moments", "no pair is left", "take away fewer")
        part = sign * other.n / n
        ox, oy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        spread = self.n * part
        return Moments(
            n, self.count + sign * other.count,
            self.mean_x + part * ox, self.mean_y + part * oy,
            self.s_xx + sign * other.s_xx + spread * np.outer(ox, ox),
            self.s_xy + sign * other.s_xy + spread * np.outer(ox, oy),
            self.s_yy + sign * other.s_yy + spread * np.outer(oy, oy),
            max(self.eps, other.eps),
        )  # fmt: skip

    @property
    def c_xx(self) -> np.ndarray:
        """Covariance of the first view."""
        return self.s_xx / self.n

    @property
    def c_xy(self) -> np.ndarray:
        """Cross-covariance ``[dx, dy]``."""
        return self.s_xy / self.n

    @property
    def c_yy(self) -> np.ndarray:
        """Covariance of the second view."""
        return self.s_yy / self.n

    def swapped(self) -> "Moments":
        """The same pairs seen from the other side."""
        return Moments(
            self.n,
            self.count,
            self.mean_y,
            self.mean_x,
            self.s_yy,
            self.s_xy.T,
            self.s_xx,
            self.eps,
        )

    def onto(self, placed: Affine) -> "Moments":
        """The moments of ``(x, placed(y))``, without reading a row."""
        mean = placed.apply(self.mean_y)
        if placed.weight is None:
            return Moments(
                self.n, self.count, self.mean_x, mean, self.s_xx, self.s_xy, self.s_yy, self.eps
            )
        w = placed.weight.astype(np.float64)
        return Moments(
            self.n, self.count, self.mean_x, mean, self.s_xx, self.s_xy @ w,
            w.T @ self.s_yy @ w, self.eps,
        )  # fmt: skip


class _Scatter:
    """``Σ zᵀ z`` of blocks of rows by BLAS's symmetric update, which fills one triangle in place.

    A product a block would take new memory each time, mirror its triangle and add both.
    """

    def __init__(self, d: int, kind: np.dtype) -> None:
        self.part = np.zeros((d, d), kind, order="F")
        self.carried = None if kind == np.float64 else np.zeros((d, d), order="F")
        self.held = 0

    def add(self, z: np.ndarray) -> None:
        """Add a C-ordered block ``[b, d]``."""
        update = scipy.linalg.blas.ssyrk if self.carried is not None else scipy.linalg.blas.dsyrk
        beta = float(self.held > 0)
        self.part = update(1.0, z.T, beta=beta, c=self.part, lower=1, overwrite_c=1)
        self.held += 1
        if self.carried is not None and self.held == CARRY:
            self.carried += self.part
            self.held = 0

    def whole(self) -> np.ndarray:
        """Both triangles, ``[d, d]`` in float64."""
        if self.carried is not None and self.held:
            self.carried += self.part
        total = (self.part if self.carried is None else self.carried).T
        for at in range(0, len(total), 256):  # a tile at a time, as columns are slow to write
            tile, rest = slice(at, at + 256), slice(at + 256, None)
            total[rest, tile] = total[tile, rest].T
            square = np.triu(total[tile, tile])
            total[tile, tile] = square + np.triu(square, 1).T
        return total


def _eps(kind: np.dtype) -> float:
    return 2.0**-52 if kind == np.float64 else 2.0**-23


def _take(rows: Any, index: np.ndarray) -> np.ndarray:
    """The rows of ``index``: a view where they follow each other, else one block's copy."""
    if len(index) and index[-1] - index[0] == len(index) - 1 and (np.diff(index) == 1).all():
        return rows[int(index[0]) : int(index[-1]) + 1]
    return rows[index]


def _refuse(side: str, rows: Any, index: np.ndarray) -> None:
    for at in range(0, len(index), BLOCK):
        finite = np.isfinite(np.asarray(_take(rows, index[at : at + BLOCK]))).all(axis=1)
        if not finite.all():
            row = int(index[at + np.flatnonzero(~finite)[0]])
            raise ConjoinError(side, f"row {row} holds NaN or infinity", "drop or fill it")


@dataclass(frozen=True, eq=False)
class Root:
    """``F`` with ``F Fᵀ = (C + λ s I)⁻¹``, ``s`` the mean eigenvalue of ``C``.

    Cholesky's factor, ten times cheaper than eigenvectors; those are the fallback where ``C`` is
    singular to its rounding, and directions of noise are then dropped.
    """

    factor: np.ndarray
    triangular: bool

    @classmethod
    def of(cls, cov: np.ndarray, lam: float, eps: float) -> "Root":
        """Factor a covariance."""
        d = len(cov)
        ridge = lam * np.trace(cov) / d
        ridged = _ridged(cov, ridge)
        noise = eps * d * max(float(ridged.diagonal().max()), np.finfo(float).tiny)
        try:
            # Symmetric, so its transpose is itself, and in the order LAPACK reads fastest.
            lower = scipy.linalg.cholesky(
                ridged.T, lower=True, overwrite_a=True, check_finite=False
            )
            if lower.diagonal().min() ** 2 > noise:
                return cls(lower, True)
        except np.linalg.LinAlgError:
            pass
        values, vectors = np.linalg.eigh(_ridged(cov, ridge))
        live = values > eps * d * max(values[-1], np.finfo(float).tiny)
        return cls(vectors[:, live] / np.sqrt(values[live]), False)

    def whiten(self, a: np.ndarray) -> np.ndarray:
        """``Fᵀ a``."""
        if self.triangular:
            return scipy.linalg.solve_triangular(self.factor, a, lower=True, check_finite=False)
        return self.factor.T @ a

    def back(self, u: np.ndarray) -> np.ndarray:
        """``F u``."""
        if self.triangular:
            return scipy.linalg.solve_triangular(
                self.factor, u, lower=True, trans="T", check_finite=False
            )
        return self.factor @ u


def _ridged(cov: np.ndarray, ridge: float) -> np.ndarray:
    ridged = cov.copy()
    ridged.ravel()[:: len(cov) + 1] += ridge  # the diagonal, without a matrix made for it
    return ridged


@dataclass(frozen=True, eq=False)
class Mapped:
    """Rows as a map places them, computed where they are read."""

    rows: Any
    map: Any
    shape: tuple[int, int]
    dtype: np.dtype

    @classmethod
    def of(cls, rows: Any, placed: Any) -> "Mapped":
        """See ``rows`` through ``placed``."""
        probe = placed.apply(np.asarray(rows[:1]))
        return cls(rows, placed, (len(rows), probe.shape[-1]), probe.dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        return self.map.apply(np.asarray(self.rows[key]))


@dataclass(frozen=True, eq=False)
class Joint:
    """The moments of every paired couple of views; all a closed form asks of the data.

    Made once, it serves every method, every λ and, by subtraction, every fold. A frozen view
    appears as its map places it.

    Parameters
    ----------
    dims : width of each view by name, in order; the first is the hub.
    edges : moments by couple, in the order of ``dims``.
    frozen : names of views already placed.
    memo : decompositions kept for further solves; a method keys them by its own settings.
    """

    dims: Mapping[str, int]
    edges: Mapping[tuple[str, str], Moments]
    frozen: frozenset[str] = field(default_factory=frozenset)
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, views: Mapping[str, Rows], pairs: Pairs, frozen: Mapping[str, Any] | None = None
    ) -> "Joint":
        """Read the paired rows once.

        Raises
        ------
        ConjoinError : fewer than two views, token sets, a row number past the end of its view,
            or rows that are not finite; the view is named.
        """
        maps = dict(frozen or {})
        check_views(views, pairs, maps)
        seen: dict[str, Any] = {
            n: Mapped.of(v, maps[n]) if n in maps else v for n, v in views.items()
        }
        names = list(views)
        edges = {}
        for p, a in enumerate(names):
            for b in names[p + 1 :]:
                if {a, b} <= maps.keys() or not {a, b} <= set(pairs.names):
                    continue
                i, j, w = pairs.between(a, b)
                if len(i) == 0:
                    continue
                try:
                    edges[a, b] = Moments.of(seen[a], seen[b], i, j, w)
                except ConjoinError as error:
                    view = {"x": a, "y": b}.get(error.where, f"{a} or {b}")
                    raise ConjoinError(f"view {view}", error.found, error.remedy) from None
        return cls({n: int(v.shape[1]) for n, v in seen.items()}, edges, frozenset(maps))

    def __add__(self, other: "Joint") -> "Joint":
        edges = dict(self.edges)
        for key, value in other.edges.items():
            edges[key] = edges[key] + value if key in edges else value
        return Joint(self.dims, edges, self.frozen)

    def __sub__(self, other: "Joint") -> "Joint":
        edges = {
            key: value - other.edges[key] if key in other.edges else value
            for key, value in self.edges.items()
            if key not in other.edges or value.count > other.edges[key].count
        }
        return Joint(self.dims, edges, self.frozen)

    def between(self, a: str, b: str) -> Moments:
        """Moments with ``a`` as x and ``b`` as y; they must be partners."""
        return self.edges[a, b] if (a, b) in self.edges else self.edges[b, a].swapped()

    def partners(self, name: str) -> list[str]:
        """Views that share pairs with ``name``, in order."""
        return [o for o in self.dims if (name, o) in self.edges or (o, name) in self.edges]


def check_views(views: Mapping[str, Rows], pairs: Pairs, frozen: Mapping[str, Any]) -> None:
    """Refuse what no aligner can fit to pairs, by name.

    Raises
    ------
    ConjoinError : see :meth:`Joint.of`.
    """
    check_kinds(views, frozen)
    check_rows(views, pairs)
    for name in views:
        if not pairs.column(name).size:
            raise ConjoinError(f"view {name}", "has no pairs", "pair it with another view")


def check_kinds(views: Mapping[str, Rows], frozen: Mapping[str, Any]) -> None:
    """Refuse views that are too few or no vectors.

    Raises
    ------
    ConjoinError : see :meth:`Joint.of`.
    """
    if len(views) < 2:
        raise ConjoinError("views", f"only {len(views)}", "give two or more")
    if extra := frozen.keys() - views.keys():
        raise ConjoinError(f"frozen {min(extra)}", "is no view", "give its rows in views as well")
    if frozen.keys() == views.keys():
        raise ConjoinError("frozen", "holds every view", "leave at least one to fit")
    for name, rows in views.items():
        if isinstance(rows, Tokens):
            raise ConjoinError(f"view {name}", "holds token sets", "pool them, or use a token map")
        if len(rows.shape) != 2 or 0 in rows.shape:
            raise ConjoinError(f"view {name}", f"has shape {rows.shape}", "give vectors [n, d]")


def check_rows(views: Mapping[str, Rows], pairs: Pairs) -> None:
    """Refuse views the pairs do not name, and row numbers past the end of a view.

    Raises
    ------
    ConjoinError : see :meth:`Joint.of`.
    """
    for name, rows in views.items():
        if name not in pairs.names:
            raise ConjoinError(f"view {name}", "has no pairs", "pair it with another view")
        column = pairs.column(name)
        if column.size and column.max() >= len(rows):
            raise ConjoinError(
                f"view {name}", f"pairs name row {column.max()} of {len(rows)}", "check the pairs"
            )


def require_reached(joint: Joint, start: list[str]) -> list[str]:
    """The views in the order in which pairs lead to them from ``start``.

    Raises
    ------
    ConjoinError : a view has too few pairs, or none leads to it.
    """
    order = list(start)
    for name in order:
        order += [other for other in joint.partners(name) if other not in order]
    for name in joint.dims:
        if name in joint.frozen:
            continue
        found = sum(joint.between(name, o).count for o in joint.partners(name))
        if found < FEWEST:
            raise ConjoinError(
                f"view {name}", f"has {found} pairs with the others", f"give {FEWEST} or more"
            )
        if name not in order:
            raise ConjoinError(
                f"view {name}", f"no pairs lead to it from {', '.join(start)}",
                "pair it with one of them, or with a view that is",
            )  # fmt: skip
    return order
