"""Items put and deleted over HTTP: served at once, kept, refused without a token."""

import base64

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("lancedb")

from starlette.testclient import TestClient

from conjoin.project.search.index import index_folder, is_store, open_index, open_store
from conjoin.project.search.sync import sync
from conjoin.project.workspace import Workspace
from conjoin.server.routes import create_app
from conjoin.server.state import Settings
from served import build, picture, publish

TOKEN = "t" * 24
HEAD = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("served"))
    publish(folder)
    with TestClient(create_app(Settings(folder, token=TOKEN)), base_url="http://127.0.0.1") as made:
        made.headers.update(HEAD)
        yield folder, made


def ids(client, text):
    found = client.post("/search", json={"text": text, "into": ["text"], "k": 5}).json()
    return [hit["id"] for hit in found["lists"]["text"]]


def test_what_is_put_is_found_and_what_is_deleted_is_not(service):
    folder, client = service
    before = {n: np.asarray(s.vectors[:]) for n, s in open_index(Workspace(folder)).spaces.items()}
    image = base64.b64encode(picture((1, 2, 3), "bar")).decode()
    item = {"id": "new one", "values": {"caption": "a zebra crossing"}, "media": {"picture": image}}
    told = client.put("/items", json={"items": [item]})
    assert told.status_code == 200, told.text
    assert told.json()["failed"] == []
    assert told.json()["added"] == {"text": 1, "picture": 1}
    assert ids(client, "a zebra crossing")[0] == "new one"
    shown = client.get("/items/new one/media/picture")
    assert shown.status_code == 200
    assert shown.headers["content-type"] == "image/webp"
    again = client.put(
        "/items", json={"items": [{"id": "new one", "values": {"caption": "a gnu"}}]}
    )
    assert again.json()["replaced"] == {"text": 1}
    assert again.json()["deleted"] == {"picture": 1}
    assert not sync(Workspace(folder)).changed
    gone = client.delete("/items/new one")
    assert gone.json()["deleted"] == {"text": 1}
    assert "new one" not in ids(client, "a gnu")
    assert client.get("/items/new one").status_code == 404
    after = {n: np.asarray(s.vectors[:]) for n, s in open_index(Workspace(folder)).spaces.items()}
    for name, rows in before.items():
        np.testing.assert_array_equal(rows, after[name])


def test_an_item_of_the_table_stays_out_until_it_is_put_again(service):
    folder, client = service
    item = str(Workspace(folder).items.ids[0])
    caption = Workspace(folder).items.value("caption", item)
    assert client.delete(f"/items/{item}").status_code == 200
    assert not sync(Workspace(folder)).changed
    assert item not in ids(client, caption)
    assert client.delete(f"/items/{item}").status_code == 404
    put = {"items": [{"id": item, "values": {"caption": caption}}]}
    assert client.put("/items", json=put).json()["added"] == {"text": 1}
    assert item in ids(client, caption)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"items": []}, 422, "items"),
        ({"items": [{"id": "a", "values": {"hue": "red"}}]}, 422, "hue"),
        ({"items": [{"id": "a"}, {"id": "a"}]}, 422, "twice"),
        ({"items": [{"id": "a", "media": {"picture": "no base64!"}}]}, 422, "base64"),
        ({"items": [{"id": "a", "media": {"picture": "aGVsbG8="}}]}, 415, "neither"),
        ({"items": [{"id": "a", "media": {"../x": "aGVsbG8="}}]}, 422, "column"),
        ({"items": [{"id": "a", "values": {"caption": {"deep": 1}}}]}, 422, "caption"),
        ({"items": [{"id": "a", "values": {"picture": "/etc/passwd"}}]}, 422, "picture"),
        ({"items": [{"id": "x" * 600}]}, 422, "id"),
        ({"other": 1}, 422, "items"),
    ],
)
def test_what_cannot_be_put_is_refused_by_name(service, body, status, said):
    folder, client = service
    before = Workspace(folder).journal.read()
    found = client.put("/items", json=body)
    assert found.status_code == status, found.text
    assert said in found.text
    assert Workspace(folder).journal.read() == before


def test_without_a_token_nothing_is_changed(service):
    folder, client = service
    put = {"items": [{"id": "a", "values": {"caption": "b"}}]}
    assert client.put("/items", json=put, headers={"Authorization": "Bearer no"}).status_code == 401
    with TestClient(create_app(Settings(folder)), base_url="http://127.0.0.1") as open_to_all:
        for answer in (open_to_all.put("/items", json=put), open_to_all.delete("/items/x")):
            assert answer.status_code == 403
            assert "without a token" in answer.json()["detail"]
            assert answer.json()["type"].endswith("read-only")


def test_the_index_is_a_store_whose_versions_say_why(service):
    folder, _ = service
    ws = Workspace(folder)
    assert is_store(index_folder(ws))
    assert {v.why for v in open_store(ws).versions()[1:]} == {"sync"}
