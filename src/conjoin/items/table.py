"""Tables of items from files and folders, read no wider and no earlier than asked."""

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from conjoin.errors import ConjoinError, nearest
from conjoin.items.folder import read_folder

#: Rows handed over at a time wherever a column is streamed.
BATCH = 1024
_JSON_BLOCK = 10_000
_COMPRESSED = (".gz", ".bz2", ".zst")
#: Spellings of a missing number. In text they are words, Namibia's code among them.
_NOT_A_NUMBER = r"^(?:NA|N/A|n/a|nan|NaN|null|NULL|None|-)$"


class Source(Protocol):
    """Rows of items whose columns are read when asked for."""

    names: tuple[str, ...]
    rows: int

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

    def __init__(self, table: pa.Table, objects: Mapping[str, list] | None = None):
        self._table, self._objects = table, dict(objects or {})
        self.names = (*table.column_names, *self._objects)
        held = next(iter(self._objects.values()), [])
        self.rows = table.num_rows if table.num_columns else len(held)

    def type(self, name: str) -> pa.DataType | None:
        """Arrow type of a column; ``None`` where it holds Python objects."""
        return None if name in self._objects else self._table.schema.field(name).type

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Whole columns at once."""
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
        return _single(self._table.column(name), row)


class Stored:
    """A Parquet file: columns are streamed from disk and single values fetched by row group."""

    def __init__(self, file: pq.ParquetFile):
        self._file, self._lock = file, threading.Lock()
        self._schema = file.schema_arrow
        self.names = tuple(self._schema.names)
        self.rows = file.metadata.num_rows
        self._ends: list[int] = []
        for group in range(file.num_row_groups):
            before = self._ends[-1] if self._ends else 0
            self._ends.append(before + file.metadata.row_group(group).num_rows)
        self._last: dict[str, tuple[int, pa.ChunkedArray]] = {}

    def type(self, name: str) -> pa.DataType | None:
        """Arrow type of a column."""
        return self._schema.field(name).type

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Whole columns at once."""
        with self._lock:
            return self._file.read(columns=None if columns is None else list(columns))

    def values(self, name: str) -> Iterator[Any]:
        """Values of a column in row order, a batch in memory at a time."""
        for batch in self._file.iter_batches(batch_size=BATCH, columns=[name]):
            yield from to_python(batch.column(0))

    def at(self, name: str, row: int) -> Any:
        """One value; the row group it lies in is kept for the next call."""
        group = next(number for number, end in enumerate(self._ends) if row < end)
        with self._lock:
            last = self._last.get(name)
            if last is None or last[0] != group:
                last = (group, self._file.read_row_group(group, columns=[name]).column(0))
                self._last[name] = last
        start = self._ends[group - 1] if group else 0
        return _single(last[1], row - start)


def to_python(array: pa.Array) -> list[Any]:
    """Values of an Arrow array; lists of numbers become NumPy arrays without a detour."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if (lists or pa.types.is_fixed_size_list(kind)) and is_number(kind.value_type):
        return [
            cell.values.to_numpy(zero_copy_only=False) if cell.is_valid else None for cell in array
        ]
    return array.to_pylist()


def _single(column: pa.ChunkedArray, row: int) -> Any:
    return to_python(column.slice(row, 1).combine_chunks())[0]


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


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table of items.

    CSV, TSV, JSON lines (each also ``.gz``, ``.bz2`` or ``.zst``), Parquet, Arrow and Feather
    files, a Hugging Face dataset saved on disk, or a folder of files.

    Parameters
    ----------
    columns : those wanted; all when not given.

    Raises
    ------
    ConjoinError : the file is missing, of an unknown kind, torn, ragged or empty, or lacks a
        column.
    """
    source = open_source(path, columns)
    return source.read(columns)


def open_source(path: Path, columns: Sequence[str] | None = None) -> Source:
    """Open a table; formats that can only be read whole are read at once.

    Raises
    ------
    ConjoinError : as :func:`read_table`.
    """
    path = Path(path)
    source = _open_folder(path) if path.is_dir() else _open_file(path, columns)
    require_columns(source.names, columns or (), str(path))
    twice = [name for at, name in enumerate(source.names) if name in source.names[:at]]
    if twice:
        raise ConjoinError(str(path), f"column {twice[0]!r} appears twice", "rename one of them")
    if source.rows == 0:
        raise ConjoinError(str(path), "has no rows", "give a table with one row an item")
    return source


