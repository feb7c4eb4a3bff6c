"""An item's parts made one vector, where ``parts`` of a modality in ``conjoin.toml`` says so."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, StateError
from conjoin.retrieval.multi_vector.aggregate import Pooling, one_each
from conjoin.spaces import Frame, Space, Tokens
from conjoin.spaces.space import BLOCK
from conjoin.spaces.store import SpaceStore
from conjoin.storage.digest import digest
from conjoin.storage.files import map_arrays, pack_strings, stream_arrays, unpack_strings

#: Every part is a row of its own, and an item is scored by its best.
EACH = "each"


def joined_frame(frame: Frame, rule: str) -> Frame:
    """The frame of vectors whose parts were joined; that of :func:`one_each`, named by rule."""
    none = Space(np.array(["none"]), np.zeros((1, frame.dim), np.float32), frame)
    minted = one_each(none, Pooling(rule)).frame
    return replace(minted, label=f"{rule} of the parts of {frame.label}")


def joined(space: Space, rule: str) -> Space:
    """One vector an item, :class:`Pooling` by ``rule`` of its parts, as its first part's row.

    Raises
    ------
    ConjoinError : the rows are token sets.
    """
    walk = _Walk(space, rule)
    none = np.empty((0, space.dim), np.float32)
    vectors = np.concatenate([none, *walk.blocks()]).astype(np.float32)
    return Space(walk.ids, vectors, walk.frame, walk.parts, walk.content, walk.provenance)


def open_joined(store: SpaceStore, rule: str, make: Callable[[], Space], *, keep: bool) -> Space:
    """What a store holds with its parts joined: as kept beside it, made anew where rows changed.

    Parameters
    ----------
    make : opens the rows.
    keep : whether what is made is written; it is then streamed and memory-mapped.
    """
    manifest = store.folder / "manifest.json"
    mark = digest(manifest.read_bytes()) if manifest.exists() else "none"
    path = store.folder / f"joined-{rule}-{mark}.safetensors"
    with suppress(StateError):
        return _read(path, joined_frame(store.frame, rule))
    space = make()
    if not keep:
        return joined(space, rule)
    _write(path, _Walk(space, rule))
    for old in store.folder.glob(f"joined-{rule}-*.safetensors"):
        if old != path:
            old.unlink(missing_ok=True)
    return _read(path, joined_frame(store.frame, rule))


class _Walk:
    """The items of a space in order of first appearance, with their parts in order."""

    def __init__(self, space: Space, rule: str):
        if isinstance(space.vectors, Tokens):
            raise ConjoinError(
                f"parts = {rule!r}", f"{space.frame.label} gives token sets, scored as they are",
                "remove the key",
            )  # fmt: skip
        self.space, self.method = space, Pooling(rule)
        self.frame = joined_frame(space.frame, rule)
        labels, first, owner = np.unique(space.ids, return_index=True, return_inverse=True)
        turn = np.argsort(np.argsort(first))[owner]
        self.order = np.lexsort((space.parts, turn))
        self.ends = np.cumsum(np.concatenate([[0], np.bincount(turn, minlength=len(labels))]))
        heads = self.order[self.ends[:-1]]
        self.ids, self.parts = space.ids[heads], space.parts[heads]
        self.content = self._content()
        self.provenance = (*space.provenance, f"parts joined by {rule}")

    def _content(self) -> np.ndarray:
        """A part's own hash where it is alone, one of all where there are several."""
        own = self.space.content[self.order]
        found = own[self.ends[:-1]].copy()
        for row in np.flatnonzero(np.diff(self.ends) > 1):
            several = own[self.ends[row] : self.ends[row + 1]]
            found[row] = int(digest(several.tobytes()), 16) if several.all() else 0
        return found

    def blocks(self) -> Iterator[np.ndarray]:
        """The items' vectors, so many that about :data:`BLOCK` rows are held at a time."""
        at = 0
        while at < len(self.ids):
            stop = int(np.searchsorted(self.ends, self.ends[at] + BLOCK, side="right")) - 1
            stop = max(stop, at + 1)
            rows = self.order[self.ends[at] : self.ends[stop]]
            stored: Any = self.space.vectors
            held = self.space.frame.item(np.asarray(stored[rows], dtype=np.float32))
            yield self.method.items(Tokens(held, self.ends[at : stop + 1] - self.ends[at]))
            at = stop


def _write(path: Path, walk: _Walk) -> None:
    flat, ends = pack_strings(walk.ids.tolist())
    whole = {"ids": flat, "id_ends": ends, "parts": walk.parts, "content": walk.content}
    arrays = {name: (x.dtype, x.shape, [x]) for name, x in whole.items()}
    shape = (len(walk.ids), walk.frame.dim)
    stream_arrays(
        path, {**arrays, "vectors": (np.dtype(np.float32), shape, walk.blocks())},
        {"provenance": list(walk.provenance)},
    )  # fmt: skip


def _read(path: Path, frame: Frame) -> Space:
    held, meta = map_arrays(path)
    ids = unpack_strings(held["ids"], held["id_ends"])
    return Space(ids, held["vectors"], frame, np.array(held["parts"]), np.array(held["content"]),
                 tuple(meta["provenance"]))  # fmt: skip
