"""The doctor as a person and as a program meets it: findings, the page, decisions, fixes."""

import base64
import csv
import hashlib
import html
import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from conjoin.errors import ConjoinError
from conjoin.project.quality import examine
from conjoin.project.workspace import Workspace
from conjoin.quality.finding import KINDS

from shelf import Caller, config, shelf, table, write_table  # isort: skip

SWAPPED = 20


@pytest.fixture
def conjoin(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sick")
    columns = table(200)
    columns["b"][:SWAPPED] = [*columns["b"][1:SWAPPED], columns["b"][0]]
    columns["colour"] = ["red" if k % 3 else "blue" for k in range(200)]
    write_table(folder, columns)
    config(folder, ("a", "b"))
    with pytest.MonkeyPatch.context() as patch:
        import io
        import sys

        from conjoin.cli.main import main

        for words in (["embed"], ["fit", "--method", "ridge"]):
            patch.setattr(sys, "argv", ["conjoin", *words, "-w", str(folder), "--quiet"])
            patch.setattr(sys, "stdout", io.StringIO())
            with pytest.raises(SystemExit) as stop:
                main()
            assert not stop.value.code
    return folder


@pytest.fixture
def ws(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "ws"))


def decided(path: Path, rows: list[dict]) -> Path:
    names = ["id", "modality", "kind", "decision", "note", "other", "fix"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def drop(item: str, decision: str = "drop", **more: str) -> dict:
    base = {"id": item, "modality": "a+b", "kind": "mismatch", "decision": decision}
    return {**base, "other": item, **more}


def test_swapped_pairs_are_told_with_stable_keys(conjoin, ws):
    before = sorted(p for p in (ws / ".conjoin").rglob("*"))
    told = conjoin.good("doctor", "-w", ws, "--kinds", "mismatch", "--json").json
    assert set(told) == {"findings", "summary", "notes", "facts"}
    found = {f["items"][0] for f in told["findings"]}
    true = {f"i{k}" for k in range(SWAPPED)}
    assert len(found & true) >= 4
    assert len(found - true) <= 1
    assert set(told["findings"][0]) >= {
        "kind", "items", "modality", "confidence", "precision", "evidence", "remedy",
    }  # fmt: skip
    assert told["summary"][0]["kind"] == "mismatch"
    assert sorted(p for p in (ws / ".conjoin").rglob("*")) == before


def test_people_get_a_table(conjoin, ws):
    told = conjoin.good("doctor", "-w", ws)
    assert "mismatch" in told.out
    assert "what to do" in told.out
    assert "--html" in told.out


def test_all_kinds_run_and_can_be_chosen(conjoin, ws):
    for kind in KINDS:
        told = conjoin.good("doctor", "-w", ws, "--kinds", kind, "--json").json
        assert {f["kind"] for f in told["findings"]} <= {kind}
    conjoin.good("doctor", "-w", ws, "--kinds", "leak,twin", "--kinds", "outlier")


def test_the_page_stands_alone(conjoin, ws, tmp_path):
    page = tmp_path / "page.html"
    conjoin.good("doctor", "-w", ws, "--html", page)
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", text)
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    seal = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{seal}'" in text
    rows = re.findall(r'<article tabindex="0"[^>]* data-lines="([^"]*)"', text)
    lines = [line for row in rows for line in json.loads(html.unescape(row))]
    assert any(line["kind"] == "mismatch" and line["other"] for line in lines)
    for line in lines:
        line["decision"] = "keep"
    path = decided(tmp_path / "all.csv", lines)
    assert conjoin.good("doctor", "-w", ws, "--decisions", path, "--json").json["keep"] > 0


def test_a_page_escapes_what_it_shows(conjoin, tmp_path):
    columns = table(60)
    columns["name"] = ['<script>alert("x")</script>'] * 3 + columns["name"][3:]
    write_table(tmp_path, columns)
    config(tmp_path, ("text", "a"))
    conjoin.good("embed", "-w", tmp_path)
    page = tmp_path / "page.html"
    conjoin.good("doctor", "-w", tmp_path, "--html", page, "--kinds", "duplicate")
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_decisions_become_a_table_and_a_fit(conjoin, ws, tmp_path):
    train = json.loads(conjoin.good("fit", "-w", ws, "--dry-run", "--json").out)["train"]
    first = decided(tmp_path / "a.csv", [drop(f"i{k}") for k in range(10)])
    told = conjoin.good("doctor", "-w", ws, "--decisions", first, "--json").json
    assert (told["read"], told["drop"], told["dry"]) == (10, 10, False)
    moved = [drop(f"i{k}", "fix", fix=f"i{(k + 1) % SWAPPED}") for k in range(10, SWAPPED)]
    second = decided(tmp_path / "b.csv", [*moved, drop("i0", "keep", note="seen")])
    conjoin.good("doctor", "-w", ws, "--decisions", second)
    rows = pq.read_table(ws / ".conjoin" / "decisions.parquet").to_pylist()
    assert len(rows) == SWAPPED
    assert {"id", "modality", "kind", "decision", "note"} <= set(rows[0])
    assert next(r for r in rows if r["id"] == "i0")["note"] == "seen"
    fitted = conjoin.good("fit", "-w", ws, "--with-fixes", "--method", "ridge", "--json").json
    fixes = fitted["fixes"]
    assert fixes["dropped"] == 19
    assert fixes["moved"] + len(fixes["notes"]) == 10
    assert fixes["train"][0] == train
    assert fixes["train"][1] < train
    row = fixes["all"]
    assert row["low"] <= row["change"] <= row["high"]
    assert row["with"] - row["without"] == pytest.approx(row["change"])
    assert row["change"] > 0
    conjoin.good("evaluate", "-w", ws)  # on what the fixes left
    assert json.loads((ws / ".conjoin" / "current.json").read_text())["fixes"] is True
    plain = conjoin.good("fit", "-w", ws, "--method", "ridge", "--json").json
    assert plain["folder"] != fitted["folder"]
    assert "fixes" not in json.loads((ws / ".conjoin" / "current.json").read_text())


def test_both_arms_are_asked_the_same_held_out_pairs(conjoin, ws, tmp_path):

    held = [str(i) for i in Workspace(ws, writes=False).split.test][:7]
    path = decided(tmp_path / "a.csv", [drop(item) for item in held])
    conjoin.good("doctor", "-w", ws, "--decisions", path)
    told = conjoin.good("fit", "-w", ws, "--with-fixes", "--method", "ridge", "--json").json
    fixes = told["fixes"]
    assert fixes["train"][0] == fixes["train"][1]
    assert fixes["held_out"][0] - fixes["held_out"][1] == 7
    assert fixes["all"]["change"] == 0  # the arms differ in nothing
    assert fixes["all"]["queries"] == 2 * fixes["held_out"][1]


def test_faults_are_one_line_each(conjoin, ws, tmp_path):
    bad = decided(tmp_path / "id.csv", [drop("nobody")])
    conjoin.bad(ws, "doctor", "-w", ws, "--decisions", bad, says=("id.csv:2", "nobody"))
    bad = decided(tmp_path / "word.csv", [drop("i1"), drop("i2", "dropp")])
    conjoin.bad(ws, "doctor", "-w", ws, "--decisions", bad, says=("word.csv:3", "drop"))
    bad = decided(tmp_path / "kind.csv", [drop("i1", kind="mismatched")])
    conjoin.bad(ws, "doctor", "-w", ws, "--decisions", bad, says=("did you mean mismatch",))
    bad = decided(tmp_path / "fix.csv", [drop("i1", "fix")])
    conjoin.bad(ws, "doctor", "-w", ws, "--decisions", bad, says=("names no partner",))
    (tmp_path / "no.csv").write_text("item,what\n1,2\n")
    conjoin.bad(ws, "doctor", "-w", ws, "--decisions", tmp_path / "no.csv", says=("no column",))
    conjoin.bad(ws, "doctor", "-w", ws, "--decisions", tmp_path / "x.csv", says=("no such file",))
    conjoin.bad(ws, "doctor", "-w", ws, "--kinds", "leek", says=("did you mean leak",))
    conjoin.bad(ws, "doctor", "-w", ws, "--min-confidence", "2", says=("--min-confidence",))
    conjoin.bad(ws, "doctor", "-w", ws, "--label", "color", says=("did you mean colour",))
    conjoin.bad(ws, "doctor", "-w", ws, "--label", "id", says=("200 different values",))
    conjoin.bad(ws, "fit", "-w", ws, "--with-fixes", says=("--with-fixes", "conjoin doctor"))


def test_figures_become_fifths_and_cells_without_a_number_are_empty(tmp_path):
    more = {
        "weight": [float(n) for n in range(100)], "none": [float("nan")] * 100,
        "half": [1.0, 2.0, float("nan"), None] * 25,
    }  # fmt: skip
    write_table(tmp_path, {**table(100), **more})
    config(tmp_path)
    named = partial(examine._named, Workspace(tmp_path, writes=False))
    (weights,) = named(["weight"]).values()
    assert [weights.count(each) for each in dict.fromkeys(weights)] == [20] * 5
    assert weights[0] == "≤ 19.8"
    assert named(["half"])["half"][:4] == ["1.0", "2.0", None, None]
    with pytest.raises(ConjoinError, match="none has 0 different values"):
        named(["none"])


def test_nothing_embedded_is_refused_and_one_modality_is_a_note(conjoin, tmp_path):
    shelf(tmp_path, n=40)
    conjoin.bad(tmp_path, "doctor", "-w", tmp_path, says=("no modality is embedded",))
    conjoin.good("embed", "a", "-w", tmp_path)
    told = conjoin.good("doctor", "-w", tmp_path, "--json").json
    assert any("only a is embedded" in note for note in told["notes"])
    assert not [f for f in told["findings"] if f["kind"] == "mismatch"]


def test_few_pairs_are_a_note(conjoin, tmp_path):
    shelf(tmp_path, n=12)
    conjoin.good("embed", "-w", tmp_path)
    told = conjoin.good("doctor", "-w", tmp_path, "--json").json
    assert any("12 pairs" in note for note in told["notes"])


def test_system_says_what_a_bug_report_needs_and_no_more(conjoin, ws, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    told = conjoin.good("doctor", "--system", "-w", ws)
    value = conjoin.good("doctor", "--system", "-w", ws, "--json").json
    assert set(value) == {"versions", "machine", "extras", "workspace"}
    assert value["workspace"]["name"] == "ws"
    assert value["versions"]["numpy"] == np.__version__
    for text in (told.out, json.dumps(value)):
        assert "hf_secret" not in text
        assert str(ws.parent) not in text
        assert str(Path.home()) + "/" not in text
    assert conjoin.good("doctor", "--system", "-w", ws.parent, "--json").json["workspace"] is None
