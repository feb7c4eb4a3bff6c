"""What a head and a student promise, and the class prototypes a head may be given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.maps.base import Map
from conjoin.spaces.frame import unit
from conjoin.spaces.given import instance_of, labels_of, matrix_of, numbers_of, one_line, trust_of


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Vectors that stand for classes: their names, prompts or attributes as another encoder sees
    them, in the frame of the rows they are compared with.

    Parameters
    ----------
    labels : ``[p]`` the class of each; one class may have several, and two classes may share one.
    vectors : ``[p, d]``.

    Raises
    ------
    ConjoinError : lengths differ, there are none, or one is not finite.

    Examples
    --------
    >>> names = Prototypes.of({"cat": [[1.0, 0.0]], "dog": [[0.0, 2.0], [1.0, 1.0]]})
    >>> names.means(np.array(["dog"])).round(2)
    array([[0.38, 0.92]])
    """

    labels: np.ndarray
    vectors: np.ndarray

    def __post_init__(self) -> None:
        vectors = check_rows(self.vectors, "prototypes")
        labels = check_labels(self.labels, len(vectors), "prototypes")
        if not len(labels):
            raise ConjoinError("prototypes", "there are none", "give each class a name")
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "vectors", vectors)

    @classmethod
    def of(cls, classes: Mapping[Any, Any]) -> "Prototypes":
        """From the vectors of each class: one, or several ``[k, d]``."""
        remedy = "give the vectors of each class: {class: vectors}"
        instance_of(classes, Mapping, "prototypes", remedy)
        lists = {}
        for label, rows in classes.items():
            where = f"prototypes of {label!r}"
            held, one = numbers_of(rows, where)
            lists[label] = check_rows(held.T if one else held, where)
        labels = [label for label, rows in lists.items() for _ in range(len(rows))]
        if not labels:
            raise ConjoinError("prototypes", "there are none", "give each class a name")
        wide = sorted({rows.shape[1] for rows in lists.values()})
        if len(wide) > 1:
            found = f"vectors of {wide[0]} to {wide[-1]} numbers"
            raise ConjoinError("prototypes", found, "give vectors of one length")
        return cls(labels_of(labels, "prototypes"), np.concatenate(list(lists.values())))

    def means(self, classes: np.ndarray) -> np.ndarray:
        """``[c, d]`` mean of each class's vectors at unit length, at unit length itself.

        Raises
        ------
        ConjoinError : a class has no prototype.
        """
        lost = np.setdiff1d(classes, self.labels)
        if len(lost):
            raise ConjoinError(
                "prototypes", f"class {str(lost[0])!r} has none", "name every class, or drop it"
            )
        owner = np.searchsorted(classes, self.labels).clip(max=len(classes) - 1)
        mine = classes[owner] == self.labels
        sums = np.zeros((len(classes), self.vectors.shape[1]))
        np.add.at(sums, owner[mine], unit(self.vectors[mine].astype(np.float64)))
        return unit(sums)


