"""Relatives of InfoNCE from their papers' formulas, one number at a time."""

import itertools
import math

import numpy as np
import pytest
import torch

from conjoin.errors import ConjoinError
from conjoin.losses.contrastive.contrastive_gap import ContrastiveGap
from conjoin.losses.contrastive.cwcl import CWCL
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.losses.contrastive.one_to_k import OneToK
from conjoin.losses.contrastive.rankclip import RankCLIP, RankConsistency
from conjoin.losses.contrastive.symile import Symile
from conjoin.losses.regularizers.hypersphere import Alignment, CrossUniformity, Uniformity
from conjoin.losses.regularizers.matryoshka import Matryoshka
from conjoin.spaces import Batch

N, DIM = 8, 5


def a_batch(names: str = "uv", seed: int = 0, **changes) -> tuple[dict, Batch]:
    rng = np.random.default_rng(seed)
    out = {n: torch.from_numpy(rng.normal(size=(N, DIM))) for n in names}
    every = {n: torch.ones(N, dtype=torch.bool) for n in names}
    given = {
        "rows": {n: torch.from_numpy(rng.normal(size=(N, 3))) for n in names},
        "ids": {n: torch.arange(N) for n in names},
        "present": every,
        "weights": torch.from_numpy(rng.uniform(0.5, 2, size=N)),
        "seed": (7, seed),
        **changes,
    }
    return out, Batch(**given)


def unit(x) -> np.ndarray:
    x = np.asarray(x, dtype=np.longdouble)
    return x / np.sqrt((x * x).sum(axis=-1, keepdims=True))


def log_softmax(scores: list[float], i: int) -> float:
    top = max(scores)
    return scores[i] - top - math.log(sum(math.exp(s - top) for s in scores))


def mean(values, weights) -> float:
    return float(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.01, 0.001])
@pytest.mark.parametrize("block", [3, 512])
@pytest.mark.parametrize("weighted", ["to", "from"])
@pytest.mark.parametrize("anchor", ["", "v"])
def test_cwcl(temperature, block, weighted, anchor):
    out, batch = a_batch()
    a, b = ("v", "u") if anchor == "v" else ("u", "v")
    x, ya, yb = unit(batch.rows[a]), unit(out[a]), unit(out[b])
    w = [[float(x[i] @ x[j]) / 2 + 0.5 for j in range(N)] for i in range(N)]
    ask, answer = (yb, ya) if weighted == "to" else (ya, yb)
    weights = batch.weights.tolist()
    wide, narrow = [], []
    for i in range(N):
        scores = [float(ask[i] @ answer[j]) / temperature for j in range(N)]
        each = sum(w[i][j] * log_softmax(scores, j) for j in range(N))
        wide.append(-each / sum(w[i]))
        scores = [float(answer[i] @ ask[j]) / temperature for j in range(N)]
        narrow.append(-log_softmax(scores, i))
    expected = (mean(wide, weights) + mean(narrow, weights)) / 2
    loss = CWCL(temperature, False, anchor, weighted, block)
    assert float(loss(out, batch, {})) == pytest.approx(expected, rel=1e-9)


def test_cwcl_of_sources_that_are_all_opposite_or_equal_is_plain():
    rows = torch.eye(N, dtype=torch.float64) * 2 - 2 / N
    out, batch = a_batch()
    plain = InfoNCE(0.1, False)(out, batch, {})
    lonely = batch.with_rows({"u": rows, "v": rows})
    absent = {"u": torch.ones(N, dtype=torch.bool), "v": torch.ones(N, dtype=torch.bool)}
    third = Batch(
        {**lonely.rows, "w": rows}, {**batch.ids, "w": batch.ids["u"]},
        {**absent, "w": torch.zeros(N, dtype=torch.bool)}, batch.weights,
    )  # fmt: skip
    # An anchor without a source row leaves each line its own and only partner.
    value = CWCL(0.1, False, anchor="w")(out, third, {})
    torch.testing.assert_close(value, plain)


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.01, 0.001])
@pytest.mark.parametrize("block", [3, 512])
def test_one_to_k(temperature, block):
    """Two items of u with three and two partners, one of v shared by two items of u."""
    left, right = [0, 0, 0, 1, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 5, 6]
    rng = np.random.default_rng(0)
    items = {"u": rng.normal(size=(5, DIM)), "v": rng.normal(size=(7, DIM))}
    numbers = {"u": left, "v": right}
    out = {n: torch.from_numpy(items[n][numbers[n]]) for n in "uv"}
    _, batch = a_batch(ids={n: torch.tensor(numbers[n]) + 100 for n in "uv"})
    weights = batch.weights.tolist()
    total = 0.0
    for ask, answer in (("u", "v"), ("v", "u")):
        x, y = unit(items[ask]), unit(items[answer])
        each = []
        for line in range(N):
            i = numbers[ask][line]
            right_ones = {numbers[answer][k] for k in range(N) if numbers[ask][k] == i}
            scores = [float(x[i] @ y[j]) / temperature for j in range(len(y))]
            each.append(-np.mean([log_softmax(scores, j) for j in right_ones]))
        total += mean(each, weights) / 2
    loss = OneToK(temperature, False, block)
    assert float(loss(out, batch, {})) == pytest.approx(total, rel=1e-9)


