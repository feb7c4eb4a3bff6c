"""What is in use before a fit: whether it is what was asked for, and what must beat it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from conjoin.alignment.binding import AS_IT_IS, one_frame
from conjoin.alignment.choice import Choice
from conjoin.errors import ConjoinError
from conjoin.project.fit.stored import Fit, fit_as_it_is
from conjoin.project.workspace import Workspace
from conjoin.retrieval.hubness.csls import Corrector
from conjoin.retrieval.index.index import Index
from conjoin.spaces import Space
from conjoin.storage.digest import stable_hash
from conjoin.storage.files import read_json
from conjoin.storage.renamed import hashed

#: Queries of each direction by which a drift is measured, and hits of each that are compared.
ASKED, TOP = 200, 10


@dataclass(frozen=True)
class Reach:
    """What a fit was made from and how far its budget went; part of ``fit.json``.

    Parameters
    ----------
    facts : hash of what decides a fit, its budget and what was in use before aside.
    chosen : whether the method was chosen among several on these pairs.
    budget, units : asked for, and spent by the table of costs.
    short : methods that the budget cut short.
    held : whether something was in use before that could stay.
    """

    facts: str
    chosen: bool = False
    budget: float = 0.0
    units: float = 0.0
    short: Sequence[str] = ()
    held: bool = False

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {**asdict(self), "short": list(self.short)}

    def serves(self, facts: str, budget: float) -> bool:
        """Whether the same was asked for and a budget of so much would reach no further.

        Examples
        --------
        >>> Reach("a", True, 40.0, 12.0).serves("a", 120.0)
        True
        >>> Reach("a", True, 40.0, 39.0, ("heads",)).serves("a", 120.0)
        False
        """
        return self.facts == facts and (not self.short or self.budget >= budget)


@dataclass(frozen=True)
class Standing:
    """What stands before a fit.

    Parameters
    ----------
    choice : stays unless the folds show that another is better.
    correctors : the same of corrections, by direction.
    """

    choice: Choice
    correctors: Mapping[tuple[str, str], Corrector] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What of it may decide a fit."""
        rules = sorted([*edge, one.name, asdict(one)] for edge, one in self.correctors.items())  # type: ignore[call-overload]
        own = self.choice
        return {"choice": [hashed(own.method), dict(own.fields), own.hub], "correctors": rules}


def reach_of(made: Fit) -> Reach | None:
    """What a fit was made from; ``None`` of an upgrade or of a fit of an earlier version."""
    raw = read_json(made.folder / "fit.json", ["corrections"]).get("reach")
    return None if raw is None else Reach(**{**raw, "short": tuple(raw["short"])})


def in_use(ws: Workspace) -> Fit | None:
    """The fit in use, if there is one that can be read."""
    try:
        return fit_as_it_is(ws)
    except ConjoinError:
        return None


def standing(ws: Workspace, spaces: Mapping[str, Space], *, fresh: bool = False) -> Standing | None:
    """What must be beaten: the method in use, where it was chosen among several.

    A method that was named was somebody's trial, and does not hold its place. Of modalities that
    one encoder places in one frame the vectors as they are stand, where no choice does.

    Parameters
    ----------
    fresh : whether what is in use counts for nothing.
    """
    own = Standing(Choice.of(AS_IT_IS, next(iter(spaces)))) if one_frame(spaces) else None
    made = None if fresh else in_use(ws)
    reach = None if made is None else reach_of(made)
    if made is None or reach is None or not reach.chosen:
        return own
    if set(made.binding.maps) != set(spaces) or made.binding.choice.aligner is not None:
        return own
    return Standing(made.binding.choice, made.rules.correctors)


@dataclass(frozen=True)
class Drift:
    """How far answers moved from one fit to the next, by queries both can be asked.

    Parameters
    ----------
    queries : asked, over all directions.
    score : median change of the score of the first hit, of either sign.
    top : mean share of the first ten that both lists hold, of items that both know.
    thresholds : by direction, the probability below which nothing is called relevant: before
        and now.
    """

    queries: int
    score: float
    top: float
    thresholds: Mapping[str, tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return asdict(self)

    def said(self) -> str:
        """In a sentence."""
        moved = [
            f"{way} {old:.2f} → {new:.2f}"
            for way, (old, new) in self.thresholds.items() if f"{old:.2f}" != f"{new:.2f}"
        ]  # fmt: skip
        told = f"; thresholds of a match: {', '.join(moved)}" if moved else ""
        return (
            f"against the fit before, {self.queries} queries: first scores moved by "
            f"{self.score:.3f} (median), {self.top:.0%} of the first ten are the same{told}"
        )


def drift(
    before: tuple[Fit, Index], after: tuple[Fit, Index], spaces: Mapping[str, Space]
) -> Drift | None:
    """How answers moved; ``None`` where nothing can be asked of both.

    Queries are rows of every modality that both fits can read, put to every other one. Hits that
    one of the two indexes does not hold are left out of both lists.
    """
    (old, first), (new, second) = before, after
    names = [n for n in spaces if _reads(old, spaces[n], n) and _reads(new, spaces[n], n)]
    known = {n: {*map(str, first.spaces[n].ids)} & {*map(str, second.spaces[n].ids)} for n in names}
    moved, shared = list[float](), list[float]()
    for source in names:
        others = [name for name in names if name != source]
        asked = spaces[source].take(_drawn(spaces[source]))
        if not others:
            continue
        one, other = (
            index.search_many(fit.binding.bind(source, asked), source, into=others, k=2 * TOP)
            for fit, index in (before, after)
        )
        for was, now in zip(one, other, strict=True):
            for target in others:
                a, b = (
                    [hit for hit in hits.lists[target] if hit.id in known[target]]
                    for hits in (was, now)
                )
                if a and b:
                    moved.append(abs(a[0].score - b[0].score))
                    tops = [{hit.id for hit in hits[:TOP]} for hits in (a, b)]
                    shared.append(len(tops[0] & tops[1]) / max(map(len, tops)))
    if not moved:
        return None
    levels = {
        f"{q} → {t}": (first.calibrations[q, t].threshold, second.calibrations[q, t].threshold)
        for q, t in sorted(first.calibrations.keys() & second.calibrations.keys())
    }
    return Drift(len(moved), float(np.median(moved)), float(np.mean(shared)), levels)


def _reads(made: Fit, space: Space, name: str) -> bool:
    return name in made.binding.maps and made.binding.maps[name].source == space.frame


def _drawn(space: Space) -> np.ndarray:
    """Rows that ask: the same items as long as they are there."""
    order = sorted(range(len(space)), key=lambda row: stable_hash(f"drift/{space.ids[row]}"))
    return np.sort(order[:ASKED])
