"""What every aggregation of the catalogue keeps."""

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.retrieval.multi_vector.aggregate import MultiVector
from conjoin.spaces import Tokens, unit

ROWS = of_kind("multi-vector")
#: A first part speaks alone; a transformer with places reads a sequence.
ORDERED = ("first-part", "temporal-parts")
#: Scores of one part that are no cosine with it.
ITS_OWN = ("gaussians", "temporal-parts", "passage-parts")
each = pytest.mark.parametrize("name", sorted(ROWS))


def sets(counts, seed=0, d=6):
    rng = np.random.default_rng(seed)
    ends = np.concatenate([[0], np.cumsum(counts)])
    return Tokens(unit(rng.normal(size=(ends[-1], d))), ends)


def data(name):
    rng = np.random.default_rng(5)
    if ROWS[name].make().reads == "encoders":
        views = {"a": rng.normal(size=(9, 6)), "b": rng.normal(size=(9, 4))}
        return {k: v[:5] for k, v in views.items()}, views
    return sets([1] * 5, 1), sets([1, 3, 2, 4, 1, 2, 5, 1, 3])


def fitted(name):
    queries, items = data(name)
    first = items.take(np.arange(5)) if isinstance(items, Tokens) else {
        k: v[:5] for k, v in items.items()
    }  # fmt: skip
    quick = {"steps": 2} if ROWS[name].cost == "trained" else {}
    return ROWS[name].make(quick).fit(queries, first, seed=0), queries, items


def scores(method, queries, items):
    return method.scores(method.queries(queries), method.items(items))


@each
def test_it_is_an_aggregation(name):
    method, queries, items = fitted(name)
    assert isinstance(method, MultiVector)
    found = scores(method, queries, items)
    assert found.shape == (5, 9)
    assert np.isfinite(found).all()


@each
def test_items_permute(name):
    method, queries, items = fitted(name)
    order = np.random.default_rng(2).permutation(9)
    turned = items.take(order) if isinstance(items, Tokens) else {
        k: v[order] for k, v in items.items()
    }  # fmt: skip
    np.testing.assert_allclose(
        scores(method, queries, turned), scores(method, queries, items)[:, order], atol=1e-12
    )


@each
def test_scale_of_a_vector_changes_nothing(name):
    method, queries, items = fitted(name)
    if isinstance(items, Tokens):
        factor = np.random.default_rng(3).uniform(0.5, 4, len(items.vectors))[:, None]
        grown = Tokens(items.vectors * factor, items.offsets)
    else:
        grown = {k: v * (2.0 + at) for at, (k, v) in enumerate(items.items())}
    np.testing.assert_allclose(scores(method, queries, grown), scores(method, queries, items),
                               atol=1e-10)  # fmt: skip


@each
def test_the_order_of_parts_changes_nothing_unless_it_says_so(name):
    method, queries, items = fitted(name)
    if not isinstance(items, Tokens) or name in ORDERED:
        pytest.skip("no parts, or the first one only")
    order = np.concatenate([
        np.arange(a, b)[::-1] for a, b in zip(items.offsets[:-1], items.offsets[1:], strict=True)
    ])  # fmt: skip
    turned = Tokens(items.vectors[order], items.offsets)
    np.testing.assert_allclose(scores(method, queries, turned), scores(method, queries, items),
                               atol=1e-10)  # fmt: skip


@each
def test_one_part_is_its_cosine(name):
    if name in ITS_OWN:
        pytest.skip("its score of one part is no cosine")
    method, queries, items = fitted(name)
    if not isinstance(items, Tokens):
        items, queries = ({"a": x["a"]} for x in (items, queries))
        expected = unit(queries["a"]) @ unit(items["a"]).T
    else:
        items = sets([1] * 9)
        expected = queries.vectors @ items.vectors.T
    np.testing.assert_allclose(scores(method, queries, items), expected, atol=1e-12)


@each
def test_an_item_without_parts_is_refused(name):
    method, _, items = fitted(name)
    if not isinstance(items, Tokens):
        pytest.skip("reads encoders")
    with pytest.raises(ConjoinError, match="has none"):
        method.items(Tokens(items.vectors, np.concatenate([[0, 0], items.offsets[1:]])))
