"""Optimal transport between point sets: Sinkhorn, Gromov–Wasserstein and the fused kind.

Everything is plain NumPy. Potentials are float64 whatever the cost's type; the kernel has the
type of the cost, and costs given as float32 are half the memory to read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse

from conjoin.errors import ConjoinError

#: Bytes of kernel rows read at a time: they stay in the second-level cache for their second use.
NEAR = 5 << 18
#: Spread of log-scalings at which they are absorbed into the potentials, and the exponents below
#: which entries of a kernel do not count, by type: scalings within the one cannot lift what the
#: other leaves out above rounding.
SPREAD = {np.dtype(np.float32): 20.0, np.dtype(np.float64): 150.0}
LEAST = {np.dtype(np.float32): -85.0, np.dtype(np.float64): -700.0}
#: The same where dropping entries makes a sparse kernel, and the share of entries kept up to
#: which it is faster than a dense one.
SPARSE_SPREAD, SPARSE_LEAST, SPARSE = 15.0, -50.0, 0.15
#: Most that scalings are over-relaxed, and the iterations between looks at the rate.
RELAX, LOOK = 1.98, 10


@dataclass(frozen=True, eq=False)
class Plan:
    """A coupling ``P_ij = a_i b_j exp((f_i + g_j - C_ij) / eps)`` as its potentials.

    Parameters
    ----------
    f, g : ``[n]`` and ``[m]`` potentials in units of the cost, float64.
    error : ``Σ_j |Σ_i P_ij - b_j|`` over the total mass; the other marginal is as near.
    steps : iterations taken.
    kernel : the coupling itself where the solve held it; else it is formed when asked for.
    """

    cost: np.ndarray
    a: np.ndarray
    b: np.ndarray
    f: np.ndarray
    g: np.ndarray
    eps: float
    error: float
    steps: int
    kernel: np.ndarray | None = field(default=None, repr=False)

    @cached_property
    def matrix(self) -> np.ndarray:
        """The coupling ``[n, m]`` in the type of the cost."""
        if self.kernel is not None:
            return self.kernel
        out = _kernel(self.cost, self.f, self.g, self.eps)
        out *= self.a.astype(out.dtype)[:, None]
        out *= self.b.astype(out.dtype)
        return out

    @property
    def value(self) -> float:
        """``Σ P_ij C_ij``, the price of the coupling without its entropy."""
        blocks = _blocks(self.cost)
        return float(sum(np.vdot(self.matrix[r], self.cost[r].astype(np.float64)) for r in blocks))


def sinkhorn(
    cost: np.ndarray,
    a: np.ndarray | None = None,
    b: np.ndarray | None = None,
    *,
    eps: float = 0.05,
    tol: float = 1e-6,
    steps: int = 10_000,
    scaling: float | None = None,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> Plan:
    """The coupling of least ``Σ P C + eps Σ P (log(P / a bᵀ) - 1)`` with marginals a and b.

    Cuturi's (2013) alternate scaling ``u = 1 / K (b v)``, ``v = 1 / Kᵀ (a u)``, with scalings
    absorbed into the potentials before they overflow and entries too small to matter left out
    (Schmitzer 2019). A block of rows of K serves both products while it is in cache, so that K
    is read once an iteration. Scalings are over-relaxed (Thibault et al. 2021) as far as the
    observed rate of convergence says.

    Parameters
    ----------
    cost : ``[n, m]`` float32 or float64, finite.
    a, b : mass of rows and columns, equal in sum; uniform when not given.
    eps : temperature in units of the cost; divide by the cost's mean for a relative one.
    tol : error of the marginals at which it ends, as a share of the mass.
    scaling : factor in (0, 1) by which eps falls from the cost's spread in stages; helps where
        eps is far below it. Not needed to be stable.
    start : potentials to begin from, as of a plan of a similar cost.

    Raises
    ------
    ConjoinError : shapes, masses or eps do not fit, or the error is above ``tol`` after
        ``steps``.

    Examples
    --------
    >>> plan = sinkhorn(np.array([[0.0, 1.0], [1.0, 0.0]]), eps=0.1)
    >>> plan.matrix.round(3).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    cost, a, b = _checked(cost, a, b, eps)
    total = a.sum()
    solver = Scaling(cost, a / total, b / total)
    for stage in _stages(cost, eps, scaling):
        if start is not None and stage == eps:
            solver.resume(np.asarray(start[1], dtype=np.float64), eps)
        else:
            solver.cool(stage)
        solver.run(tol if stage == eps else max(tol, 1e-2), steps)
    if not solver.error <= tol:
        raise ConjoinError(
            "sinkhorn",
            f"marginals are off by {solver.error:.2g} of the mass after {solver.steps} steps",
            f"raise eps ({eps:g}), steps or tol, or give scaling=0.5",
        )
    g = solver.g - eps * np.log(total)
    plan = solver.coupling(total)
    return Plan(cost, a, b, solver.f, g, eps, solver.error, solver.steps, plan)


