"""Alignment without pairs: rows of two views in unrelated orders, and nothing that links them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.alignment.closed_form.linear import Identity, MeanCentering
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import INNER, Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import by_chance, directions, drawn, gathered, judged
from conjoin.metrics.retrieval.ranks import rank_queries
from conjoin.metrics.retrieval.relevance import Relevance, relevance
from conjoin.metrics.retrieval.scores import metric
from conjoin.retrieval.engines.exact import top_k
from conjoin.retrieval.hubness.csls import CSLS
from conjoin.spaces import Pairs, Space
from conjoin.spaces.space import count_parts
from conjoin.storage.digest import stable_hash

#: More rows than this in the same place of both views are no accident: by chance it is one.
ACCIDENT = 12


@dataclass(frozen=True, eq=False)
class Hidden(Setting):
    """A setting whose training pairs are not told; ``train`` holds the few that are.

    Parameters
    ----------
    truth : the pairs behind the rows a method is given.
    pool : every pair outside the test set, by which ``matched`` is judged.
    blind : judge by what shows without pairs.
    """

    truth: Pairs
    pool: Pairs
    blind: bool = False

    def inner(self, seed: int, parts: int = INNER) -> "Hidden":
        """The same rows, judged without pairs: there are none to hold out."""
        return replace(self, blind=True)


@dataclass(frozen=True)
class Unpaired:
    """Bind two views from their training rows alone, then find held-out partners, both ways.

    A method gets vectors under new ids, each view in an order of its own, and at most ``seeds``
    pairs. ``matched`` is the share of all rows outside the test set whose nearest row of the
    second view (by CSLS) is their own partner. No pair may choose a method's settings either:
    they are chosen by the mean CSLS score ``2 cos - r_x - r_y`` of nearest rows, both ways (after
    the criterion of Conneau et al. 2018, which takes the cosine; the margin does not favour maps
    that put all rows together). Methods that look at each view by itself (doing nothing,
    mean-centering) are given random lines; others that need pairs run only with seeds.

    Parameters
    ----------
    seeds : training pairs that are told, drawn at random.
    """

    seeds: Annotated[int, Search(0, 1e6)] = 0
    metrics: ClassVar[tuple[str, ...]] = ("recall@10", "matched")

    def setting(self, bench: Bench, seed: int) -> Hidden:
        """Nine tenths of the training rows of the first two views, and the seeds.

        Raises
        ------
        ConjoinError : there are fewer pairs than seeds asked for.
        """
        names = tuple(bench.spaces)[:2]
        whole = whole_setting(bench, names)
        truth = drawn(whole.train, None, seed)
        told = drawn(truth, self.seeds, seed) if self.seeds else truth.take(np.arange(0))
        bed = replace(whole.bed, train=told)
        return Hidden(bed, bench, truth, whole.train)

    def fit(self, setting: Hidden, made: Made, seed: int) -> Binding:
        """A binding of disordered rows.

        Raises
        ------
        ConjoinError : the method needs pairs and there are no seeds.
        """
        orders = disorder(setting.truth, seed)
        refuse_order(orders, setting.truth)
        spaces = {name: nameless(setting.spaces[name], rows) for name, rows in orders.items()}
        lines = told(setting.train, orders)
        if isinstance(made.aligner, Identity | MeanCentering):
            count = min(len(rows) for rows in orders.values())
            lines = Pairs(tuple(orders), np.tile(np.arange(count)[:, None], (1, len(orders))))
        elif not len(lines) and not getattr(made.aligner, "pairless", False):
            raise ConjoinError("unpaired", "the method needs pairs", "give seeds above 0")
        if made.augmentation is not None:
            raise ConjoinError("arm", "an augmentation", "name an aligner alone")
        return Binding.fit(spaces, lines, method=made.aligner, hub=made.hub, seed=seed)

    def judge(self, setting: Hidden, fitted: Binding) -> Scores:
        """Held-out queries both ways, and rows outside the test set one way."""
        if setting.blind:
            return {name: _criterion(setting, fitted) for name in self.metrics}
        found = judged(setting, fitted, directions(setting), ("recall@10",))
        wanted, groups = _partners(setting)
        one, other = setting.truth.names
        q, x = (_bound(setting.spaces[n].take(_rows(setting.pool, n)), fitted, n)
                for n in (one, other))  # fmt: skip
        fix = CSLS().fit(x, q)
        ranking = rank_queries(q, x, wanted, scale=fix.scale, offset=fix.offset.sum(axis=1))
        return {**found, **gathered([({"matched": ranking.hits(1)}, groups)])}

    def chance(self, setting: Hidden) -> Scores:
        """A gallery in random order."""
        found = by_chance(setting, directions(setting), ("recall@10",))
        wanted, groups = _partners(setting)
        worth = np.full(len(wanted), metric("recall@1").chance(wanted))
        return {**found, "matched": Units(worth, groups)}


def disorder(truth: Pairs, seed: int) -> dict[str, np.ndarray]:
    """The rows of each view, in an order of its own."""
    found = {}
    for name in truth.names:
        rng = np.random.default_rng([seed, stable_hash(f"order/{name}")])
        found[name] = rng.permutation(_rows(truth, name))
    return found


def _rows(pairs: Pairs, name: str) -> np.ndarray:
    """The rows of a view that stand on any line."""
    rows = np.unique(pairs.column(name))
    return rows[rows >= 0]


def refuse_order(orders: Mapping[str, np.ndarray], truth: Pairs) -> None:
    """Refuse orders in which partners stand in the same place.

    Raises
    ------
    ConjoinError : more of them do than by accident.
    """
    places = {}
    for name, rows in orders.items():
        place = np.full(int(max(rows.max(), truth.column(name).max())) + 1, -1)
        place[rows] = np.arange(len(rows))
        places[name] = place[truth.column(name)]
    one, other = places.values()
    same = int(((one == other) & (one >= 0)).sum())
    if same > ACCIDENT:
        raise ConjoinError("order", f"{same} partners in the same place", "shuffle each view apart")


def nameless(space: Space, rows: np.ndarray) -> Space:
    """Rows under new ids, without content hashes or history: only their vectors are told."""
    taken = space.take(rows)
    ids = np.arange(len(rows)).astype(str)
    return Space(ids, taken.vectors, space.frame, count_parts(ids))


def told(seeds: Pairs, orders: Mapping[str, np.ndarray]) -> Pairs:
    """The pairs that are told, in the numbers of the disordered rows."""
    columns = []
    for name, rows in orders.items():
        place = np.argsort(rows)
        columns.append(place[np.searchsorted(rows, seeds.column(name), sorter=place)]
                       if len(seeds) else np.empty(0, np.int64))  # fmt: skip
    return Pairs(tuple(orders), np.stack(columns, axis=1))


def _bound(space: Space, fitted: Binding, name: str) -> np.ndarray:
    bound = fitted.bind(name, space)
    return np.asarray(bound.frame.item(np.asarray(bound.vectors, np.float32)))


def _partners(setting: Hidden) -> tuple[Relevance, np.ndarray]:
    """Who is whose partner among all rows outside the test set."""
    one, other = setting.truth.names
    wanted = relevance(
        setting.spaces[one], setting.spaces[other], setting.pool, one, other,
        query_rows=_rows(setting.pool, one), gallery_rows=_rows(setting.pool, other),
    )  # fmt: skip
    ids = setting.spaces[one].ids[_rows(setting.pool, one)][wanted.queries]
    groups = [stable_hash(str(setting.bed.groups.get(str(i), str(i)))) for i in ids]
    return wanted, np.array(groups)


def _criterion(setting: Hidden, fitted: Binding) -> Units:
    """``2 cos - r_x - r_y`` of each training row and its nearest row of the other view."""
    one, other = (
        _bound(setting.spaces[n].take(_rows(setting.truth, n)), fitted, n)
        for n in setting.truth.names
    )
    found = []
    for q, x in ((one, other), (other, one)):
        fix = CSLS().fit(x, q)
        best = top_k(q, x, 1, scale=fix.scale, offset=fix.offset, backend="numpy")[0][:, 0]
        around = top_k(q, x, min(CSLS().k, len(x)), backend="numpy")[0].mean(axis=1)
        found.append(best - around)
    values = np.concatenate(found).astype(np.float64)
    return Units(values, np.arange(len(values)))
