"""Scores of arms on a published task: intervals over groups, chance, the best trivial answer."""

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError, nearest
from conjoin.evaluation.formats.base import Cells, Contrast, Format, Generate, Rank, Task
from conjoin.metrics.generation.text import cider_d, exact_match, rouge_l, unigram_f1, words
from conjoin.stats.bootstrap import interval, paired_difference

#: Documents of a list that are scored, as ``trec_eval`` and MTEB cut it.
DEPTH = 1000
#: Queries scored against the corpus at once.
BLOCK = 256

#: From cells of one kind to vectors ``[n, d]`` of one space, whatever the kind.
Embed = Callable[[Cells], np.ndarray]


@dataclass(frozen=True)
class Arm:
    """What is judged: a name and how it places cells; ``None`` where a run says the order."""

    name: str
    embed: Embed


@dataclass(frozen=True)
class Score:
    """One metric of one arm on one task, with its interval over groups."""

    metric: str
    value: float
    low: float | None
    high: float | None
    chance: float | None = None
    tags: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON-able fields."""
        return {**vars(self), "tags": dict(self.tags)}


@dataclass(frozen=True)
class Judged:
    """One arm on one task.

    Parameters
    ----------
    kind : ``trivial``, ``run`` or ``encoder``.
    seconds, peak_mb : wall time of the arm; peak memory of the process when it had ended.
    units : by metric, the value of each unit, in the task's order; not part of the JSON.
    """

    arm: str
    kind: str
    scores: tuple[Score, ...]
    seconds: float
    peak_mb: float
    units: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        """As JSON-able fields."""
        scores = [each.to_json() for each in self.scores]
        return {"arm": self.arm, "kind": self.kind, "scores": scores,
                "seconds": round(self.seconds, 3), "peak_mb": round(self.peak_mb, 1)}  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """Two arms on the same units: ``first − second`` with its interval over groups."""

    metric: str
    first: str
    second: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """A task, every arm on it, and the differences between arms that are no trivial answers."""

    task: str
    format: str
    shape: str
    n: int
    groups: int
    arms: tuple[Judged, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON-able fields."""
        own = {k: v for k, v in vars(self).items() if k not in ("arms", "differences", "notes")}
        return {
            **own,
            "arms": [each.to_json() for each in self.arms],
            "differences": [vars(each) for each in self.differences],
            "notes": list(self.notes),
        }


def open_task(path: Path, *, split: str = "test", name: str | None = None) -> tuple[str, Task]:
    """The task at a path, and the name of its format.

    Parameters
    ----------
    name : of the format, where it is not to be recognised.

    Raises
    ------
    ConjoinError : the path is not there, is laid out in no known format, or in another than named.
    """
    if not path.is_dir():
        raise ConjoinError(str(path), "is no folder", "give the folder of a benchmark")
    path = path.resolve()
    known: dict[str, Format] = {n: row.make() for n, row in of_kind("format").items()}
    if name is not None and name not in known:
        raise ConjoinError("--format", f"{name!r} is unknown", nearest(name, known))
    seen = [each for each, one in known.items() if one.recognises(path)]
    if name is not None and name not in seen:
        said = f"is laid out as {known[seen[0]].title}" if seen else "is not laid out so"
        raise ConjoinError(str(path), said, f"{known[name].title} has {known[name].looks_for}")
    if not seen:
        said = "; ".join(f"{one.title}: {one.looks_for}" for one in known.values())
        raise ConjoinError(str(path), "is no known benchmark format", f"known are {said}")
    chosen = name or seen[0]
    return chosen, known[chosen].open(path, split)


def judge(task: Task, layout: str, arms: Sequence[Arm] = (), *, seed: int = 0) -> Result:
    """Every arm on a task, beside trivial answers.

    Raises
    ------
    ConjoinError : there is nothing to judge: no arm, and the task holds no outputs of systems.
    """
    if isinstance(task, Rank):
        groups, tags, made = *_units(task), _ranked(task, arms)
    elif isinstance(task, Contrast):
        groups = np.array([foil.image for foil in task.foils])
        tags = np.array([foil.tag for foil in task.foils])
        made = _contrasted(task, arms)
    else:
        groups = np.array(list(task.references))
        tags = np.full(len(groups), "")
        made = _generated(task)
    found = tuple(_judged(one, groups, tags, seed) for one in made)
    if not any(one.kind != "trivial" for one in found):
        raise ConjoinError(task.name, "no encoder and no run to judge", "give --encoder URI")
    return Result(
        task.name, layout, task.shape, len(groups), len(np.unique(groups)), found,
        tuple(_differences(found, groups, seed)), task.notes,
    )  # fmt: skip


