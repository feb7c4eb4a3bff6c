"""Merges of tensors restated slowly from their papers: number by number, whole matrices."""

import math

import numpy as np
import pytest

from conjoin import catalogue
from conjoin.models.merging.agreement import Consensus, Selected
from conjoin.models.merging.angles import Karcher, SelectCalculateErase, Slerp, Stock
from conjoin.models.merging.base import Part
from conjoin.models.merging.cuts import largest
from conjoin.models.merging.run import merge_arrays
from conjoin.models.merging.subspace import Subspace
from conjoin.models.merging.vectors import TaskVector, uniform

RNG = np.random.default_rng(0)
BASE = {"w": RNG.normal(size=(12, 8)), "b": RNG.normal(size=12)}
EXPERTS = [{n: v + 0.1 * RNG.normal(size=v.shape) for n, v in BASE.items()} for _ in range(3)]
#: Changes in steps of .1, so that many are of one size.
STEPS = [{n: v + np.round(RNG.normal(size=v.shape), 0) / 8 for n, v in BASE.items()} for _ in "abc"]


def flat(model):
    return [float(x) for name in BASE for x in np.ravel(model[name])]


def shaped(values):
    out, at = {}, 0
    for name, array in BASE.items():
        out[name] = np.array(values[at : at + array.size]).reshape(array.shape)
        at += array.size
    return out


def close(found, wanted, tolerance=1e-10):
    return all(np.allclose(found[n], wanted[n], atol=tolerance, rtol=0) for n in BASE)


def by_tensor(rule, experts):
    """A merge that treats each tensor alone, as lists of numbers."""
    out = {}
    for name, array in BASE.items():
        base = [float(x) for x in array.ravel()]
        deltas = [
            [float(y) - x for x, y in zip(base, e[name].ravel(), strict=True)] for e in experts
        ]
        added = rule(name, deltas)
        out[name] = np.array([x + a for x, a in zip(base, added, strict=True)]).reshape(array.shape)
    return out


def top(sizes, count):
    """The places of the largest, the first of equal ones."""
    return set(sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))[:count])


def elected(deltas):
    """TIES: elect a sign, average those that have it."""
    out = []
    for column in zip(*deltas, strict=True):
        sign = np.sign(sum(column))
        agree = [x for x in column if x != 0 and np.sign(x) == sign]
        out.append(sum(agree) / len(agree) if agree else 0.0)
    return out


@pytest.mark.parametrize("experts", [EXPERTS, STEPS])
def test_task_vectors_by_whole_model(experts):
    base = flat(BASE)
    deltas = [[y - x for x, y in zip(base, flat(e), strict=True)] for e in experts]
    count = max(1, int(0.2 * len(base)))
    kept = []
    for delta in deltas:
        # Rounding makes equal steps differ in their last bits: what counts is the stored number.
        places = top([abs(x) for x in delta], count)
        kept.append([x if i in places else 0.0 for i, x in enumerate(delta)])
    wanted = shaped([x + a for x, a in zip(base, elected(kept), strict=True)])
    found = merge_arrays(BASE, experts, catalogue.find("tensor-merge", "ties").make())
    assert close(found, wanted)


def trimmed(name, deltas):
    kept = []
    for delta in deltas:
        places = top([abs(x) for x in delta], max(1, int(0.2 * len(delta))))
        kept.append([x if i in places else 0.0 for i, x in enumerate(delta)])
    return elected(kept)


def crumbs(name, deltas):
    out = [0.0] * len(deltas[0])
    for delta in deltas:
        over = int(0.05 * len(delta))
        ranked = sorted(range(len(delta)), key=lambda i, d=delta: (-abs(d[i]), i))
        for i in ranked[over : over + int(0.6 * len(delta))]:
            out[i] += 0.5 * delta[i]
    return out


def magmax(name, deltas):
    return [max(column, key=lambda x: (abs(x), x)) for column in zip(*deltas, strict=True)]


def unified(name, deltas):
    out = []
    for column in zip(*deltas, strict=True):
        sign = np.sign(sum(column))
        out.append(sign * max([abs(x) for x in column if np.sign(x) == sign], default=0.0))
    return out


def summed(scale):
    return lambda name, deltas: [scale * sum(column) for column in zip(*deltas, strict=True)]


