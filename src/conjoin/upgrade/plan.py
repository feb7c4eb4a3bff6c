"""What each way to upgrade an encoder is worth and costs, measured on a sample."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.catalogue import find
from conjoin.errors import ConjoinError
from conjoin.metrics.retrieval.relevance import Relevance, relevance, relevance_by_id
from conjoin.spaces import Pairs, Space
from conjoin.spaces.frame import unit
from conjoin.stats.bootstrap import interval, paired_difference
from conjoin.storage.digest import stable_hash
from conjoin.upgrade.options import FIRST, METRIC, Arm, Curve, Rates, recommend, together
from conjoin.upgrade.refit import (
    LABEL,
    Way,
    anew,
    by_row,
    choose_way,
    learns_labels,
    upgraded,
    with_labels,
)

#: Shares of the collection that a partial re-embedding is measured at.
SHARES = (0.25, 0.5, 0.75)
#: Neighbours in the old space from which a row's gain is expected.
NEIGHBOURS = 10
#: One part in so many of the sample's training groups decides between bridges.
HELD = 4
#: Fewest held-out rows of the sample that can be asked for.
FEWEST = 20
#: Queries scored at a time.
BLOCK = 256
#: The old encoder fitted to the sample alone: no arm, but what is fair to a frame fitted so.
SAME = "old on the same lines"


@dataclass(frozen=True, eq=False)
class Sample:
    """What an upgrade is planned from.

    Parameters
    ----------
    name : the modality whose encoder is to change.
    binding : in use.
    bound : index vectors by modality, in the binding's frame.
    raw : stored vectors of the other modalities, each in its encoder's frame.
    new : the sample's rows by the new encoder.
    train, test : lines of the modalities, rows being those of ``bound``.
    raw_rows : by modality, row of ``raw`` of each row of ``bound``; -1 where it has none.
    groups : group of each item id.
    labels : class of each item id that has one, for bridges that learn from labels.
    """

    name: str
    binding: Binding
    bound: Mapping[str, Space]
    raw: Mapping[str, Space]
    new: Space
    train: Pairs
    test: Pairs
    raw_rows: Mapping[str, np.ndarray]
    groups: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)

    def classes(self, space: Space) -> np.ndarray:
        """``[n]`` the class of each row's item; empty where it has none."""
        return np.array([self.labels.get(str(item), "") for item in space.ids], dtype=object)

    @cached_property
    def rows(self) -> np.ndarray:
        """Row of ``bound`` of each row of the sample."""
        pairs = by_row(self.bound[self.name], self.new)
        found = np.full(len(self.new), -1, dtype=np.int64)
        found[pairs.column("new")] = pairs.column("old")
        if (found < 0).any():
            row = int(np.flatnonzero(found < 0)[0])
            raise ConjoinError(
                "sample", f"item {self.new.ids[row]} is not indexed", "index it first: conjoin fit"
            )
        return found

    @cached_property
    def _in_sample(self) -> np.ndarray:
        place = np.full(len(self.bound[self.name]), -1, dtype=np.int64)
        place[self.rows] = np.arange(len(self.rows))
        return place

    @property
    def others(self) -> list[str]:
        """The other modalities that pairs join to this one."""
        joined = {n for e in (*self.train.edges(), *self.test.edges()) if self.name in e for n in e}
        return [n for n in self.bound if n in joined and n != self.name]

    @cached_property
    def held(self) -> np.ndarray:
        """Rows of the sample that nothing was fitted to."""
        own = self.test.column(self.name)
        held = np.zeros(len(self.bound[self.name]), dtype=bool)
        held[own[own >= 0]] = True
        return np.flatnonzero(held[self.rows])

    @cached_property
    def lines(self) -> Pairs:
        """Training lines of ``old``, ``new`` and the others that have a row of the sample."""
        own = self.train.column(self.name)
        live = (own >= 0) & (self._in_sample[np.maximum(own, 0)] >= 0)
        found = self.train.take(live).select((self.name, *self.others))
        own = found.column(self.name)
        columns = [own, self._in_sample[own], *(found.column(n) for n in self.others)]
        return Pairs(("old", "new", *self.others), np.stack(columns, axis=1), found.weight,
                     found.group)  # fmt: skip

    def asks(self) -> Iterator[tuple[str, str, Relevance, np.ndarray]]:
        """Each direction: query and target modality, right answers, clusters of the queries.

        Held-out rows of the sample ask the whole of another modality; its held-out rows ask the
        sample, held-out and trained on, as only that has new vectors.
        """
        for other in self.others:
            asked = self.rows[self.held]
            theirs = self.bound[other]
            j = self.test.column(other) if other in self.test.names else np.empty(0, np.int64)
            both = j >= 0
            if both.any():
                both &= np.isin(self.test.column(self.name), asked)
            partners = np.unique(j[both])
            for query, target, rows, gallery in (
                (self.name, other, asked, np.arange(len(theirs))),
                (other, self.name, partners, self.rows),
            ):
                try:
                    wanted = self._wanted(query, target, rows, gallery)
                except ConjoinError:
                    continue
                ids = self.bound[query].ids[rows][wanted.queries]
                labels = [stable_hash(self.groups.get(str(i), str(i))) for i in ids]
                yield query, target, wanted, np.array(labels)
        if not self.others:
            raise ConjoinError(
                f"modality {self.name}", "no pairs join it to another", "pair it, to judge by"
            )

    def _wanted(self, query: str, target: str, rows: np.ndarray, gallery: np.ndarray) -> Relevance:
        left, right = self.bound[query], self.bound[target]
        if len(rows) and {query, target} <= set(self.test.names):
            return relevance(
                left, right, self.test, query, target, query_rows=rows, gallery_rows=gallery
            )
        return relevance_by_id(left.take(rows), right.take(gallery))

    def asked_rows(self, query: str) -> np.ndarray:
        """Rows of ``bound`` that ask."""
        if query == self.name:
            return self.rows[self.held]
        j, own = self.test.column(query), self.test.column(self.name)
        both = (j >= 0) & np.isin(own, self.rows[self.held])
        return np.unique(j[both])


