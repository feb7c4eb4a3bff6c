"""One cell as a browser may show it: a picture made anew, a sound of a known format, or words."""

import hashlib
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.app.serve.limits import Limits, Problem
from conjoin.app.workspace import Workspace
from conjoin.errors import CellError, ConjoinError, Unreachable
from conjoin.report.thumbs import picture, thumb

#: Bytes of made pictures kept.
KEPT = 64 * 2**20
#: Characters of a text that is served.
MOST_TEXT = 20_000
#: Pictures and sounds read at a time; the others wait.
AT_ONCE = 4
#: Seconds that an address named by a cell may take; a place is held for as long.
FETCH_SECONDS = 8.0

_SOUNDS = {
    b"OggS": "audio/ogg", b"fLaC": "audio/flac", b"RIFF": "audio/wav", b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg", b"\xff\xf3": "audio/mpeg", b"\xff\xf2": "audio/mpeg",
}  # fmt: skip


@dataclass(frozen=True)
class Media:
    """What is served of a cell: bytes, their type, and a mark of their content."""

    data: bytes
    mime: str
    etag: str


class Shelf:
    """The media of one workspace, with the pictures made last kept in memory."""

    def __init__(self, ws: Workspace, limits: Limits):
        self._ws, self._limits = ws, limits
        self._kept: OrderedDict[tuple[Any, ...], Media] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()
        self._gate = threading.Semaphore(AT_ONCE)

    def get(self, item: str, modality: str, part: int, size: int) -> Media:
        """The media of one cell.

        Raises
        ------
        Problem : there is no such item, modality, part or cell, or it cannot be shown.
        """
        key = (item, modality, part, size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._gate:
            made = self._make(item, modality, part, size)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += len(made.data)
            while self._bytes > KEPT:
                self._bytes -= len(self._kept.popitem(last=False)[1].data)
        return made

    def _make(self, item: str, modality: str, part: int, size: int) -> Media:
        try:
            kind = self._ws.encoder(modality).kind
            self._ws.items.reach.web.seconds = FETCH_SECONDS
            cell = self._ws.cells(modality, kind).get(item, part)
        except CellError as error:  # its text may name files of this machine
            now = " now" if isinstance(error, Unreachable) else ""
            reason = f"the {modality} of {item!r} cannot be read{now}"
            raise Problem("not-found", "item", reason, "see GET /items/{item}") from None
        except ConjoinError as error:
            reason = f"{item!r} has no {modality} to show ({str(error)[:80]})"
            raise Problem("not-found", "item", reason, "see GET /items/{item}") from None
        try:
            if kind == "image":
                return _marked(picture(cell, size), "image/webp")
            if kind == "audio":
                return _marked(*sound(cell, int(self._limits.sound_mb * 1e6)))
        except Exception as error:
            reason = f"the {kind} of {item!r} cannot be shown ({type(error).__name__})"
            raise Problem("not-found", "item", reason, "look at the file") from None
        words = str(cell)[:MOST_TEXT] if kind == "text" else thumb(cell, kind).text
        return _marked(words.encode("utf-8", "replace"), "text/plain; charset=utf-8")


def _marked(data: bytes, mime: str) -> Media:
    return Media(data, mime, f'"{hashlib.blake2b(data, digest_size=12).hexdigest()}"')


def sound(cell: Any, most: int) -> tuple[bytes, str]:
    """A sound as it is where browsers play its format, samples as WAV.

    Raises
    ------
    ValueError : it is of another format, or larger than ``most`` bytes.
    """
    if isinstance(cell, np.ndarray | tuple):
        return _wave(cell), "audio/wav"
    if isinstance(cell, bytes):
        head, size = cell[:4], len(cell)
    else:
        size = Path(cell).stat().st_size
        with Path(cell).open("rb") as file:
            head = file.read(4)
    mime = next((m for start, m in _SOUNDS.items() if head.startswith(start)), None)
    if mime is None or size > most:
        raise ValueError("not a sound that is served")
    return (cell if isinstance(cell, bytes) else Path(cell).read_bytes()), mime


def _wave(cell: Any) -> bytes:
    import wave

    samples, rate = cell if isinstance(cell, tuple) else (cell, 16_000)
    values = np.asarray(samples, dtype=np.float64)
    values = values if values.ndim == 1 else values.mean(axis=1)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(rate))
        file.writeframes((np.clip(values, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def cut(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a ``Range`` header of one range; ``None`` where all is sent.

    Raises
    ------
    ValueError : the range begins behind the end.

    Examples
    --------
    >>> cut("bytes=-3", 10), cut("bytes=4-", 10), cut("bytes=0-0,2-3", 10)
    ((7, 9), (4, 9), None)
    """
    if header is None or not header.startswith("bytes=") or "," in header:
        return None
    first, dash, last = header.removeprefix("bytes=").strip().partition("-")
    if not dash or not (first or last) or not (first + last).isascii():
        return None
    if not (first + last).isdigit() or len(first + last) > 24:
        return None
    begin = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if begin >= size or begin > end:
        raise ValueError("behind the end")
    return begin, end
