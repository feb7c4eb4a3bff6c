"""A modality taken out of a workspace and put back, and two workspaces merged."""

import numpy as np
import pytest

from conjoin.project.fit.stored import current_fit
from conjoin.project.search.index import open_index
from conjoin.project.workspace import Workspace
from shelf import Caller, snapshot
from upgrades import NEW, encoders, fitted, table

#: A third modality, to take out.
B = {"b": (np.asarray(table()["a"])[:, :9] * 1.5).astype(np.float32).tolist()}


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory):
    """The encoders can be imported."""
    with encoders(tmp_path_factory.mktemp("joining") / "code"):
        yield


@pytest.fixture
def call(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


def test_a_modality_is_taken_out_and_the_others_stay(at_hand, tmp_path, call):
    folder = fitted(tmp_path / "ws", NEW, B)
    before = open_index(Workspace(folder))
    held = {n: np.asarray(before.spaces[n].vectors).tobytes() for n in ("text", "a")}
    frozen = snapshot(folder)
    dry = call.good("remove", "b", "-w", folder, "--dry-run", "--json").json
    assert {k: v for k, v in snapshot(folder).items() if "card" not in k} == {
        k: v for k, v in frozen.items() if "card" not in k
    }
    call.bad(folder, "remove", "--undo", "-w", folder, "--yes", says=("--undo", "no modality"))
    call.bad(folder, "remove", "-w", folder, "--yes", says=("names no modality",))
    call.good("remove", "b", "-w", folder, "--yes")
    call.good("remove", "--undo", "-w", folder, "--yes")
    back = snapshot(folder)
    for path in ("conjoin.toml", ".conjoin/current.json"):
        assert back[path] == frozen[path]
    assert set(open_index(Workspace(folder)).spaces) == {"text", "a", "b"}
    told = call.good("remove", "b", "-w", folder, "--yes", "--json").json
    assert told["directions"] == dry["directions"]
    said = {(c["query"], c["target"]): c for c in told["directions"]}
    assert said["text", "a"]["said"] == "no sure change"
    assert said["text", "a"]["gain"] == 0
    assert said["text", "b"]["said"] == "gone"
    index = open_index(Workspace(folder))
    assert set(index.spaces) == {"text", "a"}
    for name, vectors in held.items():
        assert np.asarray(index.spaces[name].vectors).tobytes() == vectors
    assert "modalities.b" not in (folder / "conjoin.toml").read_text().replace('"', "")
    call.good("search", "thing", "-w", folder)
    call.bad(folder, "remove", "text", "-w", folder, "--yes", says=("hub",))
    call.bad(folder, "remove", "bb", "-w", folder, "--yes", says=("bb", "not bound"))
    call.bad(folder, "remove", "a", "-w", folder, "--yes", says=("one would be left",))


def test_two_workspaces_merge_through_the_items_they_share(at_hand, tmp_path, call):
    other = fitted(tmp_path / "other", NEW, B)
    ws = fitted(tmp_path / "ws")
    before = snapshot(ws), snapshot(other)
    told = call.good("merge", other, "-w", ws, "--out", tmp_path / "both", "--json").json
    assert (snapshot(ws), snapshot(other)) == before
    assert set(told["modalities"]) == {"text", "a", "other.text", "other.a", "b"}
    said = {(c["query"], c["target"]): c for c in told["directions"]}
    assert said["a", "b"]["said"] == "new"
    assert said["a", "b"]["after"] > 0.5
    assert said["text", "a"]["gain"] == 0
    assert abs(said["other.text", "b"]["gain"]) < 0.3
    from conjoin.alignment.binding import Binding
    from conjoin.retrieval.index.index import Index

    binding, index = Binding.load(tmp_path / "both/maps"), Index.open(tmp_path / "both/index")
    assert binding.frame == index.frame == current_fit(Workspace(ws)).binding.frame
    assert set(index.spaces) == set(binding.maps)
    call.bad(ws, "merge", other, "-w", ws, "--anchors", "nmae", says=("--anchors", "name"))