@dataclass(frozen=True, eq=False)
class Placing:
    """Where an arm puts rows: of the sample as queries and as documents, and of the others.

    Parameters
    ----------
    queries, documents : ``[n, d]`` the sample's rows, as the frame scores them.
    others : by modality, ``[m, d]`` all rows.
    """

    queries: np.ndarray
    documents: np.ndarray
    others: Mapping[str, np.ndarray]

    def sides(self, sample: Sample, query: str, target: str) -> tuple[np.ndarray, np.ndarray]:
        """Query and gallery vectors of one direction."""
        if query == sample.name:
            return self.queries[sample.held], self.others[target]
        return self.others[query][sample.asked_rows(query)], self.documents


@dataclass(frozen=True, eq=False)
class Fits:
    """The bindings that the arms rest on.

    Parameters
    ----------
    kept : the frame in use, with the new encoder's map.
    moved : a frame of its own, the new encoder as its hub, of the sample's pairs.
    turned : the same with the old vectors as one more modality, mapped once.
    same : the old vectors in a frame fitted to the very lines of ``moved``, so that encoders are
        compared at equal numbers of pairs.
    """

    kept: Binding
    moved: Binding | None
    turned: Binding | None
    way: Way
    worth: Mapping[str, float]
    same: Binding | None = None


def fit_arms(sample: Sample, *, way: Way | None = None, seed: int = 0) -> Fits:
    """Fit what the arms need, to the sample's training lines."""
    if len(sample.held) < FEWEST:
        raise ConjoinError(
            "sample",
            f"{len(sample.held)} of its rows are held out",
            f"take more: {FEWEST} at least",
        )
    lines = sample.lines
    worth: dict[str, float] = {}
    if way is None:
        way, worth = rehearsed(sample, seed)
    kept = upgraded(
        sample.binding, sample.name, sample.bound, sample.new, lines, way=way, seed=seed,
        labels=sample.classes(sample.new),
    )  # fmt: skip
    same = moved(sample, seed, "old")
    return Fits(kept, moved(sample, seed), turned(sample, seed, way), way, worth, same)


