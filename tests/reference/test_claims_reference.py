"""The statistics of claims restated slowly: spread, intervals, corrections and verdicts."""

import math
from statistics import mean, variance

import numpy as np
import pytest
from scipy.stats import norm, t

from benches import bench
from conjoin.alignment.closed_form.linear import Identity
from conjoin.evaluation.arms import Made
from conjoin.stats.paired import (
    CANNOT,
    FAILS,
    HOLDS,
    SEEN,
    UNDECIDED,
    Effect,
    Paired,
    Spread,
    corrected,
    effect,
    said_of,
    verdicts,
)

GROUPS = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 5, 5, 6])


def planted(seeds=4, noise=1.0, by_seed=0.3, by_group=0.5, seed=0):
    """Scores of two arms: what varies by seed, by group, and by neither."""
    rng = np.random.default_rng(seed)
    n = len(GROUPS)
    base = rng.normal(size=(seeds, n))
    apart = (
        0.2 + by_seed * rng.normal(size=(seeds, 1)) + by_group * rng.normal(size=7)[GROUPS]
        + noise * rng.normal(size=(seeds, n))
    )  # fmt: skip
    return base + apart, base


def slow_spread(arm, base, groups):
    """``V_s + V_g − V_e`` unit by unit, and Satterthwaite's degrees of freedom."""
    seeds, n = arm.shape
    names = sorted(set(groups.tolist()))
    d = [[float(arm[s][i] - base[s][i]) for i in range(n)] for s in range(seeds)]
    by_seed = [sum(row) / n for row in d]
    total = {
        (s, g): sum(d[s][i] - by_seed[s] for i in range(n) if groups[i] == g)
        for s in range(seeds) for g in names
    }  # fmt: skip
    small = len(names) / (len(names) - 1)
    of_groups = small * sum(mean(total[s, g] for s in range(seeds)) ** 2 for g in names) / n**2
    if seeds == 1:
        return of_groups, len(names) - 1
    of_seeds = variance(by_seed) / seeds
    error = small * sum(
        variance([total[s, g] for s in range(seeds)]) / seeds for g in names
    ) / n**2  # fmt: skip
    whole = of_groups + max(of_seeds - error, 0)
    parts = of_groups**2 / (len(names) - 1)
    if of_seeds > error:
        parts += of_seeds**2 / (seeds - 1)
    return whole, whole**2 / parts


@pytest.mark.parametrize(
    ("by_seed", "noise"), [(0.0, 1.0), (1.0, 0.3), (0.3, 1.0), (2.0, 0.0)],
    ids=["noise only", "seeds", "both", "no noise"],
)  # fmt: skip
@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_the_spread_is_that_of_seeds_and_groups_less_their_noise(by_seed, noise, seeds):
    arm, base = planted(seeds, noise, by_seed, seed=3)
    found = effect(arm, base, GROUPS, draws=3000)
    total, freedom = slow_spread(arm, base, GROUPS)
    assert np.std(found.draws) ** 2 == pytest.approx(total)
    assert found.freedom == pytest.approx(freedom)
    assert found.value == pytest.approx(float((arm - base).mean()))
    names, owner = np.unique(GROUPS, return_inverse=True)
    table = np.stack([np.bincount(owner, row, len(names)) for row in arm - base])
    direct = Spread.of(table, np.bincount(owner).astype(float))
    assert (direct.total, direct.freedom) == (pytest.approx(total), pytest.approx(freedom))


def test_the_seeds_own_variance_is_what_is_left_when_noise_is_taken_off():
    """Where seeds differ by noise alone, they add nothing: a sum without the subtraction would."""
    arm, base = planted(5, noise=1.0, by_seed=0.0, by_group=0.0, seed=5)
    d = arm - base
    by_seed = d.mean(axis=1)
    plain = by_seed.var(ddof=1) / 5
    total = np.std(effect(arm, base, GROUPS, draws=2000).draws) ** 2
    groups_only, _ = slow_spread(np.tile(d.mean(0), (1, 1)), np.zeros((1, len(GROUPS))), GROUPS)
    assert plain > 0
    assert groups_only <= total < groups_only + plain


