"""``python:``, a function of yours named ``module:function``."""

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from conjoin.encoders import probe
from conjoin.encoders.base import CellError
from conjoin.encoders.media.media import read_picture, read_sound, read_text
from conjoin.encoders.names import uri
from conjoin.encoders.options import Options
from conjoin.errors import ConjoinError, nearest
from conjoin.spaces import Frame

_OPTIONS = ("kind", "rate", "seconds", "dim")


@dataclass(frozen=True, eq=False)
class Function:
    """A function from a list of cells to an array ``[n, d]``.

    It gets strings (text), RGB Pillow images (image), float32 mono waves (audio) or float32 rows
    (vector, series).

    Options
    -------
    kind : ``text``, ``image``, ``audio``, ``vector`` or ``series``.
    rate, seconds : samples a second of the sounds it gets (16000), and how much of each (30).
    dim : width of the vectors it takes, for ``kind=vector``.

    Its frame holds the vectors of eight probes; see :mod:`conjoin.encoders.probe`.
    """

    runtime: ClassVar[str] = "python"
    uri: str
    kind: str
    frame: Frame
    function: Callable[[list[Any]], Any]
    probes: np.ndarray
    rate: int
    seconds: float
    batch_size: int = 64

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "Function":
        """Import the function and embed its probes.

        Raises
        ------
        ConjoinError : unknown option, no such module or function, or it gives no ``[n, d]``.
        """
        where = uri("python", rest, options)
        given = Options(f"python:{rest}", options, _OPTIONS)
        kind = given.text("kind", "text", probe.KINDS)
        rate, width = given.whole("rate", 16_000, 1, 1_000_000), given.whole("dim", 0, 1, 1 << 24)
        seconds = given.number("seconds", 30.0, 0.1, 3600)
        if kind == "vector" and not width:
            raise ConjoinError(where, "does not say how wide its vectors are", "add dim=WIDTH")
        function = find_function(rest, where)
        bare = cls(
            where, kind, Frame("encoder-unminted", 0), function, np.empty((0, 0)), rate, seconds
        )
        probes = bare.forward(probe.inputs(kind, rate=rate, width=width or None))
        facts = {"family": "python", "uri": where, "probes": probe.fingerprint(probes)}
        frame = Frame.mint("encoder", where, probes.shape[1], facts)
        return replace(bare, frame=frame, probes=probes)

    def decode(self, cell: Any) -> Any:
        """The cell as the function gets it."""
        if self.kind == "text":
            return read_text(cell)
        if self.kind == "image":
            return read_picture(cell)
        if self.kind == "audio":
            return read_sound(cell, self.rate, self.seconds)
        try:
            row = np.asarray(cell, dtype=np.float32)
        except (TypeError, ValueError):
            raise CellError("is not a list of numbers") from None
        if row.ndim != 1 or not len(row):
            raise CellError(f"has shape {row.shape}, not one row of numbers")
        return row

    def prepare(self, cells: Iterable[Any]) -> "Function":
        """Nothing to look at: the probes were embedded at opening."""
        return self

    def state(self) -> dict[str, Any]:
        """Frame and probe vectors, JSON-able."""
        return probe.state(self)

    def from_state(self, state: Mapping[str, Any]) -> "Function":
        """The encoder in its stored frame.

        Raises
        ------
        FrameError : it drifted since.
        """
        return probe.restore(self, state)

    def length(self, item: Any) -> int:
        """1: what a cell costs a function is not known."""
        return 1

    def forward(self, items: Sequence[Any]) -> np.ndarray:
        """Cells → what the function gives, as ``[n, d]`` float32."""
        try:
            out = np.asarray(self.function(list(items)), dtype=np.float32)
        except ConjoinError:
            raise
        except Exception as error:
            raise ConjoinError(
                self.uri, f"raised {type(error).__name__}: {error}", "fix the function"
            ) from error
        if out.ndim != 2 or len(out) != len(items) or not out.shape[1]:
            raise ConjoinError(
                self.uri, f"gave shape {out.shape} for {len(items)} cells", "return [n, d]"
            )
        if not np.isfinite(out).all():
            raise ConjoinError(self.uri, "gave NaN or infinity", "fix the function")
        return out


def find_function(rest: str, where: str) -> Callable[[list[Any]], Any]:
    """The function that ``module:function`` names.

    Raises
    ------
    ConjoinError : there is no such module or function, or importing it fails.
    """
    module, _, name = rest.partition(":")
    if not module or not name:
        raise ConjoinError(where, "names no function", "write python:module:function")
    try:
        found = _import(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ConjoinError(where, f"module {error.name} is missing", "install it") from error
        raise ConjoinError(
            where, f"there is no module {module}", "install it, or run where its file lies"
        ) from None
    except Exception as error:
        raise ConjoinError(
            where, f"importing {module} raised {type(error).__name__}: {error}", "fix the module"
        ) from error
    function = getattr(found, name, None)
    if not callable(function):
        known = [key for key, value in vars(found).items() if callable(value) and key[0] != "_"]
        raise ConjoinError(where, f"{module} has no function {name}", nearest(name, known))
    return function


def _import(module: str) -> Any:
    """Import a module; one that lies in the working folder is found too, after all others."""
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.append(here)
        importlib.invalidate_caches()
    try:
        return importlib.import_module(module)
    finally:
        if added:
            sys.path.remove(here)
