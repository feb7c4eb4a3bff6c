"""Budgets in units of work, counted by a table of costs: no clock has a part in a result."""

import re
import time
from collections.abc import Callable

from conjoin.errors import ConjoinError

SHORT = "no budget left"


class Work:
    """Units of work done, and left of a budget; without a budget there is no end.

    A unit is about a second of one quiet core. Work is counted by what
    :mod:`conjoin.execution.costs` says of it before it begins, not by a clock: the same data, seed
    and versions stop at the same place on any machine, however busy it is.

    Parameters
    ----------
    budget : units; ``None`` for no end.
    within : the work that this is a part of, which counts all that is spent here too.

    Examples
    --------
    >>> work = Work(60.0)
    >>> work.spend(45.0)
    >>> work.allows(10.0), work.allows(20.0)
    (True, False)
    """

    def __init__(self, budget: float | None = None, within: "Work | None" = None):
        self.budget, self.within, self.spent = budget, within, 0.0

    def spend(self, units: float) -> None:
        """Count work that is done."""
        self.spent += units
        if self.within is not None:
            self.within.spend(units)

    @property
    def left(self) -> float:
        """Units left, not below 0."""
        return float("inf") if self.budget is None else max(0.0, self.budget - self.spent)

    def allows(self, units: float = 0.0) -> bool:
        """Whether work of so many units still ends within the budget."""
        return self.budget is None or self.spent + units < self.budget

    def share(self, part: float) -> "Work":
        """A part of this work with a budget of its own: that share of the whole, or what is left.

        Examples
        --------
        >>> Work(60.0).share(0.5).budget
        30.0
        """
        if self.budget is None:
            return Work(None, self)
        return Work(min(part * self.budget, self.left), self)

    def open(self) -> "Work":
        """A part of this work that always ends: it has no budget, and is counted here."""
        return Work(None, self)


#: Units of work, each about a second of one quiet core, that ``fit`` may take in all.
FIT_BUDGET = 40.0


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(text: str) -> float:
    """A time as people write it: ``90``, ``90s``, ``10m``, ``1.5h``.

    Raises
    ------
    ConjoinError : it is none, or not above zero.

    Examples
    --------
    >>> seconds_of("10m")
    600.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not found or float(found[1]) <= 0:
        raise ConjoinError("--budget", repr(text), "give a time such as 90s, 10m or 1h")
    return float(found[1]) * _UNITS[found[2]]


def bytes_of(text: str) -> float:
    """Memory as people write it: ``4G``, ``800M``.

    Raises
    ------
    ConjoinError : it is none, or not above zero.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MG])i?B?", text.strip())
    if not found or float(found[1]) <= 0:
        raise ConjoinError("--memory", repr(text), "give an amount such as 800M or 4G")
    return float(found[1]) * {"M": 1e6, "G": 1e9}[found[2]]


class WorkProgress:
    """Tells of steps with the work done so far and, from its pace, the time left at most.

    The clock is for whoever watches; it decides nothing.

    Parameters
    ----------
    note : told a line.
    spent : gives units done so far.
    budget : units that all of it may take.
    """

    def __init__(self, note: Callable[[str], None], spent: Callable[[], float], budget: float):
        self.note, self.spent, self.budget = note, spent, budget
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        """Tell of a step."""
        gone, spent = time.monotonic() - self._began, self.spent()
        left = ""
        if spent >= 1 and spent < self.budget:
            left = f"; at most {gone * (self.budget - spent) / spent:.0f} s left at this pace"
        self.note(f"{text} ({spent:.0f} of at most {self.budget:.0f} units{left})")
