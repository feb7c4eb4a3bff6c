"""Does a rule that chooses evidence keep more of what is right than the best scores do?"""

from dataclasses import dataclass
from math import comb
from typing import Annotated, ClassVar

import numpy as np
from scipy import sparse

from conjoin.alignment.closed_form.linear import Identity
from conjoin.answering.selection.base import Picker, Pool, Question, Selector, TopK, picked
from conjoin.catalogue import Choice, Search
from conjoin.claims.tasks.search.texts import bound_views
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import Bench, Setting, refuse_leak, whole_setting
from conjoin.evaluation.memo import once
from conjoin.evaluation.retrieval import drawn
from conjoin.spaces import unit
from conjoin.storage.digest import stable_hash

#: Pieces of evidence, at most, and turns that are remembered.
BUDGET, TURNS = 5, 2


@dataclass(frozen=True, eq=False)
class Asked:
    """A question, which pieces answer it (none where they were taken out), and its group."""

    question: Question
    rows: np.ndarray
    right: frozenset[int]
    group: int


@dataclass(frozen=True, eq=False)
class Chosen:
    """The rule as an arm learnt it, and the seed of its binding."""

    picker: Picker
    seed: int


@dataclass(frozen=True)
class Selecting:
    """Choose at most five pieces of evidence for each held-out question.

    The second view asks the first, bound by ridge; a class is a chapter, whose pieces are linked,
    and whose questions come as the turns of one conversation, those before answered right. Half of
    the training groups are bound; the other half asks among itself, and an arm learns from that.
    From a share of the questions every right piece is taken out. ``recall`` is 1 where a right
    piece is among the first five kept, over questions that have one; ``f1`` is ``2 TP / (2 TP + FP
    + FN)`` of what is kept, and of nothing kept 1 where nothing is right. ``identity`` keeps the
    five best scores. Chance is five pieces by lot.

    Parameters
    ----------
    astray : share of questions whose right pieces are taken out.
    aligner : ``ridge`` onto the asking view, or ``identity`` where both views share an encoder.
    """

    astray: Annotated[float, Search(0.0, 0.9)] = 0.25
    aligner: Annotated[str, Choice(("ridge", "cca", "identity"))] = "ridge"
    metrics: ClassVar[tuple[str, ...]] = ("recall", "f1")
    judges: ClassVar[str] = "selector"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Nine tenths of the training lines of the first two views."""
        whole = whole_setting(bench, tuple(bench.spaces)[:2])
        return whole.with_train(drawn(whole.train, None, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Chosen:
        """Learn from half of the training groups.

        Raises
        ------
        ConjoinError : the arm chooses no evidence.
        """
        if isinstance(made.aligner, Identity):
            return Chosen(TopK(BUDGET), seed)
        if not isinstance(made.aligner, Selector):
            raise ConjoinError("arm", "chooses no evidence", "name one that does: diverse")
        inner = setting.inner(seed, parts=2)
        refuse_leak(inner.train, setting.bed.test)
        pool, asked = _asked(inner, self.aligner, 0.0, seed)
        right = np.array([min(one.right, default=-1) for one in asked])
        questions = [one.question for one in asked]
        return Chosen(made.aligner.fit(pool, questions, right, seed=seed), seed)

    def judge(self, setting: Setting, fitted: Chosen) -> Scores:
        """Every held-out question."""
        pool, asked = self._held(setting, fitted.seed)
        kept = []
        for one in asked:
            own = pool if len(one.rows) == len(pool) else pool.take(one.rows)
            found = picked(fitted.picker, one.question, own)[:BUDGET]
            kept.append(one.rows[found].tolist())
        return _scores(
            [float(bool(one.right & set(rows))) for one, rows in zip(asked, kept, strict=True)],
            [f1(one.right, rows) for one, rows in zip(asked, kept, strict=True)], asked,
        )  # fmt: skip

    def chance(self, setting: Setting) -> Scores:
        """Five pieces by lot."""
        _, asked = self._held(setting, 0)
        hit, whole = [], []
        for one in asked:
            n, r = len(one.rows), len(one.right)
            k = min(BUDGET, n)
            hit.append(1 - comb(n - r, k) / comb(n, k))
            whole.append(2 * k * r / n / (k + r))
        return _scores(hit, whole, asked)

    def _held(self, setting: Setting, seed: int) -> tuple[Pool, tuple[Asked, ...]]:
        half = setting.with_train(setting.inner(seed, parts=2).train)
        return _asked(half, self.aligner, self.astray, seed)


def f1(right: frozenset[int], kept: list[int]) -> float:
    """F₁ of what is kept; of nothing kept 1 where nothing is right.

    Examples
    --------
    >>> f1(frozenset({1, 2}), [1, 5]), f1(frozenset(), []), f1(frozenset(), [1])
    (0.5, 1.0, 0.0)
    """
    if not right:
        return float(not kept)
    return 2 * len(right & set(kept)) / (len(kept) + len(right))


def _scores(hit: list[float], whole: list[float], asked: tuple[Asked, ...]) -> Scores:
    groups = np.array([one.group for one in asked])
    answered = np.array([bool(one.right) for one in asked])
    return {
        "recall": Units(np.array(hit)[answered], groups[answered]),
        "f1": Units(np.array(whole), groups),
    }


@once(8)
def _asked(
    setting: Setting, aligner: str, astray: float, seed: int
) -> tuple[Pool, tuple[Asked, ...]]:
    """The gallery as a pool, and every query of it, under the binding of the training pairs."""
    target, query = setting.train.names[:2]
    _, bound = bound_views(setting, aligner, query, seed)
    gallery = bound[target].take(setting.bed.rows[target])
    queries = bound[query].take(setting.bed.rows[query])
    wanted = setting.bed.relevance(query, target)
    x = unit(np.asarray(gallery.frame.item(np.asarray(gallery.vectors, np.float32)), np.float64))
    q = unit(np.asarray(queries.frame.query(np.asarray(queries.vectors, np.float32)), np.float64))
    item_of = np.asarray(wanted.item_of)
    first = np.array([int(np.flatnonzero(item_of == at)[0]) for at in range(wanted.n_items)])
    names = [str(gallery.ids[row]) for row in first]
    classes = [setting.bench.labels.get(name, name) for name in names]
    pool = _pool(x[first], classes)
    labels = setting.bed.clusters(query, wanted)
    turns: dict[str, list[int]] = {}
    found, known = [], set[int]()
    for line, row in enumerate(wanted.queries):
        content = int(queries.content[row])
        if content and content in known:
            continue
        known.add(content)
        scores = np.full(wanted.n_items, -np.inf)
        np.maximum.at(scores, item_of, x @ q[row])
        right = frozenset(int(at) for at in wanted.of(int(line)))
        before = turns.setdefault(classes[min(right)] if right else "", [])
        asked = Question(q[row], scores, pool.vectors[before[-TURNS:]])
        before.extend(sorted(right)[:1])
        rows = np.arange(wanted.n_items)
        if stable_hash(f"astray/{queries.ids[row]}/{queries.parts[row]}") / 2**63 < astray:
            rows = np.array([at for at in rows if at not in right])
            asked, right = asked.take(rows), frozenset()
        found.append(Asked(asked, rows, right, stable_hash(str(labels[line]))))
    return pool, tuple(found)


def _pool(vectors: np.ndarray, classes: list[str]) -> Pool:
    """Pieces whose class is their chapter, linked with all others of it."""
    n = len(vectors)
    _, chapters = np.unique(classes, return_inverse=True)
    member = sparse.csr_matrix((np.ones(n), (np.arange(n), chapters)))
    links = sparse.lil_matrix(member @ member.T)
    links.setdiag(0)
    zeros = np.zeros(n, int)
    links = sparse.csr_matrix(links)
    links.eliminate_zeros()
    return Pool(vectors, np.arange(n), chapters, zeros, np.ones(n, int), links)
