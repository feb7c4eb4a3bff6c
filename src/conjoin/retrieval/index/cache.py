"""What is derived from the tables of a store: rows as memory maps, followed by row number.

A row's number is never given to another row, so what was derived once stays right: rows added
become a segment more, rows deleted are left out by a list of the live ones. All of it may be
removed at any time; it is made again from the tables.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conjoin.errors import StateError
from conjoin.retrieval.index.lance import Column
from conjoin.spaces.stack import Stack
from conjoin.storage.digest import digest
from conjoin.storage.files import (
    WHOLE,
    atomic,
    file_digest,
    map_arrays,
    pack_strings,
    stream_arrays,
    unpack_strings,
    write_arrays,
)

#: Segments above which the short ones are made one.
MOST = 12
#: Widest id kept as fixed-width text, which opens without reading it.
WIDE = 64

#: ``read(columns, since)`` gives record batches in the order of their numbers.
Read = Callable[[Sequence[str], int], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, eq=False)
class Segment:
    """Some rows, mapped from one file."""

    path: Path
    numbers: np.ndarray
    ids: np.ndarray
    parts: np.ndarray
    content: np.ndarray
    vectors: np.ndarray
    order: np.ndarray | None = field(default=None, repr=False)

    def find(self, wanted: np.ndarray) -> np.ndarray:
        """Its rows that show one of the items."""
        if self.order is None:  # derived before the order of ids was
            return np.flatnonzero(np.isin(self.ids, wanted))
        width = self.ids.dtype.itemsize // 4
        asked = wanted[np.char.str_len(wanted) <= width].astype(self.ids.dtype)
        low = np.searchsorted(self.ids, asked, "left", sorter=self.order)
        high = np.searchsorted(self.ids, asked, "right", sorter=self.order)
        found = [self.order[a:b] for a, b in zip(low, high, strict=True) if b > a]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def about(self) -> pa.Table:
        """Its metadata, mapped."""
        with pa.memory_map(str(self.path.with_suffix(".arrow"))) as file:
            return pa.ipc.open_file(file).read_all()


@dataclass(frozen=True, eq=False)
class Live:
    """The live rows of a table's version, in the order of their numbers."""

    numbers: np.ndarray
    segments: tuple[Segment, ...]
    places: np.ndarray | None = field(repr=False)

    def joined(self, name: str) -> np.ndarray:
        """A column of all segments."""
        held = [getattr(segment, name) for segment in self.segments]
        whole = held[0] if len(held) == 1 else np.concatenate(held)
        return whole if self.places is None else whole[self.places]

    @property
    def vectors(self) -> Any:
        """``[n, d]`` as they lie on disk."""
        return self.stacked([segment.vectors for segment in self.segments])

    def stacked(self, pieces: Sequence[np.ndarray]) -> Any:
        """Pieces as long as the segments, as one array of the live rows."""
        if self.places is None and len(pieces) == 1:
            return pieces[0]
        return Stack(pieces, self.places)

    def find(self, ids: Sequence[str]) -> np.ndarray:
        """Ascending rows of the items named, without a look at the others."""
        wanted = np.unique(np.asarray(list(ids), dtype=str))
        if not len(wanted):
            return np.empty(0, np.int64)
        numbers = np.concatenate([s.numbers[s.find(wanted)] for s in self.segments])
        at = np.searchsorted(self.numbers, numbers)
        there = at < len(self.numbers)
        there[there] = self.numbers[at[there]] == numbers[there]
        return np.unique(at[there])

    def about(self) -> pa.Table:
        """A line of metadata a row."""
        whole = pa.concat_tables([segment.about() for segment in self.segments])
        return whole if self.places is None else whole.take(self.places)


