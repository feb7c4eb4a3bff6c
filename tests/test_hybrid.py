"""Weights from judged queries, and whether mixing helps."""

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.retrieval.ranking.hybrid import (
    Fusion,
    Judged,
    _Table,
    cut,
    does_fusing_help,
    grid,
    place_of,
    tune,
)
from conjoin.retrieval.ranking.score_fusion import Combination, RankFusion, Scored

NAMES = ("dense", "bm25")


def planted(n=60, dense=0.4, words=0.4, both=False, seed=0, items=30):
    """Queries whose answer stands out in one list or the other."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"i{at:02d}" for at in range(items)])
    found = []
    for number in range(n):
        right = rng.integers(items)
        draw = rng.random()
        a, b = rng.uniform(-0.2, 0.4, items), rng.uniform(0, 2, items)
        if draw < dense or both:
            a[right] = 0.95
        if draw >= 1 - words:
            b[right] = 9.0
        lists = {"dense": Scored(ids, a, -1.0), "bm25": Scored(ids, b, 0.0)}
        found.append(Judged(lists, frozenset([str(ids[right])]), f"g{number // 2}"))
    return found


def test_a_place_is_the_middle_of_a_tie():
    found = Scored(np.array(list("abcd")), np.array([3.0, 2.0, 2.0, 1.0]))
    assert place_of(found, frozenset("a")) == 1
    assert place_of(found, frozenset("b")) == place_of(found, frozenset("c")) == 2.5
    assert place_of(found, frozenset("cd")) == 2.5
    assert place_of(found, frozenset("x")) == np.inf


def test_weights_go_to_the_list_that_answers():
    for judged, best in ((planted(dense=1.0, words=0.0), 0), (planted(dense=0.0, words=1.0), 1)):
        weights = tune(judged, Combination(), NAMES)
        assert weights[NAMES[best]] >= weights[NAMES[1 - best]]
        places = [place_of(Combination().mix(q.lists, weights), q.relevant) for q in judged]
        alone = [place_of(q.lists[NAMES[best]], q.relevant) for q in judged]
        assert np.mean(1 / np.array(places)) >= np.mean(1 / np.array(alone))
    assert tune(planted(), RankFusion(), NAMES) == {"dense": 0.5, "bm25": 0.5}


def test_eight_queries_are_enough_to_come_near():
    weights = tune(planted(8), Combination(), NAMES)
    held = planted(200, seed=9)
    mixed = [place_of(Combination().mix(q.lists, weights), q.relevant) <= 3 for q in held]
    alone = [place_of(q.lists["dense"], q.relevant) <= 3 for q in held]
    assert np.mean(mixed) > np.mean(alone) + 0.2


@pytest.mark.parametrize(
    "name", [n for n, row in of_kind("score-fusion").items() if row.make().tunable]
)
def test_tables_are_mixtures(name):
    mixer = of_kind("score-fusion")[name].make()
    for q in planted(10, seed=4):
        table = _Table.of(q, mixer, NAMES)
        for weights in grid(NAMES):
            shares = np.array([weights[n] for n in NAMES])
            assert table.place(shares) == place_of(mixer.mix(q.lists, weights), q.relevant)


def test_more_lists_are_tuned_one_after_the_other():
    made = []
    for q in planted(30):
        more = {f"noise{at}": q.lists["bm25"] for at in range(2)}
        made.append(Judged({**q.lists, **more}, q.relevant, q.group))
    weights = tune(made, Combination(), tuple(made[0].lists))
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["dense"] > 0.1


def test_complements_help_and_the_report_says_so():
    found = does_fusing_help(planted(120), "cc", source="planted")
    assert found.helps
    assert found.verdict.startswith("mixing helps")
    assert found.mixed > found.alone
    assert sum(found.only.values()) + found.both + found.neither == pytest.approx(1)
    assert Fusion.from_json(found.to_json()) == found
    assert found.make() == Combination()


def test_a_list_of_noise_does_not_help():
    found = does_fusing_help(planted(120, dense=1.0, words=0.0), "cc")
    assert not found.helps
    assert "stays" in found.verdict


def test_untuned_ranks_can_hurt_and_the_report_says_so():
    found = does_fusing_help(planted(200, dense=1.0, words=0.0, items=60), "borda")
    assert found.high < 0
    assert found.verdict.startswith("mixing hurts")


@pytest.mark.parametrize(
    ("judged", "said"),
    [(planted(3), "8 or more"), ([], "8 or more"),
     ([Judged(q.lists, frozenset(), q.group) for q in planted(9)], "no right answer"),
     ([Judged(q.lists, q.relevant, "one") for q in planted(9)], "one group"),
     ([*planted(8), Judged({"dense": planted(1)[0].lists["dense"]}, frozenset("x"), "g")],
      "differ")],
)  # fmt: skip
def test_bad_judgements_are_refused(judged, said):
    with pytest.raises(ConjoinError, match=said):
        does_fusing_help(judged, "cc")


def test_what_is_cut_off_scores_as_the_last():
    found = cut(Scored(np.array(list("abc")), np.array([3.0, 2.0, 1.0]), 0.0), 2)
    assert found.ids.tolist() == ["a", "b"]
    assert found.missing == 2.0
