"""Losses of students and of spectra, line by line from their formulas."""

import math

import numpy as np
import pytest
import torch

from conjoin.errors import ConjoinError
from conjoin.losses.contrastive.cross_affinity import CrossAffinity
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.losses.distill import Affinity, Relational, TeacherContrast
from conjoin.losses.regularizers.rank import RankPenalty, RankReduced
from conjoin.losses.regularizers.spectral import Consistency, Decorrelation, DominantSingular
from conjoin.spaces import Batch

RNG = np.random.default_rng(0)
N = 7


def a_batch(student, *teachers, labels=None, source=None):
    names = ["student", *(f"teacher{i}" for i in range(len(teachers)))]
    out = {n: torch.from_numpy(x) for n, x in zip(names, (student, *teachers), strict=True)}
    rows = dict(out) if source is None else {"student": torch.from_numpy(source)}
    lines = torch.arange(len(student))
    here = {n: torch.ones(len(student), dtype=torch.bool) for n in names}
    batch = Batch(
        rows, {n: lines for n in names}, here, torch.ones(len(student)),
        None if labels is None else torch.from_numpy(labels),
    )  # fmt: skip
    return out, batch


def value(objective, out, batch):
    params = {k: p.tensor(torch.float64) for k, p in objective.init(list(out), 4).items()}
    return float(objective(out, batch, params).detach())


def huber(u):
    return u * u / 2 if abs(u) < 1 else abs(u) - 0.5


def relational(s, t, distance, angle):
    n = len(s)
    apart = [[[math.dist(x[i], x[j]) for j in range(n)] for i in range(n)] for x in (s, t)]
    mean = [np.mean([d[i][j] for i in range(n) for j in range(n) if i != j]) for d in apart]
    first = sum(
        huber(apart[0][i][j] / mean[0] - apart[1][i][j] / mean[1])
        for i in range(n) for j in range(n)
    ) / n**2  # fmt: skip

    def cosine(x, i, j, k):
        if i == j or k == j:
            return 0.0
        u, v = x[i] - x[j], x[k] - x[j]
        return float(u @ v / np.linalg.norm(u) / np.linalg.norm(v))

    second = sum(
        huber(cosine(s, i, j, k) - cosine(t, i, j, k))
        for i in range(n) for j in range(n) for k in range(n)
    ) / n**3  # fmt: skip
    return distance * first + angle * second


def test_relational():
    s, t, u = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 6)), RNG.normal(size=(N, 3))
    t[0] *= 30  # beyond the quadratic part
    wanted = np.mean([relational(s, x, 1.5, 0.7) for x in (t, u)])
    assert value(Relational(1.5, 0.7), *a_batch(s, t, u)) == pytest.approx(wanted)
    turned = 3 * s @ np.linalg.qr(RNG.normal(size=(4, 4)))[0] + 5
    assert value(Relational(), *a_batch(s, turned)) == pytest.approx(0, abs=1e-12)


def likeness(x, tau):
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    out = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        e = [math.exp(x[i] @ x[j] / tau) if j != i else 0.0 for j in range(len(x))]
        out[i] = np.array(e) / sum(e)
    return out


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def test_affinity():
    s, t, u = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 6)), RNG.normal(size=(N, 3))
    own = likeness(s, 0.3)
    wanted = np.mean([
        np.mean([kl(likeness(x, 0.2)[i], own[i]) for i in range(N)]) for x in (t, u)
    ])  # fmt: skip
    assert value(Affinity(0.3, 0.2), *a_batch(s, t, u)) == pytest.approx(wanted)


@pytest.mark.parametrize("labels", [None, np.arange(N) % 3])
def test_partition_takes_the_surer(labels):
    s, t, first = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 6)), RNG.normal(size=(N, 4))
    out, batch = a_batch(s, t, labels=labels)
    out["frozen"] = torch.from_numpy(first)
    own, aim, old = likeness(s, 0.3), likeness(t, 0.2), likeness(first, 0.3)

    def sure(p, i):
        if labels is None:
            return max(p[i])
        return sum(p[i][j] for j in range(N) if labels[j] == labels[i])

    taught = [(aim if sure(aim, i) >= sure(old, i) else old)[i] for i in range(N)]
    wanted = np.mean([kl(taught[i], own[i]) for i in range(N)])
    assert value(Affinity(0.3, 0.2, True), out, batch) == pytest.approx(wanted)
    assert {bool(sure(aim, i) >= sure(old, i)) for i in range(N)} == {True, False}


