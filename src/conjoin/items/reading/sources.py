"""Rows of items whose columns are read when asked for, whatever they lie in."""

import bisect
import itertools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conjoin.errors import ConjoinError, nearest

#: Rows handed over at a time wherever a column is streamed.
BATCH = 1024


class Source(Protocol):
    """Rows of items whose columns are read when asked for."""

    names: tuple[str, ...]
    rows: int
    #: What was guessed, passed over or changed in reading, a line each.
    notes: tuple[str, ...]

    def type(self, name: str) -> pa.DataType | None:
        """Arrow type of a column; ``None`` where it holds Python objects."""
        ...

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Whole columns at once, all of those Arrow can hold when none are named."""
        ...

    def values(self, name: str) -> Iterator[Any]:
        """Values of a column in row order, streamed; ``None`` where missing."""
        ...

    def at(self, name: str, row: int) -> Any:
        """One value."""
        ...


class Held:
    """Columns in memory (or memory-mapped), Arrow arrays and Python objects side by side."""

    def __init__(
        self,
        table: pa.Table,
        objects: Mapping[str, list] | None = None,
        notes: Sequence[str] = (),
    ):
        self._table, self._objects = table, dict(objects or {})
        self.notes = tuple(notes)
        self.names = (*table.column_names, *self._objects)
        held = next(iter(self._objects.values()), [])
        self.rows = table.num_rows if table.num_columns else len(held)
        self._near = _Near()
        self._columns: dict[str, pa.ChunkedArray] = {}

    def type(self, name: str) -> pa.DataType | None:
        """Arrow type of a column; ``None`` where it holds Python objects."""
        return None if name in self._objects else self._table.schema.field(name).type

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Whole columns at once.

        Raises
        ------
        ConjoinError : a column named holds Python objects.
        """
        for name in columns or ():
            if name in self._objects:
                raise ConjoinError(
                    f"column {name!r}", "holds values of several types", "give one type a column"
                )
        return self._table if columns is None else self._table.select(list(columns))

    def values(self, name: str) -> Iterator[Any]:
        """Values of a column in row order."""
        if name in self._objects:
            yield from self._objects[name]
            return
        for chunk in self._table.column(name).chunks:
            for start in range(0, len(chunk), BATCH):
                yield from to_python(chunk.slice(start, BATCH))

    def at(self, name: str, row: int) -> Any:
        """One value."""
        if name in self._objects:
            return self._objects[name][row]
        column = self._columns.setdefault(name, self._table.column(name))
        return self._near.at(name, column, row)


class Stored:
    """A Parquet file: columns are streamed from disk and single values fetched by row group."""

    def __init__(self, file: pq.ParquetFile):
        self.notes: tuple[str, ...] = ()
        self._file, self._lock = file, threading.Lock()
        self._schema = file.schema_arrow
        self.names = tuple(self._schema.names)
        self.rows = file.metadata.num_rows
        self._ends: list[int] = []
        for group in range(file.num_row_groups):
            before = self._ends[-1] if self._ends else 0
            self._ends.append(before + file.metadata.row_group(group).num_rows)
        self._last: dict[str, tuple[int, pa.ChunkedArray]] = {}
        self._near = _Near()

    def type(self, name: str) -> pa.DataType | None:
        """Arrow type of a column."""
        return self._schema.field(name).type

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Whole columns at once."""
        with self._lock, _whole("the table"):
            return self._file.read(columns=None if columns is None else list(columns))

    def values(self, name: str) -> Iterator[Any]:
        """Values of a column in row order, a batch in memory at a time."""
        with _whole(f"column {name!r}"):
            for batch in self._file.iter_batches(batch_size=BATCH, columns=[name]):
                yield from to_python(batch.column(0))

    def at(self, name: str, row: int) -> Any:
        """One value; the row group it lies in is kept for the next call."""
        group = bisect.bisect_right(self._ends, row)
        with self._lock, _whole(f"column {name!r}"):
            last = self._last.get(name)
            if last is None or last[0] != group:
                last = (group, self._file.read_row_group(group, columns=[name]).column(0))
                self._last[name] = last
        start = self._ends[group - 1] if group else 0
        return self._near.at(name, last[1], row - start)


class Joined:
    """Several tables one after the other; a column that one lacks is missing there."""

    def __init__(self, sources: Sequence[Source], notes: Sequence[str] = ()):
        self._sources = list(sources)
        self.names = tuple(dict.fromkeys(name for one in sources for name in one.names))
        self.rows = sum(one.rows for one in sources)
        self.notes = (*dict.fromkeys(note for one in sources for note in one.notes), *notes)
        self._ends = np.cumsum([one.rows for one in sources])

    def type(self, name: str) -> pa.DataType | None:
        """Arrow type that all of a column fits; ``None`` where there is none."""
        kinds = [one.type(name) for one in self._sources if name in one.names]
        if any(kind is None for kind in kinds):
            return None
        try:
            empty = [pa.table({name: pa.array([], kind)}) for kind in kinds]
            return pa.concat_tables(empty, promote_options="permissive").schema.field(name).type
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            return None

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Whole columns at once."""
        wanted = [n for n in self.names if self.type(n) is not None] if columns is None else columns
        tables = [one.read([n for n in wanted if n in one.names]) for one in self._sources]
        tables = [table.replace_schema_metadata(None) for table in tables]
        try:
            return pa.concat_tables(tables, promote_options="permissive").select(list(wanted))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ConjoinError(
                "tables", f"types differ between files ({first_line(error)})",
                "give one type a column",
            ) from None  # fmt: skip

    def values(self, name: str) -> Iterator[Any]:
        """Values of a column in row order, file by file."""
        for one in self._sources:
            if name in one.names:
                yield from one.values(name)
            else:
                yield from repeat(None, one.rows)

    def at(self, name: str, row: int) -> Any:
        """One value."""
        place = int(np.searchsorted(self._ends, row, side="right"))
        one = self._sources[place]
        before = int(self._ends[place - 1]) if place else 0
        return one.at(name, row - before) if name in one.names else None


