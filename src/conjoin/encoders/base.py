"""What an encoder promises, and what embedding a column returns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from conjoin.errors import CellError
from conjoin.spaces import Frame, Tokens

__all__ = ["CellError", "Encoded", "Encoder", "Prepared"]


@runtime_checkable
class Encoder(Protocol):
    """A frozen function from cells of one kind to vectors or token sets.

    ``decode`` runs in reader threads and fails alone, cell by cell; ``forward`` runs in batches.

    Attributes
    ----------
    uri : what names it, ``builtin:text``, ``hf:name``…
    kind : kind of cell it reads: text, image, audio, table, series, vector.
    frame : the coordinate system of its vectors, minted from weights, tokenizer, preprocessing,
        pooling and precision.
    batch_size : cells a call of ``forward`` takes at its best.
    """

    uri: str
    kind: str
    frame: Frame
    batch_size: int

    def decode(self, cell: Any) -> Any:
        """One cell → what ``forward`` takes.

        Raises
        ------
        CellError : the cell cannot be read; the reason is recorded and the job goes on.
        """
        ...

    def length(self, item: Any) -> int:
        """Cost of a decoded cell, so that like lengths share a batch; 1 where all cost the same."""
        ...

    def forward(self, items: Sequence[Any]) -> np.ndarray | Tokens:
        """Decoded cells → ``[n, d]`` float32 or token sets, in order."""
        ...


@runtime_checkable
class Quick(Protocol):
    """An encoder that answers a lone query sooner by another runtime, in the same frame."""

    def for_queries(self) -> Encoder:
        """The same encoder as a lone query is answered soonest."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """An encoder that looks at its column once, and keeps what it saw.

    ``open`` gives it unprepared; :meth:`prepare` returns one with a frame. Its ``state`` is
    JSON-able, so a workspace keeps it and rows added later land in the same frame.
    """

    def prepare(self, cells: Iterable[Any]) -> Encoder:
        """Look at the cells (missing ones skipped) and return the encoder fitted to them."""
        ...

    def state(self) -> dict[str, Any]:
        """What was seen, JSON-able; empty before :meth:`prepare`."""
        ...

    def from_state(self, state: Mapping[str, Any]) -> Encoder:
        """The encoder with what was seen earlier."""
        ...


@dataclass(frozen=True, eq=False)
class Encoded:
    """Vectors of the cells that could be read, and why the others could not.

    Parameters
    ----------
    vectors : ``[good, d]`` or token sets, in the order of the cells that are not in ``failed``.
    failed : reason by place of the cell.
    away : places of failed cells that could not be read now, and may be later.
    said : by remark, places of the cells it is true of; see :mod:`conjoin.encoders.remarks`.
    """

    vectors: np.ndarray | Tokens
    failed: dict[int, str] = field(default_factory=dict)
    away: frozenset[int] = frozenset()
    said: dict[str, list[int]] = field(default_factory=dict)
