"""Rows by item and part, and strings on disk, against plain loops."""

import numpy as np
import pytest

from conjoin.spaces.frame import Frame
from conjoin.spaces.rownumbers import item_numbers, places, row_numbers
from conjoin.spaces.store import Key, SpaceStore
from conjoin.storage.files import pack_strings, unpack_strings

FRAME = Frame.mint("given", "two", 2, {"name": "two"})


def test_numbers_are_equal_where_items_and_parts_are():
    rng = np.random.default_rng(0)
    words = np.array(["", "a", "ä", "€", "b" * 70, "𝄞x"])
    one, two = rng.choice(words, 40), rng.choice(words[1:], 30)
    parts = rng.integers(0, 2**31, 3)
    left, right = rng.choice(parts, 40), rng.choice(parts, 30)
    a, b = (
        row_numbers(items, part)
        for items, part in zip(item_numbers(one, two), (left, right), strict=True)
    )
    pairs = list(zip(one.tolist(), left.tolist(), strict=True))
    others = list(zip(two.tolist(), right.tolist(), strict=True))
    assert [[x == y for y in b] for x in a] == [[x == y for y in others] for x in pairs]


def test_places_are_those_of_a_dictionary():
    rng = np.random.default_rng(1)
    held, wanted = rng.permutation(60)[:25], rng.integers(-5, 70, 50)
    where = {int(number): place for place, number in enumerate(held)}
    assert places(wanted, held).tolist() == [where.get(int(number), -1) for number in wanted]
    assert places(wanted, held[:0]).tolist() == [-1] * 50
    assert places(wanted[:0], held).tolist() == []


@pytest.mark.parametrize("values", [[], ["", ""], ["a", "", "äö", "€" * 9, "𝄞x", "日本"]])
def test_strings_come_back(values):
    found = unpack_strings(*pack_strings(values))
    assert found.tolist() == values
    assert found.dtype == np.array(values, dtype=str).dtype


def test_ends_that_do_not_rise_to_the_length_are_refused():
    flat, ends = pack_strings(["one", "two"])
    for bad in (ends[::-1], ends - 1):
        with pytest.raises(ValueError, match="ends"):
            unpack_strings(flat, bad)


def test_rows_that_stand_are_those_of_a_slow_replay(tmp_path):
    """The newest row of an item and part stands, unless just that row was dropped."""
    rng = np.random.default_rng(2)
    store, slow, dropped, order = SpaceStore(tmp_path, FRAME), {}, set(), []
    for turn in range(6):
        cells = {(f"i{rng.integers(0, 9)}", int(rng.integers(0, 2))) for _ in range(8)}
        keys = tuple(Key(*cell, int(rng.integers(1, 4))) for cell in sorted(cells))
        plan = store.begin(keys, 4, [f"turn {turn}"])
        for number, shard in enumerate(plan.shards()):
            store.write(number, shard, np.ones((len(shard), 2), np.float32), {})
        store.commit(plan)
        dropped -= set(keys)
        order += keys
        gone = [key for key in keys if rng.random() < 0.3] + [Key("i0", 0, 99)]
        store.drop(gone)
        dropped |= set(gone)
        slow = {key[:2]: row for row, key in enumerate(order) if key not in dropped}
        assert SpaceStore(tmp_path, FRAME).live() == [order[row] for row in sorted(slow.values())]
    some = {"i1", "i4", "none"}
    assert store.live(some) == [key for key in store.live() if key.id in some]
    assert store.same(SpaceStore(tmp_path, FRAME))
    seen = SpaceStore(tmp_path, FRAME)
    store.drop([store.live()[0]])
    assert not store.same(seen)
