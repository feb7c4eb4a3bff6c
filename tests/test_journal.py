"""Items put beside a table or taken out of it, and vectors rewritten without what is gone."""

import json

import numpy as np
import pyarrow as pa
import pytest

from conjoin.errors import ConjoinError, StateError
from conjoin.items.journal import Journal, Overlay, overlaid
from conjoin.items.reading.sources import Held
from conjoin.spaces import Frame, Tokens
from conjoin.spaces.store import Key, SpaceStore
from conjoin.storage.files import alone

TABLE = Held(pa.table({"id": [1, 2, 3], "name": ["a", "b", "c"], "size": [1.5, None, 3.0]}))
IDS = np.array(["1", "2", "3"])


def rows(source, ids):
    names = source.names
    return {
        item: dict(zip(names, values, strict=True))
        for item, values in zip(
            ids.tolist(), zip(*(source.values(n) for n in names), strict=True), strict=True
        )
    }


def test_changes_are_replayed_in_order(tmp_path):
    journal = Journal(tmp_path / "items")
    assert not journal.read()
    journal.append({"9": {"name": "z"}, "2": {"name": "B"}})
    journal.append(deleted=["9", "3"])
    journal.append({"3": {"name": "again"}})
    assert journal.read() == Overlay({"2": {"name": "B"}, "3": {"name": "again"}}, frozenset("9"))
    journal.undo()
    assert journal.read().deleted == {"9", "3"}


def test_put_rows_stand_in_place_of_the_tables_and_deleted_ones_do_not_count():
    source, ids = overlaid(TABLE, IDS, Overlay({"2": {"name": "B"}, "7": {}}, frozenset("1")), "id")
    found = rows(source, ids)
    assert list(found) == ["3", "2", "7"]
    assert found["2"] == {"id": 2, "name": "B", "size": None}
    assert found["7"] == {"id": 7, "name": None, "size": None}
    assert source.type("id") == pa.int64()
    assert source.at("name", 1) == "B"
    assert source.read(["name"]).column("name").to_pylist() == ["c", "B", None]


def test_what_does_not_fit_a_column_is_refused_by_name():
    with pytest.raises(ConjoinError, match="column size"):
        overlaid(TABLE, IDS, Overlay({"7": {"size": "large"}}), "id")
    with pytest.raises(ConjoinError, match="every item was deleted"):
        overlaid(TABLE, IDS, Overlay({}, frozenset("123")), "id")


def test_a_torn_change_is_named(tmp_path):
    journal = Journal(tmp_path)
    journal.append({"1": {}})
    (tmp_path / "00000002.json").write_text(json.dumps({"put": [], "deleted": []}))
    with pytest.raises(StateError, match=r"00000002.json.*no change"):
        journal.read()


def test_compact_keeps_what_counts_and_forgets_the_rest(tmp_path):
    journal = Journal(tmp_path / "items")
    kept, gone = journal.keep(b"one", "png"), journal.keep(b"two", "png")
    assert journal.keep(b"one", "png") == kept
    journal.append({"8": {"picture": kept}, "9": {"picture": gone}})
    journal.append(deleted=["9", "3"])
    before = journal.read()
    journal.compact(["1", "2", "3"])
    assert journal.read() == Overlay(before.put, frozenset("3"))
    assert [path.read_bytes() for path in journal.media.iterdir()] == [b"one"]
    for kind, held in (
        (pa.binary(), b"one"),
        (pa.string(), str(next(journal.media.iterdir()))),
        (pa.struct({"bytes": pa.binary(), "path": pa.string()}), {"bytes": b"one", "path": None}),
    ):
        table = Held(pa.table({"picture": pa.array([None], kind)}))
        source, _ = overlaid(table, IDS[:1], journal.read(), None, journal.media)
        assert source.at("picture", 1) == held
    assert len(list(journal.folder.glob("*.json"))) == 1
    assert b'"9"' not in next(journal.folder.glob("*.json")).read_bytes()


def test_one_writer_at_a_time(tmp_path):
    with (
        alone(tmp_path / "lock", "is writing"),
        pytest.raises(ConjoinError, match="is writing"),
        alone(tmp_path / "lock", "is writing"),
    ):
        pass
    with alone(tmp_path / "lock", "is writing"):
        pass


FRAME = Frame("f", 3)


def filled(folder, *steps, tokens=False):
    store = SpaceStore(folder, FRAME)
    for keys in steps:
        plan = store.begin([Key(*key) for key in keys], 2, ("made",))
        for number, shard in enumerate(plan.shards()):
            made = np.array([[key.content, 0, 1] for key in shard], np.float32)
            held = Tokens(made, np.arange(len(made) + 1)) if tokens else made
            store.write(number, shard, held, {})
        store.commit(plan)
    return store


@pytest.mark.parametrize("tokens", [False, True])
def test_a_rewritten_store_holds_the_rows_that_stand_and_no_others(tmp_path, tokens):
    store = filled(
        tmp_path, [("a", 0, 1), ("b", 0, 2), ("c", 0, 3)], [("b", 0, 5), ("d", 0, 4)],
        tokens=tokens,
    )  # fmt: skip
    store.drop([Key("a", 0, 1)])
    before, vectors = store.live(), store.open().vectors
    held = np.asarray(vectors.vectors if tokens else vectors[:])
    assert len(store.rows()) == 5
    assert store.wasted() == 3
    assert store.rewrite() == 2
    assert store.wasted() == 0
    again = SpaceStore(tmp_path, FRAME)
    assert again.live() == before == again.rows()
    now = again.open().vectors
    np.testing.assert_array_equal(np.asarray(now.vectors if tokens else now[:]), held)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert again.rewrite() == 0
    again.drop(again.live())
    assert again.rewrite() == 3
    assert again.open() is None
    assert not list(tmp_path.glob("*.safetensors"))
