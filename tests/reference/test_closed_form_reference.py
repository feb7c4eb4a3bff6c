"""Published closed forms against their papers' formulas, written out slowly and in float64."""

import numpy as np
import pytest

from conjoin.alignment.binding import Binding
from conjoin.alignment.closed_form.collapse import Collapse
from conjoin.alignment.closed_form.linear import CCA, MeanCentering, Ridge
from conjoin.alignment.closed_form.relative import SIMILARITIES, Relative, RelativeMap, nearness
from conjoin.alignment.closed_form.whitening import Subspace, Whitening
from conjoin.errors import ConjoinError
from conjoin.maps.base import Affine
from conjoin.spaces import Frame, Pairs, Space

RNG = np.random.default_rng(11)
N = 240
LATENT = RNG.normal(size=(N, 4))
X = LATENT @ RNG.normal(size=(4, 9)) + 0.4 * RNG.normal(size=(N, 9)) + 3
Y = LATENT @ RNG.normal(size=(4, 6)) + 0.4 * RNG.normal(size=(N, 6)) - 1
Z = Y @ np.diag([1, 2, 0.5, 1, 3, 1]) + 0.1 * RNG.normal(size=(N, 6)) + 2
ALL = np.arange(N)


def fit(aligner, **views):
    return aligner.fit(views, Pairs.of(**{name: ALL for name in views}))


def unit(a):
    return a / np.linalg.norm(a, axis=1, keepdims=True)


def cosines(a, b):
    return unit(a) @ unit(b).T


# Whitening


@pytest.mark.parametrize("rank", [None, 32])
def test_one_whitening_of_both_sides(rank):
    maps = fit(Whitening("nothing", rank, 1e-6), y=Y, z=Z)
    yc, zc = Y - Y.mean(0), Z - Z.mean(0)
    both = np.concatenate([yc, zc])
    values, vectors = np.linalg.eigh(both.T @ both / len(both))
    white = vectors @ np.diag(values**-0.5)
    a, b = maps["y"].apply(Y), maps["z"].apply(Z)
    np.testing.assert_allclose(cosines(a, b), cosines(yc @ white, zc @ white), atol=1e-4)
    out = np.concatenate([a, b])
    np.testing.assert_allclose(out.T @ out / len(out), np.eye(6), atol=1e-3)


def test_whitening_keeps_the_directions_of_most_variance():
    wide = RNG.normal(size=(N, 40)) * np.geomspace(5, 0.1, 40)
    out = fit(Whitening("nothing", 32, 1e-6), a=wide, b=wide + 1)["a"].apply(wide)
    values, vectors = np.linalg.eigh(np.cov(wide.T, bias=True))
    slow = (wide - wide.mean(0)) @ vectors[:, ::-1][:, :32] / np.sqrt(values[::-1][:32])
    assert out.shape == (N, 32)
    np.testing.assert_allclose(np.abs(out), np.abs(slow), rtol=1e-2, atol=1e-2)


def test_one_whitening_needs_one_width_and_says_so():
    with pytest.raises(ConjoinError, match=r"view x: has 9 dimensions.*procrustes"):
        fit(Whitening(), y=Y, x=X)
    held = {"y": Affine(None, np.zeros(6), np.zeros(6))}
    pairs = Pairs.of(y=ALL, z=ALL)
    with pytest.raises(ConjoinError, match="view z: cannot share the whitening of y"):
        Whitening().fit({"y": Y, "z": Z}, pairs, frozen=held)


def test_whitening_then_rotation_is_cca_without_weights_up_to_one_rotation():
    ours = fit(Whitening("procrustes", None, 1e-6), y=Y, z=Z)
    peer = fit(CCA(1e-6, None, 0.0), y=Y, z=Z)
    a, b = ours["y"].apply(Y), ours["z"].apply(Z)
    p, q = peer["y"].apply(Y), peer["z"].apply(Z)
    np.testing.assert_allclose(cosines(a, b), cosines(p, q), atol=1e-3)
    np.testing.assert_allclose(a.T @ a / N, np.eye(6), atol=1e-3)


