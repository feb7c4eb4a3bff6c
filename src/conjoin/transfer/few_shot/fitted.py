"""Fitted heads for a few labels: a network beside the rows, and evidence."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from conjoin.spaces.frame import unit
from conjoin.transfer.heads import Arrays, Classes, Fields, Linear


@dataclass(frozen=True, eq=False)
class Adapted(Classes):
    """Names asked by rows that a small network changes: see
    :class:`~conjoin.transfer.few_shot.names.FeatureAdapter`.

    Parameters
    ----------
    names : ``[c, d]`` at unit length.
    down, up : ``[d, h]`` and ``[h, d]``.
    blend, scale : the network's share, and inverse temperature.
    """

    classes: np.ndarray
    names: np.ndarray
    down: np.ndarray
    up: np.ndarray
    blend: float
    scale: float
    name: ClassVar[str] = "adapted"

    @property
    def width(self) -> int:  # type: ignore[override]
        """Dimensions of the rows it reads."""
        return int(self.names.shape[1])

    def _scores(self, x: np.ndarray) -> np.ndarray:
        q = unit(x)
        beside = np.maximum(np.maximum(q @ self.down.astype(q.dtype), 0) @ self.up, 0)
        f = unit((self.blend * beside + (1 - self.blend) * q).astype(q.dtype))
        return self.scale * (f @ self.names.T.astype(q.dtype))

    def state(self) -> tuple[Fields, Arrays]:
        """Its numbers and arrays."""
        arrays = {"names": self.names, "down": self.down, "up": self.up}
        return {"blend": self.blend, "scale": self.scale}, arrays

    @classmethod
    def from_state(cls, classes: np.ndarray, fields: Fields, arrays: Arrays) -> "Adapted":
        """Make it from :meth:`state`."""
        return cls(
            classes, arrays["names"], arrays["down"], arrays["up"], float(fields["blend"]),
            float(fields["scale"]),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Evidence(Classes):
    """A Dirichlet over the classes: ``softplus`` of a linear head, and 1.

    Parameters
    ----------
    head : whose scores are evidence before the softplus.
    """

    head: Linear
    name: ClassVar[str] = "evidence"

    @property
    def classes(self) -> np.ndarray:  # type: ignore[override]
        """``[c]``."""
        return self.head.classes

    @property
    def width(self) -> int:  # type: ignore[override]
        """Dimensions of the rows it reads."""
        return self.head.width

    def _scores(self, x: np.ndarray) -> np.ndarray:
        z = self.head._scores(x)
        return np.log(np.logaddexp(0, z) + 1)

    def unsure(self, x: Any) -> np.ndarray:
        """``[n]`` ``C/S``: 1 where there is no evidence at all, near 0 where there is much."""
        return len(self.classes) / np.exp(self.scores(x)).sum(axis=1)

    def state(self) -> tuple[Fields, Arrays]:
        """Those of the linear head."""
        return self.head.state()

    @classmethod
    def from_state(cls, classes: np.ndarray, fields: Fields, arrays: Arrays) -> "Evidence":
        """Make it from :meth:`state`."""
        return cls(Linear.from_state(classes, fields, arrays))
