"""``conjoin explain``: why a hit is a hit."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Folder, Json, Quiet, opened, verb

verbs = typer.Typer()


@verb(verbs)
def explain(  # noqa: PLR0913 - each option is one the command line offers
    text: Annotated[str | None, typer.Argument(help="Words that were looked for.")] = None,
    hit: Annotated[str, typer.Option("--hit", metavar="ID", help="The item found.")] = "",
    file: Annotated[
        Path | None, typer.Option("--query", metavar="FILE", help="A picture or a sound.")
    ] = None,
    item: Annotated[
        str | None, typer.Option("--item", metavar="ID", help="An item's own cell.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="Modality of the query.")
    ] = None,
    into: Annotated[
        str | None, typer.Option("--into", metavar="NAME", help="Modality it was found in.")
    ] = None,
    count: Annotated[int, typer.Option("--pairs", min=1, help="Training pairs to name.")] = 5,
    refit: Annotated[
        bool, typer.Option("--refit", help="Delete them, fit again, and say what changes.")
    ] = False,
    folder: Folder = Path(),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what a hit's score is made of, and which training pairs are behind it."""
    from conjoin.cli.actions.find.explain import run_explain
    from conjoin.errors import ConjoinError
    from conjoin.project.search.queries import Query

    if not hit:
        raise ConjoinError("explain", "no hit is named", "name one: --hit ID")
    run_explain(
        opened(folder, writes=False), Query(text, file, item, source), Console(as_json, quiet),
        item=hit, into=into, count=count, refit=refit,
    )  # fmt: skip
