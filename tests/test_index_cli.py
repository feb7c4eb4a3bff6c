"""``conjoin index`` as a person or a script meets it."""

import pytest

from shelf import Caller, config, shelf, table, write_table

pytest.importorskip("lancedb")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ws") / "ws"
    shelf(folder, n=48)
    with pytest.MonkeyPatch.context() as patch:
        from conjoin.project.fit import pipeline as jobs
        from conjoin.project.workspace import Workspace

        patch.setattr(jobs, "write_card", lambda *_: None)
        ws = Workspace(folder)
        for modality in ws.modalities:
            ws.embed(modality.name)
        jobs.fit(ws, method="ridge")
    return folder


@pytest.fixture
def call(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


def test_an_index_is_changed_checked_and_brought_back(fitted, call, tmp_path):
    told = call.good("index", "info", "--json", "-w", fitted).json
    assert [m["rows"] for m in told["modalities"]] == [48, 48, 48]
    assert told["columns"] == {"id": "string", "name": "string"}
    start = told["version"]
    for words, says in (
        (("delete", "--where", "nam=x", "--yes"), ("no column 'nam'", "did you mean name")),
        (("delete", "zz9", "--yes"), ("'zz9' is not indexed",)),
        (("delete", "--yes"), ("names nothing",)),
        (("delete", "i1", "--into", "texd", "--yes"), ("did you mean text",)),
        (("rollback", "99", "--yes"), ("99 is not kept",)),
        (("add", "texd"), ("did you mean text",)),
        (("push", "--to", "milvus:x"), ("give qdrant:PATH",)),
        (("delete", "i1"), ("nobody to ask", "--yes")),
    ):
        call.bad(fitted, "index", *words, "-w", fitted, says=says)
    gone = call.good("index", "delete", "i3", "i4", "--into", "a", "--yes", "--json", "-w", fitted)
    assert gone.json == {"rows": {"a": 2}, "version": start + 1}
    hits = call.good("search", "--item", "i3", "--into", "a", "-k", 48, "--json", "-w", fitted).json
    assert "i3" not in {hit["id"] for hit in hits["lists"]["a"]}
    assert "2 of a" in call.good("index", "add", "--dry-run", "-w", fitted).out
    back = call.good("index", "rollback", start, "--yes", "--json", "-w", fitted).json
    assert back["rows"]["a"] == 48
    listed = call.good("index", "versions", "--json", "-w", fitted).json["versions"]
    assert [v["why"] for v in listed[-2:]] == ["delete", f"rollback to {start}"]
    assert call.good("index", "compact", "--yes", "--json", "-w", fitted).json["forgotten"] >= 2
    files = call.good("index", "export", tmp_path / "out", "--json", "-w", fitted).json["files"]
    assert set(files) == {"text", "a", "b"}


def test_new_changed_and_gone_items_reach_the_index(fitted, call):
    more = table(52)
    keep = [row for row in range(52) if row != 5]
    more = {name: [cells[row] for row in keep] for name, cells in more.items()}
    more["a"][0] = [9.0] * 8
    write_table(fitted, more)
    call.good("embed", "-q", "-w", fitted)
    told = call.good("index", "add", "--dry-run", "--json", "-w", fitted).json
    assert told["rows"] == {"text": 4, "a": 5, "b": 4}
    assert told["replacing"]["a"] == 1
    assert told["gone"] == ["i5"]
    assert "--prune deletes" in call.good("index", "add", "-w", fitted).out
    rows = call.good("index", "info", "--json", "-w", fitted).json["modalities"]
    assert [m["rows"] for m in rows] == [52, 52, 52]
    before = call.good("index", "versions", "--json", "-w", fitted).json["versions"]
    call.good("index", "add", "--prune", "--yes", "-w", fitted)
    after = call.good("index", "versions", "--json", "-w", fitted).json["versions"]
    assert len(after) == len(before) + 1  # of all modalities at once
    rows = call.good("index", "info", "--json", "-w", fitted).json["modalities"]
    assert [m["rows"] for m in rows] == [51, 51, 51]
    again = call.good("index", "add", "--json", "-w", fitted).json
    assert again["version"] is None
    hits = call.good("search", "--item", "i50", "--into", "b", "--json", "-w", fitted).json
    assert hits["lists"]["b"]


def test_storage_is_chosen_measured_and_checked(fitted, call):
    config(fitted, more='[index]\nstorage = "int8"')
    call.good("index", "tune", "-w", fitted)
    told = call.good("index", "info", "--json", "-w", fitted).json["modalities"]
    assert told[0]["engine"] == "int8 codes"
    assert told[0]["recall"]["low"] > 0.9
    checked = call.good("index", "check", "-k", 5, "--json", "-w", fitted).json
    assert {row["target"] for row in checked["recall"]} == {"text", "a", "b"}
    assert all(row["low"] <= row["value"] <= row["high"] for row in checked["recall"])
    kinds = {row["storage"]["kind"] for row in checked["storage"]}
    assert kinds == {"float32", "float16", "int8", "binary"}
    call.good("search", "red", "--into", "a", "-w", fitted)
    config(fitted, more='[index]\nstorage = "int9"')
    call.bad(fitted, "index", "tune", "-w", fitted, says=("[index] storage",))
    config(fitted)
    call.good("index", "tune", "-w", fitted)
    told = call.good("index", "info", "--json", "-w", fitted).json["modalities"]
    assert told[0]["engine"] == "every row"


def test_edits_are_checked_on_a_copy(fitted, call):
    before = call.good("index", "info", "--json", "-w", fitted).json
    told = call.good("index", "check-edits", "--items", 5, "--json", "-w", fitted).json
    rates = {one["metric"]: one for one in told["rates"]}
    assert list(rates) == ["reliability", "generality", "locality", "portability"]
    assert rates["locality"]["value"] == 1.0
    assert rates["locality"]["n"] > 50
    assert rates["reliability"]["value"] == 1.0
    assert told["moved"] == []
    assert call.good("index", "info", "--json", "-w", fitted).json == before
    call.bad(fitted, "index", "check-edits", "--items", "40", "-w", fitted, says=("give fewer",))
    call.bad(fitted, "index", "check-edits", "--into", "a", "-w", fitted,
             says=("a reads no text here", "name one of text"))  # fmt: skip
