"""Terms, captions that differ by one word, second looks, and suggestions."""

import numpy as np
import pytest

from conjoin.errors import ConjoinError, FrameError
from conjoin.retrieval.hits import Hit
from conjoin.retrieval.queries.composition import Conjunction, Term, compose, edits, parts_of
from conjoin.retrieval.queries.suggestion import apart, clusters, suggest
from conjoin.retrieval.ranking.rerank import Cutoff, rerank, score_pairs
from conjoin.spaces import Space, unit


def term(row, weight=1.0, name="mine"):
    return Term(Space.of(np.atleast_2d(row).astype(float), ["q"], name=name), weight, "t")


def test_parts_add_up_and_what_is_not_wanted_is_taken_off():
    found = compose([term([1, 0, 0]), term([0, 2, 0]), term([0, 0, 1], -0.5)])
    np.testing.assert_allclose(found.vectors[0], unit(np.array([1, 1, -0.5])), atol=1e-6)
    assert compose([term([1, 0])], Conjunction().restore({})) is None


@pytest.mark.parametrize(
    ("terms", "said", "kind"),
    [([], "no part", ConjoinError), ([term([1, 0], -1.0)], "only says", ConjoinError),
     ([term([1, 0]), term([1, 0], name="other")], "frame", FrameError)],
)  # fmt: skip
def test_bad_terms_are_refused(terms, said, kind):
    with pytest.raises(kind, match=said):
        parts_of(terms)


def test_parts_that_cancel_out_are_refused():
    with pytest.raises(ConjoinError, match="cancel"):
        compose([term([1, 0]), term([1, 0], -1.0)])
    with pytest.raises(ConjoinError, match="weighs"):
        term([1, 0], 0.0)


def test_edits_are_captions_with_one_word_in_place_of_another():
    said = [
        "red heart", "blue heart", "waving hand: dark skin tone", "waving hand: light skin tone",
        "red square", "heart",
    ]  # fmt: skip
    found = {(e.reference, e.target, e.words) for e in edits(said)}
    assert found == {
        (0, 1, "blue"), (1, 0, "red"), (2, 3, "light"), (3, 2, "dark"), (0, 4, "square"),
        (4, 0, "heart"),
    }  # fmt: skip


def test_large_families_are_bounded():
    found = edits([f"flag {chr(97 + at)}{chr(97 + at)}" for at in range(26)], most=3)
    assert len(found) == 26 * 3
    assert {e.reference for e in found} == set(range(26))


# A second look


def hits(scores):
    return tuple(Hit(f"i{at}", "text", 0, s, at + 1, {"cosine": s}) for at, s in enumerate(scores))


def test_new_scores_order_and_old_ones_stay():
    found = rerank(hits([0.9, 0.8, 0.7]), np.array([1.0, 5.0, 1.0]))
    assert [hit.id for hit in found] == ["i1", "i0", "i2"]
    assert [hit.rank for hit in found] == [1, 2, 3]
    assert found[0].scores == {"cosine": 0.8, "rerank": 5.0}


@pytest.mark.parametrize(
    ("scorer", "said"),
    [(lambda pairs: [1.0], "gave shape"), (lambda pairs: [np.nan] * 2, "NaN"),
     (lambda pairs: 1 / 0, "ZeroDivisionError"), (lambda pairs: ["a", "b"], "ValueError")],
)  # fmt: skip
def test_a_bad_scorer_is_refused(scorer, said):
    with pytest.raises(ConjoinError, match=said):
        score_pairs(scorer, [("q", "a"), ("q", "b")], "python:m:f")


def f1_of(threshold, scores, right, most):
    true = kept = total = 0
    for line, good in zip(scores, right, strict=True):
        total += sum(good)
        for s, g in list(zip(line, good, strict=True))[:most]:
            kept += s >= threshold
            true += g and s >= threshold
    return 2 * true / (kept + total)


def test_the_threshold_is_the_best_there_is():
    rng = np.random.default_rng(0)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = [np.sort(rng.integers(0, 9, 6) / 8)[::-1].tolist() for _ in range(5)]
        right = [[bool(v) for v in rng.random(6) < 0.4] for _ in range(5)]
        right[0][0] = True
        chosen = Cutoff.choose(scores, right, most=4)
        every = sorted({s for line in scores for s in line[:4]})
        best = max(f1_of(t, scores, right, 4) for t in every)
        assert f1_of(chosen.threshold, scores, right, 4) == pytest.approx(best)
    kept = Cutoff(0.75, 2).apply(hits([0.9, 0.8, 0.78, 0.1]))
    assert [hit.id for hit in kept] == ["i0", "i1"]
    with pytest.raises(ConjoinError, match="no judged hit"):
        Cutoff.choose([[1.0]], [[False]])


# Suggestions


def test_clusters_are_found_and_named_by_what_sets_them_apart():
    rng = np.random.default_rng(0)
    centres = np.eye(3)
    owner = np.repeat([0, 1, 2], [6, 5, 4])
    vectors = unit(centres[owner] + 0.05 * rng.normal(size=(15, 3)))
    ids = [f"i{at}" for at in range(15)]
    names = ("cat animal fur", "car metal wheels", "tree green leaf")
    texts = {i: f"thing {names[k]}" for i, k in zip(ids, owner, strict=True)}
    groups = clusters(vectors)
    assert sorted(map(len, groups), reverse=True) == [6, 5, 4]
    found = suggest("thing", ids, vectors, texts, ask=lambda text: [
        i for i in ids if texts[i].split()[1] in text or texts[i].split()[2] in text
    ])  # fmt: skip
    assert len(found) == 3
    for each in found:
        assert each.text.startswith("thing ")
        assert "thing" not in each.words
        assert each.specificity == each.representativeness == 1.0
        assert 0 < each.similarity < 1
        assert len({texts[i] for i in each.items}) == 1
    assert found == suggest("thing", ids, vectors, texts, ask=lambda text: [
        i for i in ids if texts[i].split()[1] in text or texts[i].split()[2] in text
    ])  # fmt: skip


def test_words_are_ordered_by_log_odds():
    inside, outside = [{"a", "b"}, {"a", "c"}, {"a", "b"}], [{"b"}, {"b", "d"}]
    assert apart([{x * 2 for x in s} for s in inside], [{x * 2 for x in s} for s in outside],
                 set()) == ("aa",)  # fmt: skip


def test_hits_all_alike_are_one_cluster():
    assert clusters(np.ones((7, 3))) == [list(range(7))]
    assert suggest("x", list("abcdefg"), np.ones((7, 3)), dict.fromkeys("abcdefg", "same")) == []
