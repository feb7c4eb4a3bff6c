"""Bridges restated slowly from their formulas: row by row, with plain loops and full matrices."""

from dataclasses import replace

import numpy as np
import pytest

from conjoin.alignment.closed_form.linear import Identity, Ridge
from conjoin.errors import ConjoinError
from conjoin.maps.base import identity
from conjoin.spaces import Batch, Pairs
from conjoin.upgrade.bridges.class_maps import ClassMaps
from conjoin.upgrade.bridges.linear_bridges import (
    LocalAffine,
    LocalBridge,
    LowRank,
    Reached,
    ReEmbed,
    k_means,
)
from conjoin.upgrade.bridges.orthogonal_bridges import (
    BasisBridge,
    BasisChange,
    completed,
    turned,
    turned_tensor,
)
from conjoin.upgrade.bridges.simplex_classifier import FixedHead, SimplexHeads, named, simplex
from conjoin.upgrade.bridges.trained_bridges import XBT, ResidualBridge

RNG = np.random.default_rng(0)


def data(n=120, d=7, e=5, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) + 2
    y = x @ rng.normal(size=(d, e)) + 0.5 * rng.normal(size=(n, e)) - 1
    return x.astype(np.float32), y.astype(np.float32)


def lines(n):
    return Pairs.of(old=np.arange(n), new=np.arange(n))


def of_label(n):
    at = np.arange(n)
    return Pairs.of(label=at, old=at, new=at)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_low_rank_is_reduced_rank_ridge(rank):
    """``LowRank``: the rank-r fit nearest to ridge's in augmented least squares."""
    x, y = data()
    made = LowRank.__new__(LowRank)
    object.__setattr__(made, "lam", 0.2)
    object.__setattr__(made, "rank", rank)
    got = made.fit({"old": y, "new": x}, lines(len(x)))["new"].apply(x)
    xc, yc = x - x.mean(0), y - y.mean(0)
    lam = 0.2 * np.trace(xc.T @ xc) / x.shape[1]
    # Ridge is least squares on data with rows √λ I beneath; the reduced rank is that of its fit.
    tall = np.concatenate([xc, np.sqrt(lam) * np.eye(x.shape[1])])
    deep = np.concatenate([yc, np.zeros((x.shape[1], y.shape[1]))])
    full = np.linalg.lstsq(tall, deep, rcond=None)[0]
    v = np.linalg.svd(tall @ full)[2][:rank].T
    expected = xc @ full @ v @ v.T
    assert np.linalg.matrix_rank(full @ v @ v.T) == rank
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_at_full_rank_it_is_ridge():
    x, y = data()
    views = {"old": y, "new": x}
    one, two = (m(lam=0.2).fit(views, lines(len(x)))["new"].apply(x) for m in (LowRank, Ridge))
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_local_affine_is_a_sum_over_centres():
    centres, weights = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4, 2))
    biases, width = RNG.normal(size=(3, 2)), 0.7
    x = RNG.normal(size=(9, 4))
    got = LocalAffine(centres, weights, biases, width).apply(x)
    for row, y in zip(x, got, strict=True):
        g = np.array([np.exp(-np.sum((row - c) ** 2) / (2 * width**2)) for c in centres])
        g /= g.sum()
        expected = sum(
            g[c] * ((row - centres[c]) @ weights[c] + biases[c]) for c in range(len(centres))
        )
        np.testing.assert_allclose(y, expected, atol=1e-6)


def test_local_bridge_solves_each_region_held_to_the_whole():
    """``LocalBridge``: the gradient of each region's objective is zero at its weight."""
    x, y = data(n=160)
    bridge = LocalBridge(lam=0.1, regions=2, pull=0.5)
    made = bridge.fit({"old": y, "new": x}, lines(len(x)))["new"]
    ridge = Ridge(lam=0.1).fit({"old": y, "new": x}, lines(len(x)))["new"]
    x64, y64 = x.astype(np.float64), (y - y.mean(0)).astype(np.float64)
    cov = np.cov(x64.T, bias=True)
    hold = 0.5 * np.trace(cov) / x.shape[1] * len(x) / 2
    for c in range(2):
        share = np.array([
            np.exp(-np.sum((row - made.centres[c]) ** 2) / (2 * made.width**2))
            / sum(np.exp(-np.sum((row - k) ** 2) / (2 * made.width**2)) for k in made.centres)
            for row in x64
        ])  # fmt: skip
        w = made.weights[c].astype(np.float64)
        left = y64 - ((x64 - made.centres[c]) @ w + made.biases[c])
        gradient = -(x64 * share[:, None]).T @ left + hold * (w - ridge.weight)
        scale = np.abs((x64 * share[:, None]).T @ y64).max()
        assert np.abs(gradient).max() / scale < 2e-3
        np.testing.assert_allclose(share @ left / share.sum(), 0, atol=2e-3)


