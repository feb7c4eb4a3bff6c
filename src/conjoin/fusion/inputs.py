"""Aligned views of items, some of which an item may lack."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, nearest
from conjoin.maps.standardise import Standardise
from conjoin.spaces import Rows, Tokens
from conjoin.spaces.given import mapping_of, mask_of, matrix_of

#: Items read at a time.
BLOCK = 4096
#: A column whose spread is at most this share of its largest value holds rounding alone.
STILL = 4 * float(np.finfo(np.float32).eps)


class Picked:
    """Rows of a view in another order, read when asked for.

    Parameters
    ----------
    view : what to read from.
    lines : ``[n]`` row numbers; below 0 where an item has none (such rows read row 0).
    """

    ndim = 2

    view: Any
    lines: np.ndarray

    def __init__(self, view: Any, lines: np.ndarray):
        if isinstance(view, Picked):
            view, lines = view.view, view.lines[lines]
        self.view, self.lines = view, np.maximum(lines, 0)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width."""
        return len(self.lines), int(self.view.shape[1])

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.asarray(self.view[_run(self.lines[key])])


#: Rows of one view: in memory, or read when asked for.
Table = Rows | Picked


@dataclass(frozen=True, eq=False)
class Inputs:
    """Row ``i`` of every view belongs to item ``i``; ``here`` says which rows mean anything.

    Parameters
    ----------
    views : ``[n, d]`` arrays, memory maps or stacks by view, read block by block.
    here : ``[n, views]`` booleans, at least one true an item.
    """

    views: Mapping[str, Any]
    here: np.ndarray

    @classmethod
    def of(
        cls,
        views: Any,
        present: Mapping[str, np.ndarray],
        names: Sequence[str] | None = None,
    ) -> "Inputs":
        """Check and align views.

        Parameters
        ----------
        present : ``[n]`` booleans by view; a view without any is there for every item.
        names : the views expected, in order; those not given are absent. All given ones where
            ``None``.

        Raises
        ------
        ConjoinError : a view is unknown, lengths differ, or an item lacks everything.
        """
        views = tables_of(views)
        if not views:
            raise ConjoinError("views", "none", "give one or more")
        views = {name: matrix_of(view, f"view {name}") for name, view in views.items()}
        given = mapping_of(present, "present", "give truth values by name of a view")
        present = {name: mask_of(mask, f"present[{name}]") for name, mask in given.items()}
        wanted = tuple(names or views)
        for name in (*views, *present):
            if name not in wanted or (name not in views and name in present):
                raise ConjoinError("view", f"{name!r} is unknown", nearest(name, wanted))
        lengths = {name: len(view) for name, view in views.items()}
        lengths |= {f"present[{name}]": len(mask) for name, mask in present.items()}
        count = next(iter(lengths.values()))
        for name, length in lengths.items():
            if length != count:
                raise ConjoinError(
                    f"view {name}", f"{length} rows for {count} items", "give one row an item"
                )
        here = np.zeros((count, len(wanted)), dtype=bool)
        if not count:
            raise ConjoinError("views", "no rows", "give items")
        for place, name in enumerate(wanted):
            if name in views:
                _check_shape(name, views[name])
                here[:, place] = present.get(name, True)
        lacking = ~here.any(axis=1)
        if lacking.any():
            raise ConjoinError(
                "present", f"{int(lacking.sum())} of {count} items lack every modality "
                f"(the first is row {int(np.argmax(lacking))})", "leave such items out",
            )  # fmt: skip
        return cls({name: views.get(name) for name in wanted}, here)

    @property
    def names(self) -> tuple[str, ...]:
        """The views in order."""
        return tuple(self.views)

    def __len__(self) -> int:
        return len(self.here)

    def dims(self) -> dict[str, int]:
        """Width of each view that is there."""
        return {name: int(v.shape[1]) for name, v in self.views.items() if v is not None}

    def rows(self, name: str, lines: np.ndarray, width: int) -> np.ndarray:
        """A view's rows of these items as float32, zero where absent.

        Raises
        ------
        ConjoinError : a row that is present is not finite, or the width is another.
        """
        own = self.here[lines, self.names.index(name)]
        view = self.views[name]
        if view is None or not own.any():
            return np.zeros((len(lines), width), dtype=np.float32)
        if view.shape[1] != width:
            raise ConjoinError(
                f"view {name}", f"{view.shape[1]} dimensions", f"give vectors of {width}"
            )
        asked = lines if own.all() else lines[own]
        taken = np.array(view[_run(asked)], dtype=np.float32)
        # A sum is finite where all it adds is, but for overflow: only then are rows looked at.
        if not np.isfinite(taken @ np.ones(width, np.float32)).all():
            fine = np.isfinite(taken).all(axis=1)
            if not fine.all():
                row = int(asked[int(np.argmin(fine))])
                raise ConjoinError(
                    f"view {name}", f"row {row} is not finite: it holds NaN or infinity",
                    "fix it, or mark it absent",
                )  # fmt: skip
        if len(asked) == len(lines):
            return taken
        out = np.zeros((len(lines), width), dtype=np.float32)
        out[own] = taken
        return out

    def blocks(self, lines: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Line numbers, so many at a time."""
        every = np.arange(len(self)) if lines is None else lines
        for start in range(0, len(every), BLOCK):
            yield every[start : start + BLOCK]

    def scaler(self, name: str, weight: np.ndarray | None = None) -> Standardise:
        """Mean 0 and spread 1 a column over the rows that are present, whatever its unit.

        A column that holds one value only is moved to 0 and not widened.

        Parameters
        ----------
        weight : ``[n]`` trust in each item.

        Raises
        ------
        ConjoinError : no item has the view, or a row is not finite.
        """
        place, width = self.names.index(name), self.dims().get(name, 0)
        lines = np.flatnonzero(self.here[:, place])
        if not len(lines):
            raise ConjoinError(
                f"view {name}", "present in no training item",
                "leave it out, or give items that have it",
            )  # fmt: skip
        trust = np.ones(len(self)) if weight is None else weight
        origin = np.asarray(self.rows(name, lines[:BLOCK], width), np.float64).mean(axis=0)
        first, second, most = np.zeros(width), np.zeros(width), np.abs(origin)
        for some in self.blocks(lines):
            x = self.rows(name, some, width) - origin
            first += trust[some] @ x
            second += trust[some] @ (x * x)
            most = np.maximum(most, np.abs(x).max(axis=0))
        total = float(trust[lines].sum())
        mean = first / total
        spread = np.sqrt(np.maximum(second / total - mean**2, 0))
        scale = 1 / np.where(spread > STILL * most, spread, 1.0)
        return Standardise((origin + mean).astype(np.float32), scale.astype(np.float32))

    def take(self, lines: np.ndarray) -> "Inputs":
        """These items alone; nothing is read yet."""
        views = {n: None if v is None else Picked(v, lines) for n, v in self.views.items()}
        return Inputs(views, self.here[lines])

    def with_here(self, here: np.ndarray) -> "Inputs":
        """The same rows with fewer of them present."""
        return Inputs(self.views, here & self.here)


def tables_of(views: Any) -> dict[str, Any]:
    """What is given as tables by name.

    Raises
    ------
    ConjoinError : it is ``None`` or no mapping, or a name is no text.
    """
    if views is None:
        raise ConjoinError("views", "is None", "give tables by name")
    return mapping_of(views, "views", "give tables by name")


def absent_rows(view: Any) -> np.ndarray:
    """``[n]`` which rows are NaN throughout, and so stand for none.

    Examples
    --------
    >>> absent_rows(np.array([[1.0, np.nan], [np.nan, np.nan]])).tolist()
    [False, True]
    """
    found = np.zeros(len(view), dtype=bool)
    if getattr(getattr(view, "dtype", None), "kind", "") == "f" and view.shape[1]:
        for start in range(0, len(view), BLOCK):
            found[start : start + BLOCK] = np.isnan(view[start : start + BLOCK]).all(axis=1)
    return found


def _run(lines: np.ndarray) -> Any:
    """Rows that follow each other as a slice, which is read in one piece."""
    if len(lines) and lines[-1] - lines[0] == len(lines) - 1 and (np.diff(lines) == 1).all():
        return slice(int(lines[0]), int(lines[-1]) + 1)
    return lines


def _check_shape(name: str, view: Any) -> None:
    if isinstance(view, Tokens) or getattr(view, "ndim", 0) != 2:
        raise ConjoinError(f"view {name}", "no table of vectors", "give [n, d]; pool token sets")
    if not view.shape[1]:
        raise ConjoinError(f"view {name}", "no columns", "leave it out")
