"""An index that grows: one table a modality, and versions of all of them together.

``manifest.json`` names, for every version, the version of each modality's table, the frame and
the corrections. A change writes the tables first and renames the manifest last, so a reader sees
the old rows or the new of **all** modalities. What a killed writer left behind is in no version;
the next writer takes it away. What was written is counted and read back before it is served, and
the manifest keeps a digest of each file.
"""

import contextlib
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from conjoin.errors import ConjoinError, StateError, nearest
from conjoin.retrieval.calibration.calibration import Calibration
from conjoin.retrieval.hubness.csls import Correction
from conjoin.retrieval.index.changes import cast, check_columns, content_name, extended, leaving
from conjoin.retrieval.index.index import Index, as_items
from conjoin.retrieval.index.integrity import listed
from conjoin.retrieval.index.lance import batches, kept_columns, schema_of
from conjoin.retrieval.index.opening import follow
from conjoin.retrieval.index.reading import StoreReader
from conjoin.retrieval.index.versions import Change, Held, Version
from conjoin.retrieval.ranking.modality_fair import Edge, Mixing
from conjoin.spaces import Frame, Space, require_same
from conjoin.storage.digest import digest
from conjoin.storage.files import (
    FORMAT,
    NEWER,
    alone,
    mark_of,
    read_json,
    write_json,
)


