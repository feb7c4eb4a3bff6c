"""Selectors that learn from questions whose piece is known: heads, gates, a router, a memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from conjoin.answering.selection.base import Picker, Pool, Question, TopK, brought, ranked
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError

#: Weights of what was chosen at the last turn and at the one before.
TURNS = (0.7, 0.3)
#: Wrong pieces beside the right one that a head learns from: those of the best scores.
WRONG = 8
#: Questions with an answer that a head needs at least.
FEW = 10


@dataclass(frozen=True, eq=False)
class Logistic:
    """A fitted logistic regression: ``σ(w · (x − mean)/scale + b)``."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, c: float) -> "Logistic":
        """From rows ``[m, f]`` and zeros and ones ``[m]``; classes weigh the same."""
        from sklearn.linear_model import LogisticRegression

        mean, scale = x.mean(0), np.maximum(x.std(0), 1e-6)
        made = LogisticRegression(C=c, class_weight="balanced", max_iter=500)
        made.fit((x - mean) / scale, y)
        return cls(mean, scale, made.coef_[0], float(made.intercept_[0]))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Probabilities ``[m]``."""
        z = ((x - self.mean) / self.scale) @ self.weights + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(z, -60, 60))))


def pair_features(question: Question, pool: Pool, rows: np.ndarray) -> np.ndarray:
    """``[q ⊙ x, |q − x|, q · x, n(s)]`` of each row, ``[m, 2d + 2]``."""
    x = pool.vectors[rows]
    q = np.broadcast_to(question.vector, x.shape)
    both = q * x
    own = brought(question.scores)[rows]
    return np.column_stack([both, np.abs(q - x), both.sum(1), own])


def difference_features(question: Question, pool: Pool, rows: np.ndarray) -> np.ndarray:
    """``Σ_t w_t [p_t − x, p_t ⊙ x]`` over what was chosen before, ``[m, 2d]``; zeros at the start.

    ``w`` is .7 for the last turn and .3 for the one before, made to sum to one.
    """
    x = pool.vectors[rows]
    found = np.zeros((len(rows), 2 * x.shape[1]))
    last = question.before[::-1][: len(TURNS)]
    for weight, chosen in zip(TURNS, last, strict=False):
        share = weight / sum(TURNS[: len(last)])
        found += share * np.column_stack([chosen - x, chosen * x])
    return found


def examples(
    pool: Pool, questions: Sequence[Question], right: np.ndarray, features: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Features of each right piece and of the wrong ones of the best scores, and which is which.

    Raises
    ------
    ConjoinError : too few questions have an answer, or there are no vectors.
    """
    known = [(q, int(row)) for q, row in zip(questions, right, strict=True) if row >= 0]
    if len(known) < FEW:
        raise ConjoinError("selector", f"{len(known)} questions with an answer to learn from",
                           f"give {FEW}, or take one that learns nothing: top-k")  # fmt: skip
    if not any(q.vector.any() for q, _ in known):
        raise ConjoinError("selector", "there are no vectors to learn from",
                           "run conjoin fit, or take one that learns nothing: top-k")  # fmt: skip
    x, y = [], []
    for question, row in known:
        wrong = [at for at in ranked(question.scores) if at != row][:WRONG]
        x.append(features(question, pool, np.array([row, *wrong])))
        y.append(np.arange(len(wrong) + 1) == 0)
    return np.concatenate(x), np.concatenate(y).astype(int)


