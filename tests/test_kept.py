"""Long jobs that are killed go on from what they had finished."""

import numpy as np
import pytest

from conjoin import catalogue
from conjoin.errors import ConjoinError
from conjoin.execution.budget import Work
from conjoin.execution.checkpoint import Kept
from conjoin.fusion.inputs import Inputs
from conjoin.fusion.linear import HELD, Concat, Late
from conjoin.selection import students as teaching
from conjoin.selection.fusion import Fusing
from conjoin.selection.fusion_trials import FusionFolds, FusionSweep


class Killed(BaseException):
    """Stands for a signal: nothing in a job may catch it."""


def job(kept, report=lambda _: None):
    rng = np.random.default_rng(0)
    label = np.arange(120) % 2
    views = {name: label[:, None] + rng.normal(size=(120, 4)) for name in ("ear", "eye")}
    inputs = Inputs.of(views, {"ear": rng.random(120) > 0.4})
    return Fusing(inputs, label, None, None, 0, report=report, kept=kept)


def test_a_killed_fusion_goes_on(tmp_path, monkeypatch):
    def report(text):
        if text.startswith("imputed-logistic on held-out"):
            raise Killed

    kept = Kept(tmp_path / "unfinished")
    with pytest.raises(Killed):
        job(kept, report).run("late", None)
    there = {p.name for p in kept.folder.iterdir()}
    assert sum(name.endswith(".safetensors") for name in there) == 2
    fitted = []
    whole = Fusing.fit
    monkeypatch.setattr(
        Fusing, "fit", lambda self, name, *rest: fitted.append(name) or whole(self, name, *rest)
    )
    found = job(kept).run("late", None)
    assert fitted == ["imputed-logistic"]
    monkeypatch.undo()
    anew = job(Kept()).run("late", None)
    assert [(a.method, a.value, a.fields) for a in found.arms] == [
        (a.method, a.value, a.fields) for a in anew.arms
    ]
    assert there < {p.name for p in kept.folder.iterdir()}
    kept.clear()
    assert not kept.folder.exists()


def test_folds_scored_before_the_kill_are_not_scored_again(tmp_path, monkeypatch):
    score, calls = FusionFolds.score, []

    def dying(self, number, fused):
        calls.append(number)
        if len(calls) == 3:
            raise Killed
        return score(self, number, fused)

    kept = Kept(tmp_path / "unfinished")
    monkeypatch.setattr(FusionFolds, "score", dying)
    with pytest.raises(Killed):
        sweep(job(kept)).trial({}, "")
    assert 2 <= len(list(kept.folder.iterdir())) < 4
    there = len(list(kept.folder.iterdir()))
    calls[:] = [None] * 3
    again = sweep(job(kept)).trial({}, "")
    assert len(calls) - 3 == 4 - there
    assert again.scores == sweep(job(Kept())).trial({}, "").scores


def sweep(made):
    return FusionSweep(catalogue.find("fusion", "late"), made.folds, 0, Work())


def test_a_killed_distillation_goes_on(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6))
    target = x @ rng.normal(size=(6, 4))
    monkeypatch.setattr(teaching, "CANDIDATES", ("ridge-student", "affinity-student"))
    names = []
    find = teaching.find

    def watched(kind, name):
        names.append(name)
        if names.count("affinity-student") == 1 and name == "affinity-student":
            raise Killed
        return find(kind, name)

    monkeypatch.setattr(teaching, "find", watched)
    kept = Kept(tmp_path / "unfinished")
    with pytest.raises(Killed):
        teaching.distill(x, target, kept=kept)
    assert names == ["ridge-student", "affinity-student"]
    names[:] = ["affinity-student"]
    monkeypatch.setattr(teaching, "_cheapest", lambda scores: "ridge-student")
    made = teaching.distill(x, target, kept=kept)
    assert set(made.tried) == {"ridge-student", "affinity-student"}
    # What had been tried is not tried again: ridge is fitted once, to all rows.
    assert names.count("ridge-student") == 1


def test_a_torn_part_is_made_again(tmp_path):
    kept = Kept(tmp_path)
    assert kept.value("a", lambda: 1) == kept.value("a", lambda: 2) == 1
    next(tmp_path.iterdir()).write_text("{")
    assert kept.value("a", lambda: 3) == 3


@pytest.mark.parametrize("numbers", [False, True])
def test_a_design_that_is_not_held_gives_nearly_the_same(monkeypatch, numbers):
    rng = np.random.default_rng(0)
    label = np.arange(900) % 3
    views = {name: label[:, None] * 0.5 + rng.normal(size=(900, 5)) for name in ("ear", "eye")}
    labels = label + rng.normal(size=900) if numbers else label
    present = {"ear": rng.random(900) > 0.3}
    assert HELD > 900 * 12
    for method in (Late(), Concat()):
        held = method.fit(views, present, labels=labels).scores(views, present)
        monkeypatch.setattr("conjoin.fusion.linear.HELD", 2000)
        read = method.fit(views, present, labels=labels).scores(views, present)
        monkeypatch.undo()
        assert np.abs(held - read).max() < 0.05
        if numbers:
            assert np.abs(held - read).max() < 1e-4


