"""Bad input gets one line that says where, what and the remedy; code 2; nothing is written."""

import builtins
import errno
import importlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from conjoin.storage.files import map_arrays, read_json, write_arrays, write_json
from shelf import Caller, config, shelf, snapshot, table, write_table


@pytest.fixture
def conjoin(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


@pytest.fixture
def ready(base, conjoin, tmp_path):
    """A fitted workspace of the test's own."""
    made = base / "ws"
    if not (made / ".conjoin" / "current.json").exists():
        shelf(made, ["a", "b"])
        conjoin.good("embed", "-w", made)
        conjoin.good("fit", "--method", "ridge", "-w", made)
    return Path(shutil.copytree(made, tmp_path / "ws"))


# The table and its cells


@pytest.mark.parametrize(
    ("change", "modalities", "says"),
    [
        ({}, [("a", "aa", "builtin:vector"), "b"], ("items.parquet", "'aa'", "did you mean a")),
        ({"id": ["i1"] * 60}, ["a", "b"], ("items.parquet", "id", "i1")),
        ({"a": [None] * 60}, ["a", "b"], ("a", "missing")),
        ({"a": [[]] * 60}, ["a", "b"], ("a",)),
        ({"a": ["red"] * 60}, ["a", "b"], ("a",)),
    ],
    ids=["unknown column", "duplicate ids", "all missing", "empty", "not vectors"],
)
def test_a_table_that_cannot_be_embedded(conjoin, tmp_path, change, modalities, says):
    write_table(tmp_path, {**table(), **change})
    config(tmp_path, modalities)
    conjoin.bad(tmp_path, "embed", "-w", tmp_path, says=says)


def test_no_rows(conjoin, tmp_path):
    write_table(tmp_path, {name: column[:0] for name, column in table(2).items()})
    config(tmp_path, ["text", "a"])
    conjoin.bad(tmp_path, "embed", "-w", tmp_path, says=("items.parquet",))


def test_vectors_with_nan_or_of_another_length_fail_alone(conjoin, tmp_path):
    columns = table()
    columns["a"][3] = [float("nan")] * 8
    columns["a"][7] = [1.0, 2.0]
    write_table(tmp_path, columns)
    config(tmp_path, ["a", "b"])
    told = conjoin("embed", "-w", tmp_path)
    assert told.code == 1
    assert "item i3" in told.err
    assert "item i7" in told.err
    listed = conjoin("embed", "-w", tmp_path, "--json")
    assert listed.code == 1
    failed = listed.json["modalities"][0]["failed"]
    assert [entry["id"] for entry in failed] == ["i3", "i7"]
    assert "NaN" in failed[0]["reason"]
    assert conjoin.good("fit", "--method", "ridge", "-w", tmp_path).code == 0


def test_strict_stops_and_names_the_item(conjoin, tmp_path):
    columns = table()
    columns["a"][3] = [float("nan")] * 8
    write_table(tmp_path, columns)
    config(tmp_path, ["a", "b"])
    told = conjoin("embed", "--strict", "-w", tmp_path)
    assert told.code == 2
    assert told.err.count("\n") == 1
    assert "i3" in told.err


def test_constant_vectors(conjoin, tmp_path):
    write_table(tmp_path, {**table(), "a": [[1.0, 2.0, 3.0, 4.0]] * 60})
    config(tmp_path, ["a", "b"])
    told = conjoin("embed", "-w", tmp_path)
    if told.code == 2:  # the encoder refuses to standardise them
        assert "a" in told.err
        return
    conjoin.bad(tmp_path, "fit", "-w", tmp_path, says=("modality a", "the same"))


def test_media_of_which_none_can_be_read(conjoin, tmp_path):
    columns = table(12)
    columns["sound"] = [f"{row}.wav" for row in range(12)]
    for name in columns["sound"]:
        (tmp_path / name).write_bytes(b"RIFF torn")
    write_table(tmp_path, columns)
    config(tmp_path, [("sound", "sound", "builtin:audio"), "a"])
    told = conjoin("embed", "-w", tmp_path)
    assert told.code == 1
    assert "12 failed" in told.out
    conjoin.bad(tmp_path, "fit", "-w", tmp_path, says=("modality sound", "all 12 cells failed"))


def test_too_few_pairs(conjoin, tmp_path):
    shelf(tmp_path, ["a", "b"], n=4)
    conjoin.good("embed", "-w", tmp_path)
    conjoin.bad(tmp_path, "fit", "-w", tmp_path, says=("pairs", "at least"))


def test_pairs_of_items_that_are_not_there(conjoin, ready):
    write_table(ready, {"a": ["i1", "x9"], "b": ["i1", "i2"]}, "pairs.parquet")
    more = '[pairs.given]\ntable = "pairs.parquet"\nleft = "a"\nright = "b"'
    config(ready, ["a", "b"], more)
    conjoin.bad(ready, "fit", "-w", ready, says=("pairs.parquet", "'x9'", "correct the id"))


def test_one_modality_alone_is_searched_by_its_own_kind(conjoin, tmp_path):
    shelf(tmp_path, ["a"])
    conjoin.good("embed", "-w", tmp_path)
    said = conjoin.good("fit", "-w", tmp_path)
    assert "nothing is fitted" in str(said)
    conjoin.bad(
        tmp_path, "fit", "--method", "cca", "-w", tmp_path, says=("items.parquet", "two modalities")
    )


# The configuration


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[split]", "[split", ("conjoin.toml", "line", "TOML")),
        ("test =", "tset =", ("conjoin.toml:", "tset", "did you mean test")),
        ("version = 1", "version = 9", ("conjoin.toml", "9", "upgrade conjoin")),
        ("builtin:vector", "builtin:vektor", ("vektor", "did you mean builtin:vector")),
        ("builtin:vector", "nosuch:thing", ("nosuch",)),
        ("builtin:vector", "python:no_such_module:f", ("no_such_module",)),
        ("items.parquet", "gone.parquet", ("gone.parquet",)),
        ("test = 0.25", "test = 7.5", ("conjoin.toml", "test")),
        ('id = "id"', 'id = "idd"', ("idd", "did you mean id")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["embed", "fit"])
def test_a_wrong_configuration(conjoin, tmp_path, verb, old, new, says):
    shelf(tmp_path, ["a", "b"])
    path = tmp_path / "conjoin.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    conjoin.bad(tmp_path, verb, "-w", tmp_path, says=says)


def test_an_unknown_group_column(conjoin, ready):
    path = ready / "conjoin.toml"
    path.write_text(path.read_text().replace("test = 0.25", 'group = "nme"'))
    conjoin.bad(ready, "fit", "-w", ready, says=("nme", "did you mean name"))


@pytest.mark.parametrize("verb", ["embed", "fit", "add", "evaluate", "info", "clean"])
def test_no_workspace(conjoin, tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    conjoin.bad(tmp_path, verb, says=("conjoin.toml", "is missing"))
    conjoin.bad(tmp_path, verb, "-w", "gone", says=("gone/conjoin.toml", "is missing"))


def test_verbs_out_of_order(conjoin, tmp_path):
    shelf(tmp_path, ["a", "b"])
    conjoin.bad(tmp_path, "fit", "-w", tmp_path, says=("not embedded", "conjoin embed"))
    for words in (["search", "--item", "i1"], ["evaluate"], ["add"]):
        conjoin.bad(tmp_path, *words, "-w", tmp_path, says=("conjoin fit",))


@pytest.mark.parametrize("name", ["gone.csv", "empty.csv", "torn.parquet", "notes.docx"])
def test_a_table_that_cannot_be_read(conjoin, tmp_path, name):
    if name != "gone.csv":
        (tmp_path / name).write_bytes(b"" if name == "empty.csv" else b"PAR1 torn")
    conjoin.bad(tmp_path, "init", tmp_path / name, "-w", tmp_path, says=(name,))


# State


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("spaces/*/manifest.json", ["fit"]),
        ("spaces/*/*.safetensors", ["fit"]),
        ("encoders/*/encoder.json", ["fit"]),
        ("maps/*/binding.json", ["search", "--item", "i1"]),
        ("maps/*/fit.json", ["search", "--item", "i1"]),
        ("maps/*/maps/*.safetensors", ["search", "--item", "i1"]),
        ("index/*/manifest.json", ["search", "--item", "i1"]),
        ("current.json", ["search", "--item", "i1"]),
    ],
)
def test_torn_and_newer_state_is_refused_and_what_is_torn_is_mended(conjoin, ready, pattern, words):
    path = sorted((ready / ".conjoin").glob(pattern))[0]
    whole = path.read_bytes()
    if path.suffix == ".json":
        write_json(path, {**read_json(path), "version": 99})
    else:
        arrays, meta = map_arrays(path)
        held = {name: np.array(array) for name, array in arrays.items()}
        write_arrays(path, held, {**meta, "version": 9})
    newer = path.read_bytes()
    assert newer != whole
    conjoin.bad(ready, *words, "-w", ready, says=(path.name, "upgrade conjoin"))
    for torn in (whole[: len(whole) // 2], b"", b"{}"):
        path.write_bytes(torn)
        conjoin.bad(ready, *words, "-w", ready, says=(path.name, "conjoin"))
    conjoin.good("clean", "--yes", "-w", ready)
    conjoin.good("embed", "-w", ready)
    conjoin.good("fit", "--method", "ridge", "-w", ready)
    conjoin.good("search", "--item", "i1", "-w", ready)


def test_torn_tables_of_an_index(conjoin, ready):
    pytest.importorskip("lancedb")
    (index,) = (ready / ".conjoin" / "index").iterdir()
    shutil.rmtree(index / "derived")
    for path in (index / "tables").rglob("*.lance"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:50])
    conjoin.bad(
        ready, "search", "--item", "i1", "-w", ready,
        says=("tables", "has 50 bytes of", "run: conjoin fit"),
    )  # fmt: skip
    conjoin.good("fit", "--method", "ridge", "-w", ready)
    conjoin.good("search", "--item", "i1", "-w", ready)


def test_a_torn_plan(conjoin, ready):
    for torn in ('{"keys": [[', '{"version": 1}', "[]", ""):
        for store in (ready / ".conjoin" / "spaces").iterdir():
            (store / "plan.json").write_text(torn)
        conjoin.bad(ready, "embed", "-w", ready, says=("plan.json", "conjoin clean"))
    conjoin.good("clean", "--yes", "-w", ready)
    conjoin.good("embed", "-w", ready)


def test_an_encoder_that_changed_is_stale(conjoin, ready, tmp_path):
    path = ready / "conjoin.toml"
    config(ready, [("a", "b", "builtin:vector"), "b"])
    conjoin.bad(
        ready, "search", "--item", "i1", "--from", "a", "-w", ready,
        says=("modality a", "stale", "conjoin embed", "conjoin fit"),
    )  # fmt: skip
    assert path.exists()
    conjoin.good("embed", "-w", ready)
    conjoin.bad(ready, "search", "--item", "i1", "--from", "a", "-w", ready, says=("stale",))
    conjoin.bad(ready, "evaluate", "-w", ready, says=("modality a", "stale"))
    conjoin.good("fit", "--method", "ridge", "-w", ready)
    conjoin.good("search", "--item", "i1", "--from", "a", "-w", ready)


DRIFTS = """
import os
import numpy as np

def vectors(cells):
    by = float(os.environ["DRIFT"])
    return np.array([[len(c), c.count("e") * by, c.count("1"), 1] for c in cells], dtype="f4")
"""


def test_a_function_that_drifted_is_refused(conjoin, tmp_path, monkeypatch):
    (tmp_path / "drifts.py").write_text(DRIFTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DRIFT", "1")
    folder = shelf(tmp_path / "ws", [("text", "name", "python:drifts:vectors"), "a"])
    conjoin.good("embed", "-w", folder)
    conjoin.good("fit", "--method", "ridge", "-w", folder)
    conjoin.good("search", "red", "-w", folder)
    monkeypatch.setenv("DRIFT", "3")
    for words in (["search", "red"], ["embed"]):
        conjoin.bad(folder, *words, "-w", folder, says=("drifts",))


# The machine


def test_a_missing_extra_names_the_line_that_installs_it(conjoin, tmp_path, monkeypatch):
    folder = shelf(tmp_path, [("text", "name", "st:some-model"), "a"])
    real = importlib.import_module

    def blocked(name, package=None):
        if name.split(".")[0] == "sentence_transformers":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", blocked)
    conjoin.bad(folder, "embed", "-w", folder, says=("sentence_transformers", "pip install"))


@pytest.mark.parametrize("words", [["embed"], ["fit", "--method", "cca"]])
def test_a_full_disk(conjoin, ready, monkeypatch, words):
    if words == ["embed"]:
        shutil.rmtree(ready / ".conjoin")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = snapshot(ready)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        told = conjoin(*words, "-w", ready)
    assert told.code == 2
    assert told.err.count("\n") == 1
    assert "no space left" in told.err
    assert snapshot(ready) == before
    conjoin.good(*words, "-w", ready)


def test_a_folder_that_cannot_be_written(conjoin, ready, monkeypatch):
    real = builtins.open

    def refused(*args, **named):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    shutil.rmtree(ready / ".conjoin")
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkstemp", refused)
        conjoin.bad(ready, "embed", "-w", ready, says=("ermission denied", "written"))
    assert real is builtins.open


def test_mixed_frames_are_refused(ready):
    from conjoin.errors import FrameError
    from conjoin.retrieval.index.index import Index
    from conjoin.spaces import Space

    x = np.eye(4, dtype=np.float32)
    with pytest.raises(FrameError, match="frame"):
        Index.build({"a": Space.of(x, name="one"), "b": Space.of(x, name="two")})
