"""What an adaptation promises, and the source rows it may look at."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.transfer.base import Classifier, check_labels, check_rows
from conjoin.transfer.heads import Linear


@dataclass(frozen=True, eq=False)
class Source:
    """Labelled rows of the domain that a head was fitted in.

    Parameters
    ----------
    x, y : ``[n, d]`` and ``[n]``.
    unseen : ``[n]`` whether the head was not fitted to a row; all are taken for such where not
        given.
    """

    x: np.ndarray
    y: np.ndarray
    unseen: np.ndarray | None = None

    @classmethod
    def of(cls, x: Any, y: Any, unseen: Any = None) -> "Source":
        """Checked rows and labels.

        Raises
        ------
        ConjoinError : a row is not finite, or a label is missing.
        """
        rows = check_rows(x, "source")
        labels = check_labels(y, len(rows), "source labels")
        return cls(rows, labels, None if unseen is None else np.asarray(unseen, bool))

    def fresh(self) -> "Source":
        """The rows that the head was not fitted to."""
        if self.unseen is None or not self.unseen.any():
            return self
        return Source(self.x[self.unseen], self.y[self.unseen])


@runtime_checkable
class Adaptation(Protocol):
    """A frozen dataclass whose fields are hyper-parameters: a head and rows of another domain → a
    head for that domain.

    ``reads`` says what it needs of the source: ``nothing``, ``rows`` or ``labels``. Labels of the
    target are never given.
    """

    reads: ClassVar[str]

    def fit(
        self, fitted: Classifier, x: Any, *, source: Source | None = None, seed: int = 0
    ) -> Classifier:
        """A classifier of the same classes.

        Parameters
        ----------
        fitted : a head fitted to source rows.
        x : ``[n, d]`` rows of the target, in the frame of the source.

        Raises
        ------
        ConjoinError : there are no target rows, they are of another width or not finite, or the
            source that it reads is not given.
        """
        ...


def check_target(fitted: Any, x: Any, fewest: int = 2) -> np.ndarray:
    """The target's rows, or one clear refusal."""
    rows = check_rows(x, "target", getattr(fitted, "width", None))
    if len(rows) < fewest:
        raise ConjoinError("target", f"has {len(rows)} rows", f"give {fewest} or more")
    return rows


def check_source(source: Source | None, dim: int, who: str, *, fewest: int = 2) -> Source:
    """The source's rows, or one clear refusal."""
    if source is None:
        raise ConjoinError(f"adaptation {who}", "reads the source", "give source=Source.of(x, y)")
    check_rows(source.x, "source", dim)
    if len(source.x) < fewest:
        raise ConjoinError("source", f"has {len(source.x)} rows", f"give {fewest} or more")
    return source


def check_linear(fitted: Any, who: str) -> Linear:
    """The head, where it is linear; or a refusal."""
    if not isinstance(fitted, Linear):
        name = getattr(fitted, "name", type(fitted).__name__)
        raise ConjoinError(f"adaptation {who}", f"the head is {name}", "give a linear head")
    return fitted


def shares(fitted: Classifier, x: np.ndarray) -> np.ndarray:
    """``[c]`` the share of rows that a head answers with each class."""
    place = np.searchsorted(fitted.classes, fitted.predict(x))
    return np.bincount(place, minlength=len(fitted.classes)) / max(1, len(x))
