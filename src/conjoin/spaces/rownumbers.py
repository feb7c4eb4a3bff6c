"""Rows told apart by item and part, whole columns at a time."""

import numpy as np
import pyarrow as pa


def item_numbers(*ids: np.ndarray) -> list[np.ndarray]:
    """For each list of ids, a number an id: equal where the ids are, over all lists.

    Numbers count the ids from 0 in the order in which they first come.

    Examples
    --------
    >>> [found.tolist() for found in item_numbers(np.array(["b", "a", "b"]), np.array(["a"]))]
    [[0, 1, 0], [1]]
    """
    lists = [np.asarray(held).tolist() for held in ids]
    every = pa.array([item for held in lists for item in held], pa.large_string())
    numbers = every.dictionary_encode().indices.to_numpy().astype(np.int64)
    return np.split(numbers, np.cumsum([len(held) for held in lists])[:-1])


def row_numbers(items: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """One number a row: equal where item and part are. ``items`` as :func:`item_numbers`."""
    return (items << 32) + np.asarray(parts, dtype=np.int64)


def places(wanted: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Where each wanted number lies among distinct held ones; -1 where it does not.

    Examples
    --------
    >>> places(np.array([7, 5, 6]), np.array([6, 7])).tolist()
    [1, -1, 0]
    """
    if not len(held):
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(held, kind="stable")
    at = np.minimum(np.searchsorted(held, wanted, sorter=order), len(held) - 1)
    found = order[at]
    return np.where(held[found] == wanted, found, -1)
