"""``merge``: from folders or arrays to one folder or arrays, in blocks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.models.checkpoint import Arrays, Checkpoint, Tensors, narrow
from conjoin.models.merging.base import BLOCK, Models, TensorMerge, check_count
from conjoin.models.merging.check import check_alike, check_finite
from conjoin.models.merging.folder import copy_beside, folder_of
from conjoin.models.writer import SHARD, Writer
from conjoin.storage.digest import digest

Progress = Callable[[str, int, int], None]


def _silent(name: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Merged:
    """What a merge made.

    Parameters
    ----------
    folder : of the result.
    method : name and settings.
    bytes : of the tensors.
    copied : tensors that are no floating numbers, taken from the base as they are.
    resumed : tensors that an earlier, stopped run had written.
    notes : counts worth saying, such as ties at a threshold.
    """

    folder: Path
    method: Mapping[str, Any]
    bytes: int
    copied: int
    resumed: int
    notes: Mapping[str, int]

    @property
    def uri(self) -> str:
        """The encoder that opens it."""
        scheme = "st" if (self.folder / "modules.json").is_file() else "hf"
        return f"{scheme}:{self.folder}"


def made(method: str | TensorMerge, settings: Mapping[str, Any] | None = None) -> TensorMerge:
    """A method of merging tensors by name, or as it is.

    Raises
    ------
    ConjoinError : there is none of that name, or a setting is out of range.
    """
    if isinstance(method, TensorMerge):
        return method
    found: TensorMerge = catalogue.find("tensor-merge", method).make(settings)
    return found


def merge(
    base: Path | str,
    experts: Sequence[Path | str],
    method: str | TensorMerge,
    out: Path | str,
    *,
    data: Any = None,
    seed: int = 0,
    shard: int = SHARD,
    progress: Progress = _silent,
) -> Merged:
    """Merge the checkpoints of folders into a folder, tensor by tensor.

    Memory does not grow with the models. The result is whole or absent; stopped anywhere, the same
    call goes on. Its other files (tokenizer, pooling, configuration) are the base's.

    Parameters
    ----------
    base : folder, or an encoder's URI (``st:DIR``, ``hf:DIR``, ``builtin:text``) of the model that
        the experts were trained from.
    experts : folders or URIs of the same names and shapes.
    method : a name of ``conjoin methods --kind tensor-merge``, or one made with settings.
    out : folder of the result; must not exist or be empty.
    data : what methods that read activations were given; see ``prepare``.
    seed : decides random masks.
    shard : bytes of one file at most.
    progress : called with the tensor, how many are done, and of how many.

    Raises
    ------
    ConjoinError : models that do not fit together, numbers that are not finite, or a full disk.
    """
    folders = [folder_of(base), *map(folder_of, experts)]
    opened = [Checkpoint.open(folder) for folder in folders]
    try:
        engine = made(method)
        check_alike(opened[0], opened[1:])
        check_count(_name(method), engine, len(experts))
        models = Models(opened[0], opened[1:], seed)
        mark = digest([
            describe(engine), seed, shard, [one.hash for one in opened], digest(repr(data).encode())
        ])  # fmt: skip
        with Writer(Path(out), list(opened[0].entries.values()), mark=mark, shard=shard) as writer:
            found = _written(writer, models, engine, data, progress)
            copy_beside(folders[0], writer.partial)
    finally:
        for one in opened:
            one.close()
    return Merged(Path(out), describe(engine), opened[0].total, *found, engine.notes())


def _written(
    writer: Writer, models: Models, engine: TensorMerge, data: Any, progress: Progress
) -> tuple[int, int]:
    copied = resumed = 0
    known = _Late(lambda: engine.prepare(models, data))
    entries = list(models.base.entries.values())
    for done, entry in enumerate(entries):
        progress(entry.name, done, len(entries))
        copied += not entry.floating
        if writer.has(entry.name):
            resumed += 1
            continue
        if not entry.floating:
            assert isinstance(models.base, Checkpoint)
            writer.put(entry.name, models.base.raw(entry.name))
            continue
        blocks = merged_blocks(engine, models, entry.name, known())
        writer.put(entry.name, (narrow(b, entry.dtype).tobytes() for b in blocks))
    return copied, resumed


class _Late:
    """A value made when it is first asked for."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._found = make, list[Any]()

    def __call__(self) -> Any:
        if not self._found:
            self._found.append(self._make())
        return self._found[0]


def merged_blocks(
    engine: TensorMerge, models: Models, name: str, known: Any
) -> Iterator[np.ndarray]:
    """The result of one tensor, float64, in blocks.

    Raises
    ------
    ConjoinError : a model's tensor is not finite.
    """
    here = engine.look(models, name, known)
    parts = [models.part(name)] if engine.whole else models.parts(name)
    for part in parts:
        check_finite(part, models)
        yield engine.merge(part, here)


def merge_arrays(
    base: Mapping[str, np.ndarray],
    experts: Sequence[Mapping[str, np.ndarray]],
    method: str | TensorMerge,
    *,
    data: Any = None,
    seed: int = 0,
    block: int = BLOCK,
) -> dict[str, np.ndarray]:
    """The same of models held in memory, each a mapping from names to arrays.

    Examples
    --------
    >>> base, one = {"w": np.zeros(3)}, {"w": np.array([1.0, 2, 3])}
    >>> merge_arrays(base, [one, base], "average")["w"]
    array([0.5, 1. , 1.5])

    Raises
    ------
    ConjoinError : models that do not fit together, or numbers that are not finite.
    """
    held: list[Tensors] = [
        Arrays("base" if not place else f"expert {place}", model)
        for place, model in enumerate([base, *experts])
    ]
    engine = made(method)
    check_alike(held[0], held[1:])
    check_count(_name(method), engine, len(experts))
    models = Models(held[0], held[1:], seed, block)
    known = engine.prepare(models, data)
    found = {}
    for name, entry in held[0].entries.items():
        if not entry.floating:
            found[name] = np.asarray(base[name])
            continue
        flat = np.concatenate([*merged_blocks(engine, models, name, known), np.empty(0)])
        found[name] = narrow(flat, entry.dtype).reshape(entry.shape)
    return found


def describe(engine: TensorMerge) -> dict[str, Any]:
    """The engine's name and its settings."""
    assert is_dataclass(engine)
    own = {key: value for key, value in asdict(engine).items() if not key.startswith("_")}
    return {"engine": type(engine).__name__, **own}


def _name(method: str | TensorMerge) -> str:
    return method if isinstance(method, str) else type(method).__name__
