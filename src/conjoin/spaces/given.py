"""What users give, by position: cells, vectors, labels and masks from any holder of values.

Lists, tuples, arrays, pandas and polars Series and frames (by position, whatever the index), torch
and other tensors, Arrow arrays, generators, columns and data sets of Hugging Face. Every public
edge reads its input through these functions, and through no others.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError

#: What can be asked for by position.
Cells = Sequence[Any] | np.ndarray
#: Whole numbers from here on are not written out in errors.
HUGE = 10**20
#: What is one cell, however long it is.
_ONE = (str, bytes, bytearray, memoryview)


def cells_of(values: Any, where: str = "cells", kind: str | None = None) -> Cells:
    """Values one by one, by position and in the order given.

    What can be asked for by position already (a list, an array, a column of a Hugging Face data
    set) is returned as it is and read when it is used; all else is gathered into a list. The first
    axis of an array is the items. A frame of one column is that column; of several, cells of kind
    ``table`` are its rows, as dictionaries.

    Parameters
    ----------
    where : names the argument in errors.
    kind : kind of cells wanted, where it is known.

    Raises
    ------
    ConjoinError : it is one cell (a string, bytes, a dictionary, a number), a set, or a frame of
        several columns for cells that are no rows.

    Examples
    --------
    >>> list(cells_of(word for word in ("a", "b")))
    ['a', 'b']
    >>> cells_of("a red fruit")
    Traceback (most recent call last):
    ...
    conjoin.errors.ConjoinError: cells: is one str; give a list of cells, even of one: [...]
    """
    if isinstance(values, _ONE) or (isinstance(values, Mapping) and not is_frame(values)):
        raise _lone(values, where)
    if isinstance(values, Set):
        raise ConjoinError(where, f"is a {type(values).__name__}", "give them in order: a list")
    if is_frame(values):
        return _frame_cells(values, where, kind)
    values = plain(values)
    if isinstance(values, np.ndarray):
        if values.ndim == 0:
            raise _lone(values, where)
        return values
    if isinstance(values, Sequence):
        return values
    if hasattr(values, "to_pylist"):
        return list(values.to_pylist())
    if not isinstance(values, Iterable) and hasattr(values, "__len__"):
        return _Asked(values) if hasattr(values, "__getitem__") else list(values)
    if not isinstance(values, Iterable):
        raise _lone(values, where)
    return list(values)


def matrix_of(values: Any, where: str) -> Any:
    """Numbers ``[n, d]``, by position; NaN where a frame has no value.

    What is read block by block (a memory map, a stack, token sets) is returned as it is. Columns of
    a frame must be numbers or truth values; an item that is ``None`` in a list or Series of vectors
    is a row of NaN.

    Raises
    ------
    ConjoinError : it is no array of numbers, rows differ in length, or a column holds text.

    Examples
    --------
    >>> matrix_of(([row, 1] for row in range(2)), "views").tolist()
    [[0.0, 1.0], [1.0, 1.0]]
    """
    if is_frame(values):
        return _frame_matrix(values, where)
    if hasattr(values, "tocsr"):
        raise ConjoinError(where, "is sparse", "give vectors [n, d] as an array: x.toarray()")
    values = plain(values)
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        array = values
    elif getattr(values, "ndim", None) == 2 and hasattr(values, "shape"):
        return values  # read block by block
    elif hasattr(values, "vectors") and hasattr(values, "dim"):
        return values  # token sets, and spaces of them
    else:
        array = _gathered(cells_of(values, where), where)
    if array.dtype.kind not in "fiub":
        raise ConjoinError(where, "is not an array of numbers", "give floats [n, d]")
    if array.ndim != 2:
        raise ConjoinError(where, f"has shape {array.shape}", "give vectors [n, d], one an item")
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def labels_of(values: Any, where: str = "labels", count: int | None = None) -> np.ndarray:
    """One label an item ``[n]``, by position: floats are numbers, all else is classes.

    A frame or array of one column is that column.

    Parameters
    ----------
    count : how many there must be.

    Raises
    ------
    ConjoinError : one is missing (``None``, NaN, ``pd.NA``) or infinite, several columns were
        given, one value is no text, number or truth value, types are mixed, or there are more or
        fewer than ``count``.

    Examples
    --------
    >>> labels_of(iter(["cat", "dog"])).tolist()
    ['cat', 'dog']
    """
    cells = cells_of(values, where)
    if isinstance(cells, np.ndarray) and cells.ndim == 2 and cells.shape[1] == 1:
        cells = cells[:, 0]
    if isinstance(cells, np.ndarray) and cells.ndim > 1:
        raise ConjoinError(where, f"has shape {cells.shape}", "give one label an item: [n]")
    if count is not None and len(cells) != count:
        raise ConjoinError(where, f"{len(cells)} for {count} items", "give one an item")
    if isinstance(cells, np.ndarray) and (
        cells.dtype.kind in "iubU" or (cells.dtype.kind == "f" and np.isfinite(cells).all())
    ):
        return cells
    listed = [one.item() if isinstance(one, np.generic) else plain(one) for one in cells]
    gone = [row for row, one in enumerate(listed) if missing(one)]
    if gone:
        said = f"{len(gone)} of {len(listed)} are missing, the first in row {gone[0]}"
        raise ConjoinError(where, said, "leave such items out")
    for row, one in enumerate(listed):
        if isinstance(one, list | tuple | set) or (isinstance(one, np.ndarray) and one.ndim):
            raise ConjoinError(
                where, f"row {row} holds a {type(one).__name__}", "give one label an item: [n]"
            )
    array = _one_type(listed, where, cells)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array)))
        raise ConjoinError(where, f"row {row} is not finite: infinite", "leave such items out")
    return array


def numbers_of(values: Any, where: str) -> tuple[np.ndarray, bool]:
    """Numbers ``[n, k]``, by position, and whether one a row was given as ``[n]``.

    Raises
    ------
    ConjoinError : as :func:`matrix_of` and :func:`labels_of`, or one is no number.

    Examples
    --------
    >>> numbers_of([1, 2], "y")[0].tolist(), numbers_of([[1.0, 2.0]], "y")[1]
    ([[1.0], [2.0]], False)
    """
    cells = None if is_frame(values) else cells_of(values, where)
    several = isinstance(cells, np.ndarray) and cells.ndim > 1
    flat = cells is not None and not several and not any(map(_several, cells[:1]))
    if flat:
        array = labels_of(cells, where)[:, None]
    else:
        array = matrix_of(values if cells is None else cells, where)
    if array.dtype.kind not in "fiub":
        raise ConjoinError(where, "is not numbers", "give numbers, or name a classifier")
    return (array if array.dtype.kind == "f" else array.astype(np.float64)), flat


def mask_of(values: Any, where: str, count: int | None = None) -> np.ndarray:
    """Truth values ``[n]``, by position.

    Raises
    ------
    ConjoinError : one is missing, they are not truth values (or 0 and 1), or there are more or
        fewer than ``count``.

    Examples
    --------
    >>> mask_of([1, 0], "held").tolist()
    [True, False]
    """
    array = labels_of(values, where, count)
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
        raise ConjoinError(where, "is not truth values", "give True or False an item")
    return array.astype(bool)


def frame_columns(frame: Any, where: str = "frame") -> dict[str, Any]:
    """Columns of a table in memory by name: a mapping, a frame, an Arrow table, a data set.

    Values are by position; names are strings.

    Raises
    ------
    ConjoinError : it is no table, or two columns share a name.
    """
    if isinstance(frame, Mapping):
        if any(hasattr(one, "column_names") for one in frame.values()):
            splits = ", ".join(map(str, frame))
            raise ConjoinError(where, f"holds several splits ({splits})", "give one of them")
        pairs = [(name, cells_of(values, f"{where}, column {str(name)!r}"))
                 for name, values in frame.items()]  # fmt: skip
    elif is_frame(frame) and not hasattr(frame, "__len__"):  # rows that come one by one
        rows = list(frame)
        pairs = [(name, [row.get(name) for row in rows]) for name in _names(frame)]
    elif is_frame(frame):
        pairs = [(name, _column(frame, place)) for place, name in enumerate(_names(frame))]
    else:
        raise ConjoinError(
            where, f"is a {type(frame).__name__}",
            "give a DataFrame, a pyarrow Table, a data set or a mapping of columns",
        )  # fmt: skip
    names = [str(name) for name, _ in pairs]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise ConjoinError(where, f"two columns share a name, {twice!r}", "rename one of them")
    return dict(zip(names, (values for _, values in pairs), strict=True))


def row_numbers(values: Any, where: str) -> np.ndarray:
    """Whole numbers ``[n]``, by position.

    Raises
    ------
    ConjoinError : one is missing or no whole number.

    Examples
    --------
    >>> row_numbers(iter([0, 2]), "rows").tolist()
    [0, 2]
    """
    array = labels_of(values, where)
    if len(array) and array.dtype.kind not in "iu":
        raise ConjoinError(where, "is not row numbers", "give whole numbers, one a line")
    return array.astype(np.int64)


def trust_of(values: Any, where: str, count: int) -> np.ndarray:
    """What each item counts ``[n]``, above 0; 1 where nothing is given.

    Raises
    ------
    ConjoinError : there are more or fewer than ``count``, or one is no number above 0.

    Examples
    --------
    >>> trust_of(iter([2, 1]), "weight", 2).tolist(), trust_of(None, "weight", 2).tolist()
    ([2.0, 1.0], [1.0, 1.0])
    """
    if values is None:
        return np.ones(count)
    array = labels_of(values, where, count)
    if array.dtype.kind not in "fiub":
        raise ConjoinError(where, "is not numbers", "give a number above 0 an item")
    array = array.astype(np.float64)
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ConjoinError(where, "one is not above 0", "leave that item out instead")
    return array


def mapping_of(values: Any, where: str, remedy: str = "give a mapping by name") -> dict[str, Any]:
    """What is given by name, in its order; nothing for ``None``.

    Raises
    ------
    ConjoinError : it is no mapping, or a name is no text.

    Examples
    --------
    >>> mapping_of(None, "params"), mapping_of({"lam": 1.0}, "params")
    ({}, {'lam': 1.0})
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ConjoinError(where, f"is a {type(values).__name__}", remedy)
    odd = next((name for name in values if not isinstance(name, str)), None)
    if odd is not None:
        raise ConjoinError(where, f"the name {odd!r} is a {type(odd).__name__}", "name it by text")
    return dict(values)


