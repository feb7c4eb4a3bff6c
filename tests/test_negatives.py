"""Negatives for trainers elsewhere: which rows may be contrasted, and the files they go to."""

import csv
import json

import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

import conjoin
import tiny_text
from conjoin.cli.main import app
from conjoin.errors import ConjoinError
from conjoin.training.negatives import hard_negatives


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("relative", [True, False])
def test_the_nearest_that_may_be_contrasted_row_by_row(relative):
    rng = np.random.default_rng(0)
    z = unit(rng.normal(size=(700, 5)))
    x = unit(z + 0.5 * rng.normal(size=z.shape))
    groups, content = rng.integers(60, size=700), rng.integers(500, size=700)
    anchors = np.arange(700) // 2
    found = hard_negatives(
        x, z, groups, content, anchors=anchors, count=4, margin=0.2, relative=relative
    )
    scores = x.astype(np.float32) @ z.astype(np.float32).T
    for i in (0, 1, 350, 511, 512, 699):
        ceiling = scores[i, i] * 0.8 if relative else scores[i, i] - 0.2
        allowed = [
            j for j in range(700)
            if groups[j] != groups[i] and content[j] != content[i] and anchors[j] != anchors[i]
            and scores[i, j] <= ceiling
        ]  # fmt: skip
        slow = sorted(allowed, key=lambda j: -scores[i, j])[:4]
        assert found[i].tolist() == slow + [-1] * (4 - len(slow))


def test_where_nothing_is_left_no_row_is_named():
    x = np.eye(3)
    assert (hard_negatives(x, x, np.zeros(3), np.arange(3)) == -1).all()
    assert (hard_negatives(x, x, np.arange(3), np.zeros(3)) == -1).all()
    for wrong in ({"count": 0}, {"margin": 1.0}, {"margin": -0.1}):
        with pytest.raises(ConjoinError, match="count, margin"):
            hard_negatives(x, x, np.arange(3), np.arange(3), **wrong)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("negatives")
    made = tiny_text.workspace(folder / "ws", tiny_text.saved(folder / "tiny"))
    project = conjoin.open(made)
    project.embed()
    project.fit(method="ridge")
    return made


def test_texts_and_ids_are_written_and_no_held_out_item(home, tmp_path):
    project = conjoin.open(home)
    texts = dict(zip(*(project.workspace.items.column(n) for n in ("id", "words")), strict=True))
    held = {i for i in texts if project.workspace.split.is_test(np.array([i]))[0]}
    out = tmp_path / "out.jsonl"
    ran = CliRunner().invoke(
        app, ["negatives", "export", str(out), "-w", str(home), "--anchor", "sound", "--positive",
              "text", "--count", "3", "--json"],
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == found["lines"] == len(texts) - len(held) - found["without"]
    train = {text for item, text in texts.items() if item not in held}
    for line in lines:
        assert line["anchor"] in texts
        assert line["anchor"] not in held
        assert line["positive"] == texts[line["anchor"]]
        others = [line[f"negative_{k}"] for k in (1, 2, 3) if line[f"negative_{k}"] is not None]
        assert others
        assert line["positive"] not in others
        assert set(others) <= train
    short = sum(line["negative_3"] is None for line in lines)
    assert found["short"] == short


def test_each_ending_holds_the_same_lines(home, tmp_path):
    project = conjoin.open(home)
    paths = [tmp_path / f"out.{end}" for end in ("jsonl", "csv", "parquet")]
    made = [project.negatives(path, count=2) for path in paths]
    assert len({one.lines for one in made}) == 1
    first = [json.loads(line) for line in paths[0].read_text().splitlines()]
    with paths[1].open() as file:
        second = [{k: v or None for k, v in row.items()} for row in csv.DictReader(file)]
    assert first == second == parquet.read_table(paths[2]).to_pylist()
    assert "short of negatives" in repr(made[0])


def test_what_cannot_be_written_is_refused_in_one_line(home, tmp_path):
    for more, said in (
        (["x.txt"], "unknown ending"),
        (["x.csv", "--anchor", "txet"], "did you mean text"),
        (["x.csv", "--anchor", "text", "--positive", "text"], "no other modality"),
    ):
        ran = CliRunner().invoke(
            app, ["negatives", "export", str(tmp_path / more[0]), *more[1:], "-w", str(home)]
        )
        assert ran.exit_code != 0
        assert said in str(ran.exception)
        assert not (tmp_path / more[0]).exists()
