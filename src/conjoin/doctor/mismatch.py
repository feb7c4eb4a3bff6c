"""Mismatched pairs: what the detectors say, as one confidence.

The same detectors are asked of the pairs as they stand and of pairs planted wrong. A logistic
regression tells the two apart, so its odds are the ratio of the densities ``f₁ / f`` of wrong and
of given pairs. With π the share of wrong pairs among the given, a pair is wrong with probability
``π f₁ / f``. π is at most ``P(score > t) / P₁(score > t)`` for every threshold ``t``, and the
smallest of these is taken: an upper bound, near where good pairs rarely look as wrong ones do.
"""

from dataclasses import dataclass

import numpy as np

from conjoin.catalogue import of_kind
from conjoin.doctor.case import Case, Progress
from conjoin.doctor.crossed import Crossed, Edge, answers, cross
from conjoin.doctor.finding import KINDS, Finding
from conjoin.errors import ConjoinError

#: Planted wrong pairs of which at least this share, and at most that, must lie above a threshold
#: at which π is read.
REACH = (0.1, 0.9)
#: Of the detectors, those that are combined.
COMBINED = ("partner-rank", "contrastive-loss", "loss-mixture", "neighbour-vote")


@dataclass(frozen=True, eq=False)
class Suspicion:
    """What is known of the lines of one edge.

    Parameters
    ----------
    confidence : ``[m]`` probability that the line is wrong.
    share : π, the share of wrong lines.
    scores : ``[m]`` of each detector.
    planted : ``[m]`` confidence that as many lines get when they are planted wrong.
    """

    confidence: np.ndarray
    share: float
    scores: dict[str, np.ndarray]
    planted: np.ndarray

    def precision(self, least: float) -> float | None:
        """Share of wrong ones to expect among the lines at least so sure, at most.

        ``π P₁(confidence ≥ least) / P(confidence ≥ least)``, or the mean of the confidences where
        that is less: hard pairs that are right may lie beyond all planted ones.
        """
        told = self.confidence[self.confidence >= least]
        if len(told) == 0:
            return None
        counted = self.share * self.recall(least) / (len(told) / len(self.confidence))
        return float(min(told.mean(), counted))

    def recall(self, least: float) -> float:
        """Share of planted wrong pairs that are at least so sure."""
        return float((self.planted >= least).mean())


def suspect(crossed: Crossed) -> Suspicion:
    """Ask every detector and combine what they say."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    asked = np.concatenate([crossed.given, crossed.planted()])
    scores = {name: of_kind("detector")[name].make()(crossed, asked) for name in COMBINED}
    table = np.stack([scores[name] for name in COMBINED], axis=2).reshape(-1, len(COMBINED))
    wrong = np.repeat([False, True], len(crossed))
    scaler = StandardScaler().fit(table)
    model = LogisticRegression(C=1.0, max_iter=500).fit(scaler.transform(table), wrong)
    odds = model.decision_function(scaler.transform(table)).reshape(2, -1)
    share = wrong_share(odds[0], odds[1])
    # Wrong pairs are as many as given ones, so the odds are the ratio of densities.
    found = np.minimum(1, share * np.exp(np.minimum(odds, 50)))
    return Suspicion(found[0], share, {n: s[0] for n, s in scores.items()}, found[1])


def wrong_share(given: np.ndarray, planted: np.ndarray) -> float:
    """π: the least ratio of given to planted lines above a threshold, at most 1.

    Parameters
    ----------
    given, planted : scores of the lines as they stand, and of lines that are wrong.
    """
    levels = np.quantile(planted, np.linspace(1 - REACH[1], 1 - REACH[0], 40))
    # One more than was seen: the least of forty counts is too small a number.
    above = np.array([1 + (given >= level).sum() for level in levels]) / len(given)
    reached = np.array([(planted >= level).mean() for level in levels])
    return float(min(1.0, (above / np.maximum(reached, 1e-9)).min()))


def mismatches(case: Case, least: float, progress: Progress) -> tuple[list[Finding], dict, list]:
    """Findings, facts and notes of every pair of modalities that share lines."""
    found: list[Finding] = []
    facts: dict[str, object] = {}
    notes: list[str] = []
    if case.pairs is None or not case.pairs.edges():
        return [], {}, ["mismatched pairs were not looked for: no two modalities are paired"]
    for names in case.pairs.edges():
        try:
            edge = cross(case, names, progress)
        except ConjoinError as error:
            notes.append(f"mismatched pairs were not looked for: {error}")
            continue
        seen = suspect(edge.crossed)
        found += _findings(case, edge, seen, least)
        facts["+".join(names)] = {
            "pairs": len(edge.crossed), "wrong_at_most": round(seen.share, 4),
            "told": int((seen.confidence >= least).sum()),
            "recall": round(seen.recall(least), 4),
        }  # fmt: skip
    return found, facts, notes


def _findings(case: Case, edge: Edge, seen: Suspicion, least: float) -> list[Finding]:
    left, right = (case.views[name].space for name in edge.names)
    order = np.argsort(-seen.confidence, kind="stable")
    order = order[seen.confidence[order] >= least]
    told = []
    for line, best in zip(order, answers(case, edge, order), strict=True):
        i, j = int(edge.rows[0][line]), int(edge.rows[1][line])
        evidence = {
            "rank": best.rank, "of": len(right), "score": round(best.own, 4),
            "better": str(right.ids[best.row]), "better_score": round(best.score, 4),
            **{name: round(float(s[line]), 4) for name, s in seen.scores.items()},
        }  # fmt: skip
        items = (str(left.ids[i]), str(right.ids[j]))
        told.append(
            Finding(
                "mismatch",
                items,
                "+".join(edge.names),
                float(seen.confidence[line]),
                seen.precision(seen.confidence[line]),
                evidence,
                KINDS["mismatch"],
                (int(left.parts[i]), int(right.parts[j])),
            )
        )
    return told
