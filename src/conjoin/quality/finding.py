"""What the doctor says: one finding, the kinds there are, and how a report is summed up."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from conjoin.display import Tabular
from conjoin.errors import ConjoinError, nearest

#: Each kind of finding, and what a person can do about one.
KINDS: Mapping[str, str] = {
    "mismatch": "look at both sides: drop the pair, or name the right partner",
    "twin": "put the items into one group, so that neither counts as wrong for the other",
    "duplicate": "keep one of them, or put them into one group",
    "leak": "put both into one group ([split] group), so that one side has them",
    "outlier": "look at the cell: fix or drop it",
    "encoder": "check the column and the encoder's settings",
    "missing": "fix the cells, or read scores of the complete items apart",
    "imbalance": "cap the largest entries: drop the items listed, or weigh them down",
    "language": "use an encoder that reads these scripts or languages, or drop the cells",
    "length": "shorten or complete the cells",
}

#: Confidence from which a finding is told when nothing else is asked for.
LEAST = 0.5


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong.

    Parameters
    ----------
    kind : one of :data:`KINDS`.
    items : ids concerned; for a mismatch the item of the left cell, then of the right.
    modality : modalities concerned, joined by ``+``; empty where it is about a column.
    confidence : in [0, 1]; within a kind a larger one is more likely to be true.
    precision : the share of true ones to expect among findings of this kind that are at least
        as confident; ``None`` where it is a count and nothing is estimated.
    evidence : the figures it rests on, JSON-able.
    remedy : what to do about it.
    part : number of the part within each item, where items have several.
    """

    kind: str
    items: tuple[str, ...]
    modality: str
    confidence: float
    precision: float | None
    evidence: Mapping[str, Any]
    remedy: str
    part: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """Names the finding among those of one report: decisions refer to it."""
        return "|".join((self.kind, self.modality, *self.items[:2]))

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON-able fields."""
        return {
            "kind": self.kind, "items": list(self.items), "modality": self.modality,
            "confidence": round(float(self.confidence), 4),
            "precision": None if self.precision is None else round(float(self.precision), 4),
            "evidence": dict(self.evidence), "remedy": self.remedy, "parts": list(self.part),
        }  # fmt: skip


@dataclass(frozen=True, repr=False)
class Report(Tabular):
    """All findings, surest first within a kind, and what could not be looked at.

    Parameters
    ----------
    notes : one plain sentence each.
    facts : figures of the data as a whole, by kind.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per kind of finding: how many, of how many items, what to do."""
        return ("finding", "how many", "items", "what to do"), [
            (one["kind"], one["count"], one["items"], one["remedy"]) for one in self.summary()
        ]

    def of(self, kind: str) -> list[Finding]:
        """The findings of one kind."""
        return [one for one in self.findings if one.kind == kind]

    def summary(self) -> list[dict[str, Any]]:
        """One entry a kind that has findings: how many, how sure, what to do."""
        told = []
        for kind, remedy in KINDS.items():
            found = self.of(kind)
            if not found:
                continue
            sure = [f.precision for f in found if f.precision is not None]
            told.append({
                "kind": kind, "count": len(found),
                "items": len({item for f in found for item in f.items}),
                "precision": round(min(sure), 4) if sure else None,
                "at_most": any(f.evidence.get("weakly_bound", False) for f in found),
                "confidence": round(max(f.confidence for f in found), 4), "remedy": remedy,
            })  # fmt: skip
        return told

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            "findings": [one.to_json() for one in self.findings], "summary": self.summary(),
            "notes": list(self.notes), "facts": dict(self.facts),
        }  # fmt: skip


def check_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """The kinds asked for; all where none is named.

    Raises
    ------
    ConjoinError : one is unknown.
    """
    for name in names:
        if name not in KINDS:
            raise ConjoinError("--kinds", f"{name!r} is no kind", nearest(name, KINDS))
    return tuple(dict.fromkeys(names)) or tuple(KINDS)


@cache
def measured() -> Mapping[str, list[tuple[float, float]]]:
    """Precision that planted errors gave, by kind: rising confidence, and what was right above.

    Written by ``benchmarks/doctor.py``.
    """
    text = (files("conjoin.quality") / "precision.json").read_text(encoding="utf-8")
    return {kind: [(a, b) for a, b in rows] for kind, rows in json.loads(text).items()}


def precision_of(kind: str, confidence: float) -> float | None:
    """What planted errors in the sample gave at this confidence and above."""
    below = [share for least, share in measured().get(kind, []) if least <= confidence + 1e-9]
    return below[-1] if below else None
