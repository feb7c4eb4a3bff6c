"""The same ranking in other indexes: corrections become more coordinates of an inner product.

A row is stored as ``[x, offset of each direction into this modality]`` and a query of one direction
is ``[scale · q, −1 at its own offsets, 0 at the others']``, so that the inner product is
``scale · q·x − Σ_t offset_t``: what :class:`~conjoin.retrieval.index.index.Index` ranks by.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conjoin.errors import ConjoinError, nearest, optional
from conjoin.retrieval.hubness.csls import Correction
from conjoin.retrieval.index.index import Index
from conjoin.spaces import Tokens
from conjoin.spaces.space import BLOCK
from conjoin.storage.files import FORMAT, atomic, write_json


@dataclass(frozen=True, eq=False)
class Layout:
    """How rows and queries of one target modality are widened.

    Parameters
    ----------
    index, target : what is laid out.
    corrections : by query modality, those of this target, in order of their coordinates.
    """

    index: Index
    target: str
    corrections: Mapping[str, Correction]

    @classmethod
    def of(cls, index: Index, target: str, *, plain: bool = False) -> "Layout":
        """The layout of one modality.

        Parameters
        ----------
        plain : leave the corrections out.

        Raises
        ------
        ConjoinError : it is not indexed, holds token sets, or a correction is no set of
            coordinates: it has a gate or maps one side.
        """
        if target not in index.spaces:
            raise ConjoinError(
                "--into", f"{target!r} is not indexed", nearest(target, index.spaces)
            )
        if isinstance(index.spaces[target].vectors, Tokens):
            raise ConjoinError(f"modality {target}", "holds token sets", "pool it, then fit again")
        held = {q: c for (q, t), c in sorted(index.corrections.items()) if t == target}
        for query, rule in {} if plain else held.items():
            why = "has a gate" if rule.active is not None else "maps vectors"
            if rule.active is not None or rule.query_map or rule.gallery_map:
                raise ConjoinError(
                    f"correction {query} to {target}", f"{rule.method} {why}: no coordinates",
                    "give --plain to leave corrections out",
                )  # fmt: skip
        return cls(index, target, {} if plain else held)

    @property
    def width(self) -> int:
        """Coordinates of a row."""
        more = sum(rule.offset.shape[1] for rule in self.corrections.values())
        return self.index.frame.dim + more

    def rows(self) -> Iterator[tuple[int, np.ndarray]]:
        """First row and ``[≤ BLOCK, width]`` float32, in order."""
        for start, block in self.index.spaces[self.target].blocks(BLOCK):
            part = slice(start, start + len(block))
            more = [np.asarray(rule.offset[part], np.float32) for rule in self.corrections.values()]
            yield start, np.ascontiguousarray(np.concatenate([block, *more], axis=1))

    def queries(self, q: np.ndarray, source: str | None) -> np.ndarray:
        """``[q, width]`` float32 of vectors as ``Frame.query`` gives them."""
        rule = self.corrections.get(source or "")
        wide = np.zeros((len(q), self.width), dtype=np.float32)
        wide[:, : q.shape[1]] = q if rule is None else q * np.float32(rule.scale)
        for name, (first, last) in self.places().items():
            if name == source:
                wide[:, first:last] = -1
        return wide

    def places(self) -> dict[str, tuple[int, int]]:
        """By query modality, where its offsets lie."""
        found, at = {}, self.index.frame.dim
        for name, rule in self.corrections.items():
            found[name] = (at, at + rule.offset.shape[1])
            at += rule.offset.shape[1]
        return found

    def to_json(self) -> dict[str, Any]:
        """What someone needs to query the rows without this library."""
        return {
            "version": FORMAT, "modality": self.target, "frame": self.index.frame.to_json(),
            "rows": len(self.index.spaces[self.target]), "width": self.width,
            "query": "[scale * q, -1 at its offsets, 0 elsewhere], q as the frame's queries",
            "directions": {
                name: {"method": rule.method, "scale": rule.scale,
                       "offsets": list(self.places()[name])}
                for name, rule in self.corrections.items()
            },
        }  # fmt: skip

    def payload(self) -> pa.Table:
        """Id, part and metadata, a line a row."""
        space = self.index.spaces[self.target]
        table = pa.table({"id": space.ids.tolist(), "part": np.asarray(space.parts)})
        if self.index.about is not None:
            held = self.index.about(self.target)
            for name in held.column_names:
                if name not in table.column_names:
                    table = table.append_column(name, held.column(name))
        return table


def export_faiss(layout: Layout, folder: Path) -> dict[str, str]:
    """Write a modality as a faiss file, its ids and metadata as Parquet, its layout as JSON.

    ``faiss.read_index`` alone reads it; row numbers are lines of the Parquet file.
    """
    faiss = optional("faiss", "accel")
    index = faiss.IndexFlatIP(layout.width)
    for _, rows in layout.rows():
        index.add(rows)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / layout.target
    paths = {kind: f"{stem}.{kind}" for kind in ("faiss", "parquet", "json")}
    with atomic(Path(paths["faiss"])) as file:
        file.write(faiss.serialize_index(index).tobytes())
    with atomic(Path(paths["parquet"])) as file:
        pq.write_table(layout.payload(), file)
    write_json(Path(paths["json"]), layout.to_json())
    return paths


def payload_rows(table: pa.Table, start: int, stop: int) -> list[dict[str, Any]]:
    """Payload of some rows as JSON-able values; missing ones left out."""
    rows = table.slice(start, stop - start).to_pylist()
    return [json.loads(json.dumps({k: v for k, v in row.items() if v is not None}, default=str))
            for row in rows]  # fmt: skip