@dataclass(frozen=True)
class RelevanceCut(TopK):
    """A relevance head orders the first pieces, and those above a threshold stay, up to ``k``.

    ``r(q, x) = σ(w · [q ⊙ x, |q − x|, q · x, n(s)] + b)``; kept are pieces with ``r > least``
    among the ``wide`` first, best first, and the best one in any case.

    Parameters
    ----------
    k : pieces kept, at most.
    least : relevance above which a piece stays.
    wide : first pieces the head looks at.
    c : inverse strength of the ridge penalty.

    Examples
    --------
    >>> RelevanceCut(k=3).least
    0.5

    References
    ----------
    Mortaheb et al. 2025, Re-ranking the context for multimodal RAG, §III: up to k entries by a
    relevancy score; there the score is a fine-tuned vision-language model.
    """

    least: Annotated[float, Search(0.05, 0.95)] = 0.5
    wide: Annotated[int, Search(5, 100)] = 20
    c: Annotated[float, Search(1e-4, 1.0, log=True)] = 0.01

    def fit(
        self, pool: Pool, questions: Sequence[Question], right: np.ndarray, *, seed: int = 0
    ) -> Picker:
        """Learn the head.

        Raises
        ------
        ConjoinError : too few questions have an answer, or there are no vectors.
        """
        head = Logistic.fit(*examples(pool, questions, right, pair_features), self.c)
        return _Cut(k=self.k, how=self, head=head)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Cut(TopK):
    how: RelevanceCut
    head: Logistic

    def choose(self, question: Question, pool: Pool, scores: np.ndarray) -> np.ndarray:
        """What is relevant enough."""
        first = ranked(scores)[: self.how.wide]
        if not len(first):
            return first
        relevance = self.head(pair_features(question, pool, first))
        order = np.argsort(-relevance, kind="stable")
        kept = [at for at in order if relevance[at] > self.how.least] or [order[0]]
        return first[kept][: self.k]


@dataclass(frozen=True)
class TwoGates(TopK):
    """A gate on the question, whether anything is to be looked up, and one on each passage.

    ``g₁(q) = σ(u · q + a)`` where there were questions that nothing answers, else 1; where
    ``g₁ ≤ retrieve`` nothing is searched. ``g₂ = r(q, x)`` as in :class:`RelevanceCut`; of the
    ``k`` first pieces those with ``g₂ > relevant`` stay, in the order of the search. None may.

    Parameters
    ----------
    k : pieces kept, at most.
    retrieve, relevant : what each gate must exceed.
    c : inverse strength of the ridge penalty.

    Examples
    --------
    >>> TwoGates(k=3).retrieve
    0.5

    References
    ----------
    Cocchi et al. 2025, ReflectiVA, §3: a token that says whether to retrieve, and one a passage
    that says whether it is relevant; there a language model writes them.
    """

    retrieve: Annotated[float, Search(0.05, 0.95)] = 0.5
    relevant: Annotated[float, Search(0.01, 0.95)] = 0.3
    c: Annotated[float, Search(1e-4, 1.0, log=True)] = 0.01

    def fit(
        self, pool: Pool, questions: Sequence[Question], right: np.ndarray, *, seed: int = 0
    ) -> Picker:
        """Learn both gates.

        Raises
        ------
        ConjoinError : too few questions have an answer, or there are no vectors.
        """
        second = Logistic.fit(*examples(pool, questions, right, pair_features), self.c)
        answered = (np.asarray(right) >= 0).astype(int)
        first = None
        if (answered == 0).sum() >= FEW:
            first = Logistic.fit(np.array([q.vector for q in questions]), answered, self.c)
        return _Gated(k=self.k, how=self, first=first, second=second)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Gated(TopK):
    how: TwoGates
    first: Logistic | None
    second: Logistic

    def route(self, question: Question, pool: Pool) -> np.ndarray:
        """Every piece, or none."""
        shut = self.first is not None and self.first(question.vector[None])[0] <= self.how.retrieve
        return np.full(len(pool), not shut)

    def choose(self, question: Question, pool: Pool, scores: np.ndarray) -> np.ndarray:
        """The relevant ones among the first."""
        first = ranked(scores)[: self.k]
        if not len(first):
            return first
        relevance = self.second(pair_features(question, pool, first))
        return first[relevance > self.how.relevant]


