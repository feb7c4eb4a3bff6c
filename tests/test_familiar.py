"""How familiar a query is, and what is said of one that is like none before."""

import numpy as np
import pytest

from conjoin.retrieval.calibration.calibration import Calibration, nothing_of
from conjoin.retrieval.calibration.out_of_distribution import NEAREST, familiarity, spread
from conjoin.retrieval.engines.exact import Penalty, best_rows, rescore
from conjoin.retrieval.hits import Hit
from conjoin.spaces.stack import Stack


def slow(q, bank, own):
    found = []
    for row, query in enumerate(q):
        likeness = []
        for place, other in enumerate(bank):
            both = query @ other / np.linalg.norm(query) / np.linalg.norm(other)
            likeness.append(-1.0 if own is not None and own[row, place] else both)
        found.append(np.mean(sorted(likeness)[-NEAREST:]))
    return np.array(found)


@pytest.mark.parametrize("left_out", [False, True])
def test_it_is_the_mean_cosine_of_the_nearest(left_out):
    rng = np.random.default_rng(0)
    q, bank = rng.normal(size=(9, 5)), 3 * rng.normal(size=(30, 5))
    own = rng.random((9, 30)) < 0.3 if left_out else None
    np.testing.assert_allclose(familiarity(q, bank, own), slow(q, bank, own), atol=1e-6)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    q, bank = rng.normal(size=(20, 4)), rng.normal(size=(40, 4))
    whole = familiarity(q, bank)
    monkeypatch.setattr("conjoin.retrieval.calibration.out_of_distribution.BLOCK", 3)
    np.testing.assert_allclose(familiarity(q, bank), whole, atol=1e-6)


def test_a_bank_is_thinned_evenly():
    assert spread(10, 20).tolist() == list(range(10))
    assert spread(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert len(spread(0, 5)) == 0


def calibration(**facts):
    return Calibration("f", "cosine", 100, "plain", {"beta": [0.0]}, 0.1, {"keep": 0.95, **facts})


def test_a_query_like_none_before_is_told_and_a_familiar_one_is_not():
    known = {"image": calibration(near=0.4, bank=50)}
    lists = {"image": (Hit("a", "image", 0, 0.9, 1, {}, probability=0.9),)}
    said = nothing_of(lists, known, {"image": 100}, 0.3)["image"]
    assert "like none this was fitted to" in said
    assert "97.5% of the queries" in said  # half of the false alarms each
    assert nothing_of(lists, known, {"image": 100}, 0.5) == {}
    assert nothing_of(lists, known, {"image": 100}, None) == {}
    assert nothing_of(lists, {"image": calibration()}, {"image": 100}, 0.0) == {}


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("gated", [None, False, True])
def test_many_candidates_are_scored_as_few_are(holes, stacked, gated):
    rng = np.random.default_rng(2)
    gallery = rng.normal(size=(900, 6)).astype(np.float32)
    q = rng.normal(size=(7, 6)).astype(np.float32)
    rows = np.stack([rng.permutation(900)[:400] for _ in q])
    gate = rng.random((7, 2)) if gated else None
    offset = None if gated is None else rng.normal(size=(900, 2 if gated else 1))
    penalty = Penalty.of(offset, gate)
    held = Stack([gallery[:300], gallery[300:]], np.arange(900)) if stacked else gallery
    wanted = rescore(q, gallery, rows, 10, penalty)
    if holes:
        rows = np.concatenate([rows, np.full((7, 20), -1)], axis=1)
    found = best_rows(q, held, rows, 10, penalty)
    np.testing.assert_array_equal(found[1], wanted[1])
    np.testing.assert_array_equal(found[0], wanted[0])


def test_fewer_candidates_than_wanted_leave_holes():
    gallery = np.eye(4, dtype=np.float32)
    scores, rows = best_rows(gallery[:1], gallery, np.array([[2, 0, -1, -1]]), 3, None)
    assert rows.tolist() == [[0, 2, -1]]
    assert scores[0, 2] == -np.inf
