"""A joint space as a flat picture."""

import numpy as np

#: Directions kept before neighbours are laid out.
KEPT = 50


def flat(rows: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Rows ``[n, d]`` as ``[n, 2]``, near where they are near: t-SNE on their principal directions.

    Distances between far groups mean little; who is beside whom does (van der Maaten and Hinton
    2008). Fewer than five rows, rows all alike and rows of one number are shown by their two
    leading directions.

    Examples
    --------
    >>> flat(np.eye(4)).shape
    (4, 2)
    """
    centred = rows - rows.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    leading = (u * s)[:, : min(KEPT, len(s))]
    if len(rows) < 5 or leading.shape[1] < 2 or s[0] <= 1e-9 * np.abs(rows).max(initial=1):
        placed = np.zeros((len(rows), 2))
        placed[:, : min(2, leading.shape[1])] = leading[:, :2]
        return placed
    from sklearn.manifold import TSNE

    near = min(30.0, (len(rows) - 1) / 3)
    made = TSNE(2, perplexity=near, init="pca", random_state=seed).fit_transform(leading)
    return np.asarray(made, dtype=np.float64)
