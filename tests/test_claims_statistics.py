"""Effects, verdicts, the rate of false ones, and what can be detected."""

import numpy as np
import pytest

from conjoin.errors import ConjoinError
from conjoin.stats.bootstrap import paired_difference
from conjoin.stats.paired import CANNOT, FAILS, HOLDS, UNDECIDED, corrected, effect, verdicts

GROUPS = np.repeat(np.arange(60), 3)


def scores(rng, *, seeds=5, hit=0.5, group=1.0, seed=0.3):
    """Hits and misses that rise and fall by group and by seed, as recall does."""
    level = np.log(hit / (1 - hit)) + group * rng.normal(size=60)[GROUPS]
    level = level + seed * rng.normal(size=(seeds, 1))
    return (rng.random((seeds, len(GROUPS))) < 1 / (1 + np.exp(-level))).astype(float)


def pair(rng, *, shift=0.0, seeds=5):
    """A method against itself with other seeds: groups are shared, seeds are not.

    ``shift`` turns that share of all scores into hits of the first arm.
    """
    group = rng.normal(size=60)[GROUPS]
    arms = []
    for _ in range(2):
        level = group + 0.3 * rng.normal(size=(seeds, 1))
        arms.append((rng.random((seeds, len(GROUPS))) < 1 / (1 + np.exp(-level))).astype(float))
    misses = arms[0] == 0
    lift = shift * misses.size / misses.sum()
    arms[0][misses & (rng.random(misses.shape) < lift)] = 1.0
    return arms


def test_a_method_against_itself_is_called_different_as_often_as_it_says():
    """200 runs of one method against itself, as if it were two."""
    rng = np.random.default_rng(0)
    called = 0
    for number in range(200):
        low, high = effect(*pair(rng), GROUPS, draws=2000, seed=number).interval()
        called += not low <= 0 <= high
    # Binomial(200, .05): 99.9 % of it lies from 2 to 20; twice the rate would show, and so would
    # the plain bootstrap of both factors, which calls next to nothing.
    assert 2 <= called <= 20


def test_the_detectable_effect_is_detected_four_times_in_five():
    rng = np.random.default_rng(1)
    planted = np.mean([effect(*pair(rng), GROUPS, draws=1000).detectable() for _ in range(20)])
    seen = 0
    for number in range(150):
        low, _ = effect(*pair(rng, shift=planted), GROUPS, draws=1000, seed=number).interval()
        seen += low > 0
    assert 0.68 < seen / 150 < 0.93


def test_one_seed_is_the_plain_paired_bootstrap_over_groups():
    rng = np.random.default_rng(2)
    a, b = scores(rng, seeds=1), scores(rng, seeds=1)
    found = effect(a, b, GROUPS)
    plain = paired_difference(a[0], b[0], GROUPS, draws=20_000)
    assert found.value == pytest.approx(plain[0])
    np.testing.assert_allclose(found.interval(), plain[1:3], atol=0.01)
    assert found.p == pytest.approx(plain[3], abs=0.02)


def test_seeds_that_differ_widen_the_interval():
    rng = np.random.default_rng(3)
    a, b = scores(rng, seed=0.0), scores(rng, seed=0.0)
    steady = effect(a, b, GROUPS)
    moved = a + np.array([-0.2, -0.1, 0, 0.1, 0.2])[:, None]
    uneven = effect(moved, b, GROUPS)
    assert uneven.value == pytest.approx(steady.value)
    assert np.diff(uneven.interval()) > 1.7 * np.diff(steady.interval())
    assert uneven.freedom < 10 < steady.freedom


def test_rows_of_one_group_count_as_one():
    rng = np.random.default_rng(4)
    a, b = scores(rng, group=2.0, seed=0.0), scores(rng, group=0.0, seed=0.0)
    clustered = effect(a, b, GROUPS)
    alone = effect(a, b, np.arange(len(GROUPS)))
    assert np.diff(clustered.interval()) > 1.2 * np.diff(alone.interval())


def test_the_same_seed_gives_the_same_draws():
    a, b = pair(np.random.default_rng(5))
    np.testing.assert_array_equal(
        effect(a, b, GROUPS, seed=3).draws, effect(a, b, GROUPS, seed=3).draws
    )
    assert not np.array_equal(effect(a, b, GROUPS, seed=4).draws, effect(a, b, GROUPS).draws)


