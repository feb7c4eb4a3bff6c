"""Selectors that learn nothing: two levels, diversity, filters, structure."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from conjoin.answering.selection.base import Pool, Question, TopK, brought, ranked
from conjoin.catalogue import Choice, Search


@dataclass(frozen=True)
class AboveScore(TopK):
    """Of the first ``k`` pieces those whose score exceeds a floor; none may.

    ``kept = {i among the first k : s_i > least}``: what any gate on passages has to beat.

    Parameters
    ----------
    k : pieces kept, at most.
    least : the floor.

    Examples
    --------
    >>> from conjoin.answering.selection.base import empty, picked
    >>> q = Question(np.zeros(2), np.array([0.1, 0.9, 0.5]))
    >>> picked(AboveScore(k=3, least=0.3), q, empty(3, 2)).tolist()
    [1, 2]
    """

    least: Annotated[float, Search(-0.5, 0.95)] = 0.3

    def choose(self, question: Question, pool: Pool, scores: np.ndarray) -> np.ndarray:
        """The best ``k`` above the floor."""
        first = ranked(scores)[: self.k]
        return first[scores[first] > self.least]


@dataclass(frozen=True)
class TwoLevel(TopK):
    """First the chapters nearest to the question, then pieces inside them alone.

    ``S(c) = q · mean_{i∈c} x_i``; the pieces of the ``chapters`` best chapters are searched, in
    the order of ``s``. Without vectors a chapter is worth the best score of its pieces.

    Parameters
    ----------
    k : pieces kept, at most.
    chapters : searched.

    Examples
    --------
    >>> from conjoin.answering.selection.base import empty, picked
    >>> q = Question(np.zeros(2), np.array([0.1, 0.9, 0.5]))
    >>> picked(TwoLevel(k=2, chapters=1), q, empty(3, 2)).tolist()
    [1, 2]

    References
    ----------
    Caffagni et al. 2024, Wiki-LLaVA, §3.2: documents by their titles, then passages inside.
    """

    chapters: Annotated[int, Search(1, 20)] = 3

    def route(self, question: Question, pool: Pool) -> np.ndarray:
        """Pieces of the best chapters."""
        names, owner = np.unique(pool.chapters, return_inverse=True)
        if not question.vector.any():
            worth = np.full(len(names), -np.inf)
            np.maximum.at(worth, owner, question.scores)
        else:
            total = np.zeros((len(names), pool.vectors.shape[1]))
            np.add.at(total, owner, pool.vectors)
            worth = (total @ question.vector) / np.bincount(owner)
        return np.isin(owner, np.argsort(-worth, kind="stable")[: self.chapters])


@dataclass(frozen=True)
class Diverse(TopK):
    """Best first, but none that nearly repeats the question or what is kept already.

    A piece is passed over where ``max_{j kept} x_i · x_j > most`` or ``q · x_i > echo``.

    Parameters
    ----------
    k : pieces kept, at most.
    most : cosine to a kept piece above which one is passed over.
    echo : cosine to the question above which it is; 1 passes none over.

    Examples
    --------
    >>> from conjoin.answering.selection.base import empty, picked
    >>> picked(Diverse(k=1), Question(np.zeros(2), np.array([0.1, 0.9])), empty(2, 2)).tolist()
    [1]

    References
    ----------
    Yasunaga et al. 2023, Retrieval-augmented multimodal language modeling, §3.1.
    """

    most: Annotated[float, Search(0.5, 1.0)] = 0.9
    echo: Annotated[float, Search(0.5, 1.0)] = 1.0

    def choose(self, question: Question, pool: Pool, scores: np.ndarray) -> np.ndarray:
        """The best that differ."""
        kept: list[int] = []
        for row in ranked(scores):
            own = pool.vectors[row]
            if self.echo < 1 and float(own @ question.vector) > self.echo:
                continue
            if kept and float((pool.vectors[kept] @ own).max()) > self.most:
                continue
            kept.append(int(row))
            if len(kept) == self.k:
                break
        return np.array(kept, int)


@dataclass(frozen=True)
class Filter(TopK):
    """One of three filters of passages: near to the question, short, or agreeing with the others.

    ``relevance``: the ``k`` best by ``q · x_i`` among the ``wide`` first. ``brevity``: best first,
    as long as all words together stay within those of ``k`` pieces of middling length; what does
    not fit is passed over. ``agreement``: the ``k`` best among the ``wide`` first by
    ``Σ_{j≠i} w_j max(x_i · x_j, 0)``, ``w`` the softmax of the scores: what others bear out.

    Parameters
    ----------
    k : pieces kept, at most; of short ones more may be.
    by : the filter.
    wide : first pieces that are looked at.

    Examples
    --------
    >>> from conjoin.answering.selection.base import empty, picked
    >>> q = Question(np.zeros(2), np.array([0.1, 0.9]))
    >>> picked(Filter(k=1, by="brevity"), q, empty(2, 2)).tolist()
    [1]

    References
    ----------
    Feng et al. 2024, Knowledge Card, §2.2: selectors of relevance, brevity and factuality; here
    on vectors, without a summariser or a model that checks facts.
    """

    by: Annotated[str, Choice(("relevance", "brevity", "agreement"))] = "relevance"
    wide: Annotated[int, Search(5, 200)] = 20

    def choose(self, question: Question, pool: Pool, scores: np.ndarray) -> np.ndarray:
        """What passes the filter."""
        first = ranked(scores)[: self.wide]
        if not len(first):
            return first
        if self.by == "brevity":
            return self._short(pool, first)
        x = pool.vectors[first]
        if self.by == "relevance":
            worth = x @ question.vector
        else:
            weight = np.exp(scores[first] - scores[first].max())
            near = np.maximum(x @ x.T, 0)
            np.fill_diagonal(near, 0)
            worth = near @ (weight / weight.sum())
        return first[np.argsort(-worth, kind="stable")][: self.k]

    def _short(self, pool: Pool, first: np.ndarray) -> np.ndarray:
        room = self.k * float(np.median(pool.lengths))
        kept: list[int] = []
        for row in first:
            if pool.lengths[row] <= room or not kept:
                kept.append(int(row))
                room -= pool.lengths[row]
        return np.array(kept, int)


@dataclass(frozen=True)
class Structural(TopK):
    """Pieces near in structure to the best ones rise, and the list the question asks for.

    ``s' = structure·n(p) + (1 − structure)·n(s) + modality·prefers[list]``, where ``n`` brings
    values to [0, 1] and ``p`` is personalised PageRank over the links:
    ``p = restart·e + (1 − restart)·Wᵀp``, ``e`` the ``seeds`` best pieces weighed by their score,
    ``W`` the links with rows that sum to one; a piece without links gives its share back to ``e``.

    Parameters
    ----------
    k : pieces kept, at most.
    structure, modality : weights.
    seeds : pieces the walk starts from.
    restart : chance to return to them.

    Examples
    --------
    >>> from conjoin.answering.selection.base import empty, picked
    >>> q = Question(np.zeros(2), np.array([0.1, 0.9]))
    >>> picked(Structural(k=1), q, empty(2, 2)).tolist()
    [1]

    References
    ----------
    Guo et al. 2025, RAG-Anything, §2.3: structural importance, similarity and the modality that
    the question asks for, weighed together; the weights here are ours.
    """

    structure: Annotated[float, Search(0.0, 1.0)] = 0.3
    modality: Annotated[float, Search(0.0, 1.0)] = 0.2
    seeds: Annotated[int, Search(1, 50)] = 5
    restart: Annotated[float, Search(0.1, 0.9)] = 0.5

    def expand(self, question: Question, pool: Pool) -> np.ndarray:
        """Scores with structure and modality counted in."""
        own = brought(question.scores)
        first = ranked(question.scores)[: self.seeds]
        start = np.zeros(len(pool))
        start[first] = own[first]
        if not start.any():
            return question.scores
        walked = walk(pool, start / start.sum(), self.restart)
        near = self.structure * brought(walked) + (1 - self.structure) * own
        return near + self.modality * question.prefers[pool.lists]


#: Rounds of a walk and the change at which it ends.
ROUNDS, STILL = 100, 1e-9


def walk(pool: Pool, start: np.ndarray, restart: float) -> np.ndarray:
    """Personalised PageRank over the links of a pool, ``[n]``; sums to one.

    Parameters
    ----------
    start : where the walk begins and returns to, ``[n]``, sums to one.
    restart : chance to return at each step.
    """
    degree = np.asarray(pool.links.sum(axis=1)).ravel()
    share = np.divide(1.0, degree, out=np.zeros(len(pool)), where=degree > 0)
    at = start
    for _ in range(ROUNDS):
        lost = float(at[degree == 0].sum())
        moved = pool.links.T @ (at * share) + lost * start
        new = restart * start + (1 - restart) * moved
        if float(np.abs(new - at).sum()) < STILL:
            return np.asarray(new)
        at = new
    return at
