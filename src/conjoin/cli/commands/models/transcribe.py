"""``conjoin transcribe``: sounds as letters, or as the likeliest of known names."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import DONE, INCOMPLETE, Console
from conjoin.cli.options import Json, Quiet, verb

verbs = typer.Typer()


@verb(verbs)
def transcribe(
    model: Annotated[str, typer.Argument(metavar="URI", help="pretrained:DIR of a trained model.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Sounds.")],
    names: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Known names, one a line: the likeliest is given."),
    ] = None,
    beam: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="Strings kept while spelling.")
    ] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read sounds as letters, by a model trained with a recipe such as speech-letters.

    Where the names are known, give them: their likelihood is far surer than a spelling.
    """
    from conjoin.project.models.transcribe import read_names
    from conjoin.project.models.transcribe import transcribe as read

    console = Console(as_json, quiet)
    known = [] if names is None else read_names(names)
    found = read(model, files, names=[name for name in known if name.strip()], beam=beam)
    for one in found:
        console.say(f"{one.source}: {one.text or f'({one.failed})'}")
        for text, score in one.others[1:]:
            console.say(f"    or {text} ({score:.2f})")
    console.result({"transcripts": [one.to_json() for one in found]})
    raise typer.Exit(INCOMPLETE if any(one.failed for one in found) else DONE)
