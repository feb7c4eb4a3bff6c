"""Trained heads, the map they make, and the loop that trains them."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from conjoin import catalogue
from conjoin.alignment.closed_form.linear import CCA
from conjoin.alignment.trained.contrastive_heads import ContrastiveHeads
from conjoin.errors import ConjoinError
from conjoin.losses import Param
from conjoin.losses.regularizers.hypersphere import Alignment
from conjoin.maps.base import load_map, save_map
from conjoin.maps.mlp import ResidualMLP, hidden_part
from conjoin.spaces import Pairs
from conjoin.training.loop import PairBatches, Schedule, train
from conjoin.training.networks import Heads, same_rows

QUICK = ContrastiveHeads(lam=0.1, hidden=32, steps=30, batch=128, noise=0.1, dropout=0.0, lr=1e-2)


def curved(n: int = 400, seed: int = 0) -> dict[str, np.ndarray]:
    """Two views of hidden coordinates, one of which is bent so that no matrix undoes it."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 4))
    bend = np.concatenate([np.sin(2 * z), np.cos(2 * z)], axis=1) @ rng.normal(size=(8, 16))
    return {"a": (z @ rng.normal(size=(4, 10))).astype(np.float32), "b": bend.astype(np.float32)}


def lines(n: int, names: str = "ab") -> Pairs:
    return Pairs.of(**{name: np.arange(n) for name in names})


def recall(maps: dict, views: dict, rows: slice, k: int = 5) -> float:
    u, v = (maps[name].apply(views[name][rows]) for name in "ab")
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v))
    scores = u @ v.T
    return float(((scores > np.diag(scores)[:, None]).sum(1) < k).mean())


def a_map(unit: bool = True) -> ResidualMLP:
    rng = np.random.default_rng(3)
    shapes = ((5, 4), (4,), (5, 7), (7,), (7, 4))
    return ResidualMLP(*(rng.normal(size=s).astype(np.float32) for s in shapes), unit=unit)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("unit", [False, True])
def test_the_map_is_the_same_in_numpy_and_torch(kind, unit):
    made = a_map(unit)
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(kind)
    held = {k: torch.from_numpy(v.astype(kind)) for k, v in made.state()[1].items()}
    given = torch.from_numpy(x)
    expected = given @ held["weight"] + held["bias"] + hidden_part(given, held)
    if unit:
        expected = torch.nn.functional.normalize(expected, dim=1)
    tolerance = 1e-12 if kind is np.float64 else 2e-6
    out = made.apply(x)
    assert out.dtype == kind
    np.testing.assert_allclose(out, expected.numpy(), rtol=tolerance * 10, atol=tolerance)


def test_the_map_follows_its_formula_on_any_leading_shape():
    made = a_map(unit=False)
    x = np.random.default_rng(1).normal(size=(2, 3, 5))
    for at in np.ndindex(2, 3):
        row = x[at]
        z = (row - row.mean()) / np.sqrt(row.var() + 1e-5)
        hidden = np.maximum(z @ made.inner + made.inner_bias, 0)
        expected = row @ made.weight + made.bias + hidden @ made.outer
        np.testing.assert_allclose(made.apply(x)[at], expected, rtol=1e-10)
    np.testing.assert_allclose(made.apply(x[0, 0]), made.apply(x)[0, 0], rtol=1e-12)


def test_the_map_saves_exactly_and_refuses_other_widths(tmp_path):
    made = a_map()
    save_map(made, tmp_path / "map")
    x = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    assert load_map(tmp_path / "map").apply(x).tobytes() == made.apply(x).tobytes()
    with pytest.raises(ConjoinError, match="give vectors of 5"):
        made.apply(x[:, :4])


def test_heads_learn_what_no_matrix_can():
    views = curved(600)
    train_rows, test_rows = slice(0, 400), slice(400, 600)
    seen = {name: x[train_rows] for name, x in views.items()}
    closed = CCA(lam=0.1).fit(seen, lines(400))
    heads = replace(QUICK, steps=100).fit(seen, lines(400), seed=0)
    assert recall(heads, views, test_rows) > recall(closed, views, test_rows) + 0.1


def test_where_training_does_not_help_the_closed_form_comes_back():
    rng = np.random.default_rng(0)
    views = {name: rng.normal(size=(80, 6)).astype(np.float32) for name in "ab"}
    views["b"][:, :3] = views["a"][:, :3]
    for method, n in ((replace(QUICK, lr=0.1, noise=8.0), 80), (QUICK, 15)):
        seen = {name: x[:n] for name, x in views.items()}
        fitted, closed = method.fit(seen, lines(n)), CCA(lam=0.1).fit(seen, lines(n))
        for name in "ab":
            assert (
                fitted[name].apply(seen[name]).tobytes() == closed[name].apply(seen[name]).tobytes()
            )


def test_the_same_seed_gives_the_same_bytes_and_leaves_torch_alone():
    views = curved(150)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    first, second = (QUICK.fit(views, lines(150), seed=4) for _ in range(2))
    other = QUICK.fit(views, lines(150), seed=5)
    for name in "ab":
        mapped = first[name].apply(views[name])
        assert mapped.tobytes() == second[name].apply(views[name]).tobytes()
        assert mapped.tobytes() != other[name].apply(views[name]).tobytes()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_view_is_added_to_frozen_ones_with_partial_pairs():
    views = curved(200)
    rng = np.random.default_rng(1)
    views["c"] = (views["a"] @ rng.normal(size=(10, 7))).astype(np.float32)
    base = QUICK.fit({n: views[n] for n in "ab"}, lines(200))
    rows = np.stack([np.arange(200), np.full(200, -1), np.arange(200)], axis=1)
    rows[150:, 0], rows[150:, 1] = -1, np.arange(150, 200)
    grown = QUICK.fit(views, Pairs(("a", "b", "c"), rows), frozen=base)
    assert grown["a"] is base["a"]
    assert grown["b"] is base["b"]
    placed = grown["c"].apply(views["c"])
    assert placed.shape == base["a"].apply(views["a"]).shape
    assert recall({"a": base["a"], "b": grown["c"]}, {**views, "b": views["c"]}, slice(0, 60)) > 0.5


