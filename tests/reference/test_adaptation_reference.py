"""Adaptations and heads that start from names, row by row from their formulas."""

import math

import numpy as np
import torch

from conjoin.spaces import Batch
from conjoin.transfer.adaptation.base import Source
from conjoin.transfer.adaptation.class_shares import ConfusionShares, LikelyShares
from conjoin.transfer.adaptation.fitted import Neighbourly
from conjoin.transfer.adaptation.moments import MatchMoments, Unchanged
from conjoin.transfer.adaptation.neighbourhood import LaplacianAnswers, PropagatedNames
from conjoin.transfer.adaptation.self_training import PseudoPretraining
from conjoin.transfer.adaptation.source_alignment import AlignedSource, WeighedSource
from conjoin.transfer.base import Prototypes
from conjoin.transfer.few_shot.blended_probe import BlendedProbe
from conjoin.transfer.few_shot.evidence import DirichletLoss, EvidentialHead
from conjoin.transfer.few_shot.names import FeatureAdapter, ResidualNames, TrainedCache
from conjoin.transfer.linear_heads import ZeroShot
from conjoin.transfer.logistic import Logistic

RNG = np.random.default_rng(0)
N, D, C = 30, 5, 3
OWNER = np.arange(N) % C
CENTRES = RNG.normal(size=(C, D))
X = CENTRES[OWNER] + 0.6 * RNG.normal(size=(N, D))
Y = np.array(["a", "b", "c"])[OWNER]
T = 1.3 * (CENTRES[np.arange(20) % C] + 0.6 * RNG.normal(size=(20, D))) + 0.4
HEAD = Logistic().fit(X, Y)
SOURCE = Source.of(X, Y)
NAMED = Prototypes(np.array(["a", "b", "c"]), CENTRES + 0.3 * RNG.normal(size=(C, D)))


def unit(v):
    return v / np.linalg.norm(v)


def softmax(s):
    e = np.exp(s - s.max())
    return e / e.sum()


def test_moments_are_matched():
    assert Unchanged().fit(HEAD, T) is HEAD
    mean = MatchMoments("mean").fit(HEAD, T, source=SOURCE).map.apply(T)
    np.testing.assert_allclose(mean, T - T.mean(axis=0) + X.mean(axis=0))
    even = MatchMoments("deviation").fit(HEAD, T, source=SOURCE).map.apply(T)
    for j in range(D):
        want = (T[:, j] - T[:, j].mean()) / T[:, j].std() * X[:, j].std() + X[:, j].mean()
        np.testing.assert_allclose(even[:, j], want, atol=1e-4)


def test_covariances_are_matched():
    from scipy.linalg import sqrtm

    made = MatchMoments("covariance", 0.5).fit(HEAD, T, source=SOURCE).map
    here, there = np.cov(X.T, bias=True), np.cov(T.T, bias=True)
    extra = 0.5 * np.trace(here) / D * np.eye(D)
    a = np.linalg.inv(sqrtm(there + extra)) @ sqrtm(here + extra)
    np.testing.assert_allclose(made.apply(T), (T - T.mean(axis=0)) @ a + X.mean(axis=0), atol=1e-8)


def test_shares_from_confusions():
    made = ConfusionShares().fit(HEAD, T, source=SOURCE)
    said, new = HEAD.predict(X).tolist(), HEAD.predict(T).tolist()
    names = ["a", "b", "c"]
    c = np.array([
        [sum(s == i and y == j for s, y in zip(said, Y, strict=True)) / N for j in names]
        for i in names
    ])  # fmt: skip
    q = np.array([new.count(i) / len(T) for i in names])
    np.testing.assert_allclose(made.weight, np.maximum(np.linalg.solve(c, q), 0), atol=1e-9)
    p = np.array([softmax(np.log(p) + np.log(np.maximum(made.weight, 1e-12)))
                  for p in HEAD.predict_proba(T)])  # fmt: skip
    np.testing.assert_allclose(made.predict_proba(T), p, atol=1e-9)


def test_likely_shares():
    made = LikelyShares(calibrate=False).fit(HEAD, T, source=SOURCE)
    prior = np.array([np.mean(i == OWNER) for i in range(C)])
    q = prior.copy()
    said = HEAD.predict_proba(T)
    for _ in range(3000):
        r = [[q[c] / prior[c] * row[c] for c in range(C)] for row in said]
        q = np.mean([np.array(row) / sum(row) for row in r], axis=0)
    np.testing.assert_allclose(made.weight, q / prior, atol=1e-5)


