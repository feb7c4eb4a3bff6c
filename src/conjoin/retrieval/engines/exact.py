"""Exact top-k by inner product, in blocks, with memory that does not grow with the gallery.

A block of scores is cut into groups whose members lie a stride apart, so that the maximum of
every group is one sweep of the processor's widest instructions. Only groups whose maximum beats
a query's k-th best so far are opened. What is found is scored again in float64, so that every
backend and every block size ends in the same numbers.
"""

from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, nearest
from conjoin.metrics.retrieval.late_interaction import maxsim_scores
from conjoin.retrieval.engines.kernels import (
    FaissTiles,
    FloatScorer,
    Int8Scorer,
    Scorer,
    Tiles,
    have,
)
from conjoin.spaces import Tokens
from conjoin.spaces.stack import Stack

Gallery = np.ndarray | Stack | Tiles

BACKENDS = ("auto", "numpy", "int8", "faiss")

#: Queries scored together, and scores in a tile, by backend: a tile stays near the processor.
QUERY_TILE = {"numpy": 1024, "int8": 128, "faiss": 256}
TILE_SCORES = {"numpy": 1 << 19, "int8": 1 << 17, "faiss": 1 << 19}
#: Members of a group whose maximum is taken before any of them is looked at.
GROUP = 32
#: Finds wait until there are a PATIENCE-th as many as are kept: merging at every block costs
#: more than opening a few groups against a stale floor.
PATIENCE = 4
#: Scores of token sets held at once.
SET_SCORES = 1 << 24
#: Candidates kept beyond k, so that rounding cannot lose a neighbour.
SPARE = 8
#: Candidates that are summed in float64 without a look in float32 first.
AT_ONCE = 128
#: Numbers of candidates read at once.
PICKED = 1 << 24
#: Candidates kept for each of the k where scores are quantised, and at least how many.
RERANK, RERANK_LEAST = 3, 24
#: Queries after which half-precision codes have paid for themselves; int8 takes one a dimension.
WORTH_FAISS = 16
#: Rows below which auto never quantises.
SMALL = 50_000


