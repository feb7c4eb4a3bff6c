"""A workspace opened in Python: every call returns a value that shows itself."""

import numpy as np
import pandas as pd
import pytest

import conjoin
import tiny_text
from conjoin.display import SHOWN, Tabular
from conjoin.errors import ConjoinError

CONFIG = """
[items]
table = "items.parquet"
id = "id"

[modalities.left]
column = "left"
encoder = "builtin:vector"

[modalities.right]
column = "right"
encoder = "builtin:vector"

[fit]
method = "ridge"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(0)
    left = rng.normal(size=(120, 6))
    right = left @ rng.normal(size=(6, 6))
    ids = [f"i{n}" for n in range(120)]
    pd.DataFrame({"id": ids, "left": list(left), "right": list(right)}).to_parquet(
        made / "items.parquet"
    )
    (made / "conjoin.toml").write_text(CONFIG)
    return made


def test_a_project_embeds_fits_searches_and_evaluates(folder):
    project = conjoin.open(folder)
    embedded = project.embed()
    assert {name: one.made for name, one in embedded.results.items()} == {"left": 120, "right": 120}
    assert "left" in repr(embedded)
    assert project.table()[1] == [("left", "builtin:vector", 120), ("right", "builtin:vector", 120)]
    with pytest.raises(ConjoinError, match="fit"):
        project.search(item="i3", source="left", into=["right"])
    assert project.fit().binding.choice.method == "ridge"
    hits = project.search(item="i3", source="left", into=["right"], k=3)
    assert hits.best[0].id == "i3"
    assert project.session() is project.session()
    assert "<td>i3</td>" in hits._repr_html_()
    found = project.evaluate()
    assert "recall@10" in repr(found)
    assert {row[:2] for row in found.table()[1]} == {("left", "right"), ("right", "left")}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    made = tmp_path_factory.mktemp("texts")
    folder = tiny_text.workspace(made / "ws", tiny_text.saved(made / "tiny"))
    project = conjoin.open(folder)
    project.embed()
    project.fit(method="ridge")
    return project


#: Commands without a call of their own, and why.
ELSEWHERE = {
    "init": "makes the folder that conjoin.open opens", "demo": "is a workspace of the sample",
    "serve": "runs until it is stopped", "jobs": "watches another process",
    "info": "is the project's repr", "methods": "is conjoin.catalogue",
    "claims": "is of no workspace: conjoin.claims", "read": "makes a table: conjoin.answering",
    "trust": "asks a person", "clean": "is upkeep of files", "index": "is conjoin.retrieval.index",
    "remove": "is upkeep of files", "merge": "joins two workspaces: conjoin.alignment.merge",
    "weights": "fetches files", "model merge": "is of no workspace: conjoin.models.merging",
    "model store": "is of no workspace: conjoin.models.merging.store",
}  # fmt: skip
#: Calls that are named otherwise than their command.
NAMED = {"upgrade": "plan_upgrade", "transcribe": "models.transcribe"}


def test_every_command_has_a_call_or_a_reason(texts):
    import typer.main

    from conjoin.cli.main import app

    top = typer.main.get_command(app)
    names = [
        f"{name} {inner}" if name == "model" else name
        for name, command in top.commands.items()
        for inner in (getattr(command, "commands", {}) if name == "model" else {name: command})
    ]
    lost = []
    for name in names:
        if name in ELSEWHERE:
            continue
        value = texts
        for part in NAMED.get(name, name.replace("model ", "models.")).split("."):
            value = getattr(value, part, None)
        if not callable(value):
            lost.append(name)
    assert lost == []
    assert set(ELSEWHERE) | set(NAMED) <= set(names)


def test_parts_are_composed_and_hits_explained(texts):
    one = texts.search("cat dog red", k=5)
    both = texts.compose("cat dog red", without=["red"], k=5)
    assert len(both.best) == 5
    assert [h.score for h in both.best] != [h.score for h in one.best]
    found = texts.explain("t003", item="t003", into="sound", count=3)
    assert found.id == "t003"
    assert len(found.table()[1]) == 3
    with pytest.raises(ConjoinError, match="asks by one thing"):
        texts.explain("t003")
    with pytest.raises(ConjoinError, match="nothing to look for"):
        texts.compose(without=["red"])


def test_columns_are_predicted_by_heads_and_by_fusion(texts):
    head = texts.head("order", source="text")
    assert "accuracy" in repr(head)
    assert any(row[1].startswith("* ") for row in head.table()[1])
    fused = texts.fuse("order")
    assert fused.table()[1]
    assert "<table>" in fused._repr_html_()
    found = texts.forecast(more=50)
    assert {row[-1] for row in found.table()[1]} == {"measured", "forecast"}


def test_encoders_are_tuned_and_spoilt_queries_asked(texts, tmp_path):
    tuned = texts.models.tune("text", label="order", peft="bitfit", steps=2, out=tmp_path / "t")
    assert tuned.table()[1][0][0].strip("* ") == "frozen"
    assert (tmp_path / "t" / "tuned.json").exists()
    assert texts.robustness().table()[1]


def test_another_fit_is_seen(folder):
    project = conjoin.open(folder)
    project.embed()
    project.fit()
    before = project.session()
    conjoin.open(folder).fit(method="cca")
    assert project.session() is not before
    assert project.session().fit.binding.choice.method == "cca"


def test_a_long_table_says_how_many_rows_it_leaves_out():
    class Counted(Tabular):
        def __init__(self, n):
            self.n = n

        def table(self):
            return ("n",), [(i,) for i in range(self.n)]

    assert "more rows" not in repr(Counted(SHOWN))
    assert repr(Counted(SHOWN + 2)).endswith("… and 2 more rows")
    assert "&lt;b&gt;" in _Marked()._repr_html_()


class _Marked(Tabular):
    def table(self):
        return ("a",), [("<b>",)]


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(ConjoinError, match="is missing"):
        conjoin.open(tmp_path)


def test_public_names_are_listed_once_and_open():
    assert {"Binding", "open", "fit", "Project"} <= set(conjoin.__all__)
    for name in conjoin.__all__:
        assert getattr(conjoin, name) is not None
