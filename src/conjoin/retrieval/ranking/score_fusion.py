"""Mixers: several scored lists of one query made one list, by scores or by ranks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError

#: Smallest score a kind can give, by its name: what theoretical min-max starts from.
LOWEST: Mapping[str, float] = {"cosine": -1.0, "maxsim": -1.0, "bm25": 0.0, "csls": -3.0}


@dataclass(frozen=True, eq=False)
class Scored:
    """What one list found for one query.

    Parameters
    ----------
    ids : ``[n]`` item ids, each once.
    scores : ``[n]`` finite; larger is better.
    low : the smallest score its kind can give, −1 for a cosine, 0 for BM25; ``None`` where there
        is none, and then the smallest of the list stands in.
    floor : what an item that is not listed is taken to score. 0 where the list holds every match
        of BM25; for a list cut off at a depth its last score, which no later item beats. ``low``,
        or the smallest score, when not given.

    Raises
    ------
    ConjoinError : an id twice, lengths that differ, NaN, or a score below ``low`` or ``floor``.
    """

    ids: np.ndarray
    scores: np.ndarray
    low: float | None = None
    floor: float | None = None

    def __post_init__(self) -> None:
        ids = np.asarray(self.ids).astype(str)
        scores = np.asarray(self.scores, dtype=np.float64)
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "scores", scores)
        if ids.shape != scores.shape or ids.ndim != 1 or len(np.unique(ids)) < len(ids):
            raise ConjoinError("list", "ids repeat or lengths differ", "give each item one score")
        if not np.isfinite(scores).all():
            raise ConjoinError("list", "a score is NaN or infinite", "leave that item out")
        for name in ("low", "floor"):
            bound = getattr(self, name)
            if bound is not None and len(scores) and scores.min() < bound - 1e-6:
                raise ConjoinError(
                    f"list.{name}", f"{bound} is above the score {scores.min():.4g}", "lower it"
                )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lowest(self) -> float:
        """``low``, or the smallest score there is."""
        if self.low is not None:
            return self.low
        return float(self.scores.min()) if len(self) else 0.0

    @property
    def missing(self) -> float:
        """What an item not listed is taken to score."""
        return self.lowest if self.floor is None else self.floor

    def ordered(self) -> "Scored":
        """Best first; equal scores in the order of their ids."""
        order = np.lexsort((self.ids, -self.scores))
        return Scored(self.ids[order], self.scores[order], self.low, self.floor)

    def head(self, k: int) -> "Scored":
        """The first ``k`` of :meth:`ordered`."""
        best = self.ordered()
        return Scored(best.ids[:k], best.scores[:k], self.low, self.floor)


Lists = Mapping[str, Scored]
Weights = Mapping[str, float]


@runtime_checkable
class ScoreFusion(Protocol):
    """A frozen dataclass that makes one list of several; ``tunable`` says that weights matter."""

    tunable: ClassVar[bool]

    def mix(self, lists: Lists, weights: Weights | None = None) -> Scored:
        """One score for every item that any list of weight above 0 holds, best first.

        Weights count by their shares; a list not named weighs 1 where there are none, else 0.

        Raises
        ------
        ConjoinError : a weight is negative or of no list, or none is above 0.
        """
        ...


def weighted(lists: Lists, weights: Weights | None) -> dict[str, float]:
    """The share of each list that counts, summing to 1."""
    if not lists:
        raise ConjoinError("mix", "no list", "give one or more")
    if weights is None:
        return dict.fromkeys(lists, 1 / len(lists))
    for name, value in weights.items():
        if name not in lists:
            raise ConjoinError("weights", f"{name!r} is no list", f"lists are {', '.join(lists)}")
        if not (np.isfinite(value) and value >= 0):
            raise ConjoinError("weights", f"{name} weighs {value}", "give 0 or more")
    total = sum(weights.values())
    if total <= 0:
        raise ConjoinError("weights", "all are 0", "give one list a weight above 0")
    return {name: weights[name] / total for name in lists if weights.get(name, 0) > 0}


def together(lists: Lists, names: Mapping[str, float]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """All ids, sorted, and by list the place of each in it (−1 where it is not)."""
    ids = np.unique(np.concatenate([lists[name].ids for name in names]))
    places = {}
    for name in names:
        at = np.full(len(ids), -1)
        at[np.searchsorted(ids, lists[name].ids)] = np.arange(len(lists[name]))
        places[name] = at
    return ids, places


@dataclass(frozen=True)
class Combination:
    """Weighted mean of scores, each list first brought to a scale: ``f(d) = Σ_l w_l φ_l(s_l(d))``.

    Weights are shares, ``Σ w = 1``. With lowest score m, highest M, mean μ and standard deviation
    σ (divisor n) of a list's scores:

    * ``theoretical``: ``φ(s) = (s − low) / (M − low)``, ``low`` being what the kind of score
      cannot go below;
    * ``minmax``: ``φ(s) = (s − m) / (M − m)``;
    * ``zscore``: ``φ(s) = (s − μ) / σ``;
    * ``percentile``: the share of the list's scores below s, equal ones counting half.

    An item that a list lacks gets ``φ(floor)`` of it, never more than the list's last item: the
    first source scores every candidate by every list, which a floor of 0 (BM25's, for an item
    without a word of the query) does exactly. The second source gives a missing item 0 after
    scaling, which under z-scores is the mean of those found; here it is not. Where all scores of
    a list are equal they are 1, or 0 where they are z-scores or lie at ``low``.

    Parameters
    ----------
    scale : one of the above. Percentiles are within the list; the second source takes them from
        the scores of training queries.

    References
    ----------
    Bruch et al. 2023 (bruch2023fusion), section 3; Louis et al. 2025 (louis2025fuse).
    """

    scale: Annotated[str, Choice(("theoretical", "minmax", "zscore", "percentile"))] = "theoretical"
    tunable: ClassVar[bool] = True

    def mix(self, lists: Lists, weights: Weights | None = None) -> Scored:
        """The weighted means, best first."""
        shares = weighted(lists, weights)
        ids, columns, _ = self.columns({name: lists[name] for name in shares})
        return Scored(ids, np.array(list(shares.values())) @ columns).ordered()

    def columns(self, lists: Lists) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All ids ``[n]``; by list φ of each ``[l, n]``, and whether the list holds it.

        Mixtures of any weights are products with these, which is how weights are tuned.
        """
        ids, places = together(lists, dict.fromkeys(lists, 1.0))
        columns = np.zeros((len(lists), len(ids)))
        for line, (name, found) in enumerate(lists.items()):
            if len(found):
                at = places[name]
                raw = np.where(at < 0, found.missing, found.scores[at])
                columns[line] = scaled(self.scale, raw, found)
        return ids, columns, np.stack([places[name] >= 0 for name in lists])


