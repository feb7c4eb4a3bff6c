"""Reading pictures and sounds: paths, bytes or values in, plain arrays out, reasons on failure."""

import io
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.base import CellError
from conjoin.encoders.media import containers, pixels
from conjoin.encoders.media import video as films
from conjoin.encoders.media import waveforms as waves
from conjoin.errors import Unreachable, one_line, optional
from conjoin.items.moments import Moment
from conjoin.items.reading.folder import kind_of_name

#: Pixels beyond which a picture is refused unread: a small file may unpack to gigabytes.
MAX_PIXELS = 100_000_000


def source(cell: Any) -> bytes | Path:
    """A cell as bytes or an existing file.

    Raises
    ------
    CellError : it is neither, empty, or there is no such file.
    """
    if isinstance(cell, bytes | bytearray | memoryview):
        if len(cell) == 0:
            raise CellError("empty: 0 bytes")
        return bytes(cell)
    if not isinstance(cell, str | Path):
        raise CellError(f"a {type(cell).__name__} where a path or bytes was expected")
    if not str(cell).strip():
        raise CellError("empty path")
    path = Path(cell)
    try:
        if not path.is_file():
            raise Unreachable(f"no such file: {path}")
        if path.stat().st_size == 0:
            raise CellError(f"empty file: {path}")
    except CellError:
        raise
    except OSError as error:
        raise Unreachable(f"cannot be read now: {one_line(error)}") from None
    except ValueError as error:
        raise CellError(f"unreadable path: {one_line(error)}") from None
    return path


def read_text(cell: Any) -> str:
    """A cell as text that is not blank.

    Raises
    ------
    CellError : it is not a string, or it is blank.
    """
    if not isinstance(cell, str):
        raise CellError(f"a {type(cell).__name__} where text was expected")
    text = cell.strip()
    if not text:
        raise CellError("empty text")
    # Lone surrogates come from broken decoders and cannot be tokenised.
    return text.encode("utf-8", "replace").decode("utf-8")


def read_picture(cell: Any) -> Any:
    """A path, bytes, PIL image, ``[h, w(, c)]`` array or moment of a video → an upright RGB image.

    The EXIF orientation is applied; of an animation the first frame is taken; pixels of more than
    eight bits are scaled by what they hold (:func:`~conjoin.encoders.media.pixels.to_bytes`);
    transparent ones are laid on white, or on black where what is visible is light. HEIC and SVG
    are read with the ``media`` extra. A picture all of one colour is remarked upon.

    Raises
    ------
    CellError : torn, not a picture, or more than :data:`MAX_PIXELS`.
    """
    picture = _picture(films.picture_at(cell) if isinstance(cell, Moment) else cell)
    pixels.remark_blank(picture)
    return picture


def _picture(cell: Any) -> Any:
    from PIL import Image

    if isinstance(cell, Image.Image):
        return upright(_checked_size(cell))
    if isinstance(cell, np.ndarray) or hasattr(cell, "__array__"):
        return upright(_checked_size(pixels.of_array(np.asarray(cell))))
    where = source(cell)
    head = containers.head_of(where)
    if containers.is_svg(head):
        return upright(_checked_size(containers.draw_svg(where)))
    if containers.is_heif(head):
        containers.allow_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)

            def again() -> Any:
                return Image.open(io.BytesIO(where) if isinstance(where, bytes) else where)

            with again() as picture:
                return upright(pixels.deep(again, _checked_size(picture)))
    except CellError:
        raise
    except Image.UnidentifiedImageError:
        raise CellError(_no_picture(where)) from None
    except Exception as error:
        raise CellError(f"torn or unreadable picture: {one_line(error)}") from None


def _no_picture(where: bytes | Path) -> str:
    if isinstance(where, Path) and kind_of_name(where.name) == "video":
        return "a video: add every = 1.0 to its modality in conjoin.toml"
    return "not a picture Pillow can read"


