"""What a merge of tensors promises, and the models it reads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.models.checkpoint import Tensors

#: Numbers of a block: a few blocks of float64 fit a processor's second cache.
BLOCK = 2**17


@dataclass(frozen=True, eq=False)
class Part:
    """A block of one tensor in every model: whole rows of it, flattened.

    Parameters
    ----------
    name, shape : of the tensor.
    start : place of the block's first number in the flattened tensor.
    base : ``[n]`` float64.
    experts : ``[n]`` float64 each.
    seed : decides random draws, together with the name.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    base: np.ndarray
    experts: Sequence[np.ndarray]
    seed: int = 0

    @cached_property
    def deltas(self) -> list[np.ndarray]:
        """What each expert adds to the base."""
        return [expert - self.base for expert in self.experts]

    @cached_property
    def total(self) -> np.ndarray:
        """The sum of the deltas."""
        found: np.ndarray = np.add.reduce(self.deltas)
        return found

    @property
    def row(self) -> int:
        """Numbers of a row: what one output unit of a layer reads."""
        return row_of(self.shape)


def row_of(shape: Sequence[int]) -> int:
    """Numbers of a row of a tensor; one of a single axis is one row.

    >>> row_of((30, 20)), row_of((7,)), row_of((8, 3, 5, 5)), row_of(())
    (20, 7, 75, 1)
    """
    inner = shape[1:] if len(shape) > 1 else shape
    return max(1, int(np.prod(inner, dtype=np.int64)))


@dataclass(frozen=True, eq=False)
class Models:
    """A base and experts of the same names and shapes.

    Parameters
    ----------
    base, experts : as checkpoints or in memory.
    seed : decides random draws.
    block : numbers read at a time; no result depends on it.
    """

    base: Tensors
    experts: Sequence[Tensors]
    seed: int = 0
    block: int = BLOCK

    @cached_property
    def names(self) -> list[str]:
        """Floating tensors in the base's order of storage."""
        return [name for name, entry in self.base.entries.items() if entry.floating]

    @cached_property
    def offsets(self) -> Mapping[str, int]:
        """Where each tensor begins in the flattened model."""
        found, at = {}, 0
        for name in self.names:
            found[name] = at
            at += self.size(name)
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self.base.entries[name].shape

    def size(self, name: str) -> int:
        """Numbers of a tensor."""
        return self.base.entries[name].size

    @property
    def total(self) -> int:
        """Numbers of all floating tensors."""
        return sum(map(self.size, self.names))

    def spans(self, name: str) -> Iterator[tuple[int, int]]:
        """Blocks of whole rows."""
        row, size = row_of(self.shape(name)), self.size(name)
        step = max(1, self.block // row) * row
        for start in range(0, size, step):
            yield start, min(size, start + step)

    def parts(self, name: str) -> Iterator[Part]:
        """A tensor of every model, block by block."""
        for start, stop in self.spans(name):
            yield self.part(name, start, stop)

    def part(self, name: str, start: int = 0, stop: int | None = None) -> Part:
        """One block; the whole tensor where no ends are given."""
        return Part(
            name, self.shape(name), start, self.base.read(name, start, stop),
            [one.read(name, start, stop) for one in self.experts], self.seed,
        )  # fmt: skip

    def delta(self, name: str, expert: int) -> Iterator[tuple[int, np.ndarray]]:
        """What one expert adds, block by block, each with its start."""
        for start, stop in self.spans(name):
            added = self.experts[expert].read(name, start, stop)
            added -= self.base.read(name, start, stop)
            yield start, added


class TensorMerge:
    """A frozen dataclass whose fields are hyper-parameters: several tensors → one.

    Arithmetic is in float64; whoever writes the result rounds it once. ``prepare`` may look at
    everything, ``look`` at one tensor, both in blocks; ``merge`` gives a block of the result and
    must not depend on how the tensor was cut.
    """

    #: Equal experts give the base, and one expert at full weight itself: ``bits`` or ``close``.
    exact: ClassVar[str] = "bits"
    #: The order of the experts does not matter.
    symmetric: ClassVar[bool] = True
    #: ``merge`` is given tensors whole.
    whole: ClassVar[bool] = False
    #: What ``prepare`` wants beside the tensors: nothing, ``grams`` or ``fisher``.
    reads: ClassVar[str] = ""
    #: Experts at least, and at most.
    counts: ClassVar[tuple[int, int]] = (1, 64)

    def prepare(self, models: Models, data: Any = None) -> Any:
        """What is known of all tensors before the first is merged."""
        return None

    def look(self, models: Models, name: str, known: Any) -> Any:
        """What is known of one tensor before its first block is merged."""
        return known

    def merge(self, part: Part, known: Any) -> np.ndarray:
        """A block of the result, float64."""
        raise NotImplementedError

    def notes(self) -> dict[str, int]:
        """Counts worth saying, of the last merge."""
        return {}


def check_count(method: str, engine: TensorMerge, count: int) -> None:
    """Refuse a number of experts that a method cannot take."""
    least, most = engine.counts
    if not least <= count <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise ConjoinError(f"method {method}", f"{count} experts", f"give {wanted}")