def names_of(values: Any, where: str) -> list[str]:
    """Names, in the order given.

    Raises
    ------
    ConjoinError : one is no text, or it is one text and no list.
    """
    names = list(cells_of(values, where))
    for row, name in enumerate(names):
        if not isinstance(name, str):
            found = f"entry {row} is a {type(name).__name__}"
            raise ConjoinError(where, found, "give a list of names")
    return [str(name) for name in names]


def instance_of(value: Any, kind: type, where: str, remedy: str) -> Any:
    """The value, which must be of one class.

    Raises
    ------
    ConjoinError : it is of another.
    """
    if isinstance(value, kind):
        return value
    found = "is None" if value is None else f"is a {type(value).__name__}"
    raise ConjoinError(where, found, remedy)


def whole_number(value: Any, where: str, least: int = 0, most: int = 2**32 - 1) -> int:
    """One whole number in a range; that of seeds by default.

    Raises
    ------
    ConjoinError : it is of another type or out of the range.

    Examples
    --------
    >>> whole_number(np.int64(3), "seed")
    3
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        found = "is None" if value is None else f"is a {type(value).__name__}"
        raise ConjoinError(where, found, "give a whole number")
    number = int(value)
    if not least <= number <= most:
        said = str(number) if abs(number) < HUGE else "a number of many digits"
        raise ConjoinError(where, f"{said} is out of range", f"give {least} to {most}")
    return number


def name_of(value: Any, where: str) -> str:
    """One name.

    Raises
    ------
    ConjoinError : it is no text.
    """
    return str(instance_of(value, str, where, "give a name"))


def path_of(value: Any, where: str = "path") -> Path:
    """A path, given as one or as text.

    Raises
    ------
    ConjoinError : it is neither.
    """
    if not isinstance(value, str | PathLike):
        found = "is None" if value is None else f"is a {type(value).__name__}"
        raise ConjoinError(where, found, "give a path")
    return Path(value)


def budget_of(value: Any, where: str = "budget") -> float | None:
    """Units of work, 0 or more; ``None`` for no end.

    Raises
    ------
    ConjoinError : it is no number, NaN, or below 0.
    """
    if value is None:
        return None
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number:
        raise ConjoinError(where, f"is a {type(value).__name__}", "give a number of units, or None")
    if not 0 <= value <= np.finfo(np.float64).max:
        raise ConjoinError(where, "is out of range", "give 0 or more, or None for no end")
    return float(value)


@contextmanager
def one_line(where: str, remedy: str = "give arrays of finite numbers") -> Iterator[None]:
    """Say in one line of ours what another library refuses of an input.

    Parameters
    ----------
    remedy : what to do about it.

    Raises
    ------
    ConjoinError : an error of a value, type, attribute or place came from within.
    """
    try:
        yield
    except ConjoinError:
        raise
    except (ValueError, TypeError, OverflowError, AttributeError, IndexError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        # scikit-learn's checks ask for a TypeError where a value is of another type.
        kind = _OfAnotherType if isinstance(error, TypeError) else ConjoinError
        raise kind(where, said, remedy) from error


def is_frame(values: Any) -> bool:
    """Whether it is a table of named columns: pandas, polars, Arrow or Hugging Face."""
    named = getattr(values, "columns", None) is not None and not callable(values.columns)
    return (named and hasattr(values, "__getitem__")) or hasattr(values, "column_names")


def plain(values: Any) -> Any:
    """A tensor or Series as the array or list it holds; other things as they are."""
    if hasattr(values, "detach") and hasattr(values, "cpu"):  # torch
        values = values.detach().cpu()
        if getattr(values, "layout", None) is not None and values.is_sparse:
            values = values.to_dense()
        return (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
    if isinstance(values, np.matrix):
        return np.asarray(values)
    if isinstance(values, np.ma.MaskedArray):
        return np.where(values.mask, np.nan, values.data) if values.mask.any() else values.data
    if hasattr(values, "iloc") and hasattr(values, "dtype"):  # an index is no position
        known = getattr(values.dtype, "kind", "O") in "fiub" and type(values.dtype).__module__
        return values.to_numpy() if known == "numpy.dtypes" else list(values)
    if isinstance(values, np.ndarray | Sequence):
        return values
    if hasattr(values, "__array__") and hasattr(values, "ndim") and hasattr(values, "device"):
        return np.asarray(values)
    return values


def missing(value: Any) -> bool:
    """Whether a value stands for none: ``None``, NaN, or one of pandas' own."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


