"""``conjoin sync``: the index as the table is now."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.commands.index import index
from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Folder, Json, Quiet, Yes, verb

verbs = typer.Typer()

Watch = Annotated[bool, typer.Option("--watch", help="Go on, and follow the files as they change.")]
Every = Annotated[
    float, typer.Option("--every", min=0.1, metavar="SECONDS", help="Between two looks.")
]


@verb(verbs)
def sync(
    folder: Folder = Path(),
    watch: Watch = False,
    every: Every = 2.0,
    as_json: Json = False,
    dry_run: Dry = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Embed what is new or changed and bring the index up to date; nothing is fitted.

    Rows of items that are gone from the table are deleted. Scores of all others stay as they are.
    """
    from conjoin.cli.actions.keep.sync import run_sync

    console = Console(as_json, quiet)
    run_sync(folder, console, watch=watch, every=every, dry=dry_run, yes=yes)


@verb(index, "sync")
def index_sync(
    folder: Folder = Path(),
    watch: Watch = False,
    every: Every = 2.0,
    as_json: Json = False,
    dry_run: Dry = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """The same as ``conjoin sync``."""
    from conjoin.cli.actions.keep.sync import run_sync

    console = Console(as_json, quiet)
    run_sync(folder, console, watch=watch, every=every, dry=dry_run, yes=yes)
