"""The task that judges detectors: what is planted, and how it is scored."""

import numpy as np
import pytest

from benches import bench
from conjoin.alignment.closed_form.linear import CCA
from conjoin.claims.engine import claims_of
from conjoin.claims.tasks.quality.noise_detection import (
    Detecting,
    Turn,
    among_first,
    beaten,
    held_groups,
    moved,
    parts,
)
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Arm, make, run_arm


def ran(arm, planted, share=0.2, seed=0):
    return run_arm(Detecting(share), planted, Arm.parse(arm, "detector"), "found", seed, {}).scores


def test_wrong_pairs_are_found_where_views_are_bound_and_by_lot_where_not():
    for noise, low, high in ((0.05, 0.8, 1.0), (50.0, 0.0, 0.5)):
        found = ran("partner-rank", bench("image", "text", items=200, noise=noise, name=str(noise)))
        assert low <= found["found"].values.mean() <= high
        assert low <= found["above"].values.mean() <= max(high, 0.65)


def test_nothing_is_worth_what_chance_is():
    planted = bench("image", "text", items=200)
    for metric in Detecting.metrics:
        nothing, chance = (ran(arm, planted)[metric] for arm in ("identity", "chance"))
        np.testing.assert_allclose(nothing.values, chance.values)
        np.testing.assert_array_equal(nothing.groups, chance.groups)


def test_units_are_the_same_for_every_seed_and_each_is_planted_once():
    planted = bench("image", "text", items=200, kin=2)
    first, second = (ran("contrastive-loss", planted, seed=seed)["found"] for seed in (0, 1))
    np.testing.assert_array_equal(first.groups, second.groups)
    groups = held_groups(Detecting().setting(planted, 0))
    every = np.concatenate(parts(groups, 0.2))
    assert sorted(every.tolist()) == list(range(len(groups)))


def test_a_planted_pair_lies_in_two_groups():
    groups = np.repeat(np.arange(40), np.tile([1, 3], 20))
    for part in parts(groups, 0.25):
        rows = moved(np.stack([np.arange(80)] * 2, axis=1), part)
        assert (groups[rows[part, 0]] != groups[rows[part, 1]]).all()
        assert sorted(rows[:, 1].tolist()) == list(range(80))
        others = np.setdiff1d(np.arange(80), part)
        assert (rows[others, 0] == rows[others, 1]).all()


def test_scores_are_those_of_counting():
    rng = np.random.default_rng(0)
    wrong, right = rng.integers(0, 6, 12).astype(float), rng.integers(0, 5, 40).astype(float)
    told = [np.mean((right < w) + 0.5 * (right == w)) for w in wrong]
    np.testing.assert_allclose(beaten(wrong, right), told)
    drawn = []
    for _ in range(3000):  # ties by lot: the most suspect twelve
        every = np.concatenate([wrong, right]) + 1e-6 * rng.random(52)
        drawn.append(np.isin(np.arange(12), np.argsort(-every)[:12]))
    np.testing.assert_allclose(among_first(wrong, right), np.mean(drawn, axis=0), atol=0.05)


def test_a_turned_detector_is_worse_than_chance():
    task, planted = Detecting(), bench("image", "text", items=200)
    setting = task.setting(planted, 0)
    fitted = task.fit(setting, make(Arm.parse("partner-rank", "detector"), setting, {}), 0)
    turned = [Turn(t.planted, -t.wrong, -t.right) for t in fitted]
    assert task.judge(setting, turned)["above"].values.mean() < 0.3


def test_another_kind_of_method_is_refused():
    task = Detecting()
    setting = task.setting(bench("image", "text"), 0)
    made = make(Arm.parse("cca"), setting, {})
    assert isinstance(made.aligner, CCA)
    with pytest.raises(ConjoinError, match="no detector"):
        task.fit(setting, made, 0)


def test_claims_about_detectors_have_their_jobs():
    claims = [each for each in claims_of(family="doctor") if each.row.kind == "detector"]
    jobs = {job for each in claims for job in each.jobs()}
    assert {job.way.kind for job in jobs} == {"detector"}
    assert {job.arm for job in jobs} >= {"chance", "identity", "partner-rank", "loss-mixture"}
