"""Another text encoder into a joint space by texts alone; and the page of joint encoders as run."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import joints
from conjoin.errors import ConjoinError
from conjoin.project.fit.stored import current_fit
from conjoin.project.fit.text_bridge import on_pairs, own_reader, read_texts
from conjoin.project.workspace import Workspace
from conjoin.selection.text_bridge import compared, own_found, text_bridge
from conjoin.spaces import Space, unit
from shelf import Caller

PAGE = Path(__file__).parents[1] / "docs" / "joint.md"


@pytest.fixture
def conjoin(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


def sentences() -> list[str]:
    return [
        f"a {colour} {shape} {word}"
        for colour in joints.COLOURS
        for shape in joints.SHAPES
        for word in ("picture", "sound", "high", "low")
    ]


def lay(folder: Path) -> None:
    """What the page takes for granted: pictures, a model, and a file of texts."""
    (folder / "photos").mkdir()
    for place, (colour, shape, picture) in enumerate(joints.drawings(48)):
        picture.save(folder / "photos" / f"{colour}-{shape}-{place}.png")
    joints.save_trained(folder / "clip")
    (folder / "texts.txt").write_text("\n".join(sentences()))


def test_every_command_of_the_page_runs_as_it_is_written(conjoin, tmp_path, monkeypatch):
    lay(tmp_path)
    first = min((tmp_path / "photos").glob("red-circle-*"))
    first.rename(tmp_path / "photos" / "red-circle-0.png")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    # The block on videos is a workspace of its own: test_video.py runs what it shows.
    blocks = [block for block in blocks if "init clips" not in block]
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    assert [line.split()[1] for line in lines] == [
        "init", "embed", "search", "search", "search", "bridge",
    ]  # fmt: skip
    out = {line: conjoin.good(*shlex.split(line)[1:]).out for line in lines}
    found = [text for line, text in out.items() if line.startswith("conjoin search")]
    assert all("red-" in text for text in found)
    assert "held-out texts find their own vector" in out[lines[-1]]
    told = conjoin.good("bridge", "texts.txt", "--to", "builtin:chargram", "--json").json
    assert told["held"]["value"] > 0.8
    assert told["texts"] == len(sentences())
    assert told["applied"] is False
    before = conjoin.good("search", "a blue ring", "--json").json["lists"]["image"]
    conjoin.good("bridge", "texts.txt", "--to", "builtin:chargram", "--apply")
    after = conjoin.good("search", "a blue ring", "--json").json["lists"]["image"]
    assert [h["score"] for h in before] != [h["score"] for h in after]
    assert {h["id"].split("-")[0] for h in after[:4]} == {"blue"}
    conjoin.good("bridge", "--drop")
    assert conjoin.good("search", "a blue ring", "--json").json["lists"]["image"] == before
    refused = (
        (("bridge", "--drop"), "no bridge is in use"),
        (("bridge", "texts.txt", "--to", "builtin:image"), "reads image"),
        (("bridge", "none.txt", "--to", "builtin:chargram"), "no such file"),
        (("bridge",), "needs texts and an encoder"),
    )
    for words, said in refused:
        told = conjoin(*words)
        assert (told.code, said in told.err) == (2, True), told.err


def test_a_bridge_by_texts_is_judged_on_retrieval_where_pairs_exist(conjoin, tmp_path):
    lay(tmp_path)
    files = sorted((tmp_path / "photos").iterdir())
    rows = [
        {"id": f.stem, "image": f"photos/{f.name}",
         "caption": f"a {f.stem.split('-')[0]} {f.stem.split('-')[1]}"} for f in files
    ]  # fmt: skip
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    conjoin.good(
        "init", tmp_path / "items.jsonl", "--encoder", f"hf:{tmp_path / 'clip'}", "-w", tmp_path
    )
    text = (tmp_path / "conjoin.toml").read_text().replace("test = 0.2", "test = 0.5")
    (tmp_path / "conjoin.toml").write_text(text)
    conjoin.good("embed", "-q", "-w", tmp_path)
    told = conjoin.good(
        "bridge", tmp_path / "texts.txt", "--to", "builtin:chargram", "--json", "-w", tmp_path
    ).json
    arms = told["pairs"]["image"]
    assert set(arms) == {"own", "bridged", "pairs"}
    assert all(0 <= arm["low"] <= arm["value"] <= arm["high"] <= 1 for arm in arms.values())
    assert arms["bridged"]["gain_low"] <= arms["bridged"]["gain"] <= arms["bridged"]["gain_high"]
    ws = Workspace(tmp_path)
    assert own_reader(ws, current_fit(ws)).modality == "caption" or "text" in ws.config.modalities
    assert on_pairs.__doc__


def test_found_is_what_a_loop_counts():
    rng = np.random.default_rng(1)
    q, x = rng.normal(size=(30, 4)), unit(rng.normal(size=(30, 4)).astype(np.float32))
    expected = []
    for row in range(30):
        scores = [float(q[row] @ x[other] / np.linalg.norm(q[row])) for other in range(30)]
        expected.append(sum(score > scores[row] for score in scores) < 3)
    assert own_found(q, x, k=3).tolist() == expected
    assert 0 < sum(expected) < 30


def test_a_bridge_finds_a_planted_map_and_nothing_where_there_is_none():
    rng = np.random.default_rng(2)
    old = rng.normal(size=(300, 8)).astype(np.float32)
    new = (old @ rng.normal(size=(8, 10)) + 0.05 * rng.normal(size=(300, 10))).astype(np.float32)
    made = text_bridge(Space.of(old, name="clip"), Space.of(new, name="new"))
    assert made.held.value > 0.95
    assert made.held.queries == 60
    chance = text_bridge(Space.of(old, name="clip"), Space.of(rng.normal(size=(300, 10)), name="n"))
    assert chance.held.value < 0.35, "ten of sixty"
    with pytest.raises(ConjoinError, match="39 that both encoders read"):
        text_bridge(Space.of(old[:39], name="clip"), Space.of(new[:39], name="new"))
    arms = compared({"own": np.array([True] * 9 + [False]), "x": np.array([False] * 10)}, "own")
    assert arms["x"]["gain"] == pytest.approx(-0.9)


def test_texts_are_lines_each_once(tmp_path):
    file = tmp_path / "t.txt"
    file.write_bytes("\ufeffa\n\n b \na\n".encode())
    assert read_texts(file) == ["a", "b"]
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConjoinError, match="is not text in UTF-8"):
        read_texts(file)
