"""Neighbour measures from their definitions, one row at a time."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from conjoin.metrics.base import unit_rows
from conjoin.metrics.geometry.hubness import AntiHubs, HubSkewness, LargestHub, occurrences
from conjoin.metrics.similarity.mutual_knn import CKNNA, MutualKNN, knn, nearest, partner_ranks


def views(seed=0, n=60, noise=0.5):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 4))
    return {
        "a": z @ rng.normal(size=(4, 7)) + noise * rng.normal(size=(n, 7)),
        "b": z @ rng.normal(size=(4, 5)) + noise * rng.normal(size=(n, 5)),
    }


def cosine(u, v):
    return float(u @ v) / float(np.sqrt((u @ u) * (v @ v)))


def lists(x, k):
    """Neighbours of each row by cosine, the row itself left out, ties to the lower row."""
    found = []
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i]
        found.append(sorted(others, key=lambda j: (-cosine(x[i], x[j]), j))[:k])
    return found


@pytest.mark.parametrize("k", [1, 5, 20])
def test_mutual_knn(k):
    given = views()
    a, b = (lists(x, k) for x in given.values())
    shares = [len(set(p) & set(q)) / k for p, q in zip(a, b, strict=True)]
    assert MutualKNN(k)(given).value == pytest.approx(np.mean(shares), abs=1e-12)


@pytest.mark.parametrize("k", [3, 10])
def test_cknna(k):
    given = views(1)
    n = 60
    kernels, masks = [], []
    for x in given.values():
        kernels.append(np.array([[cosine(u, v) for v in x] for u in x]))
        mask = np.zeros((n, n))
        for i, near in enumerate(lists(x, k)):
            mask[i, near] = 1
        masks.append(mask)

    def hsic(p, q):
        p, q = p.copy(), q.copy()
        np.fill_diagonal(p, 0)
        np.fill_diagonal(q, 0)
        one = np.ones(n)
        return (
            np.trace(p @ q)
            + (one @ p @ one) * (one @ q @ one) / ((n - 1) * (n - 2))
            - 2 * (one @ p @ q @ one) / (n - 2)
        ) / (n * (n - 3))

    both = masks[0] * masks[1]
    (p, q), (a, b) = kernels, masks
    wanted = hsic(both * p, both * q) / np.sqrt(hsic(a * p, a * p) * hsic(b * q, b * q))
    assert CKNNA(k)(given).value == pytest.approx(wanted, rel=1e-5)


def test_cknna_counts_neighbours_at_right_angles():
    """An inner product of exactly 0 with a neighbour still makes it one."""
    x = np.eye(6)[np.arange(12) % 6]
    y = np.random.default_rng(0).normal(size=(12, 3))
    near = CKNNA(4).prepare(unit_rows(x, "x"))[1]
    assert near.sum() == 12 * 4
    assert np.isfinite(CKNNA(4)({"x": x, "y": y}).value)


@pytest.mark.parametrize(("n", "k", "block"), [(50, 3, 16), (300, 10, 64), (777, 5, 1024)])
def test_neighbours_are_those_of_sklearn(n, k, block):
    x = unit_rows(np.random.default_rng(n).normal(size=(n, 6)), "x")
    peer = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(x)
    assert (knn(x, k, block) == peer.kneighbors(return_distance=False)).all()


@pytest.mark.parametrize("block", [16, 50, 1000])
def test_equal_scores_stand_in_the_order_of_rows(block):
    """Whole numbers: products are exact and ties are many."""
    rng = np.random.default_rng(3)
    x, q = rng.integers(-1, 2, (400, 4)), rng.integers(-1, 2, (90, 4))
    scores = (x @ x.T).astype(float)
    np.fill_diagonal(scores, -np.inf)
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :7]
    assert (knn(x, 7, block) == wanted).all()
    assert (nearest(q, x, 7, block) == np.argsort(-(q @ x.T), axis=1, kind="stable")[:, :7]).all()


def test_copies_of_a_row_are_neighbours_in_order():
    x = np.random.default_rng(4).normal(size=(40, 30)).astype(np.float32)
    x[[5, 17, 33]] = x[2]
    found = knn(x, 3, 16)
    assert found[2].tolist() == [5, 17, 33]
    assert found[33].tolist() == [2, 5, 17]


def test_all_neighbours_can_be_asked_for():
    x = np.random.default_rng(5).normal(size=(30, 3))
    assert (
        np.sort(knn(x, 29, 8), axis=1) == [np.delete(np.arange(30), i) for i in range(30)]
    ).all()


@pytest.mark.parametrize("block", [16, 1024])
def test_ranks_of_partners(block):
    rng = np.random.default_rng(6)
    q, g = rng.integers(-2, 3, (70, 3)), rng.integers(-2, 3, (70, 3))
    for i, rank in enumerate(partner_ranks(q, g, block)):
        scores = g @ q[i]
        others = np.delete(scores, i)
        assert rank == 1 + (others > scores[i]).sum() + (others == scores[i]).sum() / 2


def test_hubness():
    given = views(7, n=80)
    queries, gallery = given["a"][:, :5], given["b"][:70]
    counts = [0] * 70
    for q in queries:
        for j in sorted(range(70), key=lambda j: (-cosine(q, gallery[j]), j))[:4]:
            counts[j] += 1
    both = {"q": queries, "g": gallery}
    assert occurrences(*(unit_rows(x, "x") for x in both.values()), 4).tolist() == counts
    mean = sum(counts) / 70
    spread = (sum((c - mean) ** 2 for c in counts) / 70) ** 0.5
    skew = sum((c - mean) ** 3 for c in counts) / 70 / spread**3
    assert HubSkewness(4)(both).value == pytest.approx(skew)
    assert AntiHubs(4)(both).value == pytest.approx(counts.count(0) / 70)
    assert LargestHub(4)(both).value == pytest.approx(max(counts) / 80)


def test_skewness_is_scipys():
    from scipy.stats import skew

    given = {"q": views(8)["a"], "g": views(9)["a"]}
    counts = occurrences(*(unit_rows(x, "x") for x in given.values()), 10)
    assert HubSkewness()(given).value == pytest.approx(skew(counts))
