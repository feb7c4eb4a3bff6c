"""Hits with what they show: in the terminal, on a page, as a picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from conjoin.errors import CellError, ConjoinError
from conjoin.project.search.queries import Query, kind_of_file
from conjoin.project.workspace import Workspace
from conjoin.report.pages.sheet import QueryResult, Shown, contact_png, contact_sheet
from conjoin.report.thumbs import Thumb, thumb
from conjoin.retrieval.hits import Hit, Hits

#: Kinds of cell a person can make something of; others are shown by their item's name.
SEEN = ("image", "audio", "text")


def cell_thumb(ws: Workspace, modality: str, item: str, part: int = 0) -> Thumb:
    """What is shown of one cell of the workspace."""
    kind = ws.kind(modality)
    alt = ws.label(item)
    if kind not in SEEN:
        return Thumb("text", alt)
    try:
        cell = ws.cells(modality, kind).get(item, part)
    except (CellError, ConjoinError) as error:
        return Thumb("text", f"{alt} ({error})")
    return thumb(cell, kind, alt)


def lookup(ws: Workspace) -> Callable[[Hit], Thumb]:
    """A hit's thumbnail."""
    return lambda hit: cell_thumb(ws, hit.modality, hit.id, hit.part)


def page(ws: Workspace, query: Query, hits: Hits, path: Path) -> None:
    """Write one query and its hits as a page."""
    contact_sheet(f"{query.shown()} — conjoin", _rows(ws, query, hits), path)


def sheet(ws: Workspace, answers: Sequence[tuple[Query, Hits]], path: Path, picture: Path) -> None:
    """Write several queries and their hits as a page and as a picture."""
    rows = [row for query, hits in answers for row in _rows(ws, query, hits)]
    contact_sheet(f"Queries over {len(ws.items):,} items", rows, path)
    contact_png(rows, picture)


def _rows(ws: Workspace, query: Query, hits: Hits) -> list[QueryResult]:
    asked = _asked(ws, query, hits)
    label = ws.label(query.item) if query.item else query.shown()
    source = hits.query.get("modality")
    label = label if source else str(hits.query.get("shown", label))
    rows = []
    for name, found in hits.lists.items():
        shown = [_shown(ws, hit, query) for hit in found]
        rows.append(QueryResult(asked, label, shown, f"{source or 'composed'} → {name}"))
    return rows


def _shown(ws: Workspace, hit: Hit, query: Query) -> Shown:
    seen = cell_thumb(ws, hit.modality, hit.id, hit.part)
    partner = hit.id == query.item if query.item else None
    return Shown(seen, ws.label(hit.id), hit.score, partner, hit.probability)


def _asked(ws: Workspace, query: Query, hits: Hits) -> Thumb:
    if query.text is not None:
        return Thumb("text", query.text)
    source: Any = hits.query.get("modality")
    if source is None:  # several parts
        return Thumb("text", str(hits.query.get("shown", "")))
    if query.item is not None:
        return cell_thumb(ws, str(source), query.item)
    return thumb(str(query.file), kind_of_file(query.file), query.shown())
