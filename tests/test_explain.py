"""Explanations add up, and the pairs they name are those that hold a hit up."""

from functools import cache

import numpy as np
import pytest

from conjoin.alignment.binding import Binding
from conjoin.claims.datasets.registry import open_bench
from conjoin.errors import ConjoinError
from conjoin.evaluation.benchmark import whole_setting
from conjoin.retrieval.hubness.csls import CSLS
from conjoin.retrieval.hubness.inverse_gc import InvGC
from conjoin.retrieval.hubness.query_bank import DualSoftmax, InvertedSoftmax
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.ranking.explain import (
    BY_INFLUENCE,
    BY_NEARNESS,
    Behind,
    explain,
    mixed_shares,
)
from conjoin.retrieval.ranking.modality_fair import MIXINGS, Mixing
from conjoin.spaces import Space
from conjoin.stats.bootstrap import interval


@cache
def setting():
    return whole_setting(open_bench("digits:left+right"))


@cache
def bound_of(method):
    spaces = setting().spaces
    binding = Binding.fit(spaces, setting().train, method=method, hub="left")
    return binding, {name: binding.bind(name, space) for name, space in spaces.items()}


@pytest.mark.parametrize(
    "rule", [None, CSLS(), InvertedSoftmax(), DualSoftmax(dynamic=True), InvGC()],
    ids=lambda r: "plain" if r is None else r.name,
)  # fmt: skip
def test_shares_sum_to_the_score(rule):
    binding, bound = bound_of("ridge")
    x, bank = (np.asarray(bound[name].vectors, np.float32) for name in ("right", "left"))
    fixes = {} if rule is None else {("left", "right"): rule.fit(x, bank[:300], x[:200])}
    index = Index.build(bound, fixes)
    query = setting().spaces["left"].take(np.array([5]))
    behind = Behind(binding, setting().spaces, setting().train)
    for hit in index.search(binding.bind("left", query), "left", into=["right"], k=3).best:
        found = explain(index, behind, query, "left", "right", hit.id)
        assert found.score == pytest.approx(hit.score, abs=1e-5)
        assert sum(share.value for share in found.shares) == pytest.approx(found.score, abs=1e-9)
        assert found.how == BY_INFLUENCE
        assert found.pairs[0].weight == 1.0


def test_shares_of_a_mixed_list_sum_to_its_score():
    index = Index.build(bound_of("ridge")[1])
    hits = index.search(bound_of("ridge")[1]["left"].take(np.array([5])), "left", k=8)
    for hit in hits.best:
        parts = mixed_shares(hits, Mixing(), hit.id, "left")
        assert sum(part.value for part in parts) == pytest.approx(hit.score)
    with pytest.raises(ConjoinError, match="not in the mixed list"):
        mixed_shares(hits, Mixing(), "nobody", "left")
    assert set(MIXINGS) >= {"rrf", "probability"}


@pytest.mark.parametrize("method", ["ridge", "cca"])
def test_deleting_the_pairs_named_lowers_the_score_more_than_random_ones(method):
    binding, bound = bound_of(method)
    behind = Behind(binding, setting().spaces, setting().train)
    index, gaps = Index.build(bound), []
    for row in setting().bed.rows["left"][:120:10]:
        query = setting().spaces["left"].take(np.array([row]))
        hit = index.search(binding.bind("left", query), "left", into=["right"], k=1).best[0]
        found = explain(index, behind, query, "left", "right", hit.id, count=10, refit=True)
        gaps.append(found.deleted.named - found.deleted.random)
    low, _ = interval(np.array(gaps), np.arange(len(gaps)))
    assert low > 0


def test_a_method_without_a_closed_form_says_so():
    class Still:
        def fit(self, views, pairs, *, frames={}, frozen={}, seed=0):  # noqa: B006
            from conjoin.maps.base import identity

            return {name: identity(view.shape[1]) for name, view in views.items()}

    same = {
        name: Space.of(
            np.asarray(setting().spaces["left"].vectors), setting().spaces["left"].ids, name=name
        )
        for name in ("left", "right")
    }
    binding = Binding.fit(same, setting().train, method=Still(), hub="left")
    behind = Behind(binding, same, setting().train)
    index = Index.build({name: binding.bind(name, space) for name, space in same.items()})
    query = same["left"].take(setting().train.column("left")[:1])
    found = explain(index, behind, query, "left", "right", str(query.ids[0]))
    assert found.how == BY_NEARNESS
    assert found.pairs[0].ids["left"] == str(query.ids[0])
    with pytest.raises(ConjoinError, match="no closed form"):
        explain(index, behind, query, "left", "right", str(query.ids[0]), refit=True)
