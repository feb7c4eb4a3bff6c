"""``conjoin bridge``."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Folder, Json, Quiet, Seed, opened, verb
from conjoin.errors import ConjoinError

verbs = typer.Typer()


@verb(verbs)
def bridge(  # noqa: PLR0913 - each option is one the command line offers
    texts: Annotated[Path | None, typer.Argument(help="A file of one text a line.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="URI", help="The text encoder to bring in.")
    ] = None,
    folder: Folder = Path(),
    apply: Annotated[bool, typer.Option("--apply", help="Let it read typed words.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Undo --apply.")] = False,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Bring another text encoder into a joint space, by texts alone.

    Both text encoders embed the texts; a map from one to the other is chosen on folds and judged
    on held-out texts, and on retrieval where pairs exist. No stored vector moves.
    """
    from conjoin.cli.actions.find.bridge import run_bridge, run_drop

    ws, console = opened(folder, writes=apply and not dry_run), Console(as_json, quiet)
    if drop:
        run_drop(ws, console, dry=dry_run)
        return
    if texts is None or to is None:
        raise ConjoinError("bridge", "needs texts and an encoder", "give TEXTS and --to URI")
    run_bridge(ws, texts, to, console, seed=seed, apply=apply, dry=dry_run)
