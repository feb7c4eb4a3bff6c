"""What every sampler promises: each line once a pass, and the same seed the same batches."""

import numpy as np
import pytest

from conjoin import catalogue
from conjoin.maps.base import Normalise
from conjoin.spaces import Pairs
from conjoin.training.loop import PairBatches
from conjoin.training.samplers import Mining, Sampler

ROWS = catalogue.of_kind("sampler")
ALL = pytest.mark.parametrize("name", list(ROWS))
LINES, SIZE = 203, 32


def guide(seed=0):
    """Unit vectors in six clusters."""
    rng = np.random.default_rng(seed)
    centres = 4 * rng.standard_normal((6, 8))
    owner = rng.integers(6, size=LINES)
    rows = (centres[owner] + rng.standard_normal((LINES, 8))).astype(np.float32)
    return Normalise().apply(rows), owner


@ALL
def test_every_line_comes_once_a_pass_in_batches_of_about_the_size(name):
    sampler = ROWS[name].make()
    assert isinstance(sampler, Sampler)
    rows, owner = guide()
    state = sampler.prepare(rows, owner, SIZE, 0)
    for number in (1, 5, 50):
        parts = sampler.epoch(state, number, np.random.default_rng(number))
        assert sorted(np.concatenate(parts).tolist()) == list(range(LINES))
        assert len(parts) == round(LINES / SIZE)
        assert max(map(len, parts)) <= 1.5 * SIZE


@ALL
def test_the_same_seed_gives_the_same_batches_and_another_does_not(name):
    sampler = ROWS[name].make()
    rows, owner = guide()

    def drawn(seed):
        state = sampler.prepare(rows, owner, SIZE, 0)
        return [part.tolist() for part in sampler.epoch(state, 3, np.random.default_rng(seed))]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@ALL
def test_fewer_lines_than_a_batch_make_one(name):
    sampler = ROWS[name].make()
    rows, _ = guide()
    state = sampler.prepare(rows[:5], np.zeros(5), SIZE, 0)
    parts = sampler.epoch(state, 1, np.random.default_rng(0))
    assert [sorted(part.tolist()) for part in parts] == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("name", ["neighbour", "contextual", "within-group", "mixture"])
def test_batches_are_more_alike_than_random_ones(name):
    rows, owner = guide()

    def likeness(kind):
        sampler = ROWS[kind].make()
        parts = sampler.epoch(sampler.prepare(rows, owner, SIZE, 0), 50, np.random.default_rng(0))
        return np.mean([(rows[part] @ rows[part].T).mean() for part in parts])

    assert likeness(name) > likeness("random") + 0.05


def test_batches_of_a_training_are_those_of_its_sampler_and_bar_what_the_guide_finds():
    rows, _ = guide()
    rows[7], rows[11] = rows[3], rows[3]
    views = {"a": rows, "b": rows[::-1].copy()}
    pairs = Pairs.of(a=np.arange(LINES), b=np.arange(LINES))
    mining = Mining(ROWS["contextual"].make(), rows, "a", margin=0.001)
    batches = PairBatches(views, pairs, SIZE, mining=mining)
    seen = []
    for batch in batches.epoch(1, 0):
        lines = batch.ids["a"].numpy()
        seen += lines.tolist()
        wanted = rows[lines] @ rows[lines].T > 0.999
        np.fill_diagonal(wanted, False)
        np.testing.assert_array_equal(batch.barred.numpy(), wanted)
        if 3 in lines:
            assert {7, 11} <= set(lines.tolist())
            assert wanted[lines.tolist().index(3)].sum() == 2
    assert sorted(seen) == list(range(LINES))


def test_within_group_needs_groups():
    with pytest.raises(ValueError, match=r"group of its own.*name a group column"):
        ROWS["within-group"].make().prepare(*guide()[:1], np.arange(LINES), SIZE, 0)


def test_a_guide_that_is_no_view_is_named():
    rows, _ = guide()
    method = catalogue.find("aligner", "guided-head").make({"guide": "txet", "steps": 2})
    pairs = Pairs.of(image=np.arange(LINES), text=np.arange(LINES))
    with pytest.raises(ValueError, match="did you mean text"):
        method.fit({"image": rows, "text": rows}, pairs)


def test_a_loss_that_leaves_out_no_negatives_takes_no_guide():
    rows, _ = guide()
    pairs = Pairs.of(image=np.arange(LINES), text=np.arange(LINES))
    method = catalogue.find("aligner", "guided-head").make({"loss": "one-to-k", "steps": 2})
    with pytest.raises(ValueError, match="leaves out no negatives; use infonce"):
        method.fit({"image": rows, "text": rows}, pairs)