@runtime_checkable
class Fitted(Protocol):
    """A fitted head: a frozen value."""

    name: ClassVar[str]

    def predict(self, x: Any) -> np.ndarray:
        """``[n]`` the class, or the number, of each row."""
        ...

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON-able fields and arrays that make it again."""
        ...


@runtime_checkable
class Classifier(Fitted, Protocol):
    """A fitted head over classes."""

    @property
    def classes(self) -> np.ndarray:
        """``[c]`` what it may answer, sorted."""
        ...

    def scores(self, x: Any) -> np.ndarray:
        """``[n, c]``, the logarithms of the probabilities but for a constant a row."""
        ...

    def predict_proba(self, x: Any) -> np.ndarray:
        """``[n, c]`` probabilities in the order of ``classes``."""
        ...


@runtime_checkable
class Head(Protocol):
    """A frozen dataclass whose fields are hyper-parameters, fitted to vectors and labels.

    ``prototypes`` of its class says whether it looks at class prototypes: ``needed``, ``used``
    or ``unused``; ``answers`` whether it gives ``classes`` or ``numbers``. A head with needed
    prototypes may be fitted to no rows at all.
    """

    def fit(self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0) -> Fitted:
        """A fitted head.

        Parameters
        ----------
        x : ``[n, d]``.
        y : ``[n]`` classes of any kind that sorts, or numbers.

        Raises
        ------
        ConjoinError : a row is not finite, a label is missing, all rows are of one class, or
            prototypes it needs are not given.
        """
        ...


@runtime_checkable
class Student(Protocol):
    """A frozen dataclass whose fields are hyper-parameters: from vectors to those of teachers."""

    def fit(
        self, x: Any, teachers: Any, y: Any = None, *, groups: Any = None, seed: int = 0
    ) -> Map:
        """A map of ``x`` into the teacher's frame, or into that of several side by side.

        Parameters
        ----------
        x : ``[n, d]`` what the student reads.
        teachers : ``[n, k]`` what a teacher made of the same items, or several of them by name,
            of any widths; :class:`~conjoin.transfer.teachers.Similarities` where only those are
            at hand.
        y : ``[n]`` labels, for students that weigh teachers by them.
        groups : ``[n]`` rows of one group are never split where a part is held out.

        Raises
        ------
        ConjoinError : a teacher has another number of rows, or a row is not finite.
        """
        ...


def check_rows(x: Any, where: str, dim: int | None = None) -> np.ndarray:
    """Vectors ``[n, d]`` of float32 or float64, or one clear refusal; no rows are fine."""
    given = matrix_of(x, where)
    if hasattr(given, "vectors"):
        raise ConjoinError(where, "is token sets", "pool them first: one vector an item")
    with one_line(where, "give floats [n, d]"):
        array = np.asarray(given)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ConjoinError(where, f"has shape {array.shape}", "give vectors [n, d]")
    if dim is not None and array.shape[1] != dim:
        raise ConjoinError(where, f"has {array.shape[1]} dimensions", f"give vectors of {dim}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    most = LARGEST[array.dtype.itemsize]
    for start in range(0, len(array), BLOCK):
        block = array[start : start + BLOCK]
        fine = ((block <= most) & (block >= -most)).all(axis=1)
        if fine.all():
            continue
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            row = start + int(np.flatnonzero(~finite)[0])
            raise ConjoinError(where, f"row {row} holds NaN or infinity", "drop or fill it")
        row = start + int(np.flatnonzero(~fine)[0])
        reached = np.abs(array[row]).max()
        raise ConjoinError(
            where, f"row {row} reaches {reached:.0e}, which sums of squares do not hold",
            "scale the vectors",
        )  # fmt: skip
    return array


#: How class prototypes are given.
NAMED = "give Prototypes.of({class: vectors})"
#: Rows read at a time.
BLOCK = 8192
#: The largest numbers, by bytes, whose squares can be summed over rows.
LARGEST = {4: 1e16, 8: float(np.finfo(np.float32).max)}


def check_labels(y: Any, rows: int, where: str = "y") -> np.ndarray:
    """Labels ``[n]``, one a row and none missing, or one clear refusal."""
    return labels_of(y, where, rows)


def check_weight(weight: Any, rows: int) -> np.ndarray:
    """What each row counts ``[n]``, above 0; 1 where nothing is given.

    Raises
    ------
    ConjoinError : there are more or fewer than rows, or one is not above 0.
    """
    return trust_of(weight, "weight", rows)


def pulls(
    second: np.ndarray, centre: np.ndarray, standardise: bool, kind: Any = np.float64
) -> np.ndarray:
    """``[d]`` by how much a pull of 1 pulls each column of a linear head towards zero.

    Its variance with ``standardise``, which is a pull of 1 on columns of spread 1; otherwise the
    mean variance for all. A column that holds one value only, up to rounding, is pulled by 1.

    Parameters
    ----------
    second, centre : covariance ``[d, d]`` and mean ``[d]`` of the rows.
    kind : precision of the rows.
    """
    own = np.diag(second).copy()
    if not standardise:
        return np.full(len(own), max(float(own.mean()), 1e-12))
    rounding = (8 * float(np.finfo(kind).eps) * np.abs(centre)) ** 2
    return np.where(own > rounding, own, 1.0)


def known_classes(y: np.ndarray, prototypes: Prototypes | None = None) -> np.ndarray:
    """The classes of labels and prototypes together, sorted.

    Raises
    ------
    ConjoinError : there are fewer than two, or labels and names are of different kinds.
    """
    found = np.unique(y)
    if prototypes is not None:
        instance_of(prototypes, Prototypes, "prototypes", NAMED)
        if len(y) and found.dtype.kind != prototypes.labels.dtype.kind:
            raise ConjoinError(
                "prototypes", f"named {prototypes.labels[0]!r} where labels are {found[0]!r}",
                "give names and labels of one type",
            )  # fmt: skip
        found = np.union1d(found, prototypes.labels) if len(y) else np.unique(prototypes.labels)
    if len(found) < 2:
        said = f"all {len(y)} labels are {str(found[0])!r}, one class" if len(found) else "none"
        raise ConjoinError("y", said, "give two classes or more")
    return found


def require_prototypes(prototypes: Prototypes | None, dim: int, who: str) -> Prototypes:
    """The prototypes, or a refusal where there are none or they are of another width."""
    if prototypes is None:
        raise ConjoinError(f"head {who}", "needs class prototypes", "give names: prototypes=…")
    instance_of(prototypes, Prototypes, "prototypes", NAMED)
    check_rows(prototypes.vectors, "prototypes", dim)
    return prototypes


def softmax(scores: np.ndarray) -> np.ndarray:
    """Rows as probabilities."""
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def blocks(x: np.ndarray, size: int = BLOCK) -> Sequence[slice]:
    """Slices of rows."""
    return [slice(a, min(a + size, len(x))) for a in range(0, len(x), size)]
