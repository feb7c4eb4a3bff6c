"""Every verb as a person and as a program meets it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from shelf import Caller, config, shelf, snapshot, table, write_table

VERBS = [
    "demo",
    "init",
    "embed",
    "fit",
    "compare",
    "forecast",
    "claims",
    "add",
    "search",
    "evaluate",
    "measure",
    "methods",
    "weights",
    "info",
    "clean",
]
METRICS = {"recall@1", "recall@5", "recall@10", "mrr", "ndcg@10", "median_rank"}


@pytest.fixture
def conjoin(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A workspace that is embedded and fitted; tests copy it before they write."""
    folder = shelf(tmp_path_factory.mktemp("fitted"))
    env = {**os.environ, "PYTHONWARNINGS": "default"}
    for words in (["embed"], ["fit", "--method", "ridge"]):
        done = subprocess.run(
            [sys.executable, "-m", "conjoin.cli.main", *words], cwd=folder, env=env,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""  # nothing leaks, and progress is silent off a terminal
    return folder


@pytest.fixture
def ready(fitted, tmp_path):
    import shutil

    return Path(shutil.copytree(fitted, tmp_path / "ws"))


def test_help_names_every_verb_in_one_line_each(conjoin):
    told = conjoin.good("--help")
    for verb in VERBS:
        (line,) = re.findall(rf"^  {verb} +\S.*$", told.out, re.MULTILINE)
        assert "..." not in line
        assert len(line) <= 80
    assert conjoin.good().out == told.out


def test_help_has_every_command_in_one_group_of_its_purpose(conjoin):
    from conjoin.cli.help import GROUPS

    told = conjoin.good("--help").out
    placed = [name for names in GROUPS.values() for name in names]
    assert sorted(placed) == sorted(set(placed))
    assert "Further:" not in told  # a new command is placed, not left over
    titles = re.findall(r"^(\w[\w ]*):$", told, re.MULTILINE)
    assert titles[-len(GROUPS) :] == list(GROUPS)
    for title, names in GROUPS.items():
        part = told.split(f"{title}:\n")[1].split("\n\n")[0]
        assert tuple(re.findall(r"^  (\S+) ", part, re.MULTILINE)) == names


@pytest.mark.parametrize("verb", [v for v in VERBS if v != "weights"])
def test_every_verb_takes_the_common_options(conjoin, verb):
    told = conjoin(verb, "--json", "--dry-run", "--yes", "--seed", "1", "--quiet", "--help")
    assert told.code == 0
    assert f"conjoin {verb}" in told.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ftt"], "did you mean"),
        (["fit", "--methd", "x"], "--method"),
        (["search", "x", "-k", "0"], "-k"),
        (["search", "x", "-k", "ten"], "-k"),
        (["init"], "see conjoin init --help"),
        (["weights", "ad"], "did you mean"),
        (["fit", "--seed", "-1"], "--seed"),
    ],
)
def test_bad_usage_is_one_line(conjoin, tmp_path, words, says):
    conjoin.bad(tmp_path, *words, says=(says,))


def test_version(conjoin):
    assert re.fullmatch(r"conjoin \d\S+\n", conjoin.good("--version").out)


def _write(columns, path):
    frame = pa.table(columns)
    if path.suffix == ".parquet":
        pq.write_table(frame, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in frame.to_pylist()))
    elif path.suffix in (".arrow", ".feather"):
        feather.write_feather(frame, path)
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        rows = [
            mark.join(columns),
            *(mark.join(map(str, r)) for r in zip(*columns.values(), strict=False)),
        ]
        path.write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.arrow", "t.csv", "t.tsv"])
