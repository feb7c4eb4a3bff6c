"""What teachers give: vectors of one or several, or how alike they find rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.spaces.frame import unit
from conjoin.spaces.given import is_frame
from conjoin.transfer.base import check_rows


@dataclass(frozen=True, eq=False)
class Similarities:
    """How alike a teacher finds every two rows, where its vectors are not at hand.

    Parameters
    ----------
    values : ``[n, n]`` finite numbers; made symmetric.
    """

    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def vectors(self, kept: float = 1e-6) -> np.ndarray:
        """Vectors whose inner products are nearest to the similarities.

        Directions of negative eigenvalues, and those below ``kept`` times the largest, are left
        out.
        """
        values = check_rows(self.values, "teacher").astype(np.float64)
        if values.shape[0] != values.shape[1]:
            raise ConjoinError("teacher", f"similarities of shape {values.shape}", "give [n, n]")
        eigen, ways = np.linalg.eigh((values + values.T) / 2)
        live = eigen > kept * max(eigen[-1], 0)
        if not live.any():
            raise ConjoinError("teacher", "similarities are all 0 or below", "check the teacher")
        return (ways[:, live] * np.sqrt(eigen[live])).astype(np.float32)


def teachers_of(teachers: Any, rows: int) -> dict[str, np.ndarray]:
    """The vectors of every teacher by name.

    Raises
    ------
    ConjoinError : there is none, one has another number of rows, or a row is not finite.
    """
    if isinstance(teachers, Mapping) and not is_frame(teachers):
        named = dict(teachers)
    elif isinstance(teachers, Similarities) or not _several(teachers):
        named = {"teacher": teachers}
    else:
        named = {f"teacher{place}": one for place, one in enumerate(teachers)}
    if not named:
        raise ConjoinError("teachers", "there is none", "give vectors, or several by name")
    found = {}
    for name, one in named.items():
        where = "teacher" if name == "teacher" else f"teacher {name}"
        held = one.vectors() if isinstance(one, Similarities) else check_rows(one, where)
        if len(held) != rows:
            raise ConjoinError(
                where, f"{len(held)} rows for {rows} of the student", "give the same items in order"
            )
        found[name] = np.asarray(held, dtype=np.float32)
    return found


def _several(teachers: Any) -> bool:
    if not isinstance(teachers, Sequence):
        return False
    return any(isinstance(one, Similarities) or _ndim(one) == 2 for one in teachers)


def _ndim(one: Any) -> int:
    """Axes of a table, or of a list of lists; 0 of what is ragged."""
    try:
        return int(np.ndim(one))
    except ValueError:
        return 0


def side_by_side(teachers: Mapping[str, np.ndarray]) -> np.ndarray:
    """``[n, Σ k]`` every teacher at unit length, times one over the root of their number.

    A cosine of two such rows is the mean of the teachers' cosines.

    Examples
    --------
    >>> side_by_side({"a": np.array([[3.0, 0.0]]), "b": np.array([[0.0, 2.0]])}).round(3)
    array([[0.707, 0.   , 0.   , 0.707]])
    """
    if len(teachers) == 1:
        return unit(next(iter(teachers.values())))
    return np.concatenate([unit(rows) for rows in teachers.values()], axis=1) / np.sqrt(
        len(teachers)
    )
