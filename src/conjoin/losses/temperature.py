"""The one number most contrastive losses train: how sharply scores count."""

import math
from collections.abc import Mapping
from typing import Any

from conjoin.losses.base import Param


def start(temperature: float, learned: bool) -> dict[str, Param]:
    """``log_scale``, the logarithm of the inverse temperature, where it is learned.

    Held between 0 and ``log 100``, or the start where that is beyond.
    """
    if not learned:
        return {}
    first = -math.log(temperature)
    return {"log_scale": Param(first, min(0.0, first), max(math.log(100.0), first))}


def inverse(temperature: float, params: Mapping[str, Any], like: Any) -> Any:
    """The inverse temperature as a scalar of the kind of ``like``: learned where it is trained."""
    import torch

    if "log_scale" in params:
        return params["log_scale"].exp().to(like.dtype)
    return torch.as_tensor(1 / temperature, dtype=like.dtype)
