"""Measures of whole spaces restated from their papers, with loops or dense matrices."""

import math

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import spearmanr
from sklearn.cross_decomposition import CCA as PeerCCA
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_distances

from conjoin.metrics.geometry.mir import MIR, frechet
from conjoin.metrics.geometry.modality_gap import (
    Alignment,
    CentroidDistance,
    LinearSeparability,
    Uniformity,
)
from conjoin.metrics.geometry.rank import EffectiveDimension, EffectiveRank, RankMe, StableRank
from conjoin.metrics.geometry.rank_variance import MeanRankVariance
from conjoin.metrics.similarity.cka import CKA, SVCCA, BestLayers, UnbiasedCKA
from conjoin.metrics.similarity.mutual_knn import MutualKNN
from conjoin.metrics.similarity.rsa import (
    RSA,
    RaterAgreement,
    dissimilarities,
    noise_ceiling,
    pairs_of,
)


def views(seed=0, n=50, dims=(6, 4), noise=0.6, shift=1.0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3))
    return {
        name: z @ rng.normal(size=(3, d)) + noise * rng.normal(size=(n, d)) + shift
        for name, d in zip("ab", dims, strict=True)
    }


def on_sphere(x):
    return np.array([row / math.sqrt(sum(v * v for v in row)) for row in x])


# Alignment of whole spaces


def test_cka_from_kernels():
    given = views()
    n = 50
    h = np.eye(n) - 1 / n
    k, m = (h @ x @ x.T @ h for x in given.values())
    wanted = np.trace(k @ m) / math.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert CKA()(given).value == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("dims", [(6, 4), (80, 70)])
def test_unbiased_cka_from_kernels(dims):
    given = views(1, dims=dims)
    n = 50

    def hsic(k, m):
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        one = np.ones(n)
        return (
            np.trace(k @ m)
            + one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (one @ k @ m @ one)
        ) / (n * (n - 3))

    k, m = (x @ x.T for x in given.values())
    wanted = hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))
    assert UnbiasedCKA()(given).value == pytest.approx(wanted, rel=1e-8)


def test_svcca_is_cca_of_principal_components():
    given = views(2, n=120, dims=(9, 7))
    a, b = (PCA(3).fit_transform(x) for x in given.values())
    u, v = PeerCCA(3, scale=False, max_iter=5000, tol=1e-12).fit(a, b).transform(a, b)
    wanted = np.mean([np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(3)])
    assert SVCCA(3)(given).value == pytest.approx(wanted, abs=1e-5)


def test_best_layers_tries_every_pair():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(40, 3, 5)), rng.normal(size=(40, 2, 6))
    y[:, 1, :5] = x[:, 2] + 0.2 * rng.normal(size=(40, 5))
    every = {
        (i, j): MutualKNN()({"x": x[:, i], "y": y[:, j]}).value for i in range(3) for j in range(2)
    }
    found = BestLayers()({"x": x, "y": y})
    assert found.value == max(every.values()) == every[2, 1]
    assert "layer 2 of x with layer 1 of y" in found.meaning


def test_rsa():
    given = views(4)
    a, b = (cosine_distances(x)[np.triu_indices(50, 1)] for x in given.values())
    assert RSA()(given).value == pytest.approx(spearmanr(a, b).statistic, rel=1e-9)


def test_rsa_over_a_draw_of_the_pairs():
    given = views(5, n=90)
    i, j = pairs_of(90, 1000, seed=7)
    assert len(set(zip(i.tolist(), j.tolist(), strict=True))) == 1000
    assert (i < j).all()
    assert j.max() < 90
    a, b = (cosine_distances(x)[i, j] for x in given.values())
    assert RSA(pairs=1000, seed=7)(given).value == pytest.approx(spearmanr(a, b).statistic)


@pytest.mark.parametrize("n", [3, 4, 11])
def test_pair_numbers_walk_the_triangle(n, monkeypatch):
    """Every pair number becomes the pair of its place."""
    total = n * (n - 1) // 2

    class Every:
        def choice(self, total, most, replace):
            return np.arange(most)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Every())
    i, j = pairs_of(n, total - 1)
    wanted = np.triu_indices(n, 1)
    assert (i == wanted[0][:-1]).all()
    assert (j == wanted[1][:-1]).all()


def test_noise_ceiling():
    rng = np.random.default_rng(6)
    truth = rng.normal(size=40)
    ratings = np.array([truth + s * rng.normal(size=40) for s in (0.5, 1, 2)])
    ranked = np.array([np.argsort(np.argsort(r)) for r in ratings]).astype(float)
    upper = np.mean([spearmanr(r, ranked.mean(0)).statistic for r in ratings])
    lower = np.mean([
        spearmanr(ratings[i], np.delete(ranked, i, 0).mean(0)).statistic for i in range(3)
    ])  # fmt: skip
    assert noise_ceiling(ratings) == pytest.approx((lower, upper), abs=1e-9)
    assert lower < upper


def test_rater_agreement_is_the_lower_ceiling():
    given = {**views(7), "c": views(8)["a"]}
    lower, upper = noise_ceiling(np.stack([dissimilarities(x) for x in given.values()]))
    found = RaterAgreement()(given)
    assert found.value == lower
    assert f"{upper:.3f}" in found.meaning


# Gap


def test_centroid_distance():
    given = views(9, dims=(5, 5))
    u, v = (on_sphere(x).mean(axis=0) for x in given.values())
    assert CentroidDistance()(given).value == pytest.approx(math.dist(u, v), rel=1e-9)