def test_init_reads_a_table(conjoin, tmp_path, monkeypatch, name):
    columns = table(30)
    if name.endswith("sv"):
        columns = {"id": columns["id"], "name": columns["name"]}
    _write(columns, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    dry = conjoin.good("init", name, "--dry-run")
    assert not (tmp_path / "conjoin.toml").exists()
    assert "run: conjoin embed" in conjoin.good("init", name).out
    written = (tmp_path / "conjoin.toml").read_text()
    assert written == dry.out
    assert f'table = "{name}"' in written
    assert 'column = "name"' in written
    refused = conjoin("init", name)
    assert refused.code == 2
    assert "--yes" in refused.err
    assert conjoin.good("init", name, "--yes", "--json").json["toml"] == written


def test_init_reads_a_folder_and_a_data_set(conjoin, tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset(pa.table(table(20))).save_to_disk(str(tmp_path / "set"))
    (tmp_path / "files").mkdir()
    for number in range(4):
        (tmp_path / "files" / f"{number}.txt").write_text(f"note {number}")
        np.save(tmp_path / "files" / f"{number}.npy", np.arange(5.0) + number)
    for name in ("set", "files"):
        (tmp_path / f"ws_{name}").mkdir()
        conjoin.good("init", tmp_path / name, "-w", tmp_path / f"ws_{name}")
        assert f'table = "../{name}"' in (tmp_path / f"ws_{name}" / "conjoin.toml").read_text()


def test_from_elsewhere_by_a_relative_path(conjoin, ready, monkeypatch, tmp_path):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    told = conjoin.good("search", "red", "--workspace", "../ws", "-k", "2", "--json")
    here = snapshot(ready)
    monkeypatch.chdir(ready)
    assert conjoin.good("search", "red", "-k", "2", "--json").json == told.json
    assert snapshot(ready) == here


def test_search_by_words_and_by_item(conjoin, ready):
    by = conjoin.good("search", "red thing", "--into", "a", "--into", "text", "-w", ready, "--json")
    assert list(by.json["lists"]) == ["a", "text", "mixed"]
    assert all(len(hits) == 10 for hits in by.json["lists"].values())
    (hits,) = conjoin.good(
        "search", "--item", "i3", "--from", "a", "--into", "b", "-w", ready, "--json"
    ).json["lists"].values()  # fmt: skip
    assert hits[0]["id"] == "i3"
    own = conjoin.good(
        "search", "--item", "i3", "--from", "a", "--into", "a", "-w", ready, "--json"
    )
    assert "i3" not in [hit["id"] for hit in own.json["lists"]["a"]]


def test_hits_for_people(conjoin, ready, tmp_path):
    page = tmp_path / "hits.html"
    told = conjoin.good("search", "red", "--into", "a", "-w", ready, "--html", page)
    assert "red thing" in told.out
    assert max(map(len, told.out.splitlines())) <= 80
    assert "wrote" in told.err
    assert "<html" in page.read_text()
    assert conjoin.good("search", "red", "-w", ready, "--html", page, "-q").err == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["search", "red", "--into", "tex"], ("--into", "did you mean text")),
        (["search", "red", "--from", "a"], ("--from", "vector")),
        (["search", "red", "--from", "aa"], ("--from", "did you mean a")),
        (["search", "--item", "i999"], ("i999", "ids")),
        (["search", "--item", "i1", "--from", "zz"], ("--from", "zz")),
        (["search", "--query", "gone.png"], ("gone.png", "no such file")),
        (["search", "--query", "conjoin.toml"], ("conjoin.toml", ".toml")),
        (["search"], ("nothing to look for", "--item ID")),
        (["search", " "], ("empty",)),
        (["fit", "--method", "rige"], ("did you mean ridge",)),
        (["fit", "--hub", "tex"], ("hub", "tex")),
        (["embed", "tex"], ("did you mean text",)),
        (["add"], ("every modality is bound",)),
        (["add", "a"], ("bound already",)),
        (["methods", "rige"], ("did you mean ridge",)),
        (["methods", "--kind", "alignr"], ("did you mean aligner",)),
        (["weights", "add", "aisf"], ("did you mean aisfx",)),
        (["clean", "--all"], ("--yes",)),
    ],
)
def test_wrong_arguments(conjoin, ready, monkeypatch, words, says):
    monkeypatch.chdir(ready)
    conjoin.bad(ready, *words, says=says)


