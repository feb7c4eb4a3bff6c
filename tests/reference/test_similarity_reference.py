"""InfoNCE by other similarities: token by token as in FILIP, by hyperbolic distance as in MERU."""

import math

import numpy as np
import pytest
import torch

from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.losses.hyperbolic import lorentz
from conjoin.losses.hyperbolic.meru import MERU, Entailment
from conjoin.spaces import Batch

N = 7


def a_batch(masks=None, **changes) -> Batch:
    every = {n: torch.ones(N, dtype=torch.bool) for n in "uv"}
    rows = {n: torch.zeros(N, 1) for n in "uv"}
    numbers = {n: torch.arange(N) for n in "uv"}
    given = {"weights": torch.ones(N), "masks": masks or {}, **changes}
    return Batch(rows, given.pop("ids", numbers), given.pop("present", every), **given)


def rows_of(shape: tuple, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def token_sets(seed: int = 0) -> tuple[dict, dict]:
    """Padded tokens of two views, with padding that would win if it counted."""
    rng = np.random.default_rng(seed)
    out, masks = {}, {}
    for name, tokens in (("u", 5), ("v", 4)):
        rows = rng.normal(size=(N, tokens, 3))
        mask = np.arange(tokens) < rng.integers(1, tokens + 1, size=N)[:, None]
        rows[~mask] = 100.0
        out[name], masks[name] = torch.from_numpy(rows), torch.from_numpy(mask)
    return out, masks


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).sum())


def best_matches(ask: np.ndarray, answer: np.ndarray) -> float:
    """For each token of the asker the best cosine among the answer's, averaged."""
    return float(np.mean([max(float(unit(a) @ unit(b)) for b in answer) for a in ask]))


def entropies(score, temperature: float, weights=None, skip=lambda i, j: False) -> float:
    """Two-way cross-entropy; ``score(ask, i, j)`` of side ``ask`` line i against line j."""
    weights = np.ones(N) if weights is None else weights
    total = 0.0
    for ask in (0, 1):
        for i in range(N):
            against = [score(ask, i, j) / temperature for j in range(N) if not skip(i, j)]
            top = max(against)
            log_sum = top + math.log(sum(math.exp(s - top) for s in against))
            total += weights[i] * (log_sum - score(ask, i, i) / temperature) / 2
    return total / float(sum(weights))


@pytest.mark.parametrize("temperature", [0.5, 0.07, 0.01, 0.001])
@pytest.mark.parametrize("block", [1, 40, 512])
def test_tokens_match_one_by_one_in_both_directions(temperature, block):
    out, masks = token_sets()
    sets = [[out[n][i].numpy()[masks[n][i].numpy()] for i in range(N)] for n in "uv"]
    expected = entropies(
        lambda ask, i, j: best_matches(sets[ask][i], sets[1 - ask][j]), temperature
    )
    loss = InfoNCE(temperature, False, similarity="maxsim", block=block)
    assert float(loss(out, a_batch(masks), {})) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.07, 0.01, 0.001])
def test_gradients_by_tokens_are_exact_and_padding_has_none(temperature):
    out, masks = token_sets(3)
    loss = InfoNCE(temperature, False, similarity="maxsim", block=60)
    batch = a_batch(masks).take(torch.arange(4))
    masks = batch.masks
    leaves = [out[n][:4].clone().requires_grad_(True) for n in "uv"]
    assert torch.autograd.gradcheck(lambda u, v: loss({"u": u, "v": v}, batch, {}), leaves)
    loss(dict(zip("uv", leaves, strict=True)), batch, {}).backward()
    for name, leaf in zip("uv", leaves, strict=True):
        assert not leaf.grad[~masks[name]].any()


def test_vectors_are_sets_of_one_token():
    u, v = rows_of((N, 4), 0), rows_of((N, 4), 1)
    tokens = InfoNCE(0.1, False, similarity="maxsim")({"u": u, "v": v}, a_batch(), {})
    plain = InfoNCE(0.1, False)({"u": u, "v": v}, a_batch(), {})
    torch.testing.assert_close(tokens, plain)


def test_a_line_without_a_token_does_not_count():
    out, masks = token_sets(5)
    masks["v"] = masks["v"].clone()
    masks["v"][2] = False
    loss = InfoNCE(0.1, False, similarity="maxsim")
    kept = torch.tensor([0, 1, 3, 4, 5, 6])
    short = loss({n: x[kept] for n, x in out.items()}, a_batch(masks).take(kept), {})
    torch.testing.assert_close(loss(out, a_batch(masks), {}), short)


def on_hyperboloid(x, c: float) -> np.ndarray:
    """Ambient coordinates: time, then space."""
    x = np.asarray(x, dtype=np.longdouble)
    return np.concatenate([[np.sqrt(1 / np.longdouble(c) + x @ x)], x])


def inner(x: np.ndarray, y: np.ndarray) -> np.longdouble:
    return x[1:] @ y[1:] - x[0] * y[0]


def distance(x, y, c: float) -> float:
    value = -c * inner(on_hyperboloid(x, c), on_hyperboloid(y, c))
    return float(np.arccosh(max(value, np.longdouble(1))) / np.sqrt(np.longdouble(c)))


@pytest.mark.parametrize("c", [0.1, 1.0, 10.0])
def test_the_lift_follows_a_geodesic_of_the_length_of_the_vector(c):
    v = rows_of((5, 3), 2)
    lifted = lorentz.lift(v, c)
    origin = torch.zeros(1, 3, dtype=torch.float64)
    found = lorentz.distances(lifted, origin, c)[:, 0]
    torch.testing.assert_close(found, v.norm(dim=1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(lorentz.lower(lifted, c), v)
    pairs = lorentz.distances(lifted, lorentz.lift(rows_of((4, 3), 3), c), c)
    other = lorentz.lift(rows_of((4, 3), 3), c)
    for i in range(5):
        for j in range(4):
            wanted = distance(lifted[i].numpy(), other[j].numpy(), c)
            assert float(pairs[i, j]) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.01, 0.001])
