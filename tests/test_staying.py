"""A choice that stays, a budget that no clock spends, and what is kept of both."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from conjoin import catalogue
from conjoin.alignment.choice import Choice
from conjoin.alignment.closed_form import linear
from conjoin.execution import costs
from conjoin.execution.budget import SHORT, Work
from conjoin.execution.costs import Shape
from conjoin.project.fit.incumbent import Reach
from conjoin.retrieval.evaluation import Result, beaten
from conjoin.retrieval.hubness.choose import _contest
from conjoin.selection import choose as module
from conjoin.selection.choose import by_validation, on_folds
from conjoin.selection.folds import Folds
from conjoin.selection.trials import Sweep, race
from conjoin.spaces import Pairs, Space

QUICK = ["mean-centering", "ridge", "procrustes", "cca"]


def spaces_of(n=120, noise=0.6, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 6)) * np.linspace(2, 0.5, 6)
    found = {}
    for name in "ab":
        x = latent @ rng.normal(size=(6, 6)) + noise * rng.normal(size=(n, 6))
        found[name] = Space.of(x.astype(np.float32), name=name)
    return found


def folds_of(**more):
    spaces = spaces_of(**more)
    return Folds(spaces, Pairs.by_id(spaces), 0)


# What is in use stays


def test_what_is_in_use_stays_on_a_tie_and_goes_when_clearly_beaten():
    folds = folds_of()
    best = on_folds(folds, hubs=["a"], methods=QUICK)
    near = Choice(best.method, {**best.fields, "lam": 0.31}, "a")
    stays = on_folds(folds, hubs=["a"], methods=QUICK, incumbent=near)
    assert stays.same(near)
    assert stays.kept.stays
    assert stays.kept.low <= 0
    poor = Choice("identity", {}, "a")
    gone = on_folds(folds, hubs=["a"], methods=QUICK, incumbent=poor)
    assert gone.same(best)
    assert not gone.kept.stays
    assert gone.kept.low > 0
    assert gone.kept.gain == pytest.approx(
        best.best_of()[best.method].mean - gone.best_of()["identity"].mean, abs=1e-9
    )
    same = on_folds(folds, hubs=["a"], methods=QUICK, incumbent=best)
    assert same.same(best)
    assert same.kept.gain == 0


@pytest.mark.parametrize(("low", "stays"), [(-0.001, True), (0.0, True), (0.001, False)])
def test_the_interval_decides_at_nought(monkeypatch, low, stays):
    monkeypatch.setattr(module, "paired_difference", lambda *_, **__: (0.1, low, 0.2, 0.04))
    found = on_folds(folds_of(), hubs=["a"], methods=QUICK, incumbent=Choice("identity", {}, "a"))
    assert found.kept.stays is stays
    assert (found.method == "identity") is stays


def test_what_cannot_be_fitted_any_more_does_not_stand():
    spaces = spaces_of()
    spaces["b"] = Space.of(np.c_[spaces["b"].vectors, spaces["b"].vectors], name="b")
    folds = Folds(spaces, Pairs.by_id(spaces), 0)
    for gone in (
        Choice("mean-centering", {}, "a"),
        Choice("no-more", {}, "a"),
        Choice("cca", {}, "z"),
    ):
        found = on_folds(folds, hubs=["a"], methods=["ridge", "cca"], incumbent=gone)
        assert found.kept is None


def test_a_correction_in_use_stays_unless_clearly_beaten_or_clearly_harmful():
    rng = np.random.default_rng(0)
    groups = np.arange(400)
    own = rng.random(400)
    same, better = own + 0.02 * rng.normal(size=400), own + 0.1
    values = np.stack([same, better, own], axis=1)
    assert _contest(values, groups, (2, 0), 0.1, 0) == 2, "a tie"
    assert _contest(values, groups, (2, 1), 0.1, 0) == 1
    assert _contest(values, groups, (2, None), 0.0, 0) == 2, "nothing else helps, and it may"
    assert _contest(values, groups, (2, None), -0.001, 0) is None, "it does harm"
    assert _contest(values, groups, (2, 0), -0.001, 0) == 0


# A budget that no clock spends


class Slow:
    """A machine on which an hour passes whenever somebody looks."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 3600.0
        return self.now


def test_a_slow_machine_chooses_the_same_to_the_last_byte(monkeypatch):
    names = [*QUICK, "subspace", "infonce-head"]
    row = catalogue.find("aligner", "infonce-head")
    whole = costs.of_fit(row, {}, Shape(96, (6, 6)))

    def made():
        spaces = spaces_of()
        return json.dumps(
            by_validation(
                spaces, Pairs.by_id(spaces), hubs=["a"], methods=names, budget=2 * whole
            ).to_json()
        )

    quiet = made()
    for clock in ("perf_counter", "monotonic", "process_time", "time"):
        monkeypatch.setattr(time, clock, Slow())
    assert made() == quiet


