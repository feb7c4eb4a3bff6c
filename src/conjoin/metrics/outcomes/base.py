"""What every measure of results promises: named results in, measurements out."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin.errors import ConjoinError, nearest
from conjoin.metrics.measurement import Measurement

#: By condition, one finite number for each item, in one order of items.
Results = Mapping[str, np.ndarray | Sequence[float]]


@runtime_checkable
class OutcomeMetric(Protocol):
    """A frozen dataclass that reads results by condition."""

    #: Conditions by name that :data:`example` is made of; what the laws try it on.
    example: ClassVar[tuple[str, ...]]

    def __call__(self, results: Results) -> tuple[Measurement, ...]:
        """The measurements, without intervals."""
        ...


def checked(
    name: str, results: Results, wanted: tuple[str, ...] = (), *, span: tuple[float, float] = (0, 1)
) -> dict[str, np.ndarray]:
    """Results as finite float64 ``[n]`` within a span, the wanted conditions among them.

    Raises
    ------
    ConjoinError : a condition is missing, empty, of another length, not finite or out of span.
    """
    for each in wanted:
        if each not in results:
            raise ConjoinError(f"{name}: condition {each!r}", "is missing", nearest(each, results))
    found = {key: np.asarray(value, dtype=np.float64) for key, value in results.items()}
    if not found:
        raise ConjoinError(name, "no results", "give an array by condition")
    sizes = {key: value.shape for key, value in found.items()}
    if len(set(sizes.values())) > 1 or any(v.ndim != 1 or not len(v) for v in found.values()):
        raise ConjoinError(name, f"shapes {sizes}", "give one number an item, items alike")
    for key, value in found.items():
        if not np.isfinite(value).all() or value.min() < span[0] or value.max() > span[1]:
            raise ConjoinError(f"{name}: {key}", "is out of range or NaN", f"give {span} only")
    return found


def told(
    name: str, value: float, n: int, span: tuple[float, float], meaning: str, *, up: bool = True
) -> Measurement:
    """A measurement without an interval."""
    return Measurement(name, float(value), None, None, n, span, up, meaning)
