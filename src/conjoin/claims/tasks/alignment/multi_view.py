"""Tasks of three views, or of several parts an item: bridged, added later, many-to-many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError, nearest
from conjoin.evaluation.arms import Made, Scores, bind
from conjoin.evaluation.benchmark import INNER, Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import RECALLS, Retrieval, by_chance, directions, drawn, judged
from conjoin.spaces import Pairs
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import digest, stable_hash

Ways = tuple[tuple[str, str], ...]
Budget = Annotated[int | None, Search(4, 1e7, log=True)]


@dataclass(frozen=True, eq=False)
class Asked(Setting):
    """A setting that is asked in given directions.

    Inside its training pairs it is asked in the directions those join: where two views are never
    paired, nothing about them can be validated.

    Parameters
    ----------
    ways : query and target views.
    """

    ways: Ways = ()

    def inner(self, seed: int, parts: int = INNER) -> "Asked":
        """Held-out training pairs, asked both ways of every couple they join."""
        inside = super().inner(seed, parts)
        assert isinstance(inside, Asked)
        return replace(inside, ways=tuple(directions(inside)))


@dataclass(frozen=True)
class Bridged:
    """Search between two views that were never paired, through one both are paired with.

    Half of the training groups gives pairs of the bridge and the one end, the other half of the
    bridge and the other end: no item and no group links the ends. Settings are chosen by search
    between paired views.

    Parameters
    ----------
    bridge : the middle view; the second of the data where not given. The ends are the first two
        others.
    pairs : training lines of each half; ``None`` takes nine tenths.
    """

    bridge: str | None = None
    pairs: Budget = None
    metrics: ClassVar[tuple[str, ...]] = RECALLS

    def setting(self, bench: Bench, seed: int) -> Asked:
        """Two halves of the training groups, one a couple; asked from end to end."""
        bridge, one, other = three_views(bench, self.bridge)
        whole = whole_setting(bench, (bridge, one, other))
        first = half(whole.train, seed)
        parts = [
            drawn(whole.train.take(chosen).select((bridge, end)), self.pairs, seed)
            for chosen, end in ((first, one), (~first, other))
        ]
        train = parts[0].join(parts[1])
        refuse_joined(train, one, other)
        bed = replace(whole.bed, train=train)
        return Asked(bed, bench, ((one, other), (other, one)))

    def fit(self, setting: Asked, made: Made, seed: int) -> Binding:
        """A binding of all three views."""
        return bind(setting, made, seed)

    def judge(self, setting: Asked, fitted: Binding) -> Scores:
        """Queries of both directions."""
        return judged(setting, fitted, setting.ways, self.metrics)

    def chance(self, setting: Asked) -> Scores:
        """A gallery in random order."""
        return by_chance(setting, setting.ways, self.metrics)


def three_views(bench: Bench, middle: str | None, place: int = 1) -> tuple[str, str, str]:
    """The middle view and the first two others."""
    names = list(bench.spaces)
    if len(names) < 3:
        raise ConjoinError(f"data {bench.name}", f"{len(names)} views", "name three or more")
    if middle is not None and middle not in names:
        raise ConjoinError(f"data {bench.name}", f"no view {middle}", nearest(middle, names))
    middle = middle or names[place]
    one, other = [name for name in names if name != middle][:2]
    return middle, one, other


def half(pairs: Pairs, seed: int) -> np.ndarray:
    """``[m]`` whether a line's group is in the first of two halves of the groups."""
    groups, owner = np.unique(pairs.group, return_inverse=True)
    order = np.random.default_rng([seed, stable_hash("half")]).permutation(len(groups))
    return np.asarray(order[owner] < len(groups) // 2)


def refuse_joined(train: Pairs, one: str, other: str, *, groups: bool = True) -> None:
    """Refuse training lines that link two views that are to be never paired.

    Parameters
    ----------
    groups : also refuse a group that has the one view on one line and the other on another.

    Raises
    ------
    ConjoinError : a line, or a group, holds both.
    """
    left, right = (train.column(name) != ABSENT for name in (one, other))
    if (left & right).any():
        raise ConjoinError("pairs", f"a line holds {one} and {other}", "train on other lines")
    if groups and np.isin(train.group[left], train.group[right]).any():
        raise ConjoinError(
            "pairs", f"a group is seen in {one} and in {other}", "split whole groups"
        )


@dataclass(frozen=True)
class AddedLater:
    """Add a third view to a fitted binding, and search between it and both others.

    The first two views are fitted to each other; then the third is fitted to where one of them
    lies, and nothing else moves. No line pairs it with the other, unless ``both``.

    Parameters
    ----------
    to : the view the third is paired with; the second of the data where not given.
    pairs : training lines of the third view; ``None`` takes nine tenths.
    both : the lines of the third view hold both others.
    """

    to: str | None = None
    pairs: Budget = None
    both: bool = False
    neutral: ClassVar[Mapping[str, Any]] = {"both": False}
    metrics: ClassVar[tuple[str, ...]] = RECALLS

    def setting(self, bench: Bench, seed: int) -> Asked:
        """Lines of the two first views, and lines of the third with one of them."""
        near, far, new = three_views(bench, self.to)
        whole = whole_setting(bench, (near, far, new))
        first = drawn(whole.train.select((near, far)), None, seed)
        beside = (near, far, new) if self.both else (near, new)
        train = first.join(drawn(whole.train.select(beside), self.pairs, seed))
        if not self.both:
            refuse_joined(train, far, new, groups=False)
        ways = ((new, far), (far, new), (new, near), (near, new))
        return Asked(replace(whole.bed, train=train), bench, ways)

    def fit(self, setting: Asked, made: Made, seed: int) -> Binding:
        """The first two bound, then the third added.

        Raises
        ------
        ConjoinError : adding it changed a map that was fitted before.
        """
        near, far, new = setting.train.names
        first = bind(setting.with_train(setting.train.select((near, far))), made, seed)
        before = _states(first, (near, far))
        beside = (near, far, new) if self.both else (near, new)
        spaces = {name: setting.spaces[name] for name in beside}
        lines = setting.train.take(setting.train.column(new) != ABSENT).select(beside)
        grown = first.extend(spaces, lines)
        if _states(grown, (near, far)) != before:
            raise ConjoinError("binding", "a fitted map changed", "leave frozen maps as they are")
        return grown

    def judge(self, setting: Asked, fitted: Binding) -> Scores:
        """Queries of every direction asked."""
        return judged(setting, fitted, setting.ways, self.metrics)

    def chance(self, setting: Asked) -> Scores:
        """A gallery in random order."""
        return by_chance(setting, setting.ways, self.metrics)


def _states(binding: Binding, names: Sequence[str]) -> list[str]:
    """A hash of the numbers of each map."""
    found = []
    for name in names:
        fields, arrays = binding.maps[name].state()
        held = [[key, digest(np.ascontiguousarray(x).tobytes())] for key, x in arrays.items()]
        found.append(digest([fields, sorted(held)]))
    return found


@dataclass(frozen=True, eq=False)
class Parted(Setting):
    """A setting in which every part of an item is to be found by itself."""

    def inner(self, seed: int, parts: int = INNER) -> "Parted":
        """Held-out training pairs; all parts of an item are partners."""
        inside = super().inner(seed, parts)
        assert isinstance(inside, Parted)
        return _crossed(inside)


@dataclass(frozen=True)
class ManyToMany(Retrieval):
    """Find all partners of each held-out row where items have several parts, both ways.

    Trained as :class:`~conjoin.evaluation.retrieval.Retrieval` is, but each part of an item is a
    partner of its own, to be found by every part of the item's other views; parts of equal
    content are one. Average precision and discounted gain count every partner, recall a hit on
    any.
    """

    metrics: ClassVar[tuple[str, ...]] = ("recall@10", "map", "ndcg@10")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """As of retrieval, with parts apart.

        Raises
        ------
        ConjoinError : no held-out row has two partners.
        """
        before = super().setting(bench, seed).bed
        groups: dict[str, str] = {}
        spaces = {}
        for name, space in before.spaces.items():
            ids = np.array([f"{i}/{part}" for i, part in zip(space.ids, space.parts, strict=True)])
            spaces[name] = replace(space, ids=ids, parts=np.zeros(len(ids), np.int32))
            groups |= {
                str(new): before.groups.get(str(old), str(old))
                for new, old in zip(ids, space.ids, strict=True)
            }
        setting = _crossed(Parted(replace(before, spaces=spaces, groups=groups), bench))
        ways = directions(setting)
        if all(setting.bed.relevance(query, target).counts.max() < 2 for query, target in ways):
            raise ConjoinError(
                f"data {bench.name}", "no held-out row has two partners", "take the task retrieval"
            )
        return setting


def _crossed(setting: Parted) -> Parted:
    """The setting whose test lines link every part of an item with every part of its others."""
    lines = setting.bed.test
    for one, other in setting.bed.test.edges():
        held = [(name, setting.bed.rows[name]) for name in (one, other)]
        ids = [setting.bench.view(name).ids[rows] for name, rows in held]
        i, j = np.nonzero(ids[0][:, None] == ids[1][None, :])
        rows = np.stack([held[0][1][i], held[1][1][j]], axis=1)
        labels = [setting.bench.groups.get(str(item), str(item)) for item in ids[0][i]]
        group = np.array([stable_hash(str(label)) for label in labels], dtype=np.int64)
        lines = lines.join(Pairs((one, other), rows, group=group))
    return replace(setting, bed=replace(setting.bed, test=lines))
