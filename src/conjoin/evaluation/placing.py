"""Cells of several kinds placed in one space: by a binding, or by the towers of one model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.encoders.base import Encoder
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError
from conjoin.evaluation.formats.base import Cells
from conjoin.items.cells import resolve
from conjoin.spaces import Space, Tokens


@dataclass(frozen=True, eq=False)
class Placed:
    """A binding with the encoders of its modalities: cells in, vectors of its frame out.

    Of each kind of cell, the first modality of the binding that reads it places it. Without a
    binding, encoders must share one frame, as the towers of one model do.

    Parameters
    ----------
    encoders : by modality; each reads one kind of cell.
    binding : the maps into one frame, by modality.
    """

    encoders: Mapping[str, Encoder]
    binding: Binding | None = None

    @property
    def by_kind(self) -> dict[str, str]:
        """By kind of cell, the modality that places it."""
        names = self.encoders if self.binding is None else self.binding.maps
        known = [name for name in names if name in self.encoders]
        return {self.encoders[name].kind: name for name in reversed(known)}

    def __call__(self, cells: Cells) -> np.ndarray:
        """Vectors ``[n, d]`` in the order of the cells; token sets are pooled.

        Raises
        ------
        ConjoinError : no modality reads such cells, or one cannot be read.
        """
        return np.asarray(self.space(cells).vectors)

    def space(self, cells: Cells) -> Space:
        """The cells as a space of the binding's frame."""
        if cells.kind not in self.by_kind:
            said = ", ".join(f"{name} ({kind})" for kind, name in self.by_kind.items())
            raise ConjoinError("encoders", f"place {said}, the task has {cells.kind}",
                               "give ones that read both sides")  # fmt: skip
        name = self.by_kind[cells.kind]
        encoder = self.encoders[name]
        found = Space(np.array(list(cells.values)), vectors_of(encoder, cells), encoder.frame)
        return found if self.binding is None else self.binding.bind(name, found)


def vectors_of(encoder: Any, cells: Cells) -> np.ndarray:
    """Vectors of a task's cells; token sets are pooled.

    Raises
    ------
    ConjoinError : a cell cannot be read; a benchmark is scored whole or not at all.
    """
    keep = cells.kind == "text"
    read = [v if keep else resolve(v, Path(), cells.kind) for v in cells.values.values()]
    found = encode(encoder, read, strict=True).vectors
    if isinstance(found, Tokens):
        ids = np.array(list(cells.values))
        return np.asarray(Space(ids, found, encoder.frame).pooled().vectors)
    return np.asarray(found)
