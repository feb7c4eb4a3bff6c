"""The card of a run: frozen encoder, random body of the same shape, and the run, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.errors import ConjoinError, FewPairs
from conjoin.evaluation.verdict import Arms
from conjoin.evaluation.verdict import judge as compared
from conjoin.models.pretraining.read import name_scores
from conjoin.models.pretraining.recipe import Fitted
from conjoin.models.pretraining.saved import Saved, letter_chances, pooled, transcribed
from conjoin.project.models.corpus import Prepared
from conjoin.project.workspace import Workspace
from conjoin.spaces import Pairs, Space, Tokens
from conjoin.spaces.frame import unit
from conjoin.storage.digest import stable_hash

#: Through which aligner every arm goes.
ALIGNER = "cca"
#: A hit is a partner among so many.
K = 10
METRIC, FIRST = f"recall@{K}", "recall@1"
#: Do-nothing arm, random body, the run, and the run read by the likelihood of known names.
FROZEN, RANDOM, RUN, NAMES = "frozen", "random", "run", "run, known names"
#: Fewest pairs on a side of the split for a couple to be judged.
FEWEST = 8
#: Lines whose scores are held at a time.
BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Card:
    """Arms over all directions that are searched, and what follows of them in one sentence.

    Parameters
    ----------
    whole : all directions together; ``None`` where nothing could be judged.
    ways : by direction, as ``speech → text``, the same of its queries alone.
    first : by direction, how often the partner is the first hit.
    notes : what was not judged, and what an arm may read.
    """

    whole: Arms | None
    ways: Mapping[str, Arms]
    first: Mapping[str, Arms]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """One sentence: use it, or do not."""
        if self.whole is None:
            return "nothing to judge it by: no couple of modalities has pairs on both sides"
        return self.whole.verdict

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        whole = (
            {"arms": [], "verdict": self.verdict} if self.whole is None else self.whole.to_json()
        )
        return {
            **whole, "directions": {way: arms.to_json() for way, arms in self.ways.items()},
            "first": {way: arms.to_json() for way, arms in self.first.items()},
            "notes": list(self.notes),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Bed:
    """A couple of modalities with the lines that are trained on and asked."""

    names: tuple[str, str]
    spaces: Mapping[str, Space]
    train: Pairs
    held: Pairs

    @property
    def ways(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Both directions."""
        return self.names, (self.names[1], self.names[0])


Ranks = dict[str, np.ndarray]


def judge(ws: Workspace, prepared: Prepared, saved: Saved, *, seed: int, cost: float = 0.0) -> Card:
    """Search every couple of modalities of which one at least was trained, by every arm.

    The frozen encoder, a random body and the run each give vectors of the same items; the same
    aligner is fitted to the same training pairs and asked for the same held-out families. A run
    that transcribes has one arm more: from its signal, items are ranked by the likelihood of
    their names' letters; between other modalities it is the run.

    Parameters
    ----------
    cost : CPU-seconds of the training.
    """
    viewed = {s.modality: s.view for s in prepared.sources if s.modality}
    notes: list[str] = []
    ways: dict[str, Ranks] = {}
    groups: dict[str, np.ndarray] = {}
    for bed in _beds(ws, viewed, prepared, notes):
        for way, found in _hits(bed, prepared, saved, viewed, seed, notes).items():
            ways[way], groups[way] = found, bed.held.group
    if any(NAMES in found for found in ways.values()):
        for found in ways.values():
            found.setdefault(NAMES, found[RUN])
        notes.append(f"{NAMES}: the names of held-out items are read, as those of a gallery may be")
    costs = {RANDOM: 0.0, RUN: cost, NAMES: cost}
    single, first = (
        {
            way: compared(within(found, k), groups[way], metric=metric, costs=costs, seed=seed)
            for way, found in ways.items()
        }
        for k, metric in ((K, METRIC), (1, FIRST))
    )
    whole = None
    if ways:
        arms = list(next(iter(ways.values())))
        every = {arm: np.concatenate([found[arm] for found in ways.values()]) for arm in arms}
        owner = np.concatenate(list(groups.values()))
        whole = compared(within(every, K), owner, metric=METRIC, costs=costs, seed=seed)
    return Card(whole, single, first, tuple(notes))


def within(found: Ranks, k: int) -> dict[str, np.ndarray]:
    """By arm, whether each partner is among the first ``k``."""
    return {arm: (ranks < k).astype(np.float64) for arm, ranks in found.items()}


