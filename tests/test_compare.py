"""Comparing methods on a user's pairs: planted winners, ties, nothing, and time."""

import dataclasses

import numpy as np
import pytest

from conjoin.catalogue import simple
from conjoin.errors import ConjoinError
from conjoin.evaluation import compare as module
from conjoin.evaluation.compare import compare
from conjoin.retrieval import evaluation
from conjoin.spaces import Pairs, Space

CLOSED = ["identity", "mean-centering", "ridge", "procrustes", "cca", "whitened-procrustes"]


def bed(kind="linear", n=360, seed=0, width=10):
    """Two views of one table: turned and warped, drowned in noise of their own, or unrelated."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, width)) * np.linspace(2, 0.3, width)
    a = latent + 0.15 * rng.normal(size=latent.shape)
    if kind == "same":
        b = latent + 0.15 * rng.normal(size=latent.shape)
    elif kind == "noise":
        b = rng.normal(size=latent.shape)
    elif kind == "drowned":
        own = [6 * rng.normal(size=(n, 3 * width)) for _ in range(2)]
        mixes = [rng.normal(size=(4 * width, 4 * width)) for _ in range(2)]
        a, b = (np.hstack([latent, x]) @ m for x, m in zip(own, mixes, strict=True))
    else:
        turn = np.linalg.qr(rng.normal(size=(width, width)))[0]
        b = (latent * np.geomspace(0.2, 5, width)) @ turn + 0.15 * rng.normal(size=latent.shape)
    ids = np.arange(n).astype(str)
    spaces = {
        name: Space.of(x.astype(np.float32), ids, name=name) for name, x in (("a", a), ("b", b))
    }
    lines = np.arange(n)
    whole = dataclasses.replace(Pairs.of(a=lines, b=lines), group=lines)
    held = lines < n // 3
    rows = {name: np.flatnonzero(held) for name in spaces}
    return evaluation.TestBed(
        spaces, whole.take(~held), whole.take(held), rows, {i: i for i in ids.tolist()}
    )


@pytest.fixture(autouse=True)
def _only_closed_forms(monkeypatch):
    """Trained methods have a race of their own in test_choose."""
    monkeypatch.setattr(module, "methods_of", lambda families: CLOSED)


def test_a_method_that_helps_is_named():
    found = compare(bed("drowned"), hubs=["a", "b"])
    best = {one.method: one for one in found.ranked}
    used = best[found.choice.method]
    assert found.choice.method not in ("identity", "mean-centering", "ridge", "procrustes")
    assert found.said == f"use {used.method}" or f"use {used.method}, the simpler" in found.said
    assert used.gain_low > 0
    assert used.value > best["identity"].value + 0.2


def test_where_the_baseline_does_as_well_it_is_taken():
    found = compare(bed(), hubs=["a", "b"])
    assert found.said == "nothing beats ridge: use ridge" or found.choice.method == "ridge"
    assert found.choice.fields == next(o.fields for o in found.ranked if o.method == "ridge")


def test_where_nothing_helps_it_says_so():
    found = compare(bed("noise"), hubs=["a", "b"])
    assert "nothing beats" in found.said or "tie" in found.said
    assert found.choice.method in ("identity", "ridge", "mean-centering")


def test_where_the_encoders_already_speak_to_each_other_the_simplest_is_taken():
    found = compare(bed("same"), hubs=["a", "b"])
    assert found.choice.method in ("identity", "mean-centering")
    assert "nothing beats" in found.said or "tie" in found.said


def test_simple_methods_are_always_beside_the_winner():
    found = compare(bed(), hubs=["a", "b"])
    ranked = {one.method for one in found.ranked}
    assert set(simple("aligner")) <= ranked
    assert found.touches == 5 * len(ranked)
    values = [one.value for one in found.ranked]
    assert values == sorted(values, reverse=True)
    ridge = next(one for one in found.ranked if one.method == "ridge")
    assert (ridge.gain, ridge.gain_low, ridge.gain_high) == (0, 0, 0)


def test_what_time_does_not_allow_is_listed():
    found = compare(bed(), hubs=["a", "b"], budget=1e-6)
    assert found.untried
    assert all("budget" in why or "dimension" in why or "needs" in why
               for why in found.untried.values())  # fmt: skip
    assert len(found.ranked) >= 1
    assert found.said


def test_held_out_items_decide_nothing_on_validation():
    one = bed()
    turned = dataclasses.replace(one, rows={n: r[::-1] for n, r in one.rows.items()})
    a, b = compare(one, hubs=["a", "b"]), compare(turned, hubs=["a", "b"])
    assert [t.scores for t in a.choice.trials] == [t.scores for t in b.choice.trials]


def test_unknown_families_are_refused(monkeypatch):
    monkeypatch.undo()
    with pytest.raises(ConjoinError, match="families"):
        compare(bed(), hubs=["a", "b"], families=["alchemy"])


def test_the_record_is_json():
    import json

    found = compare(bed(), hubs=["a", "b"]).to_json()
    again = json.loads(json.dumps(found))
    assert again["use"] == found["use"]
    assert again["ranked"][0]["value"] >= again["ranked"][-1]["value"]


def test_held_out_pairs_that_were_trained_on_are_refused():
    one = bed()
    leaking = dataclasses.replace(one, train=one.train.join(one.test.take(np.arange(3))))
    with pytest.raises(ConjoinError, match="trained on and tested"):
        compare(leaking, hubs=["a", "b"])


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ({"cca": 0.2, "procrustes": 0.19}, "cca and procrustes tie: use procrustes"),
        ({"cca": 0.2, "procrustes": -0.1}, "use cca"),
        ({"cca": -0.1, "procrustes": -0.2}, "nothing beats ridge: use ridge"),
    ],
)
def test_only_what_beats_the_baseline_may_tie(gains, said):
    rng = np.random.default_rng(0)
    noise = {name: rng.normal(0, 0.3, (5, 300)) for name in ("ridge", *gains)}
    scores = {"ridge": noise["ridge"]} | {
        name: noise["ridge"] * 0 + gain + (noise[name] if said.startswith("cca and") else 0)
        for name, gain in gains.items()
    }
    trials = {name: module.Trial(name, {}, "a", (0.5,) * 5) for name in scores}
    groups = np.arange(300)
    found = {
        name: (trials[name], {module.METRIC: module.Units(values, groups)})
        for name, values in scores.items()
    }
    placed, paired = module._placed(found, {})
    choice = module.Choice("cca", {}, "a", tuple(trials.values()))
    assert module._recommended(choice, placed, paired)[0].startswith(said)
