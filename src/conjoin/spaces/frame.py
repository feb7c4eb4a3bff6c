"""The coordinate system vectors live in: equal frames compare, others are refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, FrameError, nearest
from conjoin.storage.digest import digest

#: Ways two vectors of a frame are scored.
SCORES = ("cosine", "dot", "lorentz", "maxsim")


def unit(x: np.ndarray) -> np.ndarray:
    """Vectors scaled to length 1 on the last axis; zero stays zero.

    Rows so large or so small that their squares leave the range of their type are first scaled by
    their largest value.

    Examples
    --------
    >>> unit(np.array([[3e30, 4e30], [3e-30, 4e-30], [0, 0]], dtype=np.float32)).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    x = np.asarray(x)
    x = x if x.dtype.kind == "f" else x.astype(np.float64)
    limits = np.finfo(x.dtype)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        length = np.linalg.norm(x, axis=-1, keepdims=True)
        low, high = float(limits.tiny) ** 0.5 / float(limits.eps), float(limits.max) ** 0.5
        if not ((length > low) & (length < high)).all():
            largest = np.abs(x).max(axis=-1, keepdims=True, initial=0)
            odd = (length <= low) | (length >= high)
            x = np.where(odd & (largest > 0), x / np.where(largest > 0, largest, 1), x)
            length = np.linalg.norm(x, axis=-1, keepdims=True)
        return np.asarray(x / np.where(length > 0, length, 1))


@dataclass(frozen=True)
class Frame:
    """A coordinate system; two are equal exactly when their ``id`` is.

    Parameters
    ----------
    id : minted by :meth:`mint` from everything that decides the vectors.
    dim : dimensions of a vector.
    label : what people call it.
    score : how two vectors are scored, one of :data:`SCORES`.
    curvature : of a hyperbolic frame, above 0; ``None`` elsewhere.
    """

    id: str
    dim: int = field(compare=False)
    label: str = field(compare=False, default="")
    score: str = field(compare=False, default="cosine")
    curvature: float | None = field(compare=False, default=None)

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ConjoinError("frame.score", repr(self.score), nearest(self.score, SCORES))

    @classmethod
    def mint(
        cls,
        origin: str,
        label: str,
        dim: int,
        recipe: Mapping[str, Any],
        *,
        score: str = "cosine",
        curvature: float | None = None,
    ) -> "Frame":
        """Mint a frame from what decides its vectors.

        Parameters
        ----------
        origin : ``encoder``, ``binder`` or ``given``; first part of the id.
        recipe : JSON-able facts: weights hash, tokenizer, pooling, precision, method, seed…
        score : one of :data:`SCORES`; part of the id, as is ``curvature``.

        Examples
        --------
        >>> a = Frame.mint("given", "mine", 3, {"name": "mine"})
        >>> a == Frame.mint("given", "mine", 3, {"name": "mine"})
        True
        """
        facts = {"dim": dim, "score": score, "curvature": curvature, **recipe}
        return cls(f"{origin}-{digest(facts)}", dim, label, score, curvature)

    def item(self, x: np.ndarray) -> np.ndarray:
        """Stored vectors ``[..., dim]`` as an inner-product index holds them."""
        self._vectors_only()
        return unit(x) if self.score == "cosine" else x

    def query(self, q: np.ndarray) -> np.ndarray:
        """Queries so that ``query(q) · item(x)`` ranks as the frame's score does.

        A Lorentz vector holds its time coordinate last; flipping the query's sign there makes
        the inner product the negative of what the geodesic distance grows with.
        """
        self._vectors_only()
        if self.score == "cosine":
            return unit(q)
        if self.score == "lorentz":
            q = np.array(q)
            q[..., -1] *= -1
        return q

    def _vectors_only(self) -> None:
        if self.score == "maxsim":
            raise ConjoinError(
                f"frame {self.label}", "scores token sets", "search it token by token, or pool it"
            )

    def to_json(self) -> dict[str, Any]:
        """The frame as JSON-able fields."""
        return {
            "id": self.id, "dim": self.dim, "label": self.label, "score": self.score,
            "curvature": self.curvature,
        }  # fmt: skip

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Frame":
        """Read back what :meth:`to_json` wrote."""
        try:
            return cls(
                fields["id"], int(fields["dim"]), fields.get("label", ""), fields["score"],
                fields.get("curvature"),
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise ConjoinError("frame", f"field {error} is missing", "fit or embed again") from None


def require_same(left: Frame, right: Frame, what: str) -> None:
    """Refuse to compare vectors of different frames.

    Raises
    ------
    FrameError : the frames differ; the remedy is named.
    """
    if left != right:
        raise FrameError(
            what,
            f"vectors of frame {left.id} ({left.label}) against {right.id} ({right.label})",
            "apply the binding's map first, or embed again with the same encoder",
        )
