"""Items put beside the user's table or taken out of it, by a service or a program.

The table is the user's and is never written. What was put or deleted lies in a folder of its own,
one file a change; replayed in order they say which rows stand beside the table's and which of the
table's do not count. So embedding, fitting and filtering read one set of items, wherever a row
came from.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from conjoin.errors import ConjoinError, StateError
from conjoin.items.reading.sources import Held, Joined, Source, first_line
from conjoin.storage.files import FORMAT, alone, atomic, read_json, write_json

#: Folder of the files that put items hold as pictures or sounds.
MEDIA = "media"
#: Key under which a put value names such a file.
FILE = "file of this journal"


@dataclass(frozen=True)
class Overlay:
    """What a journal comes to.

    Parameters
    ----------
    put : by id, the values of a row, by column; it stands in place of the table's row.
    deleted : ids that do not count, whether the table has them or not.
    """

    put: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.put or self.deleted)


class Journal:
    """A folder of changes, the oldest first.

    Parameters
    ----------
    folder : where they lie; made at the first change.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def media(self) -> Path:
        """Where files of put items lie, named by what they hold."""
        return self.folder / MEDIA

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"))

    def read(self) -> Overlay:
        """All changes, replayed.

        Raises
        ------
        StateError : a file is torn or of a newer conjoin.
        """
        put: dict[str, Mapping[str, Any]] = {}
        deleted: set[str] = set()
        for path in self._files():
            raw = read_json(path, ("put", "deleted"))
            if not isinstance(raw["put"], dict) or not isinstance(raw["deleted"], list):
                raise StateError(
                    str(path), "is no change of items", "remove it: its items must be put again"
                )
            for item in raw["deleted"]:
                put.pop(str(item), None)
                deleted.add(str(item))
            for item, values in raw["put"].items():
                put[item] = values
                deleted.discard(item)
        return Overlay(put, frozenset(deleted))

    def append(
        self, put: Mapping[str, Mapping[str, Any]] | None = None, deleted: Collection[str] = ()
    ) -> None:
        """Write one change: it counts whole or not at all.

        Raises
        ------
        ConjoinError : another process is writing.
        """
        with self._alone():
            files = self._files()
            number = int(files[-1].stem) + 1 if files else 1
            write_json(
                self.folder / f"{number:08d}.json",
                {"version": FORMAT, "put": dict(put or {}), "deleted": sorted(deleted)},
            )

    def undo(self) -> None:
        """Take the last change back."""
        with self._alone():
            files = self._files()
            if files:
                files[-1].unlink()

    def keep(self, data: bytes, ending: str) -> dict[str, str]:
        """Write a picture or sound under the hash of its bytes; what a put row then holds.

        It is written once where it is there already.
        """
        name = f"{hashlib.blake2b(data, digest_size=16).hexdigest()}.{ending}"
        path = self.media / name
        if not path.exists():
            with atomic(path) as file:
                file.write(data)
        return {FILE: name}

    def compact(self, table: Collection[str]) -> int:
        """Rewrite as one change, without what was deleted or replaced; returns files removed.

        Parameters
        ----------
        table : ids of the user's table: a deleted id that is in none of its rows is forgotten.
        """
        with self._alone():
            overlay, files = self.read(), self._files()
            if not files:
                return 0
            number = int(files[-1].stem) + 1
            kept = sorted(overlay.deleted & set(table))
            if overlay.put or kept:
                write_json(
                    self.folder / f"{number:08d}.json",
                    {"version": FORMAT, "put": dict(overlay.put), "deleted": kept},
                )
            for path in files:
                path.unlink()
            named = {
                str(value[FILE])
                for values in overlay.put.values()
                for value in values.values()
                if _is_file(value)
            }
            spare = [path for path in self.media.glob("*") if path.name not in named]
            for path in spare:
                path.unlink()
            return len(files) + len(spare) - 1

    def _alone(self) -> Any:
        return alone(self.folder / ".lock", "another process is changing these items")


class Chosen:
    """Some rows of a source, in its order.

    Parameters
    ----------
    rows : ``[n]`` rising row numbers.
    """

    def __init__(self, source: Source, rows: np.ndarray):
        self._source, self._rows = source, rows
        self.names, self.notes, self.rows = source.names, source.notes, len(rows)

    def type(self, name: str) -> pa.DataType | None:
        """Arrow type of a column."""
        return self._source.type(name)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Whole columns at once."""
        return self._source.read(columns).take(self._rows)

    def values(self, name: str) -> Iterator[Any]:
        """Values of a column in row order."""
        kept = iter(self._rows.tolist())
        wanted = next(kept, None)
        for row, value in enumerate(self._source.values(name)):
            if wanted is None:
                return
            if row == wanted:
                yield value
                wanted = next(kept, None)

    def at(self, name: str, row: int) -> Any:
        """One value."""
        return self._source.at(name, int(self._rows[row]))


def overlaid(
    source: Source, ids: np.ndarray, overlay: Overlay, column: str | None, media: Path = Path()
) -> tuple[Source, np.ndarray]:
    """A table with rows put beside it or in place of its own, and without deleted ones.

    Parameters
    ----------
    ids : ``[n]`` id of each row.
    column : which column holds ids, where one does.
    media : folder of the files that put rows name.

    Raises
    ------
    ConjoinError : a put value does not fit its column, or no item is left.
    """
    gone = overlay.deleted | overlay.put.keys()
    kept = np.array([row for row, item in enumerate(ids.tolist()) if item not in gone], np.int64)
    if not len(kept) and not overlay.put:
        raise ConjoinError("items", "every item was deleted", "put some, or restore the table")
    parts: list[Source] = [Chosen(source, kept)] if len(kept) else []
    if overlay.put:
        parts.append(_put(source, overlay.put, column, media))
    every = np.concatenate([ids[kept], np.array(list(overlay.put), dtype=str)])
    return (parts[0] if len(parts) == 1 else Joined(parts)), every


def _is_file(value: Any) -> bool:
    return isinstance(value, Mapping) and list(value) == [FILE]


def _opened(value: Any, kind: pa.DataType | None, media: Path) -> Any:
    """A put value as its column holds it: a file by its path, or by its bytes."""
    if not _is_file(value):
        return value
    path = media / Path(str(value[FILE])).name
    if kind is None or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return str(path.absolute())
    data = path.read_bytes()
    return {"bytes": data, "path": None} if pa.types.is_struct(kind) else data


def _put(
    source: Source, put: Mapping[str, Mapping[str, Any]], column: str | None, media: Path
) -> Held:
    """Put rows as a table of the same columns, missing where a row has no value."""
    arrays: dict[str, pa.Array] = {}
    objects: dict[str, list[Any]] = {}
    for name in source.names:
        kind = source.type(name)
        values = [
            item if name == column else _opened(given.get(name), kind, media)
            for item, given in put.items()
        ]
        if kind is None:
            objects[name] = values
            continue
        if name == column:
            values = pa.array(values, pa.string()).cast(kind).to_pylist()
        try:
            arrays[name] = pa.array(values, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise ConjoinError(
                f"column {name}", f"is {kind}; what was put is not: {first_line(error)}",
                "put a value of that type",
            ) from None  # fmt: skip
    return Held(pa.table(arrays), objects)
