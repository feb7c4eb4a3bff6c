"""One list over several modalities, in which none is shown more than it has answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from conjoin.errors import ConjoinError, nearest
from conjoin.retrieval.hits import Hit

Edge = tuple[str, str]

#: Reciprocal-rank fusion's constant.
FUSE = 60

#: Ways to order hits of several modalities, simplest first, with what each says.
MIXINGS: Mapping[str, str] = {
    "rrf": "sum of 1 / (60 + rank) over the lists an item is in",
    "raw": "the plain score, as if modalities shared one scale",
    "centred": "the list's score less its direction's mean over first hits",
    "z-score": "the same over its direction's spread",
    "probability": "1 - product of (1 - P) over the lists an item is in, P calibrated",
}


@dataclass(frozen=True)
class Mixing:
    """How lists of several modalities become one, as chosen on held-out queries.

    ``rrf``: ``Σ 1 / (60 + rank)``; ``raw``: the best plain score; ``centred``: ``s − μ`` and
    ``z-score``: ``(s − μ) / σ`` with ``μ, σ`` of the direction's first hits, the best of an item;
    ``probability``: ``1 − Π (1 − P)``.

    Parameters
    ----------
    method : one of :data:`MIXINGS`.
    spread : ``(μ, σ)`` of each direction's first scores.
    facts : what was measured for every way at the choice.

    References
    ----------
    Cormack, Clarke and Buettcher, Reciprocal Rank Fusion, SIGIR 2009.
    """

    method: str = "rrf"
    spread: Mapping[Edge, tuple[float, float]] = field(default_factory=dict)
    facts: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        if self.method not in MIXINGS:
            raise ConjoinError("mixing", repr(self.method), nearest(self.method, MIXINGS))

    def covers(self, source: str | None, lists: Mapping[str, Sequence[Hit]]) -> bool:
        """Whether every hit has what this way reads."""
        if self.method in ("centred", "z-score"):
            return all((source or "", target) in self.spread for target in lists)
        if self.method == "probability":
            return all(hit.probability is not None for hits in lists.values() for hit in hits)
        return True

    def mix(
        self, lists: Mapping[str, Sequence[Hit]], k: int, source: str | None = None
    ) -> tuple[Hit, ...]:
        """One list of several; by reciprocal rank where a list lacks what this way reads.

        An item found in several lists is shown where it is worth most. Equal worth goes by the
        order of the lists.
        """
        method, found = self.order(lists, k, source)
        return tuple(
            replace(
                hit, score=worth, rank=place, probability=_likely(hit, worth, method),
                scores={**hit.scores, method: worth},
            )
            for place, (hit, worth) in enumerate(found, 1)
        )  # fmt: skip

    def order(
        self, lists: Mapping[str, Sequence[Hit]], k: int, source: str | None = None
    ) -> tuple[str, list[tuple[Hit, float]]]:
        """The way taken, and the first ``k`` items by it: the hit each shows, what it is worth."""
        method = self.method if self.covers(source, lists) else "rrf"
        joined = _JOINED.get(method, max)
        total: dict[str, float] = {}
        shown: dict[str, tuple[float, Hit]] = {}
        for target, hits in lists.items():
            for hit in hits:
                own = _worth(method, self.spread, (source or "", target), hit)
                total[hit.id] = joined(total[hit.id], own) if hit.id in total else own
                if hit.id not in shown or own > shown[hit.id][0]:
                    shown[hit.id] = (own, hit)
        first = sorted(total, key=lambda item: -total[item])[:k]
        return method, [(shown[item][1], total[item]) for item in first]

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        spread = [[*edge, *values] for edge, values in sorted(self.spread.items())]
        return {"method": self.method, "spread": spread, "facts": [dict(f) for f in self.facts]}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Mixing":
        """Read back what :meth:`to_json` wrote."""
        spread = {(q, t): (float(m), float(s)) for q, t, m, s in raw["spread"]}
        return cls(raw["method"], spread, tuple(raw["facts"]))


_JOINED: Mapping[str, Callable[[float, float], float]] = {
    "rrf": lambda a, b: a + b,
    "probability": lambda a, b: 1 - (1 - a) * (1 - b),
}


def _likely(hit: Hit, total: float, method: str) -> float | None:
    return total if method == "probability" else hit.probability


def _worth(method: str, spread: Mapping[Edge, tuple[float, float]], edge: Edge, hit: Hit) -> float:
    """What a hit of a direction's list is worth by itself."""
    if method == "rrf":
        return 1 / (FUSE + hit.rank)
    if method == "probability":
        return float(hit.probability or 0.0)
    if method == "raw":
        return next(iter(hit.scores.values()))
    mean, deviation = spread[edge]
    return (hit.score - mean) / (deviation if method == "z-score" else 1.0)
