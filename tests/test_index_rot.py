"""Rotten, torn, swapped and foreign files of an index are noticed; nothing else is answered."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("lancedb")

from conjoin.errors import ConjoinError, StateError
from conjoin.retrieval.hubness.csls import CSLS
from conjoin.retrieval.index import integrity
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.index.store import IndexStore
from conjoin.spaces import Space
from conjoin.storage import files
from conjoin.storage.files import map_arrays, mark_of, read_json, write_arrays, write_json


def space(ids, seed=0, dim=5):
    rows = np.random.default_rng(seed).normal(size=(len(ids), dim)).astype("float32")
    return Space.of(rows, ids, name="e")


def index(n=12, seed=0, width=3):
    ids = [f"{row:0{width}d}" for row in range(n)]
    spaces = {"a": space(ids, seed), "b": space(ids, seed + 1)}
    fix = CSLS(3).fit(spaces["b"].vectors, spaces["a"].vectors)
    return Index.build(spaces, {("a", "b"): fix})


def answers(held):
    query = held.spaces["a"].take(np.array([0]))
    return json.dumps([hits.to_json() for hits in held.search_many(query, "a", k=4)])


def place(folder):
    return {p for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7])
def test_a_store_made_of_a_snapshot_holds_every_row(tmp_path, width):
    made = index(10 if width == 1 else 13, width=width)
    made.save(tmp_path)
    held = Index.open(tmp_path)
    assert all(space.vectors.flags.aligned for space in held.spaces.values())
    store = IndexStore(tmp_path)
    store.build(held)
    assert store.version().rows == {name: len(space) for name, space in made.spaces.items()}
    assert answers(store.open()) == answers(made)
    assert not list(tmp_path.glob("space-*"))


def test_a_snapshot_of_an_earlier_version_is_aligned_when_it_is_read(tmp_path):
    rows = np.arange(20, dtype=np.float32).reshape(4, 5)
    flat = np.frombuffer(b"abc", dtype=np.uint8)
    head = json.dumps({
        "ids": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "vectors": {"dtype": "F32", "shape": [4, 5], "data_offsets": [3, 83]},
    }).encode()  # fmt: skip
    head += b" " * (-len(head) % 64 + 56)
    path = tmp_path / "old.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + flat.tobytes() + rows.tobytes())
    arrays, _ = map_arrays(path)
    assert arrays["vectors"].flags.aligned
    assert mark_of(path) is None
    np.testing.assert_array_equal(arrays["vectors"], rows)


def test_a_table_that_kept_too_little_is_not_served_and_the_snapshot_stays(tmp_path, monkeypatch):
    from conjoin.retrieval.index.lance import Tables

    index().save(tmp_path)
    before, said = place(tmp_path), answers(Index.open(tmp_path))
    real = Tables.create

    def short(self, name, schema, rows):
        return real(self, name, schema, (batch.slice(0, batch.num_rows - 1) for batch in rows))

    def other(self, name, schema, rows):
        return real(self, name, schema, (batch.take(pa.array(range(batch.num_rows))[::-1])
                                         for batch in rows))  # fmt: skip

    for fault, says in ((short, "11 of 12 rows"), (other, "out of order|other rows")):
        monkeypatch.setattr(Tables, "create", fault)
        with pytest.raises(StateError, match=says):
            IndexStore(tmp_path).build(Index.open(tmp_path))
        assert before <= place(tmp_path)
        assert answers(Index.open(tmp_path)) == said
    monkeypatch.setattr(Tables, "create", real)
    store = IndexStore(tmp_path)  # and again, as nothing stands in the way
    store.build(Index.open(tmp_path))
    assert answers(store.open()) == said


def test_what_the_database_raises_is_said_as_what_it_is(tmp_path, monkeypatch):
    from conjoin.retrieval.index.lance import Tables

    store = IndexStore(tmp_path / "store")
    store.build(index())
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    for error, kind, says in (
        (RuntimeError("LanceError(IO): No space left on device (os error 28)"), ConjoinError,
         "no space left on the disk; free some"),
        (OSError("Read-only file system (os error 30)"), ConjoinError, "may not be written"),
        (RuntimeError("External error: File too large"), ConjoinError, "larger than is allowed"),
        (RuntimeError("Corrupt snappy"), StateError, "Corrupt snappy.*conjoin fit"),
        (panic("assertion failed"), StateError, "make the database stop.*conjoin fit"),
    ):  # fmt: skip

        class Broken:
            def __getattr__(self, name, error=error):
                raise error

        tables = Tables(tmp_path / "store" / "tables")
        tables._held = Broken()
        with pytest.raises(kind, match=says):
            tables.append("x", pa.schema([]), iter(()))
        with pytest.raises(ConjoinError):
            list(tables.read("x", 1, []))
    with pytest.raises(KeyboardInterrupt), Tables(tmp_path)._named("x"):
        raise KeyboardInterrupt
    bad = pa.table({"year": [str(i) for i in range(12)]})
    store.build(index(), {"a": pa.table({"year": list(range(12))})})
    new = space(["x"])
    bad = pa.table({"year": ["word"]})
    with pytest.raises(ConjoinError, match="column year: of type"):  # our own, not the database's
        store.add({"a": new}, {"a": bad})


@pytest.mark.parametrize("kind", ["snapshot", "store"])
def test_no_flipped_bit_and_no_foreign_file_gives_another_answer(tmp_path, kind):
    made = {}
    for name, seed in (("mine", 0), ("theirs", 7)):
        folder = made[name] = tmp_path / name
        if kind == "snapshot":
            index(seed=seed).save(folder)
        else:
            store = IndexStore(folder)
            store.build(index(seed=seed))
            store.add({"a": space(["n1", "n2"], seed + 3)})
            store.open()
    mine, theirs = made["mine"], made["theirs"]
    said = answers(Index.open(mine))
    assert answers(Index.open(theirs)) != said
    dice, noticed, ways = np.random.default_rng(0), 0, 0
    for path in sorted(place(mine)):
        whole = path.read_bytes()
        other = theirs / path.relative_to(mine)
        damages = [whole[: len(whole) // 2], b""] if whole else []
        damages += [_flip(whole, dice) for _ in range(2 if whole else 0)]
        damages += [other.read_bytes()] if other.exists() else []
        for damage in damages:
            path.write_bytes(damage)
            ways += 1
            try:
                assert answers(Index.open(mine)) == said, path
            except ConjoinError:
                noticed += 1
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(whole)
    assert ways > 15
    assert noticed > 8


def _flip(whole, dice):
    torn = bytearray(whole)
    torn[int(dice.integers(len(whole)))] ^= 1 << int(dice.integers(8))
    return bytes(torn)


@pytest.mark.parametrize("kind", ["snapshot", "store"])
def test_large_files_are_compared_by_the_check_and_mended(tmp_path, monkeypatch, kind):
    made = index(40)
    if kind == "snapshot":
        made.save(tmp_path)
    else:
        IndexStore(tmp_path).build(made)
        IndexStore(tmp_path).open()
    assert integrity.faults(tmp_path) == []
    monkeypatch.setattr(files, "WHOLE", 0)  # all files are large
    kinds = set()
    for path in sorted(place(tmp_path)):
        if path.name in (".lock", "manifest.json") or "_refs" in path.parts or (
            "_transactions" in path.parts or path.name == "latest_version_hint.json"
        ):  # fmt: skip
            continue
        whole = path.read_bytes()
        torn = bytearray(whole)
        torn[-1 - len(whole) // 3] ^= 4
        path.write_bytes(bytes(torn))
        found = integrity.faults(tmp_path)
        assert [fault.path for fault in found] == [path]
        kinds.add(found[0].remedy)
        path.write_bytes(whole)
    assert kinds == {"run: conjoin fit"} | ({"run: conjoin clean"} if kind == "store" else set())


def test_a_stopped_writer_has_all_files_compared_and_building_mends(tmp_path, monkeypatch):
    store = IndexStore(tmp_path)
    store.build(index(40))
    said = answers(store.open())
    with pytest.raises(ConjoinError, match="not indexed"):
        store.delete(["zz"])
    assert (tmp_path / ".lock").read_text() == ""  # refused, not stopped
    (tmp_path / ".lock").write_text("a change is under way\n")
    store.add({"a": space(["n1"], 5)})  # whole: goes on
    assert (tmp_path / ".lock").read_text() == ""
    path = next(p for p in integrity.lasting(tmp_path / "tables", {store.version().held[1].table})
                if p.parent.name == "data")  # fmt: skip
    torn = bytearray(path.read_bytes())
    torn[10] ^= 1
    path.write_bytes(bytes(torn))
    (tmp_path / ".lock").write_text("a change is under way\n")
    with pytest.raises(StateError, match="not those that were written; run: conjoin fit"):
        store.add({"a": space(["n2"], 6)})
    store.build(index(40))
    assert answers(store.open()) == said
    assert store.faults() == []
    assert len(store.versions()) == 1, "earlier versions stand on the same table"


def test_names_that_lead_elsewhere_are_refused(tmp_path):
    index().save(tmp_path / "snap")
    IndexStore(tmp_path / "store").build(index())
    shutil.copytree(tmp_path / "snap", tmp_path / "other")
    path = tmp_path / "snap" / "manifest.json"
    raw = read_json(path)
    for bad in ("../other/" + raw["spaces"][0][1], str(tmp_path / "other" / "x"), "", 3, "a\0b"):
        write_json(path, {**raw, "spaces": [["a", bad], raw["spaces"][1]]})
        with pytest.raises(StateError, match="not inside"):
            Index.open(tmp_path / "snap")
    path = tmp_path / "store" / "manifest.json"
    raw = read_json(path)
    for key, value in (("table", "../../other"), ("table", "/x")):
        held = [{**entry, key: value} for entry in raw["history"][0]["held"]]
        write_json(path, {**raw, "history": [{**raw["history"][0], "held": held}]})
        with pytest.raises(StateError, match="not inside"):
            IndexStore(tmp_path / "store").open()
    version = {**raw["history"][0], "corrections": [["a", "b", "../snap/x.safetensors"]]}
    write_json(path, {**raw, "history": [version]})
    with pytest.raises(StateError, match="not inside"):
        Index.open(tmp_path / "store")


def test_every_bit_of_a_state_file_counts(tmp_path):
    path = tmp_path / "x.safetensors"
    arrays = {"flat": np.frombuffer(b"abcde", np.uint8), "none": np.empty((0, 3), np.float32),
              "rows": np.arange(6, dtype=np.float32)}  # fmt: skip
    mark = write_arrays(path, arrays, {"said": 1})
    assert mark == mark_of(path)
    for bit in range(0, 8 * path.stat().st_size, 7):
        assert _refused(path, bit, lambda: map_arrays(path, mark)) is None
    state = tmp_path / "x.json"
    value = {"version": 1, "inside": {"digest": "x"}, "rows": [1.5, "é\n"]}
    write_json(state, value)
    assert read_json(state) == value
    for bit in range(0, 8 * state.stat().st_size, 3):
        found = _refused(state, bit, lambda: read_json(state))
        assert found is None or {k: found.get(k) for k in value} == value  # the digest's own key
    from safetensors.numpy import load_file

    held = load_file(path)  # as its own library reads it
    assert all(np.array_equal(held[name], array) for name, array in arrays.items())


def _refused(path, bit, read):
    whole = path.read_bytes()
    torn = bytearray(whole)
    torn[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(torn))
    try:
        return read()
    except StateError:
        return None
    finally:
        path.write_bytes(whole)
