"""``conjoin benchmark``: encoders and a workspace on published formats."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Json, Quiet, Seed, Verbose, opened, verb

verbs = typer.Typer()


@verb(verbs)
def benchmark(  # noqa: PLR0913 - each option is one the command line offers
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH…", help="Folders of benchmarks.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", metavar="DIR", help="Judge the fit in use there."),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(metavar="URI", help="Judge this encoder; give several to compare them."),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="Read it so; recognised by default."),
    ] = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="The split that is read.")] = "test",
    write: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Save the workspace's held-out items for MTEB."),
    ] = None,
    foils: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="With --write: texts made false by this rule instead."),
    ] = None,
    query: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="With --write: what asks.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--into", metavar="NAME", help="With --write: what is found.")
    ] = None,
    as_json: Json = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score encoders or a workspace on benchmarks in your own folders.

    Reads BEIR, MTEB folders, TREC judgements and runs, COCO captions, VL-CheckList, Winoground,
    XModBench, RedCaps, LaserTagger's predictions and folders of classes. Each metric has an
    interval over groups, chance beside it, and the best trivial answer; several paths give each
    encoder a rank.
    """
    from conjoin.cli.actions.judge.benchmark import run_benchmark, run_write, run_write_foils

    console = Console(as_json, quiet, verbose=verbose)
    if write is not None:
        made = opened(folder or Path(), writes=False)
        sides = (query, target)
        if foils:
            run_write_foils(made, write, foils, console, sides=sides, seed=seed)
        else:
            run_write(made, write, console, sides=sides)
        return
    ws = None if folder is None else opened(folder, writes=False)
    run_benchmark(paths or (), encoder or (), ws, console, layout=layout, split=split, seed=seed)
