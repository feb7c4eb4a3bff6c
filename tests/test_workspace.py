"""A workspace lives: modalities are added, rows come, change and go, and old state still opens."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shelf import Caller, config, shelf, snapshot, table, write_table

GOLDEN = sorted(Path(__file__).parent.glob("golden/format-*"))


@pytest.fixture
def conjoin(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


def vectors(folder: Path, name: str) -> dict[str, np.ndarray]:
    from conjoin.project.workspace import Workspace

    space = Workspace(folder, writes=False).space(name)
    rows = np.asarray(space.take(np.arange(len(space))).vectors)
    return dict(zip(map(str, space.ids), rows, strict=True))


def lasting(folder: Path) -> dict[str, Any]:
    """What a state holds; of an index's tables and times of change, which name themselves, none.

    Rows of the tables are held by the derived files, too.
    """
    found: dict[str, Any] = {
        path: held for path, held in snapshot(folder).items() if "/tables/" not in path
    }
    for path in found:
        if path.startswith("index/") and path.endswith("manifest.json"):
            history = json.loads(found[path])["history"]
            found[path] = [{**version, "when": None} for version in history]
    assert any("/derived/" in path for path in found)
    return found


def bound(conjoin, folder: Path) -> str:
    return conjoin.good("info", "--json", "-w", folder).json["bound"]["frame"]


def made(told) -> list[tuple[int, int, int]]:
    return [(m["made"], m["kept"], m["dropped"]) for m in told.json["modalities"]]


def test_add_leaves_what_is_stored_as_it_is(conjoin, tmp_path):
    shelf(tmp_path, ["a", "b"])
    conjoin.good("embed", "-w", tmp_path)
    conjoin.good("fit", "--method", "ridge", "-w", tmp_path)
    before, frame = snapshot(tmp_path / ".conjoin"), bound(conjoin, tmp_path)
    asked = ["search", "--item", "i3", "--from", "a", "--into", "b", "--json", "-w", tmp_path]
    hits = conjoin.good(*asked).json
    config(tmp_path, ["a", "b", "c"])
    assert conjoin.good("add", "--dry-run", "--json", "-w", tmp_path).json["add"] == ["c"]
    told = conjoin.good("add", "-w", tmp_path, "--json").json
    assert told == {"added": ["c"], "frame": frame}
    after = snapshot(tmp_path / ".conjoin")
    # What was added lies beside; every file that was there is as it was.
    assert set(before) <= set(after)
    changed = {Path(name).name for name in before if before[name] != after[name]}
    assert changed <= {"current.json"}
    assert not [n for n in before if n.startswith("spaces/") and before[n] != after[n]]
    assert conjoin.good(*asked).json == hits
    for query, target in (("c", "a"), ("a", "c"), ("c", "b"), ("b", "c")):
        found = conjoin.good(
            "search", "--item", "i3", "--from", query, "--into", target, "--json", "-w", tmp_path
        ).json["lists"][target]  # fmt: skip
        assert found[0]["id"] == "i3"
    directions = {(r["query"], r["target"]) for r in conjoin.good(
        "evaluate", "--json", "-w", tmp_path).json["results"]}  # fmt: skip
    assert len(directions) == 6


def test_an_add_that_was_stopped_goes_on(conjoin, tmp_path, monkeypatch):
    from conjoin.project.fit import extend as extending

    shelf(tmp_path, ["a", "b"])
    conjoin.good("embed", "-w", tmp_path)
    conjoin.good("fit", "--method", "ridge", "-w", tmp_path)
    config(tmp_path, ["a", "b", "c"])

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(extending, "keep_index", stop)
        assert conjoin("add", "-w", tmp_path).code == 130
    conjoin.good("search", "--item", "i3", "--from", "a", "--into", "b", "-w", tmp_path)
    conjoin.good("add", "-w", tmp_path)
    conjoin.good("search", "--item", "i3", "--from", "a", "--into", "c", "-w", tmp_path)


def test_rows_come_change_and_go(conjoin, tmp_path):
    columns = table(70)
    write_table(tmp_path, {name: column[:60] for name, column in columns.items()})
    config(tmp_path, ["text", "a"])
    assert made(conjoin.good("embed", "--json", "-w", tmp_path)) == [(60, 0, 0)] * 2
    conjoin.good("fit", "--method", "ridge", "-w", tmp_path)
    first, frame = vectors(tmp_path, "text"), bound(conjoin, tmp_path)

    write_table(tmp_path, columns)
    told = conjoin.good("embed", "-w", tmp_path)
    assert "10 made, 60 kept, 0 failed" in told.out
    assert "conjoin fit" in told.err
    second = vectors(tmp_path, "text")
    assert all(np.array_equal(second[item], row) for item, row in first.items())
    conjoin.good("search", "red", "-w", tmp_path)  # by the fit there is
    conjoin.good("fit", "--method", "ridge", "-w", tmp_path)
    assert bound(conjoin, tmp_path) != frame

    changed = {**columns, "name": [*columns["name"][:5], "a green thing", *columns["name"][6:]]}
    write_table(tmp_path, changed)
    (text, a) = made(conjoin.good("embed", "--json", "-w", tmp_path))
    assert text[0] == 1
    assert a == (0, 70, 0)
    third = vectors(tmp_path, "text")
    assert [i for i in third if not np.array_equal(third[i], second[i])] == ["i5"]
    conjoin.good("fit", "--method", "ridge", "-w", tmp_path)
    hits = conjoin.good("search", "green", "--into", "text", "--json", "-w", tmp_path).json
    assert hits["lists"]["text"][0]["id"] == "i5"

    write_table(tmp_path, {name: column[10:] for name, column in changed.items()})
    assert made(conjoin.good("embed", "--json", "-w", tmp_path)) == [(0, 60, 10)] * 2
    assert "i5" not in vectors(tmp_path, "text")
    conjoin.good("fit", "--method", "ridge", "-w", tmp_path)


def test_again_is_nothing(conjoin, tmp_path, monkeypatch):
    shelf(tmp_path, ["text", "a"])
    for words in (["embed"], ["fit", "--method", "ridge"], ["evaluate"]):
        conjoin.good(*words, "-w", tmp_path)
    before = snapshot(tmp_path)

    def never(*_args, **_named):
        raise AssertionError("computed again")

    from conjoin.alignment.binding import Binding
    from conjoin.encoders.builtin.chargram import CharGram
    from conjoin.project.evaluation import evaluate
    from conjoin.project.fit import pipeline as jobs

    monkeypatch.setattr(CharGram, "forward", never)
    monkeypatch.setattr(Binding, "fit", never)
    monkeypatch.setattr(evaluate, "evaluate", never)
    monkeypatch.setattr(jobs, "build_index", never)
    for words in (["embed"], ["fit", "--method", "ridge"], ["evaluate"]):
        conjoin.good(*words, "-w", tmp_path)
    assert snapshot(tmp_path) == before


def test_a_changed_held_out_cell_is_judged_anew(conjoin, tmp_path):
    shelf(tmp_path, ["a", "b"])
    for words in (["embed"], ["fit", "--method", "ridge"], ["evaluate"]):
        conjoin.good(*words, "-w", tmp_path)
    columns = table()
    columns["a"] = columns["a"][::-1]
    write_table(tmp_path, columns)
    conjoin.good("embed", "-w", tmp_path)
    runs = list((tmp_path / ".conjoin" / "runs").iterdir())
    conjoin.good("evaluate", "-w", tmp_path)
    assert len(list((tmp_path / ".conjoin" / "runs").iterdir())) == len(runs) + 1


def test_cells_may_be_missing_anywhere(conjoin, tmp_path):
    columns = table()
    for start, name in enumerate(("name", "a", "b")):
        columns[name] = [None if row % 7 == start else v for row, v in enumerate(columns[name])]
    write_table(tmp_path, columns)
    config(tmp_path, ["text", "a", "b"])
    conjoin.good("embed", "-w", tmp_path)
    conjoin.good("fit", "--method", "ridge", "-w", tmp_path)
    stored = conjoin.good("info", "--json", "-w", tmp_path).json["modalities"]
    assert [m["rows"] for m in stored] == [51, 51, 51]
    conjoin.good("evaluate", "-w", tmp_path)
    conjoin.bad(
        tmp_path, "search", "--item", "i1", "--from", "a", "-w", tmp_path, says=("i1", "modality a")
    )
    conjoin.good("search", "--item", "i1", "--into", "a", "-w", tmp_path)


def test_several_captions_an_item(conjoin, tmp_path):
    columns = table()
    columns["name"] = [[name, f"{name} again"] for name in columns["name"]]
    write_table(tmp_path, columns)
    config(tmp_path, ["text", "a"])
    conjoin.good("embed", "-w", tmp_path)
    conjoin.good("fit", "--method", "ridge", "-w", tmp_path)
    rows = conjoin.good("info", "--json", "-w", tmp_path).json["modalities"]
    assert [m["rows"] for m in rows] == [120, 60]
    found = conjoin.good("search", "red again", "--into", "text", "--json", "-w", tmp_path)
    ids = [hit["id"] for hit in found.json["lists"]["text"]]
    assert len(ids) == len(set(ids)) == 10
    assert found.json["lists"]["text"][0]["part"] == 1


def test_a_table_of_pairs_many_to_many(conjoin, tmp_path):
    columns = table()
    columns["b"] = columns["b"][::-1]  # a row's own cells do not belong together
    write_table(tmp_path, columns)
    config(
        tmp_path, ["a", "b"],
        '[pairs.given]\ntable = "pairs.parquet"\nleft = "a"\nright = "b"\nweight = "w"',
    )  # fmt: skip
    left = [f"i{row}" for row in range(60)]
    pairs = {
        "a": [*left, *left[:20]],
        "b": [*left[::-1], *left[:20][::-1]],
        "w": [1.0] * 60 + [0.01] * 20,
    }
    write_table(tmp_path, pairs, "pairs.parquet")
    conjoin.good("embed", "-w", tmp_path)
    conjoin.good("fit", "--method", "ridge", "-w", tmp_path)
    hits = conjoin.good("search", "--item", "i3", "--into", "b", "--json", "-w", tmp_path).json
    assert hits["lists"]["b"][0]["id"] == "i56"


def test_a_name_with_a_dot_or_a_space(conjoin, tmp_path):
    parts = [("my text", "name", "builtin:chargram"), ("v1.5", "a", "builtin:vector")]
    shelf(tmp_path, parts)
    conjoin.good("embed", "my text", "-w", tmp_path)
    conjoin.good("embed", "-w", tmp_path)
    conjoin.good("fit", "--method", "ridge", "--hub", "v1.5", "-w", tmp_path)
    told = conjoin.good("search", "red", "--into", "v1.5", "--json", "-w", tmp_path).json
    assert list(told["lists"]) == ["v1.5"]
    conjoin.good("evaluate", "-w", tmp_path)


def test_the_same_seed_gives_the_same_bytes(conjoin, tmp_path):
    states = []
    for name in ("one", "two"):
        folder = shelf(tmp_path / name, ["text", "a"])
        conjoin.good("embed", "-w", folder)
        conjoin.good("fit", "--method", "cca", "--seed", "3", "-w", folder)
        states.append(lasting(folder / ".conjoin"))
    assert states[0] == states[1]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_state_of_older_versions_opens(conjoin, golden, tmp_path):
    folder = Path(shutil.copytree(golden, tmp_path / "ws"))
    (folder / "state").rename(folder / ".conjoin")
    before = snapshot(folder)
    for query, target in (("a", "b"), ("b", "a")):
        hits = conjoin.good(
            "search", "--item", "i3", "--from", query, "--into", target, "--json", "-w", folder
        ).json["lists"][target]  # fmt: skip
        assert "i3" in [hit["id"] for hit in hits[:3]]
    assert conjoin.good("info", "--json", "-w", folder).json["bound"]["method"] == "ridge"
    assert made(conjoin.good("embed", "--json", "-w", folder)) == [(0, 32, 0)] * 2
    assert snapshot(folder) == before


def test_there_is_a_golden_workspace_of_this_format():
    from conjoin.storage.files import FORMAT

    assert f"format-{FORMAT}" in [path.name for path in GOLDEN]
    for path in GOLDEN:
        for state in path.glob("state/**/*.json"):
            assert json.loads(state.read_bytes())["version"] == int(path.name.split("-")[1])
