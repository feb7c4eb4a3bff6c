"""A folder of files as a table: files that share a stem are one item."""

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from conjoin.errors import ConjoinError
from conjoin.items.reading.encodings import decode
from conjoin.items.reading.sources import Held

#: Kind of cell a file holds, by extension.
KINDS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            ".png", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif",
            ".heic", ".heif", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico",
            ".svg",
        ),
        "image",
    ),
    **dict.fromkeys(
        (
            ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au",
            ".caf", ".w64", ".m4a",
        ),
        "audio",
    ),
    **dict.fromkeys(
        (
            ".mp4", ".m4v", ".mkv", ".webm", ".mov", ".avi", ".mpg", ".mpeg", ".wmv", ".flv",
            ".3gp", ".ogv", ".mts", ".m2ts",
        ),
        "video",
    ),
    ".txt": "text",
    ".npy": "vector",
}  # fmt: skip

#: Tables that say what the files beside them are, by the convention of Hugging Face.
_LISTINGS = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_SIDES = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}


@dataclass
class Walk:
    """The files under a folder, in order of their names, and what was passed over."""

    files: list[Path] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)  # names that are not Unicode


def kind_of_name(name: str) -> str | None:
    """Kind of cell a file name (or URL) promises, if any; blanks around it do not count.

    >>> kind_of_name("photos/cat.JPG ")
    'image'
    """
    bare = name.strip()
    bare = bare.split("?")[0].split("#")[0] if "://" in bare else bare
    return KINDS.get(os.path.splitext(bare)[1].lower())


def composed(name: str) -> str:
    """A name in the composed form of Unicode (NFC), as names are compared.

    >>> composed("cafe" + chr(0x301)) == "caf" + chr(0xE9)
    True
    """
    return unicodedata.normalize("NFC", name)


def walk(path: Path) -> Walk:
    """The files of a folder and of all below it, linked ones too, each folder once.

    Hidden files and folders are passed over, and so is a link to a folder that holds this one.
    """
    found, seen = Walk(), set(_above(path))
    seen.discard(os.path.realpath(path))
    for where, folders, names in os.walk(path, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and _whole(name))
        for name in names:
            if name.startswith("."):
                continue
            if _whole(name):
                found.files.append(Path(where) / name)
            else:
                found.unnamed.append(os.fsencode(name).decode("ascii", "backslashreplace"))
    found.files.sort(key=lambda file: composed(file.relative_to(path).as_posix()))
    return found


def _above(path: Path) -> list[str]:
    real = Path(os.path.realpath(path))
    return [str(real), *map(str, real.parents)]