class _OfAnotherType(ConjoinError, TypeError):
    """A value that is no number at all."""


class _Asked(Sequence[Any]):
    """A holder that has a length and gives by position, as a sequence."""

    def __init__(self, held: Any):
        self._held = held

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        return self._held[place]


class _Rows(Sequence[Any]):
    """Rows of some columns, each a dictionary."""

    def __init__(self, columns: Mapping[str, Any]):
        self._columns = columns

    def __len__(self) -> int:
        return min(map(len, self._columns.values()), default=0)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        return {
            name: None if missing(values[place]) else values[place]
            for name, values in self._columns.items()
        }


def _several(value: Any) -> bool:
    return isinstance(value, list | tuple) or bool(getattr(value, "ndim", 0))


def _lone(values: Any, where: str) -> ConjoinError:
    found = "is None" if values is None else f"is one {type(values).__name__}"
    return ConjoinError(where, found, "give a list of cells, even of one: [...]")


def _names(frame: Any) -> list[Any]:
    return list(frame.column_names if hasattr(frame, "column_names") else frame.columns)


def _column(frame: Any, place: int) -> Any:
    if hasattr(frame, "iloc"):
        return list(frame.iloc[:, place])
    name = _names(frame)[place]
    return cells_of(frame[name], f"column {str(name)!r}")