def test_the_sum_of_components_is_the_variance_of_the_mean():
    """Over many draws of everything, the mean varies as much as the sum says, on average."""
    rng = np.random.default_rng(8)
    groups = np.repeat(np.arange(30), 2)
    means, said, plain = [], [], []
    for _ in range(300):
        d = (
            0.15 * rng.normal(size=(5, 1)) + 0.3 * rng.normal(size=30)[groups]
            + rng.normal(size=(5, 60))
        )  # fmt: skip
        table = np.stack([np.bincount(groups, row) for row in d])
        means.append(d.mean())
        said.append(Spread.of(table, np.full(30, 2.0)).total)
        plain.append(said[-1] + d.mean(axis=1).var(ddof=1) / 5)
    true = np.var(means)
    assert np.mean(said) == pytest.approx(true, rel=0.25)
    assert np.mean(plain) > 1.25 * true  # the seeds' variance, noise and all, would be too much


def test_the_resampled_means_weigh_seeds_and_groups():
    """A draw's mean by hand from the counts it was made of."""
    arm, base = planted(3, seed=9)
    paired = Paired.of({"arm": arm, "base": base}, GROUPS, draws=40, seed=2)
    from conjoin.storage.digest import stable_hash

    rng = np.random.default_rng([2, stable_hash("effect")])
    picked = rng.integers(0, 7, (40, 7))
    chosen = rng.multinomial(3, np.full(3, 1 / 3), 40)
    for draw in (0, 7, 39):
        weights = [sum(int(p) == g for p in picked[draw]) for g in range(7)]
        top = below = 0.0
        for s in range(3):
            for i, g in enumerate(GROUPS):
                top += chosen[draw][s] * weights[g] * arm[s][i]
        for g in GROUPS:
            below += 3 * weights[g]
        assert paired.means["arm"][draw] == pytest.approx(top / below)


def known(value, wide, freedom, count=20_001):
    """An effect whose draws are those of a normal distribution."""
    places = (np.arange(count) + 0.5) / count
    draws = value + wide * norm.ppf(places)
    return Effect(value, np.sort(draws), freedom, 5, 100, 50)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("freedom", [3.0, 12.5, 400.0])
def test_an_interval_is_that_of_student_and_of_the_draws_shape(level, freedom):
    found = known(0.4, 0.1, freedom)
    wide = float(np.std(found.draws))
    reach = t.ppf(1 - (1 - level) / 2, freedom)
    low, high = found.interval(level)
    assert low == pytest.approx(0.4 - reach * wide, abs=0.02 * wide * reach)
    assert high == pytest.approx(0.4 + reach * wide, abs=0.02 * wide * reach)
    seen = reach + t.ppf(0.8, freedom)
    assert found.detectable(level) == pytest.approx(seen * wide)
    # Skewed draws keep their shape: each end is as far as the draws are there, stretched by t.
    skewed = Effect(0.4, np.sort(0.4 + (found.draws - 0.4) * np.where(found.draws > 0.4, 2, 1)),
                    freedom, 5, 100, 50)  # fmt: skip
    ends = skewed.interval(level)
    z = min(reach, SEEN)
    stretch = reach / z
    assert ends[1] - 0.4 == pytest.approx(2 * (0.4 - ends[0]), rel=0.05)
    assert ends[0] == pytest.approx(
        0.4 + stretch * (np.quantile(skewed.draws, norm.cdf(-z)) - 0.4), rel=1e-6
    )


@pytest.mark.parametrize("value", [0.02, 0.15, 0.25, 0.6, -0.25])
def test_a_p_value_is_the_level_whose_interval_just_touches_zero(value):
    found = known(value, 0.1, 9.0)
    low, high = found.interval(1 - found.p)
    near = low if value > 0 else high
    assert abs(near) < 0.004
    assert found.p == pytest.approx(2 * t.sf(abs(value) / 0.1, 9.0), rel=0.05)


def test_holm_and_the_false_discoveries_are_written_out():
    rng = np.random.default_rng(4)
    p = np.concatenate([rng.uniform(0, 0.05, 6), rng.uniform(size=8), [0.01, 0.01]]).tolist()
    families = [["a", "b", "c"][i % 3] for i in range(len(p))]
    found = corrected(p, families)
    for family in "abc":
        own = sorted((i for i, f in enumerate(families) if f == family), key=lambda i: (p[i], i))
        highest = 0.0
        for place, i in enumerate(own):
            highest = max(highest, min(1.0, (len(own) - place) * p[i]))
            assert found[i].adjusted == pytest.approx(highest)
            assert found[i].left == len(own) - place
    order = sorted(range(len(p)), key=lambda i: -p[i])
    lowest = 1.0
    for place, i in enumerate(order):
        lowest = min(lowest, len(p) / (len(p) - place) * p[i])
        assert found[i].share == pytest.approx(lowest)


