"""Heads that were taken to another domain: frozen values that predict, save and load."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from conjoin.maps.base import Affine
from conjoin.spaces.frame import unit
from conjoin.transfer.base import softmax
from conjoin.transfer.heads import Arrays, Classes, Fields, log_softmax, made_again


class Around(Classes):
    """A head around another one: its classes and width, and how it is kept."""

    inner: Any

    @property
    def classes(self) -> np.ndarray:  # type: ignore[override]
        """``[c]``."""
        return np.asarray(self.inner.classes)

    @property
    def width(self) -> int:  # type: ignore[override]
        """Dimensions of the rows it reads."""
        return int(self.inner.width)

    def _inside(self) -> tuple[Fields, Arrays]:
        fields, arrays = self.inner.state()
        held = {f"inner/{key}": value for key, value in arrays.items()}
        return {"of": self.inner.name, "inner": fields}, held


def inner_of(classes: np.ndarray, fields: Fields, arrays: Arrays) -> Any:
    """The head inside, from the state of what is around it."""
    own = {k.removeprefix("inner/"): v for k, v in arrays.items() if k.startswith("inner/")}
    return made_again(fields["of"], classes, fields["inner"], own)


@dataclass(frozen=True, eq=False)
class Moved(Around):
    """A head asked by rows that an affine map first takes to where it was fitted.

    Parameters
    ----------
    inner : the head.
    map : of the target's rows.
    """

    inner: Any
    map: Affine
    name: ClassVar[str] = "moved"

    @property
    def width(self) -> int:  # type: ignore[override]
        """Dimensions of the rows it reads."""
        return len(self.map.shift)

    def _scores(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.inner.scores(self.map.apply(x)))

    def state(self) -> tuple[Fields, Arrays]:
        """The head's, under ``inner/``, and the map's."""
        fields, arrays = self._inside()
        return fields, {**arrays, **self.map.state()[1]}

    @classmethod
    def from_state(cls, classes: np.ndarray, fields: Fields, arrays: Arrays) -> "Moved":
        """Make it from :meth:`state`."""
        own = {k: v for k, v in arrays.items() if "/" not in k}
        return cls(inner_of(classes, fields, arrays), Affine.from_state({}, own))


@dataclass(frozen=True, eq=False)
class Reweighted(Around):
    """A head whose classes count by how common they are in the target: ``scores / T + log w``.

    Parameters
    ----------
    inner : the head.
    weight : ``[c]`` w, the share of each class in the target over that in the source.
    temperature : T.
    """

    inner: Any
    weight: np.ndarray
    temperature: float = 1.0
    name: ClassVar[str] = "reweighted"

    def _scores(self, x: np.ndarray) -> np.ndarray:
        own = log_softmax(np.asarray(self.inner.scores(x)) / self.temperature)
        return own + np.log(np.maximum(self.weight, 1e-12)).astype(own.dtype)

    def state(self) -> tuple[Fields, Arrays]:
        """The head's, under ``inner/``, and the weights."""
        fields, arrays = self._inside()
        return {**fields, "temperature": self.temperature}, {**arrays, "weight": self.weight}

    @classmethod
    def from_state(cls, classes: np.ndarray, fields: Fields, arrays: Arrays) -> "Reweighted":
        """Make it from :meth:`state`."""
        inner = inner_of(classes, fields, arrays)
        return cls(inner, arrays["weight"], float(fields["temperature"]))


@dataclass(frozen=True, eq=False)
class Neighbourly(Around):
    """A head, and what it says of rows nearby: ``scores = log p + λ Σ_{j ∈ kNN(x)} z_j``.

    Parameters
    ----------
    inner : the head.
    anchors : ``[m, d]`` rows of the target, at unit length.
    held : ``[m, c]`` z, what was settled on for each.
    k, weight : neighbours, and λ. A row that is an anchor is no neighbour of its own.
    """

    inner: Any
    anchors: np.ndarray
    held: np.ndarray
    k: int
    weight: float
    name: ClassVar[str] = "neighbourly"

    @property
    def _block(self) -> int:
        return max(1, min(8192, 2**23 // max(1, len(self.anchors))))

    def _scores(self, x: np.ndarray) -> np.ndarray:
        own = log_softmax(np.asarray(self.inner.scores(x)))
        at, real = neighbours(unit(x), self.anchors, self.k)
        near = (self.held[at] * real[:, :, None]).sum(axis=1)
        return own + (self.weight * near).astype(own.dtype)

    def state(self) -> tuple[Fields, Arrays]:
        """The head's, under ``inner/``, and the anchors."""
        fields, arrays = self._inside()
        own = {"anchors": self.anchors, "held": self.held}
        return {**fields, "k": self.k, "weight": self.weight}, {**arrays, **own}

    @classmethod
    def from_state(cls, classes: np.ndarray, fields: Fields, arrays: Arrays) -> "Neighbourly":
        """Make it from :meth:`state`."""
        inner = inner_of(classes, fields, arrays)
        k, weight = int(fields["k"]), float(fields["weight"])
        return cls(inner, arrays["anchors"], arrays["held"], k, weight)


#: Rows nearer than this, by cosine, are the same row.
SAME = 1 - 1e-6


def neighbours(q: np.ndarray, anchors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """``[n, k]`` places of the anchors nearest to each row, and whether each is another row.

    Parameters
    ----------
    q, anchors : rows at unit length.
    """
    near = q.astype(np.float64) @ anchors.astype(np.float64).T
    near[near >= SAME] = -np.inf
    k = min(k, near.shape[1])
    at = np.argpartition(-near, k - 1, axis=1)[:, :k]
    return at, np.isfinite(np.take_along_axis(near, at, axis=1))


def settled(
    inner: Any, x: np.ndarray, k: int, weight: float, steps: int, change: float = 1e-6
) -> np.ndarray:
    """``[n, c]`` where rows that pull at one another settle: ``z = softmax(log p + λ K z)``."""
    own = log_softmax(np.asarray(inner.scores(x), np.float64))
    at, real = neighbours(unit(x), unit(x), k)
    z = softmax(own)
    for _ in range(steps):
        new = softmax(own + weight * (z[at] * real[:, :, None]).sum(axis=1))
        moved, z = float(np.abs(new - z).max()), new
        if moved < change:
            break
    return z
