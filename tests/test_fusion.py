"""Fusing from Python: choosing, the report of what is missing, losses, and trust."""

import dataclasses

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import conjoin
from conjoin.catalogue import find
from conjoin.errors import ConjoinError, StateError
from conjoin.fusion import missing as masks
from conjoin.fusion.inputs import Inputs, Picked
from conjoin.fusion.losses import FusionLoss
from conjoin.fusion.model import Fused
from conjoin.fusion.network import Net
from conjoin.fusion.sklearn import FusionEstimator
from conjoin.fusion.target import Target
from conjoin.fusion.trained import Dropped, FusionNet, LabelledBatches, kept_of
from conjoin.losses import Param
from conjoin.selection.fusion import Fusing, fuse
from conjoin.selection.plain_fusions import PlainFusions
from conjoin.spaces import Pairs
from conjoin.training.loop import PairBatches


def table(items=320, seed=0, strong=("ear", "eye"), gap=1.2):
    """Views that each tell a part of a class of four: two halves of its number."""
    rng = np.random.default_rng(seed)
    label = np.arange(items) % 4
    halves = {"ear": label // 2, "eye": label % 2}
    views = {
        name: rng.normal(size=(items, 4)) + (3 * gap * half[:, None] if name in strong else 0)
        for name, half in halves.items()
    }
    return views, label


# The decision


def test_two_halves_beat_the_best_one():
    views, label = table()
    rng = np.random.default_rng(1)
    found = conjoin.fuse(views, label, method="late", present={"ear": rng.random(320) > 0.3})
    arms = {arm.method: arm for arm in found.arms}
    assert arms["late"].gain_low > 0.1
    assert arms["late"].value > arms["best-single"].value > arms["class shares"].value
    assert found.said[0].startswith("use late: +")
    assert found.items[0] + found.items[1] == 320
    collect = {one.name: one for one in found.missing.collect}
    assert collect["eye"].gain is None
    assert collect["ear"].low > 0.1
    assert collect["ear"].covered == 1
    assert any(line.startswith("collect ear next: +") for line in found.said)
    single = [m for m in found.missing.masks if len(m.names) == 1]
    assert len(found.missing.masks) == 3
    assert all(0.35 < m.whole < 0.65 for m in single)


def test_nothing_beats_one_view_that_tells_all():
    views, label = table(strong=("ear",))
    found = fuse(views, label // 2, method="auto", budget=4)
    assert found.said[0] == "nothing beats the best single modality (ear): use it"
    assert found.fused.method == "best-single"
    assert found.best_single == "ear"
    assert found.to_json()["use"] == "best-single"


def test_a_tie_goes_to_the_better_mean_on_folds_and_is_called_one():
    """The other view adds too little to be told: having it is no cost, so both are used."""
    rng = np.random.default_rng(4)
    label = np.arange(240) % 2
    views = {
        "ear": 1.2 * label[:, None] + rng.normal(size=(240, 2)),
        "eye": 0.45 * label[:, None] + rng.normal(size=(240, 2)),
    }
    found = fuse(views, label)
    arms = {arm.method: arm for arm in found.arms}
    use, single = arms[found.fused.method], arms["best-single"]
    assert use.method != "best-single"
    assert use.validation > single.validation
    assert use.gain_low < 0 < use.gain_high
    assert found.said[0].startswith(f"use {use.method}: on held-out items a tie with the best")
    assert any(line.startswith("a tie on folds: ") for line in found.said)


def test_plain_methods_alone_are_tried_where_a_line_is_enough(monkeypatch):
    views, label = table(200)
    monkeypatch.setattr("conjoin.selection.fusion.Choosing", None)  # nothing else begins
    found = fuse(views, label, seed=1)
    names = {trial["method"] for trial in found.trials}
    assert names >= {"best-single", "late", "imputed-logistic"}
    assert set(found.untried) >= {"attention", "concat"}
    assert "name it" in found.untried["attention"]


def test_more_is_tried_only_where_more_than_a_line_tells():
    rng = np.random.default_rng(0)
    label = np.arange(600) % 2
    for told, tried in (("line", False), ("apart", True)):
        ear, eye = (rng.normal(size=(600, 40)) for _ in range(2))
        if told == "line":
            ear[:, 0] += 2 * label
        else:  # the sign of a product: no line tells it
            sign = rng.choice([-1, 1], 600)
            ear[:, :20] += 1.5 * sign[:, None]
            eye[:, :20] += 1.5 * (sign * (2 * label - 1))[:, None]
        views = {"ear": ear, "eye": eye}
        job = Fusing(Inputs.of(views, {}), label, None, None, 0)
        plain = PlainFusions(job, job.folds)
        plain.run()
        assert plain.settled is not tried, told
        assert "columns, more than 64" in plain.untried["boosted-trees"]


def test_trees_stand_for_what_is_no_line_where_columns_are_few():
    rng = np.random.default_rng(1)
    views = {name: rng.normal(size=(400, 2)) for name in ("ear", "eye")}
    label = (views["ear"][:, 0] > 0) != (views["eye"][:, 0] > 0)
    found = fuse(views, label)
    assert found.fused.method == "boosted-trees"
    assert found.said[0].startswith("use boosted-trees: +")


def test_one_wide_column_turns_nothing_off():
    views, label = table(300)
    wide = {name: view * np.array([1e5, 1, 1e-4, 1]) + 3e5 for name, view in views.items()}
    for name in ("late", "concat", "imputed-logistic", "boosted-trees"):
        one, other = (find("fusion", name).make().fit(v, {}, labels=label) for v in (views, wide))
        same = one.predict(views, {}) == other.predict(wide, {})
        assert same.mean() > 0.97, name


def test_odd_tables_are_decided_or_refused_in_a_line():
    import pandas as pd
    from scipy import sparse

    views, label = table(160)
    views["ear"][::5] = np.nan
    plain = fuse(views, label, method="late")
    frames = {n: pd.DataFrame(v, index=np.arange(160)[::-1]) for n, v in views.items()}
    yes = pd.Series(label > 1, index=np.arange(160)[::-1])
    same = fuse(frames, pd.Series(label, index=yes.index), method="late")
    np.testing.assert_array_equal(
        same.fused.predict(views, {"ear": np.arange(160) % 5 > 0}),
        plain.fused.predict(views, {"ear": np.arange(160) % 5 > 0}),
    )
    lists = {n: [None if np.isnan(row).any() else list(row) for row in v] for n, v in views.items()}
    assert fuse(lists, label, method="late").arms == plain.arms
    assert fuse(views, yes, method="late").fused.target.classes == ("False", "True")
    flat = {**views, "flat": np.full((160, 2), 3e7), "zero": np.zeros((160, 1))}
    found = fuse(flat, label.astype(str))
    assert found.fused.method in ("late", "imputed-logistic")
    assert found.arms[0].value > 0.7
    lone = np.where(np.arange(160) == 1, "rare", "usual")
    gone = {**views, "never": np.full((160, 3), np.nan)}
    holes = {**views, "eye": np.where(np.arange(4) == 2, np.nan, views["eye"])}
    missing = [None, float("nan"), *label[2:].astype(str)]
    for given, y, said in (
        (gone, label, "view never: present in no training item"),
        (holes, label, "view eye: row 0 is not finite: it holds NaN or infinity"),
        (views, lone, "labels: all .* 'usual'"),
        (views, missing, "labels: 2 of 160 are missing, the first in row 0"),
        ({"ear": sparse.csr_matrix(np.eye(160))}, label, "view ear: is sparse"),
        (views["eye"], label, "views: is a ndarray; give tables by name"),
    ):
        with pytest.raises(ConjoinError, match=said):
            fuse(given, y, method="late")


def test_folds_hold_their_share_of_every_class():
    views, _ = table(160)
    label = np.array(["rare"] * 12 + ["usual"] * 148)
    job = Fusing(Inputs.of(views, {}), label, None, np.arange(160) % 4 == 3, 0)
    for number in job.folds.numbers:
        inside = label[job.folds.lines[job.folds.fold == number]]
        assert 2 <= (inside == "rare").sum() <= 3


def test_a_named_method_is_kept():
    views, label = table(strong=("ear",))
    found = fuse(views, label // 2, method="concat")
    assert found.fused.method == "concat"
    assert "concat is kept, as you named it" in found.said


def test_the_seed_decides_a_decision():
    views, label = table(120)
    one, two = (fuse(views, label, method="late", seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.fused.scores(views, {}), two.fused.scores(views, {}))
    assert one.arms == two.arms


def test_groups_stay_on_one_side_and_numbers_are_explained():
    views, label = table(240)
    groups = np.arange(240) // 3
    found = fuse(views, label * 2.5, groups=groups, method="concat")
    assert found.metric == "explained"
    arms = {arm.method: arm for arm in found.arms}
    assert arms["concat"].value > 0.5
    assert abs(arms["training mean"].value) < 0.2
    assert arms["concat"].balanced is None


def test_a_class_that_only_held_out_items_have_counts_as_wrong():
    views, label = table(200)
    names = label.astype(str)
    held = np.arange(200) >= 150
    names[150:155] = "zebra"
    found = fuse(views, names, held=held, method="late")
    assert "5 held-out items are of classes that no training item has (zebra)" in found.notes[0]
    with pytest.raises(ConjoinError, match="labels: 'zebra' was not in training"):
        found.fused.target.encode(["zebra"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.zeros(80, int)}, "labels: all .* are '0'"),
        ({"labels": np.arange(80)}, "classes for .* items; give labels that repeat"),
        ({"labels": np.arange(7)}, "labels: 7 for 80 items"),
        ({"groups": np.arange(7)}, "groups: 7 for 80 items"),
        ({"method": "lat"}, "fusion: 'lat' is unknown; did you mean late"),
        ({"present": {"ear": np.zeros(80, bool)}}, "view ear: present in no training item"),
        ({"present": {"nose": np.ones(80, bool)}}, "'nose' is unknown"),
        ({"held": np.zeros(80, bool)}, "items: 80 to train on and 0 held out"),
    ],
)
def test_bad_input_is_one_line(change, said):
    views, label = table(80)
    asked = {"labels": label, "method": "late", **change}
    labels = asked.pop("labels")
    with pytest.raises(ConjoinError, match=said):
        fuse(views, labels, **asked)


def test_a_torn_file_is_refused(tmp_path):
    views, label = table(60)
    path = tmp_path / "fused.safetensors"
    find("fusion", "late").make().fit(views, {}, labels=label).save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StateError, match="torn"):
        Fused.load(path)


def test_what_is_no_better_than_guessing_is_said():
    rng = np.random.default_rng(3)
    views = {name: rng.normal(size=(200, 3)) for name in ("ear", "eye")}
    for labels, guess in ((np.arange(200) % 2, "class shares"), (rng.normal(size=200), "mean")):
        found = fuse(views, labels, method="late", budget=1)
        assert any("do not rely on it: late is " in s and guess in s for s in found.said)
        assert all(0 <= a.low <= a.high <= 1 for a in found.arms if guess == "class shares")
    views, label = table(200)
    assert not any(
        "do not rely" in line for line in fuse(views, label, method="late", budget=1).said
    )


# What is missing


def report(here_of, items=400, seed=0):
    views, label = table(items, seed)
    here = here_of(label, np.random.default_rng(seed))
    present = {name: here[:, place] for place, name in enumerate(views)}
    fused = find("fusion", "late").make().fit(views, present, labels=label)
    return masks.missing_report(fused, Inputs.of(views, present), label, np.arange(items))


def at_random(label, rng):
    here = rng.random((len(label), 2)) > 0.4
    here[~here.any(axis=1), 0] = True
    return here


def by_label(label, rng):
    here = np.ones((len(label), 2), bool)
    here[:, 1] = (label < 2) | (rng.random(len(label)) < 0.2)
    return here


def test_absence_that_tells_is_said():
    told = report(by_label)
    assert told.absence.tells
    assert told.absence.p <= 0.001
    assert told.absence.value > told.absence.guess + 0.1
    assert "which modalities are present tells the label" in told.said[0]
    assert not report(at_random).absence.tells


def test_absence_is_not_called_telling_by_chance():
    called = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        here = rng.random((60, 2)) > 0.3
        found = masks.absence(here, rng.integers(0, 3, 60), np.arange(60), ("a", "b"), seed)
        called += found.p <= 0.05
    assert called <= 7


def test_absence_of_numbers_is_tested_too():
    rng = np.random.default_rng(0)
    here = rng.random((200, 2)) > 0.5
    value = here[:, 0] + rng.normal(size=200)
    found = masks.absence(here, value, np.arange(200), ("a", "b"))
    assert found.tells
    assert found.value > found.guess


def test_gains_are_those_of_the_pattern_the_lacking_have():
    """Slow: by each pattern, with less what they have, weighed by how many lack it."""
    views, label = table(400, 3)
    views["nose"] = np.random.default_rng(9).normal(size=(400, 3)) + label[:, None] % 3
    rng = np.random.default_rng(4)
    here = rng.random((400, 3)) > 0.4
    here[~here.any(axis=1), 0] = True
    present = {name: here[:, k] for k, name in enumerate(views)}
    fused = find("fusion", "late").make().fit(views, present, labels=label)
    found = masks.missing_report(fused, Inputs.of(views, present), label, np.arange(400))
    for one in found.collect:
        place = list(views).index(one.name)
        total = many = 0
        for row in here[~here[:, place]]:
            more = row.copy()
            more[place] = True
            donors = np.flatnonzero((here >= more).all(axis=1))
            right = []
            for mask in (more, row):
                masked = {n: np.full(len(donors), mask[k]) for k, n in enumerate(views)}
                said = fused.predict({n: v[donors] for n, v in views.items()}, masked)
                right.append((said == label[donors].astype(str)).mean())
            total, many = total + right[0] - right[1], many + 1
        assert one.lacking == many
        assert np.isclose(one.gain, total / many)
        assert one.low < one.gain < one.high


def test_importance_is_the_mean_over_subsets():
    found = report(lambda label, rng: np.ones((len(label), 2), bool))
    whole, ear, eye = (m.whole for m in found.masks)
    alone = 0.25
    assert np.isclose(found.importance["ear"][0], ((ear - alone) + (whole - eye)) / 2)
    assert np.isclose(found.importance["eye"][0], ((eye - alone) + (whole - ear)) / 2)
    assert np.isclose(sum(found.needs.values()), 1)


def test_many_modalities_are_not_all_combined():
    assert len(masks.subsets_of(3)) == 7
    assert len(masks.subsets_of(9)) == 9 + 9 + 1


# Trust


def test_trust_goes_to_the_view_that_tells():
    views, label = table(strong=("ear",))
    for name in ("concat", "entropy-late"):
        fitted = find("fusion", name).make().fit(views, {}, labels=label // 2)
        assert fitted.trust(views, {})[:, 0].mean() > 0.6, name


# Training


def test_views_are_dropped_and_one_is_kept():
    rng = np.random.default_rng(0)
    here = rng.random((2000, 3)) > 0.3
    here[~here.any(axis=1), 1] = True
    kept = kept_of(here, 0.5, rng)
    assert kept.any(axis=1).all()
    assert not (kept & ~here).any()
    assert 0.5 < kept[here].mean() < 0.65
    np.testing.assert_array_equal(kept_of(here, 0.0, rng), here)


def batch_of(items=24, seed=0):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    views = {"a": rng.normal(size=(items, 3)), "b": rng.normal(size=(items, 4))}
    pairs = Pairs.of(a=np.arange(items), b=np.arange(items))
    labels = np.arange(items) % 3
    batches = LabelledBatches(views, pairs, items, labels=labels)
    batch = next(batches.epoch(1, seed))
    inputs = Inputs.of(views, {})
    scalers = {name: inputs.scaler(name) for name in views}
    return torch, batch, scalers


def graded(batch, scalers, loss, body="side", double=True):
    """The value of a loss and its gradient by parameter."""
    import torch

    from conjoin.fusion.architectures import Spec

    net = Net(Spec(body, ("a", "b"), (3, 4), 3, 8, heads=2), scalers)
    params = {k: Param(p.value).tensor(torch.float32) for k, p in net.init(0).items()}
    value = loss(net.forward(batch, params), batch, {})
    value.backward()
    return float(value.detach()), {k: p.grad for k, p in params.items()}


def test_harmonised_gradients_are_the_realigned_ones():
    torch, batch, scalers = batch_of()
    none = dict.fromkeys(("a", "b"))
    plain = graded(batch, scalers, FusionLoss(False))[1]
    both = graded(batch, scalers, FusionLoss(False, balance="harmonised"), "side")[1]
    alone = []
    for name in ("a", "b"):
        only = {n: torch.full_like(m, n == name) for n, m in batch.present.items()}
        fewer = dataclasses.replace(batch, present=only)
        alone.append(graded(fewer, scalers, FusionLoss(False))[1])
    keys = [k for k in plain if not k.startswith("stem/")]
    flat = [torch.cat([g[k].reshape(-1) for k in keys]) for g in alone]
    if flat[0] @ flat[1] < 0:
        a = flat[0] - (flat[0] @ flat[1]) / (flat[1] @ flat[1]) * flat[1]
        b = flat[1] - (flat[0] @ flat[1]) / (flat[0] @ flat[0]) * flat[0]
    else:
        a, b = flat
    own = torch.cat([plain[k].reshape(-1) for k in keys])
    got = torch.cat([both[k].reshape(-1) for k in keys])
    torch.testing.assert_close(got, own + (a + b) / 2, atol=1e-5, rtol=1e-4)
    assert none.keys() == {"a", "b"}


def test_a_view_raises_what_its_own_order_changes():
    """A step along the competing term raises the divergence that each encoder causes."""
    torch, batch, scalers = batch_of()
    from conjoin.fusion.losses import competing, divergence

    class Silent(FusionLoss):
        def task(self, logits, batch):
            return logits.sum() * 0

    def own_divergence(params, net):
        out = net.forward(batch, params)
        order = torch.from_numpy(batch.draw("permute a").permutation(len(batch)))
        moved = {"a": out["z"]["a"][order], "b": out["z"]["b"]}
        before = out["again"](out["z"], out["here"])["logits"]
        return divergence(before, out["again"](moved, out["here"])["logits"])

    from conjoin.fusion import losses
    from conjoin.fusion.architectures import Spec

    net = Net(Spec("side", ("a", "b"), (3, 4), 3, 8), scalers)
    params = {k: p.tensor() for k, p in net.init(0).items()}
    before = float(own_divergence(params, net).detach())
    kept, losses.CONTRAST = losses.CONTRAST, 0.0
    try:
        term = competing(Silent(False), net.forward(batch, params), batch, torch.zeros(()))
    finally:
        losses.CONTRAST = kept
    (slope,) = torch.autograd.grad(term, [params["stem/a"]])
    with torch.no_grad():
        params["stem/a"] -= 0.5 * slope
    assert float(own_divergence(params, net).detach()) > before


def test_teachers_hold_the_projections():
    views, label = table(200)
    method = FusionNet(body="side", steps=40, hidden=16, dropout=0.0)
    plain = method.fit(views, {}, labels=label)
    held = dataclasses.replace(method, balance="taught", strength=10.0).fit(views, {}, labels=label)
    assert not np.array_equal(plain.scores(views, {}), held.scores(views, {}))
    assert (held.predict(views, {}) == label.astype(str)).mean() > 0.7


def test_dropping_draws_from_the_step():
    torch, batch, _ = batch_of()
    one, two = Dropped(0.5)(batch), Dropped(0.5)(batch)
    for name in ("a", "b"):
        assert torch.equal(one.present[name], two.present[name])
    assert isinstance(LabelledBatches({}, Pairs.of(a=[0]), 1), PairBatches)


def test_rows_are_read_where_they_lie():
    class Counted:
        ndim, shape = 2, (50_000, 3)

        def __init__(self):
            self.most = 0

        def __len__(self):
            return 50_000

        def __getitem__(self, key):
            rows = np.arange(50_000)[key]
            self.most = max(self.most, len(rows))
            return np.stack([rows, rows % 7, rows % 3], axis=1).astype(np.float32)

    view = Counted()
    picked = Picked(view, np.arange(50_000)[::-1])
    inputs = Inputs.of({"a": picked}, {})
    scaler = inputs.scaler("a")
    assert view.most <= 4096
    assert np.isclose(scaler.shift[0], 49_999 / 2, rtol=1e-5)
    assert picked[np.array([0])][0, 0] == 49_999


# The estimator


def test_the_estimator_gives_back_labels_as_they_were():
    from sklearn.base import clone

    views, label = table(160)
    views["ear"][::4] = np.nan
    found = clone(FusionEstimator("late", {"lam": 0.1})).fit(views, label)
    assert found.predict(views).dtype == label.dtype
    assert found.score(views, label) > 0.7
    np.testing.assert_allclose(found.predict_proba(views).sum(axis=1), 1, atol=1e-5)
    assert (found.trust(views)[::4, 0] == 0).all()
    numbers = FusionEstimator("concat", task="numbers").fit(views, label.astype(float))
    assert numbers.score(views, label.astype(float)) > 0.4
    assert not hasattr(numbers, "predict_proba")
    for y, kept in ((label.astype(float), "f"), (label > 1, "b"), (label.astype(str), "U")):
        classes = FusionEstimator("late").fit(views, y)
        assert classes.predict(views).dtype.kind == kept
        assert classes.score(views, y) > 0.6
    with pytest.raises(ConjoinError, match="X: a ndarray; give tables by name"):
        found.predict(views["eye"])


def test_the_estimator_goes_through_pipelines_and_cross_validation():
    import pandas as pd
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    views, label = table(160)
    views["ear"][::4] = np.nan
    side = np.concatenate([views["ear"], views["eye"]], axis=1)
    columns = {"ear": [0, 1, 2, 3], "eye": [4, 5, 6, 7]}
    own = FusionEstimator("late", views=columns)
    assert clone(own).get_params()["views"] == columns
    scores = cross_val_score(make_pipeline(StandardScaler(), own), side, label, cv=3)
    assert (scores > 0.6).all()
    np.testing.assert_array_equal(
        clone(own).fit(side, label).predict(side),
        FusionEstimator("late").fit(views, label).predict(views),
    )
    frame = pd.DataFrame(side, columns=[f"c{k}" for k in range(8)])
    named = FusionEstimator(
        views={"ear": ["c0", "c1", "c2", "c3"], "eye": ["c4", "c5", "c6", "c7"]}
    )
    grid = GridSearchCV(named, {"fields": [{"lam": 1e-3}, {"lam": 1.0}]}, cv=2).fit(frame, label)
    assert grid.best_score_ > 0.6
    with pytest.raises(NotFittedError):
        FusionEstimator().predict(views)
    for given, y, said in (
        (own, label[:9], "y: 9 for 160 items"),
        (FusionEstimator(views={"ear": [9]}), label, "view ear: columns .9. of a table of 8"),
        (FusionEstimator(task="class"), label, "task: 'class'; give 'classes' or 'numbers'"),
        (own, label + 0.5, 'y: Unknown label type: .*; give task="numbers"'),
        (
            clone(own).set_params(task="numbers"),
            np.array(list("abcdefghij"))[label],
            'no number; give task="classes"',
        ),
        (own, [*label[:-2], None, None], "y: 2 of 160 are missing, the first in row 158"),
    ):
        with pytest.raises(ConjoinError, match=said):
            given.fit(side, y)
    with pytest.raises(ConjoinError, match="view ear: no column 'c'"):
        FusionEstimator(views={"ear": ["c"]}).fit(frame, label)
    again = own.fit(side, label).set_params(task="numbers").fit(side, label + 0.5)
    assert not hasattr(again, "classes_")


def unlike(estimator):
    """Checks that do not apply, and why."""
    why = (
        "bins are cut without weights, as scikit-learn's own are"
        if estimator.method == "boosted-trees"
        else "rows are read in single precision, and the check compares to 1e-7"
    )
    last = "rows are read in single precision: the last bits depend on which rows share a batch"
    return {
        "check_sample_weight_equivalence_on_dense_data": why,
        "check_methods_subset_invariance": last, "check_methods_sample_order_invariance": last,
    }  # fmt: skip


# Its check of array-API input runs only where SciPy was started for it.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        FusionEstimator("imputed-logistic"), FusionEstimator("late", task="numbers"),
        FusionEstimator("boosted-trees", {"steps": 10, "fewest": 2}),
    ],
    expected_failed_checks=unlike,
)  # fmt: skip
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_votes_weights_and_stratified_folds():
    from sklearn.base import is_classifier, is_regressor
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import check_cv

    views, label = table(160)
    side = np.concatenate(list(views.values()), axis=1)
    own = FusionEstimator("imputed-logistic", views={"ear": [0, 1, 2, 3], "eye": slice(4, 8)})
    vote = VotingClassifier([("own", own), ("other", LogisticRegression())], voting="soft")
    names = np.array(["p", "q", "r", "s"])[label]
    assert vote.fit(side, names).score(side, names) > 0.9
    assert is_classifier(own)
    assert is_regressor(FusionEstimator(task="numbers"))
    assert "Stratified" in repr(check_cv(3, names, classifier=is_classifier(own)))
    assert own.fit(side, names).n_features_in_ == 8
    assert FusionEstimator().fit(views, names).n_features_in_ == 8
    weight = np.arange(160) % 3
    copies = np.repeat(np.arange(160), weight)
    heavy = own.fit(side, names, sample_weight=weight).predict_proba(side)
    many = own.fit(side[copies], names[copies]).predict_proba(side)
    np.testing.assert_allclose(heavy, many, atol=2e-3)
    twelve = np.arange(160) % 12  # whose numbers sort otherwise as texts
    found = FusionEstimator("late").fit(views, twelve * 1.0)
    shares = found.predict_proba(views)
    np.testing.assert_array_equal(found.classes_[shares.argmax(axis=1)], found.predict(views))


def test_a_target_is_a_class_or_a_number():
    assert Target.of([1, 2, 1, 2]).classes == ("1", "2")
    assert Target.of([1.0, 2.0, 4.0]).classes is None
    with pytest.raises(ConjoinError, match="row 1 is not finite"):
        Target.of([1.0, np.nan])
    with pytest.raises(ConjoinError, match="all 2 are 3"):
        Target.of([3.0, 3.0])


def test_what_a_body_does_not_put_out_cannot_be_learned_from():
    rng = np.random.default_rng(0)
    views, y = {"a": rng.normal(size=(70, 3)), "b": rng.normal(size=(70, 2))}, np.arange(70) % 2
    present = dict.fromkeys(views, np.ones(70, bool))
    with pytest.raises(ConjoinError, match=r"stepwise with body sequence.*give body state"):
        FusionNet(body="sequence", extra="stepwise").fit(views, present, labels=y)


@pytest.mark.parametrize("name", ["attention", "multimodn", "poe", "joint-prediction"])
def test_tries_for_settings_leave_what_a_row_is_made_of(name):
    row = find("fusion", name)
    assert {"body", "extra", "balance"} <= set(row.settings)