def scaled(scale: str, raw: np.ndarray, within: Scored) -> np.ndarray:
    """Scores brought to the scale of a list, which is not empty."""
    scores = within.scores
    if scale == "zscore":
        spread = float(scores.std())
        return (
            (raw - scores.mean()) / spread if spread > 0 else np.where(raw < scores[0], -1.0, 0.0)
        )
    if scale == "percentile":
        line = np.sort(scores)
        below = np.searchsorted(line, raw, "left") + np.searchsorted(line, raw, "right")
        return below / (2 * len(line))
    low = within.lowest if scale == "theoretical" else float(scores.min())
    span = float(scores.max()) - low
    if span > 0:
        return np.maximum(raw - low, 0) / span
    flat = 0.0 if scale == "theoretical" and within.low is not None else 1.0
    return np.where(raw < scores.max(), 0.0, flat)


@dataclass(frozen=True)
class RankFusion:
    """Weighted sum of what ranks are worth: ``f(d) = Σ_l w_l v(rank_l(d))``.

    ``reciprocal``: ``v(r) = 1 / (η_l + r)``. ``borda``: ``v(r) = (n_l − r + 1) / n_l`` of a list
    of n. Ranks are from 1, equal scores share the better one; an item that a list lacks gets 0 of
    it. Weights are shares, ``Σ w = 1``; without weights every list counts alike, as published.

    Parameters
    ----------
    worth : ``reciprocal`` or ``borda``.
    eta : η of every list not named in ``etas``; small makes the first places count.
    etas : ``(list, η)`` couples, for lists whose ranks deserve unequal trust.

    References
    ----------
    Cormack et al. 2009 (cormack2009rrf), η = 60; one η a list as in Bruch et al. 2023
    (bruch2023fusion); Borda as in Louis et al. 2025 (louis2025fuse), whose code counts places
    from 0 and so adds 1/n to every item found.
    """

    worth: Annotated[str, Choice(("reciprocal", "borda"))] = "reciprocal"
    eta: Annotated[float, Search(1.0, 200.0, log=True)] = 60.0
    etas: tuple[tuple[str, float], ...] = ()
    tunable: ClassVar[bool] = False

    def mix(self, lists: Lists, weights: Weights | None = None) -> Scored:
        """The sums, best first."""
        shares = weighted(lists, weights)
        ids, places = together(lists, shares)
        total = np.zeros(len(ids))
        for name, share in shares.items():
            at, here = places[name], places[name] >= 0
            ranks = 1 + np.searchsorted(np.sort(-lists[name].scores), -lists[name].scores, "left")
            if self.worth == "borda":
                values = (len(ranks) - ranks + 1) / max(1, len(ranks))
            else:
                values = 1 / (dict(self.etas).get(name, self.eta) + ranks)
            total[here] += share * values[at[here]]
        return Scored(ids, total).ordered()


@dataclass(frozen=True)
class Alone:
    """One list by itself, as it is: ``f(d) = s_l(d)``; the others are not looked at.

    Parameters
    ----------
    which : the list; where there is none of the name, the first.
    """

    which: str = "bm25"
    tunable: ClassVar[bool] = False

    def mix(self, lists: Lists, weights: Weights | None = None) -> Scored:
        """That list, best first."""
        shares = weighted(lists, weights)
        return lists[self.which if self.which in shares else next(iter(shares))].ordered()
