"""Every command of the tutorial is run, on a part of the sample, so that it takes a moment."""

import re
import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conjoin.items.bundled import sample_path
from shelf import Caller

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorials" / "upgrade.md"
ROWS = 240


def commands():
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines()]


def workspace(folder):
    """A demo's workspace of a part of the sample, without its fit."""
    folder.mkdir()
    before = folder.parent / "demo" / ".conjoin"
    if before.exists():  # what was embedded once need not be again
        for part in ("spaces", "encoders"):
            shutil.copytree(before / part, folder / ".conjoin" / part)
    table = pq.read_table(sample_path())
    pq.write_table(table.slice(0, ROWS), folder / "emoji.parquet")
    (folder / "conjoin.toml").write_text(
        'version = 1\n[items]\ntable = "emoji.parquet"\nid = "id"\n'
        '[modalities.text]\ncolumn = "text"\nencoder = "builtin:text"\n'
        '[modalities.image]\ncolumn = "noto"\nencoder = "builtin:image"\n'
        '[split]\ntest = 80\ngroup = "family"\n',
        encoding="utf-8",
    )


def test_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("wordllama")
    call, here, fitted = Caller(monkeypatch, capsys), tmp_path, False
    monkeypatch.chdir(here)
    for line in commands():
        words = shlex.split(line.partition("#")[0])
        if words[0] == "cd":
            here = (here / words[1]).resolve()
            monkeypatch.chdir(here)
        elif words[0] == "sed":
            path = here / words[-1]
            path.write_text(path.read_text().replace('"builtin:text"', '"builtin:text-static"'))
        elif words[:2] == ["conjoin", "demo"]:
            workspace(here / words[2])
            fitted = False
        else:
            if words[1] == "upgrade" and not fitted:
                call.good("embed", "--quiet")
                call.good("fit", "--method", "ridge", "--quiet")
                fitted = True
            if words[1:3] == ["fit", "--method"] or words[1] == "embed":
                continue
            words = [w if w not in ("1200", "1910") else str(ROWS) for w in words[1:]]
            if words[:2] == ["upgrade", "apply"] and "--arm" not in words:
                words += ["--arm", "re-embed", "--others", "move"]
            told = call.good(*words)
            if words[:2] == ["upgrade", "verify"]:
                assert "whole" in told.out
    assert (tmp_path / "demo" / "curve.svg").exists()
    assert (tmp_path / "demo2" / "curve.svg").exists()