def test_k_means_is_a_fixed_point_whatever_the_order():
    x = np.concatenate([RNG.normal(size=(40, 3)) + 5 * k for k in range(3)])
    weight = np.ones(len(x))
    centres = k_means(x, weight, 3)
    owner = ((x[:, None] - centres) ** 2).sum(2).argmin(1)
    for c in range(3):
        np.testing.assert_allclose(centres[c], x[owner == c].mean(0), atol=1e-9)
    order = RNG.permutation(len(x))
    again = k_means(x[order], weight, 3)
    np.testing.assert_allclose(np.sort(again, axis=0), np.sort(centres, axis=0), atol=1e-9)


def test_re_embedding_is_nothing_as_maps():
    x, y = data()
    views = {"old": y, "new": x}
    one, two = (m().fit(views, lines(len(x))) for m in (ReEmbed, Identity))
    for name, rows in views.items():
        np.testing.assert_array_equal(one[name].apply(rows), two[name].apply(rows))


def test_cayley_keeps_lengths_and_torch_says_the_same():
    torch = pytest.importorskip("torch")
    skew = RNG.normal(size=(6, 6))
    start = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    q = turned(start, skew)
    np.testing.assert_allclose(q @ q.T, np.eye(6), atol=1e-5)
    s = (skew - skew.T) / 2
    slow = start @ np.linalg.inv(np.eye(6) - s) @ (np.eye(6) + s)
    np.testing.assert_allclose(q, slow, atol=1e-5)
    same = turned_tensor(torch.from_numpy(start), torch.from_numpy(skew)).numpy()
    np.testing.assert_allclose(same, slow, atol=1e-8)


def test_a_completed_rotation_is_procrustes_on_its_first_columns():
    x, t = RNG.normal(size=(50, 6)), RNG.normal(size=(50, 4))
    q = completed(x, t, np.ones(50), 6).astype(np.float64)
    np.testing.assert_allclose(q.T @ q, np.eye(6), atol=1e-5)
    best = np.trace((x @ q[:, :4]).T @ t)
    for seed in range(20):
        other = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0][:, :4]
        assert np.trace((x @ other).T @ t) <= best + 1e-4


def test_a_basis_change_is_two_rotations_and_loses_nothing():
    """``BasisChange`` row by row; cosines of the unit rows survive in what it puts out."""
    d, k, m = 5, 2, 4
    shift, inner = RNG.normal(size=d), RNG.normal(size=(d, 8))
    bias, outer = RNG.normal(size=8) + 1, RNG.normal(size=(8, k))
    first, second = (np.linalg.qr(RNG.normal(size=(s, s)))[0] for s in (d, m))
    item = BasisChange(shift, inner, bias, outer, first, second, 3.0)
    x = RNG.normal(size=(6, d))
    got = item.apply(x)
    for row, y in zip(x, got, strict=True):
        f = (row - shift) / np.linalg.norm(row - shift)
        o = np.maximum(f @ inner + bias, 0) @ outer
        u = np.concatenate([o / np.linalg.norm(o), 3.0 * f @ first])
        np.testing.assert_allclose(y, np.concatenate([u[:m] @ second, u[m:]]), atol=1e-6)
        assert np.linalg.norm(y) == pytest.approx(np.sqrt(10))
    f = (x - shift) / np.linalg.norm(x - shift, axis=1, keepdims=True)
    plain = BasisChange(shift, inner, bias, np.zeros((8, 0)), first, second, 3.0).apply(x)
    np.testing.assert_allclose(plain @ plain.T, 9 * f @ f.T, atol=1e-6)


def test_old_rows_lie_in_the_first_coordinates_of_a_basis_bridge():
    pytest.importorskip("torch")
    x, y = data(d=7, e=5)
    maps = BasisBridge(extra=0, scale=1.0, steps=20).fit({"old": y, "new": x}, lines(len(x)))
    old = maps["old"].apply(y)
    np.testing.assert_allclose(old[:, :5], y - y.mean(0), atol=1e-5)
    assert not old[:, 5:].any()