class Decoded:
    """A table whose class numbers are shown as the classes' names."""

    def __init__(self, source: Source, classes: Mapping[str, Sequence[str]]):
        self._source, self._classes = source, dict(classes)
        self.names, self.rows, self.notes = source.names, source.rows, source.notes

    def type(self, name: str) -> pa.DataType | None:
        """Arrow type of a column."""
        kind = self._source.type(name)
        if name not in self._classes or kind is None:
            return kind
        return pa.string() if pa.types.is_integer(kind) else pa.list_(pa.string())

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Whole columns at once."""
        table = self._source.read(columns)
        for place, name in enumerate(table.column_names):
            if name in self._classes:
                shown = pa.array(list(self.values(name)), self.type(name))
                table = table.set_column(place, name, shown)
        return table

    def values(self, name: str) -> Iterator[Any]:
        """Values of a column in row order."""
        return (self._shown(name, value) for value in self._source.values(name))

    def at(self, name: str, row: int) -> Any:
        """One value."""
        return self._shown(name, self._source.at(name, row))

    def _shown(self, name: str, value: Any) -> Any:
        if name not in self._classes or value is None:
            return value
        if isinstance(value, list | np.ndarray):
            return [self._shown(name, int(one)) for one in value]
        known = self._classes[name]  # -1 stands for no class
        return known[value] if 0 <= value < len(known) else None


def with_classes(source: Source, metadata: Mapping[bytes, bytes] | None) -> Source:
    """A table of a Hugging Face data set with its class names, where its schema has them."""
    try:
        said = json.loads((metadata or {}).get(b"huggingface", b"{}"))
        features = said.get("info", {}).get("features") or {}
        classes = {name: _class_names(feature) for name, feature in features.items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return source  # not written by that library
    known = {name: names for name, names in classes.items() if names and name in source.names}
    return Decoded(source, known) if known else source


def _class_names(feature: Any) -> list[str] | None:
    if isinstance(feature, Mapping) and feature.get("_type") in ("Sequence", "List", "LargeList"):
        feature = feature.get("feature")
    if isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel":
        names = feature.get("names")
        return [str(name) for name in names] if isinstance(names, list) else None
    return None


@contextmanager
def _whole(what: str) -> Iterator[None]:
    """Name a column whose stored bytes are torn."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ConjoinError(
            what, f"cannot be read: {first_line(error)}", "write the file again"
        ) from None


def to_python(array: pa.Array) -> list[Any]:
    """Values of an Arrow array; lists of numbers become NumPy arrays without a detour.

    Raises
    ------
    ConjoinError : what is stored is torn.
    """
    with _whole("a column of the table"):
        return _values(array)


def _values(array: pa.Array) -> list[Any]:
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if not _numeric_lists(kind):
        return array.to_pylist()
    if array.null_count == 0 and array.flatten().null_count == 0:
        return _slices(array)
    return [cell.values.to_numpy(zero_copy_only=False) if cell.is_valid else None for cell in array]


def _numeric_lists(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return (lists or pa.types.is_fixed_size_list(kind)) and is_number(kind.value_type)


def _slices(array: pa.Array) -> list[np.ndarray]:
    """Views of one flat array, a hundred times cheaper than an Arrow scalar a cell."""
    flat = array.flatten().to_numpy(zero_copy_only=False)
    if pa.types.is_fixed_size_list(array.type):
        return list(flat.reshape(len(array), array.type.list_size))
    offsets = array.offsets.to_numpy()
    ends = (offsets - offsets[0]).tolist()
    return [flat[start:end] for start, end in itertools.pairwise(ends)]


class _Near:
    """The last cells of a column that were looked at: neighbours are asked for next."""

    def __init__(self) -> None:
        self._blocks: dict[str, tuple[int, pa.ChunkedArray, list[Any]]] = {}

    def at(self, name: str, column: pa.ChunkedArray, row: int) -> Any:
        """One value; lists of numbers are read a batch at a time, as that costs as much."""
        start = row // BATCH * BATCH
        block = self._blocks.get(name)
        if block is None or block[0] != start or block[1] is not column:
            if pa.types.is_dictionary(column.type) or not _numeric_lists(column.type):
                return to_python(column.slice(row, 1).combine_chunks())[0]
            part = column.slice(start, BATCH)
            values = [value for chunk in part.chunks for value in to_python(chunk)]
            block = (start, column, values)
            self._blocks[name] = block
        return block[2][row - start]


def is_scalar(kind: pa.DataType | None) -> bool:
    """Whether a column of that type holds text, numbers, truth values or dates."""
    if kind is None:
        return False
    if pa.types.is_dictionary(kind):
        return is_scalar(kind.value_type)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return text or (pa.types.is_primitive(kind) and not pa.types.is_null(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds integers or floats."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def require_columns(names: Sequence[str], wanted: Sequence[str], where: str) -> None:
    """Refuse a column that is not there, naming the near ones."""
    for name in wanted:
        if name not in names:
            raise ConjoinError(where, f"has no column {name!r}", nearest(name, names))


def first_line(error: Exception) -> str:
    """What an error says, cut to a line."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
