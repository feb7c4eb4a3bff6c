"""One Lance table a modality: what an index store keeps, version by version."""

import contextlib
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
#: What the system says, by the words the database repeats, and the remedy.
_SYSTEM = {
    "no space left on the disk": ("No space left", "os error 28", "quota", "os error 122"),
    "a file would be larger than is allowed": ("File too large", "os error 27"),
    "may not be written": ("Permission denied", "os error 13", "Read-only", "os error 30"),
    "too many files are open": ("Too many open files", "os error 24"),
}
_REMEDY = {
    "may not be written": "check the folder's rights",
    "too many files are open": "raise ulimit -n and run again",
}
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
        # The database is native code: it takes memory to be aligned, and maps need not be.
        flat = pa.array(np.require(vectors, np.float32, ["C", "A"]).reshape(-1))
        arrays = [
            pa.array(np.require(numbers[part], np.int64, ["C", "A"])),
            pa.array(space.ids[part].tolist(), pa.string()),
            pa.array(np.require(space.parts[part], np.int32, ["C", "A"])),
            pa.array(np.require(space.content[part], np.uint64, ["C", "A"])),
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
        with self._named(name, rows := _Watched(rows)):
            made = self._db.create_table(name, pa.RecordBatchReader.from_batches(schema, rows))
            return int(made.version)

    def append(self, name: str, schema: pa.Schema, rows: Iterator[pa.RecordBatch]) -> int:
        """Add rows; the new version."""
        with self._named(name, rows := _Watched(rows)):
            table = self._db.open_table(name)
            table.add(pa.RecordBatchReader.from_batches(schema, rows))
            return int(table.version)

    def delete(self, name: str, numbers: np.ndarray) -> int:
        """Take rows away by number; the new version."""
        with self._named(name):
            table = self._db.open_table(name)
            for start in range(0, len(numbers), NAMED):
                table.delete(f"row in ({', '.join(map(str, numbers[start : start + NAMED]))})")
            return int(table.version)

    def restore(self, name: str, version: int) -> int:
        """Make a version the newest, where it is not; its number as the newest."""
        with self._named(name):
            table = self._db.open_table(name)
            if table.version == version:
                return version
            table.checkout(version)
            table.restore()
            return int(table.version)

    def lists(self, name: str, count: int) -> int:
        """Build inverted lists over the vectors; the new version."""
        index = optional("lancedb.index", "search")
        with self._named(name):
            table = self._db.open_table(name)
            config = index.IvfRq(distance_type="dot", num_partitions=count, num_bits=1)
            table.create_index("vector", config=config)
            return int(table.version)

    def tag(self, name: str, label: str, version: int) -> None:
        """Keep a version from the database's own cleaning of old ones."""
        with self._named(name):
            tags = self._db.open_table(name).tags
            (tags.update if label in tags.list() else tags.create)(label, version)

    def drop(self, name: str) -> None:
        """Remove a table."""
        with self._named(name):
            self._db.drop_table(name)

    def at(self, name: str, version: int) -> Any:
        """A table as of one version.

        Raises
        ------
        StateError : it is gone.
        """
        with self._named(name, reads=version):
            table = self._db.open_table(name)
            table.checkout(version)
            return table

    def read(
        self, name: str, version: int, columns: Sequence[str], since: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Rows of a version from a number on, in the order of their numbers.

        Raises
        ------
        StateError : they are torn or gone.
        """
        table = self.at(name, version)
        with self._named(name, reads=version):
            found = table.search().select(["row", *columns])
            if since:
                found = found.where(f"row >= {since}")
            rows = iter(found.to_batches(batch_size=BATCH))
        while True:
            with self._named(name, reads=version):
                batch = next(rows, None)
            if batch is None:
                return
            yield batch

    def prove(self, held: Any, numbers: np.ndarray, new: Space | None = None) -> None:
        """Count a table's rows after they were written, and read back those that are new.

        Parameters
        ----------
        held : the table and its version.
        numbers : of every row it must hold, ascending.
        new : what was written last, under the last of the numbers.

        Raises
        ------
        StateError : it holds others.
        """
        batches = self.read(held.table, held.version, [])
        found = [batch.column("row").to_numpy() for batch in batches]
        there = np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)
        if not np.array_equal(there, numbers):
            raise self._short(held.table, f"{len(there)} of {len(numbers)} rows")
        if new is None or not len(new):
            return
        names, at = ["id", "part", "content", "vector"], 0
        held_vectors: Any = new.vectors
        for batch in self.read(held.table, held.version, names, int(numbers[-len(new)])):
            part = slice(at, at + batch.num_rows)
            vectors = batch.column("vector").flatten().to_numpy().reshape(-1, new.dim)
            pairs = (
                (batch.column("id").to_pylist(), new.ids[part].tolist()),
                (batch.column("part").to_numpy(), new.parts[part]),
                (batch.column("content").to_numpy(), new.content[part]),
                (vectors, np.asarray(held_vectors[part], dtype=np.float32)),
            )
            if not all(np.array_equal(a, b) for a, b in pairs):
                raise self._short(held.table, "other rows")
            at += batch.num_rows
        if at != len(new):
            raise self._short(held.table, f"{at} of {len(new)} new rows")

    def _short(self, name: str, what: str) -> StateError:
        return StateError(
            str(self.folder / f"{name}.lance"), f"the database kept {what}; nothing was changed",
            "run it again; if it stays so, report it",
        )  # fmt: skip

    @contextlib.contextmanager
    def _named(
        self, name: str, rows: "_Watched | None" = None, reads: int | None = None
    ) -> Iterator[None]:
        """Say what the database raises as what it is; its own words are of its inside."""
        try:
            yield
        except ConjoinError:
            raise
        except Exception as error:
            raise self._said(name, rows, reads, error) from error
        except BaseException as error:  # a panic of native code is no Exception
            if type(error).__module__ != "pyo3_runtime":
                raise
            raise self._said(name, rows, reads, error) from error

    def _said(
        self, name: str, rows: "_Watched | None", reads: int | None, error: BaseException
    ) -> Exception:
        if rows is not None and rows.error is not None:
            return rows.error
        where, text = str(self.folder / f"{name}.lance"), f"{error}"
        for found, words in _SYSTEM.items():
            if any(word in text for word in words):
                return ConjoinError(where, found, _REMEDY.get(found, "free some and run again"))
        first = (text.strip() or type(error).__name__).splitlines()[0][:80]
        first = first if isinstance(error, Exception) else "its bytes make the database stop"
        what = "cannot be written" if reads is None else f"version {reads} cannot be read"
        return StateError(where, f"{what} ({first})", "run: conjoin fit")


class _Watched:
    """Batches on their way into the database, which wraps in its own words what they raise."""

    def __init__(self, rows: Iterator[pa.RecordBatch]):
        self._rows = rows
        self.error: Exception | None = None

    def __iter__(self) -> "_Watched":
        return self

    def __next__(self) -> pa.RecordBatch:
        try:
            return next(self._rows)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise


def sql_names(columns: Sequence[Column]) -> tuple[Mapping[str, pa.DataType], Mapping[str, str]]:
    """Types and stored names by the names people use."""
    return {c.name: c.type for c in columns}, {c.name: c.stored for c in columns}
