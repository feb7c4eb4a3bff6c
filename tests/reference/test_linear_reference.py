"""Each closed form against the formula written out slowly, and against independent libraries."""

import numpy as np
import pytest
import scipy.linalg

from conjoin.alignment.closed_form.linear import CCA, Identity, MeanCentering, Procrustes, Ridge
from conjoin.spaces import Pairs

RNG = np.random.default_rng(5)
LATENT = RNG.normal(size=(220, 4))
X = LATENT @ RNG.normal(size=(4, 9)) + 0.4 * RNG.normal(size=(220, 9)) + 3
Y = LATENT @ RNG.normal(size=(4, 6)) + 0.4 * RNG.normal(size=(220, 6)) - 1
Z = LATENT @ RNG.normal(size=(4, 7)) + 0.4 * RNG.normal(size=(220, 7))
ROWS = np.arange(220)


def inverse_root(c, lam):
    values, vectors = np.linalg.eigh(c + lam * np.trace(c) / len(c) * np.eye(len(c)))
    return vectors @ np.diag(values**-0.5) @ vectors.T


def fit(aligner, **views):
    return aligner.fit(views, Pairs.of(**{name: ROWS for name in views}))


def unit(a):
    return a / np.linalg.norm(a, axis=1, keepdims=True)


def test_nothing():
    maps = fit(Identity(), y=Y, x=X)
    np.testing.assert_array_equal(maps["x"].apply(X), X)
    np.testing.assert_allclose(maps["y"].apply(Y), np.c_[Y, np.zeros((220, 3))], atol=1e-6)


def test_centring():
    maps = fit(MeanCentering(), y=Y, x=X[:, :6])
    np.testing.assert_allclose(maps["x"].apply(X[:, :6]), X[:, :6] - X[:, :6].mean(0), atol=1e-5)
    np.testing.assert_allclose(maps["y"].apply(Y), Y - Y.mean(0), atol=1e-5)


@pytest.mark.parametrize("lam", [1e-3, 0.7, 20.0])
def test_ridge(lam):
    maps = fit(Ridge(lam), y=Y, x=X)
    xc, yc = X - X.mean(0), Y - Y.mean(0)
    penalty = lam * np.sum(xc**2) / X.shape[1]
    slow = np.linalg.inv(xc.T @ xc + penalty * np.eye(9)) @ xc.T @ yc
    np.testing.assert_allclose(maps["x"].weight, slow, atol=1e-5)
    np.testing.assert_allclose(maps["x"].apply(X), xc @ slow, atol=2e-5)
    np.testing.assert_allclose(maps["y"].apply(Y), yc, atol=1e-5)


@pytest.mark.parametrize("lam", [1e-3, 0.7])
def test_ridge_is_scikit_learns(lam):
    from sklearn.linear_model import Ridge as Peer

    w = RNG.uniform(0.5, 2, 220)
    mean = np.average(X, axis=0, weights=w)
    alpha = lam * np.sum(w[:, None] * (X - mean) ** 2) / X.shape[1]
    peer = Peer(alpha=alpha).fit(X, Y, sample_weight=w)
    pairs = Pairs(("y", "x"), np.stack([ROWS, ROWS], 1), w)
    maps = Ridge(lam).fit({"y": Y, "x": X}, pairs)
    np.testing.assert_allclose(maps["x"].weight, peer.coef_.T, atol=1e-5)
    gap = peer.predict(X) - np.average(Y, axis=0, weights=w)
    np.testing.assert_allclose(maps["x"].apply(X), gap, atol=2e-5)


def test_procrustes():
    maps = fit(Procrustes(), y=Y, x=X)
    u, _, vt = np.linalg.svd((X - X.mean(0)).T @ (Y - Y.mean(0)), full_matrices=False)
    np.testing.assert_allclose(maps["x"].weight, u @ vt, atol=1e-5)
    np.testing.assert_allclose(maps["x"].weight.T @ maps["x"].weight, np.eye(6), atol=1e-5)


def test_procrustes_is_scipys():
    a = X[:, :6]
    maps, scaled = fit(Procrustes(), y=Y, x=a), fit(Procrustes(scale=True), y=Y, x=a)
    ac, yc = a - a.mean(0), Y - Y.mean(0)
    rotation, total = scipy.linalg.orthogonal_procrustes(ac, yc)
    np.testing.assert_allclose(maps["x"].weight, rotation, atol=1e-5)
    np.testing.assert_allclose(scaled["x"].weight, rotation * total / np.sum(ac**2), atol=1e-5)


