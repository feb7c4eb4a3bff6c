"""What embedding many items would take, from rates measured on a few of them."""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from conjoin.display import Tabular
from conjoin.encoders.media.media import read_picture
from conjoin.errors import ConjoinError
from conjoin.models.compression.footprint import footprint
from conjoin.project.workspace import Workspace

#: Cells whose rate is measured, and kinds of cells that can be.
CELLS, KINDS = 64, ("text", "image")
#: Bytes of a number of a vector, and of a row's key and content hash.
NUMBER, KEY = 4, 60
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([kMB]?)")
_WORTH = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9}


@dataclass(frozen=True)
class Size:
    """What one modality takes.

    Parameters
    ----------
    rate : cells a second of one core, measured here.
    stored : bytes of vectors and keys.
    hours : of all nodes together, wall clock, if nothing waits.
    node : bytes of memory each node holds: a process a slot.
    """

    modality: str
    rate: float
    stored: int
    hours: float
    node: int


@dataclass(frozen=True, repr=False)
class Sizing(Tabular):
    """What embedding so many items on so many nodes would take.

    Parameters
    ----------
    left_out : by modality, why it was not measured.
    """

    items: int
    nodes: int
    slots: int
    sizes: tuple[Size, ...]
    left_out: dict[str, str]

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per modality."""
        columns = ("modality", "cells per core-second", "stored", "hours", "memory per node")
        return columns, [
            (s.modality, f"{s.rate:,.0f}", f"{s.stored / 1e9:,.1f} GB", f"{s.hours:,.1f}",
             f"{s.node / 1e9:,.1f} GB")
            for s in self.sizes
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return asdict(self)


def count_of(text: str) -> int:
    """A number of items as typed.

    Raises
    ------
    ConjoinError : no number over 0.

    Examples
    --------
    >>> count_of("100M"), count_of("1.5k"), count_of("20")
    (100000000, 1500, 20)
    """
    found = _COUNT.fullmatch(text.strip())
    count = int(float(found[1]) * _WORTH[found[2]]) if found else 0
    if count < 1:
        raise ConjoinError("--items", repr(text), "give a number, as in 200k or 100M")
    return count


def size_up(
    ws: Workspace, names: Sequence[str], *, items: int, nodes: int = 1, slots: int = 1,
    note: Callable[[str], None] = lambda _: None,
) -> Sizing:  # fmt: skip
    """Measure the encoders on a few cells, and say what ``items`` of each modality would take.

    With r cells a core-second, d numbers a vector and s slots on each of n nodes:
    ``items (4 d + 60)`` bytes stored and ``items / (r s n)`` seconds, if reading cells and the
    network keep up.

    Raises
    ------
    ConjoinError : no modality has texts or pictures that can be read.
    """
    sizes, left_out = [], {}
    for name in names:
        kind = ws.kind(name)
        if kind not in KINDS:
            left_out[name] = f"cells of kind {kind} are not measured"
            continue
        note(f"measuring {name}")
        with tempfile.TemporaryDirectory() as place:
            cells = list(_cells(ws, name, kind, Path(place)))
            if not cells:
                left_out[name] = "no cell can be read"
                continue
            cost = footprint(ws.modality(name).uri, cells)
        each = ws.encoder(name).frame.dim * NUMBER + KEY
        seconds = items / (cost.rate * nodes * slots)
        sizes.append(Size(name, cost.rate, items * each, seconds / 3600, slots * cost.memory))
    if not sizes:
        said = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise ConjoinError("embed --items", said, "name a modality of texts or pictures")
    return Sizing(items, nodes, slots, tuple(sizes), left_out)


def _cells(ws: Workspace, name: str, kind: str, place: Path) -> Iterator[str]:
    """A few cells as another process reads them: texts, or files of pictures."""
    for number, (_, cell) in enumerate(islice(ws.cells(name, kind), CELLS)):
        if kind == "text":
            yield str(cell)
        else:
            path = place / f"{number}.png"
            read_picture(cell).save(path)
            yield str(path)
