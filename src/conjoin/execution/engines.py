"""The engine that a name stands for."""

import os
import re

from conjoin.errors import ConjoinError
from conjoin.execution.processes import Processes
from conjoin.execution.ray_engine import Ray
from conjoin.execution.tasks import Engine, Local


def engine_of(text: str, slots: int | None = None) -> Engine:
    """The engine that ``--engine`` names.

    ``local``; ``processes`` or ``processes:N``; ``ray``, the cluster this machine is a node of;
    ``ray://HOST:PORT``, its head's address.

    Parameters
    ----------
    slots : tasks at once, at most; as many as there is room for when not given.

    Raises
    ------
    ConjoinError : it is none of these.
    MissingDependency : Ray is asked for and not installed.

    Examples
    --------
    >>> engine_of("processes:2").name
    'processes:2'
    """
    if text == "local":
        return Local()
    if found := re.fullmatch(r"processes(?::([1-9]\d{0,3}))?", text):
        count = int(found[1]) if found[1] else (os.cpu_count() or 1)
        return Processes(count if slots is None else min(count, slots))
    if found := re.fullmatch(r"ray(?:://([^\s/:]+:\d{1,5}))?", text):
        return Ray(found[1] or "auto", slots)
    raise ConjoinError(
        "--engine", f"{text!r}", "give local, processes:N, ray or ray://HOST:PORT of the head"
    )
