"""Shelf, ByScore, ByCount, Distinctive and Central against loops over their formulas."""

import math

import numpy as np
import pytest

from conjoin.retrieval.engines.two_stage import Shelf
from conjoin.retrieval.queries.suggestion import Central, Distinctive
from conjoin.retrieval.ranking.truncation import ByCount, ByScore
from conjoin.spaces import unit

RNG = np.random.default_rng(4)
X, Q = (unit(RNG.normal(size=(n, 32)) * np.geomspace(1, 0.05, 32)).astype(np.float32)
        for n in (120, 7))  # fmt: skip


def cosine(a, b):
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def nearest(q, rows, width):
    scored = [(-cosine(q[:width].astype(float), X[r][:width].astype(float)), r) for r in rows]
    return [r for _, r in sorted(scored)]


def test_two_stages_are_a_shortlist_by_prefix_ranked_whole():
    found = Shelf(share=0.125, more=3).find(Q, X, 5, cosine=True)
    for line, q in zip(found, Q, strict=True):
        short = nearest(q, range(120), 4)[:15]
        assert line.tolist() == nearest(q, short, 32)[:5]


def test_a_funnel_halves_at_each_doubling():
    found = Shelf(share=0.125, more=6, funnel=True).find(Q, X, 5, cosine=True)
    for line, q in zip(found, Q, strict=True):
        rows, width = nearest(q, range(120), 4)[:30], 8
        while width < 32 and len(rows) > 7:
            rows = nearest(q, rows, width)[: max(7, len(rows) // 2)]
            width *= 2
        assert line.tolist() == nearest(q, rows, 32)[:5]


def test_a_scan_alone_is_as_wide_as_candidates_would_have_cost():
    # 120 rows, k = 5: three candidates a hit cost 15 · 32 = 480, four dimensions of every row.
    alone = Shelf(share=0.125, paid=3)
    assert alone.storage(X.shape, 5).prefix == 8
    for line, q in zip(alone.find(Q, X, 5, cosine=True), Q, strict=True):
        assert line.tolist() == nearest(q, range(120), 8)[:5]


def f1(kept, right):
    found = sum(sum(line[:n]) for n, line in zip(kept, right, strict=True))
    return 2 * found / (sum(kept) + sum(map(sum, right)))


def test_cut_offs_have_the_best_f1_of_their_kind():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        scores = [np.sort(rng.integers(0, 9, 8) / 8)[::-1].tolist() for _ in range(6)]
        right = [[bool(rng.random() < s) for s in line] for line in scores]
        right[0][0] = True
        cut, count = (kind(5).choose(scores, right) for kind in (ByScore, ByCount))
        every = [f1([sum(s >= t for s in line[:5]) for line in scores], right)
                 for t in np.arange(9) / 8]  # fmt: skip
        assert f1([cut.kept(line) for line in scores], right) == pytest.approx(max(every))
        every = [f1([n] * 6, right) for n in range(1, 6)]
        assert f1([count.kept(line) for line in scores], right) == pytest.approx(max(every))


def test_words_of_a_cluster():
    texts = ["red cat", "red cat", "blue cat", "red dog", "blue dog", "blue dog"]
    x = unit(np.array([[1, 0.3], [1, 0], [1, -0.1], [0, 1], [0.1, 1], [0, 1.0]]))

    def odds(a, n, b, m):
        return math.log((a + 0.5) / (n - a + 0.5)) - math.log((b + 0.5) / (m - b + 0.5))

    assert odds(3, 3, 0, 3) > odds(2, 3, 1, 3) > 0
    assert Distinctive().words("animal", [0, 1, 2], x, texts) == ("cat", "red")
    assert Distinctive().words("cat", [0, 1, 2], x, texts) == ("red",)
    middle = [sum(float(x[i] @ x[j]) for j in (0, 1, 2)) for i in (0, 1, 2)]
    assert int(np.argmax(middle)) == 1
    assert Central().words("animal red", [0, 1, 2], x, texts) == ("cat",)
