"""Words and vectors together: weights from a few judged queries, and whether mixing helps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from conjoin.catalogue import find
from conjoin.errors import ConjoinError
from conjoin.retrieval.ranking.score_fusion import Scored, ScoreFusion
from conjoin.stats.bootstrap import paired_difference

#: Steps of a weight between 0 and 1, and lists up to which every mixture of steps is tried.
STEPS, GRID = 10, 3
#: Fewest judged queries, and fewest groups of them, from which anything is said.
FEWEST = 8
#: Places that recall and the figure to tune by look at.
PLACES = 10


@dataclass(frozen=True, eq=False)
class Judged:
    """A query with its lists and the items that answer it.

    Parameters
    ----------
    lists : by name, what each found.
    relevant : ids of right answers, at least one.
    group : queries that rise and fall together share it.
    """

    lists: Mapping[str, Scored]
    relevant: frozenset[str]
    group: str = ""


def place_of(found: Scored, relevant: frozenset[str]) -> float:
    """Place of the first right answer, infinite where none was found.

    Equal scores share the middle of their places, so that no order of ids is rewarded.
    """
    own = np.isin(found.ids, sorted(relevant))
    if not own.any():
        return np.inf
    return _middle(found.scores, float(found.scores[own].max()))


def _middle(scores: np.ndarray, best: float) -> float:
    near = np.isclose(scores, best, rtol=0, atol=1e-12)
    return 1 + int((scores[~near] > best).sum()) + (int(near.sum()) - 1) / 2


def recall_of(found: Scored, relevant: frozenset[str], k: int = PLACES) -> float:
    """1 where a right answer is among the first ``k``, else 0."""
    return float(place_of(found, relevant) <= k)


def tune(judged: Sequence[Judged], mixer: ScoreFusion, names: Sequence[str]) -> dict[str, float]:
    """Weights of the lists that bring right answers foremost in these queries.

    Every mixture in steps of a tenth is tried (one weight after the other where there are more
    than three lists), by the mean reciprocal place of the first right answer; of equally good
    ones the one nearest to equal weights is taken, since a few queries leave a plateau. A mixer
    that takes no weights gets equal ones.

    References
    ----------
    Bruch et al. 2023: a convex combination needs only a few judged queries.
    """
    equal = dict.fromkeys(names, 1 / len(names))
    if not mixer.tunable or len(names) < 2 or not judged:
        return equal

    tables = [_Table.of(q, mixer, names) for q in judged]

    def worth(weights: Mapping[str, float]) -> tuple[float, float]:
        near = -sum((weights[name] - equal[name]) ** 2 for name in names)
        shares = np.array([weights[name] for name in names])
        mixed = [1 / table.place(shares) for table in tables]
        return (round(float(np.mean(mixed)), 9), near)

    if len(names) <= GRID:
        return max(grid(names), key=worth)
    best = equal
    for name in (*names, *names):
        rest = {other: best[other] for other in names if other != name}
        total = sum(rest.values()) or 1.0
        tried = [
            {name: step / STEPS, **{o: w / total * (1 - step / STEPS) for o, w in rest.items()}}
            for step in range(STEPS)
        ]
        best = max([best, *tried], key=worth)
    return {name: best[name] for name in names}


@dataclass(frozen=True, eq=False)
class _Table:
    """A query's lists laid out once, so that a mixture of any weights is one product."""

    columns: np.ndarray
    held: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, query: Judged, mixer: Any, names: Sequence[str]) -> "_Table":
        ids, columns, held = mixer.columns({name: query.lists[name] for name in names})
        return cls(columns, held, np.isin(ids, sorted(query.relevant)))

    def place(self, shares: np.ndarray) -> float:
        """As :func:`place_of` of the mixture."""
        here = self.held[shares > 0].any(axis=0)
        scores = (shares @ self.columns)[here]
        own = scores[self.right[here]]
        if not len(own):
            return np.inf
        return _middle(scores, float(own.max()))


def grid(names: Sequence[str]) -> list[dict[str, float]]:
    """Every mixture of shares in steps of a tenth."""
    found = []
    for steps in product(range(STEPS + 1), repeat=len(names) - 1):
        if sum(steps) <= STEPS:
            shares = [step / STEPS for step in (*steps, STEPS - sum(steps))]
            found.append(dict(zip(names, shares, strict=True)))
    return found


