"""Negatives for trainers elsewhere: what looks like a partner and is none."""

import numpy as np

from conjoin.errors import ConjoinError

#: Queries scored at a time.
_STEP = 512


def hard_negatives(
    queries: np.ndarray, targets: np.ndarray, groups: np.ndarray, content: np.ndarray, *,
    anchors: np.ndarray | None = None, count: int = 5, margin: float = 0.05, relative: bool = True,
) -> np.ndarray:  # fmt: skip
    """``[n, count]`` of each pair i the rows j most like it that may be contrasted; -1 past them.

    Row j may be a negative of i where it is of another group and another anchor, does not show what
    i's partner shows, and ``s_ij ≤ (1 − margin) s_ii`` (``relative``) or ``s_ij ≤ s_ii − margin``:
    what scores nearly as high as the partner is likely one that nobody wrote down.

    Parameters
    ----------
    queries, targets : ``[n, d]`` at unit length; row i of both is a pair.
    groups : ``[n]`` labels of the pairs.
    content : ``[n]`` hash of what each target shows; equal hashes show the same thing.
    anchors : ``[n]`` number of each query; equal numbers are one query with several partners.
    margin : in [0, 1) of the partner's score, or a difference of cosines.

    Raises
    ------
    ConjoinError : shapes differ, or a setting is out of range.

    Examples
    --------
    >>> x = np.eye(3)
    >>> hard_negatives(x, x, np.arange(3), np.arange(3), count=1).ravel().tolist()
    [1, 0, 0]

    References
    ----------
    Moreira et al. 2024, NV-Retriever: a share of the positive's score as the ceiling; the
    absolute margin is that of GISTEmbed (Solatorio 2024).
    """
    n = len(queries)
    if queries.shape != targets.shape or len(groups) != n or len(content) != n:
        raise ConjoinError("queries", f"{queries.shape} and {targets.shape}", "give pairs of rows")
    if count < 1 or not 0 <= margin < 1:
        raise ConjoinError("count, margin", f"{count}, {margin}", "give 1 or more, and 0 to 1")
    _, owner = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    _, shows = np.unique(np.asarray(content), return_inverse=True)
    found = np.full((n, count), -1, np.int64)
    for start in range(0, n, _STEP):
        lines = np.arange(start, min(n, start + _STEP))
        scores = np.asarray(queries[lines], np.float32) @ np.asarray(targets, np.float32).T
        own = scores[np.arange(len(lines)), lines]
        ceiling = own * (1 - margin) if relative else own - margin
        barred = owner[lines, None] == owner[None]
        barred |= shows[lines, None] == shows[None]
        if anchors is not None:
            barred |= anchors[lines, None] == anchors[None]
        barred |= scores > ceiling[:, None]
        scores[barred] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        best = np.take_along_axis(scores, order, axis=1)
        found[lines, : order.shape[1]] = np.where(np.isfinite(best), order, -1)
    return found
