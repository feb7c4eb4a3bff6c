"""Tables of text: CSV, TSV and their kin, separators and encodings told from what is there."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from conjoin.errors import ConjoinError
from conjoin.items.reading.encodings import HEAD, encoding_of, guess_encoding, lines_at_fault
from conjoin.items.reading.sources import Held, Source, first_line, require_columns

#: Separators that are tried where a file's own does not part it evenly.
SEPARATORS = (",", ";", "\t", "|")
_SHOWN = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
#: Rows that a separator is judged by.
_JUDGED = 100
#: A row this long fits in one block of Arrow's reader, then in the second try.
_BLOCKS = (2**20, 2**29)
#: Spellings of a missing number. In text they are words, Namibia's code among them.
_NOT_A_NUMBER = r"^(?:NA|N/A|n/a|nan|NaN|null|NULL|None|-)$"
_COMMA_NUMBER = r"^[+-]?\d+(?:,\d+)?$"


@dataclass(frozen=True)
class _Form:
    """How a file is written: its separator, its encoding, and lines before the header."""

    separator: str
    encoding: str
    skip: int = 0


def read_delimited(path: Path, columns: Sequence[str] | None, own: str) -> Source:
    """A table of text with one header row.

    Parameters
    ----------
    own : the separator that its ending promises; another is taken where that one parts the rows
        unevenly and the other does not.

    Raises
    ------
    ConjoinError : it is empty, ragged, of an unknown encoding, or lacks a column.
    """
    head = _head(path)
    if b"\0" in head and encoding_of(head) == "utf-8":
        head = head.replace(b"\0", b"")
    form = _form(path, head, own)
    try:
        table = _parsed(path, form, columns)
    except UnicodeDecodeError:
        form = replace(form, encoding=_encoding(path))
        table = _parsed(path, form, columns)
    typed = [typed_column(column, form.separator == ";") for column in table.columns]
    return Held(pa.table(typed, names=table.column_names), notes=_notes(path, form, own))


def _notes(path: Path, form: _Form, own: str) -> list[str]:
    notes = []
    if form.separator != own:
        notes.append(f"{path.name}: fields are separated by {_SHOWN[form.separator]}")
    if form.encoding not in ("utf-8", "utf-8-sig"):
        notes.append(f"{path.name}: read as {form.encoding}; save it as UTF-8 if that is wrong")
    return notes


def _head(path: Path) -> bytes:
    with pa.input_stream(str(path), compression="detect") as stream:
        head: bytes = stream.read(HEAD)
    if not head.strip():
        raise ConjoinError(str(path), "is empty", "give a header and one row an item")
    return head


def _form(path: Path, head: bytes, own: str) -> _Form:
    encoding = encoding_of(head) or _encoding(path)
    text = head.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")
    first, _, rest = text.partition("\n")
    told = re.fullmatch(r"sep=(.)\s*", first)  # as Excel writes it
    if told and told[1] in SEPARATORS:
        return _Form(told[1], encoding, 1)
    if len(head) == HEAD and rest:
        text = text[: text.rindex("\n")]
    return _Form(_separator(text, own), encoding)


def _separator(text: str, own: str) -> str:
    """The separator that parts the rows most evenly, then into most fields; else its own."""
    even = {one: _evenness(text, one) for one in (own, *SEPARATORS)}
    best = max(even, key=lambda one: (even[one], one == own))
    return best if even[best][0] == 1 or even[own][0] == 0 < even[best][0] else own


def _evenness(text: str, separator: str) -> tuple[float, int]:
    """Share of the rows that have as many fields as the header, and how many; 0 for one field."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    widths: list[int] = []
    try:
        for row in rows:
            widths += [len(row)] if row else []
            if len(widths) > _JUDGED:
                break
    except csv.Error:
        return 0.0, 0  # a field beyond the limit of Python's reader
    if not widths or widths[0] < 2:
        return 0.0, 0
    return sum(width == widths[0] for width in widths) / len(widths), widths[0]


def _encoding(path: Path) -> str:
    """What a file is in that is not UTF-8 somewhere after its head."""
    bad, first, good = lines_at_fault(path)
    if good > bad.count(b"\n") + 1:
        raise ConjoinError(
            f"{path}, line {first}", "is not UTF-8, though other lines are", "fix that line"
        )
    return guess_encoding(bad, str(path))


def _parsed(path: Path, form: _Form, columns: Sequence[str] | None) -> pa.Table:
    parse = pa_csv.ParseOptions(delimiter=form.separator, newlines_in_values=True)
    encoding = "utf8" if form.encoding in ("utf-8", "utf-8-sig") else form.encoding
    for block in _BLOCKS:
        # One thread, since only then are rows at fault numbered.
        read = pa_csv.ReadOptions(
            use_threads=False, encoding=encoding, skip_rows=form.skip, block_size=block
        )
        try:
            return _table(path, read, parse, columns)
        except UnicodeDecodeError:
            raise
        except (pa.ArrowInvalid, ValueError) as error:
            if isinstance(error, ConjoinError):
                raise
            if "straddling" in str(error) and block != _BLOCKS[-1]:
                continue
            if encoding == "utf8" and "utf8" in str(error).lower().replace("-", ""):
                raise UnicodeDecodeError("utf-8", b"", 0, 0, str(error)) from None
            raise _explain(path, error) from None
    raise AssertionError("unreachable")


def _table(
    path: Path,
    read: pa_csv.ReadOptions,
    parse: pa_csv.ParseOptions,
    columns: Sequence[str] | None,
) -> pa.Table:
    with pa_csv.open_csv(path, read, parse) as reader:
        names = list(reader.schema.names)
    require_columns(names, columns or (), str(path))
    convert = pa_csv.ConvertOptions(
        # Strings first: guessed types would turn the id "007" into 7.
        column_types=dict.fromkeys(names, pa.string()),
        include_columns=list(columns or ()) or None,
        null_values=[""],
        strings_can_be_null=True,
    )
    return pa_csv.read_csv(path, read, parse, convert)


def _explain(path: Path, error: Exception) -> ConjoinError:
    text = first_line(error)
    row = text.split("Row #")[1].split(":")[0] if "Row #" in text else ""
    where = f"{path}, row {row} (the header is row 1)" if row else str(path)
    if "Expected " in text:
        expected = text.split("Expected ")[-1].split(":")[0]
        return ConjoinError(
            where, f"ragged: expected {expected}",
            "quote fields that hold the delimiter, or fix that row",
        )  # fmt: skip
    if "Empty" in text:
        return ConjoinError(str(path), "is empty", "give a header and one row an item")
    return ConjoinError(where, f"cannot be read: {text}", "fix that row")


def typed_column(column: pa.ChunkedArray, comma: bool = False) -> pa.ChunkedArray:
    """Numbers where every text is written as a number would be; otherwise the texts as they are.

    Parameters
    ----------
    comma : whether a decimal comma is a point, as in files separated by semicolons.
    """
    absent = pc.match_substring_regex(column, _NOT_A_NUMBER)
    numbers = pc.if_else(absent, pa.nulls(len(column), pa.string()), column)
    if numbers.null_count == len(numbers):
        return column
    if comma and pc.all(pc.match_substring_regex(numbers, _COMMA_NUMBER)).as_py():
        numbers = pc.replace_substring(numbers, ",", ".")
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
