"""What a change of an index store works out before it writes."""

import hashlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conjoin.errors import ConjoinError
from conjoin.retrieval.hubness.csls import Correction
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.index.lance import Column, kept_columns
from conjoin.retrieval.index.versions import Held
from conjoin.retrieval.ranking.modality_fair import Edge
from conjoin.spaces import Space
from conjoin.storage.digest import digest


def content_name(spaces: Mapping[str, Space]) -> str:
    """A name for a store, of what it is first built from: another's has another."""
    mark = hashlib.sha256()
    for name, space in spaces.items():
        mark.update(digest([name, space.frame.id, space.ids.tolist()]).encode())
        mark.update(np.ascontiguousarray(space.content).tobytes())
        for _, rows in space.blocks():
            mark.update(np.ascontiguousarray(rows).tobytes())
    return mark.hexdigest()[:16]


def cast(about: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Metadata as a table keeps them."""
    arrays = [about.column(column.name).cast(column.type) for column in columns]
    return pa.table(arrays, names=[column.name for column in columns])


def check_columns(entry: Held, about: pa.Table | None) -> None:
    """Refuse a metadata column that the table has not."""
    known = {column.name for column in entry.columns}
    for column in kept_columns(about):
        if column.name not in known:
            raise ConjoinError(
                f"column {column.name}", f"is new to the index of {entry.modality}",
                "build the index again: conjoin fit",
            )  # fmt: skip


def same_keys(space: Space, new: Space) -> np.ndarray:
    """Rows of ``space`` whose item and part are among the new ones."""
    ids = pa.array(new.ids.tolist(), pa.string())
    near = []
    for start in range(0, len(space), 65_536):
        block = pa.array(space.ids[start : start + 65_536].tolist(), pa.string())
        found = pc.is_in(block, value_set=ids).to_numpy(zero_copy_only=False)
        near.append(np.flatnonzero(found) + start)
    rows = np.concatenate(near) if near else np.empty(0, np.int64)
    wanted = set(zip(new.ids.tolist(), new.parts.tolist(), strict=True))
    keys = zip(space.ids[rows].tolist(), space.parts[rows].tolist(), strict=True)
    return rows[[key in wanted for key in keys]] if len(rows) else rows


def leaving(
    index: Index, new: Mapping[str, Space], gone: Mapping[str, Collection[str]]
) -> dict[str, np.ndarray]:
    """By modality, the rows that a change takes away: replaced ones, and those of gone items.

    Raises
    ------
    ConjoinError : nothing of a modality would be left.
    """
    found = {name: same_keys(index.spaces[name], space) for name, space in new.items()}
    for name, items in gone.items():
        if not items:
            continue
        space = index.spaces[name]
        mask = np.isin(space.ids, np.array(sorted(items), dtype=str))
        mask[found.get(name, np.empty(0, np.int64))] = True
        if mask.all() and name not in new:
            raise ConjoinError(
                "index", f"nothing of {name} would be left",
                "keep some of its items, or fit without that modality",
            )  # fmt: skip
        found[name] = np.flatnonzero(mask)
    return {name: rows for name, rows in found.items() if len(rows) or name in new}


def extended(
    index: Index, gone: Mapping[str, np.ndarray], new: Mapping[str, Space]
) -> dict[Edge, Correction]:
    """Every correction for the rows that stay, followed by the new ones."""
    made = {}
    for edge, held in index.corrections.items():
        rows = gone.get(edge[1])
        kept = held
        if rows is not None and len(rows):
            kept = held.without(rows)
        made[edge] = kept.extend(new[edge[1]].vectors) if edge[1] in new else kept
    return made
