"""A service that answers all along while what it serves is upgraded, and rolled back."""

import json
import shutil
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

pytest.importorskip("fastapi")

from conjoin.errors import ConjoinError
from conjoin.project.fit.stored import current_fit
from conjoin.project.search.cascade import SCORE
from conjoin.project.search.queries import Query
from conjoin.project.search.session import search
from conjoin.project.upgrade import lifecycle as upgrading
from conjoin.project.upgrade import state as upgrade_state
from conjoin.project.workspace import Workspace
from served import CONFIG, build, publish, serving

#: A new encoder of the captions, of another width: each word at a place of its own.
READS = """
import numpy as np

WORDS = ("red", "blue", "green", "yellow", "square", "bar", "frame", "cross")

def read(texts):
    rows = []
    for text in texts:
        words = text.replace(",", " ").split()
        rows.append([float(w in words) for w in WORDS] + [0.1 * len(words), 0.01 * len(text)])
    return np.array(rows, dtype=np.float32)
"""
NEW = "python:reading:read?kind=text"
ASKED = ("a red bar", "a blue frame", "a green cross, number 1")


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A small workspace, fitted, with a plan of another text encoder."""
    folder = tmp_path_factory.mktemp("served") / "ws"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("served.publish", lambda folder: None)
        build(folder, each=8)
    (folder / "conjoin.toml").write_text(CONFIG.lstrip().replace("test = 0.2", "test = 0.3"))
    (folder / "reading.py").write_text(READS)
    publish(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        upgrading.plan(Workspace(folder), upgrading.Wanted("text", NEW, bridge="ridge"))
    return folder


def call(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def answers(folder):
    """What a search of its own finds for every question, by the name of the index in use."""
    ws = Workspace(folder, writes=False)
    name = ws.current["index"].rpartition("/")[2]
    found = {}
    for text in ASKED:
        hits = search(ws, Query(text=text), into=["picture"], k=5)
        found[text] = [(hit.id, round(hit.score, 4)) for hit in hits.lists["picture"]]
    return name, found


def until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("arm", [
    {"name": "bridge", "direction": "old-to-new"}, {"name": "cascade"},
], ids=lambda arm: "-".join(arm.values()))  # fmt: skip
def test_no_query_is_lost_or_answered_from_mixed_frames(planned, tmp_path, arm, monkeypatch):
    folder = shutil.copytree(planned, tmp_path / "ws")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(upgrading, "refitted", refused)
    known = dict([answers(folder)])
    first = next(iter(known))
    with serving(folder) as service:
        seen, wrong, going = [], [], threading.Event()
        going.set()

        def asker(text):
            while going.is_set():
                body = {"text": text, "into": ["picture"], "k": 5}
                status, found = call(service.url + "/search", body)
                if status != 200:
                    wrong.append((status, found))
                    continue
                hits = [(h["id"], round(h["score"], 4)) for h in found["lists"]["picture"]]
                seen.append((found["index"], text, hits))

        askers = [threading.Thread(target=asker, args=(text,)) for text in ASKED]
        for each in askers:
            each.start()
        try:
            until(lambda: len(seen) > 10)
            ws = Workspace(folder)
            made = upgrading.apply(
                ws, upgrading.chosen_arm(upgrade_state.read_plan(ws), **arm)
            ).folder
            known |= dict([answers(folder)])
            until(lambda: call(service.url + "/health")[1]["index"] == made)
            until(lambda: sum(index == made for index, *_ in seen) > 10)
            if arm["name"] == "cascade":
                body = {"text": ASKED[0], "into": ["picture"], "k": 5}
                told = call(service.url + "/search", body)[1]["lists"]["picture"]
                assert all(SCORE in hit["scores"] for hit in told)
            upgrading.rollback(Workspace(folder))
            count = len(seen)
            until(lambda: call(service.url + "/health")[1]["index"] == first)
            until(lambda: len(seen) > count + 10)
        finally:
            going.clear()
            for each in askers:
                each.join()
    assert not wrong, wrong[:3]
    assert {index for index, *_ in seen} == {first, made}
    assert known[first] != known[made]
    for index, text, hits in seen:
        near(hits, known[index][text])


def refused(change):
    raise ConjoinError("pairs", "too few", "give more")


def near(one, other):
    """The same scores place by place; equal ones may stand in either order."""
    assert [score for _, score in one] == pytest.approx([s for _, s in other], abs=2e-3)


def test_the_second_stage_of_a_cascade_orders_what_search_finds(planned, tmp_path, monkeypatch):
    folder = shutil.copytree(planned, tmp_path / "ws")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(upgrading, "refitted", refused)
    ws = Workspace(folder)
    upgrading.apply(ws, upgrading.chosen_arm(upgrade_state.read_plan(ws), "cascade"))
    ws = Workspace(folder)
    made = current_fit(ws)
    hits = search(ws, Query(text=ASKED[0]), into=["picture"], k=20).lists["picture"]
    again, encoder = made.again, ws.encoder("text")
    from conjoin.encoders.run import encode
    from conjoin.spaces import Space

    asked = Space(np.array(["q"]), encode(encoder, [ASKED[0]]).vectors, encoder.frame)
    q = again.frame.query(np.asarray(again.bind("text", asked).vectors, np.float32))[0]
    pictures = again.bind("picture", ws.space("picture"))
    at = {item: row for row, item in enumerate(pictures.ids.tolist())}
    slow = [float(np.asarray(pictures.vectors)[at[hit.id]] @ q) for hit in hits]
    assert slow == sorted(slow, reverse=True)
    assert [hit.scores[SCORE] for hit in hits] == pytest.approx(slow, abs=1e-4)
    firsts = [hit.scores["cosine"] for hit in hits]
    assert firsts != sorted(firsts, reverse=True), "the bridge had them in another order"
