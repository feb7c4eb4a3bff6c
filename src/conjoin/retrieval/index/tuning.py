"""Which engine serves a modality of a store, by its size and by the recall that was measured.

Recall is measured on queries that were not used to build the engine; what was chosen and measured
stands in the store's manifest.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.retrieval.engines.ann import FaissIVF, LanceIVF, build_lists, lists_for
from conjoin.retrieval.engines.kernels import have
from conjoin.retrieval.engines.quantization import Storage
from conjoin.retrieval.index.cache import Live
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.index.opening import open_engine, write_lists
from conjoin.retrieval.index.recall import Recall, exact_scores, recall_of
from conjoin.retrieval.index.store import IndexStore
from conjoin.retrieval.index.versions import Held

#: Rows below which every row is scored.
SMALL = 50_000
#: Recall that an engine must reach, by the lower end of its interval.
GOAL = 0.95
#: Queries on which an engine is tuned.
QUERIES = 256
#: Candidates for each of the k that are tried.
WIDES = (80, 40, 20, 10, 5)
#: Microseconds of a list looked into, of a row in it, and of a candidate scored exactly.
PRICE = 5.0, 0.012, 0.8

ENGINES = ("auto", "exact", "faiss", "lance")


def tune(
    store: IndexStore,
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
            made = open_engine(store, entry, held, live[held.modality], told)
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
    store: IndexStore, held: Held, live: Live, index: Index,
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
        told |= write_lists(store.cache(held.modality, index.frame).folder, held, lists)
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
