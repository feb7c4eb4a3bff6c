"""One cell of a table: its parts, what an encoder takes of it, and its content hash."""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import CellError, Unreachable, one_line
from conjoin.items.web.reach import Reach, inside, is_address, missing

#: Kinds whose strings name files or URLs.
MEDIA = frozenset({"image", "audio", "video"})
#: Kinds whose value is an array of numbers.
ARRAYS = frozenset({"vector", "series"})
#: Kinds whose cells may name a file or an address.
PLACED = MEDIA | ARRAYS


def is_missing(value: Any) -> bool:
    """Whether a value stands for no cell: ``None``, NaN, blank text, or nothing inside."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    if isinstance(value, bytes | list | tuple | set):
        return len(value) == 0
    if isinstance(value, np.ndarray):
        return value.size == 0
    if isinstance(value, Mapping):
        return all(is_missing(inside) for inside in value.values())
    return type(value).__name__ in ("NAType", "NaTType")  # pandas', which need not be installed


def cell_parts(value: Any, kind: str) -> list[Any]:
    """The parts of a cell, none where it is missing.

    A list holds several parts (many captions of one item), except that a list of numbers is one
    vector or one series, and a list of equally long lists of numbers is several vectors but one
    series of several channels. An array of numbers is one picture or sound. Missing parts are
    passed over.

    Examples
    --------
    >>> cell_parts(["a cat", None, "a pet"], "text")
    ['a cat', 'a pet']
    >>> len(cell_parts([[0.0, 1.0], [1.0, 0.0]], "vector"))
    2
    >>> len(cell_parts([[0.0, 1.0], [1.0, 0.0]], "series"))
    1
    """
    if is_missing(value):
        return []
    if not isinstance(value, list | tuple | np.ndarray) or _is_one(value, kind):
        return [value]
    return [part for part in value if not is_missing(part)]


def _is_one(value: Any, kind: str) -> bool:
    depth = _depth(value)
    if kind == "vector":
        return depth == 1
    if kind == "series":
        return depth in (1, 2)
    if isinstance(value, np.ndarray):
        return depth > 0
    # A waveform and its rate.
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], np.ndarray)


def _depth(value: Any) -> int:
    """Nesting of an array of numbers; 0 where it holds something else."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return int(value.ndim)
    if isinstance(value, list | tuple | np.ndarray):
        first = next((inside for inside in value if inside is not None), None)
        if isinstance(first, int | float | np.number) and not isinstance(first, bool):
            return 1
        inner = _depth(first)
        return inner + 1 if inner else 0
    return 0


def resolve(value: Any, base: Path, kind: str, reach: Reach | None = None) -> Any:
    """What an encoder of that kind takes of one part.

    ======== =================================================================================
    kind     gives
    ======== =================================================================================
    text     ``str``
    media    absolute path as ``str``; ``bytes``, also of a ``data:`` URI; other objects (a PIL
             picture) as they are. An address is fetched (:class:`~conjoin.items.web.web.Web`);
             ``{"bytes", "path"}`` gives the one that is there, ``{"array", "sampling_rate"}``
             the pair of both. How a path may be written: :func:`~conjoin.items.web.reach.locate`
    vector   1-d float32 array, from numbers, JSON text or a ``.npy`` file
    series   1-d or 2-d float64 array ``[steps]`` or ``[steps, channels]``, likewise
    table    ``dict``, with ``None`` for what is missing
    others   the value as it is
    ======== =================================================================================

    A picture or sound that is not there is found out by whoever reads it, so that it fails alone.

    Parameters
    ----------
    base : folder that relative paths start from.
    reach : which files and addresses may be named; all where not given.

    Raises
    ------
    Unreachable : it cannot be read or fetched now, or may not be.
    CellError : the cell cannot be that kind.
    """
    try:
        return _resolved(value, base, kind, Reach() if reach is None else reach)
    except CellError:
        raise
    except OSError as error:
        raise Unreachable(f"cannot be read: {one_line(error)}") from None
    except Exception as error:  # whatever an object in a table may raise when it is looked at
        raise CellError(f"cannot be read: {type(error).__name__}: {one_line(error)}") from None


def _resolved(value: Any, base: Path, kind: str, reach: Reach) -> Any:
    if kind == "text":
        return _text(value)
    if kind in MEDIA:
        return _media(value, base, kind, reach)
    if kind in ARRAYS:
        return _array(value, base, kind, reach)
    if kind == "table":
        if not isinstance(value, Mapping):
            raise CellError(f"is a {type(value).__name__}, not a row of columns")
        return {str(key): None if is_missing(v) else v for key, v in value.items()}
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise CellError("is bytes that are not UTF-8 text") from None
    if isinstance(value, bool | int | float | np.number | np.bool_):
        return str(value)
    if isinstance(value, list | tuple | dict | np.ndarray):
        raise CellError(f"is a {type(value).__name__}, not text")
    return str(value)


def _media(value: Any, base: Path, kind: str, reach: Reach) -> Any:
    if isinstance(value, Mapping):
        return _record(value, base, kind, reach)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        text = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
        if is_address(text.lstrip()):
            return reach.web.get(text.strip())
        data = inside(text.lstrip())
        return str(reach.file(text, base)) if data is None else data
    if isinstance(value, bool | int | float | np.number):
        raise CellError(f"is the number {value}, not {kind}")
    return value


