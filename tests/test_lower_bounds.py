"""A gain is claimed only where the lower end of its interval is above 0: both sides of each rule.

Each test says a thing with an end just above 0, at 0 and below it: 0 itself is no gain. What is
kept when a newcomer is not clearly better is in ``test_staying.py``; corrections of hubs are in
``test_evaluation.py``.
"""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from conjoin.alignment.choice import Choice, Trial
from conjoin.evaluation import compare
from conjoin.evaluation import pair_acquisition as picking
from conjoin.fusion.missing import Absence, Collect, Missing
from conjoin.fusion.model import Fused
from conjoin.report.cards.fit import verdict
from conjoin.retrieval import missing_modality
from conjoin.retrieval.ranking.hybrid import Fusion
from conjoin.selection import fusion as deciding
from conjoin.spaces import Pairs, Space
from conjoin.stats.paired import Effect
from conjoin.upgrade.options import Arm, Rates, recommend
from conjoin.upgrade.plan import Fits, Sample, curve
from conjoin.upgrade.refit import Way
from conjoin.upgrade.regression import Change

EDGE = 1e-9
ends = pytest.mark.parametrize(("low", "above"), [(EDGE, True), (0.0, False), (-EDGE, False)])


def shell(kind, **fields):
    """A value of a class with only the fields that are read here."""
    made = object.__new__(kind)
    made.__dict__.update(fields)
    return made


def home(thing):
    """The module that something is defined in, whose names can be replaced."""
    return sys.modules[thing.__module__]


def ending(low, high=0.2, value=0.1):
    """An effect whose interval has these ends at every level."""

    class Ended(Effect):
        def interval(self, level=0.95):
            return low, high

    return Ended(value, np.zeros(1), 9.0, 1, 10, 10)


# Fusion


def missing(*collect):
    absence = Absence({}, 0.5, 0.5, 1.0, False)
    return Missing("accuracy", (), {}, {}, absence, tuple(collect))


@ends
def test_a_modality_is_advised_to_be_collected_only_for_a_gain(low, above):
    said = missing(Collect("eye", 7, 0.1, low, 0.2, 1.0)).said
    assert len(said) == 1
    assert said[0].startswith("collect eye next: +0.100") is above
    assert ("collecting more of any modality has no gain" in said[0]) is not above


def test_of_several_the_first_with_a_gain_is_advised():
    none, unknown = Collect("a", 9, 0.3, -0.1, 0.7, 1.0), Collect("b", 9, None, None, None, 0.0)
    some = Collect("c", 4, 0.05, 0.01, 0.09, 1.0)
    assert missing(none, unknown, some).said[0].startswith("collect c next: ")
    assert "no gain that can be seen" in missing(none, unknown).said[0]
    assert missing(Collect("a", 0, None, None, None, 0.0)).said == ()


def chosen_by_fusion(low, high):
    arm = deciding.Arm("late", {}, 0.6, 0.5, 0.7, None, 0.1, low, high, None)
    best = shell(Fused, body=SimpleNamespace(order=[0]))
    run = shell(deciding.Fusing, inputs=SimpleNamespace(names=("ear",)))
    return run._recommended("auto", "late", [arm], {deciding.TO_BEAT: best}, {})[1][0]


@ends
def test_a_fusion_is_better_than_one_modality_only_with_a_gain(low, above):
    assert chosen_by_fusion(low, 0.2).startswith("use late: +0.100") is above
    assert ("on held-out items a tie" in chosen_by_fusion(low, 0.2)) is not above


@ends
def test_a_fusion_is_worse_than_one_modality_only_with_a_loss(low, above):
    assert ("is worse than" in chosen_by_fusion(-0.2, -low)) is above


@ends
def test_a_fusion_is_relied_on_only_where_it_beats_the_labels_alone(monkeypatch, low, above):
    paired = SimpleNamespace(effect=lambda *_: ending(low))
    monkeypatch.setattr(deciding, "Paired", SimpleNamespace(of=lambda *_, **__: paired))
    run = shell(
        deciding.Fusing,
        groups=np.arange(4),
        test=np.arange(4),
        target=SimpleNamespace(classes=None),
    )
    said = run._doubts("late", {"late": np.ones(4), "training mean": np.zeros(4)})
    assert bool(said) is not above
    assert all(line.startswith("do not rely on it: late is ") for line in said)


# Search


@ends
def test_a_modality_is_collected_for_search_only_for_a_gain(low, above):
    said = missing_modality._said(
        [
            missing_modality.Gain("sound", 0.1, low, 0.2),
            missing_modality.Gain("text", 0.0, -0.1, 0.1),
        ]
    )
    assert said.startswith("collect sound next") is above
    assert said.startswith("no further modality is shown to help; sound") is not above


@ends
def test_lists_are_mixed_only_for_a_gain(low, above):
    def mixed(low, high):
        return Fusion("cc", {}, {}, {}, 0.6, "vectors", 0.5, 0.1, low, high, {}, 0, 1, 50)

    assert mixed(low, 0.2).helps is above
    assert mixed(low, 0.2).verdict.startswith("mixing helps") is above
    assert mixed(-0.2, -low).verdict.startswith("mixing hurts") is above
    assert mixed(low, 0.2).to_json()["helps"] is above


# Methods


