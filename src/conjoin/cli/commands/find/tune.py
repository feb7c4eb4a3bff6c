"""``conjoin tune``: how words and vectors, or the parts of a query, are put together."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Folder, Json, Quiet, Seed, opened, verb

verbs = typer.Typer()


@verb(verbs)
def tune(  # noqa: PLR0913 - each option is one the command line offers
    folder: Folder = Path(),
    queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Judged queries: columns query and id."),
    ] = None,
    mixer: Annotated[
        str, typer.Option("--fusion", metavar="NAME", help="How words and vectors are mixed.")
    ] = "cc",
    composer: Annotated[
        str | None,
        typer.Option("--combine", metavar="NAME", help="Train this query composition instead."),
    ] = None,
    source: Annotated[str | None, typer.Option("--from", help="Modality of the queries.")] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Say whether mixing words and vectors helps, and tune how; or train a query composition.

    Search mixes by itself only where this finds that it helps. Without judged queries, texts of
    held-out training pairs are asked.
    """
    from conjoin.cli.actions.find.tune import run_tune

    options = {"queries": queries, "mixer": mixer, "composer": composer, "source": source}
    run_tune(
        opened(folder, writes=not dry_run), Console(as_json, quiet), options, seed=seed,
        dry=dry_run,
    )  # fmt: skip
