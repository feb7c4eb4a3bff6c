"""Fusions against slow restatements of their formulas: Late, Concat and the bodies of FusionNet."""

from itertools import product as every

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from conjoin.fusion import losses
from conjoin.fusion.architectures import Spec
from conjoin.fusion.attention import WIDE
from conjoin.fusion.backend import NumpyOps, TorchOps
from conjoin.fusion.inputs import Inputs
from conjoin.fusion.linear import Concat, Late
from conjoin.fusion.model import standardised
from conjoin.fusion.network import KINDS, fuse, started, stem
from conjoin.fusion.tabular import BoostedTrees, ImputedLogistic
from conjoin.spaces import Batch

torch = pytest.importorskip("torch")

ITEMS, HIDDEN = 7, 8
NAMES, DIMS = ("a", "b", "c"), (3, 4, 5)


def spec_of(kind, names=NAMES):
    return Spec(kind, names, DIMS[: len(names)], 3, HIDDEN, layers=2, heads=2, tokens=2, rank=2)


def network(kind, seed=0, names=NAMES):
    """A network with every parameter moved, projections, and what is present."""
    rng = np.random.default_rng(seed)
    spec = spec_of(kind, names)
    p = {k: v + 0.3 * rng.normal(size=v.shape) for k, v in started(spec, seed).items()}
    here = rng.random((ITEMS, len(names))) > 0.4
    here[~here.any(axis=1), 0] = True
    here[0] = True
    rows = {n: rng.normal(size=(ITEMS, d)) for n, d in zip(spec.names, spec.dims, strict=True)}
    return spec, p, stem(spec, p, rows), here


def relu(x):
    return np.maximum(x, 0)


def soft(scores):
    shares = np.exp(scores - np.max(scores))
    return shares / shares.sum()


# Heads


def table(seed=0, items=150):
    rng = np.random.default_rng(seed)
    y = np.arange(items) % 3
    views = {n: rng.normal(size=(items, d)) + y[:, None] for n, d in zip(NAMES, DIMS, strict=True)}
    return views, y


def test_a_late_head_is_a_logistic_regression_of_the_package():
    views, y = table()
    lam, weight = 0.05, np.random.default_rng(1).uniform(0.5, 2, len(y))
    fitted = Late(lam=lam).fit(views, {}, labels=y, weight=weight)
    shares = []
    for x in views.values():
        middle = np.average(x, axis=0, weights=weight)
        x = (x - middle) / np.sqrt(np.average((x - middle) ** 2, axis=0, weights=weight))
        peer = LogisticRegression(C=1 / (lam * weight.sum()), tol=1e-9, max_iter=1000)
        shares.append(peer.fit(x, y, sample_weight=weight).predict_proba(x))
    np.testing.assert_allclose(fitted.predict_proba(views, {}), np.mean(shares, 0), atol=1e-3)