def contrast(s, t, tau, alpha, focus, hardest):
    s, t = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (s, t))
    total = 0.0
    for i in range(len(s)):
        others = sorted((j for j in range(len(s)) if j != i), key=lambda j: -t[i] @ t[j])
        stand = [i, *others[:hardest]]
        p_own = math.exp(s[i] @ t[i] / tau) / sum(math.exp(s[i] @ t[j] / tau) for j in stand)
        total += (1 - p_own) ** focus * -math.log(p_own)
        p = np.array([math.exp(s[i] @ t[j] / tau) for j in range(len(s))])
        q = np.array([math.exp(s[j] @ t[i] / tau) for j in range(len(s))])
        total += alpha * kl(q / q.sum(), p / p.sum())
    return total / len(s)


@pytest.mark.parametrize(
    ("alpha", "focus", "hardest"), [(0.0, 0.0, None), (0.5, 0.0, None), (0.3, 1.5, 2)]
)
def test_teacher_contrast(alpha, focus, hardest):
    s, t = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 4))
    objective = TeacherContrast(0.3, alpha, focus, hardest)
    wanted = contrast(s, t, 0.3, alpha, focus, hardest or N)
    assert value(objective, *a_batch(s, t)) == pytest.approx(wanted)


def test_a_teacher_of_another_width_cannot_be_named():
    with pytest.raises(ConjoinError, match="is 5 wide, the student 4"):
        value(TeacherContrast(), *a_batch(RNG.normal(size=(N, 4)), RNG.normal(size=(N, 5))))


def test_consistency():
    z, x = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 4))
    out, batch = a_batch(z, source=x)
    wanted = np.mean([
        np.sum((z[i] / np.linalg.norm(z[i]) - x[i] / np.linalg.norm(x[i])) ** 2) / 4
        for i in range(N)
    ])  # fmt: skip
    assert value(Consistency(), out, batch) == pytest.approx(wanted)
    with pytest.raises(ConjoinError, match="outputs of 4 for rows of 3"):
        value(Consistency(), *a_batch(z, source=x[:, :3]))


def test_decorrelation():
    z = RNG.normal(size=(N, 4)) @ RNG.normal(size=(4, 4))
    cov = np.cov(z.T)
    wanted = sum(cov[i, j] ** 2 for i in range(4) for j in range(4) if i != j) / 4
    assert value(Decorrelation(), *a_batch(z)) == pytest.approx(wanted)


def test_dominant_singular():
    z = RNG.normal(size=(N, 4))
    values = np.linalg.svd(z, compute_uv=False)
    assert value(DominantSingular(2), *a_batch(z)) == pytest.approx(
        -(values[0] + values[1]) / 2 / values.sum()
    )


def test_rank_penalty_is_the_share_of_directions_in_use():
    z = RNG.normal(size=(N, 4)) @ np.diag([3.0, 1.0, 0.5, 0.1])
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    shares = np.linalg.svd(unit, compute_uv=False)
    shares = shares / shares.sum()
    wanted = math.exp(-sum(p * math.log(p) for p in shares)) / 4
    assert value(RankPenalty(), *a_batch(z)) == pytest.approx(wanted)
    line = np.ones((N, 1)) @ RNG.normal(size=(1, 4))
    assert value(RankPenalty(), *a_batch(line)) == pytest.approx(1 / 4)


def test_rank_reduced_adds_the_penalty_to_infonce():
    s, t = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 4))
    out, batch = a_batch(s, t)
    plain, term = value(InfoNCE(0.2), out, batch), value(RankPenalty(), out, batch)
    assert value(RankReduced(0.2, weight=0.7), out, batch) == pytest.approx(plain + 0.7 * term)
    assert value(RankReduced(0.2, weight=0.0), out, batch) == pytest.approx(plain)


