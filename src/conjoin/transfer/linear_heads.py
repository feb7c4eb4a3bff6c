"""Heads with a closed form: by means, by names, by attributes, by least squares."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.spaces.frame import unit
from conjoin.spaces.given import numbers_of
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
from conjoin.transfer.heads import Linear, Numbers, log_softmax

#: Rows by which temperatures are set.
SAMPLE = 2048


@dataclass(frozen=True)
class Majority:
    """The class met most often, whatever the row: ``score = log(n_c / n)``.

    A baseline: below it nothing was learned.
    """

    prototypes: ClassVar[str] = "unused"
    answers: ClassVar[str] = "classes"

    def fit(
        self, x: Any, y: Any, *, prototypes: Prototypes | None = None,
        weight: np.ndarray | None = None, seed: int = 0,
    ) -> Linear:  # fmt: skip
        """How often each class is."""
        rows = check_rows(x, "x")
        labels = check_labels(y, len(rows))
        classes = known_classes(labels)
        trust = check_weight(weight, len(rows))
        counts = np.bincount(np.searchsorted(classes, labels), trust, len(classes))
        return Linear(
            classes, np.zeros((rows.shape[1], len(classes))), np.log(counts / counts.sum())
        )


@dataclass(frozen=True)
class NearestMean:
    """The class whose mean is nearest: ``score = −|x − m_c|² / (2 t)``.

    The temperature ``t`` makes the probabilities of the training rows, each left out of its own
    mean, as likely as they can be; it changes no answer.
    """

    prototypes: ClassVar[str] = "unused"
    answers: ClassVar[str] = "classes"

    def fit(
        self, x: Any, y: Any, *, prototypes: Prototypes | None = None,
        weight: np.ndarray | None = None, seed: int = 0,
    ) -> Linear:  # fmt: skip
        """The means of the classes."""
        rows = check_rows(x, "x")
        labels = check_labels(y, len(rows))
        classes = known_classes(labels)
        owner = np.searchsorted(classes, labels)
        trust = check_weight(weight, len(rows))
        counts = np.bincount(owner, trust, len(classes))
        sums = np.zeros((len(classes), rows.shape[1]))
        for cut in blocks(rows):
            np.add.at(sums, owner[cut], rows[cut].astype(np.float64) * trust[cut, None])
        means = sums / counts[:, None]
        t = self._temperature(rows, owner, means, trust)
        return Linear(classes, means.T / t, -(means**2).sum(axis=1) / (2 * t))

    def _temperature(
        self, rows: np.ndarray, owner: np.ndarray, means: np.ndarray, trust: np.ndarray
    ) -> float:
        at = _sample(len(rows))
        counts = np.bincount(owner, trust, len(means))
        at = at[counts[owner[at]] > trust[at] * (1 + 1e-9)]
        x = rows[at].astype(np.float64)
        scores = x @ means.T - (means**2).sum(axis=1) / 2
        if not len(at):
            return float(np.maximum(np.var(means, axis=0).sum(), 1e-12))
        n, one = counts[owner[at]].astype(np.float64), trust[at]
        own = (means[owner[at]] * n[:, None] - one[:, None] * x) / (n - one)[:, None]
        line = np.arange(len(at))
        scores[line, owner[at]] = (x * own).sum(axis=1) - (own**2).sum(axis=1) / 2
        return temperature(scores, owner[at])


@dataclass(frozen=True)
class ZeroShot:
    """The class whose name is nearest: ``score = scale · cos(x, mean of the class's prototypes)``.

    No label is read. With several prompts a class, the mean of their unit vectors counts.

    Parameters
    ----------
    scale : inverse temperature of the probabilities; it changes no answer.

    References
    ----------
    Radford et al. 2021 (radford2021clip).
    """

    scale: Annotated[float, Search(1.0, 1000.0, log=True)] = 100.0
    prototypes: ClassVar[str] = "needed"
    answers: ClassVar[str] = "classes"

    def fit(self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0) -> Linear:
        """The names, as a linear head."""
        rows = check_rows(x, "x")
        named = require_prototypes(prototypes, rows.shape[1], "zero-shot-head")
        check_labels(y, len(rows))
        classes = known_classes(named.labels)
        weight = self.scale * named.means(classes).T
        return Linear(classes, weight, np.zeros(len(classes)), unit=True)


@dataclass(frozen=True)
class AttributeHead:
    """A row says which attributes it has; the class with those attributes is the answer.

    The prototypes of a class are its attributes, and equal vectors are one attribute: ``A`` holds
    the m of them at unit length and ``S [c, m]`` says which class has which, each row at unit
    length. ``V = argmin Σᵢ |V xᵢ − s_yᵢ|² / n + λ |V − A|²`` reads attributes off a row at unit
    length, starting from their words, and ``score_c = scale · cos(V x − μ, s_c − s̄)`` with means
    over the training rows and over the classes. λ is in units of the mean eigenvalue of the rows'
    second moment. Without a labelled row ``V = A``.

    Parameters
    ----------
    lam : λ; large keeps to the words.
    scale : inverse temperature.

    References
    ----------
    That words of attributes ground what is seen, for classes with few labels or none: Chen et al.
    2023 (DUET), who train a whole language model to it; this is a closed form of the idea.
    """

    lam: Annotated[float, Search(1e-3, 1e4, log=True)] = 1.0
    scale: Annotated[float, Search(1.0, 1000.0, log=True)] = 10.0
    prototypes: ClassVar[str] = "needed"
    answers: ClassVar[str] = "classes"

    def fit(
        self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0
    ) -> "Linear":
        """Attributes and what they are read by, as a linear head."""
        rows = check_rows(x, "x")
        named = require_prototypes(prototypes, rows.shape[1], "attributes")
        labels = check_labels(y, len(rows))
        classes = known_classes(named.labels)
        known_classes(labels, named) if len(labels) else None
        words, signs = signatures(named, classes)
        here = np.isin(labels, classes)
        q = unit(rows[here].astype(np.float64))
        reads, mean = words, np.zeros(len(words))
        if len(q):
            target = signs[np.searchsorted(classes, labels[here])]
            second = q.T @ q / len(q)
            lam = self.lam * np.trace(second) / len(second)
            left = second + lam * np.eye(len(second))
            reads = np.linalg.solve(left, q.T @ target / len(q) + lam * words.T).T
            mean = reads @ q.mean(axis=0)
        return _signed(classes, reads, mean, signs, self.scale)


def signatures(named: Prototypes, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct prototypes at unit length, and which classes have which, rows at unit length."""
    words, place = np.unique(
        unit(named.vectors.astype(np.float64)).round(9), axis=0, return_inverse=True
    )
    signs = np.zeros((len(classes), len(words)))
    signs[np.searchsorted(classes, named.labels), place.reshape(-1)] = 1
    return unit(words), unit(signs)


def _signed(
    classes: np.ndarray, reads: np.ndarray, mean: np.ndarray, signs: np.ndarray, scale: float
) -> Linear:
    # The length of V x − μ is the same for all classes: left out, it changes no answer.
    centred = unit(signs - signs.mean(axis=0))
    return Linear(classes, scale * reads.T @ centred.T, -scale * centred @ mean, unit=True)


@dataclass(frozen=True)
class RidgeClassifier:
    """Least squares on indicators of the classes: ``W = (Σ + λ I)⁻¹ Cov(x, 1_y)``.

    Rows and indicators are centred. With ``standardise`` λ pulls each column in units of its own
    variance, ``W = (Σ + λ diag Σ)⁻¹ …``: what ``λ I`` is on columns of spread 1, so that no column
    counts for its unit. Without, λ is in units of the mean eigenvalue of Σ. Scores are the
    predicted indicators over a temperature that makes the training rows, each left out of the fit,
    as likely as they can be.

    Parameters
    ----------
    lam : λ.
    standardise : pull each column by its own variance.
    balanced : each class counts the same, however many rows it has.

    References
    ----------
    Hoerl and Kennard 1970 (hoerl1970ridge).
    """

    lam: Annotated[float, Search(1e-4, 1e3, log=True)] = 0.3
    balanced: bool = False
    standardise: bool = True
    prototypes: ClassVar[str] = "unused"
    answers: ClassVar[str] = "classes"

    def fit(
        self, x: Any, y: Any, *, prototypes: Prototypes | None = None,
        weight: np.ndarray | None = None, seed: int = 0,
    ) -> Linear:  # fmt: skip
        """A linear head in closed form."""
        rows = check_rows(x, "x")
        labels = check_labels(y, len(rows))
        classes = known_classes(labels)
        owner = np.searchsorted(classes, labels)
        weight = check_weight(weight, len(rows))
        if self.balanced:
            weight = weight / np.bincount(owner, weight)[owner]
        weight = weight / weight.sum()
        hot = np.zeros((len(rows), len(classes)), rows.dtype)
        hot[np.arange(len(rows)), owner] = 1
        slope, bias, left = _solve(rows, hot, weight, self.lam, self.standardise)
        at = _sample(len(rows))
        x = rows[at].astype(np.float64)
        centre = weight @ rows
        inside = x - centre
        lever = weight[at] * (1 + (inside * np.linalg.solve(left, inside.T).T).sum(axis=1))
        lever = np.minimum(lever, 1 - 1e-6)
        fitted = x @ slope + bias
        out = hot[at] - (hot[at] - fitted) / (1 - lever)[:, None]
        t = temperature(out, owner[at])
        return Linear(classes, slope / t, bias / t)


@dataclass(frozen=True)
class RidgeRegressor:
    """Least squares on numbers: ``W = (Σ + λ diag Σ)⁻¹ Cov(x, y)``.

    That is ridge regression on columns of spread 1. Without ``standardise`` it is
    ``(Σ + λ I)⁻¹ Cov(x, y)`` with λ in units of Σ's mean eigenvalue.

    Parameters
    ----------
    lam : λ.
    standardise : pull each column by its own variance.

    References
    ----------
    Hoerl and Kennard 1970 (hoerl1970ridge).
    """

    lam: Annotated[float, Search(1e-4, 1e3, log=True)] = 0.3
    standardise: bool = True
    prototypes: ClassVar[str] = "unused"
    answers: ClassVar[str] = "numbers"

    def fit(
        self, x: Any, y: Any, *, prototypes: Prototypes | None = None,
        weight: np.ndarray | None = None, seed: int = 0,
    ) -> Numbers:  # fmt: skip
        """A linear head in closed form; ``y`` is ``[n]`` or ``[n, k]`` numbers."""
        rows = check_rows(x, "x")
        target, flat = numbers_of(y, "y")
        target = check_rows(target.astype(np.float64), "y")
        if len(target) != len(rows) or len(rows) < 2:
            raise ConjoinError("y", f"{len(target)} numbers for {len(rows)} rows", "give one a row")
        trust = check_weight(weight, len(rows))
        slope, bias, _ = _solve(rows, target, trust / trust.sum(), self.lam, self.standardise)
        return Numbers(slope, bias, flat)


def _solve(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, lam: float, standardise: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope ``[d, k]``, bias ``[k]`` and ``Σ`` with its pull, from one pass of weighted moments."""
    centre, aim = weight @ x, weight @ y
    d, k = x.shape[1], y.shape[1]
    second, cross = np.zeros((d, d)), np.zeros((d, k))
    for cut in blocks(x):
        inside = x[cut] - centre.astype(x.dtype)
        held = inside * weight[cut, None].astype(x.dtype)
        second += held.T @ inside
        cross += held.T @ (y[cut] - aim).astype(x.dtype)
    left = second + np.diag(lam * pulls(second, centre, standardise, x.dtype))
    slope = np.linalg.solve(left, cross)
    return slope, aim - centre @ slope, left


def _sample(n: int) -> np.ndarray:
    """Rows spread evenly over all."""
    return np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64))


def temperature(scores: np.ndarray, owner: np.ndarray) -> float:
    """The temperature by which scores make these classes likeliest, in a wide range.

    Examples
    --------
    >>> sure = np.array([[5.0, 0.0], [0.0, 5.0], [5.0, 0.0], [0.0, 5.0]])
    >>> temperature(sure, np.array([0, 1, 0, 0])) > temperature(sure, np.array([0, 1, 0, 1]))
    True
    """
    from scipy.optimize import minimize_scalar

    spread = float(np.ptp(scores, axis=1).mean()) or 1.0
    line = np.arange(len(scores))

    def loss(log_t: float) -> float:
        return -float(log_softmax(scores / np.exp(log_t))[line, owner].mean())

    base = np.log(spread)
    found = minimize_scalar(loss, bounds=(base - 5, base + 5), method="bounded")
    return float(np.exp(found.x))
