"""From files to answers in one go: this project's own pages are the manual that is read."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conjoin.cli.main import app
from conjoin.project.answering.ask import Documents
from conjoin.project.workspace import Workspace

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("documents", "serving", "searching", "workspace", "doctor", "encoders", "fusion",
         "upgrade", "scores", "sync", "security", "compare", "report", "transfer")  # fmt: skip
#: Questions of a reader, and the pages of which one must be quoted.
ASKED = {
    "How do I serve with a token?": ("serving", "security"),
    "Which limits has a request to the service?": ("serving",),
    "How is a question refused when no passage answers?": ("documents",),
    "How do I find wrong pairs in my data?": ("doctor",),
    "How do I use an encoder over HTTP?": ("encoders",),
    "What happens to items when the table changes?": ("sync", "workspace"),
    "How do I classify items when a modality is missing?": ("fusion", "transfer"),
    "How do I replace an old encoder by a new one?": ("upgrade",),
    "What does a probability beside a hit mean?": ("scores", "searching"),
    "How do I read PDF files into a table?": ("documents",),
}


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    """Read, described, embedded and joined by the commands a reader types."""
    folder = tmp_path_factory.mktemp("manual")
    files = [str(DOCS / f"{name}.md") for name in PAGES]
    run(["read", *files, "-o", str(folder / "items.parquet")], rc=None)
    run(["init", str(folder / "items.parquet"), "-w", str(folder)])
    config = folder / "conjoin.toml"
    text = config.read_text()
    assert "[modalities.picture]" not in text  # a handful of pictures is not joined
    config.write_text(text.replace('"builtin:text"', '"builtin:text-static"'))
    assert "builtin:text-static" in config.read_text()
    run(["embed", "-w", str(folder)])
    run(["fit", "-w", str(folder), "--method", "mean-centering"])
    return folder


def run(words, rc=0):
    told = CliRunner().invoke(app, words)
    if rc is not None:
        assert told.exit_code == rc, (told.output, told.exception)
    return told


def test_every_piece_says_where_it_stands(manual):
    docs = Documents.open(Workspace(manual, writes=False))
    assert len(docs.passages) > 150
    assert all(one.document.endswith(".md") for one in docs.passages)
    assert docs.gates is not None


def test_eight_of_ten_questions_quote_the_right_page(manual):
    docs = Documents.open(Workspace(manual, writes=False))
    right = {}
    for question, pages in ASKED.items():
        found = docs.ask(question)
        quoted = {Path(found.nearest[one.passage].document).stem for one in found.quotes}
        right[question] = bool(quoted & set(pages)) and not found.cause
    assert sum(right.values()) >= 8, [question for question, good in right.items() if not good]


@pytest.mark.parametrize(
    "question",
    ["Who won the world cup?", "What is the best recipe for apple pie?",
     "How tall is Mount Everest?"],
)  # fmt: skip
def test_what_is_not_there_is_refused(manual, question):
    told = run(["ask", question, "-w", str(manual), "--json"])
    assert json.loads(told.stdout)["cause"] == "unlike"


def test_the_structure_s_pairs_are_what_fit_learns_from(manual):
    docs = Documents.open(Workspace(manual, writes=False))
    minted = docs.questions()
    assert len(minted.rows) > 50
    first = (minted.scores.argmax(1) == minted.rows).mean()
    assert first > 20 / len(docs.passages)  # far beyond luck
    for name in ("relevance-cut", "structural", "difference"):
        assert docs.ask("How do I serve with a token?", selector=name).nearest
