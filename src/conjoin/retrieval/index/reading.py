"""What a store's manifest says, and its rows as memory maps: the reading half of a store."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from conjoin.errors import ConjoinError, StateError
from conjoin.retrieval.index.cache import Cache, Live
from conjoin.retrieval.index.integrity import Fault, differing, faults
from conjoin.retrieval.index.lance import Tables
from conjoin.retrieval.index.versions import Held, Version
from conjoin.spaces import Frame
from conjoin.storage.digest import digest
from conjoin.storage.files import WHOLE, check_marks, read_json, within


class StoreReader:
    """A store's versions and their rows; nothing is written but rows derived from tables.

    Parameters
    ----------
    folder : where it lies.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._path = folder / "manifest.json"
        self._tables = Tables(folder / "tables")
        self._compared: set[str] = set()
        self._opened: dict[tuple[Held, str], Live] | None = None

    def versions(self) -> list[Version]:
        """What was served, oldest first; the last is in use.

        Raises
        ------
        StateError : the manifest is missing, torn, or of a newer conjoin.
        """
        raw = self._raw()
        try:
            found = [Version.from_json(entry) for entry in raw["history"]]
            if not found:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise StateError(
                str(self._path), "does not name its versions", "run: conjoin clean, then fit"
            ) from None
        for held in (held for version in found for held in version.held):
            within(self.folder, held.table)
        return found

    def _raw(self) -> dict[str, Any]:
        if not self._path.exists():
            raise StateError(str(self._path), "is missing", "run: conjoin fit")
        return dict(read_json(self._path, ("history",)))

    def faults(self) -> list[Fault]:
        """Files that are not what they were; see ``faults``."""
        return faults(self.folder)

    def version(self, number: int | None = None) -> Version:
        """One version; the one in use when not named."""
        found = self.versions()
        if number is None:
            return found[-1]
        known = {entry.number: entry for entry in found}
        if number not in known:
            raise ConjoinError(
                "version", f"{number} is not kept", f"kept are {min(known)} to {max(known)}"
            )
        return known[number]

    def cache(self, modality: str, frame: Frame) -> Cache:
        """Where a modality's derived rows lie."""
        name = str(self._raw().get("store", "")) if self._path.exists() else ""
        return Cache(self.folder / "derived" / digest([modality, frame.id]), frame.dim, name)

    def rows(self, entry: Version) -> dict[str, Live]:
        """By modality, the rows of a version.

        Raises
        ------
        StateError : they are not as many as the manifest says.
        """
        live = {held.modality: self.live(entry, held) for held in entry.held}
        for held in entry.held:
            if len(live[held.modality].numbers) != held.rows or not held.rows:
                raise StateError(
                    str(self.folder),
                    f"holds {len(live[held.modality].numbers)} rows of {held.modality}, its "
                    f"manifest says {held.rows}", "run: conjoin fit",
                )  # fmt: skip
        return live

    def check_corrections(self, entry: Version) -> None:
        """Refuse files of corrections that are not what they were."""
        stems = tuple(Path(file).stem for *_, file in entry.corrections)
        marks = dict(self._raw().get("marks", {}))
        check_marks(self.folder, {n: m for n, m in marks.items() if stems and n.startswith(stems)})

    def live(self, entry: Version, held: Held) -> Live:
        """A modality's rows in a version; opened once while a change is made."""
        opened = {} if self._opened is None else self._opened
        if (held, entry.frame.id) in opened:
            return opened[held, entry.frame.id]

        def read(columns: Sequence[str], since: int) -> Iterator[pa.RecordBatch]:
            self._compare(held.table, whole=not since and "vector" in columns)
            return self._tables.read(held.table, held.version, columns, since)

        cache = self.cache(held.modality, entry.frame)
        found = cache.live(held.table, held.version, held.columns, read)
        return opened.setdefault((held, entry.frame.id), found)

    def _compare(self, table: str, *, whole: bool) -> None:
        """Refuse a table whose files changed since they were written; once a table."""
        key = f"{table} {whole}"
        if key in self._compared:
            return
        files = self._raw().get("files", {})
        bad = differing(self.folder, files, most=None if whole else WHOLE, table=table)
        if bad:
            raise bad[0].error()
        self._compared.add(key)

    def table_at(self, held: Held) -> Any:
        """The database's table of a modality as of a version."""
        return self._tables.at(held.table, held.version)
