"""What every detector of mismatched pairs keeps."""

from dataclasses import replace

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.quality import cross_fit as module
from conjoin.quality.cross_fit import Crossed
from conjoin.quality.detectors import Detector
from conjoin.spaces import unit

ROWS = of_kind("detector")


@pytest.fixture(params=sorted(ROWS))
def method(request):
    return ROWS[request.param].make()


def lines(m: int = 120, noise: float = 0.3, seed: int = 0, folds: int = 3) -> Crossed:
    """Lines whose two cells are a hidden cause and noise; voters are true neighbours."""
    rng = np.random.default_rng(seed)
    cause = rng.standard_normal((m, 6))
    left, right, own, other = (
        unit(cause + noise * rng.standard_normal((m, 6))).astype(np.float32) for _ in range(4)
    )
    voters = []
    for cells in (own, other):
        scores = cells @ cells.T
        np.fill_diagonal(scores, -np.inf)
        voters.append(np.argsort(-scores, axis=1)[:, :8])
    return Crossed(left, right, np.arange(m) % folds, np.arange(m), own, other, *voters)


def test_it_is_a_detector(method):
    assert isinstance(method, Detector)


def test_wrong_pairs_are_told_from_right_ones(method):
    made = lines()
    asked = np.concatenate([made.given, made.planted(3)])
    found = method(made, asked)
    assert found.shape == asked.shape
    assert np.isfinite(found).all()
    right = np.sort(found[0])
    above = [(right < value).mean() for value in found[1:].ravel()]
    assert np.mean(above) > 0.85


def test_pairings_do_not_see_each_other(method):
    made = lines()
    asked = np.concatenate([made.given, made.planted(2)])
    whole = method(made, asked)
    for turn in range(3):
        np.testing.assert_allclose(method(made, asked[turn : turn + 1])[0], whole[turn], rtol=1e-9)


def test_lines_permute(method):
    made = lines()
    order = np.random.default_rng(1).permutation(len(made))
    back = np.argsort(order)
    moved = Crossed(
        made.left[order], made.right[order], made.fold[order], made.group[order],
        made.votes_left[order], made.votes_right[order],
        back[made.voters_left[order]], back[made.voters_right[order]],
    )  # fmt: skip
    plain, turned = method(made, made.given)[0], method(moved, moved.given)[0]
    np.testing.assert_allclose(turned, plain[order], rtol=1e-5, atol=1e-6)


def test_blocks_do_not_change_it(method, monkeypatch):
    made = lines()
    asked = np.concatenate([made.given, made.planted()])
    whole = method(made, asked)
    monkeypatch.setattr(module, "BLOCK", 7)
    np.testing.assert_allclose(method(made, asked), whole, rtol=1e-5, atol=1e-6)


def test_kin_are_no_wrong_answers(method):
    """Copies of a line in its own group leave its score where it was."""
    made = lines(60, folds=1)
    twice = {
        name: np.concatenate([getattr(made, name)] * 2)
        for name in ("left", "right", "fold", "group", "votes_left", "votes_right")
    }
    voters = [np.concatenate([v, v]) for v in (made.voters_left, made.voters_right)]
    both = replace(made, **twice, voters_left=voters[0], voters_right=voters[1])
    found = method(both, both.given)[0]
    np.testing.assert_allclose(found[:60], found[60:], atol=1e-6)
    if type(method).__name__ in ("ContrastiveLoss", "NeighbourVote"):  # means over wrong answers
        np.testing.assert_allclose(found[:60], method(made, made.given)[0], atol=1e-5)


def test_two_lines_and_lone_groups_give_numbers(method):
    few = lines(12, folds=2)
    assert np.isfinite(method(few, few.given)).all()
    alone = replace(few, group=np.zeros(12, dtype=int), voters_left=np.full((12, 8), -1),
                    voters_right=np.full((12, 8), -1))  # fmt: skip
    assert np.isfinite(method(alone, alone.given)).all()
