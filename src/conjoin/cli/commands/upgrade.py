"""``conjoin upgrade``: another encoder without embedding everything, and when not to."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import DONE, INCOMPLETE, Console
from conjoin.cli.options import Dry, Folder, Json, Quiet, Seed, Yes, opened, verb

verbs = typer.Typer()
upgrade = typer.Typer(
    help="Change one modality's encoder without embedding everything, or learn that you should.",
    no_args_is_help=True,
)
verbs.add_typer(upgrade, name="upgrade")

Modality = Annotated[str, typer.Option("--modality", metavar="NAME", help="Whose encoder.")]
To = Annotated[str, typer.Option("--to", metavar="URI", help="The new encoder.")]


@verb(upgrade)
def plan(  # noqa: PLR0913 - each option is one the command line offers
    modality: Modality,
    to: To,
    folder: Folder = Path(),
    sample: Annotated[
        int, typer.Option(min=40, metavar="N", help="Items to embed by the new encoder.")
    ] = 1000,
    price: Annotated[
        float | None, typer.Option(min=0, metavar="P", help="Money for a thousand cells.")
    ] = None,
    queries: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Queries that a cascade's cost is estimated for."),
    ] = 1000,
    top: Annotated[
        int, typer.Option(min=10, max=200, metavar="N", help="Hits that a cascade re-encodes.")
    ] = 20,
    bridge: Annotated[
        str | None, typer.Option(metavar="BRIDGE", help="An aligner's name; chosen if none.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Classes, for bridges that learn by them.")
    ] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the curve.")] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Measure on a sample what each way to upgrade is worth and costs.

    Doing nothing, a bridge, a cascade, embedding a part or all anew: one curve with intervals and
    a recommendation, which may be to stay. Stopped anywhere, it goes on from there.
    """
    from conjoin.cli.actions.keep.upgrade import run_plan
    from conjoin.project.upgrade.lifecycle import Wanted

    wanted = Wanted(modality, to, sample, price, queries, top, bridge, seed, labels)
    run_plan(opened(folder, writes=not dry_run), wanted, Console(as_json, quiet),
             svg=svg, dry=dry_run)  # fmt: skip


@verb(upgrade)
def apply(  # noqa: PLR0913 - each option is one the command line offers
    folder: Folder = Path(),
    arm: Annotated[
        str | None,
        typer.Option(
            metavar="ARM", help="bridge, cascade, partial or re-embed; the recommended if none."
        ),
    ] = None,
    direction: Annotated[
        str | None, typer.Option(metavar="WAY", help="Of a bridge: new-to-old or old-to-new.")
    ] = None,
    share: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of a partial re-embedding, 0 to 1.")
    ] = None,
    others: Annotated[
        str | None,
        typer.Option(metavar="WAY", help="The other modalities' vectors: stay or move."),
    ] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Upgrade as planned, beside what is served; published at the end.

    Stopped anywhere, it goes on from there. No query is answered from mixed frames.
    """
    from conjoin.cli.actions.keep.upgrade import run_apply

    more = {"direction": direction, "share": share, "others": others}
    run_apply(opened(folder, writes=not dry_run), arm, more, Console(as_json, quiet),
              dry=dry_run, yes=yes)  # fmt: skip


@verb(upgrade)
def verify(folder: Folder = Path(), as_json: Json = False, quiet: Quiet = False) -> None:
    """Look an upgrade over, end to end, against what its plan promised."""
    from conjoin.cli.actions.keep.upgrade import run_verify

    good = run_verify(opened(folder, writes=False), Console(as_json, quiet))
    raise typer.Exit(DONE if good else INCOMPLETE)


@verb(upgrade)
def rollback(
    folder: Folder = Path(), as_json: Json = False, dry_run: Dry = False, yes: Yes = False
) -> None:
    """Put back what was in use before, byte for byte."""
    from conjoin.cli.actions.keep.upgrade import run_rollback

    run_rollback(opened(folder), Console(as_json), dry=dry_run, yes=yes)


@verb(verbs)
def remove(
    modality: Annotated[
        str | None, typer.Argument(metavar="MODALITY", help="The modality to take out.")
    ] = None,
    folder: Folder = Path(),
    undo: Annotated[
        bool, typer.Option("--undo", help="Put back what the last removal took out.")
    ] = False,
    as_json: Json = False,
    dry_run: Dry = False,
    yes: Yes = False,
) -> None:
    """Take a modality out of the binding, the index and conjoin.toml.

    The vectors of the others stay byte for byte; what every direction loses is told. --undo puts
    the last one back, byte for byte, as long as nothing was fitted since.
    """
    from conjoin.cli.actions.keep.upgrade import run_remove

    run_remove(opened(folder), modality, Console(as_json), back=undo, dry=dry_run, yes=yes)


@verb(verbs)
def merge(
    other: Annotated[Path, typer.Argument(help="Another workspace.")],
    folder: Folder = Path(),
    anchors: Annotated[
        str, typer.Option(metavar="COLUMN", help="Equal values are one item; ids by default.")
    ] = "ids",
    method: Annotated[
        str, typer.Option(metavar="BINDER", help="Between the two frames.")
    ] = "ridge",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the merged index.")] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
) -> None:
    """Join another workspace's binding to this one through items that both have.

    This frame stays; the other's vectors are moved into it. What every direction gained or lost
    is told, with intervals. Nothing in either workspace is changed.
    """
    from conjoin.cli.actions.keep.upgrade import run_merge

    run_merge(opened(folder, writes=False), opened(other, writes=False), Console(as_json),
              anchors=anchors, method=method, out=out, dry=dry_run, seed=seed)  # fmt: skip
