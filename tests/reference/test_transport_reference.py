"""Transport and matching against their formulas written out slowly, and against POT."""

import numpy as np
import pytest

from conjoin.alignment.optimal_transport.gromov_wasserstein import (
    Descent,
    Factors,
    gromov_wasserstein,
)
from conjoin.alignment.optimal_transport.sinkhorn import sinkhorn
from conjoin.alignment.unpaired import Matching, MomentMatching, _axes, _nearest, _profiles
from conjoin.catalogue import of_kind
from conjoin.spaces import Pairs

RNG = np.random.default_rng(11)
X, Y = RNG.normal(size=(40, 3)), RNG.normal(size=(33, 3)) + 0.3
COST = ((X[:, None] - Y[None]) ** 2).sum(-1)
COST = COST / COST.max()
A, B = RNG.uniform(0.2, 1, 40), RNG.uniform(0.2, 1, 33)
A, B = A / A.sum(), B / B.sum()
NONE = Pairs(("a", "b"), np.empty((0, 2), np.int64))

#: The slow reference of every unpaired aligner of the catalogue.
UNPAIRED = ("moment-matching", "profile-matching", "gw-matching", "sinkhorn-matching")


def test_every_unpaired_aligner_is_here():
    rows = of_kind("aligner").items()
    assert {name for name, row in rows if "unpaired" in row.needs} == set(UNPAIRED)


def logsumexp(m, axis):
    top = m.max(axis=axis, keepdims=True)
    return (top + np.log(np.exp(m - top).sum(axis=axis, keepdims=True))).squeeze(axis)


def slow_sinkhorn(cost, a, b, eps, rounds):
    """Sinkhorn on the dual in logarithms, Peyré and Cuturi 2019, section 4.4."""
    f, g = np.zeros(len(a)), np.zeros(len(b))
    for _ in range(rounds):
        f = -eps * logsumexp((g - cost) / eps + np.log(b), 1)
        g = -eps * logsumexp((f[:, None] - cost) / eps + np.log(a)[:, None], 0)
    return a[:, None] * b * np.exp((f[:, None] + g - cost) / eps)


def slow_gradient(c, d, p):
    """The derivative of ``Σ (C_ik - D_jl)² P_ij P_kl`` by every entry, over all four indices."""
    out = np.zeros(p.shape)
    for i in range(len(c)):
        for j in range(len(d)):
            for k in range(len(c)):
                for m in range(len(d)):
                    out[i, j] += 2 * (c[i, k] - d[j, m]) ** 2 * p[k, m]
    return out


@pytest.mark.parametrize(("eps", "rounds"), [(0.5, 200), (0.05, 3000), (0.005, 40_000)])
def test_sinkhorn_is_the_dual_in_logarithms(eps, rounds):
    plan = sinkhorn(COST, A, B, eps=eps, tol=1e-11)
    np.testing.assert_allclose(plan.matrix, slow_sinkhorn(COST, A, B, eps, rounds), atol=1e-9)


@pytest.mark.parametrize("eps", [0.5, 0.05])
def test_sinkhorn_is_that_of_pot(eps):
    ot = pytest.importorskip("ot")
    peer = ot.sinkhorn(A, B, COST, eps, stopThr=1e-12, numItermax=20_000)
    plan = sinkhorn(COST, A, B, eps=eps, tol=1e-11)
    np.testing.assert_allclose(plan.matrix, peer, atol=1e-10)
    assert plan.value == pytest.approx(float((peer * COST).sum()), rel=1e-9)


def test_sinkhorn_nears_exact_transport_as_eps_falls():
    ot = pytest.importorskip("ot")
    exact = ot.emd2(A, B, COST)
    gaps = [sinkhorn(COST, A, B, eps=e, tol=1e-8).value - exact for e in (0.1, 0.01, 0.001)]
    assert gaps[0] > gaps[1] > gaps[2] > -1e-7
    assert gaps[2] < 1e-3 * exact + 1e-4


def test_the_gradient_is_the_sum_over_four_indices():
    c, d = Factors.squared(X[:7]).matrix, Factors.squared(Y[:6]).matrix
    p = RNG.uniform(size=(7, 6))
    a, b = p.sum(1), p.sum(0)
    fast = 2 * ((c**2 @ a)[:, None] + d**2 @ b - 2 * c @ p @ d)
    np.testing.assert_allclose(fast, slow_gradient(c, d, p), rtol=1e-10)
    from conjoin.alignment.optimal_transport.gromov_wasserstein import Problem, _squares

    for inner in ((c, d), (Factors.squared(X[:7]), Factors.squared(Y[:6])),
                  (c, Factors.squared(Y[:6])), (Factors.squared(X[:7]), d)):  # fmt: skip
        problem = Problem(*inner, _squares(inner[0], a), _squares(inner[1], b), None, 1.0)
        np.testing.assert_allclose(problem.gradient(p), slow_gradient(c, d, p), rtol=1e-9)
        slow = 0.5 * float((slow_gradient(c, d, p) * p).sum())
        assert problem.value(p) == pytest.approx(slow, rel=1e-9)


