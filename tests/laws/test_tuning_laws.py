"""What every way of tuning promises, on a tiny transformer with random weights."""

import copy

import numpy as np
import pytest

import tiny_text
from conjoin import catalogue
from conjoin.errors import ConjoinError
from conjoin.models.tuning.base import Tuning
from conjoin.models.tuning.loop import LabelAim, Pace, mixed, tune
from conjoin.models.tuning.text_model import TextModel

ROWS = catalogue.of_kind("tuning")
ALL = pytest.mark.parametrize("name", ROWS)
TEXTS, LABELS = tiny_text.sentences(24)
OWNER = (LABELS == "dog").astype(int)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tiny_text.saved(tmp_path_factory.mktemp("tiny"))
    return TextModel.open(f"st:{folder}")


@pytest.fixture
def model(opened):
    return TextModel(copy.deepcopy(opened.pipeline), opened.base, opened.name)


def tuned(model, name, seed=0, steps=4):
    rng = np.random.default_rng(0)
    aim = LabelAim(rng.normal(size=(32, 2)), np.zeros(2), OWNER)
    method = ROWS[name].make()
    return method, tune(model, TEXTS, np.arange(24), aim, method, pace=Pace(steps, 12), seed=seed)


@ALL
def test_untuned_is_the_base_bit_for_bit(model, name):
    before = model.encode(TEXTS)
    method = ROWS[name].make()
    assert isinstance(method, Tuning)
    model.put(method.attach(model.transformer, seed=0))
    np.testing.assert_array_equal(model.encode(TEXTS), before)
    assert any(p.requires_grad for p in model.transformer.parameters())


@ALL
def test_folded_is_unfolded_and_a_plain_model(model, name):
    names = set(model.transformer.state_dict())
    before = model.encode(TEXTS)
    method, outcome = tuned(model, name)
    after = model.encode(TEXTS)
    assert np.abs(after - before).max() > 1e-5
    assert 0 < outcome.trained <= sum(p.numel() for p in model.transformer.parameters())
    model.put(method.fold(model.transformer))
    np.testing.assert_allclose(model.encode(TEXTS), after, atol=1e-5)
    assert set(model.transformer.state_dict()) == names


@ALL
def test_the_same_seed_gives_the_same_vectors(opened, name):
    found = []
    for _ in range(2):
        model = TextModel(copy.deepcopy(opened.pipeline), opened.base, opened.name)
        tuned(model, name, seed=3)
        found.append(model.encode(TEXTS).tobytes())
    assert found[0] == found[1]


def test_only_what_is_named_moves(model):
    before = model.tensors()
    method, _ = tuned(model, "bitfit")
    after = method.fold(model.transformer).state_dict()
    moved = {k for k, v in after.items() if not np.array_equal(v.numpy(), before[k].numpy())}
    assert moved
    assert all(name.endswith("bias") for name in moved)


def test_the_last_layer_alone_moves(model):
    before = model.tensors()
    tuned(model, "last-k")
    after = model.transformer.state_dict()
    moved = {k for k, v in after.items() if not np.array_equal(v.numpy(), before[k].numpy())}
    assert moved
    assert all(".layer.1." in name for name in moved)


def test_a_low_rank_change_is_what_is_folded(model):
    before = model.tensors()
    method, _ = tuned(model, "lora")
    held = {k: v.detach().numpy() for k, v in model.transformer.named_parameters()}
    after = method.fold(model.transformer).state_dict()
    name = "encoder.layer.0.attention.self.query.weight"
    a = next(v for k, v in held.items() if "layer.0.attention.self.query.lora_A" in k)
    b = next(v for k, v in held.items() if "layer.0.attention.self.query.lora_B" in k)
    want = before[name].numpy() + (16.0 / 8) * b @ a
    np.testing.assert_allclose(after[name].numpy(), want, atol=1e-6)


def test_mixing_ends_at_both_models(model):
    before = model.tensors()
    tuned(model, "full")
    after = model.tensors()
    for alpha, whole in ((0.0, before), (1.0, after)):
        made = mixed(before, after, alpha)
        assert all(np.array_equal(made[k].numpy(), whole[k].numpy()) for k in whole)
    name = next(k for k, v in before.items() if v.is_floating_point())
    half = (before[name] + after[name]).numpy() / 2
    np.testing.assert_allclose(mixed(before, after, 0.5)[name].numpy(), half, atol=1e-7)
    with pytest.raises(ConjoinError, match="is in one only"):
        mixed(before, {}, 0.5)


def test_module_names_that_match_nothing_get_near_ones(model):
    with pytest.raises(ConjoinError, match="'querry'; did you mean query"):
        ROWS["lora"].make({"targets": "querry"}).attach(model.transformer)
    with pytest.raises(ConjoinError, match="3 layers of 2; ask for fewer"):
        ROWS["last-k"].make({"layers": 3}).attach(model.transformer)


def test_validation_that_never_improves_leaves_the_start(model):
    before = model.encode(TEXTS)
    aim = LabelAim(np.zeros((32, 2)), np.zeros(2), OWNER)
    falling = iter(range(0, -100, -1))
    found = tune(
        model, TEXTS, np.arange(24), aim, ROWS["full"].make(), pace=Pace(4, 12),
        validate=lambda: next(falling),
    )  # fmt: skip
    assert found.best == 0
    np.testing.assert_array_equal(model.encode(TEXTS), before)


def test_a_budget_that_is_over_ends_it_at_the_best_so_far(model):
    aim = LabelAim(np.zeros((32, 2)), np.zeros(2), OWNER)
    found = tune(
        model, TEXTS, np.arange(24), aim, ROWS["bitfit"].make(), pace=Pace(1000, 12, budget=1e-9)
    )
    assert found.stopped
    assert found.steps == 0
