"""Where the right answers stand when a gallery is sorted by score."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.metrics.retrieval.late_interaction import maxsim_scores
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.spaces import Rows, Tokens
from conjoin.spaces.stack import Stack

Dense = np.ndarray | Stack

#: Scores held at once, whatever the block asked for (128 MB of float32).
HELD = 2**25

#: Up to so many right answers a query are counted one by one; above, a sort is cheaper.
FEW = 4

#: Larger numbers are refused: products of two could overflow float32.
LARGE = 1e15


@dataclass(frozen=True, eq=False)
class Ranking:
    """Ranks of the relevant items: query ``i`` owns ``ranks[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    ranks : ``[Σ]`` ranks from 1, rising within a query.
    offsets : ``[q + 1]`` rising integers from 0.
    n_items : items in the gallery.
    """

    ranks: np.ndarray
    offsets: np.ndarray
    n_items: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def best(self) -> np.ndarray:
        """``[q]`` rank of each query's first right answer."""
        return self.ranks[self.offsets[:-1]]

    @property
    def counts(self) -> np.ndarray:
        """``[q]`` right answers of each query."""
        return np.diff(self.offsets)

    def of(self, query: int) -> np.ndarray:
        """The ranks of one query's right answers."""
        return self.ranks[self.offsets[query] : self.offsets[query + 1]]

    def hits(self, k: int) -> np.ndarray:
        """``[q]`` 1 where a right answer is among the first ``k``, else 0."""
        return (self.best <= k).astype(np.float64)

    def reciprocals(self) -> np.ndarray:
        """``[q]`` one over the best rank."""
        return 1 / self.best

    def gains(self, k: int) -> np.ndarray:
        """``[q]`` discounted gain among the first ``k``, over the best possible."""
        gain = np.where(self.ranks <= k, 1 / np.log2(self.ranks + 1), 0)
        ideal = np.cumsum(discounts(min(k, int(self.counts.max()))))
        best = ideal[np.minimum(self.counts, len(ideal)) - 1]
        return np.add.reduceat(gain, self.offsets[:-1]) / best

    def precisions(self) -> np.ndarray:
        """``[q]`` average precision over the right answers."""
        turn = 1 + np.arange(len(self.ranks)) - np.repeat(self.offsets[:-1], self.counts)
        return np.add.reduceat(turn / self.ranks, self.offsets[:-1]) / self.counts

    def recall(self, k: int) -> float:
        """Share of queries with a right answer among the first ``k``."""
        return float(self.hits(k).mean())

    def mrr(self) -> float:
        """Mean of one over the best rank."""
        return float(self.reciprocals().mean())

    def ndcg(self, k: int) -> float:
        """Mean discounted gain among the first ``k``, over the best possible."""
        return float(self.gains(k).mean())

    def map(self) -> float:
        """Mean average precision."""
        return float(self.precisions().mean())

    def median_rank(self) -> float:
        """Median of the best rank."""
        return float(np.median(self.best))


def discounts(k: int) -> np.ndarray:
    """Worth of each of the first ``k`` places: ``1 / log2(place + 1)``."""
    return 1 / np.log2(np.arange(2, k + 2))


@dataclass(frozen=True, eq=False)
class _Gallery:
    """Gallery vectors laid out so that blocks of scores fold into items by slices.

    Columns run slot by slot: the first row of every item, then the second row of those that have
    one, and so on, items with more rows first. Equal vectors are scored once and ``copies``
    spreads their score, since a matrix product may round equal columns differently, which would
    break ties by position.
    """

    vectors: np.ndarray
    copies: np.ndarray | None
    offset: np.ndarray | None
    slots: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, vectors: Dense, item_of: np.ndarray, offset: np.ndarray | None) -> "_Gallery":
        rows_of = np.bincount(item_of)
        place = np.empty(len(rows_of), dtype=np.int64)
        place[np.argsort(-rows_of, kind="stable")] = np.arange(len(rows_of))
        by_item = np.argsort(item_of, kind="stable")
        slot = np.empty(len(item_of), dtype=np.int64)
        slot[by_item] = np.arange(len(item_of)) - np.repeat(np.cumsum(rows_of) - rows_of, rows_of)
        order = np.lexsort((place[item_of], slot))
        laid = _floats(vectors, order, "gallery")
        _, first, copy_of = np.unique(_row_hash(laid), return_index=True, return_inverse=True)
        copies = copy_of if len(first) < len(laid) else None
        if copies is not None:
            laid = laid[first]
        slots = np.concatenate([[0], np.cumsum(np.bincount(slot))])
        return cls(laid, copies, None if offset is None else offset[order], slots, place)

    def scores(self, queries: np.ndarray, scale: float) -> np.ndarray:
        """``[b, n_items]`` scores, columns by ``place``."""
        scores = queries @ self.vectors.T
        if self.copies is not None:
            scores = scores[:, self.copies]
        if scale != 1:
            scores *= np.float32(scale)
        if self.offset is not None:
            scores -= self.offset
        items = scores[:, : self.slots[1]]
        for start, stop in zip(self.slots[1:], self.slots[2:], strict=False):
            best = items[:, : stop - start]
            np.maximum(best, scores[:, start:stop], out=best)
        return items


