"""Arms beside doing nothing: what is named, and what is not."""

import numpy as np
import pytest

from conjoin.errors import ConjoinError
from conjoin.evaluation.verdict import judge
from conjoin.stats.bootstrap import paired_difference


def arms(gain, n=120, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.random(n)
    return {"frozen": base, "tuned": base + gain + 0.3 * rng.standard_normal(n)}


def test_an_arm_is_named_only_where_its_lower_bound_is_above_nothing():
    groups = np.arange(120)
    for gain, use in ((0.2, "tuned"), (0.0, "frozen"), (-0.2, "frozen")):
        scores = arms(gain)
        _, low, _, _ = paired_difference(scores["tuned"], scores["frozen"], groups)
        assert (low > 0) == (use == "tuned")
        found = judge(scores, groups, metric="recall@10", costs={"tuned": 2})
        assert found.use == use
        assert found.verdict.startswith(f"use {use}: ")


def test_many_arms_are_corrected_for():
    groups = np.arange(120)
    scores = arms(0.06, seed=8)
    _, low, _, p = paired_difference(scores["tuned"], scores["frozen"], groups)
    assert low > 0
    assert 0.005 < p < 0.05
    assert judge(scores, groups, metric="m", costs={}).use == "tuned"
    noise = [np.random.default_rng(seed).standard_normal(120) for seed in range(12)]
    more = {f"idle{n}": scores["frozen"] + 0.3 * (x - x.mean()) for n, x in enumerate(noise)}
    assert judge({**scores, **more}, groups, metric="m", costs={}).use == "frozen"


def test_the_best_of_those_that_are_better_is_named():
    groups = np.arange(120)
    base = np.random.default_rng(1).random(120)
    found = judge(
        {"base": base, "a": base + 0.1, "b": base + 0.2}, groups, metric="m", costs={"b": 9}
    )
    assert found.use == "b"
    assert [arm.name for arm in found.arms] == ["base", "a", "b"]
    told = found.to_json()
    assert list(told) == ["arms", "verdict"]
    assert list(told["arms"][2]) == ["name", "metric", "value", "low", "high", "cost"]
    assert told["arms"][2]["cost"] == 9
    assert "* b" in repr(found)


def test_one_arm_is_refused():
    with pytest.raises(ConjoinError, match="do-nothing arm"):
        judge({"base": np.ones(5)}, np.arange(5), metric="m", costs={})