def _record(value: Mapping, base: Path, kind: str, reach: Reach) -> Any:
    """A picture or sound as Hugging Face's data sets keep it."""
    if value.get("array") is not None:
        samples = np.asarray(value["array"])
        rate = value.get("sampling_rate") or value.get("rate")
        return samples if rate is None else (samples, int(rate))
    if "bytes" in value or "path" in value:
        held = value.get("bytes") or value.get("path")
        if held is None:
            raise CellError("holds neither bytes nor a path")
        return _media(held, base, kind, reach)
    named = ", ".join(map(str, list(value)[:6]))
    raise CellError(f"a record of {named}: give bytes, path, or array and sampling_rate")


def _array(value: Any, base: Path, kind: str, reach: Reach) -> np.ndarray:
    if isinstance(value, str | Path):
        value = _stored_array(str(value), base, reach)
    try:
        array = np.asarray(value, dtype=np.float32 if kind == "vector" else np.float64)
    except (TypeError, ValueError, OverflowError):
        raise CellError("is not an array of numbers of one shape") from None
    if array.ndim != 1 and not (kind == "series" and array.ndim == 2):
        raise CellError(f"has shape {array.shape}, not that of a {kind}")
    return array


def _stored_array(text: str, base: Path, reach: Reach) -> Any:
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise CellError("is not a JSON list of numbers") from None
    if not text.rstrip().endswith(".npy") or is_address(text):
        raise CellError(f"{text[:40]!r} is neither a JSON list nor a .npy file")
    path = reach.file(text, base)
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise Unreachable(missing(path)) from None
    except OSError as error:
        raise Unreachable(f"{path}: {one_line(error)}") from None
    except (ValueError, EOFError) as error:
        raise CellError(f"{path}: {one_line(error)}") from None
    # A file may hold one vector as a single row.
    return array[0] if array.ndim == 2 and len(array) == 1 else array


def place_of(value: Any) -> str:
    """The file or address that a part names, as far as it tells one from another; else nothing.

    >>> place_of("./a.png"), place_of({"bytes": None, "path": "a.png"}), place_of(b"GIF89a")
    ('a.png', 'a.png', '')
    """
    if isinstance(value, Mapping):
        value = value.get("path") if value.get("bytes") is None else None
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or value.lstrip()[:5].lower().startswith(("[", "data:")):
        return ""
    return value.strip() if is_address(value.lstrip()) else os.path.normpath(value)


def shown_hash(cell: Any, kind: str) -> int:
    """:func:`content_hash` of a cell that can be read now.

    Raises
    ------
    Unreachable : its file is away, or may not be read.
    """
    if not (kind in MEDIA and isinstance(cell, str)):
        return content_hash(cell, kind)
    try:
        if not stat.S_ISREG(os.stat(cell).st_mode):  # a pipe would hold us for ever
            raise CellError(f"{cell} is a folder or no plain file")
        return _hashed(_blocks(cell))
    except (FileNotFoundError, NotADirectoryError):
        raise Unreachable(missing(Path(cell))) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise CellError(f"no such file: a name of {len(cell)} letters") from None
        raise Unreachable(f"{cell}: {error.strerror or one_line(error)}") from None
    except ValueError as error:  # no path at all, a CellError among them
        raise CellError(one_line(error)) from None


def content_hash(cell: Any, kind: str) -> int:
    """A 63-bit positive hash of what a resolved cell shows; 0 where that cannot be told.

    A file and its bytes in a column hash alike, so equal pictures are known to be equal. A
    missing file, a :class:`~conjoin.errors.CellError` and an object without bytes give 0.

    Examples
    --------
    >>> content_hash("a cat", "text") == content_hash("a cat", "text") > 0
    True
    """
    try:
        if kind in MEDIA and isinstance(cell, str):
            return _hashed(_blocks(cell))
        return _hashed(_pieces(cell))
    except Exception:  # a file that is away, or an object without bytes
        return 0


def _hashed(pieces: Iterable[bytes]) -> int:
    hasher = hashlib.blake2b(digest_size=8)
    for piece in pieces:
        hasher.update(piece)
    return max(1, int.from_bytes(hasher.digest(), "big") >> 1)


def _blocks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while block := file.read(2**20):
            yield block


def _pieces(cell: Any) -> list[bytes]:
    if isinstance(cell, bytes):
        return [cell]
    if isinstance(cell, str):
        return [cell.encode("utf-8", "surrogatepass")]
    if isinstance(cell, np.ndarray) and cell.dtype.kind != "O":
        return [repr((cell.dtype.str, cell.shape)).encode(), np.ascontiguousarray(cell).tobytes()]
    if hasattr(cell, "tobytes") and hasattr(cell, "mode") and hasattr(cell, "size"):
        return [repr((cell.mode, cell.size)).encode(), cell.tobytes()]  # a PIL picture
    if isinstance(cell, tuple | list):
        return [piece for part in cell for piece in _pieces(part)]
    if isinstance(cell, Mapping):
        return [
            piece
            for key in sorted(cell, key=str)
            for piece in (str(key).encode("utf-8", "surrogatepass"), *_pieces(cell[key]))
        ]
    if isinstance(cell, bool | int | float | np.number | np.bool_) or cell is None:
        return [repr(cell).encode()]
    if hasattr(cell, "isoformat"):
        return [cell.isoformat().encode()]
    raise TypeError(f"no bytes in a {type(cell).__name__}")
