"""The service's routes, called within the process."""

import io
import json
import os
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")

from conjoin.project.search.queries import Query
from conjoin.project.search.session import search as ask_cli
from conjoin.project.workspace import Workspace
from conjoin.server.limits import Limits
from conjoin.server.routes import create_app
from conjoin.server.session import Live
from conjoin.server.state import Settings
from served import COLOURS, build, picture, sound

PROBLEM = {"type", "title", "status", "detail", "argument", "found", "remedy"}
LISTS = {"text", "picture", "sound", "mixed"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def client(folder):
    from starlette.testclient import TestClient

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        app = create_app(Settings(folder, Limits(body_mb=2.0, pixels=4_000_000)))
        with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=True) as made:
            made.desk = app.state.desk
            yield made


def refused(answer, status, *words):
    """A problem with this status, that says these words."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == PROBLEM
    assert problem["status"] == status
    for word in words:
        assert word in problem["detail"], problem
    return problem


def best(answer, name="mixed"):
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["lists"][name]]


def test_words_find_pictures_and_the_answer_has_stable_keys(client):
    answer = client.post("/search", json={"text": "a blue cross", "into": ["picture"], "k": 3})
    said = answer.json()
    assert {"version", "frame", "query", "lists", "nothing", "index"} <= set(said)
    assert set(said["lists"]) == {"picture"}
    hits = said["lists"]["picture"]
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert all(hit["id"].startswith("blue/cross") for hit in hits)
    assert {"rank", "id", "modality", "part", "score", "probability", "scores", "meta", "label",
            "kind", "media"} <= set(hits[0])  # fmt: skip
    assert said["query"]["shown"] == "a blue cross"
    assert said["query"]["modality"] == "text"


def test_without_into_every_modality_is_found_and_mixed(client):
    answer = client.post("/search", json={"text": "a green bar", "k": 4})
    assert set(answer.json()["lists"]) == LISTS
    assert all(len(hits) == 4 for hits in answer.json()["lists"].values())


def test_the_service_answers_as_the_command_line_does(client, folder, monkeypatch):
    monkeypatch.chdir(folder)
    ws = Workspace(folder, writes=False)
    for words in ("a red frame", "yellow"):
        wanted = ask_cli(ws, Query(text=words), into=["picture", "text"], k=5).to_json()
        got = client.post("/search", json={"text": words, "into": ["picture", "text"], "k": 5})
        for name, hits in wanted["lists"].items():
            mine = got.json()["lists"][name]
            assert [h["id"] for h in mine] == [h["id"] for h in hits]
            assert np.allclose([h["score"] for h in mine], [h["score"] for h in hits], atol=1e-5)


def test_an_item_its_vector_and_its_own_cell_ask_the_same(client):
    item = "yellow/frame 1"
    by_item = best(client.post("/search", json={"item": item, "source": "text", "k": 5}))
    made = client.post("/embed", json={"text": "a yellow frame, number 1"}).json()
    assert len(made["vector"]) == made["dim"]
    given = {"vector": made["vector"], "frame": made["frame"], "source": "text", "k": 5}
    assert best(client.post("/search", json=given)) == by_item
    assert made["modality"] == "text"


def test_a_vector_of_an_encoder_is_bound_and_one_of_another_frame_refused(client):
    live = client.desk.live
    space = live.ws.space("picture").take(np.array([0]))
    vector = np.asarray(space.vectors[0], dtype=float).tolist()
    bound = client.post("/embed", json={"vector": vector, "frame": space.frame.id}).json()
    wanted = live.fit.binding.bind("picture", space).vectors[0]
    assert np.allclose(bound["vector"], wanted, atol=1e-5)
    assert bound["frame"] == live.index.frame.id
    for path in ("/embed", "/search"):
        other = {"vector": vector, "frame": "encoder-of-somebody-else"}
        refused(client.post(path, json=other), 409, "not a frame of this index", "/embed")
        sound_frame = live.fit.binding.maps["sound"].source.id
        short = {"vector": vector, "frame": sound_frame}
        refused(client.post(path, json=short), 422, "vector", "numbers")
        refused(client.post(path, json={"vector": vector}), 422, "frame")


def test_uploads_are_read_by_their_content(client):
    files = {"file": ("x.txt", picture(COLOURS["red"], "cross", 99), "text/plain")}
    found = client.post("/search/upload", files=files, data={"request": '{"k": 3}'})
    assert all(item.startswith("red/") for item in best(found, "picture")[:2])
    assert found.json()["query"]["modality"] == "picture"
    heard = {"file": ("x.png", sound(300 + 250 * 2, seed=77), "image/png")}
    found = client.post("/search/upload", files=heard, data={"request": '{"k": 3}'})
    assert all(item.startswith("green/") for item in best(found, "sound"))
    vector = client.post("/embed/upload", files=files).json()
    assert vector["frame"] == found.json()["frame"]


def test_parts_are_composed_weighed_and_taken_off(client):
    plain = best(client.post("/search", json={"text": "a red square", "into": ["text"], "k": 3}),
                 "text")  # fmt: skip
    assert all(item.startswith("red/") for item in plain)
    terms = [{"text": "a red square"}, {"item": "blue/square 0", "weight": 3.0}]
    turned = best(client.post("/search", json={"terms": terms, "into": ["text"], "k": 3}), "text")
    assert all(item.startswith("blue/") for item in turned[:2])
    without = [{"text": "a red square"}, {"text": "square", "weight": -0.7}]
    left = client.post("/search", json={"terms": without, "into": ["text"], "k": 3})
    whole = client.post("/search", json={"text": "a red square", "into": ["text"], "k": 3})
    scores = [[hit["score"] for hit in one.json()["lists"]["text"]] for one in (left, whole)]
    assert max(scores[0]) < max(scores[1])
    assert left.json()["query"]["shown"] == "a red square − square"
    files = {"file": ("p.png", picture(COLOURS["red"], "bar", 5), "image/png")}
    asked = {"terms": [{"item": "blue/bar 0", "weight": 4}], "k": 3, "weight": 0.1}
    found = client.post("/search/upload", files=files, data={"request": json.dumps(asked)})
    assert all(item.startswith("blue/") for item in best(found, "picture")[:2])
    refused(
        client.post("/search", json={"terms": [{"text": "x", "weight": -1}]}), 422, "not wanted"
    )


def test_a_hit_is_explained(client):
    asked = {"text": "a blue bar", "hit": "blue/bar 1", "into": "picture", "pairs": 3}
    why = client.post("/explain", json=asked).json()
    found = client.post("/search", json={"text": "a blue bar", "into": ["picture"], "k": 48}).json()
    score = next(h["score"] for h in found["lists"]["picture"] if h["id"] == "blue/bar 1")
    assert why["score"] == pytest.approx(score, abs=1e-5)
    assert sum(part["value"] for part in why["shares"]) == pytest.approx(score, abs=1e-5)
    assert len(why["pairs"]) == 3
    assert all(pair["labels"] for pair in why["pairs"])
    by_item = {"item": "blue/bar 0", "source": "sound", "hit": "blue/bar 1", "into": "text"}
    assert client.post("/explain", json=by_item).json()["modality"] == "text"
    refused(client.post("/explain", json={**asked, "hit": "nobody"}), 404, "nobody")
    refused(client.post("/explain", json={**asked, "into": "smell"}), 422, "into")
    refused(client.post("/explain", json={"text": "a"}), 422, "hit")


def test_names_of_ways_to_rank_are_checked(client):
    refused(client.post("/search", json={"item": "red/bar 0", "fusion": "rrf"}), 422, "fusion")
    refused(client.post("/search", json={"text": "a", "fusion": "rrrf"}), 422, "rrf")
    refused(client.post("/search", json={"text": "a", "combine": "summ"}), 422, "sum")


def test_filters_and_exclusions(client):
    found = client.post(
        "/search", json={"text": "a square", "where": "colour=green and year>=2000", "k": 50}
    )
    for name in LISTS - {"mixed"}:
        assert len(best(found, name)) == 12
        assert all(item.startswith("green/") for item in best(found, name))
    none = client.post("/search", json={"text": "a square", "where": "year>9999"})
    assert all(hits == [] for hits in none.json()["lists"].values())
    refused(client.post("/search", json={"text": "a", "where": "colur=red"}), 422, "colour")
    refused(client.post("/search", json={"text": "a", "where": "year>=>"}), 422, "where")
    gone = best(client.post("/search", json={"text": "a red square", "exclude": ["red/square 0"]}))
    assert "red/square 0" not in gone


def test_answers_do_not_depend_on_what_shares_their_batch(client):
    from conjoin.server.prometheus import Metrics
    from conjoin.server.requests import Ask, Piece

    live = client.desk.live
    asks = [Ask((Piece("text", words),), k=k, into=into) for words, k, into in (
        ("a red bar", 3, ()), ("a blue bar", 3, ()), ("green", 5, ("picture",)),
        ("yellow cross", 3, ()),
    )]  # fmt: skip
    asks.insert(2, Ask((Piece("text", "   "),), k=3))  # one that is wrong spoils no other
    together = live.answer(asks, Metrics())
    assert isinstance(together.pop(2), Exception)
    asks.pop(2)
    for ask, found in zip(asks, together, strict=True):
        alone = live.answer([ask], Metrics())[0]
        for name, hits in alone.hits.lists.items():
            assert [h.id for h in hits] == [h.id for h in found.hits.lists[name]]


def test_queries_at_the_same_time_are_answered_in_batches(client):
    from concurrent.futures import ThreadPoolExecutor

    texts = [f"a {colour} {shape}" for colour in COLOURS for shape in ("bar", "cross")]
    before = client.desk.metrics.text()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(
            lambda text: client.post("/search", json={"text": text, "into": ["text"], "k": 1}),
            texts * 4,
        ))  # fmt: skip
    for text, answer in zip(texts * 4, answers, strict=True):
        _, colour, shape = text.split()
        assert best(answer, "text")[0].startswith(f"{colour}/{shape}")
    count = lambda text, name: float(  # noqa: E731
        next(line for line in text.splitlines() if line.startswith(name)).split()[1]
    )
    after = client.desk.metrics.text()
    batches = count(after, "conjoin_batch_size_count") - count(before, "conjoin_batch_size_count")
    queries = count(after, "conjoin_queries_total") - count(before, "conjoin_queries_total")
    assert queries == 32
    assert batches < queries


def test_items_and_their_media(client):
    found = client.get("/items/red%2Fsquare%200").json()
    assert found["label"] == "<b>red</b> square 0"
    assert found["meta"]["colour"] == "red"
    assert found["meta"]["mass"] is None  # NaN is no JSON
    assert set(found["modalities"]) == {"text", "picture", "sound"}
    shown = client.get(found["modalities"]["picture"]["media"] + "?size=32")
    assert shown.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(shown.content)).size == (32, 32)
    assert "sandbox" in shown.headers["content-security-policy"]
    assert shown.headers["x-content-type-options"] == "nosniff"
    heard = client.get(found["modalities"]["sound"]["media"])
    assert heard.headers["content-type"] == "audio/wav"
    words = client.get(found["modalities"]["text"]["media"])
    assert words.headers["content-type"] == "text/plain; charset=utf-8"
    assert words.text == "a red square, number 0"
    again = client.get(found["modalities"]["text"]["media"],
                       headers={"If-None-Match": words.headers["etag"]})  # fmt: skip
    assert again.status_code == 304
    some = client.get("/items?sample=5&seed=3").json()
    assert len(some["items"]) == 5
    assert some == client.get("/items?sample=5&seed=3").json()
    refused(client.get("/items/nobody"), 404, "nobody")
    refused(client.get("/items/red%2Fsquare%200/media/smell"), 404, "smell")
    refused(client.get("/items/red%2Fsquare%200/media/text?part=9"), 404)
    refused(client.get("/items/red%2Fsquare%200/media/picture?size=99999"), 422, "size")


def test_players_may_ask_for_a_range(client):
    path = "/items/red%2Fbar%200/media/sound"
    whole = client.get(path).content
    part = client.get(path, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.content == whole[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    assert client.get(path, headers={"Range": "bytes=-4"}).content == whole[-4:]
    assert client.get(path, headers={"Range": "bytes=99999999-"}).status_code == 416
    for odd in ("bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=²-³"):
        answer = client.get(path, headers={"Range": odd.encode()})
        assert answer.status_code == 200
        assert answer.content == whole


def test_what_is_told_of_the_service(client):
    info = client.get("/info").json()
    assert [m["name"] for m in info["modalities"]] == ["text", "picture", "sound"]
    assert info["items"] == 48
    columns = {c["name"]: c for c in info["columns"]}
    assert columns["colour"]["values"] == sorted(COLOURS)
    assert "values" not in columns["year"]
    assert info["limits"]["k"] == 200
    assert client.get("/health").json()["status"] == "ok"
    text = client.get("/metrics").text
    assert 'conjoin_requests_total{route="/search",code="2xx"}' in text
    assert "conjoin_items 48" in text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    for line in text.splitlines():
        assert line.startswith("# ") or len(line.rsplit(" ", 1)) == 2
        if not line.startswith("#"):
            float(line.rsplit(" ", 1)[1])
    spec = client.get("/openapi.json").json()
    assert spec["paths"]["/search"]["post"]["requestBody"]["required"]
    for path in ("/", "/page/main.js", "/page/style.css", "/favicon.ico"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.get("/page/main.js").headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "no JSON"),
        (b'{"text": ', 400, "no JSON"),
        (b'{"text": "a", "k": NaN}', 400, "no JSON"),
        (b'{"text": "a", "k": 1e999}', 422, "k"),
        (b'{"vector": [1e999], "frame": "x"}', 422, "vector"),
        (b'{"terms": [{"text": "a", "weight": Infinity}]}', 400, "no JSON"),
        (b"[" * 100_000, 400, "no JSON"),
        (b'{"text":' * 5_000 + b"1" + b"}" * 5_000, 400, "no JSON"),
        (b'{"text": "\\ud800"}', 400, "no JSON"),
        (b'{"text": "\xff"}', 400, "no JSON"),
        (b"[]", 422, "object"),
        (b'{"text": 7}', 422, "text"),
        (b'{"text": "a", "k": "7"}', 422, "k"),
        (b'{"text": "a", "k": true}', 422, "k"),
        (b'{"text": "   "}', 422, "blank"),
        (b'{"text": "a", "item": "b"}', 422, "at once"),
        (b'{"txet": "a"}', 422, "did you mean text"),
        (b'{"text": "a", "terms": [{"txt": "a"}]}', 422, "did you mean text"),
        (b'{"text": "a", "terms": [{"text": "b"}]}', 422, "terms"),
        (b'{"text": "a", "k": 201}', 422, "more than 200"),
        (b'{"text": "a", "into": ["pictur"]}', 422, "did you mean picture"),
        (b'{"text": "a", "source": "sound"}', 422, "reads audio"),
        (b'{"terms": []}', 422, "terms"),
        (b'{"terms": [{"text": "a", "weight": 0}]}', 422, "weight"),
        (b'{"terms": [' + b'{"text": "a"},' * 16 + b'{"text": "a"}]}', 422, "more than 16"),
        (b'{"text": "' + b"x" * 2_001 + b'"}', 422, "2001 characters"),
        (b'{"item": "../../etc/passwd"}', 404, "no item"),
        (b'{"text": "a", "where": "`colour` = \'x\' or 1=1"}', 422, "where"),
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused_in_words(client, body, status, words):
    answer = client.post("/search", content=body, headers={"Content-Type": "application/json"})
    refused(answer, status, words)


def test_other_wrong_requests_are_refused_in_words(client):
    refused(client.post("/search", content=b"a=b"), 415, "application/json")
    refused(client.post("/search", data={"text": "a"}), 415, "application/json")
    refused(client.post("/search/upload", json={"text": "a"}), 415, "multipart/form-data")
    refused(client.get("/search"), 405)
    refused(client.get("/nowhere"), 404)
    refused(client.get("/page/nothing.js"), 404)
    packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    refused(client.post("/search", content=b"\x1f\x8b", headers=packed), 415, "unpacked")
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    refused(client.post("/search/upload", content=b"no form", headers=broken), 400)
    bare = {"Content-Type": "multipart/form-data"}
    refused(client.post("/search/upload", content=b"--x", headers=bare), 400)
    assert client.post("/search", json={"text": "a\u0000b \ue000 𝒳 \u202e"}).status_code == 200
    assert client.post("/search", json={"text": "x" * 2_000}).status_code == 200


def test_names_elsewhere_and_other_sites_get_nothing(client):
    refused(client.get("/info", headers={"Host": "evil.example"}), 421, "evil.example")
    refused(client.get("/info", headers={"Host": "127.0.0.1.evil.example:80"}), 421)
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert client.get("/health", headers={"Host": host}).status_code == 200
    answer = client.get("/health", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_paths_that_climb_find_nothing(client):
    for path in (
        "/page/..%2flive.py", "/page/%2e%2e/live.py", "/page/..%5clive.py", "/page//etc/passwd",
        "/items/..%2f..%2fetc%2fpasswd", "/items/%2fetc%2fpasswd/media/picture",
        "/items/red%2Fsquare%200/media/..%2f..%2fconjoin.toml", "/items/%00", "/page/%00",
    ):  # fmt: skip
        refused(client.get(path), 404)


def test_a_token_and_named_origins(folder, monkeypatch):
    from starlette.testclient import TestClient

    monkeypatch.chdir(folder)
    site = "https://shop.example"
    settings = Settings(folder, token="s" * 20, cors=(site,), local=False)
    with TestClient(create_app(settings), base_url="http://any.example") as client:
        for headers in ({}, {"Authorization": "Bearer " + "x" * 20}, {"Authorization": "s" * 20},
                        {"Authorization": b"Bearer \xff\xfe"}):  # fmt: skip
            for path in ("/info", "/metrics", "/items", "/items/a", "/items/a/media/b", "/nope"):
                answer = client.get(path, headers=headers)
                refused(answer, 401, "Authorization")
                assert answer.headers["www-authenticate"].startswith("Bearer")
            refused(client.post("/search", json={"text": "a"}, headers=headers), 401)
        good = {"Authorization": "Bearer " + "s" * 20}
        assert client.get("/info", headers=good).status_code == 200
        assert client.get("/").status_code == 200
        assert client.get("/health").status_code == 200
        asked = client.get("/info", headers={**good, "Origin": site})
        assert asked.headers["access-control-allow-origin"] == site
        other = client.get("/info", headers={**good, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        before = {"Origin": site, "Access-Control-Request-Method": "POST",
                  "Access-Control-Request-Headers": "authorization,content-type"}  # fmt: skip
        assert client.options("/search", headers=before).status_code == 200
        # A refusal can be read by the site, too.
        lost = client.get("/info", headers={"Origin": site})
        assert lost.headers["access-control-allow-origin"] == site


def test_a_stale_or_missing_fit_is_not_served(folder, tmp_path, monkeypatch):
    import shutil

    from conjoin.errors import ConjoinError

    monkeypatch.chdir(folder)
    copy = shutil.copytree(folder, tmp_path / "ws")
    text = (
        (copy / "conjoin.toml").read_text().replace("builtin:chargram", "builtin:chargram?dim=64")
    )
    (copy / "conjoin.toml").write_text(text)
    with pytest.raises(ConjoinError):
        Live.open(copy)
    shutil.rmtree(copy / ".conjoin")
    with pytest.raises(ConjoinError, match=r"fit"):
        Live.open(copy)


def test_twenty_reloads_leave_nothing_behind(client):
    desk, gone = client.desk, []
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is read from /proc")
    for turn in range(23):
        gone.append(weakref.ref(desk.live))
        assert client.portal.call(desk.change)
        if turn == 2:
            early = resident()
    # An answer that is still held may hold the state it was made by: one, not twenty.
    assert sum(live() is not None for live in gone) <= 1
    assert resident() - early < 25, "megabytes"


def resident() -> float:
    """Megabytes this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
