"""Each way an upgrade goes wrong without a sound, planted and caught; and nothing is said where all
is well."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from conjoin.alignment import guards
from conjoin.alignment.binding import Binding
from conjoin.alignment.merge import merge
from conjoin.errors import ConjoinError, FrameError
from conjoin.maps.base import Affine, identity
from conjoin.metrics.retrieval.relevance import relevance_by_id
from conjoin.retrieval.calibration.calibration import Calibration
from conjoin.spaces import Pairs, Space
from conjoin.stats.bootstrap import interval
from conjoin.upgrade.options import Curve, Rates, together
from conjoin.upgrade.plan import Sample, curve, hits
from conjoin.upgrade.refit import Way, by_row, chain_report, upgraded
from conjoin.upgrade.regression import Asked, regression

RNG = np.random.default_rng(0)
N, D = 300, 12


def turn(d, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


Z = RNG.normal(size=(N, D)) * np.linspace(2, 0.5, D)
OLD, NEW = Z @ turn(D, 1) + 0.05 * RNG.normal(size=(N, D)), Z @ turn(D, 2)
BACK = Affine(turn(D, 2).T @ turn(D, 1), np.zeros(D), np.zeros(D))


def test_a_bridge_that_leads_on_passes_and_the_wrong_way_is_caught():
    assert guards.check_direction(BACK, NEW, OLD) > 0.9
    # Both encoders are of one width: nothing but the rows themselves can tell.
    with pytest.raises(ConjoinError, match="wrong way"):
        guards.check_direction(BACK.inverse, NEW, OLD)
    with pytest.raises(ConjoinError, match="wrong way"):
        guards.check_direction(identity(D), NEW, OLD)
    narrow = Affine(RNG.normal(size=(5, D)), np.zeros(5), np.zeros(D))
    with pytest.raises(FrameError, match="wrong way"):
        guards.check_direction(narrow, NEW, OLD)


def test_shuffled_ids_are_caught_and_aligned_ones_pass():
    guards.check_ids(OLD, NEW)
    with pytest.raises(ConjoinError, match="shuffled"):
        guards.check_ids(OLD, NEW[RNG.permutation(N)])
    with pytest.raises(ConjoinError, match="shuffled"):
        guards.check_ids(OLD, np.roll(NEW, 1, axis=0))


@pytest.mark.parametrize("seed", range(10))
def test_a_random_sample_passes(seed):
    order = np.random.default_rng(seed).permutation(N)
    guards.check_sample(OLD[order[:150]], OLD[order[150:]])


def test_a_sample_of_one_kind_is_caught():
    rows = np.argsort(OLD[:, 0])
    with pytest.raises(ConjoinError, match="not like the collection"):
        guards.check_sample(OLD[rows[:150]], OLD[rows[150:]])


def test_queries_are_no_documents():
    queries = 0.6 * OLD + 1.0
    guards.check_use(OLD[:150], OLD[150:])
    with pytest.raises(ConjoinError, match="documents for documents"):
        guards.check_use(queries[:150], OLD[150:])


def test_a_drifted_encoder_is_caught():
    guards.check_encoder("text", NEW[:8], NEW[:8] * (1 + 1e-6))
    with pytest.raises(FrameError, match="drifted"):
        guards.check_encoder("text", NEW[:8], NEW[:8] + 0.1)
    with pytest.raises(FrameError, match="dimensions"):
        guards.check_encoder("text", NEW[:8], NEW[:8, :5])


def test_calibrations_of_before_are_refused():
    one = Calibration("f", "cosine", 10, "logistic", {"beta": [0.0, 1.0]}, 0.5)
    two = replace(one, params={"beta": [0.1, 2.0]})
    before = {("text", "image"): one, ("speech", "image"): one}
    guards.check_scores("text", before, {("text", "image"): two, ("speech", "image"): one})
    guards.check_scores("text", before, {("speech", "image"): one})
    with pytest.raises(ConjoinError, match="text to image: was fitted before the upgrade"):
        guards.check_scores("text", before, dict(before))


def test_vectors_of_others_that_moved_are_caught():
    space = Space.of(OLD, name="x")
    guards.check_stays("text", {"image": space, "text": space}, {"image": space})
    moved = replace(space, vectors=OLD + 1e-7)
    with pytest.raises(ConjoinError, match="its vectors moved"):
        guards.check_stays("text", {"image": space}, {"image": moved})
    with pytest.raises(FrameError):
        guards.check_stays("text", {"image": space}, {"image": Space.of(OLD, name="y")})


# One tower upgraded


def bound_pair(seed=77, blur=1.5):
    rng = np.random.default_rng(seed)
    ids = [f"i{k}" for k in range(N)]
    spaces = {
        "text": Space.of(Z @ turn(D, 3) + blur * rng.normal(size=(N, D)), ids, name="old"),
        "image": Space.of(Z @ turn(D, 4) + 0.1 * rng.normal(size=(N, D)), ids, name="image"),
    }
    new = Space.of(np.concatenate([Z, Z[:, :4]], axis=1) @ turn(D + 4, 5), ids, name="new")
    pairs = Pairs.by_id(spaces)
    train, test = pairs.take(np.arange(200)), pairs.take(np.arange(200, N))
    binding = Binding.fit(spaces, train, method="ridge", hub="image")
    return spaces, new, binding, train, test


def sample(**more):
    spaces, new, binding, train, test = bound_pair(**more)
    bound = {name: binding.bind(name, space) for name, space in spaces.items()}
    rows = {"image": np.arange(N)}
    return Sample("text", binding, bound, {"image": spaces["image"]}, new, train, test, rows, {})


def test_one_map_is_replaced_and_all_else_stays():
    given = sample()
    made = upgraded(given.binding, "text", given.bound, given.new, given.lines)
    assert made.frame == given.binding.frame
    assert made.maps["image"] is given.binding.maps["image"]
    assert made.maps["text"].source == given.new.frame
    with pytest.raises(FrameError):
        made.bind("text", bound_pair()[0]["text"])
    with pytest.raises(ConjoinError, match="did you mean text"):
        upgraded(given.binding, "txt", given.bound, given.new, given.lines)


def test_the_plan_finds_the_better_encoder_and_its_cost():
    found = curve(sample(blur=2.0), Rates(0.5, 1000, price=2.0))
    assert isinstance(found, Curve)
    arms = {arm.label: arm for arm in found.arms}
    assert arms["re-embed"].cost == 500
    assert arms["re-embed"].money == 2.0
    assert arms["cascade new-to-old"].cost == 0.5 * 20 * 1000
    assert arms["re-embed all moved"].gain_low > 0
    assert found.recommendation != "stay"
    # What is left as it is, is worth the same to both.
    assert arms["nothing"].gain == 0
    shares = [arms[f"partial {s}%"].value for s in (25, 50, 75)]
    assert shares[-1] >= shares[0] - 0.02


def test_it_says_stay_where_nothing_is_gained():
    given = sample(blur=0.0)
    rng = np.random.default_rng(9)
    worse = Space.of(given.new.vectors + 4 * rng.normal(size=given.new.vectors.shape),
                     given.new.ids, name="worse")  # fmt: skip
    found = curve(replace(given, new=worse), Rates(0.5, 1000))
    assert found.recommendation == "stay"
    assert found.chosen.name == "nothing"
    assert "no way surely gains" in found.reason


def test_a_sample_without_held_out_rows_is_refused():
    given = sample()
    rows = np.concatenate([given.train.column("text"), given.test.column("text")[:5]])
    few = replace(given, new=given.new.take(np.sort(rows)))
    with pytest.raises(ConjoinError, match="5 of its rows are held out"):
        curve(few, Rates(0.5, 1000))


def test_hits_agree_with_sorting_and_a_cascade_reorders_the_first_only():
    q, x = RNG.normal(size=(30, 6)), RNG.normal(size=(80, 6))
    better_q, better_x = RNG.normal(size=(30, 6)), RNG.normal(size=(80, 6))
    ids = [f"i{k}" for k in range(80)]
    wanted = relevance_by_id(Space.of(q, ids[:30], name="q"), Space.of(x, ids, name="x"))
    got = hits(q, x, wanted)
    again = hits(q, x, wanted, (better_q, better_x), top=20)
    for k in range(30):
        order = np.argsort(-(x @ q[k]))
        assert got[k] == (k in order[:10])
        first = order[:20]
        better = first[np.argsort(-(better_x[first] @ better_q[k]))]
        assert again[k] == (k in better[:10])
    np.testing.assert_array_equal(hits(q, x, wanted, (q, x), top=20), got)


def test_the_error_of_a_chain_grows_with_its_hops():
    rng = np.random.default_rng(1)
    versions, z = [], Z
    for k in range(4):
        versions.append(z @ turn(D, 20 + k))
        z = z + 0.25 * rng.normal(size=z.shape)
    found = list(chain_report(versions, np.arange(N), method="ridge"))
    assert [hop.hops for hop in found] == [1, 2, 3]
    values = [hop.chained for hop in found]
    assert values[0] > values[-1]
    for hop in found:
        assert hop.low <= hop.chained <= hop.high
        assert hop.direct >= hop.chained - 0.1
    assert found[0].chained == pytest.approx(found[0].direct)
    with pytest.raises(ConjoinError, match="versions"):
        list(chain_report(versions[:1], np.arange(N)))


# Merging


def two_bindings():
    ids = [f"i{k}" for k in range(N)]

    def space(name, seed):
        rows = Z @ turn(D, seed) + 0.05 * np.random.default_rng(seed).normal(size=(N, D))
        return Space.of(rows, ids, name=name)

    left = {"text": space("text", 11), "image": space("image", 12)}
    right = {"text": space("other text", 13), "speech": space("speech", 14)}
    made = [Binding.fit(part, method="ridge") for part in (left, right)]
    return left, right, made


def test_merged_bindings_search_across_and_the_first_stays():
    left, right, (a, b) = two_bindings()
    rows = [np.asarray(m.bind("text", part["text"]).vectors) for m, part in ((a, left), (b, right))]
    made = merge(a, b, (rows[0], rows[1]), label="b")
    assert made.names == {"text": "b.text", "speech": "speech"}
    assert made.binding.frame == a.frame
    for name in ("text", "image"):
        assert made.binding.maps[name] is a.maps[name]
    image = np.asarray(made.binding.bind("image", left["image"]).vectors)
    speech = np.asarray(made.binding.bind("speech", right["speech"]).vectors)
    assert np.mean((image @ speech.T).argmax(1) == np.arange(N)) > 0.9
    moved = made.move("speech", b.bind("speech", right["speech"]))
    np.testing.assert_allclose(moved.vectors, speech, atol=1e-5)
    assert moved.frame == a.frame


def test_anchors_that_are_not_the_same_items_are_refused():
    left, right, (a, b) = two_bindings()
    rows = [np.asarray(m.bind("text", part["text"]).vectors) for m, part in ((a, left), (b, right))]
    with pytest.raises(ConjoinError, match="wrong way"):
        merge(a, b, (rows[0], rows[1][RNG.permutation(N)]))
    with pytest.raises(ConjoinError, match="share 20 or more"):
        merge(a, b, (rows[0][:6], rows[1][:6]))
    with pytest.raises(ConjoinError, match="row by row"):
        merge(a, b, (rows[0], rows[1][:-1]))


def test_regression_tells_what_each_direction_gained_or_lost():
    spaces, _, binding, *_ = bound_pair()
    bound = {name: binding.bind(name, space) for name, space in spaces.items()}
    rows = np.arange(200, N)
    wanted = relevance_by_id(bound["text"].take(rows), bound["image"].take(rows))
    ask = Asked("text", "image", rows, rows, wanted, rows[wanted.queries])
    (same,) = regression(bound, bound, [ask])
    assert (same.gain, same.low, same.high, same.said) == (0, 0, 0, "no sure change")
    spoilt = {**bound, "image": replace(bound["image"], vectors=bound["image"].vectors[::-1])}
    (worse,) = regression(bound, spoilt, [ask])
    assert worse.said == "lost"
    (gone,) = regression(bound, {"image": bound["image"]}, [ask])
    assert (gone.after, gone.said) == (None, "gone")
    assert gone.gain == -gone.before
    (fresh,) = regression({}, bound, [ask])
    assert (fresh.before, fresh.said) == (None, "new")
    assert interval(np.array([0.0, 1.0] * 20), np.arange(40))[0] < 0.5


def test_ways_say_what_they_are():
    assert str(Way("ridge", "all")) == "ridge, toward all"
    lines = by_row(Space.of(OLD, name="a"), Space.of(NEW, name="b").take(np.arange(5)))
    np.testing.assert_array_equal(lines.rows, np.stack([np.arange(5)] * 2, axis=1))


def test_arms_are_judged_all_at_once():
    """One true gain among arms that err together is found, and hardly ever one among none."""
    rng = np.random.default_rng(3)
    groups = np.arange(200)
    false = 0
    for seed in range(40):
        common = rng.normal(size=(200, 1))
        gains = common + 0.3 * rng.normal(size=(200, 8))
        p = together(gains, groups, seed, draws=400)
        false += p.min() < 0.05
        assert p.shape == (8,)
        gains[:, 2] += 0.4
        again = together(gains, groups, seed, draws=400)
        assert again.argmin() == 2
        assert again[2] < 0.05
    assert false <= 6
    # One arm alone: its own bootstrap's tail.
    alone = together(gains[:, :1], groups, 0, draws=4000)
    mean, error = gains[:, 0].mean(), gains[:, 0].std() / np.sqrt(200)
    assert alone[0] == pytest.approx(2 * ndtr(-abs(mean) / error), abs=0.03)
