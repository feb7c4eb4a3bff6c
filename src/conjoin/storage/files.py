"""Files that are whole or absent: atomic writes, and safetensors read as memory maps.

Every state file carries digests of what it holds, so that a byte which rotted, or a file of
another workspace in its place, is noticed and not answered from. A file's **mark** is the digest
of its header, which holds the digest of its data: whoever names a file can keep its mark, and
compare it at the cost of reading the header.
"""

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from conjoin.errors import ConjoinError, StateError

#: Version of every state file; older ones are migrated on read, newer ones refused.
FORMAT = 1
#: Bytes up to which a file is read whole and compared with its digest when it is opened; larger
#: ones are compared by `conjoin doctor --system`, `conjoin index check` and after a crash.
WHOLE = 64 * 2**20
#: Remedy of what a newer version wrote: it is whole, and not ours to remove.
NEWER = "upgrade conjoin"
#: What stands where a digest will.
_BLANK = "0" * 32
_SAID = re.compile(rb'\n "digest": "([0-9a-f]{32})"')
_HEAD = re.compile(rb'"head": "([0-9a-f]{32})"')
#: Names of the files that :func:`atomic` writes into.
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")
#: Bytes read at a time.
_STEP = 2**20

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32,
    "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U8": np.uint8,
    "BOOL": np.bool_,
}  # fmt: skip
_NAMES = {np.dtype(kind): name for name, kind in _DTYPES.items()}


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` that becomes it, whole, when the block ends.

    It is locked until then, so that :func:`sweep` tells it from what a killed writer left.

    Raises
    ------
    ConjoinError : the disk is full or the folder cannot be written.
    """
    temporary = lock = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary, lock = _begun(path)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise _explain(path, error) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        if lock is not None:
            os.close(lock)


def _begun(path: Path) -> tuple[int, str, int | None]:
    """A new temporary file beside ``path``: open, its name, and what holds its lock if one can."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            import fcntl
        except ImportError:  # Windows renames no file that is open
            return handle, name, None
        with suppress(OSError):  # a file system without locks: nothing is swept there
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, name, os.dup(handle)
        os.close(handle)  # swept before it was locked


def sweep(folder: Path, name: str | None = None) -> list[Path]:
    """Remove the temporary files that killed writers left; those of writers at work stay.

    A writer holds the lock of its file (:func:`atomic`), which ends with its process. Where files
    cannot be locked, nothing is removed.

    Parameters
    ----------
    name : of the file they were to become, in the folder itself; all of any depth if not given.

    Returns
    -------
    list of Path : what was removed.
    """
    return [path for path in temporaries(folder, name) if _taken(path)]


def temporaries(folder: Path, name: str | None = None) -> Iterator[Path]:
    """Files that are being written, or were when their writer was killed; as in :func:`sweep`."""
    if name is not None:
        found = folder.glob(f".{name}.*.tmp")
        yield from (path for path in found if _TEMPORARY.fullmatch(path.name))
        return
    for place, inside, names in os.walk(folder):
        inside[:] = [one for one in inside if not one.endswith(".lance")]  # the database's own
        yield from (Path(place, one) for one in names if _TEMPORARY.fullmatch(one))


def at_work(path: Path) -> bool:
    """Whether a temporary file's writer still writes it."""
    try:
        with path.open("r+") as file:
            _lock(file)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _taken(path: Path) -> bool:
    """Remove a temporary file under its lock; whether it could be."""
    try:
        import fcntl

        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (ImportError, OSError):  # Windows; at work, gone, or not ours to remove
        return False
    return True


def _explain(path: Path, error: OSError) -> ConjoinError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ConjoinError(str(path), "no space left on the disk", "free some and run again")
    return ConjoinError(str(path), error.strerror or str(error), "check that it can be written")


@contextmanager
def alone(path: Path, busy: str) -> Iterator[IO[str]]:
    """Hold a file's lock until the block ends, or the process, however it ends.

    The file is open at its start, to be read and added to.

    Raises
    ------
    ConjoinError : another process holds it (``busy`` says so), or it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+")
    except OSError as error:
        raise _explain(path, error) from error
    with lock:
        try:
            _lock(lock)
        except OSError:
            raise ConjoinError(str(path.parent), busy, "try again when it has ended") from None
        lock.seek(0)
        yield lock


def _lock(file: IO[str]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_json(path: Path, value: Any) -> None:
    """Write canonical JSON atomically; a state file, one with a ``version``, with its digest."""
    if isinstance(value, dict) and "version" in value:
        value = {**value, "digest": _BLANK}
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode()
    found = _SAID.search(text)
    if found:
        text = text[: found.start(1)] + _sum(text).encode() + text[found.end(1) :]
    with atomic(path) as file:
        file.write(text)


def read_json(path: Path, needs: Iterable[str] = ()) -> Any:
    """Read a state file.

    Parameters
    ----------
    needs : the keys without which it is of no use.

    Raises
    ------
    StateError : it is corrupt, differs from its digest, or is of a newer format.
    """
    again = "run: conjoin clean, then again"
    text = path.read_bytes()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise StateError(str(path), "is not valid JSON", again) from None
    said = value.pop("digest", None) if isinstance(value, dict) else None
    if said is not None and said != _json_mark(text):
        raise StateError(str(path), "its bytes are not those that were written", again)
    check_version(path, value.get("version", FORMAT) if isinstance(value, dict) else FORMAT)
    lost = [key for key in needs if not isinstance(value, dict) or key not in value]
    if lost:
        raise StateError(str(path), f"lacks {lost[0]!r}", again)
    return value


def json_mark(path: Path) -> str | None:
    """The digest a state file carries; ``None`` where it has none or is not there."""
    found = _SAID.search(path.read_bytes()) if path.is_file() else None
    return None if found is None else found.group(1).decode()


def _json_mark(text: bytes) -> str | None:
    found = _SAID.search(text)
    if found is None:
        return None
    return _sum(text[: found.start(1)] + _BLANK.encode() + text[found.end(1) :])


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """The digest of a file's bytes, read in steps."""
    mark = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_STEP):
            mark.update(block)
    return mark.hexdigest()[:32]


def within(folder: Path, name: Any) -> Path:
    """The path of a file that a state file names, which must lie in its folder.

    Raises
    ------
    StateError : the name is no text, absolute, or leads elsewhere.
    """
    parts = Path(name).parts if isinstance(name, str) else ()
    if not parts or ".." in parts or Path(name).is_absolute() or "\0" in name:
        raise StateError(
            str(folder), f"its state names {str(name)[:60]!r}, which is not inside",
            "run: conjoin clean, then again",
        )  # fmt: skip
    return folder / name


def check_version(path: Path, version: Any) -> None:
    """Refuse a file written by a newer conjoin."""
    if not isinstance(version, int) or version > FORMAT:
        raise StateError(str(path), f"format {version}, this conjoin reads up to {FORMAT}", NEWER)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], meta: Any) -> str:
    """Write arrays and JSON-able ``meta`` as one safetensors file, atomically; its mark."""
    whole = {name: (a.dtype, a.shape, [a]) for name, a in sorted(arrays.items())}
    return stream_arrays(path, whole, meta)


def stream_arrays(
    path: Path,
    arrays: Mapping[str, tuple[Any, tuple[int, ...], Iterable[np.ndarray]]],
    meta: Any,
) -> str:
    """Write arrays given as ``(dtype, shape, blocks)`` without holding one whole; the file's mark.

    Wider numbers come first, so that each array starts on a multiple of its own width.
    """
    arrays = dict(sorted(arrays.items(), key=lambda entry: -np.dtype(entry[1][0]).itemsize))
    said = json.dumps({"version": FORMAT, **meta}, sort_keys=True)
    header: dict[str, Any] = {"__metadata__": {"conjoin": said, "data": _BLANK, "head": _BLANK}}
    end = 0
    for name, (dtype, shape, _) in arrays.items():
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        header[name] = {
            "dtype": _NAMES[np.dtype(dtype)],
            "shape": list(shape),
            "data_offsets": [end, end + size],
        }
        end += size
    blank = json.dumps(header).encode()
    padding = b" " * (-len(blank) % 64 + 56)  # data starts on a multiple of 64 bytes
    data = hashlib.sha256()
    with atomic(path) as file:
        file.write((len(blank) + len(padding)).to_bytes(8, "little"))
        file.write(blank + padding)
        for dtype, _, blocks in arrays.values():
            for block in blocks:
                held = np.ascontiguousarray(block, dtype=dtype)
                if held.size:
                    data.update(held.data)
                    file.write(held.data)
        if file.tell() != 8 + len(blank) + len(padding) + end:
            raise ValueError(f"{path.name}: {file.tell()} bytes written for {end} announced")
        header["__metadata__"]["data"] = data.hexdigest()[:32]
        mark = _sum(json.dumps(header).encode() + padding)
        header["__metadata__"]["head"] = mark
        file.seek(8)
        file.write(json.dumps(header).encode())
    return mark


def _header(path: Path) -> tuple[dict[str, Any], int, str | None]:
    """A safetensors file's header, the place of its data, and its mark if it has one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size - 8:
            raise ValueError("header")
        text = file.read(length)
    header = json.loads(text)
    mark = header.get("__metadata__", {}).get("head")
    if mark is not None:
        found = _HEAD.search(text)
        blank = b"" if found is None else (
            text[: found.start(1)] + _BLANK.encode() + text[found.end(1) :]
        )  # fmt: skip
        if _sum(blank) != mark:
            raise ValueError("mark")
    meta = json.loads(header.get("__metadata__", {}).get("conjoin", "{}"))
    check_version(path, meta.get("version", FORMAT))
    return header, 8 + length, mark


def mark_of(path: Path) -> str | None:
    """The mark a file carries; ``None`` where it was written before there were marks.

    Raises
    ------
    StateError : it is missing or torn.
    """
    try:
        return _header(path)[2]
    except FileNotFoundError:
        raise _missing(path) from None
    except StateError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _rotten(path) from None


def check_marks(folder: Path, marks: Mapping[str, str]) -> None:
    """Compare the headers of files with the marks their manifest keeps.

    Raises
    ------
    StateError : a file is missing, torn, or another than the manifest names.
    """
    for name, mark in marks.items():
        if mark_of(within(folder, name)) != mark:
            raise _other(folder / name)


def check_arrays(path: Path, mark: str | None = None) -> None:
    """Read a safetensors file whole, of whatever size, and compare it with its digest.

    Parameters
    ----------
    mark : what the file was when its manifest was written.

    Raises
    ------
    StateError : it is missing, torn, rotten, or another file than the manifest names.
    """
    map_arrays(path, mark, whole=True)


def map_arrays(
    path: Path, mark: str | None = None, *, whole: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays of a safetensors file as read-only memory maps, and its ``meta``.

    An array that does not start on a multiple of its numbers' width, as earlier versions wrote
    some, is copied: libraries take memory to be aligned.

    Parameters
    ----------
    mark : what the file was when its manifest was written.
    whole : compare data with their digest whatever their size; else up to :data:`WHOLE` bytes.

    Raises
    ------
    StateError : the file is torn, rotten, not safetensors, of a newer format, or another than
        its manifest names.
    """
    try:
        size = path.stat().st_size
        header, base, found = _header(path)
        said = header.pop("__metadata__", {})
        meta = json.loads(said.get("conjoin", "{}"))
        if mark is not None and found != mark:
            raise _other(path)
        data = np.memmap(path, dtype=np.uint8, mode="r") if size else np.empty(0, np.uint8)
        read = found is not None and (whole or size <= WHOLE)
        if read and hashlib.sha256(data[base:].data).hexdigest()[:32] != said["data"]:
            raise ValueError("data")
        arrays = {}
        for name, entry in header.items():
            start, stop = (base + offset for offset in entry["data_offsets"])
            if stop > size:
                raise ValueError("data")
            raw: np.ndarray = data[start:stop].view(_DTYPES[entry["dtype"]])
            raw = raw if raw.flags.aligned else raw.copy()
            arrays[name] = raw.reshape(entry["shape"])
    except FileNotFoundError:
        raise _missing(path) from None
    except StateError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _rotten(path) from None
    return arrays, meta


def _other(path: Path) -> StateError:
    return StateError(
        str(path), "is another file than the one its manifest names",
        "run: conjoin clean, then again",
    )  # fmt: skip


def _missing(path: Path) -> StateError:
    return StateError(str(path), "is missing", "run: conjoin clean, then again")


def _rotten(path: Path) -> StateError:
    return StateError(
        str(path), "is torn or not safetensors, or its bytes are not those that were written",
        "run: conjoin clean, then again",
    )  # fmt: skip


def pack_strings(values: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Strings as flat UTF-8 bytes and their ends."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([len(value) for value in encoded], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), ends


def unpack_strings(flat: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Strings back from :func:`pack_strings`."""
    if not len(ends):
        return np.empty(0, dtype="<U1")
    codes = np.frombuffer(flat.tobytes().decode().encode("utf-32-le"), dtype="<u4")
    # Ends count bytes; a character is a byte that continues none.
    begun = np.cumsum((np.asarray(flat) & 0xC0) != 0x80, dtype=np.int64)
    ends = np.concatenate([[0], begun])[np.asarray(ends)]
    widths = np.diff(ends, prepend=0)
    if (widths < 0).any() or ends[-1] != len(codes):
        raise ValueError("ends of strings do not rise to their length")
    text = np.zeros((len(ends), max(1, int(widths.max()))), dtype="<u4")
    text[np.arange(text.shape[1]) < widths[:, None]] = codes
    return text.view(f"<U{text.shape[1]}").reshape(-1)


def expanded(path: Path | str) -> Path:
    """A path with ``~`` as the user's folder; left as it is where there is no such user.

    >>> expanded("~nobody-of-that-name/x").name
    'x'
    """
    return Path(os.path.expanduser(path))