def rehearsed(sample: Sample, seed: int) -> tuple[Way, dict[str, float]]:
    """Choose a bridge by an upgrade rehearsed inside the training lines.

    A quarter of the groups is held out, a binding like the one in use is fitted to the rest, and
    its encoder is replaced by every bridge in turn.
    """
    name, lines = sample.name, sample.lines
    held = lines.folds(min(HELD, len(np.unique(lines.group))), seed) == 0
    gone = np.unique(lines.group[held])
    spaces = {name: sample.bound[name], **{n: sample.raw[n] for n in sample.others}}
    train = over_raw(sample, sample.train.select(tuple(spaces)))
    train = train.take(~np.isin(train.group, gone))
    choice = sample.binding.choice
    hub = choice.hub if choice.hub in spaces else name
    base = anew(spaces, train, choice, hub, seed=seed)
    bound = {n: base.bind(n, space) for n, space in spaces.items()}
    learn, asked = (over_raw(sample, lines.take(part)) for part in (~held, held))
    return choose_way(base, name, bound, sample.new, learn, asked, seed=seed)


def over_raw(sample: Sample, pairs: Pairs) -> Pairs:
    """Lines over rows of ``bound``, over raw rows of the other modalities instead."""
    rows = pairs.rows.copy()
    for place, name in enumerate(pairs.names):
        if name in sample.raw_rows:
            own = rows[:, place]
            rows[:, place] = np.where(own >= 0, sample.raw_rows[name][np.maximum(own, 0)], -1)
    return replace(pairs, rows=rows)


def _raw_lines(sample: Sample, names: Sequence[str]) -> Pairs:
    """The sample's training lines over raw rows."""
    return over_raw(sample, sample.lines.select(tuple(names)))


def moved(sample: Sample, seed: int, side: str = "new") -> Binding | None:
    """A frame of its own for one encoder, by the method in use; ``None`` where none can be.

    Parameters
    ----------
    side : ``new``, or ``old`` vectors in place of the new ones, on the same lines.
    """
    names = [sample.name, *sample.others]
    lines = _raw_lines(sample, [side, *sample.others])
    own = sample.new if side == "new" else sample.bound[sample.name]
    spaces = {sample.name: own, **{n: sample.raw[n] for n in sample.others}}
    choice = sample.binding.choice
    hub = choice.hub if choice.hub in names else sample.name
    try:
        return anew(spaces, replace(lines, names=tuple(names)), choice, hub, seed=seed)
    except ConjoinError:
        return None


def turned(sample: Sample, seed: int, way: Way | None = None) -> Binding | None:
    """The new encoder as hub; old vectors and others mapped to it, from all they are paired by.

    By the method in use, or by ridge; a way that learns from labels is followed instead, and the
    classes are the hub then.
    """
    own, name = sample.bound[sample.name], sample.name
    first = _raw_lines(sample, ["new", "old"])
    both = [n for n in sample.others if n in sample.train.names]
    second = over_raw(sample, sample.train.select((name, *both)))
    second = replace(second, names=("old", *both))
    spaces = {name: sample.new, "old": own, **{n: sample.raw[n] for n in both}}
    lines = replace(first, names=(name, "old")).join(second).select(tuple(spaces))
    if way is not None and learns_labels(way):
        return _by_labels(sample, way, spaces, lines, seed)
    for method in (sample.binding.choice.make(), "ridge"):
        try:
            return Binding.fit(spaces, lines, method=method, hub=name, seed=seed)
        except ConjoinError:
            continue
    return None


