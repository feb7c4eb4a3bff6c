"""``conjoin claims``: what papers say, checked on real data."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Json, Quiet, verb

verbs = typer.Typer()


@verb(verbs)
def claims(  # noqa: PLR0913 - each option is one the command line offers
    family: Annotated[str | None, typer.Option(help="Only claims of this family.")] = None,
    method: Annotated[str | None, typer.Option(help="Only claims of this method.")] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Start nothing after this: 30m, 2h.")
    ] = None,
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="What the workers may use together.")
    ] = "4G",
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where all results are written.")] = (
        Path("claims.json")
    ),
    again: Annotated[
        bool, typer.Option("--again", help="Run also what --out holds a current verdict of.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="ENGINE", help="As of embed; processes by default."),
    ] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    quiet: Quiet = False,
) -> None:
    """Check on real data what papers claim.

    Verdicts that stand in --out, of methods and data that have not changed since, are not run
    again. Stopped at any point it goes on where it was. Results are written only where every claim
    was asked for.
    """
    from conjoin.cli.actions.judge.compare import ClaimsAsk, run_claims
    from conjoin.execution.budget import bytes_of, seconds_of
    from conjoin.execution.engines import engine_of

    ask = ClaimsAsk(
        family, method, out, seconds_of(budget) if budget else None, bytes_of(memory), again,
        engine_of(engine) if engine else None,
    )  # fmt: skip
    run_claims(ask, Console(as_json, quiet), dry=dry_run)
