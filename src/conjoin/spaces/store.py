"""A space on disk: append-only segments, tombstones, and jobs that survive being killed.

A job first writes its plan: which rows, in which order, cut into fixed shards. Each shard is
written whole and renamed. When all are there they become one segment and the manifest names it.
Killed anywhere, the next run finishes the same plan and ends with the same bytes.
"""

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from conjoin.errors import FrameError, StateError
from conjoin.spaces.frame import Frame
from conjoin.spaces.rownumbers import item_numbers, row_numbers
from conjoin.spaces.space import Space
from conjoin.spaces.stack import Stack
from conjoin.spaces.tokens import Tokens
from conjoin.storage.digest import digest
from conjoin.storage.files import (
    FORMAT,
    check_arrays,
    map_arrays,
    pack_strings,
    read_json,
    stream_arrays,
    unpack_strings,
    within,
    write_arrays,
    write_json,
)


class Key(NamedTuple):
    """A row's identity: item, part, and the hash of the cell it was made from."""

    id: str
    part: int
    content: int


@dataclass(frozen=True)
class Plan:
    """Rows to make, in order, cut into shards of ``shard_rows``; ``after`` so many segments."""

    keys: tuple[Key, ...]
    shard_rows: int
    provenance: tuple[str, ...]
    after: int = 0

    def shards(self) -> list[tuple[Key, ...]]:
        """The keys of each shard."""
        step = self.shard_rows
        return [self.keys[at : at + step] for at in range(0, len(self.keys), step)]

    def shard(self, number: int) -> tuple[Key, ...]:
        """The keys of one shard."""
        return self.keys[number * self.shard_rows : (number + 1) * self.shard_rows]

    @cached_property
    def name(self) -> str:
        """Names the segment this plan becomes."""
        return digest([list(self.keys), self.shard_rows, list(self.provenance), self.after])


@runtime_checkable
class Elsewhere(Protocol):
    """Makes the shards of a pending plan outside this process."""

    @property
    def threads(self) -> int:
        """Of linear algebra in each worker; part of the plan's provenance."""
        ...

    def make(self, plan: Plan, numbers: Sequence[int], strict: bool) -> Iterator[int]:
        """Have each of these shards written; tells which are, in any order.

        Parameters
        ----------
        strict : refuse at the first cell that fails.
        """
        ...


