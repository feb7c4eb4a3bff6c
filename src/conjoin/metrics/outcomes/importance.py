"""How much each modality counts, from results on every subset of modalities."""

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.metrics.measurement import Measurement
from conjoin.metrics.outcomes.base import Results, checked, told


@dataclass(frozen=True)
class ModalityImportance:
    """Mean result with a modality less the mean without it, over subsets of modalities.

    ``MIS_m = mean over S ∋ m of r(S) − mean over S ∌ m of r(S)`` over the non-empty subsets S of
    the modalities. Conditions are subsets, their names joined by ``+``: all non-empty ones are
    needed. Results lie in ``[0, 1]`` (right or wrong); the score in ``[−1, 1]``: above 0 the
    modality helps, below 0 it hinders.

    Source: Park et al., Assessing Modality Bias in Video Question Answering Benchmarks (2024).
    The definition was read in summaries of the paper, its code was not seen; the bounds of the
    labels of :meth:`labels` are ours.

    Examples
    --------
    >>> right = {"text": [1, 0], "image": [0, 0], "image+text": [1, 1]}
    >>> [(one.name, one.value) for one in ModalityImportance()(right)]
    [('importance of image', 0.25), ('importance of text', 0.75)]
    >>> ModalityImportance().labels(right).tolist()
    ['biased to text', 'complementary']
    """

    example: ClassVar[tuple[str, ...]] = ("image", "text", "image+text")

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The mean over items of each modality's score."""
        return tuple(
            told(f"importance of {name}", values.mean(), len(values), (-1, 1),
                 f"Mean result with {name} less that without, over subsets of modalities.")
            for name, values in self.units(results).items()
        )  # fmt: skip

    def units(self, results: Results) -> dict[str, np.ndarray]:
        """By modality, the score of each item.

        Raises
        ------
        ConjoinError : a subset is missing, or there is a single modality.
        """
        found: Results = {
            _key(name): values for name, values in checked("importance", results).items()
        }
        names = sorted({part for key in found for part in key.split("+")})
        if len(names) < 2:
            raise ConjoinError("importance", f"modalities {names}", "give two or more")
        every = ["+".join(s) for r in range(1, len(names) + 1) for s in combinations(names, r)]
        checked("importance", found, tuple(every))
        scores = {}
        for name in names:
            among = [np.asarray(found[key]) for key in every if name in key.split("+")]
            without = [np.asarray(found[key]) for key in every if name not in key.split("+")]
            scores[name] = np.mean(among, axis=0) - np.mean(without, axis=0)
        return scores

    def labels(self, results: Results) -> np.ndarray:
        """What each item asks for.

        ``complementary``: right with all modalities, wrong with any fewer. ``biased to NAME``:
        one modality alone is right and no other. ``agnostic``: several are, each alone.
        ``unanswered``: wrong with all and with each; ``hindered``: with all wrong only.
        """
        found = {_key(name): v > 0.5 for name, v in checked("importance", results).items()}
        names = list(self.units(results))
        whole = found["+".join(names)]
        alone = np.stack([found[name] for name in names], axis=1)
        count = alone.sum(axis=1)
        fewer = np.any([v for key, v in found.items() if key.count("+") + 1 < len(names)], axis=0)
        labels = np.full(len(whole), "needs a part", dtype=object)
        labels[whole & ~fewer] = "complementary"
        labels[count > 1] = "agnostic"
        for at, name in enumerate(names):
            labels[(count == 1) & alone[:, at]] = f"biased to {name}"
        labels[~whole & fewer & (count == 0)] = "hindered"
        labels[~whole & ~fewer] = "unanswered"
        return labels.astype(str)


def _key(name: str) -> str:
    return "+".join(sorted(part.strip() for part in name.split("+")))
