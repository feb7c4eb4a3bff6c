"""Mixers, composers, aggregations, weights of words from their equations, number by number."""

import math

import numpy as np
import pytest
from scipy import sparse

from conjoin.retrieval.multi_vector.aggregate import (
    Attention,
    Ensemble,
    Gaussians,
    Pooling,
    Shortlist,
    as_item,
    as_query,
)
from conjoin.retrieval.queries.composition import Conjunction, Sum
from conjoin.retrieval.ranking.score_fusion import Alone, Combination, RankFusion, Scored
from conjoin.retrieval.sparse.sparse import NearestWords, sliced
from conjoin.spaces import Pairs, Tokens, unit

DENSE = {"a": 0.9, "b": 0.4, "c": 0.4, "d": -0.2}
WORDS = {"b": 7.5, "e": 3.0, "a": 1.5}


def lists():
    made = {}
    for name, held, low, floor in (("dense", DENSE, -1.0, -0.2), ("bm25", WORDS, 0.0, 0.0)):
        made[name] = Scored(np.array(list(held)), np.array(list(held.values())), low, floor)
    return made


def phi(scale, s, scores, low):
    n, mean = len(scores), sum(scores) / len(scores)
    if scale == "theoretical":
        return (s - low) / (max(scores) - low)
    if scale == "minmax":
        return max(0.0, (s - min(scores)) / (max(scores) - min(scores)))
    if scale == "zscore":
        return (s - mean) / math.sqrt(sum((x - mean) ** 2 for x in scores) / n)
    return (sum(x < s for x in scores) + 0.5 * sum(x == s for x in scores)) / n


@pytest.mark.parametrize("scale", ["theoretical", "minmax", "zscore", "percentile"])
def test_combination(scale):
    found = Combination(scale).mix(lists(), {"dense": 0.3, "bm25": 0.7})
    for item, value in zip(found.ids, found.scores, strict=True):
        dense = phi(scale, DENSE.get(item, -0.2), list(DENSE.values()), -1.0)
        words = phi(scale, WORDS.get(item, 0.0), list(WORDS.values()), 0.0)
        assert value == pytest.approx(0.3 * dense + 0.7 * words)
    assert set(found.ids) == {"a", "b", "c", "d", "e"}


def rank(held, item):
    return 1 + sum(other > held[item] for other in held.values())


def test_rank_fusion_with_an_eta_a_list():
    found = RankFusion("reciprocal", 60.0, (("bm25", 5.0),)).mix(lists())
    for item, value in zip(found.ids, found.scores, strict=True):
        expected = 0.0
        if item in DENSE:
            expected += 0.5 / (60 + rank(DENSE, item))
        if item in WORDS:
            expected += 0.5 / (5 + rank(WORDS, item))
        assert value == pytest.approx(expected)


def test_borda():
    found = RankFusion("borda").mix(lists(), {"dense": 3.0, "bm25": 1.0})
    for item, value in zip(found.ids, found.scores, strict=True):
        dense = (4 - rank(DENSE, item) + 1) / 4 if item in DENSE else 0
        words = (3 - rank(WORDS, item) + 1) / 3 if item in WORDS else 0
        assert value == pytest.approx(0.75 * dense + 0.25 * words)


def test_alone():
    found = Alone("bm25").mix(lists())
    assert found.ids.tolist() == ["b", "e", "a"]
    assert found.scores.tolist() == [7.5, 3.0, 1.5]


# Composers


def norm(x):
    return math.sqrt(sum(v * v for v in x))


def test_sum():
    rng = np.random.default_rng(0)
    parts, weights = unit(rng.normal(size=(3, 5))), np.array([1.0, 2.5, -0.5])
    total = [sum(w * x[c] for w, x in zip(weights, parts, strict=True)) for c in range(5)]
    found = Sum().fit(parts, parts, parts).vector(parts, weights)
    np.testing.assert_allclose(found, np.array(total) / norm(total))
    tilted = Sum(0.2).fit(parts, parts, parts).vector(parts[:2], np.ones(2))
    np.testing.assert_allclose(tilted, unit(1.6 * parts[0] + 0.4 * parts[1]))


