"""A joint model behind an endpoint: pictures and sounds are sent, towers share a frame."""

import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import joints
from conjoin.encoders import remote
from conjoin.encoders.open import kind_of, open_encoder, towers
from conjoin.errors import ConjoinError, FrameError
from conjoin.project.workspace import Workspace
from shelf import Caller

INK = {name: np.array(rgb) / 255 for name, rgb in joints.COLOURS.items()}


def seen(data: bytes) -> np.ndarray:
    """Mean colour of a picture's middle, or three numbers of a sound."""
    if data[:4] == b"RIFF":
        wave = np.frombuffer(data[44:], "<i2").astype(float)
        return np.array([wave.std() / 32767, len(wave) / 16_000, 1.0])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float) / 255
    return pixels[4:12, 4:12].mean(axis=(0, 1))


def read(text: str) -> np.ndarray:
    return sum((INK[word] for word in text.split() if word in INK), np.full(3, 0.01 * len(text)))


def cells(path: str, body: dict) -> list:
    """What a request of any shape asks: texts and bytes."""
    if path.endswith("/multimodalembeddings"):
        asked = [entry["content"][0] for entry in body["inputs"]]
        return [a["text"] if a["type"] == "text" else plain(a["image_base64"]) for a in asked]
    if "modality" in body:
        return [x if body["modality"] == "text" else plain(x) for x in body["input"]]
    asked = [entry if isinstance(entry, dict) else {"text": entry} for entry in body["input"]]
    return [a["text"] if "text" in a else base64.b64decode(next(iter(a.values()))) for a in asked]


def plain(uri: str) -> bytes:
    head, _, data = uri.partition(",")
    assert head in ("data:image/png;base64", "data:audio/wav;base64")
    return base64.b64decode(data)


class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        state = self.server.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = cells(self.path, body)
        state["asked"].append((self.path, len(asked)))
        rng = np.random.default_rng(len(state["asked"]))
        rows = []
        for place, cell in enumerate(asked):
            if state["blind"] and isinstance(cell, str):
                self.send_error(400)
                return
            vector = read(cell) if isinstance(cell, str) else seen(cell)
            # The last bits differ from call to call, as they do on a busy accelerator.
            vector = vector @ state["turn"] + 1e-7 * rng.standard_normal(3)
            rows.append({"index": place, "embedding": vector.tolist()})
        answer = json.dumps({"data": rows}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(remote, "PAUSE", 0.001)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.state = {"asked": [], "turn": np.eye(3), "blind": False}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1?model=tiny", server.state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("request_", ["jina", "infinity", "voyage"])
def test_pictures_and_texts_are_sent_in_the_shape_that_was_asked_for(endpoint, request_):
    uri, state = endpoint
    picture = joints.drawing("red", "square", 3)
    image = open_encoder(f"{uri}&kind=image&request={request_}")
    found = image.forward([image.decode(picture)])
    np.testing.assert_allclose(found[0], seen(png(picture)), atol=1e-5)
    text = open_encoder(f"{uri}&kind=text&request={request_}")
    np.testing.assert_allclose(text.forward(["a red fruit"])[0], read("a red fruit"), atol=1e-5)
    ends = {path.rpartition("/")[2] for path, _ in state["asked"]}
    assert ends == {"multimodalembeddings" if request_ == "voyage" else "embeddings"}
    assert max(count for _, count in state["asked"]) == 8
    assert kind_of(f"{uri}&kind=image") == "image"
    assert set(towers(f"{uri}&kind=image")) == {"text", "image", "audio"}


def png(picture) -> bytes:
    held = io.BytesIO()
    picture.save(held, "PNG")
    return held.getvalue()


def test_sounds_are_sent_as_wav(endpoint):
    uri, _ = endpoint
    audio = open_encoder(f"{uri}&kind=audio&seconds=1")
    wave = 0.5 * np.sin(np.arange(40_000) / 10).astype(np.float32)
    found = audio.forward([audio.decode(wave)])[0]
    np.testing.assert_allclose(found, [0.5 / np.sqrt(2), 1.0, 1.0], atol=0.01)


def test_large_pictures_are_made_smaller_before_they_are_sent():
    big = Image.new("RGB", (4000, 2000), (255, 0, 0))
    sent = base64.b64decode(remote._packed("image", big).partition(",")[2])
    assert Image.open(io.BytesIO(sent)).size == (1024, 512)
    assert big.size == (4000, 2000)


def album(folder: Path, uri: str) -> Path:
    (folder / "photos").mkdir(parents=True)
    for place, (colour, shape, picture) in enumerate(joints.drawings(24)):
        picture.save(folder / "photos" / f"{colour}-{shape}-{place}.png")
    (folder / "conjoin.toml").write_text(
        f'[items]\ntable = "photos"\nid = "id"\n[modalities.image]\ncolumn = "image"\n'
        f'encoder = "{uri}&kind=image"\n'
    )
    return folder


def test_words_find_pictures_and_a_changed_model_is_refused(
    endpoint, monkeypatch, capsys, tmp_path
):
    uri, state = endpoint
    conjoin, folder = Caller(monkeypatch, capsys), album(tmp_path, uri)
    conjoin.good("embed", "-q", "-w", folder)
    told = conjoin.good("search", "a red thing", "-k", 3, "--json", "-w", folder).json
    assert {hit["id"].split("-")[0] for hit in told["lists"]["image"][:2]} == {"red"}
    assert told["uncalibrated"] == ["image"]
    state["turn"] = np.eye(3)[[1, 2, 0]]  # another model behind the same name
    told = conjoin("search", "a red thing", "-w", folder)
    assert told.code == 2
    assert "drifted" in told.err
    state["turn"] = np.eye(3)
    conjoin.good("search", "a red thing", "-w", folder)


def test_two_modalities_of_one_endpoint_share_a_frame_though_bits_differ(endpoint, tmp_path):
    uri, state = endpoint
    folder = album(tmp_path, uri)
    text = (folder / "conjoin.toml").read_text()
    more = f'[modalities.words]\ncolumn = "id"\nencoder = "{uri}&kind=text"\n'
    (folder / "conjoin.toml").write_text(text + more)
    ws = Workspace(folder)
    assert ws.encoder("image").frame == ws.encoder("words").frame
    alone = open_encoder(f"{uri}&kind=text")
    assert alone.frame != ws.encoder("words").frame, "each call gives other last bits"
    state["turn"] = np.eye(3)[[1, 2, 0]]
    other = Workspace(folder)
    (other.state / "encoders").rename(other.state / "away")
    ws = Workspace(folder)
    ws.encoder("image")
    state["turn"] = np.eye(3)
    with pytest.raises(FrameError, match="drifted"):
        ws.encoder("words")


def test_a_model_without_texts_has_pictures_alone(endpoint, tmp_path, monkeypatch, capsys):
    uri, state = endpoint
    state["blind"] = True
    conjoin, folder = Caller(monkeypatch, capsys), album(tmp_path, uri)
    conjoin.good("embed", "-q", "-w", folder)
    told = conjoin("search", "a red thing", "-w", folder)
    assert (told.code, "answered 400" in told.err) == (2, True)


def test_what_no_request_can_say_is_refused(endpoint):
    uri, _ = endpoint
    for more, said in (
        ("&kind=image&request=openai", "'openai' takes no image"),
        ("&request=jina", "without kind"),
        ("&kind=audio&request=voyage", "takes no audio"),
        ("&kind=video", "give one of"),
    ):
        with pytest.raises(ConjoinError, match=said):
            open_encoder(uri + more)
