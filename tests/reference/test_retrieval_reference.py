"""Slow restatements from the definitions, and trec_eval as a peer."""

import itertools
import math
from statistics import mean, median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conjoin.metrics.retrieval.ranks import rank_queries
from conjoin.metrics.retrieval.relevance import Relevance, relevance, relevance_by_id
from conjoin.metrics.retrieval.scores import MAP, MRR, NDCG, MedianRank, Recall
from conjoin.spaces import Frame, Pairs, Space

METRICS = [Recall(1), Recall(3), Recall(10), MRR(), NDCG(3), NDCG(10), MAP(), MedianRank()]


def slow_ranks(scores, right):
    """Ranks of the right items of one list of item scores."""
    wrong = [s for i, s in enumerate(scores) if i not in right]
    ranks = []
    for before, own in enumerate(sorted((scores[i] for i in right), reverse=True)):
        above = sum(s > own for s in wrong)
        level = sum(s == own for s in wrong)
        ranks.append(1 + before + above + math.ceil(level / 2))
    return ranks


def slow_metric(metric, ranks):
    """One query's value, walked place by place."""
    match metric:
        case Recall(k):
            return float(any(r <= k for r in ranks))
        case MRR():
            return 1 / min(ranks)
        case NDCG(k):
            gain = sum(1 / math.log2(place + 1) for place in range(1, k + 1) if place in ranks)
            return gain / sum(1 / math.log2(p + 1) for p in range(1, min(k, len(ranks)) + 1))
        case MAP():
            return mean(sum(s <= r for s in ranks) / r for r in ranks)
        case MedianRank():
            return float(min(ranks))


def slow_summary(metric, lists):
    values = [slow_metric(metric, ranks) for ranks in lists]
    return median(values) if isinstance(metric, MedianRank) else mean(values)


