"""InfoNCE against the loss as CLIP's authors and open_clip write it, in plain loops and calls."""

import numpy as np
import pytest
import torch

from conjoin.errors import ConjoinError
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.spaces import Batch

TEMPERATURES = (1.0, 0.07, 0.01, 0.003)


def a_batch(u, v, **changes) -> Batch:
    n = len(u)
    every = {"present": {k: torch.ones(n, dtype=torch.bool) for k in "uv"}}
    every |= {"ids": {k: torch.arange(n) for k in "uv"}, "weights": torch.ones(n)}
    return Batch(rows={"u": u, "v": v}, **{**every, **changes})


def two_sides(n: int, dim: int, seed: int = 0, kind=torch.float64) -> tuple:
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(n, dim))
    v = u + rng.normal(size=(n, dim))
    return tuple(torch.from_numpy(x).to(kind).requires_grad_(True) for x in (u, v))


def two_cross_entropies(u, v, temperature: float):
    """The loss path of open_clip: full logits, labels on the diagonal, both ways, averaged."""
    u, v = torch.nn.functional.normalize(u, dim=1), torch.nn.functional.normalize(v, dim=1)
    logits, labels = u @ v.T / temperature, torch.arange(len(u))
    entropy = torch.nn.functional.cross_entropy
    return (entropy(logits, labels) + entropy(logits.T, labels)) / 2


def by_loops(u, v, temperature: float, weights, same) -> float:
    """From the formula, one number at a time, in extended precision."""
    u, v = (x.detach().numpy().astype(np.longdouble) for x in (u, v))
    u, v = (x / np.sqrt((x * x).sum(1, keepdims=True)) for x in (u, v))
    n, total = len(u), 0.0
    for i in range(n):
        for ask, answer in ((u, v), (v, u)):
            score = [
                float(ask[i] @ answer[j]) / temperature
                for j in range(n)
                if i == j or not same[i][j]
            ]
            top = max(score)
            log_sum = top + np.log(np.sum(np.exp(np.array(score, np.longdouble) - top)))
            total += weights[i] * (log_sum - float(ask[i] @ answer[i]) / temperature) / 2
    return float(total / sum(weights))


def given(temperature: float, **fields) -> InfoNCE:
    return InfoNCE(temperature=temperature, learn_temperature=False, **fields)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("block", [5, 64])
def test_equals_two_cross_entropies(temperature, block):
    u, v = two_sides(23, 6)
    expected = two_cross_entropies(u, v, temperature)
    expected_gradients = torch.autograd.grad(expected, (u, v))
    value = given(temperature, block=block)({"u": u, "v": v}, a_batch(u, v), {})
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    gradients = torch.autograd.grad(value, (u, v))
    for mine, theirs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_single_precision_survives_small_temperatures(temperature):
    u, v = two_sides(40, 8, kind=torch.float32)
    expected = two_cross_entropies(u.double(), v.double(), temperature)
    value = given(temperature, block=7)({"u": u, "v": v}, a_batch(u, v), {})
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)
    # Rows whose partner is the worst match by far are where a fixed shift underflows.
    v = -u.detach().clone()
    value = given(temperature, block=7)({"u": u, "v": v}, a_batch(u, v), {})
    expected = two_cross_entropies(u.double(), v.double(), temperature)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_weights_and_repeated_items_follow_the_formula(temperature):
    u, v = two_sides(9, 4)
    left, right = [0, 0, 1, 2, 3, 4, 5, 5, 5], [0, 1, 2, 3, 3, 4, 5, 6, 7]
    same = [[left[i] == left[j] or right[i] == right[j] for j in range(9)] for i in range(9)]
    weights = np.random.default_rng(2).uniform(0.1, 3, 9)
    batch = a_batch(
        u, v, weights=torch.from_numpy(weights),
        ids={"u": torch.tensor(left), "v": torch.tensor(right)},
    )  # fmt: skip
    for block in (2, 9):
        value = given(temperature, block=block)({"u": u, "v": v}, batch, {})
        expected = by_loops(u, v, temperature, weights, same)
        assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_one_way_asks_with_the_earlier_view():
    u, v = two_sides(8, 3)
    z, w = (torch.nn.functional.normalize(x, dim=1) for x in (u, v))
    expected = torch.nn.functional.cross_entropy(z @ w.T / 0.1, torch.arange(8))
    value = given(0.1, symmetric=False, block=3)({"u": u, "v": v}, a_batch(u, v), {})
    torch.testing.assert_close(value, expected)
    mine = torch.autograd.grad(value, (u, v))
    for a, b in zip(mine, torch.autograd.grad(expected, (u, v)), strict=True):
        torch.testing.assert_close(a, b)