@pytest.mark.parametrize("factored", [False, True])
def test_gromov_wasserstein_is_that_of_pot(factored):
    ot = pytest.importorskip("ot")
    inner = [Factors.squared(side / 4) for side in (X, Y)]
    c, d = (i.matrix for i in inner)
    how = Descent(rounds=500, tol=1e-10, inner=1e-11)
    peer, log = ot.gromov.entropic_gromov_wasserstein(c, d, A, B, epsilon=0.1, log=True)
    found = gromov_wasserstein(*(inner if factored else (c, d)), A, B, eps=0.1, solve=how)
    np.testing.assert_allclose(found.plan.matrix, peer, atol=1e-7)
    assert found.value == pytest.approx(float(log["gw_dist"]), rel=1e-5)


def test_fused_gromov_wasserstein_is_that_of_pot():
    ot = pytest.importorskip("ot")
    c, d = (Factors.squared(side / 4).matrix for side in (X, Y))
    peer, log = ot.gromov.entropic_fused_gromov_wasserstein(
        COST, c, d, A, B, epsilon=0.1, alpha=0.3, log=True
    )
    how = Descent(rounds=500, tol=1e-10, inner=1e-11)
    found = gromov_wasserstein(c, d, A, B, eps=0.1, across=COST, alpha=0.3, solve=how)
    np.testing.assert_allclose(found.plan.matrix, peer, atol=1e-7)
    assert found.value == pytest.approx(float(log["fgw_dist"]), rel=1e-5)


def test_the_proximal_limit_is_sharper_and_no_dearer():
    inner = [Factors.squared(side / 4) for side in (X, X[::-1])]
    loose = gromov_wasserstein(*inner, eps=0.05)
    how = Descent(rounds=40, inner=1e-4, proximal=True)
    sharp = gromov_wasserstein(*inner, eps=0.05, solve=how)
    assert sharp.value < loose.value
    assert sharp.plan.matrix.max(1).sum() > loose.plan.matrix.max(1).sum()


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slow_csls(alike, k=10):
    """``2 s - r_x - r_y`` entry by entry (Conneau et al. 2018, equation 6)."""
    out = np.zeros(alike.shape)
    for i, row in enumerate(alike):
        for j, column in enumerate(alike.T):
            out[i, j] = 2 * row[j] - np.sort(row)[-k:].mean() - np.sort(column)[-k:].mean()
    return out


def test_nearest_rows_are_those_of_csls(monkeypatch):
    from conjoin.alignment import unpaired as matching

    x, y = unit(X), unit(Y)
    slow = slow_csls(x @ y.T)
    for block in (2048, 7):
        monkeypatch.setattr(matching, "BLOCK", block)
        forth, back, value = _nearest(x, y)
        np.testing.assert_array_equal(forth, slow.argmax(1))
        np.testing.assert_array_equal(back, slow.argmax(0))
        alike = x @ y.T
        assert value == pytest.approx((alike.max(1).mean() + alike.max(0).mean()) / 2)


def test_profiles_are_sorted_similarities():
    x, y = unit(X[:20]), unit(Y[:20])
    sides = []
    for side in (x, y):
        ordered = np.array([sorted(float(a @ b) for b in side) for a in side])
        sides.append(unit(ordered - ordered.mean(0)))
    slow = slow_csls(sides[0] @ sides[1].T) / 2
    np.testing.assert_allclose(_profiles(x, y), slow, atol=1e-10)


def test_axes_are_whitened_and_skewed_to_the_right():
    skewed = np.exp(X) @ RNG.normal(size=(3, 3))
    z = skewed - skewed.mean(0)
    values, vectors = np.linalg.eigh(np.cov(z.T, bias=True))
    white = (z @ vectors / np.sqrt(values))[:, ::-1]
    white = white * np.sign((white**3).sum(0))
    np.testing.assert_allclose(_axes(skewed, 3), unit(white), atol=1e-8)


@pytest.mark.parametrize("aligner", [
    Matching(restarts=2), Matching(start="gromov"), Matching(match_by="sinkhorn"),
    MomentMatching(dims=4),
])  # fmt: skip
def test_a_turned_cloud_is_found_without_a_pair(aligner):
    rng = np.random.default_rng(2)
    cloud = np.exp(rng.normal(size=(150, 6))) * np.linspace(1, 0.4, 6)
    order = rng.permutation(150)
    turned = (cloud @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + 5)[order]
    maps = aligner.fit({"a": cloud, "b": turned}, NONE)
    left, right = maps["a"].apply(cloud)[order], maps["b"].apply(turned)
    nearest = (unit(left) @ unit(right).T).argmax(1)
    assert np.mean(nearest == np.arange(150)) > 0.95
    if isinstance(aligner, Matching):
        assert maps["b"].agreement > 0.9


def test_restarts_disagree_where_nothing_is_shared():
    rng = np.random.default_rng(4)
    views = {"a": rng.normal(size=(200, 12)), "b": rng.normal(size=(200, 12))}
    maps = Matching().fit(views, NONE)
    assert maps["b"].agreement < 0.3