def test_conjunction_is_the_largest_threshold_that_is_passed():
    rng = np.random.default_rng(1)
    parts, items = unit(rng.normal(size=(3, 5))), unit(rng.normal(size=(40, 5)))
    weights = np.array([1.0, 2.0, -0.5])
    scores = Conjunction().fit(parts, parts, parts).scores(parts, weights, items)

    def passes(row, c):
        for part, w in zip(parts, weights, strict=True):
            sims = [float(np.dot(part, x)) for x in items]
            mean = sum(sims) / len(sims)
            spread = math.sqrt(sum((s - mean) ** 2 for s in sims) / len(sims))
            # The source: above mean + scale · spread, or below mean − scale · spread.
            threshold = mean + (1 if w > 0 else -1) * c * abs(w) * spread
            met = sims[row] > threshold if w > 0 else sims[row] < threshold
            if not met:
                return False
        return True

    for row in range(0, 40, 7):
        assert passes(row, scores[row] - 1e-6)
        assert not passes(row, scores[row] + 1e-6)


def relu(x):
    return np.maximum(x, 0)


def test_combiner():
    from conjoin.retrieval.queries.composers import Combiner

    rng = np.random.default_rng(2)
    r, c, t = (unit(rng.normal(size=(20, 6))) for _ in range(3))
    fitted = Combiner(steps=3, projection=5, hidden=7).fit(r, c, t)
    w = {key: np.asarray(value, np.float64) for key, value in fitted.arrays().items()}
    u = np.concatenate([relu(c[0] @ w["text"] + w["text_bias"]),
                        relu(r[0] @ w["image"] + w["image_bias"])])  # fmt: skip
    gate = relu(u @ w["gate"] + w["gate_bias"]) @ w["share"] + w["share_bias"]
    lam = 1 / (1 + np.exp(-gate))
    rest = relu(u @ w["mix"] + w["mix_bias"]) @ w["out"] + w["out_bias"]
    q = rest + lam * c[0] + (1 - lam) * r[0]
    np.testing.assert_allclose(fitted.vector(np.stack([r[0], c[0]]), np.ones(2)), q / norm(q),
                               atol=1e-5)  # fmt: skip