def test_several_views_average_over_their_pairs():
    u, v = two_sides(7, 3)
    w, _ = two_sides(7, 3, seed=5)
    names = "uvw"
    batch = Batch(
        dict(zip(names, (u, v, w), strict=True)),
        {k: torch.arange(7) for k in names},
        {k: torch.ones(7, dtype=torch.bool) for k in names},
        torch.ones(7),
    )
    value = given(0.07)(dict(batch.rows), batch, {})
    parts = [two_cross_entropies(a, b, 0.07) for a, b in ((u, v), (u, w), (v, w))]
    torch.testing.assert_close(value, sum(parts) / 3)


def test_the_temperature_is_learned_as_a_logarithm_within_bounds():
    u, v = two_sides(12, 4)
    loss = InfoNCE(temperature=0.07)
    start = loss.init(("u", "v"), 4)["log_scale"]
    assert np.exp(-start.value) == pytest.approx(0.07)
    assert np.exp(start.high) == pytest.approx(100)
    scale = start.tensor(torch.float64)
    value = loss({"u": u, "v": v}, a_batch(u, v), {"log_scale": scale})
    nudged = scale.detach() + 1e-5
    expected = two_cross_entropies(u, v, float(torch.exp(-nudged))) - value
    assert torch.autograd.grad(value, scale)[0].item() == pytest.approx(
        expected.item() / 1e-5, rel=1e-3
    )


def test_bfloat16_gradients_are_good_to_a_percent_or_two():
    u, v = two_sides(300, 64, kind=torch.float32)
    batch = a_batch(u, v)
    exact = torch.autograd.grad(given(0.07)({"u": u, "v": v}, batch, {}), u)[0]
    half = torch.autograd.grad(given(0.07, half=True, block=64)({"u": u, "v": v}, batch, {}), u)[0]
    assert (half - exact).norm() < 0.02 * exact.norm()


def test_memory_of_the_logits_is_a_block(monkeypatch):
    seen = []
    original = torch.Tensor.masked_fill_

    def spy(self, *rest):
        seen.append(tuple(self.shape))
        return original(self, *rest)

    monkeypatch.setattr(torch.Tensor, "masked_fill_", spy)
    u, v = two_sides(50, 4)
    batch = a_batch(u, v, ids={k: torch.arange(50) // 2 for k in "uv"})
    given(0.07, block=8)({"u": u, "v": v}, batch, {}).backward()
    assert max(shape[0] for shape in seen) == 8


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("repeats", [True, False])
def test_label_smoothing_spreads_the_target_over_partner_and_negatives(symmetric, repeats):
    """Cross-entropy with the soft target written out, line by line."""
    n, eps, tau = 9, 0.2, 0.3
    u, v = two_sides(n, 4)
    ids = torch.tensor([0, 0, 1, 2, 3, 4, 5, 6, 7]) if repeats else torch.arange(n)
    weights = torch.linspace(0.5, 2, n, dtype=torch.float64)
    batch = a_batch(u, v, ids={"u": ids, "v": torch.arange(n)}, weights=weights)
    a, b = (
        x.detach().numpy() / np.linalg.norm(x.detach().numpy(), axis=1)[:, None] for x in (u, v)
    )
    total = 0.0
    for ask, answer in ((a, b), (b, a))[: 1 + symmetric]:
        for i in range(n):
            shown = [j for j in range(n) if i == j or ids[i] != ids[j]]
            s = np.array([ask[i] @ answer[j] / tau for j in shown])
            logs = s - np.log(np.exp(s).sum())
            target = np.array([eps / len(shown) + (1 - eps) * (i == j) for j in shown])
            total -= float(weights[i]) * float(target @ logs) / (1 + symmetric)
    loss = given(tau, smoothing=eps, symmetric=symmetric, block=4)
    value = loss({"u": u, "v": v}, batch, {})
    assert float(value.detach()) == pytest.approx(total / float(weights.sum()), rel=1e-9)


def test_smoothing_is_of_cosine_only():
    u, v = two_sides(4, 3)
    with pytest.raises(ConjoinError, match="smoothing"):
        given(0.1, smoothing=0.1, similarity="maxsim")({"u": u, "v": v}, a_batch(u, v), {})