class Cache:
    """The derived files of one modality in one frame.

    Parameters
    ----------
    folder : where they lie.
    dim : width of a vector.
    store : names the store they are derived from; files of another are made again.
    """

    def __init__(self, folder: Path, dim: int, store: str = ""):
        self.folder, self.dim, self.store = folder, dim, store

    def live(self, table: str, version: int, columns: Sequence[Column], read: Read) -> Live:
        """The rows of a version; reads from the table only what was never derived."""
        numbers = self._numbers(table, version, read)
        segments = self._segments(columns)
        places, lost = _locate(numbers, segments)
        if len(lost):
            kept = self._thick(segments, len(numbers))
            short = [segment for segment in segments if segment not in kept]
            _, lost = _locate(numbers, kept)
            segments = [*kept, self._derive(lost, columns, read)]
            for segment in short:
                segment.path.unlink(missing_ok=True)
                segment.path.with_suffix(".arrow").unlink(missing_ok=True)
            places, _ = _locate(numbers, segments)
        owner = np.searchsorted(_ends(segments), places, side="right")
        used = [segments[number] for number in np.unique(owner)] or segments[:1]
        if len(used) < len(segments):
            places, _ = _locate(numbers, used)
        total = sum(len(s.numbers) for s in used)
        plain = total == len(places) and bool(np.all(places[1:] > places[:-1]))
        return Live(numbers, tuple(used), None if plain else places)

    def clear(self, keep: Sequence[str] = ()) -> None:
        """Remove the derived rows, but for files named."""
        for path in self.folder.glob("*"):
            if path.name not in keep:
                path.unlink()

    def _numbers(self, table: str, version: int, read: Read) -> np.ndarray:
        path = self.folder / f"live-{table}-{version}.safetensors"
        held = self._opened(path)
        if held is None:
            found = [batch.column("row").to_numpy() for batch in read([], 0)]
            numbers = np.concatenate(found) if found else np.empty(0, np.int64)
            write_arrays(path, {"numbers": np.sort(numbers)}, {"store": self.store})
            held = map_arrays(path)[0]
        return held["numbers"]

    def _segments(self, columns: Sequence[Column]) -> list[Segment]:
        key = digest([column.to_json() for column in columns])
        found = []
        for path in sorted(self.folder.glob(f"rows-{key}-*.safetensors")):
            held = self._opened(path)
            if held is None or not path.with_suffix(".arrow").exists():
                path.unlink(missing_ok=True)
                continue
            found.append(_segment(path, held, self.dim))
        return sorted(found, key=lambda s: int(s.numbers[0]))

    def _opened(self, path: Path) -> dict[str, np.ndarray] | None:
        """A derived file; ``None`` where it is missing, torn, rotten or of another store."""
        about = path.with_suffix(".arrow")
        try:
            held, said = map_arrays(path)
            if said.get("store", "") != self.store:
                return None
            small = "about" in said and about.stat().st_size <= WHOLE
            return None if small and file_digest(about) != said["about"] else held
        except (StateError, OSError):
            return None

    def _thick(self, segments: list[Segment], rows: int) -> list[Segment]:
        """Without the short ones where there are many: they are derived anew as one."""
        if len(segments) < MOST:
            return segments
        return [s for s in segments if len(s.numbers) * MOST > rows]

    def _derive(self, numbers: np.ndarray, columns: Sequence[Column], read: Read) -> Segment:
        first = int(numbers[0])
        ids = [v for b in _only(read(["id"], first), numbers) for v in b.column("id").to_pylist()]
        small: dict[str, list[np.ndarray]] = {"part": [], "content": []}
        about = []
        names = [column.stored for column in columns]
        for batch in _only(read(["part", "content", *names], first), numbers):
            for name, held in small.items():
                held.append(batch.column(name).to_numpy())
            about.append(batch.select(names).rename_columns([c.name for c in columns]))
        key = digest([column.to_json() for column in columns])
        mark = digest(np.ascontiguousarray(numbers).tobytes())
        path = self.folder / f"rows-{key}-{first:012d}-{mark}.safetensors"
        schema = pa.schema([(column.name, column.type) for column in columns])
        _write_about(path.with_suffix(".arrow"), schema, about)
        said = {"store": self.store, "about": file_digest(path.with_suffix(".arrow"))}
        n = len(numbers)
        stream_arrays(path, {
            "numbers": (np.int64, (n,), [numbers]),
            "content": (np.uint64, (n,), small["content"]),
            "vectors": (np.float32, (n, self.dim), self._vectors(numbers, read)),
            "parts": (np.int32, (n,), small["part"]), "order": (np.int64, (n,), [_order(ids)]),
            **_ids(ids),
        }, said)  # fmt: skip
        return _segment(path, map_arrays(path)[0], self.dim)

    def _vectors(self, numbers: np.ndarray, read: Read) -> Iterator[np.ndarray]:
        for batch in _only(read(["vector"], int(numbers[0])), numbers):
            yield batch.column("vector").flatten().to_numpy().reshape(-1, self.dim)


