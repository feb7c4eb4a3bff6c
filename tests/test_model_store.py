"""``conjoin model store``: experts kept as bits, shown and taken out again."""

import json

import pytest
from typer.testing import CliRunner

from conjoin.cli.main import app
from conjoin.encoders.open import open_encoder
from conjoin.errors import ConjoinError
from conjoin.models.merging.store import open_store

from copies import NAMES, made  # isort: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return made(tmp_path_factory.mktemp("store"))


def test_the_command_line_keeps_shows_and_takes(home, tmp_path):
    base, kept = str(home / "tiny" / "model"), tmp_path / "kept"
    call = lambda *words: CliRunner().invoke(app, ["model", "store", str(kept), *words])  # noqa: E731
    names = [str(home / name) for name in NAMES]
    ran = call(*names, "--base", base)
    assert ran.exit_code == 0, ran.output
    assert "3 experts by shared-vector" in ran.stdout
    found = json.loads(call("--json").stdout)
    assert set(found["errors"]) == set(NAMES)
    assert found["bytes"] < 0.6 * found["before"]
    ran = call("--take", "two", "--out", str(tmp_path / "two"), "--json")
    assert ran.exit_code == 0, ran.output
    assert open_encoder(json.loads(ran.stdout)["uri"]).frame.dim == 32
    for words, said in (
        (["--take", "twoo", "--out", str(tmp_path / "x")], "did you mean two"),
        (["--take", "two"], "name the folder"),
        (["--take", "two", "--out", str(tmp_path / "x"), "--base", names[0]], "not the base"),
        ([*names, "--base", base], "is there already"),
        (names, "--base"),
    ):
        ran = call(*words)
        assert ran.exit_code != 0, words
        assert said in str(ran.exception), words
        assert not (tmp_path / "x").exists()
    with pytest.raises(ConjoinError, match="no store of experts"):
        open_store(home)
