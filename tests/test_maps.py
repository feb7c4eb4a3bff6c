"""Maps as values: apply, invert, compose, stamp, save and load."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError, FrameError, StateError
from conjoin.maps.base import Affine, Chain, Map, Normalise, identity, load_map, save_map
from conjoin.spaces import Frame, Space, Tokens
from conjoin.spaces.stack import Stack

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 4))
SHRINK = Affine(RNG.normal(size=(4, 3)), RNG.normal(size=4), RNG.normal(size=3))
SQUARE = Affine(RNG.normal(size=(4, 4)), RNG.normal(size=4), RNG.normal(size=4))
A, B, C = (Frame(name, dim) for name, dim in (("a", 4), ("b", 3), ("c", 3)))


def test_affine_is_its_formula():
    slow = np.array([(row - SHRINK.shift) @ SHRINK.weight + SHRINK.bias for row in X])
    np.testing.assert_allclose(SHRINK.apply(X), slow, atol=1e-12)
    np.testing.assert_allclose(SHRINK.apply(X[0]), slow[0], atol=1e-12)
    np.testing.assert_allclose(SHRINK.apply(X.reshape(4, 5, 4)).reshape(20, 3), slow, atol=1e-12)
    assert np.array_equal(identity(4).apply(X), X)


def test_width_of_numbers_is_kept_and_small_ones_grow():
    for given_kind, kind in ((np.float32, np.float32), (np.float64, np.float64)):
        assert SHRINK.apply(X.astype(given_kind)).dtype == kind
    assert SHRINK.apply(X.astype(np.float16)).dtype == np.float32
    assert np.array_equal(SHRINK.apply(Stack([X[:7], X[7:]])), SHRINK.apply(X))


def test_wrong_rows_are_refused():
    with pytest.raises(ConjoinError, match="x: has 3 dimensions; give vectors of 4"):
        SHRINK.apply(X[:, :3])
    with pytest.raises(ConjoinError, match="token sets"):
        Normalise().apply(Tokens(X, np.arange(21)))


def test_inverses_go_back_or_are_refused():
    np.testing.assert_allclose(SQUARE.inverse.apply(SQUARE.apply(X)), X, atol=1e-9)
    np.testing.assert_allclose(SQUARE.inverse.inverse.apply(X), SQUARE.apply(X), atol=1e-9)
    moved = Affine(None, np.ones(4), np.full(4, 3.0))
    np.testing.assert_allclose(moved.inverse.apply(moved.apply(X)), X, atol=1e-12)
    both = moved.then(SQUARE)
    np.testing.assert_allclose(both.inverse.apply(both.apply(X)), X, atol=1e-9)
    with pytest.raises(ConjoinError, match="4 x 3 map loses dimensions"):
        _ = SHRINK.inverse
    with pytest.raises(ConjoinError, match="normalise has none"):
        _ = SQUARE.then(Normalise()).inverse
    stamped = Affine(SQUARE.weight, SQUARE.shift, SQUARE.bias, A, B).inverse
    assert (stamped.source, stamped.target) == (B, A)


@given(st.lists(st.integers(-9999, 9999), min_size=1, max_size=6))
def test_normalised_rows_have_length_one_or_zero(values):
    out = Normalise().apply(np.array([values]) / 100)
    length = np.linalg.norm(out)
    assert length == pytest.approx(1) or not np.any(out)


def test_composition_associates_and_frames_must_meet():
    last = Affine(None, np.ones(3), np.zeros(3))
    one, other = SHRINK.then(last).then(Normalise()), SHRINK.then(last.then(Normalise()))
    assert len(one.maps) == len(other.maps) == 3
    assert one.apply(X).tobytes() == other.apply(X).tobytes()
    np.testing.assert_allclose(one.apply(X), Normalise().apply(last.apply(SHRINK.apply(X))))
    chain = SHRINK.between(A, B).then(last.between(B, C))
    assert (chain.source, chain.target) == (A, C)
    with pytest.raises(FrameError, match="chain"):
        SHRINK.between(A, B).then(last.between(C, B))


def test_a_space_is_mapped_only_from_its_own_frame():
    space = Space.of(X, name="mine")
    placed = SHRINK.between(space.frame, B).apply_space(space)
    assert placed.frame == B
    assert placed.provenance[-1] == "affine"
    np.testing.assert_allclose(placed.vectors, SHRINK.apply(X))
    with pytest.raises(FrameError):
        SHRINK.between(A, B).apply_space(space)
    with pytest.raises(ConjoinError, match="has no frames"):
        SHRINK.apply_space(space)


@pytest.mark.parametrize(
    "item",
    [
        SHRINK,
        Affine(None, np.ones(4), np.zeros(4)),
        Normalise(),
        Chain((SHRINK, Normalise())),
        Chain((Chain((SQUARE, SHRINK)), Normalise())),
    ],
)
def test_what_was_saved_is_loaded_exactly(item, tmp_path):
    stamped = item.between(A, B)
    assert isinstance(stamped, Map)
    save_map(stamped, tmp_path / "map")
    again = load_map(tmp_path / "map")
    assert (again.source, again.target) == (A, B)
    assert again.apply(X).tobytes() == stamped.apply(X).tobytes()


def test_torn_files_are_refused(tmp_path):
    save_map(SHRINK, tmp_path / "map")
    data = (tmp_path / "map").read_bytes()
    (tmp_path / "map").write_bytes(data[:-20])
    with pytest.raises(StateError, match="torn"):
        load_map(tmp_path / "map")


def test_every_map_of_the_catalogue_is_under_its_own_name():
    for name, row in of_kind("map").items():
        assert row.load().name == name
