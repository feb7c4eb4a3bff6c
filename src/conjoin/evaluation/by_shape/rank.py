"""Ranking tasks: lists of encoders, runs, words and lengths, scored as ``trec_eval`` does."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from conjoin.evaluation.by_shape.base import Arm, Embed, Made, columns, unit_rows
from conjoin.evaluation.formats.base import Cells, Rank
from conjoin.metrics.generation.text import words

#: Documents of a list that are scored, as ``trec_eval`` and MTEB cut it.
DEPTH = 1000
#: Queries scored against the corpus at once.
BLOCK = 256


def units(task: Rank) -> tuple[np.ndarray, np.ndarray]:
    """Groups and tags of the answerable queries."""
    names = answerable(task)
    groups = np.array([task.groups.get(name, name) for name in names])
    return groups, np.array([task.tags.get(name, "") for name in names])


def answerable(task: Rank) -> list[str]:
    """The queries with a relevant document, in order of their names."""
    return sorted(q for q, judged in task.relevance.items() if any(g > 0 for g in judged.values()))


def ranked(task: Rank, arms: Sequence[Arm]) -> Iterator[Made]:
    """Every run, every trivial order and every arm, in turn."""
    names = answerable(task)
    for run, lists in task.runs.items():
        began = time.monotonic()
        rows = [_list_score(_best(lists.get(q, {})), task.relevance[q]) for q in names]
        yield Made(run, "run", columns(rows), {}, time.monotonic() - began)
    if task.corpus is None or task.queries is None:
        return
    shown = sorted(task.corpus.values, reverse=True)  # of ties, the later name first
    chance = _chance(task, names, len(shown))
    asked = Cells(task.queries.kind, {q: task.queries.values[q] for q in names})
    corpus = Cells(task.corpus.kind, {d: task.corpus.values[d] for d in shown})
    for name, kind, scores in _scorers(asked, corpus, arms):
        began = time.monotonic()
        rows = []
        for start in range(0, len(names), BLOCK):
            for q, row in zip(names[start : start + BLOCK], scores(start), strict=True):
                order = np.argsort(-row, kind="stable")[:DEPTH]
                rows.append(_list_score([shown[i] for i in order], task.relevance[q]))
        yield Made(name, kind, columns(rows), chance, time.monotonic() - began)


Blocks = Callable[[int], np.ndarray]


def _scorers(asked: Cells, corpus: Cells, arms: Sequence[Arm]) -> Iterator[tuple[str, str, Blocks]]:
    """By arm, a function from the first query of a block to scores ``[b, documents]``."""
    if asked.kind == corpus.kind == "text":
        yield "longest text", "trivial", _constant(asked, corpus)
        yield "words (BM25)", "trivial", bm25(asked, corpus)
    for arm in arms:
        yield arm.name, "encoder", _Cosine(arm.embed, asked, corpus)


@dataclass
class _Cosine:
    """Cosines by block; embedded at the first call, so that the arm's time holds it."""

    embed: Embed
    asked: Cells
    corpus: Cells
    sides: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, start: int) -> np.ndarray:
        if self.sides is None:
            self.sides = unit_rows(self.embed(self.asked)), unit_rows(self.embed(self.corpus))
        left, right = self.sides
        return left[start : start + BLOCK] @ right.T


def _constant(asked: Cells, corpus: Cells) -> Blocks:
    sizes = np.array([len(text) for text in corpus.values.values()], dtype=np.float64)
    count = len(asked.values)
    return lambda start: np.broadcast_to(sizes, (min(BLOCK, count - start), len(sizes)))


def bm25(asked: Cells, corpus: Cells, k: float = 1.2, b: float = 0.75) -> Blocks:
    """Scores by BM25 over words in lower case, without stemming or stop words."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(tokenizer=words, token_pattern=None, lowercase=False)
    counts = counter.fit_transform(corpus.values.values()).astype(np.float64).tocsr()
    lengths = np.asarray(counts.sum(axis=1)).ravel()
    own = counts.copy()
    spread = k * (1 - b + b * lengths / lengths.mean())
    own.data = own.data * (k + 1) / (own.data + np.repeat(spread, np.diff(own.indptr)))
    holds = np.asarray((counts > 0).sum(axis=0)).ravel()
    weight = np.log1p((counts.shape[0] - holds + 0.5) / (holds + 0.5))
    queries = counter.transform(asked.values.values()).multiply(weight).tocsr()
    return lambda start: (queries[start : start + BLOCK] @ own.T).toarray()


def _best(found: Mapping[str, float]) -> list[str]:
    """Documents by score, of ties the later name first, as ``trec_eval`` orders them."""
    return sorted(sorted(found, reverse=True), key=lambda d: -found[d])[:DEPTH]


def _list_score(order: Sequence[str], judged: Mapping[str, int]) -> dict[str, float]:
    """The measures of ``trec_eval`` for one list; gains are the grades."""
    gains = np.array([max(0, judged.get(document, 0)) for document in order], dtype=np.float64)
    ideal = np.sort([g for g in judged.values() if g > 0])[::-1].astype(np.float64)
    right = np.flatnonzero(gains)
    count = len(ideal)
    at = 1 / np.log2(np.arange(2, 12))
    return {
        "ndcg@10": float(gains[:10] @ at[: len(gains[:10])] / (ideal[:10] @ at[: min(10, count)])),
        "map": float((np.arange(1, len(right) + 1) / (right + 1)).sum() / count),
        "mrr": float(1 / (right[0] + 1)) if len(right) else 0.0,
        "recall@10": float((right < 10).sum() / count),
        "hit@1": float(len(right) > 0 and right[0] == 0),
    }


def _chance(task: Rank, names: Sequence[str], n: int) -> dict[str, float]:
    """Exact expectations under a random order of ``n`` documents, averaged over queries."""
    at = 1 / np.log2(np.arange(2, 12))[: min(10, n)]
    rows = []
    for name in names:
        ideal = np.sort([g for g in task.relevance[name].values() if g > 0])[::-1]
        best = float(ideal[:10] @ at[: min(10, len(ideal))])
        rows.append({
            "ndcg@10": float(ideal.sum() / n * at.sum() / best),
            "recall@10": min(10, n) / n,
            "hit@1": len(ideal) / n,
        })  # fmt: skip
    return {metric: float(values.mean()) for metric, values in columns(rows).items()}