def test_linear_separability_by_a_plane_found_otherwise():
    """The same split; the plane by plain gradient steps on the regularised loss."""
    from conjoin.storage.digest import stable_hash

    rng = np.random.default_rng(10)
    u, v = rng.normal(size=(60, 4)), rng.normal((1.2, 0, 0, 0), size=(60, 4))
    found = LinearSeparability(seed=3)({"u": u, "v": v}).value
    order = np.random.default_rng([3, stable_hash("linear-separability")]).permutation(60)
    seen, held = order[:12], order[12:]
    u, v = on_sphere(u), on_sphere(v)
    x, y = np.concatenate([u[seen], v[seen]]), np.repeat([-1.0, 1.0], 12)
    w, b = np.zeros(4), 0.0
    for _ in range(20_000):
        pull = -y / (1 + np.exp(y * (x @ w + b)))
        w, b = w - 0.02 * (x.T @ pull + w), b - 0.02 * pull.sum()
    right = ((u[held] @ w + b) < 0).sum() + ((v[held] @ w + b) > 0).sum()
    assert found == pytest.approx(right / 96)
    assert 0.6 < found < 1


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_alignment(power):
    given = views(11, dims=(4, 4))
    u, v = (on_sphere(x) for x in given.values())
    wanted = np.mean([math.dist(p, q) ** power for p, q in zip(u, v, strict=True)])
    assert Alignment(power)(given).value == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("t", [0.5, 2.0, 8.0])
def test_uniformity(t, monkeypatch):
    monkeypatch.setattr("conjoin.metrics.geometry.modality_gap.BLOCK", 16)
    x = views(12)["a"]
    z = on_sphere(x)
    each = [math.exp(-t * math.dist(z[i], z[j]) ** 2) for i in range(50) for j in range(i)]
    assert Uniformity(t)({"a": x}).value == pytest.approx(math.log(np.mean(each)), rel=1e-9)


# Rank


@pytest.mark.parametrize("n", [50, 5])
def test_ranks_from_singular_values(n):
    x = views(13, n=n)["a"]
    s = np.linalg.svd(x, compute_uv=False)
    p = s / s.sum()
    assert EffectiveRank()({"a": x}).value == pytest.approx(math.exp(-(p * np.log(p)).sum()))
    q = p + 1e-7
    assert RankMe()({"a": x}).value == pytest.approx(math.exp(-(q * np.log(q)).sum()), rel=1e-9)
    wanted = np.linalg.norm(x, "fro") ** 2 / np.linalg.norm(x, 2) ** 2
    assert StableRank()({"a": x}).value == pytest.approx(wanted)


def test_ranks_of_centred_rows():
    x = views(14)["a"]
    s = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    p = s / s.sum()
    found = EffectiveRank(centre=True)({"a": x}).value
    assert found == pytest.approx(math.exp(-(p * np.log(p)).sum()))
    assert StableRank(centre=True)({"a": x}).value == pytest.approx((s**2).sum() / s[0] ** 2)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_effective_dimension_by_sklearn(share):
    x = views(15, dims=(12, 2), noise=1.0)["a"]
    held = np.cumsum(PCA().fit(on_sphere(x)).explained_variance_ratio_)
    wanted = next(m + 1 for m, h in enumerate(held) if h >= share)
    assert EffectiveDimension(share)({"a": x}).value == wanted


# Modality integration rate


def dense_frechet(x, y):
    a, b = np.cov(x.T), np.cov(y.T)
    root = sqrtm(a @ b).real
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root)


def test_frechet():
    given = views(16, dims=(4, 4))
    assert frechet(*given.values()) == pytest.approx(dense_frechet(*given.values()), rel=1e-7)


def test_mir_over_layers_with_odd_tokens():
    rng = np.random.default_rng(17)
    seen, said = rng.normal(size=(60, 2, 3)) + 1, rng.normal(size=(45, 2, 3)) * [1, 2, 1]
    seen[4] *= 30
    total = 0.0
    for layer in range(2):
        scale = np.mean([math.hypot(*row) for row in said[:, layer]])
        clouds = []
        for x in (seen[:, layer] / scale, said[:, layer] / scale):
            lengths = np.array([math.hypot(*row) for row in x])
            odd = [
                i for i in range(len(x))
                if abs(lengths[i] - np.median(lengths)) > 3 * lengths.std(ddof=1)
            ]  # fmt: skip
            x = x.copy()
            x[odd] = np.median(x, axis=0)
            clouds.append(x)
        total += dense_frechet(*clouds)
    assert MIR()({"image": seen, "text": said}).value == pytest.approx(math.log10(total), rel=1e-7)


# Rank variance


def test_mean_rank_variance():
    rng = np.random.default_rng(18)
    pictures = rng.normal(size=(30, 5))
    texts = {name: pictures + s * rng.normal(size=(30, 5)) for name, s in
             (("en", 0.5), ("de", 1.0), ("fr", 2.0))}  # fmt: skip
    variances = []
    for i in range(30):
        ranks = []
        for x in texts.values():
            scores = on_sphere(pictures) @ on_sphere(x)[i]
            ranks.append(1 + (scores > scores[i]).sum())
        mean = sum(ranks) / 3
        variances.append(sum((r - mean) ** 2 for r in ranks) / 3)
    found = MeanRankVariance()({"image": pictures, **texts}).value
    assert found == pytest.approx(np.mean(variances))