def test_one_to_k_without_repeats_is_infonce():
    out, batch = a_batch()
    torch.testing.assert_close(
        OneToK(0.05, False)(out, batch, {}), InfoNCE(0.05, False)(out, batch, {})
    )


@pytest.mark.parametrize("dims", [(), (1, 3, 9), (2,)])
def test_matryoshka(dims):
    out, batch = a_batch()
    loss = Matryoshka(of=InfoNCE(0.1, False), dims=dims, smallest=2, weights=(0.5,) * len(dims))
    widths = {(): [5, 2], (1, 3, 9): [1, 3, 5], (2,): [2]}[dims]
    expected = sum(
        (0.5 if dims else 1.0)
        * float(InfoNCE(0.1, False)({n: x[:, :m] for n, x in out.items()}, batch, {}))
        for m in widths
    )
    assert float(loss(out, batch, {})) == pytest.approx(expected, rel=1e-12)


def test_matryoshka_keeps_extras_and_shares_what_is_trained():
    loss = Matryoshka(of="meru", dims=(2, 4))
    assert list(loss.init(("u", "v"), 4)) == ["log_scale"]
    out, batch = a_batch()
    params = {"log_scale": torch.tensor(1.0, dtype=torch.float64)}
    flat, curved = (
        loss({**out, "curvature": torch.tensor(c, dtype=torch.float64)}, batch, params)
        for c in (0.1, 1.0)
    )
    assert flat != curved
    with pytest.raises(ConjoinError, match="one weight"):
        Matryoshka(dims=(2, 4), weights=(1.0,))


def scaled(x) -> np.ndarray:
    return unit(x) * math.sqrt(DIM)


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.001])
@pytest.mark.parametrize("names", ["uv", "uvw", "uvwx"])
@pytest.mark.parametrize("block", [3, 512])
def test_symile_shuffled(temperature, names, block):
    out, batch = a_batch(names)
    z = {n: scaled(out[n]) for n in names}
    weights = batch.weights.tolist()
    losses = []
    for anchor in names:
        others = [n for n in names if n != anchor]
        order = {n: batch.draw(f"symile/{anchor}/{n}").permutation(N) for n in others}
        each = []
        for i in range(N):
            scores = []
            for j in range(N):
                # The own tuple stands where the line's own shuffled one would.
                at = {n: i if j == i else order[n][j] for n in others}
                if j != i and all(at[n] == i for n in others):
                    scores.append(-math.inf)
                    continue
                product = z[anchor][i].copy()
                for n in others:
                    product = product * z[n][at[n]]
                scores.append(float(product.sum()) / (temperature * DIM))
            each.append(-log_softmax(scores, i))
        losses.append(mean(each, weights))
    value = Symile(temperature, False, block=block)(out, batch, {})
    assert float(value) == pytest.approx(np.mean(losses), rel=1e-9)


@pytest.mark.parametrize("block", [3, 512])
def test_symile_all(block):
    out, batch = a_batch("uvw")
    z = {n: scaled(out[n]) for n in "uvw"}
    losses = []
    for anchor in "uvw":
        y, w = (z[n] for n in "uvw" if n != anchor)
        each = []
        for i in range(N):
            pairs = list(itertools.product(range(N), repeat=2))
            scores = [float((z[anchor][i] * y[j] * w[k]).sum()) / DIM for j, k in pairs]
            each.append(-log_softmax(scores, pairs.index((i, i))))
        losses.append(mean(each, batch.weights.tolist()))
    value = Symile(1.0, False, "all", block=block)(out, batch, {})
    assert float(value) == pytest.approx(np.mean(losses), rel=1e-9)


def test_symile_sees_what_no_pair_shows():
    """Exclusive or: any two views are independent, the three are not."""
    rng = np.random.default_rng(0)
    a, b = rng.choice([-1.0, 1.0], size=(2, 64, 16))
    rows = {"a": a, "b": b, "c": a * b}
    out = {n: torch.from_numpy(x) for n, x in rows.items()}
    every = {n: torch.ones(64, dtype=torch.bool) for n in out}
    batch = Batch(dict(out), {n: torch.arange(64) for n in out}, every, torch.ones(64))
    for way in ("shuffled", "all"):
        assert float(Symile(0.02, False, way)(out, batch, {})) < 0.1
    assert float(InfoNCE(0.1, False)(out, batch, {})) > 3