def of(value, spread=0.01, count=40):
    """An effect of a known size and error."""
    rng = np.random.default_rng(count)
    base = rng.normal(size=(5, count)) * 0
    noise = rng.normal(size=(5, count)) * spread * np.sqrt(count)
    noise -= noise.mean()
    return effect(base + value + noise, base, np.arange(count), draws=4000)


def test_verdicts_say_what_they_mean():
    large, none, blurred, small = of(0.1), of(0.0, 0.002), of(0.05, 0.2), of(0.004, 0.0005)
    judged = verdicts([large, none, blurred, small], [0.02] * 4, ["a"] * 4)
    assert [v.said for v in judged] == [HOLDS, FAILS, CANNOT, FAILS]
    # The last is above zero beyond doubt, and below the smallest effect of interest.
    assert judged[3].low > 0
    assert judged[3].most < 0.02


def test_data_that_would_not_show_five_times_the_smallest_effect_cannot_tell():
    found = of(0.015, 0.04)
    seen = verdicts([found], [0.02], ["a"])[0].detectable
    for smallest, said in ((seen / 4.99, UNDECIDED), (seen / 5.01, CANNOT)):
        assert verdicts([found], [smallest], ["a"])[0].said == said


def test_no_interval_ends_beyond_what_the_metric_allows():
    wide = of(0.9, 0.5)
    free = verdicts([wide], [0.02], ["a"])[0]
    assert free.high > 1
    kept = verdicts([wide], [0.02], ["a"], [(-1.0, 1.0)])[0]
    assert (kept.high, kept.most) == (1.0, 1.0)
    assert (kept.low, kept.least) == (free.low, free.least)


def test_p_values_corrected_among_more_claims_are_taken_as_they_are():
    found = of(0.05, 0.02)
    among = corrected([found.p, 0.9, 0.8], ["a"] * 3)
    verdict = verdicts([found], [0.02], ["a"], None, among[:1])[0]
    assert verdict.adjusted == pytest.approx(min(1, 3 * found.p))
    assert verdict.least < verdicts([found], [0.02], ["a"])[0].least


def test_an_effect_the_wrong_way_does_not_hold():
    judged = verdicts([of(-0.1)], [0.0], ["a"])
    assert judged[0].said == FAILS
    assert judged[0].p < 0.01


def test_many_claims_of_a_family_must_be_surer():
    rng = np.random.default_rng(6)
    border = effect(*pair(rng, shift=0.13), GROUPS)
    nulls = [effect(*pair(rng), GROUPS) for _ in range(12)]
    alone = verdicts([border], [0.0], ["a"])[0]
    among = verdicts([border, *nulls], [0.0] * 13, ["a"] * 13)[0]
    apart = verdicts([border, *nulls], [0.0] * 13, ["a", *["b"] * 12])[0]
    assert alone.adjusted == pytest.approx(apart.adjusted)
    assert among.adjusted > 5 * alone.adjusted
    assert among.least < alone.least
    assert among.detectable > alone.detectable
    assert (alone.low, alone.high) == (among.low, among.high)


def test_verdicts_and_corrected_intervals_agree():
    rng = np.random.default_rng(7)
    found = [effect(*pair(rng, shift=s), GROUPS) for s in np.linspace(0, 0.2, 9)]
    for verdict in verdicts(found, [0.0] * 9, ["a"] * 9):
        if verdict.adjusted < 0.04:
            assert verdict.least > 0 or verdict.most < 0
        if verdict.said == HOLDS:
            assert verdict.effect > 0


def test_bad_shapes_are_refused():
    a = np.zeros((5, 9))
    with pytest.raises(ConjoinError, match="scores"):
        effect(a, a[:, :8], np.arange(9))
    with pytest.raises(ConjoinError, match="fewer than two"):
        effect(a, a, np.zeros(9))
    assert verdicts([], [], []) == []


def test_no_difference_at_all_is_no_effect():
    a = np.ones((5, 30))
    found = effect(a, a, np.arange(30))
    assert found.value == 0
    assert found.interval() == (0.0, 0.0)
    assert found.p == pytest.approx(1.0)
    assert verdicts([found], [0.02], ["a"])[0].said == FAILS
