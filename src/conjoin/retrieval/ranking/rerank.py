"""A second look at the first hits: a scorer of pairs, and how many of them to keep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.retrieval.hits import Hit

#: Pairs of a query's cell and a hit's cell → one score a pair, larger is better.
Scorer = Callable[[list[tuple[Any, Any]]], Any]


def score_pairs(scorer: Scorer, pairs: Sequence[tuple[Any, Any]], where: str) -> np.ndarray:
    """What a scorer says of each pair.

    Raises
    ------
    ConjoinError : it fails, or gives something else than one finite number a pair.
    """
    if not pairs:
        return np.empty(0)
    try:
        found = np.asarray(scorer(list(pairs)), dtype=np.float64)
    except ConjoinError:
        raise
    except Exception as error:
        raise ConjoinError(
            where, f"raised {type(error).__name__}: {error}", "fix the function"
        ) from error
    if found.shape != (len(pairs),):
        raise ConjoinError(
            where, f"gave shape {found.shape} for {len(pairs)} pairs", "return one score a pair"
        )
    if not np.isfinite(found).all():
        raise ConjoinError(where, "gave NaN or infinity", "return finite scores")
    return found


def rerank(hits: Sequence[Hit], scores: np.ndarray, name: str = "rerank") -> tuple[Hit, ...]:
    """The hits in the order of new scores, equal ones in their old order.

    A hit keeps its scores and gains the new one under ``name``, by which it is now ranked.
    """
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    found = []
    for rank, at in enumerate(order, 1):
        new = float(scores[at])
        own = {**hits[at].scores, name: new}
        found.append(replace(hits[at], score=new, rank=rank, scores=own))
    return tuple(found)


@dataclass(frozen=True)
class Cutoff:
    """Up to so many hits, and only those whose score passes a threshold: ``s ≥ threshold``.

    Parameters
    ----------
    threshold : chosen by :meth:`choose`, or given.
    most : hits at most.

    References
    ----------
    Mortaheb et al., Re-ranking the Context for Multimodal Retrieval Augmented Generation, 2025.
    """

    threshold: float
    most: int = 10

    def apply(self, hits: Sequence[Hit]) -> tuple[Hit, ...]:
        """The hits that are kept, as they are."""
        return tuple(hit for hit in hits[: self.most] if hit.score >= self.threshold)

    def kept(self, scores: Sequence[float]) -> int:
        """How many of a list's first hits are kept, by its falling scores."""
        return sum(score >= self.threshold for score in scores[: self.most])

    @classmethod
    def choose(
        cls, scores: Sequence[Sequence[float]], right: Sequence[Sequence[bool]], most: int = 10
    ) -> "Cutoff":
        """The threshold of the best F₁ over all judged lists together.

        ``F₁ = 2 TP / (2 TP + FP + FN)``, where a right hit below the threshold, or beyond the
        first ``most``, is a false negative. Of equally good thresholds the highest is taken: fewer
        hits, as right.

        Parameters
        ----------
        scores : by query, of its hits, falling.
        right : by query, whether each hit answers it.

        Raises
        ------
        ConjoinError : lengths differ, or nothing is right.
        """
        flat = _flat(scores, right, most)
        total = sum(bool(value) for line in right for value in line)
        if not total:
            raise ConjoinError("cut-off", "no judged hit is right", "judge more queries")
        order = np.argsort(-flat[0], kind="stable")
        values, good = flat[0][order], flat[1][order]
        found = np.cumsum(good)
        f1 = 2 * found / (np.arange(1, len(values) + 1) + total)
        last = np.append(values[1:] != values[:-1], True)  # a threshold takes all equal scores
        return cls(float(values[int(np.argmax(np.where(last, f1, -1)))]), most)


def _flat(
    scores: Sequence[Sequence[float]], right: Sequence[Sequence[bool]], most: int
) -> tuple[np.ndarray, np.ndarray]:
    if [len(line) for line in scores] != [len(line) for line in right]:
        raise ConjoinError("cut-off", "scores and judgements differ in number", "give one each")
    values = [value for line in scores for value in line[:most]]
    good = [bool(value) for line in right for value in line[:most]]
    if not values or not np.isfinite(values).all():
        raise ConjoinError("cut-off", "no finite scores", "give scored lists")
    return np.array(values, dtype=np.float64), np.array(good)
