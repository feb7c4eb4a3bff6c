"""``read``: files to rows of a table, one document at a time; what is unchanged is copied."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from conjoin.answering.documents.apart import Apart
from conjoin.answering.documents.blocks import LARGEST, Block, Leavings, Left, Reader, Unreadable
from conjoin.answering.documents.cut import MOST, Piece, piece_ids, pieces
from conjoin.answering.documents.readers import PACKED, READERS
from conjoin.errors import ConjoinError, MissingDependency, StateError, one_line
from conjoin.storage.digest import digest
from conjoin.storage.files import atomic, file_digest, read_json, write_json

#: Raised where a reader or the cut gives other rows than before, so that all is read again.
ARITHMETIC = 1
#: What the table says of its own columns: ``conjoin init`` follows it.
HINTS = {
    "id": "id", "group": "chapter",
    "modalities": {"question": ["asked", "text"], "passage": ["passage", "text"],
                   "picture": ["pictures", "image"]},
}  # fmt: skip
SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("document", pa.string()), ("page", pa.int32()),
        ("box", pa.list_(pa.float32())), ("chapter", pa.string()),
        ("path", pa.list_(pa.string())), ("opens", pa.list_(pa.string())),
        ("order", pa.int32()), ("kind", pa.string()), ("asked", pa.list_(pa.string())),
        ("text", pa.string()), ("passage", pa.string()), ("header", pa.list_(pa.string())),
        ("table", pa.list_(pa.list_(pa.string()))), ("pictures", pa.list_(pa.string())),
        ("caption", pa.string()), ("breaks", pa.list_(pa.int32())),
    ],
)  # fmt: skip


@dataclass(frozen=True)
class ReadResult:
    """What was read.

    Parameters
    ----------
    out : the table.
    documents : in it.
    unchanged : of those, copied and not read again.
    rows, pictures, letters : what the rows hold; letters are characters that are no white space.
    left : what lies in no row, in order.
    removed : documents of the former table that are no longer among the files.
    kinds : rows by kind.
    asked : rows of which structure asks something: pairs to fit on.
    """

    out: Path
    documents: int
    unchanged: int
    rows: int
    pictures: int
    letters: int
    left: tuple[Left, ...]
    removed: tuple[str, ...]
    kinds: Mapping[str, int]
    asked: int

    @property
    def unread(self) -> tuple[Left, ...]:
        """Files that could not be read."""
        return tuple(one for one in self.left if one.what == "file")

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields; the keys are stable."""
        return {
            "out": str(self.out), "documents": self.documents, "unchanged": self.unchanged,
            "rows": self.rows, "pictures": self.pictures, "letters": self.letters,
            "kinds": dict(self.kinds), "asked": self.asked, "removed": list(self.removed),
            "left_out": [one.to_json() for one in self.left],
        }  # fmt: skip