def _only(rows: Iterator[pa.RecordBatch], numbers: np.ndarray) -> Iterator[pa.RecordBatch]:
    """The batches' rows among the ascending numbers, each number once and in order."""
    seen = 0
    for batch in rows:
        kept = np.isin(batch.column("row").to_numpy(), numbers, assume_unique=True)
        found = batch if kept.all() else batch.filter(pa.array(kept))
        mine = found.column("row").to_numpy()
        if not np.array_equal(mine, numbers[seen : seen + len(mine)]):
            raise StateError("index", "its rows are out of order", "run: conjoin index compact")
        seen += len(mine)
        yield found
    if seen != len(numbers):
        raise StateError("index", f"{len(numbers) - seen} rows are lost", "run: conjoin fit")


def _order(ids: list[str]) -> np.ndarray:
    """Rows by rising id, by which one is found."""
    found = pc.sort_indices(pa.array(ids, pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)


def _ids(ids: list[str]) -> dict[str, Any]:
    """Ids as arrays to write: fixed width where that is short, else packed."""
    text = np.array(ids, dtype=str)
    width = max(1, text.dtype.itemsize // 4)
    if width <= WIDE:
        codes = text.astype(f"<U{width}").view(np.uint32).reshape(len(text), width)
        return {"id_codes": (np.uint32, codes.shape, [codes])}
    flat, ends = pack_strings(ids)
    return {"id_ends": (np.int64, ends.shape, [ends]), "ids": (np.uint8, flat.shape, [flat])}


def _segment(path: Path, held: dict[str, np.ndarray], dim: int) -> Segment:
    held = {name: np.asarray(array) for name, array in held.items()}  # faster to index than maps
    if "id_codes" in held:
        codes = held["id_codes"]
        ids = np.asarray(codes).reshape(-1).view(f"<U{codes.shape[1]}")
    else:
        ids = unpack_strings(held["ids"], held["id_ends"])
    return Segment(
        path, held["numbers"], ids, held["parts"], held["content"], held["vectors"],
        held.get("order"),
    )  # fmt: skip


def _write_about(path: Path, schema: pa.Schema, rows: list[pa.RecordBatch]) -> None:
    with atomic(path) as file, pa.ipc.new_file(file, schema) as out:
        for batch in rows:
            out.write_batch(batch.cast(schema) if batch.schema != schema else batch)


def _ends(segments: Sequence[Segment]) -> np.ndarray:
    return np.cumsum([len(segment.numbers) for segment in segments])


def _locate(numbers: np.ndarray, segments: list[Segment]) -> tuple[np.ndarray, np.ndarray]:
    """Where each number lies among the segments' rows, and the numbers that lie nowhere."""
    if not segments:
        return np.empty(0, np.int64), np.asarray(numbers)
    held = np.concatenate([segment.numbers for segment in segments])
    if np.array_equal(held, numbers):
        return np.arange(len(held)), np.empty(0, np.int64)
    order = None if np.all(held[1:] > held[:-1]) else np.argsort(held, kind="stable")
    ordered = held if order is None else held[order]
    at = np.searchsorted(ordered, numbers)
    there = np.zeros(len(numbers), dtype=bool)
    inside = at < len(ordered)
    there[inside] = ordered[at[inside]] == numbers[inside]
    at = at[there]
    return (at if order is None else order[at]), np.asarray(numbers)[~there]
