"""Running an encoder over cells: read ahead, batch like lengths, lose only the cells at fault."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from conjoin.encoders.base import CellError, Encoded, Encoder
from conjoin.errors import ConjoinError, MissingDependency
from conjoin.spaces import Tokens
from conjoin.spaces.store import Key, Plan, SpaceStore

#: Threads that read cells while the encoder computes.
READERS = 2


@runtime_checkable
class Column(Protocol):
    """Cells that are walked for their keys and fetched one by one."""

    def list_keys(self) -> list[Key]:
        """The keys in row order."""
        ...

    def get(self, item: str, part: int = 0) -> Any:
        """One cell."""
        ...


Cells = Column | Sequence[tuple[Key, Any]] | Callable[[Key], Any]
Progress = Callable[[int, int], None]


@runtime_checkable
class Prepared(Protocol):
    """An encoder that looks at its column once, and keeps what it saw.

    ``open`` gives it unprepared; :meth:`prepare` returns one with a frame. Its ``state`` is
    JSON-able, so a workspace keeps it and rows added later land in the same frame.
    """

    def prepare(self, cells: Iterable[Any]) -> Encoder:
        """Look at the cells (missing ones skipped) and return the encoder fitted to them."""
        ...

    def state(self) -> dict[str, Any]:
        """What was seen, JSON-able; empty before :meth:`prepare`."""
        ...

    def from_state(self, state: Mapping[str, Any]) -> Encoder:
        """The encoder with what was seen earlier."""
        ...


@dataclass(frozen=True)
class EmbedResult:
    """What embedding a column did: rows made, kept as they were, dropped, and failed."""

    made: int
    kept: int
    dropped: int
    failed: dict[Key, str]


def encode(
    encoder: Encoder,
    cells: Sequence[Any] | np.ndarray,
    *,
    batch_size: int | None = None,
    strict: bool = False,
    on_progress: Progress | None = None,
) -> Encoded:
    """Vectors of cells, in their order; a cell that cannot be read fails alone.

    Cells are decoded by reader threads while the encoder computes. Within windows of sixteen
    batches, cells of like length share a batch; only a window is ever held decoded.

    Parameters
    ----------
    batch_size : cells a forward pass; the encoder's own by default.
    strict : refuse at the first cell that fails instead of recording it.
    on_progress : called with (cells done, cells).

    Raises
    ------
    ConjoinError : ``strict`` and a cell failed; it names the cell.
    """
    size = encoder.batch_size if batch_size is None else batch_size
    if size < 1:
        raise ConjoinError("batch_size", f"{size}", "give 1 or more")
    failed: dict[int, str] = {}
    rows: dict[int, np.ndarray] = {}
    done = 0
    for window in _decoded(encoder, cells, 16 * size):
        good = []
        for place, item, reason in window:
            if reason is None:
                good.append((place, item))
            else:
                _fail(failed, place, reason, strict)
        for batch in _batches(encoder, good, size):
            _forward(encoder, batch, rows, failed, strict)
        done += len(window)
        if on_progress is not None:
            on_progress(done, len(cells))
    return Encoded(_gather(encoder, [rows[place] for place in sorted(rows)]), failed)


def _fail(failed: dict[int, str], place: int, reason: str, strict: bool) -> None:
    if strict:
        raise ConjoinError(f"cell {place}", reason, "mend or remove the cell")
    failed[place] = reason


def _decoded(
    encoder: Encoder, cells: Sequence[Any] | np.ndarray, window: int
) -> Iterator[list[tuple[int, Any, str | None]]]:
    """Windows of ``(place, item, reason it failed)``; one window is read ahead."""

    def read(place: int) -> tuple[int, Any, str | None]:
        try:
            cell = cells[place]
            if isinstance(cell, CellError):
                raise cell
            return place, encoder.decode(cell), None
        except CellError as error:
            return place, None, str(error)
        except MissingDependency:
            raise  # not the cell's fault
        except Exception as error:
            return place, None, f"{type(error).__name__}: {error}"

    starts = range(0, len(cells), window)
    with ThreadPoolExecutor(READERS, "reader") as pool:
        ahead: list[Any] = []
        for start in starts:
            ahead.append(
                [pool.submit(read, p) for p in range(start, min(start + window, len(cells)))]
            )
            if len(ahead) == 2:
                yield [future.result() for future in ahead.pop(0)]
        for futures in ahead:
            yield [future.result() for future in futures]


def _batches(
    encoder: Encoder, good: list[tuple[int, Any]], size: int
) -> Iterator[list[tuple[int, Any]]]:
    ordered = sorted(good, key=lambda pair: -encoder.length(pair[1]))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def _forward(
    encoder: Encoder,
    batch: list[tuple[int, Any]],
    rows: dict[int, np.ndarray],
    failed: dict[int, str],
    strict: bool,
) -> None:
    out = encoder.forward([item for _, item in batch])
    for number, (place, _) in enumerate(batch):
        row = np.asarray(out[number], dtype=np.float32)
        if np.isfinite(row).all():
            # A copy: a view would keep the whole batch (a Tokens row, its padding) alive.
            rows[place] = row.copy()
        else:
            _fail(failed, place, "the encoder gave NaN or infinity", strict)


def _gather(encoder: Encoder, rows: list[np.ndarray]) -> np.ndarray | Tokens:
    if rows[0].ndim == 2 if rows else getattr(encoder, "tokens", False):
        ends = np.cumsum([0, *(len(row) for row in rows)])
        flat = np.concatenate(rows) if rows else np.empty((0, encoder.frame.dim), np.float32)
        return Tokens(flat, ends)
    return np.stack(rows) if rows else np.empty((0, encoder.frame.dim), dtype=np.float32)


def embed(
    store: SpaceStore,
    encoder: Encoder,
    rows: Cells,
    *,
    keys: Sequence[Key] | None = None,
    shard_rows: int = 1024,
    retry_failed: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> EmbedResult:
    """Bring a store up to a column: make what is new, keep what stands, drop what is gone.

    An unfinished job is finished first, by its own plan, if all its rows still stand with the
    same content; otherwise its plan is given up. Rows are made shard by shard, so memory does
    not grow with the column, and a job killed anywhere ends, resumed, with the same bytes.

    Parameters
    ----------
    rows : a column of items; or ``(key, cell)`` in order; or a function from key to cell with
        ``keys`` beside it. A cell may be a :class:`CellError` saying why there is none.
    shard_rows : rows a shard; fixes which rows share a batch.
    retry_failed : try again the cells that failed before.
    strict : refuse at the first cell that fails; what was made stays for the next run.
    progress : called with (rows done, rows to make) after each shard.

    Raises
    ------
    ConjoinError : two rows share a key, ``keys`` is missing, or ``strict`` and a cell failed.
    """
    wanted, cell = _cells(rows, keys)
    standing = set(wanted)
    store.sweep()
    before = set(store.live())
    finished = _finish_pending(store, encoder, standing, cell, strict, progress)
    live, failed = store.live(), store.failed()
    gone = [key for key in (*live, *failed) if key not in standing]
    if gone:
        store.drop(gone)
    known = set(live) if retry_failed else {*live, *failed}
    fresh = [key for key in wanted if key not in known]
    if fresh:
        plan = store.begin(fresh, shard_rows, provenance(encoder))
        _work(store, encoder, plan, cell, strict, progress)
    lost = store.failed()
    made = len({*finished, *fresh} - set(lost))
    return EmbedResult(made, len(before & standing), len(gone), lost)


def _cells(rows: Cells, keys: Sequence[Key] | None) -> tuple[list[Key], Callable[[Key], Any]]:
    if isinstance(rows, Column):
        wanted, cell = rows.list_keys(), lambda key: rows.get(key.id, key.part)
    elif callable(rows):
        if keys is None:
            raise ConjoinError("embed", "a function of keys without keys", "give keys=[...]")
        wanted, cell = list(keys), rows
    else:
        table = dict(rows)
        wanted, cell = [key for key, _ in rows], table.__getitem__
    places = {(key.id, key.part) for key in wanted}
    if len(places) < len(wanted):
        raise ConjoinError("embed", "an item and part repeats", "give each row its own id and part")
    return wanted, cell


def _finish_pending(
    store: SpaceStore,
    encoder: Encoder,
    standing: set[Key],
    cell: Callable[[Key], Any],
    strict: bool,
    progress: Progress | None,
) -> tuple[Key, ...]:
    plan = store.pending()
    if plan is None:
        return ()
    if plan.provenance != provenance(encoder) or not standing.issuperset(plan.keys):
        store.abandon()
        return ()
    _work(store, encoder, plan, cell, strict, progress)
    return plan.keys


def provenance(encoder: Encoder) -> tuple[str, ...]:
    """What decides the last bits of the vectors: URI, runtime, batch size and threads."""
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    return (
        f"encoder {encoder.uri}",
        f"runtime {getattr(encoder, 'runtime', 'unknown')}",
        f"batch {encoder.batch_size}",
        f"threads {threads}",
    )


def _work(
    store: SpaceStore,
    encoder: Encoder,
    plan: Plan,
    cell: Callable[[Key], Any],
    strict: bool,
    progress: Progress | None,
) -> None:
    done = 0
    for number, keys in enumerate(plan.shards()):
        if not store.has(number):
            store.write(number, keys, *_shard(encoder, keys, cell, strict))
        done += len(keys)
        if progress is not None:
            progress(done, len(plan.keys))
    store.commit(plan)


def _shard(
    encoder: Encoder, keys: tuple[Key, ...], cell: Callable[[Key], Any], strict: bool
) -> tuple[np.ndarray | Tokens, dict[int, str]]:
    """Vectors of a shard; cells of equal content are encoded once."""
    first: dict[Any, int] = {}
    source = [first.setdefault(key.content or key, place) for place, key in enumerate(keys)]
    unique = sorted(set(source))
    result = encode(encoder, _Lazy(cell, [keys[place] for place in unique]))
    lost = {unique[place]: reason for place, reason in result.failed.items()}
    failed = {place: lost[at] for place, at in enumerate(source) if at in lost}
    if strict and failed:
        place = min(failed)
        raise ConjoinError(f"item {keys[place].id}", failed[place], "mend or remove the cell")
    row = {at: number for number, at in enumerate(at for at in unique if at not in lost)}
    rows = np.array([row[at] for at in source if at not in lost], dtype=np.int64)
    vectors = result.vectors
    return vectors.take(rows) if isinstance(vectors, Tokens) else vectors[rows], failed


class _Lazy(Sequence[Any]):
    """Cells fetched when a reader asks for them, so a shard's cells are never all in memory."""

    def __init__(self, cell: Callable[[Key], Any], keys: list[Key]):
        self._cell, self._keys = cell, keys

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place: Any) -> Any:
        return self._cell(self._keys[place])
