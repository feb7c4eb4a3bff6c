"""What every map of the catalogue promises, as a value that aligners make."""

import dataclasses

import numpy as np
import pytest

from conjoin.alignment.closed_form.relative import SIMILARITIES, RelativeMap
from conjoin.alignment.trained.hyperbolic import LorentzMap
from conjoin.alignment.trained.token_heads import TokenMap
from conjoin.alignment.trained.universal_projection import AlignmentLayer, UniversalProjection
from conjoin.alignment.unpaired import Guessed
from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError, FrameError, StateError
from conjoin.maps.average import Mix
from conjoin.maps.base import Affine, Chain, Map, Normalise, load_map, save_map
from conjoin.maps.mlp import ResidualMLP
from conjoin.maps.standardise import Standardise
from conjoin.retrieval.hubness.inverse_gc import PushedAway
from conjoin.spaces import Frame, Space
from conjoin.spaces.stack import Stack
from conjoin.upgrade.bridges.linear_bridges import LocalAffine
from conjoin.upgrade.bridges.orthogonal_bridges import BasisChange

D_IN, D_OUT = 5, 5
RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, D_IN)).astype(np.float32)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


AFFINE = Affine(draw(D_IN, D_OUT), draw(D_IN), draw(D_OUT))
HEAD = ResidualMLP.from_state({"unit": True}, {
    "weight": draw(D_IN, D_OUT), "bias": draw(D_OUT), "inner": draw(D_IN, 7),
    "inner_bias": draw(7), "outer": draw(7, D_OUT),
})  # fmt: skip
LAYER = AlignmentLayer({
    "first": draw(D_IN, D_OUT), "first_bias": draw(D_OUT), "second": draw(D_OUT, D_OUT),
    "second_bias": draw(D_OUT), "gain": draw(D_OUT), "shift": draw(D_OUT), "token": draw(D_OUT),
})  # fmt: skip
PROJECTION = UniversalProjection({
    "mix": draw(D_OUT, D_OUT), "mix_bias": draw(D_OUT), "wide": draw(D_OUT, 7),
    "wide_bias": draw(7), "narrow": draw(7, D_OUT), "narrow_bias": draw(D_OUT),
    **{f"{at}_{what}": draw(D_OUT) for at in ("in", "mid", "out") for what in ("gain", "shift")},
})  # fmt: skip
#: One fitted value of each map; a map without one here fails the first test.
MADE = {
    "affine": AFFINE,
    "normalise": Normalise(),
    "chain": Chain((AFFINE, HEAD, Normalise())),
    "residual-mlp": HEAD,
    "standardise": Standardise.of(X),
    "lorentz": Chain((Affine(draw(D_IN, 4), draw(D_IN), draw(4)), LorentzMap(0.5, 2.0))),
    "token-map": TokenMap(Chain((AFFINE, Normalise()))),
    "alignment-layer": LAYER,
    "universal-projection": PROJECTION,
    "mix": Mix((AFFINE, HEAD), (0.3, 0.7)),
    "relative": RelativeMap.of(draw(D_OUT, D_IN), SIMILARITIES, "sum", True),
    "local-affine": LocalAffine(draw(3, D_IN), draw(3, D_IN, D_OUT), draw(3, D_OUT), 0.8),
    "basis-change": BasisChange(
        draw(D_IN),
        np.zeros((D_IN, 0), np.float32),
        draw(0),
        np.zeros((0, 0), np.float32),
        np.linalg.qr(draw(D_IN, D_IN))[0],
        np.linalg.qr(draw(3, 3))[0],
        2.0,
    ),
    "guessed": Guessed(draw(D_IN, D_OUT), draw(D_IN), draw(D_OUT), None, None, 0.4, 0.7),
}
MADE["pushed-away"] = PushedAway((0.5, 0.5), (2, 3), {"b0": draw(9, D_IN), "b1": draw(9, D_IN)})
SOURCE, TARGET = Frame("source", D_IN), Frame("target", D_OUT)

each = pytest.mark.parametrize("item", MADE.values(), ids=list(MADE))


def test_every_map_is_held_to_these_laws():
    assert set(MADE) == set(of_kind("map"))


@each
def test_it_is_a_frozen_value_under_its_name(item):
    assert isinstance(item, Map)
    assert of_kind("map")[item.name].load() is type(item)
    with pytest.raises(dataclasses.FrozenInstanceError):
        item.source = SOURCE


@each
def test_rows_are_mapped_one_by_one_on_the_last_axis(item):
    whole = item.apply(X)
    assert whole.shape == (len(X), D_OUT)
    assert np.isfinite(whole).all()
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(item.apply(X[order]), whole[order], atol=1e-5)
    np.testing.assert_allclose(item.apply(X[3]), whole[3], atol=1e-5)
    np.testing.assert_allclose(
        item.apply(X.reshape(3, 4, D_IN)).reshape(-1, D_OUT), whole, atol=1e-5
    )
    np.testing.assert_allclose(item.apply(Stack([X[:5], X[5:]])), whole, atol=1e-5)
    assert item.apply(X[:0]).shape == (0, D_OUT)


@each
def test_what_is_mapped_is_left_alone(item):
    given = X.copy()
    once, twice = item.apply(given), item.apply(given)
    np.testing.assert_array_equal(given, X)
    np.testing.assert_array_equal(once, twice)


@each
def test_wrong_widths_are_refused_in_a_line(item):
    if isinstance(item, Normalise):
        pytest.skip("takes any width")
    with pytest.raises(ConjoinError, match=f"4.*{D_IN}"):
        item.apply(X[:, :4])


@each
def test_saving_is_exact_and_torn_files_are_refused(item, tmp_path):
    stamped = item.between(SOURCE, TARGET)
    path = tmp_path / "map.safetensors"
    save_map(stamped, path)
    again = load_map(path)
    assert type(again) is type(item)
    assert (again.source, again.target) == (SOURCE, TARGET)
    np.testing.assert_array_equal(again.apply(X), item.apply(X))
    data = path.read_bytes()
    save_map(again, path)
    assert path.read_bytes() == data
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(StateError, match="torn") as caught:
        load_map(path)
    assert "\n" not in str(caught.value)


@each
def test_it_composes_and_stands_between_frames(item):
    both = item.then(Normalise())
    np.testing.assert_allclose(both.apply(X), Normalise().apply(item.apply(X)), atol=1e-6)
    stamped = item.between(SOURCE, TARGET)
    np.testing.assert_array_equal(stamped.apply(X), item.apply(X))
    with pytest.raises(FrameError):
        stamped.then(AFFINE.between(SOURCE, TARGET))
    further = stamped.then(AFFINE.between(TARGET, SOURCE))
    assert (further.source, further.target) == (SOURCE, SOURCE)
    space = Space(np.arange(len(X)).astype(str), X, SOURCE)
    placed = stamped.apply_space(space)
    assert placed.frame == TARGET
    np.testing.assert_array_equal(placed.ids, space.ids)
    np.testing.assert_array_equal(placed.vectors, item.apply(X))
    with pytest.raises(FrameError):
        stamped.apply_space(placed)


@each
def test_an_inverse_goes_back_where_there_is_one(item):
    if not hasattr(type(item), "inverse"):
        pytest.skip("has none, by declaration")
    try:
        back = item.inverse
    except ConjoinError:
        assert isinstance(item, Chain), "a part of it has none"
        return
    np.testing.assert_allclose(back.apply(item.apply(X)), X, atol=1e-3)
