"""What a fusion decides: one of some classes, or a number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, nearest

#: The number of a label that was not there in training.
UNSEEN = -1


@dataclass(frozen=True, eq=False)
class Target:
    """Classes by name, or numbers with mean and spread.

    Parameters
    ----------
    classes : names in order; ``None`` where numbers are decided.
    mean, spread : of the numbers that were trained on.
    prior : ``[C]`` share of each class in training.
    """

    classes: tuple[str, ...] | None
    mean: float = 0.0
    spread: float = 1.0
    prior: tuple[float, ...] = ()

    @classmethod
    def of(cls, labels: Sequence[Any] | np.ndarray, weight: np.ndarray | None = None) -> "Target":
        """From training labels: floats are numbers, everything else is a class.

        Raises
        ------
        ConjoinError : all are the same, hardly any repeats, or a number is not finite.

        Examples
        --------
        >>> Target.of(["cat", "dog", "cat", "dog"]).classes
        ('cat', 'dog')
        """
        values = np.asarray(labels)
        if not len(values):
            raise ConjoinError("labels", "none", "give one an item")
        if values.dtype.kind == "f":
            return cls._numbers(values.astype(np.float64))
        names, owner = np.unique(values.astype(str), return_inverse=True)
        if len(names) < 2:
            raise ConjoinError(
                "labels", f"all {len(values)} are {str(names[0])!r}", "give two classes or more"
            )
        if len(names) > len(values) / 2:
            raise ConjoinError(
                "labels", f"{len(names)} classes for {len(values)} items",
                "give labels that repeat, or numbers as floats",
            )  # fmt: skip
        share = np.bincount(owner, weight, len(names))
        return cls(tuple(map(str, names)), prior=tuple(map(float, share / share.sum())))

    @classmethod
    def _numbers(cls, values: np.ndarray) -> "Target":
        if not np.isfinite(values).all():
            raise ConjoinError(
                "labels", f"row {int(np.argmin(np.isfinite(values)))} is not finite",
                "leave such items out",
            )  # fmt: skip
        with np.errstate(over="ignore"):
            spread = values.std()
        if not np.isfinite(spread):
            raise ConjoinError(
                "labels", f"numbers reach {np.abs(values).max():.0e}, too large to be squared",
                "scale them",
            )  # fmt: skip
        if spread == 0:
            raise ConjoinError(
                "labels", f"all {len(values)} are {values[0]:g}", "give numbers that differ"
            )
        return cls(None, float(values.mean()), float(values.std()))

    @property
    def width(self) -> int:
        """Scores an item."""
        return len(self.classes) if self.classes is not None else 1

    def encode(self, labels: Sequence[Any] | np.ndarray, *, strict: bool = True) -> np.ndarray:
        """Class numbers, or numbers of mean 0 and spread 1.

        Parameters
        ----------
        strict : refuse a class that was not there in training; otherwise it is :data:`UNSEEN`.

        Raises
        ------
        ConjoinError : a label was not there in training.
        """
        values = np.asarray(labels)
        if self.classes is None:
            return ((values.astype(np.float64) - self.mean) / self.spread).astype(np.float32)
        place = {name: at for at, name in enumerate(self.classes)}
        found = np.array([place.get(str(v), UNSEEN) for v in values.tolist()], dtype=np.int64)
        if strict and (found == UNSEEN).any():
            name = str(values[int(np.argmin(found))])
            raise ConjoinError(
                "labels", f"{name!r} was not in training", nearest(name, self.classes)
            )
        return found

    def decode(self, scores: np.ndarray) -> np.ndarray:
        """Scores ``[n, width]`` as class names or numbers ``[n]``."""
        if self.classes is None:
            return scores[:, 0].astype(np.float64) * self.spread + self.mean
        return np.array(self.classes)[scores.argmax(axis=1)]

    def state(self) -> dict[str, Any]:
        """JSON-able fields."""
        classes = None if self.classes is None else list(self.classes)
        return {
            "classes": classes, "mean": self.mean, "spread": self.spread,
            "prior": list(self.prior),
        }  # fmt: skip

    @classmethod
    def from_state(cls, fields: Mapping[str, Any]) -> "Target":
        """Read back :meth:`state`."""
        classes = None if fields["classes"] is None else tuple(fields["classes"])
        return cls(classes, fields["mean"], fields["spread"], tuple(fields["prior"]))
