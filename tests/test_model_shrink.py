"""``conjoin model shrink`` from the command line to an encoder that opens, or to none."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import tiny_text
from conjoin.cli.main import app
from conjoin.encoders.open import open_encoder
from conjoin.errors import ConjoinError
from conjoin.models.compression.footprint import Footprint, footprint, size_of
from conjoin.models.compression.pictures import SmallerInput
from conjoin.project.models.shrink import Candidate, ShrinkAsk, decide, speed_of


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shrink")
    model = tiny_text.saved(folder / "tiny", layers=3)
    tiny_text.workspace(folder / "ws", model)
    CliRunner().invoke(app, ["embed", "-w", str(folder / "ws"), "-q"])
    return folder


def run(home, *more):
    return CliRunner().invoke(
        app, ["model", "shrink", "--modality", "text", "-w", str(home / "ws"), *more]
    )


def test_candidates_are_judged_and_the_one_named_opens(home, monkeypatch):
    # Rates of networks as tiny as these are those of the libraries round them.
    rates = {"frozen": 100.0, "trim-vocabulary": 90.0, "fewer-layers": 260.0}
    named = lambda uri: next((n for n in rates if n in uri), "frozen")  # noqa: E731
    monkeypatch.setattr(
        "conjoin.project.models.shrink.footprint",
        lambda uri, cells: Footprint(rates[named(uri)], 10**8, size_of(uri)),
    )
    out = home / "small"
    ran = run(
        home, "--label", "order", "--method", "fewer-layers", "--method", "trim-vocabulary",
        "--keep", "0", "--out", str(out), "--json",
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert found["arms"][0]["name"] == "frozen"
    assert {"name", "metric", "value", "low", "high", "cost"} <= set(found["arms"][1])
    assert found["verdict"].startswith("use fewer-layers[share=")
    assert not found["candidates"]["trim-vocabulary[least=1]"]["offered"]
    assert found["encoder"] == f"st:{out}?precision=fast"
    assert open_encoder(found["encoder"]).frame.dim == 32
    assert (out / "shrunk.json").exists()
    assert not list((home / "ws").glob(".shrink-*"))
    again = run(home, "--label", "order", "--out", str(out))
    assert "is there already" in str(again.exception)


def test_what_cannot_be_shrunk_is_refused_in_one_line(home):
    for more, said in (
        (["--to", "0.5x"], "give a speed over 1"),
        (["--method", "fewer-layer"], "did you mean fewer-layers"),
        (["--method", "smaller-input"], "knows no encoder of texts"),
        (["--label", "one"], "one class, 'same'"),
    ):
        ran = run(home, *more)
        assert ran.exit_code != 0, more
        assert said in str(ran.exception)
    sound = CliRunner().invoke(
        app, ["model", "shrink", "--modality", "sound", "-w", str(home / "ws")]
    )
    assert "reads no text or image" in str(sound.exception)
    with pytest.raises(ConjoinError, match="pictures of one size"):
        SmallerInput().write("hf:somewhere", [], home)


def test_a_dry_run_names_what_would_be_tried(home):
    ran = run(home, "--dry-run", "--json")
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert "onnx-int8" in found["candidates"]
    assert found["test"] > 0


def one(name, faster, low, offered=True):
    return Candidate(name, name, Footprint(1.0, 1, 1), None, faster, low, offered)


@pytest.mark.parametrize(
    ("low", "faster", "use"),
    [
        (-0.0099, 2.0, "small"), (-0.0101, 2.0, "frozen"), (-0.0099, 1.9, "small"),
        (0.5, 0.9, "frozen"),
    ],
)  # fmt: skip
def test_verdicts_on_both_sides_of_each_bound(low, faster, use):
    both = {
        "frozen": one("frozen", 1.0, 0.0, False),
        "small": one("small", faster, low, faster > 1.05),
    }
    means, ask = {"frozen": 0.5, "small": 0.499}, ShrinkAsk("text", 2.0, 0.98)
    named, said = decide(both, means, {"small": 0.5}, ask)
    assert named == use
    assert said.startswith(f"use {use}")
    assert ("or stay" in said) == (use == "small" and faster < 2)
    assert ("would take it" in said) == (use == "frozen" and faster > 1)


def test_of_two_that_will_do_the_better_is_named_and_one_clearly_worse_is_called_so():
    both = {
        "frozen": one("frozen", 1.0, 0.0, False),
        "a": one("a", 2.5, 0.0),
        "b": one("b", 4, 0.0),
    }
    means = {"frozen": 0.5, "a": 0.52, "b": 0.51}
    assert decide(both, means, {"a": 1, "b": 1}, ShrinkAsk("text"))[0] == "a"
    worse = {"frozen": both["frozen"], "a": one("a", 3.0, -0.2)}
    named, said = decide(worse, {"frozen": 0.5, "a": 0.35}, {"a": 0.001}, ShrinkAsk("text"))
    assert named == "frozen"
    assert said.endswith("clearly worse")


def test_a_footprint_is_measured_in_a_process_of_its_own(home):
    found = footprint(f"st:{home / 'tiny' / 'model'}", ["red cat", "blue dog"] * 8)
    assert found.rate > 0
    assert found.memory > 10**7
    assert found.size == size_of(f"st:{home / 'tiny' / 'model'}") > 10**4
    with pytest.raises(ConjoinError, match="cannot be run"):
        footprint("st:/nowhere", ["red"])


def test_speeds_as_typed():
    assert speed_of(" 3X") == 3
    for text in ("fast", "1x", "nan", "-2"):
        with pytest.raises(ConjoinError, match="speed over 1"):
            speed_of(text)


def test_a_smaller_side_has_a_frame_of_its_own_and_its_bounds():
    whole, small = open_encoder("builtin:image"), open_encoder("builtin:image?side=96")
    assert whole.frame.id != small.frame.id
    assert open_encoder("builtin:image?side=224").frame.id == whole.frame.id
    assert small.decode(np.zeros((50, 40, 3), np.uint8)).shape == (3, 96, 96)
    for options in ("side=100", "side=96&output=tokens", "side=32"):
        with pytest.raises(ConjoinError):
            open_encoder(f"builtin:image?{options}")
