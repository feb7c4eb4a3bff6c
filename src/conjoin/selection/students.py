"""Choose a student on rows held out, fit it to all, and say what it keeps of its teacher."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from conjoin.catalogue import COSTS, find
from conjoin.execution.checkpoint import Kept
from conjoin.maps.base import Map
from conjoin.spaces import Pairs
from conjoin.spaces.given import name_of, whole_number
from conjoin.stats.bootstrap import ends, mean_draws
from conjoin.transfer.students import nearness_each, own_ranks, ready
from conjoin.transfer.teachers import side_by_side

#: Students that ``auto`` tries, cheapest first.
CANDIDATES = ("ridge-student", "cosine-student", "dcd", "affinity-student")
#: One group in so many is held out to choose by.
HELD = 5
#: How far down a hit counts.
K = 10


@dataclass(frozen=True, eq=False)
class Taught:
    """A student that was chosen and fitted.

    Parameters
    ----------
    method, fields : of the catalogue.
    map : fitted to all rows.
    tried : mean of ``1 − log(rank) / log(n)`` on rows held out, by method; empty where one was
        named or rows were too few.
    """

    method: str
    fields: dict[str, Any]
    map: Map
    tried: dict[str, float]


def distill(
    x: Any,
    teachers: Any,
    y: Any = None,
    *,
    method: str = "auto",
    groups: Any = None,
    seed: int = 0,
    kept: Kept | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Taught:
    """Teach a small map of ``x`` to land where the teachers put the same items.

    ``auto`` tries a few students, holding out a fifth of the groups; of those that do not differ
    there by a standard error, the cheapest is taken.

    Parameters
    ----------
    x : ``[n, d]`` what the student reads.
    teachers : ``[n, k]``, several by name, or :class:`~conjoin.transfer.teachers.Similarities`.
    y, method : ``[n]`` labels, for students that weigh by them; a student's name, or ``auto``.
    groups : ``[n]``; rows of one group are on one side.
    kept, report : where what was tried lies, so that a killed run goes on; told what is tried.

    Raises
    ------
    ConjoinError : a teacher is of the wrong length, or a row is not finite.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(60, 6))
    >>> distill(x, x[:, :4], method="ridge-student").map.apply(x).shape
    (60, 4)
    """
    whole_number(seed, "seed")
    name_of(method, "method")
    if method != "auto":
        named = find("student", method).make()
        return Taught(method, {}, named.fit(x, teachers, y, groups=groups, seed=seed), {})
    rows, found, labels, owners = ready(x, teachers, y, groups)
    scores = {}
    if len(np.unique(owners)) >= 2 * HELD:
        pairs = Pairs(("x",), np.arange(len(rows))[:, None], group=owners)
        held = pairs.folds(HELD, seed) == 0
        target = side_by_side(found)[held]
        own = {key: each[~held] for key, each in found.items()}
        told = None if labels is None else labels[~held]

        def tried(name: str) -> list[float]:
            made = find("student", name).make()
            fitted = made.fit(rows[~held], own, told, groups=owners[~held], seed=seed)
            return [float(v) for v in nearness_each(fitted.apply(rows[held]), target)]

        for name in CANDIDATES:
            report(f"{name} on held-out training rows")
            scores[name] = np.array((kept or Kept()).value(name, partial(tried, name)))
    name = _cheapest(scores) if scores else CANDIDATES[0]
    report(f"{name} on all training rows")
    made = find("student", name).make().fit(rows, found, labels, groups=owners, seed=seed)
    return Taught(name, {}, made, {key: float(each.mean()) for key, each in scores.items()})


def _cheapest(scores: dict[str, np.ndarray]) -> str:
    """The cheapest, then the best, of those the best does not clearly beat."""
    best = max(scores, key=lambda name: float(scores[name].mean()))

    def close(name: str) -> bool:
        gap = scores[best] - scores[name]
        return bool(gap.mean() <= gap.std() / np.sqrt(len(gap)))

    def order(name: str) -> tuple[int, float]:
        return COSTS.index(find("student", name).cost), -float(scores[name].mean())

    return min((name for name in scores if close(name)), key=order)


def found_own(made: np.ndarray, target: np.ndarray, k: int = K) -> np.ndarray:
    """``[n]`` whether each row finds its own among the first ``k`` of all targets."""
    return (own_ranks(made, target) <= k).astype(np.float64)


def retention(
    student: np.ndarray, teacher: np.ndarray, groups: Sequence[Any] | np.ndarray, seed: int = 0
) -> tuple[float, float, float]:
    """The student's mean over the teacher's, and its interval by whole groups.

    Parameters
    ----------
    student, teacher : ``[n]`` hits of the same queries.

    Examples
    --------
    >>> hits = np.arange(40) % 2
    >>> retention(hits, np.ones(40), np.arange(40))[0]
    0.5
    """
    pairs = np.stack([student, teacher], axis=1)
    whole = pairs.mean(axis=0)
    if not whole[1]:
        return float("nan"), float("nan"), float("nan")
    drawn = mean_draws(pairs, np.asarray(groups), seed=seed)
    drawn = drawn[drawn[:, 1] > 0]
    low, high = ends(drawn[:, 0] / drawn[:, 1], len(np.unique(groups)), 0.95)
    return float(whole[0] / whole[1]), low, high
