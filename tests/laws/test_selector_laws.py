"""What every way of choosing evidence keeps."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse

from conjoin.answering.selection.base import Picker, Pool, Question, Selector, empty, picked
from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.spaces import unit

ROWS = of_kind("selector")
N, D, Q = 60, 8, 40


def world(seed=0):
    """Questions that lie near their pieces; pieces in chapters, linked to their neighbours."""
    rng = np.random.default_rng(seed)
    chapters = np.repeat(np.arange(6), N // 6)
    centres = rng.normal(size=(6, D))
    x = unit(centres[chapters] + 0.7 * rng.normal(size=(N, D)))
    near = sparse.diags([np.ones(N - 1)] * 2, [1, -1], format="csr")
    pool = Pool(x, np.arange(N) // 2, chapters, np.arange(N) % 3, 20 + np.arange(N) % 7, near)
    right = rng.permutation(N)[:Q]
    asked = unit(x[right] + 0.3 * rng.normal(size=(Q, D)))
    questions = [
        Question(q, x @ q + 0.05 * rng.normal(size=N), x[rng.integers(0, N, 2)],
                 np.array([0.0, 0.0, float(at % 2)]))
        for at, q in enumerate(asked)
    ]  # fmt: skip
    return pool, questions, right


POOL, QUESTIONS, RIGHT = world()


@pytest.fixture(params=sorted(ROWS))
def fitted(request):
    method = ROWS[request.param].make()
    assert isinstance(method, Selector)
    return method.fit(POOL, QUESTIONS[:30], RIGHT[:30], seed=0)


def test_what_is_kept_was_searched_stands_once_and_is_the_same_twice(fitted):
    assert isinstance(fitted, Picker)
    for question in QUESTIONS[30:]:
        kept = picked(fitted, question, POOL)
        searched = fitted.route(question, POOL)
        assert searched.shape == (N,)
        assert searched[kept].all()
        assert len(set(kept.tolist())) == len(kept) <= 20
        assert picked(fitted, question, POOL).tolist() == kept.tolist()


def test_pieces_permute(fitted):
    order = np.random.default_rng(1).permutation(N)
    for question in QUESTIONS[30:]:
        kept = picked(fitted, question, POOL)
        turned = picked(fitted, question.take(order), POOL.take(order))
        assert order[turned].tolist() == kept.tolist()


def test_questions_permute(request, fitted):
    name = request.node.callspec.params["fitted"]
    order = np.random.default_rng(2).permutation(30)
    turned = ROWS[name].make().fit(POOL, [QUESTIONS[at] for at in order], RIGHT[order], seed=0)
    same = [picked(turned, q, POOL).tolist() == picked(fitted, q, POOL).tolist()
            for q in QUESTIONS[30:]]  # fmt: skip
    assert np.mean(same) >= 0.9  # what is learnt by iteration differs in its last bits


def test_right_pieces_are_found_far_beyond_luck(fitted):
    """A fifth of the pieces, at most, is kept; the right one is among them for most questions."""
    found = [row in picked(fitted, q, POOL) for q, row in zip(QUESTIONS, RIGHT, strict=True)]
    assert np.mean(found) > 0.45


def test_a_first_turn_and_pieces_without_vectors_are_chosen_from(fitted):
    bare = dataclasses.replace(QUESTIONS[31], before=np.empty((0, D)))
    assert len(picked(fitted, bare, POOL)) <= 20
    nothing = dataclasses.replace(POOL, vectors=np.zeros((N, D)))
    kept = picked(fitted, dataclasses.replace(bare, vector=np.zeros(D)), nothing)
    assert set(kept.tolist()) <= set(range(N))


def test_too_few_questions_are_refused_by_what_learns(request, fitted):
    row = ROWS[request.node.callspec.params["fitted"]]
    if "pairs" not in row.needs or row.name == "routed":  # one list needs no router
        assert row.make().fit(POOL, [], np.array([], int), seed=0) is not None
        return
    with pytest.raises(ConjoinError, match="top-k"):
        row.make().fit(POOL, QUESTIONS[:3], RIGHT[:3], seed=0)


def test_a_selector_that_leaves_the_index_is_found_out():
    class Wild:
        def route(self, question, pool):
            return np.arange(len(pool)) > 0

        def expand(self, question, pool):
            return question.scores

        def choose(self, question, pool, scores):
            return np.array([0])

    with pytest.raises(ConjoinError, match="not searched"):
        picked(Wild(), Question(np.zeros(2), np.arange(3.0)), empty(3, 2))
    with pytest.raises(ConjoinError, match="for 3 pieces"):
        picked(ROWS["top-k"].make(), Question(np.zeros(2), np.arange(2.0)), empty(3, 2))
