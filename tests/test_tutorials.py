"""Every block of the tutorials is run, on a part of the sample, in the order of the pages.

What differs from the pages: ``conjoin.sample_path`` gives fewer rows, budgets are shorter, one
correction is tried instead of all, a rotation is fitted instead of CCA, ports are free ones. Blocks
that are ``shown only`` say why on the page. ``tutorials/upgrade.md`` has a test of its own.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "tutorials"
#: In the order in which they build on each other.
PAGES = ("catalogue", "compare", "doctor", "researcher")
EXPECTED = {
    "catalogue": ("wrote conjoin.toml", "red apple", "held-out queries", '"lists"'),
    "compare": ("Held-out items, all directions", "would check"),
    "doctor": ("decisions read", "recall@10", "without fixes"),
    "researcher": ("passed", "bank-mean over identity, recall@10"),
}


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Where a reader has followed all pages."""
    pytest.importorskip("lancedb")
    pytest.importorskip("fastapi")
    folder = tmp_path_factory.mktemp("tutorials")
    child = [sys.executable, str(ROOT / "tests" / "tutorial_child.py"), str(folder), *PAGES]
    done = subprocess.run(child, capture_output=True, text=True, check=False)
    (folder / "told.txt").write_text(done.stderr, encoding="utf-8")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(ground, page):
    said = json.loads((ground / "said.json").read_text(encoding="utf-8"))[page]
    for words in EXPECTED[page]:
        assert words in said, said


def test_pages_write_what_they_name(ground):
    for name in ("shop/hits.html", "mixed/review.html", "mixed/decisions.csv"):
        assert (ground / name).stat().st_size > 50


@pytest.mark.parametrize("page", [*PAGES, "upgrade"])
def test_blocks_and_pictures(page):
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    kinds = set(re.findall(r"^```(\w+)$", text, re.MULTILINE))
    assert kinds <= {"sh", "python", "text"}
    for body in re.findall(r"^```python\n(.*?)\n", text, re.MULTILINE):
        assert re.fullmatch(r"# \w+\.py", body)
    for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text):
        assert (FOLDER / picture).stat().st_size < 200_000