@pytest.mark.parametrize("lam", [1e-2, 1.0])
def test_whitening_then_rotation_of_views_of_two_widths(lam):
    maps = fit(Whitening("procrustes", None, lam), y=Y, x=X)
    white = {}
    for name, view in (("x", X), ("y", Y)):
        c = view - view.mean(0)
        values, vectors = np.linalg.eigh(c.T @ c / N)
        white[name] = c @ vectors @ np.diag((values + lam * values.mean()) ** -0.5)
    u, _, vt = np.linalg.svd(white["x"].T @ white["y"], full_matrices=False)
    slow = cosines(white["x"] @ u @ vt, white["y"])
    np.testing.assert_allclose(cosines(maps["x"].apply(X), maps["y"].apply(Y)), slow, atol=1e-4)


def test_a_view_added_to_rotated_ones_comes_to_lie_where_it_would_have():
    aligner = Whitening("procrustes", None, 1e-3)
    maps = fit(aligner, y=Y, z=Z)
    pairs = Pairs.of(y=ALL, z=ALL)
    again = aligner.fit({"y": Y, "z": Z}, pairs, frozen={"y": maps["y"]})["z"]
    np.testing.assert_allclose(unit(again.apply(Z)), unit(maps["z"].apply(Z)), atol=1e-3)


# Text-to-Concept


def test_least_squares_with_weight_decay_on_scaled_features_is_this_ridge():
    """The authors scale features to variance 4.5 and decay weights by 5e-4; solved, not descended.

    ``mean((W c₁x + b - c₂y)²) + 5e-4/2 |W|²`` has its gradient in ``W`` zero at
    ``(C + 5e-4 d_y / 2 I) W = C_xy`` in scaled units.
    """
    xc, yc = X - X.mean(0), Y - Y.mean(0)
    c1, c2 = np.sqrt(4.5 / xc.var()), np.sqrt(4.5 / yc.var())
    a, b = c1 * xc, c2 * yc
    scaled = np.linalg.solve(a.T @ a / N + 5e-4 * 6 / 2 * np.eye(9), a.T @ b / N)
    slow = scaled * c1 / c2
    maps = fit(Ridge(5e-4 * 6 / 2 / 4.5), y=Y, x=X)
    np.testing.assert_allclose(maps["x"].weight, slow, atol=1e-5)


# Subspace


@pytest.mark.parametrize(("rank", "lam"), [(8, 1e-4), (16, 0.5)])
def test_least_squares_inside_canonical_directions(rank, lam):
    maps = fit(Subspace(rank, lam), y=Y, x=X)
    peer = fit(CCA(lam, rank, 0.0), y=Y, x=X)
    a, b = peer["x"].apply(X).astype(float), peer["y"].apply(Y).astype(float)
    slow = np.linalg.lstsq(np.c_[a, np.ones(N)], b, rcond=None)[0]
    fast = maps["x"].apply(X)
    turn = np.sign(np.sum(maps["y"].apply(Y) * b, axis=0))
    np.testing.assert_allclose(maps["y"].apply(Y), b * turn, atol=1e-3)
    np.testing.assert_allclose(fast, np.c_[a, np.ones(N)] @ slow * turn, atol=2e-3)


def test_without_a_penalty_it_weighs_one_view_by_the_correlations():
    maps = fit(Subspace(8, 1e-4), y=Y, x=X)
    peer = fit(CCA(1e-4, 8, 0.0), y=Y, x=X)
    a, b = peer["x"].apply(X), peer["y"].apply(Y)
    rho = np.array([np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(6)])
    np.testing.assert_allclose(np.abs(maps["x"].apply(X)), np.abs(a * rho), atol=1e-2)


def test_a_view_added_to_a_subspace_is_fitted_inside_its_own():
    maps = fit(Subspace(8, 0.3), y=Y, x=X)
    pairs = Pairs.of(x=ALL, z=ALL)
    added = Subspace(8, 0.3).fit({"x": X, "z": Z}, pairs, frozen={"x": maps["x"]})["z"]
    target = maps["x"].apply(X).astype(float)
    down = fit(CCA(0.3, 8, 0.0), z=Z, t=target)["z"].apply(Z).astype(float)
    slow = np.linalg.lstsq(np.c_[down, np.ones(N)], target, rcond=None)[0]
    np.testing.assert_allclose(added.apply(Z), np.c_[down, np.ones(N)] @ slow, atol=2e-3)


# Relative representations


