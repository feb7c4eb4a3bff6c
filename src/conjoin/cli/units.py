"""Budgets and sizes as people write them; light, so that help and refusals stay quick."""

import re
import time
from collections.abc import Callable

from conjoin.errors import ConjoinError

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


class Told:
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
