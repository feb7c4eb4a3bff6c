"""What an objective promises, and how objectives add and scale."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin.spaces import Batch


@dataclass(frozen=True, eq=False)
class Param:
    """Where a trained number starts and the bounds it is held in.

    Parameters
    ----------
    value : a number or an array.
    low, high : bounds, applied after every step of the training.
    decay : whether weight decay pulls on it.
    """

    value: float | np.ndarray
    low: float = -math.inf
    high: float = math.inf
    decay: bool = False

    def tensor(self, kind: Any = None) -> Any:
        """A torch leaf that starts at ``value``, single precision unless ``kind`` is given."""
        import torch

        start = torch.as_tensor(np.array(self.value), dtype=kind or torch.float32)
        return start.clone().requires_grad_(True)


@runtime_checkable
class Loss(Protocol):
    """A frozen dataclass that scores the outputs of a batch; lower is better.

    ``decomposes`` says that the mean over two shards of equal total weight, all rows present,
    is the value of the whole. A loss that shares its target among partners, or ranks whole lists,
    leaves out no negatives and says ``guided = False``; all others honour ``batch.barred``.
    """

    decomposes: ClassVar[bool]

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """The numbers it trains itself (temperature, bias…), by name."""
        ...

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """A scalar tensor.

        Parameters
        ----------
        out : ``[b, dim]`` tensors by view, and extras under other names, which are ignored by
            objectives that do not know them.
        params : tensors under the names of :meth:`init`.
        """
        ...


class Addable:
    """What every objective gets: ``InfoNCE() + 0.1 * Uniformity()`` is an objective."""

    def terms(self) -> "tuple[tuple[float | Ramp, Any], ...]":
        """Weights and objectives of the sum this is."""
        return ((1.0, self),)

    def __add__(self, other: "Addable") -> "Sum":
        if not isinstance(other, Addable):
            return NotImplemented
        return Sum((*self.terms(), *other.terms()))

    def __mul__(self, factor: "float | Ramp") -> "Sum":
        if not isinstance(factor, int | float | Ramp):
            return NotImplemented
        return Sum(tuple((scaled(weight, factor), term) for weight, term in self.terms()))

    __rmul__ = __mul__


@dataclass(frozen=True)
class Ramp:
    """A weight that moves with the training: ``start + slope · progress``, at most ``high``.

    Examples
    --------
    >>> Ramp(slope=3.0, high=2.0).at(0.5)
    1.5
    """

    slope: float
    high: float = math.inf
    start: float = 0.0

    def at(self, progress: float) -> float:
        """The weight at ``progress`` in [0, 1]."""
        return min(self.high, self.start + self.slope * progress)


def scaled(weight: float | Ramp, factor: float | Ramp) -> float | Ramp:
    """The product of two weights, at most one of which moves."""
    if isinstance(weight, Ramp) and isinstance(factor, Ramp):
        raise TypeError("two ramps cannot be multiplied: scale one term by one ramp")
    if isinstance(factor, Ramp):
        weight, factor = factor, float(weight)  # type: ignore[arg-type]
    if isinstance(weight, Ramp):
        if factor < 0:
            raise ValueError(
                "a ramp cannot be scaled by a negative number: give it a slope below 0"
            )
        return Ramp(weight.slope * factor, weight.high * factor, weight.start * factor)
    return float(weight * factor)


@dataclass(frozen=True)
class Sum(Addable):
    """``Σ weight · objective``; flat, so that parameter names do not depend on the brackets.

    Parameters
    ----------
    parts : weights and objectives; the parameters of part ``i`` are named ``i.…``.
    """

    parts: tuple[tuple[float | Ramp, Any], ...]

    def terms(self) -> tuple[tuple[float | Ramp, Any], ...]:
        """The parts themselves."""
        return self.parts

    @property
    def decomposes(self) -> bool:
        """Whether every part does."""
        return all(part.decomposes for _, part in self.parts)

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """The parameters of every part under its number."""
        return {
            f"{number}.{key}": value
            for number, (_, part) in enumerate(self.parts)
            for key, value in part.init(names, dim).items()
        }

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """The weighted sum at the batch's progress."""
        total: Any = 0.0
        for number, (weight, part) in enumerate(self.parts):
            factor = weight.at(batch.progress) if isinstance(weight, Ramp) else weight
            own = f"{number}."
            held = {k.removeprefix(own): v for k, v in params.items() if k.startswith(own)}
            total = total + factor * part(out, batch, held)
        return total


def trained_views(out: Mapping[str, Any], batch: Batch) -> list[str]:
    """The views an objective works on: those of the batch that have an output."""
    return [name for name in batch.rows if name in out]


def pairs_present(out: Mapping[str, Any], batch: Batch) -> list[tuple[str, str, Any]]:
    """Pairs of views and the lines that count for them: both present, weight above 0.

    Pairs without such a line are left out.
    """
    found = []
    for a, b in combinations(trained_views(out, batch), 2):
        lines = (batch.present[a] & batch.present[b] & (batch.weights > 0)).nonzero()[:, 0]
        if len(lines):
            found.append((a, b, lines))
    return found


def nothing(out: Mapping[str, Any], batch: Batch) -> Any:
    """A zero that still has a gradient, for batches without a line that counts."""
    return sum((out[name][:0].sum() for name in trained_views(out, batch)), 0.0)