def test_residual_and_xbt_start_at_ridge_and_never_end_farther_from_held_out_rows():
    pytest.importorskip("torch")
    x, y = data(n=200)
    bent = (
        np.tanh(x - 2) @ np.random.default_rng(3).normal(size=(7, 5)).astype(np.float32) + 0.1 * y
    )
    views = {"old": bent.astype(np.float32), "new": x}

    def near(item, rows):
        a, b = item.apply(x[rows]), (bent - bent[:150].mean(0))[rows]
        return np.mean((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))

    held = np.arange(150, 200)
    ridge = Ridge(lam=0.3).fit(views, lines(150))["new"]
    for engine in (ResidualBridge, XBT):
        made = engine(steps=200, lr=1e-2, hidden=32).fit(views, lines(150))["new"]
        assert near(made, held) >= near(ridge, held) - 0.01


def starts(engine, views, pairs, monkeypatch):
    """Where training to find the stop starts from, and which lines decide when to stop."""
    from conjoin.upgrade.bridges import orthogonal_bridges as bridges_basis
    from conjoin.upgrade.bridges import simplex_classifier as bridges_simplex
    from conjoin.upgrade.bridges import trained_bridges as bridges_trained

    follow, found = bridges_trained.follow, []

    def spy(build, given, pace, seed, worth=bridges_trained.nearness):
        def noted(y, given, own):
            found.append(("held", given, own))
            return worth(y, given, own)

        def built(some):
            network, lines = build(some)
            found.append(("start", some, network.init(0)))
            return network, lines

        return follow(built, given, pace, seed, noted)

    with monkeypatch.context() as patch:
        for module in (bridges_trained, bridges_basis, bridges_simplex):
            patch.setattr(module, "follow", spy)
        engine.fit(views, pairs)
    return found


@pytest.mark.parametrize(
    ("engine", "labels"),
    [
        (ResidualBridge(steps=20), False), (XBT(steps=20), False),
        (BasisBridge(extra=0, scale=1.0, steps=20), False),
        (BasisBridge(extra=16, steps=20), False),
        (BasisBridge(extra=0, scale=1.0, steps=20, follow="classes", classes=16), False),
        (SimplexHeads(steps=20), True),
    ],
)  # fmt: skip
def test_what_decides_when_to_stop_is_held_out_of_the_start(engine, labels, monkeypatch):
    """Other targets for the lines held out leave the start where it was."""
    pytest.importorskip("torch")
    n = 160
    if labels:
        _, views = labelled(n)
        pairs = of_label(n)
    else:
        x, y = data(n=n, d=9, e=8)
        views, pairs = {"old": y, "new": x}, lines(n)
    found = starts(engine, views, pairs, monkeypatch)
    start = next(each for each in found if each[0] == "start")
    given, held = next(each[1:] for each in found if each[0] == "held")
    assert len(start[1].x) + len(held) == len(given.x)
    # Targets of the lines held out change places: means over all lines stay as they are.
    moved = np.roll(held, 1)
    target = "label" if labels else "old"
    other = {**views, target: views[target].copy()}
    other[target][held] = views[target][moved]
    again = next(e for e in starts(engine, other, pairs, monkeypatch) if e[0] == "start")
    assert not np.array_equal(other[target], views[target])
    for name, param in start[2].items():
        np.testing.assert_allclose(again[2][name].value, param.value, atol=1e-6, err_msg=name)
    whole = [each for each in found if each[0] == "start"][1]
    assert len(whole[1].x) == len(given.x)  # the last training starts from all lines


def test_training_looks_early_and_those_looks_cost_no_patience():
    from conjoin.training.loop import Schedule

    plain, early = Schedule(40, every=10), Schedule(40, every=10, early=True)
    assert [n for n in range(1, 41) if plain.looks(n)] == [10, 20, 30, 40]
    assert [n for n in range(1, 41) if early.looks(n)] == [1, 2, 4, 8, 10, 20, 30, 40]
    assert Schedule(7, every=10, early=True).looks(7)


