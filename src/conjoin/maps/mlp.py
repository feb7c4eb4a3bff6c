"""A straight path plus a small correction: the fitted map of trained heads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.maps.base import Composable, as_array
from conjoin.spaces import Frame

#: Added to variances before their root is divided by; torch's default, for equal outputs.
EPS = 1e-5

#: Rows mapped at a time, so that the hidden layer never is as long as the space.
BLOCK = 8192


@dataclass(frozen=True, eq=False)
class ResidualMLP(Composable):
    """``y = x W + b + relu(norm(x) W₁ + b₁) W₂``, with ``norm(x) = (x − mean) / √(var + 1e-5)``.

    Mean and variance are over a row's own coordinates. Evaluated without torch.

    Parameters
    ----------
    weight : ``[d_in, d_out]``.
    bias : ``[d_out]``.
    inner : ``[d_in, hidden]``.
    inner_bias : ``[hidden]``.
    outer : ``[hidden, d_out]``; zeros make the map affine.
    unit : bring results to length 1.
    """

    weight: np.ndarray
    bias: np.ndarray
    inner: np.ndarray
    inner_bias: np.ndarray
    outer: np.ndarray
    unit: bool = False
    source: Frame | None = None
    target: Frame | None = None
    name = "residual-mlp"

    def apply(self, x: Any) -> np.ndarray:
        """Map ``[..., d_in]`` → ``[..., d_out]``, in the precision of ``x``."""
        x = as_array(x)
        width = len(self.weight)
        if x.shape[-1] != width:
            raise ConjoinError("x", f"has {x.shape[-1]} dimensions", f"give vectors of {width}")
        flat = x.reshape(-1, width)
        out = np.empty((len(flat), len(self.bias)), flat.dtype)
        held = {key: value.astype(flat.dtype) for key, value in self.state()[1].items()}
        for start in range(0, len(flat), BLOCK):
            out[start : start + BLOCK] = self._block(flat[start : start + BLOCK], held)
        return out.reshape(*x.shape[:-1], len(self.bias))

    def _block(self, x: np.ndarray, held: Mapping[str, np.ndarray]) -> np.ndarray:
        z = x - x.mean(axis=1, keepdims=True)
        z /= np.sqrt((z * z).mean(axis=1, keepdims=True) + EPS)
        hidden = z @ held["inner"]
        hidden += held["inner_bias"]
        np.maximum(hidden, 0, out=hidden)
        y = x @ held["weight"]
        y += held["bias"]
        y += hidden @ held["outer"]
        if self.unit:
            length = np.linalg.norm(y, axis=1, keepdims=True)
            y /= np.where(length > 0, length, 1)
        return y

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Whether it normalises, and its arrays."""
        arrays = ("weight", "bias", "inner", "inner_bias", "outer")
        return {"unit": self.unit}, {key: getattr(self, key) for key in arrays}

    @classmethod
    def from_state(
        cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "ResidualMLP":
        """Make a map from :meth:`state`."""
        return cls(
            np.asarray(arrays["weight"]),
            np.asarray(arrays["bias"]),
            np.asarray(arrays["inner"]),
            np.asarray(arrays["inner_bias"]),
            np.asarray(arrays["outer"]),
            bool(fields["unit"]),
        )


def hidden_part(x: Any, held: Mapping[str, Any], drop: Any = None) -> Any:
    """``relu(norm(x) W₁ + b₁) W₂`` on torch tensors, for training.

    Parameters
    ----------
    held : tensors under the names of :meth:`ResidualMLP.state`.
    drop : factors ``[rows, hidden]`` on the hidden layer, for dropout.
    """
    import torch

    z = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=EPS)
    hidden = torch.addmm(held["inner_bias"], z, held["inner"]).relu()
    return (hidden if drop is None else hidden * drop) @ held["outer"]