def test_answers_of_neighbours():
    k, weight = 3, 0.7
    made = LaplacianAnswers(k, weight, 300).fit(HEAD, T)
    assert isinstance(made, Neighbourly)
    rows = [unit(t) for t in T]
    near = [sorted((j for j in range(len(T)) if j != i), key=lambda j: -rows[i] @ rows[j])[:k]
            for i in range(len(T))]  # fmt: skip
    p = HEAD.predict_proba(T)
    z = p.copy()
    for _ in range(300):
        z = np.array([softmax(np.log(p[i]) + weight * sum(z[j] for j in near[i]))
                      for i in range(len(T))])  # fmt: skip
    np.testing.assert_allclose(made.held, z, atol=1e-5)
    np.testing.assert_allclose(made.predict_proba(T), z, atol=1e-4)


def test_names_are_propagated():
    head = ZeroShot().fit(np.empty((0, D)), np.empty(0, str), prototypes=NAMED)
    k, alpha = 4, 0.8
    made = PropagatedNames(alpha, k).fit(head, T)
    names = head.weight.T
    u = np.linalg.svd(names.T)[0][:, 1:C]
    place = u @ u.T
    nodes = np.array([unit(unit(v) @ place) for v in [*names, *T]])
    n = len(nodes)
    w = np.zeros((n, n))
    for i in range(n):
        for j in sorted((j for j in range(n) if j != i), key=lambda j: -nodes[i] @ nodes[j])[:k]:
            w[i, j] = max(nodes[i] @ nodes[j], 0)
    w = np.maximum(w, w.T)
    d = np.diag(w.sum(axis=1) ** -0.5)
    z = np.linalg.solve(np.eye(n) - alpha * d @ w @ d, np.eye(n)[:, :C])[C:]
    said = z.argmax(axis=1)
    means = [unit(nodes[C:][said == c].sum(axis=0)) if (said == c).any() else nodes[c]
             for c in range(C)]  # fmt: skip
    want = [max(range(C), key=lambda c: row @ means[c]) for row in nodes[C:]]
    assert made.predict(T).tolist() == [["a", "b", "c"][c] for c in want]


def test_pseudo_labels_first():
    made = PseudoPretraining(0.1, 1.0).fit(HEAD, T, source=SOURCE)
    first = Logistic(0.1, standardise=False).fit(T, HEAD.predict(T))
    hot = np.eye(C)[OWNER]
    pull = 0.1 * X.var(axis=0).mean()

    def gradient(weight, bias):
        off = np.array([softmax(x @ weight + bias) for x in X]) - hot
        return X.T @ off / N + pull * (weight - first.weight), off.mean(axis=0)

    for part in gradient(made.weight, made.bias):
        assert np.abs(part).max() < 2e-3


def test_skada_is_what_moves_the_source():
    made = AlignedSource("coral", D, 0.03).fit(HEAD, T, source=SOURCE)
    weighed = WeighedSource("discriminator", D, 0.03).fit(HEAD, T, source=SOURCE)
    assert made.predict(T).shape == weighed.predict(T).shape == (len(T),)
    from scipy.linalg import sqrtm

    # CORAL takes the source's covariance to the target's, and the target stays as it is.
    both = np.concatenate([X, T])
    basis = np.linalg.eigh(np.cov(both.T, bias=True))[1][:, ::-1]
    s, t = (X - both.mean(axis=0)) @ basis, (T - both.mean(axis=0)) @ basis
    a = np.linalg.inv(sqrtm(np.cov(s.T))) @ sqrtm(np.cov(t.T))
    own = Logistic(0.03, standardise=False).fit(np.real(s @ a), Y)
    agree = (own.predict(t) == made.predict(T)).mean()
    assert agree >= 0.9


# Heads for a few labels


def test_no_residual_no_network_and_no_training_are_the_names_alone():
    zero = [max(range(C), key=lambda c: unit(x) @ unit(NAMED.vectors[c])) for x in T]
    want = [["a", "b", "c"][c] for c in zero]
    for method in (ResidualNames(alpha=0.0, steps=5), FeatureAdapter(blend=0.0, steps=5)):
        assert method.fit(X, Y, prototypes=NAMED).predict(T).tolist() == want


