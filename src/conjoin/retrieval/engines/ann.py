"""Engines for large indexes: inverted lists whose candidates are ranked exactly.

Which engine serves a modality is decided by its size and by the recall measured on queries that
were not used to build it; what was chosen and measured stands in the store's manifest.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from conjoin.errors import ConjoinError, optional
from conjoin.retrieval.engines.exact import Penalty, top_k
from conjoin.retrieval.engines.kernels import Picked, Tiles, have
from conjoin.retrieval.engines.quantization import Storage, stored_codes
from conjoin.retrieval.engines.scan import Engine
from conjoin.retrieval.index.cache import Live
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.index.recall import Recall, exact_scores, recall_of
from conjoin.spaces.space import BLOCK
from conjoin.storage.digest import digest
from conjoin.storage.files import WHOLE, file_digest, within

if TYPE_CHECKING:
    from conjoin.retrieval.index.store import IndexStore
    from conjoin.retrieval.index.versions import Held, Version

#: Rows below which every row is scored.
SMALL = 50_000
#: Recall that an engine must reach, by the lower end of its interval.
GOAL = 0.95
#: Queries on which an engine is tuned.
QUERIES = 256
#: Candidates for each of the k where nothing was tuned: lists hold two bits a dimension, the
#: database's one.
WIDE = 10
#: Candidates for each of the k that are tried.
WIDES = (80, 40, 20, 10, 5)
#: Microseconds of a list looked into, of a row in it, and of a candidate scored exactly.
PRICE = 5.0, 0.012, 0.8
#: Share of the rows that may be in no list before the lists are added to.
TAIL = 0.1
#: Width from which codes are short.
MIN_FAST = 16
#: Rows a list is trained on, and rounds of it and of its codes: more change recall by nothing.
TRAINED, ROUNDS = 32, 3

ENGINES = ("auto", "exact", "faiss", "lance")


class FaissIVF:
    """faiss inverted lists of short codes, by row number; see ``Engine``.

    Rows added since they were built are scored as they are, rows deleted are passed over.

    Parameters
    ----------
    index : what :func:`build_lists` made.
    numbers : the live rows' numbers, ascending.
    gallery : the live rows.
    upto : the number from which rows are in no list.
    """

    def __init__(
        self, index: Any, numbers: np.ndarray, gallery: Any, upto: int, *, nprobe: int = 1,
        wide: int = WIDE,
    ):  # fmt: skip
        self._faiss = optional("faiss", "accel")
        self.index, self.gallery, self.nprobe, self.wide = index, gallery, nprobe, wide
        self._numbers = np.asarray(numbers)
        self._listed = int(np.searchsorted(self._numbers, upto))
        self._plain = self._listed == index.ntotal and self._listed == upto
        late = np.arange(self._listed, len(numbers))
        self._tail = Tiles(Picked(gallery, late)) if len(late) else None
        self._live: Any = None

    def candidates(
        self, q: np.ndarray, keep: int, penalty: Penalty | None, allowed: np.ndarray | None
    ) -> np.ndarray:
        """Rows ``[q, keep]``; the penalty is left to the exact scores."""
        found = self.index.search(q, keep, params=self._params(allowed))[1]
        if not self._plain:
            at = np.searchsorted(self._numbers, found)
            found = np.where(found < 0, -1, np.minimum(at, len(self._numbers) - 1))
        if self._tail is None:
            return found
        late = top_k(q, self._tail, keep)[1] + self._listed
        if allowed is not None:
            late = np.where(np.isin(late, allowed), late, -1)
        return np.concatenate([found, late], axis=1)

    def _params(self, allowed: np.ndarray | None) -> Any:
        if allowed is None and self._plain:
            return self._faiss.SearchParametersIVF(nprobe=self.nprobe)
        if allowed is None and self._live is None:
            self._live = self._selector(self._numbers[: self._listed])
        chosen = self._live
        if allowed is not None:
            listed = allowed[: np.searchsorted(allowed, self._listed)]
            chosen = self._selector(self._numbers[listed])
        return self._faiss.SearchParametersIVF(nprobe=self.nprobe, sel=chosen[0])

    def _selector(self, numbers: np.ndarray) -> tuple[Any, np.ndarray]:
        """A selector and the bits it points to, which must outlive it."""
        bits = np.zeros(int(self._numbers[-1]) + 1, dtype=bool)
        bits[numbers] = True
        packed = np.packbits(bits, bitorder="little")
        return self._faiss.IDSelectorBitmap(len(packed), self._faiss.swig_ptr(packed)), packed


def lists_for(rows: int) -> int:
    """How many lists: the power of two next below four times the root of the rows."""
    return int(2 ** np.floor(np.log2(max(4.0, 4 * np.sqrt(rows)))))


def build_lists(gallery: Any, numbers: np.ndarray, *, seed: int = 0) -> Any:
    """Inverted lists over rows, trained on a sample of them.

    A code is four bits for two dimensions, which fast scan reads 32 rows at a time; of an odd
    width, a byte a dimension. Half the size of byte codes, and four times as fast at the same
    recall after exact scores.
    """
    faiss = optional("faiss", "accel")
    n, dim = gallery.shape
    count = lists_for(n)
    codes = f"PQ{dim // 2}x4fs" if dim % 2 == 0 and dim >= MIN_FAST else "SQ8"
    index = faiss.index_factory(dim, f"IVF{count},{codes}", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.niter, index.cp.spherical = seed + 1, ROUNDS, True
    index.cp.max_points_per_centroid = index.cp.min_points_per_centroid = TRAINED
    index.by_residual = True  # a code says where a row lies from its list's centre
    if codes != "SQ8":
        index.pq.cp.niter = ROUNDS
    picked = np.random.default_rng([seed, 6]).permutation(n)[: TRAINED * count]
    index.train(np.ascontiguousarray(gallery[np.sort(picked)], dtype=np.float32))
    _append(index, gallery, numbers)
    return index


def _append(index: Any, gallery: Any, numbers: np.ndarray) -> None:
    for start in range(0, len(numbers), BLOCK):
        rows = np.ascontiguousarray(gallery[start : start + BLOCK], dtype=np.float32)
        index.add_with_ids(rows, np.ascontiguousarray(numbers[start : start + BLOCK]))


class LanceIVF:
    """The database's own inverted lists of binary codes, refined by its float32 rows.

    It serves where faiss is not installed.
    """

    def __init__(self, table: Any, numbers: np.ndarray, *, nprobe: int = 8, wide: int = WIDE):
        self._table, self._numbers = table, np.asarray(numbers)
        self.nprobe, self.wide = nprobe, wide

    def candidates(
        self, q: np.ndarray, keep: int, penalty: Penalty | None, allowed: np.ndarray | None
    ) -> np.ndarray:
        """Rows ``[q, keep]``; a filter is applied to more candidates."""
        share = 1.0 if allowed is None else len(allowed) / len(self._numbers)
        asked = min(len(self._numbers), int(keep / max(share, 0.05)))
        found = np.full((len(q), asked), -1, dtype=np.int64)
        for place, line in enumerate(q):
            search = self._table.search(line, vector_column_name="vector").distance_type("dot")
            search = search.nprobes(self.nprobe).refine_factor(4).select(["row", "_distance"])
            rows = search.limit(asked).to_arrow().column("row").to_numpy()
            found[place, : len(rows)] = np.searchsorted(self._numbers, rows)
        if allowed is not None:
            found = np.where(np.isin(found, allowed), found, -1)
        return found


# What a store holds of them


def open_engines(
    store: "IndexStore", entry: "Version", live: Mapping[str, Live], index: Index
) -> dict[str, Engine]:
    """The engines a version names; rows are all scored where one cannot be opened."""
    made: dict[str, Engine] = {}
    for held in entry.held:
        told = entry.engines.get(held.modality)
        if told is not None and held.modality in live:
            engine = _opened(store, entry, held, live[held.modality], told)
            if engine is not None:
                made[held.modality] = engine
    return made


def _opened(
    store: "IndexStore", entry: "Version", held: "Held", live: Live, told: Mapping[str, Any]
) -> Engine | None:
    folder = store.cache(held.modality, entry.frame).folder
    kind = told["engine"]
    if kind == "codes":
        storage = Storage(told["storage"], told["prefix"], told["funnel"])
        segments = [(segment.path, segment.vectors) for segment in live.segments]
        return stored_codes(
            folder, storage, live.vectors, segments, live.stacked,
            cosine=entry.frame.score == "cosine",
        )  # fmt: skip
    if kind == "faiss":
        path = within(folder, told["file"])
        if not (have("faiss") and path.exists()) or _rotten(path, told.get("digest")):
            return None
        faiss = optional("faiss", "accel")
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        return FaissIVF(
            index, live.numbers, live.vectors, told["upto"], nprobe=told["nprobe"],
            wide=told.get("wide", WIDE),
        )  # fmt: skip
    if kind == "lance" and have("lancedb"):
        table = store.table_at(held)
        return LanceIVF(table, live.numbers, nprobe=told["nprobe"], wide=told.get("wide", WIDE))
    return None


def tune(
    store: "IndexStore",
    queries: Mapping[str, np.ndarray],
    *,
    engine: str = "auto",
    storage: Storage | None = None,
    seed: int = 0,
) -> dict[str, Recall | None]:
    """Choose, build and name what finds candidates in each modality.

    Every row is scored below :data:`SMALL` rows, unless a storage is given. Above, inverted lists
    are built. Of the numbers of lists to look into and of candidates to score exactly, the
    cheapest is taken whose recall@10 reaches :data:`GOAL` by the lower end of its interval; where
    none does, every row is scored.

    Parameters
    ----------
    queries : by modality, vectors as ``Frame.query`` gives them, not those a binding was judged
        on.
    engine : one of :data:`ENGINES`.

    Returns
    -------
    The recall measured, by modality; ``None`` where every row is scored.
    """
    if engine not in ENGINES:
        raise ConjoinError("[index] engine", repr(engine), f"give one of {', '.join(ENGINES)}")
    entry = store.version()
    index = store.open(engines=False)
    live = {held.modality: store.live(entry, held) for held in entry.held}
    named: dict[str, Mapping[str, Any]] = {}
    measured: dict[str, Recall | None] = {}
    for held in entry.held:
        asked = queries_into(queries, held.modality)
        told, found = None, None
        if storage is not None and storage != Storage():
            told = {"engine": "codes", "storage": storage.kind, "prefix": storage.prefix,
                    "funnel": storage.funnel}  # fmt: skip
            made = _opened(store, entry, held, live[held.modality], told)
            found = recall_of(index, held.modality, asked, made, seed=seed)
        elif engine in ("faiss", "lance") or (held.rows >= SMALL and engine == "auto"):
            told, found = _tuned(store, held, live[held.modality], index, asked, engine)
        measured[held.modality] = found
        if told is not None and found is not None:
            named[held.modality] = {**told, "recall": found.to_json()}
    if named or entry.engines:
        store.engine(named)
    return measured


def queries_into(queries: Mapping[str, np.ndarray], target: str) -> dict[str, np.ndarray]:
    """Up to :data:`QUERIES` queries of the other modalities, or its own where it is alone."""
    others = {name: rows for name, rows in queries.items() if name != target} or dict(queries)
    share = max(1, QUERIES // max(1, len(others)))
    return {name: rows[:share] for name, rows in others.items() if len(rows)}


def _tuned(
    store: "IndexStore", held: "Held", live: Live, index: Index,
    asked: Mapping[str, np.ndarray], engine: str,
) -> tuple[dict[str, Any] | None, Recall | None]:  # fmt: skip
    use = engine if engine != "auto" else ("faiss" if have("faiss") else "lance")
    made: FaissIVF | LanceIVF
    if use == "faiss":
        lists = build_lists(live.vectors, np.asarray(live.numbers))
        made, most = FaissIVF(lists, live.numbers, live.vectors, held.next), lists.nlist
    else:
        most = lists_for(held.rows)
        made = LanceIVF(store.listed(held.modality, most), live.numbers)
    wanted = exact_scores(index, held.modality, asked)

    def reaches(nprobe: int, wide: int) -> bool:
        made.nprobe, made.wide = nprobe, wide
        found = recall_of(index, held.modality, asked, made, timed=0, wanted=wanted)
        return found.low >= GOAL

    cheapest = _cheapest(_steps(most), held.rows / most, reaches)
    if cheapest is not None:
        made.nprobe, made.wide = cheapest
    found = recall_of(index, held.modality, asked, made, wanted=wanted)
    if cheapest is None:
        return None, found
    told: dict[str, Any] = {"engine": use, "nprobe": made.nprobe, "wide": made.wide}
    if use == "faiss":
        told |= _written(store, index, held, lists)
    return told, found


def _cheapest(
    steps: Sequence[int], rows: float, reaches: Callable[[int, int], bool]
) -> tuple[int, int] | None:
    """The numbers of lists and of candidates that cost least and reach the goal.

    Fewer candidates never need fewer lists, and more lists always cost more: what follows from a
    trial is not tried.
    """
    best: tuple[float, int, int] | None = None
    first = 0
    for wide in WIDES:
        for place in range(first, len(steps)):
            cost = _cost(steps[place], wide, rows)
            if best is not None and cost >= best[0]:
                break
            if reaches(steps[place], wide):
                best, first = (cost, steps[place], wide), place
                break
        if best is None:
            break
    return None if best is None else best[1:]


def _cost(nprobe: int, wide: int, rows: float) -> float:
    """About how long a query takes: lists of so many rows, and candidates scored exactly."""
    probe, row, candidate = PRICE
    return nprobe * (probe + row * rows) + 10 * wide * candidate


def _steps(most: int) -> Sequence[int]:
    """Numbers of lists to look into: ever more, in steps of about 1.4, up to half of them."""
    steps = np.unique(np.round(np.geomspace(1, max(1, most // 2), 2 * int(np.log2(most)))))
    return [int(step) for step in steps]


def _written(store: "IndexStore", index: Index, held: "Held", lists: Any) -> dict[str, Any]:
    folder = store.cache(held.modality, index.frame).folder
    name = f"lists-{digest([held.table, held.version, held.next])}.faiss"
    return {"file": name, "upto": held.next, "digest": _write_lists(folder / name, lists)}


def _write_lists(path: Path, lists: Any) -> str:
    """Write lists whole, and see that they open; their digest."""
    faiss = optional("faiss", "accel")
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        faiss.write_index(lists, str(temporary))
        found = faiss.read_index(str(temporary), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        if found.ntotal != lists.ntotal:
            raise RuntimeError(f"{found.ntotal} of {lists.ntotal} rows")
        mark = file_digest(temporary)
        temporary.replace(path)
    except (RuntimeError, OSError) as error:
        temporary.unlink(missing_ok=True)
        raise ConjoinError(
            str(path), "could not be written whole", "free space on the disk and run again"
        ) from error
    return mark


def _rotten(path: Path, mark: Any) -> bool:
    """Whether lists that are small enough to read are not those that were written."""
    return bool(mark) and path.stat().st_size <= WHOLE and file_digest(path) != mark


def follow(store: "IndexStore", entry: "Version") -> dict[str, Mapping[str, Any]]:
    """The engines of a version; lists get the rows in none where those are over :data:`TAIL`."""
    named = dict(entry.engines)
    for held in entry.held:
        told = named.get(held.modality)
        if told is None or told["engine"] != "faiss" or not have("faiss"):
            continue
        live = store.live(entry, held)
        late = int(np.searchsorted(live.numbers, told["upto"]))
        path = store.cache(held.modality, entry.frame).folder / told["file"]
        if len(live.numbers) - late <= TAIL * len(live.numbers) or not path.exists():
            continue
        if _rotten(path, told.get("digest")):
            continue
        faiss = optional("faiss", "accel")
        lists = faiss.read_index(str(path))
        _append(lists, live.vectors[late:], np.asarray(live.numbers[late:]))
        name = f"lists-{digest([held.table, held.version, held.next])}.faiss"
        mark = _write_lists(path.with_name(name), lists)
        named[held.modality] = {**told, "file": name, "upto": held.next, "digest": mark}
    return named
