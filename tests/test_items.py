import io
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conjoin.errors import CellError, ConjoinError
from conjoin.items import Config, Items, cell_parts, content_hash, read_table, resolve
from conjoin.items.cells import is_missing
from conjoin.items.reading.table import open_source

TABLE = pa.table(
    {
        "id": ["007", "b", "c"],
        "size": pa.array([1, 2, None]),
        "share": [0.5, 1.25, -3.0],
        "caption": ['a "red", fruit', "two\nlines", None],
    }
)


def png(colour="red", size=(3, 2)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def write_jsonl(table, path):
    path.write_text("\n".join(json.dumps(row) for row in table.to_pylist()) + "\n\n")


def write_ipc(table, path):
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def write_stream(table, path):
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def write_saved(table, path):
    """A dataset as ``datasets`` lays it on disk, in two files."""
    path.mkdir(parents=True)
    write_stream(table.slice(0, 1), path / "data-00000-of-00002.arrow")
    write_stream(table.slice(1), path / "data-00001-of-00002.arrow")
    names = [{"filename": f"data-0000{i}-of-00002.arrow"} for i in (0, 1)]
    (path / "state.json").write_text(json.dumps({"_data_files": names}))


def write_tsv(table, path):
    pa_csv.write_csv(table, path, pa_csv.WriteOptions(delimiter="\t"))


WRITERS = {
    "items.csv": pa_csv.write_csv,
    "items.tsv": write_tsv,
    "items.jsonl": write_jsonl,
    "items.ndjson": write_jsonl,
    "items.parquet": pq.write_table,
    "items.arrow": write_ipc,
    "stream.arrow": write_stream,
    "items.feather": feather.write_feather,
    "saved": write_saved,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_comes_back(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](TABLE, path)
    assert read_table(path).to_pylist() == TABLE.to_pylist()
    narrow = read_table(path, ["caption", "id"])
    assert narrow.column_names == ["caption", "id"]
    assert narrow.column("id").to_pylist() == ["007", "b", "c"]
    source = open_source(path)
    for column in TABLE.column_names:
        assert list(source.values(column)) == TABLE.column(column).to_pylist()
        assert [source.at(column, row) for row in (2, 0, 1)] == [
            TABLE.column(column)[row].as_py() for row in (2, 0, 1)
        ]


def test_parquet_values_are_found_across_row_groups(tmp_path):
    table = pa.table({"id": range(50), "vector": [[float(i), 1.0] for i in range(50)]})
    pq.write_table(table, tmp_path / "items.parquet", row_group_size=7)
    source = open_source(tmp_path / "items.parquet")
    for row in (0, 6, 7, 49, 20):
        assert source.at("id", row) == row
        assert source.at("vector", row).tolist() == [row, 1.0]
    assert [int(v[0]) for v in source.values("vector")] == list(range(50))


def test_a_dataset_saved_by_its_own_library(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"picture": datasets.Image(), "text": datasets.Value("string")})
    rows = {"picture": [{"bytes": png(), "path": None}], "text": ["a"]}
    one = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": one, "test": one}).save_to_disk(str(tmp_path / "saved"))
    table = read_table(tmp_path / "saved")
    assert table.column("split").to_pylist() == ["train", "test"]
    items = Items.from_frame(table)
    assert [cell for _, cell in items.cells("picture", "image")] == [png(), png()]


def test_compressed_text_tables_are_read(tmp_path):
    import gzip

    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"id,x\na,1\n"))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"id": "a", "x": 1}\n'))
    for name in ("a.csv.gz", "a.jsonl.gz"):
        assert read_table(tmp_path / name).to_pylist() == [{"id": "a", "x": 1}]


@pytest.mark.parametrize(
    ("cells", "read"),
    [
        (["1", "2"], [1, 2]),
        (["007", "12"], ["007", "12"]),
        (["1.5", "NA"], [1.5, None]),
        (["NA", "DE"], ["NA", "DE"]),
        (["null", "NA"], ["null", "NA"]),
        (["0.5", "2"], [0.5, 2.0]),
        (["", "x"], [None, "x"]),
        (["12345678901234567890123", "x1"], ["12345678901234567890123", "x1"]),
    ],
)
def test_numbers_in_csv_are_only_what_is_written_as_one(tmp_path, cells, read):
    text = "key,value\n" + "".join(f"k,{cell}\n" for cell in cells)
    (tmp_path / "a.csv").write_text(text)
    assert read_table(tmp_path / "a.csv").column("value").to_pylist() == read


