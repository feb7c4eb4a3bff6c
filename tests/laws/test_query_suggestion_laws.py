"""What every way of naming a cluster of hits keeps."""

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.retrieval.queries.suggestion import QuerySuggestion, suggest, words_in
from conjoin.spaces import unit

ROWS = of_kind("query-suggestion")
RNG = np.random.default_rng(0)
OWNER = np.repeat([0, 1], [6, 5])
X = unit(np.eye(3)[OWNER] + 0.05 * RNG.normal(size=(11, 3)))
TEXTS = [f"a thing, {('cat', 'car')[k]} {('fur', 'wheel')[k]}" for k in OWNER]
CATS = np.flatnonzero(OWNER == 0).tolist()


@pytest.fixture(params=sorted(ROWS))
def method(request):
    return ROWS[request.param].make()


def test_it_names_a_cluster_by_words_of_its_own_that_the_query_lacks(method):
    assert isinstance(method, QuerySuggestion)
    words = method.words("thing", CATS, X, TEXTS)
    assert {"cat", "fur"} <= set(words)
    assert not set(words) & words_in("thing")
    assert "car" not in words
    assert method.words("thing", CATS, X, TEXTS) == words


def test_the_order_of_other_hits_changes_nothing(method):
    order = np.concatenate([np.arange(6), RNG.permutation(np.arange(6, 11))])
    turned = [TEXTS[i] for i in order]
    assert method.words("thing", CATS, X[order], turned) == method.words("thing", CATS, X, TEXTS)


def test_hits_without_texts_give_no_words(method):
    assert method.words("thing", CATS, X, [""] * 11) == ()


def test_suggestions_are_made_by_it(method):
    ids = [f"i{at}" for at in range(11)]
    found = suggest("thing", ids, X, dict(zip(ids, TEXTS, strict=True)), method=method)
    assert [each.items for each in found] == [tuple(ids[:6]), tuple(ids[6:])]
    assert all(each.text.startswith("thing ") for each in found)