def slowly(kind, x, a):
    if kind == "cosine":
        return float(x @ a / np.linalg.norm(x) / np.linalg.norm(a))
    return -float(np.linalg.norm(x - a, {"euclidean": 2, "l1": 1, "linf": np.inf}[kind]))


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_nearness_to_anchors(kind):
    slow = np.array([[slowly(kind, x, a) for a in Y[20:25]] for x in Y[:9]])
    np.testing.assert_allclose(nearness(kind, Y[:9], Y[20:25]), slow, atol=1e-9)


def test_cosines_with_common_anchors():
    x, y = X.astype(np.float32), Y.astype(np.float32)
    maps = fit(Relative(64, "cosine", standard=False), x=x, y=y)
    rows = [int(np.flatnonzero((x == a).all(axis=1))[0]) for a in maps["x"].anchors]
    assert len(set(rows)) == 64
    np.testing.assert_array_equal(maps["y"].anchors, y[rows])  # partners of the hub's anchors
    slow = np.array([[slowly("cosine", p, a) for a in x[rows]] for p in x[:20]])
    np.testing.assert_allclose(maps["x"].apply(x[:20]), unit(slow), atol=1e-5)


@pytest.mark.parametrize("aggregate", ["concat", "sum"])
def test_a_product_of_standardised_kinds(aggregate):
    y = Y.astype(np.float32)
    held = fit(Relative(64, "product", aggregate), y=y, z=Z.astype(np.float32))["y"]
    anchors = held.anchors.astype(float)
    m = len(anchors)
    shift = anchors.mean(0)
    parts = []
    for kind in SIMILARITIES:
        among = np.array([[slowly(kind, b - shift, a - shift) for a in anchors] for b in anchors])
        off = [np.delete(among[k], k) for k in range(m)]
        mean, spread = np.array([o.mean() for o in off]), np.array([o.std() for o in off])
        near = np.array([[slowly(kind, p - shift, a - shift) for a in anchors] for p in Y[:20]])
        near = (near - mean) / spread
        parts.append(unit(near - near.mean(1, keepdims=True)))
    slow = sum(parts) if aggregate == "sum" else np.concatenate(parts, axis=1)
    np.testing.assert_allclose(held.apply(y[:20]), slow, atol=2e-3)


def test_rotations_scalings_and_shifts_of_a_view_change_nothing():
    turn = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    y = Y.astype(np.float32)
    for kind in ("cosine", "euclidean"):
        maps = fit(Relative(64, kind), y=y, z=(3 * y @ turn + 5).astype(np.float32))
        np.testing.assert_allclose(
            maps["y"].apply(y), maps["z"].apply((3 * y @ turn + 5).astype(np.float32)), atol=2e-3
        )


@pytest.mark.parametrize("pick", ["random", "farthest", "kmeans"])
def test_anchors_are_drawn_whatever_the_order_of_rows(pick):
    order = RNG.permutation(N)
    one = fit(Relative(64, pick=pick), y=Y, z=Z)["y"]
    other = fit(Relative(64, pick=pick), y=Y[order], z=Z[order])["y"]
    np.testing.assert_array_equal(one.anchors, other.anchors)
    pairs = Pairs.of(y=ALL, z=ALL)
    third = Relative(64, pick=pick).fit({"y": Y, "z": Z}, pairs, seed=1)["y"]
    assert pick == "farthest" or not np.array_equal(third.anchors, one.anchors)
    assert len(np.unique(one.anchors, axis=0)) == 64


def test_spread_anchors_leave_no_row_as_far_as_drawn_ones_do():
    centred = unit(Y - Y.mean(0))

    def reach(pick):
        anchors = fit(Relative(64, pick=pick), y=Y, z=Z)["y"].anchors
        return (centred @ unit(anchors - Y.mean(0)).T).max(axis=1).min()

    assert reach("farthest") > reach("random")


def test_a_view_added_takes_the_partners_of_the_anchors_or_says_which_it_lacks():
    maps = fit(Relative(64), y=Y, z=Z)
    order = RNG.permutation(N)  # the frozen view's rows may have moved since
    pairs = Pairs.of(y=ALL, x=order)
    grown = Relative(64).fit({"y": Y[order], "x": X}, pairs, frozen={"y": maps["y"]})
    rows = [int(np.flatnonzero((Y.astype(np.float32) == a).all(1))[0]) for a in maps["y"].anchors]
    np.testing.assert_array_equal(grown["x"].anchors, X.astype(np.float32)[rows])
    assert isinstance(grown["x"], RelativeMap)
    assert grown["x"].kinds == maps["y"].kinds
    with pytest.raises(ConjoinError, match=r"view x: has no partner of .* of the 64 anchors of y"):
        Relative(64).fit({"y": Y, "x": X}, Pairs.of(y=ALL[:100], x=ALL[:100]),
                         frozen={"y": maps["y"]})  # fmt: skip
    with pytest.raises(ConjoinError, match="frozen y: is no relative map"):
        Relative(64).fit({"y": Y, "x": X}, Pairs.of(y=ALL, x=ALL),
                         frozen={"y": fit(MeanCentering(), y=Y, z=Z)["y"]})  # fmt: skip


