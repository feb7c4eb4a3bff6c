"""How common each class is in the target, from what a head says of its rows."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from conjoin.transfer.adaptation.base import Source, check_source, check_target
from conjoin.transfer.adaptation.fitted import Reweighted
from conjoin.transfer.base import softmax
from conjoin.transfer.linear_heads import temperature

#: Steps of expectation-maximisation at most, and the change of shares at which it ends.
STEPS, CHANGE = 2000, 1e-9


@dataclass(frozen=True)
class ConfusionShares:
    """Class shares that explain the answers: ``w = C⁻¹ q``, negative ones set to 0.

    ``C[i, j]`` is the share of source rows of class j answered i, and ``q[i]`` the share of target
    rows answered i; w is the share of a class in the target over that in the source, provided
    that nothing else differs. Answers are counted, or probabilities averaged where ``soft``.
    Source rows should be ones the head was not fitted to: else C is too good.

    Parameters
    ----------
    soft : average probabilities.

    References
    ----------
    Lipton et al. 2018 (lipton2018bbse).
    """

    soft: bool = False
    reads: ClassVar[str] = "labels"

    def fit(
        self, fitted: Any, x: Any, *, source: Source | None = None, seed: int = 0
    ) -> Reweighted:
        """The head with its classes weighed."""
        rows = check_target(fitted, x)
        given = check_source(source, rows.shape[1], "bbse").fresh()
        classes = fitted.classes
        hot = (given.y[:, None] == classes).astype(np.float64)
        said, new = (_said(fitted, part, self.soft) for part in (given.x, rows))
        confusion = said.T @ hot / len(hot)
        w = np.linalg.lstsq(confusion, new.mean(axis=0), rcond=1e-6)[0]
        w = np.maximum(w, 0.0)
        # A class the source has no row of keeps its weight: nothing here speaks of it.
        w = np.where(hot.sum(axis=0) > 0, w, 1.0)
        return Reweighted(fitted, w if w.any() else np.ones(len(w)))


def _said(fitted: Any, x: np.ndarray, soft: bool) -> np.ndarray:
    p = np.asarray(fitted.predict_proba(x), np.float64)
    return p if soft else np.eye(p.shape[1])[p.argmax(axis=1)]


@dataclass(frozen=True)
class LikelyShares:
    """Class shares that make the target's rows likeliest, by expectation-maximisation.

    ``r_ic ∝ (q_c / p_c) P(c | x_i)``, ``q_c = mean r_ic``, from ``q = p``, the shares of the
    source; then ``w = q / p``. P is the head's, its temperature set on the source's rows where
    ``calibrate``, of those the head was not fitted to.

    Parameters
    ----------
    calibrate : set a temperature first.

    References
    ----------
    Saerens et al. 2002 (saerens2002adjusting); the calibration: Alexandari et al. 2020
    (alexandari2020mlls), who also fit a bias a class.
    """

    calibrate: bool = True
    reads: ClassVar[str] = "labels"

    def fit(
        self, fitted: Any, x: Any, *, source: Source | None = None, seed: int = 0
    ) -> Reweighted:
        """The head with its classes weighed."""
        rows = check_target(fitted, x)
        given = check_source(source, rows.shape[1], "mlls")
        p = (given.y[:, None] == fitted.classes).sum(axis=0).astype(np.float64)
        # A class the source has no row of counts as half a row: its share is not known to be 0.
        p = np.maximum(p, 0.5) / np.maximum(p, 0.5).sum()
        fresh, t = given.fresh(), 1.0
        owner = np.searchsorted(fitted.classes, fresh.y).clip(max=len(fitted.classes) - 1)
        known = fitted.classes[owner] == fresh.y
        if self.calibrate and known.any():
            own = np.asarray(fitted.scores(fresh.x[known]), np.float64)
            t = temperature(own, owner[known])
        said = softmax(np.asarray(fitted.scores(rows), np.float64) / t)
        return Reweighted(fitted, likely_shares(said, p) / p, t)


def likely_shares(said: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """``[c]`` class shares of rows whose probabilities under ``prior`` are ``said`` ``[n, c]``.

    Examples
    --------
    >>> likely_shares(np.eye(2)[[0, 0, 0, 1]], np.array([0.5, 0.5])).round(2).tolist()
    [0.75, 0.25]
    """
    q = prior / prior.sum()
    for _ in range(STEPS):
        r = said * (q / prior)
        new = (r / np.maximum(r.sum(axis=1, keepdims=True), 1e-300)).mean(axis=0)
        moved, q = float(np.abs(new - q).max()), new
        if moved < CHANGE:
            break
    return q
