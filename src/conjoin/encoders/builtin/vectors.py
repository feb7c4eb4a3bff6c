"""Vectors you already have."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.base import CellError
from conjoin.encoders.names import uri
from conjoin.encoders.options import Options
from conjoin.errors import ConjoinError, Unreachable, one_line
from conjoin.spaces import Frame

_UNSEEN = Frame("encoder-unprepared", 0)


class Vectors:
    """A cell's numbers as they are: a list, an array, or the path of a ``.npy`` file.

    The width is that of the first readable cell; a cell of another width fails.

    Options: ``name``: what encoder made the vectors. Give columns of one encoder the same name
    and they share a frame; give others different names, for their vectors do not compare.
    """

    kind, batch_size, runtime = "vector", 1024, "numpy"

    def __init__(self, name: str = "", width: int = 0, address: str = "builtin:vector"):
        self.uri, self._name, self._width = address, name, width
        recipe = {"method": "given", "name": name}
        self.frame = Frame.mint("encoder", name or "vectors", width, recipe) if width else _UNSEEN

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "Vectors":
        """Open by URI."""
        name = Options("builtin:vector", options, ("name",)).text("name", "")
        return cls(name, address=uri("builtin", "vector", options))

    def prepare(self, cells: Iterable[Any]) -> "Vectors":
        """Take the width of the first readable cell."""
        for cell in cells:
            try:
                width = len(numbers(cell))
            except CellError:
                continue
            return Vectors(self._name, width, self.uri)
        raise ConjoinError(
            self.uri, "no cell holds a vector", "give lists of numbers or .npy files"
        )

    def state(self) -> dict[str, Any]:
        """The width."""
        return {"width": self._width} if self._width else {}

    def from_state(self, state: Mapping[str, Any]) -> "Vectors":
        """With the width seen earlier."""
        return Vectors(self._name, int(state["width"]), self.uri)

    def decode(self, cell: Any) -> np.ndarray:
        """``[width]`` finite numbers."""
        values = numbers(cell)
        if len(values) != self._width:
            raise CellError(f"{len(values)} numbers where the column has {self._width}")
        return values

    def length(self, item: np.ndarray) -> int:
        """All vectors cost the same."""
        return 1

    def forward(self, items: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors → ``[n, width]``."""
        return np.stack(items).astype(np.float32)


def numbers(cell: Any) -> np.ndarray:
    """A cell as a non-empty 1-D float32 array of finite numbers.

    Raises
    ------
    CellError : it is none.
    """
    values = load_array(cell)
    if values.ndim == 2 and 1 in values.shape:
        values = values.ravel()
    if values.ndim != 1 or values.size == 0:
        raise CellError(f"an array of shape {values.shape} where [n] was expected")
    if values.dtype != np.float32:
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise CellError("NaN or infinity, or a number beyond float32")
    return values


def load_array(cell: Any) -> np.ndarray:
    """A list, array or ``.npy`` path as an array of numbers (never unpickled).

    Raises
    ------
    CellError : it is none of these.
    """
    try:
        if isinstance(cell, str | Path):
            values = np.load(cell, allow_pickle=False)
        else:
            values = np.asarray(cell)
        if values.dtype.kind not in "fiub":
            values = values.astype(np.float64)
        return values
    except OSError as error:
        raise Unreachable(f"not an array of numbers: {one_line(error)}") from None
    except Exception as error:  # whatever an object raises when it is looked at
        raise CellError(f"not an array of numbers: {one_line(error)}") from None
