"""What a search returns, in a form that prints, serialises and renders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conjoin.display import Tabular

#: Name of the list in which several target modalities are mixed.
MIXED = "mixed"


@dataclass(frozen=True)
class Hit:
    """An item found.

    Parameters
    ----------
    id, modality, part : which cell it is; the item's best part.
    score : what its list is ordered by.
    rank : from 1.
    scores : every score it has, by name: ``cosine``, ``csls``, ``rrf``…
    probability : that it answers, where its direction is calibrated; ``Hits.meaning`` says
        whether as the query's partner or as relevant.
    meta : what is known of the item, where the index was given a lookup.
    time : the second of its video or sound at which the part begins, where it is a moment of one.
    """

    id: str
    modality: str
    part: int
    score: float
    rank: int
    scores: Mapping[str, float]
    meta: Mapping[str, Any] = field(default_factory=dict)
    probability: float | None = None
    time: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields; the keys are stable."""
        return {
            "rank": self.rank, "id": self.id, "modality": self.modality, "part": self.part,
            "score": self.score, "probability": self.probability, "scores": dict(self.scores),
            "meta": dict(self.meta), **({} if self.time is None else {"time": self.time}),
        }  # fmt: skip


@dataclass(frozen=True, repr=False)
class Hits(Tabular):
    """The lists found for one query.

    Parameters
    ----------
    query : what was asked: ``shown``, ``modality``, ``id``.
    lists : hits by target modality; ``mixed`` besides where several were asked for.
    frame : id of the frame they were scored in.
    nothing : by list, a sentence where no hit in it is likely to answer.
    meaning : by modality, what its hits' probabilities are the chance of: ``relevant`` where
        labels, keywords or groups say what is; else ``partner``, the query's own in the table.
    """

    query: Mapping[str, Any]
    lists: Mapping[str, tuple[Hit, ...]]
    frame: str
    nothing: Mapping[str, str] = field(default_factory=dict)
    meaning: Mapping[str, str] = field(default_factory=dict)

    @property
    def best(self) -> tuple[Hit, ...]:
        """The mixed list, or the only one."""
        return self.lists.get(MIXED) or next(iter(self.lists.values()), ())

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """The best list: rank, item, modality, score and probability."""
        return ("rank", "id", "modality", "score", "probability"), [
            (hit.rank, hit.id, hit.modality, hit.score, hit.probability) for hit in self.best
        ]

    @property
    def uncalibrated(self) -> tuple[str, ...]:
        """Lists whose scores say an order and no probability."""
        return tuple(
            name for name, hits in self.lists.items()
            if hits and name != MIXED and all(hit.probability is None for hit in hits)
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields; the keys are stable."""
        return {
            "version": 1,
            "frame": self.frame,
            "query": dict(self.query),
            "lists": {name: [hit.to_json() for hit in hits] for name, hits in self.lists.items()},
            "nothing": dict(self.nothing),
            "meaning": dict(self.meaning),
            "uncalibrated": list(self.uncalibrated),
        }
