"""What scores mean: probabilities, "nothing relevant", mixed lists, and the choice behind them."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from conjoin.alignment.binding import Binding
from conjoin.errors import ConjoinError, FrameError
from conjoin.retrieval.calibration.calibration import CONTEXT, GROWN, Calibration, told
from conjoin.retrieval.calibration.cross_fit import Rehearsal
from conjoin.retrieval.calibration.fit import Fitted, Lists, calibrate, carried, fit_curve, logistic
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.calibration.reliability import expected_error, trust
from conjoin.retrieval.hits import Hit
from conjoin.retrieval.hubness.choose import best_ranks, simultaneous
from conjoin.retrieval.hubness.report import Hubness, never, skewness
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.ranking.choose_fair import Mixed, choose
from conjoin.retrieval.ranking.modality_fair import MIXINGS, Mixing
from conjoin.spaces import Frame, Space, unit
from test_evaluation import bed_of, fitted, planted


def planted_lists(queries=600, k=CONTEXT, seed=0):
    """Lists whose hits are right with a known probability: logit = 8 s − 3."""
    rng = np.random.default_rng(seed)
    scores = -np.sort(-rng.uniform(-0.2, 0.8, (queries, k)), axis=1)
    likely = 1 / (1 + np.exp(-(8 * scores - 3)))
    right = rng.random((queries, k)) < likely
    without = np.where(right, -0.2, scores)
    without = -np.sort(-without, axis=1)
    rows = np.tile(np.arange(k), (queries, 1))
    partners = np.empty(queries, dtype=object)
    return likely, Lists(
        scores, without, right, rows, scores, np.arange(queries), partners,
        np.ones(queries, dtype=np.int64), np.arange(queries) % 5, np.arange(queries), 100,
    )  # fmt: skip


def test_a_planted_curve_is_found_and_keeps_its_word():
    likely, lists = planted_lists()
    made = calibrate(lists, "f", "cosine", 100)
    assert np.abs(made.held_out - likely).mean() < 0.03
    error, _, _, ideal, table = expected_error(
        made.held_out[:, 0], lists.right[:, 0].astype(float), lists.groups
    )
    assert error < 3 * ideal
    assert sum(count for _, _, count in table) == 600
    # At most the stated share is refused; lists that are likelier right than not never are.
    assert made.calibration.facts["kept"] >= 0.93


@pytest.mark.parametrize("curve", ["logistic", "isotonic", "context"])
def test_probability_rises_with_the_score_within_a_list(curve):
    _, lists = planted_lists()
    params = fit_curve(lists.scores, lists.right, curve)
    p = Calibration("f", "cosine", 100, curve, params, 0.1).probabilities(lists.scores)
    assert (np.diff(p, axis=1) <= 1e-12).all()
    assert ((p > 0) & (p < 1)).all()


def test_a_curve_that_would_fall_is_refused():
    _, lists = planted_lists()
    with pytest.raises(ConjoinError, match="falls with the score"):
        fit_curve(-lists.scores, lists.right, "logistic")
    with pytest.raises(ConjoinError, match="give 40"):
        calibrate(planted_lists(20)[1], "f", "cosine", 100)


def test_coefficients_are_those_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2)) * [1, 30] + [0, 5]
    y = rng.random(400) < 1 / (1 + np.exp(-(x[:, 0] - 0.05 * x[:, 1])))
    oracle = LogisticRegression(C=1e8, tol=1e-10, max_iter=5000).fit(x, y)
    found = logistic(np.column_stack([np.ones(400), x]), y)
    np.testing.assert_allclose(found[1:], oracle.coef_[0], rtol=1e-3)
    assert found[0] == pytest.approx(oracle.intercept_[0], rel=2e-2, abs=2e-3)


def test_more_rows_make_any_score_less_likely_until_it_is_stale():
    made = Calibration("f", "cosine", 100, "logistic", {"beta": [0.0, 4.0]}, 0.5)
    p = made.probabilities(np.array([0.3]), 100)
    more = made.probabilities(np.array([0.3]), 150)
    assert more / (1 - more) == pytest.approx(p / (1 - p) * 100 / 150)
    assert made.least(150) < made.least(100)
    hits = (Hit("a", "x", 0, 0.3, 1, {"cosine": 0.3}),)
    assert told(hits, made, 150)[0].probability == pytest.approx(more[0])
    assert told(hits, made, int(100 * GROWN) + 1)[0].probability is None
    assert told(hits, made, int(100 / GROWN) - 1)[0].probability is None


@cache
def world():
    bed = bed_of(planted("abc", n=220, noise=0.5), ["ab", "ac"], held=60)
    binding = fitted(bed, "ridge", "a")
    return bed, binding, Rules.rehearse(binding, bed.spaces, bed.train)


@cache
def scenes():
    bed, binding, _ = world()
    return Rehearsal(binding, bed.spaces, bed.train).scenes


def test_a_rehearsal_holds_out_what_it_asks():
    assert {(s.query, s.target) for s in scenes()} == {
        (a, b) for a in "abc" for b in "abc" if a != b
    }  # fmt: skip
    for scene in scenes():
        assert np.isin(scene.rows, np.arange(60)).sum() == 0, "test rows take no part"
        if not scene.whole:
            assert (scene.own.gallery == -1).all(), "the fold's own rows were not trained on"
        assert scene.paired == ("a" in (scene.query, scene.target))


def test_rules_survive_json():
    rules = world()[2]
    again = Rules.from_json(rules.to_json())
    assert again.to_json() == rules.to_json()
    assert again.correctors == dict(rules.correctors)
    assert set(rules.calibrations) == {(a, b) for a in "abc" for b in "abc" if a != b}


def index_of(tmp_path=None):
    bed, binding, rules = world()
    bound = {name: binding.bind(name, space) for name, space in bed.spaces.items()}
    return Index.build(
        bound, rules.corrections(binding, bed.spaces, bed.train, bound),
        calibrations=rules.serving(bound), mixing=rules.mixing,
    )  # fmt: skip


def test_hits_say_how_likely_they_are_and_an_index_keeps_it(tmp_path):
    bed, binding, _ = world()
    query = binding.bind("a", bed.spaces["a"].take(np.array([3])))
    made = index_of()
    made.save(tmp_path)
    again = Index.open(tmp_path)
    for index in (made, again):
        found = index.search(query, "a", into=["b", "c"], k=3)
        for name in "bc":
            p = [hit.probability for hit in found.lists[name]]
            assert p == sorted(p, reverse=True)
            longer = index.search(query, "a", into=[name], k=12).lists[name]
            assert [h.probability for h in longer[:3]] == pytest.approx(p)
    assert made.search(query, "a", k=3).to_json() == again.search(query, "a", k=3).to_json()


def test_a_query_like_no_other_is_said_to_have_no_answer():
    """Two crowds of queries, one calibrated: the other is refused, whatever it scores."""
    rng = np.random.default_rng(0)
    frame = Frame.mint("given", "t", 8, {})
    apart = 4 * np.eye(1, 8)
    known = unit(rng.normal(size=(60, 8)) + apart).astype(np.float32)
    odd = unit(rng.normal(size=(5, 8)) - apart).astype(np.float32)
    ids = np.arange(60).astype(str)
    spaces = {"a": Space(ids, known, frame), "b": Space(ids, known, frame)}
    sure = Calibration(frame.id, "cosine", 60, "logistic", {"beta": [0.0, 1.0]}, 0.0,
                       {"keep": 0.95, "near": 0.5, "bank": 60}, 60)  # fmt: skip
    index = Index.build(spaces, calibrations={("a", "b"): sure})
    asked = Space(np.array([f"q{i}" for i in range(5)]), odd, frame)
    found = index.search_many(asked, "a", into=["b"])
    assert all("like none this was fitted to" in hits.nothing["b"] for hits in found)
    own = index.search_many(spaces["a"], "a", into=["b"])
    assert not any(hits.nothing for hits in own)
    likeness = known @ known.T
    np.fill_diagonal(likeness, -1)
    expected = -np.sort(-likeness, axis=1)[:, :5].mean(axis=1)
    near = index.near(spaces["a"], known, "a", {"b": sure})
    np.testing.assert_allclose(near, expected, atol=1e-6)


def test_a_list_below_the_threshold_is_said_to_hold_nothing():
    bed, binding, rules = world()
    bound = {name: binding.bind(name, space) for name, space in bed.spaces.items()}
    one = replace(rules.calibrations["a", "b"], score="cosine", facts={"keep": 0.95})
    for threshold, count in ((0.0, 0), (1.0, 40)):
        held = {("a", "b"): replace(one, threshold=threshold).serving(len(bound["b"]))}
        index = Index.build(bound, calibrations=held)
        found = index.search_many(bound["a"].take(np.arange(40)), "a", into=["b"])
        assert sum("b" in hits.nothing for hits in found) == count
    said = "nothing relevant: that any of the first hits is the partner has the chance"
    assert found[0].nothing["b"].startswith(said)
    assert found[0].lists["b"], "the hits are shown all the same"


def test_a_calibration_of_another_frame_or_score_is_refused():
    bed, binding, rules = world()
    bound = {name: binding.bind(name, space) for name, space in bed.spaces.items()}
    one = rules.calibrations["a", "b"]
    with pytest.raises(FrameError, match="run: conjoin fit"):
        Index.build(bound, calibrations={("a", "b"): replace(one, frame="other")})
    with pytest.raises(ConjoinError, match="reads strange"):
        Index.build(bound, calibrations={("a", "b"): replace(one, score="strange")})


def test_trust_reads_held_out_queries():
    bed, binding, rules = world()
    found = trust(bed, binding, rules)
    assert {(r.query, r.target) for r in found.reliability} == set(rules.calibrations)
    for one in found.reliability:
        assert one.queries == one.rows == 60
        assert one.kept[0] > 0.7
        assert one.error_low <= one.error <= one.error_high
    assert {one.method for one in found.mixed} == set(MIXINGS)
    for one in found.mixed:
        assert sum(one.exposure.values()) == pytest.approx(1)
    assert type(found).from_json(found.to_json()).to_json() == found.to_json()


def hit(item, modality, score, rank, p=None):
    return Hit(item, modality, 0, score, rank, {"cosine": score}, probability=p)


LISTS = {
    "x": (hit("a", "x", 0.9, 1, 0.4), hit("b", "x", 0.8, 2, 0.3)),
    "y": (hit("b", "y", 0.2, 1, 0.5), hit("c", "y", 0.1, 2, 0.2)),
}
SPREAD = {("q", "x"): (0.85, 0.05), ("q", "y"): (0.1, 0.1)}


@pytest.mark.parametrize(
    ("method", "order", "worth"),
    [
        ("rrf", "bac", 1 / 61 + 1 / 62),
        ("raw", "abc", 0.9),
        ("centred", "bac", 0.1),
        ("z-score", "abc", 1.0),
        ("probability", "bac", 1 - 0.7 * 0.5),
    ],
)
def test_mixing_by_hand(method, order, worth):
    found = Mixing(method, SPREAD).mix(LISTS, 3, "q")
    assert "".join(h.id for h in found) == order
    assert found[0].score == pytest.approx(worth)
    assert [h.rank for h in found] == [1, 2, 3]


def test_mixing_falls_back_where_a_list_lacks_what_it_reads():
    plain = {
        name: tuple(replace(h, probability=None) for h in hits) for name, hits in LISTS.items()
    }
    for method in ("probability", "z-score"):
        found = Mixing(method).mix(plain, 3, "other")
        assert [h.id for h in found] == [h.id for h in Mixing().mix(LISTS, 3)]
    with pytest.raises(ConjoinError, match="did you mean z-score"):
        Mixing("zscore")


def mixed(method, gain, off):
    return Mixed("q", method, 0.5, gain, {}, {}, off, 100)


def test_a_way_that_is_unfair_or_not_clearly_better_is_not_chosen():
    base = mixed("rrf", (0.0, 0.0, 0.0), 0.0)
    unfair = mixed("probability", (0.2, 0.1, 0.3), 0.4)
    unsure = mixed("raw", (0.05, -0.01, 0.1), 0.0)
    good = mixed("z-score", (0.03, 0.01, 0.05), 0.05)
    assert choose([base, unfair, unsure]) == "rrf"
    assert choose([base, unfair, unsure, good]) == "z-score"


# Hubs and the decision


def test_hubness_by_hand():
    lists = np.array([[0, 1], [0, 2], [0, 1], [0, 3]])
    counts = np.bincount(lists.ravel(), minlength=6)
    found = Hubness.of(lists, 6, np.arange(4))
    off = counts - counts.mean()
    assert found.skewness == pytest.approx((off**3).mean() / counts.std() ** 3)
    assert found.never == pytest.approx(2 / 6)
    assert found.skewness_low < found.skewness < found.skewness_high
    assert float(never(np.array([0, 1]))) == 0.5
    assert float(skewness(np.ones(5))) == 0.0


def test_intervals_hold_for_all_tries_at_once():
    rng = np.random.default_rng(0)
    missed_together = missed_alone = 0
    for seed in range(25):
        gains, groups = rng.normal(size=(60, 15)), np.arange(60)
        together = simultaneous(gains, groups, seed, draws=300)
        error = gains.std(axis=0) / np.sqrt(60)
        missed_together += any(low > 0 for _, low, _ in together)
        missed_alone += bool((gains.mean(axis=0) > 1.96 * error).any())
        assert all(low < mean < high for mean, low, high in together)
    assert missed_together <= 3 < missed_alone


def test_ranks_are_those_of_a_sort():
    scene = next(s for s in scenes() if s.whole)
    scores = scene.q[scene.wanted.queries] @ scene.x.T
    found = best_ranks(scores.copy(), scene.wanted, 0)
    for line in range(len(scores)):
        own = scores[line][np.isin(scene.wanted.item_of, scene.wanted.of(line))].max()
        assert found[line] == 1 + (scores[line] > own).sum()


def test_a_binding_fitted_again_gives_the_same_rules():
    bed = bed_of(planted("ab", n=120, noise=0.5), ["ab"], held=60)
    rules = [
        Rules.rehearse(
            Binding.fit(bed.spaces, bed.train, method="ridge", hub="a"), bed.spaces, bed.train
        ).to_json()
        for _ in range(2)
    ]
    assert rules[0] == rules[1]


# A query's own modality


def pieces_of(space, noise=0.6):
    """Rows that are known in part: some coordinates of each, and noise."""
    rng = np.random.default_rng(5)
    x = np.asarray(space.vectors) * (rng.random(space.vectors.shape) < 0.7)
    x = (x + noise * x.std() * rng.normal(size=x.shape)).astype(np.float32)
    return replace(space, vectors=x)


@cache
def by_pieces():
    bed, binding, _ = world()
    pieces = {name: pieces_of(space) for name, space in bed.spaces.items()}
    return bed, binding, pieces, Rules.rehearse(binding, bed.spaces, bed.train, pieces=pieces)


def test_pieces_tell_what_a_score_of_ones_own_modality_means():
    _, _, pieces, rules = by_pieces()
    plain = world()[2]
    own = {(name, name) for name in pieces}
    assert own <= set(rules.calibrations)
    assert not own & set(plain.calibrations)
    for edge, one in plain.calibrations.items():  # the other directions are as they were
        assert rules.calibrations[edge] == one
    name = next(iter(pieces))
    exact = rules.calibrations[name, name]
    # Many items may be met alike: only a strange query has no answer there.
    assert exact.nothing(1e-4) is None
    assert exact.odd(-1.0) is not None
    low, high = exact.probabilities(np.array([[0.9] + [0.2] * 9, [0.2] * 10]))[:, 0]
    assert low > 0.5 > high


def test_pieces_are_asked_among_rows_their_maps_have_not_seen():
    bed, binding, pieces, _ = by_pieces()
    rehearsal = Rehearsal(binding, bed.spaces, bed.train, pieces=pieces)
    for scene in rehearsal.asked_by_pieces:
        train = rehearsal.folds.train(scene.fold)
        assert not np.isin(scene.rows, train.column(scene.target)).any()
        if scene.query == scene.target:
            wanted = scene.rows[np.isin(scene.wanted.item_of, scene.wanted.of(0))]
            at = scene.wanted.queries[0]
            likeness = scene.x @ scene.q[at]
            assert scene.rows[likeness.argmax()] in wanted or likeness.max() < 0.99


def test_a_list_of_everything_has_a_likelihood_in_every_modality():
    bed, binding, pieces, rules = by_pieces()
    bound = {name: binding.bind(name, space) for name, space in bed.spaces.items()}
    same = {edge: one for edge, one in rules.serving(bound).items() if edge[0] == edge[1]}
    index = Index.build(bound, calibrations=same, mixing=rules.mixing)
    name = next(iter(pieces))
    cut = binding.bind(name, pieces[name].take(np.array([3])))
    found = index.search(cut, name)
    assert all(hit.probability is not None for hit in found.lists[name])
    assert {fact["source"] for fact in rules.mixing.facts} == set(pieces)
    for fact in rules.mixing.facts:
        assert set(fact["exposure"]) == set(pieces)  # its own modality among them
        assert sum(fact["target"].values()) == pytest.approx(1)


def test_trust_says_what_ones_own_modality_is_worth():
    bed, binding, pieces, rules = by_pieces()
    held = {name: pieces[name].take(bed.rows[name]) for name in pieces}
    found = trust(bed, binding, rules, pieces=held)
    own = [one for one in found.reliability if one.query == one.target]
    assert {one.query for one in own} == set(pieces)
    for one in own:
        assert one.queries == len(bed.rows[one.query])
        assert one.error < 0.25
        assert one.kept[0] > 0.8
    for one in found.mixed:
        assert set(one.exposure) == set(pieces)


def test_other_lists_are_told_by_curves_that_saw_none_of_their_fold():
    rng = np.random.default_rng(2)
    fold = np.repeat([0, 1], 60)
    scores = np.sort(rng.random((120, 4)), axis=1)[:, ::-1]
    right = scores > np.where(fold == 0, 0.3, 0.7)[:, None]  # the folds disagree
    flat = np.zeros((120, 4), dtype=np.int64)
    lists = Lists(scores, scores, right, flat, scores, fold, fold, fold, fold, fold, 50)
    params = fit_curve(scores, right, "logistic")
    fitted = Fitted(Calibration("a", "cosine", 50, "logistic", params, 0.0), scores)
    found = carried(fitted, lists, lists).held_out
    strict, easy = found[fold == 0], found[fold == 1]
    between = (scores > 0.4) & (scores < 0.6)
    assert strict[between[fold == 0]].max() < 0.5 < easy[between[fold == 1]].min()
