"""``conjoin report``: one page on a fit."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Folder, Json, Quiet, Seed, opened, verb

verbs = typer.Typer()


@verb(verbs)
def report(  # noqa: PLR0913 - each option is one the command line offers
    folder: Folder = Path(),
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")] = Path(
        "report.html"
    ),
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also a model card in Hub format.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column that colours the map.")
    ] = None,
    budget: Annotated[str, typer.Option(metavar="TIME", help="What measuring may take.")] = "2m",
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Write one page on the fit in use: scores, map, hits and misses, costs.

    It needs no network, prints, and works by keyboard. Held-out items are asked as by evaluate.
    """
    from conjoin.cli.actions.judge.report import run_report
    from conjoin.execution.budget import seconds_of

    limit = seconds_of(budget)
    run_report(
        opened(folder, writes=False), Console(as_json, quiet), out=out, markdown=markdown,
        label=label, budget=limit, seed=seed, dry=dry_run,
    )  # fmt: skip
