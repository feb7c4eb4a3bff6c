"""``conjoin explain``: the parts of a hit's score and the training pairs behind it."""

from conjoin.errors import ConjoinError, nearest
from conjoin.project.fit.stored import current_fit
from conjoin.project.search.index import open_index
from conjoin.project.search.queries import Query, encoded
from conjoin.project.workspace import Workspace
from conjoin.retrieval.ranking.explain import Behind, Explained, explain


def explained(
    ws: Workspace, query: Query, item: str, *, into: str | None, count: int, refit: bool
) -> Explained:
    """Why an item has its score.

    Raises
    ------
    ConjoinError : the item or the modality is unknown, or the query cannot be encoded or is not
        one thing.
    """
    if sum(value is not None for value in (query.text, query.file, query.item)) != 1:
        raise ConjoinError("explain", "asks by one thing", "give words, --query FILE or --item ID")
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