def _checked(
    cost: np.ndarray, a: np.ndarray | None, b: np.ndarray | None, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cost = np.asarray(cost)
    if cost.dtype not in SPREAD:
        cost = cost.astype(np.float64)
    if cost.ndim != 2 or 0 in cost.shape:
        raise ConjoinError("cost", f"has shape {cost.shape}", "give [n, m]")
    cost = np.ascontiguousarray(cost)
    if not np.isfinite(cost.sum(dtype=np.float64)):
        raise ConjoinError("cost", "holds NaN or infinity", "drop those rows")
    if not eps > 0:
        raise ConjoinError("eps", f"{eps}", "give a temperature above 0")
    sides = []
    for name, side, count in (("a", a, cost.shape[0]), ("b", b, cost.shape[1])):
        mass = np.full(count, 1 / count) if side is None else np.asarray(side, dtype=np.float64)
        if mass.shape != (count,):
            raise ConjoinError(name, f"has shape {mass.shape}", f"give {count} masses")
        if not (np.isfinite(mass).all() and mass.min() >= 0 and mass.sum() > 0):
            raise ConjoinError(name, "holds a mass below 0 or none at all", "give masses of 0 up")
        sides.append(mass)
    if abs(sides[0].sum() - sides[1].sum()) > 1e-6 * sides[0].sum():
        raise ConjoinError(
            "a and b", f"sum to {sides[0].sum():g} and {sides[1].sum():g}", "give equal masses"
        )
    return cost, sides[0], sides[1]


def _stages(cost: np.ndarray, eps: float, scaling: float | None) -> Iterator[float]:
    if scaling is not None:
        if not 0 < scaling < 1:
            raise ConjoinError("scaling", f"{scaling}", "give a factor between 0 and 1")
        now = float(cost.max() - cost.min()) * scaling
        while now > eps / scaling**0.5:
            yield now
            now *= scaling
    yield eps


def _exponents(
    cost: np.ndarray, f: np.ndarray, g: np.ndarray, eps: float
) -> Iterator[tuple[slice, np.ndarray]]:
    """``(f + g - C) / eps`` a few rows at a time, in one buffer; differences are of float64."""
    f, g = f / eps, g / eps
    room = None
    for rows in _blocks(cost):
        room = np.empty((rows.stop - rows.start, cost.shape[1])) if room is None else room
        part = room[: len(f[rows])]
        np.multiply(cost[rows], -1 / eps, out=part)
        part += g
        part += f[rows, None]
        yield rows, part


def _kernel(cost: np.ndarray, f: np.ndarray, g: np.ndarray, eps: float) -> np.ndarray:
    """``exp((f + g - C) / eps)`` in the cost's type, without denormal numbers."""
    out = np.empty_like(cost)
    for rows, part in _exponents(cost, f, g, eps):
        np.maximum(part, LEAST[cost.dtype], out=out[rows], casting="same_kind")
        np.exp(out[rows], out=out[rows])
    return out


def _sparse_kernel(cost: np.ndarray, f: np.ndarray, g: np.ndarray, eps: float) -> Any:
    """The same with the entries that count alone, or ``None`` where they are not few."""
    every = max(1, len(cost) // 64)
    sample = next(_exponents(cost[::every], f[::every], g, eps))[1]
    if np.mean(sample > SPARSE_LEAST) > SPARSE:
        return None
    counts, columns, values = [], [], []
    for _, part in _exponents(cost, f, g, eps):
        row, column = np.nonzero(part > SPARSE_LEAST)
        counts.append(np.bincount(row, minlength=len(part)))
        columns.append(column.astype(np.int32))
        values.append(np.exp(part[row, column].astype(cost.dtype)))
    ends = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return scipy.sparse.csr_array(
        (np.concatenate(values), np.concatenate(columns), ends), shape=cost.shape
    )


def _blocks(matrix: np.ndarray) -> Iterator[slice]:
    height = max(1, NEAR // (matrix.shape[1] * matrix.itemsize))
    for at in range(0, len(matrix), height):
        yield slice(at, at + height)


class Scaling:
    """The state of a solve: potentials, the kernel at them, and scalings since they were set."""

    def __init__(self, cost: np.ndarray, a: np.ndarray, b: np.ndarray):
        self.cost, self.a, self.b = cost, a, b
        self.f, self.g = np.zeros(len(a)), np.zeros(len(b))
        self.eps, self.steps, self.error, self.omega = np.inf, 0, np.inf, 1.0

    def cool(self, eps: float) -> None:
        """Go on at another temperature, from potentials at which every line holds a one."""
        self.eps = eps
        kind = self.cost.dtype
        g = self.g.astype(kind)
        f = np.empty(len(self.f), kind)
        for rows in _blocks(self.cost):
            f[rows] = (self.cost[rows] - g).min(axis=1)
        g = np.full(len(g), np.inf, kind)
        for rows in _blocks(self.cost):
            np.minimum(g, (self.cost[rows] - f[rows, None]).min(axis=0), out=g)
        self.f, self.g = f.astype(np.float64), g.astype(np.float64)
        self._form()

    def resume(self, g: np.ndarray, eps: float) -> None:
        """Go on from column potentials, raised where a column would hold nothing at them."""
        self.eps = eps
        f = np.empty(len(self.f))
        for rows, part in _exponents(self.cost, np.zeros(len(f)), g, self.eps):
            top = part.max(axis=1)
            f[rows] = -self.eps * (top + np.log(np.exp(part - top[:, None]) @ self.b))
        floor = np.full(len(g), np.inf)
        for rows in _blocks(self.cost):
            np.minimum(floor, (self.cost[rows] - f[rows, None]).min(axis=0), out=floor)
        self.f, self.g = f, np.maximum(g, floor - 10 * self.eps)
        self._form()

    def _form(self) -> None:
        """The kernel at the present potentials; scalings are one there."""
        self.sparse = _sparse_kernel(self.cost, self.f, self.g, self.eps)
        self.dense = None
        if self.sparse is None:
            self.dense = _kernel(self.cost, self.f, self.g, self.eps)
        self.u, self.v = np.ones(len(self.a)), np.ones(len(self.b))

    def absorb(self) -> None:
        """Move the scalings into the potentials."""
        self.f = self.f + self.eps * np.log(self.u)
        self.g = self.g + self.eps * np.log(self.v)
        self._form()

    def run(self, tol: float, steps: int) -> None:
        """Iterate until the error is at most ``tol`` or ``steps`` are used up."""
        self.omega, self.error = 1.0, np.inf
        last = np.inf
        while self.steps < steps:
            self.error = self._step(tol)
            self.steps += 1
            if self.error <= tol or not np.isfinite(self.error):
                break
            if self.steps % LOOK == 0:
                self._relax((self.error / last) ** (1 / LOOK) if last < np.inf else 1.0)
                last = self.error
            most = SPARSE_SPREAD if self.dense is None else SPREAD[self.cost.dtype]
            if max(np.abs(np.log(self.u)).max(), np.abs(np.log(self.v)).max()) > most:
                self.absorb()
        self.f = self.f + self.eps * np.log(self.u)
        self.g = self.g + self.eps * np.log(self.v)

    def coupling(self, total: float) -> np.ndarray | None:
        """The coupling made of a dense kernel in place; the solve is over then."""
        if self.dense is None:
            return None
        row, column = ((m * s).astype(self.dense.dtype) for m, s in
                       ((self.a * total, self.u), (self.b, self.v)))  # fmt: skip
        for rows in _blocks(self.dense):
            self.dense[rows] *= column
            self.dense[rows] *= row[rows, None]
        return self.dense

    def _step(self, tol: float) -> float:
        """Scale rows, then columns; the error is that of the coupling between the two."""
        into = (self.b * self.v).astype(self.cost.dtype)
        if self.dense is None:
            sums = self.sparse @ into
            self.u = self._relaxed(self.u, sums)
            back = (self.a * self.u).astype(self.cost.dtype) @ self.sparse
        else:
            sums, back = np.empty(len(self.a)), np.zeros(len(self.b))
            for rows in _blocks(self.dense):
                part = self.dense[rows]
                sums[rows] = part @ into
                self.u[rows] = self._relaxed(self.u[rows], sums[rows])
                back += (self.a[rows] * self.u[rows]).astype(part.dtype) @ part
        off = float(self.a @ np.abs(self.u * sums - 1))
        error = max(off, float(self.b @ np.abs(self.v * back - 1)))
        if error > tol:
            self.v = self._relaxed(self.v, back)
        return error

    def _relaxed(self, old: np.ndarray, sums: np.ndarray) -> np.ndarray:
        if self.omega == 1.0:
            return 1 / sums
        return old * (old * sums) ** -self.omega

    def _relax(self, rate: float) -> None:
        """Over-relax as the rate of plain scaling, inferred from the one observed, asks.

        Successive over-relaxation with factor w contracts by r where plain scaling contracts by
        ``(r + w - 1)² / (r w²)``, and best at ``w = 2 / (1 + sqrt(1 - plain))``.
        """
        if not 0 < rate < 1:
            self.omega = 1 + (self.omega - 1) / 2
            return
        plain = (rate + self.omega - 1) ** 2 / (rate * self.omega**2)
        if rate > self.omega - 1 and plain < 1:
            self.omega = min(RELAX, 2 / (1 + np.sqrt(1 - plain)))