def test_class_maps_are_least_squares_and_fishers_directions():
    """``ClassMaps`` in plain loops: ridge onto vertices, and scikit-learn's discriminant."""
    owner, views = labelled(n=150, classes=3)
    pairs = of_label(150)
    points = simplex(3)[::-1]  # classes are numbered as their rows sort
    x = views["new"].astype(np.float64)
    ridge = ClassMaps(rule="ridge", lam=0.1).fit(views, pairs)["new"]
    xc = x - x.mean(0)
    pull = 0.1 * np.trace(xc.T @ xc) / x.shape[1]
    slow = np.linalg.solve(xc.T @ xc + pull * np.eye(7), xc.T @ points[owner])
    np.testing.assert_allclose(ridge.apply(x), xc @ slow, atol=1e-4)

    fisher = ClassMaps(rule="discriminant", lam=1e-4).fit(views, pairs)["new"]
    within, means = np.zeros((7, 7)), []
    for k in range(3):
        own = x[owner == k]
        means.append(own.mean(0))
        for row in own:
            within += np.outer(row - own.mean(0), row - own.mean(0)) / len(x)
    within += 1e-4 * np.trace(xc.T @ xc / len(x)) / 7 * np.eye(7)
    aim = sum(np.outer(means[k] - x.mean(0), points[k]) for k in range(3))
    np.testing.assert_allclose(fisher.apply(x), xc @ np.linalg.solve(within, aim), rtol=1e-3,
                               atol=1e-3)  # fmt: skip
    sklearn = pytest.importorskip("sklearn.discriminant_analysis")
    peer = sklearn.LinearDiscriminantAnalysis(priors=[1 / 3] * 3).fit(x, owner)
    span = np.linalg.qr(peer.scalings_[:, :2])[0]
    ours = np.linalg.qr(np.linalg.solve(within, aim))[0][:, :2]
    cosines = np.linalg.svd(span.T @ ours, compute_uv=False)
    np.testing.assert_allclose(cosines, 1, atol=1e-3)  # the same directions


def test_xbt_reads_other_views_of_the_tower_by_the_projection_of_its_texts():
    pytest.importorskip("torch")
    x, y = data(n=160)
    picture = (x + 0.3 * np.random.default_rng(4).normal(size=x.shape)).astype(np.float32)
    views = {"old.text": y, "new.text": x, "new.image": picture}
    at = np.arange(160)
    pairs = Pairs.of(**{"old.text": at, "new.text": at}).join(
        Pairs.of(**{"new.text": at, "new.image": at})
    )
    frames = {"old.text": "a", "new.text": "b", "new.image": "b"}
    shared = XBT(rank=0, steps=20).fit(views, pairs, frames=frames)
    assert shared["new.image"] is shared["new.text"]
    adapted = XBT(rank=8, steps=60, lr=1e-2).fit(views, pairs, frames=frames)
    t = adapted["new.text"].apply(x)

    def found(rows):
        return np.mean((rows @ (t / np.linalg.norm(t, axis=1, keepdims=True)).T).argmax(1) == at)

    plain, better = (m["new.image"].apply(picture) for m in (shared, adapted))
    assert found(better) >= found(plain) - 0.02


def labelled(n=150, classes=3, seed=6):
    """One-hot labels, and an old and a new view whose clouds lie about class centres."""
    rng = np.random.default_rng(seed)
    owner = rng.integers(classes, size=n)
    old, new = (
        (rng.normal(size=(classes, d))[owner] * 2 + rng.normal(size=(n, d))).astype(np.float32)
        for d in (5, 7)
    )
    return owner, {"label": np.eye(classes, dtype=np.float32)[owner], "old": old, "new": new}


def test_the_vertices_of_a_simplex_are_as_far_apart_as_can_be():
    for count in (2, 3, 10):
        v = simplex(count)
        assert v.shape == (count, count - 1)
        for a in range(count):
            for b in range(count):
                expected = 1.0 if a == b else -1 / (count - 1)
                assert v[a] @ v[b] == pytest.approx(expected, abs=1e-9)


def test_the_loss_of_a_fixed_head_is_written_out():
    """``FixedHead``: cross-entropy against fixed weights, and the contrast with the old rows."""
    torch = pytest.importorskip("torch")
    n, k, mu, share = 6, 4, 10.0, 0.1
    classifier = simplex(k).astype(np.float32)
    label = RNG.integers(k, size=n)
    y, before = RNG.normal(size=(n, k - 1)), RNG.normal(size=(n, k - 1))
    before[0] = 0
    head = FixedHead(np.zeros(3), np.zeros((3, k - 1)), classifier, share, mu)
    target = np.concatenate([classifier[label], before, label[:, None]], axis=1)
    batch = Batch({"target": torch.from_numpy(target.astype(np.float32))}, {}, {}, torch.ones(n))
    got = head.loss(torch.from_numpy(y.astype(np.float32)), batch).numpy()

    def cos(a, b):
        return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))

    for i in range(n):
        scores = [y[i] @ w for w in classifier]
        named = np.log(sum(np.exp(s) for s in scores)) - scores[label[i]]
        if i == 0:
            assert got[i] == pytest.approx(named, abs=1e-4)
            continue
        others = sum(
            np.exp(mu * cos(before[i], y[j])) if label[i] != label[j] else 1.0 for j in range(n)
        )
        held = np.log(others) - mu * cos(before[i], y[i])
        assert got[i] == pytest.approx(share * named + (1 - share) * held, abs=1e-3)
    alone = replace(head, share=1.0).loss(torch.from_numpy(y.astype(np.float32)), batch)
    assert alone.numpy()[3] == pytest.approx(
        np.log(sum(np.exp(y[3] @ w) for w in classifier)) - y[3] @ classifier[label[3]], abs=1e-4
    )


