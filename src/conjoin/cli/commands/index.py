"""``conjoin index``: look into, change, export and push the index in use."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Folder, Json, Quiet, Seed, Verbose, Yes, opened, verb

verbs = typer.Typer()
index = typer.Typer(
    help="Look into, change, export or push the index in use.", no_args_is_help=True
)
verbs.add_typer(index, name="index")

Into = Annotated[
    list[str] | None, typer.Option("--into", metavar="NAME", help="A modality; all by default.")
]
Plain = Annotated[bool, typer.Option("--plain", help="Leave corrections out.")]


@verb(index)
def info(folder: Folder = Path(), as_json: Json = False, quiet: Quiet = False) -> None:
    """What the index holds, what finds candidates in it and what filters may name."""
    from conjoin.cli.actions.find.index import run_info

    run_info(opened(folder, writes=False), Console(as_json, quiet))


@verb(index)
def check(
    folder: Folder = Path(),
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Hits a list.")] = 10,
    storage: Annotated[
        bool, typer.Option(help="Also measure what each storage choice loses.")
    ] = True,
    absent: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only see that no file of the state names this item."),
    ] = None,
    as_json: Json = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Recall of what is in use against every row, on held-out queries.

    Also what float16, int8, binary codes and prefixes would lose.
    """
    from conjoin.cli.actions.find.index import run_absent, run_check

    if absent:
        run_absent(opened(folder, writes=False), absent, Console(as_json, quiet))
        return
    run_check(
        opened(folder, writes=False),
        Console(as_json, quiet, verbose=verbose),
        k=k,
        storage=storage,
        seed=seed,
    )


@verb(index, name="check-edits")
def check_edits(
    folder: Folder = Path(),
    into: Annotated[
        str | None, typer.Option("--into", metavar="NAME", help="A modality that reads text.")
    ] = None,
    items: Annotated[int, typer.Option(min=1, help="Items that get a new text.")] = 20,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Hits a list.")] = 10,
    as_json: Json = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Whether changed items are found and all others stay: four rates, on a copy of the index.

    Reliability, generality, portability and locality; the last should be 1.
    """
    from conjoin.cli.actions.find.index import run_check_edits

    run_check_edits(
        opened(folder, writes=False), Console(as_json, quiet), modality=into, items=items, k=k,
        seed=seed,
    )  # fmt: skip


@verb(index)
def tune(
    folder: Folder = Path(),
    as_json: Json = False,
    dry_run: Dry = False,
    quiet: Quiet = False,
) -> None:
    """Apply [index] of conjoin.toml: what is scanned, and which engine finds candidates."""
    from conjoin.cli.actions.find.index import run_tune

    run_tune(opened(folder, writes=not dry_run), Console(as_json, quiet), dry=dry_run)


@verb(index)
def add(
    names: Annotated[list[str] | None, typer.Argument(help="Modalities; all by default.")] = None,
    folder: Folder = Path(),
    prune: Annotated[bool, typer.Option(help="Delete what is no longer embedded.")] = False,
    as_json: Json = False,
    dry_run: Dry = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Add what was embedded since, by the binding in use; nothing is fitted."""
    from conjoin.cli.actions.find.index import run_add

    console = Console(as_json, quiet)
    run_add(
        opened(folder, writes=not dry_run), names or [], console, prune=prune, dry=dry_run, yes=yes
    )


@verb(index)
def delete(
    ids: Annotated[list[str] | None, typer.Argument(help="Item ids.")] = None,
    folder: Folder = Path(),
    where: Annotated[
        str | None, typer.Option(metavar="FILTER", help="Rows that meet it: year<2000 and …")
    ] = None,
    into: Into = None,
    as_json: Json = False,
    dry_run: Dry = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Delete the rows of items, or those that meet a filter, in all modalities or some."""
    from conjoin.cli.actions.find.index import run_delete

    run_delete(
        opened(folder, writes=not dry_run), ids or [], Console(as_json, quiet), where=where,
        into=into or [], dry=dry_run, yes=yes,
    )  # fmt: skip


@verb(index)
def compact(
    folder: Folder = Path(),
    as_json: Json = False,
    dry_run: Dry = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Write what is served anew, without deleted rows; forget earlier versions."""
    from conjoin.cli.actions.find.index import run_compact

    run_compact(opened(folder, writes=not dry_run), Console(as_json, quiet), dry=dry_run, yes=yes)


@verb(index)
def versions(folder: Folder = Path(), as_json: Json = False, quiet: Quiet = False) -> None:
    """List what was served, oldest first."""
    from conjoin.cli.actions.find.index import run_versions

    run_versions(opened(folder, writes=False), Console(as_json, quiet))


@verb(index)
def rollback(
    number: Annotated[int, typer.Argument(min=1, help="A version of conjoin index versions.")],
    folder: Folder = Path(),
    as_json: Json = False,
    dry_run: Dry = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Serve an earlier version again, as a new one."""
    from conjoin.cli.actions.find.index import run_rollback

    console = Console(as_json, quiet)
    run_rollback(opened(folder, writes=not dry_run), number, console, dry=dry_run, yes=yes)


@verb(index)
def export(
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where files are written.")],
    folder: Folder = Path(),
    into: Into = None,
    plain: Plain = False,
    as_json: Json = False,
    dry_run: Dry = False,
    quiet: Quiet = False,
) -> None:
    """Write each modality as a faiss file, its ids and metadata, and how to query it."""
    from conjoin.cli.actions.find.index import run_export

    console = Console(as_json, quiet)
    run_export(
        opened(folder, writes=False), target, console, into=into or [], plain=plain, dry=dry_run
    )


@verb(index)
def push(
    to: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="qdrant:PATH or qdrant:URL.")],
    folder: Folder = Path(),
    into: Into = None,
    plain: Plain = False,
    as_json: Json = False,
    dry_run: Dry = False,
    quiet: Quiet = False,
) -> None:
    """Push vectors, corrections and metadata to another index, and see that it answers alike."""
    from conjoin.cli.actions.find.index import run_push

    console = Console(as_json, quiet)
    run_push(opened(folder, writes=False), to, console, into=into or [], plain=plain, dry=dry_run)