def test_trans_agg():
    from scipy.special import erf, softmax

    from conjoin.retrieval.queries.composers import TransAgg

    rng = np.random.default_rng(3)
    d, heads = 16, 8
    r, c, t = (unit(rng.normal(size=(20, d))) for _ in range(3))
    fitted = TransAgg(steps=3, hidden=9).fit(r, c, t)
    w = {key: np.asarray(value, np.float64) for key, value in fitted.arrays().items()}

    def norm_of(x, which):
        z = (x - x.mean()) / math.sqrt(x.var() + 1e-5)
        return z * w[f"scale{which}"] + w[f"shift{which}"]

    x = [c[0], w["sep"][0], r[0]]
    qkv = [norm_of(row, 1) @ w["qkv"] + w["qkv_bias"] for row in x]
    mixed = [np.zeros(d) for _ in x]
    for h in range(heads):
        own = slice(h * d // heads, (h + 1) * d // heads)
        for i in range(3):
            logits = [qkv[i][:d][own] @ qkv[j][d : 2 * d][own] / math.sqrt(d / heads)
                      for j in range(3)]  # fmt: skip
            for share, j in zip(softmax(logits), range(3), strict=True):
                mixed[i][own] += share * qkv[j][2 * d :][own]
    x = [row + m @ w["join"] + w["join_bias"] for row, m in zip(x, mixed, strict=True)]
    after = []
    for row in x:
        z = norm_of(row, 2) @ w["wide"] + w["wide_bias"]
        gelu = 0.5 * z * (1 + erf(z / math.sqrt(2)))
        after.append(row + gelu @ w["narrow"] + w["narrow_bias"])
    both = np.concatenate([after[2], after[0]])
    f = relu(both @ w["mix"] + w["mix_bias"]) @ w["out"] + w["out_bias"]
    alpha, beta, gamma = f @ w["weigh"] + w["weigh_bias"]
    q = alpha * c[0] + beta * f + gamma * r[0]
    np.testing.assert_allclose(fitted.vector(np.stack([r[0], c[0]]), np.ones(2)), q / norm(q),
                               atol=1e-5)  # fmt: skip


# Aggregations


def sets(counts, seed=0, d=5):
    rng = np.random.default_rng(seed)
    ends = np.concatenate([[0], np.cumsum(counts)])
    return Tokens(rng.normal(size=(ends[-1], d)), ends)


def cosine(a, b):
    return float(np.dot(a, b) / (norm(a) * norm(b)))


@pytest.mark.parametrize("rule", ["max", "mean", "first", "sum", "peak"])
def test_pooling(rule):
    queries, items = sets([1, 1]), sets([2, 1, 3], 1)
    method = Pooling(rule)
    found = method.scores(method.queries(queries), method.items(items))
    for i in range(2):
        q = queries[i][0] / norm(queries[i][0])
        for j in range(3):
            parts = [x / norm(x) for x in items[j]]
            expected = {
                "max": lambda q=q, p=parts: max(np.dot(q, x) for x in p),
                "mean": lambda q=q, p=parts: cosine(q, sum(p) / len(p)),
                "first": lambda q=q, p=parts: np.dot(q, p[0]),
                "sum": lambda q=q, p=parts: sum(np.dot(q, x) for x in p),
                "peak": lambda q=q, p=parts: cosine(q, [max(x[c] for x in p) for c in range(5)]),
            }[rule]()
            assert found[i, j] == pytest.approx(expected)


def test_a_shortlist_is_found_by_means_and_placed_by_best_parts():
    queries, items = sets([1, 1, 1], 4), sets([2, 1, 3, 2, 4], 5)
    method = Shortlist(keep=2)
    found = method.scores(method.queries(queries), method.items(items))
    for i in range(3):
        q = queries[i][0] / norm(queries[i][0])
        parts = [[x / norm(x) for x in items[j]] for j in range(5)]
        means = [cosine(q, sum(p) / len(p)) for p in parts]
        kept = sorted(range(5), key=lambda j: -means[j])[:2]
        for j in range(5):
            expected = max(np.dot(q, x) for x in parts[j]) if j in kept else means[j] - 2
            assert found[i, j] == pytest.approx(expected)
    every = Shortlist(keep=99)
    np.testing.assert_allclose(
        every.scores(every.queries(queries), every.items(items)),
        Pooling("max").scores(Pooling("max").queries(queries), Pooling("max").items(items)),
    )


def test_attention_and_its_gradient():
    queries, items = sets([1, 1, 1], 2), sets([2, 3, 1], 3)
    method = Attention(temperature=0.3, decay=0.01)
    asked = method.queries(queries)
    held = Tokens(unit(items.vectors), items.offsets)
    w = np.random.default_rng(4).normal(size=5)
    total = 0.0
    pooled = []
    for j in range(3):
        a = [math.exp(np.dot(x, w)) for x in held[j]]
        pooled.append(sum(v / sum(a) * x for v, x in zip(a, held[j], strict=True)))
    for i in range(3):
        logits = [np.dot(asked[i], p) / 0.3 for p in pooled]
        total -= logits[i] - math.log(sum(math.exp(v) for v in logits))
    value, slope = method.loss(w, asked, held)
    assert value == pytest.approx(total / 3 + 0.01 * np.dot(w, w))
    for c in range(5):
        step = np.eye(5)[c] * 1e-6
        up, down = method.loss(w + step, asked, held)[0], method.loss(w - step, asked, held)[0]
        assert slope[c] == pytest.approx((up - down) / 2e-6, abs=1e-6)
    fitted = method.fit(queries, items)
    assert method.loss(fitted.weight, asked, held)[0] <= method.loss(np.zeros(5), asked, held)[0]


def test_gaussians_are_divergences_to_the_last_digit():
    rng = np.random.default_rng(5)
    mq, mx = rng.normal(size=(4, 7)), rng.normal(size=(6, 7))
    vq, vx = rng.uniform(0.05, 3, (4, 7)), rng.uniform(0.05, 3, (6, 7))
    found = as_query(mq, vq) @ as_item(mx, vx).T
    for i in range(4):
        for j in range(6):
            kl = 0.0
            for c in range(7):
                kl += 0.5 * (math.log(vx[j, c] / vq[i, c]) + vq[i, c] / vx[j, c]
                             + (mq[i, c] - mx[j, c]) ** 2 / vx[j, c] - 1)  # fmt: skip
            assert found[i, j] == pytest.approx(-kl, rel=1e-12, abs=1e-12)


def test_gaussians_of_parts():
    items = sets([2, 3, 1], 6)
    fitted = Gaussians(2.0).fit(items, items)
    every = [x / norm(x) for x in items.vectors]
    for j in range(3):
        parts = [x / norm(x) for x in items[j]]
        for c in range(5):
            mean = sum(x[c] for x in parts) / len(parts)
            middle = sum(x[c] for x in every) / len(every)
            shared = sum((x[c] - middle) ** 2 for x in every) / len(every)
            scatter = sum((x[c] - mean) ** 2 for x in parts)
            got = fitted.moments(items)
            assert got[0][j, c] == pytest.approx(mean)
            assert got[1][j, c] == pytest.approx((scatter + 2 * shared) / (len(parts) + 2))


def test_ensemble():
    rng = np.random.default_rng(7)
    q = {"a": rng.normal(size=(2, 4)), "b": rng.normal(size=(2, 3))}
    x = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=(3, 3))}
    method = Ensemble((("a", 3.0), ("b", 1.0)))
    found = method.scores(method.queries(q), method.items(x))
    for i in range(2):
        for j in range(3):
            expected = 0.75 * cosine(q["a"][i], x["a"][j]) + 0.25 * cosine(q["b"][i], x["b"][j])
            assert found[i, j] == pytest.approx(expected)


