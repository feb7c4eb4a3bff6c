"""What every objective of the catalogue promises."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch

from conjoin import catalogue
from conjoin.losses import Param, Ramp, Sum
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.spaces import Batch
from conjoin.storage.files import map_arrays, write_arrays

NAMES = ("text", "image", "sound")
ROWS = catalogue.of_kind("loss")
ALL = pytest.mark.parametrize("objective", [row.make() for row in ROWS.values()], ids=list(ROWS))


def a_batch(lines: int = 9, dim: int = 4, *, full: bool = False, seed: int = 0) -> tuple:
    """Outputs and a batch: repeated ids, uneven weights and, unless full, absent rows."""
    rng = np.random.default_rng(seed)
    out = {name: torch.from_numpy(rng.normal(size=(lines, dim))) for name in NAMES}
    present = {
        name: torch.from_numpy(np.ones(lines, bool) if full else rng.random(lines) < 0.8)
        for name in NAMES
    }
    ids = {name: torch.arange(lines) for name in NAMES}
    ids["image"] = torch.arange(lines) // 2
    weights = torch.from_numpy(rng.uniform(0.5, 2, lines))
    return out, Batch(dict(out), ids, present, weights, progress=0.5)


def params_of(objective, dim: int = 4) -> dict:
    return {k: p.tensor(torch.float64) for k, p in objective.init(NAMES, dim).items()}


def value_and_gradients(objective, out: dict, batch: Batch) -> tuple:
    leaves = {name: x.clone().requires_grad_(True) for name, x in out.items()}
    value = objective(leaves, batch, params_of(objective))
    value.backward()
    return value.detach(), {name: leaves[name].grad for name in NAMES}


@ALL
def test_the_gradient_is_the_derivative(objective):
    out, batch = a_batch()
    params = params_of(objective)

    def value(*tensors):
        given, own = tensors[: len(NAMES)], tensors[len(NAMES) :]
        return objective(
            dict(zip(NAMES, given, strict=True)), batch, dict(zip(params, own, strict=True))
        )

    leaves = [x.clone().requires_grad_(True) for x in out.values()]
    # Along a direction drawn at random: a wrong entry shows as surely as in the whole Jacobian.
    assert torch.autograd.gradcheck(value, (*leaves, *params.values()), fast_mode=True)


@ALL
def test_lines_may_come_in_any_order(objective):
    out, batch = a_batch()
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(batch)))
    value, gradients = value_and_gradients(objective, out, batch)
    moved = {name: x[order] for name, x in out.items()}
    again, moved_gradients = value_and_gradients(objective, moved, batch.take(order))
    torch.testing.assert_close(again, value)
    for name in NAMES:
        torch.testing.assert_close(moved_gradients[name], gradients[name][order])


@ALL
def test_a_line_of_weight_zero_is_padding(objective):
    out, batch = a_batch(12)
    weights = batch.weights.clone()
    weights[9:] = 0
    padded = replace(batch, weights=weights)
    value, gradients = value_and_gradients(objective, out, padded)
    kept = torch.arange(9)
    short, _ = value_and_gradients(
        objective, {n: x[kept] for n, x in out.items()}, batch.take(kept)
    )
    torch.testing.assert_close(value, short)
    assert all(not gradients[name][9:].any() for name in NAMES)


@ALL
def test_the_contents_of_absent_rows_do_not_matter(objective):
    out, batch = a_batch()
    assert not all(batch.present[name].all() for name in NAMES)
    value, gradients = value_and_gradients(objective, out, batch)
    other = {n: torch.where(batch.present[n][:, None], x, 1e3 * x.flip(0)) for n, x in out.items()}
    again, _ = value_and_gradients(objective, other, batch)
    assert torch.equal(again, value)
    assert all(not gradients[name][~batch.present[name]].any() for name in NAMES)


@ALL
def test_an_output_it_does_not_know_changes_nothing(objective):
    out, batch = a_batch()
    value, _ = value_and_gradients(objective, out, batch)
    again, _ = value_and_gradients(objective, {**out, "curvature": torch.ones(1)}, batch)
    assert torch.equal(again, value)


@ALL
def test_a_batch_without_a_line_that_counts_gives_zero_with_a_gradient(objective):
    out, batch = a_batch()
    empty = replace(batch, weights=torch.zeros(len(batch)))
    value, gradients = value_and_gradients(objective, out, empty)
    assert value == 0
    assert all(not gradients[name].any() for name in NAMES)


@ALL
def test_the_same_batch_gives_the_same_value(objective):
    out, batch = a_batch()
    first, _ = value_and_gradients(objective, out, batch)
    second, _ = value_and_gradients(objective, out, batch)
    assert torch.equal(first, second)


@ALL
def test_blocks_do_not_change_the_value(objective):
    if not any(field.name == "block" for field in dataclasses.fields(objective)):
        pytest.skip("has no blocks")
    out, batch = a_batch(11)
    whole, gradients = value_and_gradients(replace(objective, block=100), out, batch)
    for block in (1, 3, 11):
        value, pieces = value_and_gradients(replace(objective, block=block), out, batch)
        torch.testing.assert_close(value, whole)
        for name in NAMES:
            torch.testing.assert_close(pieces[name], gradients[name])


@ALL
def test_two_shards_make_the_whole_where_it_says_so(objective):
    out, batch = a_batch(10, full=True)
    batch = replace(batch, weights=torch.tensor([1.0, 2, 3, 4, 5, 5, 4, 3, 2, 1]))
    whole, _ = value_and_gradients(objective, out, batch)
    shards = [
        value_and_gradients(objective, {n: x[part] for n, x in out.items()}, batch.take(part))[0]
        for part in (torch.arange(5), torch.arange(5, 10))
    ]
    assert torch.allclose(sum(shards) / 2, whole) == objective.decomposes


@ALL
def test_parameters_start_within_bounds_and_save_exactly(objective, tmp_path):
    params = objective.init(NAMES, 4)
    for value in params.values():
        assert np.all(np.asarray(value.value) >= value.low)
        assert np.all(np.asarray(value.value) <= value.high)
    held = {key: value.tensor().detach().numpy() for key, value in params.items()}
    write_arrays(tmp_path / "params", {k: np.atleast_1d(v) for k, v in held.items()}, {})
    loaded, _ = map_arrays(tmp_path / "params")
    assert {k: v.tobytes() for k, v in loaded.items()} == {k: v.tobytes() for k, v in held.items()}


@ALL
def test_objectives_add_and_scale(objective):
    out, batch = a_batch()
    alone, _ = value_and_gradients(objective, out, batch)
    both = InfoNCE(temperature=0.2) + 0.5 * objective + Ramp(3.0, 1.25) * objective
    value, _ = value_and_gradients(both, out, batch)
    other, _ = value_and_gradients(InfoNCE(temperature=0.2), out, batch)
    torch.testing.assert_close(value, other + (0.5 + 1.25) * alone)
    assert sorted(both.init(NAMES, 4)) == sorted(
        ["0.log_scale", *(f"{i}.{key}" for i in (1, 2) for key in objective.init(NAMES, 4))]
    )


@ALL
def test_brackets_do_not_matter(objective):
    left = (InfoNCE() + objective) + 2 * objective
    right = InfoNCE() + (objective + objective * 2.0)
    assert isinstance(left, Sum)
    assert left == right


def test_a_ramp_scales_but_two_do_not_multiply():
    assert (0.5 * (Ramp(2.0, 3.0, 1.0) * InfoNCE())).parts[0][0] == Ramp(1.0, 1.5, 0.5)
    with pytest.raises(TypeError, match="two ramps"):
        Ramp(1.0) * (Ramp(1.0) * InfoNCE())


def test_a_parameter_is_a_leaf_of_its_own():
    start = Param(np.zeros(3))
    leaf = start.tensor()
    with torch.no_grad():
        leaf += 1
    assert not np.any(start.value)
