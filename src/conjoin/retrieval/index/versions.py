"""What a store serves from one moment on, as its manifest says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conjoin.retrieval.index.lance import Column
from conjoin.spaces import Frame


@dataclass(frozen=True)
class Held:
    """One modality in one version: its table, the table's version, and what is in it."""

    modality: str
    table: str
    version: int
    rows: int
    next: int
    columns: tuple[Column, ...] = ()
    provenance: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        columns = [column.to_json() for column in self.columns]
        return {**self.__dict__, "columns": columns, "provenance": list(self.provenance)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Held":
        """Read back what :meth:`to_json` wrote."""
        columns = tuple(Column.from_json(column) for column in raw["columns"])
        return cls(**{**raw, "columns": columns, "provenance": tuple(raw["provenance"])})


@dataclass(frozen=True)
class Version:
    """What is served from one moment on.

    Parameters
    ----------
    number : from 1, never given twice.
    when, why : the moment in UTC, and which change made it.
    held : the modalities, in order.
    corrections : query, target and file of each.
    engines : by modality, what finds candidates and how well; see
        :mod:`conjoin.retrieval.index.opening`.
    """

    number: int
    when: str
    why: str
    frame: Frame
    held: tuple[Held, ...]
    corrections: tuple[tuple[str, str, str], ...] = ()
    calibrations: tuple[Any, ...] = ()
    mixing: Mapping[str, Any] | None = None
    engines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def rows(self) -> dict[str, int]:
        """Rows by modality."""
        return {entry.modality: entry.rows for entry in self.held}

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "number": self.number, "when": self.when, "why": self.why,
            "frame": self.frame.to_json(), "held": [entry.to_json() for entry in self.held],
            "corrections": [list(entry) for entry in self.corrections],
            "calibrations": list(self.calibrations), "mixing": self.mixing,
            "engines": {name: dict(entry) for name, entry in self.engines.items()},
        }  # fmt: skip

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Version":
        """Read back what :meth:`to_json` wrote."""
        return cls(
            raw["number"], raw["when"], raw["why"], Frame.from_json(raw["frame"]),
            tuple(Held.from_json(entry) for entry in raw["held"]),
            tuple((q, t, file) for q, t, file in raw["corrections"]),
            tuple(raw["calibrations"]), raw["mixing"], raw["engines"],
        )  # fmt: skip


@dataclass(frozen=True)
class Change:
    """What a change did: rows by modality, and the version it made (``None``: nothing to do)."""

    added: Mapping[str, int]
    removed: Mapping[str, int]
    version: int | None

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {"added": dict(self.added), "removed": dict(self.removed), "version": self.version}