def test_numbers_are_a_ridge_regression_of_the_package():
    views, y = table()
    truth = y * 3.0 + views["a"][:, 0]
    fitted = Concat(lam=0.1, indicator=False).fit(views, {}, labels=truth)
    x = np.concatenate([(v - v.mean(0)) / v.std(0) for v in views.values()], axis=1)
    peer = Ridge(alpha=0.1 * len(y)).fit(x, truth)
    np.testing.assert_allclose(fitted.predict(views, {}), peer.predict(x), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("weigh", ["even", "best", "entropy"])
def test_a_late_rule_is_what_it_says(weigh):
    views, y = table(2)
    rng = np.random.default_rng(3)
    present = {n: rng.random(len(y)) > 0.4 for n in NAMES}
    present["a"] |= ~(present["b"] | present["c"])
    fitted = Late(weigh=weigh, temperature=0.7).fit(views, present, labels=y)
    inputs = Inputs.of(views, present)
    rows = standardised(inputs, np.arange(len(y)), fitted.scalers)
    found = fitted.predict_proba(views, present)
    for i in range(len(y)):
        said = {
            n: soft(rows[n][i] @ fitted.body.heads[n][0] + fitted.body.heads[n][1])
            for n in NAMES if present[n][i]
        }  # fmt: skip
        if weigh == "best":
            said = {NAMES[k]: said[NAMES[k]] for k in fitted.body.order if NAMES[k] in said}
            weights = [1.0] + [0.0] * (len(said) - 1)
        elif weigh == "entropy":
            weights = [np.exp((p * np.log(p)).sum() / 0.7) for p in said.values()]
        else:
            weights = [1.0] * len(said)
        mixed = np.average(list(said.values()), axis=0, weights=weights)
        np.testing.assert_allclose(found[i], mixed, atol=1e-5)


def test_the_best_view_is_first():
    views, y = table(4)
    noise = np.random.default_rng(0).normal(size=views["a"].shape)
    fitted = Late(weigh="best").fit({"noise": noise, "b": views["b"]}, {}, labels=y)
    assert fitted.body.order == (1, 0)


def test_filling_is_the_mean_or_zero():
    views, y = table()
    gone = {"a": np.arange(len(y)) > 20}
    for fill in ("mean", "zero"):
        fitted = Concat(fill=fill).fit(views, gone, labels=y)
        x = fitted.apply(views, gone)
        value = np.zeros(3) if fill == "zero" else views["a"][21:].mean(axis=0)
        scaler = fitted.scalers["a"]
        np.testing.assert_allclose(x[0, :3], (value - scaler.shift) * scaler.scale, atol=1e-5)
        assert x[0, -3:].tolist() == [1, 0, 0]


# Plain baselines


def columns(views, present):
    """What scikit-learn's own pieces make of views: scaled, filled with means, and flagged."""
    x = np.concatenate([np.where(present[n][:, None], v, np.nan) for n, v in views.items()], axis=1)
    filled = make_pipeline(StandardScaler(), SimpleImputer()).fit_transform(x)
    return x, np.concatenate([filled, ~np.stack(list(present.values()), 1)], axis=1)


@pytest.mark.parametrize("task", ["two", "three", "numbers"])
def test_plain_baselines_are_those_of_the_package(task):
    views, y = table(5)
    views["b"] = 1e4 * views["b"] - 3e5  # no unit turns the others off
    rng = np.random.default_rng(1)
    present = {n: rng.random(len(y)) > 0.3 for n in NAMES}
    present["a"] |= ~(present["b"] | present["c"])
    weight = rng.uniform(0.5, 2, len(y))
    y = {"two": y % 2, "three": y, "numbers": y + rng.normal(size=len(y))}[task]
    raw, x = columns(views, present)
    if task == "numbers":
        peer = Ridge(alpha=1 / 0.3).fit(x, y)
        trees = HistGradientBoostingRegressor(early_stopping=False, max_iter=20)
    else:
        peer = LogisticRegression(C=0.3, tol=1e-9, max_iter=1000).fit(x, y)
        trees = HistGradientBoostingClassifier(early_stopping=False, max_iter=20)
    ask = "predict" if task == "numbers" else "predict_proba"
    found = ImputedLogistic(C=0.3).fit(views, present, labels=y)
    wanted = getattr(peer, ask)(x)
    np.testing.assert_allclose(getattr(found, ask)(views, present), wanted, atol=3e-3)
    trees.fit(raw.astype(np.float32), y, sample_weight=weight)
    found = BoostedTrees(steps=20).fit(views, present, labels=y, weight=weight)
    said, wanted = getattr(found, ask)(views, present), getattr(trees, ask)(raw.astype(np.float32))
    np.testing.assert_allclose(said, wanted, atol=2e-2)
    assert np.abs(said - wanted).mean() < 1e-3


# Bodies


@pytest.mark.parametrize("kind", KINDS)
def test_torch_and_numpy_say_the_same(kind):
    spec, p, z, here = network(kind)
    tensors = [{k: torch.from_numpy(v) for k, v in part.items()} for part in (p, z)]
    one = fuse(NumpyOps, spec, p, z, here)
    other = fuse(TorchOps(), spec, *tensors, torch.from_numpy(here))
    for key in ("vector", "logits"):
        np.testing.assert_allclose(one[key], other[key].numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("side", "predicted")])