def require_columns(names: Sequence[str], wanted: Sequence[str], where: str) -> None:
    """Refuse a column that is not there, naming the near ones."""
    for name in wanted:
        if name not in names:
            raise ConjoinError(where, f"has no column {name!r}", nearest(name, names))


def _open_file(path: Path, columns: Sequence[str] | None) -> Source:
    if not path.exists():
        raise ConjoinError(str(path), "no such file", _neighbours(path))
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in _COMPRESSED]
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in _READERS:
        raise ConjoinError(
            str(path), f"extension {suffix or 'missing'!r} is not one of a table",
            f"{nearest(suffix, _READERS)} (or give a folder)",
        )  # fmt: skip
    try:
        return _READERS[suffix](path, columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise ConjoinError(
            str(path), f"cannot be read as {suffix[1:]}: {_first_line(error)}",
            "write the file again, or correct its extension",
        ) from None  # fmt: skip


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} either: check the path"
    near = nearest(path.name, [entry.name for entry in path.parent.iterdir()])
    return near if near.startswith("did you mean") else "check the path"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


# --- CSV and TSV -------------------------------------------------------------------------------


def _read_delimited(path: Path, columns: Sequence[str] | None, delimiter: str) -> Source:
    parse = pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    try:
        names = _header(path, parse)
        require_columns(names, columns or (), str(path))
        convert = pa_csv.ConvertOptions(
            # Strings first: guessed types would turn the id "007" into 7.
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=list(columns or ()) or None,
            null_values=[""],
            strings_can_be_null=True,
        )
        # One thread, since only then are rows at fault numbered.
        read = pa_csv.ReadOptions(use_threads=False)
        table = pa_csv.read_csv(path, read, parse, convert)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _explain_csv(path, error) from None
    typed = [typed_column(column) for column in table.columns]
    return Held(pa.table(typed, names=table.column_names))


def _header(path: Path, parse: pa_csv.ParseOptions) -> list[str]:
    with pa_csv.open_csv(path, parse_options=parse) as reader:
        return list(reader.schema.names)


def _explain_csv(path: Path, error: Exception) -> ConjoinError:
    text = _first_line(error)
    row = text.split("Row #")[1].split(":")[0] if "Row #" in text else ""
    where = f"{path}, row {row} (the header is row 1)" if row else str(path)
    if "utf8" in text.lower().replace("-", ""):
        return ConjoinError(where, "is not UTF-8", "save it as UTF-8")
    if "Expected " in text:
        expected = text.split("Expected ")[-1].split(":")[0]
        return ConjoinError(
            where, f"ragged: expected {expected}",
            "quote fields that hold the delimiter, or mend that row",
        )  # fmt: skip
    if "Empty" in text:
        return ConjoinError(str(path), "is empty", "give a header and one row an item")
    return ConjoinError(where, f"cannot be read: {text}", "mend that row")


