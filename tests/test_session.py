"""One search session: the command line, the service and Python rank alike."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")

from conjoin.project.search.ranking import WORDS, Ranking, parts_asked
from conjoin.project.search.session import SearchSession
from conjoin.project.workspace import Workspace
from conjoin.retrieval.ranking.hybrid import Fusion
from conjoin.server.limits import Limits
from conjoin.server.prometheus import Metrics
from conjoin.server.requests import Ask, Piece
from conjoin.server.routes import create_app
from conjoin.server.session import Live
from conjoin.server.state import Settings
from served import COLOURS, build, picture

#: What the command line is given beside words, what the service is sent, and the ranking of both.
ASKED = {
    "words": (("a red square", {}), {"text": "a red square"}, {}),
    "one target": (("a red square", {}), {"text": "a red square"}, {"into": ("picture",)}),
    "filter": (("a square", {}), {"text": "a square"}, {"where": "colour=green and year>=2000"}),
    "fused": (("green frame", {}), {"text": "green frame"}, {"fusion": "rrf"}),
    "fused and filtered": (
        ("green frame", {}), {"text": "green frame"},
        {"fusion": "cc", "where": "colour!=red", "k": 40},
    ),
    "an item in its own modality": (
        (None, {"item": ["blue/bar 0"]}), {"item": "blue/bar 0"}, {"into": ("text",)},
    ),
    "an item anywhere": ((None, {"item": ["blue/bar 0"]}), {"item": "blue/bar 0"}, {}),
    "composed": (
        ("a red square", {"item": ["blue/square 0"], "not": ["square"]}),
        {"terms": [{"item": "blue/square 0"}, {"text": "a red square"},
                   {"text": "square", "weight": -0.5}]},
        {},
    ),
    "composed and fused": (
        ("a red square", {"item": ["blue/square 0"]}),
        {"terms": [{"item": "blue/square 0"}, {"text": "a red square"}]},
        {"fusion": "rrf", "where": "year>=2000"},
    ),
    "composed without a vector": (
        ("a red square", {"item": ["blue/square 0"]}),
        {"terms": [{"item": "blue/square 0"}, {"text": "a red square"}]},
        {"combine": "and", "k": 30},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("session"))


@pytest.fixture(scope="module")
def client(folder):
    from starlette.testclient import TestClient

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with TestClient(create_app(Settings(folder, Limits())), base_url="http://127.0.0.1") as one:
            yield one


def ranked(lists):
    """By list, ids in order and their scores."""
    return {
        name: ([hit["id"] for hit in own], [hit["score"] for hit in own])
        for name, own in lists.items()
    }


def same(got, wanted):
    assert got.keys() == wanted.keys()
    for name, (ids, scores) in wanted.items():
        assert got[name][0] == ids, name
        assert np.allclose(got[name][1], scores, atol=1e-5), name


@pytest.mark.parametrize("name", ASKED)
def test_the_command_line_and_the_service_rank_alike(client, folder, name, monkeypatch):
    pytest.importorskip("lancedb")
    monkeypatch.chdir(folder)
    (words, given), body, how = ASKED[name]
    session = SearchSession.open(Workspace(folder, writes=False))
    found = session.answer(parts_asked(words, given, [], None), Ranking(**{"k": 5, **how}))
    sent = client.post("/search", json={**body, "k": 5, **how})
    assert sent.status_code == 200, sent.text
    assert any(hits for hits in found.to_json()["lists"].values())
    same(ranked(sent.json()["lists"]), ranked(found.to_json()["lists"]))


def test_a_picture_is_ranked_alike(client, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    path = Path(tmp_path) / "asked.png"
    path.write_bytes(picture(COLOURS["red"], "cross", 99))
    session = SearchSession.open(Workspace(folder, writes=False))
    found = session.answer(parts_asked(None, {"query": [path]}, [], None), Ranking(k=5))
    files = {"file": ("asked.png", path.read_bytes(), "image/png")}
    sent = client.post("/search/upload", files=files, data={"request": json.dumps({"k": 5})})
    same(ranked(sent.json()["lists"]), ranked(found.to_json()["lists"]))


def test_what_was_tuned_is_for_queries_of_one_part_everywhere(folder, monkeypatch):
    pytest.importorskip("lancedb")
    tuned = Fusion("rrf", {}, {}, {}, 0.9, "text", 0.8, 0.1, 0.05, 0.15, {}, 0.5, 0.1, 40)
    monkeypatch.setattr("conjoin.project.search.session.stored_fusion", lambda ws: tuned)
    monkeypatch.chdir(folder)
    live = Live.open(folder)
    one, more = (Piece("text", "green frame"),), (Piece("item", "blue/bar 0"),)
    session = SearchSession.open(Workspace(folder, writes=False))
    for pieces, given, mixed in ((one, {}, True), (one + more, {"item": ["blue/bar 0"]}, False)):
        served = live.answer([Ask(pieces, k=5)], Metrics())[0].hits
        found = session.answer(parts_asked("green frame", given, [], None), Ranking(k=5)).hits
        assert (WORDS in served.lists) == (WORDS in found.lists) == mixed
