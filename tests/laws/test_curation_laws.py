"""What every way of evening out keeps."""

from collections import Counter

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.quality.curation import Curation

ROWS = of_kind("curation")
ENTRIES = [["a"]] * 400 + [["b"]] * 60 + [["c"]] * 5 + [["a", "c"]] * 3


@pytest.fixture(params=sorted(ROWS))
def row(request):
    return ROWS[request.param]


def test_it_is_a_curation(row):
    assert isinstance(row.make(), Curation)


def test_a_cap_above_every_count_keeps_all(row):
    assert row.make({"t": 1000}).keep(ENTRIES, 0).all()


def test_rare_entries_stay_whole_and_large_ones_are_capped(row):
    kept = row.make({"t": 20}).keep(ENTRIES, 0)
    assert kept[460:].all()
    left = Counter(e for each, k in zip(ENTRIES, kept, strict=True) if k for e in each)
    assert left["c"] == 8
    assert 8 <= left["b"] <= 36
    assert 8 <= left["a"] <= 40


def test_the_same_seed_keeps_the_same(row):
    made = row.make({"t": 20})
    np.testing.assert_array_equal(made.keep(ENTRIES, 3), made.keep(ENTRIES, 3))
    assert (made.keep(ENTRIES, 3) != made.keep(ENTRIES, 4)).any()


def test_items_without_entries_go(row):
    assert row.make({"t": 5}).keep([[], ["a"]], 0).tolist() == [False, True]
    assert row.make({"t": 5}).keep([], 0).shape == (0,)
