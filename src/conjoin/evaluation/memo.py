"""Work that every arm of a task shares, done once."""

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import TypeVar, TypeVarTuple

import numpy as np

from conjoin.evaluation.benchmark import Setting
from conjoin.storage.digest import digest

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def once(most: int) -> Callable[[Callable[[Setting, *Ts], T]], Callable[[Setting, *Ts], T]]:
    """Remember what a function made of its last settings, so that every arm is asked the same.

    Two settings are the same when data, training lines and held-out lines are; the other
    arguments must be hashable.

    Parameters
    ----------
    most : results held; the longest unused goes first.
    """

    def keeping(make: Callable[[Setting, *Ts], T]) -> Callable[[Setting, *Ts], T]:
        held: OrderedDict[object, T] = OrderedDict()

        @wraps(make)
        def asked(setting: Setting, *rest: *Ts) -> T:
            key = (cut_of(setting), rest)
            if key not in held:
                held[key] = make(setting, *rest)
            held.move_to_end(key)
            while len(held) > most:
                held.popitem(last=False)
            return held[key]

        return asked

    return keeping


def cut_of(setting: Setting) -> str:
    """What a setting is cut from, and where."""
    lines = [np.ascontiguousarray(p.rows).tobytes() for p in (setting.train, setting.bed.test)]
    return digest([setting.bench.digest, [digest(line) for line in lines]])
