"""What a stranger sends as a picture or a sound: looked at by its head before it is decoded."""

import io
import warnings

from conjoin.app.serve.limits import Limits, Problem
from conjoin.errors import optional

#: Formats of pictures that are read; the others Pillow knows are left alone.
PICTURES = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "ICO")
#: Formats of sounds that are read, as libsndfile calls them.
SOUNDS = ("WAV", "WAVEX", "FLAC", "OGG", "MPEG", "MP3", "AIFF")
#: Highest rate, channels, and samples in all, whatever the length.
MOST_RATE, MOST_CHANNELS, MOST_SAMPLES = 192_000, 8, 24_000_000

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
