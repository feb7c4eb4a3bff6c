"""One cell as a browser may show it: a picture made anew, a sound of a known format, or words."""

import functools
import hashlib
import io
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.media.video import wave_at
from conjoin.errors import CellError, ConjoinError, Unreachable
from conjoin.items.cells import MEDIA, cell_parts, place_of, resolve
from conjoin.items.moments import Moment
from conjoin.items.web.reach import is_address
from conjoin.project.workspace import Workspace
from conjoin.report.thumbs import picture, thumb
from conjoin.server.limits import Limits, Problem

#: Bytes of made pictures kept, and of fetched cells.
KEPT = 64 * 2**20
#: Characters of a text that is served.
MOST_TEXT = 20_000
#: Cells read at a time, of those in files and of those behind addresses; the others wait.
AT_ONCE = 4
#: Seconds that an address named by a cell may take; a place is held for as long.
FETCH_SECONDS = 8.0
#: Seconds for which a cell that came too late is not asked for again.
LATE = 60.0

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


class Readers:
    """Reads cells in threads of its own: each once at a time, and for no longer than it may take.

    Cells behind addresses have places of their own, so that a host that drips holds up no file;
    a thread keeps its place until it ends, and a cell that came too late is not asked for again
    for :data:`LATE` seconds.

    Parameters
    ----------
    seconds : until whoever waits for a cell is told that it did not come.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._lock = threading.Lock()
        self._gates = {False: threading.Semaphore(AT_ONCE), True: threading.Semaphore(AT_ONCE)}
        self._under_way: dict[Any, Future[Any]] = {}
        self._late: OrderedDict[Any, float] = OrderedDict()

    def read(self, key: Any, call: Callable[[], Any], *, remote: bool) -> Any:
        """What ``call`` gives, which is called once for all who ask at the same time.

        Raises
        ------
        Problem : it did not come in time, or all places are taken.
        """
        future, mine = self._joined(key)
        if mine:
            if not self._gates[remote].acquire(timeout=self._seconds):
                self._done(key, future)
                future.set_exception(Problem("busy", "server", "all readers are at work", "later"))
            else:
                work = (key, future, call, remote)
                threading.Thread(target=self._work, args=work, daemon=True).start()
        try:
            return future.result(self._seconds)
        except TimeoutError:
            self._note(key)
            raise self._slow() from None

    def _slow(self) -> Problem:
        found = f"did not come within {self._seconds:g} s"
        return Problem("not-found", "item", found, "look at where the cell lies")

    def _joined(self, key: Any) -> tuple[Future[Any], bool]:
        with self._lock:
            if time.monotonic() < self._late.get(key, 0.0):
                raise self._slow()
            if key in self._under_way:
                return self._under_way[key], False
            future: Future[Any] = Future()
            self._under_way[key] = future
            return future, True

    def _note(self, key: Any) -> None:
        with self._lock:
            self._late[key] = time.monotonic() + LATE
            while len(self._late) > 1000:
                self._late.popitem(last=False)

    def _done(self, key: Any, future: Future[Any]) -> None:
        with self._lock:
            if self._under_way.get(key) is future:
                del self._under_way[key]

    def _work(self, key: Any, future: Future[Any], call: Callable[[], Any], remote: bool) -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # told to whoever waits
            future.set_exception(error)
        finally:
            self._gates[remote].release()
            self._done(key, future)


class _Kept:
    """What was made last, within so many bytes."""

    def __init__(self, most: int):
        self._most, self._bytes, self._lock = most, 0, threading.Lock()
        self._held: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    def get(self, key: Any) -> Any:
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def put(self, key: Any, value: Any, size: int) -> None:
        with self._lock:
            if key not in self._held:
                self._held[key] = (value, size)
                self._bytes += size
            while self._bytes > self._most:
                self._bytes -= self._held.popitem(last=False)[1][1]


class Shelf:
    """The media of one workspace, with those made last, and cells fetched last, kept in memory."""

    def __init__(self, ws: Workspace, limits: Limits):
        self._ws, self._limits = ws, limits
        self._made, self._fetched = _Kept(KEPT), _Kept(KEPT)
        self._readers = Readers(limits.media_seconds)
        # A thread holds its place for as long as the fetch goes on.
        ws.items.reach.web.seconds = min(FETCH_SECONDS, limits.media_seconds)

    def get(self, item: str, modality: str, part: int, size: int) -> Media:
        """The media of one cell.

        Raises
        ------
        Problem : there is no such item, modality, part or cell, it cannot be shown, or it does not
            come in time.
        """
        key = (item, modality, part, size)
        found: Media | None = self._made.get(key)
        if found is None:
            kind = self._ws.kind(modality)
            cell = self._cell(item, modality, part, kind)
            make = functools.partial(self._make, cell, item, kind, size)
            found = self._readers.read(key, make, remote=False)
            self._made.put(key, found, len(found.data))
        return found

    def _cell(self, item: str, modality: str, part: int, kind: str) -> Any:
        """A cell's content; one behind an address is fetched once for all its sizes."""
        key = (item, modality, part)
        cell = self._fetched.get(key)
        if cell is not None:
            return cell
        try:
            remote, read = self._reading(item, modality, part, kind)
            cell = self._readers.read(key, read, remote=True) if remote else read()
        except CellError as error:  # its text may name files of this machine
            now = " now" if isinstance(error, Unreachable) else ""
            reason = f"the {modality} of {item!r} cannot be read{now}"
            raise Problem("not-found", "item", reason, "see GET /items/{item}") from None
        except ConjoinError as error:
            reason = f"{item!r} has no {modality} to show ({str(error)[:80]})"
            raise Problem("not-found", "item", reason, "see GET /items/{item}") from None
        if remote and isinstance(cell, bytes):
            self._fetched.put(key, cell, len(cell))
        return cell

    def _reading(
        self, item: str, modality: str, part: int, kind: str
    ) -> tuple[bool, Callable[[], Any]]:
        """Whether a cell lies behind an address, and what reads it without the item's others."""
        column, items = self._ws.modality(modality).column, self._ws.items
        whole = self._ws.modality(modality).cut is None
        if kind not in MEDIA or not isinstance(column, str) or not whole:
            return False, functools.partial(self._ws.cells(modality, kind).get, item, part)
        parts = cell_parts(items.value(column, item), kind)
        if part >= len(parts):
            raise CellError(f"has {len(parts)} parts")
        raw = parts[part]
        remote = is_address(place_of(raw))
        return remote, functools.partial(resolve, raw, items.base, kind, items.reach)

    def _make(self, cell: Any, item: str, kind: str, size: int) -> Media:
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
    if isinstance(cell, Moment):
        cell = wave_at(cell)
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
