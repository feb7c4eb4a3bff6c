"""What is known of the cells that stored vectors were made of: their places, and remarks on them.

Beside the vectors lies ``cells.safetensors``: of each row the hash of the file or address its cell
named then, by which a cell that cannot be read now is known to be the same or another; and what
its reader remarked, so that what was cut or blank is told whenever the column is embedded.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from conjoin.errors import StateError
from conjoin.spaces.store import Key
from conjoin.storage.digest import stable_hash
from conjoin.storage.files import map_arrays, write_arrays

FILE = "cells.safetensors"
#: Kinds of remark of one store, at most: a bit each.
_MOST = 63


class Ledger:
    """Places and remarks by row; rows with neither are not held.

    Parameters
    ----------
    folder : the store's.
    """

    def __init__(self, folder: Path):
        self._path = folder / FILE
        self._rows: dict[int, tuple[int, int]] = {}
        self._names: list[str] = []
        if self._path.exists():
            # A torn one tells nothing, and is written anew.
            with suppress(StateError, KeyError, ValueError):
                self._read()
        self._stored = self._state()

    def _read(self) -> None:
        arrays, meta = map_arrays(self._path)
        columns = [arrays[name].tolist() for name in ("rows", "places", "said")]
        self._names = [str(name) for name in meta["names"]]
        self._rows = {row: (place, said) for row, place, said in zip(*columns, strict=True)}

    def place(self, key: Key) -> int | None:
        """Hash of what the cell named; ``None`` where it is not known."""
        return self._rows.get(_row(key), (0, 0))[0] or None

    def put_places(self, places: Mapping[Key, int]) -> None:
        """Take note of what cells name."""
        for key, place in places.items():
            if place:
                row = _row(key)
                self._rows[row] = place, self._rows.get(row, (0, 0))[1]

    def put_remarks(self, said: Mapping[str, Iterable[Key]]) -> None:
        """Take note of what was remarked of rows, those with no remark included by :meth:`hush`."""
        for name, keys in said.items():
            if name not in self._names:
                if len(self._names) >= _MOST:
                    continue
                self._names.append(name)
            bit = 1 << self._names.index(name)
            for key in keys:
                row = _row(key)
                place, held = self._rows.get(row, (0, 0))
                self._rows[row] = place, held | bit

    def hush(self, keys: Iterable[Key]) -> None:
        """Forget what was remarked of rows that are made anew."""
        for row in map(_row, keys):
            if row in self._rows:
                self._rows[row] = self._rows[row][0], 0

    def counts(self) -> dict[str, int]:
        """How many rows each remark is true of."""
        found: Counter[str] = Counter()
        for _, said in self._rows.values():
            for bit, name in enumerate(self._names):
                found[name] += said >> bit & 1
        return {name: count for name, count in sorted(found.items()) if count}

    def keep(self, keys: Iterable[Key]) -> None:
        """Forget all rows but these."""
        if not self._rows:
            return
        rows = set(map(_row, keys))
        self._rows = {row: held for row, held in self._rows.items() if row in rows}

    def write(self) -> None:
        """Write what changed, if anything did."""
        state = self._state()
        if state == self._stored:
            return
        rows, names = state
        columns = np.array(rows, dtype=np.uint64).reshape(-1, 3).T
        arrays = dict(zip(("rows", "places", "said"), columns, strict=True))
        if rows:
            write_arrays(self._path, arrays, {"names": names})
        else:
            self._path.unlink(missing_ok=True)
        self._stored = state

    def _state(self) -> tuple[list[tuple[int, int, int]], list[str]]:
        """Rows and names in an order of their own, so that like ledgers are like files."""
        used = self.counts()
        names = sorted(used)
        turn = [(self._names.index(name), names.index(name)) for name in names]
        rows = []
        for row, (place, said) in sorted(self._rows.items()):
            mask = sum((said >> old & 1) << new for old, new in turn)
            if place or mask:
                rows.append((row, place, mask))
        return rows, names


def _row(key: Key) -> int:
    return stable_hash(f"{key.id}\x00{key.part}\x00{key.content}")