@pytest.mark.parametrize("experts", [EXPERTS, STEPS])
def test_task_vectors_by_tensor(experts):
    rules = {
        "ties-tensor": trimmed, "magmax": magmax, "emr": unified, "average": summed(1 / 3),
        "task-arithmetic": summed(1), "negation": summed(-1),
    }  # fmt: skip
    for name, rule in rules.items():
        assert close(merge_arrays(BASE, experts, name), by_tensor(rule, experts)), name
    method = TaskVector(trim="outliers", density=0.6, outliers=0.05, scale=0.5)
    assert close(merge_arrays(BASE, experts, method), by_tensor(crumbs, experts))


def test_random_task_vectors():
    def draws(name, place, size):
        return uniform(Part(name, (), 0, np.zeros(size), [], 5), place)

    def dare(name, deltas):
        out = [0.0] * len(deltas[0])
        for place, delta in enumerate(deltas):
            for i, (x, u) in enumerate(zip(delta, draws(name, place, len(delta)), strict=True)):
                out[i] += x / 0.3 if u < 0.3 else 0.0
        return out

    def della(name, deltas):
        row, kept = BASE[name].shape[-1], []
        for place, delta in enumerate(deltas):
            u, new = draws(name, place, len(delta)), []
            for i, x in enumerate(delta):
                mates = delta[i // row * row : (i // row + 1) * row]
                rank = sum(abs(m) < abs(x) for m in mates)
                p = min(1.0, max(1e-3, 0.5 + 0.2 * ((rank + 0.5) / row - 0.5)))
                new.append(x / p if u[i] < p else 0.0)
            kept.append(new)
        return elected(kept)

    found = merge_arrays(BASE, EXPERTS, TaskVector(trim="random", density=0.3), seed=5)
    assert close(found, by_tensor(dare, EXPERTS))
    found = merge_arrays(BASE, EXPERTS, "della", seed=5)
    assert close(found, by_tensor(della, EXPERTS))


def test_random_masks_keep_the_mean():
    """A number divided by its probability of being kept is itself on average."""
    part = Part("w", (200, 500), 0, np.zeros(100_000), [np.ones(100_000)])
    for trim in ("random", "rank-random"):
        found = TaskVector(trim=trim, density=0.3).merge(part, None)
        assert abs(found.mean() - 1) < 0.03
        assert abs((found != 0).mean() - 0.3) < 0.01


def test_slerp():
    found = merge_arrays(BASE, EXPERTS[:2], Slerp(t=0.3))
    for name in BASE:
        a, b = (e[name].ravel() for e in EXPERTS[:2])
        b = b - 0.0
        angle = math.acos(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        if math.cos(angle) > 0.9995:
            wanted = 0.7 * a + 0.3 * b
        else:
            wanted = (math.sin(0.7 * angle) * a + math.sin(0.3 * angle) * b) / math.sin(angle)
        assert np.allclose(found[name].ravel(), wanted, atol=1e-10)


def test_karcher():
    """The mean on the sphere: the logarithms of all points at it sum to nothing."""
    far = [{n: RNG.normal(size=v.shape) + 1 for n, v in BASE.items()} for _ in range(3)]
    found = merge_arrays(BASE, far, Karcher())
    for name in BASE:
        points = [e[name].ravel() / np.linalg.norm(e[name]) for e in far]
        u = found[name].ravel()
        size = np.mean([np.linalg.norm(e[name]) for e in far])
        assert abs(np.linalg.norm(u) - size) < 1e-9
        u = u / np.linalg.norm(u)
        logs = []
        for x in points:
            angle = math.acos(u @ x)
            logs.append(angle / math.sin(angle) * (x - math.cos(angle) * u))
        assert np.linalg.norm(np.mean(logs, axis=0)) < 1e-9


def test_stock():
    found = merge_arrays(BASE, EXPERTS, Stock())
    for name, base in BASE.items():
        deltas = [(e[name] - base).ravel() for e in EXPERTS]
        pairs = [(0, 1), (0, 2), (1, 2)]
        cosine = np.mean([
            deltas[i] @ deltas[j] / np.linalg.norm(deltas[i]) / np.linalg.norm(deltas[j])
            for i, j in pairs
        ])  # fmt: skip
        cosine = max(0.0, cosine)
        t = 3 * cosine / (1 + 2 * cosine)
        wanted = t * np.mean([e[name] for e in EXPERTS], axis=0) + (1 - t) * base
        assert np.allclose(found[name], wanted, atol=1e-10)


@pytest.mark.parametrize("density", [0.5, 1.0])
def test_select_calculate_erase(density):
    # A row that one expert never trained: its zeros have no direction and no weight.
    experts = [{name: values.copy() for name, values in e.items()} for e in EXPERTS]
    experts[1]["w"][0] = BASE["w"][0]

    def rule(name, deltas):
        spread = [float(np.var(column)) for column in zip(*deltas, strict=True)]
        places = set(range(len(spread)))
        if density < 1:
            places = top(spread, max(1, int(density * sum(v > 0 for v in spread))))
        kept = [[x if i in places else 0.0 for i, x in enumerate(d)] for d in deltas]
        energy = [sum(x * x for x in d) for d in kept]
        weights = [e / sum(energy) for e in energy]
        out = []
        for column in zip(*kept, strict=True):
            sign = 1 if sum(column) >= 0 else -1
            pairs = list(zip(weights, column, strict=True))
            same = [(w, x) for w, x in pairs if (x > 0 and sign > 0) or (x < 0 and sign < 0)]
            total = sum(w for w, _ in same)
            out.append(sum(w * x for w, x in same) / total if total else 0.0)
        return out

    found = merge_arrays(BASE, experts, SelectCalculateErase(density=density))
    assert close(found, by_tensor(rule, experts))


def test_subspace():
    deltas = [e["w"] - BASE["w"] for e in EXPERTS]
    for rule in ("isotropic", "disjoint"):
        found = merge_arrays(BASE, EXPERTS, Subspace(rule, scale=0.7))
        assert np.allclose(
            found["b"], BASE["b"] + 0.7 * np.mean([e["b"] - BASE["b"] for e in EXPERTS], 0)
        )
        change = (found["w"] - BASE["w"]) / 0.7
        if rule == "isotropic":
            values = np.linalg.svd(change, compute_uv=False)
            own = np.linalg.svd(sum(deltas), compute_uv=False)
            assert np.allclose(values, own.mean())
            u, _, vt = np.linalg.svd(sum(deltas), full_matrices=False)
            assert np.allclose(change, own.mean() * u @ vt)
            continue
        us, ss, vs = [], [], []
        for delta in deltas:
            u, s, vt = np.linalg.svd(delta, full_matrices=False)
            us.append(u[:, :2]), ss.extend(s[:2]), vs.append(vt[:2].T)
        left, right = (np.concatenate(side, axis=1) for side in (us, vs))
        # The nearest orthonormal matrix by its definition, X (XᵀX)^-½.
        sides = []
        for side in (left, right):
            values, vectors = np.linalg.eigh(side.T @ side)
            sides.append(side @ vectors @ np.diag(values**-0.5) @ vectors.T)
        assert np.allclose(change, sides[0] @ np.diag(ss) @ sides[1].T)


def test_consensus():
    def rule(name, deltas):
        out = []
        for column in zip(*deltas, strict=True):
            total = sum(column)
            wanted = sum(abs(x) > 0.4 * abs(total - x) for x in column)
            out.append(total if wanted >= 2 else 0.0)
        return out

    assert close(merge_arrays(BASE, EXPERTS, Consensus()), by_tensor(rule, EXPERTS))


def test_selected():
    found = merge_arrays(BASE, EXPERTS, Selected(share=0.25))
    whole = [sum(abs(x) for n in BASE for x in np.ravel(e[n] - BASE[n])) for e in EXPERTS]
    for name, base in BASE.items():
        worth = []
        for expert, size in zip(EXPERTS, whole, strict=True):
            sizes = sorted((abs(float(x)) for x in np.ravel(expert[name] - base)), reverse=True)
            worth.append(sum(sizes[: base.size // 4]) / size)
        assert (found[name] == EXPERTS[int(np.argmax(worth))][name]).all()


def test_the_largest_of_a_stream(monkeypatch):
    """Exact at every count, with ties, however little may be held at once."""
    values = np.abs(np.round(RNG.normal(size=400), 1))
    values[50:80] = 0.0
    blocks = [(s, values[s : s + 37]) for s in range(0, 400, 37)]
    for held in (400, 3):
        monkeypatch.setattr("conjoin.models.merging.cuts.HELD", held)
        for count in (0, 1, 2, 3, 57, 199, 380, 399, 400):
            cut = largest(lambda: iter(blocks), count)
            kept = np.concatenate([cut.keeps(b, s) for s, b in blocks])
            assert set(np.flatnonzero(kept)) == top(values.tolist(), count), (held, count)
            equal = int((values == cut.value).sum())
            split = 0 < (kept & (values == cut.value)).sum() < equal
            assert cut.tied == (equal if split else 0)
