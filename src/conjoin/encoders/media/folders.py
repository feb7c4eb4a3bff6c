"""Model folders: found by name or path, and known by what is in their files."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from conjoin.errors import ConjoinError, optional
from conjoin.storage.digest import digest
from conjoin.storage.files import expanded

#: Files of a model that decide its vectors, weights apart.
_PATTERNS = ("*.json", "*.txt", "*.model", "*/*.json", "*/*.txt", "*/*.model")
_WEIGHTS = ("*.safetensors", "*/*.safetensors")
_TORCH = ("pytorch_model*.bin", "*/pytorch_model*.bin")

#: Fields that writers stamp and nothing reads.
_STAMPS = frozenset(
    {"_name_or_path", "name_or_path", "transformers_version", "__version__", "dtype", "torch_dtype"}
)


def resolve(scheme: str, name: str) -> Path:
    """The folder of a model: a path as it is, else the hub's cached or downloaded copy.

    Raises
    ------
    ConjoinError : no such folder, and the hub does not have it or cannot be reached.
    """
    folder = expanded(name)
    if folder.is_dir():
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name:
        raise ConjoinError(f"{scheme}:{name}", "there is no such folder", "check the path")
    hub = optional("huggingface_hub", "text")
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    try:
        found = Path(_download(hub, name, [*_PATTERNS, *_WEIGHTS], offline))
        if not _files(found, _WEIGHTS):
            found = Path(_download(hub, name, list(_TORCH), offline))
    except Exception as error:
        # The hub's client raises a family of its own: network, permission, name, cache.
        raise ConjoinError(
            f"{scheme}:{name}",
            f"is neither a folder nor in the cache, and the hub gave {type(error).__name__}",
            f"check the name, or download it where there is a network and give {scheme}:FOLDER",
        ) from None
    return found


def _download(hub: Any, name: str, patterns: list[str], offline: bool) -> str:
    return str(
        hub.snapshot_download(
            name,
            allow_patterns=patterns,
            ignore_patterns=["onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*"],
            local_files_only=offline,
        )
    )


def _files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


def weights(folder: Path) -> tuple[list[Path], bool]:
    """Weight files of a model folder, and whether they are safetensors.

    Raises
    ------
    ConjoinError : there are none.
    """
    safe = _files(folder, _WEIGHTS)
    found = safe or _files(folder, _TORCH)
    if not found:
        raise ConjoinError(
            str(folder), "holds no weights", "save the model there as safetensors: save_pretrained"
        )
    return found, bool(safe)


def recipe(folder: Path) -> dict[str, str]:
    """What a model's vectors depend on: hash of its weights, and of the files beside them.

    Both are of contents alone, so a copy elsewhere has the same; version stamps are left out.
    """
    files, _ = weights(folder)
    beside = [path for path in _files(folder, _PATTERNS) if not path.name.endswith(".index.json")]
    return {
        "weights": digest([[str(path.relative_to(folder)), hash_file(path)] for path in files]),
        "files": digest([[str(path.relative_to(folder)), _contents(path)] for path in beside]),
    }


_LOADED: WeakValueDictionary[tuple[str, ...], Any] = WeakValueDictionary()


def shared(key: tuple[str, ...], load: Callable[[], Any]) -> Any:
    """What was loaded under a key and is still in use, else what ``load`` gives.

    The towers of one joint model are one network: it is read once and held once.
    """
    found = _LOADED.get(key)
    if found is None:
        found = _LOADED[key] = load()
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars off the terminal while a model loads."""
    bars = optional("transformers.utils.logging", "text")
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def hash_file(path: Path) -> str:
    """BLAKE2b of a file's bytes, read in blocks; once while size and time stand."""
    state = path.stat()
    return _hashed(path.resolve(), state.st_size, state.st_mtime_ns)


@cache
def _hashed(path: Path, size: int, stamp: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _contents(path: Path) -> str:
    if path.suffix != ".json":
        return hash_file(path)
    try:
        value = json.loads(path.read_bytes())
    except ValueError:
        return hash_file(path)
    if isinstance(value, dict):
        value = {key: kept for key, kept in value.items() if key not in _STAMPS}
    return digest(value)
