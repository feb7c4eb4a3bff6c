"""Queries of a batch as the rows of one space."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from conjoin.spaces import Space, Tokens


def stacked(spaces: Sequence[Space]) -> Space:
    """Queries of one row each as one space."""
    if len(spaces) == 1:
        return spaces[0]
    ids = np.arange(len(spaces)).astype(str)
    first: Any = spaces[0].vectors
    if hasattr(first, "offsets"):
        flat = [np.asarray(space.vectors.vectors) for space in spaces]  # type: ignore[union-attr]
        ends = np.cumsum([0, *map(len, flat)])
        return Space(ids, Tokens(np.concatenate(flat), ends), spaces[0].frame)
    return Space(ids, np.concatenate([np.asarray(s.vectors) for s in spaces]), spaces[0].frame)
