"""Tables of items from files and folders, read no wider and no earlier than asked."""

import glob
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from conjoin.errors import ConjoinError, nearest
from conjoin.items.reading.delimited import read_delimited, typed_column
from conjoin.items.reading.folder import read_folder, table_in_folder
from conjoin.items.reading.records import read_json, read_json_lines, read_sheet
from conjoin.items.reading.shards import in_shards, joined
from conjoin.items.reading.sources import (
    BATCH,
    Held,
    Source,
    Stored,
    first_line,
    is_number,
    is_scalar,
    require_columns,
    to_python,
    with_classes,
)
from conjoin.items.saved import is_saved, read_saved

__all__ = [
    "BATCH", "Held", "Source", "is_number", "is_scalar", "open_source", "read_table",
    "require_columns", "table_base", "to_python", "typed_column",
]  # fmt: skip

_COMPRESSED = (".gz", ".bz2", ".zst")
#: Tables of other programs, and what to save them as.
_FOREIGN = {".xls": ".xlsx", ".ods": ".xlsx", ".numbers": ".csv", ".dta": ".parquet",
            ".sav": ".parquet", ".pkl": ".parquet", ".pickle": ".parquet", ".h5": ".parquet",
            ".sqlite": ".parquet", ".db": ".parquet", ".xml": ".csv"}  # fmt: skip


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table of items.

    CSV, TSV, JSON and JSON lines (each also ``.gz``, ``.bz2`` or ``.zst``), Excel, Parquet, Arrow
    and Feather files, several of them by a glob, a Hugging Face data set saved on disk, a folder of
    shards, or a folder of pictures, sounds and texts. Separators and encodings are told from what
    the file holds; what was guessed is among the source's ``notes``.

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
    if "\0" in str(path):
        raise ConjoinError("table", f"{str(path)!r} holds a zero byte", "correct the path")
    if path.is_dir():
        source = _open_folder(path)
    elif glob.has_magic(str(path)) and not path.exists():
        source = _open_glob(path, columns)
    else:
        source = _open_file(path, columns)
    require_columns(source.names, columns or (), str(path))
    twice = [name for at, name in enumerate(source.names) if name in source.names[:at]]
    if twice:
        raise ConjoinError(str(path), f"column {twice[0]!r} appears twice", "rename one of them")
    if source.rows == 0:
        raise ConjoinError(str(path), "has no rows", "give a table with one row an item")
    return source


def table_base(path: Path) -> Path:
    """The folder that relative paths in a table's cells start from."""
    if path.is_dir():
        return path
    while glob.has_magic(str(path)) and not path.exists():
        path = path.parent
    return path if path.is_dir() else path.parent


def _open_file(path: Path, columns: Sequence[str] | None) -> Source:
    if not path.exists():
        raise ConjoinError(str(path), "no such file", _neighbours(path))
    if not path.is_file():
        raise ConjoinError(str(path), "is neither a file nor a folder", "give a table or a folder")
    suffix = table_suffix(path.name)
    if suffix in _FOREIGN:
        raise ConjoinError(
            str(path), f"{suffix} files are not read", f"save it as {_FOREIGN[suffix]}"
        )
    if suffix not in _READERS:
        raise ConjoinError(
            str(path), f"extension {suffix or 'missing'!r} is not one of a table",
            f"{nearest(suffix, _READERS)} (or give a folder)",
        )  # fmt: skip
    try:
        return _READERS[suffix](path, columns)
    except ConjoinError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise ConjoinError(
            str(path), f"cannot be read as {suffix[1:]}: {first_line(error)}",
            "write the file again, or correct its extension",
        ) from None  # fmt: skip


def table_suffix(name: str) -> str:
    """The ending that says what a file's form is, compression set aside.

    >>> table_suffix("items.CSV.gz")
    '.csv'
    """
    suffixes = [s.lower() for s in Path(name).suffixes if s.lower() not in _COMPRESSED]
    return suffixes[-1] if suffixes else ""


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} either: check the path"
    near = nearest(path.name, [entry.name for entry in path.parent.iterdir()])
    return near if near.startswith("did you mean") else "check the path"


def _open_glob(path: Path, columns: Sequence[str] | None) -> Source:
    found = sorted(Path(one) for one in glob.glob(str(path), recursive=True))
    files = [one for one in found if one.is_file() and table_suffix(one.name) in _READERS]
    if not files:
        said = f"matches {len(found)} files, none of them a table" if found else "matches no file"
        raise ConjoinError(str(path), said, f"known are {' '.join(_READERS)}")
    # Columns are asked of the whole: a file of several may lack some.
    return joined(files, [_open_file(one, None) for one in files], table_base(path))


def _open_folder(path: Path) -> Source:
    if is_saved(path):
        return read_saved(path)
    listed = table_in_folder(path)
    if listed is not None:
        return _open_file(listed, None)
    shards = in_shards(path, list(_READERS), table_suffix)
    if shards:
        sources = [_open_file(one, None) for one in shards]
        return joined(shards, sources, path, strict=True)
    return read_folder(path)


def _read_parquet(path: Path, columns: Sequence[str] | None) -> Source:
    file = pq.ParquetFile(path, memory_map=True)
    return with_classes(Stored(file), file.schema_arrow.metadata)


def _read_arrow(path: Path, columns: Sequence[str] | None) -> Source:
    mapped = pa.memory_map(str(path))
    try:
        table = pa.ipc.open_file(mapped).read_all()
    except pa.ArrowInvalid:
        mapped.seek(0)
        table = pa.ipc.open_stream(mapped).read_all()
    return with_classes(Held(table), table.schema.metadata)


def _read_csv(path: Path, columns: Sequence[str] | None) -> Source:
    return read_delimited(path, columns, ",")


def _read_tsv(path: Path, columns: Sequence[str] | None) -> Source:
    return read_delimited(path, columns, "\t")


def _read_psv(path: Path, columns: Sequence[str] | None) -> Source:
    return read_delimited(path, columns, "|")


_READERS: Mapping[str, Callable[[Path, Sequence[str] | None], Source]] = {
    ".csv": _read_csv, ".tsv": _read_tsv, ".tab": _read_tsv, ".psv": _read_psv,
    ".jsonl": read_json_lines, ".ndjson": read_json_lines, ".json": read_json,
    ".xlsx": read_sheet, ".xlsm": read_sheet,
    ".parquet": _read_parquet, ".pq": _read_parquet,
    ".arrow": _read_arrow, ".feather": _read_arrow, ".ipc": _read_arrow,
}  # fmt: skip
