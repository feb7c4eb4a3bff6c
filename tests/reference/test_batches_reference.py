"""Sigmoid and triplet losses, samplers and guide masks against plain loops."""

import math

import numpy as np
import pytest
import torch

from conjoin import catalogue
from conjoin.losses.contrastive.hinge import Hinge
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.losses.contrastive.sigmoid import Sigmoid
from conjoin.spaces import Batch
from conjoin.training.samplers import Contextual, Mining, Mixture, Neighbour, Random, WithinGroup

N = 9


def two(seed=0):
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(N, 4))
    return torch.from_numpy(u), torch.from_numpy(u + rng.normal(size=(N, 4)))


def a_batch(u, v, **changes):
    every = {"present": {k: torch.ones(N, dtype=torch.bool) for k in "uv"}}
    every |= {"ids": {"u": torch.arange(N), "v": torch.arange(N) // 2 * 2}}
    every |= {"weights": torch.from_numpy(np.linspace(0.5, 2, N))}
    return Batch(rows={"u": u, "v": v}, **{**every, **changes})


def barring():
    found = np.zeros((N, N), bool)
    found[1, 6] = found[6, 1] = found[4, 8] = found[8, 4] = True
    return torch.from_numpy(found)


def cosines(u, v):
    u, v = (x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True) for x in (u, v))
    return u @ v.T


def negatives(batch, i):
    """Lines that may be contrasted with line i."""
    same = [batch.ids[k] for k in "uv"]
    return [
        j for j in range(N)
        if j != i and all(ids[i] != ids[j] for ids in same)
        and not (batch.barred is not None and batch.barred[i, j])
    ]  # fmt: skip


@pytest.mark.parametrize("barred", [None, barring()])
def test_sigmoid(barred):
    u, v = two()
    batch = a_batch(u, v, barred=barred)
    s, w = cosines(u, v), batch.weights.numpy()
    t, b = 0.2, -1.5
    total = 0.0
    for i in range(N):
        total += w[i] * math.log1p(math.exp(-(s[i, i] / t + b)))
        for j in negatives(batch, i):
            total += (w[i] + w[j]) / 2 * math.log1p(math.exp(s[i, j] / t + b))
    loss = Sigmoid(temperature=t, bias=b, learn_temperature=False, block=4)
    params = {k: p.tensor(torch.float64) for k, p in loss.init("uv", 4).items()}
    got = loss({"u": u, "v": v}, batch, params).detach()
    assert float(got) == pytest.approx(total / w.sum(), rel=1e-10)


@pytest.mark.parametrize("barred", [None, barring()])
@pytest.mark.parametrize("kind", ["all", "hardest", "semi-hard"])
def test_hinge(kind, barred):
    u, v = two()
    batch = a_batch(u, v, barred=barred)
    s, w, m, total = cosines(u, v), batch.weights.numpy(), 0.3, 0.0
    for way in (s, s.T):
        for i in range(N):
            above = [
                max(0.0, m - way[i, i] + way[i, j]) for j in negatives(batch, i)
                if kind != "semi-hard" or way[i, j] < way[i, i]
            ]  # fmt: skip
            total += w[i] * (sum(above) if kind == "all" else max(above, default=0.0))
    got = Hinge(margin=m, negatives=kind, block=4)({"u": u, "v": v}, batch, {})
    assert float(got) == pytest.approx(total / w.sum(), rel=1e-10)


@pytest.mark.parametrize("block", [3, 64])
def test_infonce_leaves_out_what_is_barred(block):
    u, v = two()
    batch = a_batch(u, v, barred=barring())
    s, w, t, total = cosines(u, v), batch.weights.numpy(), 0.1, 0.0
    for way in (s, s.T):
        for i in range(N):
            lines = [i, *negatives(batch, i)]
            total += w[i] * (np.log(np.exp(way[i, lines] / t).sum()) - way[i, i] / t) / 2
    loss = InfoNCE(temperature=t, learn_temperature=False, block=block)
    assert float(loss({"u": u, "v": v}, batch, {})) == pytest.approx(total / w.sum(), rel=1e-10)


def test_every_contrastive_loss_honours_the_mask():
    u, v = two()
    told = {}
    for name, row in catalogue.of_kind("loss").items():
        if row.family != "contrastive" or "tokens" in row.needs:
            continue
        loss = row.make()
        params = {k: p.tensor(torch.float64) for k, p in loss.init("uv", 4).items()}
        given = [
            a_batch(u, v, ids={k: torch.arange(N) for k in "uv"}, barred=barred)
            for barred in (None, barring())
        ]  # fmt: skip
        told[name] = [loss({"u": u, "v": v}, batch, params).item() for batch in given]
    deaf = {name for name, (plain, barred) in told.items() if plain == barred}
    said = {
        n for n, row in catalogue.of_kind("loss").items() if not getattr(row.load(), "guided", True)
    }
    assert said == {"one-to-k", "rank-consistency", "symile"}
    assert deaf == said


def chain(near, start):
    """The walk over clusters, as a person would do it."""
    walk, left = [start], set(range(len(near))) - {start}
    while left:
        walk.append(max(left, key=lambda one: (near[walk[-1], one], -one)))
        left.remove(walk[-1])
    return walk


def test_contextual_walks_clusters_to_the_nearest():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    sampler = Contextual(share=1.0)
    owner, near, parts = sampler.prepare(rows, np.arange(60), 10, 0)
    assert len(near) == 6
    assert parts == 6
    for cluster in range(6):
        mean = rows[owner == cluster].mean(axis=0)
        others = [rows[owner == c].mean(axis=0) for c in range(6)]
        wanted = [mean @ o / np.linalg.norm(mean) / np.linalg.norm(o) for o in others]
        np.testing.assert_allclose(near[cluster], wanted, atol=0.05)
    order = np.random.default_rng(3)
    got = sampler.epoch((owner, near, parts), 1, order)
    again = np.random.default_rng(3)
    again.permutation(60)
    walk = chain(near, int(again.integers(6)))
    lines = np.concatenate([np.flatnonzero(owner == cluster) for cluster in walk])
    pieces = np.array_split(np.arange(60), parts)
    wanted = sorted(sorted(owner[lines[piece]].tolist()) for piece in pieces)
    assert sorted(sorted(owner[part].tolist()) for part in got) == wanted


def test_neighbour_puts_each_line_beside_its_nearest_unplaced():
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((20, 3))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    sampler = Neighbour(near=3)
    state = sampler.prepare(rows, np.arange(20), 5, 0)
    got = np.concatenate(sampler.epoch(state, 1, np.random.default_rng(2)))
    placed, wanted = set(), []
    for line in np.random.default_rng(2).permutation(20):
        if line in placed:
            continue
        nearest = sorted((j for j in range(20) if j != line), key=lambda j: -(rows[line] @ rows[j]))
        block = [line, *(j for j in nearest[:3] if j not in placed)]
        placed |= set(block)
        wanted += block
    assert got.tolist() == wanted


def test_random_and_within_group_and_mixture():
    rows = np.eye(12)
    state = Random().prepare(rows, np.arange(12), 4, 0)
    got = Random().epoch(state, 1, np.random.default_rng(5))
    np.testing.assert_array_equal(np.concatenate(got), np.random.default_rng(5).permutation(12))
    groups = np.repeat([0, 1, 2], 4)
    state = WithinGroup().prepare(rows, groups, 4, 0)
    for part in WithinGroup().epoch(state, 1, np.random.default_rng(0)):
        assert len(set(groups[part])) == 1
    rng = np.random.default_rng(0)
    near = np.repeat(np.eye(4), 16, axis=0) + 0.01 * rng.standard_normal((64, 4))
    for number, share in ((1, 0.25), (2, 0.5), (9, 0.5)):
        mixed = Mixture("contextual", most=0.5, over=2)
        parts = mixed.epoch(mixed.prepare(near, np.zeros(64), 16, 0), number, rng)
        pure = sum(len(set(part // 16)) <= 2 for part in parts)
        assert pure >= round(share * 4)


def test_a_guide_bars_lines_whose_frozen_vectors_are_nearly_the_same():
    rows = np.array([[1, 0], [np.cos(0.3), np.sin(0.3)], [0, 1]], dtype=np.float64)
    inside, outside = 1 - np.cos(0.3) + 1e-6, 1 - np.cos(0.3) - 1e-6
    lines = np.array([0, 1, 2, -1, 0])
    assert Mining(None, rows, "a", outside).barred(lines)[0].tolist() == [
        False, False, False, False, True,
    ]  # fmt: skip
    assert Mining(None, rows, "a", inside).barred(lines)[0].tolist() == [
        False, True, False, False, True,
    ]  # fmt: skip
    assert not Mining(None, rows, "a", inside).barred(lines)[3].any()
    assert Mining(None, rows, "a", None).barred(lines) is None
