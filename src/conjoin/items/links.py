"""Pairs between items: those of one row, and those a table names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.items.cells import is_missing
from conjoin.items.config import Config
from conjoin.items.reading.table import open_source, require_columns
from conjoin.spaces import Pairs, Space
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import stable_hash


@dataclass(frozen=True, eq=False)
class Links:
    """The lines of one pairs table.

    Parameters
    ----------
    left, right : the modalities joined.
    left_rows, right_rows : ``[m]`` row numbers of the items in their table.
    weight : ``[m]`` trust in each line, above 0.
    """

    left: str
    right: str
    left_rows: np.ndarray
    right_rows: np.ndarray
    weight: np.ndarray


def id_strings(values: Sequence[object], where: str) -> list[str]:
    """Ids as strings; 7.0 (an integer column with gaps, as many readers give it) is ``"7"``.

    Raises
    ------
    ConjoinError : an id is missing, or not a text or number.
    """
    found = []
    for row, value in enumerate(values):
        if type(value) is str and value.strip():  # nearly all are
            found.append(value)
            continue
        if is_missing(value):
            raise ConjoinError(where, f"row {row} has no id", "fill it in or drop the row")
        if isinstance(value, list | tuple | dict | np.ndarray | bytes):
            raise ConjoinError(
                where, f"row {row} holds a {type(value).__name__}", "give a text or a number"
            )
        whole = isinstance(value, float) and value.is_integer()
        found.append(str(int(value)) if isinstance(value, float) and whole else str(value))
    return found


def read_links(config: Config, name: str, row_of: Mapping[str, int]) -> Links:
    """Read the pairs table ``[pairs.NAME]``.

    Its id columns are named as the two modalities, or ``left`` and ``right``.

    Parameters
    ----------
    row_of : row number of each item id.

    Raises
    ------
    ConjoinError : a column is missing, an id is unknown, or a weight is not above 0.
    """
    part = config.pairs[name]
    path = config.folder / str(part.table)
    source = open_source(path)
    sides = []
    for column, modality in (("left", part.left), ("right", part.right)):
        column = modality if modality in source.names else column
        if column not in source.names:
            raise ConjoinError(
                str(path), f"has neither a column {modality!r} nor {column!r}",
                f"name the columns of ids {part.left} and {part.right}",
            )  # fmt: skip
        where = f"{path}, column {column!r}"
        sides.append(_rows(id_strings(list(source.values(column)), where), row_of, where))
    weight = np.ones(source.rows)
    if part.weight is not None:
        require_columns(source.names, [part.weight], str(path))
        weight = _weights(list(source.values(part.weight)), f"{path}, column {part.weight!r}")
    return Links(part.left, part.right, sides[0], sides[1], weight)


def _rows(ids: list[str], row_of: Mapping[str, int], where: str) -> np.ndarray:
    rows = np.empty(len(ids), dtype=np.int64)
    for line, item in enumerate(ids):
        if item not in row_of:
            raise ConjoinError(
                where, f"row {line} names item {item!r}, which the items table lacks",
                "correct the id or drop the line",
            )  # fmt: skip
        rows[line] = row_of[item]
    return rows


def _weights(values: list[object], where: str) -> np.ndarray:
    for row, value in enumerate(values):
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not 0 < float(value) < np.inf:  # type: ignore[arg-type]
            raise ConjoinError(
                where, f"row {row} weighs {value!r}", "give numbers above 0, or drop that line"
            )
    return np.array(values, dtype=float)


def merge_groups(groups: Sequence[str], links: Sequence[Links]) -> np.ndarray:
    """Merge groups that any line joins, so that no line is ever split.

    A merged group is named by the first of its names in alphabetical order.

    Returns
    -------
    ``[n]`` group of each item.
    """
    values, inverse = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    if not links:
        return np.asarray(values[inverse])
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    left = inverse[np.concatenate([link.left_rows for link in links])]
    right = inverse[np.concatenate([link.right_rows for link in links])]
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(len(values), len(values)))
    _, component = connected_components(graph.tocsr(), directed=False)
    _, first = np.unique(component, return_index=True)  # values are sorted: the first is the least
    return np.asarray(values[first[component]][inverse])


def same_row(
    spaces: Mapping[str, Space], group_of: Mapping[str, str], named: set[frozenset[str]]
) -> Pairs | None:
    """Lines of the rows that share an item, but for modality pairs that a table names.

    ``None`` where there is no such line.
    """
    found: Pairs | None = None
    for names in _cliques(list(spaces), named):
        ids = [np.unique(spaces[name].ids) for name in names]
        if np.unique(np.concatenate(ids), return_counts=True)[1].max(initial=0) < 2:
            continue
        lines = Pairs.by_id({name: spaces[name] for name in names}, group_of)
        found = lines if found is None else found.join(lines)
    return found


def _cliques(names: list[str], named: set[frozenset[str]]) -> list[tuple[str, ...]]:
    """The largest sets of at least two modalities of which no table names a pair."""
    found: list[tuple[str, ...]] = []
    for size in range(len(names), 1, -1):
        for some in combinations(names, size):
            free = not any(frozenset(edge) in named for edge in combinations(some, 2))
            if free and not any(set(some) <= set(larger) for larger in found):
                found.append(some)
    return found


def linked(
    link: Links, spaces: Mapping[str, Space], ids: np.ndarray, groups: np.ndarray
) -> Pairs | None:
    """Lines of a pairs table over the rows of two spaces.

    Items with several parts give as many lines as the one with more; the other's parts repeat.
    Lines with an item that a space lacks (its cell is missing or failed) are passed over;
    ``None`` where none is left.
    """
    rows_of = [_rows_by_item(spaces[name]) for name in (link.left, link.right)]
    rows, weights, owners = [], [], []
    for left, right, weight in zip(link.left_rows, link.right_rows, link.weight, strict=True):
        a, b = rows_of[0].get(str(ids[left]), []), rows_of[1].get(str(ids[right]), [])
        if a and b:
            count = max(len(a), len(b))
            rows += [(a[turn % len(a)], b[turn % len(b)]) for turn in range(count)]
            weights += [weight] * count
            owners += [str(groups[left])] * count
    if not rows:
        return None
    group = np.array([stable_hash(owner) for owner in owners], dtype=np.int64)
    return Pairs((link.left, link.right), np.array(rows), np.array(weights), group)


def _rows_by_item(space: Space) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in np.lexsort((space.parts, space.ids)):
        found.setdefault(str(space.ids[row]), []).append(int(row))
    return found


def in_order(pairs: Pairs, names: Sequence[str]) -> Pairs:
    """The same lines with one column a name, in that order; absent where they have none."""
    rows = np.full((len(pairs), len(names)), ABSENT, dtype=np.int64)
    for column, name in enumerate(names):
        if name in pairs.names:
            rows[:, column] = pairs.column(name)
    return Pairs(tuple(names), rows, pairs.weight, pairs.group)
