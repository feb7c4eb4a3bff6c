"""Merges that keep only what several experts want, by masks of where each expert's change lies."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.models.merging.base import Models, Part, TensorMerge
from conjoin.models.merging.cuts import HELD


@dataclass(frozen=True)
class Consensus(TensorMerge):
    """The sum of the changes, where at least ``least`` experts' masks say that it matters to them.

    The mask of an expert (TALL) is where ``|δ_i| > strictness · |Σ δ − δ_i|``: its own change is
    large beside what all the others add.

    Parameters
    ----------
    scale : of what is added.
    strictness : of the masks; 0 takes every place an expert changed.
    least : experts that must want a place; never more than there are.

    Source: Wang et al. 2024 (Consensus Task Arithmetic).
    """

    scale: Annotated[float, Search(0.0, 2.0)] = 1.0
    strictness: Annotated[float, Search(0.0, 1.0)] = 0.4
    least: Annotated[int, Search(1, 3)] = 2

    def merge(self, part: Part, known: Any) -> np.ndarray:
        """The base plus what is wanted."""
        wanted = np.zeros(len(part.base), np.int64)
        for delta in part.deltas:
            wanted += mask(delta, part.total, self.strictness)
        least = min(self.least, len(part.deltas))
        return part.base + self.scale * np.where(wanted >= least, part.total, 0.0)


def mask(delta: np.ndarray, total: np.ndarray, strictness: float) -> np.ndarray:
    """Where one expert's change is large beside the others'.

    >>> mask(np.array([1.0, 0.1]), np.array([1.5, 1.1]), 0.4)
    array([ True, False])
    """
    found: np.ndarray = np.abs(delta) > strictness * np.abs(total - delta)
    return found


@dataclass(frozen=True)
class Selected(TensorMerge):
    """Every tensor from one model: that whose change of it weighs most.

    By tensor, the sum of the ``k`` largest magnitudes of each change over the sum of all of that
    expert's magnitudes in the model (so that an expert trained longer does not win everywhere);
    the largest is taken whole. The first wins a tie. ``share`` of a matrix's numbers is ``k``.

    Parameters
    ----------
    share : of a tensor's numbers, the largest, that are summed.

    Source: Ouyang et al. 2025 (K-LoRA), whose choice also depends on the time step of a diffusion
    model; here there is none.
    """

    share: Annotated[float, Search(0.001, 1.0, log=True)] = 0.05
    exact: ClassVar[str] = "bits"
    symmetric: ClassVar[bool] = False

    def prepare(self, models: Models, data: Any = None) -> Any:
        """Sum of all magnitudes, by expert."""
        return [
            sum(float(np.abs(d).sum()) for name in models.names for _, d in models.delta(name, e))
            for e in range(len(models.experts))
        ]

    def look(self, models: Models, name: str, known: Any) -> Any:
        """Place of the expert that is taken."""
        count = max(1, int(models.size(name) * self.share))
        worth = [
            _largest_sum(models, name, e, count) / (whole or 1.0) for e, whole in enumerate(known)
        ]
        return int(np.argmax(worth))

    def merge(self, part: Part, known: Any) -> np.ndarray:
        """The block of the chosen expert."""
        return part.experts[known]


def _largest_sum(models: Models, name: str, expert: int, count: int) -> float:
    held = np.empty(0)
    for _, delta in models.delta(name, expert):
        held = np.concatenate([held, np.abs(delta)])
        if len(held) > count + HELD:
            held = np.partition(held, len(held) - count)[-count:]
    return float(np.sort(held)[-count:].sum())
