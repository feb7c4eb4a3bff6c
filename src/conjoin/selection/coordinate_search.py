"""Uphill over a method's hyper-parameters, one after another, within a number of trials."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from conjoin import catalogue
from conjoin.catalogue import Choice, Row, Search

#: Passes over the hyper-parameters of a method.
ROUNDS = 2

Fields = dict[str, Any]


@dataclass(eq=False)
class Climb:
    """From a row's defaults, the best of one field after another, until none helps.

    Parameters
    ----------
    row : the method; fields its row sets stay as they are.
    score : value of a setting, higher is better.
    budget : settings tried at most; every method of a fair comparison gets the same.
    choices : further fields that are no part of the method (such as the hub) and their values.
    """

    row: Row
    score: Callable[[Fields], float]
    budget: int | None = None
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    tried: dict[tuple, tuple[Fields, float]] = field(default_factory=dict)

    def run(self) -> tuple[Fields, float]:
        """The best setting met and its score."""
        start = {**self.row.settings, **{name: own[0] for name, own in self.choices.items()}}
        best = (start, self._value(start))
        spans: dict[str, Search | Choice] = {
            name: Choice(values) for name, values in self.choices.items()
        }
        spans |= {
            name: span
            for name, span in catalogue.ranges(self.row.load()).items()
            if name not in self.row.settings
        }
        for _ in range(ROUNDS if len(spans) > 1 else 1):
            before = best
            for name, span in spans.items():
                best = self._along(best, name, span)
            if best is before:
                break
        return best

    def _value(self, fields: Fields) -> float:
        """The score of a setting, remembered; worse than all where the budget is spent."""
        key = tuple(sorted((name, repr(value)) for name, value in fields.items()))
        if key not in self.tried:
            if self.budget is not None and len(self.tried) >= self.budget:
                return float("-inf")
            self.tried[key] = (fields, self.score(fields))
        return self.tried[key][1]

    def _along(
        self, best: tuple[Fields, float], name: str, span: Search | Choice
    ) -> tuple[Fields, float]:
        """The best value of one field: every one of a choice, uphill over a range."""
        if isinstance(span, Choice):
            tried = [{**best[0], name: value} for value in span.values]
            return max([best, *((one, self._value(one)) for one in tried)], key=lambda t: t[1])
        whole = is_int(self.row.load(), name)
        now = best[0].get(name, default_of(self.row.load(), name))
        for step in (1.0, 0.5):
            for direction in (step, -step):
                best, now = self._uphill(best, name, now, span, direction, whole)
        return best

    def _uphill(
        self,
        best: tuple[Fields, float],
        name: str,
        now: float,
        span: Search,
        step: float,
        whole: bool,
    ) -> tuple[tuple[Fields, float], float]:
        while True:
            value = moved(now, step, span)
            value = round(value) if whole else value
            if value == now:
                return best, now
            fields = {**best[0], name: value}
            found = self._value(fields)
            if found <= best[1]:
                return best, now
            best, now = (fields, found), value


def moved(value: float, steps: float, span: Search) -> float:
    """A value some steps along its range: decades where it is logarithmic, else sixths of it."""
    value = value * 10**steps if span.log else value + steps * (span.high - span.low) / 6
    return min(max(float(f"{value:.6g}"), span.low), span.high)


def default_of(engine: type, name: str) -> Any:
    """The default of a method's field."""
    return inspect.signature(engine).parameters[name].default


def is_int(engine: type, name: str) -> bool:
    """Whether a field counts in whole numbers."""
    hint = inspect.signature(engine).parameters[name].annotation
    return "int" in str(getattr(hint, "__origin__", hint))