def test_symile_counts_complete_lines_only():
    out, batch = a_batch("uvw")
    present = {n: batch.present[n].clone() for n in "uvw"}
    present["v"][[1, 4]] = False
    partial = Batch(batch.rows, batch.ids, present, batch.weights, seed=batch.seed)
    kept = torch.tensor([0, 2, 3, 5, 6, 7])
    value = Symile(1.0, False)(out, partial, {})
    short = Symile(1.0, False)({n: x[kept] for n, x in out.items()}, batch.take(kept), {})
    torch.testing.assert_close(value, short)
    with pytest.raises(ConjoinError, match="three"):
        Symile(negatives="all")(*a_batch("uv"), {"log_scale": torch.tensor(0.0)})


def plackett_luce(scores: list[float], target: list[float]) -> float:
    """Minus the log-likelihood of the order the target gives."""
    order = sorted(range(N), key=lambda j: -target[j])
    total = 0.0
    for place in range(N):
        left = [scores[j] for j in order[place:]]
        total -= log_softmax(left, 0)
    return total


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.01, 0.001])
@pytest.mark.parametrize("block", [3, 512])
def test_rank_consistency(temperature, block):
    out, batch = a_batch()
    u, v = unit(out["u"]), unit(out["v"])

    def row(x, y, i):
        return [float(x[i] @ y[j]) / temperature for j in range(N)]

    inmodal, crossmodal = [], []
    for i in range(N):
        uu, vv, uv, vu = row(u, u, i), row(v, v, i), row(u, v, i), row(v, u, i)
        inmodal.append(plackett_luce(uu, vv) + plackett_luce(vv, uu))
        crossmodal.append(plackett_luce(uv, vu) + plackett_luce(vu, uv))
    weights = batch.weights.tolist()
    expected = (mean(inmodal, weights) + 0.5 * mean(crossmodal, weights)) / (32 * N)
    loss = RankConsistency(temperature, False, crossmodal=0.5, block=block)
    assert float(loss(out, batch, {})) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0.0), (0.5, 1.5), (0.9, 2.0)])
def test_rankclip_ramps_the_order_up(progress, weight):
    out, batch = a_batch(progress=progress)
    params = {"log_scale": torch.tensor(2.0, dtype=torch.float64)}
    expected = InfoNCE()(out, batch, params) + weight * RankConsistency()(out, batch, params)
    torch.testing.assert_close(RankCLIP()(out, batch, params), expected)


def test_tied_targets_do_not_cost():
    out, batch = a_batch()
    rows = out["u"].clone()
    rows[1] = rows[0]
    order = torch.tensor([1, 0, *range(2, N)])
    loss = RankConsistency(0.1, False)
    there = loss({"u": rows, "v": out["v"]}, batch, {})
    back = loss({"u": rows[order], "v": out["v"][order]}, batch.take(order), {})
    torch.testing.assert_close(there, back)


@pytest.mark.parametrize("t", [0.5, 2.0])
@pytest.mark.parametrize("block", [3, 512])
def test_cross_uniformity(t, block):
    ids = {"u": torch.tensor([0, 0, 1, 2, 3, 4, 5, 6]), "v": torch.arange(N)}
    out, batch = a_batch(ids=ids)
    u, v = unit(out["u"]), unit(out["v"])
    total = trust = 0.0
    for i in range(N):
        for j in range(N):
            if i != j and {i, j} != {0, 1}:
                w = float(batch.weights[i] * batch.weights[j])
                total += w * math.exp(-t * float(((u[i] - v[j]) ** 2).sum()))
                trust += w
    value = CrossUniformity(t, block)(out, batch, {})
    assert float(value) == pytest.approx(math.log(total / trust), rel=1e-9)


def test_the_gap_is_closed_by_a_sum_of_four():
    out, batch = a_batch("uvw")
    params = {"log_scale": torch.tensor(2.0, dtype=torch.float64)}
    terms = (InfoNCE(), Alignment(), Uniformity(), CrossUniformity())
    parts = [term(out, batch, params) for term in terms]
    torch.testing.assert_close(ContrastiveGap()(out, batch, params), sum(parts))
    value = ContrastiveGap(alignment=0.5, uniformity=0.25, cross=0.0)(out, batch, params)
    torch.testing.assert_close(value, parts[0] + 0.5 * parts[1] + 0.25 * parts[2])


@pytest.mark.parametrize(
    "loss",
    [CWCL, OneToK, RankConsistency, ContrastiveGap],
    ids=lambda loss: loss.__name__,
)
@pytest.mark.parametrize("temperature", [0.01, 0.001])
def test_gradients_at_small_temperatures_are_exact(loss, temperature):
    out, batch = a_batch()
    made = loss(temperature=temperature, learn_temperature=False, block=3)
    leaves = [x.clone().requires_grad_(True) for x in out.values()]
    assert torch.autograd.gradcheck(
        lambda *rows: made(dict(zip(out, rows, strict=True)), batch, {}), leaves
    )