def _by_labels(
    sample: Sample, way: Way, spaces: Mapping[str, Space], lines: Pairs, seed: int
) -> Binding:
    """Old, new and other vectors in a frame of the classes, which is then left out."""
    rows, lines = with_labels(lines, {n: sample.classes(s) for n, s in spaces.items()})
    classes = Space.of(rows, name=LABEL)
    made = Binding.fit({LABEL: classes, **spaces}, lines, method=find("aligner", way.method).make(),
                       hub=LABEL, seed=seed)  # fmt: skip
    maps = {n: item for n, item in made.maps.items() if n != LABEL}
    return replace(made, maps=maps, choice=replace(made.choice, hub=sample.name))


def _as(binding: Binding, space: Space, name: str) -> np.ndarray:
    vectors: Any = binding.bind(name, space).vectors
    return np.asarray(binding.frame.item(np.asarray(vectors, np.float32)))


def placings(sample: Sample, fits: Fits) -> dict[str, Placing]:
    """Where each arm puts rows, by the arm's key."""
    frame = sample.binding.frame
    held: dict[str, np.ndarray] = {
        n: np.asarray(frame.item(np.asarray(s.vectors, np.float32)))
        for n, s in sample.bound.items()
    }
    others = {n: held[n] for n in sample.others}
    old = held[sample.name][sample.rows]
    new = _as(fits.kept, sample.new, sample.name)
    found = {
        "nothing": Placing(old, old, others),
        "bridge new-to-old": Placing(new, old, others),
        "re-embed": Placing(new, new, others),
    }
    if fits.turned is not None:
        own = _as(fits.turned, sample.new, sample.name)
        documents = _as(fits.turned, sample.bound[sample.name].take(sample.rows), "old")
        found["bridge old-to-new"] = Placing(own, documents, _others_of(sample, fits.turned))
    if fits.moved is not None:
        own = _as(fits.moved, sample.new, sample.name)
        found["re-embed all moved"] = Placing(own, own, _others_of(sample, fits.moved))
    if fits.same is not None:
        rows = sample.bound[sample.name].take(sample.rows)
        own = _as(fits.same, rows, sample.name)
        found[SAME] = Placing(own, own, _others_of(sample, fits.same))
    return found


def _others_of(sample: Sample, binding: Binding) -> dict[str, np.ndarray]:
    """Other modalities' rows, in the order of the index, in another binding's frame.

    A row of the index that has no stored vector cannot move and is never found.
    """
    found = {}
    for name in sample.others:
        rows = sample.raw_rows[name]
        placed = _as(binding, sample.raw[name].take(np.maximum(rows, 0)), name)
        placed = np.array(placed)
        placed[rows < 0] = 0
        found[name] = placed
    return found


def hits(
    q: np.ndarray, x: np.ndarray, wanted: Relevance,
    again: tuple[np.ndarray, np.ndarray] | None = None, top: int = 0,
) -> np.ndarray:  # fmt: skip
    """``[q]`` whether a right answer is among the first :data:`FIRST`, an item by its best row.

    Parameters
    ----------
    again : query and gallery vectors by which the first ``top`` are put in order anew.
    """
    found = np.zeros(len(wanted))
    for at in range(0, len(wanted), BLOCK):
        own = wanted.queries[at : at + BLOCK]
        scores = _by_item(q[own] @ x.T, wanted)
        if again is not None:
            better = _by_item(again[0][own] @ again[1].T, wanted)
            scores = _reordered(scores, better, top)
        for place in range(len(own)):
            right = wanted.of(at + place)
            best = scores[place, right].max()
            above = np.count_nonzero(scores[place] > best)
            level = np.count_nonzero(scores[place] == best) - 1
            found[at + place] = above + (level + 1) // 2 < FIRST
    return found


def _by_item(scores: np.ndarray, wanted: Relevance) -> np.ndarray:
    """``[b, items]`` the best row of each item."""
    if wanted.n_items == scores.shape[1] and np.array_equal(
        wanted.item_of, np.arange(wanted.n_items)
    ):
        return scores
    order = np.argsort(wanted.item_of, kind="stable")
    starts = np.flatnonzero(np.diff(wanted.item_of[order], prepend=-1))
    return np.asarray(np.maximum.reduceat(scores[:, order], starts, axis=1))


