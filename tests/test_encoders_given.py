"""Encoders of graphs, functions and endpoints, and the drift of those without weights."""

import json
import os
import sys
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from conjoin.encoders import probe, remote, run
from conjoin.encoders.base import CellError, Encoder
from conjoin.encoders.function import Function
from conjoin.encoders.names import uri
from conjoin.encoders.pretrained import onnx as onnxfile
from conjoin.encoders.pretrained.onnx import OnnxModel
from conjoin.encoders.remote import Remote
from conjoin.errors import ConjoinError, FrameError

TEXTS = ["a red fruit", "blue", "the old train leaves a station at night", "red red train"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "fruit", "the"]


def encode(encoder, cells):
    return encoder.forward([encoder.decode(cell) for cell in cells])


def alone(encoder, cells):
    """Each cell in a batch of its own."""
    return np.concatenate([encode(encoder, [cell]) for cell in cells])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    places = []
    for i, picture in enumerate(probe.inputs("image")[:3]):
        places.append(str(folder / f"{i}.png"))
        picture.resize((40 + 8 * i, 50)).save(places[-1])
    return places


def test_one_spelling_of_a_uri():
    assert uri("hf", "a/b", {"tower": "text", "output": "tokens"}) == uri(
        "hf", "a/b", {"output": "tokens", "tower": "text"}
    )
    assert uri("st", "x", {"prompt": "query: "}) == "st:x?prompt=query:%20"


# -- onnx:


def save_graph(path: Path, nodes, inputs, output, constants) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def linear(tmp_path_factory, matrix) -> Path:
    from onnx import TensorProto, helper

    path = tmp_path_factory.mktemp("onnx") / "linear.onnx"
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return save_graph(
        path, nodes, [("x", TensorProto.FLOAT, ["n", 6])], ("y", ["n", 4]), {"w": matrix}
    )


def onnx_of(path, **options) -> OnnxModel:
    return OnnxModel.open(str(path), options, Path("unused"))


def test_onnx_vectors(linear, matrix):
    encoder = onnx_of(linear, kind="vector")
    assert isinstance(encoder, Encoder)
    x = np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32)
    np.testing.assert_allclose(encode(encoder, list(x)), x @ matrix, atol=1e-5)
    for cell in (["a"], [[1.0]], [], [np.nan]):
        with pytest.raises(CellError):
            encoder.decode(cell)
    with pytest.raises(ConjoinError, match="the graph refused its input"):
        encode(encoder, [np.ones(5)])


def test_onnx_runs_on_a_device_whose_probes_agree_and_else_on_the_processor(
    linear, tmp_path, monkeypatch
):
    plain = onnx_of(linear, kind="vector", device="cpu")
    assert plain.runtime == "onnxruntime"
    monkeypatch.setattr(onnxfile, "PROVIDERS", {**onnxfile.PROVIDERS, "cuda": "NoneSuch"})
    monkeypatch.delenv("CONJOIN_DEVICE", raising=False)
    with pytest.raises(ConjoinError, match="the installed onnxruntime finds no cuda here"):
        onnx_of(linear, kind="vector", device="cuda")
    assert onnx_of(linear, kind="vector").runtime == "onnxruntime", "auto, and there is none"
    # The processor under an accelerator's name stands in for one that computes alike.
    monkeypatch.setitem(onnxfile.PROVIDERS, "cuda", onnxfile.PROVIDERS["cpu"])
    cells = list(np.random.default_rng(0).standard_normal((70, 6)).astype(np.float32))
    for device in ("cuda", "auto"):
        moved = onnx_of(linear, kind="vector", device=device)
        assert moved.runtime == "onnxruntime cuda"
        assert (moved.uri, moved.frame) == (plain.uri, plain.frame)
        np.testing.assert_array_equal(
            run.encode(moved, cells).vectors, run.encode(plain, cells).vectors
        )
        assert moved.sizes.now > 32, "on an accelerator batches grow"
    # One that computes something else, and one that has no room for a batch.
    session = onnxfile._session

    class Other:
        def __init__(self, path, where, device):
            self.real = session(path, where, "cpu")
            self.device = device

        def __getattr__(self, name):
            return getattr(self.real, name)

        def run(self, names, feeds):
            if self.device == "cuda" and troubles:
                raise ValueError(troubles[-1])
            return [out + (self.device == "cuda") for out in self.real.run(names, feeds)]

    monkeypatch.setattr(onnxfile, "_session", lambda p, w, d="cpu": Other(p, w, d))
    troubles: list[str] = []
    for more in ([], ["not implemented"], ["Failed to allocate memory"]):
        troubles += more
        assert onnx_of(linear, kind="vector", device="cuda").runtime == "onnxruntime"
    full = onnx_of(linear, kind="vector", device="cpu")
    full.session.device = "cuda"
    with pytest.raises(MemoryError):
        full.forward(cells)


