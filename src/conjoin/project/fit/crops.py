"""Pieces of a workspace's cells, embedded once: what a query into its own modality is told by."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conjoin.encoders.media.crops import KINDS, piece
from conjoin.encoders.run import embed
from conjoin.errors import ConjoinError
from conjoin.project.workspace import Workspace
from conjoin.spaces import Space
from conjoin.spaces.store import Key, SpaceStore
from conjoin.storage.digest import digest, stable_hash

#: Cells that are cut, at most: enough to tell a curve by, few enough to wait for.
MOST = 300
#: Schemes of encoders that are shown whole cells only: a cell may cost money, or a function of
#: one's own may know the cells of its table and no others.
WHOLE = ("http", "https", "python")


def cuttable(ws: Workspace, names: Sequence[str]) -> list[str]:
    """Modalities whose cells can be cut into pieces that their encoder reads."""
    return [
        name for name in names
        if ws.encoder(name).kind in KINDS and ws.modality(name).uri.partition(":")[0] not in WHOLE
    ]  # fmt: skip


def pieces_of(
    ws: Workspace,
    spaces: Mapping[str, Space],
    rows: Mapping[str, np.ndarray],
    side: str,
    seed: int = 0,
) -> dict[str, Space]:
    """Pieces of some cells of each modality, in its frame; those of before are kept on disk.

    Parameters
    ----------
    rows : by modality, rows of its space to choose among.
    side : what the rows are, such as ``train``: each side has a store, in which only what is new
        or changed is embedded and what is no longer chosen is dropped.
    """
    found = {}
    for name in cuttable(ws, list(rows)):
        space = spaces[name]
        chosen = _chosen(space, rows[name])
        if not len(chosen):
            continue
        keys = [_key(space, int(row), seed) for row in chosen]
        made = _embedded(ws, name, keys, side, seed)
        if made is not None:
            found[name] = made
    return found


def _chosen(space: Space, rows: np.ndarray) -> np.ndarray:
    """At most so many rows, by the hash of what they are."""
    order = np.argsort([stable_hash(f"piece/{space.ids[r]}/{space.parts[r]}") for r in rows])
    return np.sort(np.asarray(rows)[order[:MOST]])


def _key(space: Space, row: int, seed: int) -> Key:
    """A piece goes by the row it is of, and is cut anew where that one's content changes."""
    content = stable_hash(f"{int(space.content[row])}/{seed}")
    return Key(f"{space.ids[row]}/{space.parts[row]}", 0, content)


def _embedded(ws: Workspace, name: str, keys: list[Key], side: str, seed: int) -> Space | None:
    encoder = ws.encoder(name)
    cells = ws.cells(name, encoder.kind)
    whole: dict[str, tuple[str, int]] = {}
    for key in keys:
        item, _, part = key.id.rpartition("/")
        whole[key.id] = (item, int(part))

    def cut(key: Key) -> Any:
        return piece(cells.get(*whole[key.id]), encoder.kind, seed, key.id)

    where = digest([ws.modality(name).column, encoder.frame.id, "pieces", side])
    store = SpaceStore(ws.state / "spaces" / where, encoder.frame)
    try:
        embed(store, encoder, cut, keys=keys)
    except ConjoinError:  # an encoder that takes no such cells: its own modality stays untold
        return None
    space = store.open()
    if space is None:
        return None
    owners = [whole[str(item)] for item in space.ids]
    ids, parts = (np.array(list(column)) for column in zip(*owners, strict=True))
    try:
        held = ws.joined(name, Space(np.asarray(space.ids), space.vectors, space.frame))
    except ConjoinError:  # token sets that are not joined
        return None
    return Space(ids, held.vectors, held.frame, parts.astype(np.int32))