def test_a_fitted_head_saves_and_loads(tmp_path):
    views = curved(200)
    fitted = replace(QUICK, steps=100).fit(views, lines(200))
    assert fitted["b"].name == "residual-mlp"
    save_map(fitted["b"], tmp_path / "b")
    again = load_map(tmp_path / "b").apply(views["b"])
    assert again.tobytes() == fitted["b"].apply(views["b"]).tobytes()


def test_the_trained_forward_is_the_map():
    views = curved(40)
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(16, 10)).astype(np.float32)
    heads = Heads(("a", "b"), {"b": (weight, np.ones(10, np.float32))}, hidden=8)
    arrays = {
        key: rng.normal(size=np.shape(p.value)).astype(np.float32)
        for key, p in heads.init(0).items()
    }
    batch = PairBatches(views, lines(40), 40).batch(np.arange(40))
    out = heads.forward(batch, {k: torch.from_numpy(v) for k, v in arrays.items()})
    expected = torch.nn.functional.normalize(out["b"], dim=1).numpy()
    np.testing.assert_allclose(heads.maps(arrays)["b"].apply(views["b"]), expected, atol=5e-6)
    assert out["a"] is batch.rows["a"]
    start = {k: p.tensor() for k, p in heads.init(0).items()}
    torch.testing.assert_close(
        heads.forward(batch, start)["b"], batch.rows["b"] @ torch.from_numpy(weight) + 1
    )


def test_batches_hold_every_line_once_and_partial_rows_are_absent():
    rows = np.array([[0, 0], [1, -1], [2, 1], [-1, 2], [3, 2]])
    views = {"a": np.arange(8.0).reshape(4, 2), "b": np.arange(6.0).reshape(3, 2)}
    batches = PairBatches(views, Pairs(("a", "b"), rows), 2)
    assert len(batches) == 2
    seen = []
    for batch in batches.epoch(1, seed=0):
        here = batch.present["a"] & batch.present["b"]
        torch.testing.assert_close(batch.rows["a"][here][:, 0], 2.0 * batch.ids["a"][here])
        seen += list(zip(batch.ids["a"].tolist(), batch.ids["b"].tolist(), strict=True))
    assert sorted(seen) == sorted(map(tuple, rows.tolist()))
    again = [b.ids["a"].tolist() for b in batches.epoch(1, seed=0)]
    assert again == [b.ids["a"].tolist() for b in batches.epoch(1, seed=0)]
    assert same_rows(np.array([[1.0, 2], [0, 0], [1, 2]])).tolist() == [0, 1, 0]


@dataclass(frozen=True)
class Shift:
    """A trainable of one bounded vector: moves a onto b."""

    names = ("a", "b")
    dim = 2
    high: float = 10.0

    def init(self, seed: int) -> dict[str, Param]:
        return {"by": Param(np.zeros(2), high=self.high)}

    def forward(self, batch, params):
        return {"a": batch.rows["a"] + params["by"], "b": batch.rows["b"]}


def shifted() -> PairBatches:
    a = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    return PairBatches({"a": a, "b": a + np.float32([3, 1])}, lines(30), 10)


@pytest.mark.parametrize("high", [10.0, 0.5])
def test_the_loop_minimises_within_bounds(high):
    found = train(Shift(high), shifted(), Alignment(), seed=0, schedule=Schedule(epochs=25, lr=0.5))
    by = found.params["by"]
    assert by.max() <= high
    assert found.history[-1][1] < found.history[0][1]
    assert by[0] == np.float32(0.5) if high == 0.5 else by[0] > 1


def test_the_best_state_by_validation_comes_back():
    target = np.array([1.0, 0.3])
    told = []
    found = train(
        Shift(), shifted(), Alignment(), seed=0,
        schedule=Schedule(epochs=100, lr=0.1, patience=5),
        validate=lambda arrays: -float(np.abs(arrays["by"] - target).sum()),
        progress=lambda *entry: told.append(entry),
    )  # fmt: skip
    scores = [score for _, _, score in found.history]
    assert found.score == max(scores)
    assert found.epoch == 1 + int(np.argmax(scores))
    assert len(scores) == found.epoch + 5
    assert tuple(told) == found.history


def test_the_start_is_kept_when_every_step_is_worse():
    found = train(
        Shift(), shifted(), Alignment(), seed=0, schedule=Schedule(epochs=20, patience=3),
        validate=lambda arrays: -float(np.abs(arrays["by"]).sum()),
    )  # fmt: skip
    assert found.epoch == 0
    assert not found.params["by"].any()


def test_a_loss_that_is_no_number_is_refused():
    batches = shifted()
    batches.views["b"][3] = np.nan
    with pytest.raises(ConjoinError, match="the loss is nan"):
        train(Shift(), batches, Alignment(), seed=0, schedule=Schedule(epochs=2))


def test_the_catalogue_makes_heads():
    made = catalogue.find("aligner", "heads").make({"hidden": 64})
    assert made == ContrastiveHeads(hidden=64)
    with pytest.raises(ConjoinError, match="out of range"):
        catalogue.find("aligner", "heads").make({"dropout": 2.0})