def test_methods_are_chosen_on_fewer_items_where_time_is_short(monkeypatch):
    monkeypatch.setattr("conjoin.selection.fusion.LEAST", 40)
    asked = job(Kept())
    assert asked._sample(None) >= len(asked.learn)
    assert asked._sample(1e-6) == 40
    assert f"chosen on 40 of {len(asked.learn)} training items" in asked.notes[-1]


class Ticking:
    """What fits are said to take, added up."""

    def __init__(self):
        self.now = 0.0


#: Units that so many items take; of trained methods units a step.
PACE = {"best-single": 30.0, "concat": 10.0, "concat-zero": 10.0, "boosted-trees": 10.0}
STEP, ITEMS = 0.05, 333


@pytest.fixture
def ticking(monkeypatch):
    """Fits that take no time, under a table of costs that says otherwise; what was fitted."""
    clock, fits = Ticking(), []
    made = timed(100)
    fused = made.fit("late", {}, made.learn)
    monkeypatch.setattr("conjoin.selection.fusion.PROBE", 60)
    monkeypatch.setattr("conjoin.selection.fusion.LEAST", 60)
    monkeypatch.setattr("conjoin.selection.fusion.DRAWS", 100)
    monkeypatch.setattr("conjoin.fusion.missing.DRAWS", 9)
    # Scores are made up: that plain ones tie does not end it here.
    monkeypatch.setattr("conjoin.selection.fusion.PlainFusions.run", lambda self: {})
    monkeypatch.setattr("conjoin.selection.fusion.PlainFusions.settled", False)
    monkeypatch.setattr(FusionFolds, "score", lambda self, number, fused: 0.5 + number / 100)

    def fit(self, name, fields, lines):
        row = catalogue.find("fusion", name)
        fits.append((name, len(lines), fields.get("steps")))
        clock.now += units(self, row, fields, len(lines), 0)[0]
        return fused

    def units(self, row, fields, items, asked):
        if row.cost == "trained":
            return STEP * (fields.get("steps") or 400), 0.0
        return PACE.get(row.name, 10.0) * items / ITEMS, 0.0

    monkeypatch.setattr(Fusing, "fit", fit)
    monkeypatch.setattr(Fusing, "units", units)
    return clock, fits


def timed(items=400):
    rng = np.random.default_rng(0)
    label = np.arange(items) % 2
    views = {name: label[:, None] + rng.normal(size=(items, 3)) for name in ("ear", "eye")}
    return Fusing(Inputs.of(views, {}), label, None, None, 0)


@pytest.mark.parametrize("budget", [75.0, 400.0, 800.0])
def test_all_of_a_run_ends_near_its_budget(ticking, budget):
    clock, fits = ticking
    found = timed().run("auto", budget)
    assert clock.now <= 1.1 * budget
    shown = [name for name, lines, _ in fits if lines == len(timed().learn)]
    assert {"best-single", "late", "imputed-logistic"} <= set(shown)
    assert not any("the budget was" in note for note in found.notes)
    assert {"best-single", "late", "imputed-logistic"} <= {t["method"] for t in found.trials}
    if budget == 800:
        assert {"side", "attention"} <= {name for name, _, _ in fits}
        assert not any("folds, for time" in note for note in found.notes)
    if budget == 75:
        assert found.untried["mbt"] == "no time to let it race"


def test_a_budget_too_short_for_plain_methods_is_said(ticking):
    clock, _ = ticking
    found = timed().run("auto", 10.0)
    assert any("the budget was 10:" in note for note in found.notes)
    assert any(note.startswith("methods were chosen on 60 of") for note in found.notes)
    # What cannot be left out: the plain methods on all training items, and a little choosing.
    assert clock.now < 80


def test_a_named_trained_method_is_fitted_before_others_take_its_time(ticking):
    _, fits = ticking
    timed().run("attention", 60.0)
    assert fits[0] == ("attention", len(timed().learn), None)
    assert [name for name, _, _ in fits].count("attention") == 1


@pytest.mark.parametrize("numbers", [False, True])
def test_late_means_share_their_heads_exactly(numbers):
    made = job(Kept())
    if numbers:
        made = Fusing(made.inputs, made.labels + 0.5, None, None, 0)
    names = ["best-single", "late"] if numbers else ["best-single", "late", "entropy-late"]
    alone = {}
    for name in names:
        method = catalogue.find("fusion", name).make({"lam": 0.1})
        alone[name] = made.fitted(method, made.learn)
    for order in (names, names[::-1]):
        fresh = Fusing(made.inputs, made.labels, None, None, 0)
        for name in order:
            shared = fresh.fit(name, {"lam": 0.1}, made.learn)
            fields, arrays = shared.body.state()
            others, held = alone[name].body.state()
            assert fields == others
            assert shared.method == name
            assert all(np.array_equal(arrays[key], held[key]) for key in held)
    if numbers:
        with pytest.raises(ConjoinError, match="weighs classes"):
            fresh.fit("entropy-late", {"lam": 0.1}, made.learn)
