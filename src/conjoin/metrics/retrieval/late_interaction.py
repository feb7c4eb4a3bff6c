"""Late interaction: two sets of tokens scored by each token's best match."""

from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.spaces import Tokens

#: Token-to-token products held at once (64 MB of float32).
HELD = 2**24


def maxsim_scores(queries: Tokens, gallery: Tokens, *, held: int = HELD) -> np.ndarray:
    """``[q, n]`` float32, the mean over a query's tokens of the best ``q·x`` in an item's tokens.

    ``score(q, x) = (1/|q|) Σ_s max_t q_s · x_t``; scores are not the same the other way round.
    A query without tokens scores 0 everywhere, an item without tokens −inf.

    Parameters
    ----------
    held : products held at a time, at most; never all of ``q · n · s · t``.

    Raises
    ------
    ConjoinError : the widths differ.

    References
    ----------
    Yao et al. 2022 (yao2022filip); with the sum instead of the mean, which ranks the same,
    Khattab & Zaharia 2020.

    Examples
    --------
    >>> q = Tokens(np.eye(2, dtype=np.float32), np.array([0, 2]))
    >>> x = Tokens(np.array([[1, 0], [0, 1], [1, 0]], np.float32), np.array([0, 2, 3]))
    >>> maxsim_scores(q, x).tolist()
    [[1.0, 0.5]]
    """
    if queries.dim != gallery.dim:
        raise ConjoinError(
            "tokens", f"{queries.dim} against {gallery.dim} dimensions", "map both into one frame"
        )
    out = np.empty((len(queries), len(gallery)), dtype=np.float32)
    q, x = (np.asarray(sets.vectors, dtype=np.float32) for sets in (queries, gallery))
    for top in _blocks(queries.offsets, int(np.sqrt(held))):
        asked = q[queries.offsets[top.start] : queries.offsets[top.stop]]
        room = max(1, held // max(1, len(asked)))
        for side in _blocks(gallery.offsets, room):
            shown = x[gallery.offsets[side.start] : gallery.offsets[side.stop]]
            best = _by_set(np.maximum, asked @ shown.T, gallery.offsets[side.start : side.stop + 1])
            out[top, side] = _mean_by_set(best, queries.offsets[top.start : top.stop + 1])
    return out


def _blocks(offsets: np.ndarray, most: int) -> list[slice]:
    """Runs of whole sets of at most ``most`` tokens each; a longer set is a run of its own."""
    found, start, n = [], 0, len(offsets) - 1
    while start < n:
        stop = int(np.searchsorted(offsets, offsets[start] + most, side="right")) - 1
        stop = min(max(stop, start + 1), n)
        found.append(slice(start, stop))
        start = stop
    return found


def _by_set(how: Any, products: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Columns folded set by set; an empty set gives −inf."""
    ends = offsets - offsets[0]
    full = np.diff(ends) > 0
    out = np.full((len(products), len(full)), -np.inf, dtype=np.float32)
    if full.any() and len(products):
        out[:, full] = how.reduceat(products, ends[:-1][full], axis=1)
    return out


def _mean_by_set(best: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    ends = offsets - offsets[0]
    counts = np.diff(ends)
    full = counts > 0
    out = np.zeros((len(counts), best.shape[1]), dtype=np.float32)
    if full.any():
        out[full] = np.add.reduceat(best, ends[:-1][full], axis=0) / counts[full, None]
    return out