def test_an_absent_view_is_as_if_it_had_never_been(kind):
    spec, p, z, _ = network(kind)
    here = np.tile([True, False, True], (ITEMS, 1))
    whole = fuse(NumpyOps, spec, p, z, here)["logits"]
    few = Spec(**{**spec.__dict__, "names": ("a", "c"), "dims": (3, 5)})
    kept = {n: z[n] for n in few.names}
    left = fuse(NumpyOps, few, p, kept, np.ones((ITEMS, 2), bool))["logits"]
    np.testing.assert_allclose(whole, left, atol=1e-6)


def test_two_gates_are_those_of_the_gated_unit():
    spec, p, z, _ = network("gated", names=("a", "b"))
    found = fuse(NumpyOps, spec, p, z, np.ones((ITEMS, 2), bool))["vector"]
    asked = {
        n: sum(z[m] @ p[f"gate/{n}/{m}"] for m in ("a", "b")) + p[f"gate/{n}/bias"]
        for n in ("a", "b")
    }
    gate = 1 / (1 + np.exp(asked["b"] - asked["a"]))
    np.testing.assert_allclose(
        found, gate * np.tanh(z["a"]) + (1 - gate) * np.tanh(z["b"]), atol=1e-6
    )


def test_the_low_rank_product_is_a_contraction_of_the_whole_tensor():
    spec, p, z, _ = network("product")
    found = fuse(NumpyOps, spec, p, z, np.ones((ITEMS, 3), bool))["vector"]
    factors = [p[f"factor/{n}"].reshape(HIDDEN + 1, spec.rank, HIDDEN) for n in NAMES]
    whole = np.einsum("r,ard,brd,crd->abcd", p["mix"], *factors)
    for i in range(ITEMS):
        ones = [np.concatenate([[1.0], relu(z[n][i])]) for n in NAMES]
        outer = np.einsum("a,b,c->abc", *ones)
        np.testing.assert_allclose(
            found[i], np.einsum("abc,abcd->d", outer, whole) + p["shift"], rtol=1e-8
        )


def test_a_state_is_passed_along():
    spec, p, z, here = network("state")
    found = fuse(NumpyOps, spec, p, z, here)
    for i in range(ITEMS):
        now, steps = p["start"], [p["start"]]
        for place, name in enumerate(NAMES):
            if here[i, place]:
                old = now
                now = relu(old @ p[f"old/{name}"] + z[name][i]) @ p[f"new/{name}"]
                now = now + p[f"new/{name}/bias"]
                assert np.isclose(found["changes"][place][i], ((now - old) ** 2).mean())
            steps.append(now)
        for step, logits in zip(steps, found["steps"], strict=True):
            np.testing.assert_allclose(logits[i], step @ p["head"] + p["head_bias"], atol=1e-6)


def test_a_product_of_experts_is_the_product_of_their_densities():
    spec, p, z, here = network("poe")
    found = fuse(NumpyOps, spec, p, z, here)
    grid = np.linspace(-40, 40, 80_001)
    for i, d in every(range(3), range(2)):
        log = norm.logpdf(grid)
        for place in np.flatnonzero(here[i]):
            spread = np.exp(found["logvars"][i, place, d] / 2)
            log = log + norm.logpdf(grid, found["means"][i, place, d], spread)
        density = np.exp(log - log.max())
        mean = (grid * density).sum() / density.sum()
        var = ((grid - mean) ** 2 * density).sum() / density.sum()
        assert np.isclose(found["mean"][i, d], mean, atol=1e-4)
        assert np.isclose(found["logvar"][i, d], np.log(var), atol=1e-3)


def test_a_mixture_has_the_mean_of_its_experts():
    spec, p, z, here = network("moe")
    found = fuse(NumpyOps, spec, p, z, here)
    for i in range(ITEMS):
        np.testing.assert_allclose(found["vector"][i], found["means"][i, here[i]].mean(axis=0))


def normed(x, gain, bias):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * gain + bias