@st.composite
def problems(draw):
    """Small whole numbers, so that products are exact and ties are common."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    items, extra = draw(st.integers(1, 12)), draw(st.integers(0, 10))
    queries = draw(st.integers(1, 8))
    item_of = rng.permutation(np.concatenate([np.arange(items), rng.integers(0, items, extra)]))
    right = [
        np.sort(rng.choice(items, rng.integers(1, items + 1), replace=False))
        for _ in range(queries)
    ]
    x, y = rng.integers(-2, 3, (queries, 3)), rng.integers(-2, 3, (items + extra, 3))
    offset = rng.integers(0, 3, items + extra)
    found = Relevance(
        np.arange(queries), np.cumsum([0, *map(len, right)]), np.concatenate(right), item_of
    )
    return x, y, offset, found


@given(problems(), st.integers(1, 9), st.sampled_from([1.0, 2.0, 0.5]))
@settings(deadline=None, max_examples=150)
def test_ranks_and_metrics_are_those_of_the_definition(problem, block, scale):
    x, y, offset, found = problem
    ranking = rank_queries(x, y, found, offset=offset, scale=scale, block=block)
    lists = []
    for i in range(len(x)):
        rows = [scale * int(x[i] @ y[j]) - int(offset[j]) for j in range(len(y))]
        scores = [
            max(s for j, s in enumerate(rows) if found.item_of[j] == item)
            for item in range(found.n_items)
        ]
        lists.append(slow_ranks(scores, set(found.of(i).tolist())))
        assert ranking.of(i).tolist() == lists[-1]
    for metric in METRICS:
        assert metric(ranking).value == pytest.approx(slow_summary(metric, lists))


@pytest.mark.parametrize("sizes", [[1], [2], [1, 3], [2, 2, 5], [6], [1, 1, 2, 4]])
@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_chance_is_the_average_over_every_order(metric, sizes):
    n = 6
    found = Relevance(
        np.arange(len(sizes)),
        np.cumsum([0, *sizes]),
        np.concatenate([np.arange(s) for s in sizes]),
        np.arange(n),
    )
    pools = [[list(c) for c in itertools.combinations(range(1, n + 1), s)] for s in sizes]
    values = [[slow_metric(metric, ranks) for ranks in pool] for pool in pools]
    if isinstance(metric, MedianRank):
        common = math.lcm(*map(len, values))
        pooled = [v for own in values for v in own for _ in range(common // len(own))]
        assert metric.chance(found) == pytest.approx(median(pooled))
    else:
        assert metric.chance(found) == pytest.approx(mean(map(mean, values)))


def slow_relevance(query, gallery, linked):
    """``(kept queries, sets of gallery ids)``; ids of equal content sets go by the first."""

    def same(space, i, j):
        return i == j or (space.content[i] != 0 and space.content[i] == space.content[j])

    contents = {}
    for row, name in enumerate(gallery.ids):
        key = int(gallery.content[row]) or ("alone", row)
        contents.setdefault(str(name), set()).add(key)
    leader = {n: min(m for m in contents if contents[m] == contents[n]) for n in contents}
    kept = {}
    for q in range(len(query)):
        right = {
            leader[str(gallery.ids[t])]
            for p, s in linked
            for t in range(len(gallery))
            if same(query, q, p) and same(gallery, s, t)
        }
        if right:
            kept[q] = right
    return kept, leader


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=150)
def test_relevance_is_that_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    frame = Frame("given-x", 1)

    def some(n):
        return Space(
            rng.choice(list("abcdef"), n), np.zeros((n, 1)), frame,
            content=rng.integers(0, 6, n).astype(np.uint64),
        )  # fmt: skip

    query, gallery = some(rng.integers(1, 8)), some(rng.integers(1, 10))
    m = rng.integers(1, 6)
    i, j = rng.integers(0, len(query), m), rng.integers(0, len(gallery), m)
    by_pairs = list(zip(i, j, strict=True))
    by_id = [
        (p, s)
        for p in range(len(query))
        for s in range(len(gallery))
        if query.ids[p] == gallery.ids[s]
    ]
    pairs = Pairs.of(left=i, right=j)
    check_relevance(
        lambda: relevance(query, gallery, pairs, "left", "right"), query, gallery, by_pairs
    )
    if by_id:
        check_relevance(lambda: relevance_by_id(query, gallery), query, gallery, by_id)


def check_relevance(build, query, gallery, linked):
    found, (kept, leader) = build(), slow_relevance(query, gallery, linked)
    assert found.queries.tolist() == sorted(kept)
    assert found.dropped == len(query) - len(kept)
    named = {}
    for row, name in enumerate(gallery.ids):
        assert named.setdefault(found.item_of[row], leader[str(name)]) == leader[str(name)]
    assert len(named) == found.n_items == len(set(leader.values()))
    for number, q in enumerate(found.queries):
        assert {named[item] for item in found.of(number)} == kept[q]


def test_trec_eval_agrees():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(0)
    q, n, dim = 60, 150, 12
    x = rng.standard_normal((q, dim)).astype(np.float32)
    y = rng.standard_normal((n, dim)).astype(np.float32)
    right = [rng.choice(n, rng.integers(1, 15), replace=False) for _ in range(q)]
    found = Relevance(
        np.arange(q), np.cumsum([0, *map(len, right)]), np.concatenate(right), np.arange(n)
    )
    scores = x @ y.T
    assert all(len(np.unique(row)) == n for row in scores)
    judged = {str(i): {f"d{j}": 1 for j in right[i]} for i in range(q)}
    run = {str(i): {f"d{j}": float(scores[i, j]) for j in range(n)} for i in range(q)}
    wanted = {"recip_rank": MRR(), "ndcg_cut_10": NDCG(10), "success_10": Recall(10), "map": MAP()}
    theirs = pytrec_eval.RelevanceEvaluator(
        judged, {"recip_rank", "ndcg_cut.10", "success.10", "map"}
    ).evaluate(run)
    ranking = rank_queries(x, y, found)
    for name, ours in wanted.items():
        expected = [theirs[str(i)][name] for i in range(q)]
        assert ours.per_query(ranking) == pytest.approx(expected)
