"""Tables written as records: JSON, JSON lines and Excel sheets."""

import datetime
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from conjoin.errors import ConjoinError, optional
from conjoin.items.reading.encodings import decode
from conjoin.items.reading.sources import Held, Source

#: Records gathered before they become Arrow arrays.
BLOCK = 10_000
_LINES = "write one object a line"
_FORM = "write a list of objects, or an object of lists: one a column"


class Gathered:
    """Columns made of records block by block; one that mixes types stays as Python objects."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {}
        self._ends: list[int] = [0]
        self.halves = 0  # texts with half of a character

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """A block of records."""
        for name in dict.fromkeys(name for row in rows for name in row):
            if name not in self._columns:
                self._columns[name] = [pa.nulls(end) for end in self._sizes()]
        for name, chunks in self._columns.items():
            chunks.append(self._array([row.get(name) for row in rows]))
        self._ends.append(self._ends[-1] + len(rows))

    def held(self, notes: Sequence[str] = ()) -> Held:
        """The columns."""
        arrays, objects = {}, {}
        for name, chunks in self._columns.items():
            whole = _joined(chunks)
            if whole is None:
                objects[name] = [v for chunk in chunks for v in _values(chunk)]
            else:
                arrays[name] = whole
        mixed = [f"column {name!r} {_mixture(values)}" for name, values in objects.items()]
        if self.halves:
            mixed.append(
                f"{self.halves} texts hold half of a character, shown as \N{REPLACEMENT CHARACTER}"
            )
        return Held(pa.table(arrays), objects, (*notes, *mixed))

    def _sizes(self) -> list[int]:
        return [b - a for a, b in zip(self._ends, self._ends[1:], strict=False)]

    def _array(self, values: list[Any]) -> Any:
        try:
            return pa.array(values)
        except UnicodeEncodeError:
            whole = [_whole(value) for value in values]
            self.halves += sum(a != b for a, b in zip(values, whole, strict=True))
            return self._array(whole)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            return values


def _joined(chunks: list[Any]) -> pa.ChunkedArray | None:
    if any(isinstance(chunk, list) for chunk in chunks):
        return None
    try:
        tables = [pa.table({"x": chunk}) for chunk in chunks]
        return pa.concat_tables(tables, promote_options="permissive").column("x")
    except pa.ArrowException:
        return None


def _values(chunk: Any) -> list[Any]:
    return chunk if isinstance(chunk, list) else list(chunk.to_pylist())


def _mixture(values: Sequence[Any]) -> str:
    kinds = sorted({type(value).__name__ for value in values if value is not None})
    if len(kinds) > 1:
        return f"mixes types ({', '.join(kinds)}): kept as it is"
    return f"holds {kinds[0] if kinds else 'values'} that no column type holds: kept as it is"


def _whole(value: Any) -> Any:
    """A value whose texts have no lone halves of surrogate pairs."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(one) for key, one in value.items()}
    return value


