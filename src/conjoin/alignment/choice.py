"""choice."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.execution.budget import SHORT
from conjoin.storage.renamed import current, hashed


@dataclass(frozen=True)
class Trial:
    """One setting of one method and what it reached on each fold.

    Parameters
    ----------
    scores : mean of recall@1, @5 and @10 over the directions of all pair sources, a fold each.
    units : of work, by the table of costs; no clock has measured them.
    """

    method: str
    fields: Mapping[str, Any]
    hub: str
    scores: tuple[float, ...]
    units: float = 0.0

    @property
    def mean(self) -> float:
        """Mean over folds."""
        return float(np.mean(self.scores))

    def facts(self) -> dict[str, Any]:
        """Its fields as the keys of fits hold them."""
        return {**asdict(self), "method": hashed(self.method)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Trial":
        """Read back its fields; trials of before the table of costs cost nothing."""
        units = float(raw.get("units", 0.0))
        method = current(raw["method"])
        return cls(method, raw["fields"], raw["hub"], tuple(raw["scores"]), units)


@dataclass(frozen=True)
class Choice:
    """A method with its fields and hub, and the trials it won against.

    Parameters
    ----------
    method : an aligner's name in the catalogue.
    aligner : the aligner itself where it was given and is not in the catalogue.
    skipped : methods that could not be fed, or that the budget cut short, and why.
    units : of work that choosing took.
    kept : what was in use before and stays, if anything was.
    """

    method: str
    fields: Mapping[str, Any]
    hub: str
    trials: tuple[Trial, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    aligner: Any = None
    units: float = 0.0
    kept: "Kept | None" = None

    @classmethod
    def of(cls, method: Any, hub: str) -> "Choice":
        """The choice a user made by naming a method or giving an aligner."""
        if isinstance(method, str):
            return cls(method, dict(catalogue.find("aligner", method).settings), hub)
        rows = [r for r in catalogue.of_kind("aligner").values() if r.load() is type(method)]
        if rows:
            # Of rows that share an engine, one whose settings all hold, and that says most of
            # them; where none is so, the one that most of them hold of. The fields are kept whole.
            row = max(rows, key=lambda r: _agreement(method, r))
            return cls(row.name, asdict(method), hub)
        return cls(type(method).__name__, {}, hub, aligner=method)

    @classmethod
    def of_trial(cls, trial: Trial) -> "Choice":
        """The method, fields and hub of a trial."""
        return cls(trial.method, trial.fields, trial.hub)

    def make(self) -> Any:
        """The aligner, ready to fit."""
        if self.aligner is not None:
            return self.aligner
        return catalogue.find("aligner", self.method).make(self.fields)

    def best_of(self) -> dict[str, Trial]:
        """The best trial of each method among those on most folds, best method first.

        Of the method chosen it is the trial of the setting chosen, where there is one.
        """
        best: dict[str, Trial] = {}
        for trial in sorted(self.trials, key=lambda t: (-len(t.scores), -t.mean)):
            best.setdefault(trial.method, trial)
        most = max((len(trial.scores) for trial in self.trials), default=0)
        for trial in self.trials:
            if len(trial.scores) == most and self.same(Choice.of_trial(trial)):
                best[self.method] = trial
        return dict(sorted(best.items(), key=lambda item: (-len(item[1].scores), -item[1].mean)))

    @property
    def short(self) -> list[str]:
        """Methods that the budget did not see to their end: a larger one would."""
        return [name for name, why in self.skipped.items() if why.startswith(SHORT)]

    def same(self, other: "Choice") -> bool:
        """Whether both name one method, with the same settings and hub."""
        return (self.method, dict(self.fields), self.hub) == (
            other.method, dict(other.fields), other.hub
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The choice and its trials as JSON-able fields."""
        return {
            "method": self.method,
            "fields": dict(self.fields),
            "hub": self.hub,
            "trials": [asdict(trial) for trial in self.trials],
            "skipped": dict(self.skipped),
            "units": round(self.units, 3),
            "kept": None if self.kept is None else asdict(self.kept),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Choice":
        """Read back what :meth:`to_json` wrote."""
        trials = tuple(Trial.from_json(trial) for trial in raw["trials"])
        kept = None if raw.get("kept") is None else Kept.from_json(raw["kept"])
        skipped = {current(name): why for name, why in raw["skipped"].items()}
        return cls(
            current(raw["method"]), raw["fields"], raw["hub"], trials, skipped,
            units=float(raw.get("units", 0.0)), kept=kept,
        )  # fmt: skip


def _agreement(method: Any, row: catalogue.Row) -> tuple[bool, int]:
    """Whether all of a row's settings hold of an aligner, and how many do."""
    holds = [getattr(method, name) == value for name, value in row.settings.items()]
    return all(holds), sum(holds)


@dataclass(frozen=True)
class Kept:
    """What was in use before a choice, and whether it stays.

    Parameters
    ----------
    method, fields, hub : of what was in use.
    stays : whether the newcomer's gain leaves room for none.
    newcomer : the method that did best on the folds.
    gain, low, high : of the newcomer, with its 95 % interval; resampled are whole groups.
    """

    method: str
    fields: Mapping[str, Any]
    hub: str
    stays: bool
    newcomer: str
    gain: float
    low: float
    high: float

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Kept":
        """Read back its fields."""
        names = {name: current(raw[name]) for name in ("method", "newcomer")}
        return cls(**{**raw, **names})
