import numpy as np
import pytest

from conjoin.errors import ConjoinError, FrameError
from conjoin.metrics.measurement import Measurement
from conjoin.metrics.retrieval.ranks import FEW, Ranking, rank_queries
from conjoin.metrics.retrieval.relevance import Relevance, relevance, relevance_by_id
from conjoin.metrics.retrieval.scores import (
    MRR,
    NDCG,
    MedianRank,
    Recall,
    chance,
    evaluate_direction,
    metric,
)
from conjoin.spaces import Frame, Pairs, Space, Tokens
from conjoin.spaces.stack import Stack


def space(ids, content=None, vectors=None, label="joint"):
    vectors = np.eye(len(ids), 4, dtype=np.float32) if vectors is None else vectors
    held = np.empty(0, np.uint64) if content is None else np.array(content, np.uint64)
    frame = Frame.mint("given", label, vectors.shape[1], {"name": label})
    return Space(np.array(list(ids)), vectors, frame, content=held)


def answers(sets, item_of):
    offsets = np.cumsum([0, *map(len, sets)])
    return Relevance(
        np.arange(len(sets)), offsets, np.concatenate(sets).astype(int), np.asarray(item_of)
    )


def sets(found):
    return [found.of(i).tolist() for i in range(len(found))]


def test_pairs_make_many_to_many_answers_and_unanswered_queries_are_counted():
    pairs = Pairs.of(text=[0, 0, 1, -1], image=[1, 2, 0, 3])
    found = relevance(space("abc"), space("wxyz"), pairs, "text", "image")
    assert found.queries.tolist() == [0, 1]
    assert found.dropped == 1
    assert sets(found) == [[1, 2], [0]]


def test_rows_of_one_id_are_one_item():
    pairs = Pairs.of(image=[0, 1], text=[2, 0])
    found = relevance(space("ab"), space(["b", "b", "a", "a"]), pairs, "image", "text")
    assert found.n_items == 2
    assert found.item_of[0] == found.item_of[1] != found.item_of[2] == found.item_of[3]
    assert sets(found) == [[found.item_of[2]], [found.item_of[0]]]


def test_equal_content_is_one_item_and_relevant_to_both():
    found = relevance_by_id(space("abc"), space("abc", [7, 7, 0]))
    assert found.n_items == 2
    assert sets(found)[0] == sets(found)[1] != sets(found)[2]


def test_unknown_content_is_never_equal():
    assert relevance_by_id(space("abc"), space("abc", [0, 0, 0])).n_items == 3


def test_queries_of_equal_content_share_their_answers():
    found = relevance_by_id(space("abc", [5, 5, 6]), space("abc"))
    assert sets(found) == [[0, 1], [0, 1], [2]]


def test_a_shared_caption_is_relevant_but_does_not_chain_items_together():
    gallery = space(["a", "a", "b", "b", "c", "c"], [1, 2, 2, 3, 3, 4])
    found = relevance_by_id(space("abc"), gallery)
    assert found.n_items == 3
    assert sets(found) == [[0, 1], [0, 1, 2], [1, 2]]


def test_subsets_renumber_rows():
    pairs = Pairs.of(text=[0, 1, 2], image=[2, 1, 0])
    whole = space("abc"), space("xyz"), pairs, "text", "image"
    found = relevance(*whole, query_rows=np.array([2, 0]), gallery_rows=np.array([0, 1]))
    assert found.queries.tolist() == [0]
    assert found.dropped == 1
    assert sets(found) == [[0]]
    masked = relevance(*whole, gallery_rows=np.array([False, True, True]))
    assert masked.queries.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: relevance_by_id(space("ab"), space("xy")), "none of 2 queries"),
        (lambda: relevance_by_id(space("ab"), space("ab").take(np.array([], int))), "no rows"),
        (
            lambda: relevance(space("ab"), space("ab"), Pairs.of(t=[3], i=[0]), "t", "i"),
            "row 3 of 2",
        ),
        (lambda: answers([[0], []], [0, 1]), "without an item"),
        (lambda: answers([[0]], [0, 2]), "without a row"),
    ],
)
def test_bad_relevance_is_refused(build, said):
    with pytest.raises(ConjoinError, match=said):
        build()


def line(*scores):
    """Gallery of one dimension: the score of query [1] is the number itself."""
    return np.array(scores, dtype=np.float32)[:, None]


QUERY = np.ones((1, 1), dtype=np.float32)


