"""``conjoin measure``: how alike the spaces of a workspace are, before and after binding."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.metrics.base import Geometry, by_chance, geometry_rows, measure_named, subsampled
from conjoin.metrics.measurement import Measurement
from conjoin.project.fit import stored as fits
from conjoin.project.workspace import Workspace
from conjoin.spaces import Pairs, Space
from conjoin.storage.digest import stable_hash

#: Lines measured at most, so that an interval takes seconds; drawn at random where there are more.
LINES = 1000
#: Subsamples behind an interval, and shuffles behind a level of chance.
DRAWS, SHUFFLES = 30, 5
#: Measured only when named: they need layers, or views that are languages.
ASKED = ("best-layers", "mean-rank-variance")
#: Fields that keep a measure quick at this many lines.
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "rsa": {"pairs": 20_000},
    "noise-ceiling": {"pairs": 20_000},
}
BEFORE, AFTER = "before binding", "after binding"


@dataclass(frozen=True)
class Found:
    """One measure of some modalities at one stage.

    Parameters
    ----------
    stage : :data:`BEFORE` (what encoders give) or :data:`AFTER` (the joint space).
    views : the modalities, in the order the measure read them.
    chance : its mean with lines shuffled, where it reads which rows belong together.
    """

    stage: str
    views: tuple[str, ...]
    measurement: Measurement
    chance: float | None = None

    def to_json(self) -> dict[str, Any]:
        """One row for programs."""
        return {
            "stage": self.stage,
            "views": list(self.views),
            **self.measurement.to_json(),
            "chance": self.chance,
        }


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found, and in plain sentences what could not be measured."""

    found: tuple[Found, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {"measured": [row.to_json() for row in self.found], "notes": list(self.notes)}


def chosen(names: Sequence[str]) -> list[Geometry]:
    """The measures asked for; all that suit any workspace where none is.

    Raises
    ------
    ConjoinError : one is unknown, or reads layers that a workspace does not keep.
    """
    wanted = list(names) or [name for name in geometry_rows() if name not in ASKED]
    made = [measure_named(name, FIELDS.get(name)) for name in dict.fromkeys(wanted)]
    if "best-layers" in names:
        raise ConjoinError(
            "measure", "best-layers reads several layers, a workspace keeps one",
            "call conjoin.metrics.similarity.cka.BestLayers on arrays [n, layers, d]",
        )  # fmt: skip
    return made


def measure_workspace(ws: Workspace, *, names: Sequence[str] = (), seed: int = 0) -> Measured:
    """Measure every modality, and every two that are paired, before and after binding.

    Lines are the pairs of training and held-out items, each row on one line at most: a row seen
    twice would be its own neighbour. Intervals come from subsamples of whole groups.

    Raises
    ------
    ConjoinError : a measure is unknown, or a modality is not embedded.
    """
    measures = chosen(names)
    spaces = {name: space.pooled() for name, space in ws.spaces().items()}
    pairs = ws.items.pairs(ws.config, spaces)
    groups = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))
    found: list[Found] = []
    notes: list[str] = []
    stages = {BEFORE: spaces}
    bound = _bound(ws, spaces, notes)
    if bound:
        stages[AFTER] = bound
    for stage, held in stages.items():
        for measure in measures:
            if measure.shared and stage == BEFORE:
                continue
            for views in _asked(measure, list(held), pairs):
                rows = lines(pairs, views, seed)
                try:
                    found.append(_one(measure, stage, held, rows, groups, seed))
                except ConjoinError as error:
                    notes.append(f"{' – '.join(views)}, {stage}: {error}")
    return Measured(tuple(found), tuple(notes))


def _bound(ws: Workspace, spaces: Mapping[str, Space], notes: list[str]) -> dict[str, Space]:
    """The joint space of what is bound, or why there is none."""
    if not (ws.state / "current.json").exists():
        notes.append("nothing is fitted yet: only encoders were measured; run: conjoin fit")
        return {}
    binding = fits.current_fit(ws).binding
    if binding.frame.score != "cosine":
        notes.append(
            f"the joint space is scored by {binding.frame.score}; measures read angles, so only "
            "encoders were measured"
        )
        return {}
    left = [name for name in spaces if name not in binding.maps]
    if left:
        notes.append(f"not bound, so measured before binding only: {', '.join(left)}")
    stored = ws.spaces([name for name in spaces if name in binding.maps])
    return {name: binding.bind(name, space) for name, space in stored.items()}


def _asked(measure: Geometry, names: list[str], pairs: Pairs) -> Iterator[tuple[str, ...]]:
    """The modalities a measure is made of, each time it is made."""
    if measure.views == 1:
        yield from ((name,) for name in names)
    elif measure.many:
        if len(names) >= max(3, measure.views):
            yield tuple(names)
    else:
        joined = {frozenset(edge) for edge in pairs.edges()}
        both_ways = not measure.paired and "swap" not in measure.invariances
        for one, other in combinations(names, 2):
            if frozenset((one, other)) in joined:
                yield (one, other)
                if both_ways:
                    yield (other, one)


def lines(pairs: Pairs, views: tuple[str, ...], seed: int) -> dict[str, np.ndarray]:
    """Rows of each view, line by line; no row of any view twice, at most :data:`LINES` lines."""
    columns = np.stack([pairs.column(name) for name in views], axis=1)
    columns = columns[(columns >= 0).all(axis=1)]
    rng = np.random.default_rng([seed, stable_hash("measure lines")])
    columns = columns[rng.permutation(len(columns))]
    for place in range(len(views)):
        first = np.sort(np.unique(columns[:, place], return_index=True)[1])
        columns = columns[first]
    kept = columns[:LINES]
    return {name: kept[:, place] for place, name in enumerate(views)}


def _one(
    measure: Geometry,
    stage: str,
    held: Mapping[str, Space],
    rows: Mapping[str, np.ndarray],
    groups: Mapping[str, str],
    seed: int,
) -> Found:
    """A measure of some modalities with its interval and its level of chance."""
    views = {
        name: np.asarray(held[name].take(picked).vectors, dtype=np.float32)
        for name, picked in rows.items()
    }
    first = next(iter(rows))
    owners = np.array([groups.get(i, i) for i in map(str, held[first].ids[rows[first]])])
    if len(set(owners.tolist())) >= 5:
        made = subsampled(measure, views, owners, draws=DRAWS, seed=seed)
    else:
        made = measure(views)
    chance = None
    if measure.paired:
        chance = float(by_chance(measure, views, draws=SHUFFLES, seed=seed).mean())
    return Found(stage, tuple(rows), made, chance)
