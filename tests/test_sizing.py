"""What embedding many items would take, from a few."""

import json

import pytest
from typer.testing import CliRunner

import tiny_text
from conjoin.cli.main import app
from conjoin.encoders.open import open_encoder
from conjoin.errors import ConjoinError
from conjoin.models.compression.footprint import Footprint
from conjoin.project.sizing import KEY, NUMBER, count_of, size_up
from conjoin.project.workspace import Workspace


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sizing")
    return tiny_text.workspace(folder / "ws", tiny_text.saved(folder / "tiny"))


def test_figures_follow_from_the_rate(home, monkeypatch):
    monkeypatch.setattr(
        "conjoin.project.sizing.footprint", lambda uri, cells: Footprint(200.0, 10**9, 0)
    )
    found = size_up(Workspace(home), ["text", "sound"], items=10**8, nodes=16, slots=8)
    one = found.sizes[0]
    assert one.stored == 10**8 * (32 * NUMBER + KEY)
    assert one.hours == pytest.approx(10**8 / (200 * 16 * 8) / 3600)
    assert one.node == 8 * 10**9
    assert found.left_out == {"sound": "cells of kind vector are not measured"}
    with pytest.raises(ConjoinError, match="cells of kind vector"):
        size_up(Workspace(home), ["sound"], items=10)


def test_a_rate_is_measured_and_nothing_is_embedded(home):
    ran = CliRunner().invoke(
        app, ["embed", "text", "--dry-run", "--items", "2k", "--nodes", "2", "-w", str(home),
              "--json"],
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert (found["items"], found["nodes"]) == (2000, 2)
    size = found["sizes"][0]
    dim = open_encoder(Workspace(home).modality("text").uri).frame.dim
    assert size["stored"] == 2000 * (dim * NUMBER + KEY)
    assert size["hours"] == pytest.approx(2000 / size["rate"] / 2 / 3600)
    assert not list(home.glob(".conjoin/spaces/*"))


def test_what_is_no_count_and_no_dry_run_is_refused(home):
    for text in ("many", "0", "-3", "5X"):
        with pytest.raises(ConjoinError, match="--items"):
            count_of(text)
    ran = CliRunner().invoke(app, ["embed", "--items", "5", "-w", str(home)])
    assert "add --dry-run" in str(ran.exception)
