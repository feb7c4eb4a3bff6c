"""What is judged and what it made of each unit of a task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conjoin.evaluation.formats.base import Cells

#: From cells of one kind to vectors ``[n, d]`` of one space, whatever the kind.
Embed = Callable[[Cells], np.ndarray]


@dataclass(frozen=True)
class Arm:
    """What is judged: a name, and how it places cells."""

    name: str
    embed: Embed


@dataclass(frozen=True)
class Made:
    """What one arm made of a task.

    Parameters
    ----------
    kind : ``trivial``, ``run`` or ``encoder``.
    units : by metric, the value of each unit, in the task's order.
    chance : by metric, the expected value of an answer at random, where it is known.
    seconds : wall time of the arm.
    whole : by metric, its value on all units together, where that is no mean over units.
    facts : named numbers that have no value of each unit.
    """

    name: str
    kind: str
    units: Mapping[str, np.ndarray]
    chance: Mapping[str, float]
    seconds: float
    whole: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1))


def columns(rows: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """By key, the values of every row."""
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
