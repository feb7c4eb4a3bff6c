"""Heads and the ridge student, row by row from their formulas."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from conjoin.transfer.base import Prototypes
from conjoin.transfer.cache_heads import CacheHead, RetrievalHead
from conjoin.transfer.linear_heads import (
    AttributeHead,
    Majority,
    NearestMean,
    RidgeClassifier,
    RidgeRegressor,
    ZeroShot,
)
from conjoin.transfer.logistic import Logistic
from conjoin.transfer.retrieved_support import SupportHead
from conjoin.transfer.students import RidgeStudent
from conjoin.transfer.svm import LinearMargin

RNG = np.random.default_rng(0)
N, D, C = 24, 5, 3
OWNER = np.arange(N) % C
X = RNG.normal(size=(C, D))[OWNER] + 0.8 * RNG.normal(size=(N, D))
Y = np.array(["a", "b", "c"])[OWNER]
NAMED = Prototypes(np.array(["a", "b", "c", "a"]), RNG.normal(size=(4, D)))
NEW = RNG.normal(size=(6, D))


def unit(v):
    return v / np.linalg.norm(v)


def log_softmax(s):
    return s - math.log(sum(math.exp(v) for v in s))


def names_of():
    """One unit vector a class: of its prototypes at unit length, the mean at unit length."""
    found = []
    for label in ("a", "b", "c"):
        own = [unit(v) for k, v in zip(NAMED.labels, NAMED.vectors, strict=True) if k == label]
        found.append(unit(sum(own) / len(own)))
    return found


def probabilities(scores):
    return np.array([np.exp(log_softmax(np.array(s))) for s in scores])


def test_majority():
    uneven = np.array(["a"] * 5 + ["b"] * 3)
    p = Majority().fit(X[:8], uneven).predict_proba(NEW)
    np.testing.assert_allclose(p, [[5 / 8, 3 / 8]] * 6)


def test_nearest_mean_and_its_temperature():
    head = NearestMean().fit(X, Y)
    means = [X[c == OWNER].mean(axis=0) for c in range(C)]
    near = [min(range(C), key=lambda c: np.sum((x - means[c]) ** 2)) for x in NEW]
    assert head.predict(NEW).tolist() == [["a", "b", "c"][c] for c in near]

    def loss(t):
        total = 0.0
        for i in range(N):
            others = [
                np.mean([X[j] for j in range(N) if OWNER[j] == c and j != i], axis=0)
                for c in range(C)
            ]
            s = np.array([-np.sum((X[i] - m) ** 2) / (2 * t) for m in others])
            total -= log_softmax(s)[OWNER[i]]
        return total

    gap = head.scores(NEW)[0, 0] - head.scores(NEW)[0, 1]
    own = (-np.sum((NEW[0] - means[0]) ** 2) + np.sum((NEW[0] - means[1]) ** 2)) / 2
    t = own / gap
    assert loss(t) <= min(loss(t * 1.05), loss(t / 1.05))


def test_zero_shot():
    scores = [[20 * unit(x) @ w for w in names_of()] for x in NEW]
    p = ZeroShot(20.0).fit(X, Y, prototypes=NAMED).predict_proba(NEW)
    np.testing.assert_allclose(p, probabilities(scores))


def test_attributes():
    shared = RNG.normal(size=(3, D))
    labels = np.array(["a", "a", "b", "b", "c"])
    named = Prototypes(labels, np.stack([shared[0], shared[1], shared[1], shared[2], shared[2]]))
    has = {"a": (0, 1), "b": (1, 2), "c": (2,)}
    words = [unit(v) for v in shared]
    signs = [unit(np.array([float(m in has[c]) for m in range(3)])) for c in "abc"]
    lam, q = 0.7, [unit(x) for x in X]
    second = sum(np.outer(v, v) for v in q) / N
    pull = lam * np.trace(second) / D

    def loss(flat):
        v = flat.reshape(3, D)
        fit = sum(np.sum((v @ q[i] - signs[OWNER[i]]) ** 2) for i in range(N)) / N
        return fit + pull * np.sum((v - np.array(words)) ** 2)

    best = minimize(loss, np.zeros(3 * D), method="BFGS", options={"gtol": 1e-8}).x.reshape(3, D)
    mean = best @ np.mean(q, axis=0)
    middle = np.mean(signs, axis=0)
    scores = [[3 * (best @ unit(x) - mean) @ unit(s - middle) for s in signs] for x in NEW]
    p = AttributeHead(lam, 3.0).fit(X, Y, prototypes=named).predict_proba(NEW)
    np.testing.assert_allclose(p, probabilities(scores), atol=1e-4)


def test_ridge_classifier_and_regressor():
    lam = 0.4
    hot = np.array([[float(OWNER[i] == c) for c in range(C)] for i in range(N)])

    def predicted(rows, answers, at):
        mx, my = rows.mean(axis=0), answers.mean(axis=0)
        cov = sum(np.outer(x - mx, x - mx) for x in rows) / len(rows)
        cross = sum(np.outer(x - mx, y - my) for x, y in zip(rows, answers, strict=True))
        w = np.linalg.inv(cov + lam * np.trace(cov) / D * np.eye(D)) @ cross / len(rows)
        return (at - mx) @ w + my

    wanted = predicted(X, hot, NEW)
    np.testing.assert_allclose(
        RidgeRegressor(lam, standardise=False).fit(X, hot).predict(NEW), wanted
    )
    scores = RidgeClassifier(lam, standardise=False).fit(X, Y).scores(NEW)
    t = (wanted[0, 1] - wanted[0, 0]) / (scores[0, 1] - scores[0, 0])
    np.testing.assert_allclose(scores - scores[:, :1], (wanted - wanted[:, :1]) / t)

    def loss(t):
        total = 0.0
        for i in range(N):
            kept = [j for j in range(N) if j != i]
            # λ's unit and the weights of the others stay those of the whole fit.
            total -= log_softmax(left_out(X, hot, i, kept, lam) / t)[OWNER[i]]
        return total

    assert loss(t) <= min(loss(t * 1.1), loss(t / 1.1))


def left_out(rows, answers, i, kept, lam):
    """What least squares with an unpunished intercept says of a row it has not seen."""
    cov = np.cov(rows.T, bias=True)
    pull = lam * np.trace(cov) / D * N
    x, y = rows[kept], answers[kept]
    mx, my = x.mean(axis=0), y.mean(axis=0)
    w = np.linalg.solve((x - mx).T @ (x - mx) + pull * np.eye(D), (x - mx).T @ (y - my))
    return (rows[i] - mx) @ w + my


@pytest.mark.parametrize(("share", "toward"), [(0.0, "zero"), (0.4, "zero"), (0.4, "names")])
def test_logistic_is_at_its_minimum(share, toward):
    lam, scale = 0.3, 2.0
    length = np.mean([np.linalg.norm(x) for x in X])
    shots = [length * unit(v) for v in NAMED.vectors]
    rows = np.array([*X, *shots]) if share else X
    owner = np.array([*OWNER, 0, 1, 2, 0]) if share else OWNER
    weight = np.array([(1 - share) / N] * N + [share / 4] * 4) if share else np.full(N, 1 / N)
    centre = weight @ rows
    cov = sum(w * np.outer(x - centre, x - centre) for w, x in zip(weight, rows, strict=True))
    pull = lam * np.trace(cov) / D
    anchor = scale * np.array(names_of()).T if toward == "names" else np.zeros((D, C))

    def loss(w, b):
        total = 0.0
        for x, c, trust in zip(rows, owner, weight, strict=True):
            total -= trust * log_softmax(x @ w + b)[c]
        return total + pull / 2 * np.sum((w - anchor) ** 2)

    method = Logistic(lam, share, toward=toward, scale=scale, standardise=False)
    head = method.fit(X, Y, prototypes=NAMED)
    least = loss(head.weight, head.bias)
    for _ in range(20):
        w = head.weight + 0.03 * RNG.normal(size=(D, C))
        assert loss(w, head.bias + 0.03 * RNG.normal(size=C)) > least
    best = minimize(
        lambda flat: loss(flat[: D * C].reshape(D, C), flat[D * C :]), np.zeros(D * C + C)
    ).fun
    assert least == pytest.approx(best, abs=1e-5)


def test_blend_mixes_the_names_in():
    plain = Logistic(lam=0.3, share=0.4).fit(X, Y, prototypes=NAMED)
    mixed = Logistic(lam=0.3, share=0.4, blend=0.25).fit(X, Y, prototypes=NAMED)
    names = np.array(names_of()).T
    k = np.linalg.norm(plain.weight) / np.linalg.norm(names)
    np.testing.assert_allclose(mixed.weight, 0.75 * plain.weight + 0.25 * k * names)


def divergence(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("gamma", [0.0, 4.0])
def test_cache(gamma):
    alpha, beta, scale, temperature = 1.3, 4.0, 9.0, 0.4
    keys, names = [unit(x) for x in X], names_of()

    def seen(z):
        return np.exp(log_softmax(np.array([z @ w / temperature for w in names])))

    apart = [[divergence(seen(a), seen(b)) for b in keys] for a in keys]
    near = [[a @ b for b in keys] for a in keys]
    low, high, first, last = np.min(apart), np.max(apart), np.min(near), np.max(near)
    scores = []
    for x in map(unit, NEW):
        row = [scale * x @ w for w in names]
        for key, c in zip(keys, OWNER, strict=True):
            row[c] += alpha * math.exp(-beta * (1 - x @ key))
            kl = divergence(seen(x), seen(key))
            row[c] -= gamma * (first + (kl - low) / (high - low) * (last - first))
        scores.append(row)
    head = CacheHead(alpha, beta, gamma, scale, temperature).fit(X, Y, prototypes=NAMED)
    np.testing.assert_allclose(head.predict_proba(NEW), probabilities(scores), atol=1e-8)


def test_retrieval():
    k, scale = 3, 6.0
    pool, names = [unit(x) for x in X], names_of()

    def seen(z):
        return np.exp(log_softmax(np.array([scale * z @ w for w in names])))

    def sure(p):
        return 1 + sum(v * math.log(v) for v in p) / math.log(C)

    def parts(z, leave=None):
        others = [j for j in range(N) if j != leave]
        top = sorted(others, key=lambda j: -z @ pool[j])[:k]
        return seen(z), np.mean([seen(pool[j]) for j in top], axis=0)

    inside = [parts(z, j) for j, z in enumerate(pool)]
    usual = [np.mean([sure(both[side]) for both in inside]) for side in (0, 1)]
    wanted = []
    for x in map(unit, NEW):
        own, found = parts(x)
        mix = sure(own) / usual[0] * own + sure(found) / usual[1] * found
        wanted.append(mix / mix.sum())
    head = RetrievalHead(k, scale).fit(X, Y, prototypes=NAMED)
    np.testing.assert_allclose(head.predict_proba(NEW), wanted, atol=1e-8)


def test_ridge_student():
    target = RNG.normal(size=(N, 4))
    aim = np.array([unit(t) for t in target])
    lam, mx, my = 0.2, X.mean(axis=0), aim.mean(axis=0)
    cov = (X - mx).T @ (X - mx) / N
    w = np.linalg.solve(cov + lam * np.trace(cov) / D * np.eye(D), (X - mx).T @ (aim - my) / N)
    wanted = np.array([unit((x - mx) @ w + my) for x in NEW])
    found = RidgeStudent(lam).fit(X, target).apply(NEW)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_linear_margin_is_the_minimum_of_its_loss_class_by_class():
    head = LinearMargin(c=2.0).fit(X, Y)
    rows = [unit(x) for x in X]

    def loss(flat, kind):
        w, b, total = flat[:D], flat[D], 0.0
        for x, c in zip(rows, OWNER, strict=True):
            t = 1.0 if c == kind else -1.0
            total += max(0.0, 1 - t * (sum(w * x) + b)) ** 2
        return (sum(w * w) + b * b) / 2 + 2.0 * total

    found = np.array([
        minimize(loss, np.zeros(D + 1), args=(kind,), method="BFGS", options={"gtol": 1e-8}).x
        for kind in range(C)
    ])  # fmt: skip
    wanted = np.array([[sum(w[:D] * unit(x)) + w[D] for w in found] for x in NEW])
    scores = head.scores(NEW)
    t = np.ptp(wanted) / np.ptp(scores)
    np.testing.assert_allclose(scores * t, wanted, atol=1e-3)
    two = LinearMargin().fit(X[Y != "c"], Y[Y != "c"])
    assert two.scores(NEW).shape == (6, 2)


def test_a_support_set_is_the_rows_nearest_to_each_name():
    names = names_of()
    kept, labels = [], []
    for label, name in zip("abc", names, strict=True):
        near = sorted(range(N), key=lambda i: -float(unit(X[i]) @ name))
        kept += near[:4]
        labels += [label] * 4
    wanted = CacheHead(1.0, 5.5, 5.0).fit(X[kept], np.array(labels), prototypes=NAMED)
    found = SupportHead(shots=4).fit(X, np.array(["a"] * N), prototypes=NAMED)
    np.testing.assert_allclose(found.predict_proba(NEW), wanted.predict_proba(NEW), rtol=1e-6)
    # More shots than rows take all of them.
    assert SupportHead(shots=99).fit(X, Y, prototypes=NAMED).predict(NEW).shape == (6,)