@pytest.fixture(scope="module")
def judged(fitted, tmp_path_factory):
    import shutil

    folder = shutil.copytree(fitted, tmp_path_factory.mktemp("judged") / "ws")
    done = subprocess.run(
        [sys.executable, "-m", "conjoin.cli.main", "evaluate", "--json", "-w", str(folder)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return Path(folder), json.loads(done.stdout)


def test_evaluate_json_is_the_contract(judged):
    rows = judged[1]["results"]
    fields = {"query", "target", "metric", "value", "low", "high", "n", "method", "chosen"}
    assert all(fields <= set(row) for row in rows)
    names = ("text", "a", "b")
    directions = {(q, t) for q in names for t in names if q != t}
    assert {(row["query"], row["target"]) for row in rows} == directions
    for query, target in directions:
        own = [r for r in rows if (r["query"], r["target"]) == (query, target)]
        assert {r["metric"] for r in own} == METRICS
        for metric in METRICS:
            found = [r for r in own if r["metric"] == metric]
            assert sum(r["chosen"] for r in found) == 1
            methods = {r["method"] for r in found if not r["chosen"]}
            assert {"chance", "procrustes", "cca"} <= methods
            assert len(found) == len({(r["method"], r["chosen"]) for r in found})
            for row in found:
                assert row["low"] is None or row["low"] <= row["value"] <= row["high"]
                assert row["n"] == own[0]["n"]


def test_evaluate_scores_a_linear_world_well_and_chance_as_chance(judged):
    rows = {
        (r["query"], r["target"], r["method"] if not r["chosen"] else "chosen"): r
        for r in judged[1]["results"] if r["metric"] == "recall@1"
    }  # fmt: skip
    assert rows["a", "b", "chosen"]["value"] > 0.5
    chance = rows["a", "b", "chance"]
    assert chance["value"] == pytest.approx(1 / chance["n"])


def test_evaluate_for_people_and_again_recomputes_nothing(conjoin, judged):
    folder, first = judged
    before = snapshot(folder)
    again = conjoin.good("evaluate", "-w", folder, "--json").json
    assert again["results"] == first["results"]
    told = conjoin.good("evaluate", "-w", folder)
    assert snapshot(folder) == before
    assert "text → a" in told.out
    assert "chance" in told.out
    assert max(map(len, told.out.splitlines())) <= 120
    assert len(told.out.splitlines()) < 30
    assert "better than chance in" in told.out
    assert "probabilities" in told.out
    whole = conjoin.good("evaluate", "-w", folder, "--verbose").out
    assert "median_rank" in whole
    assert "median_rank" not in told.out
    assert len(whole.splitlines()) > 2 * len(told.out.splitlines())
    dry = conjoin.good("evaluate", "-w", folder, "--dry-run", "--json").json
    assert dry["held"] == {"text": 15, "a": 15, "b": 15}


def test_a_direction_counts_where_its_interval_is_above_chance():
    from types import SimpleNamespace

    from conjoin.cli.actions.judge.evaluate import verdict

    def found(low):
        row = {"query": "a", "target": "b", "metric": "recall@10"}
        return SimpleNamespace(results=[
            SimpleNamespace(**row, method="chance", chosen=False, value=0.1),
            SimpleNamespace(**row, method="m", chosen=True, value=0.3, low=low, high=0.4),
        ])  # fmt: skip

    assert verdict(found(0.1001))[0] == "better than chance in 1 of 1 direction"
    assert verdict(found(0.1))[0] == "better than chance in 0 of 1 direction"


def test_json_is_one_object_everywhere(conjoin, ready):
    for words in (
        ["embed"], ["embed", "--dry-run"], ["fit", "--dry-run"], ["fit", "--method", "ridge"],
        ["info"], ["clean", "--yes"], ["clean", "--dry-run"], ["search", "red"],
    ):  # fmt: skip
        told = conjoin.good(*words, "--json", "-w", ready)
        assert isinstance(told.json, dict)
    for words in (["methods"], ["methods", "ridge"], ["methods", "--kind", "aligner"],
                  ["weights", "list"]):  # fmt: skip
        assert isinstance(conjoin.good(*words, "--json").json, dict)


def test_a_dry_run_writes_nothing(conjoin, ready, tmp_path):
    fresh = shelf(tmp_path / "fresh")
    for folder, words in (
        (fresh, ["embed"]), (fresh, ["info"]), (ready, ["fit", "--method", "cca"]),
        (ready, ["clean", "--all"]), (ready, ["evaluate"]), (ready, ["add"]),
    ):  # fmt: skip
        before = snapshot(folder)
        conjoin.good(*words, "--dry-run", "-w", folder)
        assert snapshot(folder) == before, words
    conjoin.good("demo", tmp_path / "demo", "--dry-run")
    assert not (tmp_path / "demo").exists()
    conjoin.good("weights", "add", "aisfx", "--dry-run")


def test_info_names_frames_and_versions(conjoin, ready):
    value = conjoin.good("info", "-w", ready, "--json").json
    assert [entry["rows"] for entry in value["modalities"]] == [60, 60, 60]
    assert value["bound"]["method"] == "ridge"
    assert "numpy" in value["versions"]
    assert "bound: ridge" in conjoin.good("info", "-w", ready).out


def test_clean_removes_only_what_nothing_needs(conjoin, ready):
    before = snapshot(ready)
    assert conjoin.good("clean", "-w", ready, "--yes", "--json").json["removed"] == []
    assert snapshot(ready) == before
    conjoin.good("fit", "--method", "cca", "-w", ready)
    gone = conjoin.good("clean", "-w", ready, "--yes", "--json").json["removed"]
    assert [Path(path).parts[1] for path in gone] == ["index", "maps"]
    conjoin.good("search", "red", "-w", ready)
    state = ready / ".conjoin"
    for name in ("heads/used", "heads/old", "students/old", "fusions/killed/unfinished"):
        (state / name).mkdir(parents=True)
    (state / "fusions" / "whole").mkdir()
    for name, value in (
        ("heads/current.json", {"version": 1, "head": "used"}),
        ("fusions/whole/fusion.json", {"version": 1, "arms": []}),
    ):
        (state / name).write_text(json.dumps(value))
    gone = conjoin.good("clean", "-w", ready, "--yes", "--json").json["removed"]
    assert gone == [f".conjoin/{name}" for name in ("fusions/killed", "heads/old", "students/old")]
    conjoin.good("clean", "--all", "-w", ready, "--yes")
    assert sorted(path.name for path in ready.iterdir()) == ["conjoin.toml", "items.parquet"]


def test_methods_and_weights_read_well(conjoin):
    told = conjoin.good("methods", "--kind", "aligner").out
    assert "ridge" in told
    assert "builtin:text" not in told
    page = conjoin.good("methods", "ridge").out
    assert page.startswith("# ridge")
    assert "Hoerl" in page
    assert "minilm" in conjoin.good("weights", "list").out


def test_a_reader_that_stops_is_no_error(ready):
    script = f"{sys.executable} -m conjoin.cli.main methods --json | head -c 10"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert len(done.stdout) == 10


def test_a_defect_is_one_line_and_code_70(conjoin, ready, monkeypatch):
    from conjoin.cli.actions.keep import info as verbs

    def broken(*_args, **_named):
        raise RuntimeError("a\nbug")

    monkeypatch.setattr(verbs, "run_info", broken)
    told = conjoin("info", "-w", ready)
    assert told.code == 70
    assert told.err.count("\n") == 1
    assert "RuntimeError: a bug" in told.err
    assert "CONJOIN_DEBUG=1" in told.err
    assert conjoin("info", "-w", ready, "--json").json["error"]["found"] == "RuntimeError: a bug"


def test_debug_shows_the_traceback(ready):
    env = {**os.environ, "CONJOIN_DEBUG": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "conjoin.cli.main", "search", "x", "--into", "zz"], cwd=ready,
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" in done.stderr


SLOW = """
import time
from pathlib import Path
import numpy as np

def vectors(cells):
    # Once a part is written nothing goes on until the test says so.
    while list(Path().glob(".conjoin/spaces/*/shards/*.safetensors")) and not Path("go").exists():
        time.sleep(0.01)
    return np.array([[len(cell), cell.count("e"), cell.count("1")] for cell in cells], dtype="f4")
"""


def test_stopping_a_job_leaves_what_goes_on(conjoin, tmp_path, monkeypatch):
    (tmp_path / "slowly.py").write_text(SLOW)
    folder = shelf(tmp_path / "ws", [("text", "name", "python:slowly:vectors")], n=1500)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    job = subprocess.Popen(
        [sys.executable, "-c", f"{heed}; from conjoin.cli.main import main; main()", "embed"],
        cwd=folder, env=env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list(folder.glob(".conjoin/spaces/*/shards/*.safetensors")):
        assert job.poll() is None, "it ended, or fell"
        time.sleep(0.05)
    job.send_signal(signal.SIGINT)
    (folder / "go").touch()
    _, err = job.communicate()
    assert job.returncode == 130
    assert err.count("\n") == 1
    assert "go on" in err
    monkeypatch.syspath_prepend(str(tmp_path))
    made = conjoin.good("embed", "--json", "-w", folder).json["modalities"][0]
    assert made["made"] == 1500
    assert made["failed"] == []


def test_end_to_end_on_real_encoders(conjoin, tmp_path, conjoin_cache):
    from conjoin.items.bundled import sample_path

    rows = pq.read_table(sample_path(), columns=["id", "label", "text", "noto"]).slice(0, 60)
    write_table(tmp_path, {name: rows.column(name) for name in rows.column_names})
    config(tmp_path, [("text", "text", "builtin:text"), ("image", "noto", "builtin:image")])
    conjoin.good("embed", "-w", tmp_path)
    conjoin.good("fit", "--method", "cca", "-w", tmp_path)
    found = conjoin.good("search", "a happy face", "--into", "image", "-w", tmp_path, "--json")
    assert len(found.json["lists"]["image"]) == 10
    (tmp_path / "q.webp").write_bytes(rows.column("noto")[5].as_py())
    found = conjoin.good("search", "--query", tmp_path / "q.webp", "-w", tmp_path, "--json").json
    assert found["lists"]["image"][0]["id"] == rows.column("id")[5].as_py()
    told = conjoin.good("search", "sad", "--into", "image", "-w", tmp_path)
    assert "[picture]" in told.out
