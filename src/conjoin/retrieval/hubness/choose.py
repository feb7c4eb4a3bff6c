"""Which correction a direction gets, if any: a paired decision on rehearsed queries."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.retrieval.calibration.cross_fit import Edge, Rehearsal, Scene
from conjoin.retrieval.hubness.csls import Correction, Corrector
from conjoin.retrieval.hubness.query_bank import fit_all
from conjoin.retrieval.hubness.report import Hubness, K
from conjoin.stats.bootstrap import ends, mean_draws

#: Queries scored together.
BLOCK = 512
#: Level of all intervals of a direction together.
LEVEL = 0.95


@dataclass(frozen=True)
class Tried:
    """One setting of one correction: its gain over none, and the hubs it leaves.

    Parameters
    ----------
    gain : mean of recall@1, @5 and @10, less that without a correction; ``low, high`` hold for
        all settings tried in the direction at once.
    hubs : measured for each method's best setting.
    """

    method: str
    fields: Mapping[str, Any]
    gain: float
    low: float
    high: float
    hubs: Hubness | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "method": self.method, "fields": dict(self.fields), "gain": self.gain,
            "low": self.low, "high": self.high,
            "hubs": None if self.hubs is None else self.hubs.to_json(),
        }  # fmt: skip


@dataclass(frozen=True)
class InIndex:
    """New queries to the whole index: its hubs and what a correction does to both.

    Parameters
    ----------
    plain, hubs : without a correction.
    gain : with the correction, less that without, and its 95 % interval.
    after : the hubs it leaves.
    """

    plain: float
    hubs: Hubness
    gain: tuple[float, float, float] | None = None
    after: Hubness | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "plain": self.plain, "hubs": self.hubs.to_json(),
            "gain": None if self.gain is None else list(self.gain),
            "after": None if self.after is None else self.after.to_json(),
        }  # fmt: skip


@dataclass(frozen=True)
class Decision:
    """What was tried for one direction and what came of it.

    Parameters
    ----------
    plain : recall without a correction, as ``gain`` counts it; ``hubs`` those it has.
    tried : every setting, best first.
    best_safe : the best of those whose interval lies above 0; ``None`` where none does. What was
        in use before stays in its place, unless the interval of the best one's gain over it lies
        above 0, or its own below.
    index : the same gallery as the index holds, items that were trained on among them, without
        a correction and with ``best_safe``.
    """

    query: str
    target: str
    queries: int
    plain: float
    hubs: Hubness
    tried: tuple[Tried, ...]
    best_safe: Tried | None
    index: "InIndex"

    @property
    def chosen(self) -> Tried | None:
        """What is used: the best safe one, unless it hurts in the whole index."""
        gain = self.index.gain
        return None if gain is not None and gain[2] < 0 else self.best_safe

    @property
    def best(self) -> list[Tried]:
        """The best setting of each method, best method first."""
        found: dict[str, Tried] = {}
        for one in self.tried:
            found.setdefault(one.method, one)
        return list(found.values())

    def corrector(self) -> Corrector | None:
        """What was chosen, ready to fit."""
        if self.chosen is None:
            return None
        made: Corrector = of_kind("correction")[self.chosen.method].make(self.chosen.fields)
        return made

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "query": self.query, "target": self.target, "queries": self.queries,
            "plain": self.plain, "hubs": self.hubs.to_json(),
            "tried": [one.to_json() for one in self.tried],
            "chosen": None if self.chosen is None else self.chosen.to_json(),
            "index": self.index.to_json(),
        }  # fmt: skip


def candidates() -> list[Corrector]:
    """Every setting that is tried, of every correction of the shortlist."""
    return [
        row.make(fields)
        for row in of_kind("correction").values() if row.shortlist
        for fields in _tries(row.load())
    ]  # fmt: skip


def _tries(engine: Any) -> Sequence[Mapping[str, Any]]:
    return tuple(getattr(engine, "tries", ({},)))


def decide(
    rehearsal: Rehearsal,
    incumbents: Mapping[Edge, Corrector] = {},
    report: Callable[[str], None] = lambda _: None,
) -> list[Decision]:
    """Try the corrections of the shortlist in every direction that pairs join.

    Each setting is fitted on every fold to the training queries and items, and scored on the
    fold's queries among the fold's items, paired with no correction at all. Intervals of the
    gains are widened until all of a direction's hold at once: the quantile is that of the largest
    of their studentised errors, in the same resamples of groups (Romano and Wolf 2005). One is
    used only if its interval lies above 0, and if it does not hurt where the gallery is the whole
    index. There every row's own training partners are left out of its banks: they would mark
    down whatever was trained on. A frame that is not scored by cosine takes no correction.

    Parameters
    ----------
    incumbents : what is in use, by direction; it stays unless another is clearly better.
    report : told which direction is looked at.
    """
    if rehearsal.binding.frame.score != "cosine":
        return []
    new: dict[Edge, list[Scene]] = {}
    whole: dict[Edge, list[Scene]] = {}
    for scene in rehearsal.scenes:
        if scene.paired:
            ways = whole if scene.whole else new
            ways.setdefault((scene.query, scene.target), []).append(scene)
    found = []
    for way in new:
        report(f"corrections of {way[0]} → {way[1]}")
        try:
            found.append(_decide(new[way], whole[way], rehearsal.seed, incumbents.get(way)))
        except ConjoinError:  # too few groups, or a bank that is one item's own
            continue
    return found


def _decide(
    scenes: Sequence[Scene], whole: Sequence[Scene], seed: int, incumbent: Corrector | None
) -> Decision:
    methods = candidates()
    if incumbent is not None and incumbent not in methods:
        methods.append(incumbent)
    made = [fit_all(methods, s.x, s.bank, s.items, s.own) for s in scenes]
    values = np.concatenate([_values(s, own) for s, own in zip(scenes, made, strict=True)])
    groups = np.concatenate([scene.groups for scene in scenes])
    gains = simultaneous(values[:, 1:] - values[:, :1], groups, seed)
    order = sorted(range(len(methods)), key=lambda j: -gains[j][0])
    firsts = {methods[j].name: j for j in reversed(order)}

    def hubs(place: int | None) -> Hubness:
        return _hubness(scenes, [None if place is None else own[place] for own in made])

    tried = tuple(
        Tried(
            methods[j].name, fields_of(methods[j]), *gains[j],
            hubs(j) if firsts[methods[j].name] == j else None,
        )
        for j in order
    )  # fmt: skip
    plain = float(values[:, 0].mean())
    place = next((at for at, one in enumerate(tried) if one.low > 0), None)
    if incumbent is not None:
        own = order.index(methods.index(incumbent))
        place = _contest(values[:, 1:][:, order], groups, (own, place), tried[own].high, seed)
    chosen = None if place is None else tried[place]
    first = scenes[0]
    index = _in_index(whole, None if place is None else order[place], methods, seed)
    return Decision(
        first.query, first.target, len(values), plain, hubs(None), tried, chosen, index
    )  # fmt: skip


def _contest(
    values: np.ndarray, groups: np.ndarray, places: tuple[int, int | None], high: float, seed: int
) -> int | None:
    """The place of the incumbent, or of the newcomer where that is clearly better than it.

    Parameters
    ----------
    places : of the incumbent, and of the best that is clearly better than none.
    high : end of the interval of the incumbent's gain over none; below 0 it goes.
    """
    own, best = places
    if high < 0 or best is None or best == own:
        return best if high < 0 else own
    # Over all settings at once, as the best of them was picked on the same queries.
    gains = simultaneous(values - values[:, [own]], groups, seed)
    return best if gains[best][1] > 0 else own


def _in_index(
    scenes: Sequence[Scene], place: int | None, methods: Sequence[Corrector], seed: int
) -> InIndex:
    made: list[list[Correction]] = [[] for _ in scenes]
    if place is not None:
        made = [fit_all([methods[place]], s.x, s.bank, s.items, s.own) for s in scenes]
    values = np.concatenate([_values(s, own) for s, own in zip(scenes, made, strict=True)])
    plain, before = float(values[:, 0].mean()), _hubness(scenes, [None] * len(scenes))
    if place is None:
        return InIndex(plain, before)
    groups = np.concatenate([scene.groups for scene in scenes])
    gain = simultaneous(values[:, 1:] - values[:, :1], groups, seed)[0]
    return InIndex(plain, before, gain, _hubness(scenes, [own[0] for own in made]))


def fields_of(method: Any) -> dict[str, Any]:
    """A method's hyper-parameters as a row's ``make`` takes them."""
    return asdict(method)


def simultaneous(
    gains: np.ndarray, groups: np.ndarray, seed: int = 0, draws: int = 2000
) -> list[tuple[float, float, float]]:
    """Mean, low and high of every column of ``[n, m]``, intervals that hold all at once.

    Raises
    ------
    ConjoinError : there are fewer than two groups.
    """
    means = gains.mean(axis=0)
    drawn = mean_draws(gains, groups, draws=draws, seed=seed) - means
    error = drawn.std(axis=0)
    safe = np.where(error > 0, error, 1.0)
    most = np.abs(drawn / safe).max(axis=1)
    count = len(np.unique(groups))
    reach = max(ends(np.concatenate([most, -most]), count, LEVEL)[1], 0.0)
    return [
        (float(m), float(m - reach * e), float(m + reach * e))
        for m, e in zip(means, error, strict=True)
    ]


def corrected_scores(
    scene: Scene, correction: Correction | None, plain: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """``[b, n]`` corrected from the plain scores of the queries ``rows``."""
    if correction is None:
        return np.array(plain)
    if correction.gallery_map is not None:
        q = correction.queries(scene.q[rows])
        return np.asarray(q @ _moved(scene, correction).T)
    offset = np.asarray(correction.offset, dtype=np.float32)
    if correction.active is None:
        return np.asarray(correction.scale * plain - offset.sum(axis=1))
    gate = correction.active[plain.argmax(axis=1)].astype(np.float32)
    return np.asarray(correction.scale * plain - gate @ offset.T)


def _moved(scene: Scene, correction: Correction) -> np.ndarray:
    kept = getattr(scene, "_moved", None)
    if kept is None or kept[0] is not correction:
        kept = (correction, np.asarray(correction.items(scene.x)))
        object.__setattr__(scene, "_moved", kept)
    found: np.ndarray = kept[1]
    return found


def _values(scene: Scene, corrections: Sequence[Correction]) -> np.ndarray:
    """``[q, 1 + c]`` mean of hits@1, @5 and @10, plain first."""
    asked = scene.wanted.queries
    out = np.empty((len(asked), 1 + len(corrections)))
    for start in range(0, len(asked), BLOCK):
        part = slice(start, min(start + BLOCK, len(asked)))
        plain = scene.q[asked[part]] @ scene.x.T
        for column, correction in enumerate((None, *corrections)):
            scores = corrected_scores(scene, correction, plain, asked[part])
            ranks = best_ranks(scores, scene.wanted, part.start)
            out[part, column] = np.mean([ranks <= k for k in (1, 5, 10)], axis=0)
    return out


def best_ranks(scores: np.ndarray, wanted: Relevance, start: int) -> np.ndarray:
    """``[b]`` rank of the first right answer of queries from ``start`` on; ties in the middle."""
    items = by_item(scores, wanted.item_of)
    offsets = wanted.offsets[start : start + len(scores) + 1]
    columns = wanted.items[offsets[0] : offsets[-1]]
    rows = np.repeat(np.arange(len(scores)), np.diff(offsets))
    own = np.maximum.reduceat(items[rows, columns], offsets[:-1] - offsets[0])[:, None]
    items[rows, columns] = -np.inf
    above, level = (items > own).sum(axis=1), (items == own).sum(axis=1)
    return np.asarray(1 + above + (level + 1) // 2)


def by_item(scores: np.ndarray, item_of: np.ndarray) -> np.ndarray:
    """``[b, items]`` the best row of each item, from ``[b, rows]``."""
    order = np.argsort(item_of, kind="stable")
    starts = np.flatnonzero(np.diff(item_of[order], prepend=-1))
    if len(starts) == len(order):
        return np.asarray(scores[:, order])
    return np.asarray(np.maximum.reduceat(scores[:, order], starts, axis=1))


def _lists(scene: Scene, correction: Correction | None, k: int) -> np.ndarray:
    """``[q, k]`` gallery rows of every query with an answer."""
    asked = scene.wanted.queries
    found = np.empty((len(asked), k), dtype=np.int64)
    for start in range(0, len(asked), BLOCK):
        part = slice(start, min(start + BLOCK, len(asked)))
        plain = scene.q[asked[part]] @ scene.x.T
        scores = corrected_scores(scene, correction, plain, asked[part])
        found[part] = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return found


def _hubness(scenes: Sequence[Scene], corrections: Sequence[Correction | None]) -> Hubness:
    """Over all folds: rows are counted by their place in the target's space.

    Lists are as long as the smallest fold's gallery where that holds fewer than ten rows.
    """
    k = min(K, *(len(scene.x) for scene in scenes))
    lists = [_lists(scene, own, k) for scene, own in zip(scenes, corrections, strict=True)]
    rows = np.unique(np.concatenate([scene.rows for scene in scenes]))
    placed = [
        np.searchsorted(rows, scene.rows[own]) for scene, own in zip(scenes, lists, strict=True)
    ]
    groups = np.concatenate([scene.groups for scene in scenes])
    return Hubness.of(np.concatenate(placed), len(rows), groups)


def correctors(decisions: Sequence[Decision]) -> dict[Edge, Corrector]:
    """What was chosen, by direction."""
    found = {}
    for one in decisions:
        made = one.corrector()
        if made is not None:
            found[one.query, one.target] = made
    return found


def corrected_by(scene: Scene, chosen: Mapping[Edge, Corrector]) -> Correction | None:
    """The chosen correction of a scene's direction, fitted on the scene's banks."""
    method = chosen.get((scene.query, scene.target))
    return (
        None
        if method is None
        else fit_all([method], scene.x, scene.bank, scene.items, scene.own)[0]
    )
