"""How familiar a query is: how near it lies to queries of its own modality."""

import numpy as np

from conjoin.spaces import unit

#: Nearest rows of the bank that are looked at.
NEAREST = 5
#: Rows of a bank at most.
MOST = 4096
#: Queries compared at once.
BLOCK = 512


def familiarity(q: np.ndarray, bank: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """``[q]`` mean cosine of each query to the nearest rows of a bank of its own modality.

    A query of another subject, of another language, or of none lies far from all of them, however
    well it may suit some item. Whether its answer is there, this cannot say.

    Parameters
    ----------
    q, bank : ``[q, d]`` and ``[m, d]``, of one frame.
    own : ``[q, m]`` bank rows that are the query's own item, left out.
    """
    return nearness(q, unit(np.asarray(bank, dtype=np.float32)), own)


def nearness(q: np.ndarray, rows: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """:func:`familiarity` with the rows of a bank at length 1 already, as a service keeps them."""
    found = np.empty(len(q))
    count = min(NEAREST, len(rows))
    for start in range(0, len(q), BLOCK):
        likeness = unit(np.asarray(q[start : start + BLOCK], dtype=np.float32)) @ rows.T
        if own is not None:
            likeness[own[start : start + BLOCK]] = -1.0
        best = np.partition(likeness, -count, axis=1)[:, -count:]
        found[start : start + BLOCK] = best.mean(axis=1)
    return found


def spread(count: int, most: int) -> np.ndarray:
    """So many row numbers of ``count`` as are wanted, evenly spread."""
    keep = min(count, most)
    return np.arange(keep) * count // max(1, keep)
