"""Masks of present modalities: against a slow count, on planted data, at their limits."""

from itertools import combinations

import numpy as np
import pytest

from conjoin.errors import ConjoinError
from conjoin.retrieval.evaluation import TestBed as Bed
from conjoin.retrieval.missing_modality import DEPTH, masked
from conjoin.spaces import Frame, Pairs, Space, unit

DIM = 16
FRAME = Frame.mint("given", "joint", DIM, {"name": "joint"})


def bed(bound, groups=None):
    pairs = Pairs.by_id(bound)
    rows = {name: np.arange(len(space)) for name, space in bound.items()}
    return Bed(bound, pairs, pairs, rows, groups or {})


def space(vectors, ids=None, content=None):
    vectors = unit(np.asarray(vectors, dtype=np.float32)).astype(np.float32)
    ids = np.arange(len(vectors)).astype(str) if ids is None else np.asarray(ids)
    extra = {} if content is None else {"content": np.asarray(content, dtype=np.uint64)}
    return Space(ids, vectors, FRAME, **extra)


def noisy(n=120, noise=(0.8, 0.8, 0.8), seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, DIM))
    return {
        name: space(z + level * rng.normal(size=z.shape) * 2)
        for name, level in zip("abc", noise, strict=True)
    }


def slow(bound, present, target):
    """Share of items whose own row is among the ten best, one item after the other."""
    shared = sorted(set.intersection(*(set(s.ids.tolist()) for s in bound.values())))
    gallery, found = bound[target], []
    for item in shared:
        query = np.zeros(DIM)
        for name in present:
            own = np.asarray(bound[name].vectors, dtype=np.float64)[bound[name].ids == item]
            mean = own.sum(axis=0)
            query += mean / np.linalg.norm(mean)
        scores = {}
        for vector, other in zip(gallery.vectors, gallery.ids, strict=True):
            scores[other] = max(scores.get(other, -9), float(vector @ query))
        rank = 1 + sum(score > scores[item] for other, score in scores.items() if other != item)
        found.append(rank <= DEPTH)
    return float(np.mean(found))


def test_every_mask_equals_a_slow_count():
    bound = noisy(n=60)
    # Several parts of an item, items that lack a modality, another order of rows.
    a, b = bound["a"], bound["b"]
    bound["a"] = space(
        np.concatenate([a.vectors, a.vectors[:7] + 0.3]), np.concatenate([a.ids, a.ids[:7]])
    )
    bound["b"] = b.take(np.random.default_rng(3).permutation(60)[:50])
    report = masked(bed(bound), bound)
    asked = [
        (present, target)
        for size in (1, 2)
        for present in combinations("abc", size)
        for target in "abc"
        if target not in present
    ]
    assert [(row.present, row.target) for row in report.rows] == asked
    for row in report.rows:
        assert row.n == 50
        assert row.value == pytest.approx(slow(bound, row.present, row.target))
        assert row.low <= row.value <= row.high


def test_a_gain_is_the_mean_over_masks_without_it_and_targets():
    bound = noisy(n=60, seed=2)
    report = masked(bed(bound), bound)
    value = {(row.present, row.target): row.value for row in report.rows}
    for gain in report.gains:
        one, other = (name for name in "abc" if name != gain.modality)
        expected = np.mean([
            value[tuple(sorted((one, gain.modality))), other] - value[(one,), other],
            value[tuple(sorted((other, gain.modality))), one] - value[(other,), one],
        ])  # fmt: skip
        assert gain.value == pytest.approx(expected)
        assert gain.low <= gain.value <= gain.high


def test_the_planted_helper_is_named():
    bound = noisy(n=150, noise=(1.0, 1.0, 0.1), seed=1)
    report = masked(bed(bound), bound)
    gains = {gain.modality: gain for gain in report.gains}
    assert max(gains, key=lambda name: gains[name].value) == "c"
    assert gains["c"].low > 0.05
    assert report.said.startswith("collect c next")
    assert f"{gains['c'].value:+.3f}" in report.said


def test_noise_is_seldom_recommended():
    """The best of three gains is named: each interval alone would err three times as often."""
    told = []
    for seed in range(12):
        rng = np.random.default_rng([seed, 7])
        bound = {name: space(rng.normal(size=(90, DIM))) for name in "abc"}
        report = masked(bed(bound), bound)
        told.append(report.said.startswith("collect"))
        assert all(row.value < 0.35 for row in report.rows)  # ten of ninety by chance
    assert sum(told) <= 2
    assert "no further modality is shown to help" in report.said


def test_equal_content_counts_as_right():
    vectors = np.eye(DIM)[:12]
    gallery = np.eye(DIM)[::-1][:12] + 0.01
    bound = {"a": space(vectors), "b": space(gallery, content=np.full(12, 7))}
    assert {row.value for row in masked(bed(bound), bound).rows if row.target == "b"} == {1.0}


def test_groups_widen_the_interval():
    bound = noisy(n=120, seed=4)
    alone = masked(bed(bound), bound).rows[0]
    order = np.argsort(slow_hits(bound), kind="stable")
    groups = {str(item): f"g{place // 20}" for place, item in enumerate(order)}
    held = masked(bed(bound, groups), bound).rows[0]
    assert held.value == alone.value
    assert held.high - held.low > 1.5 * (alone.high - alone.low)


def slow_hits(bound):
    a, b = bound["a"].vectors, bound["b"].vectors
    scores = a @ b.T
    return (scores > np.diag(scores)[:, None]).sum(axis=1) < DEPTH


def test_two_modalities_have_masks_and_no_gain():
    bound = {name: each for name, each in noisy(40).items() if name != "c"}
    report = masked(bed(bound), bound)
    assert [(row.present, row.target) for row in report.rows] == [(("a",), "b"), (("b",), "a")]
    assert report.gains == ()
    assert "two modalities leave nothing to collect" in report.said


def test_what_cannot_be_asked_is_refused_in_a_line():
    bound = noisy(20)
    with pytest.raises(ConjoinError, match="masks: 1 modalities; name 2 to 8"):
        masked(bed(bound), {"a": bound["a"]})
    apart = {"a": bound["a"], "b": space(bound["b"].vectors, [f"x{i}" for i in range(20)])}
    with pytest.raises(ConjoinError, match="no held-out item has every modality"):
        masked(bed(bound), apart)


def test_the_same_seed_gives_the_same_report():
    bound = noisy(40)
    assert masked(bed(bound), bound, seed=3) == masked(bed(bound), bound, seed=3)