class IndexStore(StoreReader):
    """A folder with one table a modality and a manifest of versions.

    Parameters
    ----------
    folder : where it lies; made at the first write.
    """

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._bad: set[str] = set()
        self._name = ""

    def open(
        self,
        version: int | None = None,
        *,
        meta: Callable[[str], Mapping[str, Any]] | None = None,
        engines: bool = True,
    ) -> Index:
        """The index of a version; the one in use when not named. See :meth:`Index.at`."""
        return Index.at(self, version, meta=meta, engines=engines)

    # Writing

    def build(self, index: Index, about: Mapping[str, pa.Table] | None = None) -> Version:
        """Serve an index: its rows, corrections, calibrations. Tables that hold them already stay.

        Parameters
        ----------
        about : metadata by modality, a line a row of its space.

        Raises
        ------
        ConjoinError : it holds token sets, which :meth:`Index.save` keeps.
        """
        if index.frame.score == "maxsim":
            raise ConjoinError("index", "holds token sets", "keep it by Index.save")
        with self._writing(fresh=True) as old:
            before = {held.modality: held for held in old.held} if old else {}
            held = []
            for name, space in index.spaces.items():
                table = (about or {}).get(name)
                kept = before.get(name)
                if old and kept and self._same(old, kept, index.frame, space, table):
                    held.append(kept)
                else:
                    first = max([0, *self._nexts(name)]) if old else 0
                    numbers = np.arange(first, first + len(space))
                    held.append(self._created(old, name, space, numbers, table))
                    self._tables.prove(held[-1], numbers, space)
            made = Version(0, "", "build", index.frame, tuple(held), engines={})
            self._name = content_name(index.spaces) if old is None else ""
            return self._publish(made, old, dict(index.corrections), dict(index.calibrations),
                                 index.mixing)  # fmt: skip

    def add(
        self,
        spaces: Mapping[str, Space],
        about: Mapping[str, pa.Table] | None = None,
        why: str = "add",
        gone: Mapping[str, Collection[str]] | None = None,
    ) -> Change:
        """Add rows, or replace those of the same item and part; all modalities at once.

        Corrections are extended, so scores of the rows there were do not move.

        Parameters
        ----------
        gone : by modality, items whose rows are taken away in the same step.

        Raises
        ------
        FrameError : a space is of another frame than the index.
        ConjoinError : a modality is not indexed: bind it first.
        """
        with self._writing() as old:
            index = self.open(old.number, engines=False)
            for name, space in spaces.items():
                if name not in index.spaces:
                    raise ConjoinError(
                        "modality", f"{name!r} is not indexed", nearest(name, index.spaces)
                    )
                require_same(space.frame, old.frame, f"add {name}")
            full = {name: as_items(name, s) for name, s in spaces.items() if len(s)}
            out = leaving(index, full, gone or {})
            changed, removed = self._changed(old, index, out, full, about or {})
            added = {name: len(space) for name, space in full.items()}
            if not full and not out:
                return Change({}, {}, None)
            made = self._publish(replace(changed, why=why), old, extended(index, out, full),
                                 dict(index.calibrations), index.mixing)  # fmt: skip
            change = Change(added, removed, made.number)
        self._follow()
        return change

    def delete(
        self,
        ids: Collection[str] = (),
        *,
        where: str | None = None,
        into: Collection[str] = (),
        why: str = "delete",
    ) -> Change:
        """Take away the rows of items, or those that meet a filter, in all modalities or some.

        Raises
        ------
        ConjoinError : an id is in no modality, or nothing of a modality would be left.
        """
        with self._writing() as old:
            index = self.open(old.number, engines=False)
            for name in into:
                if name not in index.spaces:
                    raise ConjoinError(
                        "modality", f"{name!r} is not indexed", nearest(name, index.spaces)
                    )
            gone = self.matching(index, ids, where=where, into=into)
            if not gone:
                return Change({}, {}, None)
            changed, removed = self._changed(old, index, gone, {}, {})
            made = self._publish(replace(changed, why=why), old, extended(index, gone, {}),
                                 dict(index.calibrations), index.mixing)  # fmt: skip
            return Change({}, removed, made.number)

    @staticmethod
    def matching(
        index: Index, ids: Collection[str], *, where: str | None, into: Collection[str] = ()
    ) -> dict[str, np.ndarray]:
        """By modality, the rows that a deletion would take."""
        names = list(into) or list(index.spaces)
        wanted = np.array(sorted(ids), dtype=str)
        found: dict[str, np.ndarray] = {}
        seen: set[str] = set()
        for name in names:
            space = index.spaces[name]
            mask = np.isin(space.ids, wanted)
            seen |= set(space.ids[mask].tolist())
            if where is not None:
                mask[index.allowed(name, where)] = True
            if mask.all():
                raise ConjoinError(
                    "delete", f"nothing of {name} would be left",
                    "delete fewer rows, or fit without that modality",
                )  # fmt: skip
            if mask.any():
                found[name] = np.flatnonzero(mask)
        lost = [item for item in wanted.tolist() if item not in seen]
        if lost:
            raise ConjoinError(
                "id", f"{lost[0]!r} is not indexed in {', '.join(names)}",
                nearest(lost[0], set(index.spaces[names[0]].ids[:10_000].tolist())),
            )  # fmt: skip
        return found

    def rollback(self, number: int) -> Version:
        """Serve an earlier version again, as a new one: nothing since is lost."""
        with self._writing() as old:
            back = self.version(number)
            held = tuple(
                replace(entry, version=self._tables.restore(entry.table, entry.version),
                        next=max([entry.next, *self._nexts(entry.modality)]))
                for entry in back.held
            )  # fmt: skip
            for before, entry in zip(back.held, held, strict=True):
                self._tables.prove(entry, np.asarray(self.live(back, before).numbers))
            made = replace(back, held=held, why=f"rollback to {number}")
            return self._publish(made, old)

    def compact(self) -> Version:
        """Write what is served into new tables without the dead rows; forget earlier versions."""
        with self._writing() as old:
            held = []
            for entry in old.held:
                rows = self.live(old, entry)
                space = Space(rows.joined("ids"), rows.vectors, old.frame, rows.joined("parts"),
                              rows.joined("content"))  # fmt: skip
                made = self._created(
                    old, entry.modality, space, np.asarray(rows.numbers), rows.about()
                )
                self._tables.prove(made, np.asarray(rows.numbers), space)
                held.append(replace(made, next=entry.next, provenance=entry.provenance))
            made = replace(old, held=tuple(held), why="compact")
            return self._publish(made, old, forget=True)

    def engine(self, found: Mapping[str, Mapping[str, Any]]) -> Version:
        """Name what finds candidates, by modality; see :mod:`conjoin.retrieval.index.opening`."""
        with self._writing() as old:
            return self._publish(replace(old, engines=found, why="engine"), old)

    def _follow(self) -> None:
        """Add to the lists what many additions left beside them."""
        entry = self.version()
        named = follow(self, entry)
        if named != dict(entry.engines):
            self.engine(named)

    def listed(self, modality: str, lists: int) -> Any:
        """The database's own inverted lists over a modality, built and served."""
        with self._writing() as old:
            entry = next(held for held in old.held if held.modality == modality)
            self._tables.restore(entry.table, entry.version)
            version = self._tables.lists(entry.table, lists)
            made = replace(entry, version=version)
            held = tuple(made if h.modality == modality else h for h in old.held)
            self._publish(replace(old, held=held, why="lists"), old)
        return self._tables.at(entry.table, version)

    # How a change is made

    @contextlib.contextmanager
    def _writing(self, fresh: bool = False) -> Iterator[Any]:
        """Alone, and with what a killed writer left taken away; gives the version in use.

        The lock's file is empty between changes. Where it is not, a writer was stopped, and all
        files are compared with their digests before anything is built on them.
        """
        with alone(self.folder / ".lock", "another process is writing this index") as lock:
            stopped = bool(lock.read(1))
            old = self._served(fresh)
            self._bad = set()
            if old is not None and (stopped or fresh):
                self._suspect(fresh)
            lock.write("a change is under way\n")
            lock.flush()
            self._mend(old)
            self._opened = {}
            try:
                yield old
            except ConjoinError as error:
                if error.__cause__ is None and not isinstance(error, StateError):
                    lock.truncate(0)  # refused, not stopped
                raise
            finally:
                self._opened = None
            lock.truncate(0)

    def _served(self, fresh: bool) -> Version | None:
        """The version in use; a building starts anew where the manifest is torn."""
        try:
            if self._path.exists() and "history" in read_json(self._path):
                return self.version()
        except StateError as error:
            if not fresh or error.remedy == NEWER:
                raise
            return None
        if not fresh:
            self.versions()
        return None

    def _suspect(self, fresh: bool) -> None:
        """Compare all files; a building goes on without the tables that changed."""
        bad = [fault for fault in self.faults() if not fault.derived]
        if bad and not fresh:
            raise bad[0].error()
        for fault in bad:  # tables/NAME.lance/…, or correction-NAME…
            parts = fault.path.relative_to(self.folder).parts
            self._bad.add(parts[1 if len(parts) > 1 else 0].split(".")[0])

    def _sound(self, version: Version) -> bool:
        """Whether the files of a version are there as they were written."""
        named = {h.table for h in version.held} | {Path(f).stem for *_, f in version.corrections}
        if named & self._bad:
            return False
        return all((self.folder / file).exists() for *_, file in version.corrections)

    def _write(self, history: Sequence[Version], before: Mapping[str, Any]) -> None:
        """Write the manifest: the versions, and what every file is that they name."""
        kept = {file for v in history for _, _, file in v.corrections}
        stems = tuple(Path(name).stem for name in kept)
        paths = [p for p in self.folder.glob("correction-*") if stems and p.name.startswith(stems)]
        known = dict(before.get("marks", {}))
        write_json(self._path, {
            "version": FORMAT,
            "store": before.get("store", "") if before else self._name,
            "files": listed(self.folder, {h.table for v in history for h in v.held},
                            before.get("files", {})),
            "marks": {path.name: mark for path in paths
                      if (mark := known.get(path.name) or mark_of(path)) is not None},
            "history": [v.to_json() for v in history],
        })  # fmt: skip

    def _mend(self, old: Version | None) -> None:
        """Take away what no version names."""
        if old is None:
            shutil.rmtree(self.folder / "tables", ignore_errors=True)
            shutil.rmtree(self.folder / "derived", ignore_errors=True)
            return
        history = self.versions()
        for name in self._tables.names() - {h.table for v in history for h in v.held}:
            shutil.rmtree(self.folder / "tables" / f"{name}.lance")
        kept = {file for v in history for _, _, file in v.corrections}
        stems = tuple(Path(name).stem for name in kept)
        for path in [*self.folder.glob("correction-*"), *self.folder.glob("space-*")]:
            if not (stems and path.name.startswith(stems)):
                path.unlink()
        frames = {(h.modality, v.frame.id) for v in history for h in v.held}
        folders = {digest(list(pair)) for pair in frames}
        for path in (self.folder / "derived").glob("*"):
            if path.name not in folders:
                shutil.rmtree(path)

    def _same(
        self, old: Version, kept: Held, frame: Frame, space: Space, about: pa.Table | None
    ) -> bool:
        """Whether a table already holds these very rows."""
        if old.frame != frame or kept.rows != len(space) or kept.table in self._bad:
            return False
        if list(kept.columns) != kept_columns(about):
            return False
        try:
            rows = self.live(old, kept)
        except StateError:
            self._bad.add(kept.table)
            return False
        for name, held in (("ids", space.ids), ("parts", space.parts), ("content", space.content)):
            if not np.array_equal(rows.joined(name), held):
                return False
        vectors = rows.vectors
        if any(
            not np.array_equal(vectors[start : start + len(block)], block)
            for start, block in space.blocks()
        ):
            return False
        return about is None or rows.about().equals(cast(about, kept.columns))

    def _created(
        self,
        old: Version | None,
        modality: str,
        space: Space,
        numbers: np.ndarray,
        about: pa.Table | None,
    ) -> Held:
        """A new table, under a name that no version had."""
        columns = tuple(kept_columns(about))
        number = old.number + 1 if old else 1
        name = f"{digest([modality, space.frame.id])}-{number}"
        version = self._tables.create(
            name, schema_of(space.dim, columns), batches(numbers, space, columns, about)
        )
        after = int(numbers[-1]) + 1 if len(numbers) else 0
        return Held(modality, name, version, len(space), after, columns, tuple(space.provenance))

    def _changed(
        self,
        old: Version,
        index: Index,
        gone: Mapping[str, np.ndarray],
        new: Mapping[str, Space],
        about: Mapping[str, pa.Table],
    ) -> tuple[Version, dict[str, int]]:
        """The tables without some rows and with others; not yet served."""
        held, removed = [], {}
        for entry in old.held:
            rows, space = gone.get(entry.modality), new.get(entry.modality)
            some = rows is not None and len(rows) > 0
            if not some and space is None:
                held.append(entry)
                continue
            numbers = np.asarray(self.live(old, entry).numbers)
            version = self._tables.restore(entry.table, entry.version)
            if some and rows is not None:
                version = self._tables.delete(entry.table, numbers[rows])
                numbers = np.delete(numbers, rows)
                removed[entry.modality] = len(rows)
            if space is not None:
                check_columns(entry, about.get(entry.modality))
                fresh = np.arange(entry.next, entry.next + len(space))
                version = self._tables.append(
                    entry.table, schema_of(space.dim, entry.columns),
                    batches(fresh, space, entry.columns, about.get(entry.modality)),
                )  # fmt: skip
                numbers = np.concatenate([numbers, fresh])
            more = 0 if space is None else len(space)
            held.append(
                replace(
                    entry, version=version, next=entry.next + more,
                    rows=entry.rows - removed.get(entry.modality, 0) + more,
                )
            )  # fmt: skip
            self._tables.prove(held[-1], numbers, space)
        return replace(old, held=tuple(held)), removed

    def _publish(
        self,
        made: Version,
        old: Version | None,
        corrections: dict[Edge, Correction] | None = None,
        calibrations: dict[Edge, Calibration] | None = None,
        mixing: Mixing | None = None,
        *,
        forget: bool = False,
    ) -> Version:
        """Serve a version: tags, corrections, then the manifest, then what is now unnamed."""
        number = old.number + 1 if old else 1
        files = made.corrections
        if corrections is not None:
            files = tuple(
                (*edge, f"correction-{number}-{digest(list(edge))}.safetensors")
                for edge in sorted(corrections)
            )
            for query, target, file in files:
                corrections[query, target].save(self.folder / file)
            made = replace(
                made,
                calibrations=tuple([*e, c.to_json()] for e, c in sorted(calibrations.items())),  # type: ignore[union-attr]
                mixing=mixing.to_json() if mixing else None,
            )
        when = datetime.now(UTC).isoformat(timespec="seconds")
        made = replace(made, number=number, when=when, corrections=files)
        for entry in made.held:
            self._tables.tag(entry.table, f"v{number}", entry.version)
        before = self._raw() if old is not None else {}
        history = [v for v in (self.versions() if before else []) if not forget and self._sound(v)]
        self._write([*history, made], before)
        self._mend(made)
        if forget:
            lists = [str(entry.get("file")) for entry in made.engines.values()]
            for entry in made.held:
                self.cache(entry.modality, made.frame).clear(lists)
        return made

    def _nexts(self, modality: str) -> list[int]:
        return [h.next for v in self.versions() for h in v.held if h.modality == modality]
