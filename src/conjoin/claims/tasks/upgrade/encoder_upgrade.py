"""A bridge between versions of an encoder, beside doing nothing and embedding all anew."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.binding import Binding, finished
from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import RECALLS, answers, by_chance, drawn, gathered
from conjoin.metrics.retrieval.ranks import rank_queries
from conjoin.metrics.retrieval.scores import metric
from conjoin.spaces import Pairs, Space
from conjoin.spaces.frame import unit
from conjoin.upgrade.bridges.linear_bridges import ReEmbed

#: What binds pictures to the old texts, and to the new ones where all is embedded anew.
METHOD = "cca"


@dataclass(frozen=True, eq=False)
class Upgraded:
    """Where an arm puts the rows of each view, as its frame scores them."""

    binding: Any
    arm: str

    def vectors(self, name: str, space: Space) -> tuple[Any, np.ndarray]:
        """The frame's way to score, and vectors of a view's rows."""
        if isinstance(self.binding, Binding):
            bound = self.binding.bind(name, space)
            return bound.frame, np.asarray(bound.vectors, np.float32)
        return None, unit(np.asarray(space.vectors, np.float32))


@dataclass(frozen=True)
class Upgrading:
    """Search by a new encoder in a gallery of the old one, through a bridge.

    The first view is the gallery by the old encoder, the second the same cells by the new; a
    bridge is fitted to ``pairs`` of their training lines, embedded by both. With two more views,
    the queries by the old encoder and by the new, held-out queries by the new ask the old
    gallery. With one more view, another modality bound to the old by CCA, the new encoder's map is
    fitted to that frozen frame, and held-out new rows and stored rows of the other modality ask
    for each other. The arm ``identity`` keeps the old encoder for both sides, ``re-embed`` takes
    the new for both: fitted anew, to ``pairs`` too, where there is another modality.

    Parameters
    ----------
    pairs : training lines that are embedded by both encoders; ``None`` takes nine tenths.
    """

    pairs: Annotated[int | None, Search(4, 1e7, log=True)] = 500
    metrics: ClassVar[tuple[str, ...]] = RECALLS
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity", "re-embed", "ridge", "procrustes")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Training lines of one seed; the frozen test set.

        Raises
        ------
        ConjoinError : there are too few views.
        """
        if len(bench.spaces) not in (3, 4):
            raise ConjoinError(
                f"data {bench.name}", f"{len(bench.spaces)} views",
                "name old, new and another modality, or old, new and both queries",
            )  # fmt: skip
        whole = whole_setting(bench)
        count = None if self.pairs is None else min(self.pairs, len(whole.train))
        return whole.with_train(drawn(whole.train, count, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Upgraded:
        """The arm's bridge, or what stands in its place."""
        old, new, *more = setting.spaces
        arm = "re-embed" if isinstance(made.aligner, ReEmbed) else "bridge"
        arm = "nothing" if type(made.aligner) is Identity else arm
        if len(more) == 2:
            if arm != "bridge":
                return Upgraded(None, arm)
            return Upgraded(_bridge(setting, made, (old, new), seed), arm)
        return Upgraded(_tower(setting, made, arm, seed), arm)

    def judge(self, setting: Setting, fitted: Upgraded) -> Scores:
        """Every direction's held-out queries."""
        found = []
        ways = _ways(setting)
        for query, target, wanted, groups in answers(setting, ways):
            sides = []
            for name in (query, target):
                asked = setting.spaces[name].take(setting.bed.rows[name])
                own = _same(asked, setting.spaces[self._read(setting, name, fitted)])
                frame, vectors = fitted.vectors(_bound_as(setting, name, fitted), own)
                sides.append((frame, vectors))
            (frame, q), (_, x) = sides
            if frame is not None:
                q, x = frame.query(q), frame.item(x)
            ranking = rank_queries(q, x, wanted)
            found.append(({m: metric(m).per_query(ranking) for m in self.metrics}, groups))
        return gathered(found)

    def _read(self, setting: Setting, name: str, fitted: Upgraded) -> str:
        """The view whose vectors stand for another under an arm: rows of both are the same."""
        old, new, *more = setting.spaces
        swaps: dict[str, dict[str, str]] = {"nothing": {}, "bridge": {}, "re-embed": {}}
        if len(more) == 2:
            swaps["nothing"] = {more[1]: more[0]}
            swaps["re-embed"] = {old: new}
        else:
            swaps["nothing"] = {new: old}
        return swaps[fitted.arm].get(name, name)

    def chance(self, setting: Setting) -> Scores:
        """A gallery in random order."""
        return by_chance(setting, _ways(setting), self.metrics)


def _same(asked: Space, other: Space) -> Space:
    """Another view's rows of the same items and parts, in the same order."""
    at = {key: row for row, key in enumerate(_keys(other))}
    return other.take(np.array([at[key] for key in _keys(asked)], dtype=np.int64))


def _keys(space: Space) -> list[tuple[str, int]]:
    return list(zip(space.ids.tolist(), space.parts.tolist(), strict=True))


def _ways(setting: Setting) -> list[tuple[str, str]]:
    old, new, *more = setting.spaces
    if len(more) == 2:
        return [(more[1], old)]
    return [(new, more[0]), (more[0], new)]


def _bound_as(setting: Setting, name: str, fitted: Upgraded) -> str:
    """The view under whose map a view's rows are read: queries have their encoder's."""
    old, new, *more = setting.spaces
    if len(more) == 2:
        return new if name == more[1] else old
    return old if fitted.arm == "nothing" and name == new else name


def _bridge(setting: Setting, made: Made, names: tuple[str, str], seed: int) -> Binding:
    spaces = {name: setting.spaces[name] for name in names}
    hub = made.hub if made.hub in names else names[0]
    return Binding.fit(spaces, setting.train.select(names), method=made.aligner, hub=hub, seed=seed)


def _tower(setting: Setting, made: Made, arm: str, seed: int) -> Binding:
    """The binding of pictures and old texts, and the new encoder's map into its frame."""
    old, new, other = setting.spaces
    first = new if arm == "re-embed" else old
    spaces = {name: setting.spaces[name] for name in (first, other)}
    base = Binding.fit(spaces, setting.train.select((first, other)), method=METHOD, hub=first,
                       seed=seed)  # fmt: skip
    if arm != "bridge":
        return base
    views = {name: setting.spaces[name].vectors for name in (old, new)}
    pairs: Pairs = setting.train.select((old, new))
    fitted = made.aligner.fit(
        views, pairs, frames={n: setting.spaces[n].frame.id for n in (old, new)},
        frozen={old: base.maps[old]}, seed=seed,
    )  # fmt: skip
    item = finished(fitted[new], base.frame).between(setting.spaces[new].frame, base.frame)
    return replace(base, maps={**base.maps, new: item})