@pytest.mark.parametrize(("lam", "power", "rank"), [(1e-3, 0, None), (0.5, 1, 4), (3.0, 0.5, 2)])
def test_cca(lam, power, rank):
    maps = fit(CCA(lam, rank, power), y=Y, x=X)
    xc, yc = X - X.mean(0), Y - Y.mean(0)
    wx, wy = inverse_root(xc.T @ xc / 220, lam), inverse_root(yc.T @ yc / 220, lam)
    u, rho, vt = np.linalg.svd(wx @ (xc.T @ yc / 220) @ wy, full_matrices=False)
    k = rank or 6
    a, b = xc @ wx @ u[:, :k] * rho[:k] ** power, yc @ wy @ vt[:k].T * rho[:k] ** power
    ours_a, ours_b = maps["x"].apply(X), maps["y"].apply(Y)
    turn = np.sign(np.sum(a * ours_a, axis=0))
    np.testing.assert_allclose(ours_a, a * turn, atol=2e-4)
    np.testing.assert_allclose(ours_b, b * turn, atol=2e-4)


def test_cca_leads_as_scikit_learns_without_a_penalty():
    from sklearn.cross_decomposition import CCA as Peer

    maps = fit(CCA(0.0, 3, 0.0), y=Y, x=X)
    a, b = maps["x"].apply(X), maps["y"].apply(Y)
    p, q = Peer(3, max_iter=5000, tol=1e-12).fit(X, Y).transform(X, Y)
    for k in range(3):
        ours, theirs = np.corrcoef(a[:, k], b[:, k])[0, 1], np.corrcoef(p[:, k], q[:, k])[0, 1]
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("names", ["xy", "xyz"])
def test_cca_is_cca_zoos(names):
    linear = pytest.importorskip("cca_zoo.linear")
    c = 0.2  # theirs: (1 - c) C + c I; ours: C + lam s I, on views of mean variance 1 the same
    raw = {"x": X, "y": Y, "z": Z}
    views = {n: (raw[n] - raw[n].mean(0)) / np.sqrt(raw[n].var(axis=0).mean()) for n in names}
    peer = linear.RidgeCCA if names == "xy" else linear.MCCA
    theirs = peer(3, shrinkage=c).fit(list(views.values())).transform(list(views.values()))
    ours = fit(CCA(c / (1 - c), 3, 0.0), **views)
    for name, found in zip(names, theirs, strict=True):
        for k in range(3):
            mine = ours[name].apply(views[name])[:, k]
            assert abs(np.corrcoef(np.asarray(found)[:, k], mine)[0, 1]) > 1 - 1e-5


def test_multiset_cca_solves_its_eigenproblem():
    """Kettenring's sum of correlations as one generalised eigenproblem on the raw covariances."""
    lam, views = 0.3, {"x": X, "y": Y, "z": Z}
    centred = [a - a.mean(0) for a in views.values()]
    whole = np.concatenate(centred, axis=1)
    both = whole.T @ whole / 220
    inner = scipy.linalg.block_diag(
        *[
            c.T @ c / 220 + lam * np.sum(c**2) / 220 / c.shape[1] * np.eye(c.shape[1])
            for c in centred
        ]
    )
    cross = both - scipy.linalg.block_diag(*[c.T @ c / 220 for c in centred])
    values, vectors = scipy.linalg.eigh(cross, inner)
    top = vectors[:, ::-1][:, :4] * np.sqrt(3)
    slow = dict(zip(views, np.split(top, [9, 15]), strict=True))
    maps = fit(CCA(lam, 4, 1.0), **views)
    rho = values[::-1][:4] / 2  # three views all paired: the couples' graph has eigenvalue 2
    turn = np.sign(np.sum(maps["x"].weight * slow["x"], axis=0))
    for name in views:
        np.testing.assert_allclose(maps[name].weight, slow[name] * rho * turn, atol=2e-5)


def test_multiset_cca_of_two_views_is_cca():
    from conjoin.alignment.closed_form.covariance import Joint, Root
    from conjoin.alignment.closed_form.linear import _canonical, _multiset

    joint = Joint.of({"x": X, "y": Y}, Pairs.of(x=ROWS, y=ROWS))
    m = joint.between("x", "y")
    roots = {"x": Root.of(m.c_xx, 0.1, m.eps), "y": Root.of(m.c_yy, 0.1, m.eps)}
    (two, rho), (many, values) = _canonical(joint, roots), _multiset(joint, roots)
    np.testing.assert_allclose(values, rho, atol=1e-12)
    turn = np.sign(np.sum(two["x"] * many["x"], axis=0))
    for name in two:
        np.testing.assert_allclose(many[name] * turn, two[name], atol=1e-9)


def test_a_star_of_views_solves_the_same_eigenproblem_by_singular_vectors():
    from conjoin.alignment.closed_form.linear import _across, _leading

    rng = np.random.default_rng(3)
    names, widths = ["hub", "a", "b"], {"hub": 5, "a": 7, "b": 6}
    blocks = {("hub", "a"): rng.normal(size=(5, 7)), ("hub", "b"): rng.normal(size=(5, 6))}
    slow, whole = _leading(names, widths, blocks, 5)
    fast, parts = _across(names, widths, blocks, np.array([0, 1, 1]), 5)
    np.testing.assert_allclose(fast, slow, atol=1e-12)
    turn = np.sign(np.sum(whole["hub"] * parts["hub"], axis=0))
    for name in names:
        np.testing.assert_allclose(parts[name] * turn, whole[name], atol=1e-9)


