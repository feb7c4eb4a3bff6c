"""Running an encoder over cells: read ahead, batch like lengths, lose only the cells at fault."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from conjoin.encoders import devices
from conjoin.encoders.base import CellError, Encoded, Encoder
from conjoin.encoders.ledger import Ledger
from conjoin.encoders.remarks import listening
from conjoin.errors import ConjoinError, MissingDependency, Unreachable, one_line
from conjoin.items.cells import MEDIA
from conjoin.spaces import Tokens
from conjoin.spaces.store import Elsewhere, Key, Plan, SpaceStore
from conjoin.storage.files import FORMAT, read_json, write_json

#: Threads that read cells while the encoder computes.
READERS = 2
#: Cells without files that one task of a reader takes.
TOGETHER = 64


@runtime_checkable
class Column(Protocol):
    """Cells that are walked for their keys and fetched one by one."""

    def list_keys(self) -> list[Key]:
        """The keys in row order."""
        ...

    def get(self, item: str, part: int = 0) -> Any:
        """One cell."""
        ...


@runtime_checkable
class Looked(Protocol):
    """A column that tells more than its keys."""

    def look(self) -> Iterator[Any]:
        """Of each cell its ``key``, the hash of the ``place`` it names, and why it is ``away``."""
        ...


@dataclass(frozen=True)
class Survey:
    """What a column holds now, without its cells; :func:`survey` makes one.

    Parameters
    ----------
    keys : of every cell, in order; content 0 where it cannot be told now.
    places : hash of the file or address a cell names, where it names one.
    away : why a cell cannot be read now, of those that cannot.
    """

    keys: tuple[Key, ...]
    places: dict[Key, int] = field(default_factory=dict)
    away: dict[Key, str] = field(default_factory=dict)

    @classmethod
    def of(cls, keys: Iterable[Key], away: Mapping[Key, str] | None = None) -> "Survey":
        """A survey of keys.

        Raises
        ------
        ConjoinError : two share an item and part.
        """
        found = cls(tuple(keys), away=dict(away or {}))
        if len({key[:2] for key in found.keys}) < len(found.keys):
            raise ConjoinError(
                "embed", "an item and part repeats", "give each row its own id and part"
            )
        return found

    def among(self, chosen: Collection[tuple[str, int]]) -> "Survey":
        """Of some cells, given by item and part."""
        keys = tuple(key for key in self.keys if key[:2] in chosen)
        away = {key: self.away[key] for key in keys if key in self.away}
        return Survey(keys, {k: self.places[k] for k in keys if k in self.places}, away)

    def pruned(self) -> "Survey":
        """The same, with nothing kept for cells that cannot be read now."""
        return Survey(self.keys, self.places)


def survey(column: "Column", told: Callable[[int], None] | None = None) -> Survey:
    """Walk a column once for its keys, what they name, and what cannot be read now.

    Parameters
    ----------
    told : called with the cells walked so far, after each.

    Raises
    ------
    ConjoinError : two rows share an item and part, or (by the column) every cell is missing.
    """
    if not isinstance(column, Looked):
        return Survey.of(column.list_keys())
    keys, places, away = [], {}, {}
    for look in column.look():
        keys.append(look.key)
        if told is not None:
            told(len(keys))
        if look.place:
            places[look.key] = look.place
        if look.away is not None:
            away[look.key] = look.away
    found = Survey.of(keys, away)
    return Survey(found.keys, places, away)


Cells = Column | Sequence[tuple[Key, Any]] | Callable[[Key], Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EmbedResult:
    """What embedding a column did.

    Parameters
    ----------
    made, kept, dropped : rows made, kept as they were, and dropped.
    failed : reason of each row that has no vector.
    away : reason of each kept row whose cell cannot be read now.
    said : by remark of a reader ("cut at 256 tokens"), the rows it is true of.
    """

    made: int
    kept: int
    dropped: int
    failed: dict[Key, str]
    away: dict[Key, str] = field(default_factory=dict)
    said: dict[str, int] = field(default_factory=dict)


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
    away: set[int] = set()
    said: dict[str, list[int]] = {}
    done = 0
    for window in _decoded(encoder, cells, 16 * size):
        good = []
        for place, item, trouble, heard in window:
            for text in heard:
                said.setdefault(text, []).append(place)
            if trouble is None:
                good.append((place, item))
                continue
            if isinstance(trouble, Unreachable | MissingDependency):
                away.add(place)
            _fail(failed, place, _reason(trouble), strict)
        _through(encoder, good, size, batch_size is None, rows, failed, strict)
        done += len(window)
        if on_progress is not None:
            on_progress(done, len(cells))
    vectors = _gather(encoder, [rows[place] for place in sorted(rows)])
    told = {
        text: kept for text, places in said.items() if (kept := [p for p in places if p in rows])
    }
    return Encoded(vectors, failed, frozenset(away), told)


def _fail(failed: dict[int, str], place: int, reason: str, strict: bool) -> None:
    if strict:
        raise ConjoinError(f"cell {place}", reason, "fix or remove the cell")
    failed[place] = reason


#: A cell's place, what was decoded of it, what went wrong, and what its reader remarked.
_Read = tuple[int, Any, Exception | None, list[str]]


def _reason(trouble: Exception) -> str:
    """Why a cell failed, on a line; of an unforeseen exception, its class too."""
    if isinstance(trouble, CellError | ConjoinError):
        return one_line(trouble, 400)
    said = one_line(trouble)
    name = type(trouble).__name__
    return name if said == name else f"{name}: {said}"


def _decoded(
    encoder: Encoder, cells: Sequence[Any] | np.ndarray, window: int
) -> Iterator[list[_Read]]:
    """Windows of cells as they are read; one window is read ahead."""

    def read(place: int) -> _Read:
        with listening() as heard:
            try:
                cell = cells[place]
                if isinstance(cell, CellError):
                    raise cell
                return place, encoder.decode(cell), None, heard
            except Exception as error:  # whatever a reader may raise: the cell fails alone
                return place, None, error, heard

    def several(places: range) -> list[_Read]:
        return [read(place) for place in places]

    # A file is worth a task of its own; what lies in the table already costs less than the task.
    each = 1 if encoder.kind in MEDIA else TOGETHER
    with ThreadPoolExecutor(READERS, "reader") as pool:
        ahead: list[Any] = []
        for start in range(0, len(cells), window):
            stop = min(start + window, len(cells))
            ahead.append([
                pool.submit(several, range(at, min(at + each, stop)))
                for at in range(start, stop, each)
            ])  # fmt: skip
            if len(ahead) == 2:
                yield [one for future in ahead.pop(0) for one in future.result()]
        for futures in ahead:
            yield [one for future in futures for one in future.result()]


def _through(
    encoder: Encoder, good: list[tuple[int, Any]], size: int, find: bool,
    rows: dict[int, np.ndarray], failed: dict[int, str], strict: bool,
) -> None:  # fmt: skip
    """A window in batches of like lengths; one that does not fit into memory is halved.

    Parameters
    ----------
    find : whether the encoder's own sizes are followed, where it finds them while it runs.
    """
    sizes = getattr(encoder, "sizes", None) if find else None
    sizes = devices.BatchSize(size) if sizes is None else sizes
    ordered = sorted(good, key=lambda pair: -encoder.length(pair[1]))
    while ordered:
        batch = ordered[: sizes.now]
        try:
            _forward(encoder, batch, rows, failed, strict)
        except Exception as error:
            if len(batch) == 1 or not devices.out_of_memory(error):
                raise
            sizes.fails(len(batch))
        else:
            sizes.fits(len(batch))
            ordered = ordered[len(batch) :]
            continue
        devices.free()  # out of the handler, whose traceback holds the batch


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
    keys: Sequence[Key] | Survey | None = None,
    shard_rows: int = 1024,
    retry_failed: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> EmbedResult:
    """Bring a store up to a column: make what is new, keep what stands, drop what is gone.

    An unfinished job is finished first, by its own plan, if all its rows still stand with the
    same content; otherwise its plan is given up. Rows are made shard by shard, so memory does
    not grow with the column, and a job killed anywhere ends, resumed, with the same bytes. A row
    whose cell cannot be read now (a drive that is away, a host that is silent) keeps its vector,
    unless the cell is known to name something else than it did.

    Parameters
    ----------
    rows : a column of items; or ``(key, cell)`` in order; or a function from key to cell with
        ``keys`` beside it. A cell may be a :class:`CellError` saying why there is none.
    keys : with a function, the keys; with a column, a :func:`survey` of it, made before.
    shard_rows : rows a shard; fixes which rows share a batch.
    retry_failed : try again the cells that failed before.
    strict : refuse at the first cell that fails; what was made stays for the next run.
    progress : called with (rows done, rows to make) after each shard.

    Raises
    ------
    ConjoinError : two rows share a key, ``keys`` is missing, or ``strict`` and a cell failed.
    """
    seen, cell = _cells(rows, keys)
    job = _Job(store, encoder, cell, Ledger(store.folder), strict, progress)
    return _brought(job, seen, shard_rows, retry_failed)


def embed_elsewhere(
    store: SpaceStore, encoder: Encoder, seen: Survey, elsewhere: Elsewhere, *,
    shard_rows: int = 1024, retry_failed: bool = False, strict: bool = False,
    progress: Progress | None = None,
) -> EmbedResult:  # fmt: skip
    """:func:`embed` whose shards are made outside this process, which reads no cell of them.

    Parameters
    ----------
    encoder : tells the frame and provenance; the workers have one of their own.
    seen : what the column holds now.
    """
    job = _Job(store, encoder, _unread, Ledger(store.folder), strict, progress, elsewhere)
    return _brought(job, seen, shard_rows, retry_failed)


def _unread(key: Key) -> Any:
    raise ValueError(f"{key.id} is read by whoever makes its shard")


def _brought(job: "_Job", seen: Survey, shard_rows: int, retry: bool) -> EmbedResult:
    """Finish what is pending, drop what is gone and make what is new, as a job does it."""
    store, ledger = job.store, job.ledger
    _refuse_away(seen, job.strict)
    store.sweep()
    before = store.live()
    finished = _finish_pending(job, seen)
    live, failed = store.live() if finished else before, store.failed()
    held = _held(seen, live, ledger)
    wanted = [held.get(key, key) for key in seen.keys]
    standing = set(wanted)
    ledger.put_places({held.get(key, key): place for key, place in seen.places.items()})
    gone = [key for key in live if key not in standing]
    _let_go(store, [*gone, *(key for key in failed if key not in standing)])
    known = set(live) if retry else {*live, *failed}
    fresh = [key for key in wanted if key not in known]
    if fresh:
        ledger.write()
        job.work(store.begin(fresh, shard_rows, job.provenance))
    ledger.keep(standing)
    ledger.write()
    worked = {*finished, *fresh}
    made = len(worked.intersection(store.live({key.id for key in worked})))
    return EmbedResult(
        made, len(standing.intersection(before)), len(gone), store.failed(),
        {row: seen.away[key] for key, row in held.items()}, ledger.counts(),
    )  # fmt: skip


def _refuse_away(seen: Survey, strict: bool) -> None:
    """Refuse, where strict, a column of which a cell cannot be read now."""
    for key, reason in seen.away.items() if strict else ():
        raise ConjoinError(f"item {key.id}", reason, "bring it back, or leave out --strict")


def _let_go(store: SpaceStore, keys: list[Key]) -> None:
    if keys:
        store.drop(keys)


def renew(
    store: SpaceStore, encoder: Encoder, rows: Sequence[tuple[Key, Any]], items: Collection[str]
) -> EmbedResult:
    """Bring the rows of some items up to date, and leave those of all others as they are.

    Only the cells given are encoded. An unfinished job of the whole column is given up: the next
    :func:`embed` makes what it had not.

    Parameters
    ----------
    rows : every cell of these items, with its key.
    items : their ids; one without a cell loses its rows.
    """
    cells = dict(rows)
    ledger, chosen = Ledger(store.folder), frozenset(items)
    held = set(store.live(chosen))
    gone = [key for key in (*held, *store.failed()) if key.id in chosen and key not in cells]
    if gone:
        store.drop(gone)
    fresh = [key for key in cells if key not in held]
    if fresh:
        job = _Job(store, encoder, cells.__getitem__, ledger, False, None)
        job.work(store.begin(fresh, 1024, provenance(encoder)))
    failed = {key: reason for key, reason in store.failed().items() if key.id in chosen}
    return EmbedResult(
        len(fresh) - len(failed), len(held & cells.keys()), len(gone), failed,
        {key: str(cell) for key, cell in rows if isinstance(cell, Unreachable)},
    )  # fmt: skip


def _cells(rows: Cells, keys: Sequence[Key] | Survey | None) -> tuple[Survey, Callable[[Key], Any]]:
    seen = keys if isinstance(keys, Survey) else None
    if isinstance(rows, Column):
        return seen or survey(rows), lambda key: rows.get(key.id, key.part)
    if callable(rows):
        if keys is None:
            raise ConjoinError("embed", "a function of keys without keys", "give keys=[...]")
        return keys if isinstance(keys, Survey) else Survey.of(keys), rows
    table = dict(rows)
    away = {k: str(c) for k, c in rows if isinstance(c, Unreachable) and not k.content}
    return Survey.of([key for key, _ in rows], away=away), table.__getitem__


def _held(seen: Survey, live: Sequence[Key], ledger: Ledger) -> dict[Key, Key]:
    """By the key of a cell that cannot be read now, the row that stands for it."""
    rows = {(key.id, key.part): key for key in live} if seen.away else {}
    return {key: rows[key[:2]] for key in seen.away
            if key[:2] in rows and _same_place(seen, key, rows[key[:2]], ledger)}  # fmt: skip


def _same_place(seen: Survey, key: Key, row: Key, ledger: Ledger) -> bool:
    """Whether nothing tells that a row was made of something else than its cell names now."""
    then, now = ledger.place(row), seen.places.get(key, 0)
    return not then or not now or then == now


def _finish_pending(job: "_Job", seen: Survey) -> tuple[Key, ...]:
    plan = job.store.pending()
    if plan is None:
        return ()
    standing = {*seen.keys, *_held(seen, plan.keys, job.ledger).values()}
    if plan.provenance != job.provenance or not standing.issuperset(plan.keys):
        job.store.abandon()
        return ()
    job.work(plan)
    return plan.keys


def provenance(encoder: Encoder, threads: int | None = None) -> tuple[str, ...]:
    """What decides the last bits of the vectors: URI, runtime, batch size and threads.

    Parameters
    ----------
    threads : of the workers, where this process makes no vectors.
    """
    here = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    return (
        f"encoder {encoder.uri}",
        f"runtime {getattr(encoder, 'runtime', 'unknown')}",
        f"batch {encoder.batch_size}",
        f"threads {here if threads is None else threads}",
    )


@dataclass(frozen=True)
class _Job:
    """What the shards of a plan are made with."""

    store: SpaceStore
    encoder: Encoder
    cell: Callable[[Key], Any]
    ledger: Ledger
    strict: bool
    progress: Progress | None
    elsewhere: Elsewhere | None = None

    @property
    def provenance(self) -> tuple[str, ...]:
        """Of the vectors, wherever they are made."""
        threads = None if self.elsewhere is None else self.elsewhere.threads
        return provenance(self.encoder, threads)

    def work(self, plan: Plan) -> None:
        """Make the shards that are not there, note what was remarked, and publish them."""
        done, shards = 0, plan.shards()
        for number in self._made(plan, range(len(shards))):
            done += len(shards[number])
            if self.progress is not None:
                self.progress(done, len(plan.keys))
        self.ledger.hush(plan.keys)
        for number, keys in enumerate(shards):
            path = _said(self.store, number)
            said = read_json(path, ["said"])["said"] if path.exists() else {}
            self.ledger.put_remarks({text: [keys[p] for p in at] for text, at in said.items()})
        # Before the shards go: killed here, the next run reads them again.
        self.ledger.write()
        self.store.commit(plan)

    def _made(self, plan: Plan, numbers: Iterable[int]) -> Iterator[int]:
        """Shards as they are there, in order unless they are made elsewhere."""
        lacking = []
        for number in numbers:
            if self.store.has(number):
                yield number
            elif self.elsewhere is not None:
                lacking.append(number)
            else:
                make_shard(self.store, self.encoder, self.cell, plan, number, strict=self.strict)
                yield number
        if self.elsewhere is not None and lacking:
            yield from self.elsewhere.make(plan, lacking, self.strict)


def _said(store: SpaceStore, number: int) -> Path:
    return store.folder / "shards" / f"{number:06d}.json"


def make_shard(
    store: SpaceStore, encoder: Encoder, cell: Callable[[Key], Any], plan: Plan, number: int,
    *, strict: bool = False,
) -> None:  # fmt: skip
    """Write one shard of a store's pending plan, whole, under its final name.

    Raises
    ------
    ConjoinError : ``strict`` and a cell failed.
    """
    keys = plan.shard(number)
    made = encode_shard(encoder, keys, cell, strict)
    write_json(_said(store, number), {"version": FORMAT, "said": made.said})
    # A cell that went away since it was looked at is not known to be at fault.
    keys = tuple(
        key._replace(content=0) if place in made.away else key for place, key in enumerate(keys)
    )
    store.write(number, keys, made.vectors, made.failed)


def encode_shard(
    encoder: Encoder, keys: tuple[Key, ...], cell: Callable[[Key], Any], strict: bool
) -> Encoded:
    """Vectors of a shard; cells of equal content are encoded once."""
    first: dict[Any, int] = {}
    source = [first.setdefault(key.content or key, place) for place, key in enumerate(keys)]
    unique = sorted(set(source))
    result = encode(encoder, _Lazy(cell, [keys[place] for place in unique]))
    lost = {unique[place]: reason for place, reason in result.failed.items()}
    failed = {place: lost[at] for place, at in enumerate(source) if at in lost}
    if strict and failed:
        place = min(failed)
        raise ConjoinError(f"item {keys[place].id}", failed[place], "fix or remove the cell")
    row = {at: number for number, at in enumerate(at for at in unique if at not in lost)}
    rows = np.array([row[at] for at in source if at not in lost], dtype=np.int64)
    vectors = result.vectors
    taken = vectors.take(rows) if isinstance(vectors, Tokens) else vectors[rows]
    return Encoded(
        taken, failed, frozenset(_spread(result.away, unique, source)),
        {text: _spread(at, unique, source) for text, at in result.said.items()},
    )  # fmt: skip


def _spread(places: Iterable[int], unique: Sequence[int], source: Sequence[int]) -> list[int]:
    """Places of all cells that are like those at some places of the encoded ones."""
    like = {unique[place] for place in places}
    return [place for place, at in enumerate(source) if at in like]


class _Lazy(Sequence[Any]):
    """Cells fetched when a reader asks for them, so a shard's cells are never all in memory."""

    def __init__(self, cell: Callable[[Key], Any], keys: list[Key]):
        self._cell, self._keys = cell, keys

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place: Any) -> Any:
        return self._cell(self._keys[place])
