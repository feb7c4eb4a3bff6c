"""What readers give: blocks of a document in reading order, and what they left out."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conjoin.storage.files import atomic

#: Bytes of a file that are read at most.
LARGEST = 1 << 29
#: Bytes that a packed document may unpack to.
UNPACKED = 1 << 30
#: Pixels of a picture's shorter side below which it is decoration (bullets, rules, icons).
SMALLEST = 16
#: Pixels of a picture at most; more are not unpacked.
PIXELS = 1 << 26
KINDS = ("heading", "text", "table", "picture")


class Unreadable(ValueError):
    """A document that cannot be read; its text is the reason a user will see."""


@dataclass(frozen=True)
class Left:
    """Something of a document that lies in no row.

    Parameters
    ----------
    document : its name, as in the rows.
    page : from 1; 0 where the format has none.
    what : ``text``, ``picture`` or ``file``; ``note`` says something of what lies in rows.
    count : characters that are no white space, pictures, or files.
    why : the reason, in words.
    text : the characters themselves.
    """

    document: str
    page: int
    what: str
    count: int
    why: str
    text: str = ""

    def line(self) -> str:
        """As one line of print."""
        at = f", page {self.page}" if self.page else ""
        if self.what == "file":
            return f"{self.document}: not read: {self.why}"
        if self.what == "note":
            return f"{self.document}{at}: {self.why}"
        unit = {"text": "characters", "picture": "pictures"}[self.what]
        one = unit[:-1] if self.count == 1 else unit
        shown = f" ({' '.join(self.text.split())[:40]!r})" if self.text.strip() else ""
        return f"{self.document}{at}: {self.count} {one} left out: {self.why}{shown}"

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "document": self.document, "page": self.page, "what": self.what, "count": self.count,
            "why": self.why, "text": self.text[:200],
        }  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A heading, a paragraph, a table or a picture.

    Parameters
    ----------
    kind : one of :data:`KINDS`.
    text : its characters; of a picture none, of a table those of its cells.
    page : on which it begins, from 1; 0 where the format has none.
    breaks : offsets in ``text`` at which the following pages begin.
    box : left, bottom, right, top on its first page, in points; empty where unknown.
    level : of a heading, from 1.
    rows : of a table, its cells; the first row is the header where ``header``.
    picture : name of its file among those kept.
    caption : of a table or a picture.
    links : text of a link and the anchor or file it names.
    anchors : names by which links find it.
    """

    kind: str
    text: str = ""
    page: int = 0
    breaks: tuple[int, ...] = ()
    box: tuple[float, ...] = ()
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()
    header: bool = False
    picture: str = ""
    caption: str = ""
    links: tuple[tuple[str, str], ...] = ()
    anchors: tuple[str, ...] = ()


@dataclass
class Leavings:
    """Takes pictures as they are found, and collects what one document's reader leaves out.

    Parameters
    ----------
    root : pictures that the document names must lie in it.
    folder : where pictures are written, each once, by its content; nowhere where not given.
    alive : a reader calls it at each page, so that one page may take time and not all together.
    """

    document: str
    root: Path
    folder: Path | None = None
    found: list[Left] = field(default_factory=list)
    alive: Callable[[], object] = field(default=lambda: None, repr=False)

    def keep(self, data: bytes, suffix: str) -> str:
        """Write a picture; the name of its file."""
        name = f"{hashlib.sha256(data).hexdigest()[:24]}.{suffix}"
        if self.folder is not None and not (self.folder / name).exists():
            with atomic(self.folder / name) as file:
                file.write(data)
        return name

    def note(self, why: str, page: int = 0) -> None:
        """Something a reader should know of the document."""
        self.found.append(Left(self.document, page, "note", 0, why))

    def text(self, said: str, why: str, page: int = 0) -> None:
        """Characters that lie in no row; white space counts nothing."""
        count = letters(said)
        if count:
            self.found.append(Left(self.document, page, "text", count, why, said))

    def picture(self, why: str, page: int = 0) -> None:
        """A picture that lies in no row."""
        self.found.append(Left(self.document, page, "picture", 1, why))


#: A reader of one format: blocks in order; what it leaves out goes to the second argument.
Reader = Callable[[Path, Leavings], Iterator[Block]]


def letters(text: str) -> int:
    """Characters that are no white space."""
    return sum(not char.isspace() for char in text)


def checked_picture(data: bytes, left: Leavings, page: int = 0) -> bool:
    """Whether bytes are a picture worth a row; why not goes to ``left``."""
    import io

    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            wide, high = picture.size
            if wide * high > PIXELS:
                left.picture(f"{wide} × {high} pixels are more than are unpacked", page)
                return False
            picture.load()
    except Exception as error:  # whatever a decoder raises on hostile bytes
        left.picture(f"cannot be decoded ({type(error).__name__})", page)
        return False
    if min(wide, high) < SMALLEST:
        left.picture(f"{wide} × {high} pixels: decoration", page)
        return False
    return True
