"""``conjoin explain``: the parts of a hit's score and the training pairs behind it."""

from conjoin.cli.console import Console
from conjoin.errors import ConjoinError, nearest
from conjoin.project.fit.stored import current_fit
from conjoin.project.search.index import open_index
from conjoin.project.search.queries import Query, encoded
from conjoin.project.workspace import Workspace
from conjoin.report.text import number
from conjoin.retrieval.ranking.explain import Behind, Explained, explain


def explained(
    ws: Workspace, query: Query, item: str, *, into: str | None, count: int, refit: bool
) -> Explained:
    """Why an item has its score.

    Raises
    ------
    ConjoinError : the item or the modality is unknown, or the query cannot be encoded.
    """
    made, index = current_fit(ws), open_index(ws)
    asked = encoded(ws, made, query)
    source, space = asked.modality, asked.space
    others = [name for name in index.spaces if name != asked.source]
    target = into or next((n for n in others if item in set(map(str, index.spaces[n].ids))), None)
    if target is None:
        ws.items.row(item)
        raise ConjoinError("--hit", f"{item!r} is in no other modality", "name one: --into")
    if target not in index.spaces:
        raise ConjoinError("--into", f"{target!r} is not indexed", nearest(target, index.spaces))
    spaces = ws.spaces(list(made.binding.maps))
    behind = Behind(made.binding, spaces, ws.pairs(spaces)[0])
    return explain(index, behind, space, source, target, item, count=count, refit=refit)


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
    if sum(value is not None for value in (query.text, query.file, query.item)) != 1:
        raise ConjoinError("explain", "asks by one thing", "give words, --query FILE or --item ID")
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
