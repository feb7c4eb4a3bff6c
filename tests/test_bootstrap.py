import numpy as np
import pytest

from conjoin.errors import ConjoinError
from conjoin.stats import bootstrap
from conjoin.stats.bootstrap import (
    fdr,
    holm,
    interval,
    mean_draws,
    median_interval,
    paired_difference,
)


def clustered(rng, groups=60, spread=1.0, mean=0.0):
    """Values with a shared shift a group and groups of unequal size independent of it."""
    sizes = rng.integers(1, 8, groups)
    owner = np.repeat(np.arange(groups), sizes)
    return mean + spread * rng.standard_normal(groups)[owner] + rng.standard_normal(
        len(owner)
    ), owner


@pytest.mark.parametrize("groups", [8, 60])
def test_the_interval_covers_the_truth_as_often_as_it_says(groups):
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(500):
        low, high = interval(*clustered(rng, groups), draws=400, seed=trial)
        hits += low <= 0 <= high
    assert 0.92 <= hits / 500 <= 0.98


def test_ignoring_groups_would_cover_too_seldom():
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(200):
        values, _ = clustered(rng)
        low, high = interval(values, np.arange(len(values)), draws=300, seed=trial)
        hits += low <= 0 <= high
    assert hits / 200 < 0.85


def test_the_median_interval_covers():
    rng = np.random.default_rng(4)
    hits = 0
    for trial in range(300):
        values, owner = clustered(rng)
        low, high = median_interval(values, owner, draws=300, seed=trial)
        hits += low <= 0 <= high
    assert 0.92 <= hits / 300 <= 0.985


def test_the_width_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(400)
    low, high = interval(values, np.arange(400), draws=20_000)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.03)


def test_the_median_of_draws_is_numpys():
    values, owner = np.array([3, 1, 4, 1, 5, 9, 2, 6]), np.array([0, 0, 1, 1, 1, 2, 3, 3])
    weights = np.concatenate(list(bootstrap._weights(4, len(values), 50, 7)))
    expected = [np.median(np.repeat(values, w[owner])) for w in weights]
    low, high = median_interval(values, owner, draws=50, seed=7, level=0.8)
    assert (low, high) == bootstrap.ends(np.array(expected), 4, 0.8)


def test_draws_are_ratios_of_sums_in_shared_resamples():
    values, owner = np.array([[1.0, 2], [3, 4], [5, 7]]), np.array([0, 0, 1])
    weights = np.concatenate(list(bootstrap._weights(2, 2, 30, 1)))
    expected = [np.repeat(values, w[owner], axis=0).mean(axis=0) for w in weights]
    assert np.allclose(mean_draws(values, owner, draws=30, seed=1), expected)
    assert (weights.sum(axis=1) == 2).all()


def test_same_seed_same_interval_and_labels_do_not_matter():
    values, owner = clustered(np.random.default_rng(0))
    names = np.array([f"g{o:03d}" for o in owner])
    assert interval(values, owner, seed=5) == interval(values, names, seed=5)
    assert interval(values, owner, seed=5) != interval(values, owner, seed=6)


def test_blocks_do_not_change_the_draws(monkeypatch):
    values, owner = clustered(np.random.default_rng(0))
    whole = mean_draws(values[:, None], owner, draws=50)
    monkeypatch.setattr(bootstrap, "HELD", 600)
    assert mean_draws(values[:, None], owner, draws=50) == pytest.approx(whole, rel=1e-9)


def test_a_paired_difference_sees_what_two_intervals_cannot():
    rng = np.random.default_rng(0)
    a, owner = clustered(rng, spread=5.0)
    b = a - 0.3 + 0.1 * rng.standard_normal(len(a))
    difference, low, high, p = paired_difference(a, b, owner)
    assert difference == pytest.approx((a - b).mean())
    assert 0 < low < difference < high
    assert p < 0.01
    assert interval(a, owner)[0] < interval(b, owner)[1]
    back = paired_difference(b, a, owner)
    assert back[0] == -difference
    assert back[2] == pytest.approx(-low)


def test_p_is_the_level_at_which_the_interval_touches_zero():
    rng = np.random.default_rng(11)
    values, owner = clustered(rng, groups=12, mean=0.5)
    zero = np.zeros(len(values))
    p = paired_difference(values, zero, owner, draws=20_000)[3]
    assert 0.001 < p < 0.9
    _, wide, _, _ = paired_difference(values, zero, owner, draws=20_000, level=1 - p * 0.9)
    _, narrow, _, _ = paired_difference(values, zero, owner, draws=20_000, level=1 - p * 1.1)
    assert wide <= 0 <= narrow


def test_no_difference_is_rarely_found():
    rng = np.random.default_rng(5)
    found = 0
    for trial in range(300):
        values, owner = clustered(rng, groups=20)
        found += paired_difference(values, values * 0, owner, draws=300, seed=trial)[3] < 0.05
    assert 0.02 <= found / 300 <= 0.085


def test_equal_methods_have_p_one():
    assert paired_difference(np.ones(9), np.ones(9), np.arange(9)) == (0, 0, 0, 1)


def test_adjusted_p_values_of_a_worked_example():
    p = np.array([0.04, 0.01, 0.03, 0.005])
    assert holm(p) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert fdr(p) == pytest.approx([0.04, 0.02, 0.04, 0.02])
    assert holm(np.array([0.6, 0.9])).max() == 1
    assert len(holm(np.array([]))) == len(fdr(np.array([]))) == 0


def test_adjusted_p_values_are_those_of_the_definitions():
    p = np.random.default_rng(0).random(12) ** 2
    ordered = sorted(p)
    m = len(p)
    for own, stepped, found in zip(p, holm(p), fdr(p), strict=True):
        at = ordered.index(own)
        assert stepped == pytest.approx(min(1, max((m - i) * ordered[i] for i in range(at + 1))))
        assert found == pytest.approx(min(m * ordered[i] / (i + 1) for i in range(at, m)))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: interval(np.ones(3), np.zeros(3)), "fewer than two"),
        (lambda: interval(np.ones(3), np.zeros(2)), "2 for 3 values"),
        (lambda: interval(np.array([1, np.nan]), np.arange(2)), "NaN"),
        (lambda: interval(np.ones(3), np.arange(3), level=95), "between 0 and 1"),
        (lambda: interval(np.ones(3), np.arange(3), draws=0), "at least 1"),
        (lambda: paired_difference(np.ones(3), np.ones(2), np.arange(3)), "pair them"),
        (lambda: holm(np.array([0.5, np.nan])), "from 0 to 1"),
        (lambda: fdr(np.array([-0.1])), "from 0 to 1"),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(ConjoinError, match=said):
        call()
