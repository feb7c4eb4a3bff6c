"""Long jobs that are killed go on from what they had finished."""

import numpy as np
import pytest

from conjoin import catalogue
from conjoin.binding.trials import Clock
from conjoin.claims.deciding import Fusing, FusionFolds, FusionSweep
from conjoin.fusion.inputs import Inputs
from conjoin.fusion.linear import HELD, Concat, Late
from conjoin.transfer import teaching
from conjoin.transfer.kept import Kept


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
        if text.startswith("concat on held-out"):
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
    assert fitted == ["concat"]
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
    return FusionSweep(catalogue.find("fusion", "late"), made.folds, 0, Clock())


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
    monkeypatch.setattr("conjoin.claims.deciding.LEAST", 40)
    asked = job(Kept())
    assert asked._sample(None) >= len(asked.learn)
    assert asked._sample(1e-6) == 40
    assert f"chosen on 40 of {len(asked.learn)} training items" in asked.notes[-1]
