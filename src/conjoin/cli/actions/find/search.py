"""What ``conjoin search`` prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conjoin.cli.actions.find.hits import suggestions, terminal
from conjoin.cli.console import Console
from conjoin.project.search import render
from conjoin.project.search.session import SearchSession
from conjoin.project.workspace import Workspace


def run_search(
    ws: Workspace,
    parts: Sequence[Any],
    how: Any,
    console: Console,
    *,
    html: Path | None,
    suggesting: bool,
) -> None:
    """Search, and show the hits in the terminal, as JSON, or as a page."""
    found = SearchSession.open(ws).answer(parts, how, suggesting=suggesting)
    if html is not None:
        render.page(ws, parts[0].query, found.hits, html)
        console.note(f"wrote {html}")
    if console.as_json:
        console.result(found.to_json())
        return
    terminal(ws, found.hits, console)
    if found.read_by:
        console.note(found.read_by)
    if suggesting:
        suggestions(found.suggestions, console)
