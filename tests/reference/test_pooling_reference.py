"""Trained pooling against its formula written part by part."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conjoin.errors import ConjoinError  # noqa: E402
from conjoin.retrieval.multi_vector.pooling import TrainedPooling  # noqa: E402
from conjoin.spaces import Tokens, unit  # noqa: E402

D, HEADS = 6, 6


def sets(counts, seed=0, d=D):
    rng = np.random.default_rng(seed)
    ends = np.concatenate([[0], np.cumsum(counts)])
    return Tokens(unit(rng.normal(size=(ends[-1], d))), ends)


def weights(rule, layers, seed=3):
    rng = np.random.default_rng(seed)
    made = {"place": rng.normal(size=(32, D)) * 0.3} if rule == "temporal" else {
        "cls": rng.normal(size=(1, D)), "more": np.array([0.7])
    }  # fmt: skip
    for layer in range(layers):
        for name, shape in (("qkv", (D, 3 * D)), ("join", (D, D)), ("wide", (D, 2 * D)),
                            ("narrow", (2 * D, D))):  # fmt: skip
            made[f"{layer}/{name}"] = rng.normal(size=shape) * 0.4
            made[f"{layer}/{name}_bias"] = rng.normal(size=shape[1]) * 0.1
        for name in ("one", "two"):
            made[f"{layer}/scale_{name}"] = rng.uniform(0.5, 1.5, D)
            made[f"{layer}/shift_{name}"] = rng.normal(size=D) * 0.1
    return made


def normed(row, w, at, name):
    centred = (row - row.mean()) / math.sqrt(row.var() + 1e-5)
    return centred * w[f"{at}/scale_{name}"] + w[f"{at}/shift_{name}"]


def attention(rows, w, at):
    mixed = [r @ w[f"{at}/qkv"] + w[f"{at}/qkv_bias"] for r in rows]
    size = D // HEADS
    out = []
    for mine in mixed:
        heads = []
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            likeness = [
                mine[:D][part] @ other[D : 2 * D][part] / math.sqrt(size) for other in mixed
            ]
            share = np.exp(likeness - np.max(likeness))
            share /= share.sum()
            heads.append(
                sum(s * other[2 * D :][part] for s, other in zip(share, mixed, strict=True))
            )
        out.append(np.concatenate(heads) @ w[f"{at}/join"] + w[f"{at}/join_bias"])
    return out


def feed(row, w, at):
    wide = row @ w[f"{at}/wide"] + w[f"{at}/wide_bias"]
    bent = np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in wide])
    return bent @ w[f"{at}/narrow"] + w[f"{at}/narrow_bias"]


def temporal(parts, w, layers):
    rows = [x + w["place"][j] for j, x in enumerate(parts)]
    for at in range(layers):
        told = attention([normed(r, w, at, "one") for r in rows], w, at)
        rows = [r + t for r, t in zip(rows, told, strict=True)]
        rows = [r + feed(normed(r, w, at, "two"), w, at) for r in rows]
    return unit(np.mean([unit(x + r) for x, r in zip(parts, rows, strict=True)], axis=0))


def passages(parts, w, layers):
    rows = [w["cls"][0], *parts]
    for at in range(layers):
        told = attention(rows, w, at)
        rows = [normed(r + t, w, at, "one") for r, t in zip(rows, told, strict=True)]
        rows = [normed(r + feed(r, w, at), w, at, "two") for r in rows]
    return unit(np.mean(parts, axis=0) + w["more"][0] * rows[0])


@pytest.mark.parametrize(("rule", "slow"), [("temporal", temporal), ("passages", passages)])
def test_items_are_the_formula(rule, slow):
    held, w = sets([1, 3, 2, 5]), weights(rule, 2)
    found = TrainedPooling(rule, layers=2, held=w).items(held)
    expected = [
        slow(held.vectors[a:b], w, 2)
        for a, b in zip(held.offsets[:-1], held.offsets[1:], strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("rule", ["temporal", "passages"])
def test_it_learns_which_part_speaks(rule):
    """One part of four has a mark and is what the query asks for; the others are noise."""
    rng = np.random.default_rng(0)
    n, d = 160, 16
    wanted = unit(rng.normal(size=(n, d)))
    parts = unit(rng.normal(size=(n, 4, d)))
    place = rng.integers(0, 4, n)
    parts[np.arange(n), place] = unit(wanted + 0.2 * rng.normal(size=(n, d)))
    parts[:, :, 0] = -0.5
    parts[np.arange(n), place, 0] = 1.5
    whole = Tokens(parts.reshape(-1, d), np.arange(0, 4 * n + 1, 4))
    asked = Tokens(wanted, np.arange(n + 1))
    method = TrainedPooling(rule, steps=40, lr=1e-2, batch=80, dropout=0.0)
    made = method.fit(asked, whole, seed=1)

    def loss(items):
        logits = made.queries(asked) @ items.T / method.temperature
        return np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))

    assert loss(made.items(whole)) < loss(unit(unit(parts).mean(axis=1))) - 1
    again = method.fit(asked, whole, seed=1)
    np.testing.assert_array_equal(again.items(whole), made.items(whole))


def test_untrained_it_is_refused():
    with pytest.raises(ConjoinError, match="not trained"):
        TrainedPooling().items(sets([2, 1]))