@pytest.mark.parametrize(
    ("scores", "right", "ranks"),
    [
        ([3, 2, 1], [0], [1]),
        ([3, 2, 1], [2], [3]),
        ([3, 2, 1], [2, 0], [1, 3]),
        ([1, 1], [0], [2]),
        ([1, 1, 1], [1], [2]),
        ([1, 1, 1, 1, 1], [0], [3]),
        ([2, 1, 1, 1, 0], [2], [3]),
        ([1, 1, 1, 1, 0], [0, 1, 4], [2, 3, 5]),
        ([5, 5, 5, 4, 4, 3, 2, 1], [0, 3, 5, 6, 7], [2, 5, 6, 7, 8]),
    ],
)
def test_ties_take_the_middle_rank(scores, right, ranks):
    found = answers([right], range(len(scores)))
    assert rank_queries(QUERY, line(*scores), found).ranks.tolist() == ranks


def test_an_item_scores_as_its_best_row():
    found = answers([[0]], [0, 1, 0, 1, 1, 2])
    ranking = rank_queries(QUERY, line(1, 5, 4, 0, 2, 3), found)
    assert ranking.n_items == 3
    assert ranking.best.tolist() == [2]


def test_offset_and_scale_follow_the_formula():
    found = answers([[0]], [0, 1, 2])
    gallery = line(1, 2, 3)
    offset = np.array([0.0, 3.0, 4.0])
    assert rank_queries(QUERY, gallery, found, offset=offset).best[0] == 1
    assert rank_queries(QUERY, gallery, found, offset=offset, scale=4.0).best[0] == 3
    assert rank_queries(QUERY, gallery, found, offset=offset, scale=1.7).best[0] == 1


def test_blocks_do_not_change_ranks():
    rng = np.random.default_rng(0)
    x, y = rng.integers(-3, 4, (50, 6)), rng.integers(-3, 4, (90, 6))
    item_of = np.concatenate([np.arange(40), rng.integers(0, 40, 50)])
    right = [rng.choice(40, rng.integers(1, 3 * FEW), replace=False) for _ in range(50)]
    found = answers(right, item_of)
    whole = rank_queries(x, y, found)
    for block in (1, 7, 64):
        assert np.array_equal(rank_queries(x, y, found, block=block).ranks, whole.ranks)
    stacked = rank_queries(x, Stack([y[:30], y[30:]]), found)
    assert np.array_equal(stacked.ranks, whole.ranks)