@dataclass(frozen=True)
class Routed(TopK):
    """The list that holds the answer is guessed from the question, and that one is searched.

    ``l = argmax_l softmax(W q + b)_l`` over the lists that answered questions before; where no
    question was answered from a second list, all are searched.

    Parameters
    ----------
    k : pieces kept, at most.
    c : inverse strength of the ridge penalty.

    Examples
    --------
    >>> Routed(k=3).k
    3

    References
    ----------
    Yeo et al. 2025, UniversalRAG, §3.2: a router over corpora of several modalities and
    granularities in place of one pooled index; there the router is a language model.
    """

    c: Annotated[float, Search(1e-4, 10.0, log=True)] = 0.1

    def fit(
        self, pool: Pool, questions: Sequence[Question], right: np.ndarray, *, seed: int = 0
    ) -> Picker:
        """Learn which list holds the answer."""
        from sklearn.linear_model import LogisticRegression

        known = [(q.vector, pool.lists[row]) for q, row in zip(questions, right, strict=True)
                 if row >= 0]  # fmt: skip
        lists = np.array([one for _, one in known])
        if len(set(lists.tolist())) < 2:
            return TopK(self.k)
        x = np.array([vector for vector, _ in known])
        made = LogisticRegression(C=self.c, class_weight="balanced", max_iter=500).fit(x, lists)
        weights, bias = made.coef_, made.intercept_
        if len(weights) == 1:
            weights, bias = np.stack([-weights[0], weights[0]]) / 2, np.array([-1, 1]) * bias[0] / 2
        return _OneList(k=self.k, classes=made.classes_, weights=weights, bias=bias)


@dataclass(frozen=True, eq=False, kw_only=True)
class _OneList(TopK):
    classes: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def route(self, question: Question, pool: Pool) -> np.ndarray:
        """Pieces of the likeliest list."""
        best = self.classes[int(np.argmax(self.weights @ question.vector + self.bias))]
        return pool.lists == best


@dataclass(frozen=True)
class Difference(TopK):
    """What a piece adds to those chosen at earlier turns counts beside how well it fits.

    ``σ(w · [q ⊙ x, |q − x|, q · x, n(s)] + v · o + b)``, ``o = Σ_t λ_t [p_t − x, p_t ⊙ x]`` over
    the last two turns, ``λ = (.7, .3)``, zero at the first turn; the ``wide`` first pieces are put
    in its order.

    Parameters
    ----------
    k : pieces kept, at most.
    wide : first pieces the head looks at.
    history : whether earlier turns count.
    c : inverse strength of the ridge penalty.

    Examples
    --------
    >>> Difference(k=3).history
    True

    References
    ----------
    Zheng et al. 2020, Difference-aware knowledge selection, §3.3, disentangled; there the
    features pass through recurrent networks and a learned layer.
    """

    wide: Annotated[int, Search(5, 100)] = 20
    history: bool = True
    c: Annotated[float, Search(1e-4, 1.0, log=True)] = 0.01

    def features(self, question: Question, pool: Pool, rows: np.ndarray) -> np.ndarray:
        """Fit, and where earlier turns count the difference, ``[m, 2d + 2]`` or ``[m, 4d + 2]``."""
        fits = pair_features(question, pool, rows)
        if not self.history:
            return fits
        return np.column_stack([fits, difference_features(question, pool, rows)])

    def fit(
        self, pool: Pool, questions: Sequence[Question], right: np.ndarray, *, seed: int = 0
    ) -> Picker:
        """Learn the head.

        Raises
        ------
        ConjoinError : too few questions have an answer, or there are no vectors.
        """
        head = Logistic.fit(*examples(pool, questions, right, self.features), self.c)
        return _Ordered(k=self.k, how=self, head=head)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Ordered(TopK):
    how: Difference
    head: Logistic

    def choose(self, question: Question, pool: Pool, scores: np.ndarray) -> np.ndarray:
        """The first pieces in the head's order."""
        first = ranked(scores)[: self.how.wide]
        if not len(first):
            return first
        worth = self.head(self.how.features(question, pool, first))
        return first[np.argsort(-worth, kind="stable")][: self.k]


