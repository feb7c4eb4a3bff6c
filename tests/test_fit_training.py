"""`fit --loss --sampler --guide`: how heads are trained, said for one fit."""

import pytest

from conjoin.errors import ConjoinError
from conjoin.project.fit.training import with_training
from conjoin.project.workspace import Workspace


@pytest.fixture
def ws(tmp_path):
    (tmp_path / "t.csv").write_text("id,a,b\n1,x,y\n2,z,w\n")
    (tmp_path / "conjoin.toml").write_text(
        'version = 1\n[items]\ntable = "t.csv"\nid = "id"\n'
        '[modalities.a]\ncolumn = "a"\nencoder = "builtin:text-static"\n'
        '[modalities.b]\ncolumn = "b"\nencoder = "builtin:text-static"\n'
    )
    return Workspace(tmp_path)


def test_what_is_named_is_put_over_the_plain_head(ws):
    given = {"loss": "sigmoid", "sampler": "contextual", "guide": "a"}
    assert with_training(ws, None, given) == "infonce-head"
    assert ws.config.fit.method == "infonce-head"
    assert ws.config.fit.fields == given
    assert Workspace(ws.folder).config.fit.method == "auto"


def test_nothing_named_changes_nothing(ws):
    before = ws.config
    assert with_training(ws, "ridge", {"loss": None, "sampler": None, "guide": None}) == "ridge"
    assert ws.config is before


def test_what_is_not_trained_that_way_is_refused(ws):
    with pytest.raises(ConjoinError, match=r"--sampler: is no setting of ridge; use infonce-head"):
        with_training(ws, "ridge", {"loss": None, "sampler": "contextual", "guide": None})
    with pytest.raises(ConjoinError, match=r"contextuel.*did you mean contextual"):
        with_training(ws, None, {"loss": None, "sampler": "contextuel", "guide": None})