def _reordered(scores: np.ndarray, better: np.ndarray, top: int) -> np.ndarray:
    """Scores by which the first ``top`` come first, in the order of other scores."""
    top = min(top, scores.shape[1])
    out = scores.astype(np.float64) - 1e6
    first = np.argpartition(-scores, top - 1, axis=1)[:, :top]
    np.put_along_axis(out, first, np.take_along_axis(better.astype(np.float64), first, 1), 1)
    return out


def expected_gains(sample: Sample, places: Mapping[str, Placing]) -> np.ndarray:
    """``[n]`` what re-embedding each row of the sample should bring, from rows alike.

    The gain of a trained row is that of the reciprocal rank at which its partners find it, were
    it alone embedded anew. A row's expectation is the mean over its :data:`NEIGHBOURS` nearest
    trained rows by the old vectors, so it can be told of every row of the collection.
    """
    lines, before, after = sample.lines, places["nothing"], places["re-embed"]
    total, count = np.zeros(len(sample.new)), np.zeros(len(sample.new))
    for other in sample.others:
        i, j, _ = lines.between("new", other)
        for at in range(0, len(i), BLOCK):
            rows, q = i[at : at + BLOCK], before.others[other][j[at : at + BLOCK]]
            scores = q @ before.documents.T
            own = scores[np.arange(len(rows)), rows].copy()
            new = np.einsum("ij,ij->i", q, after.documents[rows])
            scores[np.arange(len(rows)), rows] = -np.inf
            gain = 1 / (1 + (scores > new[:, None]).sum(1)) - 1 / (
                1 + (scores > own[:, None]).sum(1)
            )
            np.add.at(total, rows, gain)
            np.add.at(count, rows, 1)
    known = np.flatnonzero(count)
    gains = total[known] / count[known]
    x = unit(before.documents.astype(np.float32))
    near = x @ x[known].T
    near[known, np.arange(len(known))] = -np.inf
    best = np.argpartition(-near, min(NEIGHBOURS, len(known) - 1), axis=1)[:, :NEIGHBOURS]
    return np.asarray(gains[best].mean(axis=1))


def measure(
    sample: Sample, fits: Fits, rates: Rates, *, seed: int = 0
) -> tuple[
    list[tuple[Arm, np.ndarray]], np.ndarray, dict[str, int], tuple[np.ndarray, np.ndarray] | None
]:
    """Every arm with its value a query, the queries' clusters, how many ask each way.

    Last, the new and the old encoder in frames fitted to the same lines, a value a query.
    """
    places = placings(sample, fits)
    asks = list(sample.asks())
    if not asks:
        raise ConjoinError("sample", "no held-out row has a partner", "sample more, or pair more")
    groups = np.concatenate([labels for *_, labels in asks])
    asked = {f"{q} to {t}": len(wanted) for q, t, wanted, _ in asks}

    def value(place: Placing, again: Placing | None = None) -> np.ndarray:
        parts = []
        for query, target, wanted, _ in asks:
            q, x = place.sides(sample, query, target)
            better = None if again is None else again.sides(sample, query, target)
            parts.append(hits(q, x, wanted, better, rates.top))
        return np.concatenate(parts)

    found: list[tuple[Arm, np.ndarray]] = []

    def add(name: str, values: np.ndarray, facts: Mapping[str, Any]) -> None:
        low, high = interval(values, groups, seed=seed)
        found.append((Arm(name, float(values.mean()), low, high, **facts), values))

    _add_arms(sample, fits, rates, places, value, add)
    even = None
    if SAME in places and "re-embed all moved" in places:
        even = (value(places["re-embed all moved"]), value(places[SAME]))
    return found, groups, asked, even


