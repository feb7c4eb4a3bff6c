"""What speed and storage cost: recall against the exact ranking, with intervals."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.retrieval.engines.quantization import Codes, Storage
from conjoin.retrieval.engines.scan import Engine, ranked
from conjoin.retrieval.index.index import Index
from conjoin.stats.bootstrap import interval

#: Scores as near as this are the same score.
TIE = 1e-5
#: Storage choices that are compared; prefixes are of half, a quarter, an eighth of the width.
CHOICES = ("float16", "int8", "binary")


@dataclass(frozen=True)
class Recall:
    """Share of the k best rows that were found, over queries.

    Parameters
    ----------
    value, low, high : mean and 95 % bootstrap interval over queries.
    k, queries : what it was measured with.
    ms, exact_ms : median milliseconds of a query put alone, with and without what is judged.
    """

    value: float
    low: float
    high: float
    k: int
    queries: int
    ms: float
    exact_ms: float

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return asdict(self)


@dataclass(frozen=True)
class Loss:
    """What a storage choice loses in one modality: by its codes alone, and after re-ranking."""

    modality: str
    storage: Storage
    bytes: int
    codes: Recall
    reranked: Recall

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "modality": self.modality, "storage": asdict(self.storage), "bytes": self.bytes,
            "codes": self.codes.to_json(), "reranked": self.reranked.to_json(),
        }  # fmt: skip


def recall_of(
    index: Index,
    target: str,
    queries: Mapping[str, np.ndarray],
    engine: Engine | None,
    *,
    k: int = 10,
    seed: int = 0,
    timed: int = 20,
    wanted: Mapping[str, np.ndarray] | None = None,
) -> Recall:
    """Recall@k of an engine against scoring every row, corrections included.

    A row found whose score ties the k-th best is as good as it.

    Parameters
    ----------
    queries : by modality, as ``Frame.query`` gives them.
    timed : queries put one by one to time them; 0 leaves the times out.
    wanted : what :func:`exact_scores` gave, where it is known.
    """
    wanted = exact_scores(index, target, queries, k) if wanted is None else wanted
    hits: list[np.ndarray] = []
    fast, slow = [], []
    for source, q in queries.items():
        gallery = index.gallery((source, target))
        rule = index.corrections.get((source, target))
        moved = rule is not None and rule.gallery_map is not None
        use = None if moved else engine
        found = ranked(q, gallery, k, correction=rule, engine=use)[1]
        hits.append((found >= wanted[source][:, -1:] - TIE).mean(axis=1))
        for line in q[: -(-timed // len(queries))]:
            fast.append(_ms(lambda: ranked(line[None], gallery, k, correction=rule, engine=use)))  # noqa: B023
            slow.append(_ms(lambda: ranked(line[None], gallery, k, correction=rule)))  # noqa: B023
    if not hits:
        raise ConjoinError("queries", f"none into {target}", "bind another modality")
    times = [float(np.median(taken)) if taken else 0.0 for taken in (fast, slow)]
    return _recall(np.concatenate(hits), k, seed, *times)


def exact_scores(
    index: Index, target: str, queries: Mapping[str, np.ndarray], k: int = 10
) -> dict[str, np.ndarray]:
    """By modality, the scores ``[q, k]`` of the best rows when every row is scored."""
    return {
        source: ranked(q, index.gallery((source, target)), k,
                       correction=index.corrections.get((source, target)))[1]
        for source, q in queries.items()
    }  # fmt: skip


def _recall(hits: np.ndarray, k: int, seed: int, ms: float, exact_ms: float) -> Recall:
    low = high = float(hits.mean())
    if len(hits) > 1:
        low, high = interval(hits, np.arange(len(hits)), seed=seed)
    return Recall(float(hits.mean()), low, high, k, len(hits), ms, exact_ms)


def _ms(work: Any) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def storage_losses(
    index: Index,
    target: str,
    queries: Mapping[str, np.ndarray],
    *,
    choices: Iterable[Storage] | None = None,
    k: int = 10,
    seed: int = 0,
) -> list[Loss]:
    """What each storage choice loses in one modality, on these queries.

    ``codes`` ranks by the codes alone; ``reranked`` is what a search gives.
    """
    gallery = index.gallery(("", target)).gallery
    cosine = index.frame.score == "cosine"
    found = []
    for storage in offered(index.frame.dim) if choices is None else choices:
        engine = Codes.of(storage, gallery, cosine=cosine)
        engine_recall = recall_of(index, target, queries, engine, k=k, seed=seed)
        own = [_by_codes(index, target, source, q, engine, k) for source, q in queries.items()]
        alone = _recall(np.concatenate(own), k, seed, engine_recall.ms, engine_recall.exact_ms)
        size = storage.bytes(index.frame.dim)
        found.append(Loss(target, storage, size, alone, engine_recall))
    return found


def offered(dim: int) -> list[Storage]:
    """The choices that are compared at a width."""
    short = [Storage(prefix=p) for p in (dim // 2, dim // 4, dim // 8) if p >= 8]
    funnels = [Storage(prefix=p, funnel=True) for p in (dim // 8,) if p >= 8]
    return [Storage(), *(Storage(kind) for kind in CHOICES), *short, *funnels]


def _by_codes(
    index: Index, target: str, source: str, q: np.ndarray, engine: Codes, k: int
) -> np.ndarray:
    """Share of the exact k best among the first k by codes; plain scores on both sides."""
    gallery = index.gallery(("", target))
    k = min(k, len(gallery))
    wanted = ranked(q, gallery, k)[1]
    plain = Codes(
        type(engine.coder)(
            Storage(engine.coder.storage.kind, engine.coder.storage.prefix), engine.coder.cosine,
            engine.coder.mean, engine.coder.turn, engine.coder.step,
        ), engine.codes, engine.gallery,
    )  # fmt: skip
    rows = plain.candidates(q, k, None, None)
    picked = np.asarray(gallery.gallery[rows.ravel()], dtype=np.float64).reshape(*rows.shape, -1)
    scores = np.einsum("qkd,qd->qk", picked, q.astype(np.float64))
    return (scores >= wanted[:, -1:] - TIE).mean(axis=1)
