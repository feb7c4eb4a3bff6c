"""``conjoin jobs``: embeddings that are under way, or stopped before their end."""

from pathlib import Path

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Folder, Json, Quiet, opened, verb

verbs = typer.Typer()


@verb(verbs)
def jobs(folder: Folder = Path(), as_json: Json = False, quiet: Quiet = False) -> None:
    """List what is under way: done, left, failed cells, who works and since when.

    A job nobody drives was stopped; the command that began it goes on with it.
    """
    from conjoin.cli.actions.keep.jobs import run_jobs

    run_jobs(opened(folder, writes=False), Console(as_json, quiet))
