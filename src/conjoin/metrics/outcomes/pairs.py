"""Results by ordered pair of modalities, and by modality against text."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.metrics.measurement import Measurement
from conjoin.metrics.outcomes.base import Results, checked, told


@dataclass(frozen=True)
class OrderedPairs:
    """Accuracies over ordered pairs of modalities: mean, consistency, disparity and imbalance.

    ``A[c>k]`` is the mean result where c is shown and options are of k. ``competence`` is the
    mean of A over pairs; ``consistency`` its standard deviation over pairs (divisor: their
    number), lower is better. ``disparity a − b`` is the mean over pairs of A with a less that of
    the same pairs with b in its place; ``imbalance a > b`` is ``A[a>b] − A[b>a]``. Pairs of
    unequal numbers of items are taken as they are.

    Source: Wang et al., XModBench (2025): its README names task competence, modality disparity,
    directional imbalance and a standard deviation as consistency; the divisor and the sign of the
    differences are ours, since its code holds figures only.

    Examples
    --------
    >>> right = {"image>text": [1, 1], "text>image": [1, 0]}
    >>> [(one.name, one.value) for one in OrderedPairs()(right)]
    [('competence', 0.75), ('consistency', 0.25), ('imbalance image > text', 0.5)]
    """

    example: ClassVar[tuple[str, ...]] = ("image>text", "text>image")

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The numbers, pairs of modalities in the order of their names.

        Raises
        ------
        ConjoinError : a condition is no ``A>B``, or it is empty or out of ``[0, 1]``.
        """
        if not results:
            raise ConjoinError("ordered-pairs", "no results", "give an array by A>B")
        mean = {_pair(key): _mean(key, values) for key, values in results.items()}
        n = int(sum(len(values) for values in results.values()))
        whole = np.array(list(mean.values()))
        names = sorted({name for pair in mean for name in pair})
        found = [
            told("competence", whole.mean(), n, (0, 1), "Mean accuracy over ordered pairs."),
            told("consistency", whole.std(), n, (0, 0.5),
                 "Standard deviation of the accuracy over ordered pairs.", up=False),
        ]  # fmt: skip
        for at, a in enumerate(names):
            for b in names[at + 1 :]:
                found += _disparity(mean, names, (a, b), n)
                if (a, b) in mean and (b, a) in mean:
                    found.append(
                        told(f"imbalance {a} > {b}", mean[a, b] - mean[b, a], n, (-1, 1),
                             f"Accuracy from {a} to {b} less that from {b} to {a}.")
                    )  # fmt: skip
        return tuple(found)


def _disparity(
    mean: dict[tuple[str, str], float], names: list[str], pair: tuple[str, str], n: int
) -> list[Measurement]:
    a, b = pair
    apart = []
    for other in names:
        for one, two in (((a, other), (b, other)), ((other, a), (other, b))):
            if one in mean and two in mean:
                apart.append(mean[one] - mean[two])
    if not apart:
        return []
    return [told(f"disparity {a} − {b}", float(np.mean(apart)), n, (-1, 1),
                 f"Mean accuracy with {a} less that with {b} in its place.")]  # fmt: skip


def _pair(key: str) -> tuple[str, str]:
    first, arrow, second = (part.strip() for part in key.partition(">"))
    if not arrow or not first or not second or first == second:
        raise ConjoinError(f"condition {key!r}", "is no ordered pair", "write it as image>text")
    return first, second


def _mean(key: str, values: object) -> float:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not len(found) or not ((found >= 0) & (found <= 1)).all():
        raise ConjoinError(f"condition {key!r}", "is empty or out of range", "give 0 to 1 an item")
    return float(found.mean())


@dataclass(frozen=True)
class GapToText:
    """What is lost where the same items are rendered in another modality: ``A_text − A_m``.

    Conditions are modalities, ``text`` among them, items in one order. In ``[−1, 1]``; nearer to
    0 is better, and a positive gap is a loss.

    Source: Chen et al., OmnixR (2024), which compares each modality with the same question as
    text; only the idea was read.

    Examples
    --------
    >>> GapToText()({"text": [1, 1], "image": [1, 0]})[0].value
    0.5
    """

    example: ClassVar[tuple[str, ...]] = ("text", "image")

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The gap of each modality, in the order given.

        Raises
        ------
        ConjoinError : there is no ``text``, nothing beside it, or lengths differ.
        """
        found = checked("gap-to-text", results, ("text",))
        if len(found) < 2:
            raise ConjoinError("gap-to-text", "text only", "give another modality")
        base = found["text"].mean()
        return tuple(
            told(f"gap of {name}", base - values.mean(), len(values), (-1, 1),
                 f"Accuracy on text less that on {name}, the same items.", up=False)
            for name, values in found.items() if name != "text"
        )  # fmt: skip
