"""Reading moments of recordings: pictures of a video and stretches of a sound track, streamed."""

import io
import math
import wave
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from conjoin.encoders.base import CellError
from conjoin.encoders.remarks import remark
from conjoin.errors import Unreachable, one_line
from conjoin.items.moments import Moment, length_of, opened, said, stream_of_kind

#: Videos that stay open between two of their moments.
OPEN = 2
#: A moment at most so many seconds ahead is read up to; one beyond is sought by key frame.
_NEAR = 10.0
#: Slack of times, which files round: a millisecond.
_SLACK = 1e-3


def clock(seconds: float) -> str:
    """A time as a player shows it.

    >>> clock(12.0), clock(754.5), clock(6 * 3600 + 1)
    ('0:12', '12:34', '6:00:01')
    """
    hours, rest = divmod(int(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def picture_at(moment: Moment) -> Any:
    """The picture that a player shows at a moment, upright, as an RGB Pillow image.

    It is the last one whose time is not after the moment, whatever the rate of the video, and
    however it varies. A video is read from the front, and stays open for the moments that follow.

    Raises
    ------
    CellError : the video is torn before the moment.
    """
    film = _film(moment)
    if film.stride > 1:
        remark(f"of videos beyond {moment.cut.most} moments, taken further apart")
    return film.at(moment.start)


def samples_at(moment: Moment) -> tuple[np.ndarray, int]:
    """The stretch of sound ``[n, channels]`` that begins at a moment, and its rate.

    It is as long as moments lie apart by the configuration; a rest shorter than half of that is
    read with the last one.

    Raises
    ------
    CellError : the sound is torn before the moment, or there is none.
    """
    import av

    length = moment.cut.every
    parts: list[np.ndarray] = []
    rate, first = 0, 0.0
    try:
        with opened(moment.where) as file:
            stream = stream_of_kind(file, "audio")
            if moment.cut.stride(_length(_mark(moment.where), "audio")) > 1:
                remark(f"of sounds beyond {moment.cut.most} moments, taken further apart")
            resampler = av.AudioResampler(format="fltp")
            held = 0
            # A little earlier, since decoders need a run-up; it is cut off by its time.
            for time, frame in _sought(file, stream, max(0.0, moment.start - 0.25)):
                rate = rate or int(frame.sample_rate)
                for planar in resampler.resample(frame):
                    first = time if not parts else first
                    parts.append(planar.to_ndarray().T)
                    held += len(parts[-1])
                if first + held / rate >= moment.start + 1.5 * length:
                    break
    except CellError:
        raise
    except Exception as error:  # PyAV's own classes, which are many
        raise CellError(f"torn sound track: {said(error)}") from None
    if not parts:
        raise CellError(f"torn: its sound ends before {clock(moment.start)}")
    whole = np.concatenate(parts)[max(0, round((moment.start - first) * rate)) :]
    if not len(whole):
        raise CellError(f"torn: its sound ends before {clock(moment.start)}")
    last = len(whole) < math.floor(1.5 * length * rate)
    return (whole if last else whole[: round(length * rate)]), rate


def wave_at(moment: Moment) -> bytes:
    """The stretch of sound at a moment as a WAV file, to be played."""
    samples, rate = samples_at(moment)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def _sought(file: Any, stream: Any, start: float) -> Iterator[tuple[float, Any]]:
    """Times, from the beginning of a stream, and frames, from the last key frame before a time."""
    base, origin = float(stream.time_base), float((stream.start_time or 0) * stream.time_base)
    if start > 0:
        try:
            file.seek(math.floor((start + origin) / base), stream=stream)
        except Exception:  # a format that cannot be sought is read from the front
            file.seek(0)
    for frame in file.decode(stream):
        if frame.pts is not None:
            yield float(frame.pts * frame.time_base) - origin, frame


def _mark(where: str | bytes) -> tuple[str | bytes, int, int]:
    """A recording, and what changes where its file does."""
    if isinstance(where, bytes):
        return where, 0, 0
    try:
        seen = Path(where).stat()
    except OSError as error:
        raise Unreachable(f"cannot be read now: {one_line(error)}") from None
    return where, seen.st_mtime_ns, seen.st_size


@lru_cache(maxsize=OPEN)
def _length(mark: tuple[str | bytes, int, int], kind: str) -> float:
    with opened(mark[0]) as file:
        return length_of(file, stream_of_kind(file, kind))


def _film(moment: Moment) -> "_Film":
    """The open video of a moment; the one used longest ago gives way."""
    key = (_mark(moment.where), moment.cut)
    with _lock:
        if key not in _films:
            _films[key] = _Film(moment)
        _films.move_to_end(key)
        film, gone = _films[key], []
        while len(_films) > OPEN:
            gone.append(_films.popitem(last=False)[1])
    for one in gone:
        one.close()
    return film.ready()


class _Film:
    """A video that is open at one place, for whoever asks next."""

    def __init__(self, moment: Moment):
        self._where, self._cut = moment.where, moment.cut
        self._lock = Lock()
        self._file: Any = None
        self.stride, self._seconds = 1, 0.0
        self._ahead: Iterator[tuple[float, Any]] = iter(())
        self._now: tuple[float, Any] | None = None
        self._next: tuple[float, Any] | None = None
        self._behind: tuple[float, Any] | None = None
        self._gap = 0.0

    def ready(self) -> "_Film":
        """Itself, with its length known."""
        with self._lock:
            if self._file is None:
                self._open()
        return self

    def close(self) -> None:
        """Let go of the file; the next moment opens it again."""
        with self._lock:
            self._close()

    def at(self, start: float) -> Any:
        """The picture shown at a time."""
        with self._lock:
            try:
                if self._file is None:
                    self._open()
                made = self._seen(start)
            except CellError:
                self._close()
                raise
            except Exception as error:  # PyAV's own classes, which are many
                self._close()
                raise CellError(f"torn video: {said(error)}") from None
            if start + self.stride * self._cut.every >= self._seconds:  # it was the last one
                self._close()
            return made

    def _open(self) -> None:
        try:
            self._seconds = _length(_mark(self._where), "image")
            self.stride = self._cut.stride(self._seconds)
            self._file = opened(self._where)
        except CellError:
            self._close()
            raise
        except Exception as error:
            self._close()
            raise CellError(f"torn video: {said(error)}") from None

    def _close(self) -> None:
        self._ahead = iter(())
        self._now = self._next = self._behind = None
        if self._file is not None:
            self._file.close()
        self._file = None

    def _seen(self, start: float) -> Any:
        behind = self._behind
        if behind is not None and abs(behind[0] - start) < _SLACK:
            return _upright(behind[1])
        if self._now is None or not self._now[0] - _SLACK <= start <= self._now[0] + _NEAR:
            self._seek(start)
        earlier = start - self.stride * self._cut.every
        kept = None
        while self._now is not None:
            if self._now[0] <= earlier + _SLACK:
                kept = self._now[1]  # what another thread may ask for yet
            if self._next is None or self._next[0] > start + _SLACK:
                break
            self._gap = max(self._gap, self._next[0] - self._now[0])
            self._now, self._next = self._next, next(self._ahead, None)
        if kept is not None:
            self._behind = (earlier, kept)
        if self._now is None:
            raise CellError("torn video: no picture of it can be read")
        if self._next is None and start > self._now[0] + self._hold() + _SLACK:
            raise CellError(f"torn video: its pictures end at {clock(self._now[0])}")
        return _upright(self._now[1])

    def _hold(self) -> float:
        """How long the last picture is shown, at most."""
        assert self._now is not None
        own = float((getattr(self._now[1], "duration", 0) or 0) * self._now[1].time_base)
        return max(own, self._gap, self._cut.every)

    def _seek(self, start: float) -> None:
        self._begin(start)
        if start > 0 and (self._now is None or self._now[0] > start + _SLACK):
            self._begin(0.0)  # an index that is wrong, or none

    def _begin(self, start: float) -> None:
        if start == 0:  # a file that was read is not at its front
            self._file.close()
            self._file = opened(self._where)
        self._ahead = _sought(self._file, stream_of_kind(self._file, "image"), start)
        self._now = next(self._ahead, None)
        self._next = next(self._ahead, None)


def _upright(frame: Any) -> Any:
    picture = frame.to_image()
    turned = int(getattr(frame, "rotation", 0) or 0)
    return picture.rotate(turned, expand=True) if turned % 360 else picture


_films: "OrderedDict[Any, _Film]" = OrderedDict()
_lock = Lock()
