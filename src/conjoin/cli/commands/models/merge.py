"""``conjoin model merge``: one encoder from several of one base."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Json, Quiet, Seed, verb

verbs = typer.Typer()


@verb(verbs, "merge")
def merge(  # noqa: PLR0913 - each option is one the command line offers
    experts: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Folders or URIs of trained copies.")
    ],
    base: Annotated[
        str, typer.Option(metavar="MODEL", help="What they were trained from: DIR, st:DIR, hf:DIR.")
    ],
    method: Annotated[
        str, typer.Option(metavar="NAME", help="A tensor-merge method, or auto.")
    ] = "auto",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="A setting: scale=0.5.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the result; must not exist.")
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="A table of text pairs, one a skill; evaluates."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say how the models differ; write nothing.")
    ] = False,
    evaluate: Annotated[
        bool | None,
        typer.Option("--evaluate/--no-evaluate", help="Choose and judge on pairs; with --pairs."),
    ] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Merge trained copies of one encoder into one, and say whether to use it.

    With pairs, method and scale are chosen on two fifths of them and tested once on the rest,
    beside the base, each expert, their ensemble and the plain average. Without --out nothing is
    kept. conjoin merge joins the bindings of workspaces instead.
    """
    from conjoin.cli.actions.models.merge import run_merge
    from conjoin.project.models.merge import MergeAsk, settings_of

    ask = MergeAsk(tuple(experts), base, method, settings_of(method, settings or ()), out, seed)
    judging = bool(pairs) if evaluate is None else evaluate
    run_merge(
        ask, Console(as_json, quiet), pairs=pairs or (), explaining=explain, judging=judging,
        dry=dry_run,
    )  # fmt: skip
