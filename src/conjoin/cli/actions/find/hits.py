"""hits."""

from collections.abc import Sequence

from conjoin.cli.console import Console
from conjoin.project.search.render import lookup
from conjoin.project.workspace import Workspace
from conjoin.report.text import number
from conjoin.retrieval.hits import Hits
from conjoin.retrieval.queries.suggestion import Suggestion


def terminal(ws: Workspace, hits: Hits, console: Console) -> None:
    """Print hits as tables, with pictures where the terminal draws them."""
    if console.as_json or console.silent:
        return
    from rich.console import Console as Rich

    from conjoin.report.terminal import print_hits

    print_hits(hits, Rich(), lookup(ws))


def suggestions(found: Sequence[Suggestion], console: Console) -> None:
    """Print queries to go on with."""
    if not found:
        console.say("no cluster of the hits is set apart by a word")
        return
    rows = [
        (s.text, len(s.items), number(s.specificity), number(s.representativeness)) for s in found
    ]
    title = "Ask next: words that set clusters of the hits apart"
    console.table(title, ("query", "hits", "finds of them", "precision"), rows)
