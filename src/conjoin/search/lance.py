"""One Lance table a modality: what an index store keeps, version by version."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from conjoin.errors import ConjoinError, StateError, optional
from conjoin.spaces import Space

#: Rows of a batch that is written or read.
BATCH = 8192
#: Row numbers named in one deletion.
NAMED = 20_000
#: Columns every table has; those of metadata follow.
FIXED = ("row", "id", "part", "content", "vector")
#: What the database raises where its files are torn.
_UNREADABLE = (ValueError, RuntimeError, OSError)
#: Types metadata are kept in; others as text.
_KEPT = (pa.types.is_boolean, pa.types.is_date, pa.types.is_timestamp)


@dataclass(frozen=True)
class Column:
    """A metadata column: what people call it, what the table does, and its type."""

    name: str
    stored: str
    type: pa.DataType

    def to_json(self) -> list[str]:
        """Name, stored name, type."""
        return [self.name, self.stored, str(self.type)]

    @classmethod
    def from_json(cls, raw: Sequence[str]) -> "Column":
        """Read back what :meth:`to_json` wrote."""
        return cls(raw[0], raw[1], _type_of(raw[2]))


def _type_of(text: str) -> pa.DataType:
    if text.startswith("timestamp["):
        unit, _, zone = text[10:-1].partition(", tz=")
        return pa.timestamp(unit, zone or None)
    if text.startswith("date32"):
        return pa.date32()
    return {"int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_()}.get(text, pa.string())


def kept_columns(table: pa.Table | None) -> list[Column]:
    """The columns of a table that can be filtered by, and how they are kept."""
    found = []
    for place, entry in enumerate(table.schema if table is not None else ()):
        kind = _kept_type(entry.type)
        if kind is not None:
            safe = "".join(c if c.isascii() and c.isalnum() else "_" for c in entry.name)
            found.append(Column(entry.name, f"m{place}_{safe}", kind))
    return found


def _kept_type(kind: pa.DataType) -> pa.DataType | None:
    if pa.types.is_dictionary(kind):
        return _kept_type(kind.value_type)
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_date(kind):
        return pa.date32()
    return kind if any(check(kind) for check in _KEPT) else None


def batches(
    numbers: np.ndarray, space: Space, columns: Sequence[Column], meta: pa.Table | None
) -> Iterator[pa.RecordBatch]:
    """Rows as a table keeps them; ``meta`` has a line a row."""
    schema = schema_of(space.dim, columns)
    for start, vectors in space.blocks(BATCH):
        part = slice(start, start + len(vectors))
        flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
        arrays = [
            pa.array(numbers[part]), pa.array(space.ids[part].tolist(), pa.string()),
            pa.array(space.parts[part], pa.int32()), pa.array(space.content[part], pa.uint64()),
            pa.FixedSizeListArray.from_arrays(flat, space.dim),
        ]  # fmt: skip
        arrays += [_cells(column, meta, start, len(vectors)) for column in columns]
        yield pa.record_batch(arrays, schema=schema)


def _cells(column: Column, meta: pa.Table | None, start: int, count: int) -> pa.Array:
    if meta is None or column.name not in meta.column_names:
        return pa.nulls(count, column.type)
    held = meta.column(column.name).slice(start, count).combine_chunks()
    if pa.types.is_dictionary(held.type):
        held = held.dictionary_decode()
    try:
        return held.cast(column.type)
    except pa.ArrowException:
        raise ConjoinError(
            f"column {column.name}", f"of type {held.type}, the index keeps {column.type}",
            "correct it, or build the index again: conjoin fit",
        ) from None  # fmt: skip


def schema_of(dim: int, columns: Sequence[Column]) -> pa.Schema:
    """The columns of a table."""
    return pa.schema(
        [
            ("row", pa.int64()), ("id", pa.string()), ("part", pa.int32()),
            ("content", pa.uint64()), ("vector", pa.list_(pa.float32(), dim)),
            *((column.stored, column.type) for column in columns),
        ]
    )  # fmt: skip


class Tables:
    """The Lance tables of one store.

    Parameters
    ----------
    folder : where they lie, a folder each.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._held: Any = None

    @property
    def _db(self) -> Any:
        if self._held is None:
            lancedb = optional("lancedb", "search")
            self.folder.mkdir(parents=True, exist_ok=True)
            self._held = lancedb.connect(str(self.folder))
        return self._held

    def names(self) -> set[str]:
        """Tables that are there."""
        return {path.stem for path in self.folder.glob("*.lance")}

    def create(self, name: str, schema: pa.Schema, rows: Iterator[pa.RecordBatch]) -> int:
        """Make a table; its version."""
        made = self._db.create_table(name, pa.RecordBatchReader.from_batches(schema, rows))
        return int(made.version)

    def append(self, name: str, schema: pa.Schema, rows: Iterator[pa.RecordBatch]) -> int:
        """Add rows; the new version."""
        table = self._db.open_table(name)
        table.add(pa.RecordBatchReader.from_batches(schema, rows))
        return int(table.version)

    def delete(self, name: str, numbers: np.ndarray) -> int:
        """Take rows away by number; the new version."""
        table = self._db.open_table(name)
        for start in range(0, len(numbers), NAMED):
            table.delete(f"row in ({', '.join(map(str, numbers[start : start + NAMED]))})")
        return int(table.version)

    def restore(self, name: str, version: int) -> int:
        """Make a version the newest, where it is not; its number as the newest."""
        table = self._db.open_table(name)
        if table.version == version:
            return version
        table.checkout(version)
        table.restore()
        return int(table.version)

    def lists(self, name: str, count: int) -> int:
        """Build inverted lists over the vectors; the new version."""
        index = optional("lancedb.index", "search")
        table = self._db.open_table(name)
        config = index.IvfRq(distance_type="dot", num_partitions=count, num_bits=1)
        table.create_index("vector", config=config)
        return int(table.version)

    def tag(self, name: str, label: str, version: int) -> None:
        """Keep a version from the database's own cleaning of old ones."""
        tags = self._db.open_table(name).tags
        (tags.update if label in tags.list() else tags.create)(label, version)

    def drop(self, name: str) -> None:
        """Remove a table."""
        self._db.drop_table(name)

    def at(self, name: str, version: int) -> Any:
        """A table as of one version.

        Raises
        ------
        StateError : it is gone.
        """
        try:
            table = self._db.open_table(name)
            table.checkout(version)
        except _UNREADABLE as error:
            raise self._torn(name, version, error) from None
        return table

    def read(
        self, name: str, version: int, columns: Sequence[str], since: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Rows of a version from a number on, in the order of their numbers.

        Raises
        ------
        StateError : they are torn or gone.
        """
        found = self.at(name, version).search().select(["row", *columns])
        if since:
            found = found.where(f"row >= {since}")
        try:
            yield from found.to_batches(batch_size=BATCH)
        except _UNREADABLE as error:
            raise self._torn(name, version, error) from None

    def _torn(self, name: str, version: int, error: Exception) -> StateError:
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:80]
        return StateError(
            str(self.folder / f"{name}.lance"), f"version {version} cannot be read ({first})",
            "run: conjoin clean, then: conjoin fit",
        )  # fmt: skip


def sql_names(columns: Sequence[Column]) -> tuple[Mapping[str, pa.DataType], Mapping[str, str]]:
    """Types and stored names by the names people use."""
    return {c.name: c.type for c in columns}, {c.name: c.stored for c in columns}
