"""What ``conjoin ask`` prints."""

import sys

from conjoin.answering.answer import CAUSES, Answer
from conjoin.answering.model import Model
from conjoin.answering.support import Support
from conjoin.cli.console import Console
from conjoin.errors import ConjoinError
from conjoin.project.answering.ask import Documents
from conjoin.project.workspace import Workspace


def run_ask(
    ws: Workspace,
    question: str | None,
    console: Console,
    *,
    model: str,
    chat: bool,
    selector: str,
) -> None:
    """Answer one question, or one after the other with ``chat``."""
    if question is None and not chat:
        raise ConjoinError("QUESTION", "is missing", "ask something, or give --chat")
    writes = None if model == "none" else Model.open(model)
    opened = Documents.open(ws)
    if selector:
        opened.picker(selector)  # refused before anything is asked
    history: list[str] = []
    while question is not None or chat:
        if question is None:
            if sys.stdin.isatty():
                sys.stderr.write("? ")
                sys.stderr.flush()
            question = sys.stdin.readline().strip()
            if not question:
                return

        def heard(said: Support) -> None:
            console.say(_sentence(said))

        found = opened.ask(
            question, model=writes, history=tuple(history), heard=heard, selector=selector
        )
        _show(found, console)
        if not found.cause:
            history.append(question)
        question = None


def _sentence(said: Support) -> str:
    if said.stands:
        return f"{said.sentence} [{said.passage + 1}]"
    why = [f"{name} {', '.join(found)}" for name, found in (
        ("numbers", said.numbers), ("negations", said.negations), ("lacks", said.dropped),
    ) if found] or [f"words {', '.join(said.words[:6])}"]  # fmt: skip
    return f"~~{said.sentence}~~ (not borne out: {'; '.join(why)})"


def _show(found: Answer, console: Console) -> None:
    for note in found.notes:
        console.note(note)
    console.result(found.to_json())
    if found.cause:
        console.say(CAUSES[found.cause])
    for one in found.quotes:
        console.say("")
        console.say(f"  {' '.join(one.text.split())}")
        passage = found.nearest[one.passage]
        page = f", page {one.page}" if one.page else ""
        shown = "".join(f"  picture {name}" for name in passage.pictures)
        console.say(
            f"  — [{one.passage + 1}] {' › '.join((passage.document + page, *passage.path))}{shown}"
        )
    if found.cause and not found.quotes and found.cause != "unlike":
        console.say("nearest:")
        for passage in found.nearest[:3]:
            page = f", page {passage.page}" if passage.page else ""
            console.say(f"  {' › '.join((passage.document + page, *passage.path))}")
