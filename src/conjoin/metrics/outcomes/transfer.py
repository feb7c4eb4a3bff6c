"""Before and after, source and target, edits, graded pictures, and whether modalities integrate."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.metrics.measurement import Measurement
from conjoin.metrics.outcomes.base import Results, checked, told


@dataclass(frozen=True)
class NormalisedGain:
    """What was learnt of what could be: ``(after − before) / (1 − before)``, accuracies.

    At most 1; negative where the lesson hurts. Nothing is defined where ``before`` is 1.

    Source: Hu et al., Video-MMMU (2025); README of github.com/EvolvingLMMs-Lab/VideoMMMU.

    Examples
    --------
    >>> NormalisedGain()({"before": [1, 0, 0, 0, 0], "after": [1, 1, 0, 0, 0]})[0].value
    0.25
    """

    example: ClassVar[tuple[str, ...]] = ("before", "after")

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The gain.

        Raises
        ------
        ConjoinError : everything was right before.
        """
        found = checked("normalised-gain", results, self.example)
        before, after = found["before"].mean(), found["after"].mean()
        if before == 1:
            raise ConjoinError("normalised-gain", "all was right before", "nothing could be gained")
        gain = (after - before) / (1 - before)
        return (told("normalised-gain", gain, len(found["after"]), (-np.inf, 1),
                     "Share of what was wrong before that is right after."),)  # fmt: skip


@dataclass(frozen=True)
class KnownTransfer:
    """Whether what is known in a source is known in a target too.

    ``success = mean 1[right in source ∧ right in target]`` and
    ``transfer = P(right in target | right in source)``. Both in ``[0, 1]``, higher is better.

    Source: Goldman et al., ECLeKTic (2025); recalled, its code was not seen.

    Examples
    --------
    >>> [one.value for one in KnownTransfer()({"source": [1, 1, 0, 0], "target": [1, 0, 1, 0]})]
    [0.25, 0.5]
    """

    example: ClassVar[tuple[str, ...]] = ("source", "target")

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """Success and transfer.

        Raises
        ------
        ConjoinError : nothing is known in the source.
        """
        found = checked("known-transfer", results, self.example)
        known, also = found["source"] > 0.5, found["target"] > 0.5
        if not known.any():
            raise ConjoinError("known-transfer", "nothing is right in source", "ask easier items")
        return (
            told("success", (known & also).mean(), len(known), (0, 1),
                 "Share of items right in source and target."),
            told("transfer", also[known].mean(), int(known.sum()), (0, 1),
                 "Share of what is right in the source that is right in the target."),
        )  # fmt: skip


@dataclass(frozen=True)
class EditRates:
    """Four rates of an edit: ``rate = mean 1[as wanted]`` of each kind of probe.

    ``reliability``: the edited thing answers as edited. ``generality``: so do its rephrasings.
    ``locality``: everything else answers as before. ``portability``: what follows from the edit
    does too. Conditions may be left out, and each may have its own number of probes. In
    ``[0, 1]``, higher is better.

    Source: Huang et al., VLKEB (2024); ``easyeditor/evaluate/evaluate.py`` of
    github.com/VLKEB/VLKEB compares answers before and after for locality, and with targets for
    the others.

    Examples
    --------
    >>> [one.value for one in EditRates()({"reliability": [1, 1], "locality": [1, 1, 0, 1]})]
    [1.0, 0.75]
    """

    example: ClassVar[tuple[str, ...]] = ("reliability", "generality", "locality", "portability")

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The rates of the conditions given.

        Raises
        ------
        ConjoinError : there is none, or one is of no known name.
        """
        if not results or not set(results) <= set(self.example):
            raise ConjoinError("edit-rates", f"{sorted(results)}", f"give some of {self.example}")
        said = {
            "reliability": "Share of edits that are found as edited.",
            "generality": "Share of rephrasings of an edit that find it.",
            "locality": "Share of other queries whose answer did not move.",
            "portability": "Share of questions that follow from an edit and find it.",
        }
        found = []
        for name in self.example:
            if name in results:
                values = checked(name, {name: results[name]})[name]
                found.append(told(name, values.mean(), len(values), (0, 1), said[name]))
        return tuple(found)


@dataclass(frozen=True)
class WiScore:
    """A judge's three grades of a picture made from a prompt, each 0, 1 or 2, as one number.

    ``(0.7 · consistency + 0.2 · realism + 0.1 · aesthetic) / 2``, in ``[0, 1]``, higher is better.

    Source: Niu et al., WISE (2025); two public copies of its function were read.

    Examples
    --------
    >>> WiScore()({"consistency": [2], "realism": [1], "aesthetic": [0]})[0].value
    0.8
    """

    example: ClassVar[tuple[str, ...]] = ("consistency", "realism", "aesthetic")

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The mean over pictures."""
        found = checked("wiscore", results, self.example, span=(0, 2))
        weights = zip((0.7, 0.2, 0.1), self.example, strict=True)
        values = np.sum([weight * found[name] for weight, name in weights], axis=0) / 2
        return (told("wiscore", round(float(values.mean()), 12), len(values), (0, 1),
                     "Weighted grades of consistency, realism and aesthetics."),)  # fmt: skip