def test_more_is_tried_within_a_larger_budget_and_what_was_cut_is_named():
    folds = folds_of()
    whole = Sweep(catalogue.find("aligner", "infonce-head"), folds, 0).units({}, "a", 1)
    names = ["ridge", "infonce-head"]
    small = on_folds(folds, hubs=["a"], methods=names, budget=whole)
    assert small.short == ["infonce-head"]
    assert {t.method for t in small.trials} == {"ridge"}
    large = on_folds(folds, hubs=["a"], methods=names, budget=20 * whole)
    assert large.short == []
    assert "infonce-head" in {t.method for t in large.trials}
    assert large.units > small.units


@pytest.mark.parametrize(("parts", "runs"), [(5.7, False), (5.9, True)])
def test_no_race_begins_that_none_would_end(parts, runs):
    # A quarter, half and whole on one fold, and the whole on four more: 5.75 trainings.
    folds = folds_of()
    sweep = Sweep(catalogue.find("aligner", "procrustes"), folds, 0)
    folds.joint(0, "a")  # moments are there, so that only trials cost
    each = sweep.units({}, "a", 1)
    found = race({"procrustes": sweep}, "a", 0.0, Work(parts * each))
    assert bool(found.trials) is runs
    assert found.unfinished == ({} if runs else {"procrustes": SHORT})


def test_costs_grow_with_the_work():
    for name in ("ridge", "cca", "heads", "local-bridge"):
        row = catalogue.find("aligner", name)
        few, many, wide = (
            costs.of_fit(row, {}, Shape(n, dims))
            for n, dims in ((500, (64, 64)), (20_000, (64, 64)), (500, (512, 512)))
        )
        assert 0 < few <= many
        assert few < wide
    heads = catalogue.find("aligner", "heads")
    steps = [costs.of_fit(heads, {"steps": n}, Shape(900, (64, 64))) for n in (100, 1000)]
    assert steps[0] < steps[1]
    assert costs.of_score(500, (64, 64)) < costs.of_score(2000, (64, 64))
    assert costs.of_rest(Shape(500, (64, 64)), 5) < costs.of_rest(Shape(9000, (64, 64)), 5)
    fusion = catalogue.find("fusion", "concat")
    small, large = (costs.of_fusion(fusion, {}, Shape(n, (16, 16)), (3, 9)) for n in (90, 9000))
    assert small[0] < large[0]


def test_an_engine_that_no_table_knows_is_priced_as_its_class():
    other = replace(catalogue.find("aligner", "ridge"), target="fractions:Fraction")
    assert costs.of_fit(other, {}, Shape(500, (64, 64))) > 0
    assert "closed" in costs.table()
    assert "trained" in costs.table()


def test_the_shortlist_is_short_and_of_methods_that_people_know():
    names = catalogue.shortlist("aligner")
    assert len(names) <= 8
    rows = [catalogue.find("aligner", name) for name in names]
    assert {"identity", "ridge", "procrustes", "cca", "infonce-head"} <= set(names)
    assert not [row.name for row in rows if row.family == "bridge" or "unpaired" in row.needs]
    assert "invgc-local" not in catalogue.shortlist("correction")


def test_a_fit_serves_a_budget_that_would_reach_no_further():
    ended, cut = Reach("a", True, 40.0, 12.0), Reach("a", True, 40.0, 39.0, ("heads",))
    assert ended.serves("a", 400.0)
    assert not ended.serves("b", 1.0)
    assert cut.serves("a", 40.0)
    assert not cut.serves("a", 40.1)


@pytest.mark.parametrize(("value", "said"), [(0.61, True), (0.6, False), (0.59, False)])
def test_a_baseline_that_beats_what_was_chosen_is_named(value, said):
    def row(method, found, chosen=False, metric="recall@10"):
        return Result("a", "b", metric, found, None, None, 9, method, chosen)

    rows = [
        row("ridge + csls", 0.6, True), row("cca", value), row("procrustes", 0.3),
        row("direct pairs", 0.9), row("cca", 0.9, metric="mrr"),
    ]  # fmt: skip
    found = beaten(rows, ("cca", "procrustes"))
    assert bool(found) is said
    if said:
        assert found[0].startswith("a → b: the baseline cca beats what was chosen, ridge + csls")


def test_a_decomposition_that_gives_up_is_made_another_way(monkeypatch):
    x = np.random.default_rng(0).normal(size=(7, 5))
    known = linear.svd(x)

    def fails(*_, **__):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", fails)
    again = linear.svd(x)
    np.testing.assert_allclose(again[1], known[1], atol=1e-12)
    np.testing.assert_allclose((again[0] * again[1]) @ again[2], x, atol=1e-12)
