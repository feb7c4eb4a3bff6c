"""Tables as people have them: separators, encodings, JSON, Excel, shards and folders."""

import io
import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from conjoin.errors import ConjoinError
from conjoin.items import Config, Items
from conjoin.items.reading.encodings import guess_encoding
from conjoin.items.reading.sources import BATCH, Held, Stored
from conjoin.items.reading.table import open_source

ROWS = [
    {"id": 1, "image": "a.png", "caption": "un café noir, chaud"},
    {"id": 2, "image": "b.png", "caption": 'the "red" door'},
    {"id": 3, "image": "c.png", "caption": "two\nlines"},
]


def rows_of(path):
    source = open_source(path)
    columns = [list(source.values(name)) for name in source.names]
    return [dict(zip(source.names, row, strict=True)) for row in zip(*columns, strict=True)]


def written(separator):
    import csv

    out = io.StringIO()
    sheet = csv.DictWriter(out, ROWS[0], delimiter=separator, lineterminator="\n")
    sheet.writeheader()
    sheet.writerows(ROWS)
    return out.getvalue()


def picture(path, shade=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(path)


def test_separators_and_encodings_are_told_from_the_file(tmp_path):
    path = tmp_path / "t.csv"
    for separator, word in ((",", ""), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        for encoding in (
            "utf-8",
            "utf-8-sig",
            "latin-1",
            "cp1252",
            "utf-16",
            "utf-16-le",
            "utf-32",
        ):
            path.write_bytes(written(separator).encode(encoding))
            assert rows_of(path) == ROWS, (separator, encoding)
            notes = " ".join(open_source(path).notes)
            assert word in notes
            assert ("read as" in notes) == (not encoding.startswith("utf-8"))
    path.write_text("sep=;\n" + written(";"))
    assert rows_of(path) == ROWS
    path = tmp_path / "t.tsv"
    path.write_text(written(","))
    assert rows_of(path) == ROWS
    path = tmp_path / "late.csv"  # beyond what is looked at first
    path.write_bytes(b"id,x\n" + b"1,plain\n" * 40_000 + "2,café\n".encode("latin-1"))
    assert list(open_source(path).values("x"))[-1] == "café"


def test_a_separator_is_changed_only_for_one_that_parts_the_rows_evenly(tmp_path):
    path = tmp_path / "t.csv"
    for text, names in (
        ("a,b;c\n1,2\n3,4\n", ["a", "b;c"]),
        ("note\nx; y\nz; w\n", ["note"]),
        ("id;name, first;x\n1;Ann, B;2\n2;Cy, D;3\n", ["id", "name, first", "x"]),
        ("id;price\n1;2,5\n2;3\n", ["id", "price"]),
    ):
        path.write_text(text)
        assert list(open_source(path).names) == names
    assert list(open_source(path).values("price")) == [2.5, 3.0]
    path.write_text("a;b\n1;2\n1;2;3\n")
    with pytest.raises(ConjoinError, match=r"row 3 .*ragged"):
        open_source(path)
    path.write_text("a,b\n1,2\n1;2\n")
    with pytest.raises(ConjoinError, match=r"row 3 .*ragged"):
        open_source(path)


def test_cells_longer_than_a_block_are_read(tmp_path):
    long = "x" * (3 * 2**20)
    (tmp_path / "t.csv").write_text(f"id,x\n1,{long}\n2,b\n")
    assert list(open_source(tmp_path / "t.csv").values("x")) == [long, "b"]


def test_scripts_are_told_apart_and_western_text_is_not_taken_for_others():
    pytest.importorskip("charset_normalizer")
    for text, encoding in (
        ("красная машина, зелёный дом", "cp1251"), ("Größe über alles, schöne Füße", "cp1252"),
        ("¿Qué pasó? El niño comió piña", "cp1252"), ("zażółć gęślą jaźń, łąka, źdźbło", "cp1250"),
        ("l’été à Paris – n° 5", "cp1252"), ("赤い果物と青い空と白い雲です", "cp932"),
    ):  # fmt: skip
        assert guess_encoding(text.encode(encoding), "x") == encoding


def test_without_the_library_other_scripts_name_the_remedy(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert guess_encoding("un café noir".encode("latin-1"), "x") == "cp1252"
    with pytest.raises(ConjoinError, match=r"x: is not UTF-8; save it as UTF-8, or run: pip"):
        guess_encoding("красная машина".encode("cp1251"), "x")


def test_json_in_the_forms_that_people_write(tmp_path):
    path = tmp_path / "t.json"
    lists = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    forms = [
        ROWS, lists, {"data": ROWS}, {"version": 1, "rows": ROWS},
        {"columns": list(ROWS[0]), "index": [0, 1, 2], "data": [list(r.values()) for r in ROWS]},
        {name: {str(at): value for at, value in enumerate(v)} for name, v in lists.items()},
    ]  # fmt: skip
    for form in forms:
        path.write_text(json.dumps(form), encoding="utf-8")
        assert rows_of(path) == ROWS
    path.write_text("\n".join(map(json.dumps, ROWS)))
    assert rows_of(path) == ROWS
    path.write_bytes(json.dumps(ROWS, ensure_ascii=False).encode("utf-16"))
    assert rows_of(path) == ROWS


def test_json_that_no_column_type_holds_stays_as_it_is(tmp_path):
    path = tmp_path / "t.jsonl"
    lines = ['{"id": 1e30, "n": ' + str(10**30) + ', "s": {"a": 1}, "t": "half \\ud83d"}',
             '{"id": 2, "n": 7, "s": {"a": "x"}, "t": "zero \\u0000"}']  # fmt: skip
    path.write_text("\n".join(lines))
    assert rows_of(path) == [
        {"id": 1e30, "n": 10**30, "s": {"a": 1}, "t": "half �"},
        {"id": 2.0, "n": 7, "s": {"a": "x"}, "t": "zero \0"},
    ]
    notes = " ".join(open_source(path).notes)
    assert "1 texts hold half of a character" in notes
    assert "'n'" in notes
    assert "'s'" in notes


def test_a_workbook_gives_its_first_filled_sheet(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.create_sheet("items")
    sheet.append(["id", "caption", None])
    sheet.append([1, "a cat", None])
    sheet.append([None, None, None])
    sheet.append([2, " ", None])
    book.create_sheet("more").append(["x"])
    book.save(tmp_path / "t.xlsx")
    assert rows_of(tmp_path / "t.xlsx") == [
        {"id": 1, "caption": "a cat"}, {"id": 2, "caption": None}
    ]  # fmt: skip
    assert "sheet 'items' is read, not 'more'" in open_source(tmp_path / "t.xlsx").notes[0]


def test_shards_are_one_table_and_their_names_say_the_split(tmp_path):
    info = {"info": {"features": {"kind": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    data = tmp_path / "data"
    data.mkdir()

    def shard(name, ids, kinds):
        table = pa.table({"id": ids, "kind": pa.array(kinds, pa.int64())})
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
        pq.write_table(table, data / name)

    shard("train-00000-of-00002.parquet", ["a", "b"], [0, 1])
    shard("train-00001-of-00002.parquet", ["c"], [-1])
    shard("test-00000-of-00001.parquet", ["d"], [1])
    (tmp_path / "README.md").write_text("about")
    want = [
        ("d", "dog", "test"),
        ("a", "cat", "train"),
        ("b", "dog", "train"),
        ("c", None, "train"),
    ]
    for path in (tmp_path, data, data / "*.parquet", tmp_path / "**" / "*.parquet"):
        source = open_source(path)
        assert [tuple(row.values()) for row in rows_of(path)] == want
        assert [source.at("kind", row) for row in (3, 0)] == [None, "dog"]
        assert [source.at("split", row) for row in (3, 0)] == ["train", "test"]
        assert source.read(["split", "kind"]).column("kind").to_pylist() == [w[1] for w in want]
        assert source.read().num_rows == 4
        assert source.type("kind") == pa.string()
    assert rows_of(data / "train-*.parquet")[0] == {"id": "a", "kind": "cat"}
    config = {"items": {"table": "data/*.parquet", "id": "id"},
              "modalities": {"t": {"column": "kind", "encoder": "x"}}}  # fmt: skip
    items = Items.load(Config.of(config, tmp_path / "conjoin.toml"))
    assert items.base == data
    (data / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(ConjoinError, match="1 of 2 shards 'train' are not there"):
        open_source(tmp_path)
    assert len(rows_of(data / "*.parquet")) == 3
    with pytest.raises(ConjoinError, match="matches no file"):
        open_source(data / "*.csv")


def test_tables_of_other_columns_are_not_mixed_unasked(tmp_path):
    (tmp_path / "items.csv").write_text("id,x\n1,a\n")
    (tmp_path / "pairs.csv").write_text("left,right\n1,2\n")
    with pytest.raises(ConjoinError, match="name one of them, or several by a glob"):
        open_source(tmp_path)
    source = open_source(tmp_path / "*.csv")
    assert rows_of(tmp_path / "*.csv")[1] == {"id": None, "x": None, "left": 1, "right": 2}
    assert "other columns" in source.notes[0]
    (tmp_path / "pairs.csv").write_text("id,x\nk,2\n")  # types that differ
    assert list(open_source(tmp_path).values("x")) == ["a", 2]


def test_class_names_of_data_sets_in_memory_and_in_lists():
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["cat", "dog"])
    features = datasets.Features({"y": label, "ys": datasets.List(label)})
    made = datasets.Dataset.from_dict({"y": [1, 0], "ys": [[0, 1], []]}, features=features)
    for one in (made, made.select([1, 0]).select([1, 0])):
        items = Items.from_frame(one)
        assert items.column("y") == ["dog", "cat"]
        assert items.column("ys") == [["cat", "dog"], None]


def test_a_folder_counts_what_it_passes_over(tmp_path):
    picture(tmp_path / "a.png")
    for name in ("b.docx", "c.docx", "notes.md"):
        (tmp_path / name).write_text("x")
    assert open_source(tmp_path).notes == ("3 files passed over by ending: 2 .docx, 1 .md",)


def test_one_caption_in_latin_1_does_not_refuse_the_folder(tmp_path):
    for name in "abc":
        picture(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("plain text")
    (tmp_path / "b.txt").write_bytes("un café".encode("latin-1"))
    (tmp_path / "c.txt").write_bytes("un thé".encode("utf-16"))
    assert [row["text"] for row in rows_of(tmp_path)] == ["plain text", "un café", "un thé"]
    assert (
        "2 texts are not UTF-8: read as cp1252 (the first is b.txt)"
        in (open_source(tmp_path).notes[0])
    )


def test_names_are_compared_in_one_form_of_unicode(tmp_path):
    picture(tmp_path / (unicodedata.normalize("NFD", "café") + ".png"))
    (tmp_path / (unicodedata.normalize("NFC", "café") + ".txt")).write_text("a café")
    [row] = rows_of(tmp_path)
    assert row["id"] == unicodedata.normalize("NFC", "café")
    assert (tmp_path / row["image"]).exists()


def test_names_that_are_not_unicode_are_passed_over_and_named(tmp_path):
    picture(tmp_path / "a.png")
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("the file system takes Unicode alone")
    [row] = rows_of(tmp_path)
    assert row["id"] == "a"
    assert r"their names are not UTF-8 (the first is caf\xe9.png)" in open_source(tmp_path).notes[0]


def test_class_folders_give_a_label_and_split_folders_a_split(tmp_path):
    for name in ("cat/1", "cat/2", "dog/1", "dog/2"):
        picture(tmp_path / "flat" / f"{name}.png")
        picture(tmp_path / "deep" / "train" / f"{name}.png")
        picture(tmp_path / "deep" / "test" / f"{name}.png")
    rows = rows_of(tmp_path / "flat")
    assert [row["label"] for row in rows] == ["cat", "cat", "dog", "dog"]
    rows = rows_of(tmp_path / "deep")
    assert [row["label"] for row in rows[:4]] == ["cat", "cat", "dog", "dog"]
    assert [row["split"] for row in rows] == ["test"] * 4 + ["train"] * 4
    (tmp_path / "flat" / "cat" / "1.txt").write_text("with texts they may be anything")
    assert "label" not in open_source(tmp_path / "flat").names


def test_folders_a_kind_are_paired_by_the_names_of_their_files(tmp_path):
    for part in ("", "train/"):
        for name in "123":
            picture(tmp_path / part / "images" / f"{name}.png")
            (tmp_path / part / "captions").mkdir(parents=True, exist_ok=True)
            (tmp_path / part / "captions" / f"{name}.txt").write_text(f"number {name}")
        (tmp_path / part / "captions" / "3.txt").unlink()
        where = tmp_path if part == "" else tmp_path / "train"
        rows = rows_of(where)
        assert [(row["id"], row["image"], row["text"]) for row in rows] == [
            ("1", "images/1.png", "number 1"), ("2", "images/2.png", "number 2"),
            ("3", "images/3.png", None),
        ]  # fmt: skip
        assert "images/ are paired" in open_source(where).notes[0]
        assert "2 items whole, 1 items lack one" in open_source(where).notes[0]
    apart = tmp_path / "apart"  # no name in common: no pairs to be made
    picture(apart / "images" / "a.png")
    (apart / "captions").mkdir()
    (apart / "captions" / "z.txt").write_text("z")
    assert [row["id"] for row in rows_of(apart)] == ["captions/z", "images/a"]


def test_linked_folders_are_walked_once_and_loops_end(tmp_path):
    picture(tmp_path / "elsewhere" / "x.png")
    picture(tmp_path / "here" / "a.png")
    here = tmp_path / "here"
    (here / "link").symlink_to(tmp_path / "elsewhere")
    (here / "again").symlink_to(tmp_path / "elsewhere")
    (here / "loop").symlink_to(here)
    (here / "up").symlink_to(tmp_path)
    assert [row["image"] for row in rows_of(here)] == ["a.png", "again/x.png"]


def test_a_table_beside_the_pictures_that_names_them(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,a red square\n")
    assert rows_of(tmp_path) == [{"file_name": "a.png", "text": "a red square"}]


def test_paths_that_are_no_file(tmp_path):
    fifo = tmp_path / "t.csv"
    os.mkfifo(fifo)
    for path, said in (
        (fifo, "neither a file nor a folder"), (Path("a\0b.csv"), "holds a zero byte"),
        (tmp_path / "x[1].csv", "matches no file"),
    ):  # fmt: skip
        with pytest.raises(ConjoinError, match=said):
            open_source(path)
    (tmp_path / "x[1].csv").write_text("id\n1\n")  # a name with the signs of a glob is a name
    assert rows_of(tmp_path / "x[1].csv") == [{"id": 1}]


def test_lists_of_numbers_read_alike_whole_by_batches_and_one_by_one(tmp_path):
    rng = np.random.default_rng(0)
    rows = [rng.random(3).astype(np.float32).tolist() for _ in range(BATCH + 7)]
    ragged = [row[: place % 4] for place, row in enumerate(rows)]
    gaps = [None if place % 5 == 0 else row for place, row in enumerate(rows)]
    holes = [[1, None, 3] if place == 2 else [1, 2, 3] for place in range(len(rows))]
    table = pa.table({
        "fixed": pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(rows), pa.float32()), 3),
        "ragged": pa.array(ragged, pa.large_list(pa.float32())),
        "gaps": pa.array(gaps, pa.list_(pa.float32(), 3)),
        "holes": pa.array(holes, pa.list_(pa.int64())),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=500)
    stored = Stored(pq.ParquetFile(tmp_path / "t.parquet"))
    for source in (stored, Held(table.slice(0)), Held(table)):
        for name in table.column_names:
            told = table.column(name).to_pylist()
            for row, value in enumerate(source.values(name)):
                same(value, told[row])
            for row in (0, 2, 499, 500, BATCH, len(rows) - 1, 1):
                same(source.at(name, row), told[row])
    assert next(iter(stored.values("holes"))).dtype.kind == "i"
    part = Held(table.slice(11, 40))
    same(part.at("fixed", 3), table.column("fixed").to_pylist()[14])
    same(part.at("ragged", 3), table.column("ragged").to_pylist()[14])


def same(value, told):
    if told is None:
        assert value is None
        return
    wanted = np.array([np.nan if one is None else one for one in told], dtype=value.dtype)
    np.testing.assert_array_equal(value, wanted)
