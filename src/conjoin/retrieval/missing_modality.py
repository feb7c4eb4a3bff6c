"""What is found of items that lack modalities: every mask of what is present, scored."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.metrics.retrieval.ranks import rank_queries
from conjoin.metrics.retrieval.relevance import relevance_by_id
from conjoin.retrieval.evaluation import TestBed
from conjoin.spaces import Space, unit
from conjoin.stats.bootstrap import interval

#: Modalities of which every mask is scored; more would mean too many.
MOST = 8
#: Hits among which the right one counts.
DEPTH = 10


@dataclass(frozen=True)
class Masked:
    """Search for one modality from what is present.

    Parameters
    ----------
    present : modalities the query is made of; the mean of their bound vectors.
    target : the modality searched.
    value, low, high : recall@10 and its 95 % interval by group.
    n : queries.
    """

    present: tuple[str, ...]
    target: str
    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return asdict(self)


@dataclass(frozen=True)
class Gain:
    """What collecting one more modality would bring to items that lack it.

    Parameters
    ----------
    modality : the one to collect.
    value, low, high : recall@10 gained, the mean over masks without it and targets, paired by
        query, with its interval by group; all modalities' intervals hold together at 95 %
        (Bonferroni's), since the best of them is the one named.
    """

    modality: str
    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return asdict(self)


@dataclass(frozen=True)
class MaskReport:
    """Every mask and target, and which modality to collect next.

    Parameters
    ----------
    said : in a sentence.
    """

    rows: tuple[Masked, ...]
    gains: tuple[Gain, ...]
    said: str

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            "masks": [row.to_json() for row in self.rows],
            "gains": [gain.to_json() for gain in self.gains], "said": self.said,
        }  # fmt: skip


def masked(bed: TestBed, bound: Mapping[str, Space], *, seed: int = 0) -> MaskReport:
    """Score every mask of present modalities as a query into every absent one.

    Queries are held-out items that have every modality, so that all masks are asked of the same
    items; the gallery is the held-out rows of the target. A query is the mean of its items' bound
    vectors.

    Parameters
    ----------
    bound : held-out rows of each modality, in the joint frame.

    Raises
    ------
    ConjoinError : fewer than two modalities or more than :data:`MOST`, or no held-out item has
        all of them.
    """
    names = list(bound)
    if not 2 <= len(names) <= MOST:
        raise ConjoinError("masks", f"{len(names)} modalities", f"name 2 to {MOST}")
    items = _common(bound)
    if not len(items):
        raise ConjoinError("masks", "no held-out item has every modality", "leave one out")
    means = {name: _of_items(space, items) for name, space in bound.items()}
    groups = np.array([bed.groups.get(item, item) for item in items])
    hits: dict[tuple[tuple[str, ...], str], np.ndarray] = {}
    for present, target in _asked(names):
        query = unit(np.mean([means[name] for name in present], axis=0))
        asked = Space(items, query.astype(np.float32), bound[target].frame)
        wanted = relevance_by_id(asked, bound[target])
        found = rank_queries(asked.vectors, bound[target].vectors, wanted)
        hits[present, target] = found.hits(DEPTH)
    rows = []
    for (present, target), right in hits.items():
        low, high = interval(right, groups, seed=seed)
        rows.append(Masked(present, target, float(right.mean()), low, high, len(right)))
    gains = [gain for name in names if (gain := _gain(name, hits, groups, len(names), seed))]
    return MaskReport(tuple(rows), tuple(gains), _said(gains))


def _asked(names: Sequence[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    for size in range(1, len(names)):
        for present in combinations(names, size):
            yield from ((present, target) for target in names if target not in present)


def _common(bound: Mapping[str, Space]) -> np.ndarray:
    shared = set.intersection(*(set(map(str, space.ids)) for space in bound.values()))
    return np.array(sorted(shared))


def _of_items(space: Space, items: np.ndarray) -> np.ndarray:
    """``[n, d]`` the mean of each item's parts, at unit length."""
    place = {item: at for at, item in enumerate(items.tolist())}
    total = np.zeros((len(items), space.dim))
    for row, item in enumerate(map(str, space.ids)):
        if item in place:
            total[place[item]] += np.asarray(space.vectors[row], dtype=np.float64)
    return unit(total)


def _gain(
    name: str,
    hits: Mapping[tuple[tuple[str, ...], str], np.ndarray],
    groups: np.ndarray,
    count: int,
    seed: int,
) -> Gain | None:
    """Of every mask without a modality, what the same items reach with it."""
    found = []
    for (present, target), before in hits.items():
        if name in present or name == target:
            continue
        more = next(key for key in hits if key[1] == target and set(key[0]) == {*present, name})
        found.append(hits[more] - before)
    if not found:
        return None
    mean = np.mean(found, axis=0)
    low, high = interval(mean, groups, level=1 - 0.05 / count, seed=seed)
    return Gain(name, float(mean.mean()), low, high)


def _said(gains: Sequence[Gain]) -> str:
    if not gains:
        return "two modalities leave nothing to collect: either is asked for by the other"
    best = max(gains, key=lambda gain: gain.value)
    much = f"{best.value:+.3f} [{best.low:+.3f}, {best.high:+.3f}]"
    if best.low <= 0:
        return f"no further modality is shown to help; {best.modality} comes nearest ({much})"
    return f"collect {best.modality} next: recall@10 {much} for items that lack it"
