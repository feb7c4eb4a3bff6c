"""Samples as encoders take them: one channel of numbers in [-1, 1], however they were given."""

from typing import Any

import numpy as np

from conjoin.encoders.base import CellError
from conjoin.encoders.remarks import remark

#: Most channels of a sound; the other axis of an array is time.
CHANNELS = 64
#: Power of the mean of the channels, as a share of theirs, below which they cancel out.
_CANCELLED = 0.01
#: Peak below which a sound is silent: about three steps of sixteen bits.
_SILENT = 1e-4


def given(cell: Any) -> tuple[np.ndarray, int | None] | None:
    """Samples and rate of a cell that holds them: arrays, pairs, records; ``None`` of any other.

    A pair may be ``(samples, rate)`` as soundfile gives it or ``(rate, samples)`` as SciPy does; a
    record has ``array`` and ``sampling_rate``, as Hugging Face's data sets do.

    Raises
    ------
    CellError : the rate is none.
    """
    if isinstance(cell, dict) and "array" in cell:
        return _rated(cell["array"], cell.get("sampling_rate", cell.get("rate")))
    if isinstance(cell, tuple) and len(cell) == 2:
        first, second = cell
        return _rated(second, first) if np.ndim(first) == 0 else _rated(first, second)
    if hasattr(cell, "get_all_samples"):  # what data sets decode sounds to
        whole = cell.get_all_samples()
        return _rated(whole.data, whole.sample_rate)
    if isinstance(cell, np.ndarray) or hasattr(cell, "__array__"):
        return np.asarray(cell), None
    return None


def _rated(samples: Any, rate: Any) -> tuple[np.ndarray, int | None]:
    values = np.asarray(samples)
    if rate is None:
        return values, None
    try:
        hertz = int(rate)
    except (TypeError, ValueError, OverflowError):
        raise CellError(f"a sampling rate of {str(rate)[:40]}") from None
    if hertz <= 0:
        raise CellError(f"a sampling rate of {hertz} Hz")
    return values, hertz


def scaled(values: np.ndarray) -> np.ndarray:
    """Samples of any kind of number as float32, full scale at 1.

    Integers of 8 and 16 bits are of that scale; wider ones of the least of 16, 24 and 32 bits
    that holds them; unsigned ones lie about their middle. Floats beyond 1 are brought to 1.

    Raises
    ------
    CellError : they are no numbers.
    """
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            top = float(np.abs(values).max(initial=0)) if values.size else 0.0
        return (values / max(1.0, top) if np.isfinite(top) else values).astype(np.float32)
    if values.dtype.kind not in "iu":
        raise CellError(f"samples of type {values.dtype}")
    if values.dtype.kind == "u":
        middle = 2.0 ** (8 * min(values.dtype.itemsize, 4) - 1)
        return ((values.astype(np.float64) - middle) / middle).astype(np.float32)
    wide = values.astype(np.float64)
    if values.dtype.itemsize <= 2:
        return (wide / 2.0 ** (8 * values.dtype.itemsize - 1)).astype(np.float32)
    top = float(np.abs(wide).max(initial=0))
    bits = next((b for b in (15, 23, 31) if top <= 2.0**b), 63)
    return (wide / 2.0**bits).astype(np.float32)


def in_time(values: np.ndarray) -> np.ndarray:
    """``[n]`` or ``[n, channels]`` of ``[n]``, ``[n, channels]`` or ``[channels, n]``.

    The shorter axis is that of the channels.

    Raises
    ------
    CellError : there are more axes, or more channels than :data:`CHANNELS`.
    """
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]  # a batch of one
    if values.ndim not in (1, 2) or values.size == 0:
        found = "no samples" if values.size == 0 else f"an array of shape {values.shape}"
        raise CellError(f"empty: {found}" if values.size == 0 else f"{found} where [n] is a sound")
    if values.ndim == 2 and values.shape[0] < values.shape[1]:
        values = values.T
    if values.ndim == 2 and values.shape[1] > CHANNELS:
        raise CellError(f"{values.shape[1]} channels, more than {CHANNELS}")
    return values


def mono(samples: np.ndarray) -> np.ndarray:
    """The mean of the channels ``[n, c]``; the loudest one where they cancel each other out."""
    if samples.ndim == 1:
        return samples
    mean = samples.mean(axis=1)
    power = np.square(samples, dtype=np.float64).mean(axis=0)
    if float(np.square(mean, dtype=np.float64).mean()) < _CANCELLED * float(power.mean()):
        return samples[:, int(power.argmax())]
    return mean


def remark_silent(samples: np.ndarray) -> None:
    """Say so where nothing is to be heard."""
    if float(np.abs(samples).max(initial=0)) < _SILENT:
        remark("silent sounds")
