"""Logistic regression on vectors, where texts may count as shots."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Choice, Search
from conjoin.spaces.frame import unit
from conjoin.transfer.base import (
    Prototypes,
    blocks,
    check_labels,
    check_rows,
    check_weight,
    known_classes,
    pulls,
    require_prototypes,
)
from conjoin.transfer.heads import Linear

#: Steps of the solver at most, and the change of the loss at which it ends.
STEPS, CHANGE = 200, 1e-7
#: Scores held at a time: what stays in the processor's cache.
TILE = 2**19


@dataclass(frozen=True)
class Logistic:
    """Multinomial logistic regression, in which class prototypes may be shots as rows are.

    ``min over W, b of (1 − a) mean CE(xᵢ; yᵢ) + a mean CE(tⱼ; cⱼ) + λ/2 |W − W₀|²`` over rows
    ``xᵢ`` and prototypes ``tⱼ`` at the rows' mean length. Without names, λ pulls each column in
    units of its own variance, ``λ/2 Σⱼ σⱼ² |Wⱼ|²``: what it is on columns of spread 1, so that no
    column counts for its unit. Where names are read, lengths mean something, and λ is in units of
    the mean eigenvalue of the rows' covariance, as it is without ``standardise``. The loss is
    convex and followed to its end, by quasi-Newton steps in coordinates in which the curvature of
    the start is the same all ways. Then
    ``W ← (1 − m) W + m k W₀``, ``W₀`` being the prototypes at unit length and ``k`` what makes
    the two equally long.

    Parameters
    ----------
    lam : λ.
    share : a, the share of the loss that prototypes hold; 0 leaves them out.
    toward : what W is pulled to: ``zero``, or ``names``, where ``W₀`` is the prototypes times
        ``scale``.
    blend : m.
    scale : of the prototypes pulled to.
    standardise : pull each column by its own variance, where no names are read.

    References
    ----------
    Texts as extra shots, half of each batch: Lin et al. 2023 (lin2023crossmodal), who train by
    gradient steps from the names and stop early; here the loss's own minimum is taken.
    """

    lam: Annotated[float, Search(1e-5, 1e3, log=True)] = 0.03
    share: Annotated[float, Search(0.0, 0.9)] = 0.0
    blend: Annotated[float, Search(0.0, 1.0)] = 0.0
    toward: Annotated[str, Choice(("zero", "names"))] = "zero"
    scale: Annotated[float, Search(1.0, 100.0, log=True)] = 10.0
    standardise: bool = True
    prototypes: ClassVar[str] = "used"
    answers: ClassVar[str] = "classes"

    def fit(
        self, x: Any, y: Any, *, prototypes: Prototypes | None = None,
        weight: np.ndarray | None = None, seed: int = 0,
    ) -> Linear:  # fmt: skip
        """A linear head."""
        rows = check_rows(x, "x")
        labels = check_labels(y, len(rows))
        if not self.reads_names:
            prototypes = None
        classes = known_classes(labels, prototypes)
        start = np.zeros((rows.shape[1], len(classes)))
        trust = check_weight(weight, len(rows))
        trust = trust / max(trust.sum(), 1e-300)
        if self.reads_names:
            named = require_prototypes(prototypes, rows.shape[1], "cross-modal")
            if len(classes) == len(np.unique(named.labels)):
                start = named.means(classes).T
            if self.share:
                rows, labels, trust = self._joined(rows, labels, trust, named)
        owner = np.searchsorted(classes, labels)
        anchor = self.scale * start if self.toward == "names" else np.zeros_like(start)
        even = not self.standardise or self.reads_names
        slope, bias = solve(rows, owner, trust, anchor, self.lam, standardise=not even)
        if self.blend and start.any():
            k = np.linalg.norm(slope) / np.linalg.norm(start)
            slope = (1 - self.blend) * slope + self.blend * k * start
        return Linear(classes, slope, bias)

    @property
    def reads_names(self) -> bool:
        """Whether it cannot be fitted without class prototypes."""
        return bool(self.share or self.blend or self.toward == "names")

    def _joined(
        self, rows: np.ndarray, labels: np.ndarray, trust: np.ndarray, named: Prototypes
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and prototypes as one set of shots, with what each counts."""
        length = float(np.linalg.norm(rows, axis=1).mean()) if len(rows) else 1.0
        shots = (length * unit(named.vectors)).astype(rows.dtype)
        share = self.share if len(rows) else 1.0
        weight = np.concatenate([
            (1 - share) * trust,
            np.full(len(shots), share / len(shots)),
        ])  # fmt: skip
        both = np.concatenate([labels, named.labels]) if len(rows) else named.labels
        return np.concatenate([rows, shots]), both, weight