@pytest.mark.parametrize(
    ("only_right", "weight", "one", "within"),
    [(False, None, False, False), (True, 3.0, True, False), (False, 2.0, True, True),
     (True, None, False, True)],
)  # fmt: skip
def test_cross_affinity_is_the_divergence_of_both_matrices_beside_the_contrast(
    only_right, weight, one, within
):
    """``CrossAffinity`` line by line, in plain numbers; wrong lines count 0 in the mean."""
    rng = np.random.default_rng(11)
    n, tau, tau_t, share = 7, 0.2, 0.1, 0.6
    rows = {name: rng.normal(size=(n, 5)) for name in ("a", "b", "teacher/a", "teacher/b")}
    rows["teacher/b"][:4] = rows["teacher/a"][:4]  # the teacher is right about some
    trust = rng.uniform(0.5, 2, n)
    at = torch.arange(n)
    here = torch.ones(n, dtype=torch.bool)
    batch = Batch(
        {v: torch.from_numpy(rows[v]) for v in ("a", "b")}, {"a": at, "b": at},
        {"a": here, "b": here}, torch.from_numpy(trust),
    )  # fmt: skip
    loss = CrossAffinity(tau, False, tau_t, share, only_right, weight, one, within)
    out = {name: torch.from_numpy(x) for name, x in rows.items()}
    got = float(loss(out, batch, {}))

    unit = {k: x / np.linalg.norm(x, axis=1, keepdims=True) for k, x in rows.items()}

    def softmax(x):
        return np.exp(x - x.max()) / np.exp(x - x.max()).sum()

    def way(first, second):
        total = 0.0
        for i in range(n):
            others = [j for j in range(n) if first != second or j != i]
            near = unit["teacher/" + second][others] @ unit["teacher/" + first][i]
            q = softmax(near / tau_t)
            p = softmax(unit[second][others] @ unit[first][i] / (tau_t if one else tau))
            if only_right and first != second and q.argmax() != i:
                continue
            total += trust[i] * sum(x * np.log(x / y) for x, y in zip(q, p, strict=True))
        return total / trust.sum()

    taught = (way("a", "b") + way("b", "a")) / 2
    if within:
        taught += (way("a", "a") + way("b", "b")) / 2
    plain = float(InfoNCE(tau, False)({v: out[v] for v in ("a", "b")}, batch, {}))
    wanted = (1 - share) * plain + share * taught if weight is None else plain + weight * taught
    assert got == pytest.approx(wanted, rel=1e-6)
    alone = {v: out[v] for v in ("a", "b", "teacher/a")}
    assert float(loss(alone, batch, {})) == pytest.approx(plain)


def test_a_teacher_of_heads_does_not_see_what_decides_when_to_stop(monkeypatch):
    """It is fitted to the learning part first, and to all pairs for the last training."""
    from conjoin.alignment.closed_form.linear import CCA
    from conjoin.catalogue import find
    from conjoin.spaces import Pairs

    seen, fit = [], CCA.fit
    monkeypatch.setattr(
        CCA, "fit", lambda self, views, pairs, **more: seen.append(len(pairs))
        or fit(self, views, pairs, **more),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    x = rng.normal(size=(96, 6)).astype(np.float32)
    views = {"a": x, "b": (x @ rng.normal(size=(6, 5))).astype(np.float32)}
    row = find("aligner", "taught-head")
    made = row.make({"steps": 6, "hidden": 16, "width": 8, "batch": 32})
    maps = made.fit(views, Pairs.of(a=np.arange(96), b=np.arange(96)))
    assert seen == [84, 96]
    assert maps["a"].apply(x).shape == (96, 8)


def test_heads_in_stages_go_on_from_where_they_were_and_see_a_part_once(monkeypatch):
    """Halves along the widest direction; the second starts at, and is taught by, the first."""
    from conjoin.alignment.trained.staged import in_stages
    from conjoin.catalogue import find
    from conjoin.spaces import Pairs
    from conjoin.training.early_stopping import Training

    rng = np.random.default_rng(0)
    x = rng.normal(size=(96, 6)).astype(np.float32)
    x[:, 2] *= 9
    views = {"a": x, "b": (x @ rng.normal(size=(6, 5))).astype(np.float32)}
    pairs = Pairs.of(a=np.arange(96), b=np.arange(96))
    low, high = (set(part.column("a").tolist()) for part in in_stages(x, pairs, 2))
    assert not low & high
    assert max(x[list(low), 2]) < min(x[list(high), 2])
    assert len(in_stages(x[:31], pairs.take(np.arange(31)), 2)) == 1  # 16 groups a part
    assert len(in_stages(x[:32], pairs.take(np.arange(32)), 2)) == 2

    seen, fit = [], Training.fit

    def watched(self, lines, seed):
        start = {k: np.asarray(p.value) for k, p in self.trainable.init(seed).items()}
        found = fit(self, lines, seed)
        seen.append((set(lines.column("a").tolist()), start, found, self.trainable))
        return found

    monkeypatch.setattr(Training, "fit", watched)
    for name in ("staged-head", "mod-x", "ctp"):
        seen.clear()
        made = find("aligner", name).make({"steps": 6, "hidden": 16, "width": 8, "batch": 32})
        maps = made.fit(views, pairs)
        (first, _, ended, _), (second, began, last, trained) = seen
        assert (first, second) == (low, high)
        assert all(np.array_equal(began[k], ended[k]) for k in ended)
        teacher = trained.teacher["a"].apply(x)
        np.testing.assert_allclose(teacher, trained.heads.maps(ended)["a"].apply(x), atol=1e-6)
        np.testing.assert_allclose(maps["a"].apply(x), trained.maps(last)["a"].apply(x), atol=1e-6)
        assert not np.allclose(maps["a"].apply(x), teacher, atol=1e-3)
