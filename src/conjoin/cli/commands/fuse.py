"""``conjoin fuse``."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Folder, Json, Quiet, Seed, Verbose, opened, verb

verbs = typer.Typer()


@verb(verbs)
def fuse(  # noqa: PLR0913 - each option is one the command line offers
    names: Annotated[list[str] | None, typer.Argument(help="Modalities; all by default.")] = None,
    folder: Folder = Path(),
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column to predict.")] = None,
    method: Annotated[str, typer.Option(help="A fusion's name, or auto.")] = "auto",
    kind: Annotated[
        str | None,
        typer.Option("--task", metavar="KIND", help="classification or regression; by the column."),
    ] = None,
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="What all of it may take, about.")
    ] = "1m",
    apply: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a decision an item: .csv, .jsonl.")
    ] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Predict a column from whatever modalities an item has.

    The method is chosen on folds of the training items, and judged on held-out ones beside the
    best single modality. With it comes what every subset of the modalities is worth, whether
    absence tells the label, and which modality to collect next. With --apply alone the last
    fusion decides the items there are now.
    """
    from conjoin.cli.actions.decide.fuse import run_apply, run_fuse
    from conjoin.execution.budget import seconds_of
    from conjoin.project.transfer.fusion import FuseAsk, kind_of_task

    ws, console = opened(folder, writes=False), Console(as_json, quiet, verbose=verbose)
    if label is None:
        run_apply(ws, names or [], console, apply, dry_run)
        return
    ask = FuseAsk(label, tuple(names or ()), method, kind_of_task(kind), seconds_of(budget), seed)
    run_fuse(ws, ask, console, apply, dry_run)
