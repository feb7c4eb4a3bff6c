"""Experts of one base kept as bits: a vector they share and a mask each, or a sign each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin import catalogue
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError, nearest
from conjoin.models.checkpoint import Checkpoint, Entry, narrow
from conjoin.models.merging.base import BLOCK, Models
from conjoin.models.merging.check import check_alike, check_finite, check_tokenizers
from conjoin.models.merging.folder import copy_beside, folder_of
from conjoin.models.writer import Writer
from conjoin.storage.digest import digest
from conjoin.storage.files import read_json, write_json

#: What a store says of itself.
CARD = "experts.json"


@runtime_checkable
class Packing(Protocol):
    """A frozen dataclass: one bit a number of an expert's change, and back.

    ``shared`` says whether the sum of all changes is kept, once for all experts.
    """

    shared: ClassVar[bool]
    arithmetic: ClassVar[int]

    def pack(self, delta: np.ndarray, total: np.ndarray) -> np.ndarray:
        """``[n]`` a bit for each number of a change.

        Parameters
        ----------
        delta : one expert's change, float64.
        total : the sum of all experts' changes.
        """
        ...

    def unpack(self, bits: np.ndarray, total: np.ndarray, scale: float) -> np.ndarray:
        """``[n]`` the change again; ``scale`` is the mean size of the tensor's changes."""
        ...


@dataclass(frozen=True)
class SharedVector:
    """``δ̂_i = m_i ⊙ Σ δ`` with ``m_i = 1{|δ_i| > λ |Σ δ − δ_i|}``: a bit says whether it is kept.

    At λ = 1 each bit is the one with the smaller error ``|δ_i − m Σ δ|``, up to ties.

    Parameters
    ----------
    strictness : λ.

    Examples
    --------
    >>> SharedVector().pack(np.array([1.0, 0.1]), np.array([1.5, 1.1]))
    array([ True, False])

    References
    ----------
    Wang et al. 2024 (wang2024tall).
    """

    strictness: Annotated[float, Search(0.0, 10.0)] = 1.0
    shared: ClassVar[bool] = True
    arithmetic: ClassVar[int] = 1

    def pack(self, delta: np.ndarray, total: np.ndarray) -> np.ndarray:
        """As :meth:`Packing.pack`."""
        return np.asarray(np.abs(delta) > self.strictness * np.abs(total - delta))

    def unpack(self, bits: np.ndarray, total: np.ndarray, scale: float) -> np.ndarray:
        """As :meth:`Packing.unpack`."""
        return np.where(bits, total, 0.0)


@dataclass(frozen=True)
class SignBits:
    """``δ̂ = α sign(δ)`` with ``α = mean |δ|`` of the tensor, the α of least squared error.

    Examples
    --------
    >>> SignBits().unpack(np.array([True, False]), np.zeros(2), 0.5)
    array([ 0.5, -0.5])

    References
    ----------
    Liu et al. 2024 (liu2024bitdelta), without its step that distils the scales, and with all
    tensors where the paper takes weight matrices alone.
    """

    shared: ClassVar[bool] = False
    arithmetic: ClassVar[int] = 1

    def pack(self, delta: np.ndarray, total: np.ndarray) -> np.ndarray:
        """As :meth:`Packing.pack`."""
        return np.asarray(delta > 0)

    def unpack(self, bits: np.ndarray, total: np.ndarray, scale: float) -> np.ndarray:
        """As :meth:`Packing.unpack`."""
        return np.where(bits, scale, -scale)


@dataclass(frozen=True)
class Stored:
    """A store of experts.

    Parameters
    ----------
    folder : of the store.
    base : folder of the model that the experts were trained from; it is not copied.
    names : of the experts.
    method : catalogue name.
    errors : by expert, ``‖δ̂ − δ‖ / ‖δ‖`` over all its numbers.
    bytes, before : of the store, and of the experts' own tensors.
    """

    folder: Path
    base: Path
    names: tuple[str, ...]
    method: str
    errors: Mapping[str, float]
    bytes: int
    before: int

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {**asdict(self), "folder": str(self.folder), "base": str(self.base)}


def store(
    base: Path | str, experts: Mapping[str, Path | str], out: Path | str,
    method: str = "shared-vector", settings: Mapping[str, Any] | None = None,
) -> Stored:  # fmt: skip
    """Keep experts as bits beside their base; what each loses is measured as it is written.

    Memory does not grow with the models. The base is named by its hash and stays where it is.

    Parameters
    ----------
    experts : by name, folders or URIs of the base's names and shapes.
    method : a row of kind ``expert-store``.

    Raises
    ------
    ConjoinError : models that do not fit together, the folder exists, or the disk is full.
    """
    engine: Packing = catalogue.find("expert-store", method).make(settings)
    folders = [folder_of(base), *map(folder_of, experts.values())]
    check_tokenizers(folders[0], folders[1:])
    opened = [Checkpoint.open(folder) for folder in folders]
    try:
        check_alike(opened[0], opened[1:])
        models = Models(opened[0], opened[1:])
        names = list(experts)
        mark = digest([method, asdict(engine), [one.hash for one in opened]])  # type: ignore[call-overload]
        with Writer(Path(out), _entries(models, names, engine), mark=mark) as writer:
            errors = _written(writer, models, names, engine)
            facts = {
                "base": str(folders[0].resolve()), "base_hash": opened[0].hash, "experts": names,
                "method": method, "settings": dict(settings or {}), "errors": errors,
                "before": opened[0].total * len(names),
            }  # fmt: skip
            write_json(writer.partial / CARD, facts)
    finally:
        for one in opened:
            one.close()
    return open_store(out)