def test_every_verdict_is_read_off_its_rule():
    """Both sides of every threshold."""
    cases = {
        HOLDS: [(0.02, 0.02, 0.049, 0.1, 1.0), (0.5, 0.0, 0.0, 0.9, 9.0)],
        FAILS: [
            (0.0199, 0.02, 0.001, 0.0199, 0.01), (-0.3, 0.02, 0.001, -0.1, 9.0),
            (-0.1, 0.0, 0.001, -0.05, 0.01), (0.01, 0.02, 0.9, 0.0199, 0.5),
        ],
        UNDECIDED: [
            (0.02, 0.02, 0.05, 0.1, 0.1), (0.0199, 0.02, 0.001, 0.02, 0.0999),
            (0.3, 0.0, 0.06, 0.5, 9.0),
        ],
        CANNOT: [(0.02, 0.02, 0.05, 0.1, 0.1001), (-0.3, 0.02, 0.9, 0.02, 0.2)],
    }  # fmt: skip
    for said, given in cases.items():
        for case in given:
            assert said_of(*case) == said, case


def test_a_verdict_is_judged_at_the_level_that_holm_leaves():
    arms = [planted(5, noise=0.4, by_seed=0.1, by_group=0.2, seed=s) for s in range(4)]
    effects = [effect(a, b, GROUPS, draws=4000) for a, b in arms]
    for verdict, found in zip(verdicts(effects, [0.05] * 4, ["f"] * 4), effects, strict=True):
        rank = sorted(e.p for e in effects).index(found.p)
        level = 1 - 0.05 / (4 - rank)
        assert (verdict.least, verdict.most) == found.interval(level)
        assert (verdict.low, verdict.high) == found.interval(0.95)
        assert verdict.detectable == found.detectable(level)
        assert verdict.said == said_of(
            found.value, 0.05, verdict.adjusted, verdict.most, verdict.detectable
        )
    assert math.isclose(verdict.effect, found.value)


def test_moments_of_a_training_are_those_of_one_run(monkeypatch):
    """``Tracking(over="training")``: each stop is what one long training passes through."""
    from conjoin.alignment.trained.contrastive_heads import fresh, training
    from conjoin.catalogue import find
    from conjoin.claims.tasks.alignment import metric_tracking as tracking
    from conjoin.maps.base import Normalise
    from conjoin.training.early_stopping import Training

    made = bench("image", "text", items=120, noise=0.5)
    monkeypatch.setattr(tracking, "TRAININGS", ((0.1, 16), (0.3, 16)))
    monkeypatch.setattr(tracking, "PASSES", (1, 6, 12))
    task = tracking.Tracking(over="training")
    setting = task.setting(made, 0)
    cases = task.fit(setting, Made(Identity(), None, "image"), 0).cases
    assert [case.parts for case in cases] == [(str(t),) for t in tracking.TRAININGS for _ in "abc"]
    assert len(task.chance(setting)["spearman"].values) == len(cases)

    passed = []
    monkeypatch.setattr(
        Training, "scores", lambda self, arrays, held: passed.append(arrays)
        or np.array([float(len(passed))]),
    )  # fmt: skip
    learn, held = tracking.validation(setting, 0)
    fields = {**find("aligner", "infonce-head").settings, "temperature": 0.3, "hidden": 16}
    method = tracking.Stopped(**fields)
    views = {name: setting.spaces[name].vectors for name in learn.names}
    heads = fresh(method, views, learn, {}, method.width)
    training(method, heads, views, {}).run(learn, 0, held)
    every = max(1, method.steps // 20)  # one batch a pass, twenty looks
    for case, passes in zip(cases[3:], tracking.PASSES, strict=True):
        if passes == 1:
            continue  # not looked at there
        at = tracking._lines(held, ("image", "text"), 0)
        for name, item in heads.maps(passed[passes // every]).items():
            placed = Normalise().apply(item.apply(views[name][at[name]]))
            np.testing.assert_allclose(placed, case.views[name], atol=1e-5)
