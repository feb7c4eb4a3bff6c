"""Tasks that ask for partners across modalities."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units, bind
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.metrics.retrieval.ranks import Ranking, rank_queries
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.metrics.retrieval.scores import Metric, metric
from conjoin.spaces import Frame, Pairs, Space
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import stable_hash

RECALLS = ("recall@1", "recall@10", "mrr")


@dataclass(frozen=True)
class Retrieval:
    """Find each held-out row's partner in the other modality, both ways.

    Train on pairs of two or more views, ask every held-out row for its partner among the
    held-out rows of each view it was paired with. A training group is never in the test set,
    equal contents count as the same item.

    Parameters
    ----------
    pairs : training lines drawn, whole groups first; ``None`` takes all of them.
    noise : share of training lines whose second view is shuffled among them.
    prefix : how many first coordinates of bound vectors are kept, scaled to length 1 again.
    """

    pairs: Annotated[int | None, Search(4, 1e7, log=True)] = None
    noise: Annotated[float, Search(0.0, 1.0)] = 0.0
    prefix: Annotated[int | None, Search(1, 1e5, log=True)] = None
    metrics: ClassVar[tuple[str, ...]] = RECALLS

    def setting(self, bench: Bench, seed: int) -> Setting:
        """A training subsample a seed; the frozen test set."""
        whole = whole_setting(bench)
        lines = drawn(whole.train, self.pairs, seed)
        return whole.with_train(shuffled(lines, self.noise, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Binding:
        """A binding of the views."""
        return bind(setting, made, seed)

    def judge(self, setting: Setting, fitted: Binding) -> Scores:
        """Every direction's queries, one after the other."""
        read = Prefix(fitted, self.prefix) if self.prefix else fitted
        return judged(setting, read, directions(setting), self.metrics)

    def chance(self, setting: Setting) -> Scores:
        """A gallery in random order."""
        return by_chance(setting, directions(setting), self.metrics)


class Binds(Protocol):
    """Whatever gives the bound vectors of a view's rows."""

    def bind(self, name: str, space: Space) -> Space:
        """The rows in the joint frame."""
        ...


@dataclass(frozen=True, eq=False)
class Prefix:
    """A binding whose vectors are cut to their first coordinates; shorter ones stay whole.

    Parameters
    ----------
    dims : coordinates kept.
    """

    binding: Binds
    dims: int

    def bind(self, name: str, space: Space) -> Space:
        """The first coordinates, in a frame of their own.

        Raises
        ------
        ConjoinError : coordinates of the frame mean nothing by themselves.
        """
        bound = self.binding.bind(name, space)
        if bound.frame.score not in ("cosine", "dot"):
            raise ConjoinError(
                "prefix", f"of a frame scored by {bound.frame.score}", "take it of cosine or dot"
            )
        kept = np.asarray(bound.vectors)[:, : self.dims]
        recipe = {"of": bound.frame.id, "dims": kept.shape[1]}
        label = f"first {kept.shape[1]} of {bound.frame.label}"
        frame = Frame.mint("prefix", label, kept.shape[1], recipe, score=bound.frame.score)
        return replace(bound, vectors=kept, frame=frame)


def drawn(train: Pairs, count: int | None, seed: int) -> Pairs:
    """Training lines of one seed: ``count`` of them, or nine tenths where it is not given.

    Lines are drawn from shuffled groups, so that few lines still are of many groups, and from
    lines that join different views in proportion.

    Raises
    ------
    ConjoinError : there are fewer lines than asked for.
    """
    if count is not None and count > len(train):
        raise ConjoinError("pairs", f"{count} of {len(train)} lines", "ask for fewer")
    rng = np.random.default_rng([seed, stable_hash("drawn")])
    groups, owner = np.unique(train.group, return_inverse=True)
    place = rng.permutation(len(groups))[owner]
    _, kind = np.unique(train.rows != ABSENT, axis=0, return_inverse=True)
    share = np.empty(len(train))
    for own in (np.flatnonzero(kind == one) for one in np.unique(kind)):
        order = own[np.lexsort((place[own], _turn(place[own])))]
        share[order] = (np.arange(len(own)) + 0.5) / len(own)
    order = np.lexsort((place, share))
    return train.take(np.sort(order[: count or round(0.9 * len(train))]))


def _turn(owner: np.ndarray) -> np.ndarray:
    """How many lines of the same group come before each."""
    order = np.argsort(owner, kind="stable")
    starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
    counts = np.arange(len(owner)) - np.repeat(starts, np.diff(np.append(starts, len(owner))))
    turn = np.empty(len(owner), dtype=np.int64)
    turn[order] = counts
    return turn


def shuffled(train: Pairs, noise: float, seed: int) -> Pairs:
    """The lines with the last view of a share of them moved to another of these."""
    if noise == 0:
        return train
    rng = np.random.default_rng([seed, stable_hash("noise")])
    chosen = rng.permutation(len(train))[: round(noise * len(train))]
    rows = train.rows.copy()
    rows[chosen, -1] = np.roll(rows[chosen, -1], 1)
    return Pairs(train.names, rows, train.weight, train.group)


def directions(setting: Setting) -> list[tuple[str, str]]:
    """Both ways of every couple of views that held-out pairs join."""
    return [way for a, b in setting.bed.test.edges() for way in ((a, b), (b, a))]


def answers(
    setting: Setting, ways: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, str, Relevance, np.ndarray]]:
    """Each direction with its right answers and the clusters of its queries."""
    for query, target in ways:
        wanted = setting.bed.relevance(query, target)
        labels = setting.bed.clusters(query, wanted)
        yield query, target, wanted, np.array([stable_hash(str(label)) for label in labels])


def judged(
    setting: Setting, fitted: Binds, ways: Sequence[tuple[str, str]], metrics: Sequence[str]
) -> Scores:
    """Scores of every query of every direction."""

    def rank(query: str, target: str, wanted: Relevance) -> Ranking:
        asked, shown = (
            fitted.bind(name, setting.spaces[name].take(setting.bed.rows[name]))
            for name in (query, target)
        )
        return ranked(asked, shown, wanted)

    found: list[tuple[Mapping[str, np.ndarray], np.ndarray]] = []
    for query, target, wanted, groups in answers(setting, ways):
        ranking = rank(query, target, wanted)
        found.append(({m: metric(m).per_query(ranking) for m in metrics}, groups))
    return gathered(found)


def ranked(asked: Any, shown: Any, wanted: Relevance) -> Ranking:
    """Where the right answers stand, scored as the frame says."""
    if asked.frame.score == "maxsim":
        return rank_queries(asked.vectors, shown.vectors, wanted)
    return rank_queries(
        asked.frame.query(np.asarray(asked.vectors, np.float32)),
        shown.frame.item(np.asarray(shown.vectors, np.float32)),
        wanted,
    )


def by_chance(setting: Setting, ways: Sequence[tuple[str, str]], metrics: Sequence[str]) -> Scores:
    """The exact worth of a random order, given to every query of a direction."""
    found = []
    for _, _, wanted, groups in answers(setting, ways):
        known: dict[str, Metric] = {m: metric(m) for m in metrics}
        values = {m: np.full(len(wanted), each.chance(wanted)) for m, each in known.items()}
        found.append((values, groups))
    return gathered(found)


def gathered(found: Sequence[tuple[Mapping[str, np.ndarray], np.ndarray]]) -> Scores:
    """Directions one after the other."""
    groups = np.concatenate([own for _, own in found])
    return {
        name: Units(np.concatenate([values[name] for values, _ in found]), groups)
        for name in found[0][0]
    }