def test_json_rows_may_lack_keys_and_grow_types(tmp_path, monkeypatch):
    monkeypatch.setattr("conjoin.items.reading.records.BLOCK", 1)
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": 2.5, "b": "x"}\n')
    assert read_table(tmp_path / "a.jsonl").to_pylist() == [
        {"a": 1.0, "b": None}, {"a": 2.5, "b": "x"}
    ]  # fmt: skip


def test_json_types_that_disagree_are_kept_as_they_are(tmp_path, monkeypatch):
    for block in (1, 10):
        monkeypatch.setattr("conjoin.items.reading.records.BLOCK", block)
        (tmp_path / "a.jsonl").write_text('{"a": 1, "b": 1}\n{"a": "x", "b": 2}\n{"a": null}\n')
        source = open_source(tmp_path / "a.jsonl")
        assert list(source.values("a")) == [1, "x", None]
        assert source.at("a", 1) == "x"
        assert list(source.values("b")) == [1, 2, None]
        assert source.notes == ("column 'a' mixes types (int, str): kept as it is",)
        assert source.read().column_names == ["b"]
        with pytest.raises(ConjoinError, match="column 'a': holds values of several types"):
            source.read(["a"])


def test_files_that_share_a_stem_are_one_item(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.png").write_bytes(png())
    (tmp_path / "cats" / "tom.png").write_bytes(png())
    (tmp_path / "cats" / "tom.txt").write_text("a cat\n")
    (tmp_path / "cats" / "tom.wav").write_bytes(b"RIFF")
    (tmp_path / "rex.JPG").write_bytes(png())
    (tmp_path / "notes.md").write_text("passed over")
    np.save(tmp_path / "rex.npy", np.arange(4.0))
    assert read_table(tmp_path).to_pylist() == [
        {"id": "cats/tom", "folder": "cats", "audio": "cats/tom.wav", "image": "cats/tom.png",
         "text": "a cat", "vector": None},
        {"id": "rex", "folder": "", "audio": None, "image": "rex.JPG", "text": None,
         "vector": "rex.npy"},
    ]  # fmt: skip
    config = Config.of(
        {"items": {"table": tmp_path.name, "id": "id"},
         "modalities": {"image": {"column": "image", "encoder": "x"}}},
        tmp_path.parent / "conjoin.toml",
    )  # fmt: skip
    items = Items.load(config)
    [(_, vector)] = items.cells("vector", "vector")
    assert vector.tolist() == [0, 1, 2, 3]
    assert [key.id for key, _ in items.cells("image", "image")] == ["cats/tom", "rex"]


def test_several_files_of_a_kind_are_parts(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "a.jpg").write_bytes(png())
    (tmp_path / "b.jpg").write_bytes(png())
    assert read_table(tmp_path).column("image").to_pylist() == [["a.jpg", "a.png"], ["b.jpg"]]


BAD_FILES = {
    "ragged.csv": (
        b"a,b\n1,2\n1,2,3\n",
        "row 3 (the header is row 1): ragged: expected 2 columns, got 3; quote",
    ),
    "mixed.csv": (
        "a,b\né,2\nè,3\nà,4\n".encode() + b"\xe9,2\n",
        "line 5: is not UTF-8, though other lines are; fix that line",
    ),
    "none.csv": (b"", "is empty; give a header and one row an item"),
    "head.csv": (b"a,b\n", "has no rows; give a table with one row an item"),
    "twice.csv": (b"a,a\n1,2\n", "column 'a' appears twice; rename one of them"),
    "bad.jsonl": (b'{"a": 1}\n\n{"a": \n', "line 3: is not JSON (Expecting value"),
    "list.jsonl": (b"[1, 2]\n", "line 1: is a list; write one object a line"),
    "deep.json": (b"[" * 100_000, "is nested too deeply; flatten it"),
    "deep.jsonl": (b"[" * 100_000, "line 1: is nested too deeply; flatten it"),
    "one.json": (b'{"a": 1}', "is one object; write a list of objects"),
    "torn.json": (b'[{"a": 1}', "is not JSON"),
    "torn.xlsx": (b"PK torn", "cannot be read as a workbook"),
    "old.xls": (b"\xd0\xcf", ".xls files are not read; save it as .xlsx"),
    "none.jsonl": (b"\n", "is empty; write one object a line"),
    "torn.parquet": (b"PAR1....", "cannot be read as parquet"),
    "torn.arrow": (b"ARROW1..", "cannot be read as arrow"),
    "items.cvs": (b"a\n1\n", "extension '.cvs' is not one of a table; did you mean .csv"),
    "items": (b"a\n1\n", "extension 'missing' is not one of a table"),
}


def test_importing_and_reading_do_not_import_pandas(tmp_path):
    pq.write_table(TABLE, tmp_path / "items.parquet")
    pa_csv.write_csv(TABLE, tmp_path / "items.csv")
    code = """
import sys
from pathlib import Path
from conjoin.items.reading.table import open_source
for name in ("items.parquet", "items.csv"):
    source = open_source(Path(sys.argv[1]) / name)
    assert source.at("id", 1) == "b" and list(source.values("size")) == [1, 2, None]
assert not {"pandas", "torch", "datasets"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named_in_one_line(tmp_path, name):
    data, said = BAD_FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConjoinError) as caught:
        read_table(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_columns_and_folders_are_named(tmp_path):
    pq.write_table(TABLE, tmp_path / "items.parquet")
    (tmp_path / "empty").mkdir()
    cases = [
        (lambda: read_table(tmp_path / "itms.parquet"), "no such file; did you mean items.parquet"),
        (lambda: read_table(tmp_path / "no" / "x.csv"), "there is no folder"),
        (lambda: read_table(tmp_path / "items.parquet", ["captoin"]),
         "has no column 'captoin'; did you mean caption?"),
        (lambda: read_table(tmp_path / "empty"), "holds no file of a known kind; known are .3gp"),
    ]  # fmt: skip
    for call, said in cases:
        with pytest.raises(ConjoinError) as caught:
            call()
        assert said in str(caught.value)


def test_a_damaged_dataset_says_to_save_it_again(tmp_path):
    for name, state, said in [
        ("a", "{", "lists no data files; save the dataset again"),
        ("b", '{"_data_files": [{"filename": "x.arrow"}]}', "x.arrow: no such file; save"),
        ("c", '{"_data_files": [], "_indices_files": [1]}', "call flatten_indices()"),
        ("d", '{"_data_files": []}', "has no rows"),
    ]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text(state)
        with pytest.raises(ConjoinError) as caught:
            read_table(tmp_path / name)
        assert said in str(caught.value)


# --- cells -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text", "image", "audio", "vector", "series", "table", "other"])
def test_missing_cells_have_no_parts(kind):
    for value in (None, float("nan"), "", "  ", [], np.empty(0), b"", {}, {"bytes": None}):
        assert cell_parts(value, kind) == []


@pytest.mark.parametrize(
    ("value", "kind", "count"),
    [
        ("a", "text", 1),
        (["a", "", None, "b"], "text", 2),
        (np.array(["a", "b"], dtype=object), "text", 2),
        ([b"x", b"y"], "image", 2),
        (np.zeros((4, 4, 3)), "image", 1),
        ((np.zeros(10), 16000), "audio", 1),
        ([{"bytes": b"x", "path": None}, {"bytes": None, "path": None}], "audio", 1),
        ([1.0, 2.0], "vector", 1),
        ([[1.0, 2.0], [3.0, 4.0]], "vector", 2),
        (np.ones((3, 2)), "vector", 3),
        ([1, 2, 3], "series", 1),
        ([[1.0, 2.0], [3.0, 4.0]], "series", 1),
        ([[[1.0], [2.0]], [[3.0], [4.0]]], "series", 2),
        (["a.npy", "b.npy"], "vector", 2),
        ({"a": 1}, "table", 1),
        ([{"a": 1}, {"a": 2}], "table", 2),
    ],
)
def test_lists_are_parts_but_numbers_are_one_value(value, kind, count):
    assert len(cell_parts(value, kind)) == count


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=6))
def test_parts_are_exactly_what_is_not_missing(values):
    assert cell_parts(values, "text") == [v for v in values if not is_missing(v)]


def test_a_cell_becomes_what_its_kind_takes(tmp_path):
    np.save(tmp_path / "v.npy", np.array([1, 2]))
    assert resolve("a cat", tmp_path, "text") == "a cat"
    assert resolve(7, tmp_path, "text") == "7"
    assert resolve("a.png", tmp_path, "image") == str(tmp_path / "a.png")
    assert resolve(str(tmp_path / "a.png"), tmp_path / "x", "image") == str(tmp_path / "a.png")
    assert resolve(b"data", tmp_path, "audio") == b"data"
    assert resolve({"bytes": b"x", "path": "y"}, tmp_path, "image") == b"x"
    assert resolve({"bytes": None, "path": "y"}, tmp_path, "image") == str(tmp_path / "y")
    for value in ([1, 2], np.array([1, 2]), "[1, 2]", "v.npy"):
        vector = resolve(value, tmp_path, "vector")
        assert (vector.dtype, vector.tolist()) == (np.float32, [1, 2])
    assert resolve([[1, 2], [3, 4]], tmp_path, "series").shape == (2, 2)
    row = resolve({"a": float("nan"), "b": "x"}, tmp_path, "table")
    assert row == {"a": None, "b": "x"}
    picture = Image.new("RGB", (2, 2))
    assert resolve(picture, tmp_path, "image") is picture


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ([1, 2], "text", "is a list, not text"),
        (b"\xff", "text", "bytes that are not UTF-8"),
        (3.5, "image", "is the number 3.5, not image"),
        ("missing.npy", "vector", "missing.npy: no such file"),
        ("hello", "vector", "'hello' is neither a JSON list nor a .npy file"),
        ("[1, oops]", "series", "is not a JSON list of numbers"),
        ([[1.0], [1.0, 2.0]], "vector", "not an array of numbers of one shape"),
        ([[1.0, 2.0]], "vector", r"has shape \(1, 2\), not that of a vector"),
        ("x", "table", "is a str, not a row of columns"),
    ],
)
def test_a_cell_of_the_wrong_kind_says_so(tmp_path, value, kind, said):
    with pytest.raises(CellError, match=said):
        resolve(value, tmp_path, kind)


def test_content_hashes_tell_what_is_shown(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    path = resolve("a.png", tmp_path, "image")
    assert content_hash(path, "image") == content_hash(png(), "image")
    assert content_hash(png("blue"), "image") != content_hash(png(), "image")
    assert content_hash(str(tmp_path / "no.png"), "image") == 0
    assert content_hash(object(), "other") == 0
    cells = [("a", "text"), ("b", "text"), (np.ones(2), "vector"), (np.ones((2, 1)), "series"),
             ({"a": 1, "b": None}, "table"), ({"a": 1, "b": 0}, "table"),
             (Image.new("RGB", (2, 3)), "image"), (Image.new("RGB", (3, 2)), "image")]  # fmt: skip
    hashes = [content_hash(cell, kind) for cell, kind in cells]
    assert len(set(hashes)) == len(hashes)
    assert all(0 < value < 2**63 for value in hashes)
    assert content_hash({"b": None, "a": 1}, "table") == hashes[4]


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            good = self.path == "/a.png"
            self.send_response(200 if good else 404)
            self.end_headers()
            if good:
                self.wfile.write(png())

        def log_message(self, *args):
            pass

    service = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{service.server_port}"
    service.shutdown()
    service.server_close()
    thread.join()


def test_urls_are_fetched_and_fail_alone(server):
    items = Items.from_frame({"picture": [f"{server}/a.png", f"{server}/b.png"]})
    (first, good), (second, bad) = items.cells("picture", "image")
    assert good == png()
    assert first.content == content_hash(png(), "image")
    assert isinstance(bad, CellError)
    assert str(bad) == f"{server}/b.png answers 404"
    assert second.content == 0
    with pytest.raises(CellError, match="answers 404"):
        items.cells("picture", "image").get("1")


# --- items -------------------------------------------------------------------------------------


def test_items_of_a_data_frame_with_pictures_and_arrays():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "key": [1, 2, 3],
            "picture": [Image.new("RGB", (2, 2)), None, Image.new("RGB", (2, 3))],
            "sound": [np.zeros((3, 2)), np.ones((4, 2)), float("nan")],
            "vector": [np.array([0.5, 1], dtype=np.float32)] * 3,
            "caption": ["a", None, "c"],
            "size": [1.0, float("nan"), 3.0],
        }
    )
    items = Items.from_frame(frame, id="key")
    assert list(items.ids) == ["1", "2", "3"]
    assert [key.id for key, _ in items.cells("picture", "image")] == ["1", "3"]
    assert [key.id for key, _ in items.cells("sound", "audio")] == ["1", "2"]
    assert [cell.tolist() for _, cell in items.cells("vector", "vector")] == [[0.5, 1.0]] * 3
    assert items.column("size") == [1.0, None, 3.0]
    rows = [cell for _, cell in items.cells(["size", "caption"], "table")]
    assert rows == [{"size": 1.0, "caption": "a"}, {"size": 3.0, "caption": "c"}]
    assert items.table.column_names == ["key", "vector", "caption", "size"]
    assert items.cells("picture", "image").get("3").size == (2, 3)


def test_cells_are_keyed_by_item_part_and_content():
    items = Items.from_frame({"id": ["x", "y"], "caption": [["a", "b"], ["b"]]}, id="id")
    keys, cells = zip(*items.cells("caption", "text"), strict=True)
    assert cells == ("a", "b", "b")
    assert [(key.id, key.part) for key in keys] == [("x", 0), ("x", 1), ("y", 0)]
    assert keys[1].content == keys[2].content == content_hash("b", "text")
    assert items.cells("caption", "text").get("x", 1) == "b"


def test_cells_can_be_walked_again_and_fetched_by_key():
    items = Items.from_frame({"facts": [{"a": 1}, [{"a": 2}, {"a": 3}], None]})
    cells = items.cells("facts", "table")
    assert list(cells) == list(cells)
    assert {key: cells.get(key.id, key.part) for key in cells.list_keys()} == dict(cells)
    assert [cell for _, cell in cells] == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_integer_ids_with_gaps_read_as_floats_agree():
    items = Items.from_frame({"id": [1.0, 2.0]}, id="id")
    assert list(items.ids) == ["1", "2"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Items.from_frame({"id": ["a", "b", "a"]}, id="id"),
         "frame, column 'id': id 'a' is on rows 0 and 2; make ids unique"),
        (lambda: Items.from_frame({"id": ["a", None]}, id="id"),
         "frame, column 'id': row 1 has no id; fill it in or drop the row"),
        (lambda: Items.from_frame({"id": [["a"], ["b"]]}, id="id"), "row 0 holds a list"),
        (lambda: Items.from_frame({"ident": ["a"]}, id="id"), "has no column 'id'"),
        (lambda: Items.from_frame({"a": [1], "b": [1, 2]}), "give columns of one length"),
        (lambda: Items.from_frame({"a": []}), "frame: has no rows; give one row an item"),
        (lambda: Items.from_frame(3), "frame: is a int; give a DataFrame"),
        (lambda: Items.from_frame({"a": [1]}).column("b"), "frame: has no column 'b'; known are a"),
        (lambda: Items.from_frame({"cap": ["x"]}).cells("cpa", "text"),
         "frame: has no column 'cpa'; did you mean cap?"),
        (lambda: list(Items.from_frame({"a": [None, ""]}).cells("a", "text")),
         "frame, column 'a': all 2 cells are missing: an empty modality; fill some cells or drop"),
        (lambda: Items.from_frame({"a": ["x"]}).cells(["a"], "text"),
         "several for cells of kind text; name one column, or give an encoder of table rows"),
        (lambda: Items.from_frame({"a": ["x"]}).cells("a", "text").get("9"), "has no item '9'"),
        (lambda: Items.from_frame({"a": ["x"]}).cells("a", "text").get("0", 2), "has 1 parts"),
    ],
)  # fmt: skip
def test_bad_items_are_refused_in_one_line(call, said):
    with pytest.raises(ConjoinError) as caught:
        call()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