@dataclass(frozen=True)
class Fusion:
    """Whether mixing helps here, and the mixture to use.

    Parameters
    ----------
    mixer, fields : catalogue row and its settings.
    weights : by list, tuned on all judged queries.
    recall : recall@10 of each list alone.
    mixed : recall@10 of the mixture, weights being tuned on the other half of the queries.
    best : the list that is best alone, chosen on the other half likewise; its recall is ``alone``.
    gain, low, high : mixture less ``alone``, and its 95 % interval by group of queries.
    only : by list, the share of queries answered by no other list; with ``both`` (by two or more)
        and ``neither`` they sum to 1.
    queries : how many were judged.
    source : where they come from.
    """

    mixer: str
    fields: Mapping[str, Any]
    weights: Mapping[str, float]
    recall: Mapping[str, float]
    mixed: float
    best: str
    alone: float
    gain: float
    low: float
    high: float
    only: Mapping[str, float]
    both: float
    neither: float
    queries: int
    source: str = ""

    @property
    def helps(self) -> bool:
        """Whether the whole interval is above 0: only then search mixes by itself."""
        return self.low > 0

    @property
    def verdict(self) -> str:
        """The finding in words."""
        figure = f"recall@{PLACES} {self.gain:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"
        over = f"{figure} against {self.best} alone"
        if self.helps:
            return f"mixing helps: {over}"
        if self.high < 0:
            return f"mixing hurts: {over}; search stays with {self.best}"
        return f"no difference shown: {over}; search stays as it is"

    def make(self) -> ScoreFusion:
        """The mixer."""
        made: ScoreFusion = find("score-fusion", self.mixer).make(dict(self.fields))
        return made

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields; the keys are stable."""
        fields = {
            key: dict(value) if isinstance(value, Mapping) else value
            for key, value in self.__dict__.items()
        }
        return {**fields, "helps": self.helps, "verdict": self.verdict}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Fusion":
        """Read back what :meth:`to_json` wrote."""
        return cls(**{key: raw[key] for key in cls.__dataclass_fields__ if key in raw})


def does_fusing_help(
    judged: Sequence[Judged],
    mixer: str,
    fields: Mapping[str, Any] | None = None,
    *,
    source: str = "",
    seed: int = 0,
) -> Fusion:
    """Tune a mixer and judge it against the best list alone, each on queries it was not chosen by.

    Groups of queries are cut into halves; on each half the weights and the best single list come
    from the other. The interval resamples groups of queries, paired.

    Raises
    ------
    ConjoinError : too few queries, a query without an answer, or lists that differ.
    """
    names = list(judged[0].lists) if judged else []
    _check(judged, names)
    made: ScoreFusion = find("score-fusion", mixer).make(fields)
    groups = np.array([q.group or str(place) for place, q in enumerate(judged)])
    half = _halves(groups, seed)
    alone = {
        name: np.array([recall_of(q.lists[name], q.relevant) for q in judged]) for name in names
    }
    mixed, single = np.empty(len(judged)), np.empty(len(judged))
    for side in (0, 1):
        learn = [q for q, own in zip(judged, half, strict=True) if own != side]
        weights = tune(learn, made, names)
        best = max(names, key=lambda name: float(alone[name][half != side].mean()))
        for place in map(int, np.flatnonzero(half == side)):
            q = judged[place]
            mixed[place] = recall_of(made.mix(q.lists, weights), q.relevant)
            single[place] = alone[best][place]
    gain, low, high, _ = paired_difference(mixed, single, groups, seed=seed)
    table = np.stack([alone[name] for name in names], axis=1) > 0
    count = table.sum(axis=1)
    return Fusion(
        mixer, dict(fields or {}), tune(judged, made, names),
        {name: float(values.mean()) for name, values in alone.items()}, float(mixed.mean()),
        max(names, key=lambda name: float(alone[name].mean())), float(single.mean()),
        gain, low, high,
        {name: float((table[:, i] & (count == 1)).mean()) for i, name in enumerate(names)},
        float((count > 1).mean()), float((count == 0).mean()), len(judged), source,
    )  # fmt: skip


def _check(judged: Sequence[Judged], names: Sequence[str]) -> None:
    if len(judged) < FEWEST:
        raise ConjoinError("queries", f"{len(judged)} are judged", f"give {FEWEST} or more")
    for q in judged:
        if not q.relevant:
            raise ConjoinError("queries", "one has no right answer", "leave it out")
        if list(q.lists) != list(names):
            raise ConjoinError("queries", "their lists differ", "ask every list every query")


def _halves(groups: np.ndarray, seed: int) -> np.ndarray:
    """0 or 1 a query, whole groups, of about equal number."""
    labels, owner = np.unique(groups, return_inverse=True)
    if len(labels) < 2:
        raise ConjoinError("queries", "all of one group", "judge queries of several")
    order = np.random.default_rng([seed, 17]).permutation(len(labels))
    return (np.argsort(order) % 2)[owner]


def cut(scored: Scored, depth: int) -> Scored:
    """The first ``depth``; what is left out is taken to score as the last that is kept."""
    if len(scored) <= depth:
        return scored
    kept = scored.head(depth)
    return replace(kept, floor=float(kept.scores.min()))