class SpaceStore:
    """Vectors of one encoder over one modality, in a folder.

    Parameters
    ----------
    folder : where the state lies; made at the first write.
    frame : the frame of the vectors; a folder of another frame is refused.
    """

    def __init__(self, folder: Path, frame: Frame):
        self.folder, self.frame = folder, frame
        self._manifest_path = folder / "manifest.json"
        self._manifest: dict[str, Any] = {
            "version": FORMAT,
            "frame": frame.to_json(),
            "segments": [],
            "dropped": [],
            "failed": [],
        }
        if self._manifest_path.exists():
            self._manifest = read_json(self._manifest_path, self._manifest)
            found = Frame.from_json(self._manifest["frame"])
            if found != frame:
                raise FrameError(
                    str(folder), f"holds frame {found.id}, not {frame.id}", "embed again"
                )

    @classmethod
    def at(cls, folder: Path) -> "SpaceStore":
        """The store that lies in ``folder``, with the frame it says."""
        return cls(folder, Frame.from_json(read_json(folder / "manifest.json")["frame"]))

    def same(self, other: "SpaceStore") -> bool:
        """Whether two openings of a folder saw it in one state."""
        return self.folder == other.folder and self._manifest == other._manifest

    def live(self, items: Collection[str] | None = None) -> list[Key]:
        """The rows that stand, in stored order; of some items where they are named."""
        space = self.open()
        if space is None:
            return []
        ids, parts, content = space.ids, space.parts, space.content
        if items is not None:
            rows = np.isin(ids, np.array(list(items), dtype=str))
            ids, parts, content = ids[rows], parts[rows], content[rows]
        return list(map(Key, ids.tolist(), parts.tolist(), content.tolist()))

    def rows(self) -> list[Key]:
        """All rows on disk, also those that were dropped or replaced."""
        found = []
        for name in self._manifest["segments"]:
            arrays, _ = map_arrays(self.folder / name)
            ids = unpack_strings(arrays["ids"], arrays["id_ends"]).tolist()
            parts, content = arrays["parts"].tolist(), arrays["content"].tolist()
            found += [Key(*row) for row in zip(ids, parts, content, strict=True)]
        return found

    def wasted(self) -> int:
        """Rows on disk that do not stand, and segments beyond the first."""
        rows = sum(
            len(map_arrays(self.folder / name)[0]["parts"]) for name in self._manifest["segments"]
        )
        return rows - len(self.live()) + max(0, len(self._manifest["segments"]) - 1)

    def rewrite(self) -> int:
        """Write the rows that stand as one segment; returns the rows whose bytes are gone.

        The old segments go after the new one was written, opened and counted. Vectors are copied
        in blocks, so memory does not grow with the space.

        Raises
        ------
        StateError : what was written does not hold the rows that stand.
        """
        self.abandon()
        before, space = self.rows(), self.open()
        old = list(self._manifest["segments"])
        if space is None:
            self._publish({"segments": [], "dropped": [], "marks": {}})
        else:
            keys = self.live()
            name = f"{digest(['rewritten', [list(k) for k in keys], old])}.safetensors"
            mark = self._write_whole(name, space)
            held = map_arrays(self.folder / name, mark)[0]
            if len(held["parts"]) != len(keys) or len(held["vectors"]) == 0:
                raise StateError(
                    str(self.folder / name), f"holds {len(held['parts'])} rows of {len(keys)}",
                    "run: conjoin embed",
                )  # fmt: skip
            self._publish({"segments": [name], "dropped": [], "marks": {name: mark}})
        for name in set(old) - set(self._manifest["segments"]):
            (self.folder / name).unlink(missing_ok=True)
        return len(before) - len(space if space is not None else ())

    def _write_whole(self, name: str, space: Space) -> str:
        flat, ends = pack_strings(space.ids.tolist())
        arrays: dict[str, Any] = {
            "ids": flat, "id_ends": ends, "parts": np.asarray(space.parts, np.int32),
            "content": np.asarray(space.content, np.uint64),
        }  # fmt: skip
        whole: dict[str, Any] = {
            key: (value.dtype, value.shape, [value]) for key, value in arrays.items()
        }
        if isinstance(space.vectors, Tokens):
            held = np.asarray(space.vectors.vectors)
            counts = np.diff(space.vectors.offsets)
            whole |= {"vectors": (held.dtype, held.shape, [held]),
                      "counts": (counts.dtype, counts.shape, [counts])}  # fmt: skip
        else:
            kind = space.vectors.dtype
            shape = (len(space), space.dim)
            blocks = (np.asarray(block, kind) for _, block in space.blocks())
            whole["vectors"] = (kind, shape, blocks)
        return stream_arrays(
            self.folder / name, dict(sorted(whole.items())),
            {"frame": self.frame.to_json(), "provenance": list(space.provenance)},
        )  # fmt: skip

    def failed(self) -> dict[Key, str]:
        """The rows that could not be made, and why."""
        return {Key(*key): reason for key, reason in self._manifest["failed"]}

    def begin(self, keys: Iterable[Key], shard_rows: int, provenance: Iterable[str]) -> Plan:
        """Write the plan of a job; its shards may now be written in any order."""
        # Shards of an abandoned or committed job must never pass for this one's.
        self.abandon()
        segments = len(self._manifest["segments"])
        plan = Plan(tuple(keys), shard_rows, tuple(provenance), segments)
        write_json(
            self.folder / "plan.json",
            {"version": FORMAT, "keys": [list(k) for k in plan.keys],
             "shard_rows": shard_rows, "provenance": list(plan.provenance), "after": segments},
        )  # fmt: skip
        return plan

    def pending(self) -> Plan | None:
        """The plan of a job that was not finished, if any."""
        path = self.folder / "plan.json"
        if not path.exists():
            return None
        raw = read_json(path, ("keys", "shard_rows", "provenance", "after"))
        return Plan(
            tuple(Key(*k) for k in raw["keys"]), raw["shard_rows"], tuple(raw["provenance"]),
            raw["after"],
        )  # fmt: skip

    def begun(self) -> float:
        """When the pending plan was written, in seconds of the epoch; 0 where there is none."""
        path = self.folder / "plan.json"
        return path.stat().st_mtime if path.exists() else 0.0

    def abandon(self) -> None:
        """Give up the pending plan and its shards, if any."""
        (self.folder / "plan.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "shards", ignore_errors=True)

    def sweep(self) -> None:
        """Remove what a killed job left behind: half-written files, shards without a plan."""
        for torn in self.folder.glob(".*.tmp"):
            torn.unlink(missing_ok=True)
        if not (self.folder / "plan.json").exists():
            shutil.rmtree(self.folder / "shards", ignore_errors=True)

    def _shard(self, number: int) -> Path:
        return self.folder / "shards" / f"{number:06d}.safetensors"

    def has(self, shard: int) -> bool:
        """Whether that shard of the pending plan is written."""
        path = self._shard(shard)
        if not path.exists():
            return False
        try:
            check_arrays(path)
        except StateError:  # torn by a crash of the machine: it is made again
            path.unlink()
            return False
        return True

    def written(self, shard: int) -> dict[Key, str] | None:
        """The rows that could not be made of a written shard; ``None`` while it is not there."""
        try:
            _, meta = map_arrays(self._shard(shard))
        except StateError:
            return None
        return {Key(*key): reason for key, reason in meta["failed"]}

    def write(
        self,
        shard: int,
        keys: tuple[Key, ...],
        vectors: np.ndarray | Tokens,
        failed: Mapping[int, str],
    ) -> None:
        """Write one shard: a vector for each key whose place is not in ``failed``."""
        good = [key for place, key in enumerate(keys) if place not in failed]
        flat, ends = pack_strings(key.id for key in good)
        arrays = {
            "ids": flat,
            "id_ends": ends,
            "parts": np.array([key.part for key in good], dtype=np.int32),
            "content": np.array([key.content for key in good], dtype=np.uint64),
        }
        if isinstance(vectors, Tokens):
            arrays |= {"vectors": vectors.vectors, "counts": np.diff(vectors.offsets)}
        else:
            arrays["vectors"] = vectors
        lost = [[list(keys[place]), reason] for place, reason in sorted(failed.items())]
        write_arrays(self._shard(shard), arrays, {"failed": lost})

    def commit(self, plan: Plan) -> None:
        """Turn the finished shards into one segment and publish it. Safe to repeat.

        Raises
        ------
        StateError : a shard is not there, or rows and failures are not what was planned.
        """
        name = f"{plan.name}.safetensors"
        shards = [map_arrays(self._shard(n)) for n in range(len(plan.shards()))]
        for number, (arrays, meta) in enumerate(shards):
            found, planned = len(arrays["parts"]) + len(meta["failed"]), len(plan.shard(number))
            if found != planned:
                raise StateError(
                    str(self._shard(number)), f"accounts for {found} of {planned} rows",
                    "remove it and run again",
                )  # fmt: skip
        failed = [lost for _, meta in shards for lost in meta["failed"]]
        if name not in self._manifest["segments"]:
            mark = self._merge(name, [arrays for arrays, _ in shards], plan.provenance)
            rows = sum(len(arrays["parts"]) for arrays, _ in shards)
            there = map_arrays(self.folder / name, mark)[0]
            if len(there["parts"]) != rows:
                raise StateError(
                    str(self.folder / name), f"holds {len(there['parts'])} of {rows} rows",
                    "run it again",
                )  # fmt: skip
            renewed = {(key.id, key.part) for key in plan.keys}
            old = [f for f in self._manifest["failed"] if tuple(f[0][:2]) not in renewed]
            # A cell that changed back to what it was rises again; the newest row wins.
            risen = set(plan.keys)
            self._publish({
                "segments": [*self._manifest["segments"], name],
                "marks": {**self._manifest.get("marks", {}), name: mark},
                "failed": [*old, *failed],
                "dropped": [key for key in self._manifest["dropped"] if Key(*key) not in risen],
            })  # fmt: skip
        self.abandon()

    def _merge(self, name: str, parts: list[dict[str, np.ndarray]], provenance: tuple) -> str:
        arrays = {}
        for key in sorted(parts[0]):
            pieces = [part[key] for part in parts]
            if key == "id_ends":
                starts = np.cumsum([0, *(len(part["ids"]) for part in parts[:-1])])
                pieces = [p + start for p, start in zip(pieces, starts, strict=True)]
            rows = sum(len(piece) for piece in pieces)
            arrays[key] = (pieces[0].dtype, (rows, *pieces[0].shape[1:]), pieces)
        return stream_arrays(
            self.folder / name, arrays,
            {"frame": self.frame.to_json(), "provenance": list(provenance)},
        )  # fmt: skip

    def drop(self, keys: Iterable[Key]) -> None:
        """Lay rows to rest; their bytes stay until the store is rewritten."""
        dropped = {tuple(key) for key in self._manifest["dropped"]} | {tuple(k) for k in keys}
        gone = sorted(dropped)
        lost = [entry for entry in self._manifest["failed"] if tuple(entry[0]) not in dropped]
        self._publish({"dropped": [list(key) for key in gone], "failed": lost})

    def _publish(self, change: Mapping[str, Any]) -> None:
        manifest = {**self._manifest, **change}
        write_json(self._manifest_path, manifest)
        self._manifest = manifest

    def open(self) -> Space | None:
        """The space as it stands, memory-mapped; ``None`` while there is no row."""
        marks = self._manifest.get("marks", {})
        parts = [
            map_arrays(within(self.folder, name), marks.get(name))
            for name in self._manifest["segments"]
        ]
        pieces = [arrays for arrays, _ in parts if len(arrays["parts"])]
        if not pieces:
            return None
        ids = np.concatenate([unpack_strings(p["ids"], p["id_ends"]) for p in pieces])
        part = np.concatenate([p["parts"] for p in pieces])
        content = np.concatenate([p["content"] for p in pieces])
        live = self._live_rows(ids, part, content)
        if len(live) == 0:
            return None
        everything = len(live) == len(ids)
        if "counts" in pieces[0]:
            flat = np.concatenate([p["vectors"] for p in pieces])
            counts = np.concatenate([p["counts"] for p in pieces])
            vectors: Any = Tokens(flat, np.concatenate([[0], np.cumsum(counts)])).take(live)
        elif len(pieces) == 1 and everything:
            vectors = pieces[0]["vectors"]
        else:
            vectors = Stack([p["vectors"] for p in pieces], None if everything else live)
        provenance = tuple(dict.fromkeys(line for _, meta in parts for line in meta["provenance"]))
        return Space(ids[live], vectors, self.frame, part[live], content[live], provenance)

    def faults(self) -> list[StateError]:
        """Segments that are not what was written; all bytes are read."""
        found, marks = [], self._manifest.get("marks", {})
        for name in self._manifest["segments"]:
            try:
                check_arrays(within(self.folder, name), marks.get(name))
            except StateError as error:
                found.append(error)
        return found

    def _live_rows(self, ids: np.ndarray, parts: np.ndarray, content: np.ndarray) -> np.ndarray:
        dropped = {tuple(key) for key in self._manifest["dropped"]}
        stands = np.ones(len(ids), dtype=bool)
        if dropped:
            named = np.array([item for item, *_ in dropped], dtype=str)
            for row in np.flatnonzero(np.isin(ids, named)).tolist():
                stands[row] = (str(ids[row]), int(parts[row]), int(content[row])) not in dropped
        rows = np.flatnonzero(stands)[::-1]  # the newest first, which is the one that is kept
        keys = row_numbers(item_numbers(ids)[0], parts)[rows]
        return np.sort(rows[np.unique(keys, return_index=True)[1]])
