"""Checkpoints: the tensors of a saved model, read and written block by block, without torch.

Format: https://huggingface.co/docs/safetensors; a folder may hold one file, or shards and an
index that says which tensor lies in which.
"""

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.storage.files import expanded

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
#: Names of floating numbers in the format, and how many bytes one takes.
FLOATS: Mapping[str, int] = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
#: Every other name that is copied as it is.
OTHERS: Mapping[str, int] = {
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
#: A header longer than this is no header.
_HEADER = 100 * 2**20
_STEP = 2**20


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies.

    Parameters
    ----------
    name : in the model.
    dtype : the format's name of its numbers: F32, BF16, I64….
    shape : of the tensor.
    file : which holds it.
    start : of its first byte in the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int

    @property
    def size(self) -> int:
        """Numbers in it."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def width(self) -> int:
        """Bytes of a number."""
        return FLOATS.get(self.dtype) or OTHERS[self.dtype]

    @property
    def floating(self) -> bool:
        """Whether arithmetic on it makes sense."""
        return self.dtype in FLOATS


@runtime_checkable
class Tensors(Protocol):
    """Named tensors that can be read in blocks: of a folder, or held in memory."""

    @property
    def label(self) -> str:
        """What messages call them."""
        ...

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The tensors, in the order in which they are stored."""
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Numbers ``start`` to ``stop`` of a flattened floating tensor, as float64."""
        ...


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A folder of safetensors, opened by its headers alone.

    Parameters
    ----------
    folder : which holds it.
    entries : the tensors, in the order in which they are stored.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> from conjoin.models.writer import save
    >>> save(folder / "one", {"w": np.ones((2, 3), np.float32)})
    >>> found = Checkpoint.open(folder / "one")
    >>> found.entries["w"].shape, found.read("w", 0, 2)
    ((2, 3), array([1., 1.]))
    """

    folder: Path
    entries: Mapping[str, Entry]
    _files: dict[Path, int] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: Path) -> "Checkpoint":
        """Read the headers of a folder's files.

        Raises
        ------
        ConjoinError : nothing to read, a shard missing or cut, quantised tensors, an adapter.
        """
        folder = expanded(folder)
        entries: dict[str, Entry] = {}
        for path in _files_of(folder):
            for entry in _header(path):
                if entry.name in entries:
                    raise ConjoinError(
                        str(path), f"tensor {entry.name} is in {entries[entry.name].file.name} too",
                        "save the model again",
                    )  # fmt: skip
                entries[entry.name] = entry
        _refuse_quantised(folder, entries)
        if not entries:
            raise ConjoinError(str(folder), "its files hold no tensor", "save the model again")
        return cls(folder, entries)

    @property
    def label(self) -> str:
        """What messages call it."""
        return str(self.folder)

    @cached_property
    def total(self) -> int:
        """Bytes of all its tensors."""
        return sum(entry.size * entry.width for entry in self.entries.values())

    @cached_property
    def hash(self) -> str:
        """Digest of names, shapes and numbers, whatever files they lie in."""
        mark = hashlib.blake2b(digest_size=16)
        for name in sorted(self.entries):
            entry = self.entries[name]
            mark.update(f"{name} {entry.dtype} {entry.shape}\n".encode())
            for block in self.raw(name):
                mark.update(block)
        return mark.hexdigest()

    def raw(self, name: str, step: int = _STEP) -> Iterator[bytes]:
        """The bytes of a tensor, in blocks."""
        entry = self.entries[name]
        end = entry.start + entry.size * entry.width
        for at in range(entry.start, end, step):
            yield self._pread(entry, at, min(step, end - at))

    def read(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Numbers ``start`` to ``stop`` of a flattened floating tensor, as float64.

        Raises
        ------
        ConjoinError : the file was cut since it was opened.
        """
        entry = self.entries[name]
        stop = entry.size if stop is None else stop
        data = self._pread(entry, entry.start + start * entry.width, (stop - start) * entry.width)
        return widen(data, entry.dtype)

    def _pread(self, entry: Entry, at: int, size: int) -> bytes:
        if entry.file not in self._files:
            self._files[entry.file] = os.open(entry.file, os.O_RDONLY)
        parts, got = [], 0
        while got < size:
            part = os.pread(self._files[entry.file], size - got, at + got)
            if not part:
                raise ConjoinError(str(entry.file), "ends too early", "copy it here again")
            parts.append(part)
            got += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the files."""
        for handle in self._files.values():
            os.close(handle)
        self._files.clear()

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class Arrays:
    """Tensors held in memory, read as a checkpoint's are.

    Parameters
    ----------
    label : what messages call them.
    arrays : floating arrays by name.
    """

    label: str
    arrays: Mapping[str, np.ndarray]

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """The tensors, in the order in which they were given."""
        names = {np.dtype(np.float64): "F64", np.dtype(np.float32): "F32",
                 np.dtype(np.float16): "F16", np.dtype(np.int64): "I64"}  # fmt: skip
        found = {}
        for name, array in self.arrays.items():
            kind = np.asarray(array).dtype
            if kind not in names:
                raise ConjoinError(self.label, f"{name} is {kind}", "give float64, 32 or 16")
            found[name] = Entry(name, names[kind], np.shape(array), Path(), 0)
        return found

    def read(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Numbers ``start`` to ``stop`` of a flattened array, as float64."""
        return np.asarray(self.arrays[name]).reshape(-1)[start:stop].astype(np.float64)


def widen(data: bytes, dtype: str) -> np.ndarray:
    """Floating numbers as stored → float64, exactly.

    >>> widen(bytes([0, 0, 128, 63]), "F32"), widen(bytes([128, 63]), "BF16")
    (array([1.]), array([1.]))
    """
    if dtype == "BF16":
        wide = np.frombuffer(data, "<u2").astype("<u4")
        wide <<= 16
        return wide.view("<f4").astype(np.float64)
    kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]
    return np.frombuffer(data, kind).astype(np.float64)


def narrow(values: np.ndarray, dtype: str) -> np.ndarray:
    """float64 → numbers as stored, each rounded once to the nearest, ties to even.

    bfloat16 is the upper half of float32. Rounding to float32 first and then to its half would
    round twice; where the first rounding lands just between two halves, its direction decides.

    >>> narrow(np.array([1.0]), "BF16").tobytes().hex()
    '803f'
    """
    if dtype != "BF16":
        with np.errstate(over="ignore"):
            return values.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype])
    with np.errstate(over="ignore"):
        near = values.astype("<f4")
    bits = near.view("<u4").copy()
    between = np.flatnonzero((bits & 0xFFFF) == 0x8000)
    if between.size:
        first, exact = np.abs(near[between].astype(np.float64)), np.abs(values[between])
        bits[between[first > exact]] -= 1
        bits[between[first < exact]] += 1
    odd = (bits >> 16) & 1
    half = ((bits.astype("<u8") + 0x7FFF + odd) >> 16).astype("<u2")
    unknown = np.isnan(near)
    if unknown.any():
        half[unknown] = 0x7FC0
    return half


def _files_of(folder: Path) -> list[Path]:
    """The files of a folder's weights.

    Raises
    ------
    ConjoinError : there are none, or one that the index names is missing.
    """
    if not folder.is_dir():
        raise ConjoinError(str(folder), "there is no such folder", "check the path")
    if (folder / "adapter_config.json").is_file():
        raise ConjoinError(
            str(folder), "holds a LoRA adapter, not a whole model",
            "fold it into its base first: PeftModel.merge_and_unload, then save_pretrained",
        )  # fmt: skip
    index = folder / INDEX
    if index.is_file():
        try:
            names = json.loads(index.read_bytes())["weight_map"].values()
        except (ValueError, KeyError, AttributeError):
            raise ConjoinError(str(index), "is no index of shards", "copy it here again") from None
        held = list(names)
        for name in held:
            # A shard lies beside its index: a path that leads elsewhere is not followed.
            if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
                raise ConjoinError(
                    str(index), f"names a shard {str(name)[:60]!r}", "name files beside it alone"
                )
        paths = [folder / name for name in sorted(set(held))]
        lost = [path.name for path in paths if not path.is_file()]
        if lost:
            raise ConjoinError(str(folder), f"shard {lost[0]} is missing", "copy it here")
        return paths
    found = sorted(folder.glob("*.safetensors"))
    if (folder / WHOLE).is_file():
        return [folder / WHOLE]
    if not found:
        other = any(folder.glob("*.bin"))
        raise ConjoinError(
            str(folder), "holds pickled weights only" if other else "holds no safetensors",
            "save the model there as safetensors: save_pretrained(DIR)",
        )  # fmt: skip
    return found


def _header(path: Path) -> list[Entry]:
    size = path.stat().st_size
    cut = ConjoinError(str(path), "is cut or no safetensors file", "copy it here again")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _HEADER):
            raise cut
        text = file.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        found, spans, odd = list[Entry](), list[tuple[int, int]](), list[tuple[str, str]]()
        for name, one in header.items():
            start, stop = one["data_offsets"]
            if one["dtype"] not in FLOATS and one["dtype"] not in OTHERS:
                odd.append((name, one["dtype"]))
                continue
            entry = Entry(name, one["dtype"], tuple(one["shape"]), path, 8 + length + start)
            if stop - start != entry.size * entry.width or start < 0:
                raise cut
            found.append(entry)
            spans.append((start, stop))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise cut from None
    _refuse_types(path, odd)
    spans.sort()
    if any(one[1] > two[0] for one, two in itertools.pairwise(spans)):
        raise ConjoinError(str(path), "two tensors share bytes", "save the model again")
    if spans and 8 + length + spans[-1][1] > size:
        raise cut
    return sorted(found, key=lambda entry: entry.start)


def _refuse_types(path: Path, odd: Sequence[tuple[str, str]]) -> None:
    for name, dtype in odd[:1]:
        raise ConjoinError(
            str(path), f"tensor {name} is {dtype}, a quantised type",
            "give the weights in float32, float16 or bfloat16",
        )  # fmt: skip


def _refuse_quantised(folder: Path, entries: Mapping[str, Entry]) -> None:
    config = folder / "config.json"
    said: Any = None
    if config.is_file():
        try:
            said = json.loads(config.read_bytes()).get("quantization_config")
        except (ValueError, AttributeError):
            raise ConjoinError(str(config), "is not valid JSON", "copy it here again") from None
    if said:
        name = next(iter(entries), "")
        raise ConjoinError(
            str(folder), f"is quantised (quantization_config; first tensor {name})",
            "give the weights in float32, float16 or bfloat16",
        )  # fmt: skip


def in_order(names: Sequence[Entry]) -> list[Entry]:
    """Wider numbers first, so that each tensor starts on a multiple of its own width."""
    return sorted(names, key=lambda entry: -entry.width)
