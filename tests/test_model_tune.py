"""``conjoin model tune`` from the command line to a folder that opens as an encoder."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import tiny_text
from conjoin.cli.main import app
from conjoin.encoders.open import open_encoder
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError, StateError
from conjoin.models.tuning.saved import save_tuned, with_adapter
from conjoin.models.tuning.text_model import TextModel
from conjoin.project.models.tune import hits, labels_until
from conjoin.storage.files import read_json


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    model = tiny_text.saved(folder / "tiny")
    tiny_text.workspace(folder / "ws", model)
    CliRunner().invoke(app, ["embed", "-w", str(folder / "ws"), "-q"])
    return folder


def run(home, *more):
    return CliRunner().invoke(
        app, ["model", "tune", "--modality", "text", "-w", str(home / "ws"), *more]
    )


def test_labels_give_arms_a_verdict_and_an_encoder(home):
    keep = home / "keep.csv"
    texts, _ = tiny_text.sentences(40, 9)
    keep.write_text("a,b\n" + "\n".join(f"{t},{t} red" for t in texts))
    out = home / "by-label"
    ran = run(
        home, "--label", "order", "--peft", "full", "--steps", "6", "--batch", "16", "--lr",
        "0.002", "--keep", str(keep), "--budget", "5m", "--out", str(out), "--json",
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert found["arms"][0]["name"] == "frozen"
    assert {"name", "metric", "value", "low", "high", "cost"} <= set(found["arms"][1])
    assert found["arms"][1]["name"] == "full"
    assert found["verdict"].startswith("use ")
    assert 0 <= found["keep"]["before"] <= 1
    assert "after" in found["keep"]
    assert found["encoder"] == f"st:{out}"
    card = read_json(out / "tuned.json")
    assert card["base"] == TextModel.open(f"st:{home / 'tiny' / 'model'}").base
    encoder = open_encoder(f"st:{out}")
    made = np.asarray(encode(encoder, texts).vectors)
    np.testing.assert_allclose(made, TextModel.open(f"st:{out}").encode(texts), atol=1e-5)


def test_pairs_are_learned_from_and_an_adapter_fits_its_base_alone(home):
    out = home / "by-pairs"
    ran = run(home, "--with", "pairs", "--steps", "4", "--batch", "16", "--out", str(out), "--json")
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert found["arms"][0]["metric"] == "recall@10"
    base = TextModel.open(f"st:{home / 'tiny' / 'model'}")
    with_adapter(base, out)
    texts, _ = tiny_text.sentences(10, 3)
    np.testing.assert_allclose(
        base.encode(texts), TextModel.open(f"st:{out}").encode(texts), atol=1e-5
    )
    other = TextModel.open(f"st:{tiny_text.saved(home / 'other', seed=1)}")
    with pytest.raises(ConjoinError, match="its adapter is of another base"):
        with_adapter(other, out)


def test_what_cannot_be_tuned_is_refused_in_one_line(home):
    for more, said in (
        (["--label", "one"], "one class, 'same'"),
        (["--label", "number"], "holds numbers and no classes"),
        (["--label", "order", "--peft", "lorra"], "did you mean lora"),
        (["--label", "order", "--peft", "bitfit", "--rank", "4"], "bitfit has no rank"),
        (["--label", "order", "--targets", "querry"], "did you mean query"),
        (["--label", "order", "--keep", "nowhere.csv"], "no such file"),
        (["--with", "triples"], "give pairs, or --label"),
    ):
        ran = run(home, *more, "--out", str(home / "never"))
        assert ran.exit_code != 0, more
        assert said in str(ran.exception)
        assert not (home / "never").exists()
    ran = CliRunner().invoke(app, ["model", "tune", "--modality", "sound", "-w", str(home / "ws")])
    assert "'sound' reads no text" in str(ran.exception)


def test_a_dry_run_writes_nothing(home):
    ran = run(home, "--label", "order", "--dry-run", "--json", "--out", str(home / "dry"))
    found = json.loads(ran.stdout)
    assert found["dry"]
    assert found["train"] > found["test"] > 0
    assert not (home / "dry").exists()


def test_a_copy_that_is_not_what_was_measured_is_not_saved(home):
    model = TextModel.open(f"st:{home / 'tiny' / 'model'}")
    texts, _ = tiny_text.sentences(8)
    made = model.encode(texts)
    near = (texts, made + np.float32(9e-6))
    save_tuned(model, home / "near", adapter=None, expected=near, facts={})
    assert (home / "near" / "tuned.json").exists()
    off = (texts, made + np.float32(2e-5))
    with pytest.raises(StateError, match=r"folding the adapter moves vectors by 2\.0e-05"):
        save_tuned(model, home / "off", adapter=None, expected=off, facts={})
    assert not (home / "off").exists()
    assert not (home / "off.part").exists()


def test_partners_within_ten_places_count():
    gallery = np.eye(12)
    asked = np.eye(12)
    asked[0] = np.arange(12)[::-1] - 11.0 + 12 * np.eye(12)[5]
    assert hits(np.eye(12), gallery).all()
    worst = np.linspace(0, 1, 12)
    assert not hits(np.tile(worst, (12, 1)), gallery)[:2].any()
    assert hits(np.tile(worst, (12, 1)), gallery)[2:].all()


def test_labels_until_it_pays():
    assert labels_until(0.0, 0.01, 100, 200, 0.01) == 0
    assert labels_until(0.0, 0.01, 100, 200, 0.02) == 200
    assert labels_until(0.01, 0.01, 100, 200, 0.02) is None
    assert labels_until(0.0, 0.001, 100, 200, 0.02) is None
