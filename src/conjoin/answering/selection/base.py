"""What a selector is given, what it promises, and the one way it is asked."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
from scipy import sparse

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError

#: What a piece may be; the number of its list is its place here.
LISTS = ("text", "table", "figure")


@dataclass(frozen=True, eq=False)
class Pool:
    """The pieces that may become evidence, a row each.

    Parameters
    ----------
    vectors : ``[n, d]`` of length 1 in the joint frame; zeros where a piece has none.
    sections, chapters : ``[n]`` numbers; equal ones stand under the same headings, in the same
        chapter.
    lists : ``[n]`` places in :data:`LISTS`.
    lengths : ``[n]`` words of each.
    links : ``[n, n]`` weights of structural links, symmetric.
    """

    vectors: np.ndarray
    sections: np.ndarray
    chapters: np.ndarray
    lists: np.ndarray
    lengths: np.ndarray
    links: sparse.csr_matrix

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: np.ndarray) -> "Pool":
        """The same pieces in another order, or some of them."""
        return Pool(
            self.vectors[rows], self.sections[rows], self.chapters[rows], self.lists[rows],
            self.lengths[rows], self.links[rows][:, rows],
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Question:
    """A question as selectors see it.

    Parameters
    ----------
    vector : ``[d]`` of length 1, or zeros where nothing reads it.
    scores : ``[n]``, what the search gave each piece; more is better.
    before : ``[t, d]`` vectors of what was chosen at earlier turns, the latest last.
    prefers : ``[len(LISTS)]``, how far its words ask for each list; zeros where they do not.
    """

    vector: np.ndarray
    scores: np.ndarray
    before: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    prefers: np.ndarray = field(default_factory=lambda: np.zeros(len(LISTS)))

    def take(self, rows: np.ndarray) -> "Question":
        """The same question to other pieces."""
        return replace(self, scores=self.scores[rows])


@runtime_checkable
class Picker(Protocol):
    """A selector that has learnt what it learns."""

    def route(self, question: Question, pool: Pool) -> np.ndarray:
        """Which pieces are searched at all, ``[n]`` booleans."""

    def expand(self, question: Question, pool: Pool) -> np.ndarray:
        """Scores of the pieces when what they are linked to is counted in, ``[n]``."""

    def choose(self, question: Question, pool: Pool, scores: np.ndarray) -> np.ndarray:
        """Rows that are kept, best first; of those whose score is finite alone."""


@runtime_checkable
class Selector(Protocol):
    """A way to choose evidence."""

    def fit(
        self, pool: Pool, questions: Sequence[Question], right: np.ndarray, *, seed: int = 0
    ) -> Picker:
        """Learn from questions whose piece is known, −1 where none answers."""


@dataclass(frozen=True)
class TopK:
    """The ``k`` pieces of the best scores: what every other selector is compared with.

    ``kept = the first k of argsort(−s)``.

    Parameters
    ----------
    k : pieces kept, at most.

    Examples
    --------
    >>> picked(TopK(k=2), Question(np.zeros(2), np.array([0.1, 0.9, 0.5])), empty(3, 2)).tolist()
    [1, 2]
    """

    k: Annotated[int, Search(1, 50)] = 5

    def fit(
        self, pool: Pool, questions: Sequence[Question], right: np.ndarray, *, seed: int = 0
    ) -> Picker:
        """Nothing is learnt."""
        return self

    def route(self, question: Question, pool: Pool) -> np.ndarray:
        """Every piece is searched."""
        return np.ones(len(pool), bool)

    def expand(self, question: Question, pool: Pool) -> np.ndarray:
        """The scores as they came."""
        return question.scores

    def choose(self, question: Question, pool: Pool, scores: np.ndarray) -> np.ndarray:
        """The best ``k``."""
        return ranked(scores)[: self.k]


def ranked(scores: np.ndarray) -> np.ndarray:
    """Rows of finite scores, best first."""
    order = np.argsort(-scores, kind="stable")
    return order[np.isfinite(scores[order])]


def picked(picker: Picker, question: Question, pool: Pool) -> np.ndarray:
    """Rows of the evidence, best first: routed, expanded, chosen.

    Raises
    ------
    ConjoinError : there is not one score a piece, or the selector names a piece twice or one that
        was not searched.
    """
    if question.scores.shape != (len(pool),):
        raise ConjoinError("scores", f"{question.scores.shape} for {len(pool)} pieces",
                           "give one a piece")  # fmt: skip
    searched = picker.route(question, pool)
    scores = np.where(searched, picker.expand(question, pool), -np.inf)
    kept = np.asarray(picker.choose(question, pool, scores), int)
    if len(set(kept.tolist())) < len(kept) or not searched[kept].all():
        raise ConjoinError(
            type(picker).__name__, "names a piece twice, or one that was not searched", "fix it"
        )
    return kept


def empty(n: int, d: int) -> Pool:
    """Pieces of which nothing is known: no vectors, no links, a section each."""
    zeros = np.zeros(n, int)
    return Pool(np.zeros((n, d)), np.arange(n), zeros, zeros, np.ones(n, int),
                sparse.csr_matrix((n, n)))  # fmt: skip


def brought(values: np.ndarray) -> np.ndarray:
    """Values brought to [0, 1] by their smallest and largest; zeros where they are all alike."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.zeros(len(values))
