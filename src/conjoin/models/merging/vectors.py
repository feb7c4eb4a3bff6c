"""Merges in the space of what each expert adds to the base: task vectors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import numpy as np

from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError
from conjoin.models.merging.base import Models, Part, TensorMerge
from conjoin.models.merging.cuts import Cut, largest
from conjoin.storage.digest import stable_hash

TRIMS = ("none", "magnitude", "random", "rank-random", "outliers")
COMBINES = ("sum", "minus", "mean", "sign-mean", "elect-max", "largest")


@dataclass(frozen=True)
class TaskVector(TensorMerge):
    """The base plus a combination of what the experts added, each first made sparse.

    ``base + scale · combine_i S(expert_i − base)``. ``S`` is nothing; the ``density`` largest by
    magnitude (TIES); a random share, divided by ``density`` (DARE); a random share whose
    probability rises with the rank of the magnitude within a row, each number divided by its
    probability (DELLA, its ranks taken at their middles, so that the mean probability is
    ``density``; the paper's begin half a step lower); or all but the largest ``outliers`` and the
    smallest, so that ``density`` are left (Breadcrumbs). ``combine`` is the sum, minus the sum, the
    mean, the mean of those that have the sign of the sum (TIES), the largest of those that have it
    (EMR's unified vector), or the largest of all (MagMax).

    Of equal magnitudes at a threshold the first in order of storage are kept until the count is
    met; how many were decided so is counted.

    Parameters
    ----------
    scale : of what is added; 1 is a task vector at full length.
    trim, density, outliers, spread : ``S`` and its numbers; ``spread`` is the width of DELLA's
        range of probabilities.
    scope : thresholds over each tensor or over the whole model.
    combine : as above.

    Examples
    --------
    >>> part = Part("w", (2,), 0, np.zeros(2), [np.array([1.0, 0]), np.array([-3.0, 1])])
    >>> TaskVector(combine="largest").merge(part, None)
    array([-3.,  1.])

    Sources: Wortsman et al. 2022a and b; Ilharco et al. 2023; Yadav et al. 2023; Yu et al. 2024;
    Deep et al. 2024; Davari and Belilovsky 2024; Marczak et al. 2024; Huang et al. 2024.
    """

    scale: Annotated[float, Search(0.0, 2.0)] = 1.0
    trim: Annotated[str, Choice(TRIMS)] = "none"
    density: Annotated[float, Search(0.0, 1.0)] = 1.0
    outliers: Annotated[float, Search(0.0, 0.5)] = 0.01
    spread: Annotated[float, Search(0.0, 1.0)] = 0.2
    scope: Annotated[str, Choice(("tensor", "model"))] = "tensor"
    combine: Annotated[str, Choice(COMBINES)] = "sum"
    _counts: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def prepare(self, models: Models, data: Any = None) -> Any:
        """Thresholds over the whole model, by expert; ``None`` where each tensor has its own."""
        self._counts.clear()
        if self.density <= 0:
            raise ConjoinError("density", f"{self.density} keeps nothing", "give more than 0")
        if self.trim in ("none", "random", "rank-random") or self.scope == "tensor":
            return None
        keep = self._keep(models.total)
        everything = [self._cuts(partial(_model, models, e), keep) for e in range(_n(models))]
        return models.offsets, everything

    def look(self, models: Models, name: str, known: Any) -> Any:
        """The thresholds of one tensor, by expert, and where it begins in their scope."""
        if self.trim in ("none", "random", "rank-random") or self.density >= 1 - self._top:
            return None
        if known is not None:
            offsets, everything = known
            return offsets[name], everything
        keep = self._keep(models.size(name))
        return 0, [self._cuts(partial(_tensor, models, name, e), keep) for e in range(_n(models))]

    @property
    def _top(self) -> float:
        return self.outliers if self.trim == "outliers" else 0.0

    def _keep(self, size: int) -> tuple[int, int]:
        """How many of the largest are passed over, and how many are kept after them."""
        over = int(size * self._top)
        return over, min(size - over, max(1, int(size * self.density)))

    def _cuts(self, stream: Any, keep: tuple[int, int]) -> tuple[Cut, Cut]:
        over, kept = keep
        upper = largest(stream, over)
        lower = largest(stream, over + kept)
        self._counts["ties"] = self._counts.get("ties", 0) + upper.tied + lower.tied
        return upper, lower

    def merge(self, part: Part, known: Any) -> np.ndarray:
        """The base plus the combination."""
        linear = self.trim == "none" or self.density >= 1 - self._top
        if linear and self.combine in ("sum", "minus", "mean"):
            return self._linear(part)
        kept = [self._sparse(part, place, known) for place in range(len(part.experts))]
        return part.base + self.scale * combined(kept, self.combine)

    def _linear(self, part: Part) -> np.ndarray:
        """The same as weights of base and experts, which gives one expert at scale 1 bit by bit."""
        count = len(part.experts)
        weight = {"sum": 1.0, "minus": -1.0, "mean": 1.0 / count}[self.combine] * self.scale
        rest = 1.0 - weight * count
        out = part.experts[0] * weight
        for expert in part.experts[1:]:
            out += weight * expert
        if rest:
            out += rest * part.base
        return out

    def _sparse(self, part: Part, place: int, known: Any) -> np.ndarray:
        delta = part.deltas[place]
        if self.trim in ("random", "rank-random") and self.density < 1:
            chance = self.density if self.trim == "random" else self._chances(delta, part.row)
            drawn = uniform(part, place)
            return np.where(drawn < chance, delta / chance, 0.0)
        if known is None:
            return delta
        offset, cuts = known
        upper, lower = cuts[place]
        size, at = np.abs(delta), part.start + offset
        kept = lower.keeps(size, at)
        if upper.last >= 0:
            kept &= ~upper.keeps(size, at)
        return np.where(kept, delta, 0.0)

    def _chances(self, delta: np.ndarray, row: int) -> np.ndarray:
        """Probability of being kept, which rises evenly with the rank within a row."""
        size = np.abs(delta).reshape(-1, row)
        order = np.argsort(size, axis=1, kind="stable")
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(row)[None], axis=1)
        even = (ranks.reshape(-1) + 0.5) / row - 0.5
        return np.clip(self.density + self.spread * even, 1e-3, 1.0)

    def notes(self) -> dict[str, int]:
        """Numbers that stood exactly at a threshold, not all of which could be kept."""
        return dict(self._counts)


def combined(deltas: Sequence[np.ndarray], how: str) -> np.ndarray:
    """One vector of several; see :class:`TaskVector`.

    >>> combined([np.array([1.0, 2]), np.array([3.0, -1])], "sign-mean")
    array([2., 2.])
    """
    if how == "largest":
        out = deltas[0].copy()
        for delta in deltas[1:]:
            larger = np.abs(delta) > np.abs(out)
            # Opposite numbers of one size have no largest: the positive one, whatever the order.
            larger |= (delta == -out) & (delta > 0)
            out[larger] = delta[larger]
        return out
    total = deltas[0].copy()
    for delta in deltas[1:]:
        total += delta
    if how in ("sum", "minus", "mean"):
        return total * {"sum": 1.0, "minus": -1.0, "mean": 1.0 / len(deltas)}[how]
    sign = np.sign(total)
    if how == "elect-max":
        best = np.zeros_like(total)
        for delta in deltas:
            np.maximum(best, delta * sign, out=best)
        return sign * best
    agreed, count = np.zeros_like(total), np.zeros_like(total)
    for delta in deltas:
        same = (np.sign(delta) == sign) & (delta != 0)
        agreed += np.where(same, delta, 0.0)
        count += same
    return agreed / np.maximum(count, 1.0)


def uniform(part: Part, place: int) -> np.ndarray:
    """Draws for one expert's block that depend on the tensor's name and the place within it."""
    bits = np.random.PCG64([part.seed, stable_hash(part.name), place])
    return np.random.Generator(bits.advance(part.start)).random(len(part.base))


def _n(models: Models) -> int:
    return len(models.experts)


def _tensor(models: Models, name: str, expert: int) -> Iterator[tuple[int, np.ndarray]]:
    for start, delta in models.delta(name, expert):
        yield start, np.abs(delta, out=delta)


def _model(models: Models, expert: int) -> Iterator[tuple[int, np.ndarray]]:
    for name in models.names:
        for start, delta in models.delta(name, expert):
            yield start + models.offsets[name], np.abs(delta, out=delta)
