"""What every mixer of the catalogue keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.retrieval.ranking.score_fusion import Scored, ScoreFusion

ROWS = of_kind("score-fusion")
each = pytest.mark.parametrize("name", sorted(ROWS))


def scored(ids, scores, low=None):
    return Scored(np.array(ids, dtype=str), np.array(scores, dtype=float), low)


def lists_of(seed, names=("dense", "bm25", "third"), items=12):
    """Lists over overlapping items; scores with ties."""
    rng = np.random.default_rng(seed)
    found = {}
    for name in names:
        chosen = rng.permutation(items)[: rng.integers(1, items + 1)]
        scores = rng.integers(0, 6, len(chosen)) / 5
        found[name] = scored(
            [f"i{at:02d}" for at in chosen], scores, low=-1.0 if name == "dense" else 0.0
        )
    return found


def as_dict(found):
    return dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True))


@each
def test_it_is_a_mixer(name):
    assert isinstance(ROWS[name].make(), ScoreFusion)


@each
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_rows_and_lists_changes_nothing(name, seed):
    if name == "lexical-alone":
        return
    lists = lists_of(seed)
    rng = np.random.default_rng(seed)
    turned = {}
    for key in reversed(lists):
        order = rng.permutation(len(lists[key]))
        one = lists[key]
        turned[key] = scored(one.ids[order], one.scores[order], one.low)
    mixer = ROWS[name].make()
    a, b = mixer.mix(lists), mixer.mix(turned)
    assert as_dict(a) == pytest.approx(as_dict(b), abs=1e-12)


@each
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_a_list_of_weight_0_changes_nothing(name, seed):
    lists = lists_of(seed)
    mixer = ROWS[name].make()
    two = {key: lists[key] for key in ("dense", "bm25")}
    weights = {"dense": 0.3, "bm25": 0.7}
    a = mixer.mix(lists, {**weights, "third": 0.0})
    b = mixer.mix(two, weights)
    assert a.ids.tolist() == b.ids.tolist()
    np.testing.assert_array_equal(a.scores, b.scores)


@each
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_one_list_keeps_its_order(name, seed):
    one = {"bm25": lists_of(seed)["bm25"]}
    assert ROWS[name].make().mix(one).ids.tolist() == one["bm25"].ordered().ids.tolist()


@each
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_what_is_no_worse_anywhere_is_no_worse_mixed(name, seed, share):
    lists = {key: value for key, value in lists_of(seed).items() if key != "third"}
    mixed = as_dict(ROWS[name].make().mix(lists, {"dense": share, "bm25": 1 - share}))
    held = {key: as_dict(value) for key, value in lists.items()}
    for a in mixed:
        for b in mixed:
            # An item that is not listed stands no higher than the last that is.
            own = [held[k].get(a, -np.inf) >= held[k].get(b, -np.inf) for k in held]
            if all(own):
                assert mixed[a] >= mixed[b] - 1e-12


@each
def test_weights_count_by_their_shares(name):
    lists = lists_of(3)
    a = ROWS[name].make().mix(lists, {"dense": 1.0, "bm25": 3.0, "third": 2.0})
    b = ROWS[name].make().mix(lists, {"dense": 0.5, "bm25": 1.5, "third": 1.0})
    np.testing.assert_allclose(a.scores, b.scores)
    assert a.ids.tolist() == b.ids.tolist()


@each
@pytest.mark.parametrize(
    ("weights", "said"),
    [({"nope": 1.0}, "is no list"), ({"dense": -1.0}, "0 or more"), ({"dense": 0.0}, "all are 0"),
     ({"dense": float("nan")}, "0 or more")],
)  # fmt: skip
def test_bad_weights_are_refused(name, weights, said):
    with pytest.raises(ConjoinError, match=said):
        ROWS[name].make().mix(lists_of(0), weights)


@each
def test_an_empty_list_adds_nothing(name):
    lists = {"bm25": scored(["a", "b"], [2.0, 1.0], 0.0), "dense": scored([], [], -1.0)}
    assert ROWS[name].make().mix(lists).ids.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("ids", "scores", "low", "said"),
    [(["a", "a"], [1, 2], None, "repeat"), (["a"], [np.nan], None, "NaN"),
     (["a"], [-2.0], -1.0, "above the score"), (["a", "b"], [1.0], None, "lengths")],
)  # fmt: skip
def test_a_bad_list_is_refused(ids, scores, low, said):
    with pytest.raises(ConjoinError, match=said):
        scored(ids, scores, low)
