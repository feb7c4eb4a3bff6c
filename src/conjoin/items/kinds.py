"""What a column seems to be, told from its first two hundred values."""

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from conjoin.items.cells import is_missing
from conjoin.items.reading.folder import kind_of_name
from conjoin.items.reading.sources import Source

_SAMPLE = 200
#: Share of the cells that must be of a kind.
_MOST = 0.9
#: Share from which cells of a kind among others are worth a word.
_SOME = 0.3
_PICTURES = ("image", "img", "photo", "picture", "thumb", "cover", "poster", "avatar", "logo")
_VIDEOS = ("video", "clip", "film", "movie")
_SOUNDS = ("audio", "sound", "song", "speech", "voice", "recording", "music")


@dataclass(frozen=True)
class Guess:
    """What a column seems to be.

    Parameters
    ----------
    kind : text, image, audio, video, vector, series; ``number``, ``category`` or ``other`` for
        what is no modality of its own.
    why : the evidence, for the comment.
    foreign : text that is not mostly in Latin letters.
    """

    column: str
    kind: str
    why: str
    foreign: bool = False


def guess_column(source: Source, name: str) -> Guess:
    """What one column seems to be."""
    filled = (value for value in source.values(name) if not is_missing(value))
    values = list(islice(filled, _SAMPLE))
    if not values:
        return Guess(name, "other", "every cell is missing")
    if all(isinstance(value, np.ndarray) for value in values):
        return _guess_arrays(name, values)
    several = ""
    if all(isinstance(value, list | np.ndarray) for value in values):
        parts = [part for value in values for part in value if not is_missing(part)][:_SAMPLE]
        if not parts:
            return Guess(name, "other", "every list holds nothing")
        if all(isinstance(part, np.ndarray | list) for part in parts):
            return _guess_nested(name, [value for value in values if len(value)])
        values, several = parts, "lists of "
    return _guess_plain(name, values, several)


def _guess_plain(name: str, values: Sequence[Any], several: str) -> Guess:
    """Of cells, or of the parts of cells."""
    if all(isinstance(value, dict) for value in values):
        return _guess_structs(name, values, several)
    if all(isinstance(value, bytes) for value in values):
        return _guess_bytes(name, values, several)
    if all(isinstance(value, str) for value in values):
        return _guess_strings(name, values, several)
    if all(isinstance(value, int | float) for value in values):
        return Guess(name, "number", f"{several}numbers")
    kinds = sorted({type(value).__name__ for value in values})
    if len(kinds) > 1:
        return Guess(name, "other", f"{several}values of several types ({', '.join(kinds)})")
    return Guess(name, "other", f"{several}values of type {kinds[0]}")


def _guess_arrays(name: str, values: Sequence[np.ndarray]) -> Guess:
    lengths = {len(value) for value in values}
    if len(lengths) > 1:
        return Guess(name, "series", f"lists of {min(lengths)} to {max(lengths)} numbers")
    if (width := lengths.pop()) < 4:
        return Guess(name, "other", f"lists of {width} numbers, too short for vectors")
    return Guess(name, "vector", f"lists of {width} numbers")


def _guess_nested(name: str, values: Sequence[Sequence]) -> Guess:
    rows = [row for value in values for row in value if not is_missing(row)]
    if not all(_are_numbers(row) for row in rows):
        return Guess(name, "other", "lists of lists that hold more than numbers")
    widths = {len(row) for row in rows}
    lengths = {len(value) for value in values}
    if len(lengths) > 1 and len(widths) == 1 and max(widths) < 16:
        return Guess(name, "series", f"series of {max(widths)} channels and differing length")
    if len(widths) == 1:
        return Guess(name, "vector", f"lists of vectors of {max(widths)} numbers")
    return Guess(name, "other", "lists of lists of differing length")


def _are_numbers(row: Any) -> bool:
    if isinstance(row, np.ndarray):
        return row.ndim == 1 and row.dtype.kind in "fiu"
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in row)


def _guess_structs(name: str, values: Sequence[dict], several: str) -> Guess:
    keys = {key for value in values for key in value}
    if {"array", "sampling_rate"} <= keys:
        return Guess(name, "audio", f"{several}sounds with their rates")
    if not {"bytes", "path"} & keys:
        shown = ", ".join(map(str, sorted(keys)[:4]))
        return Guess(name, "other", f"{several}records of {shown}")
    data = [value["bytes"] for value in values if isinstance(value.get("bytes"), bytes)]
    if data:
        return _guess_bytes(name, data, several)
    paths = [value["path"] for value in values if isinstance(value.get("path"), str)]
    if not paths:
        return Guess(name, "other", f"{several}records without bytes or path")
    return _guess_strings(name, paths, several)


def _guess_bytes(name: str, values: Sequence[bytes], several: str) -> Guess:
    kind, count = Counter(_magic(value) for value in values).most_common(1)[0]
    if kind is None:
        return Guess(name, "other", f"{several}bytes of no known kind")
    what = {"image": "a picture", "audio": "a sound"}.get(kind, "a video")
    return Guess(name, kind, f"{several}bytes; {count} of {len(values)} begin as {what} does")


