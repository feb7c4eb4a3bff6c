"""Augmentations against their formulas, written line by line."""

import numpy as np
import pytest
import torch

from conjoin.spaces import Batch
from conjoin.training.augmentations import CovarianceNoise, FuseMix, Noise


def a_batch(lines: int, widths: dict, *, kind=torch.float64, **changes) -> Batch:
    rng = np.random.default_rng(4)
    every = torch.ones(lines, dtype=torch.bool)
    return Batch(
        {n: torch.from_numpy(rng.normal(size=(lines, d))).to(kind) for n, d in widths.items()},
        {n: torch.arange(lines) for n in widths},
        changes.pop("present", {n: every for n in widths}),
        changes.pop("weights", torch.ones(lines)),
        seed=(3, 1, 4),
        **changes,
    )


def test_fusemix_shares_one_lambda_and_one_partner_over_all_views():
    batch = a_batch(30, {"a": 4, "b": 7}, labels=torch.arange(30) % 3)
    after = FuseMix(alpha=1.0)(batch)
    share = batch.draw("fusemix").beta(1.0, 1.0)
    partners = []
    for i in range(30):
        # The partner is the one line whose mixture this is, and the same in both views.
        found = {}
        for name in "ab":
            x = batch.rows[name].numpy()
            mixed = after.rows[name][i].numpy()
            off = [np.abs(share * x[i] + (1 - share) * x[j] - mixed).max() for j in range(30)]
            assert min(off) < 1e-12
            found[name] = int(np.argmin(off))
        assert found["a"] == found["b"] != i
        partners.append(found["a"])
        expected = np.zeros(3)
        expected[i % 3] += share
        expected[found["a"] % 3] += 1 - share
        assert after.labels[i].numpy() == pytest.approx(expected, rel=1e-6)
    assert sorted(partners) == list(range(30))
    for name in "ab":
        assert len(after.ids[name].unique()) == 30


def test_fusemix_mixes_only_lines_with_the_same_views():
    rng = np.random.default_rng(0)
    present = {n: torch.from_numpy(rng.random(60) < 0.6) for n in "ab"}
    weights = torch.from_numpy(rng.uniform(1, 2, 60))
    weights[:20] = 0
    batch = a_batch(60, {"a": 3, "b": 3}, present=present, weights=weights)
    # Rows that tell their pattern: a mixture of two patterns would lie between two numbers.
    pattern = 1.0 * present["a"] + 2.0 * present["b"] + 4.0 * (weights > 0)
    rows = {n: pattern[:, None].expand(60, 3).double() for n in "ab"}
    after = FuseMix()(batch.with_rows(rows))
    for name in "ab":
        torch.testing.assert_close(after.rows[name], rows[name])


def test_fusemix_gives_equal_mixtures_equal_ids():
    batch = a_batch(12, {"a": 2, "b": 2})
    same = torch.zeros(12, dtype=torch.long)
    after = FuseMix()(Batch(batch.rows, {"a": same, "b": same}, batch.present, batch.weights))
    assert len(after.ids["a"].unique()) == 1
    half = torch.arange(12) % 2
    after = FuseMix()(Batch(batch.rows, {"a": half, "b": half}, batch.present, batch.weights))
    assert 2 <= len(after.ids["a"].unique()) <= 4


@pytest.mark.parametrize("std", [0.04, 0.5])
def test_noise_on_unit_rows_is_normalise_add_normalise(std):
    batch = a_batch(6, {"a": 5})
    x = batch.rows["a"].numpy()
    noise = batch.draw("noise/a").standard_normal((6, 5))
    after = Noise(std=std)(batch).rows["a"].numpy()
    for i in range(6):
        size = np.sqrt((x[i] ** 2).sum())
        noisy = x[i] / size + std * noise[i]
        assert after[i] == pytest.approx(size * noisy / np.sqrt((noisy**2).sum()), rel=1e-10)
    plain = Noise(std=std, keep_length=False)(batch).rows["a"].numpy()
    assert plain == pytest.approx(x + std * noise, rel=1e-10)


def test_tokens_get_noise_each():
    rng = np.random.default_rng(1)
    tokens = torch.from_numpy(rng.normal(size=(3, 4, 5)))
    batch = a_batch(3, {"a": 5})
    after = Noise(std=0.3)(batch.with_rows({"a": tokens}))
    assert after.rows["a"].shape == tokens.shape
    torch.testing.assert_close(after.rows["a"].norm(dim=-1), tokens.norm(dim=-1))


def test_covariance_noise_has_the_mean_and_covariance_of_what_tells_views_apart():
    rng = np.random.default_rng(2)
    n = 4000
    x = rng.normal(size=(n, 3)) + np.array([3, 0, 0])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    change = rng.normal(size=(n, 3)) @ np.diag([0.01, 0.3, 0.05]) + np.array([0, 0, 0.2])
    y = x + change
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    every = torch.ones(n, dtype=torch.bool)
    batch = Batch(
        {"x": torch.from_numpy(x), "y": torch.from_numpy(y)},
        {name: torch.arange(n) for name in "xy"}, {"x": every, "y": every}, torch.ones(n),
    )  # fmt: skip
    small = CovarianceNoise(strength=0.01, shift=0.0)(batch).rows["x"].numpy() - x
    apart = y - x
    # To first order the result moves by the noise's part across the row.
    wanted = 0.01**2 * np.mean([
        (p := np.eye(3) - np.outer(row, row)) @ np.cov(apart.T) @ p for row in x
    ], axis=0)  # fmt: skip
    assert np.cov(small.T) == pytest.approx(wanted, rel=0.15, abs=2e-7)
    shifted = CovarianceNoise(strength=0.0, shift=1.0)(batch).rows["x"].numpy()
    moved = x + apart.mean(axis=0)
    assert shifted == pytest.approx(moved / np.linalg.norm(moved, axis=1, keepdims=True))
