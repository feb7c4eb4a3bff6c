"""Recordings as parts: the moments at which a video is looked at, or a sound listened to."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conjoin.errors import CellError, MissingDependency, Unreachable, one_line, optional
from conjoin.storage.digest import stable_hash

#: Moments of one recording, at most, where the configuration says nothing else.
MOST = 600
#: By kind of encoder, the kind of stream that it reads of a recording, and what it is called.
STREAMS = {"image": ("video", "picture"), "audio": ("audio", "sound")}
#: Part numbers are milliseconds in 32 bits, which is 24 days.
_LONGEST = 2_147_483
#: What FFmpeg calls AV_DISPOSITION_ATTACHED_PIC.
_COVER = 0x400


@dataclass(frozen=True)
class Cut:
    """How a recording is cut into parts.

    Parameters
    ----------
    every : seconds between two moments, above .001.
    most : moments of one recording at most; those of a longer one lie further apart.
    """

    every: float
    most: int = MOST

    def stride(self, seconds: float) -> int:
        """How many times ``every`` two moments of a recording lie apart.

        >>> Cut(1.0, 600).stride(600), Cut(1.0, 600).stride(6 * 3600)
        (1, 36)
        """
        return max(1, math.ceil(self._places(seconds) / self.most))

    def _places(self, seconds: float) -> int:
        return max(1, math.ceil(seconds / self.every - 1e-6))

    def starts(self, seconds: float, kind: str = "image") -> list[float]:
        """Where the moments of a recording begin, in seconds.

        Pictures are taken at 0, ``every``, 2 ``every``… below its length; of sounds a rest shorter
        than half of ``every`` belongs to the stretch before it.

        >>> Cut(1.0).starts(2.5), Cut(10.0).starts(24.0, "audio"), Cut(1.0, 2).starts(5.0)
        ([0.0, 1.0, 2.0], [0.0, 10.0], [0.0, 3.0])
        """
        count = self._places(seconds)
        if kind == "audio" and count > 1 and seconds - (count - 1) * self.every < self.every / 2:
            count -= 1
        return [place * self.every for place in range(0, count, self.stride(seconds))]


@dataclass(frozen=True)
class Moment:
    """A picture of a video, or a stretch of a sound track, before it is read.

    The number of its part is the millisecond at which it begins, so that a part says its time, and
    keeps it when moments are taken more or less often.

    Parameters
    ----------
    where : the recording: a path, or its bytes.
    start : seconds from its beginning.
    cut : how the recording is cut; of a sound ``cut.every`` seconds are read.
    """

    where: str | bytes
    start: float
    cut: Cut

    @property
    def part(self) -> int:
        """The number of its part."""
        return round(1000 * self.start)

    def content(self, whole: int, kind: str) -> int:
        """A positive 63-bit hash of what it shows, given that of the recording."""
        length = self.cut.every if kind == "audio" else ""
        return max(1, stable_hash(f"moment/{whole}/{self.part}/{length}"))


def seconds_of(part: int) -> float:
    """The time at which a part begins.

    >>> seconds_of(12_500)
    12.5
    """
    return part / 1000


def moments(cell: Any, kind: str, cut: Cut) -> list[Moment]:
    """The moments of a recording, in order; only its header is read where that says its length.

    Parameters
    ----------
    cell : a path, or the bytes of a file.
    kind : ``image`` for pictures of a video, ``audio`` for stretches of sound.

    Raises
    ------
    CellError : it cannot be read, or has no such stream.
    Unreachable : PyAV is not installed.
    """
    if not isinstance(cell, str | bytes):
        raise CellError(f"a {type(cell).__name__} where the path or bytes of a recording belong")
    try:
        with opened(cell) as file:
            seconds = length_of(file, stream_of_kind(file, kind))
    except CellError:
        raise
    except Exception as error:  # PyAV's own classes, which are many
        raise CellError(f"torn, or no recording: {said(error)}") from None
    if seconds > _LONGEST:
        raise CellError(f"says it is {seconds:.0f} s long, more than 24 days")
    return [Moment(cell, start, cut) for start in cut.starts(seconds, kind)]


def said(error: Exception) -> str:
    """What PyAV found wrong, without its number and the file's name."""
    return getattr(error, "strerror", None) or one_line(error)


def opened(where: str | bytes | Path) -> Any:
    """A recording as PyAV opens it.

    Raises
    ------
    Unreachable : PyAV is not installed.
    """
    try:
        av = optional("av", "media")
    except MissingDependency as error:
        raise Unreachable(f"a recording needs av; {error.remedy}") from None
    return av.open(io.BytesIO(where) if isinstance(where, bytes) else str(where))


def stream_of_kind(file: Any, kind: str) -> Any:
    """The stream of a recording that an encoder of a kind reads; a cover picture is none.

    Raises
    ------
    CellError : there is none.
    """
    name, what = STREAMS[kind]
    for stream in getattr(file.streams, name):
        if not _is_cover(stream):
            return stream
    raise CellError(f"holds no {what}: there is no {name} stream")


def _is_cover(stream: Any) -> bool:
    said = getattr(stream, "disposition", None)
    return bool(int(getattr(said, "value", 0)) & _COVER)


def length_of(file: Any, stream: Any) -> float:
    """Seconds of a stream, by its header, that of the file, or its packets, the first that says."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if file.duration:
        return float(file.duration) / 1e6
    # As browsers record, and cameras that lost their power: nothing is decoded.
    first, last = math.inf, 0.0
    for packet in file.demux(stream):
        if packet.pts is not None:
            begin = float(packet.pts * packet.time_base)
            last = max(last, begin + float((packet.duration or 0) * packet.time_base))
            first = min(first, begin)
    if first is math.inf:
        raise CellError("a recording without a moment in it")
    return max(0.0, last - first)
