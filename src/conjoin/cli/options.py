"""What the verbs share: their options, and how one is registered."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

Folder = Annotated[
    Path, typer.Option("--workspace", "-w", metavar="DIR", help="Folder with conjoin.toml.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Decides every random draw.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also print what stands behind the answer.")
]

# Where a verb's work is done.
EngineName = Annotated[
    str,
    typer.Option(
        "--engine", metavar="ENGINE",
        help="Where the work is done: local, processes:N, ray or ray://HOST:PORT.",
    ),
]  # fmt: skip
Slots = Annotated[
    int | None, typer.Option("--slots", min=1, metavar="N", help="Tasks at once, at most.")
]

# The further parts of a query, and what each counts.
Combine = Annotated[
    str | None,
    typer.Option("--combine", metavar="NAME", help="How several parts make one query: sum."),
]
Fusion = Annotated[
    str | None,
    typer.Option(
        "--fusion", metavar="NAME", help="Mix vectors with words: cc, rrf…; none; as tuned."
    ),
]
Like = Annotated[
    list[str] | None, typer.Option(metavar="ID", help="An item it should be like, too.")
]
Unlike = Annotated[
    list[str] | None, typer.Option("--not", metavar="WORDS", help="What it should not be.")
]
UnlikeItem = Annotated[
    list[str] | None, typer.Option("--not-item", metavar="ID", help="What it is not like.")
]
Weights = Annotated[
    list[str] | None,
    typer.Option(metavar="PART=W", help="Weight of text, query, item, like, not, not-item."),
]


#: What every verb takes, so that scripts may give it to any; hidden where it changes nothing.
COMMON = {
    "as_json": Annotated[bool, typer.Option("--json", hidden=True)],
    "dry_run": Annotated[bool, typer.Option("--dry-run", hidden=True)],
    "yes": Annotated[bool, typer.Option("--yes", "-y", hidden=True)],
    "seed": Annotated[int, typer.Option("--seed", min=0, hidden=True)],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", hidden=True)],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", hidden=True)],
}


def verb(group: typer.Typer, name: str | None = None) -> Callable[[Callable], Callable]:
    """Register a command that takes its own options and the rest of :data:`COMMON`."""

    def register(call: Callable) -> Callable:
        own = inspect.signature(call).parameters

        @functools.wraps(call)
        def run(**given: Any) -> None:
            call(**{key: given[key] for key in own})

        rest = {key: kind for key, kind in COMMON.items() if key not in own}
        added = [
            inspect.Parameter(
                key, inspect.Parameter.KEYWORD_ONLY, default=key == "seed" and 0, annotation=kind
            )
            for key, kind in rest.items()
        ]
        run.__signature__ = inspect.Signature([*own.values(), *added])  # type: ignore[attr-defined]
        run.__annotations__ = {**call.__annotations__, **rest}
        group.command(name)(run)
        return call

    return register


def opened(folder: Path, *, writes: bool = True) -> Any:
    """The workspace of a folder; one that only looks leaves no trace.

    Code of a workspace that was not made here is asked for before it runs.
    """
    from conjoin.project.trust import require
    from conjoin.project.workspace import Workspace

    return Workspace(folder, writes=writes, gate=require)
