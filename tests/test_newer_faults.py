"""Bad input to the verbs of documents, models and benchmarks: one line that names it."""

import json
import socket
import threading
from contextlib import closing

import numpy as np
import pytest
from safetensors.numpy import save_file

import tiny_text
from conjoin.answering.model import Model
from conjoin.cli.console import Console
from conjoin.errors import ConjoinError
from conjoin.evaluation.published import open_task
from conjoin.models.checkpoint import Checkpoint
from conjoin.models.pretraining.recipe import Recipe, put, read
from conjoin.models.tuning.text_model import TextModel
from conjoin.project.models.pretrain import named
from conjoin.project.models.transcribe import read_names
from conjoin.project.models.tuning_data import read_keep
from conjoin.storage.files import expanded


@pytest.mark.parametrize(
    "uri",
    ["http://[::1", "http://h:port/v1?model=m", "http://h/a b?model=m", "http://h/\x00?model=m",
     "http://h/ Host: x?model=m", "ftp://h/v1?model=m"],
)  # fmt: skip
def test_an_endpoint_that_is_no_url_is_refused_before_it_is_asked(uri):
    with pytest.raises(ConjoinError, match="--model"):
        Model.open(uri)


@pytest.mark.parametrize(
    "answer",
    [b"hello\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\na: " + b"b" * 90_000,
     b"HTTP/1.1 200 OK\r\n\r\ndata: " + b"[" * 100_000 + b"\n\n",
     b"HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\n\x1b[2Jx"],
)  # fmt: skip
def test_an_endpoint_that_answers_garbage_is_one_clean_line(answer):
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)

        def serve():
            for _ in range(4):
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with closing(peer):
                    peer.recv(65536)
                    peer.sendall(answer)

        worker = threading.Thread(target=serve, daemon=True)
        worker.start()
        model = Model.open(f"http://127.0.0.1:{server.getsockname()[1]}/v1?model=m&seconds=2")
        with pytest.raises(ConjoinError) as caught:
            list(model.stream([{"role": "user", "content": "x"}]))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    ['batch = "many"', "batch = 1.5", "longest = []", "stages = 3", "stages = [1]",
     '[targets]\ncontrast = "much"', "[targets]\ncontrast = nan", "[targets.contrast]\nevery = []",
     "[views]\ntext = 3", "[views.text]\ncells = 0", "body = 3", "validation = true"],
)  # fmt: skip
def test_settings_of_a_recipe_have_their_types(text):
    with pytest.raises(ConjoinError):
        read(text)


def test_settings_on_the_command_line_have_theirs(tmp_path):
    for text in ("targets.contrast=\x00", "batch=many", "stages=2020-01-01", "views.text.cells=0"):
        with pytest.raises(ConjoinError):
            put(Recipe(), text)
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConjoinError, match="cannot be read"):
        named(str(tmp_path / "r.toml"))


def test_texts_to_keep_have_columns_of_their_own_names(tmp_path):
    (tmp_path / "k.csv").write_text("a,a\n" + "x,y\n" * 30)
    with pytest.raises(ConjoinError, match="two columns of one name"):
        read_keep(tmp_path / "k.csv")
    (tmp_path / "b.csv").write_bytes(b"\xe9,b\n" + b"x,y\n" * 30)
    with pytest.raises(ConjoinError, match="--keep"):
        read_keep(tmp_path / "b.csv")
    (tmp_path / "names.txt").write_bytes(b"\xff")
    for name in ("names.txt", "nowhere.txt"):
        with pytest.raises(ConjoinError, match="--names"):
            read_names(tmp_path / name)


@pytest.mark.parametrize(
    ("file", "data"),
    [("model.safetensors", b"\xff" * 20), ("modules.json", b"\xff"), ("config.json", b"{}"),
     ("tokenizer.json", b"{}"), ("modules.json", b"[3]")],
)  # fmt: skip
def test_a_damaged_model_is_one_line(tmp_path, file, data):
    folder = tiny_text.saved(tmp_path / "tiny")
    (folder / file).write_bytes(data)
    with pytest.raises(ConjoinError):
        TextModel.open(f"st:{folder}")


@pytest.mark.parametrize("name", [3, None, [], "../m.safetensors", "/etc/passwd", "a/b", "", ".."])
def test_a_shard_lies_beside_its_index(tmp_path, name):
    own = tmp_path / "model"
    own.mkdir()
    save_file({"w": np.zeros(3, np.float32)}, own / "m.safetensors")
    save_file({"w": np.ones(3, np.float32)}, tmp_path / "m.safetensors")
    index = own / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "m.safetensors"}}))
    with Checkpoint.open(own) as found:
        assert found.read("w").tolist() == [0, 0, 0]
    index.write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(ConjoinError, match=r"names a shard|is no index"):
        Checkpoint.open(own)


def test_a_benchmark_with_a_value_of_another_type_is_named(tmp_path):
    coco = tmp_path / "coco" / "annotations"
    coco.mkdir(parents=True)
    for data in ({"images": 2.5, "annotations": []}, {"images": [], "annotations": 3}, [1]):
        (coco / "captions_test.json").write_text(json.dumps(data))
        with pytest.raises(ConjoinError):
            open_task(tmp_path / "coco")
    vl = tmp_path / "vl"
    (vl / "corpus").mkdir(parents=True)
    (vl / "corpus" / "a.yaml").write_text('ANNO_PATH: "a.json"\nIMG_ROOT: "."\n')
    for data in (3, [[["x"], {}]], [[None, {}]], {"a": 1}):
        (vl / "a.json").write_text(json.dumps(data))
        with pytest.raises(ConjoinError):
            open_task(vl)
    (vl / "corpus" / "a.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConjoinError, match="not UTF-8"):
        open_task(vl)


def test_lines_that_are_no_text_are_named(tmp_path):
    beir = tmp_path / "beir"
    (beir / "qrels").mkdir(parents=True)
    (beir / "corpus.jsonl").write_bytes(b'{"_id": "d", "title": "", "text": "\xdc"}\n')
    (beir / "queries.jsonl").write_text('{"_id": "q", "text": "x"}\n')
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    with pytest.raises(ConjoinError, match="not UTF-8"):
        open_task(beir)


def test_a_user_that_is_not_there_is_no_defect():
    assert expanded("~nobody-of-that-name/x").parts[0] == "~nobody-of-that-name"


def test_what_a_document_or_a_model_says_moves_no_cursor(capsys):
    console = Console()
    console.say("a\x1b[2Jb\x07 👩\u200d🚀 é")
    console.note("n\x9bm")
    console.table("", ("x",), [("c\x1b]0;t\x07d",)])
    told = capsys.readouterr()
    assert told.out.startswith("a[2Jb 👩\u200d🚀 é\n")
    assert "c]0;td" in told.out
    assert told.err == "nm\n"
    assert not any(c in told.out + told.err for c in "\x1b\x07\x9b")
