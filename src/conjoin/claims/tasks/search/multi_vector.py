"""Items of several vectors: which one score of them finds best?"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Choice
from conjoin.claims.tasks.search.hybrid_search import scores_of
from conjoin.claims.tasks.search.texts import bound_views
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import drawn
from conjoin.retrieval.multi_vector.aggregate import (
    Ensemble,
    MultiVector,
    Pooling,
    Several,
    parts_of_items,
)
from conjoin.spaces import Pairs, Space, Tokens
from conjoin.storage.digest import stable_hash


@dataclass(frozen=True, eq=False)
class Asked:
    """Queries and gallery as an aggregation reads them, and the item of each line."""

    queries: Several
    gallery: Several
    items: np.ndarray


@dataclass(frozen=True, eq=False)
class Fitted:
    """An aggregation, and the held-out lines it is asked."""

    method: MultiVector
    asked: Asked


@dataclass(frozen=True)
class Parts:
    """Find held-out items that are known by several vectors.

    Over ``parts`` the first view asks and the second, with several rows an item, answers; the
    first is mapped to it by ridge on the training pairs, or left as it is under ``identity``. Over
    ``encoders`` all views but the last are encoders of one cell: each asks for the last view,
    mapped to it by ridge. ``identity`` knows the first part, or the first encoder, alone.

    Parameters
    ----------
    over : ``parts`` or ``encoders``.
    aligner : how the views meet.
    """

    over: Annotated[str, Choice(("parts", "encoders"))] = "parts"
    aligner: Annotated[str, Choice(("ridge", "identity"))] = "ridge"
    metrics: ClassVar[tuple[str, ...]] = ("recall@10", "mrr", "recall@1")
    judges: ClassVar[str] = "multi-vector"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Nine tenths of the training lines; of the first two views, or of all encoders."""
        names = tuple(bench.spaces)
        whole = whole_setting(bench, names if self.over == "encoders" else names[:2])
        return whole.with_train(drawn(whole.train, None, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Fitted:
        """Fit the aggregation to the training lines.

        Raises
        ------
        ConjoinError : the arm is no aggregation, or reads the other kind of thing.
        """
        method = made.aligner
        if isinstance(method, Identity):
            first = Ensemble(((setting.train.names[0], 1.0),))
            method = Pooling("first") if self.over == "parts" else first
        if not isinstance(method, MultiVector) or method.reads != self.over:
            raise ConjoinError("arm", f"no aggregation of {self.over}", "name one that is")
        read = self._parts if self.over == "parts" else self._encoders
        bound = self._bound(setting, seed)
        learn = read(setting, bound, _ids(setting, setting.train, seed))
        method = method.fit(learn.queries, learn.gallery, seed=seed)
        return Fitted(method, read(setting, bound, self._held(setting)))

    def judge(self, setting: Setting, fitted: Fitted) -> Scores:
        """Where each held-out item stands when its first view asks."""
        queries = fitted.method.queries(fitted.asked.queries)
        scores = fitted.method.scores(queries, fitted.method.items(fitted.asked.gallery))
        right = np.diag(scores)[:, None]
        ties = (scores == right).sum(axis=1) - 1
        places = 1 + (scores > right).sum(axis=1) + ties / 2
        return scores_of(places, self._groups(setting), self.metrics)

    def chance(self, setting: Setting) -> Scores:
        """A gallery in random order."""
        groups = self._groups(setting)
        n = len(groups)
        worth = {
            "mrr": float((1 / np.arange(1, n + 1)).mean()),
            **{m: min(1.0, int(m.split("@")[1]) / n) for m in self.metrics if "@" in m},
        }
        return {m: Units(np.full(n, worth[m]), groups) for m in self.metrics}

    def _held(self, setting: Setting) -> list[str]:
        return _ids(setting, setting.bed.test, 0)

    def _groups(self, setting: Setting) -> np.ndarray:
        group = setting.bench.groups
        return np.array([stable_hash(group[item]) for item in self._held(setting)])

    def _bound(self, setting: Setting, seed: int) -> Any:
        names = setting.train.names
        if self.over == "parts":
            return bound_views(setting, self.aligner, names[1], seed)[1]
        return {
            name: bound_views(
                setting.with_train(setting.train.select((name, names[-1]))), "ridge", name, seed
            )[1]
            for name in names[:-1]
        }

    def _parts(self, setting: Setting, bound: Any, items: list[str]) -> Asked:
        asking, answering = setting.train.names[:2]
        queries, gallery = (_sets(bound[name], items) for name in (asking, answering))
        return Asked(queries, gallery, np.array(items))

    def _encoders(self, setting: Setting, bound: Any, items: list[str]) -> Asked:
        last = setting.train.names[-1]
        queries = {name: _sets(b[name], items).mean() for name, b in bound.items()}
        gallery = {name: _sets(b[last], items).mean() for name, b in bound.items()}
        return Asked(queries, gallery, np.array(items))


def _sets(space: Space, items: list[str]) -> Tokens:
    """The rows of each item, in the order of ``items``."""
    ids, held = parts_of_items(space)
    place = {str(item): at for at, item in enumerate(ids)}
    return held.take(np.array([place[item] for item in items]))


def _ids(setting: Setting, pairs: Pairs, seed: int) -> list[str]:
    """Items of lines that every view has, each once, sorted."""
    whole = pairs.rows[(pairs.rows >= 0).all(axis=1)]
    columns = [
        setting.spaces[name].ids[whole[:, at]].astype(str) for at, name in enumerate(pairs.names)
    ]
    same = np.all([column == columns[0] for column in columns], axis=0)
    return sorted(set(columns[0][same].tolist()))