def upright(picture: Any) -> Any:
    """Apply the EXIF orientation, lay transparency on a ground, convert to RGB."""
    from PIL import ImageOps

    return pixels.flat(ImageOps.exif_transpose(picture), pixels.declared_scale(picture))


def _checked_size(picture: Any) -> Any:
    wide, high = picture.size
    if wide * high == 0:
        raise CellError("a picture without pixels")
    if wide * high > MAX_PIXELS:
        raise CellError(f"{wide}×{high} pixels, more than {MAX_PIXELS // 1_000_000} million")
    return picture


def read_sound(cell: Any, rate: int, seconds: float) -> np.ndarray:
    """A path, bytes, samples or moment of a recording → mono float32 at ``rate`` Hz.

    At most ``seconds`` are read.
    An array is taken as samples at ``rate``, ``[n]``, ``[n, channels]`` or ``[channels, n]``; a
    pair of samples and rate, or a record of ``array`` and ``sampling_rate``, says its own. Of
    channels the mean is taken, or the loudest where they cancel out. What libsndfile does not
    read (m4a, aac, wma) is read with the ``media`` extra. What is cut or silent is remarked upon.

    Raises
    ------
    CellError : torn, no sound that can be read, empty, or not finite.
    """
    samples, found = _samples(cell, rate, seconds)
    samples = waves.mono(waves.in_time(samples))
    if not np.isfinite(samples).all():
        raise CellError("NaN or infinity in the samples")
    if found != rate:
        samples = resample(samples, found, rate)
    samples = np.ascontiguousarray(samples[: int(rate * seconds)], dtype=np.float32)
    if samples.size == 0:
        raise CellError("empty: no samples")
    waves.remark_silent(samples)
    return samples


def _samples(cell: Any, rate: int, seconds: float) -> tuple[np.ndarray, int]:
    if isinstance(cell, Moment):
        samples, found = films.samples_at(cell)
        if len(samples) > found * seconds:
            containers.remark_cut(seconds)
        return samples[: math.ceil(found * (seconds + 1))], found
    held = waves.given(cell)
    if held is not None:
        values, own = held
        found = rate if own is None else own
        values = waves.in_time(values)
        if len(values) > found * seconds:
            containers.remark_cut(seconds)
        return waves.scaled(values[: math.ceil(found * (seconds + 1))]), found
    soundfile = optional("soundfile", "audio")
    where = source(cell)
    try:
        with soundfile.SoundFile(io.BytesIO(where) if isinstance(where, bytes) else where) as file:
            if file.frames > file.samplerate * seconds:
                containers.remark_cut(seconds)
            # One second more than needed, so that resampling has no edge where we cut.
            frames = math.ceil(file.samplerate * (seconds + 1))
            return file.read(frames, dtype="float32", always_2d=False), file.samplerate
    except soundfile.LibsndfileError as error:
        if _for_av(containers.head_of(where)):
            return containers.samples_of(where, seconds + 1)
        raise CellError(f"torn or unreadable sound: {one_line(error)}") from None
    except Exception as error:
        raise CellError(f"torn or unreadable sound: {one_line(error)}") from None


def _for_av(head: bytes) -> bool:
    """Whether a file begins as formats do that PyAV reads: MP4, ADTS, ASF, Matroska, AMR."""
    return (
        head[4:8] == b"ftyp"
        or head[:2] in (b"\xff\xf1", b"\xff\xf9")
        or head.startswith((b"\x30\x26\xb2\x75", b"\x1a\x45\xdf\xa3", b"#!AMR"))
    )


def resample(samples: np.ndarray, found: int, rate: int) -> np.ndarray:
    """Change the sampling rate: soxr's best where installed, else a polyphase filter."""
    try:
        import soxr
    except ImportError:
        from scipy.signal import resample_poly

        shared = math.gcd(found, rate)
        return resample_poly(samples, rate // shared, found // shared)
    return soxr.resample(samples, found, rate, quality="HQ")
