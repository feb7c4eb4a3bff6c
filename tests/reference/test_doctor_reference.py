"""The doctor's detectors and caps against slow restatements of their formulas."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from conjoin.quality.curation import ClusterCap, EntryCap
from conjoin.quality.detectors import (
    ContrastiveLoss,
    LossMixture,
    NeighbourVote,
    PartnerRank,
    beta_split,
)
from conjoin.stats.mixture import gaussian_split

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "laws"))
from test_detector_laws import lines

MADE = lines(45, noise=0.8, folds=2)
MADE.group[:] = np.arange(45) // 2 * 2  # couples are kin


def wrong(made, i, side):
    """Rows of the other side that are wrong answers to line i: of its fold, not of its group."""
    other = (made.fold == made.fold[i]) & (made.group != made.group[i])
    return np.flatnonzero(other).tolist()


def scores(made, i, side):
    asks, answers = (made.left, made.right) if side == 0 else (made.right, made.left)
    others = np.array([asks[i] @ answers[j] for j in wrong(made, i, side)], dtype=float)
    return float(asks[i] @ answers[i]), others


def test_partner_rank_counts():
    found = PartnerRank()(MADE, MADE.given)[0]
    for i in range(len(MADE)):
        told = 0.0
        for side in (0, 1):
            own, others = scores(MADE, i, side)
            told += np.log((1 + (others > own).sum()) / (1 + len(others))) / 2
        assert found[i] == pytest.approx(told, abs=1e-9)


def test_contrastive_loss_sums():
    found = ContrastiveLoss(temperature=0.2)(MADE, MADE.given)[0]
    for i in range(len(MADE)):
        told = 0.0
        for side in (0, 1):
            own, others = scores(MADE, i, side)
            told += (np.log(np.mean(np.exp(others / 0.2))) - own / 0.2) / 2
        assert found[i] == pytest.approx(told, abs=1e-4)


def test_loss_mixture_splits_hinge_losses():
    detector = LossMixture(margin=0.3)
    losses = detector.losses(MADE, MADE.given)[0]
    for i in range(len(MADE)):
        told = 0.0
        for side in (0, 1):
            own, others = scores(MADE, i, side)
            told += np.mean(np.maximum(0.3 + others - own, 0))
        assert losses[i] == pytest.approx(told, abs=1e-5)
    scaled = (losses - losses.min()) / (losses.max() - losses.min())
    np.testing.assert_allclose(
        detector(MADE, MADE.given)[0], gaussian_split(scaled, scaled), atol=1e-6
    )


def test_the_gaussian_split_is_the_posterior_of_the_upper_one():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0.2, 0.05, 800), rng.normal(0.7, 0.1, 200)])
    asked = np.array([0.1, 0.2, 0.25, 0.5, 0.6, 0.8])  # off the steep middle
    upper = 0.2 * stats.norm.pdf(asked, 0.7, np.sqrt(0.1**2 + 5e-4))
    lower = 0.8 * stats.norm.pdf(asked, 0.2, np.sqrt(0.05**2 + 5e-4))
    np.testing.assert_allclose(gaussian_split(x, asked), upper / (upper + lower), atol=0.02)


def test_the_beta_split_follows_its_ten_steps():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.beta(2, 18, 300), rng.beta(12, 4, 100)])
    shapes, weight = [(1.0, 2.0), (2.0, 1.0)], [0.5, 0.5]

    def shares(values):
        dense = [w * stats.beta.pdf(values, *s) for s, w in zip(shapes, weight, strict=True)]
        return [d / sum(dense) for d in dense]

    for _ in range(10):
        share = shares(x)
        for number, w in enumerate(share):
            weight[number] = w.mean()
            mean = (w * x).sum() / w.sum()
            var = (w * (x - mean) ** 2).sum() / w.sum()
            a = mean * (mean * (1 - mean) / var - 1)
            shapes[number] = a, a * (1 - mean) / mean
    asked = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(beta_split(x, asked), shares(asked)[1], rtol=1e-4)


def test_neighbours_vote_with_their_partners():
    found = NeighbourVote()(MADE, MADE.given)[0]
    for i in range(len(MADE)):
        left = np.mean([MADE.votes_right[i] @ MADE.votes_right[n] for n in MADE.voters_left[i]])
        right = np.mean([MADE.votes_left[i] @ MADE.votes_left[n] for n in MADE.voters_right[i]])
        assert found[i] == pytest.approx(-(left + right) / 2, abs=1e-5)


def test_an_entry_cap_keeps_as_often_as_the_formula_says():
    entries = [["a"]] * 50 + [["a", "b"]] * 30 + [["c"]] * 10
    kept = np.mean([EntryCap(t=12).keep(entries, seed) for seed in range(400)], axis=0)
    a, b = 12 / 80, 12 / 30
    assert kept[:50].mean() == pytest.approx(a, abs=0.02)
    assert kept[50:80].mean() == pytest.approx(1 - (1 - a) * (1 - b), abs=0.03)
    assert kept[80:].all()


def test_a_cluster_cap_keeps_t_of_each():
    entries = [["a"]] * 50 + [["b"]] * 7
    kept = [ClusterCap(t=12).keep(entries, seed) for seed in range(300)]
    assert {int(k[:50].sum()) for k in kept} == {12}
    assert all(k[50:].all() for k in kept)
    np.testing.assert_allclose(np.mean(kept, axis=0)[:50], 12 / 50, atol=0.09)