@pytest.mark.parametrize("aligner", [Relative(64), Whitening(), Whitening("procrustes")])
def test_a_binding_that_scales_its_maps_to_unit_length_is_extended_too(aligner):
    frames = {name: Frame(name, 6) for name in "yzw"}
    turn = np.linalg.qr(RNG.normal(size=(6, 6)))[0] if aligner != Whitening() else np.eye(6)
    rows = {"y": Y, "z": 2 * Y @ turn + 1, "w": Y @ turn - 3}
    ids = ALL.astype(str)
    spaces = {n: Space(ids, v.astype(np.float32), frames[n]) for n, v in rows.items()}
    two = {n: spaces[n] for n in "yz"}
    bound = Binding.fit(two, Pairs.by_id(two), method=aligner)
    grown = bound.extend({"y": spaces["y"], "w": spaces["w"]})
    y, w = (grown.maps[n].apply(spaces[n].vectors) for n in "yw")
    assert np.mean((w @ y.T).argmax(axis=1) == ALL) > 0.95


# Collapse


@pytest.mark.parametrize("to", ["zero", "hub"])
def test_collapse(to):
    maps = fit(Collapse("ridge", to), y=Y, x=X)
    base = fit(Ridge(), y=Y, x=X)
    placed = {name: unit(base[name].apply(view)) for name, view in (("x", X), ("y", Y))}
    to_mean = placed["y"].mean(0) if to == "hub" else 0
    for name, view in (("x", X), ("y", Y)):
        slow = unit(placed[name] - placed[name].mean(0) + to_mean)
        np.testing.assert_allclose(maps[name].apply(view), slow, atol=1e-4)


def test_collapse_weighs_lines_and_follows_frozen_partners():
    weight = RNG.uniform(0.5, 2, N)
    pairs = Pairs(("y", "x"), np.stack([ALL, ALL], 1), weight)
    maps = Collapse("ridge").fit({"y": Y, "x": X}, pairs)
    base = Ridge().fit({"y": Y, "x": X}, pairs)
    placed = unit(base["x"].apply(X))
    slow = unit(placed - np.average(placed, axis=0, weights=weight))
    np.testing.assert_allclose(maps["x"].apply(X), slow, atol=1e-4)
    both = Pairs.of(x=ALL, z=ALL)
    added = Collapse("ridge").fit({"x": X, "z": Z}, both, frozen={"x": maps["x"]})["z"]
    inner = Ridge().fit({"x": X, "z": Z}, both, frozen={"x": maps["x"]})["z"]
    moved = unit(inner.apply(Z))
    slow = unit(moved - moved.mean(0) + maps["x"].apply(X).mean(0))
    np.testing.assert_allclose(added.apply(Z), slow, atol=1e-4)


def test_moments_of_mapped_views_are_those_of_views_mapped_row_by_row():
    from conjoin.alignment.closed_form.covariance import Joint
    from conjoin.alignment.closed_form.whitening import _plain, through

    joint = Joint.of({"y": Y, "x": X}, Pairs.of(y=ALL, x=ALL))
    a, b = RNG.normal(size=(6, 3)), RNG.normal(size=(9, 5))
    small = through(joint, {"y": _plain(a, Y.mean(0)), "x": _plain(b, X.mean(0))})
    direct = Joint.of({"y": (Y - Y.mean(0)) @ a, "x": (X - X.mean(0)) @ b}, Pairs.of(y=ALL, x=ALL))
    for field in ("s_xx", "s_xy", "s_yy", "mean_x", "mean_y"):
        np.testing.assert_allclose(
            getattr(small.between("y", "x"), field),
            getattr(direct.between("y", "x"), field), atol=1e-9 * N,
        )  # fmt: skip