def slow_block(p, name, x, heads):
    """One item, token by token and head by head."""
    inner = [normed(t, p[f"{name}/gain1"], p[f"{name}/norm1"]) for t in x]
    each = x.shape[1] // heads
    seen = np.zeros_like(x)
    for head in range(heads):
        cut = slice(head * each, (head + 1) * each)
        query = [(t @ p[f"{name}/query"] + p[f"{name}/query_bias"])[cut] for t in inner]
        key = [(t @ p[f"{name}/key"])[cut] for t in inner]
        value = [(t @ p[f"{name}/value"] + p[f"{name}/value_bias"])[cut] for t in inner]
        for t in range(len(x)):
            shares = soft(np.array([query[t] @ k / np.sqrt(each) for k in key]))
            seen[t, cut] = sum(s * v for s, v in zip(shares, value, strict=True))
    x = x + seen @ p[f"{name}/join"] + p[f"{name}/join_bias"]
    out = []
    for t in x:
        hidden = normed(t, p[f"{name}/gain2"], p[f"{name}/norm2"]) @ p[f"{name}/inner"]
        assert len(hidden) == WIDE * len(t)
        hidden = relu(hidden + p[f"{name}/inner_bias"])
        out.append(t + hidden @ p[f"{name}/outer"] + p[f"{name}/outer_bias"])
    return np.array(out)


def tokens(p, z, name, i):
    return (z[name][i] @ p[f"cut/{name}"]).reshape(2, HIDDEN) + p[f"place/{name}"]


def test_views_meet_in_bottlenecks_only():
    spec, p, z, here = network("bottleneck")
    found = fuse(NumpyOps, spec, p, z, here)["logits"]
    for i in range(ITEMS):
        own = [NAMES[k] for k in np.flatnonzero(here[i])]
        streams = {n: np.vstack([p[f"read/{n}"], tokens(p, z, n, i)]) for n in own}
        shared = p["shared"]
        for layer in range(spec.layers):
            copies = []
            for n in own:
                out = slow_block(p, f"{n}/block{layer}", np.vstack([streams[n], shared]), 2)
                streams[n], copy = out[:3], out[3:]
                copies.append(copy)
            shared = np.mean(copies, axis=0)
        logits = [
            normed(streams[n][0], p["last_gain"], p["last_norm"]) @ p["head"] + p["head_bias"]
            for n in own
        ]
        np.testing.assert_allclose(found[i], np.mean(logits, axis=0), atol=1e-6)


def test_one_sequence_holds_the_present_views():
    spec, p, z, here = network("sequence")
    found = fuse(NumpyOps, spec, p, z, here)["vector"]
    for i in range(ITEMS):
        own = [z[n][i] + p[f"place/{n}"] for k, n in enumerate(NAMES) if here[i, k]]
        x = np.vstack([p["read"], *own])
        for layer in range(spec.layers):
            x = slow_block(p, f"block{layer}", x, 2)
        np.testing.assert_allclose(
            found[i], normed(x[0], p["last_gain"], p["last_norm"]), atol=1e-6
        )


def test_elements_are_weighed_and_then_views():
    spec, p, z, here = network("levels")
    found = fuse(NumpyOps, spec, p, z, here)
    for i in range(ITEMS):
        own = [n for k, n in enumerate(NAMES) if here[i, k]]
        x = np.vstack([tokens(p, z, n, i) for n in own])
        for layer in range(spec.layers):
            x = slow_block(p, f"block{layer}", x, 2)
        x = np.array([normed(t, p["last_gain"], p["last_norm"]) for t in x])
        pooled = []
        for k in range(len(own)):
            part = x[2 * k : 2 * k + 2]
            alpha = soft((part @ p["element"])[:, 0])
            pooled.append(sum((1 + a) * t for a, t in zip(alpha, part, strict=True)) / 3)
        beta = 1 + soft(np.array([(v @ p["view"])[0] for v in pooled]))
        vector = sum(b * v for b, v in zip(beta, pooled, strict=True)) / beta.sum()
        np.testing.assert_allclose(found["vector"][i], vector, atol=1e-6)


def test_absent_projections_are_guessed():
    spec, p, z, here = network("predicted")
    found = fuse(NumpyOps, spec, p, z, here)["vector"]
    for i in range(ITEMS):
        around = np.mean([z[n][i] for k, n in enumerate(NAMES) if here[i, k]], axis=0)
        parts = []
        for k, n in enumerate(NAMES):
            guess = relu((around + p[f"ask/{n}"]) @ p["inner"] + p["inner_bias"]) @ p["outer"]
            parts.append(relu(z[n][i] if here[i, k] else guess))
        np.testing.assert_allclose(found[i], np.concatenate(parts), atol=1e-6)