def _frame_cells(frame: Any, where: str, kind: str | None) -> Cells:
    columns = frame_columns(frame, where)
    if kind == "table":
        return _Rows(columns)
    if len(columns) != 1:
        names = ", ".join(map(repr, list(columns)[:6]))
        raise ConjoinError(where, f"has {len(columns)} columns ({names})", "give one of them")
    return next(iter(columns.values()))


def _frame_matrix(frame: Any, where: str) -> np.ndarray:
    whole = frame.to_numpy() if hasattr(frame, "iloc") else np.empty(0)
    if whole.size and whole.dtype.kind in "fiub":
        return matrix_of(whole, where)
    columns = frame_columns(frame, where)
    if not columns:
        raise ConjoinError(where, "has no columns", "give vectors [n, d], one an item")
    found = []
    for name, values in columns.items():
        listed = [np.nan if missing(one) else plain(one) for one in values]
        array = np.asarray(listed) if all(np.ndim(one) == 0 for one in listed) else None
        if array is None or array.dtype.kind not in "fiub":
            raise ConjoinError(
                where, f"column {name!r} is not numbers", "drop it, or encode it as numbers"
            )
        found.append(array.astype(np.float64))
    return np.stack(found, axis=1)


def _gathered(cells: Cells, where: str) -> np.ndarray:
    """A list of vectors as one array; a missing one is a row of NaN."""
    rows = [plain(one) for one in cells]
    lengths = {len(one) for one in rows if np.ndim(one) == 1}
    if len(lengths) > 1:
        raise ConjoinError(
            where, f"rows of {min(lengths)} to {max(lengths)} numbers",
            "give each item a vector of one length",
        )  # fmt: skip
    if lengths and any(one is None or missing(one) for one in rows):
        gap = np.full(max(lengths), np.nan)
        rows = [gap if missing(one) else one for one in rows]
    try:
        array = np.asarray(rows)
        if array.dtype.kind == "O" and array.ndim == 2:  # a value is None, or an integer is huge
            filled = [np.nan if missing(one) else one for one in array.ravel()]
            array = np.array(filled, dtype=np.float64).reshape(array.shape)
        return array
    except (TypeError, ValueError, OverflowError):
        raise ConjoinError(where, "is not an array of numbers", "give floats [n, d]") from None


def _one_type(listed: list[Any], where: str, cells: Any) -> np.ndarray:
    """An array of labels that are all text, all numbers or all truth values."""
    names = {_family(one) for one in listed}
    if len(names) > 1:
        raise ConjoinError(
            where, f"mixes types ({', '.join(sorted(names))})", "give labels of one type"
        )
    if isinstance(cells, np.ndarray) and cells.dtype.kind == "f":
        return cells
    if names - {"text", "number", "truth", "date"}:
        raise ConjoinError(where, f"holds a {names.pop()}", "give texts, numbers or truth values")
    array = np.asarray(listed) if names != {"date"} else np.array([str(one) for one in listed])
    # Integers beyond 64 bits are names, not amounts.
    return np.array([str(one) for one in listed]) if array.dtype.kind == "O" else array


def _family(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "truth"
    if isinstance(value, int | float | np.number):
        return "number"
    return "date" if hasattr(value, "isoformat") else type(value).__name__
