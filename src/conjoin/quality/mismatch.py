"""Mismatched pairs: what the detectors say, as one confidence.

The same detectors are asked of the pairs as they stand and of pairs planted wrong. A logistic
regression tells the two apart, and its odds are how suspect a pair is. But a right pair that is
hard looks as a wrong one does, so a second regression reads the odds beside how hard the pair's
surroundings are (:mod:`~conjoin.quality.hard_pairs`): its odds are the ratio of the densities
``f₁ / f`` of wrong and of given pairs there. With π the share of wrong pairs among the given, a
pair is wrong with probability ``π f₁ / f``.

π is at most ``P(score > t) / P₁(score > t)`` for every threshold ``t``, and wrong pairs are taken
to turn up among easy pairs as often as among hard ones. So it is read at the threshold at which it
is least, and in a part of the pairs, by hardness, where that has less than chance explains.
"""

from dataclasses import dataclass

import numpy as np

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.quality.cross_fit import Crossed, Edge, answers, cross
from conjoin.quality.finding import KINDS, Finding
from conjoin.quality.hard_pairs import hardness, parts
from conjoin.quality.inputs import Case, Progress

#: Planted wrong pairs of which at least this share, and at most that, must lie above a threshold
#: at which π is read.
REACH = (0.1, 0.9)
#: A part has fewer wrong pairs than all lines have where chance gives as few no oftener;
#: and always where planted and given lines are told apart no oftener than this.
BY_CHANCE, WEAK = 0.05, 0.75
#: Planted and given lines told apart no oftener are as good as not bound.
APART = 0.6
#: Share of pairs that are alike to wrong ones and are not wrong from which that is said.
BY_NATURE = 0.05
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
    alike : share of lines that look no better than wrong ones, most of them by nature where it
        is above π.
    apart : share of couples of a given and a planted line that are told apart: ½ where the two
        modalities are not bound at all.
    """

    confidence: np.ndarray
    share: float
    scores: dict[str, np.ndarray]
    planted: np.ndarray
    alike: float
    apart: float

    @property
    def weak(self) -> bool:
        """Whether so many pairs look wrong by nature that no share of right findings holds.

        What is told there has passed for wrong beside planted pairs, but right pairs that are
        hard may be as extreme: confidence and precision are then upper bounds.
        """
        return self.alike - self.share > BY_NATURE

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
    asked = np.concatenate([crossed.given, crossed.planted()])
    scores = {name: of_kind("detector")[name].make()(crossed, asked) for name in COMBINED}
    odds = _told_apart(np.stack([scores[name] for name in COMBINED], axis=2))
    hard = hardness(crossed, odds[0], asked)
    ratio = _told_apart(np.stack([odds, hard, odds * hard, odds**2], axis=2))
    share = _share(odds, hard)
    found = np.minimum(1, share * np.exp(np.minimum(ratio, 50)))
    return Suspicion(
        found[0], share, {n: s[0] for n, s in scores.items()}, found[1],
        wrong_share(odds[0], odds[1]), _apart(odds[0], odds[1]),
    )  # fmt: skip


def _told_apart(table: np.ndarray) -> np.ndarray:
    """``log(f₁ / f)`` of wrong over given lines ``[2, m]``, by a logistic regression on
    ``table [2, m, features]``: planted lines are as many as given ones.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    flat = table.reshape(-1, table.shape[2])
    wrong = np.repeat([False, True], table.shape[1])
    flat = StandardScaler().fit_transform(flat)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(flat, wrong)
    return np.asarray(model.decision_function(flat).reshape(2, -1))


def _apart(given: np.ndarray, planted: np.ndarray) -> float:
    place = np.searchsorted(np.sort(given), planted, side="left")
    level = np.searchsorted(np.sort(given), planted, side="right")
    return float((place + level).mean() / 2 / len(given))


def wrong_share(given: np.ndarray, planted: np.ndarray) -> float:
    """π: the least ratio of given to planted lines above a threshold, at most 1.

    Parameters
    ----------
    given, planted : scores of the lines as they stand, and of lines that are wrong.
    """
    return _least_share(given, planted)[0]


def _least_share(given: np.ndarray, planted: np.ndarray) -> tuple[float, float]:
    """π and the threshold it is read at."""
    levels = np.quantile(planted, np.linspace(1 - REACH[1], 1 - REACH[0], 40))
    # One more than was seen: the least of forty counts is too small a number.
    above = np.array([1 + (given >= level).sum() for level in levels]) / len(given)
    reached = np.array([(planted >= level).mean() for level in levels])
    found = above / np.maximum(reached, 1e-9)
    at = int(found.argmin())
    return float(min(1.0, found[at])), float(levels[at])


def _share(odds: np.ndarray, hard: np.ndarray) -> float:
    """π over all lines, or less where a part of them, by hardness, has less beyond chance."""
    from scipy.stats import binom

    whole, level = _least_share(odds[0], odds[1])
    weak = _apart(odds[0], odds[1]) < WEAK
    found = [whole]
    for mine, theirs in parts(hard[0], hard[1]):
        given, planted = odds[0][mine], odds[1][theirs]
        if len(planted):
            wanted = min(1.0, whole * float((planted >= level).mean()))
            chance = binom.cdf((given >= level).sum(), len(given), wanted)
            if weak or chance < BY_CHANCE:
                found.append(wrong_share(given, planted))
    return min(found)


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
        notes += _doubts(names, seen)
        facts["+".join(names)] = {
            "pairs": len(edge.crossed), "wrong_at_most": round(seen.share, 4),
            "alike": round(seen.alike, 4), "apart": round(seen.apart, 4),
            "told": int((seen.confidence >= least).sum()),
            "recall": round(seen.recall(least), 4),
        }  # fmt: skip
    return found, facts, notes


def _doubts(names: tuple[str, str], seen: Suspicion) -> list[str]:
    """Where the two modalities say little of one another, that this is so."""
    both = " and ".join(names)
    if seen.apart < APART:
        return [f"{both} say next to nothing of one another: wrong pairs of theirs are not told"]
    if seen.weak:
        return [
            f"{both}: {100 * seen.alike:.0f} % of the pairs look no better than wrong ones, most "
            "of them by nature; wrong ones among these are not told, and what is told may be right "
            "all the same: look before you drop"
        ]
    return []


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
            "weakly_bound": seen.weak,
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
