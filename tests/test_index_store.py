"""The index that grows: versions of all modalities together, filters, engines, corrections."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("lancedb")

from conjoin.errors import ConjoinError, FrameError, StateError
from conjoin.retrieval.hubness.csls import CSLS
from conjoin.retrieval.index import cache, tuning
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.index.store import IndexStore
from conjoin.spaces import Frame, Space, unit

FRAME = Frame.mint("given", "bound", 8, {"name": "bound"})


def space(n, seed=0, first=0, dim=8, frame=FRAME):
    rng = np.random.default_rng(seed)
    ids = np.array([f"i{row}" for row in range(first, first + n)])
    return Space(ids, unit(rng.standard_normal((n, dim)).astype(np.float32)), frame)


def about(held):
    year = [2000 + int(item[1:]) % 10 for item in held.ids]
    kind = [["cat", "big dog", None][int(item[1:]) % 3] for item in held.ids]
    return pa.table({"year": year, "kind": kind, "raw": [b"x"] * len(year)})


def stored(folder, n=40, corrected=True):
    spaces = {"text": space(n), "image": space(n, 1)}
    fixes = {}
    if corrected:
        fixes = {("text", "image"): CSLS(3).fit(spaces["image"].vectors, spaces["text"].vectors)}
    store = IndexStore(folder)
    store.build(Index.build(spaces, fixes), {name: about(s) for name, s in spaces.items()})
    return store, spaces


def rows(index):
    """Everything an index holds, as bytes and by key."""
    return {
        name: [(str(i), int(p), np.asarray(s.vectors[row]).tobytes())
               for row, (i, p) in enumerate(zip(s.ids, s.parts, strict=True))]
        for name, s in index.spaces.items()
    }  # fmt: skip


def answers(index, q):
    return [h.to_json() for h in index.search_many(q, "text", k=7)]


def test_a_store_answers_as_the_index_it_was_built_from(tmp_path):
    store, spaces = stored(tmp_path)
    fixes = {("text", "image"): CSLS(3).fit(spaces["image"].vectors, spaces["text"].vectors)}
    held = Index.build(spaces, fixes)
    for index in (store.open(), Index.open(tmp_path)):
        assert rows(index) == rows(held)
        assert answers(index, spaces["text"]) == answers(held, spaces["text"])
        assert set(index.columns) == {"year", "kind"}
        assert isinstance(index.spaces["text"].vectors, np.ndarray)
    assert (
        store.build(held, {n: about(s) for n, s in spaces.items()}).held == store.versions()[0].held
    )


def test_rows_added_replaced_and_deleted(tmp_path):
    store, spaces = stored(tmp_path)
    before = rows(store.open())
    new = space(12, 7, first=35)  # five are there already
    change = store.add({"text": new, "image": space(3, 8, first=100)}, {"text": about(new)})
    assert change.to_json() == {
        "added": {"text": 12, "image": 3},
        "removed": {"text": 5},
        "version": 2,
    }
    index = store.open()
    assert rows(index)["text"] == before["text"][:35] + rows(Index.build({"text": new}))["text"]
    assert len(index.spaces["image"]) == 43
    # corrections were extended: as fitted to all at once
    whole = CSLS(3).fit(np.asarray(index.spaces["image"].vectors[:]), spaces["text"].vectors)
    np.testing.assert_allclose(index.corrections["text", "image"].offset, whole.offset, atol=1e-6)
    assert index.about("text").column("year").to_pylist()[-1] == 2006
    assert index.about("image").column("year").null_count == 3
    change = store.delete(["i3", "i101"], where="year = 2001 and kind = cat")
    index = store.open()
    kept = [
        i
        for i in [f"i{n}" for n in range(40)] + ["i100", "i102"]
        if i != "i3"
        and (i in ("i100", "i102") or not (int(i[1:]) % 10 == 1 and int(i[1:]) % 3 == 0))
    ]
    assert index.spaces["image"].ids.tolist() == kept
    assert change.removed["image"] == 43 - len(kept)
    rest = CSLS(3).fit(np.asarray(index.spaces["image"].vectors[:]), spaces["text"].vectors)
    np.testing.assert_allclose(index.corrections["text", "image"].offset, rest.offset, atol=1e-6)
    assert len(store.versions()) == 3


def test_versions_come_back_byte_for_byte(tmp_path):
    store, spaces = stored(tmp_path)
    first, said = rows(store.open()), answers(store.open(), spaces["text"])
    store.add({"text": space(5, 3, first=50)})
    second = rows(store.open())
    store.delete(["i1"])
    assert rows(store.open(1)) == first
    assert answers(store.open(1), spaces["text"]) == said
    assert rows(store.open(2)) == second
    assert store.rollback(1).number == 4
    assert rows(store.open()) == first
    assert answers(store.open(), spaces["text"]) == said
    store.add({"image": space(2, 9, first=70)})  # and goes on from there
    assert rows(store.open())["text"] == first["text"]
    assert rows(store.open())["image"][:40] == first["image"]
    assert rows(store.open(2)) == second
    was = rows(store.open())
    store.compact()
    assert [v.why for v in store.versions()] == ["compact"]
    assert rows(store.open()) == was
    with pytest.raises(ConjoinError, match="1 is not kept; kept are 6 to 6"):
        store.open(1)
    store.add({"image": space(2, 11, first=90)})
    assert rows(store.open())["image"][:42] == was["image"]


def test_derived_rows_are_reused_and_may_be_lost(tmp_path, monkeypatch):
    store, _ = stored(tmp_path)
    store.open()
    monkeypatch.setattr(cache.Cache, "_derive", None)
    code = (
        "import sys; from pathlib import Path; from conjoin.retrieval.index.index import Index\n"
        f"Index.open(Path({str(tmp_path)!r})); assert 'lancedb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    monkeypatch.undo()
    want = rows(store.open())
    for path in (tmp_path / "derived").rglob("rows-*.safetensors"):
        path.write_bytes(path.read_bytes()[:-5])
    assert rows(store.open()) == want
    for number in range(20):
        store.add({"text": space(1, number, first=200 + number)})
    index = store.open()
    assert rows(index)["text"][:40] == want["text"]
    assert len(list((tmp_path / "derived").rglob("rows-*.safetensors"))) < 20


def test_other_frames_strangers_and_torn_manifests_are_refused(tmp_path):
    store, _ = stored(tmp_path)
    other = Frame.mint("given", "other", 8, {"name": "other"})
    with pytest.raises(FrameError, match="other"):
        store.add({"text": space(3, frame=other)})
    with pytest.raises(ConjoinError, match="did you mean image"):
        store.add({"imagge": space(3)})
    with pytest.raises(ConjoinError, match="'i999' is not indexed"):
        store.delete(["i999"])
    with pytest.raises(ConjoinError, match="nothing of text would be left"):
        store.delete(where="year >= 2000")
    with pytest.raises(ConjoinError, match="is new to the index"):
        store.add({"text": space(1, first=60)}, {"text": pa.table({"colour": ["red"]})})
    assert len(store.versions()) == 1
    path = tmp_path / "manifest.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StateError, match=r"not valid JSON.*conjoin clean"):
        store.open()
    path.write_text(json.dumps({"version": 1, "history": [{}]}))
    with pytest.raises(StateError, match="does not name its versions"):
        store.open()


def test_one_writer_at_a_time(tmp_path):
    store, _ = stored(tmp_path)
    with store._writing(), pytest.raises(ConjoinError, match="another process is writing"):
        store.add({"text": space(1, first=80)})
    store.add({"text": space(1, first=80)})


def test_a_snapshot_becomes_a_store(tmp_path):
    spaces = {"text": space(9)}
    Index.build(spaces).save(tmp_path)
    store = IndexStore(tmp_path)
    with pytest.raises(StateError, match="history"):
        store.versions()
    store.build(Index.build(spaces))
    assert rows(Index.open(tmp_path)) == rows(Index.build(spaces))
    assert not list(tmp_path.glob("space-*"))


@pytest.mark.parametrize("engine", ["faiss", "lance"])
def test_inverted_lists_follow_additions_and_deletions(tmp_path, engine, monkeypatch):
    if engine == "faiss":
        pytest.importorskip("faiss")
    monkeypatch.setattr("conjoin.retrieval.engines.scan.FEW", 10)
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((30, 16))
    frame = Frame.mint("given", "wide", 16, {})

    def drawn(n, first=0, spread=0.3):
        x = centres[rng.integers(0, 30, n)] + spread * rng.standard_normal((n, 16))
        ids = np.array([f"i{row}" for row in range(first, first + n)])
        return Space(ids, unit(x).astype(np.float32), frame)

    gallery, queries = drawn(3000), drawn(80, spread=0.5)
    fix = CSLS(5).fit(gallery.vectors, queries.vectors)
    store = IndexStore(tmp_path)
    index = Index.build({"image": gallery, "text": queries}, {("text", "image"): fix})
    store.build(index, {"image": about(gallery)})
    asked = {"text": frame.query(np.asarray(queries.vectors))}
    found = tuning.tune(store, asked, engine=engine)["image"]
    assert found.low >= tuning.GOAL
    told = store.version().engines["image"]
    assert told["engine"] == engine
    assert told["recall"]["queries"] == 80

    def recall():
        fast, slow = store.open(), store.open(engines=False)
        assert "image" in fast.engines
        got = [
            [h.id for h in hits.lists["image"]]
            for hits in fast.search_many(queries, "text", into=["image"])
        ]
        want = [
            [h.id for h in hits.lists["image"]]
            for hits in slow.search_many(queries, "text", into=["image"])
        ]
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(got, want, strict=True)])

    assert recall() >= 0.93
    late = drawn(200, 5000)
    store.add({"image": late})
    assert recall() >= 0.93
    hits = store.open().search(late.take(np.array([3])), into=["image"])
    assert hits.best[0].id == "i5003"
    store.delete([f"i{n}" for n in range(0, 600, 2)], into=["image"])
    assert recall() >= 0.93
    where = "year <= 2004"
    part = store.open().search_many(queries, "text", into=["image"], where=where)
    want = store.open(engines=False).search_many(queries, "text", into=["image"], where=where)
    same = [
        len({h.id for h in a.best} & {h.id for h in b.best}) / 10
        for a, b in zip(part, want, strict=True)
    ]
    assert np.mean(same) >= 0.9
    assert all(int(h.id[1:]) % 10 <= 4 for a in part for h in a.best)
    if engine == "faiss":
        store.add({"image": drawn(600, 9000)})
        assert store.version().why == "engine"
        assert store.version().engines["image"]["upto"] == store.version().held[0].next
        assert recall() >= 0.93


def test_rows_of_items_are_found_without_looking_through_ids(tmp_path):
    """Over segments, after additions and deletions, as a look at every id would find them."""
    rng = np.random.default_rng(0)
    frame = Frame.mint("given", "t", 4, {})

    def space(ids):
        return Space(np.array(ids), rng.normal(size=(len(ids), 4)).astype(np.float32), frame)

    store = IndexStore(tmp_path)
    store.build(Index.build({"a": space(["x", "y", "y", "zz", "é"])}))
    store.add({"a": space(["w", "longer-than-the-others", "y2"])})
    store.delete(["zz"])
    index = store.open()
    for ids in (["y"], ["y", "w", "zz", "none-such"], ["longer-than-the-others", "é"], []):
        wanted = np.flatnonzero(np.isin(index.spaces["a"].ids, np.array(ids, dtype=str)))
        np.testing.assert_array_equal(index.rows_of("a", ids), wanted)


@pytest.mark.parametrize("needed", [40, 500, 3000])
@pytest.mark.parametrize("rows", [3.0, 300.0])
def test_the_cheapest_setting_that_reaches_the_goal_is_taken(needed, rows):
    steps, asked = tuning._steps(1024), []

    def enough(nprobe, wide):
        return nprobe * wide >= needed

    def reaches(nprobe, wide):
        asked.append((nprobe, wide))
        return enough(nprobe, wide)

    both = [(n, w) for n in steps for w in tuning.WIDES if enough(n, w)]
    wanted = min(both, key=lambda one: tuning._cost(*one, rows))
    assert tuning._cheapest(steps, rows, reaches) == wanted
    assert len(asked) < len(steps) * len(tuning.WIDES) / 2
    assert tuning._cost(20, 10, rows) > tuning._cost(10, 10, rows)
    assert tuning._cost(10, 20, rows) > tuning._cost(10, 10, rows)


def test_where_nothing_reaches_the_goal_there_is_no_setting():
    assert tuning._cheapest(tuning._steps(64), 10.0, lambda *_: False) is None
