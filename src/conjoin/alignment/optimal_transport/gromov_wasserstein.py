"""Gromov–Wasserstein: couple two point sets by their distances within, never across."""

from dataclasses import dataclass

import numpy as np

from conjoin.alignment.optimal_transport.sinkhorn import Plan, sinkhorn
from conjoin.errors import ConjoinError

#: Rows whose squared similarities are summed at a time.
BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Factors:
    """Relations within a set as ``left rightᵀ``: products cost O(n r) a column, not O(n²).

    Parameters
    ----------
    left, right : ``[n, r]``.
    """

    left: np.ndarray
    right: np.ndarray

    @classmethod
    def inner(cls, x: np.ndarray) -> "Factors":
        """Inner products of rows; cosines where rows have unit length."""
        return cls(x, x)

    @classmethod
    def squared(cls, x: np.ndarray) -> "Factors":
        """Squared Euclidean distances, ``|x|² + |y|² - 2 x·y``."""
        length = (x * x).sum(axis=1, keepdims=True)
        one = np.ones_like(length)
        return cls(np.hstack([length, one, -2 * x]), np.hstack([one, length, x]))

    def __len__(self) -> int:
        return len(self.left)

    @property
    def matrix(self) -> np.ndarray:
        """All relations ``[n, n]``."""
        return self.left @ self.right.T


Relations = np.ndarray | Factors


@dataclass(frozen=True, eq=False)
class Coupling:
    """What a Gromov–Wasserstein solve found.

    Parameters
    ----------
    plan : the coupling; its cost is the last linearisation.
    value : ``Σ (C_ik - D_jl)² P_ij P_kl``, mixed with ``Σ M P`` where a cost across was given.
    change : how far the last round moved the coupling, in total mass.
    rounds : linearisations solved.
    """

    plan: Plan
    value: float
    change: float
    rounds: int


def gromov_wasserstein(
    inner_x: Relations,
    inner_y: Relations,
    a: np.ndarray | None = None,
    b: np.ndarray | None = None,
    *,
    eps: float = 0.05,
    across: np.ndarray | None = None,
    alpha: float = 0.5,
    solve: "Descent | None" = None,
) -> Coupling:
    """Entropic (fused) Gromov–Wasserstein with square loss by projected mirror descent.

    Each round solves entropic transport for the gradient
    ``2 (C² a 1ᵀ + 1 bᵀ D² - 2 C P D)`` (Peyré et al. 2016), or for
    ``(1 - alpha) M + alpha`` times it (Vayer et al. 2019). The constant terms are formed once;
    ``C P D`` costs O(n² m) for matrices and O(n m r) for :class:`Factors`. The problem is not
    convex: the result depends on where it starts, and symmetric sets have several optima.

    Parameters
    ----------
    inner_x, inner_y : ``[n, n]`` and ``[m, m]`` symmetric relations within each set.
    eps : temperature in units of the gradient.
    across : ``[n, m]`` cost between the sets, where one is known.
    alpha : share of the relations against ``across``; 0 is plain transport, 1 leaves it out.
    solve : how to descend; :class:`Descent` has the settings.

    Raises
    ------
    ConjoinError : shapes disagree, or a round's transport did not converge.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [3.0]])
    >>> relations = Factors.squared(x), Factors.squared(x[::-1])
    >>> found = gromov_wasserstein(*relations, eps=0.1, solve=Descent(proximal=True))
    >>> found.plan.matrix.argmax(axis=1).tolist()
    [2, 1, 0]
    """
    solve = solve or Descent()
    n, m = len(inner_x), len(inner_y)
    a = np.full(n, 1 / n) if a is None else np.asarray(a, dtype=np.float64)
    b = np.full(m, 1 / m) if b is None else np.asarray(b, dtype=np.float64)
    if across is not None and across.shape != (n, m):
        raise ConjoinError("across", f"has shape {across.shape}", f"give [{n}, {m}]")
    problem = Problem(inner_x, inner_y, _squares(inner_x, a), _squares(inner_y, b), across, alpha)
    return solve.run(problem, a, b, eps)


