"""CSLS from the paper's equation, one score at a time."""

import numpy as np
import pytest

from conjoin.retrieval.hubness.csls import CSLS


def cosine(a, b) -> float:
    return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))


def mean_of_nearest(x, others, k: int) -> float:
    """The paper's r: mean cosine to the k nearest of the other side."""
    return float(np.mean(sorted((cosine(x, other) for other in others), reverse=True)[:k]))


@pytest.mark.parametrize("k", [1, 3, 10, 200])
def test_scores_are_the_papers_less_what_all_rows_share(k):
    rng = np.random.default_rng(k)
    queries, bank, gallery = (rng.normal(size=(n, 6)) for n in (5, 40, 30))
    fitted = CSLS(k).fit(gallery, bank)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, gallery)]
    found = fitted.scale * unit[0] @ unit[1].T - fitted.offset.sum(axis=1)
    for q, row in zip(queries, found, strict=True):
        full = [
            2 * cosine(q, x) - mean_of_nearest(q, gallery, k) - mean_of_nearest(x, bank, k)
            for x in gallery
        ]
        shared = mean_of_nearest(q, gallery, k)
        np.testing.assert_allclose(row, np.array(full) + shared, atol=1e-6)