def solve(
    x: np.ndarray,
    owner: np.ndarray,
    weight: np.ndarray,
    anchor: np.ndarray,
    lam: float,
    *,
    standardise: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Slope ``[d, c]`` and bias ``[c]`` at the minimum of :class:`Logistic`'s loss.

    Rows are read in blocks, in their own precision; memory is ``d² + block · c``.

    Parameters
    ----------
    owner : ``[n]`` the class of each row, from 0.
    weight : ``[n]`` what each row counts; they sum to 1.
    anchor : ``[d, c]`` what the slope is pulled to.
    standardise : whether each column is pulled by its own variance.
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import minimize

    d, c = anchor.shape
    centre = weight @ x
    second = np.zeros((d, d))
    for cut in blocks(x):
        inside = x[cut] - centre.astype(x.dtype)
        second += (inside * weight[cut, None].astype(x.dtype)).T @ inside
    pull = lam * pulls(second, centre, standardise, x.dtype)[:, None]
    # The softmax's curvature where all classes are as likely, times the rows' covariance.
    lower = np.linalg.cholesky((c - 1) / c**2 * second + np.diag(pull[:, 0]))
    task = _Task(x, owner, weight, centre)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        free = flat[: d * c].reshape(d, c)
        move = solve_triangular(lower, free, lower=True, trans="T", check_finite=False)
        bias = flat[d * c :]
        value, by_slope, by_bias = task(anchor + move, bias)
        value += float((pull * move**2).sum()) / 2
        back = solve_triangular(lower, by_slope + pull * move, lower=True, check_finite=False)
        return value, np.concatenate([back.ravel(), by_bias])

    counts = np.bincount(owner, weight, minlength=c)
    first = np.zeros(d * c + c)
    first[d * c :] = np.log(np.maximum(counts, 1e-3 / c))
    ends = {"maxiter": STEPS, "maxcor": 10, "ftol": CHANGE, "gtol": 1e-5}
    best = minimize(loss, first, jac=True, method="L-BFGS-B", options=ends).x
    move = solve_triangular(lower, best[: d * c].reshape(d, c), lower=True, trans="T")
    slope = anchor + move
    return slope, best[d * c :] - centre @ slope


@dataclass(eq=False)
class _Task:
    """The mean loss of rows less their centre, and its slopes."""

    x: np.ndarray
    owner: np.ndarray
    weight: np.ndarray
    centre: np.ndarray

    def __call__(self, slope: np.ndarray, bias: np.ndarray) -> tuple[float, Any, Any]:
        kind = self.x.dtype
        held = slope.astype(kind)
        shift = (bias - self.centre @ slope).astype(kind)
        value, by_slope, by_bias = 0.0, np.zeros(slope.shape), np.zeros(len(bias))
        for cut in blocks(self.x, max(256, TILE // len(bias))):
            x, own, trust = self.x[cut], self.owner[cut], self.weight[cut]
            z = x @ held
            z += shift
            z -= z.max(axis=1, keepdims=True)
            line = np.arange(len(z))
            right = z[line, own].astype(np.float64)
            np.exp(z, out=z)
            total = z.sum(axis=1)
            value += float(trust @ (np.log(total.astype(np.float64)) - right))
            z *= (trust / total).astype(kind)[:, None]
            z[line, own] -= trust.astype(kind)
            by_slope += x.T @ z
            by_bias += z.sum(axis=0, dtype=np.float64)
        by_slope -= np.outer(self.centre, by_bias)
        return value, by_slope, by_bias
