"""The graph of modalities and pair sources: is it in one piece, and who is its hub?"""

import itertools
from collections.abc import Container, Iterator, Sequence

import numpy as np

from conjoin.errors import ConjoinError, nearest
from conjoin.spaces import Pairs

Edge = tuple[str, str]


def neighbours(edges: Sequence[Edge], name: str) -> list[str]:
    """Views that share an edge with ``name``, in edge order."""
    return [b if a == name else a for a, b in edges if name in (a, b)]


def require_connected(pairs: Pairs, joined: Container[str] = ()) -> None:
    """Refuse views that no chain of pairs joins.

    Parameters
    ----------
    joined : views that lie in one frame already, and need no pairs to be joined.

    Raises
    ------
    ConjoinError : the graph has more than one piece; the pieces are named.
    """
    bound = [name for name in pairs.names if name in joined]
    edges = [*pairs.edges(), *itertools.pairwise(bound)]
    pieces: list[list[str]] = []
    waiting = list(pairs.names)
    while waiting:
        piece, fresh = [], [waiting[0]]
        while fresh:
            name = fresh.pop()
            if name in waiting:
                waiting.remove(name)
                piece.append(name)
                fresh.extend(neighbours(edges, name))
        pieces.append(piece)
    if len(pieces) > 1:
        said = " | ".join(", ".join(piece) for piece in pieces)
        raise ConjoinError(
            "pairs", f"nothing joins {said}", "give pairs that link them, or fit them apart"
        )


def hub_candidates(pairs: Pairs) -> list[str]:
    """The views that could be the hub: most neighbours, then most pairs, ties kept.

    A hub with many neighbours keeps every other view one map away.
    """
    edges = pairs.edges()
    count = {edge: len(pairs.between(*edge)[0]) for edge in edges}
    rank = {
        name: (
            len(neighbours(edges, name)),
            sum(size for edge, size in count.items() if name in edge),
        )
        for name in pairs.names
    }
    best = max(rank.values())
    return [name for name in pairs.names if rank[name] == best]


def check_hub(hub: str | None, names: Sequence[str]) -> None:
    """Refuse a hub that is no view."""
    if hub is not None and hub not in names:
        raise ConjoinError("hub", f"{hub!r} is not a modality", nearest(hub, names))


def paths(edges: Sequence[Edge], start: str, end: str, longest: int) -> Iterator[tuple[str, ...]]:
    """Simple paths from ``start`` to ``end`` of at most ``longest`` edges."""
    waiting: list[tuple[str, ...]] = [(start,)]
    while waiting:
        path = waiting.pop()
        if path[-1] == end:
            yield path
        elif len(path) <= longest:
            waiting.extend((*path, n) for n in neighbours(edges, path[-1]) if n not in path)


def lines_of(pairs: Pairs, edge: Edge) -> np.ndarray:
    """Which lines hold both views of an edge."""
    return np.asarray((pairs.column(edge[0]) >= 0) & (pairs.column(edge[1]) >= 0))