@dataclass
class _Tally:
    rows: int = 0
    pictures: int = 0
    letters: int = 0
    asked: int = 0
    unchanged: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)

    def add(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        for kind in table["kind"].to_pylist():
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.pictures += sum(len(own or ()) for own in table["pictures"].to_pylist())
        self.asked += sum(bool(own) for own in table["asked"].to_pylist())
        for name in ("text", "caption"):
            self.letters += sum(len("".join((v or "").split())) for v in table[name].to_pylist())
        self.letters += sum(
            len("".join("".join(own or ()).split())) for own in table["opens"].to_pylist()
        )


def read_documents(
    paths: Sequence[Path | str] | Path | str, out: Path | str, *, most: int = MOST,
    reader: Reader | None = None, dry: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ReadResult:  # fmt: skip
    """Read documents into a table of pieces.

    Each character and each picture of a document lies in exactly one row (in ``opens``, ``text``,
    ``caption`` or ``pictures``) or in what :class:`ReadResult` says was left out. One document is
    in memory at a time. A document whose bytes are those of the former table is copied from it.
    PDF and DOCX are read in a process of their own, which a hostile file may end and no more.

    Parameters
    ----------
    paths : files, and folders that are walked for files of known suffixes; or one of them.
    out : the Parquet file; pictures lie in a folder beside it.
    most : letters of a piece, except of one that is a single sentence.
    reader : in place of those by suffix; it is then given every file.
    dry : write nothing.

    Raises
    ------
    ConjoinError : no such path, no document in it, or ``out`` cannot be written.
    """
    out = Path(out)
    if not out.name or out.is_dir():
        raise ConjoinError(str(out), "is a folder", "name the Parquet file to write")
    found = find_documents(paths, any_suffix=reader is not None)
    shots = out.with_name(f"{out.stem}.pictures")
    note = out.with_name(f"{out.name}.read.json")
    rule = digest([ARITHMETIC, most, getattr(reader, "__qualname__", "")])
    former = _former(out, note, rule)
    tally = _Tally()
    seen: dict[str, dict[str, Any]] = {}
    schema = SCHEMA.with_metadata({"conjoin": _hints()})
    with Apart() as apart, _writer(None if dry else out, schema) as write:
        for done, (name, each) in enumerate(found.items()):
            mark, kept = _digest(each[0]), None if dry else former.get(name)
            if kept is not None and mark is not None and kept["digest"] == mark:
                table = _copied(out, kept["groups"], schema)
                lost = [Left(**one) for one in kept["left"]]
                tally.left += lost
                tally.unchanged += 1
            else:
                left = Leavings(name, each[1], None if dry else shots)
                own = reader or _reader(each[0].suffix.lower(), apart)
                table, lost = _document(each[0], left, shots.name, most, own, tally)
            first = sum(len(one["groups"]) for one in seen.values())
            parts = range(0, table.num_rows, 2048)
            for start in parts:
                write(table.slice(start, 2048))
            tally.add(table)
            seen[name] = {"digest": mark, "groups": list(range(first, first + len(parts))),
                          "left": [vars(one) for one in lost]}  # fmt: skip
            _told(progress, done + 1, len(found))
    if dry:
        return _result(out, found, tally, ())
    write_json(note, {"version": 1, "rule": rule, "table": file_digest(out), "documents": seen})
    return _result(out, found, tally, tuple(name for name in former if name not in found))


@contextmanager
def _writer(out: Path | None, schema: pa.Schema) -> Iterator[Callable[[pa.Table], object]]:
    """What takes a part of the table; with no file to write it is thrown away."""
    if out is None:
        yield lambda part: None
        return
    with atomic(out) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield lambda part: writer.write_table(part, row_group_size=2048)


def _reader(suffix: str, apart: Apart) -> Reader:
    return apart.reader(suffix) if suffix in PACKED else READERS[suffix]


def _result(
    out: Path, found: Mapping[str, tuple[Path, Path]], tally: _Tally, removed: tuple[str, ...]
) -> ReadResult:
    failed = sum(one.what == "file" for one in tally.left)
    return ReadResult(
        out, len(found) - failed, tally.unchanged, tally.rows, tally.pictures, tally.letters,
        tuple(tally.left), removed, dict(sorted(tally.kinds.items())), tally.asked,
    )  # fmt: skip


def _told(progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _hints() -> bytes:
    import json

    return json.dumps(HINTS).encode()


def find_documents(
    paths: Sequence[Path | str] | Path | str, *, any_suffix: bool = False
) -> dict[str, tuple[Path, Path]]:
    """Files and their folders by the name they have in the rows: relative to the folder named.

    Hidden files and files of other suffixes are passed over in folders; a file that is named
    itself must be of a known suffix.

    Raises
    ------
    ConjoinError : a path is not there, of an unknown suffix, or no document was found.
    """
    found: dict[str, tuple[Path, Path]] = {}
    paths = [paths] if isinstance(paths, str | Path) else paths
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(
                one for one in path.rglob("*")
                if one.is_file() and (any_suffix or one.suffix.lower() in READERS)
                and not any(part.startswith(".") for part in one.relative_to(path).parts)
            )  # fmt: skip
            _named(found, [(one.relative_to(path).as_posix(), one) for one in inside], path)
        elif not path.exists():
            raise ConjoinError(str(path), "no such file or folder", "check the path")
        elif not path.is_file():
            raise ConjoinError(str(path), "is no plain file", "copy what it gives to a file")
        elif not any_suffix and path.suffix.lower() not in READERS:
            raise ConjoinError(
                str(path), f"suffix {path.suffix!r} has no reader",
                f"known are {' '.join(READERS)}; or give --reader python:MODULE:FUNCTION",
            )  # fmt: skip
        else:
            _named(found, [(path.name, path)], path.resolve().parent)
    if not found:
        raise ConjoinError(
            " ".join(map(str, paths)) or "PATHS", "holds no document",
            f"name files of {' '.join(READERS)}",
        )  # fmt: skip
    return found


def _named(
    found: dict[str, tuple[Path, Path]], files: Sequence[tuple[str, Path]], root: Path
) -> None:
    for name, path in files:
        known = found.get(name)
        if known is not None and known[0].resolve() == path.resolve():
            continue
        number, wanted = 2, name if known is None else f"{root.name}/{name}"
        while wanted in found:
            wanted, number = f"{root.name}-{number}/{name}", number + 1
        found[wanted] = (path, root)


def _digest(path: Path) -> str | None:
    held = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                held.update(block)
    except OSError:
        return None
    return held.hexdigest()


def _former(out: Path, note: Path, rule: str) -> dict[str, Any]:
    """Documents of the former table, where it was written by the same rule and is as it was.

    Of a note or a table that is damaged, or a note of another table (its writer was killed between
    the two), nothing is taken: all is read again.
    """
    if not (out.is_file() and note.is_file()):
        return {}
    try:
        told = read_json(note, ["rule", "table", "documents"])
    except StateError:
        return {}
    same = told["rule"] == rule and told["table"] == file_digest(out)
    return dict(told["documents"]) if same else {}


def _copied(out: Path, groups: Sequence[int], schema: pa.Schema) -> pa.Table:
    with pq.ParquetFile(out) as file:
        return file.read_row_groups(list(groups)).cast(schema) if groups else schema.empty_table()


def _document(
    path: Path, left: Leavings, folder: str, most: int, reader: Reader, tally: _Tally
) -> tuple[pa.Table, list[Left]]:
    """Rows of one document and what it leaves out; of one that cannot be read, the reason."""
    name = left.document
    made: list[Piece] = []
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise Unreadable(f"{size >> 20} MB are more than the {LARGEST >> 20} read of a file")
        if not size:
            raise Unreadable("is empty")
        blocks = _checked(reader(path, left))
        made = pieces(name, blocks, most)
        cut = sum(piece.cut for piece in made)
        if not made and not left.found:
            raise Unreadable("holds no text and no picture")
        if cut:
            left.note(f"{cut} runs of over 8,000 letters without a sentence's end were cut")
    except MissingDependency:
        raise
    except Unreadable as error:
        left.found, made = [Left(name, 0, "file", 1, str(error))], []
    except Exception as error:  # a library's own on hostile bytes; the other files go on
        why = f"its reader failed ({type(error).__name__}: {one_line(error, 80)})"
        left.found, made = [Left(name, 0, "file", 1, why)], []
    tally.left += left.found
    return _table(made, folder), left.found


def _checked(blocks: Iterable[Any]) -> Iterator[Block]:
    """Blocks, of a reader of the user's too."""
    for block in blocks:
        if isinstance(block, Mapping):
            block = Block(**block)
        if not isinstance(block, Block):
            raise Unreadable(f"its reader gave a {type(block).__name__}, not a Block or its fields")
        yield block


def _table(made: Sequence[Piece], folder: str) -> pa.Table:
    rows = [
        {
            "id": name, "document": one.document, "page": one.page, "box": list(one.box),
            "chapter": one.chapter, "path": list(one.path), "opens": list(one.opens),
            "order": one.order, "kind": one.kind, "asked": list(one.asked) or None,
            "text": one.text, "passage": one.shown or None, "header": list(one.header),
            "table": [list(row) for row in one.rows] or None,
            "pictures": [f"{folder}/{one.picture}"] if one.picture else None,
            "caption": one.caption or None, "breaks": list(one.breaks),
        }
        for name, one in zip(piece_ids(made), made, strict=True)
    ]  # fmt: skip
    clean = [{key: _speakable(value) for key, value in row.items()} for row in rows]
    return pa.Table.from_pylist(clean, schema=SCHEMA.with_metadata({"conjoin": _hints()}))


def _speakable(value: Any) -> Any:
    """Text without halves of characters, which Parquet cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_speakable(one) for one in value]
    return value
