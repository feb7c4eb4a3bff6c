"""What every catalogue row of kind "measure" that reads a ranking keeps."""

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.metrics.measurement import Measurement
from conjoin.metrics.retrieval.ranks import Ranking, rank_queries
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.metrics.retrieval.scores import Metric, chance_measurements, with_intervals

MADE = {name: row.make() for name, row in of_kind("metric").items()
        if row.target.startswith("conjoin.metrics.retrieval.scores:")}  # fmt: skip

#: Toy rankings among 20 items: ranks 1 and 3; rank 4; ranks 11 and 12.
TOY = Ranking(np.array([1, 3, 4, 11, 12]), np.array([0, 2, 3, 5]), 20)
KNOWN = {
    "recall@1": 1 / 3,
    "recall@5": 2 / 3,
    "recall@10": 2 / 3,
    "mrr": (1 + 1 / 4 + 1 / 11) / 3,
    "ndcg@10": ((1 + 1 / 2) / (1 + 1 / np.log2(3)) + 1 / np.log2(5) + 0) / 3,
    "map": ((1 + 2 / 3) / 2 + 1 / 4 + (1 / 11 + 2 / 12) / 2) / 3,
    "median_rank": 4.0,
}
every = pytest.mark.parametrize("metric", MADE.values(), ids=MADE.keys())


def problem(seed, queries=300, items=120, noise=1.0):
    """Whole numbers (exact products), several rows an item, several answers a query."""
    rng = np.random.default_rng(seed)
    item_of = np.concatenate([np.arange(items), rng.integers(0, items, items // 2)])
    y = rng.integers(-9, 10, (len(item_of), 8))
    own = rng.integers(0, items, queries)
    x = y[own] + np.rint(noise * rng.standard_normal((queries, 8)) * 5).astype(int)
    right = [np.unique([o, *rng.integers(0, items, rng.integers(0, 7))]).astype(int) for o in own]
    offsets = np.cumsum([0, *map(len, right)])
    return x, y, Relevance(np.arange(queries), offsets, np.concatenate(right), item_of)


@pytest.mark.parametrize("name", KNOWN)
def test_known_value(name):
    found = MADE[name](TOY)
    assert found.value == pytest.approx(KNOWN[name])
    assert found.n == 3


@every
def test_it_is_a_metric_named_as_its_row(metric):
    assert isinstance(metric, Metric)
    assert MADE[metric.name] == metric
    assert isinstance(metric(TOY), Measurement)
    assert metric.meaning.endswith(".")


@every
def test_perfect_and_worst_are_the_ends_of_its_range(metric):
    best = Ranking(np.array([1, 1, 2, 3]), np.array([0, 1, 4]), 50)
    worst = Ranking(np.array([50, 48, 49, 50]), np.array([0, 1, 4]), 50)
    high, low = (metric(best), metric(worst)) if metric.higher_is_better else (
        metric(worst), metric(best))  # fmt: skip
    good = high if metric.higher_is_better else low
    assert good.value == pytest.approx(good.range[1 if metric.higher_is_better else 0])
    assert low.range[0] <= low.value < high.value <= high.range[1]


@every
def test_a_better_ranking_is_never_worse(metric):
    rng = np.random.default_rng(0)
    sign = 1 if metric.higher_is_better else -1
    gained = 0.0
    for _ in range(50):
        ranks = np.sort(rng.choice(np.arange(2, 40), 4, replace=False))
        better = ranks.copy()
        better[0] = rng.integers(1, ranks[0])
        one, other = (metric(Ranking(r, np.array([0, 4]), 40)).value for r in (ranks, better))
        assert sign * (other - one) >= 0
        gained += sign * (other - one)
    assert gained > 0


@every
def test_per_query_values_make_the_value(metric):
    values = metric.per_query(TOY)
    assert values.shape == (3,)
    summary = np.median if metric.average == "median" else np.mean
    assert summary(values) == pytest.approx(metric(TOY).value)


@every
def test_shuffled_ids_give_chance(metric):
    x, y, found = problem(1, queries=600)
    rng = np.random.default_rng(2)
    mixed = Relevance(
        found.queries, found.offsets,
        np.concatenate([rng.choice(found.n_items, c, replace=False) for c in found.counts]),
        found.item_of,
    )  # fmt: skip
    level = metric.chance(mixed)
    assert metric.range[0] <= level <= metric.range[1]
    shuffled = with_intervals(rank_queries(x, y, mixed), [metric], np.arange(600), level=0.999)[0]
    assert shuffled.low <= level <= shuffled.high
    real = with_intervals(rank_queries(x, y, found), [metric], np.arange(600), level=0.999)[0]
    assert real.low > level if metric.higher_is_better else real.high < level
    assert chance_measurements(mixed, [metric.name])[0].value == level


@every
def test_gallery_order_does_not_matter(metric):
    x, y, found = problem(3)
    order = np.random.default_rng(4).permutation(len(y))
    moved = Relevance(found.queries, found.offsets, found.items, found.item_of[order])
    assert metric(rank_queries(x, y[order], moved)) == metric(rank_queries(x, y, found))


@every
def test_query_order_does_not_matter(metric):
    values = metric.per_query(TOY)
    turned = Ranking(np.array([11, 12, 4, 1, 3]), np.array([0, 2, 3, 5]), 20)
    assert metric.per_query(turned) == pytest.approx(values[::-1])


@every
@pytest.mark.parametrize("scale", [0.25, 3.0, 1000.0])
def test_scores_scaled_by_a_positive_number_rank_the_same(metric, scale):
    x, y, found = problem(5)
    offset = np.random.default_rng(6).integers(0, 9, len(y))
    plain = rank_queries(x, y, found, offset=offset)
    scaled = rank_queries(x, y, found, scale=scale, offset=scale * offset)
    assert metric(scaled) == metric(plain)


@every
def test_vectors_all_the_same_are_no_better_than_chance(metric):
    n = 60
    found = Relevance(np.arange(n), np.arange(n + 1), np.arange(n), np.arange(n))
    flat = metric(rank_queries(np.ones((n, 5)), np.full((n, 5), 0.3), found)).value
    level = metric.chance(found)
    assert flat <= level if metric.higher_is_better else flat >= level
