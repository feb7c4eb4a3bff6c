"""Does a list that ends by its scores hold more of what is right than one of a fixed length?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Choice, Search
from conjoin.claims.tasks.search.texts import bound_views
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import Bench, Setting, refuse_leak, whole_setting
from conjoin.evaluation.memo import once
from conjoin.evaluation.retrieval import drawn
from conjoin.retrieval.ranking.rerank import Cutoff
from conjoin.retrieval.ranking.truncation import Cut, Cutter
from conjoin.storage.digest import stable_hash

#: Hits at most.
MOST = 10


@dataclass(frozen=True, eq=False)
class List:
    """A query's whole list: falling scores, which hits are right, and the query's group."""

    scores: list[float]
    right: list[bool]
    group: int


@dataclass(frozen=True, eq=False)
class Chosen:
    """The rule that an arm chose, and the seed of its binding."""

    cut: Cut
    seed: int


@dataclass(frozen=True)
class Cutting:
    """End lists of hits so that they hold what is right and little else.

    The second view asks the first; a query of the same content asks once, and is right about the
    items of all its pairs, be they one or thirty. From the lists of a share of the queries every
    right item is taken out: there the best list is empty. Half of the training groups are bound;
    the other half asks among itself, and an arm learns from those lists where to end them. Each
    held-out query is then scored by ``f1``, ``2 TP / (2 TP + FP + FN)`` of the hits that are left
    of its list, which is 1 for an empty list where nothing is right. ``identity`` leaves ten hits.
    Chance is a length by lot, from none to ten.

    Parameters
    ----------
    astray : share of queries whose right items are taken out.
    aligner : ``ridge`` onto the asking view, or ``identity`` where both views share an encoder.
    """

    astray: Annotated[float, Search(0.0, 0.9)] = 0.25
    aligner: Annotated[str, Choice(("ridge", "cca", "identity"))] = "ridge"
    metrics: ClassVar[tuple[str, ...]] = ("f1",)
    judges: ClassVar[str] = "list-truncation"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity", "fixed-count")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Nine tenths of the training lines of the first two views."""
        whole = whole_setting(bench, tuple(bench.spaces)[:2])
        return whole.with_train(drawn(whole.train, None, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Chosen:
        """Learn where lists end from half of the training groups.

        Raises
        ------
        ConjoinError : the arm ends no lists.
        """
        if isinstance(made.aligner, Identity):
            return Chosen(Cutoff(-np.inf, MOST), seed)
        if not isinstance(made.aligner, Cutter):
            raise ConjoinError("arm", "ends no lists", "name one that does: score-threshold")
        inner = setting.inner(seed, parts=2)
        refuse_leak(inner.train, setting.bed.test)
        lists = _lists(inner, self.aligner, self.astray, seed)
        cut = made.aligner.choose([one.scores for one in lists], [one.right for one in lists])
        return Chosen(cut, seed)

    def judge(self, setting: Setting, fitted: Chosen) -> Scores:
        """Every held-out query's list, as the rule leaves it."""
        lists = self._held(setting, fitted.seed)
        found = [f1(one.right, fitted.cut.kept(one.scores)) for one in lists]
        return {"f1": Units(np.array(found), np.array([one.group for one in lists]))}

    def chance(self, setting: Setting) -> Scores:
        """A length by lot."""
        lists = self._held(setting, 0)
        found = [np.mean([f1(one.right, n) for n in range(MOST + 1)]) for one in lists]
        return {"f1": Units(np.array(found), np.array([one.group for one in lists]))}

    def _held(self, setting: Setting, seed: int) -> tuple[List, ...]:
        half = setting.with_train(setting.inner(seed, parts=2).train)
        return _lists(half, self.aligner, self.astray, seed)


def f1(right: Sequence[bool], kept: int) -> float:
    """F₁ of a list's first hits; of an empty list 1 where nothing is right.

    Examples
    --------
    >>> f1([True, False, True], 1), f1([False], 0), f1([False], 1)
    (0.6666666666666666, 1.0, 0.0)
    """
    found, total = sum(right[:kept]), sum(right)
    if not total:
        return float(kept == 0)
    return 2 * found / (min(kept, len(right)) + total)


@once(8)
def _lists(asked: Setting, aligner: str, astray: float, seed: int) -> tuple[List, ...]:
    """What every query of the gallery finds, under the binding of the training pairs."""
    target, query = asked.train.names[:2]
    _, bound = bound_views(asked, aligner, query, seed)
    gallery = bound[target].take(asked.bed.rows[target])
    queries = bound[query].take(asked.bed.rows[query])
    wanted = asked.bed.relevance(query, target)
    shown = gallery.frame.item(np.asarray(gallery.vectors, np.float32))
    asking = queries.frame.query(np.asarray(queries.vectors, np.float32))
    labels = asked.bed.clusters(query, wanted)
    found = []
    for line in _once(queries.content[wanted.queries]):
        row = wanted.queries[line]
        q = asking[row]
        items = np.full(wanted.n_items, -np.inf)
        np.maximum.at(items, wanted.item_of, shown @ q)
        right = np.isin(np.arange(wanted.n_items), wanted.of(int(line)))
        if _share(f"{queries.ids[row]}/{queries.parts[row]}") < astray:
            items, right = items[~right], right[~right]
        order = np.argsort(-items, kind="stable")
        group = stable_hash(str(labels[line]))
        found.append(List(items[order].tolist(), right[order].tolist(), group))
    return tuple(found)


def _once(content: np.ndarray) -> np.ndarray:
    """The first line of each content, in order; lines of unknown content all."""
    first = np.unique(content, return_index=True)[1]
    known = np.isin(np.arange(len(content)), first) | (content == 0)
    return np.flatnonzero(known)


def _share(name: str) -> float:
    """A number in [0, 1) by which queries lose their answers, the same for every seed."""
    return stable_hash(f"astray/{name}") / 2**63
