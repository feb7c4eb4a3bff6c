"""What a stranger sends as a picture or a sound: looked at by its head before it is decoded."""

import asyncio
import io
import warnings

from conjoin.errors import optional
from conjoin.server.limits import Limits, Problem

#: Formats of pictures that are read; the others Pillow knows are left alone.
PICTURES = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "ICO")
#: Formats of sounds that are read, as libsndfile calls them.
SOUNDS = ("WAV", "WAVEX", "FLAC", "OGG", "MPEG", "MP3", "AIFF")
#: Highest rate, channels, and samples in all, whatever the length.
MOST_RATE, MOST_CHANNELS, MOST_SAMPLES = 192_000, 8, 24_000_000

#: Pixels beyond which a picture is made smaller first, and the side it then has at most.
LARGE, SIDE = 8_000_000, 2048

_READ = "send a PNG, JPEG, WebP or GIF picture, or a WAV, FLAC, Ogg or MP3 sound"


def kind_of_upload(data: bytes, limits: Limits) -> str:
    """``image`` or ``audio``, by the content; neither the name nor the declared type is believed.

    Raises
    ------
    Problem : it is empty, neither, an SVG, torn, or beyond a limit.
    """
    if not data:
        raise Problem("bad-argument", "file", "0 bytes", _READ)
    if b"<svg" in data[:4096].lower():
        raise Problem("wrong-type", "file", "an SVG, which can carry scripts", "send it as PNG")
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06") or data[:2] == b"\x1f\x8b":
        raise Problem("wrong-type", "file", "an archive", _READ)
    size = _picture(data)
    if size is not None:
        wide, high = size
        if wide * high > limits.pixels:
            found = f"{wide}×{high} pixels, more than {limits.pixels}"
            raise Problem("too-large", "file", found, "send a smaller picture")
        if wide * high == 0:
            raise Problem("bad-argument", "file", "a picture without pixels", _READ)
        return "image"
    _sound(data, limits)
    return "audio"


def recording_ending(data: bytes) -> str | None:
    """The ending of a video's name by its first bytes; ``None`` where it begins as none does.

    Whether it can be read shows when its moments are taken.

    >>> recording_ending(bytes(4) + b"ftypisom"), recording_ending(bytes(4) + b"ftypavif")
    ('mp4', None)
    """
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "avi"
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return "webm" if b"webm" in data[:64] else "mkv"
    pictures = (b"avif", b"avis", b"heic", b"heix", b"mif1")
    if data[4:8] == b"ftyp" and data[8:12] not in pictures:
        return "m4a" if data[8:11] == b"M4A" else "mp4"
    return None


def _picture(data: bytes) -> tuple[int, int] | None:
    """Width and height by the head alone; ``None`` where it is no picture of a known format."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=PICTURES) as picture:
                return picture.size
    except Image.DecompressionBombError:
        raise Problem(
            "too-large", "file", "a picture that unpacks to too many pixels", "send a smaller one"
        ) from None
    except Image.UnidentifiedImageError:
        return None
    except Exception as error:  # whatever a torn head makes a decoder say
        found = f"a torn picture ({type(error).__name__})"
        raise Problem("bad-argument", "file", found, _READ) from None


def is_large(data: bytes) -> bool:
    """Whether it is a picture of more than :data:`LARGE` pixels."""
    wide, high = _picture(data) or (0, 0)
    return wide * high > LARGE


def smaller(data: bytes) -> bytes:
    """A picture with sides of at most :data:`SIDE`, upright.

    Encoders see a few hundred pixels a side. Made smaller beforehand, large pictures do not hold
    up the queries that are encoded beside them, nor their memory. What cannot be read comes back
    as it is: the encoder says what is wrong.
    """
    from PIL import Image

    from conjoin.encoders.media.media import upright

    try:
        with Image.open(io.BytesIO(data), formats=PICTURES) as picture:
            picture.draft("RGB", (SIDE, SIDE))
            small = upright(picture)
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
        out = io.BytesIO()
        small.save(out, "PPM")
    except Exception:  # whatever torn data makes a decoder say
        return data
    return out.getvalue()


def _sound(data: bytes, limits: Limits) -> None:
    soundfile = optional("soundfile", "audio")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            form, rate = file.format, file.samplerate
            frames, channels = file.frames, file.channels
    except Exception:
        raise Problem("wrong-type", "file", "neither a picture nor a sound", _READ) from None
    if form not in SOUNDS:
        raise Problem("wrong-type", "file", f"a sound in {form}", _READ)
    if frames <= 0 or rate <= 0:
        raise Problem("bad-argument", "file", "a sound without samples", _READ)
    seconds = frames / rate
    if seconds > limits.audio_seconds:
        found = f"{seconds:.0f} s of sound, more than {limits.audio_seconds:g}"
        raise Problem("too-large", "file", found, "send a shorter one")
    if rate > MOST_RATE or channels > MOST_CHANNELS or frames * channels > MOST_SAMPLES:
        found = f"{channels} channels at {rate} Hz, {frames} frames"
        raise Problem("too-large", "file", found, "send it as mono at 48 kHz or less")


class Entrance:
    """Looks at files before they are asked with, and unpacks large pictures one by one."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self._one = asyncio.Semaphore(1)

    async def admit(self, data: bytes) -> tuple[str, bytes]:
        """What a file is, and what is to be encoded of it.

        Raises
        ------
        Problem : it is refused, or too many large pictures are waiting.
        """
        kind = await asyncio.to_thread(kind_of_upload, data, self.limits)
        if kind != "image" or not is_large(data):
            return kind, data
        try:
            return kind, await asyncio.wait_for(self._smaller(data), self.limits.request_seconds)
        except TimeoutError:
            raise Problem(
                "busy", "file", "too many large pictures at once", "send it later, or a smaller one"
            ) from None

    async def _smaller(self, data: bytes) -> bytes:
        async with self._one:
            return await asyncio.to_thread(smaller, data)