@pytest.mark.parametrize("block", [2, 512])
def test_the_nearer_point_is_the_likelier(temperature, block):
    c, out = 0.7, {"u": rows_of((N, 3), 0), "v": rows_of((N, 3), 1)}
    x, y = (out[n].numpy() for n in "uv")
    weights = np.random.default_rng(1).uniform(1, 2, N)
    ids = {"u": torch.tensor([0, 0, 1, 2, 3, 4, 5]), "v": torch.arange(N)}
    expected = entropies(
        lambda ask, i, j: -distance(*((x[i], y[j]) if ask == 0 else (y[i], x[j])), c),
        temperature, weights, lambda i, j: {i, j} == {0, 1},
    )  # fmt: skip
    batch = a_batch(ids=ids, weights=torch.from_numpy(weights))
    loss = InfoNCE(temperature, False, similarity="lorentz", block=block)
    value = loss({**out, "curvature": torch.tensor([c], dtype=torch.float64)}, batch, {})
    assert float(value) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("temperature", [0.07, 0.01, 0.001])
def test_gradients_by_points_and_curvature_are_exact(temperature):
    batch, loss = a_batch(), MERU(temperature, learn_temperature=False, block=3)
    leaves = [rows_of((N, 3), s).requires_grad_(True) for s in (0, 1)]
    c = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda u, v, c: loss({"u": u, "v": v, "curvature": c}, batch, {}), (*leaves, c)
    )


def test_equal_points_have_finite_slopes_in_single_precision():
    x = rows_of((N, 3), 0).float().requires_grad_(True)
    value = MERU()({"u": x, "v": x}, a_batch(), {"log_scale": torch.tensor(4.6)})
    value.backward()
    assert torch.isfinite(x.grad).all()


def exterior(x, y, c: float) -> float:
    """By the law of cosines of the triangle of the origin, x and y."""
    k = math.sqrt(c)
    far = [distance(p, np.zeros(len(p)), c) * k for p in (x, y)]
    side = distance(x, y, c) * k
    cosine = (math.cosh(far[0]) * math.cosh(side) - math.cosh(far[1])) / (
        math.sinh(far[0]) * math.sinh(side)
    )
    return math.pi - math.acos(min(1.0, max(-1.0, cosine)))


@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
def test_cones_open_by_the_law_of_cosines(c):
    x, y = rows_of((N, 3), 4), rows_of((N, 3), 5)
    angles = lorentz.exterior_angle(x, y, c)
    halves = lorentz.half_aperture(x, c, 0.1)
    total = 0.0
    for i in range(N):
        wanted = exterior(x[i].numpy(), y[i].numpy(), c)
        assert float(angles[i]) == pytest.approx(wanted, rel=1e-6)
        length = math.sqrt(float(x[i] @ x[i]))
        half = math.asin(min(1.0, 0.2 / (math.sqrt(c) * length)))
        assert float(halves[i]) == pytest.approx(half, rel=1e-6)
        total += max(0.0, wanted - half)
    out = {"u": x, "v": y, "curvature": torch.tensor(c, dtype=torch.float64)}
    assert float(Entailment()(out, a_batch(), {})) == pytest.approx(total / N, rel=1e-6)


def test_further_out_on_the_same_ray_is_inside_the_cone():
    x = rows_of((N, 3), 6)
    out = {"u": x, "v": 2 * x}
    assert float(Entailment()(out, a_batch(), {})) == 0
    assert float(Entailment(general="v")(out, a_batch(), {})) == pytest.approx(math.pi, abs=0.3)
    assert float(Entailment(general="w")(out, a_batch(), {})) == 0


def test_meru_is_contrast_and_a_fifth_of_the_cones():
    out = {"u": rows_of((N, 3), 0), "v": rows_of((N, 3), 1)}
    params = {"log_scale": torch.tensor(2.0, dtype=torch.float64)}
    batch = a_batch()
    parts = (
        InfoNCE(similarity="lorentz")(out, batch, params),
        Entailment(general="v")(out, batch, params),
    )
    value = MERU(general="v")(out, batch, params)
    torch.testing.assert_close(value, parts[0] + 0.2 * parts[1])


@pytest.mark.parametrize("held", [1, 200, 1000])
def test_token_scores_held_in_slices_do_not_change_the_loss(monkeypatch, held):
    from conjoin.losses.contrastive import infonce

    rng = np.random.default_rng(0)
    out = {name: torch.from_numpy(rng.normal(size=(7, 3, 4))) for name in ("a", "b")}
    masks = {name: torch.ones(7, 3, dtype=torch.bool) for name in out}
    ids = {name: torch.arange(7) for name in out}
    present = {name: torch.ones(7, dtype=torch.bool) for name in out}
    batch = Batch(dict(out), ids, present, torch.ones(7, dtype=torch.float64), masks=masks)
    objective = infonce.InfoNCE(similarity="maxsim", learn_temperature=False)

    def both():
        leaves = {name: x.clone().requires_grad_(True) for name, x in out.items()}
        value = objective(leaves, batch, {})
        value.backward()
        return value.detach(), leaves["a"].grad

    whole, gradient = both()
    monkeypatch.setattr(infonce, "HELD", held)
    sliced, again = both()
    torch.testing.assert_close(sliced, whole)
    torch.testing.assert_close(again, gradient)
