"""Spoilt queries: what they still find, the margin of a first hit, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

import tiny_text
from conjoin.cli.main import app
from conjoin.project.quality.robust import SEVERITIES, Robustness, Spoilt, verdict_of
from conjoin.quality.robustness.corruptions import TEXTS
from conjoin.quality.robustness.margins import radii


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robust")
    model = tiny_text.saved(folder / "tiny")
    tiny_text.workspace(folder / "ws", model)
    for words in (["embed"], ["fit", "--method", "ridge"]):
        ran = CliRunner().invoke(app, [*words, "-w", str(folder / "ws"), "-q"])
        assert ran.exit_code == 0, ran.output
    return folder / "ws"


def test_every_corruption_of_a_kind_is_tried_and_clean_cells_lose_nothing(home):
    ran = CliRunner().invoke(app, ["doctor", "--robust", "-w", str(home), "--json"])
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    asked = {(row["corruption"], row["severity"]) for row in found["rows"]}
    assert asked == {("none", 0)} | {(name, s) for name in TEXTS for s in SEVERITIES}
    clean = found["rows"][0]
    assert (clean["loss"], clean["moved"]) == (0, 0)
    for row in found["rows"]:
        assert row["low"] <= row["value"] <= row["high"]
        assert row["loss"] == pytest.approx(clean["value"] - row["value"])
    last = [r["loss"] for r in found["rows"] if r["severity"] == SEVERITIES[-1]]
    assert last == sorted(last, reverse=True)
    # Words that are not in the vocabulary move a vector; more of them move it further.
    swaps = [r["moved"] for r in found["rows"] if r["corruption"] == "swaps"]
    assert 0 < swaps[0] < swaps[-1]
    assert found["left_out"] == {"sound": "no corruption of cells of kind vector"}
    assert found["radius"]["text"]["median"] >= 0


def test_the_first_screen_says_what_costs_most(home):
    ran = CliRunner().invoke(app, ["doctor", "--robust", "-w", str(home), "-q"])
    assert ran.exit_code == 0, ran.output
    assert "costs most" in ran.stdout or "no corruption surely costs recall" in ran.stdout
    assert "text → sound" in ran.stdout
    assert "not tried: sound" in ran.stdout
    assert "radius" not in ran.stdout
    dry = CliRunner().invoke(app, ["doctor", "--robust", "-w", str(home), "--dry-run"])
    assert dry.stdout.startswith("would spoil")


def row(name, loss, low, high, severity=SEVERITIES[-1]):
    return Spoilt("text", "image", name, severity, 0.5 - loss, 0, 1, loss, low, high, 0.1)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.001, 0.2, "blur of text costs most: recall@10 0.500 → 0.400"),
     (0.0, 0.2, "no corruption surely costs recall")],
)  # fmt: skip
def test_a_cost_is_named_where_its_lower_bound_is_above_0(low, high, said):
    assert verdict_of([row("blur", 0.1, low, high), row("dark", 0.0, -0.1, 0.1)]).startswith(said)


@pytest.mark.parametrize(("high", "named"), [(0.049, True), (0.05, False)])
def test_what_costs_little_is_named_where_its_upper_bound_is_below_a_twentieth(high, named):
    said = verdict_of([row("blur", 0.1, 0.05, 0.2), row("dark", 0.0, -0.01, high)])
    assert ("dark cost less than .05" in said) == named


def test_the_table_has_a_column_for_each_severity():
    rows = [row("none", 0.0, 0, 0, 0), *(row("dark", s / 10, 0, 1, s) for s in SEVERITIES)]
    columns, lines = Robustness(tuple(rows), {}, "", {}).table()
    assert len(columns) == len(lines[0]) == 4 + len(SEVERITIES)
    assert lines[0][2] == "0.500"
    assert dataclasses.asdict(rows[0])["corruption"] == "none"


def test_no_shorter_change_takes_a_partner_from_the_first_place():
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(12, 4))
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    own = np.arange(12)
    queries = gallery + 0.3 * rng.normal(size=gallery.shape)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    found = radii(queries, gallery, own)
    for i, r in enumerate(found):
        slow = []
        for j in set(range(12)) - {i}:
            apart = gallery[i] - gallery[j]
            slow.append(max(0.0, queries[i] @ apart) / np.linalg.norm(apart))
        first = np.argmax(gallery @ queries[i]) == i
        assert r == pytest.approx(min(slow) if first else 0.0)
        if not first:
            continue
        j = [k for k in range(12) if k != i][int(np.argmin(slow))]
        step = (gallery[j] - gallery[i]) / np.linalg.norm(gallery[j] - gallery[i])
        assert np.argmax(gallery @ (queries[i] + 0.999 * r * step)) == i
        assert np.argmax(gallery @ (queries[i] + 1.001 * r * step)) != i
        for _ in range(50):
            turn = rng.normal(size=4)
            turn *= 0.999 * r / np.linalg.norm(turn)
            assert np.argmax(gallery @ (queries[i] + turn)) == i


def test_a_copy_of_the_partner_in_the_gallery_is_no_other_hit():
    gallery = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert radii(gallery[:1], gallery, np.array([0]))[0] == pytest.approx(np.sqrt(0.5))
