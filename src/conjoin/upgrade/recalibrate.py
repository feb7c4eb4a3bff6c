"""What scores mean after an upgrade, rehearsed: queries by the new encoder, rows as they lie."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.errors import ConjoinError
from conjoin.maps.base import identity
from conjoin.retrieval.calibration.cross_fit import (
    Edge,
    Own,
    Rehearsal,
    Scene,
    bank_groups,
    bank_of,
    row_groups,
)
from conjoin.retrieval.calibration.fit import calibrations, lists_of
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.hubness.choose import correctors, decide
from conjoin.retrieval.hubness.csls import Correction
from conjoin.retrieval.hubness.query_bank import fit_all
from conjoin.retrieval.ranking.choose_fair import mixing
from conjoin.spaces import Pairs, Space
from conjoin.spaces.pairs import ABSENT
from conjoin.upgrade.plan import Sample, moved, over_raw, turned
from conjoin.upgrade.refit import Way, anew, upgraded


@dataclass(frozen=True, eq=False)
class Change:
    """An upgrade as it was made.

    Parameters
    ----------
    sample : rows of the new encoder that there are, and all rows as they lay before.
    after : the binding that is served now.
    bound : where the index's rows lie now.
    arm : bridge, cascade, partial or re-embed.
    moves : whether the frame is the new encoder's.
    way : the bridge.
    old : the old encoder's own vectors, row by row as indexed; where they are gone, the bound
        ones stand for them.
    """

    sample: Sample
    after: Binding
    bound: Mapping[str, Space]
    arm: str
    moves: bool
    way: Way
    old: Space | None = None
    seed: int = 0

    @property
    def query(self) -> str:
        """The view of queries by the new encoder; rows as they lie keep the modality's name."""
        return f"{self.sample.name}, asked anew"

    @property
    def before(self) -> Space:
        """What the old encoder's rows are read from."""
        bridged = self.moves and self.arm == "bridge"
        own = self.sample.bound[self.sample.name]
        return own if self.old is None or bridged else self.old

    @property
    def anew(self) -> np.ndarray:
        """``[n]`` row of the new vectors that each indexed row was made from; -1 for the old's."""
        sample = self.sample
        found = np.full(len(sample.bound[sample.name]), ABSENT, dtype=np.int64)
        if self.arm in ("partial", "re-embed"):
            found[sample.rows] = np.arange(len(sample.rows))
        return found

    def lines(self) -> Pairs:
        """Training lines over indexed rows, with the queries' view as a further column."""
        sample = self.sample
        names = (sample.name, *sample.others)
        train = sample.train.select(names)
        rows = train.rows.copy()
        for place, name in enumerate(names):
            if name in sample.raw_rows:
                own = rows[:, place]
                lost = (own >= 0) & (sample.raw_rows[name][np.maximum(own, 0)] < 0)
                own[lost] = ABSENT
        fresh = np.full(len(sample.bound[sample.name]), ABSENT, dtype=np.int64)
        fresh[sample.rows] = np.arange(len(sample.rows))
        asked = np.where(rows[:, 0] >= 0, fresh[np.maximum(rows[:, 0], 0)], ABSENT)
        made = np.concatenate([asked[:, None], rows], axis=1)
        return replace(train, names=(self.query, *names), rows=made)


@dataclass(frozen=True, eq=False)
class Either:
    """Rows by the old map, or by the new where they were embedded anew."""

    old: Any
    new: Any
    split: int
    score: str = "cosine"

    def apply(self, x: np.ndarray) -> np.ndarray:
        """``[n, split + d + 1]`` → ``[n, D]``; the last column says which."""
        x = np.asarray(x, np.float32)
        fresh = x[:, -1] > 0
        parts = [(~fresh, self.old, x[:, : self.split]), (fresh, self.new, x[:, self.split : -1])]
        out: Any = None
        for mask, item, rows in parts:
            if mask.any():
                placed = np.asarray(item.apply(rows[mask]), np.float32)
                out = np.zeros((len(x), placed.shape[1]), np.float32) if out is None else out
                out[mask] = placed
        return np.zeros((0, 1), np.float32) if out is None else np.asarray(out)


