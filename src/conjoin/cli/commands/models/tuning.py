"""Verbs of ``conjoin model`` that change an encoder for new labels, domains or budgets."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Folder, Json, Quiet, Seed, Verbose, opened, verb

verbs = typer.Typer()


@verb(verbs)
def tune(  # noqa: PLR0913 - each option is one the command line offers
    modality: Annotated[
        str, typer.Option(metavar="NAME", help="Text modality whose encoder is tuned.")
    ],
    folder: Folder = Path(),
    peft: Annotated[
        str, typer.Option(metavar="NAME", help="lora, ia3, bitfit, norm, last-k, full…")
    ] = "lora",
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Classes to learn; else pairs.")
    ] = None,
    pairs: Annotated[
        str, typer.Option("--with", metavar="pairs", help="The other modality's frozen vectors.")
    ] = "pairs",
    keep: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Texts, or pairs, to stay well placed.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin no step after this: 90s, 10m.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps at most.")] = 64,
    batch: Annotated[int, typer.Option(min=2, help="Texts a step.")] = 32,
    rank: Annotated[int | None, typer.Option(help="Of lora and its kin.")] = None,
    layers: Annotated[int | None, typer.Option(help="Of last-k.")] = None,
    targets: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Modules changed, parted by commas.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the tuned encoder.")
    ] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Tune a copy of a text encoder on labels or pairs, and say whether it pays.

    The first row is the frozen vectors with the head that conjoin head would choose (or the best
    ridge map). The copy opens as st:DIR; nothing in use changes.
    """
    from conjoin.cli.actions.models.tune import run_tune, settings_of
    from conjoin.errors import ConjoinError
    from conjoin.execution.budget import seconds_of
    from conjoin.project.models.tune import TuneAsk

    if pairs != "pairs":
        raise ConjoinError("--with", repr(pairs), "give pairs, or --label COLUMN")
    given = {"rank": rank, "layers": layers, "targets": targets, "lr": lr}
    ask = TuneAsk(
        modality, peft, settings_of(peft, given), label, keep,
        None if budget is None else seconds_of(budget), steps, batch, out, seed,
    )  # fmt: skip
    run_tune(opened(folder, writes=not dry_run), ask, Console(as_json, quiet), dry=dry_run)


@verb(verbs)
def adapt(  # noqa: PLR0913 - each option is one the command line offers
    modality: Annotated[str, typer.Option(metavar="NAME", help="Modality whose head is adapted.")],
    table: Annotated[
        Path, typer.Option("--to", metavar="TABLE", help="Unlabelled rows of the other domain.")
    ],
    label: Annotated[str, typer.Option(metavar="COLUMN", help="Classes of the workspace's items.")],
    folder: Folder = Path(),
    method: Annotated[
        str, typer.Option(metavar="NAME", help="auto, match-deviation, transport, mlls…")
    ] = "auto",
    score: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The target's classes, used to score alone."),
    ] = None,
    apply: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write answers: .csv .parquet .json")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the adapted head.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Adapt although nothing shifted.")] = False,
    as_json: Json = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Take a head to another domain by its unlabelled rows.

    It tests for a shift first and changes nothing where there is none; it shows the predicted
    class shares before and after, and refuses where they collapse.
    """
    from conjoin.cli.actions.models.adapt import run_adapt
    from conjoin.project.models.adapt import AdaptAsk

    ask = AdaptAsk(modality, table, label, method, score, apply, out, force, seed)
    run_adapt(opened(folder), ask, Console(as_json, quiet))


@verb(verbs)
def shrink(  # noqa: PLR0913 - each option is one the command line offers
    modality: Annotated[
        str, typer.Option(metavar="NAME", help="Text or image modality whose encoder is shrunk.")
    ],
    folder: Folder = Path(),
    to: Annotated[str, typer.Option(metavar="SPEED", help="How many times as fast: 1.5x, 3x.")] = (
        "2x"
    ),
    keep: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the score to keep, surely.")
    ] = 0.98,
    method: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Try only these; repeatable.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Classes to score by; else pairs.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the cheaper encoder.")
    ] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a cheaper copy of an encoder, where one keeps its score.

    Layers, units, vocabulary, precision and input size are cut in turn; score, rate, size and
    memory of each are measured on this machine. Nothing slower than the original is offered.
    """
    from conjoin.cli.actions.models.shrink import run_shrink
    from conjoin.project.models.shrink import ShrinkAsk, speed_of

    ask = ShrinkAsk(modality, speed_of(to), keep, tuple(method or ()), label, out, seed)
    run_shrink(
        opened(folder, writes=not dry_run), ask, Console(as_json, quiet, verbose=verbose),
        dry=dry_run,
    )  # fmt: skip
