"""Where a network computes, in which precision, and how many cells at a time."""

import copy
import gc
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from conjoin.encoders.probe import check_drift
from conjoin.errors import ConjoinError, FrameError, optional

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "fast")

#: Environment variable that decides for encoders whose ``device`` is ``auto``.
VARIABLE = "CONJOIN_DEVICE"
#: A batch grows to so many times the encoder's own size at most.
GROWTH = 32


def chosen(
    given: str, where: str, found: Callable[[], list[str]] | None = None, by: str = "torch"
) -> str:
    """The device an encoder is to run on: ``cpu``, ``cuda`` or ``mps``.

    ``auto`` is what :data:`VARIABLE` says, else the first of ``cuda`` and ``mps`` that is there,
    else ``cpu``.

    Parameters
    ----------
    found : which of them are there; those that torch finds when not given.
    by : the library that finds them, for the error.

    Raises
    ------
    ConjoinError : there is no such device on this machine, or no such name.
    """
    if given == "auto":
        given = os.environ.get(VARIABLE, "") or "auto"
    if given not in DEVICES:
        raise ConjoinError(f"{VARIABLE}", repr(given), f"give one of {', '.join(DEVICES)}")
    if given == "cpu":
        return given
    there = (_accelerators if found is None else found)()
    if given == "auto":
        return there[0] if there else "cpu"
    if given not in there:
        raise ConjoinError(f"{where} device", f"{by} finds no {given} here", "give auto or cpu")
    return given


def _accelerators() -> list[str]:
    torch = optional("torch", "train")
    found = ["cuda"] if torch.cuda.is_available() else []
    return [*found, "mps"] if torch.backends.mps.is_available() else found


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware, on which its speed rests."""
    torch = optional("torch", "train")
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe is not None and probe())


def placed(model: Any, device: str, precision: str, probe: Callable[[Any], np.ndarray]) -> Any:
    """The model where and as narrow as its vectors allow.

    Its probes are first embedded on the processor in float32, which is what its frame stands for.
    Then, in this order, bfloat16 on the device, float32 on the device, float32 on the processor:
    the first whose probes lie within the tolerance of :func:`~conjoin.encoders.probe.check_drift`
    is taken. So a frame does not depend on where it was made.

    Parameters
    ----------
    model : a torch module in float32 on the processor.
    precision : ``auto`` tries bfloat16 on accelerators alone, ``fast`` also on a processor that
        has it, ``float32`` nowhere.
    probe : a model → ``[n, d]`` vectors of its probes.
    """
    import torch

    narrow = precision == "fast" or (precision == "auto" and device != "cpu")
    if device == "cpu":
        narrow = narrow and has_bfloat16()
    if device == "cpu" and not narrow:
        return model
    wanted = probe(model)
    tries = [torch.bfloat16, torch.float32] if narrow else [torch.float32]
    for dtype in tries if device != "cpu" else tries[:1]:
        moved = copy.deepcopy(model).to(device=device, dtype=dtype)
        try:
            check_drift("device", wanted, probe(moved))
        except (FrameError, RuntimeError, NotImplementedError):
            # Moved too far, or an operation this device or precision does not have.
            continue
        return moved
    return model


def runtime_of(model: Any) -> str:
    """What computes, for provenance: ``torch cpu float32``."""
    one = next(model.parameters())
    return f"torch {one.device.type} {str(one.dtype).removeprefix('torch.')}"


def beside(model: Any, inputs: Any) -> dict[str, Any]:
    """Tensors where a model is, those of floats as precise as it is."""
    one = next(model.parameters())
    return {
        name: value.to(one.device, one.dtype if value.is_floating_point() else value.dtype)
        for name, value in inputs.items()
    }


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a batch did not fit into memory."""
    if isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in said or "can't allocate memory" in said or "failed to allocate" in said
    )


class BatchSize:
    """How many cells go through an encoder at a time, found while it runs.

    A batch that does not fit is halved, and no larger one is tried again. On an accelerator
    (``grows``) the size doubles after each batch that fits; on a processor larger batches gain
    nothing, and a fixed size gives the same bytes every time.

    Parameters
    ----------
    start : cells a batch at first.
    grows : whether larger batches are tried.

    Examples
    --------
    >>> size = BatchSize(8, grows=True)
    >>> size.fits(8), size.now
    (None, 16)
    >>> size.fails(16), size.now
    (None, 8)
    >>> size.fits(8), size.now
    (None, 8)
    """

    def __init__(self, start: int, *, grows: bool = False):
        self.now, self._most = start, start * GROWTH if grows else start

    def fits(self, count: int) -> None:
        """A batch of ``count`` went through."""
        if count >= self.now:
            self.now = min(2 * self.now, self._most)

    def fails(self, count: int) -> None:
        """A batch of ``count`` did not fit."""
        self.now = self._most = max(1, count // 2)


def free() -> None:
    """Give back what an accelerator keeps of a batch that failed."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
