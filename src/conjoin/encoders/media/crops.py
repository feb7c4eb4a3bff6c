"""A piece of a cell, as a person may ask for the whole: words, a crop, a stretch of sound."""

import io
from typing import Any

import numpy as np

from conjoin.encoders.media.media import read_picture, read_text, source
from conjoin.encoders.media.video import samples_at
from conjoin.errors import CellError, optional
from conjoin.items.moments import Moment
from conjoin.storage.digest import stable_hash

#: Kinds of cell that can be cut.
KINDS = ("text", "image", "audio")
#: Share of a cell that a piece holds: of its words or its time, and of a picture's area.
SHARE, AREA = (0.2, 0.7), (0.3, 0.8)


def piece(cell: Any, kind: str, seed: int, name: str) -> Any:
    """A piece of a cell, the same for the same seed and name.

    Of a text a run of its words (of its characters where it has no spaces), of a picture a crop
    of its own shape, of a sound a stretch.

    Parameters
    ----------
    kind : one of :data:`KINDS`.
    name : what the cell is called; another name gives another piece.

    Raises
    ------
    CellError : the cell cannot be read, or is too small to be cut.
    """
    rng = np.random.default_rng([seed, stable_hash(f"piece/{name}")])
    if kind == "text":
        return _words(read_text(cell), rng)
    return _crop(cell, rng) if kind == "image" else _stretch(cell, rng)


def _span(length: int, share: float, rng: np.random.Generator) -> slice:
    """A run of a share of ``length`` places, less than all of them."""
    if length < 2:
        raise CellError("is too small to be cut")
    kept = min(length - 1, max(1, round(share * length)))
    start = int(rng.integers(length - kept + 1))
    return slice(start, start + kept)


def _words(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    kept = _span(len(words) if len(words) > 1 else len(text.strip()), rng.uniform(*SHARE), rng)
    return " ".join(words[kept]).strip(",;:.") if len(words) > 1 else text.strip()[kept]


def _crop(cell: Any, rng: np.random.Generator) -> Any:
    picture = read_picture(cell)
    side = float(np.sqrt(rng.uniform(*AREA)))
    across, down = (_span(length, side, rng) for length in picture.size)
    return picture.crop((across.start, down.start, across.stop, down.stop))


def _stretch(cell: Any, rng: np.random.Generator) -> bytes:
    soundfile = optional("soundfile", "audio")
    if isinstance(cell, Moment):
        samples, rate = samples_at(cell)
    else:
        where = source(cell)
        file = io.BytesIO(where) if isinstance(where, bytes) else str(where)
        samples, rate = soundfile.read(file)
    kept = samples[_span(len(samples), rng.uniform(*SHARE), rng)]
    out = io.BytesIO()
    soundfile.write(out, kept, rate, format="WAV", subtype="FLOAT")
    return out.getvalue()