class UpgradeRehearsal(Rehearsal):
    """A rehearsal in which the upgraded modality asks by one encoder and answers by another.

    Each fold's frame, bridge and all are fitted without its lines.
    """

    def __init__(self, change: Change):
        self.change = change
        sample = change.sample
        aligned = {
            name: sample.raw[name].take(np.maximum(sample.raw_rows[name], 0))
            for name in sample.others
        }
        own = _either(change)
        spaces = {change.query: sample.new, sample.name: own, **aligned}
        super().__init__(change.after, spaces, change.lines(), seed=change.seed)

    def _met(self, scenes: Iterable[Scene]) -> Iterable[Scene]:
        """Queries by the new encoder, the modality's rows as they lie."""
        name, query = self.change.sample.name, self.change.query
        met = [s for s in scenes if s.query != name and s.target != query]
        met = [s for s in met if {s.query, s.target} != {query, name}]
        return [replace(s, query=name) if s.query == query else s for s in met]

    def part(self, number: int) -> Binding:
        """The binding fitted without a fold, with a map for asking and one for answering."""
        if number not in self._parts:
            gone = np.unique(self.folds.pairs.group[self.folds.fold == number])
            train = self.change.sample.train
            kept = train.take(~np.isin(train.group, gone))
            self._parts[number] = self._without(replace(self.change.sample, train=kept))
        return self._parts[number]

    def _without(self, sample: Sample) -> Binding:
        change, name = self.change, sample.name
        pick = partial(Either, split=change.before.dim)
        if change.moves:
            bridge = change.arm == "bridge"
            made = turned(sample, change.seed, change.way) if bridge else moved(sample, change.seed)
            if made is None:
                raise ConjoinError("upgrade", "a fold has too few lines", "sample more")
            old = made.maps["old"] if bridge else made.maps[name]
            maps = {**made.maps, change.query: made.maps[name]}
            return replace(made, maps={**maps, name: pick(old, made.maps[name])})
        spaces = {name: change.before, **{n: sample.raw[n] for n in sample.others}}
        choice = change.after.choice
        hub = choice.hub if choice.hub in spaces else name
        base = anew(spaces, over_raw(sample, sample.train.select(tuple(spaces))), choice, hub,
                    seed=change.seed)  # fmt: skip
        bound = {n: base.bind(n, space) for n, space in spaces.items()}
        made = upgraded(
            base, name, bound, sample.new, over_raw(sample, sample.lines), way=change.way,
            seed=change.seed, labels=sample.classes(sample.new),
        )  # fmt: skip
        maps = {**base.maps, change.query: made.maps[name]}
        return replace(base, maps={**maps, name: pick(base.maps[name], made.maps[name])})


def _either(change: Change) -> Space:
    """The modality's indexed rows as both encoders have them, and which was taken."""
    sample, before = change.sample, np.asarray(change.before.vectors, np.float32)
    fresh = change.anew
    new = np.zeros((len(before), sample.new.dim), np.float32)
    new[fresh >= 0] = np.asarray(sample.new.vectors, np.float32)[fresh[fresh >= 0]]
    flag = (fresh >= 0).astype(np.float32)[:, None]
    own = sample.bound[sample.name]
    whole = Space.of(np.concatenate([before, new, flag], axis=1), own.ids, name=sample.name)
    return replace(whole, parts=own.parts, content=own.content)


def refitted(change: Change) -> tuple[Rules, dict[Edge, Correction]]:
    """Corrections, calibrations and mixing of an upgraded index, decided as by a fit.

    Every calibration says which encoder asks, so that one of before is told from it.

    Raises
    ------
    ConjoinError : there are too few training lines to rehearse on.
    """
    rehearsal = UpgradeRehearsal(change)
    decisions = decide(rehearsal)
    chosen = correctors(decisions)
    lists = lists_of(rehearsal, chosen)
    rows = {name: len(space) for name, space in change.bound.items()}
    fitted, left = calibrations(rehearsal, chosen, rows, lists)
    encoder = change.sample.new.frame.id
    said = {
        edge: replace(one.calibration, facts={**one.calibration.facts, "encoder": encoder})
        for edge, one in fitted.items()
    }
    rules = Rules(chosen, said, mixing(rehearsal, lists, fitted, chosen),
                  tuple(one.to_json() for one in decisions), left)  # fmt: skip
    return rules, corrections(change, rules)


def corrections(change: Change, rules: Rules) -> dict[Edge, Correction]:
    """Corrections of the rows as they lie now, each row's own training partners left out."""
    name, lines = change.sample.name, change.lines()
    stays = identity(change.after.frame.dim)
    spaces = {change.query: change.sample.new, **{n: change.bound[n] for n in lines.names[1:]}}
    maps = {n: stays for n in lines.names[1:]} | {change.query: change.after.maps[name]}
    wide = replace(change.after, maps=maps)
    found = {}
    for (query, target), rule in rules.correctors.items():
        asks = change.query if query == name else query
        held = np.arange(len(change.bound[target]))
        bank, items = (bank_of(wide, spaces, lines, n) for n in (asks, target))
        own = Own(row_groups(lines, target, held), bank_groups(spaces, lines, asks),
                  bank_groups(spaces, lines, target))  # fmt: skip
        found[query, target] = fit_all([rule], change.bound[target].vectors, bank, items, own)[0]
    return found


def merged(before: Rules, after: Rules, name: str) -> Rules:
    """Rules of before where the upgraded modality has no part, those of after elsewhere."""

    def both(one: Mapping[Edge, Any], two: Mapping[Edge, Any]) -> dict[Edge, Any]:
        return {
            **{edge: value for edge, value in one.items() if name not in edge},
            **{edge: value for edge, value in two.items() if name in edge},
        }

    kept = [d for d in before.decisions if name not in (d["query"], d["target"])]
    new = [d for d in after.decisions if name in (d["query"], d["target"])]
    return Rules(
        both(before.correctors, after.correctors), both(before.calibrations, after.calibrations),
        after.mixing, (*kept, *new), both(before.uncalibrated, after.uncalibrated),
    )  # fmt: skip