def top_k(
    queries: np.ndarray,
    gallery: Gallery,
    k: int,
    *,
    scale: float = 1.0,
    offset: np.ndarray | None = None,
    gate: np.ndarray | None = None,
    block: int | None = None,
    backend: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """The k gallery rows of the largest ``scale · q·x_j − Σ_t gate_t offset[j, t]``.

    Parameters
    ----------
    queries : ``[q, d]``, as ``Frame.query`` gives them.
    gallery : ``[n, d]`` array, memory map or stack, as ``Frame.item`` gives it; never read whole.
        Wrapped in ``Tiles`` what faster backends derive is kept.
    k : hits a query; all n where k is larger.
    offset : ``[n]`` or ``[n, t]`` taken off each row's score.
    gate : ``[q, t]`` weight of each offset for each query; 1 when not given.
    block : gallery rows scored at a time; chosen when not given.
    backend : ``numpy`` ranks in float32; ``int8`` (torch) and ``faiss`` (half precision) find
        candidates and rank those exactly. ``auto`` quantises only large galleries given as
        ``Tiles``, once enough queries came that deriving pays.

    Returns
    -------
    scores : ``[q, min(k, n)]`` float32, falling.
    rows : ``[q, min(k, n)]`` int64; equal scores in the order of their row numbers.

    Raises
    ------
    ConjoinError : shapes disagree, k is below 1, or the backend is unknown.

    Examples
    --------
    >>> scores, rows = top_k(np.eye(2), np.array([[1.0, 0], [0, 1], [1, 1]]), 2)
    >>> rows.tolist()
    [[0, 2], [1, 2]]
    """
    tiles = gallery if isinstance(gallery, Tiles) else Tiles(gallery)
    q = np.ascontiguousarray(queries, dtype=np.float32) * np.float32(scale)
    offset = None if offset is None else np.asarray(offset).reshape(len(offset), -1)
    _check(q, tiles.gallery, k, offset, gate)
    backend = _choose(backend, q, tiles, isinstance(gallery, Tiles), offset)
    k = min(k, len(tiles.gallery))
    scores = np.empty((len(q), k), dtype=np.float32)
    rows = np.empty((len(q), k), dtype=np.int64)
    for start in range(0, len(q), QUERY_TILE[backend]):
        part = slice(start, start + QUERY_TILE[backend])
        penalty = Penalty.of(offset, None if gate is None else gate[part])
        found = _candidates(q[part], tiles, k, penalty, block, backend)
        scores[part], rows[part] = rescore(q[part], tiles.gallery, found, k, penalty)
    return scores, rows


def top_sets(queries: Tokens, gallery: Tokens, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k token sets of the largest ``maxsim_scores``, exactly.

    Returns
    -------
    scores, rows : as :func:`top_k` gives them.
    """
    k = min(k, len(gallery))
    scores = np.empty((len(queries), k), dtype=np.float32)
    rows = np.empty((len(queries), k), dtype=np.int64)
    step = max(1, SET_SCORES // max(1, len(gallery)))
    for start in range(0, len(queries), step):
        part = np.arange(start, min(start + step, len(queries)))
        found = maxsim_scores(queries.take(part), gallery)
        rows[part] = np.argsort(-found, axis=1, kind="stable")[:, :k]
        scores[part] = np.take_along_axis(found, rows[part], axis=1)
    return scores, rows


class Penalty:
    """What is taken off each score: ``Σ_t gate[q, t] · offset[j, t]``."""

    def __init__(self, offset: np.ndarray, gate: np.ndarray | None):
        self.offset, self.gate = offset, gate

    @classmethod
    def of(cls, offset: np.ndarray | None, gate: np.ndarray | None) -> "Penalty | None":
        """``None`` where nothing is taken off."""
        return None if offset is None else cls(offset, gate)

    def block(self, rows: slice) -> np.ndarray:
        """For a range of rows, ``[rows, 1]`` or ``[rows, q]`` float32."""
        part = np.asarray(self.offset[rows], dtype=np.float32)
        if self.gate is None:
            return part.sum(axis=1, keepdims=True)
        return part @ np.asarray(self.gate, dtype=np.float32).T

    def at(self, rows: np.ndarray) -> np.ndarray:
        """For the rows ``[q, r]`` found for each query, float64."""
        part = np.asarray(self.offset[rows], dtype=np.float64)
        return part.sum(axis=2) if self.gate is None else np.einsum("qrt,qt->qr", part, self.gate)


def _check(
    q: np.ndarray, gallery: Any, k: int, offset: np.ndarray | None, gate: np.ndarray | None
) -> None:
    if q.ndim != 2 or len(gallery.shape) != 2 or q.shape[1] != gallery.shape[1]:
        raise ConjoinError(
            "queries", f"{q.shape} against a gallery {gallery.shape}", "give [q, d] and [n, d]"
        )
    if k < 1 or len(gallery) == 0:
        raise ConjoinError("k", f"{k} of {len(gallery)} rows", "give k and n of 1 or more")
    if not np.isfinite(q).all():
        raise ConjoinError("queries", "hold NaN or infinity", "drop those rows")
    if offset is not None and (len(offset) != len(gallery) or not np.isfinite(offset).all()):
        raise ConjoinError(
            "offset", f"{offset.shape} for {len(gallery)} rows", "give one finite value a row"
        )
    if gate is not None and (offset is None or gate.shape != (len(q), offset.shape[1])):
        raise ConjoinError("gate", f"shape {gate.shape}", "give [q, t] beside an offset [n, t]")


def _choose(
    backend: str, q: np.ndarray, tiles: Tiles, kept: bool, offset: np.ndarray | None
) -> str:
    if backend not in BACKENDS:
        raise ConjoinError("backend", repr(backend), nearest(backend, BACKENDS))
    if backend != "auto":
        return backend
    if not kept or len(tiles.gallery) < SMALL:
        return "numpy"
    tiles.asked += len(q)
    if len(q) == 1 and offset is None and have("faiss") and tiles.worth("faiss", WORTH_FAISS):
        return "faiss"
    if len(q) >= 8 and have("torch") and tiles.worth("int8", q.shape[1]):
        return "int8"
    return "numpy"


def _candidates(
    q: np.ndarray, tiles: Tiles, k: int, penalty: Penalty | None, block: int | None, backend: str
) -> np.ndarray:
    n = len(tiles.gallery)
    block = block or min(16384, max(1024, TILE_SCORES[backend] // len(q) // GROUP * GROUP))
    if backend == "numpy":
        return sweep(FloatScorer(q, tiles.gallery), len(q), n, min(k + SPARE, n), penalty, block)
    wide = min(max(RERANK * k, RERANK_LEAST), n)
    if backend == "int8":
        return sweep(Int8Scorer(q, tiles), len(q), n, wide, penalty, block)
    if penalty is not None:
        raise ConjoinError("backend", "faiss takes no offset", "leave backend to auto")
    return FaissTiles.of(tiles).search(q, wide)


def sweep(
    scorer: Scorer,
    count: int,
    n: int,
    keep: int,
    penalty: Penalty | None = None,
    block: int = 2048,
) -> np.ndarray:
    """Rows ``[count, keep]`` of the largest scores, walking the gallery once in order."""
    best, rows = np.empty((count, 0), np.float32), np.empty((count, 0), np.int64)
    waiting: list[Found] = []
    for start in range(0, n, block):
        stop = min(start + block, n)
        scores = scorer(start, stop)
        if penalty is not None:
            scores = scores * scorer.unit - penalty.block(slice(start, stop))
        if best.shape[1] < keep:
            waiting.append(_first(scores, min(keep, len(scores)), start))
        else:
            waiting.append(_above(scores, best[:, -1], start))
        ripe = PATIENCE * sum(len(who) for who, _, _ in waiting) > count * keep
        if ripe or best.shape[1] < keep:
            best, rows = _merge(best, rows, waiting, keep)
            waiting = []
    return _merge(best, rows, waiting, keep)[1]


Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def _first(scores: np.ndarray, keep: int, start: int) -> Found:
    """Entries of ``[rows, q]`` no smaller than each query's keep-th: query, row, score."""
    by_query = np.ascontiguousarray(scores.T)
    place = by_query.shape[1] - keep
    least = np.partition(by_query, place, axis=1)[:, place]
    who, where = np.nonzero(by_query >= least[:, None])
    return who, where + start, by_query[who, where]


def _above(scores: np.ndarray, floor: np.ndarray, start: int) -> Found:
    """Entries of ``[rows, q]`` above each query's floor: query, row, score."""
    whole = len(scores) // GROUP * GROUP
    stride = whole // GROUP
    groups = scores[:whole].reshape(GROUP, stride, scores.shape[1])
    who, where = np.nonzero((groups.max(axis=0) > floor).T) if whole else (_NONE, _NONE)
    inside = groups[:, where, who]
    member, at = np.nonzero(inside > floor[who])
    rest_row, rest_who = np.nonzero(scores[whole:] > floor)
    return (
        np.concatenate([who[at], rest_who]),
        np.concatenate([member * stride + where[at], rest_row + whole]) + start,
        np.concatenate([inside[member, at], scores[whole:][rest_row, rest_who]]),
    )


_NONE = np.empty(0, dtype=np.int64)


def _merge(
    best: np.ndarray, rows: np.ndarray, waiting: list[Found], keep: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best of what stood and what was found; ties keep the lower row."""
    if not any(len(who) for who, _, _ in waiting):
        return best, rows
    who, where, value = map(np.concatenate, zip(*waiting, strict=True))
    order = np.lexsort((where, who))
    who, where, value = who[order], where[order], value[order]
    counts = np.bincount(who, minlength=len(best))
    touched = np.flatnonzero(counts)
    slot = np.full(len(best), -1)
    slot[touched] = np.arange(len(touched))
    had = best.shape[1]
    place = had + np.arange(len(who)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = had + int(counts.max())
    pool = np.full((len(touched), width), -np.inf, dtype=np.float64)
    pool_rows = np.full((len(touched), width), -1, dtype=np.int64)
    pool[:, :had], pool_rows[:, :had] = best[touched], rows[touched]
    pool[slot[who], place], pool_rows[slot[who], place] = value, where
    order = np.argsort(-pool, axis=1, kind="stable")[:, :keep]
    top = np.take_along_axis(pool, order, axis=1)
    top_rows = np.take_along_axis(pool_rows, order, axis=1)
    if len(touched) == len(best):
        return top, top_rows
    best, rows = best.copy(), rows.copy()
    best[touched], rows[touched] = top, top_rows
    return best, rows


def rescore(
    q: np.ndarray, gallery: Any, rows: np.ndarray, k: int, penalty: Penalty | None
) -> tuple[np.ndarray, np.ndarray]:
    """Score the rows found ``[q, r]`` in float64 and keep the best k, ties by row number."""
    scores = scores_at(q, gallery, rows, penalty)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return _taken(scores, order), _taken(rows, order)


def scores_at(q: np.ndarray, gallery: Any, rows: np.ndarray, penalty: Penalty | None) -> np.ndarray:
    """Scores ``[q, r]`` of the rows found, summed in float64, as float32."""
    if isinstance(gallery, np.ndarray):
        picked = np.take(gallery, rows.ravel(), axis=0).astype(np.float64)
    else:
        distinct, back = np.unique(rows, return_inverse=True)
        picked = np.asarray(gallery[distinct], dtype=np.float64)[back.ravel()]
    picked = picked.reshape(*rows.shape, -1)
    scores = np.einsum("qrd,qd->qr", picked, q.astype(np.float64))
    if penalty is not None:
        scores -= penalty.at(rows)
    return scores.astype(np.float32)


def best_rows(
    q: np.ndarray, gallery: Any, rows: np.ndarray, k: int, penalty: Penalty | None
) -> tuple[np.ndarray, np.ndarray]:
    """The best k of candidates ``[q, r]``, −1 where there are fewer: :func:`rescore` of many.

    Float32 scores leave the first few beyond k; only those are summed in float64.
    """
    keep, lost = k + SPARE, rows < 0
    holes = bool(lost.any())
    at = np.where(lost, 0, rows) if holes else rows
    if rows.shape[1] > max(AT_ONCE, 2 * keep):
        rough = np.empty(rows.shape, dtype=np.float32)
        step = max(1, PICKED // (rows.shape[1] * q.shape[1]))
        for start in range(0, len(q), step):
            part = slice(start, start + step)
            flat = at[part].ravel()
            plain = isinstance(gallery, np.ndarray)
            held = np.take(gallery, flat, axis=0) if plain else gallery[flat]
            held = np.asarray(held, dtype=np.float32).reshape(*at[part].shape, -1)
            rough[part] = np.matmul(held, q[part, :, None])[:, :, 0]
        if penalty is not None:
            rough -= penalty.at(at)
        if holes:
            rough[lost] = -np.inf
        place = np.argpartition(rough, -keep, axis=1)[:, -keep:]
        at, lost = _taken(at, place), _taken(lost, place)
    scores = scores_at(q, gallery, at, penalty)
    if holes:
        scores[lost], at = -np.inf, np.where(lost, -1, at)
    order = np.lexsort((at, -scores), axis=1)[:, :k]
    return _taken(scores, order), _taken(at, order)


def _taken(x: np.ndarray, place: np.ndarray) -> np.ndarray:
    """``x[i, place[i, j]]``, at a fraction of what NumPy's own takes for a line."""
    return x[np.arange(len(x))[:, None], place]
