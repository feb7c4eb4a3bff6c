"""Several maps of the same rows, averaged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.maps.base import Chain, Composable, Normalise
from conjoin.spaces import Frame


@dataclass(frozen=True, eq=False)
class Mix(Composable):
    """``y = Σ_k w_k m_k(x) / |m_k(x)|`` to unit length.

    Parameters
    ----------
    maps : of the same rows into the same space.
    weights : one a map.
    """

    maps: tuple[Any, ...]
    weights: tuple[float, ...]
    source: Frame | None = None
    target: Frame | None = None
    name = "mix"

    @classmethod
    def mean(cls, maps: list[Any]) -> "Mix":
        """All maps with the same weight."""
        return cls(tuple(maps), (1 / len(maps),) * len(maps))

    def apply(self, x: Any) -> np.ndarray:
        """Map on the last axis, in the precision of ``x``."""
        unit = Normalise()
        parts = (w * unit.apply(m.apply(x)) for m, w in zip(self.maps, self.weights, strict=True))
        return unit.apply(sum(parts))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The states of its maps, as a chain's, and their weights."""
        fields, arrays = Chain(self.maps).state()
        return {**fields, "weights": list(self.weights)}, arrays

    @classmethod
    def from_state(cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Mix":
        """Make a map from :meth:`state`."""
        maps = Chain.from_state({"maps": fields["maps"]}, arrays).maps
        return cls(maps, tuple(float(w) for w in fields["weights"]))
