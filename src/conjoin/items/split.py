"""Which items are for fitting and which for judging."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.items.cells import is_missing
from conjoin.storage.digest import stable_hash

_TRAIN = ("train", "training", "val", "valid", "validation", "dev")
_TEST = ("test", "testing")


@dataclass(frozen=True, eq=False)
class Split:
    """Item ids on either side; no group is on both.

    Parameters
    ----------
    train : ids for fitting (validation is taken from these).
    test : ids looked at only to judge.
    """

    train: np.ndarray
    test: np.ndarray

    def is_test(self, ids: np.ndarray) -> np.ndarray:
        """``[n]`` booleans: which of these ids are for judging."""
        return np.isin(np.asarray(ids).astype(str), self.test)

    def is_train(self, ids: np.ndarray) -> np.ndarray:
        """``[n]`` booleans: which of these ids are for fitting."""
        return np.isin(np.asarray(ids).astype(str), self.train)


def make_split(
    ids: Sequence[str] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    *,
    test: float | int,
    seed: int,
) -> Split:
    """Hold out whole groups, as near as they allow to the number of items asked for.

    Groups are walked in the order of a hash of ``seed`` and their name, and taken while that
    brings the count nearer to the aim. The order of the rows does not matter; since adding items
    never changes the order of the groups, nearly all old items keep their side.

    Parameters
    ----------
    groups : the group of each id, items that are linked in any way having been merged.
    test : share of the items in (0, 1), or their number.

    Raises
    ------
    ConjoinError : ``test`` is out of range, or there is one group only.
    """
    names = np.asarray(ids).astype(str)
    aim = _aim(test, len(names))
    values, inverse, sizes = np.unique(
        np.asarray(groups).astype(str), return_inverse=True, return_counts=True
    )
    if len(values) < 2:
        raise ConjoinError(
            "[split]", f"all {len(names)} items are linked into one group",
            "name another group column, or fix the pairs tables",
        )  # fmt: skip
    ranks = [stable_hash(f"{seed}:{value}") for value in values]
    taken = _take(sizes[np.argsort(ranks)], aim)
    held = np.zeros(len(values), dtype=bool)
    held[np.argsort(ranks)[taken]] = True
    test_rows = held[inverse]
    return Split(names[~test_rows], names[test_rows])


def _aim(test: float | int, count: int) -> int:
    if isinstance(test, float) and 0 < test < 1:
        return max(1, round(test * count))
    if isinstance(test, int | np.integer) and not isinstance(test, bool) and test >= 1:
        if test >= count:
            raise ConjoinError(
                "[split] test", f"{test} of {count} items leaves none to fit on", "give fewer"
            )
        return int(test)
    raise ConjoinError(
        "[split] test", f"{test!r}", "give a share between 0 and 1, or a number of items"
    )


def _take(sizes: np.ndarray, aim: int) -> list[int]:
    """Places of the groups to take, walked in order; never all, never none."""
    taken: list[int] = []
    count = 0
    for place, size in enumerate(sizes):
        nearer = abs(count + size - aim) < aim - count
        if nearer and len(taken) < len(sizes) - 1:
            taken.append(place)
            count += int(size)
        if count >= aim:
            break
    return taken or [int(np.argmin(sizes))]


def column_split(
    ids: Sequence[str] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    values: Sequence[Any],
    where: str,
) -> Split:
    """The split a column gives: ``test`` is held out, ``train`` and ``val`` are fitted on.

    Parameters
    ----------
    where : names the column in errors.

    Raises
    ------
    ConjoinError : a value is something else or missing, a side is empty, or a group is on both.
    """
    names = np.asarray(ids).astype(str)
    sides = np.array(
        [_side(value, name, where) for value, name in zip(values, names.tolist(), strict=True)]
    )
    for side, word in ((True, "test"), (False, "train")):
        if not (sides == side).any():
            raise ConjoinError(where, f"no item is {word}", f"mark some items {word}")
    labels = np.asarray(groups).astype(str)
    both = np.intersect1d(labels[sides], labels[~sides])
    if len(both):
        torn = str(both[0])
        inside = ", ".join(names[labels == torn][:4])
        raise ConjoinError(
            where, f"linked items are on both sides (group {torn!r}: {inside})",
            "put a whole group on one side, or drop the group or the lines that link them",
        )  # fmt: skip
    return Split(names[~sides], names[sides])


def _side(value: Any, item: str, where: str) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if isinstance(word, str) and word in _TEST:
        return True
    if isinstance(word, str) and word in _TRAIN:
        return False
    found = "nothing" if is_missing(value) else repr(value)
    raise ConjoinError(where, f"item {item!r} has {found}", "write train, val or test")
