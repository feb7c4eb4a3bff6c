"""``conjoin negatives export``: pairs of the workspace with hard negatives, for other trainers."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.display import Tabular
from conjoin.errors import ConjoinError, nearest
from conjoin.project.fit.stored import current_fit, stale
from conjoin.project.workspace import Workspace
from conjoin.spaces.frame import unit
from conjoin.storage.files import atomic
from conjoin.training.negatives import hard_negatives

#: Endings of files that can be written.
SUFFIXES = (".jsonl", ".csv", ".parquet")


@dataclass(frozen=True)
class NegativesAsk:
    """What was asked.

    Parameters
    ----------
    anchor, positive : modalities; the first two that are bound where not given.
    count : negatives a pair.
    margin, relative : as of :func:`~conjoin.training.negatives.hard_negatives`.
    """

    anchor: str | None = None
    positive: str | None = None
    count: int = 5
    margin: float = 0.05
    relative: bool = True


@dataclass(frozen=True, repr=False)
class Exported(Tabular):
    """What was written.

    Parameters
    ----------
    lines : pairs written, each with its negatives.
    without : training pairs that no negative is left of, and that were left out.
    short : pairs written with fewer than asked for.
    """

    path: Path
    anchor: str
    positive: str
    lines: int
    without: int
    short: int

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """One row."""
        return ("anchor", "positive", "lines", "short of negatives", "left out"), [
            (self.anchor, self.positive, self.lines, self.short, self.without)
        ]

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {**asdict(self), "path": str(self.path)}


def export_negatives(ws: Workspace, path: Path, ask: NegativesAsk) -> Exported:
    """Write training pairs with the rows most like them in the joint space that are no partners.

    Held-out items are in no line. Columns are ``anchor``, ``positive`` and ``negative_1`` on, as
    sentence-transformers reads them: texts as they are, other cells as the table has them where
    it names a file, else as the item's id.

    Raises
    ------
    ConjoinError : nothing is fitted, a modality is not bound or is not paired with the other, or
        the file's ending is unknown.
    """
    if path.suffix not in SUFFIXES:
        raise ConjoinError(str(path), "unknown ending", f"write {', '.join(SUFFIXES)}")
    binding = current_fit(ws).binding
    names = [*filter(None, (ask.anchor, ask.positive))]
    for name in names:
        if name not in binding.maps:
            raise ConjoinError("modality", f"{name!r} is not bound", nearest(name, binding.maps))
    rest = [name for name in binding.maps if name not in names]
    anchor = ask.anchor or rest.pop(0)
    positive = ask.positive or next((n for n in rest if n != anchor), "")
    if not positive or positive == anchor:
        raise ConjoinError("--positive", "is no other modality", "name two that are bound")
    spaces = ws.spaces([anchor, positive])
    for name, space in spaces.items():
        if space.frame != binding.maps[name].source:
            raise stale(name)
    left, right, _ = ws.pairs(spaces)[0].between(anchor, positive)
    if len(left) < 2:
        raise ConjoinError(f"{anchor} and {positive}", f"{len(left)} training pairs", "give more")
    rows = {anchor: left, positive: right}
    x, z = (
        unit(np.asarray(binding.bind(n, spaces[n].take(rows[n])).vectors, np.float32))
        for n in (anchor, positive)
    )
    owner = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))
    ids = spaces[positive].ids[right]
    groups = np.array([owner.get(str(item), str(item)) for item in ids])
    content = spaces[positive].content[right]
    # Where nothing is known of the content, each row shows what its key says.
    content = np.where(content == 0, np.arange(len(content), dtype=np.uint64), content)
    found = hard_negatives(
        x, z, groups, content, anchors=left, count=ask.count, margin=ask.margin,
        relative=ask.relative,
    )  # fmt: skip
    kept = np.flatnonzero((found >= 0).any(axis=1))
    sides = [_written(ws, n, spaces[n], rows[n]) for n in (anchor, positive)]
    lines = [
        {
            "anchor": sides[0][i], "positive": sides[1][i],
            **{f"negative_{k + 1}": sides[1][j] if j >= 0 else None
               for k, j in enumerate(found[i])},
        }
        for i in kept
    ]  # fmt: skip
    _write(path, lines)
    short = int((found[kept] < 0).any(axis=1).sum())
    return Exported(path, anchor, positive, len(lines), len(left) - len(kept), short)


def _written(ws: Workspace, name: str, space: Any, rows: np.ndarray) -> list[str]:
    """Cells as a trainer elsewhere reads them."""
    kind, column = ws.kind(name), ws.modality(name).column
    cells = ws.cells(name, kind)
    out = []
    for item, part in zip(space.ids[rows], space.parts[rows], strict=True):
        if kind == "text":
            out.append(str(cells.get(str(item), int(part))))
            continue
        value = ws.items.value(column, str(item)) if isinstance(column, str) else None
        out.append(value if isinstance(value, str) else str(item))
    return out


def _write(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        out = pa.BufferOutputStream()
        parquet.write_table(pa.Table.from_pylist(list(lines)), out)
        data = out.getvalue().to_pybytes()
    elif path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(lines[0]) if lines else ["anchor", "positive"])
        writer.writeheader()
        writer.writerows(lines)
        data = text.getvalue().encode()
    else:
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    with atomic(path) as file:
        file.write(data)
