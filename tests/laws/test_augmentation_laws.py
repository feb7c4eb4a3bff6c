"""What every augmentation of the catalogue promises."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from conjoin import catalogue
from conjoin.spaces import Batch
from conjoin.training.augmentations import Augmentation

NAMES = ("text", "image", "sound")
ROWS = catalogue.of_kind("augmentation")
ALL = pytest.mark.parametrize("name", list(ROWS))

#: The fields that say how strong it is: at 0 it does nothing.
STRENGTHS = {"alpha", "std", "strength", "shift"}


def a_batch(lines: int = 40, *, labels=None, seed: int = 0) -> Batch:
    """Three views, two of them of one width, with absent rows and lines of weight 0."""
    rng = np.random.default_rng(seed)
    widths = dict(zip(NAMES, (5, 5, 3), strict=True))
    rows = {n: torch.from_numpy(rng.normal(size=(lines, d))).float() for n, d in widths.items()}
    present = {n: torch.from_numpy(rng.random(lines) < 0.8) for n in NAMES}
    numbers = torch.arange(lines)
    ids = {n: torch.where(present[n], numbers // (1 + (n == "image")), -1) for n in NAMES}
    weights = torch.from_numpy(rng.uniform(0.5, 2, lines)).float()
    weights[::9] = 0
    return Batch(rows, ids, present, weights, labels=labels, seed=(seed, 1))


def made(name: str, **changes) -> Augmentation:
    method = ROWS[name].make()
    return replace(method, **changes)


@ALL
def test_shapes_kinds_and_presence_stay(name):
    batch = a_batch()
    after = made(name)(batch)
    assert isinstance(made(name), Augmentation)
    assert list(after.rows) == list(batch.rows)
    for view, rows in batch.rows.items():
        assert after.rows[view].shape == rows.shape
        assert after.rows[view].dtype == rows.dtype
        assert after.ids[view].shape == batch.ids[view].shape
        assert after.ids[view].dtype == batch.ids[view].dtype
        assert torch.equal(after.ids[view] < 0, batch.ids[view] < 0)
    assert after.present is batch.present
    assert torch.equal(after.weights > 0, batch.weights > 0)
    assert (after.seed, after.progress) == (batch.seed, batch.progress)


@ALL
def test_something_happens_and_the_batch_given_is_left_alone(name):
    batch = a_batch()
    before = {view: rows.clone() for view, rows in batch.rows.items()}
    after = made(name)(batch)
    for view, rows in before.items():
        assert torch.equal(batch.rows[view], rows)
        if name != "covariance-noise" or rows.shape[1] == 5:
            assert not torch.equal(after.rows[view], rows)


@ALL
def test_at_strength_zero_nothing_happens(name):
    method = made(name)
    own = {f.name for f in fields(method)} & STRENGTHS
    assert own
    batch = a_batch()
    after = replace(method, **dict.fromkeys(own, 0.0))(batch)
    for view in NAMES:
        assert torch.equal(after.rows[view], batch.rows[view])
        assert torch.equal(after.ids[view], batch.ids[view])


@ALL
def test_strength_is_continuous_at_zero(name):
    method = made(name)
    own = {f.name for f in fields(method)} & STRENGTHS - {"alpha"}
    if not own:
        pytest.skip("mixes")
    batch = a_batch()
    after = replace(method, **dict.fromkeys(own, 1e-4))(batch)
    for view in NAMES:
        torch.testing.assert_close(after.rows[view], batch.rows[view], atol=5e-3, rtol=0)


@ALL
def test_a_step_draws_the_same_and_the_next_does_not(name):
    batch = a_batch()
    first, second = made(name)(batch), made(name)(batch)
    later = made(name)(replace(batch, seed=(0, 2)))
    assert all(torch.equal(first.rows[n], second.rows[n]) for n in NAMES)
    assert not torch.equal(first.rows["text"], later.rows["text"])


@ALL
def test_the_contents_of_absent_rows_do_not_matter(name):
    batch = a_batch()
    live = {n: batch.present[n] & (batch.weights > 0) for n in NAMES}
    other = batch.with_rows({
        n: torch.where(live[n][:, None], x, 1e3 * x.flip(0)) for n, x in batch.rows.items()
    })  # fmt: skip
    after, again = made(name)(batch), made(name)(other)
    for n in NAMES:
        assert torch.equal(after.rows[n][live[n]], again.rows[n][live[n]])


@ALL
def test_adding_it_beside_another_leaves_the_others_draws(name):
    batch = a_batch()
    batch.draw("something else").normal(size=100)
    assert torch.equal(made(name)(batch).rows["text"], made(name)(a_batch()).rows["text"])


@ALL
def test_batches_of_one_line_and_of_none_pass(name):
    for lines in (0, 1):
        after = made(name)(a_batch(lines))
        assert all(torch.isfinite(after.rows[n]).all() for n in NAMES)
        assert len(after) == lines


@ALL
def test_labels_are_kept_or_become_shares(name):
    labels = torch.arange(40) % 4
    after = made(name)(a_batch(labels=labels))
    if after.labels is labels:
        return
    assert after.labels.shape == (40, 4)
    torch.testing.assert_close(after.labels.sum(1), torch.ones(40))
