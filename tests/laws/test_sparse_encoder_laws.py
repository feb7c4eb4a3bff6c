"""What every method that weighs words keeps, and the inverted index they are searched by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.retrieval.sparse.sparse import Inverted, SparseEncoder, densified, sliced, words_of
from conjoin.spaces import Pairs, unit

ROWS = of_kind("sparse-encoder")
N, D, V = 60, 8, 30


def data(seed=0):
    rng = np.random.default_rng(seed)
    truth = unit(rng.normal(size=(N, D)))
    views = {k: unit(truth + 0.2 * rng.normal(size=(N, D))) for k in ("a", "b")}
    lines = np.arange(N)
    return views, Pairs(("a", "b"), np.stack([lines, lines], axis=1)), rng.normal(size=(V, D))


@pytest.fixture(scope="module", params=sorted(ROWS))
def fitted(request):
    fields = {"steps": 10, "keep": 8} if request.param == "lexical-head" else {"keep": 8}
    made = ROWS[request.param].make(fields)
    assert isinstance(made, SparseEncoder)
    return made, made.fit(*data(), seed=1)


def test_rows_are_sparse_none_negative_of_length_1(fitted):
    views, _, _ = data()
    found = fitted[1].weights("a", views["a"])
    assert sparse.issparse(found)
    assert found.shape == (N, V)
    assert found.data.min() >= 0
    assert np.diff(found.indptr).max() <= 8
    length = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
    np.testing.assert_allclose(length[length > 0], 1)


def test_rows_permute(fitted):
    views, _, _ = data()
    order = np.random.default_rng(0).permutation(N)
    np.testing.assert_allclose(
        fitted[1].weights("a", views["a"][order]).toarray(),
        fitted[1].weights("a", views["a"])[order].toarray(), atol=1e-12,
    )  # fmt: skip


def test_the_same_seed_gives_the_same(fitted):
    views, pairs, words = data()
    again = fitted[0].fit(views, pairs, words, seed=1)
    np.testing.assert_array_equal(
        again.weights("b", views["b"]).toarray(), fitted[1].weights("b", views["b"]).toarray()
    )


def test_partners_share_words(fitted):
    views, _, _ = data()
    a, b = (fitted[1].weights(k, views[k]).toarray() for k in ("a", "b"))
    scores = a @ b.T
    assert (scores.argmax(axis=1) == np.arange(N)).mean() > 0.3


def test_an_unknown_view_is_refused(fitted):
    with pytest.raises(ConjoinError, match="not fitted"):
        fitted[1].weights("c", data()[0]["a"])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.floats(0.0, 0.9))
def test_the_inverted_index_is_brute_force(seed, k, empty):
    rng = np.random.default_rng(seed)
    # Few distinct values, so that ties and zeros abound.
    gallery = rng.integers(0, 3, (25, 12)) * (rng.random((25, 12)) > empty)
    queries = rng.integers(0, 3, (4, 12)) * (rng.random((4, 12)) > empty)
    scores, rows = Inverted.build(sparse.csr_matrix(gallery)).top_k(sparse.csr_matrix(queries), k)
    every = queries @ gallery.T
    order = np.argsort(-every, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(scores, np.take_along_axis(every, order, axis=1))


def test_shares_of_words_sum_to_the_score():
    rng = np.random.default_rng(0)
    gallery, query = (sparse.random(n, 9, 0.6, "csr", rng=rng) for n in (7, 1))
    index = Inverted.build(gallery, [f"w{at}" for at in range(9)])
    scores, rows = index.top_k(query, 3)
    for score, row in zip(scores[0], rows[0], strict=True):
        assert sum(index.explain(query, int(row)).values()) == pytest.approx(score)


@pytest.mark.parametrize("slices", [1, 3, 5, 12, 40])
def test_sliced_rows_score_as_densified_ones(slices):
    rng = np.random.default_rng(slices)
    a, b = (sparse.random(n, 12, 0.7, "csr", rng=rng) for n in (5, 6))
    (va, ia), (vb, ib) = densified(a, slices), densified(b, slices)
    gated = np.einsum("qm,nm,qnm->qn", va, vb, ia[:, None] == ib[None])
    np.testing.assert_allclose((sliced(a, slices) @ sliced(b, slices).T).toarray(), gated)
    if slices >= 12:
        np.testing.assert_allclose(gated, (a @ b.T).toarray())


@pytest.mark.parametrize(
    ("call", "said"),
    [(lambda: Inverted.build(sparse.csr_matrix([[-1.0]])), "negative"),
     (lambda: Inverted.build(sparse.csr_matrix([[1.0]]), ["a", "b"]), "2 for 1"),
     (lambda: Inverted.build(sparse.csr_matrix([[1.0]])).top_k(sparse.csr_matrix((1, 2)), 1),
      "vocabulary"),
     (lambda: sliced(sparse.csr_matrix([[1.0]]), 0), "1 or more")],
)  # fmt: skip
def test_bad_input_is_refused(call, said):
    with pytest.raises(ConjoinError, match=said):
        call()


def test_a_vocabulary_is_what_stands_twice():
    assert words_of(["red apple", "a red car,", "Apple pie!"]) == ["apple", "red"]
