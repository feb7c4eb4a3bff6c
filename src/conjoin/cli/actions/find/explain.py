"""What ``conjoin explain`` prints."""

from conjoin.cli.console import Console
from conjoin.project.search.explain import explained
from conjoin.project.search.queries import Query
from conjoin.project.workspace import Workspace
from conjoin.report.text import number


def run_explain(
    ws: Workspace,
    query: Query,
    console: Console,
    *,
    item: str,
    into: str | None,
    count: int,
    refit: bool,
) -> None:
    """Explain a hit, as tables or as JSON."""
    found = explained(ws, query, item, into=into, count=count, refit=refit)
    label = ws.label(found.id)
    console.table(
        f"{query.shown()} → {label} ({found.modality})",
        ("part of the score", "value"),
        [*((s.name, f"{s.value:+.4f}") for s in found.shares), ("score", f"{found.score:+.4f}")],
    )
    console.table(
        f"Training pairs behind it, by {found.how}",
        ("pair", "weight"),
        [
            (" – ".join(f"{ws.label(i)} ({name})" for name, i in pair.ids.items()),
             number(pair.weight))
            for pair in found.pairs
        ],
    )  # fmt: skip
    if found.deleted is not None:
        gone = found.deleted
        console.say(
            f"without these {gone.pairs} pairs the cosine falls by {gone.named:.3f}; without "
            f"{gone.pairs} random ones by {gone.random:.3f} (standard deviation {gone.spread:.3f})"
        )
    console.result(found.to_json())