def _magic(data: bytes) -> str | None:
    """Kind of a file by its first bytes."""
    pictures = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
    sounds = (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"FORM")
    if data[:4] == b"RIFF":
        return {b"WEBP": "image", b"WAVE": "audio", b"AVI ": "video"}.get(data[8:12])
    jpeg_2000, boxed = b"\x00\x00\x00\x0cjP  ", data[4:8] == b"ftyp"
    heif = boxed and data[8:12] in (b"avif", b"heic", b"heix", b"mif1")
    if data.startswith((*pictures, jpeg_2000)) or heif or data.lstrip()[:4] == b"<svg":
        return "image"
    if data.startswith(sounds) or data[4:11] == b"ftypM4A":
        return "audio"
    return "video" if boxed or data.startswith(b"\x1a\x45\xdf\xa3") else None


def _guess_strings(name: str, values: Sequence[str], several: str) -> Guess:
    forms = Counter(_form(value.strip()) for value in values)
    links = forms.pop(("", "URLs"), 0)
    kinds: Counter[str] = Counter()
    for (kind, _), count in forms.items():
        kinds[kind] += count
    kind = max((one for one in kinds if one), key=lambda one: kinds[one], default="")
    found, whole = kinds[kind] if kind else 0, len(values)
    shown = ", ".join(form for (own, form), _ in forms.most_common() if own == kind and form)
    if kind and found + links >= _MOST * whole:
        more = f", and {links} URLs without an ending" if links else ""
        return _of_kind(name, kind, f"{several}{shown}{more}", values)
    if links >= _MOST * whole:
        return _guess_links(name, several)
    if kind and found >= _SOME * whole:
        said = f"{shown} in {found} of {whole} cells, other texts in the rest"
        return Guess(name, "other", several + said)
    numbers = [_numbers(value) for value in values]
    lists = [np.array(one) for one in numbers if one is not None]
    if len(lists) > _MOST * whole:
        return _guess_arrays(name, lists)
    return _guess_text(name, values, several)


def _form(text: str) -> tuple[str, str]:
    """The kind a text names, and how it does; an empty kind for a text that names none."""
    if text[:5].lower() == "data:":
        held = text[5:20].partition("/")[0].lower()
        return (held, "data URIs") if held in ("image", "audio", "video") else ("", "")
    link = text.lower().startswith(("http://", "https://"))
    kind = kind_of_name(text) if len(text) < 4096 and "\n" not in text else None
    if kind in ("image", "audio", "video", "vector"):
        suffix = os.path.splitext(text.split("?")[0].split("#")[0] if link else text)[1]
        return str(kind), f"{'URLs' if link else 'paths'} ending in {suffix}"
    if link and len(text.split()) == 1:
        return "", "URLs"
    coded = _decoded(text)
    return (f"{coded} in base64", "") if coded else ("", "")


def _decoded(text: str) -> str | None:
    """Kind of the file that a text holds in base64, if any."""
    if len(text) < 64 or not re.fullmatch(r"[A-Za-z0-9+/]{64}", text[:64]):
        return None
    return _magic(base64.b64decode(text[:64]))


def _of_kind(name: str, kind: str, why: str, values: Sequence[str]) -> Guess:
    if kind.endswith("in base64"):
        what = kind.partition(" ")[0]
        said = f"{what} in base64: write data:{what}/…;base64, before it, or store the bytes"
        return Guess(name, "other", said)
    if kind == "vector" and any(value.strip().startswith("[") for value in values):
        return Guess(name, "other", why)
    return Guess(name, kind, why)


def _guess_links(name: str, several: str) -> Guess:
    lower = name.lower()
    said = f"{several}URLs without an ending"
    for kind, words in (("image", _PICTURES), ("audio", _SOUNDS), ("video", _VIDEOS)):
        if any(word in lower for word in words):
            return Guess(name, kind, f"{said}; by its name, of kind {kind}")
    return Guess(name, "other", f"{said}: give builtin:image or builtin:audio if they are such")


def _numbers(text: str) -> list[float] | None:
    """A JSON list of numbers, if it is one."""
    if not re.fullmatch(r"\s*\[[\d\s.,eE+-]+\]\s*", text):
        return None
    try:
        return [float(one) for one in json.loads(text)]
    except (ValueError, TypeError, RecursionError, OverflowError):
        return None


def _guess_text(name: str, values: Sequence[str], several: str) -> Guess:
    distinct = len(set(values)) / len(values)
    words = float(np.mean([len(value.split()) for value in values]))
    letters = "".join(values)
    latin = _share(letters, lambda c: ord(c) < 0x250 or not c.isalpha())
    foreign = latin < 0.7
    sentences = words >= 2 or (foreign and len(letters) / len(values) >= 4)
    if several or (sentences and distinct > 0.3):
        each = len(letters) / len(values)
        size = f"{each:.0f} letters" if foreign else f"{words:.1f} words"
        return Guess(name, "text", f"{several}texts of about {size}", foreign)
    if distinct <= 0.5:
        return Guess(name, "category", f"{len(set(values))} different short texts")
    if _share(values, lambda text: text.isalpha() and len(text) > 1) > 0.9:
        return Guess(name, "text", "single words, nearly all different", foreign)
    return Guess(name, "other", "short codes, nearly all different")


def _share(values: Sequence[Any], test: Callable[[Any], bool]) -> float:
    return sum(map(bool, map(test, values))) / max(1, len(values))