# Weights of words


def words_by_hand(row, vocabulary, view, keep):
    raw = []
    for word in vocabulary:
        mean = sum(cosine(x, word) for x in view) / len(view)
        raw.append(max(0.0, cosine(row, word) - mean))
    least = sorted(raw, reverse=True)[keep - 1]
    kept = [v if v >= least else 0.0 for v in raw]
    return np.array(kept)


def test_nearest_words_and_slices():
    rng = np.random.default_rng(8)
    view, vocabulary = rng.normal(size=(9, 4)), rng.normal(size=(10, 4))
    lines = np.arange(9)
    pairs = Pairs(("a", "b"), np.stack([lines, lines], axis=1))
    fitted = NearestWords(4).fit({"a": view, "b": view}, pairs, vocabulary)
    found = fitted.weights("a", view).toarray()
    for row in range(9):
        kept = words_by_hand(view[row], vocabulary, view, 4)
        np.testing.assert_allclose(found[row], kept / norm(kept), atol=1e-12)
        by_slice = np.zeros(10)
        for part in range(3):
            own = [v for v in range(10) if v % 3 == part]
            best = max(own, key=lambda v: found[row, v])
            by_slice[best] = found[row, best]
        np.testing.assert_allclose(sliced(sparse.csr_matrix(found[row]), 3).toarray()[0], by_slice)


def test_lexical_head():
    from conjoin.retrieval.sparse.sparse import LexicalHead

    rng = np.random.default_rng(9)
    view, vocabulary = unit(rng.normal(size=(12, 4))), rng.normal(size=(10, 4))
    lines = np.arange(12)
    pairs = Pairs(("a", "b"), np.stack([lines, lines], axis=1))
    fitted = LexicalHead(keep=10, steps=3, sharpness=7.0).fit(
        {"a": view, "b": view}, pairs, vocabulary
    )
    found = fitted.weights("a", view).toarray()
    mapper, bias = (np.asarray(fitted.held[f"a/{k}"], np.float64) for k in ("map", "bias"))
    for row in range(12):
        z = view[row] + view[row] @ mapper
        raw = [math.log(1 + 7.0 * max(0.0, cosine(z, vocabulary[v]) - bias[v]))
               for v in range(10)]  # fmt: skip
        expected = np.array(raw) / norm(raw) if norm(raw) else np.zeros(10)
        np.testing.assert_allclose(found[row], expected, atol=1e-6)


def test_overuse_is_the_squared_mean_of_rows():
    import torch

    from conjoin.losses.contrastive.infonce import InfoNCE
    from conjoin.retrieval.sparse.head import Overuse
    from conjoin.spaces import Batch

    rng = np.random.default_rng(10)
    out = {k: torch.from_numpy(rng.uniform(size=(5, 7)).astype(np.float32)) for k in ("a", "b")}
    lines = torch.arange(5)
    batch = Batch(
        {}, {k: lines for k in out}, {k: torch.ones(5, dtype=torch.bool) for k in out},
        torch.ones(5),
    )  # fmt: skip
    contrast = InfoNCE(0.1)
    params = {k: p.tensor() for k, p in contrast.init(["a", "b"], 7).items()}
    expected = 0.0
    for rows in out.values():
        for v in range(7):
            expected += (sum(float(r[v] / r.norm()) for r in rows) / 5) ** 2
    got = float(Overuse(contrast, 2.0)(out, batch, params) - contrast(out, batch, params))
    assert got == pytest.approx(2 * expected, rel=1e-4)
