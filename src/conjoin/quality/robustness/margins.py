"""How far a query's vector may move before another hit comes first."""

import numpy as np


def radii(queries: np.ndarray, gallery: np.ndarray, own: np.ndarray) -> np.ndarray:
    """``[n]`` smallest change of each query's vector that takes its partner from the first place.

    ``r_i = min_j (q_i · y_o − q_i · y_j) / ‖y_o − y_j‖`` over all rows j but the partner o: scores
    are linear in the query, so no change shorter than r_i can do it, and one of that length along
    ``y_j − y_o`` does. 0 where the partner is not first.

    Parameters
    ----------
    queries, gallery : ``[n, d]`` and ``[m, d]`` at unit length.
    own : ``[n]`` row of each query's partner.

    Examples
    --------
    >>> radii(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0])).round(3)
    array([0.707])

    References
    ----------
    Of linear classifiers: Hein and Andriushchenko 2017 (Formal Guarantees on the Robustness of a
    Classifier against Adversarial Manipulation).
    """
    out = np.empty(len(queries))
    for i, o in enumerate(own):
        apart = gallery[o] - gallery
        length = np.linalg.norm(apart, axis=1)
        other = length > 1e-9  # a gallery row with the partner's own vector is no other hit
        margin = (apart[other] @ queries[i]) / length[other]
        out[i] = max(0.0, float(margin.min())) if other.any() else np.inf
    return out
