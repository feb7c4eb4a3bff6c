"""Laws of couplings: marginals, permutation, scale, bad input, small temperatures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conjoin.alignment.binding import Binding
from conjoin.alignment.optimal_transport import sinkhorn as transport
from conjoin.alignment.optimal_transport.gromov_wasserstein import Factors, gromov_wasserstein
from conjoin.alignment.optimal_transport.sinkhorn import sinkhorn
from conjoin.errors import ConjoinError
from conjoin.maps.base import load_map, save_map
from conjoin.spaces import Pairs, Space


def cost_of(n, m, seed=0, kind=np.float64):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 4)), rng.normal(size=(m, 4))
    cost = ((x[:, None] - y[None]) ** 2).sum(-1)
    return (cost / cost.max()).astype(kind)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 30), m=st.integers(1, 30), seed=st.integers(0, 99))
def test_marginals_hold_whatever_the_masses(n, m, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0, 1, n) + 1e-3, rng.uniform(0, 1, m) + 1e-3
    a[0] += b.sum() * 2
    b *= a.sum() / b.sum()
    matrix = sinkhorn(cost_of(n, m, seed), a, b, eps=0.1, tol=1e-9).matrix
    assert np.abs(matrix.sum(1) - a).sum() <= 1e-7 * a.sum()
    assert np.abs(matrix.sum(0) - b).sum() <= 1e-7 * a.sum()


@pytest.mark.parametrize(("kind", "tol"), [(np.float32, 1e-5), (np.float64, 1e-7)])
@pytest.mark.parametrize("scaling", [None, 0.5])
def test_a_small_temperature_is_stable(kind, tol, scaling):
    cost = cost_of(300, 260, kind=kind)
    plan = sinkhorn(cost, eps=1e-3, tol=tol, scaling=scaling)
    assert plan.matrix.dtype == kind
    assert np.isfinite(plan.matrix).all()
    assert np.abs(plan.matrix.sum(1) - 1 / 300).sum() < 2 * tol
    assert np.abs(plan.matrix.sum(0) - 1 / 260).sum() < 2 * tol


def test_blocks_and_sparse_kernels_change_nothing(monkeypatch):
    cost = cost_of(120, 90)
    whole = sinkhorn(cost, eps=0.003, tol=1e-10)
    monkeypatch.setattr(transport, "NEAR", 5 * 90 * 8)
    cut = sinkhorn(cost, eps=0.003, tol=1e-10)
    monkeypatch.setattr(transport, "SPARSE", 0.0)
    dense = sinkhorn(cost, eps=0.003, tol=1e-10)
    monkeypatch.setattr(transport, "SPARSE", 1.0)
    sparse = sinkhorn(cost, eps=0.003, tol=1e-10)
    for other in (cut, dense, sparse):
        np.testing.assert_allclose(other.matrix, whole.matrix, atol=1e-9)


def test_permuting_rows_permutes_the_plan():
    cost, order = cost_of(40, 50), np.random.default_rng(1).permutation(40)
    one, other = (sinkhorn(c, eps=0.02, tol=1e-11).matrix for c in (cost, cost[order]))
    np.testing.assert_allclose(one[order], other, atol=1e-9)
    x, y = np.random.default_rng(2).normal(size=(2, 30, 3)) / 3
    moved = np.random.default_rng(3).permutation(30)
    couplings = [
        gromov_wasserstein(Factors.squared(z), Factors.squared(y), eps=0.1).plan.matrix
        for z in (x, x[moved])
    ]
    np.testing.assert_allclose(couplings[0][moved], couplings[1], atol=1e-4)


def test_a_row_without_mass_sends_none():
    a = np.array([0.5, 0.0, 0.5])
    matrix = sinkhorn(cost_of(3, 4), a, eps=0.1).matrix
    assert (matrix[1] == 0).all()
    assert matrix.sum() == pytest.approx(1)


def test_a_start_near_the_end_takes_few_steps():
    cost = cost_of(80, 80)
    cold = sinkhorn(cost, eps=0.005, tol=1e-8)
    warm = sinkhorn(cost, eps=0.005, tol=1e-8, start=(cold.f, cold.g))
    assert warm.steps < cold.steps / 3


@pytest.mark.parametrize(("change", "where"), [
    ({"cost": np.ones(3)}, "cost"),
    ({"cost": np.array([[np.nan, 1.0]])}, "cost"),
    ({"eps": 0.0}, "eps"),
    ({"a": np.ones(3)}, "a"),
    ({"a": np.array([2.0, -1.0])}, "a"),
    ({"a": np.array([2.0, 1.0])}, "a and b"),
    ({"scaling": 2.0}, "scaling"),
    ({"steps": 1, "eps": 1e-3, "tol": 1e-12}, "sinkhorn"),
])  # fmt: skip
def test_bad_input_is_refused_by_name(change, where):
    given = {"cost": cost_of(2, 2), "eps": 0.1, **change}
    with pytest.raises(ConjoinError) as caught:
        sinkhorn(given.pop("cost"), **given)
    assert caught.value.where == where


def test_a_binding_is_fitted_without_pairs(tmp_path):
    rng = np.random.default_rng(0)
    cloud = np.exp(rng.normal(size=(120, 5))).astype(np.float32)
    turned = cloud @ np.linalg.qr(rng.normal(size=(5, 5)))[0].astype(np.float32)
    order = rng.permutation(120)
    spaces = {"a": Space.of(cloud, name="a"), "b": Space.of(turned[order], name="b")}
    none = Pairs(("a", "b"), np.empty((0, 2), np.int64))
    binding = Binding.fit(spaces, none, method="profile-matching")
    a, b = (np.asarray(binding.bind(name, spaces[name]).vectors) for name in spaces)
    assert np.mean((a @ b.T).argmax(1)[order] == np.arange(120)) > 0.9
    fewer = {"a": spaces["a"], "b": spaces["b"].take(np.arange(100))}
    assert Binding.fit(fewer, none, method="profile-matching").frame != binding.frame
    kept = binding.maps["b"].maps[0]
    save_map(kept, tmp_path / "map")
    assert load_map(tmp_path / "map").agreement == kept.agreement > 0.9
    with pytest.raises(ConjoinError, match="training pairs"):
        Binding.fit(spaces, none, method="ridge")