def test_wide_views_are_cut_with_next_to_no_loss():
    from conjoin.alignment.closed_form.linear import _leading, _leading_reduced

    rng = np.random.default_rng(5)
    shared = rng.normal(size=(400, 12))
    widths = {"a": 20, "b": 60, "c": 40}
    white = {}
    for name, width in widths.items():
        x = shared @ rng.normal(size=(12, width)) + 2 * rng.normal(size=(400, width))
        x -= x.mean(0)
        white[name] = x @ np.linalg.inv(np.linalg.cholesky(x.T @ x)).T
    names = list(widths)
    blocks = {(a, b): white[a].T @ white[b] for a, b in [("a", "b"), ("a", "c"), ("b", "c")]}
    slow, whole = _leading(names, widths, blocks, 20)
    fast, parts = _leading_reduced(names, widths, blocks, 20)
    np.testing.assert_allclose(fast[:12], slow[:12], rtol=0.01)
    for name in names:
        turn = np.linalg.svd(parts[name][:, :8].T @ whole[name][:, :8])[1]
        size = np.linalg.norm(parts[name][:, :8], axis=0) * np.linalg.norm(
            whole[name][:, :8], axis=0
        )
        assert turn.sum() > 0.97 * size.sum()
    assert (fast <= slow + 1e-9).all()


@pytest.mark.parametrize("shape", [(5, 30), (30, 5), (6, 7)])
@pytest.mark.parametrize("least", [1e-3, 1e-4, 1e-7, 0.0])
def test_the_gram_matrix_gives_the_same_singular_vectors(shape, least):
    from conjoin.alignment.closed_form.linear import thin_svd

    rng = np.random.default_rng(4)
    u, s, vt = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    s[-1] = least * s[-1]
    m = (u * s) @ vt
    a, b, c = thin_svd(m)
    live = len(b)
    assert live == (len(s) if least > 1e-5 or min(shape) == 6 else len(s) - 1)
    np.testing.assert_allclose(b, s[:live], atol=1e-10)
    np.testing.assert_allclose((a * b) @ c, m, atol=1e-5 * s[0])
    np.testing.assert_allclose(a.T @ a, np.eye(live), atol=1e-6)
    np.testing.assert_allclose(c @ c.T, np.eye(live), atol=1e-6)


def test_views_have_two_sides_unless_couples_close_an_odd_ring():
    from conjoin.alignment.closed_form.linear import _two_sides

    star = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
    assert _two_sides(star).tolist() == [0, 1, 1]
    ring = np.ones((3, 3)) - np.eye(3)
    assert _two_sides(ring) is None
    square = np.array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
    assert _two_sides(square).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_cca_extends_to_its_own_other_side(power):
    aligner = CCA(0.4, None, power)
    maps = fit(aligner, x=X, y=Y)
    added = aligner.fit({"x": X, "y": Y}, Pairs.of(x=ROWS, y=ROWS), frozen={"x": maps["x"]})["y"]
    first, again = maps["y"].apply(Y), added.apply(Y)
    np.testing.assert_allclose(unit(again), unit(first), atol=2e-4)
    spread = np.var(maps["x"].apply(X), axis=0).sum()
    assert np.var(again, axis=0).sum() == pytest.approx(spread, rel=1e-4)


def test_extension_by_ridge_regresses_onto_the_frozen_frame():
    maps = fit(Ridge(0.1), y=Y, x=X)
    pairs = Pairs.of(x=ROWS, z=ROWS)
    added = Ridge(0.2).fit({"x": X, "z": Z}, pairs, frozen={"x": maps["x"]})["z"]
    target, zc = maps["x"].apply(X), Z - Z.mean(0)
    penalty = 0.2 * np.sum(zc**2) / Z.shape[1]
    slow = np.linalg.solve(zc.T @ zc + penalty * np.eye(7), zc.T @ (target - target.mean(0)))
    np.testing.assert_allclose(added.weight, slow, atol=1e-5)
    np.testing.assert_allclose(added.apply(Z), zc @ slow + target.mean(0), atol=2e-5)


def test_two_partners_pull_a_view_to_their_mean():
    maps = fit(Ridge(0.1), y=Y, x=X)
    pairs = Pairs.of(x=ROWS, y=ROWS, z=ROWS)
    added = Ridge(0.2).fit({"x": X, "y": Y, "z": Z}, pairs, frozen=maps)["z"]
    target, zc = (maps["x"].apply(X) + maps["y"].apply(Y)) / 2, Z - Z.mean(0)
    penalty = 0.2 * np.sum(zc**2) / Z.shape[1]
    slow = np.linalg.solve(zc.T @ zc + penalty * np.eye(7), zc.T @ (target - target.mean(0)))
    np.testing.assert_allclose(added.weight, slow, atol=1e-5)
