"""Queries of several parts: words and a picture, "like this, but not that"."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np

from conjoin.catalogue import Search, find
from conjoin.errors import ConjoinError
from conjoin.spaces import Space, require_same, unit
from conjoin.storage.files import map_arrays, write_arrays

#: Rows scored at a time.
BLOCK = 8192


@dataclass(frozen=True, eq=False)
class Term:
    """One part of a query.

    Parameters
    ----------
    space : one row in the joint frame.
    weight : how much it counts; below 0 asks for what is unlike it.
    name : what a person calls it.
    source : the modality it was read by.
    """

    space: Space
    weight: float = 1.0
    name: str = ""
    source: str | None = None

    def __post_init__(self) -> None:
        if len(self.space) != 1 or not hasattr(self.space.vectors, "shape"):
            raise ConjoinError(f"term {self.name}", "is not one vector", "give one row, pooled")
        if not np.isfinite(self.weight) or self.weight == 0:
            raise ConjoinError(
                f"term {self.name}", f"weighs {self.weight}", "give it another weight"
            )


@runtime_checkable
class Composed(Protocol):
    """A composer ready for queries."""

    def vector(self, parts: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
        """One query ``[d]`` of parts ``[t, d]`` of length 1; ``None`` where none says it all."""
        ...

    def scores(self, parts: np.ndarray, weights: np.ndarray, items: Any) -> np.ndarray:
        """``[n]`` scores of gallery rows ``[n, d]``, as the index holds them."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """What training found; empty where nothing is trained."""
        ...


@runtime_checkable
class QueryComposition(Protocol):
    """A frozen dataclass that learns from triplets how a reference and a change make a target."""

    def fit(
        self, reference: np.ndarray, change: np.ndarray, target: np.ndarray, *, seed: int = 0
    ) -> Composed:
        """Fit to ``[m, d]`` vectors of length 1, line by line; closed ones look at none."""
        ...

    def restore(self, arrays: dict[str, np.ndarray]) -> Composed:
        """What :meth:`fit` gave, from its arrays."""
        ...


@dataclass(frozen=True)
class Sum:
    """Vectors are added: ``q = unit(Σ_i w_i x_i)``.

    Of a reference and a change, ``q = unit(2 (1 − b) r + 2 b c)`` with the balance b, which is
    the plain sum at ½, the reference alone at 0 and the change alone at 1.

    Parameters
    ----------
    balance : b, of queries of just two parts.

    References
    ----------
    Jia et al. 2021 (jia2021align), section 5.4: picture and text embeddings are added with equal
    weights; taking off and weighing follow.
    """

    balance: Annotated[float, Search(0.0, 1.0)] = 0.5

    def fit(
        self, reference: np.ndarray, change: np.ndarray, target: np.ndarray, *, seed: int = 0
    ) -> "Summed":
        """Nothing is learned."""
        return Summed(self.balance)

    def restore(self, arrays: dict[str, np.ndarray]) -> "Summed":
        """Nothing was learned."""
        return Summed(self.balance)


@dataclass(frozen=True)
class Summed:
    """A sum ready for queries."""

    balance: float = 0.5

    def vector(self, parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The sum, to length 1."""
        shares = np.asarray(weights, dtype=np.float64)
        if len(parts) == 2:
            shares = shares * (2 * (1 - self.balance), 2 * self.balance)
        return _summed(parts, shares)

    def scores(self, parts: np.ndarray, weights: np.ndarray, items: Any) -> np.ndarray:
        """Cosines with the sum."""
        return _dots(self.vector(parts, weights)[None], items)[0]

    def arrays(self) -> dict[str, np.ndarray]:
        """None."""
        return {}


