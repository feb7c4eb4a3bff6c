"""A workspace opened in Python: every call returns a value that shows itself."""

import numpy as np
import pandas as pd
import pytest

import conjoin
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
