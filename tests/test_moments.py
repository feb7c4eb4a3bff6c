"""The accumulator: what it sums, how it merges, and that it streams."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conjoin.alignment.closed_form.covariance import Joint, Moments, Root
from conjoin.errors import ConjoinError
from conjoin.maps.base import Affine, Normalise, identity
from conjoin.spaces import Pairs, Tokens
from conjoin.spaces.stack import Stack

FIELDS = ("n", "mean_x", "mean_y", "s_xx", "s_xy", "s_yy")


def close(a: Moments, b: Moments, tolerance=1e-9):
    for name in FIELDS:
        np.testing.assert_allclose(
            getattr(a, name), getattr(b, name), rtol=tolerance, atol=tolerance, err_msg=name
        )


def sample(seed, n=60, dx=4, dy=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dx)) + 5, rng.normal(size=(n, dy)), rng.uniform(0.1, 3, n)


def test_it_is_the_weighted_covariance():
    x, y, w = sample(0)
    rng = np.random.default_rng(1)
    i, j = rng.integers(0, 60, 60), rng.permutation(60)
    m = Moments.of(x, y, i, j, w)
    whole = np.cov(np.c_[x[i], y[j]].T, aweights=w, ddof=0)
    np.testing.assert_allclose(np.block([[m.c_xx, m.c_xy], [m.c_xy.T, m.c_yy]]), whole, atol=1e-12)
    np.testing.assert_allclose(m.mean_x, np.average(x[i], axis=0, weights=w))
    assert m.n == pytest.approx(w.sum())
    assert m.count == 60


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 59), st.integers(1, 70))
def test_any_cut_and_any_block_give_the_same(seed, cut, block):
    x, y, w = sample(seed)
    rows = np.arange(60)
    whole = Moments.of(x, y, rows, rows, w)
    close(Moments.of(x, y, rows, rows, w, block=block), whole)
    left = Moments.of(x, y, rows[:cut], rows[:cut], w[:cut])
    right = Moments.of(x, y, rows[cut:], rows[cut:], w[cut:])
    close(left + right, whole)
    close(right + left, whole)
    close(whole - left, right, 1e-7)


def test_float32_blocks_keep_their_digits_far_from_zero():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(3000, 5)) + 1000).astype(np.float32)
    rows = np.arange(3000)
    m = Moments.of(x, x[:, :2], rows, rows, block=256)
    assert m.eps > 1e-8
    true = np.cov(x.astype(np.float64).T, ddof=0)
    np.testing.assert_allclose(m.c_xx, true, rtol=1e-4, atol=1e-5)


def test_a_stack_and_a_memory_map_read_alike(tmp_path):
    x, y, _ = (a.astype(np.float32) for a in sample(2))
    np.save(tmp_path / "x.npy", x)
    stored = np.load(tmp_path / "x.npy", mmap_mode="r")
    i, j = np.arange(10, 50), np.random.default_rng(0).permutation(40)
    whole = Moments.of(x, y, i, j)
    close(Moments.of(stored, Stack([y[:20], y[20:]]), i, j), whole, 0)


def test_memory_is_that_of_a_block():
    x = np.zeros((200_000, 8), np.float32)
    x[::2] = 1
    rows = np.arange(len(x))
    tracemalloc.start()
    Moments.of(x, x, rows, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes  # weights and one block; never a copy of both views


def test_onto_and_swapped_need_no_rows():
    x, y, w = sample(3)
    rows = np.arange(60)
    rng = np.random.default_rng(0)
    placed = Affine(rng.normal(size=(3, 6)), rng.normal(size=3), rng.normal(size=6))
    m = Moments.of(x, y, rows, rows, w)
    close(m.onto(placed), Moments.of(x, placed.apply(y), rows, rows, w))
    close(m.onto(identity(3)), m)
    close(m.swapped(), Moments.of(y, x, rows, rows, w))


def test_root_whitens_and_drops_noise():
    x, _, _ = sample(4, dx=6)
    c = np.cov(x.T)
    root = Root.of(c, 0.0, 2.0**-52)
    np.testing.assert_allclose(root.whiten(root.whiten(c).T), np.eye(6), atol=1e-10)
    np.testing.assert_allclose(root.back(root.whiten(c)), np.eye(6), atol=1e-10)
    flat = np.zeros((8, 8))
    flat[:6, :6] = c
    thin = Root.of(flat, 0.0, 2.0**-52)
    pseudo = np.linalg.pinv(flat)
    np.testing.assert_allclose(thin.back(thin.whiten(np.eye(8))), pseudo, atol=1e-10)
    assert np.all(Root.of(np.zeros((3, 3)), 0.3, 2.0**-52).whiten(np.eye(3)) == 0)


def test_a_joint_takes_folds_away():
    x, y, _ = sample(5)
    pairs = Pairs.of(x=np.arange(60), y=np.arange(60))
    views = {"x": x, "y": y}
    fold = np.arange(60) % 3 == 0
    rest = Joint.of(views, pairs) - Joint.of(views, pairs.take(fold))
    close(rest.edges["x", "y"], Joint.of(views, pairs.take(~fold)).edges["x", "y"], 1e-8)
    again = rest + Joint.of(views, pairs.take(fold))
    close(again.between("y", "x"), Joint.of(views, pairs).between("y", "x"), 1e-8)


def test_a_frozen_view_appears_where_its_map_puts_it():
    x, y, _ = sample(6)
    pairs = Pairs.of(x=np.arange(60), y=np.arange(60))
    joint = Joint.of({"x": x, "y": y}, pairs, {"y": Normalise()})
    rows = np.arange(60)
    close(joint.edges["x", "y"], Moments.of(x, Normalise().apply(y), rows, rows))


@pytest.mark.parametrize("side", ["x", "y"])
def test_what_is_not_finite_is_named(side):
    x, y, _ = sample(7)
    views = {"x": x, "y": y}
    views[side][17, 1] = np.nan
    with pytest.raises(ConjoinError, match=f"view {side}: row 17 holds NaN"):
        Joint.of(views, Pairs.of(x=np.arange(60), y=np.arange(60)))


def test_bad_views_are_named():
    x, y, _ = sample(8)
    rows = np.arange(60)
    pairs = Pairs.of(x=rows, y=rows)
    for views, found in [
        ({"x": x}, "views: only 1"),
        ({"x": x, "y": Tokens(y, np.arange(61))}, "view y: holds token sets"),
        ({"x": x, "z": y}, "view z: has no pairs"),
        ({"x": x, "y": y[:, 0]}, "view y: has shape"),
        ({"x": x, "y": y[:50]}, "view y: pairs name row 59 of 50"),
    ]:
        with pytest.raises(ConjoinError, match=found):
            Joint.of(views, pairs)
    with pytest.raises(ConjoinError, match="frozen z: is no view"):
        Joint.of({"x": x, "y": y}, pairs, {"z": Normalise()})
    with pytest.raises(ConjoinError, match="no pair is left"):
        _ = Moments.of(x, y, rows, rows) - Moments.of(x, y, rows, rows)