def rank_queries(
    query_vectors: Rows,
    gallery_vectors: Rows,
    relevance: Relevance,
    *,
    scale: float = 1.0,
    offset: np.ndarray | None = None,
    block: int = 512,
) -> Ranking:
    r"""Rank every right answer by ``score = scale · q·x − offset[x]``, an item by its best row.

    The rank of the :math:`j`-th best of a query's right answers, from :math:`j = 0`, is
    :math:`1 + j + G_j + \lceil E_j / 2 \rceil` with :math:`G_j` wrong items scored above it and
    :math:`E_j` scored exactly the same. A tie thus takes the middle rank: vectors that are all
    the same rank at chance, neither first nor last.

    Time is that of the matrix product and one pass over its result; memory is that of a block of
    scores, ``min(block · n, 2²⁵)`` floats, and one float32 copy of the gallery.

    Token sets on both sides are scored by ``maxsim_scores``, in blocks
    too; they take no correction.

    Parameters
    ----------
    query_vectors : ``[q, d]``, every row of the query space, also those without a right answer.
    gallery_vectors : ``[n, d]``.
    relevance : right answers, counted in rows of those two.
    scale : above 0.
    offset : ``[n]`` taken off each gallery row's score.
    block : queries scored at a time, at most.

    Raises
    ------
    ConjoinError : rows or widths disagree, or a number is not finite or beyond :data:`LARGE`.

    Examples
    --------
    >>> answers = Relevance(np.array([0]), np.array([0, 1]), np.array([1]), np.array([0, 1]))
    >>> int(rank_queries(np.array([[1.0, 0.0]]), np.eye(2), answers).best[0])
    2
    """
    if isinstance(query_vectors, Tokens) and isinstance(gallery_vectors, Tokens):
        return _rank_sets(query_vectors, gallery_vectors, relevance, offset, block)
    asked, shown = _dense(query_vectors), _dense(gallery_vectors)
    _check(asked, shown, relevance, scale)
    if offset is not None:
        offset = np.asarray(offset, dtype=np.float32)
        if offset.shape != relevance.item_of.shape or not np.isfinite(offset).all():
            raise ConjoinError(
                "offset", f"shape {offset.shape}, or not finite", "give one number a gallery row"
            )
    gallery = _Gallery.of(shown, relevance.item_of, offset)
    return _rank_by(
        lambda rows: gallery.scores(_floats(asked, rows, "query"), scale),
        relevance, gallery.place, block,
    )  # fmt: skip


