"""``conjoin fuse``, as a person and as a program meets it."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from shelf import Caller, config, table, write_table  # isort: skip

ITEMS = 200


@pytest.fixture
def conjoin(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


@pytest.fixture
def made(tmp_path, conjoin):
    """Two vectors, some of them missing; classes that both tell in part, and a number."""
    columns = table(ITEMS)
    first = np.array(columns["a"])[:, 0]
    second = np.array(columns["b"])[:, 0]
    kind = (first > np.median(first)).astype(int) + 2 * (second > np.median(second))
    columns["kind"] = [f"k{k}" if row % 10 else None for row, k in enumerate(kind)]
    columns["price"] = (first + second).tolist()
    columns["one"] = ["same"] * ITEMS
    columns["list"] = [[1, 2]] * ITEMS
    columns["void"] = [None] * ITEMS
    columns["yes"] = [bool(k % 2) for k in kind]
    columns["whole"] = [float(k % 2) if row % 7 else None for row, k in enumerate(kind)]
    columns["said"] = [f" {value:.3f}" for value in first]
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for row in np.flatnonzero(rng.random(ITEMS) < 0.3):
            if name == "a" or columns["a"][row] is not None:
                columns[name][row] = None
    write_table(tmp_path, columns)
    config(tmp_path, ("a", "b"))
    conjoin.good("embed", "-w", tmp_path, "-q")
    return tmp_path


def test_a_fusion_is_fitted_shown_and_opened_again(made, conjoin):
    asked = ("fuse", "--label", "kind", "--method", "late", "-w", made)
    told = conjoin.good(*asked)
    assert "class shares" in told.out
    assert told.out.startswith("use late")
    assert "Every subset of the modalities" not in told.out
    told = conjoin.good(*asked, "--verbose")
    assert "Every subset of the modalities" in told.out
    assert "What to collect next" in told.out
    folders = list((made / ".conjoin" / "fusions").iterdir())
    assert len(folders) == 1
    assert {p.name for p in folders[0].iterdir()} == {
        "card.md", "fused.safetensors", "fusion.json", "items.json", "missing.md"
    }  # fmt: skip
    card = (folders[0] / "card.md").read_text()
    assert card.startswith("# Fusion: kind from a, b\n")
    assert "Du et al. 2023" in card or "best-single" in card
    before = {p.name: p.stat().st_mtime_ns for p in folders[0].iterdir()}
    again = conjoin.good(*asked, "--json").json
    assert again["fresh"] is False
    assert {p.name: p.stat().st_mtime_ns for p in folders[0].iterdir()} == before
    assert again["trained"] + again["held_out"] == ITEMS - ITEMS // 10
    assert [mask["names"] for mask in again["missing"]["masks"]] == [["a", "b"], ["a"], ["b"]]
    assert json.loads((folders[0] / "fusion.json").read_text())["label"] == "kind"


def test_every_item_is_decided_and_trusted(made, conjoin):
    out = made / "decided.csv"
    told = conjoin.good(
        "fuse", "--label", "kind", "--method", "concat", "-w", made, "--apply", out, "-q"
    )
    assert f"wrote {ITEMS} decisions" in told.out
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == ITEMS
    assert {row["part"] for row in rows} == {"trained on", "held out", "unlabelled"}
    for row in rows:
        assert abs(float(row["trust_a"]) + float(row["trust_b"]) - 1) < 1e-4
        assert row["decided"].startswith("k")
    lines = made / "decided.jsonl"
    conjoin.good("fuse", "--label", "kind", "--method", "concat", "-w", made, "--apply", lines)
    assert [json.loads(line)["id"] for line in lines.open()] == [row["id"] for row in rows]


def test_a_column_of_numbers_is_explained(made, conjoin):
    found = conjoin.good("fuse", "--label", "price", "--method", "late", "-w", made, "--json").json
    assert found["metric"] == "explained"
    assert found["classes"] is None
    assert max(arm["value"] for arm in found["arms"]) > 0.3


def test_it_chooses_within_a_budget(made, conjoin):
    found = conjoin.good("fuse", "--label", "kind", "--budget", "3s", "-w", made, "--json").json
    assert {arm["method"] for arm in found["arms"]} >= {"best-single", "late", "imputed-logistic"}
    assert found["not_tried"]
    assert found["units"] < 60


def test_a_dry_run_writes_nothing(made, conjoin):
    told = conjoin.good("fuse", "--label", "kind", "-w", made, "--dry-run", "--json")
    assert told.json == {"label": "kind", "items": 180, "fitted": False, "dry": True}
    assert not (made / ".conjoin" / "fusions").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--label", "knid"), ("'knid' is no column", "did you mean kind")),
        (("--label", "one"), ("column 'one': all 150 training items are 'same'", "two classes")),
        (("--label", "name"), ("column 'name'", "classes for 150", "values repeat")),
        (("--label", "list"), ("column 'list'", "holds lists", "one value a cell")),
        (("--label", "void"), ("column 'void'", "0 labelled items")),
        (("--label", "yes", "--task", "regression"), ("is no number", "--task classification")),
        ((), ("nothing to do", "--label COLUMN or --apply FILE")),
        (("--apply", "out.csv"), ("no fusion is fitted yet", "--label COLUMN")),
        (("--label", "kind", "--method", "lte"), ("'lte' is unknown", "did you mean late")),
        (("--label", "kind", "--task", "number"), ("'number'", "classification or regression")),
        (("--label", "kind", "--task", "regression"), ("is no number", "--task classification")),
        (("--label", "kind", "c"), ("'c' is not configured",)),
        (("--label", "kind", "--budget", "soon"), ("--budget", "90s, 10m or 1h")),
    ],
)
def test_bad_input_is_one_line(made, conjoin, words, says):
    conjoin.bad(made, "fuse", "-w", made, "-q", *words, says=says)


def test_a_file_of_another_kind_is_refused(made, conjoin):
    asked = ("fuse", "--label", "kind", "--method", "late", "-w", made, "-q")
    conjoin.good(*asked)
    told = conjoin(*asked, "--apply", made / "out.txt")
    assert told.code == 2
    assert "neither .csv nor .jsonl" in told.err
    assert not (made / "out.txt").exists()


def test_what_changes_is_fitted_anew(made, conjoin):
    asked = ("fuse", "--label", "kind", "--method", "late", "-w", made, "--json")
    one = conjoin.good(*asked).json
    other = conjoin.good(*asked, "--seed", "1").json
    assert other["fresh"]
    assert other["folder"] != one["folder"]


def test_the_last_fusion_decides_new_items_with_whatever_they_have(made, conjoin):
    asked = ("fuse", "--label", "kind", "--method", "late", "--budget", "1s", "-w", made)
    conjoin.good(*asked, "-q")
    source = next(made.glob("*.parquet"))
    columns = pq.read_table(source).to_pydict()
    for name, values in columns.items():
        values.append({"id": "fresh", "kind": None, "a": None}.get(name, values[0]))
    columns["b"][-1] = next(v for v in columns["b"] if v is not None)
    write_table(made, columns)
    conjoin.good("embed", "-w", made, "-q")
    # An item that is to be decided is no reason to fit again.
    assert conjoin.good(*asked, "--json").json["fresh"] is False
    told = conjoin.good("fuse", "-w", made, "--apply", made / "now.csv", "--json").json
    assert told["applied"] == ITEMS + 1
    row = list(csv.DictReader((made / "now.csv").open()))[-1]
    assert (row["id"], row["part"], float(row["trust_a"])) == ("fresh", "unlabelled", 0.0)
    # The table of another day: no label column, and one item alone has the first modality.
    gone = {n: v for n, v in columns.items() if n != "kind"}
    first = next(row for row, cell in enumerate(gone["a"]) if cell is not None)
    gone["a"] = [cell if row == first else None for row, cell in enumerate(gone["a"])]
    write_table(made, gone)
    conjoin.good("embed", "-w", made, "-q")
    told = conjoin.good("fuse", "-w", made, "--apply", made / "then.csv")
    assert "decisions of kind" in told.out
    told = list(csv.DictReader((made / "then.csv").open()))
    assert [float(r["trust_a"]) > 0 for r in told].count(True) == 1
    assert {r["part"] for r in told} == {"unlabelled"}
    conjoin.bad(made, "fuse", "a", "-w", made, "--apply", "x.csv", says=("give --label COLUMN",))


def test_whole_numbers_with_gaps_are_classes_without_fractions(made, conjoin):
    asked = ("fuse", "-w", made, "--method", "late", "--budget", "1s", "--json")
    assert conjoin.good(*asked, "--label", "whole").json["classes"] == ["0", "1"]
    assert conjoin.good(*asked, "--label", "yes").json["classes"] == ["False", "True"]
    found = conjoin.good(*asked, "--label", "said", "--task", "regression").json
    assert found["metric"] == "explained"
