"""Vectors as weights of words: how much is found through an inverted index?"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Search
from conjoin.claims.tasks.search.texts import bound_views, captions, embedded_words
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import answers, by_chance, directions, drawn, gathered
from conjoin.metrics.retrieval.ranks import rank_queries
from conjoin.metrics.retrieval.scores import metric
from conjoin.retrieval.sparse.sparse import SparseEncoder, words_of
from conjoin.spaces import unit


@dataclass(frozen=True, eq=False)
class Fitted:
    """Rows of each view as they are scored by inner product."""

    rows: dict[str, np.ndarray]


@dataclass(frozen=True)
class Terms:
    """Find each held-out row's partner in the other view by weights of words, both ways.

    Views are bound by ridge onto the second, whose encoder also reads the vocabulary: words that
    stand in two training captions or more. ``identity`` searches the bound vectors as they are.

    Parameters
    ----------
    vocabulary : words at most.
    """

    vocabulary: Annotated[int, Search(4, 100_000, log=True)] = 1000
    metrics: ClassVar[tuple[str, ...]] = ("recall@10", "mrr", "recall@1")
    judges: ClassVar[str] = "sparse-encoder"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity", "nearest-words")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Nine tenths of the training lines of the first two views."""
        whole = whole_setting(bench, tuple(bench.spaces)[:2])
        return whole.with_train(drawn(whole.train, None, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Fitted:
        """Weigh the words of every row.

        Raises
        ------
        ConjoinError : the arm weighs no words.
        """
        names = setting.train.names[:2]
        fitted, bound = bound_views(setting, "ridge", names[1], seed)
        views = {name: unit(np.asarray(bound[name].vectors, np.float64)) for name in names}
        if isinstance(made.aligner, Identity):
            return Fitted({n: v.astype(np.float32) for n, v in views.items()})
        if not isinstance(made.aligner, SparseEncoder):
            raise ConjoinError("arm", "weighs no words", "name one that does: lexical-head")
        words = self._words(setting, names[1])
        codebook = fitted.maps[names[1]].apply(embedded_words(setting.bench, names[1], words))
        pairs = setting.train.select(names)
        head: Any = made.aligner.fit(views, pairs, codebook, seed=seed)
        return Fitted({n: head.weights(n, v).toarray().astype(np.float32)
                       for n, v in views.items()})  # fmt: skip

    def _words(self, setting: Setting, view: str) -> list[str]:
        said = captions(setting.bench, view)
        rows = setting.train.column(view)
        ids = dict.fromkeys(map(str, setting.spaces[view].ids[np.unique(rows[rows >= 0])]))
        return words_of([" ".join(said[item]) for item in ids if item in said], self.vocabulary)

    def judge(self, setting: Setting, fitted: Fitted) -> Scores:
        """Every direction's queries, one after the other."""
        found = []
        for query, target, wanted, groups in answers(setting, directions(setting)):
            asked, shown = (fitted.rows[n][setting.bed.rows[n]] for n in (query, target))
            ranking = rank_queries(asked, shown, wanted)
            found.append(({m: metric(m).per_query(ranking) for m in self.metrics}, groups))
        return gathered(found)

    def chance(self, setting: Setting) -> Scores:
        """A gallery in random order."""
        return by_chance(setting, directions(setting), self.metrics)