def test_taskres_scores():
    made = ResidualNames(0.5, 20.0, steps=30).fit(X, Y, prototypes=NAMED)
    lengths = np.linalg.norm(made.weight, axis=0)
    np.testing.assert_allclose(lengths, 20.0, rtol=1e-5)
    logits = np.array([[unit(x) @ made.weight[:, c] for c in range(C)] for x in X])
    np.testing.assert_allclose(made.scores(X), logits, atol=1e-6)
    start = ResidualNames(0.5, 20.0, lr=1e-5, steps=1).fit(X, Y, prototypes=NAMED)
    assert made.score(X, Y) >= start.score(X, Y)


def test_clip_adapter_scores():
    made = FeatureAdapter(0.3, 2, 20.0, steps=20).fit(X, Y, prototypes=NAMED)
    for x, got in zip(T, made.scores(T), strict=True):
        q = unit(x)
        beside = np.maximum(np.maximum(q @ made.down, 0) @ made.up, 0)
        f = unit(0.3 * beside + 0.7 * q)
        want = [20.0 * f @ unit(NAMED.vectors[c]) for c in range(C)]
        np.testing.assert_allclose(got, want, atol=1e-4)


def test_trained_cache_scores_and_start():
    plain = TrainedCache(steps=0).fit(X, Y, prototypes=NAMED)
    np.testing.assert_allclose(plain.keys, [unit(x) for x in X], atol=1e-6)
    made = TrainedCache(2.0, 4.0, 20.0, steps=20).fit(X, Y, prototypes=NAMED)
    assert np.abs(made.keys - plain.keys).max() > 1e-3
    for x, got in zip(T, made.scores(T), strict=True):
        want = np.array([20.0 * unit(x) @ unit(NAMED.vectors[c]) for c in range(C)])
        for key, own in zip(made.keys, OWNER, strict=True):
            want[own] += 2.0 * math.exp(-4.0 * (1 - unit(x) @ key))
        np.testing.assert_allclose(got, want, atol=1e-3)


def test_lp_plus_plus_steps():
    made = BlendedProbe(50.0, 7).fit(X, Y, prototypes=NAMED)
    f = np.array([unit(x) for x in X])
    t = np.array([unit(v) for v in NAMED.vectors])
    w = np.array([sum(f[i] for i in range(N) if OWNER[i] == c) for c in range(C)])
    alpha = np.full(C, 50.0 * np.mean([f[i] @ t[OWNER[i]] for i in range(N)]))
    top = max(np.linalg.eigvalsh(f.T @ f))
    most = max(sum((f[i] @ t[c]) ** 2 for i in range(N)) for c in range(C))

    def off():
        return np.array([
            softmax(np.array([f[i] @ (w[c] + alpha[c] * t[c]) for c in range(C)]))
            - np.eye(C)[OWNER[i]] for i in range(N)
        ])  # fmt: skip

    for _ in range(7):
        e = off()
        w = w - 4 * N / top * np.array([sum(e[i, c] * f[i] for i in range(N)) / N
                                        for c in range(C)])  # fmt: skip
        e = off()
        alpha = alpha - 4 * N / most * np.array([
            sum(e[i, c] * (f[i] @ t[c]) for i in range(N)) / N for c in range(C)
        ])  # fmt: skip
    np.testing.assert_allclose(made.weight, (w + alpha[:, None] * t).T, rtol=1e-4, atol=1e-4)


def test_evidence_and_its_loss():
    from scipy.special import digamma, gammaln

    z = np.array([[0.3, -1.0, 2.0], [1.0, 0.2, -0.5]])
    own = [2, 1]
    batch = Batch({}, {}, {}, torch.ones(2), torch.tensor(own), progress=1.0)
    got = DirichletLoss(0.4)({"logits": torch.tensor(z)}, batch, {})
    total = 0.0
    for row, c in zip(z, own, strict=True):
        a = np.log1p(np.exp(row)) + 1
        s, p, y = a.sum(), a / a.sum(), np.eye(3)[c]
        total += sum((y[j] - p[j]) ** 2 + p[j] * (1 - p[j]) / (s + 1) for j in range(3))
        b = y + (1 - y) * a
        total += 0.4 * (
            gammaln(b.sum()) - gammaln(b).sum() - gammaln(3)
            + sum((b[j] - 1) * (digamma(b[j]) - digamma(b.sum())) for j in range(3))
        )  # fmt: skip
    np.testing.assert_allclose(float(got), total / 2, rtol=1e-6)
    made = EvidentialHead(steps=60).fit(X, Y)
    z = X @ made.head.weight + made.head.bias
    np.testing.assert_allclose(made.unsure(X), 3 / (np.log1p(np.exp(z)) + 1).sum(axis=1), rtol=1e-5)
    assert made.unsure(0 * X[:1])[0] > made.unsure(X).min()
