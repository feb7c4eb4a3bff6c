"""``conjoin doctor``: what is wrong with the data, and what a bug report needs."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Folder, Json, Quiet, Seed, Verbose, opened, verb

verbs = typer.Typer()


@verb(verbs)
def doctor(  # noqa: PLR0913 - each option is one the command line offers
    folder: Folder = Path(),
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kinds", metavar="NAMES", help="Only these kinds, as in mismatch,leak."),
    ] = None,
    least: Annotated[
        float,
        typer.Option(
            "--min-confidence", metavar="P", help="Report findings of at least this confidence."
        ),
    ] = 0.5,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="A column of labels; guessed where none is named."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="Write a page to look findings over.")
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take the decisions made on that page.")
    ] = None,
    system: Annotated[
        bool, typer.Option("--system", help="Print what a bug report needs instead.")
    ] = False,
    robust: Annotated[
        bool,
        typer.Option("--robust", help="Spoil held-out pictures and texts, and search with them."),
    ] = False,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Look for wrong pairs, twins, duplicates, leaks and other faults of the data.

    It reads stored vectors and a few columns, and changes nothing. The exit code is 0 whatever
    is found.
    """
    console = Console(as_json, quiet, verbose=verbose)
    if system:
        from conjoin.cli.actions.keep.system import run_system

        run_system(folder, console)
        return
    from conjoin.cli.actions.judge.doctor import run_decisions, run_doctor, run_robust

    ws = opened(folder, writes=False)
    if decisions is not None:
        run_decisions(ws, decisions, console, dry=dry_run)
        return
    if robust:
        run_robust(ws, console, dry=dry_run, seed=seed)
        return
    asked = [name.strip() for each in kinds or () for name in each.split(",") if name.strip()]
    page = None if dry_run else html
    run_doctor(
        ws, console, kinds=asked, least=least, html=page, labels=label or (), seed=seed
    )  # fmt: skip
