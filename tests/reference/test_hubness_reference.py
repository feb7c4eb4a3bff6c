"""Corrections of hubs from the papers' equations and the authors' code, one score at a time."""

import math

import numpy as np
import pytest

from conjoin.retrieval.hubness.inverse_gc import InvGC
from conjoin.retrieval.hubness.query_bank import DualSoftmax, InvertedSoftmax, bank_sums
from conjoin.spaces import unit

RNG = np.random.default_rng(11)


def rows(n, shift=0.0):
    x = RNG.normal(size=(n, 5)) + shift
    return x / np.linalg.norm(x, axis=1, keepdims=True)


GALLERY, QUERIES, BANK, ITEMS = rows(14), rows(6, 0.4), rows(9, 0.4), rows(11)


def total(bank, x, beta):
    """The normalising sum of one gallery row."""
    return sum(math.exp(beta * float(b @ x)) for b in bank)


def activated(bank, k):
    """Gallery rows among the k best of any bank row."""
    found = set()
    for b in bank:
        order = sorted(range(len(GALLERY)), key=lambda j: -float(b @ GALLERY[j]))
        found |= set(order[:k])
    return found


def order_of(scores):
    return sorted(range(len(scores)), key=lambda j: -scores[j])


@pytest.mark.parametrize("beta", [0.7, 10.0, 60.0])
def test_inverted_softmax(beta):
    fitted = InvertedSoftmax(beta).fit(GALLERY, BANK)
    found = fitted.top_k(QUERIES, GALLERY, 14)[1]
    for q, row in zip(QUERIES, found, strict=True):
        slow = [math.exp(beta * float(q @ x)) / total(BANK, x, beta) for x in GALLERY]
        assert row.tolist() == order_of(slow)


@pytest.mark.parametrize("beta", [20.0, 79.0, 150.0])
@pytest.mark.parametrize("several", [False, True])
def test_sums_over_a_bank_of_many_tiles(monkeypatch, beta, several):
    """The nearest bank rows come last, so that the running maximum rises from tile to tile."""
    monkeypatch.setattr("conjoin.retrieval.hubness.query_bank.TILE", (5, 7))
    rng = np.random.default_rng(3)
    bank, gallery = unit(rng.normal(size=(40, 4))), unit(rng.normal(size=(12, 4)))
    bank = bank[np.argsort(bank @ gallery.mean(axis=0))]
    asked = [beta, 1.0] if several else [beta]
    found = bank_sums(gallery.astype(np.float32), bank.astype(np.float32), asked)
    for row, x in enumerate(gallery):
        top = max(float(b @ x) for b in bank)
        slow = beta * top + math.log(
            sum(math.exp(beta * (float(b @ x) - top)) for b in bank) / len(bank)
        )
        assert found[row, 0] == pytest.approx(slow, abs=1e-3)


@pytest.mark.parametrize(("beta", "k"), [(5.0, 1), (30.0, 2)])
def test_qb_norm_changes_only_queries_whose_best_row_is_active(beta, k):
    fitted = InvertedSoftmax(beta, True, k).fit(GALLERY, BANK)
    active = activated(BANK, k)
    assert set(np.flatnonzero(fitted.active[:, 0])) == active
    found = fitted.top_k(QUERIES, GALLERY, 14)[1]
    for q, row in zip(QUERIES, found, strict=True):
        plain = [float(q @ x) for x in GALLERY]
        slow = plain
        if order_of(plain)[0] in active:
            slow = [math.exp(beta * s) / total(BANK, x, beta)
                    for s, x in zip(plain, GALLERY, strict=True)]  # fmt: skip
        assert row.tolist() == order_of(slow)


@pytest.mark.parametrize("dynamic", [False, True])
def test_two_banks_multiply_each_behind_its_own_gate(dynamic):
    one, two = 6.0, 9.0
    fitted = DualSoftmax(one, two, dynamic).fit(GALLERY, BANK, ITEMS)
    found = fitted.top_k(QUERIES, GALLERY, 14)[1]
    gates = [activated(BANK, 1), activated(ITEMS, 1)]
    for q, row in zip(QUERIES, found, strict=True):
        plain = [float(q @ x) for x in GALLERY]
        best = order_of(plain)[0]
        slow = [math.exp((one + two) * s) for s in plain]
        for bank, beta, gate in ((BANK, one, gates[0]), (ITEMS, two, gates[1])):
            if not dynamic or best in gate:
                slow = [s / total(bank, x, beta) for s, x in zip(slow, GALLERY, strict=True)]
        assert row.tolist() == order_of(slow)


def pushed(x, bank, rate, items, share):
    """One bank's result for one row."""
    likes = [float(x @ b) for b in bank]
    if share is None:
        level = float(np.mean([[float(g @ b) for b in bank] for g in items]))
        away = sum((s - level) * b for s, b in zip(likes, bank, strict=True)) / len(bank)
    else:
        keep = max(1, int(share * len(bank)))
        near = order_of(likes)[:keep]
        away = sum(likes[j] * bank[j] for j in near) / keep
    moved = x - rate * away
    return moved / np.linalg.norm(moved)


@pytest.mark.parametrize("share", [None, 0.3])
def test_inverse_graph_convolution(share):
    method = InvGC(0.8, 0.5, share is not None, share or 0.01)
    fitted = method.fit(GALLERY, BANK, ITEMS)
    for x, found in zip(GALLERY, fitted.items(GALLERY), strict=True):
        slow = pushed(x, ITEMS, 0.8, ITEMS, share) + pushed(x, BANK, 0.5, ITEMS, share)
        np.testing.assert_allclose(found, slow / np.linalg.norm(slow), atol=1e-5)
