"""Coordinates of mean 0 and one spread: what a network started at random is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.maps.base import Composable, as_array
from conjoin.spaces import Frame

#: A coordinate is widened as if it spread at least this share of the mean spread: one that hardly
#: moves holds rounding, not content.
LEAST = 0.1


@dataclass(frozen=True, eq=False)
class Standardise(Composable):
    """``y = (x − shift) · scale``, coordinate by coordinate.

    Parameters
    ----------
    shift, scale : ``[d]``; no scale is 0.
    """

    shift: np.ndarray
    scale: np.ndarray
    source: Frame | None = None
    target: Frame | None = None
    name = "standardise"

    @classmethod
    def of(cls, x: np.ndarray) -> "Standardise":
        """The map that gives the rows of ``x`` mean 0 and spread 1 in each coordinate."""
        spread = x.std(axis=0, dtype=np.float64)
        least = LEAST * float(spread.mean()) or 1.0
        shift = x.mean(axis=0, dtype=np.float64)
        scale = 1 / np.maximum(spread, least)
        return cls(shift.astype(np.float32), scale.astype(np.float32))

    def apply(self, x: Any) -> np.ndarray:
        """Map ``[..., d]`` → ``[..., d]``, in the precision of ``x``."""
        x = as_array(x)
        if x.shape[-1] != len(self.shift):
            raise ConjoinError(
                "x", f"has {x.shape[-1]} dimensions", f"give vectors of {len(self.shift)}"
            )
        return (x - self.shift.astype(x.dtype)) * self.scale.astype(x.dtype)

    def tensor(self, x: Any) -> Any:
        """The same on a torch tensor."""
        import torch

        shift, scale = (torch.from_numpy(np.array(part)) for part in (self.shift, self.scale))
        return (x - shift) * scale

    @property
    def inverse(self) -> "Standardise":
        """The map back."""
        return Standardise(-self.shift * self.scale, 1 / self.scale, self.target, self.source)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Its arrays."""
        return {}, {"shift": self.shift, "scale": self.scale}

    @classmethod
    def from_state(
        cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "Standardise":
        """Make a map from :meth:`state`."""
        return cls(arrays["shift"], arrays["scale"])
