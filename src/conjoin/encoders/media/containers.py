"""Formats that Pillow and libsndfile do not read by themselves, each by a library of its own."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.base import CellError
from conjoin.encoders.remarks import remark
from conjoin.errors import MissingDependency, one_line, optional

#: Pixels of the longer side to which drawings of lines are drawn.
DRAWN = 512
#: Endings of sounds that PyAV reads and libsndfile does not.
BY_AV = frozenset({".m4a", ".aac", ".wma", ".mka", ".amr"})
#: Marks of still pictures in a container of ISO's base media format.
_HEIF = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


def head_of(where: bytes | Path, size: int = 1024) -> bytes:
    """The first bytes."""
    if isinstance(where, bytes):
        return where[:size]
    with where.open("rb") as file:
        return file.read(size)


def is_heif(head: bytes) -> bool:
    """Whether a file begins as HEIC and HEIF do."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF


def is_svg(head: bytes) -> bool:
    """Whether a file begins as SVG does, or as a packed one."""
    return b"<svg" in head.lower()


def needed(module: str, what: str) -> Any:
    """A library of the ``media`` extra.

    Raises
    ------
    CellError : it is not installed; what cannot be read is named, and how it can be.
    """
    try:
        return optional(module, "media")
    except MissingDependency as error:
        raise CellError(f"{what} needs {module}; {error.remedy}") from None


def draw_svg(where: bytes | Path) -> Any:
    """An SVG as a Pillow picture of at most :data:`DRAWN` pixels a side, transparent where empty.

    Nothing that it names outside itself is read.

    Raises
    ------
    CellError : the renderer is not installed, or cannot draw it.
    """
    from PIL import Image

    resvg = needed("resvg_py", "an SVG")
    data = where if isinstance(where, bytes) else where.read_bytes()
    try:
        text = alone(data.decode("utf-8-sig"))
        side = {"width" if _wide(text) else "height": DRAWN}
        drawn = resvg.svg_to_bytes(svg_string=text, skip_system_fonts="<text" not in text, **side)
        return Image.open(io.BytesIO(bytes(drawn)))
    except CellError:
        raise
    except Exception as error:
        raise CellError(f"an SVG that cannot be drawn: {one_line(error)}") from None


def alone(svg: str) -> str:
    """An SVG that names no file: references lead into it, or hold a picture themselves.

    Raises
    ------
    CellError : it has entities that could hide a reference.

    Examples
    --------
    >>> alone('<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/secret.png"/></svg>')
    '<svg xmlns="http://www.w3.org/2000/svg"><image href=""/></svg>'
    """
    if "http://www.w3.org/2000/svg" not in svg:
        raise CellError("an SVG without the namespace that says it is one")
    entities = dict(re.findall(r"""<!ENTITY\s+([\w.:-]+)\s+["']([^"'<>&%]*)["']\s*>""", svg))
    if svg.count("<!ENTITY") != len(entities):
        raise CellError("an SVG with entities: save it as plain SVG")
    svg = re.sub(r"<!DOCTYPE[^\[>]*(\[.*?\]\s*)?>", "", svg, count=1, flags=re.S)
    for name, value in entities.items():
        svg = svg.replace(f"&{name};", value)
    held = r"\s*(#|data:image/(png|jpe?g|gif|webp)[;,])"
    return re.sub(rf"""(href\s*=\s*)("|')(?!{held}).*?\2""", r"\1\2\2", svg, flags=re.S | re.I)


def _wide(svg: str) -> bool:
    """Whether an SVG is at least as wide as high, by what it says of its size.

    Raises
    ------
    CellError : one side is more than fifty times the other.
    """
    box = re.search(r"""viewBox\s*=\s*["']([^"']*)["']""", svg)
    sides = [float(n) for n in re.findall(r"[-+.\deE]+", box.group(1))[2:]] if box else []
    if len(sides) < 2:
        found = [re.search(rf"""<svg[^>]*\s{name}\s*=\s*["']\s*([\d.]+)""", svg)
                 for name in ("width", "height")]  # fmt: skip
        sides = [float(one.group(1)) if one else 100.0 for one in found]
    wide, high = max(sides[0], 1e-9), max(sides[1], 1e-9)
    if not 0.02 <= wide / high <= 50:
        raise CellError(f"an SVG of {wide:g} by {high:g}")
    return wide >= high


def allow_heif() -> None:
    """Let Pillow open HEIC and HEIF.

    Raises
    ------
    CellError : ``pillow-heif`` is not installed.
    """
    needed("pillow_heif", "a HEIC picture").register_heif_opener()


def stream_of(where: bytes | Path, kind: str) -> Iterator[Any]:
    """Frames of the first stream of a kind, ``audio`` or ``video``, as PyAV decodes them.

    Raises
    ------
    CellError : PyAV is not installed, or there is no such stream.
    """
    av = needed("av", "this format")
    with av.open(io.BytesIO(where) if isinstance(where, bytes) else str(where)) as file:
        if not getattr(file.streams, kind):
            raise CellError(f"holds no {kind}")
        yield from file.decode(**{kind: 0})


def samples_of(where: bytes | Path, seconds: float) -> tuple[np.ndarray, int]:
    """At most so many seconds ``[n, channels]`` of what PyAV reads (m4a, aac, wma…), and the rate.

    Raises
    ------
    CellError : it cannot be read, or holds no sound.
    """
    av = needed("av", "this format of sound")
    parts: list[np.ndarray] = []
    rate = length = 0
    frames = stream_of(where, "audio")
    try:
        resampler = av.AudioResampler(format="fltp")
        for frame in frames:
            rate = rate or int(frame.sample_rate)
            for planar in resampler.resample(frame):
                parts.append(planar.to_ndarray().T)
                length += len(parts[-1])
            if length > rate * seconds:
                remark_cut(seconds - 1)
                break
    except CellError:
        raise
    except Exception as error:
        raise CellError(f"torn or unreadable sound: {one_line(error)}") from None
    finally:
        frames.close()  # type: ignore[attr-defined]
    if not parts:
        raise CellError("empty: no samples")
    return np.concatenate(parts), rate


def remark_cut(seconds: float) -> None:
    """Say that a sound is longer than what is read of it."""
    remark(f"cut at {seconds:g} s")
