"""Measures of answers to documents: pages, citations, refusals, and risk against coverage."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from conjoin.metrics.measurement import Measurement
from conjoin.metrics.outcomes.base import Results, checked, told


@dataclass(frozen=True)
class Answers:
    """How questions were answered and refused; a refusal is scored, never left out.

    Conditions, a number for each question: ``answerable``, ``refused``, ``found`` (a right page is
    cited) are 0 or 1; ``correct`` is the share of its citations that are right. With A the
    answerable and S the questions that were answered::

        page recall = Σ_{A ∩ S} found / |A|         citation precision = Σ_S correct / |S|
        answer coverage = |A ∩ S| / |A|             refusal recall = share refused outside A
        outcome = (Σ_{A ∩ S} found + number refused outside A) / n

    Where a divisor is 0 the value is 0: a system that refuses everything has no precision.

    Source: citations after Gao et al., ALCE (2023), with pages in place of an entailment model;
    unanswerable questions after Rajpurkar et al., SQuAD 2.0 (2018).

    Examples
    --------
    >>> asked = {"answerable": [1, 1, 0], "refused": [0, 1, 1], "found": [1, 0, 0],
    ...          "correct": [0.5, 0, 0]}
    >>> [(one.name, round(one.value, 3)) for one in Answers()(asked)][:3]
    [('page recall', 0.5), ('citation precision', 0.5), ('answer coverage', 0.5)]
    """

    example: ClassVar[tuple[str, ...]] = ("answerable", "refused", "found", "correct")

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The five numbers.

        Raises
        ------
        ConjoinError : a condition is missing, or out of ``[0, 1]``.
        """
        held = checked("answers", results, self.example)
        able, said = held["answerable"] > 0.5, held["refused"] < 0.5
        found = held["found"] * (able & said)
        n = len(able)
        outcome = (found.sum() + float((~able & ~said).sum())) / n
        return (
            told("page recall", _over(found, able), int(able.sum()), (0, 1),
                 "Share of answerable questions with a right page cited."),
            told("citation precision", _over(held["correct"] * said, said),
                 int(said.sum()), (0, 1), "Share of citations that are right, over what was said."),
            told("answer coverage", _over(able & said, able), int(able.sum()), (0, 1),
                 "Share of answerable questions that were answered."),
            told("refusal recall", _over(~able & ~said, ~able), int((~able).sum()),
                 (0, 1), "Share of unanswerable questions that were refused."),
            told("outcome", outcome, n, (0, 1),
                 "Share of questions answered with a right page, or rightly refused."),
        )  # fmt: skip


def _over(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum()) / float(whole.sum()) if whole.any() else 0.0


@dataclass(frozen=True)
class Refusal:
    """Whether confidence tells answerable questions from others: the area under the ROC curve.

    ``P(c⁺ > c⁻) + ½ P(c⁺ = c⁻)`` over pairs of an answerable and an unanswerable question; .5
    where one kind is absent. Conditions ``answerable`` (0 or 1) and ``confidence``.

    Source: Rajpurkar et al., SQuAD 2.0 (2018), which thresholds such a confidence.

    Examples
    --------
    >>> Refusal()({"answerable": [1, 0, 0], "confidence": [0.8, 0.8, 0.1]})[0].value
    0.75
    """

    example: ClassVar[tuple[str, ...]] = ("answerable", "confidence")

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The area.

        Raises
        ------
        ConjoinError : a condition is missing, or out of ``[0, 1]``.
        """
        held = checked("refusal-auroc", results, self.example)
        able = held["answerable"] > 0.5
        right, wrong = np.sort(held["confidence"][able]), held["confidence"][~able]
        area = 0.5
        if len(right) and len(wrong):
            above = len(right) - np.searchsorted(right, wrong, "right")
            level = np.searchsorted(right, wrong, "right") - np.searchsorted(right, wrong, "left")
            area = float((above + 0.5 * level).sum() / len(right) / len(wrong))
        return (told("refusal AUROC", area, len(able), (0, 1),
                     "Chance that an answerable question is the more confident one."),)  # fmt: skip


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and risk at every threshold of confidence, most confident first.

    ``coverage(t) = share with c ≥ t``, ``risk(t) = 1 − mean right of those``. Equal confidences
    are answered together.

    Returns
    -------
    coverage, risk : ``[m]``, one for each distinct confidence.

    Examples
    --------
    >>> cover, risk = risk_coverage(np.array([0.9, 0.5, 0.5]), np.array([1, 1, 0]))
    >>> cover.round(2).tolist(), risk.round(2).tolist()
    ([0.33, 1.0], [0.0, 0.33])
    """
    order = np.argsort(-confidence, kind="stable")
    falling, hits = confidence[order], np.cumsum(np.asarray(right, float)[order])
    ends = np.append(np.flatnonzero(np.diff(falling) != 0), len(falling) - 1)
    return (ends + 1) / len(falling), 1 - hits[ends] / (ends + 1)


@dataclass(frozen=True)
class RiskCoverage:
    """The area under the risk–coverage curve, and the coverage that a risk allows.

    ``AURC = ∫ risk d coverage`` over the steps of :func:`risk_coverage`; ``coverage at risk r`` is
    the largest coverage whose risk is at most r, 0 where none is. Conditions ``right`` (0 or 1)
    and ``confidence``.

    Parameters
    ----------
    risk : that is allowed.

    Source: Geifman and El-Yaniv, Selective classification for deep neural networks (2017).

    Examples
    --------
    >>> found = RiskCoverage()({"right": [1, 1, 0], "confidence": [0.9, 0.6, 0.1]})
    >>> [round(one.value, 3) for one in found]
    [0.111, 0.667]
    """

    example: ClassVar[tuple[str, ...]] = ("right", "confidence")
    risk: float = 0.1

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The area and the coverage.

        Raises
        ------
        ConjoinError : a condition is missing, or out of ``[0, 1]``.
        """
        held = checked("risk-coverage", results, self.example)
        cover, risk = risk_coverage(held["confidence"], held["right"])
        area = float((np.diff(cover, prepend=0.0) * risk).sum())
        most = float(cover[risk <= self.risk].max(initial=0.0))
        n = len(held["right"])
        return (
            told("AURC", area, n, (0, 1), "Area under risk against coverage.", up=False),
            told(f"coverage at risk {self.risk:g}", most, n, (0, 1),
                 "Largest share of questions answered at no more than this risk."),
        )  # fmt: skip
