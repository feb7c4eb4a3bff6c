"""The docs run, and what is generated in them is what the code says."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conjoin.cli.console import BAD_INPUT, DEFECT, DONE, INCOMPLETE, INTERRUPTED, LOST
from conjoin.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
#: Pages whose Python is run, block after block in one namespace.
RUN = ("docs/python.md", "README.md")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", RUN)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text(encoding="utf-8")
    names = {"__name__": "__main__"}
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(1))
        code = compile("\n" * line + match.group(1), page, "exec")  # errors name the page's line
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, names)


def test_generated_pages_are_current():
    done = subprocess.run(
        [sys.executable, "scripts/make_docs.py", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stale_page_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import make_docs

    (tmp_path / "methods").mkdir()
    for name in ("cli.md", "design.md"):
        shutil.copy(ROOT / "docs" / name, tmp_path / name)
    (tmp_path / "methods" / "gone.md").write_text("a kind that is no more")
    monkeypatch.setattr(make_docs, "DOCS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["make_docs.py", "--check"])
    assert make_docs.main() == 1
    said = capsys.readouterr().out
    assert "bibliography.md differs" in said
    assert "gone.md differs" in said
    monkeypatch.setattr(sys, "argv", ["make_docs.py"])
    assert make_docs.main() == 0
    monkeypatch.setattr(sys, "argv", ["make_docs.py", "--check"])
    assert make_docs.main() == 0


def test_every_verb_is_documented_with_its_options():
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for command in app.registered_commands:
        assert f"### conjoin {command.callback.__name__}\n" in text
    for spelled in ("`--workspace PATH`, `-w PATH`", "`-k N`", "`--from TEXT`", "`--json`"):
        assert spelled in text


def test_exit_codes_are_documented():
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == [
        str(code) for code in (DONE, INCOMPLETE, BAD_INPUT, LOST, DEFECT, INTERRUPTED)
    ]


def test_the_workspace_page_shows_a_valid_file(tmp_path):
    import tomllib

    from conjoin.items.config import Config

    text = (ROOT / "docs" / "workspace.md").read_text(encoding="utf-8")
    shown = re.search(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL).group(1)
    assert Config.of(tomllib.loads(shown)).fit.hub == "text"


def test_the_schema_is_one():
    schema = json.loads((ROOT / "docs" / "conjoin.schema.json").read_text(encoding="utf-8"))
    assert schema["additionalProperties"] is False
    assert {"items", "modalities", "pairs", "split", "fit"} <= set(schema["properties"])


def test_the_site_asks_nothing_of_other_hosts():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in text
    assert "http" not in text


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if page not in nav} == set()
