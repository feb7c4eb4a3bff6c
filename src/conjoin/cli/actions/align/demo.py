"""The demo: pictures, words and speech of 1,900 emoji in one space, judged and shown."""

import shutil
import time
from pathlib import Path
from typing import Any

from conjoin.cli.actions.align.embed import Asked, run_embed
from conjoin.cli.actions.find.hits import terminal
from conjoin.cli.actions.judge.evaluate import show_summary
from conjoin.cli.console import Console
from conjoin.project.evaluation import evaluate
from conjoin.project.fit import pipeline
from conjoin.project.search import queries as asking
from conjoin.project.search import render
from conjoin.project.search.session import search
from conjoin.project.workspace import CONFIG, Workspace
from conjoin.report.text import number
from conjoin.storage.files import atomic

#: Units of work the demo's choice of a method may take: far more than its few closed forms need.
FIT_BUDGET = 1200.0
TABLE = "emoji.parquet"

CONFIG_TEXT = """\
# The bundled sample: drawings, English words and spoken names of emoji.
version = 1

[items]
table = "emoji.parquet"
id = "id"

[modalities.text]
column = "text"                  # label and keywords
encoder = "builtin:text"         # MiniLM

[modalities.image]
column = "noto"                  # 64 px drawings
encoder = "builtin:image"        # EfficientNet-lite0

[modalities.speech]
column = "speech"                # the label, spoken
encoder = "builtin:audio"        # log-mel statistics

# Pictures and speech are never paired: both meet in the words.
[pairs.drawn]
left = "image"
right = "text"

[pairs.spoken]
left = "speech"
right = "text"

[relevance]                      # what answers beside an item's own partner
keywords = "keywords"
groups = "group"

[fit]
among = ["identity", "mean-centering", "ridge", "procrustes", "cca"]  # all: conjoin compare

[split]
test = 500
group = "family"                 # near twins stay on one side
seed = 0
"""

#: What is asked, of which modality, and into which: words, or the label of an item held out
#: under the demo's split.
QUERIES = (
    ("text", "a red fruit", "image"),
    ("text", "something to travel by on water", "image"),
    ("text", "feeling ill", "image"),
    ("image", "violin", "text"),
    ("speech", "penguin", "text"),
    ("speech", "helicopter", "image"),
)


def prepare(folder: Path) -> Workspace:
    """Lay the sample and its configuration into a folder."""
    from conjoin.items.bundled import sample_path

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / TABLE).exists():
        with sample_path().open("rb") as source, atomic(folder / TABLE) as file:
            shutil.copyfileobj(source, file)
    if not (folder / CONFIG).exists():
        with atomic(folder / CONFIG) as file:
            file.write(CONFIG_TEXT.encode())
    return Workspace(folder)


def run_demo(folder: Path, console: Console, *, seed: int, dry: bool = False) -> None:
    """Embed, bind, evaluate, search and write a page of hits; what is there is not redone."""
    if dry:
        console.say(f"would lay the sample into {folder}, embed, bind, judge and search it")
        console.result({"workspace": str(folder), "dry": True})
        return
    started = time.perf_counter()
    ws = prepare(folder)
    console.note("embedding pictures, words and speech")
    run_embed(ws, [], console.hushed(), Asked(), dry=False)
    console.note("binding them (chosen on folds of the training pairs)")
    made = pipeline.fit(ws, budget=FIT_BUDGET, seed=seed)
    choice = made.binding.choice
    console.say(f"bound by {choice.method}, hub {made.binding.hub}")
    console.note("judging on 500 held-out emoji")
    found = evaluate.evaluate_workspace(ws, seed=seed)
    show_summary(found, console)
    answers = [_ask(ws, *query) for query in QUERIES]
    for _, hits in answers:
        terminal(ws, hits, console)
    page, picture = folder / "hits.html", folder / "hits.png"
    render.sheet(ws, answers, page, picture)
    seconds = time.perf_counter() - started
    report = _report(ws, made, found, page, picture, seconds)
    console.say("")
    for line in report["lines"]:
        console.say(line)
    console.result({**found.to_json(), **{k: v for k, v in report.items() if k != "lines"}})


def _ask(ws: Workspace, source: str, asked: str, into: str) -> tuple[asking.Query, Any]:
    if source == "text":
        query = asking.Query(text=asked, source="text")
    else:
        query = asking.Query(item=_item_of(ws, asked), source=source)
    return query, search(ws, query, into=[into], k=6)


def _item_of(ws: Workspace, label: str) -> str:
    labels = ws.items.column("label")
    return str(ws.items.ids[labels.index(label)])


def _report(
    ws: Workspace, made: pipeline.Fit, found: Any, page: Path, picture: Path, seconds: float
) -> dict[str, Any]:
    best = {
        (row.query, row.target): row
        for row in found.results
        if row.chosen and row.metric == "recall@10"
    }
    told = [
        f"{query} → {target}: recall@10 {number(row.value, row.low, row.high)}"
        for (query, target), row in best.items()
    ]
    where = {
        "workspace": str(ws.folder),
        "page": str(page),
        "picture": str(picture),
        "binding": str(made.folder),
        "seconds": round(seconds, 1),
    }
    lines = [
        *told,
        f"page of hits: {page}",
        f"picture of hits: {picture}",
        f'workspace: {ws.folder} (conjoin search "a red fruit" --workspace {ws.folder})',
        f"done in {seconds:.0f} s; a second run opens what is there",
    ]
    return {**where, "lines": lines}
