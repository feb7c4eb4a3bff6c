"""Other indexes that hold a modality's rows: opened by address, and searched as this one ranks."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.retrieval.index.export import Layout
from conjoin.retrieval.index.qdrant import Qdrant
from conjoin.spaces import Space, require_same


@runtime_checkable
class Remote(Protocol):
    """Another index that holds the rows of a layout."""

    def push(self, layout: Layout) -> int:
        """Make it hold exactly these rows; how many."""
        ...

    def nearest(self, layout: Layout, queries: np.ndarray, k: int) -> list[list[tuple[int, float]]]:
        """Row numbers and scores of widened queries, best first."""
        ...


#: What opens an address, by its scheme.
SCHEMES: Mapping[str, Callable[[str], Remote]] = {"qdrant": Qdrant.at}


def open_remote(to: str) -> Remote:
    """The index an address names: ``qdrant:PATH`` or ``qdrant:URL``.

    Raises
    ------
    ConjoinError : it names none that is known.
    """
    scheme, _, place = to.partition(":")
    if scheme not in SCHEMES or not place:
        known = " or ".join(f"{name}:{form}" for name in SCHEMES for form in ("PATH", "URL"))
        raise ConjoinError("--to", repr(to), f"give {known}")
    return SCHEMES[scheme](place)


def search_remote(
    remote: Remote, layout: Layout, queries: Space, source: str | None, *, k: int = 10
) -> list[list[tuple[str, float]]]:
    """Items and scores for each query, an item once by its best part, as the index ranks them."""
    require_same(queries.frame, layout.index.frame, "query")
    q = layout.index.frame.query(np.asarray(queries.vectors, dtype=np.float32))
    space = layout.index.spaces[layout.target]
    wide, want = layout.queries(q, source), k
    while True:
        found = remote.nearest(layout, wide, min(want, len(space)))
        lists = [_items(space, line, k) for line in found]
        if want >= len(space) or all(len(line) == k for line in lists):
            return lists
        want *= 2


def _items(space: Space, found: list[tuple[int, float]], k: int) -> list[tuple[str, float]]:
    best: dict[str, float] = {}
    for row, score in found:
        best.setdefault(str(space.ids[row]), score)
    return list(best.items())[:k]
