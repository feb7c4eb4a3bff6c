"""A cell made small enough to inline in a page: bytes of a picture, a sound, or words."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from conjoin.encoders.media.media import read_picture
from conjoin.encoders.media.pixels import declared_scale, flat, of_array
from conjoin.encoders.media.video import wave_at
from conjoin.items.moments import Moment

#: Longest side of a thumbnail, pixels.
SIZE = 160
#: Pixels a picture may decode to; larger ones are shown by name.
MOST_PIXELS = 60_000_000
#: Bytes of sound inlined; longer sounds are shown by name.
MOST_SOUND = 1_000_000
#: Characters of a text shown.
MOST_TEXT = 280

_SOUNDS = {
    b"OggS": "audio/ogg", b"fLaC": "audio/flac", b"RIFF": "audio/wav", b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg", b"\xff\xf3": "audio/mpeg",
}  # fmt: skip


@dataclass(frozen=True)
class Thumb:
    """What is shown of one cell.

    Parameters
    ----------
    kind : ``image``, ``audio`` or ``text``.
    text : the words, or what stands for a picture or a sound that cannot be shown.
    data : picture as WebP, or sound as it was; empty for text.
    mime : type of ``data``.
    """

    kind: str
    text: str
    data: bytes = b""
    mime: str = ""

    @property
    def uri(self) -> str:
        """``data`` as a URI that loads nothing."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode()}"


def thumb(cell: Any, kind: str, alt: str = "") -> Thumb:
    """A cell (bytes, path, picture, array or value) made small.

    What cannot be read becomes a line of text that says so: a report never fails over a cell.

    Parameters
    ----------
    kind : kind of the cell: image, audio, text or another, which is shown as text.
    alt : what to say of it where it is not seen.
    """
    try:
        if kind == "image":
            return Thumb("image", alt, picture(cell), "image/webp")
        if kind == "audio":
            return _sound(cell, alt)
    except (OSError, ValueError, Image.DecompressionBombError):
        return Thumb("text", f"{alt or kind} (cannot be shown)")
    words = " ".join(str(cell).split())
    return Thumb("text", words if len(words) <= MOST_TEXT else words[: MOST_TEXT - 1] + "…")


def picture(cell: Any, size: int = SIZE) -> bytes:
    """A picture as WebP of at most ``size`` pixels a side, upright, first frame only.

    Raises
    ------
    OSError, ValueError : it is not a picture, or has more than :data:`MOST_PIXELS`.
    """
    with _open(cell) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError("too many pixels")
        image.draft("RGB", (size * 2, size * 2))
        small = ImageOps.exif_transpose(image)
        if small.mode.startswith("I") or small.mode == "F":
            small = flat(small, declared_scale(image))
        small = small.convert("RGBA" if small.has_transparency_data else "RGB")
        small.thumbnail((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=82)
    return out.getvalue()


def _open(cell: Any) -> Image.Image:
    if isinstance(cell, Moment):
        return read_picture(cell)
    if isinstance(cell, Image.Image):
        return cell.copy()
    if isinstance(cell, np.ndarray):
        return of_array(cell)
    try:
        return Image.open(io.BytesIO(cell) if isinstance(cell, bytes) else Path(cell))
    except Image.UnidentifiedImageError:  # what the media extra reads
        return read_picture(cell)


def _sound(cell: Any, alt: str) -> Thumb:
    if isinstance(cell, Moment):
        cell = wave_at(cell)
    data = cell if isinstance(cell, bytes) else Path(cell).read_bytes()
    mime = next((m for head, m in _SOUNDS.items() if data.startswith(head)), None)
    if mime is None or len(data) > MOST_SOUND:
        raise ValueError("not a short sound of a known format")
    return Thumb("audio", alt, data, mime)
