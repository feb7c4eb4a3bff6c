"""Neighbours in a large space: rows are put into cells, and each looks into the cells near it."""

import numpy as np

from conjoin.metrics.similarity.mutual_knn import knn, nearest

#: Rows up to which all are held against all.
EXACT = 30_000
#: Cells a row looks into, rows a step, and rows and steps from which centres are found.
LOOKS, BLOCK, DRAWN, STEPS = 12, 4096, 20_000, 4


def neighbours(x: np.ndarray, k: int, *, seed: int = 0, exact: int = EXACT) -> np.ndarray:
    """About the k other rows nearest to each row, best first: ``[n, k]``.

    Up to ``exact`` rows they are the k nearest. Of more, rows lie in ``2 √n`` cells around
    centres that k-means finds in a sample, and each is held against the rows of the
    :data:`LOOKS` cells whose centres are nearest to it: time grows as ``n √n``. What lies very
    near lies in the same cells, so duplicates are not lost.

    Parameters
    ----------
    x : ``[n, d]`` rows of length 1.

    Examples
    --------
    >>> neighbours(np.array([[1.0, 0], [0.9, 0.1], [0, 1]]), 1).tolist()
    [[1], [0], [1]]
    """
    x = np.ascontiguousarray(x, dtype=np.float32)
    if len(x) <= exact:
        return knn(x, k)
    centres = _centres(x, int(2 * len(x) ** 0.5), seed)
    looks = min(LOOKS, len(centres))
    near = np.concatenate([
        _first(x[start : start + BLOCK] @ centres.T, looks) for start in range(0, len(x), BLOCK)
    ])  # fmt: skip
    best = np.full((len(x), k), -np.inf, dtype=np.float32)
    found = np.full((len(x), k), -1, dtype=np.int64)
    members = _by_cell(near[:, :1], len(centres))
    for mine, asking in zip(members, _by_cell(near, len(centres)), strict=True):
        for start in range(0, len(asking) if len(mine) else 0, BLOCK):
            rows = asking[start : start + BLOCK]
            scores = x[rows] @ x[mine].T
            scores[rows[:, None] == mine[None]] = -np.inf
            told = np.concatenate([best[rows], scores], axis=1)
            who = np.concatenate([found[rows], np.broadcast_to(mine, scores.shape)], axis=1)
            kept = np.argpartition(-told, k - 1, axis=1)[:, :k]
            best[rows] = np.take_along_axis(told, kept, axis=1)
            found[rows] = np.take_along_axis(who, kept, axis=1)
    found = np.where(np.isfinite(best), found, -1)
    order = np.lexsort((found, -best), axis=1)
    found = np.take_along_axis(found, order, axis=1)
    short = np.flatnonzero((found < 0).any(axis=1))
    if len(short):
        all_near = nearest(x[short], x, k + 1)
        for row, listed in zip(short.tolist(), all_near, strict=True):
            found[row] = listed[listed != row][:k]
    return found


def _centres(x: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Directions around which rows lie, by a few steps of k-means on a sample."""
    rng = np.random.default_rng([seed, 41])
    sample = x[np.sort(rng.permutation(len(x))[: max(DRAWN, 2 * count)])]
    centres = sample[rng.permutation(len(sample))[:count]]
    for _ in range(STEPS):
        cell = np.concatenate([
            (sample[start : start + BLOCK] @ centres.T).argmax(axis=1)
            for start in range(0, len(sample), BLOCK)
        ])  # fmt: skip
        sums = np.zeros_like(centres)
        np.add.at(sums, cell, sample)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(length > 1e-6, sums / np.maximum(length, 1e-6), centres)
    return np.asarray(centres)


def _first(scores: np.ndarray, count: int) -> np.ndarray:
    """The largest of each row, the largest first."""
    kept = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(scores, kept, axis=1), axis=1, kind="stable")
    return np.take_along_axis(kept, order, axis=1)


def _by_cell(cells: np.ndarray, count: int) -> list[np.ndarray]:
    """Of each cell the rows that name it."""
    rows = np.repeat(np.arange(len(cells)), cells.shape[1])
    order = np.argsort(cells.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(cells.ravel(), minlength=count))[:-1]
    return np.split(rows[order], ends)
