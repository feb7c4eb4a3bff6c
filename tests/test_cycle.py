"""Cycle errors: the lying pair source is named, honest ones are not."""

import dataclasses

import numpy as np
import pytest

from conjoin.alignment.cycle_consistency import _attribute, cycle_report
from conjoin.spaces import Pairs, Space

TRIANGLE = (("a", "b"), ("a", "c"), ("b", "c"))
SQUARE = (*TRIANGLE, ("a", "d"), ("b", "d"), ("c", "d"))


def spaces_of(names, n=240, d=8, seed=0, noise=0.3):
    """Spaces that see one latent table each through a rotation of their own, with noise."""
    rng = np.random.default_rng([seed, 1])
    latent = rng.normal(size=(n, d))
    found = {}
    for name in names:
        turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
        x = latent @ turn + noise * rng.normal(size=(n, d)) + rng.normal(size=d)
        found[name] = Space.of(x.astype(np.float32), name=name)
    return found


def pairs_of(edges, n=240, bad=None, seed=0, share=1.0):
    """A third of the rows along each edge; ``share`` of one edge's partners are shuffled."""
    names = tuple(dict.fromkeys(name for edge in edges for name in edge))
    rng = np.random.default_rng([seed, 2])
    lines, groups = [], []
    for edge in edges:
        rows = rng.permutation(n)[: n // 2]
        partners = rows.copy()
        if edge == bad:
            wrong = rng.permutation(len(rows))[: int(share * len(rows))]
            partners[wrong] = partners[np.roll(wrong, 1)]
        for i, j in zip(rows, partners, strict=True):
            lines.append([i if k == edge[0] else j if k == edge[1] else -1 for k in names])
            groups.append(i)
    return Pairs(names, np.array(lines), group=np.array(groups))


@pytest.mark.parametrize("bad", TRIANGLE)
def test_a_shuffled_source_of_a_triangle_is_named(bad):
    spaces = spaces_of("abc")
    for seed in range(3):
        found = cycle_report(spaces, pairs_of(TRIANGLE, bad=bad, seed=seed), seed=seed)
        assert found.suspect == bad
        assert found.blame[bad] > 0.5
        assert all(found.blame[edge] < 0.25 for edge in TRIANGLE if edge != bad)


@pytest.mark.parametrize("bad", SQUARE)
def test_a_shuffled_source_among_six_is_named(bad):
    found = cycle_report(spaces_of("abcd"), pairs_of(SQUARE, bad=bad), seed=1)
    assert found.suspect == bad
    assert found.direct[bad] > 0.5
    assert max(found.direct[edge] for edge in SQUARE if edge != bad) < 0.3


def test_a_consistent_lie_is_named_by_its_cycles():
    """Each row paired with its neighbour: the edge agrees with itself and with nothing else."""
    rows = np.arange(240)
    lying = dict.fromkeys(SQUARE, rows) | {("b", "c"): np.roll(rows, 1)}
    # A latent whose next row is a linear map of it, so that the wrong pairing can be learnt.
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(8, 8)))[0]
    walk = [np.random.default_rng(6).normal(size=8)]
    for step in range(239):
        kick = np.random.default_rng([7, step]).normal(size=8)
        walk.append(0.95 * walk[-1] @ turn + 0.3 * kick)
    noise = np.random.default_rng(8)
    spaces = {
        name: Space.of(
            np.array(walk) @ np.linalg.qr(noise.normal(size=(8, 8)))[0]
            + 0.05 * noise.normal(size=(240, 8)),
            name=name,
        )
        for name in "abcd"
    }
    lines = []
    for edge in SQUARE:
        for i, j in zip(rows, lying[edge], strict=True):
            lines.append([i if k == edge[0] else j if k == edge[1] else -1 for k in "abcd"])
    pairs = Pairs(tuple("abcd"), np.array(lines), group=np.tile(rows, len(SQUARE)))
    found = cycle_report(spaces, pairs)
    assert max(found.direct.values()) < 0.3, "every source looks sound by itself"
    through = [error for (edge, _), error in found.cycles.items() if edge == ("b", "c")]
    assert min(through) > max(found.direct.values())
    assert max(found.blame, key=lambda edge: found.blame[edge]) == ("b", "c")


@pytest.mark.parametrize("edges", [TRIANGLE, SQUARE], ids=["triangle", "square"])
@pytest.mark.parametrize("noise", [0.1, 1.0], ids=["clear", "noisy"])
def test_honest_sources_raise_no_alarm(edges, noise):
    names = "abc" if edges == TRIANGLE else "abcd"
    seeds = range(20 if edges == TRIANGLE else 5)
    alarms = [
        seed
        for seed in seeds
        if cycle_report(
            spaces_of(names, seed=seed, noise=noise), pairs_of(edges, seed=seed), seed=seed
        ).suspect
    ]
    assert alarms == []


def test_two_modalities_have_no_cycle():
    spaces = spaces_of("ab")
    found = cycle_report(spaces, pairs_of((("a", "b"),)))
    assert found.cycles == {}
    assert found.suspect is None
    assert found.direct["a", "b"] == pytest.approx(found.blame["a", "b"])
    assert found.direct["a", "b"] < 0.2


def test_two_modalities_that_do_not_belong_together_are_suspect():
    found = cycle_report(spaces_of("ab"), pairs_of((("a", "b"),), bad=("a", "b")))
    assert found.direct["a", "b"] > 0.7
    assert found.suspect == ("a", "b")


def test_a_chain_has_no_cycle():
    found = cycle_report(spaces_of("abc"), pairs_of((("a", "b"), ("b", "c"))))
    assert found.cycles == {}
    assert found.suspect is None


def test_the_same_twice_and_another_order_of_lines():
    spaces, pairs = spaces_of("abc"), pairs_of(TRIANGLE, bad=("a", "c"))
    one = cycle_report(spaces, pairs)
    assert cycle_report(spaces, pairs) == one
    order = np.random.default_rng(0).permutation(len(pairs))
    again = cycle_report(spaces, pairs.take(order))
    assert again.suspect == one.suspect
    for edge in TRIANGLE:
        assert again.blame[edge] == pytest.approx(one.blame[edge], abs=1e-6)


def test_a_half_shuffled_source_has_most_of_the_blame():
    spaces = spaces_of("abcd")
    found = cycle_report(spaces, pairs_of(SQUARE, bad=("a", "d"), share=0.6), seed=2)
    assert max(found.blame, key=lambda edge: found.blame[edge]) == ("a", "d")


def test_blame_solves_the_equations_it_is_made_from():
    edges = list(TRIANGLE)
    share = {("a", "b"): 0.1, ("a", "c"): 0.7, ("b", "c"): 0.2}
    cycles = {
        (("a", "b"), ("a", "c", "b")): 1.0,
        (("a", "c"), ("a", "b", "c")): 1.0,
        (("b", "c"), ("b", "a", "c")): 1.0,
    }
    found = _attribute(edges, share, cycles)
    for edge in edges:
        assert found[edge] == pytest.approx(share[edge], abs=1e-9)


def test_few_groups_are_enough_for_a_report():
    spaces = spaces_of("ab")
    pairs = pairs_of((("a", "b"),))
    few = dataclasses.replace(pairs, group=pairs.group % 2)
    assert cycle_report(spaces, few).direct["a", "b"] < 0.5
