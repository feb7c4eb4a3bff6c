"""Merges of weight matrices in the subspaces that the experts' changes span."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Choice, Search
from conjoin.models.merging.base import Part, TensorMerge

#: A matrix with a longer side (a table of word vectors) is merged by the mean of its changes.
LONGEST = 8192


@dataclass(frozen=True)
class Subspace(TensorMerge):
    """Changes of weight matrices, decomposed into singular directions and recombined.

    ``isotropic`` (Iso-C): the sum of the changes with all its singular values set to their mean,
    ``U · mean(σ) · Vᵀ``. ``disjoint`` (TSV-M): the first ``1/n`` of each expert's singular
    directions side by side, each side replaced by the nearest orthonormal basis (by SVD,
    ``X = P D Qᵀ → P Qᵀ``), multiplied back with the experts' singular values. Tensors that are no
    matrices, or have a side over 8,192, get the mean of the changes.

    Parameters
    ----------
    rule : as above.
    scale : of what is added.

    Sources: Marczak et al. 2025 (Iso-C); Gargiulo et al. 2025 (TSV-M).
    """

    rule: Annotated[str, Choice(("isotropic", "disjoint"))] = "disjoint"
    scale: Annotated[float, Search(0.0, 2.0)] = 1.0
    exact: ClassVar[str] = "close"
    whole: ClassVar[bool] = True

    def merge(self, part: Part, known: Any) -> np.ndarray:
        """The base plus the recombined change."""
        if len(part.shape) != 2 or max(part.shape) > LONGEST or min(part.shape) < 2:
            return part.base + self.scale * part.total / len(part.deltas)
        changes = [delta.reshape(part.shape) for delta in part.deltas]
        made = (
            isotropic(part.total.reshape(part.shape))
            if self.rule == "isotropic"
            else disjoint(changes)
        )
        return part.base + self.scale * made.reshape(-1)


def isotropic(change: np.ndarray) -> np.ndarray:
    """A matrix with all its singular values at their mean.

    >>> np.round(isotropic(np.diag([3.0, 1.0])), 6).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    if not change.any():
        return change
    u, s, vt = np.linalg.svd(change, full_matrices=False)
    return s.mean() * (u @ vt)


def disjoint(changes: list[np.ndarray]) -> np.ndarray:
    """Each matrix's first singular directions side by side, made orthonormal, and multiplied."""
    if not any(change.any() for change in changes):
        return changes[0]
    least = min(changes[0].shape)
    rank = max(1, least // len(changes))
    parts = [np.linalg.svd(change, full_matrices=False) for change in changes]
    left = np.concatenate([u[:, :rank] for u, _, _ in parts], axis=1)
    right = np.concatenate([vt[:rank] for _, _, vt in parts], axis=0)
    values = np.concatenate([s[:rank] for _, s, _ in parts])
    return (nearest_orthonormal(left) * values) @ nearest_orthonormal(right)


def nearest_orthonormal(matrix: np.ndarray) -> np.ndarray:
    """The orthonormal matrix nearest to one, by Frobenius norm."""
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    return u @ vt