def typed_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers where every text is written as a number would be; otherwise the texts as they are."""
    absent = pc.match_substring_regex(column, _NOT_A_NUMBER)
    numbers = pc.if_else(absent, pa.nulls(len(column), pa.string()), column)
    if numbers.null_count == len(numbers):
        return column
    try:
        whole = numbers.cast(pa.int64())
        if whole.cast(pa.string()).equals(numbers):
            return whole
    except pa.ArrowInvalid:
        pass
    if pc.any(pc.match_substring_regex(numbers, r"^[+-]?0[0-9]")).as_py():
        return column  # codes such as 007
    try:
        return numbers.cast(pa.float64())
    except pa.ArrowInvalid:
        return column


# --- JSON lines --------------------------------------------------------------------------------


def _read_json_lines(path: Path, columns: Sequence[str] | None) -> Source:
    tables, block = [], []
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConjoinError(
                f"{path}, line {number}", f"is not JSON ({error})", "write one object a line"
            ) from None
        if not isinstance(row, dict):
            raise ConjoinError(
                f"{path}, line {number}", f"is a {type(row).__name__}", "write one object a line"
            )
        block.append(row if columns is None else {k: row[k] for k in columns if k in row})
        if len(block) == _JSON_BLOCK:
            tables.append(_rows_table(path, block, number))
            block = []
    if block:
        tables.append(_rows_table(path, block, number))
    if not tables:
        raise ConjoinError(str(path), "is empty", "write one object a line")
    try:
        return Held(pa.concat_tables(tables, promote_options="permissive"))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ConjoinError(
            str(path), f"mixes types ({_first_line(error)})", "give one type a column"
        ) from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with pa.input_stream(path, compression="detect") as stream:
        for number, raw in enumerate(io.BufferedReader(stream), 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise ConjoinError(
                    f"{path}, line {number}", "is not UTF-8", "save it as UTF-8"
                ) from None
            if line:
                yield number, line


def _rows_table(path: Path, rows: list[dict[str, Any]], last: int) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    arrays = []
    for name in names:
        try:
            arrays.append(pa.array([row.get(name) for row in rows]))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ConjoinError(
                f"{path}, column {name!r}, up to line {last}",
                f"mixes types ({_first_line(error)})", "give one type a column",
            ) from None  # fmt: skip
    return pa.table(arrays, names=names)


# --- Parquet, Arrow, Hugging Face --------------------------------------------------------------


def _read_parquet(path: Path, columns: Sequence[str] | None) -> Source:
    return Stored(pq.ParquetFile(path, memory_map=True))


def _read_arrow(path: Path, columns: Sequence[str] | None) -> Source:
    mapped = pa.memory_map(str(path))
    try:
        return Held(pa.ipc.open_file(mapped).read_all())
    except pa.ArrowInvalid:
        mapped.seek(0)
        return Held(pa.ipc.open_stream(mapped).read_all())


def _open_folder(path: Path) -> Source:
    if (path / "dataset_dict.json").exists():
        return Held(_dataset_dict(path))
    if (path / "state.json").exists():
        return Held(_dataset(path))
    return Held(read_folder(path))


def _dataset(path: Path) -> pa.Table:
    """A Hugging Face dataset as ``save_to_disk`` leaves it: a list of Arrow stream files."""
    state = path / "state.json"
    try:
        saved = json.loads(state.read_bytes())
        files = [path / entry["filename"] for entry in saved["_data_files"]]
    except (ValueError, KeyError, TypeError):
        raise ConjoinError(
            str(state), "lists no data files", "save the dataset again: save_to_disk"
        ) from None
    if saved.get("_indices_files"):
        raise ConjoinError(
            str(state), "the dataset is a selection kept apart from its rows",
            "call flatten_indices() and save_to_disk again",
        )  # fmt: skip
    tables = []
    for file in files:
        if not file.exists():
            raise ConjoinError(str(file), "no such file", "save the dataset again: save_to_disk")
        try:
            tables.append(pa.ipc.open_stream(pa.memory_map(str(file))).read_all())
        except pa.ArrowInvalid as error:
            raise ConjoinError(
                str(file), f"is torn: {_first_line(error)}", "save the dataset again: save_to_disk"
            ) from None
    if not tables:
        raise ConjoinError(str(path), "has no rows", "save a dataset with one row an item")
    return pa.concat_tables(tables)


def _dataset_dict(path: Path) -> pa.Table:
    listing = path / "dataset_dict.json"
    try:
        names = list(json.loads(listing.read_bytes())["splits"])
    except (ValueError, KeyError, TypeError):
        raise ConjoinError(
            str(listing), "lists no splits", "save the dataset again: save_to_disk"
        ) from None
    tables = []
    for name in names:
        table = _dataset(path / name)
        if "split" not in table.column_names:
            table = table.append_column("split", pa.array([name] * table.num_rows))
        tables.append(table.replace_schema_metadata(None))
    return pa.concat_tables(tables, promote_options="default")


def _read_csv(path: Path, columns: Sequence[str] | None) -> Source:
    return _read_delimited(path, columns, ",")


def _read_tsv(path: Path, columns: Sequence[str] | None) -> Source:
    return _read_delimited(path, columns, "\t")


_READERS: Mapping[str, Callable[[Path, Sequence[str] | None], Source]] = {
    ".csv": _read_csv, ".tsv": _read_tsv, ".tab": _read_tsv,
    ".jsonl": _read_json_lines, ".ndjson": _read_json_lines,
    ".parquet": _read_parquet, ".pq": _read_parquet,
    ".arrow": _read_arrow, ".feather": _read_arrow, ".ipc": _read_arrow,
}  # fmt: skip