@dataclass(frozen=True)
class _Made:
    name: str
    kind: str
    units: Mapping[str, np.ndarray]
    chance: Mapping[str, float]
    seconds: float


def _judged(made: _Made, groups: np.ndarray, tags: np.ndarray, seed: int) -> Judged:
    scores = []
    for metric, values in made.units.items():
        span: tuple[float | None, float | None] = (None, None)
        if len(np.unique(groups)) > 1:
            span = interval(values, groups, seed=seed)
        parts = {str(t): float(values[tags == t].mean()) for t in np.unique(tags) if t}
        scores.append(Score(metric, float(values.mean()), *span, made.chance.get(metric), parts))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Judged(made.name, made.kind, tuple(scores), made.seconds, peak, made.units)


def _differences(found: Sequence[Judged], groups: np.ndarray, seed: int) -> Iterator[Difference]:
    own = [one for one in found if one.kind != "trivial"]
    if len(np.unique(groups)) < 2:
        return
    for at, first in enumerate(own):
        for second in own[at + 1 :]:
            for metric, values in first.units.items():
                value, low, high, _ = paired_difference(
                    values, second.units[metric], groups, seed=seed
                )
                yield Difference(metric, first.arm, second.arm, value, low, high)


def _units(task: Rank) -> tuple[np.ndarray, np.ndarray]:
    names = answerable(task)
    groups = np.array([task.groups.get(name, name) for name in names])
    return groups, np.array([task.tags.get(name, "") for name in names])


def answerable(task: Rank) -> list[str]:
    """The queries with a relevant document, in order of their names."""
    return sorted(q for q, judged in task.relevance.items() if any(g > 0 for g in judged.values()))


def _ranked(task: Rank, arms: Sequence[Arm]) -> Iterator[_Made]:
    names = answerable(task)
    for run, lists in task.runs.items():
        began = time.monotonic()
        rows = [_list_score(_best(lists.get(q, {})), task.relevance[q]) for q in names]
        yield _Made(run, "run", _columns(rows), {}, time.monotonic() - began)
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
        yield _Made(name, kind, _columns(rows), chance, time.monotonic() - began)


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


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1))


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


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    return {metric: np.array([row[metric] for row in rows]) for metric in rows[0]}


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
    return {metric: float(values.mean()) for metric, values in _columns(rows).items()}


def _contrasted(task: Contrast, arms: Sequence[Arm]) -> Iterator[_Made]:
    sizes = np.array([len(f.true) - len(f.false) for f in task.foils])
    for name, won in (("longer text", sizes > 0), ("shorter text", sizes < 0)):
        yield _Made(name, "trivial", {"accuracy": won.astype(float)}, {"accuracy": 0.5}, 0.0)
    number = {f"{i}": foil for i, foil in enumerate(task.foils)}
    for arm in arms:
        began = time.monotonic()
        seen = unit_rows(arm.embed(Cells("image", {i: f.image for i, f in number.items()})))
        true = unit_rows(arm.embed(Cells("text", {i: f.true for i, f in number.items()})))
        false = unit_rows(arm.embed(Cells("text", {i: f.false for i, f in number.items()})))
        won = (seen * true).sum(axis=1) > (seen * false).sum(axis=1)  # a tie is no pass
        units = {"accuracy": won.astype(float)}
        yield _Made(arm.name, "encoder", units, {"accuracy": 0.5}, time.monotonic() - began)


def _generated(task: Generate) -> Iterator[_Made]:
    items = list(task.references)
    often = Counter(t for texts in task.references.values() for t in texts).most_common(1)[0][0]
    other = {
        item: task.references[items[at - 1]][0] for at, item in enumerate(items)
    }  # another item's reference
    same = dict.fromkeys(items, often)
    trivial = {"the most frequent reference": same, "another item's reference": other}
    for kind, arms in (("trivial", trivial), ("run", task.outputs)):
        for name, texts in arms.items():
            began = time.monotonic()
            whole = {item: texts.get(item, "") for item in items}
            told = cider_d(whole, task.references)
            units = {"cider-d": np.array([told[item] for item in items])}
            for metric, of in _OF_TEXTS.items():
                values = [of(whole[item], task.references[item]) for item in items]
                units[metric] = np.array(values)
            yield _Made(name, kind, units, {}, time.monotonic() - began)


_OF_TEXTS = {"rouge-l": rouge_l, "f1": unigram_f1, "exact": exact_match}
