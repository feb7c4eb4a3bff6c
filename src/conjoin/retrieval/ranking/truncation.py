"""Where to end a list of hits, learned from lists that were judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.retrieval.ranking.rerank import Cutoff


class Cut(Protocol):
    """A rule that ends lists."""

    def kept(self, scores: Sequence[float]) -> int:
        """How many of a list's first hits stay, by its falling scores."""
        ...


@runtime_checkable
class Cutter(Protocol):
    """Learns where to end lists."""

    def choose(self, scores: Sequence[Sequence[float]], right: Sequence[Sequence[bool]]) -> Cut:
        """A rule from judged lists.

        Parameters
        ----------
        scores : by query, of its hits, falling.
        right : by query, whether each hit answers it.

        Raises
        ------
        ConjoinError : lengths differ, or nothing is right.
        """
        ...


@dataclass(frozen=True)
class ByScore:
    """Up to so many hits, and only those that reach a score: ``s ≥ threshold``, rank ``≤ most``.

    The threshold has the best ``F₁ = 2 TP / (2 TP + FP + FN)`` over all judged lists together; a
    right hit that is cut off is a false negative.

    Parameters
    ----------
    most : hits at most.

    References
    ----------
    Mortaheb et al., Re-ranking the Context for Multimodal Retrieval Augmented Generation, 2025:
    up to k entries, cut by a score, instead of k.
    """

    most: int = 10

    def choose(self, scores: Sequence[Sequence[float]], right: Sequence[Sequence[bool]]) -> Cutoff:
        """The threshold of the best F₁."""
        return Cutoff.choose(scores, right, self.most)


@dataclass(frozen=True)
class ByCount:
    """The same number of hits for every query: the ``n ≤ most`` of the best F₁ over all lists.

    Parameters
    ----------
    most : hits at most.
    """

    most: int = 10

    def choose(self, scores: Sequence[Sequence[float]], right: Sequence[Sequence[bool]]) -> Cutoff:
        """The number of the best F₁; of equally good ones the smallest."""
        if [len(line) for line in scores] != [len(line) for line in right]:
            raise ConjoinError("cut-off", "scores and judgements differ in number", "give one each")
        total = sum(bool(value) for line in right for value in line)
        if not total:
            raise ConjoinError("cut-off", "no judged hit is right", "judge more queries")
        counts = range(1, self.most + 1)
        found = [sum(map(bool, (v for line in right for v in line[:n]))) for n in counts]
        shown = [sum(min(n, len(line)) for line in right) for n in counts]
        f1 = [2 * f / (s + total) for f, s in zip(found, shown, strict=True)]
        return Cutoff(-np.inf, 1 + int(np.argmax(f1)))
