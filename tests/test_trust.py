"""Code of a workspace: never run by looking, and asked for once where it was not made here."""

import pytest

from conjoin.encoders import function
from conjoin.project import trust
from served import build, picture
from shelf import Caller, write_table

MINE = """
import numpy as np

def f(texts):
    return np.array([[len(t), t.count("e"), 1.0] for t in texts], dtype=np.float32)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    return build(tmp_path_factory.mktemp("foreign"), each=1)


@pytest.fixture
def opened(monkeypatch):
    """Which code was asked for, with nothing trusted yet."""
    calls, real = [], function.find_function

    def watched(rest, where):
        calls.append(rest)
        return real(rest, where)

    monkeypatch.setattr(function, "find_function", watched)
    return calls


@pytest.fixture
def conjoin(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv(trust.EVERY, raising=False)
    monkeypatch.setenv("CONJOIN_DATA", str(tmp_path / "data"))
    return Caller(monkeypatch, capsys)


def foreign(folder):
    write_table(folder, {"id": ["a", "b", "c"], "name": ["an eel", "a bee", "cat"]})
    (folder / "mine.py").write_text(MINE)
    (folder / "conjoin.toml").write_text(
        'version = 1\n[items]\ntable = "items.parquet"\nid = "id"\n'
        '[modalities.name]\ncolumn = "name"\nencoder = "python:mine:f"\n'
    )
    return folder


def test_looking_runs_nothing_and_running_is_asked_for_once(conjoin, opened, tmp_path, monkeypatch):
    folder = foreign(tmp_path / "ws")
    monkeypatch.chdir(folder)
    for words in (["info"], ["clean", "--dry-run"], ["embed", "--dry-run"], ["trust", "--dry-run"]):
        conjoin.good(*words)
    told = conjoin.bad(folder, "embed", says=("python:mine:f", "not made here", "conjoin trust"))
    assert opened == []
    remedy = told.err.partition("run: ")[2].split()
    conjoin.good(*remedy[1:])
    assert trust.trusted(folder) == ["python:mine:f"]
    conjoin.good("embed")
    assert opened == ["mine:f"]
    for words in (["info"], ["clean", "--dry-run"], ["embed", "--dry-run"]):
        conjoin.good(*words)
    assert "3" in conjoin.good("embed", "--dry-run").out
    assert opened == ["mine:f"]
    # Another function of the same workspace is asked for anew.
    text = (folder / "conjoin.toml").read_text()
    (folder / "conjoin.toml").write_text(text.replace("mine:f", "mine:g"))
    conjoin.bad(folder, "embed", says=("python:mine:g",))


def test_what_is_made_here_is_not_asked_for(conjoin, opened, tmp_path, monkeypatch):
    folder = foreign(tmp_path / "ws")
    monkeypatch.chdir(folder)
    own = (folder / "conjoin.toml").read_text()
    (folder / "conjoin.toml").unlink()
    conjoin.good("init", "items.parquet")
    (folder / "conjoin.toml").write_text(own)
    conjoin.good("embed")
    assert opened
    # A copy elsewhere is another workspace.
    other = foreign(tmp_path / "other")
    monkeypatch.chdir(other)
    conjoin.bad(other, "embed", says=("not made here",))


def test_a_search_that_needs_no_code_runs_none(conjoin, opened, served, tmp_path, monkeypatch):
    monkeypatch.chdir(served)
    conjoin.good("search", "a red bar", "--into", "picture")
    conjoin.good("search", "--item", "red/bar 0", "--from", "picture", "--json")
    assert opened == []
    shown = tmp_path / "a.png"
    shown.write_bytes(picture((1, 2, 3), "bar"))
    told = conjoin("search", "--query", str(shown))
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "conjoin trust" in told.err
    told = conjoin("serve", "--port", "0")
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "conjoin trust" in told.err
    assert opened == []


def test_an_answer_at_the_terminal_is_kept(opened, tmp_path, monkeypatch):
    monkeypatch.delenv(trust.EVERY, raising=False)
    monkeypatch.setenv("CONJOIN_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter([False, True])
    monkeypatch.setattr("typer.confirm", lambda *_, **__: next(answers))
    with pytest.raises(trust.ConjoinError, match="not made here"):
        trust.require(tmp_path, "python:mine:f")
    trust.require(tmp_path, "python:mine:f")
    trust.require(tmp_path, "python:mine:f")  # nobody is asked again
    trust.require(tmp_path, "builtin:text")
    assert trust.trusted(tmp_path) == ["python:mine:f"]