def _add_arms(
    sample: Sample, fits: Fits, rates: Rates, places: Mapping[str, Placing], value: Any, add: Any
) -> None:
    wide, dim = sample.new.dim, sample.binding.frame.dim
    n = rates.items
    free: dict[str, Any] = {"cost": 0.0, "money": None if rates.price is None else 0.0}
    size = 4 * wide * dim
    inward: dict[str, Any] = {"bytes": size, "direction": "new-to-old"}
    add("nothing", value(places["nothing"]), free)
    add("bridge", value(places["bridge new-to-old"]), free | inward)
    rest = sum(len(sample.bound[o]) for o in sample.others)
    if fits.turned is not None:
        moved = 4 * fits.turned.frame.dim * (n + rest)
        outward: dict[str, Any] = {
            "bytes": size + moved,
            "direction": "old-to-new",
            "others": "move",
        }
        add("bridge", value(places["bridge old-to-new"]), free | outward)
    again = places.get("re-embed all moved", places["re-embed"])
    add("cascade", value(places["bridge new-to-old"], again),
        rates.of(rates.top * rates.queries) | inward
        | {"bytes": 2 * size, "note": f"of {rates.queries} queries"})  # fmt: skip
    order = np.argsort(-expected_gains(sample, places), kind="stable")
    for share in SHARES:
        documents = places["nothing"].documents.copy()
        chosen = order[: round(share * len(order))]
        documents[chosen] = places["re-embed"].documents[chosen]
        mixed = replace(places["re-embed"], documents=documents)
        stored: dict[str, Any] = {"share": share, "bytes": round(share * n) * 4 * (wide + dim)}
        add("partial", value(mixed), rates.of(share * n) | stored)
    add("re-embed", value(places["re-embed"]), rates.of(n) | {"bytes": n * 4 * (wide + dim)})
    if fits.moved is not None:
        width = fits.moved.frame.dim
        stored = {"others": "move", "bytes": 4 * (n * (wide + width) + rest * width)}
        add("re-embed", value(places["re-embed all moved"]), rates.of(n) | stored)


def curve(sample: Sample, rates: Rates, *, way: Way | None = None, seed: int = 0) -> Curve:
    """Fit and measure every arm, and say what to do.

    Each arm is compared with doing nothing on the same queries, resampled by group; its p-value
    holds for all arms at once (:func:`~conjoin.upgrade.options.together`). Of the arms that surely
    gain, the cheapest is recommended whose value the best one does not surely pass by more than
    :data:`~conjoin.upgrade.options.SLACK`; where none surely gains: stay.
    """
    fits = fit_arms(sample, way=way, seed=seed)
    found, groups, asked, even = measure(sample, fits, rates, seed=seed)
    base = found[0][1]
    told = [paired_difference(values, base, groups, seed=seed) for _, values in found[1:]]
    adjusted = together(np.stack([v - base for _, v in found[1:]], axis=1), groups, seed)
    arms = [found[0][0]]
    for (arm, _), (gain, low, high, _), p in zip(found[1:], told, adjusted, strict=True):
        arms.append(replace(arm, gain=gain, gain_low=low, gain_high=high, p=float(p)))
    values = [v for _, v in found]
    chosen, reason = recommend(arms, values, groups, seed)
    stay = chosen.name == "nothing"
    fair: dict[str, float] = {}
    if even is not None:
        gain, low, high, _ = paired_difference(*even, groups, seed=seed)
        fair = {"gain": gain, "low": low, "high": high}
        if stay and low > 0 and len(sample.new) < len(sample.bound[sample.name]):
            reason += (
                f"; yet fitted to the same lines the new encoder is better ({gain:+.3f} "
                f"[{low:+.3f}, {high:+.3f}]): what is in use saw more pairs, so sample more"
            )
    facts = {
        "metric": METRIC, "asked": asked, "sample": len(sample.new),
        "held_out": len(sample.held), "collection": rates.items,
        "seconds_per_item": rates.seconds, "price_per_1000": rates.price,
        "queries": rates.queries, "top": rates.top,
        "same_lines": fair,
        "gallery": "the sample's rows, and all rows of the other modalities",
    }  # fmt: skip
    return Curve(
        tuple(arms), "stay" if stay else chosen.name, chosen, reason, fits.way, fits.worth, facts
    )
