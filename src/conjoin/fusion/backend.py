"""The few operations in which NumPy and torch differ: a forward pass is written once for both."""

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Added to variances before their root is divided by.
EPS = 1e-5
#: What is added to the scores of what is absent.
NEVER = -1e9


class NumpyOps:
    """For fitted networks: torch is not needed."""

    relu = staticmethod(lambda x: np.maximum(x, 0))
    exp = staticmethod(np.exp)
    tanh = staticmethod(np.tanh)
    sqrt = staticmethod(np.sqrt)
    where = staticmethod(np.where)
    stack = staticmethod(np.stack)
    concat = staticmethod(np.concatenate)
    broadcast = staticmethod(np.broadcast_to)

    @staticmethod
    def amax(x: np.ndarray) -> np.ndarray:
        """Largest on the last axis, which is kept."""
        return x.max(axis=-1, keepdims=True)

    @staticmethod
    def floats(mask: np.ndarray) -> np.ndarray:
        """Booleans as 0 and 1."""
        return mask.astype(np.float32)


class TorchOps:
    """For training."""

    def __init__(self) -> None:
        import torch

        self.exp, self.tanh, self.sqrt = torch.exp, torch.tanh, torch.sqrt
        self.relu, self.stack = torch.relu, torch.stack
        self.concat, self.broadcast = torch.concatenate, torch.broadcast_to
        self._where = torch.where
        self._as = torch.as_tensor

    def where(self, mask: Any, x: Any, y: Any) -> Any:
        """One or the other."""
        return self._where(mask, x, y)

    @staticmethod
    def amax(x: Any) -> Any:
        """Largest on the last axis, which is kept."""
        return x.amax(dim=-1, keepdim=True)

    @staticmethod
    def floats(mask: Any) -> Any:
        """Booleans as 0 and 1."""
        return mask.float()


def softmax(ops: Any, scores: Any, mask: Any = None) -> Any:
    """Shares on the last axis; those masked out get none, and a row without any gets zeros."""
    if mask is not None:
        scores = ops.where(mask, scores, ops.floats(mask) + NEVER)
    shares = ops.exp(scores - ops.amax(scores))
    if mask is not None:
        shares = shares * ops.floats(mask)
    return shares / (shares.sum(axis=-1, keepdims=True) + 1e-30)


def layer_norm(x: Any, gain: Any, bias: Any, ops: Any) -> Any:
    """``(x − mean) / √(var + 1e-5) · gain + bias`` on the last axis."""
    z = x - x.mean(axis=-1, keepdims=True)
    return z / ops.sqrt((z * z).mean(axis=-1, keepdims=True) + EPS) * gain + bias


def mean_of(ops: Any, columns: Sequence[Any], here: Any) -> Any:
    """Mean over the views that are present of ``[b, …]`` each: ``here`` is ``[b, views]``."""
    total = 0.0
    for place, column in enumerate(columns):
        mask = ops.floats(here[:, place])
        total = total + column * mask.reshape(-1, *[1] * (column.ndim - 1))
    count = ops.floats(here).sum(axis=1)
    return total / count.reshape(-1, *[1] * (columns[0].ndim - 1))
