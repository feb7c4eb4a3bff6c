"""Torch modules as ONNX Runtime sessions, exported once and kept in the cache folder."""

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from conjoin.storage.digest import digest
from conjoin.storage.files import atomic

_PACKAGES = ("onnxruntime", "onnx", "onnxscript", "torch")


def available() -> bool:
    """Whether models can be exported and run by ONNX Runtime."""
    return all(find_spec(name) is not None for name in _PACKAGES)


def session(
    name: str,
    weights: str,
    cache: Path,
    build: Callable[[], tuple[Any, tuple[Any, ...]]],
    axes: Mapping[str, Sequence[str | None]],
) -> Any:
    """An ONNX Runtime session of a module.

    Parameters
    ----------
    name : what the file is called.
    weights : hash of the weights; with the versions of the exporters it keys the file.
    build : makes the torch module and example inputs; called only where no file is there.
    axes : for each input, the names of its dimensions that vary, ``None`` for fixed ones.
    """
    import onnxruntime

    path = cache / "onnx" / f"{name}-{digest([weights, _versions()])}.onnx"
    if path.exists():
        try:
            return _open(path)
        except Exception:
            path.unlink(missing_ok=True)  # torn by a full disk or an older writer: export again
    _export(path, *build(), axes)
    del onnxruntime
    return _open(path)


def _versions() -> list[str]:
    from importlib.metadata import version

    return [version(package) for package in ("torch", "onnxscript", "onnx")]


def _open(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def threads() -> int:
    """Threads a model may use: ``OMP_NUM_THREADS``, else the processors this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else len(os.sched_getaffinity(0))


def write_graph(
    path: Path, module: Any, example: tuple[Any, ...], axes: Mapping[str, Sequence[str | None]]
) -> None:
    """A torch module as an ONNX file, whole or not at all; parameters as of :func:`session`."""
    _export(path, module, example, axes)


def _export(
    path: Path, module: Any, example: tuple[Any, ...], axes: Mapping[str, Sequence[str | None]]
) -> None:
    import torch

    sizes = {name for names in axes.values() for name in names if name is not None}
    dims = {name: torch.export.Dim(name, min=1, max=1 << 16) for name in sorted(sizes)}
    shapes = tuple(
        {at: dims[name] for at, name in enumerate(names) if name is not None}
        for names in axes.values()
    )
    with _quiet(), torch.inference_mode(False), torch.no_grad():
        program = torch.onnx.export(
            module, example, dynamo=True, input_names=list(axes), output_names=["out"],
            dynamic_shapes=shapes, verbose=False, external_data=False,
        )  # fmt: skip
    with atomic(path) as file:
        file.write(program.model_proto.SerializeToString())


@contextmanager
def _quiet() -> Any:
    """The exporter warns of its own deprecated calls and of packages we do not use."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
