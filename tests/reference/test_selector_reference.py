"""Selectors of evidence written again from their formulas, in plain loops."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from conjoin.answering.selection.base import Pool, Question, TopK, picked
from conjoin.answering.selection.learned import (
    Difference,
    Enriched,
    Logistic,
    RelevanceCut,
    Routed,
    TwoGates,
    difference_features,
    examples,
    pair_features,
)
from conjoin.answering.selection.plain import (
    AboveScore,
    Diverse,
    Filter,
    Structural,
    TwoLevel,
    walk,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "laws"))
from test_selector_laws import POOL, QUESTIONS, RIGHT, N

X = POOL.vectors


def best_first(rows, worth):
    return sorted(rows, key=lambda row: -worth[row])


def scaled(values):
    low, high = min(values), max(values)
    return [(value - low) / (high - low) for value in values]


@pytest.mark.parametrize("at", range(5))
def test_top_k_and_two_level(at):
    q = QUESTIONS[at]
    assert picked(TopK(k=4), q, POOL).tolist() == best_first(range(N), q.scores)[:4]
    worth = {}
    for chapter in range(6):
        rows = [row for row in range(N) if POOL.chapters[row] == chapter]
        mean = sum(X[row] for row in rows) / len(rows)
        worth[chapter] = float(mean @ q.vector)
    named = best_first(range(6), worth)[:2]
    inside = [row for row in range(N) if POOL.chapters[row] in named]
    assert picked(TwoLevel(k=4, chapters=2), q, POOL).tolist() == best_first(inside, q.scores)[:4]


@pytest.mark.parametrize("at", range(5))
def test_above_score(at):
    q = QUESTIONS[at]
    middle = float(np.median(q.scores))
    for least in (middle, float(q.scores.max()), -10.0):
        kept = [row for row in best_first(range(N), q.scores)[:4] if q.scores[row] > least]
        assert picked(AboveScore(k=4, least=least), q, POOL).tolist() == kept
    assert not len(picked(AboveScore(k=4, least=float(q.scores.max())), q, POOL))


@pytest.mark.parametrize("at", range(5))
def test_diverse_passes_over_what_repeats(at):
    q = QUESTIONS[at]
    kept = []
    for row in best_first(range(N), q.scores):
        near = any(float(X[row] @ X[other]) > 0.6 for other in kept)
        if not near and float(X[row] @ q.vector) <= 0.95 and len(kept) < 6:
            kept.append(row)
    assert picked(Diverse(k=6, most=0.6, echo=0.95), q, POOL).tolist() == kept
    assert kept != best_first(range(N), q.scores)[:6]


@pytest.mark.parametrize("at", range(5))
def test_filters(at):
    q = QUESTIONS[at]
    first = best_first(range(N), q.scores)[:12]
    near = {row: float(X[row] @ q.vector) for row in first}
    how = Filter(k=3, wide=12)
    assert picked(how, q, POOL).tolist() == best_first(first, near)[:3]
    room = 3 * float(np.median(POOL.lengths))
    kept = []
    for row in first:
        if POOL.lengths[row] <= room or not kept:
            kept.append(row)
            room -= POOL.lengths[row]
    assert picked(Filter(k=3, by="brevity", wide=12), q, POOL).tolist() == kept
    whole = sum(math.exp(q.scores[row]) for row in first)
    agreed = {
        row: sum(
            math.exp(q.scores[other]) / whole * max(0.0, float(X[row] @ X[other]))
            for other in first
            if other != row
        )
        for row in first
    }
    found = picked(Filter(k=3, by="agreement", wide=12), q, POOL).tolist()
    assert found == best_first(first, agreed)[:3]


def test_the_walk_is_personalised_pagerank():
    rng = np.random.default_rng(0)
    links = sparse.csr_matrix(np.triu(rng.random((7, 7)) > 0.6, 1).astype(float))
    links = (links + links.T).tolil()
    links[3, :] = 0
    links[:, 3] = 0
    links = links.tocsr()
    pool = Pool(X[:7], *(np.zeros(7, int),) * 4, links)
    start = np.array([0.5, 0, 0, 0.3, 0, 0.2, 0])
    dense = links.toarray()
    step = np.zeros((7, 7))  # step[i, j]: chance to go from i to j
    for i in range(7):
        step[i] = dense[i] / dense[i].sum() if dense[i].sum() else start
    solved = np.linalg.solve(np.eye(7) - 0.6 * step.T, 0.4 * start)
    np.testing.assert_allclose(walk(pool, start, 0.4), solved, atol=1e-7)
    assert solved.sum() == pytest.approx(1)


@pytest.mark.parametrize("at", range(5))
def test_structure_and_modality_are_weighed_in(at):
    q = QUESTIONS[at]
    own = scaled(q.scores)
    start = np.zeros(N)
    for row in best_first(range(N), q.scores)[:4]:
        start[row] = own[row]
    near = scaled(walk(POOL, start / start.sum(), 0.5))
    worth = [
        0.4 * near[row] + 0.6 * own[row] + 0.3 * q.prefers[POOL.lists[row]] for row in range(N)
    ]
    how = Structural(k=5, structure=0.4, modality=0.3, seeds=4, restart=0.5)
    assert picked(how, q, POOL).tolist() == best_first(range(N), worth)[:5]


def pair(q, row):
    own = scaled(q.scores)
    x = X[row]
    return [*(q.vector * x), *abs(q.vector - x), float(q.vector @ x), own[row]]


def difference(q, row):
    turns = list(q.before[::-1][:2])
    weights = [0.7, 0.3][: len(turns)]
    x = X[row]
    return sum(
        (weight / sum(weights) * np.concatenate([one - x, one * x])
         for weight, one in zip(weights, turns, strict=True)),
        np.zeros(2 * len(x)),
    )  # fmt: skip


def sigma(head, x):
    z = sum(w * (v - m) / s for w, v, m, s in zip(head.weights, x, head.mean, head.scale,
                                                  strict=True))  # fmt: skip
    return 1 / (1 + math.exp(-z - head.bias))


def test_features_of_a_pair_and_of_a_difference():
    q = QUESTIONS[3]
    rows = np.array([5, 2, 40])
    np.testing.assert_allclose(pair_features(q, POOL, rows), [pair(q, row) for row in rows])
    made = difference_features(q, POOL, rows)
    np.testing.assert_allclose(made, [difference(q, row) for row in rows])
    one = Question(q.vector, q.scores, q.before[1:])
    first = np.concatenate([q.before[1] - X[5], q.before[1] * X[5]])
    np.testing.assert_allclose(difference_features(one, POOL, rows)[0], first)


def test_a_head_lies_where_its_penalised_loss_is_flat():
    x, y = examples(POOL, QUESTIONS[:30], RIGHT[:30], pair_features)
    head = Logistic.fit(x, y, 0.1)
    z = (x - head.mean) / head.scale
    weight = np.where(y == 1, len(y) / (2 * y.sum()), len(y) / (2 * (1 - y).sum()))
    slope = 0.1 * z.T @ (weight * (head(x) - y)) + head.weights
    assert abs(slope).max() < 2e-2
    assert abs(weight @ (head(x) - y)) < 0.2
    assert head(x)[0] == pytest.approx(sigma(head, x[0]))


def test_relevance_cut_gates_and_difference():
    q = QUESTIONS[35]
    order = best_first(range(N), q.scores)
    cut = RelevanceCut(k=4, least=0.6, wide=15).fit(POOL, QUESTIONS[:30], RIGHT[:30])
    worth = {row: sigma(cut.head, pair(q, row)) for row in order[:15]}
    kept = [row for row in best_first(order[:15], worth) if worth[row] > 0.6][:4]
    assert picked(cut, q, POOL).tolist() == (kept or best_first(order[:15], worth)[:1])
    off = [Question(-one.vector, one.scores) for one in QUESTIONS[:15]]
    right = np.array([*RIGHT[:30], *[-1] * 15])
    gates = TwoGates(k=6, relevant=0.4).fit(POOL, [*QUESTIONS[:30], *off], right)
    shut = [sigma(gates.first, one.vector) <= 0.5 for one in (*QUESTIONS[30:], *off)]
    for one, closed in zip((*QUESTIONS[30:], *off), shut, strict=True):
        first = best_first(range(N), one.scores)[:6]
        stay = [row for row in first if sigma(gates.second, pair(one, row)) > 0.4]
        assert picked(gates, one, POOL).tolist() == ([] if closed else stay)
    assert any(shut)
    assert not all(shut)
    after = Difference(k=3, wide=10).fit(POOL, QUESTIONS[:30], RIGHT[:30])
    both = {row: sigma(after.head, [*pair(q, row), *difference(q, row)]) for row in order[:10]}
    assert picked(after, q, POOL).tolist() == best_first(order[:10], both)[:3]


def test_a_router_searches_the_list_of_the_best_class():
    made = Routed(k=3).fit(POOL, QUESTIONS[:30], RIGHT[:30])
    for q in QUESTIONS[30:]:
        worth = {
            int(name): float(w @ q.vector + b)
            for name, w, b in zip(made.classes, made.weights, made.bias, strict=True)
        }
        inside = [row for row in range(N) if POOL.lists[row] == max(worth, key=worth.get)]
        assert picked(made, q, POOL).tolist() == best_first(inside, q.scores)[:3]
    two = np.flatnonzero(POOL.lists[RIGHT[:30]] < 2)
    made = Routed().fit(POOL, [QUESTIONS[at] for at in two], RIGHT[two])
    from sklearn.linear_model import LogisticRegression

    oracle = LogisticRegression(C=0.1, class_weight="balanced", max_iter=500)
    oracle.fit([QUESTIONS[at].vector for at in two], POOL.lists[RIGHT[two]])
    for q in QUESTIONS[30:]:
        assert set(POOL.lists[made.route(q, POOL)]) == set(oracle.predict(q.vector[None]))


@pytest.mark.parametrize("trained", [False, True])
def test_a_question_is_enriched_by_what_it_recalls(trained):
    how = Enriched(k=5, near=4, temperature=0.2, lam=0.5, trained=trained)
    made = how.fit(POOL, QUESTIONS[:30], RIGHT[:30])
    asked = np.array([q.vector for q in QUESTIONS[:30]])
    answers = X[RIGHT[:30]]

    def recall(vector, left_out=None):
        like = {at: float(asked[at] @ vector) for at in range(30) if at != left_out}
        near = best_first(like, like)[:4]
        weights = [math.exp(like[at] / 0.2) for at in near]
        return sum(w / sum(weights) * answers[at] for w, at in zip(weights, near, strict=True))

    mix = np.zeros((16, 8))
    if trained:
        found = np.array([recall(asked[at], at) for at in range(30)])
        both = np.hstack([asked, found])
        penalty = 0.5 * (both**2).sum() / 16
        stacked = np.vstack([both, math.sqrt(penalty) * np.eye(16)])
        wanted = np.vstack([answers - asked - found, np.zeros((16, 8))])
        mix = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
    q = QUESTIONS[33]
    new = q.vector + recall(q.vector)
    new = new + np.concatenate([q.vector, recall(q.vector)]) @ mix
    near = scaled(X @ (new / np.linalg.norm(new)))
    worth = [a + b for a, b in zip(scaled(q.scores), near, strict=True)]
    assert picked(made, q, POOL).tolist() == best_first(range(N), worth)[:5]
