"""What every merge of tensors promises."""

import numpy as np
import pytest

from conjoin import catalogue
from conjoin.errors import ConjoinError
from conjoin.models.merging.run import merge_arrays

ROWS = catalogue.of_kind("tensor-merge")
ALL = pytest.mark.parametrize("name", ROWS)


def planted(count=3, seed=0, dtype=np.float32, size=0.1):
    """A base and experts: a wide matrix, a convolution, biases, and a table of whole numbers."""
    rng = np.random.default_rng(seed)
    shapes = {"w.weight": (30, 20), "w.bias": (30,), "c.weight": (6, 3, 3, 3), "lone": ()}
    base = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    experts = [
        {n: (v + size * rng.normal(size=v.shape)).astype(dtype) for n, v in base.items()}
        for _ in range(count)
    ]
    places = {"places": np.arange(4)}
    return base | places, [one | places for one in experts]


def counted(name, most=3):
    return min(most, ROWS[name].load().counts[1])


def full(name):
    """The method at full weight: nothing trimmed, nothing scaled."""
    known = {"scale": 1.0, "density": 1.0, "outliers": 0.0, "strictness": 0.0}
    return ROWS[name].make({k: v for k, v in known.items() if hasattr(ROWS[name].make(), k)})


def data_of(method, models):
    """What a method reads beside tensors: nothing, but for those that read activations."""
    return None


def apart(one, other):
    return max(float(np.abs(one[k].astype(float) - other[k]).max()) for k in one)


def same(one, other):
    return all(
        one[k].tobytes() == other[k].tobytes() and one[k].dtype == other[k].dtype for k in one
    )


@ALL
def test_experts_equal_to_the_base_give_the_base(name):
    base, _ = planted()
    found = merge_arrays(base, [base] * counted(name), ROWS[name].make())
    assert same(found, base) if ROWS[name].load().exact == "bits" else apart(found, base) < 1e-6


@ALL
def test_one_expert_at_full_weight_is_that_expert(name):
    if ROWS[name].load().counts[0] > 1:
        base, (expert,) = planted(1)
        assert apart(merge_arrays(base, [expert, expert], full(name)), expert) < 1e-6
        return
    # All singular values made equal are another matrix by design; negation goes the other way.
    if name in ("iso", "negation"):
        return
    base, (expert,) = planted(1)
    found = merge_arrays(base, [expert], full(name))
    assert same(found, expert) if ROWS[name].load().exact == "bits" else apart(found, expert) < 1e-6


@ALL
def test_blocks_do_not_matter(name):
    base, experts = planted(counted(name))
    whole = merge_arrays(base, experts, ROWS[name].make(), seed=3)
    assert same(merge_arrays(base, experts, ROWS[name].make(), seed=3, block=21), whole)


@ALL
def test_order_matters_only_where_declared(name):
    base, experts = planted(counted(name))
    method = ROWS[name].make()
    if getattr(method, "trim", "") in ("random", "rank-random"):
        return  # each expert has draws of its own
    moved = apart(merge_arrays(base, experts[::-1], method), merge_arrays(base, experts, method))
    if ROWS[name].load().symmetric:
        assert moved < 1e-6
    elif name == "slerp":
        assert moved < 1e-6, "the middle of two is the middle, whichever is named first"
        asked = ROWS[name].make({"t": 0.2})
        assert (
            apart(merge_arrays(base, experts[::-1], asked), merge_arrays(base, experts, asked)) > 0
        )


@ALL
def test_random_draws_follow_seed_and_name_not_place(name):
    base, experts = planted(counted(name))
    method = ROWS[name].make()
    found = merge_arrays(base, experts, method, seed=1)
    turned = merge_arrays(
        dict(reversed(base.items())), [dict(reversed(e.items())) for e in experts], method, seed=1
    )
    if getattr(method, "scope", "tensor") == "tensor":
        assert same(found, turned)
    other = merge_arrays(base, experts, method, seed=2)
    drawn = getattr(method, "trim", "") in ("random", "rank-random")
    assert same(found, other) != drawn


@ALL
def test_types_shapes_and_whole_numbers_stay(name):
    for dtype in (np.float64, np.float16):
        base, experts = planted(counted(name), dtype=dtype)
        found = merge_arrays(base, experts, ROWS[name].make())
        assert list(found) == list(base)
        assert all(
            found[k].dtype == base[k].dtype and found[k].shape == base[k].shape for k in base
        )
        assert (found["places"] == base["places"]).all()


@ALL
def test_numbers_that_are_not_finite_are_refused_by_name(name):
    base, experts = planted(counted(name))
    experts[-1]["w.weight"][3, 4] = np.nan
    with pytest.raises(ConjoinError, match=r"expert \d: w.weight has 1 numbers that are NaN"):
        merge_arrays(base, experts, ROWS[name].make())