@dataclass(frozen=True)
class Integration:
    """Whether a joint prediction beats every other one, target by target.

    With results of ``joint`` and of its rivals (each modality alone, and their
    concatenation), over targets: a target integrates where the joint's mean exceeds every rival's
    and each paired one-sided t test over them is below the level after Benjamini and Hochberg's
    correction over targets. Conditions are ``joint`` and rivals; arrays are laid out target by
    target with ``each`` results of one. ``integration`` is the share of targets, in ``[0, 1]``.

    Source: Subramaniam et al., Revealing Vision-Language Integration in the Brain (ICML 2024),
    which compares by a bootstrap over stimuli with FDR; the t test stands in for it; results of
    folds share training rows, so those of held-out items are the safer input.

    Fields
    ------
    each : results of one target: folds, or held-out items, in one order for every condition.
    level : of the corrected tests.

    Examples
    --------
    >>> folds = [0.5, 0.51, 0.49, 0.5, 0.52]
    >>> Integration()({"joint": [f + 0.1 for f in folds], "alone": folds[::-1]})[0].value
    1.0
    """

    each: int = 5
    level: Annotated[float, Search(0.001, 0.2, log=True)] = 0.05
    example: ClassVar[tuple[str, ...]] = ("joint", "first", "second", "concatenation")

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The share of targets, with the effect against the best rival.

        Raises
        ------
        ConjoinError : no ``joint`` or no rival, or lengths that are no multiple of the folds.
        """
        found = checked("integration", results, ("joint",), span=(-np.inf, np.inf))
        if len(found) < 2 or self.each < 2 or len(found["joint"]) % self.each:
            said = f"{len(found['joint'])} results, {len(found)} conditions, {self.each} a target"
            raise ConjoinError("integration", said, "give joint, a rival, and whole targets")
        table = {key: value.reshape(-1, self.each) for key, value in found.items()}
        joint = table.pop("joint")
        ps = np.stack([_one_sided(joint - rival) for rival in table.values()])
        held = _fdr(ps.max(axis=0)) < self.level  # the union of nulls: the largest p decides
        best = np.max([rival.mean(axis=1) for rival in table.values()], axis=0)
        return (
            told("integration", held.mean(), len(held), (0, 1),
                 "Share of targets that the joint predicts better than every rival."),
            told("integration-effect", float((joint.mean(axis=1) - best).mean()), len(held),
                 (-np.inf, np.inf), "Mean result of the joint less that of the best rival."),
        )  # fmt: skip


def _one_sided(apart: np.ndarray) -> np.ndarray:
    """P-values of a t test that each row's mean is above 0; 0 or 1 where a row has no spread."""
    from scipy.special import stdtr

    count = apart.shape[1]
    mean, spread = apart.mean(axis=1), apart.std(axis=1, ddof=1)
    flat = spread <= 1e-12 * np.maximum(1, np.abs(mean))
    t = mean / np.where(flat, 1, spread) * np.sqrt(count)
    return np.where(flat, np.where(mean > 1e-12, 0.0, 1.0), stdtr(count - 1, -t))


def _fdr(p: np.ndarray) -> np.ndarray:
    from conjoin.stats.bootstrap import fdr

    return fdr(p)
