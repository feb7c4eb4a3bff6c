"""An index brought up to date: what changes, what does not, and what is left of what is gone."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from conjoin.cli.actions.keep.sync import sentence
from conjoin.cli.main import app
from conjoin.errors import ConjoinError
from conjoin.project.evaluation import evaluate
from conjoin.project.fit import pipeline
from conjoin.project.search.index import index_folder, is_store, open_index, open_store
from conjoin.project.search.sync import changed_items, follow, one_at_a_time, signature, sync
from conjoin.project.state.forget import forget, traces
from conjoin.project.workspace import Workspace

N, D = 60, 6
CONFIG = """version = 1
[items]
table = "t.parquet"
id = "id"
[modalities.left]
column = "left"
encoder = "builtin:vector"
[modalities.right]
column = "right"
encoder = "builtin:vector"
[fit]
method = "ridge"
"""


def rows(n=N, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 4))
    left, right = (z @ rng.normal(size=(4, D)) + 0.05 * rng.normal(size=(n, D)) for _ in "ab")
    return {
        f"item-{i:03d}": {"left": left[i].tolist(), "right": right[i].tolist(), "year": 1990 + i}
        for i in range(n)
    }


def write(folder, held):
    table = {"id": list(held)} | {
        name: [values.get(name) for values in held.values()] for name in ("left", "right", "year")
    }
    pq.write_table(pa.table(table), folder / "t.parquet")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    (folder / "conjoin.toml").write_text(CONFIG)
    write(folder, rows())
    ws = Workspace(folder)
    for name in ("left", "right"):
        ws.embed(name)
    pipeline.fit(ws)
    assert is_store(index_folder(ws))
    return folder


@pytest.fixture
def made(fitted, tmp_path):
    import shutil

    shutil.copytree(fitted, tmp_path / "ws")
    return tmp_path / "ws"


def held(folder, name="left"):
    space = open_index(Workspace(folder)).spaces[name]
    return dict(zip(space.ids.tolist(), np.asarray(space.vectors[:]), strict=True))


def test_new_changed_and_gone_rows_are_put_in_place_and_no_other_moves(made):
    before = held(made)
    table = rows()
    table["item-000"]["left"] = [9.0] * D
    del table["item-001"]
    table["fresh"] = {"left": [1.0] * D, "right": [2.0] * D, "year": 7}
    write(made, table)
    told = sync(Workspace(made))
    assert told.added == {"left": 1, "right": 1}
    assert told.replaced == {"left": 1}
    assert told.deleted == {"left": 1, "right": 1}
    after = held(made)
    assert after.keys() == table.keys()
    assert not np.array_equal(after["item-000"], before["item-000"])
    for item in set(before) - {"item-000", "item-001"}:
        np.testing.assert_array_equal(after[item], before[item])
    history = open_store(Workspace(made)).versions()
    assert history[-1].why == "sync"
    assert len(history) == len(open_store(Workspace(made)).versions())
    again = sync(Workspace(made))
    assert not again.changed
    assert again.version is None
    assert "nothing has changed" in sentence(again)
    assert "1 replaced" not in sentence(again)


def test_one_version_is_made_whatever_changes(made):
    count = len(open_store(Workspace(made)).versions())
    table = rows()
    del table["item-002"]
    table["fresh"] = {"left": [1.0] * D, "right": [2.0] * D}
    write(made, table)
    sync(Workspace(made))
    assert len(open_store(Workspace(made)).versions()) == count + 1


@pytest.mark.parametrize(("gone", "asked"), [(6, False), (7, True)])
def test_more_than_a_tenth_gone_is_asked_about(made, gone, asked):
    table = rows()
    for item in list(table)[:gone]:
        del table[item]
    write(made, table)
    heard = []

    def refuse(question):
        heard.append(question)
        raise ConjoinError(question, "the answer was no", "nothing was changed")

    if asked:
        with pytest.raises(ConjoinError, match="take 7 of 60 items out of left"):
            sync(Workspace(made), ask=refuse)
        assert len(held(made)) == N
    else:
        sync(Workspace(made), ask=refuse)
    sync(Workspace(made))
    assert len(held(made)) == N - gone
    assert bool(heard) == asked


def test_a_second_sync_is_refused_while_one_runs(made):
    ws = Workspace(made)
    with one_at_a_time(ws), pytest.raises(ConjoinError, match="bringing this workspace up to date"):
        sync(Workspace(made))


def test_items_put_and_deleted_are_served_stay_and_survive_a_fit(made):
    put = {"put-1": {"left": [0.5] * D, "right": [1.5] * D, "year": 3}, "item-003": {"year": 4}}
    told = changed_items(Workspace(made), put, ())
    assert told.added == {"left": 1, "right": 1}
    assert told.deleted == {"left": 1, "right": 1}  # put without vectors, it has none
    assert "put-1" in held(made)
    assert "item-003" not in held(made)
    ws = Workspace(made)
    index = open_index(ws)
    assert index.spaces["left"].ids[index.allowed("left", "year=3")].tolist() == ["put-1"]
    changed_items(Workspace(made), {}, ["item-004"])
    assert not sync(Workspace(made)).changed
    assert "item-004" not in held(made)
    pipeline.fit(Workspace(made))
    assert "put-1" in held(made)
    assert "item-004" not in held(made)
    changed_items(Workspace(made), {"item-004": rows()["item-004"]}, ())
    assert "item-004" in held(made)


def test_what_cannot_be_put_changes_nothing(made):
    before = held(made)
    for put, deleted, said in (
        ({"a": {"colour": "red"}}, (), "no column 'colour'"),
        ({"a": {"year": "late"}}, (), "column year"),
        ({}, ("nobody",), "'nobody' is not among the items"),
    ):
        with pytest.raises(ConjoinError, match=said):
            changed_items(Workspace(made), put, deleted)
    assert not Workspace(made).journal.read()
    assert held(made).keys() == before.keys()


def test_gone_means_gone_after_compact_and_the_check_proves_it(made):
    ws = Workspace(made)
    evaluate.evaluate_workspace(ws)
    changed_items(ws, {"put-1": {"left": [0.5] * D, "right": [1.5] * D}}, ())
    changed_items(Workspace(made), {}, ["put-1", "item-005"])
    left = traces(Workspace(made), ["put-1", "item-005", "never-there"])
    assert left["put-1"]
    assert left["item-005"]
    assert not left["never-there"]
    open_store(Workspace(made)).compact()
    open_store(Workspace(made)).open()
    forget(Workspace(made))
    assert not traces(Workspace(made), ["put-1"])["put-1"]
    # The user's own table still has it, so that it was deleted must be remembered; and the maps
    # have learned from it.
    places = {
        str(trace.path.parts[0]) for trace in traces(Workspace(made), ["item-005"])["item-005"]
    }
    assert places <= {"items", "maps"}
    assert held(made).keys() == rows().keys() - {"item-005"}
    np.testing.assert_array_equal(held(made)["item-006"], held(made)["item-006"])


def test_the_command_says_what_it_did_and_what_it_would(made):
    table = rows()
    table["fresh"] = {"left": [1.0] * D, "right": [2.0] * D}
    write(made, table)
    run = CliRunner()
    told = run.invoke(app, ["sync", "-w", str(made), "--dry-run", "--json"])
    assert json.loads(told.stdout)["modalities"]["left"] == {
        "embed": 1, "drop": 0, "index": 0, "gone": 0,
    }  # fmt: skip
    told = run.invoke(app, ["sync", "-w", str(made)])
    assert "2 added (left 1, right 1): searched from now on" in told.stdout
    told = run.invoke(app, ["index", "sync", "-w", str(made), "--json"])
    assert json.loads(told.stdout)["added"] == {}
    told = run.invoke(app, ["index", "check", "--absent", "never-there", "-w", str(made)])
    assert told.exit_code == 0
    assert "in no file of the state" in told.stdout
    told = run.invoke(app, ["index", "check", "--absent", "fresh", "-w", str(made)])
    assert told.exit_code != 0


def test_files_are_followed_once_they_stand_still(made):
    marks, acted, waited = iter("aabccc"), [], []

    class Seen:
        def __init__(self):
            self.mark = next(marks)

    import conjoin.project.search.sync as module

    real = module.signature
    module.signature = lambda ws: ws.mark
    try:
        follow(Seen, lambda ws: acted.append(ws.mark), every=3, rounds=6, wait=waited.append)
    finally:
        module.signature = real
    assert acted == ["a", "c"]
    assert waited == [3] * 5


def test_a_signature_tells_any_change_of_the_files(made):
    first = signature(Workspace(made))
    assert signature(Workspace(made)) == first
    (made / "more.png").write_bytes(b"1")
    assert signature(Workspace(made)) != first
