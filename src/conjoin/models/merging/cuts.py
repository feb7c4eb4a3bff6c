"""The k largest of a stream of numbers, exactly, in bounded memory, with a rule for ties."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

#: Numbers sorted at once (8 MB of float64).
HELD = 2**20
#: Bits of a float64 that one pass looks at.
_BITS = 16

#: ``(start, values)`` blocks in order of storage; called once a pass.
Stream = Callable[[], Iterator[tuple[int, np.ndarray]]]


@dataclass(frozen=True)
class Cut:
    """What is kept: everything above a value, and at it the first in order of storage.

    Parameters
    ----------
    value : the k-th largest.
    last : place of the last number kept among those equal to ``value``.
    tied : numbers equal to ``value`` that were not all kept; 0 where nothing had to be decided.
    """

    value: float
    last: int
    tied: int = 0

    def keeps(self, values: np.ndarray, start: int) -> np.ndarray:
        """Which numbers of a block are kept."""
        kept = values > self.value
        if self.last >= start:
            equal = np.flatnonzero(values[: self.last - start + 1] == self.value)
            kept[equal] = True
        return kept


NOTHING = Cut(float("inf"), -1)


def largest(stream: Stream, count: int) -> Cut:
    """The ``count`` largest of non-negative numbers.

    Their bits rise as they do. A pass counts how many share their first bits; the group that holds
    the k-th is narrowed until it can be sorted. Memory does not grow with the stream.

    Parameters
    ----------
    stream : non-negative finite float64.
    count : how many are kept.

    Examples
    --------
    >>> cut = largest(lambda: iter([(0, np.array([1.0, 3, 2])), (3, np.array([2.0, 2]))]), 3)
    >>> cut
    Cut(value=2.0, last=3, tied=3)
    >>> cut.keeps(np.array([2.0, 2]), 3)
    array([ True, False])
    """
    if count <= 0:
        return NOTHING
    value, above, equal = _kth(stream, count)
    wanted = count - above
    if wanted >= equal:
        return Cut(value, np.iinfo(np.int64).max)
    for start, values in stream():
        places = np.flatnonzero(values == value)
        if len(places) >= wanted:
            return Cut(value, start + int(places[wanted - 1]), equal)
        wanted -= len(places)
    raise ValueError("the stream changed between two passes")


def _kth(stream: Stream, count: int) -> tuple[float, int, int]:
    """The k-th largest, how many are larger, and how many equal it."""
    prefix, shift, above = 0, 64, 0
    while True:
        inside = _inside(stream, prefix, shift)
        if inside is not None:
            inside.sort()
            value = float(inside[len(inside) - (count - above)])
            more = len(inside) - int(np.searchsorted(inside, value, "right"))
            equal = len(inside) - int(np.searchsorted(inside, value, "left")) - more
            return value, above + more, equal
        shift -= _BITS
        counts = np.zeros(1 << _BITS, np.int64)
        for _, values in stream():
            bits = values.view(np.uint64)
            if shift + _BITS < 64:
                bits = bits[(bits >> np.uint64(shift + _BITS)) == prefix]
            digits = (bits >> np.uint64(shift)) & np.uint64((1 << _BITS) - 1)
            found = np.bincount(digits.view(np.int64))
            counts[: len(found)] += found
        reached = above + np.cumsum(counts[::-1])
        place = int(np.searchsorted(reached, count))
        digit = len(counts) - 1 - place
        above = int(reached[place] - counts[digit])
        prefix = (prefix << _BITS) | digit
        if shift == 0:
            value = float(np.array(prefix, np.uint64).view(np.float64))
            return value, above, int(counts[digit])


def _inside(stream: Stream, prefix: int, shift: int) -> np.ndarray | None:
    """The numbers that begin with these bits, where they can be held; else ``None``."""
    found, held = [], 0
    for _, values in stream():
        bits = values.view(np.uint64)
        if shift < 64:
            values = values[(bits >> np.uint64(shift)) == prefix]
        held += len(values)
        if held > HELD:
            return None
        found.append(values)
    return np.concatenate(found) if found else np.empty(0)
