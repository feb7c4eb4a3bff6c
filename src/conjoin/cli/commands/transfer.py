"""Verbs that move knowledge: heads from few labels or names, and students."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Folder, Json, Quiet, Seed, Verbose, opened, verb
from conjoin.errors import ConjoinError

verbs = typer.Typer()


@verb(verbs)
def head(  # noqa: PLR0913 - each option is one the command line offers
    folder: Folder = Path(),
    names: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Class names, one a line, or JSON.")
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of classes.")] = None,
    shots: Annotated[
        str | None, typer.Option(metavar="LIST", help="Labelled items a class: 1,2,4,8,16.")
    ] = None,
    source: Annotated[str | None, typer.Option("--from", help="Modality to train on.")] = None,
    target: Annotated[str | None, typer.Option("--to", help="Modality to use it on.")] = None,
    method: Annotated[str, typer.Option(help="A head's name, or auto.")] = "auto",
    reject: Annotated[
        float | None, typer.Option(metavar="RATE", help="Refuse at most this share.")
    ] = None,
    apply: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write predictions: .csv .parquet .json")
    ] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Classify items by class names, by a few labels, or both.

    Chosen on folds of the training items, and shown on held-out ones beside chance and the simple
    baselines. With --apply alone the last head is used.
    """
    from conjoin.cli.actions.decide.head import run_head
    from conjoin.project.transfer.heads import HeadAsk

    ask = HeadAsk(names, label, counts(shots), source, target, method, reject, seed)
    only_applies = not (names or label)
    ws = opened(folder, writes=not dry_run and not only_applies)
    run_head(ws, ask, Console(as_json, quiet, verbose=verbose), apply, dry_run)


def counts(text: str | None) -> tuple[int, ...]:
    """Numbers parted by commas, rising."""
    if text is None:
        return ()
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConjoinError("--shots", repr(text), "give numbers such as 1,4,16") from None
    if not found or min(found) < 1:
        raise ConjoinError("--shots", repr(text), "give numbers of 1 or more")
    return tuple(sorted(set(found)))


@verb(verbs)
def distill(  # noqa: PLR0913 - each option is one the command line offers
    modality: Annotated[str, typer.Option(metavar="NAME", help="Whose cells the student reads.")],
    folder: Folder = Path(),
    to: Annotated[
        str | None,
        typer.Option(
            "--student", metavar="ENCODER", help="Smaller encoder or modality that reads them."
        ),
    ] = None,
    teachers: Annotated[
        str | None,
        typer.Option("--teacher", metavar="NAMES", help="Modalities that teach: a,b."),
    ] = None,
    method: Annotated[str, typer.Option(help="A student's name, or auto.")] = "auto",
    use: Annotated[bool, typer.Option("--use", help="Bind the modality by it.")] = False,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Teach a cheap encoder, or a modality, to land where better ones put the same items.

    Shows what it keeps of its teacher on held-out items, beside ridge and doing nothing. With
    --use, search and heads treat its modality as bound.
    """
    from conjoin.cli.actions.decide.distill import run_distill
    from conjoin.project.transfer.distill import DistillAsk

    named = tuple(part.strip() for part in (teachers or "").split(",") if part.strip())
    ask = DistillAsk(modality, to, named, method, use, seed)
    run_distill(opened(folder, writes=not dry_run), ask, Console(as_json, quiet), dry_run)