@dataclass(frozen=True)
class Enriched(TopK):
    """The question's vector is refined by the pieces that answered the questions most like it.

    ``r = Σ_i a_i v_i`` over the ``near`` remembered questions with the best ``q · m_i``, ``a`` the
    softmax of ``q · m_i / temperature``, ``v_i`` the piece that answered ``m_i``. Untrained,
    ``q' = unit(q + r)``; trained, ``q' = unit(q + r + A [q, r])`` with ``A`` by ridge regression
    onto the right pieces, each question left out of its own memory. Then
    ``s' = n(s) + n(x · q')``.

    Parameters
    ----------
    k : pieces kept, at most.
    near : remembered questions that are looked up.
    temperature : of the softmax.
    lam : ridge penalty, a share of the mean squared length of ``[q, r]``.
    trained : whether ``A`` is fitted, or zero.

    Examples
    --------
    >>> Enriched(k=3, trained=False).near
    8

    References
    ----------
    Iscen et al. 2024, RECO, §3: uni-modal search, cross-modal fusion; there the fusion is a
    transformer layer trained by a contrastive loss.
    """

    near: Annotated[int, Search(1, 64, log=True)] = 8
    temperature: Annotated[float, Search(0.01, 1.0, log=True)] = 0.1
    lam: Annotated[float, Search(1e-3, 100.0, log=True)] = 1.0
    trained: bool = True

    def fit(
        self, pool: Pool, questions: Sequence[Question], right: np.ndarray, *, seed: int = 0
    ) -> Picker:
        """Remember the questions and their pieces; learn how to mix them.

        Raises
        ------
        ConjoinError : too few questions have an answer.
        """
        known = [(q.vector, int(row)) for q, row in zip(questions, right, strict=True) if row >= 0]
        if len(known) < FEW:
            raise ConjoinError("selector", f"{len(known)} questions with an answer to remember",
                               f"give {FEW}, or take one that learns nothing: top-k")  # fmt: skip
        asked = np.array([vector for vector, _ in known])
        answered = pool.vectors[[row for _, row in known]]
        if not self.trained:
            return _Remembering(k=self.k, how=self, asked=asked, answered=answered, mix=None)
        others = np.where(np.eye(len(asked), dtype=bool), -np.inf, asked @ asked.T)
        found = recalled(others, answered, self.near, self.temperature)
        both = np.column_stack([asked, found])
        gram = both.T @ both
        penalty = self.lam * float(np.trace(gram)) / len(gram)
        wanted = answered - asked - found
        mix = np.linalg.solve(gram + penalty * np.eye(len(gram)), both.T @ wanted)
        return _Remembering(k=self.k, how=self, asked=asked, answered=answered, mix=mix)


def recalled(
    likeness: np.ndarray, answered: np.ndarray, near: int, temperature: float
) -> np.ndarray:
    """For each row of likeness the softmax mean of the answers of its nearest, ``[q, d]``."""
    at = np.argsort(-likeness, axis=1, kind="stable")[:, : min(near, likeness.shape[1])]
    said = np.take_along_axis(likeness, at, 1) / temperature
    weight = np.exp(said - said.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    return np.einsum("qk,qkd->qd", weight, answered[at])


@dataclass(frozen=True, eq=False, kw_only=True)
class _Remembering(TopK):
    how: Enriched
    asked: np.ndarray
    answered: np.ndarray
    mix: np.ndarray | None

    def refined(self, vector: np.ndarray) -> np.ndarray:
        """A question's vector with what it recalls."""
        likeness = (self.asked @ vector)[None]
        found = recalled(likeness, self.answered, self.how.near, self.how.temperature)[0]
        made = vector + found
        if self.mix is not None:
            made = made + np.concatenate([vector, found]) @ self.mix
        return np.asarray(made / max(float(np.linalg.norm(made)), 1e-9))

    def expand(self, question: Question, pool: Pool) -> np.ndarray:
        """The search's scores beside the refined vector's."""
        return brought(question.scores) + brought(pool.vectors @ self.refined(question.vector))
