"""``conjoin ask``: a question put to the documents."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Folder, Json, Quiet, opened, verb

verbs = typer.Typer()


@verb(verbs)
def ask(
    question: Annotated[str | None, typer.Argument(help="What you want to know.")] = None,
    folder: Folder = Path(),
    model: Annotated[
        str,
        typer.Option(
            metavar="none|URI",
            help="none quotes; http://HOST/v1?model=NAME writes, and is compared.",
        ),
    ] = "none",
    selector: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Chooses the evidence: see conjoin methods --kind selector."
        ),
    ] = "",
    chat: Annotated[
        bool, typer.Option("--chat", help="Go on asking, a line each; an empty line ends.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Answer from the documents with page and passage, or refuse and say why.

    Sentences are quoted word for word. Those that a model writes are compared with every passage;
    what none bears out is struck.
    """
    from conjoin.cli.actions.answer.ask import run_ask

    run_ask(
        opened(folder, writes=False), question, Console(as_json, quiet), model=model, chat=chat,
        selector=selector,
    )  # fmt: skip