def _beds(
    ws: Workspace, viewed: Mapping[str, str], prepared: Prepared, notes: list[str]
) -> list[_Bed]:
    """Couples of modalities with pairs on both sides of the split, of items that all arms have."""
    found = []
    for a, b in combinations([entry.name for entry in ws.modalities], 2):
        if a not in viewed and b not in viewed:
            continue
        try:
            spaces = {name: ws.space(name).pooled() for name in (a, b)}
        except ConjoinError as error:
            notes.append(f"{a} – {b} is not judged: {error}")
            continue
        kept = {}
        for name, space in spaces.items():
            known = prepared.spaces[viewed[name]].ids if name in viewed else space.ids
            kept[name] = space.take(np.isin(space.ids, known) & (space.parts == space.parts.min()))
        try:
            train, held = ws.pairs(kept)
        except FewPairs:
            continue
        train, held = (side.take(np.asarray((side.rows >= 0).all(1))) for side in (train, held))
        if len(train) < FEWEST or len(held) < FEWEST or len(np.unique(held.group)) < 2:
            notes.append(
                f"{a} – {b} is not judged: {len(train)} pairs to fit, {len(held)} held out"
            )
            continue
        found.append(_Bed((a, b), kept, train, held))
    return found


def _hits(
    bed: _Bed, prepared: Prepared, saved: Saved, viewed: Mapping[str, str], seed: int,
    notes: list[str],
) -> dict[str, Ranks]:  # fmt: skip
    """By direction and arm, how many rows stand before each held-out query's partner."""
    arms: dict[str, Mapping[str, Space]] = {FROZEN: bed.spaces}
    for name, fitted in ((RANDOM, saved.fitted.random(seed + 1)), (RUN, saved.fitted)):
        arms[name] = {
            m: _embedded(space, prepared.spaces[viewed[m]], fitted, viewed[m], saved.longest, name)
            if m in viewed else space
            for m, space in bed.spaces.items()
        }  # fmt: skip
    found: dict[str, Ranks] = {f"{a} → {b}": {} for a, b in bed.ways}
    for name, spaces in arms.items():
        try:
            bound = _bound(bed, spaces)
        except ConjoinError as error:
            notes.append(f"{' – '.join(bed.names)}, {name}: {error}")
            return {}
        for a, b in bed.ways:
            found[f"{a} → {b}"][name] = ranks_in(bound[a], bound[b], bed, b)
    read = transcribed(saved)
    for a, b in bed.ways:
        if read is not None and viewed.get(a) == read[0]:
            one, two = _by_names(bed, a, prepared, saved, read)
            found[f"{a} → {b}"][NAMES], found[f"{b} → {a}"][NAMES] = one, two
    return found


def _sets(space: Space, items: Any) -> Tokens:
    """The token sets of some items, in their order."""
    place = {str(item): row for row, item in enumerate(space.ids)}
    sets = space.vectors
    assert isinstance(sets, Tokens)
    return sets.take(np.array([place[str(item)] for item in items]))


def _embedded(
    like: Space, sets: Space, fitted: Fitted, view: str, longest: int, name: str
) -> Space:
    """The rows of a space as a model embeds the same items."""
    vectors = pooled(fitted, view, _sets(sets, like.ids), longest)
    return Space.of(vectors, like.ids, name=f"{name} {view}")


def _bound(bed: _Bed, spaces: Mapping[str, Space]) -> dict[str, np.ndarray]:
    """By modality, the held-out lines' rows ``[n, d]`` in the space an aligner fits them into."""
    binding = Binding.fit(spaces, bed.train, method=ALIGNER)
    return {
        n: unit(np.asarray(binding.bind(n, spaces[n].take(bed.held.column(n))).vectors, np.float64))
        for n in bed.names
    }


def ranks_in(asked: np.ndarray, gallery: np.ndarray, bed: _Bed, target: str) -> np.ndarray:
    """How many rows score as high as the partner; rows of equal content count as one."""
    rows = bed.held.column(target)
    content = bed.spaces[target].content[rows]
    key = np.where(content != 0, content, rows.astype(content.dtype))
    parts = [
        among(asked[start : start + BLOCK] @ gallery.T, key, start)
        for start in range(0, len(asked), BLOCK)
    ]
    return np.concatenate(parts)


def among(scores: np.ndarray, key: np.ndarray, start: int = 0) -> np.ndarray:
    """How many rows of other keys score as high as the partner, ``[k, n] → [k]``.

    Parameters
    ----------
    scores : of the lines from ``start`` on against all.
    """
    own = scores.diagonal(offset=start)[:, None]
    other = key[None] != key[start : start + len(scores), None]
    return np.asarray((other & (scores >= own)).sum(1))


def _by_names(
    bed: _Bed, signal: str, prepared: Prepared, saved: Saved, read: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks from the signal, items ordered by the likelihood of their names' letters; and back.

    Back, signals are ranked by how much less likely the name is than the signal's likeliest one.
    """
    view, letters = read
    items = bed.spaces[signal].ids[bed.held.column(signal)]
    sets = _sets(prepared.spaces[letters], items)
    known = [sets[row][:, 0].astype(int).tolist() for row in range(len(sets))]
    scores = name_scores(letter_chances(saved, view, _sets(prepared.spaces[view], items)), known)
    key = np.array([stable_hash(str(name)) for name in known])
    best = scores.max(1, keepdims=True)
    return among(scores, key), among((scores - np.where(np.isfinite(best), best, 0)).T, key)