def test_a_head_stops_where_it_names_held_out_classes_best():
    """``named``: the worth of mapped rows is minus their mean cross-entropy."""
    classifier = simplex(3)
    label = np.array([0, 2, 1, 2])
    target = np.concatenate([classifier[label], label[:, None]], axis=1)
    given = Reached("x", np.zeros((4, 2)), target, np.ones(4), np.arange(4), 2)
    own = np.array([1, 3])
    y = RNG.normal(size=(2, 2))
    scores = [[float(row @ w) for w in classifier] for row in y]
    slow = -np.mean([np.log(np.sum(np.exp(s))) - s[2] for s in scores])
    worth = named(classifier)
    assert worth(y, given, own) == pytest.approx(slow)
    assert worth(5 * classifier[[2, 2]], given, own) > worth(5 * classifier[[0, 1]], given, own)


def test_classes_stand_at_the_vertices_or_at_the_means_of_a_frozen_frame():
    pytest.importorskip("torch")
    owner, views = labelled()
    at = np.arange(len(owner))
    pairs = Pairs.of(label=at, old=at, new=at)
    maps = SimplexHeads(steps=20).fit(views, pairs)
    np.testing.assert_allclose(
        maps["label"].apply(np.eye(3, dtype=np.float32))[[0, 1, 2]], simplex(3)[::-1], atol=1e-5
    )
    frozen = SimplexHeads(steps=20).fit(views, pairs, frozen={"old": identity(5)})
    lies = views["old"] / np.linalg.norm(views["old"], axis=1, keepdims=True)
    for k in range(3):
        mean = lies[owner == k].mean(0)
        got = frozen["label"].apply(np.eye(3, dtype=np.float32)[k : k + 1])[0]
        np.testing.assert_allclose(got, mean / np.linalg.norm(mean), atol=1e-4)
    spare = SimplexHeads(steps=20, reserve=16).fit(views, pairs)["old"].apply(views["old"])
    assert spare.shape == (150, 18)


def test_old_and_new_agree_by_labels_alone_and_hold_to_old_rows_where_asked():
    pytest.importorskip("torch")
    owner, views = labelled()
    at = np.arange(100)
    apart = Pairs.of(label=at[:50], old=at[:50]).join(Pairs.of(label=at[50:], new=at[50:]))
    for share, pairs in ((1.0, apart), (0.1, Pairs.of(label=at, old=at, new=at))):
        maps = SimplexHeads(share=share, steps=60).fit(views, pairs)
        old, new = (maps[n].apply(views[n][100:]) for n in ("old", "new"))
        old, new = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (old, new))
        np.fill_diagonal(scores := new @ old.T, -9)
        assert np.mean(owner[100:][scores.argmax(1)] == owner[100:]) > 0.9
    with pytest.raises(ConjoinError, match="2 to 4096 classes"):
        SimplexHeads().fit({**views, "label": np.ones((150, 3), np.float32)}, apart)


def test_a_bridge_by_least_squares_goes_down_the_slope_of_the_squared_distance():
    """``Beside(aim="squared")``: its loss in plain numbers, and ``v2a-mapper`` has that aim."""
    import torch

    from conjoin.catalogue import find
    from conjoin.upgrade.bridges.trained_bridges import Beside

    y, target = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4))
    at, here = torch.arange(6), torch.ones(6, dtype=torch.bool)
    batch = Batch({"target": torch.from_numpy(target)}, {"y": at}, {"y": here}, torch.ones(6))
    row = find("aligner", "v2a-mapper").make({"steps": 20})
    network = row._beside(Reached("x", *data(), np.ones(120), np.arange(120), 5))
    assert isinstance(network, Beside)
    got = network.loss(torch.from_numpy(y), batch)
    wanted = [sum((y[i, j] - target[i, j]) ** 2 for j in range(4)) for i in range(6)]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    x, goal = data()
    made = row.fit({"old": goal, "new": x}, lines(len(x)))["new"].apply(x)
    assert made.shape == goal.shape
    # Without the ridge it starts at the mean of the targets, whatever the row.
    np.testing.assert_allclose(network.bias, goal.mean(0), atol=1e-5)
    assert not network.weight.any()
    assert row.arithmetic == 2