def test_onnx_text_is_pooled_by_its_mask(tmp_path, tokenizer):
    from onnx import TensorProto, helper

    table = np.random.default_rng(2).standard_normal((32, 5)).astype(np.float32)
    path = save_graph(
        tmp_path / "text.onnx",
        [helper.make_node("Gather", ["table", "input_ids"], ["states"])],
        [("input_ids", TensorProto.INT64, ["n", "t"])],
        ("states", ["n", "t", 5]),
        {"table": table},
    )
    with pytest.raises(ConjoinError, match="add tokenizer=FILE"):
        onnx_of(path)
    encoder = onnx_of(path, tokenizer=str(tokenizer))
    found = encode(encoder, TEXTS)
    ids = [2, 5, 6, 7, 3]  # [CLS] a red fruit [SEP]
    np.testing.assert_allclose(found[0], table[ids].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found, alone(encoder, TEXTS), atol=1e-6)
    cut = onnx_of(path, tokenizer=str(tokenizer.parent), length="4")
    np.testing.assert_allclose(encode(cut, TEXTS)[0], table[[2, 5, 6, 3]].mean(axis=0), atol=1e-5)
    assert cut.frame != encoder.frame


def test_onnx_pictures_one_at_a_time(tmp_path, pictures):
    from onnx import TensorProto, helper

    path = save_graph(
        tmp_path / "image.onnx",
        [helper.make_node("GlobalAveragePool", ["x"], ["m"]),
         helper.make_node("Flatten", ["m"], ["y"])],
        [("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        ("y", [1, 3]),
        {},
    )  # fmt: skip
    encoder = onnx_of(path, kind="image", size="16", mean="0", std="1")
    found = encode(encoder, pictures)
    assert found.shape == (3, 3)
    assert (found > 0).all()
    assert (found < 1).all()
    shifted = onnx_of(path, kind="image", size="16", mean="0.5", std="0.25")
    np.testing.assert_allclose(encode(shifted, pictures), (found - 0.5) / 0.25, atol=1e-4)
    assert shifted.frame != encoder.frame


def test_onnx_refusals(linear, tmp_path):
    with pytest.raises(ConjoinError, match="there is no such file"):
        onnx_of(tmp_path / "absent.onnx")
    (tmp_path / "torn.onnx").write_bytes(b"torn")
    with pytest.raises(ConjoinError, match="is not an ONNX graph"):
        onnx_of(tmp_path / "torn.onnx", kind="vector")
    with pytest.raises(ConjoinError, match=r"\?output: 'z'; give one of \['y'\]"):
        onnx_of(linear, kind="vector", output="z")
    with pytest.raises(ConjoinError, match=r"\?tokenizer: is not an option"):
        onnx_of(linear, kind="vector", tokenizer="x")


# -- python:

MODULE = """
import numpy as np
shift = 0.0

def letters(cells):
    out = np.zeros((len(cells), 5))
    for row, cell in enumerate(cells):
        for place, letter in enumerate(cell):
            out[row, ord(letter) % 5] += 1 + shift * place
    return out

def double(cells):
    return 2 * np.stack(cells)

def flat(cells):
    return np.zeros(len(cells))

def torn(cells):
    raise KeyError("x")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "conjoin_test_functions.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    yield "conjoin_test_functions"
    sys.modules.pop("conjoin_test_functions", None)


def python(rest, **options) -> Function:
    return Function.open(rest, options, Path("unused"))


def test_function(module):
    encoder = python(f"{module}:letters")
    assert isinstance(encoder, Encoder)
    assert encode(encoder, ["abc", "a"]).tolist() == [[0, 0, 1, 1, 1], [0, 0, 1, 0, 0]]
    assert encoder.probes.shape == (8, 5)
    assert python(f"{module}:letters").frame == encoder.frame
    assert os.getcwd() not in sys.path
    doubled = python(f"{module}:double", kind="vector", dim="3")
    assert encode(doubled, [[1, 2, 3]]).tolist() == [[2, 4, 6]]


def test_function_refusals(module):
    with pytest.raises(ConjoinError, match="there is no module absent_module"):
        python("absent_module:f")
    with pytest.raises(ConjoinError, match=r"has no function leters; did you mean letters"):
        python(f"{module}:leters")
    with pytest.raises(ConjoinError, match=r"gave shape \(8,\) for 8 cells; return"):
        python(f"{module}:flat")
    with pytest.raises(ConjoinError, match="raised KeyError"):
        python(f"{module}:torn")
    Path("conjoin_test_torn.py").write_text("1 / 0")
    with pytest.raises(ConjoinError, match="importing conjoin_test_torn raised ZeroDivisionError"):
        python("conjoin_test_torn:f")
    with pytest.raises(ConjoinError, match="write python:module:function"):
        python(module)
    with pytest.raises(ConjoinError, match="add dim=WIDTH"):
        python(f"{module}:double", kind="vector")


def test_drift_of_a_function_is_refused(module, tmp_path):
    first = python(f"{module}:letters")
    probe.save_probes(tmp_path / "probes.safetensors", first)
    frame, probes = probe.load_probes(tmp_path / "probes.safetensors")
    assert frame == first.frame
    functions = sys.modules[module]

    functions.shift = 1e-7  # the last bits: another hash, the same encoder
    again = python(f"{module}:letters")
    assert again.frame != first.frame
    reopened = probe.reopen(again, frame, probes)
    assert reopened.frame == first.frame
    assert encode(reopened, ["abc"]).shape == (1, 5)

    assert python(f"{module}:letters").from_state(first.state()).frame == first.frame

    functions.shift = 0.5
    with pytest.raises(FrameError, match=r"drifted: .* probes moved.*embed again.*bridge.*restore"):
        probe.reopen(python(f"{module}:letters"), frame, probes)
    with pytest.raises(FrameError, match="drifted"):
        python(f"{module}:letters").from_state(json.loads(json.dumps(first.state())))


def test_drift_is_of_angle_and_length():
    base = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)
    probe.check_drift("x", base, base)
    probe.check_drift("x", base, base * 1.001)
    for moved in (base * 1.1, -base, base[:, ::-1], np.where(base > 0, np.nan, base)):
        with pytest.raises(FrameError):
            probe.check_drift("x", base, moved)
    with pytest.raises(FrameError, match="gives 15 dimensions, stored are 16"):
        probe.check_drift("x", base, base[:, :15])
    edge = base.copy()
    edge[3] = np.linalg.norm(base[3]) * np.eye(16)[0]
    with pytest.raises(FrameError, match="1 of 8 probes"):
        probe.check_drift("x", base, edge)


@pytest.mark.parametrize("kind", probe.KINDS)
def test_probes_are_eight_and_differ(kind):
    made = [np.asarray(x) for x in probe.inputs(kind, width=7)]
    assert len(made) == 8
    assert len({x.tobytes() for x in made}) == 8
    again = [np.asarray(x) for x in probe.inputs(kind, width=7)]
    assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))


# -- http:


class Endpoint(BaseHTTPRequestHandler):
    """An embeddings endpoint: hashed letters, turned by ``server.turn``, rows out of order."""

    def do_POST(self) -> None:
        state = self.server.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        state["asked"].append((self.path, self.headers.get("Authorization"), body))
        if state["fail"]:
            self.send_response(state["fail"].pop(0))
            self.send_header("Retry-After", "0")
            self.send_header("Location", "http://127.0.0.1:9/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        rows = []
        for index, text in enumerate(body["input"]):
            rng = np.random.default_rng(zlib.crc32(text.encode()))
            vector = rng.standard_normal(state["dim"])
            vector[0] += state["turn"]
            rows.append({"index": index, "embedding": vector.tolist()})
        answer = json.dumps({"data": rows[::-1]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch) -> Iterator[tuple[str, dict]]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(remote, "PAUSE", 0.001)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.state = {"asked": [], "fail": [], "turn": 0.0, "dim": 6}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"//127.0.0.1:{server.server_port}/v1", server.state
    server.shutdown()
    thread.join()
    server.server_close()


def web(rest, **options) -> Remote:
    return Remote.open(rest, {"model": "tiny", **options}, Path("unused"))


def test_remote(endpoint, monkeypatch):
    rest, state = endpoint
    monkeypatch.setenv("CONJOIN_TEST_KEY", "secret-1")
    encoder = web(rest, key_env="CONJOIN_TEST_KEY", batch="3")
    assert isinstance(encoder, Encoder)
    assert [len(body["input"]) for _, _, body in state["asked"]] == [3, 3, 2]
    path, key, body = state["asked"][0]
    assert (path, key, body["model"]) == ("/v1/embeddings", "Bearer secret-1", "tiny")
    found = encode(encoder, TEXTS)
    expected = [np.random.default_rng(zlib.crc32(t.encode())).standard_normal(6) for t in TEXTS]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert "secret-1" not in repr(encoder)
    assert web(f"http:{rest}").frame == web(rest).frame


def test_remote_tries_again(endpoint):
    rest, state = endpoint
    state["fail"] = [429, 503]
    assert web(rest).frame.dim == 6
    state["fail"] = [500] * 5
    with pytest.raises(ConjoinError, match=r"answered 500, 5 times"):
        web(rest)
    state["asked"].clear()
    for code in (401, 302):
        state["fail"] = [code]
        with pytest.raises(ConjoinError, match=f"answered {code}; check the URL, model and key"):
            web(rest)
    assert len(state["asked"]) == 2


def test_remote_drift_is_refused(endpoint):
    rest, state = endpoint
    first = web(rest)
    state["turn"] = 1e-6
    again = probe.reopen(web(rest), first.frame, first.probes)
    assert again.frame == first.frame
    state["turn"] = 0.5
    with pytest.raises(FrameError, match="drifted"):
        probe.reopen(web(rest), first.frame, first.probes)
    state["dim"] = 4
    with pytest.raises(ConjoinError, match="gave 4 dimensions, before 6"):
        encode(again, TEXTS)
    with pytest.raises(FrameError, match="gives 4 dimensions, stored are 6"):
        probe.reopen(web(rest), first.frame, first.probes)


def test_remote_refusals(endpoint, monkeypatch):
    rest, _ = endpoint
    with pytest.raises(ConjoinError, match="names no model"):
        Remote.open(rest, {}, Path("unused"))
    monkeypatch.delenv("CONJOIN_TEST_KEY", raising=False)
    with pytest.raises(ConjoinError, match="variable CONJOIN_TEST_KEY is not set"):
        web(rest, key_env="CONJOIN_TEST_KEY")
    port = rest.rpartition(":")[2].partition("/")[0]
    with pytest.raises(ConjoinError, match=rf"^https://127.0.0.1:{port}/v1.*cannot be reached"):
        remote.Https.open(rest, {"model": "tiny", "timeout": "1"}, Path("unused"))
    with pytest.raises(ConjoinError, match="cannot be reached"):
        web("//127.0.0.1:9/v1", timeout="1")
    with pytest.raises(ConjoinError, match=r"\?key: is not an option"):
        web(rest, key="secret")
