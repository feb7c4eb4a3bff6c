"""``conjoin negatives``: training data for trainers elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Folder, Json, Quiet, opened, verb

verbs = typer.Typer()
negatives = typer.Typer(help="Write training pairs with hard negatives for other trainers.")
verbs.add_typer(negatives, name="negatives")


@verb(negatives, "export")
def export(  # noqa: PLR0913 - each option is one the command line offers
    out: Annotated[Path, typer.Argument(metavar="FILE", help=".jsonl, .csv or .parquet.")],
    folder: Folder = Path(),
    anchor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Modality that asks; the first bound one.")
    ] = None,
    positive: Annotated[
        str | None, typer.Option(metavar="NAME", help="Modality that answers; the next.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="Negatives a pair.")] = 5,
    margin: Annotated[
        float,
        typer.Option(min=0.0, max=0.99, help="Leave out what scores within this of the partner."),
    ] = 0.05,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="The margin is a difference, not a share.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write pairs with the rows most like them that are no partners, for another trainer.

    Held-out items are in no line, so that what is trained on it can be judged here. Rows of the
    same group, rows that show the same thing and rows that score nearly as high as the partner
    are never negatives.
    """
    from conjoin.project.fit.negatives import NegativesAsk, export_negatives

    console = Console(as_json, quiet)
    ask = NegativesAsk(anchor, positive, count, margin, not absolute)
    found = export_negatives(opened(folder, writes=False), out, ask)
    console.say(
        f"{found.lines} pairs of {found.anchor} and {found.positive} with up to {count} negatives "
        f"each: {out}"
    )
    if found.short:
        console.say(f"{found.short} of them have fewer")
    if found.without:
        console.say(f"{found.without} pairs were left out: nothing may be contrasted with them")
    console.result(found.to_json())