def _summed(parts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    total = shares @ np.asarray(parts, dtype=np.float64)
    if np.linalg.norm(total) < 1e-9:
        raise ConjoinError("query", "its parts cancel out", "change a weight")
    return unit(total)


@dataclass(frozen=True)
class Conjunction:
    """Every part must be met: ``score(x) = min_i sign(w_i) z_i(x) / |w_i|``.

    ``z_i(x) = (cos(t_i, x) − μ_i) / σ_i`` with mean and standard deviation of the part's cosines
    over the gallery. For positive ``w``, an item scores above c exactly when it passes every
    constraint ``sign(w_i) (cos(t_i, x) − μ_i) > c |w_i| σ_i``, the set the source retrieves at
    scales ``c |w_i|``; as a score it needs no c. A part of larger weight is harder to pass. A part
    that all items meet alike constrains nothing.

    References
    ----------
    Moayeri et al. 2023 (moayeri2023concept), concept logic, as in the authors' code.
    """

    def fit(
        self, reference: np.ndarray, change: np.ndarray, target: np.ndarray, *, seed: int = 0
    ) -> "Constraints":
        """Nothing is learned."""
        return Constraints()

    def restore(self, arrays: dict[str, np.ndarray]) -> "Constraints":
        """Nothing was learned."""
        return Constraints()


@dataclass(frozen=True)
class Constraints:
    """A conjunction ready for queries."""

    def vector(self, parts: np.ndarray, weights: np.ndarray) -> None:
        """``None``: no one vector says it."""
        return None

    def scores(self, parts: np.ndarray, weights: np.ndarray, items: Any) -> np.ndarray:
        """The hardest constraint's margin, in standard deviations over its weight."""
        found = _dots(parts, items)
        spread = found.std(axis=1, keepdims=True)
        apart = found - found.mean(axis=1, keepdims=True)
        signed = np.divide(apart, spread, out=np.zeros_like(apart), where=spread > 1e-12)
        signed /= np.asarray(weights, dtype=np.float64)[:, None]
        bare = spread[:, 0] <= 1e-12
        return signed[~bare].min(axis=0) if not bare.all() else np.zeros(found.shape[1])

    def arrays(self) -> dict[str, np.ndarray]:
        """None."""
        return {}


def _dots(parts: np.ndarray, items: Any) -> np.ndarray:
    """``[t, n]`` inner products in float64, a block of rows at a time."""
    out = np.empty((len(parts), len(items)))
    wide = np.asarray(parts, dtype=np.float64)
    for start in range(0, len(items), BLOCK):
        rows = np.asarray(items[start : start + BLOCK], dtype=np.float64)
        out[:, start : start + len(rows)] = wide @ rows.T
    return out


def parts_of(terms: Sequence[Term]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors ``[t, d]`` as their frame asks, and weights ``[t]``.

    Raises
    ------
    ConjoinError : there is no term, or none counts for something.
    FrameError : terms are of several frames.
    """
    if not terms:
        raise ConjoinError("query", "has no part", "give one or more")
    frame = terms[0].space.frame
    for term in terms:
        require_same(term.space.frame, frame, f"term {term.name}")
    if frame.score not in ("cosine", "dot"):
        raise ConjoinError(
            "query", f"parts of a frame scored by {frame.score}", "compose in one of cosine"
        )
    weights = np.array([term.weight for term in terms])
    if not (weights > 0).any():
        raise ConjoinError("query", "only says what is not wanted", "say what is, too")
    vectors = np.concatenate([np.asarray(term.space.vectors) for term in terms])
    return unit(vectors.astype(np.float64)), weights


def compose(terms: Sequence[Term], composed: Composed | None = None) -> Space | None:
    """One query of several terms, or ``None`` where only :meth:`Composed.scores` says it.

    Parameters
    ----------
    composed : how; a sum when not given.

    Examples
    --------
    >>> space = Space.of(np.eye(3)[:2], ["a", "b"], name="mine")
    >>> first, second = (Term(space.take(np.array([row])), 1.0) for row in (0, 1))
    >>> compose([first, second]).vectors.round(3).tolist()
    [[0.707, 0.707, 0.0]]
    """
    parts, weights = parts_of(terms)
    vector = (composed or Summed()).vector(parts, weights)
    if vector is None:
        return None
    return Space(np.array(["query"]), vector[None].astype(np.float32), terms[0].space.frame)


# Triplets of captions


@dataclass(frozen=True)
class Edit:
    """Two captions that differ by one word, or by words added.

    Parameters
    ----------
    reference, target : places of the captions.
    words : what the target says and the reference does not: the change.
    """

    reference: int
    target: int
    words: str


def edits(captions: Sequence[str], most: int = 20) -> list[Edit]:
    """Every ordered couple of captions in which one word stands for another.

    Captions are cut at blanks, in lower case; commas, colons and full stops are dropped. Of a
    frame ("{} heart") with more than ``most + 1`` fillings every caption is the reference of the
    ``most`` that follow it, around the end.

    References
    ----------
    Liu et al. 2023 (liu2023transagg) edit a caption by templates and search for a picture of the
    edited caption; here the edited caption is another item's own.
    """
    frames: dict[tuple[str, ...], list[tuple[int, str]]] = defaultdict(list)
    for place, caption in enumerate(captions):
        words = tuple(word.strip(",:.;!?()“”\"'") for word in caption.lower().split())
        for at in range(len(words)):
            if len(words) > 1:
                frames[(*words[:at], "{}", *words[at + 1 :])].append((place, words[at]))
    return list(dict.fromkeys(_couples(frames.values(), most)))


def _couples(frames: Any, most: int) -> Iterator[Edit]:
    for filled in frames:
        one = list({word: place for place, word in reversed(filled)}.items())[::-1]
        for turn in range(1, min(len(one) - 1, most) + 1):
            for at, (_, place) in enumerate(one):
                word, other = one[(at + turn) % len(one)]
                yield Edit(place, other, word)


def save_composed(
    path: Path, name: str, fields: dict[str, Any], composed: Composed, frame: str
) -> None:
    """Write a fitted composer, and the frame it composes in."""
    write_arrays(path, composed.arrays(), {"composer": name, "fields": fields, "frame": frame})


def load_composed(path: Path, frame: str) -> tuple[str, Composed]:
    """Read back what :func:`save_composed` wrote.

    Raises
    ------
    ConjoinError : it was fitted in another frame.
    """
    arrays, meta = map_arrays(path)
    if meta["frame"] != frame:
        raise ConjoinError(str(path), "was fitted in another frame", "run: conjoin tune --combine")
    made: QueryComposition = find("query-composition", meta["composer"]).make(meta["fields"])
    held = {name: np.array(array) for name, array in arrays.items()}
    return str(meta["composer"]), made.restore(held)
