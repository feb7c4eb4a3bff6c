"""``conjoin model merge`` judged by a workspace's own items."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import tiny_text
from conjoin.cli.main import app
from conjoin.encoders.open import open_encoder
from conjoin.models.tuning.text_model import TextModel
from conjoin.project.models.merge_skills import ItemSkill
from conjoin.project.workspace import Workspace


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("merge")
    base = tiny_text.saved(folder / "tiny")
    tiny_text.workspace(folder / "ws", base, count=300)
    ran = CliRunner().invoke(app, ["embed", "-w", str(folder / "ws"), "-q"])
    assert ran.exit_code == 0, ran.output
    for seed, name in enumerate(("one", "two")):
        model = TextModel.open(f"st:{base}")
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for parameter in model.transformer.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        model.save(folder / name)
    return folder


def merged(home, *more):
    return CliRunner().invoke(
        app, ["model", "merge", str(home / "one"), str(home / "two"), "--base",
              str(home / "tiny" / "model"), "--method", "task-arithmetic", *more],
    )  # fmt: skip


def test_items_of_a_workspace_judge_every_arm(home):
    out = home / "out"
    ran = merged(home, "-w", str(home / "ws"), "--label", "order", "--out", str(out), "--json")
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    names = [arm["name"] for arm in found["arms"]]
    assert names == ["base", "one", "two", "ensemble", "average", "merged"]
    assert {arm["metric"] for arm in found["arms"]} == {"accuracy"}
    assert found["verdict"].startswith("use ")
    assert found["chosen"]["tried"] == 5
    assert found["lines"]["order"]["tested"] > 20
    assert open_encoder(found["uri"]).frame.dim == 32


def test_a_workspace_here_is_used_and_can_be_declined(home, monkeypatch):
    monkeypatch.chdir(home / "ws")
    ran = merged(home, "--json")
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert {arm["metric"] for arm in found["arms"]} == {"recall@10"}
    ran = merged(home, "--no-evaluate", "--out", str(home / "plain"), "--json")
    assert json.loads(ran.stdout)["arms"] == []
    monkeypatch.chdir(home)
    ran = merged(home, "--evaluate")
    assert "-w WORKSPACE" in str(ran.exception)
    ran = merged(home, "-w", str(home / "nowhere"))
    assert ran.exit_code != 0
    assert "nowhere" in str(ran.exception)


def test_what_chooses_is_never_what_is_tested(home):
    skill = ItemSkill.read(Workspace(home / "ws"), "text", "order", 0)
    inner, outer = skill.part(False), skill.part(True)
    assert not set(inner.test) & set(outer.test)
    assert not set(inner.train) & set(inner.test)
    assert set(inner.test) <= set(outer.train)
    assert not set(skill.made.groups[outer.train]) & set(skill.made.groups[outer.test])
    vectors = outer.embed(open_encoder(f"st:{home / 'tiny' / 'model'}"))
    score = outer.score(vectors)
    assert score.shape == outer.groups.shape
    assert set(np.unique(score)) <= {0.0, 1.0}
