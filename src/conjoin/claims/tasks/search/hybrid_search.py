"""Do words and vectors find together what neither finds alone?"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Choice, Search
from conjoin.claims.tasks.search.texts import bound_views, captions
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import Bench, Setting, refuse_leak, whole_setting
from conjoin.evaluation.memo import once
from conjoin.evaluation.retrieval import by_chance, drawn
from conjoin.retrieval.lexical.bm25 import Lexical
from conjoin.retrieval.ranking.hybrid import Judged, place_of, tune
from conjoin.retrieval.ranking.score_fusion import Alone, Scored, ScoreFusion
from conjoin.storage.digest import stable_hash

LISTS = ("dense", "bm25")


@dataclass(frozen=True, eq=False)
class Mixed:
    """A mixer with the weights tuned for it, and the binding's seed."""

    mixer: ScoreFusion
    weights: dict[str, float]
    seed: int


@dataclass(frozen=True)
class Hybrid:
    """Find items by a text of theirs, through vectors and through the words of another text.

    The arms are mixers of two lists: ``dense``, the cosine of the asked text's vector with the
    gallery's under a closed binding of the training pairs; and ``bm25``, the asked words in what
    the gallery's items are called. ``identity`` is the dense list alone. Weights are tuned on so
    many ``queries`` of a fifth of the training groups, asked of that fifth under a binding of the
    rest, by the mean reciprocal place.

    Parameters
    ----------
    queries : judged queries that weights are tuned on.
    aligner : ``ridge`` onto the asked view, or ``identity`` where both views share an encoder.
    asked : held-out queries at most, the same ones for every arm and seed.
    """

    queries: Annotated[int, Search(4, 10_000, log=True)] = 50
    aligner: Annotated[str, Choice(("ridge", "cca", "identity"))] = "ridge"
    asked: Annotated[int, Search(4, 100_000, log=True)] = 1000
    metrics: ClassVar[tuple[str, ...]] = ("recall@10", "mrr", "recall@1")
    judges: ClassVar[str] = "score-fusion"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity", "lexical-alone", "rrf")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Nine tenths of the training lines of the first two views."""
        whole = whole_setting(bench, tuple(bench.spaces)[:2])
        return whole.with_train(drawn(whole.train, None, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Mixed:
        """Tune the mixer's weights on a fifth of the training groups.

        Raises
        ------
        ConjoinError : the arm is no mixer.
        """
        if isinstance(made.aligner, Identity):
            return Mixed(Alone("dense"), {}, seed)
        if not isinstance(made.aligner, ScoreFusion):
            raise ConjoinError("arm", "no score fusion", "name one, such as cc")
        if not made.aligner.tunable:
            return Mixed(made.aligner, {}, seed)
        inner = setting.inner(seed)
        refuse_leak(inner.train, setting.bed.test)
        judged = _judged(inner, self.aligner, seed, self.queries)
        return Mixed(made.aligner, tune(judged, made.aligner, LISTS), seed)

    def judge(self, setting: Setting, fitted: Mixed) -> Scores:
        """Every held-out query's first right answer."""
        judged = _judged(setting, self.aligner, fitted.seed, self.asked)
        weights = fitted.weights or None
        places = [place_of(fitted.mixer.mix(q.lists, weights), q.relevant) for q in judged]
        groups = np.array([int(q.group) for q in judged])
        return scores_of(np.array(places), groups, self.metrics)

    def chance(self, setting: Setting) -> Scores:
        """A gallery in random order."""
        query, target = setting.train.names[:2]
        whole = by_chance(setting, [(query, target)], self.metrics)
        kept = _chosen(setting, query, target, self.asked)
        return {m: Units(u.values[kept], u.groups[kept]) for m, u in whole.items()}


def scores_of(places: np.ndarray, groups: np.ndarray, metrics: Sequence[str]) -> Scores:
    """Metrics of the place of each query's first right answer."""
    found = {
        "mrr": 1 / places,
        **{m: (places <= int(m.split("@")[1])).astype(float) for m in metrics if "@" in m},
    }
    return {metric: Units(found[metric], groups) for metric in metrics}


def _chosen(setting: Setting, query: str, target: str, most: int) -> np.ndarray:
    """Which queries with an answer are asked: the first by hash, in their own order."""
    wanted = setting.bed.relevance(query, target)
    space = setting.spaces[query]
    rows = setting.bed.rows[query][wanted.queries]
    order = np.argsort([stable_hash(f"{space.ids[r]}/{space.parts[r]}") for r in rows])
    return np.sort(order[:most])


@once(4)
def _judged(setting: Setting, aligner: str, seed: int, most: int) -> tuple[Judged, ...]:
    query, target = setting.train.names[:2]
    _, bound = bound_views(setting, aligner, query, seed)
    gallery = bound[target].take(setting.bed.rows[target])
    shown = gallery.frame.item(np.asarray(gallery.vectors, np.float32))
    ids = np.unique(gallery.ids)
    owner = np.searchsorted(ids, gallery.ids)
    wanted = setting.bed.relevance(query, target)
    kept = _chosen(setting, query, target, most)
    labels = setting.bed.clusters(query, wanted)
    asked = captions(setting.bench, query)
    called = captions(setting.bench, target)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        words = Lexical.open(Path(folder), {item: called[item] for item in ids if item in called})
        for at in kept:
            row = int(setting.bed.rows[query][wanted.queries[at]])
            item, part = str(bound[query].ids[row]), int(bound[query].parts[row])
            q = bound[query].frame.query(np.asarray(bound[query].vectors[row], np.float32))
            dense = np.full(len(ids), -np.inf)
            np.maximum.at(dense, owner, shown @ q)
            lists: dict[str, Any] = {
                "dense": Scored(ids, dense, min(-1.0, float(dense.min()))),
                "bm25": words.search(asked[item][part]),
            }
            right = np.isin(wanted.item_of, wanted.of(int(at)))
            relevant = frozenset(gallery.ids[right].tolist())
            found.append(Judged(lists, relevant, str(stable_hash(str(labels[at])))))
    return tuple(found)