@dataclass(frozen=True, eq=False)
class Problem:
    """The loss of a coupling and its gradient."""

    inner_x: Relations
    inner_y: Relations
    square_x: np.ndarray
    square_y: np.ndarray
    across: np.ndarray | None
    alpha: float

    def gradient(self, coupling: np.ndarray) -> np.ndarray:
        """The derivative of the loss by each entry, within the set of couplings."""
        tensor = self._tensor(coupling)
        tensor *= 2
        if self.across is None:
            return tensor
        return self.alpha * tensor + (1 - self.alpha) * self.across

    def value(self, coupling: np.ndarray) -> float:
        """The loss itself."""
        inner = float(np.vdot(self._tensor(coupling), coupling))
        if self.across is None:
            return inner
        return self.alpha * inner + (1 - self.alpha) * float(np.vdot(self.across, coupling))

    def _tensor(self, coupling: np.ndarray) -> np.ndarray:
        out = _between(self.inner_x, coupling, self.inner_y)
        out *= -2
        out += self.square_x[:, None]
        out += self.square_y
        return out


@dataclass(frozen=True)
class Descent:
    """How a coupling is improved, round by round.

    Parameters
    ----------
    rounds : most linearisations.
    tol : change of the coupling, in mass, at which it ends.
    proximal : add ``-eps log P`` of the last coupling to the gradient (Xu et al. 2019): the
        entropy then only slows each round, and the limit is sharp.
    inner : accuracy of each round's marginals.
    start : ``[n, m]`` coupling to begin at; ``a bᵀ`` when not given.
    """

    rounds: int = 200
    tol: float = 1e-6
    proximal: bool = False
    inner: float = 1e-7
    start: np.ndarray | None = None

    def run(self, problem: Problem, a: np.ndarray, b: np.ndarray, eps: float) -> Coupling:
        """Descend from the start."""
        coupling = np.outer(a, b) if self.start is None else self.start
        carried = None
        if self.proximal and self.start is not None:
            carried = -eps * np.log(np.maximum(self.start, 1e-300) / np.outer(a, b))
        warm, change, number = None, np.inf, 0
        while change > self.tol and number < self.rounds:
            cost = problem.gradient(coupling)
            if carried is not None:
                cost += carried
            plan = sinkhorn(cost, a, b, eps=eps, tol=self.inner, start=warm)
            change = float(np.abs(plan.matrix - coupling).sum())
            coupling, warm, number = plan.matrix, (plan.f, plan.g), number + 1
            if self.proximal:
                carried = cost - plan.f[:, None] - plan.g
        return Coupling(plan, problem.value(coupling), change, number)


def _between(inner_x: Relations, coupling: np.ndarray, inner_y: Relations) -> np.ndarray:
    """``C P Dᵀ``, narrow products first."""
    if isinstance(inner_x, Factors) and isinstance(inner_y, Factors):
        core = (inner_x.right.T @ coupling) @ inner_y.left
        return (inner_x.left @ core) @ inner_y.right.T
    if isinstance(inner_x, Factors):
        return inner_x.left @ ((inner_x.right.T @ coupling) @ inner_y)
    if isinstance(inner_y, Factors):
        return (inner_x @ (coupling @ inner_y.left)) @ inner_y.right.T
    return inner_x @ coupling @ inner_y


def _squares(inner: Relations, mass: np.ndarray) -> np.ndarray:
    """``Σ_k C_ik² mass_k`` for each row; a factored C is formed a block of rows at a time."""
    if isinstance(inner, Factors):
        parts = [
            (inner.left[at : at + BLOCK] @ inner.right.T) ** 2 @ mass
            for at in range(0, len(inner), BLOCK)
        ]
        return np.concatenate(parts)
    if inner.ndim != 2 or inner.shape != (len(mass), len(mass)):
        raise ConjoinError("relations", f"have shape {inner.shape}", "give a square matrix a set")
    return inner**2 @ mass
