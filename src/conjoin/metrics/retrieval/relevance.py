"""Which gallery items are right answers to which queries."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.spaces import Pairs, Space

ABSENT = -1


@dataclass(frozen=True, eq=False)
class Relevance:
    """Right answers in compressed rows: query ``i`` owns ``items[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    queries : ``[q]`` rows of the query space that have a right answer, rising.
    offsets : ``[q + 1]`` rising integers from 0.
    items : ``[Σ]`` gallery items, rising within a query.
    item_of : ``[n]`` item of each gallery row, in ``[0, n_items)``; an item scores as its best row.
    dropped : queries left out because the gallery holds nothing relevant to them.
    """

    queries: np.ndarray
    offsets: np.ndarray
    items: np.ndarray
    item_of: np.ndarray
    dropped: int = 0

    def __post_init__(self) -> None:
        if len(self.queries) == 0:
            raise ConjoinError(
                "relevance",
                f"none of {self.dropped} queries has a right answer in the gallery",
                "check that ids or pairs agree",
            )
        if len(self.offsets) != len(self.queries) + 1 or self.counts.min() < 1:
            raise ConjoinError("relevance", "a query without an item", "leave it out of `queries`")
        if np.bincount(self.item_of).min() < 1 or self.items.max() >= self.n_items:
            raise ConjoinError(
                "relevance", "an item without a row", "number the items without gaps"
            )

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def n_items(self) -> int:
        """Items in the gallery."""
        return int(self.item_of.max()) + 1

    @property
    def counts(self) -> np.ndarray:
        """``[q]`` right answers of each query, at least 1."""
        return np.diff(self.offsets)

    def of(self, query: int) -> np.ndarray:
        """The items relevant to the ``query``-th kept query."""
        return self.items[self.offsets[query] : self.offsets[query + 1]]


def relevance(
    query: Space,
    gallery: Space,
    pairs: Pairs,
    query_name: str,
    gallery_name: str,
    *,
    query_rows: np.ndarray | None = None,
    gallery_rows: np.ndarray | None = None,
) -> Relevance:
    """Right answers by explicit pairs, many-to-many.

    A gallery row is relevant when a pair links it to the query, or to a query of equal content,
    or when its content equals that of such a row. The rows of one id are one item, and so are
    ids whose rows show the same set of contents (the same caption twice is one item). Ids that
    share only some of their contents stay apart, else a common keyword would chain a whole
    gallery into one item.

    Parameters
    ----------
    query, gallery : the spaces that the row numbers of ``pairs`` mean.
    query_name, gallery_name : their names in ``pairs``.
    query_rows, gallery_rows : evaluate these rows only; row numbers of the result then count
        within ``query.take(query_rows)`` and ``gallery.take(gallery_rows)``.

    Raises
    ------
    ConjoinError : a pair points outside a space, or no query has a right answer.
    """
    left, right, _ = pairs.between(query_name, gallery_name)
    query, left = _subset(query, query_rows, left, query_name)
    gallery, right = _subset(gallery, gallery_rows, right, gallery_name)
    inside = (left != ABSENT) & (right != ABSENT)
    return _build(query, gallery, _matrix(left[inside], right[inside], len(query), len(gallery)))


def relevance_by_id(query: Space, gallery: Space) -> Relevance:
    """Right answers of spaces that share item ids; contents count as in :func:`relevance`.

    Raises
    ------
    ConjoinError : no query's id is in the gallery.

    Examples
    --------
    >>> words = Space.of([[1.0, 0.0], [0.0, 1.0]], ["a", "b"], name="mine")
    >>> relevance_by_id(words, words.take(np.array([1]))).queries
    array([1])
    """
    labels, inverse = np.unique(np.concatenate([query.ids, gallery.ids]), return_inverse=True)
    left, right = inverse[: len(query)], inverse[len(query) :]
    owns = _matrix(np.arange(len(query)), left, len(query), len(labels))
    owned = _matrix(right, np.arange(len(gallery)), len(labels), len(gallery))
    return _build(query, gallery, owns @ owned)


def _subset(
    space: Space, rows: np.ndarray | None, linked: np.ndarray, name: str
) -> tuple[Space, np.ndarray]:
    """The rows asked for, and ``linked`` renumbered to them (absent where not among them)."""
    if len(linked) and linked.max() >= len(space):
        raise ConjoinError(
            f"pairs.{name}", f"row {linked.max()} of {len(space)}", "give the spaces paired"
        )
    if rows is None:
        return space, linked
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    place = np.full(len(space), ABSENT)
    place[rows] = np.arange(len(rows))
    return space.take(rows), place[linked]


def _matrix(rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> Any:
    """A sparse matrix of ones; repeated places add up, so read it as above zero or not."""
    from scipy.sparse import csr_array

    ones = np.ones(len(rows), dtype=np.int64)
    return csr_array((ones, (rows, columns)), shape=(height, width))


def _classes(space: Space) -> np.ndarray:
    """Number each row's content; a row of unknown content is alone."""
    keys = space.content.astype(np.uint64)
    _, inverse = np.unique(keys, return_inverse=True)
    alone = keys == 0
    inverse[alone] = inverse.max(initial=0) + 1 + np.arange(int(alone.sum()))
    return np.unique(inverse, return_inverse=True)[1]


def _items(space: Space, classes: np.ndarray) -> np.ndarray:
    """Number each row's item: its id, with ids of equal content sets as one."""
    _, owner = np.unique(space.ids, return_inverse=True)
    held = np.unique(np.stack([owner, classes], axis=1), axis=0)
    starts = np.flatnonzero(np.diff(held[:, 0], prepend=-1))
    sets = [part.tobytes() for part in np.split(held[:, 1], starts[1:])]
    first: dict[bytes, int] = {}
    number = np.array([first.setdefault(part, len(first)) for part in sets])
    return number[owner]


def _build(query: Space, gallery: Space, links: Any) -> Relevance:
    """Spread the linked rows over equal contents on both sides and gather them into items."""
    for space, role in ((query, "query"), (gallery, "gallery")):
        if len(space) == 0:
            raise ConjoinError(role, "has no rows", "check that ids or the split leave it some")
    asked, shown = _classes(query), _classes(gallery)
    item_of = _items(gallery, shown)
    n_asked, n_shown, n_items = (int(c.max()) + 1 for c in (asked, shown, item_of))
    same_query = _matrix(asked, np.arange(len(query)), n_asked, len(query))
    same_shown = _matrix(np.arange(len(gallery)), shown, len(gallery), n_shown)
    held_by = _matrix(shown, item_of, n_shown, n_items)
    held_by.data[:] = 1
    reach = same_query @ links @ same_shown
    reach.data[:] = 1
    found = (reach @ held_by)[asked]
    found.sort_indices()
    counts = np.diff(found.indptr)
    kept = np.flatnonzero(counts)
    return Relevance(
        kept,
        np.concatenate([[0], np.cumsum(counts[kept])]).astype(np.int64),
        found.indices.astype(np.int64),
        item_of,
        len(query) - len(kept),
    )
