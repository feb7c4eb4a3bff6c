"""Tables in several files: shards of a folder, and what a glob names."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from conjoin.errors import ConjoinError
from conjoin.items.reading.folder import kind_of_name, walk
from conjoin.items.reading.sources import Held, Joined, Source

#: The endings a folder of tables is looked through for, the first found being the one.
_ORDER = (
    ".parquet", ".pq", ".arrow", ".feather", ".ipc", ".jsonl", ".ndjson", ".csv", ".tsv", ".tab",
    ".psv", ".json", ".xlsx", ".xlsm",
)  # fmt: skip
_SIDES = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "val": "val",
    "valid": "val", "validation": "val", "dev": "val",
}  # fmt: skip
_COUNTED = re.compile(r"^(?P<stem>.*?)-?(?P<number>\d{5})-of-(?P<total>\d{5})")


def in_shards(path: Path, known: Sequence[str], suffix_of: Callable[[str], str]) -> list[Path]:
    """The files of a folder that are one table, in order; none where it holds pictures or sounds.

    Raises
    ------
    ConjoinError : a shard of several that are numbered is missing.
    """
    files = [file for file in walk(path).files if file.name]
    if any(kind_of_name(file.name) in ("image", "audio") for file in files):
        return []
    kinds = Counter(suffix_of(file.name) for file in files)
    suffix = next((one for one in _ORDER if kinds[one] and one in known), None)
    if suffix is None:
        return []
    shards = [file for file in files if suffix_of(file.name) == suffix]
    _require_whole(shards, path)
    return shards


def _require_whole(shards: Sequence[Path], path: Path) -> None:
    """Refuse a numbered set of which a file is not there."""
    sets: dict[tuple[Path, str, int], set[int]] = {}
    for file in shards:
        told = _COUNTED.match(file.name)
        if told:
            key = (file.parent, told["stem"], int(told["total"]))
            sets.setdefault(key, set()).add(int(told["number"]))
    for (_, stem, total), numbers in sets.items():
        gone = sorted(set(range(total)) - numbers)
        if gone and min(numbers) >= 0:
            raise ConjoinError(
                str(path), f"{len(gone)} of {total} shards {stem!r} are not there (the first is "
                f"{gone[0]:05d})", "fetch them, or name those you have by a glob",
            )  # fmt: skip


def joined(
    files: Sequence[Path], sources: Sequence[Source], path: Path, *, strict: bool = False
) -> Source:
    """Tables as one, with a column ``split`` where file or folder names say train and test.

    Parameters
    ----------
    strict : refuse tables of differing columns.

    Raises
    ------
    ConjoinError : ``strict``, and two tables have other columns.
    """
    first = set(sources[0].names)
    notes = []
    for file, source in zip(files, sources, strict=True):
        if set(source.names) == first:
            continue
        odd = sorted(set(source.names) ^ first)[0]
        said = f"{files[0].name} and {file.name} have other columns ({odd!r} is in one alone)"
        if strict:
            raise ConjoinError(str(path), said, "name one of them, or several by a glob")
        notes.append(f"{said}: missing where it is not")
        break
    sides = [_side(file, path) for file in files]
    if len(set(sides)) > 1 and None not in sides and "split" not in Joined(sources).names:
        sources = [_Sided(one, str(side)) for one, side in zip(sources, sides, strict=True)]
    if len(files) == 1 and not notes:
        return sources[0]
    notes.append(f"{len(files)} files are read as one table")
    return Joined(sources, notes)


def _side(file: Path, path: Path) -> str | None:
    """The side of the split that the name of a file, or of a folder it lies in, says."""
    inside = file.relative_to(path).parts if file.is_relative_to(path) else (file.name,)
    for part in reversed(inside):
        word = re.split(r"[-_.\d]", part.lower())[0]
        if word in _SIDES:
            return _SIDES[word]
    return None


class _Sided(Joined):
    """A table with a column that says which side of the split its rows are on."""

    def __init__(self, source: Source, side: str):
        shown = Held(pa.table({"split": pa.array([side] * source.rows)}))
        super().__init__([source])
        self._side = shown
        self.names = (*source.names, "split")

    def type(self, name: str) -> pa.DataType | None:
        """Arrow type of a column."""
        return pa.string() if name == "split" else super().type(name)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Whole columns at once."""
        wanted = [n for n in self.names if self.type(n) is not None] if columns is None else columns
        table = super().read([name for name in wanted if name != "split"])
        if "split" in wanted:
            table = table.append_column("split", self._side.read().column("split"))
        return table.select(list(wanted))

    def values(self, name: str) -> Iterator[Any]:
        """Values of a column in row order."""
        return self._side.values(name) if name == "split" else super().values(name)

    def at(self, name: str, row: int) -> Any:
        """One value."""
        return self._side.at(name, row) if name == "split" else super().at(name, row)