def open_store(folder: Path | str) -> Stored:
    """A store that :func:`store` wrote.

    Raises
    ------
    ConjoinError : the folder is none.
    """
    where = Path(folder)
    if not (where / CARD).is_file():
        raise ConjoinError(str(folder), "is no store of experts", "make one: conjoin model store")
    said = read_json(where / CARD, ("base", "experts", "method"))
    size = sum(path.stat().st_size for path in where.glob("*.safetensors"))
    return Stored(
        where, Path(said["base"]), tuple(said["experts"]), said["method"], said["errors"], size,
        said["before"],
    )  # fmt: skip


def take(folder: Path | str, name: str, out: Path | str, base: Path | str | None = None) -> Path:
    """Write one expert of a store back as a folder that opens as an encoder.

    Parameters
    ----------
    base : where the base lies now, if it was moved.

    Raises
    ------
    ConjoinError : no such expert, or the base is another than the store was made with.
    """
    kept = open_store(folder)
    said = read_json(kept.folder / CARD)
    if name not in kept.names:
        raise ConjoinError(f"expert {name!r}", f"is not in {folder}", nearest(name, kept.names))
    source = kept.base if base is None else folder_of(base)
    engine: Packing = catalogue.find("expert-store", kept.method).make(said["settings"])
    with Checkpoint.open(source) as start, Checkpoint.open(kept.folder) as bits:
        if start.hash != said["base_hash"]:
            raise ConjoinError(str(source), "is not the base of this store", "name it: --base DIR")
        mark = digest([kept.method, said["base_hash"], bits.hash, name])
        with Writer(Path(out), list(start.entries.values()), mark=mark) as writer:
            for entry in start.entries.values():
                if writer.has(entry.name):
                    continue
                if not entry.floating:
                    writer.put(entry.name, start.raw(entry.name))
                    continue
                blocks = _unpacked(start, bits, entry, kept.names.index(name), engine)
                writer.put(entry.name, (narrow(b, entry.dtype).tobytes() for b in blocks))
            copy_beside(source, writer.partial)
    return Path(out)


def _entries(models: Models, names: Sequence[str], engine: Packing) -> list[Entry]:
    nowhere = Path()
    found = []
    for name in models.names:
        entry, size = models.base.entries[name], models.size(name)
        if engine.shared:
            found.append(Entry(f"shared/{name}", entry.dtype, (size,), nowhere, 0))
        for place in range(len(names)):
            found.append(Entry(f"bits/{place}/{name}", "U8", (-(-size // 8),), nowhere, 0))
            found.append(Entry(f"scale/{place}/{name}", "F32", (1,), nowhere, 0))
    return found


def _written(
    writer: Writer, models: Models, names: Sequence[str], engine: Packing
) -> dict[str, float]:  # fmt: skip
    """Write every tensor; the relative error of each expert."""
    lost, whole = np.zeros(len(names)), np.zeros(len(names))
    for name in models.names:
        scales = np.zeros(len(names))
        for part in _parts(models, name):
            check_finite(part, models)
            scales += [np.abs(delta).sum() for delta in part.deltas]
        scales = (scales / models.size(name)).astype(np.float32).astype(np.float64)
        dtype = models.base.entries[name].dtype
        if engine.shared:
            writer.put(
                f"shared/{name}", (narrow(p.total, dtype).tobytes() for p in _parts(models, name))
            )
        for place in range(len(names)):
            packed = []
            for part in _parts(models, name):
                delta, total = part.deltas[place], part.total
                bits = engine.pack(delta, total)
                back = engine.unpack(bits, total, float(scales[place]))
                lost[place] += float(((back - delta) ** 2).sum())
                whole[place] += float((delta**2).sum())
                packed.append(np.packbits(bits).tobytes())
            writer.put(f"bits/{place}/{name}", packed)
            writer.put(f"scale/{place}/{name}", [np.float32(scales[place]).tobytes()])
    error = np.sqrt(lost / np.maximum(whole, 1e-300))
    return {name: float(value) for name, value in zip(names, error, strict=True)}


def _parts(models: Models, name: str) -> Iterator[Any]:
    """Blocks of whole bytes of bits."""
    for start in range(0, models.size(name), BLOCK):
        yield models.part(name, start, min(models.size(name), start + BLOCK))


def _unpacked(
    base: Checkpoint, held: Checkpoint, entry: Entry, place: int, engine: Packing
) -> Iterator[np.ndarray]:
    scale = float(held.read(f"scale/{place}/{entry.name}")[0])
    packed = np.frombuffer(b"".join(held.raw(f"bits/{place}/{entry.name}")), np.uint8)
    for start in range(0, entry.size, BLOCK):
        stop = min(entry.size, start + BLOCK)
        bits = np.unpackbits(packed[start // 8 : -(-stop // 8)], count=stop - start).astype(bool)
        total = np.zeros(stop - start)
        if engine.shared:
            total = held.read(f"shared/{entry.name}", start, stop)
        yield base.read(entry.name, start, stop) + engine.unpack(bits, total, scale)
