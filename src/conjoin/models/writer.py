"""Weights written tensor by tensor under a temporary name; whole or absent, and resumable."""

import errno
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.models.checkpoint import INDEX, WHOLE, Arrays, Entry, in_order
from conjoin.storage.digest import digest

#: Bytes of tensors in one file, unless another number is given.
SHARD = 5 * 10**9
_DONE = "done.json"


class Writer:
    """Writes the weights of a folder beside it, and renames the whole folder at the end.

    Each finished tensor is noted with a checksum of its bytes. A writer that was killed is gone
    on from: what was noted by the same ``mark`` and still has its checksum is not asked for again.
    On an error nothing is left behind.

    Parameters
    ----------
    folder : the result; must not exist.
    entries : tensors to be written; their ``file`` and ``start`` are not looked at.
    mark : of everything that decides the bytes.
    shard : bytes of one file at most.

    Raises
    ------
    ConjoinError : the folder exists, or the disk is full.
    """

    def __init__(
        self, folder: Path, entries: Sequence[Entry], *, mark: str, shard: int = SHARD
    ) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ConjoinError(str(folder), "is there already", "name another folder, or remove it")
        self.partial = self.folder.parent / f".{self.folder.name}.partial"
        self.mark, self._handles = mark, dict[Path, int]()
        self._plan = list(_shards(in_order(entries), shard))
        self.places: dict[str, tuple[Path, int, int]] = {}
        self._done: dict[str, int] = {}

    def __enter__(self) -> "Writer":
        try:
            self._done = self._earlier()
            if not self._done:
                shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir(parents=True, exist_ok=True)
            for name, entries in self._plan:
                self._begin(self.partial / name, entries)
            self._done = {k: v for k, v in self._done.items() if self._same(k, v)}
            self._note()
        except OSError as error:
            self.abandon()
            raise _said(self.folder, error) from error
        return self

    def _begin(self, path: Path, entries: Sequence[Entry]) -> None:
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for entry in entries:
            size = entry.size * entry.width
            header[entry.name] = {
                "dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [end, end + size],
            }  # fmt: skip
            end += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 64 + 56)
        for entry in entries:
            start = 8 + len(text) + header[entry.name]["data_offsets"][0]
            self.places[entry.name] = (path, start, entry.size * entry.width)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._handles[path] = handle
        _pwrite(handle, len(text).to_bytes(8, "little") + text, 0)
        os.ftruncate(handle, 8 + len(text) + end)

    def _earlier(self) -> dict[str, int]:
        with suppress(OSError, ValueError):
            lines = (self.partial / _DONE).read_text().splitlines()
            if lines and json.loads(lines[0]) == {"mark": self.mark}:
                found = {}
                for line in lines[1:]:
                    with suppress(ValueError):  # a line that was cut
                        found.update(json.loads(line))
                return found
        return {}

    def _same(self, name: str, wanted: int) -> bool:
        path, start, size = self.places.get(name, (None, 0, 0))
        if path is None:
            return False
        mark, step = 0, 2**20
        for at in range(start, start + size, step):
            mark = zlib.crc32(os.pread(self._handles[path], min(step, start + size - at), at), mark)
        return mark == wanted

    def _note(self) -> None:
        lines = [json.dumps({"mark": self.mark})]
        lines += [json.dumps({name: mark}) for name, mark in self._done.items()]
        (self.partial / _DONE).write_text("".join(line + "\n" for line in lines))

    def has(self, name: str) -> bool:
        """Whether a tensor was written before this writer began."""
        return name in self._done

    def put(self, name: str, blocks: Iterable[bytes | memoryview]) -> None:
        """Write a tensor from its bytes in order.

        Raises
        ------
        ConjoinError : more or fewer bytes than announced, or the disk is full.
        """
        path, start, size = self.places[name]
        at, mark = start, 0
        try:
            for block in blocks:
                _pwrite(self._handles[path], block, at)
                mark = zlib.crc32(block, mark)
                at += len(block)
            if at != start + size:
                raise ConjoinError(name, f"{at - start} bytes for {size}", "this is a defect")
            with (self.partial / _DONE).open("a") as file:
                file.write(json.dumps({name: mark}) + "\n")
        except OSError as error:
            raise _said(self.folder, error) from error
        self._done[name] = mark

    def finish(self) -> None:
        """Everything is written: index and rename.

        Raises
        ------
        ConjoinError : a tensor is missing, or the disk is full.
        """
        lost = [name for name in self.places if name not in self._done]
        if lost:
            raise ConjoinError(str(self.folder), f"{lost[0]} was not written", "this is a defect")
        try:
            for handle in self._handles.values():
                os.fsync(handle)
            if len(self._plan) > 1:
                total = sum(size for *_, size in self.places.values())
                index = {
                    "metadata": {"total_size": total},
                    "weight_map": {n: path.name for n, (path, *_) in sorted(self.places.items())},
                }
                (self.partial / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True))
            (self.partial / _DONE).unlink()
            if self.folder.exists():
                self.folder.rmdir()  # empty
            os.replace(self.partial, self.folder)
        except OSError as error:
            raise _said(self.folder, error) from error
        self._close()

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._close()
        shutil.rmtree(self.partial, ignore_errors=True)

    def _close(self) -> None:
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self.finish()
            except ConjoinError:
                self.abandon()
                raise
        elif issubclass(kind, Exception):
            self.abandon()
        else:  # interrupted: the next run goes on from here
            self._close()


def save(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a folder's weights, in the order given.

    Raises
    ------
    ConjoinError : the folder cannot be written.
    """
    held = Arrays(str(folder), arrays)
    with Writer(Path(folder), list(held.entries.values()), mark=digest(list(arrays))) as writer:
        for name, array in arrays.items():
            writer.put(name, [np.ascontiguousarray(array).tobytes()])


def _shards(entries: Sequence[Entry], most: int) -> Iterable[tuple[str, list[Entry]]]:
    groups: list[list[Entry]] = [[]]
    held = 0
    for entry in entries:
        size = entry.size * entry.width
        if groups[-1] and held + size > most:
            groups.append([])
            held = 0
        groups[-1].append(entry)
        held += size
    if len(groups) == 1:
        return [(WHOLE, groups[0])]
    count = len(groups)
    return [
        (f"model-{place + 1:05d}-of-{count:05d}.safetensors", group)
        for place, group in enumerate(groups)
    ]


def _pwrite(handle: int, data: bytes | memoryview, at: int) -> None:
    view = memoryview(data).cast("B")
    while len(view):
        done = os.pwrite(handle, view, at)
        view, at = view[done:], at + done


def _said(path: Path, error: OSError) -> ConjoinError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ConjoinError(str(path), "no space left on the disk", "free some and run it again")
    return ConjoinError(str(path), error.strerror or str(error), "check that it can be written")
