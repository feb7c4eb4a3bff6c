"""Where more than one path joins two modalities: do the paths agree, and which edge lies?"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from conjoin.alignment.modality_graph import Edge, lines_of, paths
from conjoin.catalogue import find
from conjoin.spaces import Pairs, Space, unit

#: Longest path, in edges, compared with a direct one.
LONGEST = 3
#: Queries ranked an edge at most.
QUERIES = 1000


@dataclass(frozen=True)
class CycleReport:
    """How far the pair sources contradict each other.

    Parameters
    ----------
    direct : error of each edge on its own held-out pairs.
    cycles : error of each edge's held-out pairs along another path, by ``(edge, path)``.
    blame : the share of all those errors each edge explains, 0 to 1.
    suspect : the edge to look at, or ``None`` when none stands out.

    An error is 0 where the true partner ranks first and 1 where it ranks as by chance.
    """

    direct: Mapping[Edge, float]
    cycles: Mapping[tuple[Edge, tuple[str, ...]], float]
    blame: Mapping[Edge, float]
    suspect: Edge | None


def cycle_report(spaces: Mapping[str, Space], pairs: Pairs, *, seed: int = 0) -> CycleReport:
    """Fit a ridge along every edge, follow every other path, and say which edge disagrees.

    With the error ``c`` of a cycle the sum of its edges' blame, and an edge's own held-out error
    its blame again, blame is the non-negative least-squares solution of all those equations.
    An edge is suspect when its blame is above ½ and twice the next one's.
    """
    edges = pairs.edges()
    maps, held = {}, {}
    for edge in edges:
        lines = pairs.take(lines_of(pairs, edge)).select(edge)
        fold = lines.folds(min(4, len(np.unique(lines.group))), seed)
        held[edge] = lines.take(fold == 0)
        for source, target in (edge, edge[::-1]):
            maps[source, target] = _ridge(spaces, lines.take(fold != 0), source, target, seed)
    direct = {edge: _error(spaces, held[edge], edge, maps) for edge in edges}
    cycles = {}
    for edge in edges:
        others = [other for other in edges if other != edge]
        for path in paths(others, *edge, LONGEST):
            cycles[edge, path] = _error(spaces, held[edge], path, maps)
    blame = _attribute(edges, direct, cycles)
    ordered = sorted(blame.values(), reverse=True)
    worst = max(blame, key=lambda edge: blame[edge])
    alone = len(ordered) < 2 or ordered[0] > 2 * ordered[1]
    suspect = worst if ordered[0] > 0.5 and alone else None
    return CycleReport(direct, cycles, blame, suspect)


def _ridge(
    spaces: Mapping[str, Space], pairs: Pairs, source: str, target: str, seed: int
) -> object:
    views = {target: spaces[target].vectors, source: spaces[source].vectors}
    aligner = find("aligner", "ridge").make()
    return aligner.fit(views, pairs.select((target, source)), seed=seed)[source]


def _error(
    spaces: Mapping[str, Space], pairs: Pairs, path: tuple[str, ...], maps: Mapping
) -> float:
    """Twice the mean share of wrong partners ranked above the true one, at most 1."""
    start, end = (path[0], path[-1])
    i, j, _ = pairs.between(start, end)
    i, j = i[:QUERIES], j[:QUERIES]
    x = np.asarray(spaces[start].take(i).vectors)
    for source, target in itertools.pairwise(path):
        x = maps[source, target].apply(x)
    gallery = np.asarray(spaces[end].take(j).vectors, dtype=np.float32)
    gallery = gallery - gallery.mean(axis=0)
    q = unit(np.asarray(x, dtype=np.float32) - np.asarray(x).mean(axis=0))
    scores = q @ unit(gallery).T
    true = np.diag(scores)[:, None]
    other = j[None, :] != j[:, None]
    above = ((scores > true) & other).sum(axis=1) + 0.5 * ((scores == true) & other).sum(axis=1)
    return float(min(1.0, 2 * np.mean(above / np.maximum(other.sum(axis=1), 1))))


def _attribute(
    edges: list[Edge],
    direct: Mapping[Edge, float],
    cycles: Mapping[tuple[Edge, tuple[str, ...]], float],
) -> dict[Edge, float]:
    place = {edge: number for number, edge in enumerate(edges)}
    rows, values = [], []
    for edge, error in direct.items():
        rows.append(np.eye(len(edges))[place[edge]])
        values.append(error)
    for (edge, path), error in cycles.items():
        row = np.zeros(len(edges))
        row[place[edge]] = 1
        for a, b in itertools.pairwise(path):
            row[place[(a, b) if (a, b) in place else (b, a)]] = 1
        rows.append(row)
        values.append(error)
    from scipy.optimize import nnls  # slow to import, and needed with three modalities only

    solution, _ = nnls(np.array(rows), np.array(values))
    return {edge: float(min(1.0, solution[place[edge]])) for edge in edges}
