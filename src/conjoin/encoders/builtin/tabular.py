"""Rows of numbers and categories."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.base import CellError
from conjoin.encoders.names import uri
from conjoin.encoders.options import Options
from conjoin.errors import ConjoinError
from conjoin.spaces import Frame

#: Rows looked at when preparing: the first so many.
SEEN = 100_000
_KNOTS = 33
_UNSEEN = Frame("encoder-unprepared", 0)


class Tabular:
    """A row's numbers on the scale of their column, its categories one-hot, gaps marked.

    A numeric column gives: (x − median) / scale, clipped to ±8, scale being the interquartile
    range over 1.349; the value's place among the column's quantiles, −1 to 1; and whether it is
    missing. Columns of positive numbers that are less skewed in logarithm are taken so. Another
    column gives one place a frequent value, one for every other, one for missing, each worth
    1/√2, so that two rows that differ there are at distance 1. Columns are those of the rows
    seen at preparing; later ones are not read.

    Options: ``values`` (64), places for values of a category column.

    Source: Weinberger et al. 2009 for the shared place of rare values.
    """

    kind, batch_size, runtime = "table", 256, "numpy"

    def __init__(
        self,
        values: int = 64,
        columns: Sequence[Mapping[str, Any]] = (),
        address: str = "builtin:table",
    ):
        self.uri, self._values, self._columns = address, values, [dict(c) for c in columns]
        dim = sum(_width(column) for column in self._columns)
        recipe = {"method": "table 1", "columns": self._columns}
        self.frame = Frame.mint("encoder", "table", dim, recipe) if self._columns else _UNSEEN

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "Tabular":
        """Open by URI."""
        given = Options("builtin:table", options, ("values",))
        return cls(given.whole("values", 64, 1, 65536), address=uri("builtin", "table", options))

    def prepare(self, cells: Iterable[Any]) -> "Tabular":
        """Learn each column's scale or values from the first rows."""
        seen: dict[str, list[Any]] = {}
        rows = 0
        for cell in cells:
            if isinstance(cell, Mapping):
                for name, value in cell.items():
                    seen.setdefault(str(name), []).append(value)
                rows += 1
            if rows >= SEEN:
                break
        learnt = [_learn(name, seen[name], self._values) for name in sorted(seen)]
        columns = [column for column in learnt if column is not None]
        if not columns:
            raise ConjoinError(self.uri, "no column holds a value", "name columns that do")
        return Tabular(self._values, columns, self.uri)

    def state(self) -> dict[str, Any]:
        """What was learnt of each column."""
        return {"columns": self._columns} if self._columns else {}

    def from_state(self, state: Mapping[str, Any]) -> "Tabular":
        """With what was learnt earlier."""
        return Tabular(self._values, state["columns"], self.uri)

    def decode(self, cell: Any) -> np.ndarray:
        """A row as numbers."""
        if not isinstance(cell, Mapping):
            raise CellError(f"a {type(cell).__name__} where column names and values were expected")
        parts = [_encode(column, cell.get(column["name"])) for column in self._columns]
        if all(_missing(cell.get(column["name"])) for column in self._columns):
            raise CellError("every column is missing")
        return np.concatenate(parts)

    def length(self, item: np.ndarray) -> int:
        """All rows cost the same."""
        return 1

    def forward(self, items: Sequence[np.ndarray]) -> np.ndarray:
        """Rows → ``[n, d]``."""
        return np.stack(items).astype(np.float32)


def _missing(value: Any) -> bool:
    if value is None or (isinstance(value, str) and not value.strip()):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return None
    return float(value) if math.isfinite(value) else None


def _learn(name: str, values: list[Any], cap: int) -> dict[str, Any] | None:
    present = [value for value in values if not _missing(value)]
    if not present:
        return None
    numbers = [_number(value) for value in present]
    found = np.array([n for n in numbers if n is not None])
    if len(found) and len(found) == len(present):
        return _learn_numbers(name, found)
    counts = Counter(_word(value) for value in present)
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:cap]
    return {"name": name, "values": sorted(frequent)}


def _learn_numbers(name: str, found: np.ndarray) -> dict[str, Any]:
    log = bool(found.min() > 0 and len(found) > 2 and _skew(np.log(found)) < 0.5 * _skew(found))
    found = np.log(found) if log else found
    low, middle, high = np.quantile(found, [0.25, 0.5, 0.75])
    scale = (high - low) / 1.349 or float(found.std()) or 1.0
    knots = np.quantile(found, np.linspace(0, 1, _KNOTS))
    return {
        "name": name, "log": log, "middle": float(middle), "scale": float(scale),
        "knots": [float(k) for k in knots],
    }  # fmt: skip


def _skew(x: np.ndarray) -> float:
    spread = x.std()
    return abs(float((((x - x.mean()) / spread) ** 3).mean())) if spread > 0 else 0.0


def _width(column: Mapping[str, Any]) -> int:
    return len(column["values"]) + 2 if "values" in column else 3


def _word(value: Any) -> str:
    number = _number(value)
    if number is not None and number == int(number):
        return str(int(number))
    return str(value).strip()


def _encode(column: Mapping[str, Any], value: Any) -> np.ndarray:
    out = np.zeros(_width(column))
    if "values" in column:
        known = column["values"]
        word = _word(value) if not _missing(value) else None
        place = -1 if word is None else known.index(word) if word in known else -2
        out[place] = math.sqrt(0.5)
        return out
    number = None if _missing(value) else _number(value)
    if number is None or (column["log"] and number <= 0):
        out[2] = 1.0
        return out
    number = math.log(number) if column["log"] else number
    out[0] = np.clip((number - column["middle"]) / column["scale"], -8, 8)
    out[1] = _place(number, column["knots"])
    return out


def _place(number: float, knots: Sequence[float]) -> float:
    """Where a number stands among the quantiles, −1 to 1; the middle of a run of equal ones."""
    top = len(knots) - 1
    grid = np.arange(top + 1)
    left = np.searchsorted(knots, number, "left")
    right = np.searchsorted(knots, number, "right")
    rank = (left + right - 1) / 2 if right > left else float(np.interp(number, knots, grid))
    return 2 * rank / top - 1 if top else 0.0
