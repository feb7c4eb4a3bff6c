"""What was stored under the words of before is opened, and keeps its identity."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from conjoin.alignment.binding import Binding
from conjoin.catalogue import KINDS, find, of_kind
from conjoin.claims.keys import facts_of, key_of
from conjoin.evaluation.arms import Arm
from conjoin.items.config import Config
from conjoin.project.evaluation import evaluate
from conjoin.project.fit import pipeline
from conjoin.project.fit.card import read_card
from conjoin.project.workspace import Workspace
from conjoin.spaces import Pairs, Space
from conjoin.storage import renamed

#: A workspace fitted by ``centring``, chosen over ``nothing``, when these were their names.
OLD = Path(__file__).parent / "golden" / "renamed"


@pytest.fixture
def old(tmp_path) -> Path:
    folder = Path(shutil.copytree(OLD, tmp_path / "ws"))
    (folder / "state").rename(folder / ".conjoin")
    return folder


def test_the_table_names_what_is_there():
    assert set(renamed.KINDS) <= set(KINDS)
    assert not set(renamed.KINDS.values()) & set(KINDS)
    assert set(renamed.METHODS) <= set(of_kind("aligner"))
    assert not set(renamed.METHODS.values()) & set(of_kind("aligner"))


def test_a_stored_workspace_opens_under_the_new_names(old):
    folder = next((old / ".conjoin" / "maps").iterdir())
    assert json.loads((folder / "binding.json").read_bytes())["choice"]["method"] == "centring"
    choice = Binding.load(folder).choice
    assert (choice.method, choice.kept.method) == ("mean-centering", "identity")
    assert {trial.method for trial in choice.trials} == {"mean-centering", "identity"}
    assert {one["method"] for one in read_card(folder)["compared"]} == {
        "mean-centering",
        "identity",
    }
    assert Config.load(old).fit.among == ["identity", "mean-centering"]


def test_nothing_of_it_is_made_again(old):
    ws = Workspace(old)
    folder = next((ws.state / "maps").iterdir())
    made = pipeline.fit(ws)
    assert (made.folder, made.fresh, made.repaired) == (folder, False, None)
    assert [path.name for path in (ws.state / "maps").iterdir()] == [folder.name]
    runs = list((ws.state / "runs").iterdir())
    found = evaluate.evaluate_workspace(ws)
    assert list((ws.state / "runs").iterdir()) == runs
    assert {"identity", "mean-centering"} <= {row.method for row in found.results}


def test_fitted_again_it_is_the_same_frame_under_the_same_key(old):
    ws = Workspace(old)
    was = next((ws.state / "maps").iterdir())
    frame = Binding.load(was).frame
    for name in ("maps", "index", "current.json"):
        place = ws.state / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    made = pipeline.fit(Workspace(old))
    assert made.folder.name == was.name
    assert made.binding.frame == frame
    assert made.binding.choice.method == "mean-centering"
    raw = json.loads((made.folder / "binding.json").read_bytes())
    assert raw["choice"]["method"] == "mean-centering"


def test_a_configuration_with_old_names_is_read():
    modality = {"text": {"column": "t", "encoder": "builtin:text"}}
    said = {"items": {"table": "t.csv"}, "modalities": modality}
    found = Config.of({**said, "fit": {"method": "nothing"}}).fit
    assert found.method == "identity"
    assert Config.of({**said, "fit": {"method": "ridge"}}).fit.method == "ridge"


def test_frames_hold_the_word_they_were_minted_with():
    import numpy as np

    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    spaces = {name: Space.of(x, [str(i) for i in range(12)], name=name) for name in "ab"}
    made = Binding.fit(spaces, Pairs.by_id(spaces), method="identity", hub="a")
    assert made.frame.id == "binder-b571b5ab98c93efd"


def test_keys_of_claims_hold_the_words_they_were_made_with():
    assert facts_of(find("aligner", "identity"))["kind"] == "binder"
    assert facts_of(find("aligner", "identity"))["name"] == "nothing"
    task = find("task", "cutting")
    facts = facts_of(task, {"aligner": "identity"})
    assert facts["fields"]["binder"] == repr("nothing")
    assert "aligner" not in facts["fields"]
    arm = Arm.parse("mean-centering+noise")
    known = key_of(find("task", "transfer"), {}, "d", "mrr", arm, "b")
    assert known == "d9d713290d2bc231"
    assert known != key_of(
        find("task", "transfer"), {}, "d", "mrr", dataclasses.replace(arm, aligner="identity"), "b"
    )
