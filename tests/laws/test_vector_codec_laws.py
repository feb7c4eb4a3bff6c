"""What every way of storing a gallery keeps."""

from dataclasses import replace

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.retrieval.engines.exact import top_k
from conjoin.retrieval.engines.two_stage import Shelving
from conjoin.spaces import unit

ROWS = of_kind("vector-codec")
RNG = np.random.default_rng(0)
X, Q = (unit(RNG.normal(size=(n, 16)) * np.geomspace(1, 0.1, 16)).astype(np.float32)
        for n in (300, 12))  # fmt: skip


@pytest.fixture(params=sorted(ROWS))
def method(request):
    return ROWS[request.param].make()


def test_it_finds_distinct_rows(method):
    assert isinstance(method, Shelving)
    rows = method.find(Q, X, 10, cosine=True)
    assert rows.shape == (12, 10)
    assert rows.min() >= 0
    assert rows.max() < 300
    assert all(len(set(line)) == 10 for line in rows.tolist())


def test_every_row_a_candidate_is_the_exact_search(method):
    whole = replace(method, more=30)
    np.testing.assert_array_equal(whole.find(Q, X, 10, cosine=True), top_k(Q, X, 10)[1])


def test_queries_do_not_see_each_other(method):
    one = method.find(Q[3:4], X, 10, cosine=True)
    np.testing.assert_array_equal(one[0], method.find(Q, X, 10, cosine=True)[3])


def test_rows_permute(method):
    order = np.random.default_rng(1).permutation(300)
    found = order[method.find(Q, X[order], 10, cosine=True)]
    wanted = method.find(Q, X, 10, cosine=True)
    same = [len(np.intersect1d(a, b)) for a, b in zip(found, wanted, strict=True)]
    # A rotation and a step are fitted to a sample in its order: codes may differ in their last bit.
    assert np.mean(same) > 9.5


def test_a_gallery_smaller_than_k_is_found_whole(method):
    assert sorted(method.find(Q[:1], X[:4], 10, cosine=True)[0].tolist()) == [0, 1, 2, 3]
