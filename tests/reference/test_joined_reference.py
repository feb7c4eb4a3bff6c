"""What OneEncoder and FreeBind compute, from their formulas, one number at a time."""

import math

import numpy as np
import pytest

pytest.importorskip("torch")

from conjoin.alignment.trained.space_bonding import Joined, SpaceBonds
from conjoin.alignment.trained.universal_projection import OneEncoder, UniversalProjection
from conjoin.maps.average import Mix
from conjoin.maps.base import Normalise
from conjoin.spaces import Pairs

EPS = 1e-5
RNG = np.random.default_rng(0)
D, WIDE, N = 6, 9, 40


def unit(v):
    return [x / math.sqrt(sum(y * y for y in v)) for x in v]


def norm(v, gain, shift):
    mean = sum(v) / len(v)
    var = sum((x - mean) ** 2 for x in v) / len(v)
    return [
        (x - mean) / math.sqrt(var + EPS) * g + s for x, g, s in zip(v, gain, shift, strict=True)
    ]


def times(v, matrix, bias):
    return [sum(x * matrix[i][j] for i, x in enumerate(v)) + bias[j] for j in range(len(bias))]


def add(a, b):
    return [x + y for x, y in zip(a, b, strict=True)]


def gelu(x):
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def one_encoder(x, held, shared):
    """Alignment layer with its modality token, then the universal projection on one vector."""
    h = [gelu(v) for v in times(x, held["first"], held["first_bias"])]
    h = norm(times(h, held["second"], held["second_bias"]), held["gain"], held["shift"])
    h = add(h, held["token"])
    n = norm(h, shared["in_gain"], shared["in_shift"])
    # A softmax over a sequence of one is 1: attention returns the one value, mixed linearly.
    mixed = times(n, shared["mix"], shared["mix_bias"])
    a = norm(add(n, mixed), shared["mid_gain"], shared["mid_shift"])
    f = [max(0.0, v) for v in times(a, shared["wide"], shared["wide_bias"])]
    f = times(f, shared["narrow"], shared["narrow_bias"])
    return unit(add(h, norm(add(a, f), shared["out_gain"], shared["out_shift"])))


def lines(*names):
    return Pairs(names, np.repeat(np.arange(N)[:, None], len(names), axis=1))


def test_one_encoder_is_its_formula_and_leaves_the_projection_to_what_comes_later():
    truth = RNG.normal(size=(N, 3))
    views = {name: (truth @ RNG.normal(size=(3, 5))).astype(np.float32) for name in ("a", "b", "c")}
    method = OneEncoder(width=D, wide=WIDE, steps=5, batch=32)
    first = method.fit({n: views[n] for n in "ab"}, lines("a", "b"))
    grown = method.fit({n: views[n] for n in "ac"}, lines("a", "c"), frozen={"a": first["a"]})
    for maps, name in ((first, "a"), (first, "b"), (grown, "c")):
        before, layer, shared, last = _stages(maps[name])
        assert isinstance(shared, UniversalProjection)
        assert isinstance(last, Normalise)
        found = maps[name].apply(views[name].astype(np.float64))
        for row in range(3):
            x = [(v - m) * s for v, m, s in zip(views[name][row].astype(np.float64), before.shift,
                                                before.scale, strict=True)]  # fmt: skip
            wanted = one_encoder(x, layer.arrays, shared.arrays)
            np.testing.assert_allclose(found[row], wanted, atol=1e-5)
    assert _stages(grown["c"])[2].arrays.keys() == _stages(first["a"])[2].arrays.keys()
    for key, value in _stages(first["a"])[2].arrays.items():
        np.testing.assert_array_equal(_stages(grown["c"])[2].arrays[key], value)


def _stages(item):
    from conjoin.maps.base import stages

    return stages(item)


@pytest.mark.parametrize("factor", [0.3, 1.0])
def test_a_shared_view_is_a_normalised_mix_of_the_mean_projection_and_its_place(factor):
    """normalise(f · mean over projectors of unit vectors + (1 - f) · base), as in their code."""
    rows = RNG.normal(size=(N, D)).astype(np.float32)
    other = RNG.normal(size=(N, D)).astype(np.float32)
    third = RNG.normal(size=(N, D)).astype(np.float32)
    views = {"text": rows, "image": other, "audio": third}
    pairs = lines("text", "image", "audio")
    method = SpaceBonds(projectors=3, projector_steps=2, hidden=8, factor=factor, batch=32)
    base = {"text": Normalise(), "image": Normalise()}
    expert = Joined({"text": Normalise(), "audio": Normalise()})
    joined = method._bonded(base, expert, views, pairs, {}, 0)
    ensemble = _last_mix(joined["audio"])
    for row in range(3):
        for name, x in (("audio", third[row]), ("text", rows[row])):
            told = [unit(list(map(float, part.apply(np.array([unit(x)], np.float64))[0])))
                    for part in ensemble.maps]  # fmt: skip
            mean = unit([sum(each[j] for each in told) / 3 for j in range(D)])
            wanted = mean
            if name == "text":
                place = unit(list(map(float, x)))
                wanted = unit(
                    [factor * m + (1 - factor) * p for m, p in zip(mean, place, strict=True)]
                )
            found = joined[name].apply(np.array([x], np.float64))[0]
            np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_array_equal(joined["image"].apply(other), base["image"].apply(other))


def _last_mix(item):
    found = [part for part in _stages(item) if isinstance(part, Mix)]
    return found[-1]


def test_what_a_row_retrieves_is_a_softmax_mean_of_the_bank():
    asked, bank = (np.array([unit(v) for v in RNG.normal(size=(n, D))], np.float32) for n in (4, 7))
    found = SpaceBonds(sharpness=20.0)._retrieved(asked, bank)
    for row in range(4):
        shares = [math.exp(20.0 * float(asked[row] @ each)) for each in bank]
        mean = [sum(s * float(b[j]) for s, b in zip(shares, bank, strict=True)) for j in range(D)]
        np.testing.assert_allclose(found[row], unit(mean), atol=1e-5)
