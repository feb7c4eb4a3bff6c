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
from conjoin.retrieval.hits import Hit

#: First scores of a list that a calibration may read beside the one it judges.
CONTEXT = 10
#: A gallery grown or shrunk by more than this factor makes a calibration stale.
GROWN = 2.0
#: First scores of a list that are read at most, in a gallery that has grown.
READ = int(CONTEXT * GROWN)
#: No probability is nearer to 0 or 1: held-out lists cannot show that something is certain.
LEAST = 1e-4
#: Share of the lists that hold an answer which the threshold of "nothing relevant" keeps.
KEEP = 0.95

#: What a hit is that answers, by the meaning of a probability.
SAID = {"partner": "the partner", "relevant": "relevant"}
#: A list judged by its probabilities alone; what versions before wrote was of the best hit.
BEST = (0.0, 1.0, 0.0)

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
    threshold : chance that the list holds a right answer below which nothing is called relevant.
    meaning : what a match is: the query's ``partner`` alone, or whatever is ``relevant``.
    listed : ``(a, b, c)`` of that chance ``C``, see :meth:`chance`.
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
    meaning: str = "partner"
    listed: tuple[float, float, float] = (0.0, 1.0, 0.0)

    def serving(self, rows: int) -> "Calibration":
        """The same for an index of that many rows."""
        return replace(self, rows=rows, sampled=self.sampled or self.rows)

    def _share(self, rows: int | None) -> float:
        # Where more rows are as much more relevant ones, the odds stay.
        if rows is None or self.curve == "context" or self.meaning != "partner":
            return 1.0
        return (self.sampled or self.rows) / rows

    def fresh(self, rows: int) -> bool:
        """Whether a gallery of that many rows is near enough to the one it was fitted to."""
        return self.rows / GROWN <= rows <= self.rows * GROWN

    def probabilities(self, scores: np.ndarray, rows: int | None = None) -> np.ndarray:
        """``[..., k]`` from the scores of lists ``[..., k]``, best first.

        Scores beyond the first :data:`READ` change nothing for those before them.
        """
        s = np.asarray(scores, dtype=np.float64)
        odds = np.exp(self._logit(s, self._ratio(rows))) * self._share(rows)
        return np.clip(odds / (1 + odds), LEAST, 1 - LEAST)

    def _ratio(self, rows: int | None) -> float:
        """How many rows stand where one stood in the lists it was fitted to.

        Where more rows are as much more relevant ones, the list's first scores rise though no hit
        is any more likely: what is read of the list is then read as much further down.
        """
        if rows is None or self.meaning == "partner":
            return 1.0
        return rows / (self.sampled or self.rows)

    def _logit(self, s: np.ndarray, ratio: float = 1.0) -> np.ndarray:
        if self.curve == "isotonic":
            at, worth = (np.asarray(self.params[key]) for key in ("at", "worth"))
            p = np.clip(np.interp(s, at, worth), LEAST, 1 - LEAST)
            return np.asarray(np.log(p / (1 - p)))
        beta = np.asarray(self.params["beta"])
        return np.clip(features(s, self.curve, ratio) @ beta, -30, 30)

    def least(self, rows: int | None = None) -> float:
        """The threshold in a gallery of that many rows."""
        odds = self.threshold / max(1 - self.threshold, LEAST) * self._share(rows)
        return odds / (1 + odds)

    def chance(self, probabilities: np.ndarray, near: Any = None) -> np.ndarray:
        """``[...]`` the chance that lists ``[..., k]`` hold a right answer among their first ten.

        ``logit C = a + b logit A + c near`` with ``A = Σ_i P_i`` of partners, since there is one,
        and ``A = 1 − Π_i (1 − P_i)`` of relevant items: several that answer share the chance, so
        no best hit need stand out. ``near`` is how familiar the query is.
        """
        p = np.asarray(probabilities, dtype=np.float64)[..., :CONTEXT]
        some = evidence(p, self.meaning)
        a, b, c = self.listed
        told = 0.0 if near is None or c == 0 else c * np.asarray(near, dtype=np.float64)
        return np.asarray(1 / (1 + np.exp(-np.clip(a + b * some + told, -30, 30))))

    def nothing(self, chance: float, rows: int | None = None) -> str | None:
        """Why a list with that chance to hold an answer holds nothing relevant, or ``None``."""
        least = self.least(rows)
        if chance >= least:
            return None
        kept = float(self.facts.get("keep", KEEP))
        if "near" in self.facts:  # half of the false alarms are left to it
            kept = 1 - (1 - kept) / 2
        return (
            f"nothing relevant: that any of the first hits is {SAID[self.meaning]} has the chance "
            f"{chance:.2g}, and in {100 * kept:.3g} % of the lists that hold one it reaches "
            f"{least:.2g}"
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
            "meaning": self.meaning, "listed": list(self.listed),
        }  # fmt: skip

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Calibration":
        """Read back what :meth:`to_json` wrote."""
        try:
            return cls(
                raw["frame"], raw["score"], int(raw["rows"]), raw["curve"], raw["params"],
                float(raw["threshold"]), raw["facts"], int(raw["sampled"]),
                str(raw.get("meaning", "partner")), tuple(raw.get("listed", BEST)),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise ConjoinError("calibration", f"{error} is missing", "run: conjoin fit") from None


def features(scores: np.ndarray, curve: str, ratio: float = 1.0) -> np.ndarray:
    """``[..., k, f]`` what a curve reads of the scores of lists ``[..., k]``, best first.

    Parameters
    ----------
    ratio : of the gallery's rows to those the curve was fitted to: the ``i``-th score of a list is
        then read at place ``ratio · i``, between scores by a straight line.
    """
    s = np.asarray(scores, dtype=np.float64)
    one = np.ones_like(s)
    if curve == "logistic":
        return np.stack([one, s], axis=-1)
    first = s[..., :CONTEXT]
    if ratio != 1.0:
        places = np.clip(ratio * np.arange(1, CONTEXT + 1), 1, s.shape[-1]) - 1
        low = places.astype(int)
        high, part = np.minimum(low + 1, s.shape[-1] - 1), places - low
        first = s[..., low] * (1 - part) + s[..., high] * part
    top = first[..., :1] * one
    mean = first.mean(axis=-1, keepdims=True) * one
    return np.stack([one, s, top, mean], axis=-1)


def evidence(p: np.ndarray, meaning: str) -> np.ndarray:
    """``[...]`` the logit of the chance that any hit of lists ``[..., k]`` answers.

    A query's partner is one item, so chances add up, to nearly 1 at most; relevant items are taken
    to be so independently of each other.

    >>> np.exp(evidence(np.array([0.5, 0.5]), "relevant")).round(6), round(0.75 / 0.25, 6)
    (3.0, 3.0)
    >>> np.exp(evidence(np.array([0.25, 0.25]), "partner")).round(6)
    1.0
    """
    if meaning == "partner":
        total = np.clip(np.asarray(p, dtype=np.float64).sum(axis=-1), LEAST, 1 - LEAST)
        return np.asarray(np.log(total / (1 - total)))
    none = np.log1p(-np.clip(p, 0.0, 1 - LEAST)).sum(axis=-1)
    return np.asarray(np.log(-np.expm1(np.minimum(none, -1e-12))) - none)


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
    lists : of :data:`CONTEXT` hits or more where there are as many.
    near : how familiar the query is, where it is known.
    """
    found = {}
    for name, calibration in calibrations.items():
        hits = lists.get(name, ())
        if hits and hits[0].probability is not None:
            p = np.array([hit.probability or 0.0 for hit in hits[:CONTEXT]])
            chance = float(calibration.chance(p, near))
            said = calibration.odd(near) or calibration.nothing(chance, rows[name])
            if said:
                found[name] = said
    return found
