"""A table of vectors that knows which rows they are and which frame they live in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.spaces.frame import Frame
from conjoin.spaces.given import labels_of, matrix_of
from conjoin.spaces.stack import Stack
from conjoin.spaces.tokens import Tokens

Rows = np.ndarray | Tokens | Stack

#: Rows read at a time wherever a space is streamed.
BLOCK = 8192


@dataclass(frozen=True, eq=False)
class Space:
    """Vectors ``[n, d]`` (or token sets) keyed by item and part, in one frame.

    Parameters
    ----------
    ids : ``[n]`` item ids; an id repeats where an item has several parts.
    vectors : ``[n, d]`` array, memory map or stack, or :class:`Tokens`.
    frame : the coordinate system of the vectors.
    parts : ``[n]`` number of the part within its item; counted when not given.
    content : ``[n]`` hash of the cell each row was made from; rows with equal hashes show the
        same thing. Zero where unknown.
    provenance : what was done, flat; never decides comparability.

    Raises
    ------
    ConjoinError : lengths differ, a key repeats, or the width is not the frame's.
    """

    ids: np.ndarray
    vectors: Rows
    frame: Frame
    parts: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    content: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    provenance: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.ids)
        if len(self.vectors) != n:
            raise ConjoinError(
                "vectors", f"{len(self.vectors)} rows for {n} ids", "give one id a row"
            )
        if len(self.parts) != n:
            object.__setattr__(self, "parts", count_parts(self.ids))
        if len(self.content) != n:
            object.__setattr__(self, "content", np.zeros(n, dtype=np.uint64))
        width = self.vectors.dim if isinstance(self.vectors, Tokens) else self.vectors.shape[-1]
        if width != self.frame.dim:
            raise ConjoinError(
                f"space {self.frame.label}",
                f"vectors of {width} dimensions in a frame of {self.frame.dim}",
                "embed again with the encoder of this frame",
            )

    @classmethod
    def of(
        cls, vectors: Rows | Sequence, ids: Sequence | np.ndarray | None = None, *, name: str
    ) -> "Space":
        """A space of vectors you bring, in a frame named ``name``.

        Two spaces made with the same name and width share a frame: give encoders that do not
        speak to each other different names.

        Examples
        --------
        >>> Space.of([[1.0, 0.0], [0.0, 1.0]], ["a", "b"], name="mine").frame.dim
        2
        """
        if isinstance(vectors, Tokens):
            check_vectors(vectors.vectors, name)
        elif not isinstance(vectors, Stack):
            vectors = check_vectors(vectors, name)
        if not isinstance(name, str) or not name:
            raise ConjoinError("name", f"is {name!r}"[:60], "name the space in words")
        labels = np.arange(len(vectors)) if ids is None else labels_of(ids, "ids", len(vectors))
        labels = labels.astype(str)
        dim = vectors.dim if isinstance(vectors, Tokens) else vectors.shape[1]
        return cls(labels, vectors, Frame.mint("given", name, dim, {"name": name}))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""
        return self.frame.dim

    def take(self, rows: np.ndarray) -> "Space":
        """The rows asked for (integers or booleans), in that order."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        vectors = (
            self.vectors.take(rows) if isinstance(self.vectors, Tokens) else self.vectors[rows]
        )
        return replace(
            self,
            ids=self.ids[rows],
            vectors=vectors,
            parts=self.parts[rows],
            content=self.content[rows],
        )

    def of_items(self, items: Sequence[str] | np.ndarray) -> "Space":
        """The rows whose item is among ``items``, in stored order."""
        return self.take(np.isin(self.ids, np.asarray(items).astype(str)))

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
        """Walk the vectors in order as ``(first row, [≤ size, d] float32)``."""
        if isinstance(self.vectors, Tokens):
            raise ConjoinError(
                f"space {self.frame.label}", "holds token sets", "pool them: space.pooled()"
            )
        for start in range(0, len(self), size):
            yield start, np.asarray(self.vectors[start : start + size], dtype=np.float32)

    def pooled(self) -> "Space":
        """Token sets reduced to their mean, in a frame of their own; vectors as they are."""
        if not isinstance(self.vectors, Tokens):
            return self
        frame = Frame.mint("pooled", f"mean of {self.frame.label}", self.dim, {"of": self.frame.id})
        return replace(
            self,
            vectors=self.vectors.mean(),
            frame=frame,
            provenance=(*self.provenance, "mean of tokens"),
        )


def count_parts(ids: np.ndarray) -> np.ndarray:
    """Number the rows of each id in order: 0, 1, … for its parts."""
    order = np.argsort(ids, kind="stable")
    if len(order) == 0:
        return np.empty(0, dtype=np.int32)
    ordered = ids[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    ranks = np.arange(len(ids)) - np.repeat(starts, np.diff(np.append(starts, len(ids))))
    parts = np.empty(len(ids), dtype=np.int32)
    parts[order] = ranks
    return parts


def require_spaces(spaces: Any, where: str) -> None:
    """Refuse what is no mapping of names to spaces."""
    if not isinstance(spaces, Mapping):
        raise ConjoinError(where, f"is a {type(spaces).__name__}", "give spaces by name")
    for name, space in spaces.items():
        if not isinstance(space, Space):
            raise ConjoinError(
                f"{where}, {name!r}", f"is a {type(space).__name__}", "make it a space: Space.of"
            )


def check_vectors(values: Sequence | np.ndarray, where: str) -> np.ndarray:
    """Vectors as a 2-D float array, or one clear refusal.

    Parameters
    ----------
    values : anything :func:`~conjoin.spaces.given.matrix_of` reads, by position.

    Raises
    ------
    ConjoinError : not numeric, not 2-D, empty, NaN or infinite, beyond what float32 holds, or
        every row the same.
    """
    array = np.asarray(matrix_of(values, where))
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind != "f":
        raise ConjoinError(where, f"has shape {array.shape}", "give vectors [n, d], n and d > 0")
    for start in range(0, len(array), BLOCK):
        finite = np.isfinite(array[start : start + BLOCK]).all(axis=1)
        if not finite.all():
            row = start + int(np.flatnonzero(~finite)[0])
            raise ConjoinError(
                where,
                f"row {row} holds NaN or infinity",
                "drop or fill it: a missing cell is no row",
            )
        _check_range(array[start : start + BLOCK], start, where)
    if len(array) > 1 and all(
        np.array_equal(array[s : s + BLOCK], np.broadcast_to(array[0], array[s : s + BLOCK].shape))
        for s in range(0, len(array), BLOCK)
    ):
        raise ConjoinError(where, f"all {len(array)} vectors are the same", "check the encoder")
    return array


def _check_range(block: np.ndarray, start: int, where: str) -> None:
    """Refuse rows of float64 that float32 would make infinite or zero."""
    if block.dtype.itemsize <= 4:
        return
    largest = np.abs(block).max(axis=1)
    limits = np.finfo(np.float32)
    lost = (largest > limits.max) | ((largest > 0) & (largest < limits.tiny))
    if lost.any():
        row = int(np.argmax(lost))
        raise ConjoinError(
            where, f"row {start + row} reaches {largest[row]:.0e}, which float32 does not hold",
            "scale the vectors",
        )  # fmt: skip