def _rank_by(
    scores: Callable[[np.ndarray], np.ndarray],
    relevance: Relevance,
    place: np.ndarray,
    block: int,
) -> Ranking:
    """Ranks by ``[b, n_items]`` scores of some query rows; ``place`` is each item's column."""
    step = max(1, min(block, HELD // len(relevance.item_of)))
    ranks = np.empty(len(relevance.items), dtype=np.int64)
    for start in range(0, len(relevance), step):
        ends = relevance.offsets[start : start + step + 1]
        found = scores(relevance.queries[start : start + step])
        columns = place[relevance.items[ends[0] : ends[-1]]]
        ranks[ends[0] : ends[-1]] = _ranks(found, columns, ends - ends[0])
    return Ranking(ranks, relevance.offsets, relevance.n_items)


def _rank_sets(
    asked: Tokens, shown: Tokens, relevance: Relevance, offset: np.ndarray | None, block: int
) -> Ranking:
    _check_rows(asked, shown, relevance)
    if offset is not None:
        raise ConjoinError("offset", "given for token sets", "leave the correction out")
    for sets, where in ((asked, "query"), (shown, "gallery")):
        if not (np.abs(sets.vectors) < LARGE).all():
            raise ConjoinError(
                where, f"a token holds NaN or a number beyond {LARGE:g}", "check map and encoder"
            )
    order = np.argsort(relevance.item_of, kind="stable")
    starts = np.flatnonzero(np.diff(relevance.item_of[order], prepend=-1))
    gallery = shown.take(order)
    least = np.finfo(np.float32).min  # an item without tokens comes last, with others like it

    def scores(rows: np.ndarray) -> np.ndarray:
        found = np.maximum(maxsim_scores(asked.take(rows), gallery), least)
        return np.maximum.reduceat(found, starts, axis=1)

    return _rank_by(scores, relevance, np.arange(relevance.n_items), block)


def _ranks(scores: np.ndarray, columns: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Ranks of the entries ``columns`` of each row, rising; overwrites ``scores``."""
    counts = np.diff(ends)
    rows = np.repeat(np.arange(len(counts)), counts)
    own = scores[rows, columns]
    scores[rows, columns] = -np.inf
    own = own[np.lexsort((-own, rows))]
    above = np.empty(len(own), dtype=np.int64)
    level = np.empty(len(own), dtype=np.int64)
    few = counts <= FEW
    for slot in range(min(FEW, int(counts.max()))):
        asked = np.flatnonzero(few & (counts > slot))
        wrong = scores if len(asked) == len(scores) else scores[asked]
        mark = own[ends[asked] + slot, None]
        above[ends[asked] + slot] = np.count_nonzero(wrong > mark, axis=1)
        level[ends[asked] + slot] = np.count_nonzero(wrong == mark, axis=1)
    for row in np.flatnonzero(~few):
        wrong, span = np.sort(scores[row]), slice(ends[row], ends[row + 1])
        upto = np.searchsorted(wrong, own[span], side="right")
        above[span] = len(wrong) - upto
        level[span] = upto - np.searchsorted(wrong, own[span], side="left")
    turn = np.arange(len(own)) - np.repeat(ends[:-1], counts)
    return 1 + turn + above + (level + 1) // 2


def _floats(vectors: Dense, rows: np.ndarray, where: str) -> np.ndarray:
    """The rows asked for as finite float32, with −0 as 0."""
    out = np.asarray(vectors[rows], dtype=np.float32) + np.float32(0)
    sound = (np.abs(out) < LARGE).all(axis=1)
    if not sound.all():
        row = int(rows[np.flatnonzero(~sound)[0]])
        raise ConjoinError(
            where, f"vector {row} holds NaN or a number beyond {LARGE:g}", "check map and encoder"
        )
    return out


def _row_hash(vectors: np.ndarray, block: int = 4096) -> np.ndarray:
    """64 bits of each row's exact bytes: equal rows share them, others all but surely do not."""
    odd = np.random.default_rng(0).integers(1, 2**63, vectors.shape[1], dtype=np.uint64) * 2 + 1
    out = np.empty(len(vectors), dtype=np.uint64)
    for start in range(0, len(vectors), block):
        bits = np.ascontiguousarray(vectors[start : start + block]).view(np.uint32)
        mixed = (bits.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)) * odd
        out[start : start + block] = (mixed ^ (mixed >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
    return out


def _dense(vectors: Rows) -> Dense:
    if isinstance(vectors, Tokens):
        raise ConjoinError("vectors", "are token sets", "pool them: space.pooled()")
    return vectors


def _check(queries: Dense, gallery: Dense, relevance: Relevance, scale: float) -> None:
    if queries.shape[1] != gallery.shape[1]:
        raise ConjoinError(
            "vectors", f"{queries.shape[1]} against {gallery.shape[1]} dimensions",
            "map both into one frame",
        )  # fmt: skip
    _check_rows(queries, gallery, relevance)
    if not (np.isfinite(scale) and scale > 0):
        raise ConjoinError("scale", f"{scale}", "give a number above 0")


def _check_rows(queries: Rows, gallery: Rows, relevance: Relevance) -> None:
    for vectors, count, name in (
        (queries, len(relevance) + relevance.dropped, "query"),
        (gallery, len(relevance.item_of), "gallery"),
    ):
        if len(vectors) != count:
            raise ConjoinError(
                name, f"{len(vectors)} vectors for {count} rows of relevance",
                "build relevance from these very spaces",
            )  # fmt: skip
