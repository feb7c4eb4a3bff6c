"""Does a cheap first look find what scoring every row would have found?"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from scipy.special import gammaln

from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Choice
from conjoin.claims.tasks.search.texts import bound_views
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.memo import once
from conjoin.evaluation.retrieval import answers, directions, drawn, gathered
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.retrieval.engines.exact import top_k
from conjoin.retrieval.engines.two_stage import Shelving

#: Rows that a search gives.
K = 10


@dataclass(frozen=True, eq=False)
class Asked:
    """One direction: queries and gallery as they are scored, who is right, the exact best rows."""

    q: np.ndarray
    gallery: np.ndarray
    cosine: bool
    wanted: Relevance
    groups: np.ndarray
    exact: np.ndarray


@dataclass(frozen=True)
class Stored:
    """Search both ways among bound vectors that are not all scored whole.

    The arms say what is scanned and what is scored again; ``identity`` scores every row. Each
    held-out query is asked for its ten best rows: ``same@10`` is the share of the exact search's
    ten that are among them, ``found@10`` whether one of them is a right answer.

    Parameters
    ----------
    aligner : what makes the vectors; the first coordinates of ``cca`` are those of the largest
        correlation, ``matryoshka`` trains them to do alone.
    """

    aligner: Annotated[str, Choice(("cca", "matryoshka"))] = "matryoshka"
    metrics: ClassVar[tuple[str, ...]] = ("same@10", "found@10")
    judges: ClassVar[str] = "vector-codec"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity", "prefix-alone")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Nine tenths of the training lines of the first two views."""
        whole = whole_setting(bench, tuple(bench.spaces)[:2])
        return whole.with_train(drawn(whole.train, None, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Scores:
        """Ask every query; nothing is learnt but the vectors.

        Raises
        ------
        ConjoinError : the arm is no way of storing.
        """
        if not isinstance(made.aligner, Identity | Shelving):
            raise ConjoinError("arm", "no vector codec", "name one, such as two-stage")
        found = []
        for one in _asked(setting, self.aligner, seed):
            rows = one.exact
            if isinstance(made.aligner, Shelving):
                rows = made.aligner.find(one.q, one.gallery, K, cosine=one.cosine)
            same = [
                len(np.intersect1d(a, b)) / len(b) for a, b in zip(rows, one.exact, strict=True)
            ]
            right = [_right(one.wanted, line, own) for line, own in enumerate(rows)]
            found.append(({"same@10": np.array(same), "found@10": np.array(right)}, one.groups))
        return gathered(found)

    def judge(self, setting: Setting, fitted: Scores) -> Scores:
        """Every direction's queries, one after the other."""
        return fitted

    def chance(self, setting: Setting) -> Scores:
        """Ten rows by lot."""
        found = []
        for _, _, wanted, groups in answers(setting, directions(setting)):
            n = len(wanted.item_of)
            k = min(K, n)
            rows = np.bincount(wanted.item_of)
            right = [int(rows[wanted.of(line)].sum()) for line in range(len(wanted))]
            hit = np.array([1 - _missed(n, m, k) for m in right])
            found.append(({"same@10": np.full(len(wanted), k / n), "found@10": hit}, groups))
        return gathered(found)


def _right(wanted: Relevance, line: int, rows: np.ndarray) -> float:
    """Whether a row is of an item that answers the query."""
    return float(np.isin(wanted.item_of[rows], wanted.of(line)).any())


def _missed(n: int, m: int, k: int) -> float:
    """That none of m of n rows is among k drawn: ``C(n − m, k) / C(n, k)``."""
    if n - m < k:
        return 0.0
    ways = gammaln([n - m + 1, n - m - k + 1, n + 1, n - k + 1])
    return float(np.exp(ways[0] - ways[1] - ways[2] + ways[3]))


@once(4)
def _asked(setting: Setting, aligner: str, seed: int) -> tuple[Asked, ...]:
    _, bound = bound_views(setting, aligner, setting.train.names[0], seed)
    found = []
    for query, target, wanted, groups in answers(setting, directions(setting)):
        asked, shown = (bound[name].take(setting.bed.rows[name]) for name in (query, target))
        q = asked.frame.query(np.asarray(asked.vectors, np.float32))[wanted.queries]
        x = shown.frame.item(np.asarray(shown.vectors, np.float32))
        k = min(K, len(x))
        cosine = shown.frame.score == "cosine"
        found.append(Asked(q, x, cosine, wanted, groups, top_k(q, x, k)[1]))
    return tuple(found)
