"""Scores that mean something: the chance that a hit is a match, and that nothing here is.

A calibration is fitted to lists of held-out queries against the gallery they will be put to, and
goes with the index. What a score means depends on the frame, on the correction and on how many
rows there are to be mistaken for the right one, so it is kept with all three.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, FrameError
from conjoin.search.hits import Hit

#: First scores of a list that a calibration may read beside the one it judges.
CONTEXT = 10
#: A gallery grown or shrunk by more than this factor makes a calibration stale.
GROWN = 2.0
#: No probability is nearer to 0 or 1: held-out lists cannot show that something is certain.
LEAST = 1e-4
#: Share of the lists that hold an answer which the threshold of "nothing relevant" keeps.
KEEP = 0.95

#: The curves, simplest first, with what each says.
CURVES: Mapping[str, str] = {
    "logistic": "logit P = a + b s",
    "isotonic": "P rises with s in steps (pool adjacent violators)",
    "context": "logit P = a + b s + c (best score of the list) + d (mean of its first ten)",
}


@dataclass(frozen=True)
class Calibration:
    """P(match | score) of the hits of one direction: rising in the score within a list.

    ``logit P = a + b s``, or with two facts about the query's list beside (``context``), or a
    step function of the score (``isotonic``); see :data:`CURVES`. For curves of the score alone
    a gallery of ``n`` rows multiplies the odds by ``sampled / n``: as many more wrong rows reach
    any score, and no more right ones. A list's own first scores tell how crowded it is.

    Parameters
    ----------
    frame : id of the frame its scores are of.
    score : name of the score it reads: ``cosine``, or the correction's.
    rows : gallery rows of the index at the fit; ``sampled``, those of the lists it was fitted to.
    curve : one of :data:`CURVES`.
    params : its coefficients ``beta``, or its knots ``at`` and ``worth``.
    threshold : probability of the best hit below which nothing is called relevant.
    facts : what was measured at the fit: ``queries``, ``kept``, ``rejected``, ``logloss``…
    """

    frame: str
    score: str
    rows: int
    curve: str
    params: Mapping[str, Sequence[float]]
    threshold: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    sampled: int = 0

    def serving(self, rows: int) -> "Calibration":
        """The same for an index of that many rows."""
        return replace(self, rows=rows, sampled=self.sampled or self.rows)

    def _share(self, rows: int | None) -> float:
        if rows is None or self.curve == "context":
            return 1.0
        return (self.sampled or self.rows) / rows

    def fresh(self, rows: int) -> bool:
        """Whether a gallery of that many rows is near enough to the one it was fitted to."""
        return self.rows / GROWN <= rows <= self.rows * GROWN

    def probabilities(self, scores: np.ndarray, rows: int | None = None) -> np.ndarray:
        """``[..., k]`` from the scores of lists ``[..., k]``, best first.

        Scores beyond the first :data:`CONTEXT` change nothing for those before them.
        """
        s = np.asarray(scores, dtype=np.float64)
        odds = np.exp(self._logit(s)) * self._share(rows)
        return np.clip(odds / (1 + odds), LEAST, 1 - LEAST)

    def _logit(self, s: np.ndarray) -> np.ndarray:
        if self.curve == "isotonic":
            at, worth = (np.asarray(self.params[key]) for key in ("at", "worth"))
            p = np.clip(np.interp(s, at, worth), LEAST, 1 - LEAST)
            return np.asarray(np.log(p / (1 - p)))
        beta = np.asarray(self.params["beta"])
        return np.clip(features(s, self.curve) @ beta, -30, 30)

    def least(self, rows: int | None = None) -> float:
        """The threshold in a gallery of that many rows."""
        odds = self.threshold / max(1 - self.threshold, LEAST) * self._share(rows)
        return odds / (1 + odds)

    def nothing(self, best: float, rows: int | None = None) -> str | None:
        """Why a list whose best hit has that probability holds nothing relevant, or ``None``."""
        least = self.least(rows)
        if best >= least:
            return None
        kept = float(self.facts.get("keep", KEEP))
        if "near" in self.facts:  # half of the false alarms are left to it
            kept = 1 - (1 - kept) / 2
        return (
            f"nothing relevant: the best hit matches with probability {best:.2g}, and in "
            f"{100 * kept:.3g} % of the lists that hold an answer it reaches {least:.2g}"
        )

    def odd(self, near: float | None) -> str | None:
        """Why a query so little familiar has no answer here, or ``None``."""
        least = self.facts.get("near")
        if near is None or least is None or near >= float(least):
            return None
        share = 1 - (1 - float(self.facts.get("keep", KEEP))) / 2
        return (
            f"nothing relevant: the query is like none this was fitted to (likeness {near:.2g}; "
            f"{share:.1%} of the queries that have an answer reach {float(least):.2g})"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "frame": self.frame, "score": self.score, "rows": self.rows, "curve": self.curve,
            "params": {k: [float(x) for x in v] for k, v in self.params.items()},
            "threshold": self.threshold, "facts": dict(self.facts), "sampled": self.sampled,
        }  # fmt: skip

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Calibration":
        """Read back what :meth:`to_json` wrote."""
        try:
            return cls(
                raw["frame"], raw["score"], int(raw["rows"]), raw["curve"], raw["params"],
                float(raw["threshold"]), raw["facts"], int(raw["sampled"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise ConjoinError("calibration", f"{error} is missing", "run: conjoin fit") from None


def features(scores: np.ndarray, curve: str) -> np.ndarray:
    """``[..., k, f]`` what a curve reads of the scores of lists ``[..., k]``, best first."""
    s = np.asarray(scores, dtype=np.float64)
    one = np.ones_like(s)
    if curve == "logistic":
        return np.stack([one, s], axis=-1)
    top = s[..., :1] * one
    mean = s[..., :CONTEXT].mean(axis=-1, keepdims=True) * one
    return np.stack([one, s, top, mean], axis=-1)


def check_calibration(
    edge: tuple[str, str], calibration: Calibration, frame: str, score: str
) -> None:
    """Refuse one that was fitted to other scores than the index gives.

    Raises
    ------
    FrameError : it is of another frame.
    ConjoinError : it reads another score: the correction changed.
    """
    where = f"calibration {edge[0]} to {edge[1]}"
    if calibration.frame != frame:
        raise FrameError(where, f"was fitted in frame {calibration.frame}", "run: conjoin fit")
    if calibration.score != score:
        raise ConjoinError(
            where, f"reads {calibration.score}, the index scores by {score}", "run: conjoin fit"
        )


def told(hits: tuple[Hit, ...], calibration: Calibration | None, rows: int) -> tuple[Hit, ...]:
    """The hits of one list with their probabilities; as they are where none can be said."""
    if calibration is None or not hits or not calibration.fresh(rows):
        return hits
    found = calibration.probabilities(np.array([hit.score for hit in hits]), rows)
    return tuple(
        replace(hit, probability=float(p)) for hit, p in zip(hits, found, strict=True)
    )  # fmt: skip


def nothing_of(
    lists: Mapping[str, tuple[Hit, ...]],
    calibrations: Mapping[str, Calibration],
    rows: Mapping[str, int],
    near: float | None = None,
) -> dict[str, str]:
    """For each list without a likely match, a sentence that says so.

    Parameters
    ----------
    near : how familiar the query is, where it is known.
    """
    found = {}
    for name, calibration in calibrations.items():
        hits = lists.get(name, ())
        if hits and hits[0].probability is not None:
            said = calibration.odd(near) or calibration.nothing(hits[0].probability, rows[name])
            if said:
                found[name] = said
    return found
