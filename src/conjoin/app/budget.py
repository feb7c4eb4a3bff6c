"""Times and sizes as people write them; light, so that help and refusals stay quick."""

import re

from conjoin.errors import ConjoinError

#: Seconds that choosing a method may take in ``fit``.
FIT_BUDGET = 60.0

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