# Losses


def test_fewer_views_and_all_predict_each_other():
    """``similar`` row by row: a predictor on either side, the other held still."""
    torch = pytest.importorskip("torch")
    from conjoin.fusion.losses import FusionLoss, similar

    rng = np.random.default_rng(5)
    n, d = 6, 4
    part, whole = rng.normal(size=(2, n, d))
    known = np.ones((n, 2), bool)
    here = known.copy()
    here[:4, 1] = False  # four rows are seen with fewer views than they have
    weight = rng.uniform(0.5, 2, n)
    loss = FusionLoss(False, "similar", strength=0.7)
    p = {k: v.value.astype(np.float64) for k, v in loss.init(("a", "b"), d).items()}
    p |= {"inner_bias": rng.normal(size=d), "outer_bias": rng.normal(size=d)}
    u = torch.from_numpy(part).requires_grad_(True)
    v = torch.from_numpy(whole).requires_grad_(True)
    out = {
        "known": torch.from_numpy(known), "here": torch.from_numpy(here), "vector": u,
        "clean": {"a": torch.arange(n)}, "again": lambda z, _: {"vector": v[z["a"]]},
        "predictor": {k: torch.from_numpy(x) for k, x in p.items()},
    }  # fmt: skip
    batch = Batch({}, {}, {}, torch.from_numpy(weight))
    got = similar(loss, out, batch, torch.tensor(1.0, dtype=torch.float64))

    def near(x, y):
        made = np.maximum(x @ p["inner"] + p["inner_bias"], 0) @ p["outer"] + p["outer_bias"]
        return made @ y / np.linalg.norm(made) / np.linalg.norm(y)

    slow = sum(
        weight[i] * (near(part[i], whole[i]) + near(whole[i], part[i])) / 2 for i in range(4)
    ) / weight[:4].sum()  # fmt: skip
    assert float(got.detach()) == pytest.approx(1 - 0.7 * slow)
    got.backward()
    assert u.grad[:4].any()
    assert v.grad[:4].any()
    assert not u.grad[4:].any()


def test_the_divergence_is_jensen_shannon():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 6, 4))
    slow = np.mean([
        jensenshannon(soft(a), soft(b)) ** 2 for a, b in zip(one, other, strict=True)
    ])  # fmt: skip
    found = losses.divergence(torch.from_numpy(one), torch.from_numpy(other))
    assert np.isclose(float(found), slow)


def test_opposing_gradients_lose_what_opposes():
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    a, b = losses.realigned([one, other])
    assert a.tolist() == [0.5, 0.5]
    assert b.tolist() == [0.0, 1.0]
    c, d = losses.realigned([one, torch.tensor([1.0, 1.0])])
    assert c.tolist() == [1.0, 0.0]
    assert d.tolist() == [1.0, 1.0]


def test_vicreg_is_its_three_terms():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 9, 4)) * 0.5
    same = np.mean((x - y) ** 2)
    wide = np.mean([max(0, 1 - np.sqrt(x[:, j].var(ddof=1) + 1e-4)) for j in range(4)])
    cov = np.cov(x.T)
    apart = sum(cov[a, b] ** 2 for a, b in every(range(4), repeat=2) if a != b) / 4
    found = losses.vicreg(torch.from_numpy(x), torch.from_numpy(y))
    assert np.isclose(float(found), (25 * same + 25 * wide + apart) / 25)


def test_the_divergence_of_normals_is_that_of_torch():
    rng = np.random.default_rng(2)
    m, a, k, b = (torch.from_numpy(rng.normal(size=(5, 3))) for _ in range(4))
    normal = torch.distributions.Normal
    peer = torch.distributions.kl_divergence(normal(m, (a / 2).exp()), normal(k, (b / 2).exp()))
    assert np.isclose(float(losses._mean_kl((m, a), (k, b))), float(peer.mean()))