@pytest.mark.parametrize(("shift", "above"), [(1e-6, True), (-1e-6, False)])
def test_a_card_prefers_a_method_only_above_its_baseline(shift, above):
    gaps = np.array([0.01, 0.02, 0.03, 0.04, 0.05])
    own = gaps - gaps.mean() + 0.5
    half = 2.7764451051977987 * gaps.std(ddof=1) / np.sqrt(5)  # Student's 97.5 %, 4 degrees
    own = own + half + shift
    trials = (
        Trial("cca", {}, "a", tuple(own.tolist())),
        Trial(home(verdict).BASELINE, {}, "a", (0.5,) * 5),
    )
    said = verdict(Choice("cca", {}, "a", trials))
    assert said.startswith("cca beats ") is above
    assert said.startswith("do not prefer cca to ") is not above


def placed(name, cost, low):
    return compare.Placed(name, cost, {}, "a", 0.5, 0.5, 0.4, 0.6, 0.1, low, 0.2, 1.0)


@ends
def test_a_method_is_recommended_only_above_the_one_to_beat(low, above):
    simple = compare.TO_BEAT
    listed = [placed("cca", "closed", low), placed(simple, "closed", 0.0)]
    paired = SimpleNamespace(effect=lambda *_: ending(0.05))
    said, use = recommended(Choice("cca", {}, "a"), listed, paired)
    assert (use == "cca") is above
    assert said == ("use cca" if above else f"nothing beats {simple}: use {simple}")


@ends
def test_vectors_as_they_are_are_left_only_for_a_gain(low, above):
    simple = compare.TO_BEAT
    listed = [placed("cca", "closed", -0.1), placed(simple, "closed", 0.0),
              placed("identity", "closed", -0.3)]  # fmt: skip
    paired = SimpleNamespace(effect=lambda *_: ending(low))
    assert recommended(Choice("cca", {}, "a"), listed, paired)[1] == (
        simple if above else "identity"
    )


def recommended(choice, listed, paired):
    return compare._recommended(choice, listed, shell(compare.Paired, effect=paired.effect))


@ends
def test_pairs_are_picked_by_a_strategy_only_where_it_beats_chance(monkeypatch, low, above):
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    spaces = {name: Space.of(rows, name=name) for name in "ab"}
    train = Pairs.of(a=np.arange(60), b=np.arange(60))
    setting = shell(picking.Setting, bed=shell(picking.TestBed, spaces=spaces, train=train))
    monkeypatch.setattr(picking.Setting, "with_train", lambda self, _: self)
    units = SimpleNamespace(values=np.zeros(10), groups=np.arange(10))
    monkeypatch.setattr(picking, "score_of", lambda *_: units)
    monkeypatch.setattr(picking, "effect", lambda *_, **__: ending(low))
    monkeypatch.setattr(picking, "_next", lambda *_: ("i1",))
    found = picking.pick(setting.bed, setting, Choice("ridge", {}, "a"), count=1, seed=0)
    assert (found.strategy == "random") is not above
    assert ("beat random ones by" in found.said) is above
    assert ("no way of picking beats random" in found.said) is not above


# Upgrades


@ends
def test_a_direction_gained_or_lost_only_with_its_whole_interval(low, above):
    assert (Change("a", "b", 0.5, 0.6, 0.1, low, 0.2, 50).said == "gained") is above
    assert (Change("a", "b", 0.6, 0.5, -0.1, -0.2, -low, 50).said == "lost") is above
    assert Change("a", "b", 0.5, 0.5, 0.0, -0.1, 0.1, 50).said == "no sure change"


def upgrades(low, p=0.01):
    stay = Arm("nothing", 0.5, 0.4, 0.6, 0.0)
    return [stay, Arm("bridge", 0.6, 0.5, 0.7, 0.0, 0.1, low, 0.2, p)]


@ends
def test_an_upgrade_is_advised_only_for_a_gain(low, above):
    values = [np.zeros(4), np.ones(4)]
    arm, said = recommend(upgrades(low), values, np.arange(4))
    assert (arm.name == "bridge") is above
    assert said.startswith("bridge surely gains" if above else "no way surely gains")


@pytest.mark.parametrize(("p", "above"), [(0.0499, True), (0.05, False)])
def test_an_upgrade_is_advised_only_where_chance_among_all_is_small(p, above):
    values = [np.zeros(4), np.ones(4)]
    assert (recommend(upgrades(0.05, p), values, np.arange(4))[0].name == "bridge") is above


@ends
@pytest.mark.parametrize("whole", [False, True])
def test_more_sampling_is_advised_only_where_the_new_encoder_is_better(
    monkeypatch, low, above, whole
):
    module = home(curve)
    arms = upgrades(-0.1)
    values = [np.zeros(4), np.zeros(4)]
    fits = shell(Fits, way=Way(), worth={})
    monkeypatch.setattr(module, "fit_arms", lambda *_, **__: fits)
    measured = (
        list(zip(arms, values, strict=True)), np.arange(4), 4, (np.ones(4), np.zeros(4)),
    )  # fmt: skip
    monkeypatch.setattr(module, "measure", lambda *_, **__: measured)
    monkeypatch.setattr(module, "paired_difference", lambda *_, **__: (0.1, low, 0.2, 0.04))
    monkeypatch.setattr(module, "together", lambda *_, **__: np.array([0.9]))
    sample = shell(
        Sample, new=range(10), bound={"a": range(10 if whole else 30)}, name="a", held=range(4)
    )
    reason = curve(sample, Rates(0.0, 100)).reason
    assert ("so sample more" in reason) is (above and not whole)
    assert re.match("no way surely gains", reason)