def _blocks(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    block: list[Mapping[str, Any]] = []
    for row in rows:
        block.append(row)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def _gathered(rows: Iterable[Mapping[str, Any]], notes: Sequence[str] = ()) -> Held:
    columns = Gathered()
    for block in _blocks(rows):
        columns.add(block)
    return columns.held(notes)


def read_json_lines(path: Path, columns: Sequence[str] | None) -> Source:
    """One object a line.

    Raises
    ------
    ConjoinError : a line is no object, not JSON or of an unknown encoding, or there is none.
    """
    notes: list[str] = []
    rows = _line_rows(path, _lines(path, notes), columns)
    first = next(rows, None)
    if first is None:
        raise ConjoinError(str(path), "is empty", _LINES)
    return _gathered(_before(first, rows), notes)


def _before(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _line_rows(
    path: Path, lines: Iterable[tuple[int, str]], columns: Sequence[str] | None
) -> Iterator[dict[str, Any]]:
    for number, line in lines:
        row = _parsed(line, f"{path}, line {number}", _LINES)
        if not isinstance(row, dict):
            raise ConjoinError(f"{path}, line {number}", f"is a {type(row).__name__}", _LINES)
        row = _with_whole_names(row)
        yield row if columns is None else {k: row[k] for k in columns if k in row}


def _with_whole_names(row: dict[str, Any]) -> dict[str, Any]:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return {_whole(name): value for name, value in row.items()}
    return row


def _parsed(text: str, where: str, remedy: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ConjoinError(where, "is nested too deeply", "flatten it") from None
    except ValueError as error:
        raise ConjoinError(where, f"is not JSON ({error})", remedy) from None


def _lines(path: Path, notes: list[str]) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank; a file of 16-bit letters is read whole."""
    with pa.input_stream(str(path), compression="detect") as stream:
        start = stream.read(4)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or (len(start) == 4 and 0 in start):
        yield from _filled(enumerate(_text(path, notes).splitlines(), 1))
        return
    with pa.input_stream(str(path), compression="detect") as stream:
        for number, raw in enumerate(io.BufferedReader(stream), 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                line, found = decode(raw, f"{path}, line {number}")
                if not any("read as" in note for note in notes):
                    notes.append(f"{path.name}: from line {number} on, what is not UTF-8 is read "
                                 f"as {found}; save it as UTF-8 if that is wrong")  # fmt: skip
            if line.strip():
                yield number, line.strip()


def _filled(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in lines if line.strip())


def _text(path: Path, notes: list[str]) -> str:
    with pa.input_stream(str(path), compression="detect") as stream:
        data: bytes = stream.read()
    text, found = decode(data, str(path))
    if found not in ("utf-8", "utf-8-sig"):
        notes.append(f"{path.name}: read as {found}; save it as UTF-8 if that is wrong")
    return text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")


def read_json(path: Path, columns: Sequence[str] | None) -> Source:
    """A list of objects, an object of columns, what pandas writes, or one object a line.

    Raises
    ------
    ConjoinError : it is neither, not JSON, or empty.
    """
    notes: list[str] = []
    text = _text(path, notes).strip()
    if not text:
        raise ConjoinError(str(path), "is empty", _FORM)
    try:
        said = json.loads(text)
    except RecursionError:
        raise ConjoinError(str(path), "is nested too deeply", "flatten it") from None
    except ValueError as error:
        if "Extra data" not in str(error):
            raise ConjoinError(str(path), f"is not JSON ({error})", _FORM) from None
        lines = _filled(enumerate(text.splitlines(), 1))
        return _gathered(_line_rows(path, lines, columns), notes)
    rows = _records(said, path, notes)
    if columns is not None:
        rows = [{k: row[k] for k in columns if k in row} for row in rows]
    return _gathered(map(_with_whole_names, rows), notes)


def _records(said: Any, path: Path, notes: list[str]) -> list[dict[str, Any]]:
    """Rows of the forms that people and pandas write."""
    if isinstance(said, dict):
        if isinstance(said.get("columns"), list) and isinstance(said.get("data"), list):
            return [_split_row(said["columns"], row, path) for row in said["data"]]
        if said and all(isinstance(column, list) for column in said.values()):
            return _of_lists(said, path, notes)
        if said and all(isinstance(column, dict) for column in said.values()):
            keys = list(dict.fromkeys(key for column in said.values() for key in column))
            return [{name: said[name].get(key) for name in said} for key in keys]
        lists = [key for key, value in said.items() if _are_objects(value)]
        if len(lists) == 1:
            notes.append(f"{path.name}: the rows are those under {lists[0]!r}")
            return list(said[lists[0]])
        raise ConjoinError(str(path), "is one object", _FORM)
    if not isinstance(said, list):
        raise ConjoinError(str(path), f"is a {type(said).__name__}", _FORM)
    for place, row in enumerate(said):
        if not isinstance(row, dict):
            raise ConjoinError(f"{path}, entry {place}", f"is a {type(row).__name__}", _FORM)
    return said


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _split_row(names: list[Any], row: Any, path: Path) -> dict[str, Any]:
    if not isinstance(row, list) or len(row) != len(names):
        raise ConjoinError(str(path), f"a row of data is not {len(names)} values", _FORM)
    return dict(zip(map(str, names), row, strict=True))


def _of_lists(said: dict[str, list[Any]], path: Path, notes: list[str]) -> list[dict[str, Any]]:
    if len(said) == 1 and _are_objects(next(iter(said.values()))):
        notes.append(f"{path.name}: the rows are those under {next(iter(said))!r}")
        return next(iter(said.values()))
    lengths = {name: len(column) for name, column in said.items()}
    if len(set(lengths.values())) > 1:
        raise ConjoinError(str(path), f"columns of {lengths} values", "give columns of one length")
    return [dict(zip(said, row, strict=True)) for row in zip(*said.values(), strict=True)]


def read_sheet(path: Path, columns: Sequence[str] | None) -> Source:
    """The first sheet of an Excel workbook that holds anything, its first row being names.

    Raises
    ------
    ConjoinError : it is no workbook, has no name above a column of values, or is empty.
    MissingDependency : openpyxl is not installed.
    """
    openpyxl = optional("openpyxl", "data")
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheets = {sheet.title: _cells(sheet) for sheet in book.worksheets}
        book.close()
    except Exception as error:  # zip, XML and its own errors, of no common class
        raise ConjoinError(
            str(path), f"cannot be read as a workbook: {str(error)[:150] or type(error).__name__}",
            "save it again as .xlsx, or as .csv",
        ) from None  # fmt: skip
    filled = [title for title, rows in sheets.items() if rows]
    if not filled:
        raise ConjoinError(str(path), "is empty", "give a header and one row an item")
    notes = []
    if len(filled) > 1:
        others = ", ".join(map(repr, filled[1:5]))
        notes.append(f"{path.name}: sheet {filled[0]!r} is read, not {others}")
    return _gathered(_sheet_rows(sheets[filled[0]], path, columns), notes)


def _cells(sheet: Any) -> list[list[Any]]:
    rows = ([_plain(cell) for cell in row] for row in sheet.iter_rows(values_only=True))
    return [row for row in rows if any(cell is not None for cell in row)]


def _plain(cell: Any) -> Any:
    if isinstance(cell, str):
        return cell if cell.strip() else None
    return cell.isoformat() if isinstance(cell, datetime.time) else cell


def _sheet_rows(
    rows: list[list[Any]], path: Path, columns: Sequence[str] | None
) -> Iterator[dict[str, Any]]:
    names = ["" if name is None else str(name).strip() for name in rows[0]]
    used = [
        at for at in range(len(names)) if names[at] or any(_at(r, at) is not None for r in rows)
    ]
    for at in used:
        if not names[at]:
            raise ConjoinError(
                str(path), f"column {at + 1} has no name", "name it in the first row"
            )
        if names[at] in names[:at]:
            raise ConjoinError(
                str(path), f"column {names[at]!r} appears twice", "rename one of them"
            )
    kept = [at for at in used if columns is None or names[at] in columns]
    for row in rows[1:]:
        yield {names[at]: _at(row, at) for at in kept}


def _at(row: list[Any], place: int) -> Any:
    return row[place] if place < len(row) else None
