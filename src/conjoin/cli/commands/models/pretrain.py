"""``conjoin model pretrain``: an encoder trained from parts on the workspace's own items."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Folder, Json, Quiet, Seed, opened, verb
from conjoin.errors import ConjoinError

verbs = typer.Typer()


@verb(verbs, "pretrain")
def pretrain(  # noqa: PLR0913 - each option is one the command line offers
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A recipe's name, or a TOML file.")
    ] = None,
    folder: Folder = Path(),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V", help="Replace a setting: targets.matching=0."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Seconds of one core it may take: 600, 10m, 1h."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What the run is called; the recipe's name.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--continue-from", metavar="hf:DIR", help="Begin from these weights."),
    ] = None,
    transductive: Annotated[
        bool, typer.Option("--transductive", help="Let cells of held-out items be trained on.")
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="List the recipes; train nothing.")] = False,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train an encoder from parts, and say whether it beats doing nothing.

    Stopped anywhere, the same command goes on. The result is an encoder: pretrained:DIR?view=…
    in conjoin.toml.
    """
    from conjoin.cli.actions.models.pretrain import Asked, budget_of, run_list, run_pretrain

    console = Console(as_json, quiet)
    if show:
        run_list(folder, console)
        return
    if recipe is None:
        raise ConjoinError(
            "conjoin model pretrain", "no recipe", "name one; --list shows all of them"
        )
    asked = Asked(recipe, settings or (), budget_of(budget), name, start, transductive)
    run_pretrain(opened(folder, writes=not dry_run), asked, console, seed=seed, dry=dry_run)


@verb(verbs, "export")
def export(
    model: Annotated[str, typer.Argument(metavar="URI", help="pretrained:DIR?view=NAME.")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="hf, onnx or safetensors.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where it is written.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a trained encoder for other programs, read it back and compare its vectors.

    The format hf needs no code of its own: it takes models of BERT's shape.
    """
    from conjoin.cli.actions.models.pretrain import run_export

    run_export(model, to, out, Console(as_json, quiet))