def _whole(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def table_in_folder(path: Path) -> Path | None:
    """The table beside pictures or sounds that names them in a column ``file_name``."""
    for name in _LISTINGS:
        listed = path / name
        if listed.is_file() and (name.endswith(".parquet") or b"file_name" in _start(listed)):
            return listed
    return None


def _start(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(4096)


def read_folder(path: Path) -> Held:
    """One row an item: ``id``, what the folders say, and a column a kind.

    The id is the path without its extension, relative to ``path``, in composed Unicode (NFC), which
    is also how names are compared. Pictures, sounds, videos and vectors are given as relative
    paths, texts as what the file says; several files of one kind and stem are several parts. Where
    folders part the kinds (``images/1.png`` beside ``captions/1.txt``) files of equal names in them
    are one item. ``folder`` is there where there are several; where they part items of one kind, as
    classes do (``cat/1.png``), their names are ``label`` too, and those of train and test are
    ``split``.

    Hidden files and other endings are passed over; the notes count them.

    Raises
    ------
    ConjoinError : no file is of a known kind, or the encoding of a text cannot be told.
    """
    walked = walk(path)
    files = [(file, kind_of_name(file.name)) for file in walked.files]
    known = [(file.relative_to(path), kind) for file, kind in files if kind is not None]
    notes = _passed_over([file for file, kind in files if kind is None], walked.unnamed)
    if not known:
        said = f" ({'; '.join(notes)})" if notes else ""
        raise ConjoinError(
            str(path),
            f"holds no file of a known kind{said}",
            f"known are {' '.join(sorted(KINDS))}",
        )
    apart = _kind_folders(known)
    items: dict[str, dict[str, list[str]]] = {}
    others: list[tuple[str, str]] = []
    for file, kind in known:
        stem = composed(_stem(file, apart))
        cell = _text(path / file, others) if kind == "text" else file.as_posix()
        items.setdefault(stem, {}).setdefault(kind, []).append(cell)
    if apart is not None:
        notes.append(_said_of(apart, items))
    if others:
        name, encoding = others[0]
        notes.append(
            f"{len(others)} texts are not UTF-8: read as {encoding} (the first is {name}); save "
            "them as UTF-8 if that is wrong"
        )
    columns: dict[str, pa.Array] = {"id": pa.array(list(items)), **_said_by_folders(items)}
    for kind in sorted(set(KINDS.values())):
        cells = [kinds.get(kind) for kinds in items.values()]
        if any(cells):
            several = any(len(parts) > 1 for parts in cells if parts)
            columns[kind] = pa.array(
                cells if several else [parts[0] if parts else None for parts in cells]
            )
    return Held(pa.table(columns), notes=notes)


def _passed_over(files: Sequence[Path], unnamed: Sequence[str]) -> list[str]:
    notes = []
    endings = Counter(file.suffix.lower() or "no ending" for file in files)
    if endings:
        shown = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(8))
        notes.append(f"{len(files)} files passed over by ending: {shown}")
    if unnamed:
        notes.append(
            f"{len(unnamed)} files passed over: their names are not UTF-8 (the first is "
            f"{unnamed[0]}); rename them"
        )
    return notes


@dataclass(frozen=True)
class _Apart:
    """Folders that part the kinds: at which depth of the path, and the kind of each."""

    depth: int
    kinds: Mapping[str, str]


def _kind_folders(known: Sequence[tuple[Path, str]]) -> _Apart | None:
    """The folders that hold a kind each, with names that meet; ``None`` where there are none."""
    for depth in range(3):
        if any(len(file.parts) <= depth + 1 for file, _ in known):
            return None
        kinds: dict[str, set[str]] = {}
        names: dict[str, set[str]] = {}
        for file, kind in known:
            part = file.parts[depth]
            kinds.setdefault(part, set()).add(kind)
            names.setdefault(part, set()).add(composed(_without(file, depth)))
        alone = {part: next(iter(own)) for part, own in kinds.items() if len(own) == 1}
        if len(alone) < 2 or len(alone) < len(kinds) or len(set(alone.values())) < len(alone):
            continue
        first, *rest = sorted(names.values(), key=len)
        if all(2 * len(first & other) >= len(first) for other in rest):
            return _Apart(depth, alone)
    return None


def _without(file: Path, depth: int) -> str:
    parts = file.with_suffix("").parts
    return "/".join((*parts[:depth], *parts[depth + 1 :]))


def _stem(file: Path, apart: _Apart | None) -> str:
    return file.with_suffix("").as_posix() if apart is None else _without(file, apart.depth)


def _said_of(apart: _Apart, items: Mapping[str, Mapping[str, list[str]]]) -> str:
    shown = ", ".join(f"{part}/" for part in apart.kinds)
    whole = sum(len(kinds) == len(apart.kinds) for kinds in items.values())
    left = len(items) - whole
    alone = f", {left} items lack one of them" if left else ""
    return f"{shown} are paired by the names of their files: {whole} items whole{alone}"


def _said_by_folders(items: Mapping[str, Mapping[str, list[str]]]) -> dict[str, pa.Array]:
    folders = [stem.rpartition("/")[0] for stem in items]
    if len(set(folders)) < 2:
        return {}
    columns = {"folder": pa.array(folders)}
    parts = [folder.split("/") if folder else [] for folder in folders]
    tops = {own[0].lower() for own in parts if own}
    if all(parts) and tops <= _SIDES and len(tops) > 1 and any(t.startswith("test") for t in tops):
        columns["split"] = pa.array([own[0].lower() for own in parts])
        parts = [own[1:] for own in parts]
    kinds = {kind for own in items.values() for kind in own}
    labels = Counter(own[-1] for own in parts if own)
    if all(parts) and len(labels) > 1 and len(kinds) == 1 and 2 * len(labels) <= len(items):
        columns["label"] = pa.array([own[-1] for own in parts])
    return columns


def _text(file: Path, others: list[tuple[str, str]]) -> str:
    """What a text file says; notes the encoding where it is not UTF-8."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConjoinError(
            str(file), (error.strerror or "cannot be read").lower(), "check the file and its rights"
        ) from None
    text, encoding = decode(data, str(file))
    if encoding not in ("utf-8", "utf-8-sig"):
        others.append((file.name, encoding))
    return text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").strip()
