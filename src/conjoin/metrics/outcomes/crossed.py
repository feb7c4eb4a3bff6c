"""Captions against foils, and two pictures against two captions."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from conjoin.metrics.measurement import Measurement
from conjoin.metrics.outcomes.base import Results, checked, told

#: What independent scores at random give: each of the two comparisons of a side is a coin, and
#: all four hold for the 4 of 24 orders of four scores that place both true pairs above both false.
CHANCE = {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6}

_OPEN = (-np.inf, np.inf)


@dataclass(frozen=True)
class Contrast:
    """Whether a true caption scores above its foil: ``mean 1[s⁺ > s⁻]``; a tie fails.

    Results ``true`` and ``foil`` are scores, of any scale. In ``[0, 1]``, higher is better.

    Source: Zhao et al., VL-CheckList (2022); ``evaluate.py`` of github.com/om-ai-lab/VL-CheckList.

    Examples
    --------
    >>> Contrast()({"true": [1.0, 2.0, 3.0], "foil": [0.0, 2.0, 4.0]})[0].value
    0.3333333333333333
    """

    example: ClassVar[tuple[str, ...]] = ("true", "foil")

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The accuracy over items."""
        found = checked("contrast-accuracy", results, self.example, span=_OPEN)
        won = found["true"] > found["foil"]
        return (told("contrast-accuracy", won.mean(), len(won), (0, 1),
                     "Share of true captions scored above their foils."),)  # fmt: skip


@dataclass(frozen=True)
class Winoground:
    """Two pictures and two captions of the same words: text, image and group scores.

    With score ``s(c, i)``: ``text = s(c0,i0) > s(c1,i0) ∧ s(c1,i1) > s(c0,i1)``,
    ``image = s(c0,i0) > s(c0,i1) ∧ s(c1,i1) > s(c1,i0)`` and ``group = text ∧ image``; ties fail.
    Results are ``c0_i0``, ``c1_i0``, ``c0_i1``, ``c1_i1``. Each in ``[0, 1]``, higher is better;
    scores at random give 1/4, 1/4 and 1/6.

    Source: Thrush et al., Winoground (CVPR 2022), equations 1 to 3.

    Examples
    --------
    >>> scores = {"c0_i0": [2.0], "c1_i0": [1.0], "c0_i1": [3.0], "c1_i1": [4.0]}
    >>> [one.value for one in Winoground()(scores)]
    [1.0, 0.0, 0.0]
    """

    example: ClassVar[tuple[str, ...]] = ("c0_i0", "c1_i0", "c0_i1", "c1_i1")

    def units(self, results: Results) -> dict[str, np.ndarray]:
        """Text, image and group of each item, 0 or 1."""
        s = checked("winoground", results, self.example, span=_OPEN)
        text = (s["c0_i0"] > s["c1_i0"]) & (s["c1_i1"] > s["c0_i1"])
        image = (s["c0_i0"] > s["c0_i1"]) & (s["c1_i1"] > s["c1_i0"])
        both = {"text": text, "image": image, "group": text & image}
        return {name: values.astype(np.float64) for name, values in both.items()}

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The three means."""
        said = {
            "text": "Share of items whose pictures both choose their own caption.",
            "image": "Share of items whose captions both choose their own picture.",
            "group": "Share of items with both.",
        }
        return tuple(
            told(f"winoground-{name}", values.mean(), len(values), (0, 1), said[name])
            for name, values in self.units(results).items()
        )
