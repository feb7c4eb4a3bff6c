"""``conjoin serve``."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Folder, Json, Quiet, verb

verbs = typer.Typer()


@verb(verbs)
def serve(  # noqa: PLR0913 - each option is one the command line offers
    folder: Folder = Path(),
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What clients must send; or CONJOIN_TOKEN.")
    ] = None,
    unguarded: Annotated[
        bool, typer.Option("--open", help="Serve all items to whoever reaches it, with no token.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Processes.")] = 1,
    cors: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="A site whose pages may call.")
    ] = None,
    model: Annotated[
        str, typer.Option(metavar="none|URI", help="What answers questions; none quotes.")
    ] = "none",
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=N", help="Change a limit: --limit k=500.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Serve search over HTTP, and a page to search with."""
    from conjoin.errors import optional

    for module in ("fastapi", "uvicorn", "python_multipart"):
        optional(module, "serve")
    from conjoin.cli.actions.keep.serve import run_serve
    from conjoin.server.run import Address

    run_serve(
        folder, Address(host, port, unguarded, tuple(cors or ())), Console(as_json, quiet),
        token_file=token_file, model=model, limits=limit or [], workers=workers,
    )  # fmt: skip