@pytest.mark.parametrize("n", [5, 13, 101, 777])
@pytest.mark.parametrize("dim", [17, 64, 384, 511])
def test_equal_vectors_tie_wherever_they_stand(n, dim):
    """A matrix product rounds equal columns differently at the edges of its tiles."""
    rng = np.random.default_rng(dim)
    gallery = np.repeat(rng.standard_normal((1, dim)).astype(np.float32), n, axis=0)
    queries = rng.standard_normal((17, dim)).astype(np.float32)
    found = answers([[i % n] for i in range(17)], range(n))
    for block in (1, 3, 17):
        ranks = rank_queries(queries, gallery, found, block=block).best
        assert (ranks == (n + 1) // 2).all()


@pytest.mark.parametrize(
    ("queries", "gallery", "options", "said"),
    [
        (np.ones((2, 2)), np.ones((2, 3)), {}, "2 against 3 dimensions"),
        (np.ones((3, 2)), np.eye(2), {}, "3 vectors for 2 rows"),
        (np.ones((2, 2)), np.ones((3, 2)), {}, "3 vectors for 2 rows"),
        (np.array([[0, 1], [np.nan, 1]]), np.eye(2), {}, "query: vector 1 holds NaN"),
        (np.eye(2), np.array([[0, 1], [1, np.inf]]), {}, "gallery: vector 1 holds NaN"),
        (np.eye(2), np.eye(2), {"scale": 0.0}, "scale"),
        (np.eye(2), np.eye(2), {"scale": np.nan}, "scale"),
        (np.eye(2), np.eye(2), {"offset": np.zeros(3)}, "offset"),
        (np.eye(2), np.eye(2), {"offset": np.array([0, np.nan])}, "offset"),
        (np.eye(2), Tokens(np.eye(2), np.arange(3)), {}, "token sets"),
    ],
)
def test_bad_vectors_are_refused(queries, gallery, options, said):
    with pytest.raises(ConjoinError, match=said):
        rank_queries(queries, gallery, answers([[0], [1]], [0, 1]), **options)


def test_metrics_by_name():
    assert metric("recall@7") == Recall(7)
    assert metric("ndcg@10") == NDCG(10)
    assert metric("mrr") == MRR()
    for wrong in ("recal@10", "recall@", "recall@-1", "mrr@10x"):
        with pytest.raises(ConjoinError, match=wrong):
            metric(wrong)
    with pytest.raises(ConjoinError, match="at least 1"):
        metric("recall@0")


def test_one_plain_sentence_in_every_measurement():
    ranking = Ranking(np.array([1, 4]), np.array([0, 1, 2]), 9)
    found = MedianRank()(ranking)
    assert (found.value, found.range, found.low) == (2.5, (1.0, 9.0), None)
    assert found.meaning.endswith(".")
    assert found.to_json()["range"] == [1.0, 9.0]


@pytest.mark.parametrize(
    "change", [{"value": float("nan")}, {"value": 1.5}, {"low": 0.1}, {"low": 0.6, "high": 0.5}]
)
def test_a_measurement_holds_together(change):
    fields = {
        "name": "x", "value": 0.5, "low": None, "high": None, "n": 2, "range": (0.0, 1.0),
        "higher_is_better": True, "meaning": "m.",
    }  # fmt: skip
    Measurement(**fields)
    with pytest.raises(ConjoinError, match="x"):
        Measurement(**{**fields, **change})


def test_evaluate_measures_with_intervals_by_group():
    rng = np.random.default_rng(1)
    ids = np.arange(200).astype(str)
    x = rng.standard_normal((200, 16)).astype(np.float32)
    left = space(ids, vectors=x)
    right = space(ids, vectors=x + 1.5 * rng.standard_normal(x.shape).astype(np.float32))
    found = relevance_by_id(left, right)
    rows = evaluate_direction(left, right, found)
    assert [row.name for row in rows][:3] == ["recall@1", "recall@5", "recall@10"]
    assert all(row.low <= row.value <= row.high and row.n == 200 for row in rows)
    assert rows[2].value > chance(found, "recall@10")
    assert rows == evaluate_direction(left, right, found)
    single = evaluate_direction(left, right, found, np.zeros(200), ["recall@10"])
    assert (single[0].low, single[0].value) == (None, rows[2].value)
    coarse = evaluate_direction(left, right, found, np.arange(200) // 40, ["recall@10"])
    assert coarse[0].low != rows[2].low


def test_evaluate_scores_cosine_frames_by_angle():
    left = space("ab", vectors=np.array([[1.0, 0.0], [0.0, 1.0]], np.float32))
    right = space("ab", vectors=np.array([[0.1, 0.0], [9.0, 9.1]], np.float32))
    row = evaluate_direction(left, right, relevance_by_id(left, right), metrics=["recall@1"])
    assert row[0].value == 1


def test_evaluate_refuses_different_frames_and_lost_groups():
    left, right = space("ab"), space("ab", label="other")
    found = relevance_by_id(left, right)
    with pytest.raises(FrameError, match="apply the binding's map"):
        evaluate_direction(left, right, found)
    with pytest.raises(ConjoinError, match="groups"):
        evaluate_direction(left, left, found, np.arange(3))


def test_groups_are_those_of_the_queries_with_an_answer():
    left, right = space("abcd"), space("abc")
    found = relevance_by_id(left, right)
    rows = evaluate_direction(left, right, found, np.array([0, 0, 1]), ["recall@1"])
    assert (rows[0].value, rows[0].n) == (1, 3)
    with pytest.raises(ConjoinError, match="4 for 3 queries"):
        evaluate_direction(left, right, found, np.arange(4))


def test_evaluate_ranks_hyperbolic_frames_by_distance():
    def lift(points):
        points = np.array(points, np.float32)
        time = np.sqrt(1 + (points**2).sum(axis=1, keepdims=True))
        return np.concatenate([points, time], axis=1)

    frame = Frame.mint("given", "h", 2, {"name": "h"}, score="lorentz", curvature=1.0)
    query = Space(np.array(["a"]), lift([[1.0]]), frame)
    gallery = Space(np.array(["a", "b"]), lift([[1.2], [5.0]]), frame)
    row = evaluate_direction(query, gallery, relevance_by_id(query, gallery), metrics=["mrr"])
    assert row[0].value == 1


def test_a_ranking_and_its_metrics_say_the_same():
    ranking = Ranking(np.array([1, 3, 4, 11, 12]), np.array([0, 2, 3, 5]), 20)
    pairs = {
        "recall@5": ranking.recall(5), "mrr": ranking.mrr(), "ndcg@5": ranking.ndcg(5),
        "map": ranking.map(), "median_rank": ranking.median_rank(),
    }  # fmt: skip
    assert {name: metric(name)(ranking).value for name in pairs} == pairs
