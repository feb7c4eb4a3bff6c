"""``conjoin read``: documents to a table of items."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import DONE, INCOMPLETE, Console
from conjoin.cli.options import Dry, Json, Quiet, Verbose, verb

verbs = typer.Typer()


@verb(verbs)
def read(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Files and folders: PDF, HTML, Markdown, text, DOCX."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Table to write.")] = (
        Path("items.parquet")
    ),
    letters: Annotated[
        int, typer.Option(min=200, max=8000, metavar="N", help="Letters of a piece, at most.")
    ] = 1200,
    reader: Annotated[
        str | None,
        typer.Option(metavar="python:MODULE:FUNCTION", help="Reads every file in our place."),
    ] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Read documents into a table of pieces, with page and heading.

    Every character and picture lies in one row, or in the list of what was left out: --verbose
    prints it whole. Run again, only changed files are read. Then: conjoin init FILE.
    """
    from conjoin.cli.actions.answer.read import run_read

    whole = run_read(
        paths, out, Console(as_json, quiet, verbose=verbose), most=letters, reader=reader,
        dry=dry_run,
    )  # fmt: skip
    raise typer.Exit(DONE if whole else INCOMPLETE)
