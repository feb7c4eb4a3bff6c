"""Maps by labels alone: what a trained bridge that reads labels has to beat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.linear import Lam
from conjoin.catalogue import Choice
from conjoin.maps.base import Affine, Map, as_array
from conjoin.spaces import Pairs, Rows
from conjoin.upgrade.bridges.simplex_classifier import by_classes, row_weights


@dataclass(frozen=True)
class ClassMaps:
    """One linear map a view by the classes of its rows; views agree because classes do.

    The first view is that of the classes, whose distinct rows stand at the vertices ``P`` of a
    regular simplex. With weighted mean ``m``, class means ``m_k``, scatter of all rows ``C`` and
    within classes ``S``, both over the rows' weights, and ``s`` the mean eigenvalue of ``C``:

    - ``ridge``: ``y = (x − m) (C + λ s I)⁻¹ Σ_k w_k (m_k − m)ᵀ P_k``, least squares onto the
      vertices: a ridge classifier whose scores are the vectors.
    - ``discriminant``: ``y = (x − m) (S + λ s I)⁻¹ Σ_k (m_k − m)ᵀ P_k``: Fisher's discriminant
      directions, one a class, each towards its class's vertex.

    In a frame that is frozen ``P`` are the means of what lies there of each class.

    Parameters
    ----------
    rule : which of the two.
    lam : λ.

    Examples
    --------
    >>> label = np.arange(60) % 3
    >>> x = np.eye(3)[label] @ np.ones((3, 4)).cumsum(0) + np.arange(240).reshape(60, 4) / 1e3
    >>> views = {"label": np.eye(3)[label], "x": np.sin(x * [1, 2, 3, 4])}
    >>> at = np.arange(60)
    >>> maps = ClassMaps().fit(views, Pairs.of(label=at, x=at))
    >>> maps["x"].apply(views["x"]).shape
    (60, 2)

    References
    ----------
    Fisher 1936 (fisher1936discriminant). That classes align views is the idea of Biondi et al.
    2023 (biondi2023cores), without its training.
    """

    directed: ClassVar[bool] = True
    labelled: ClassVar[bool] = True

    rule: Annotated[str, Choice(("ridge", "discriminant"))] = "ridge"
    lam: Lam = 0.1

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """The classes at their places, and one affine map a view.

        Raises
        ------
        ConjoinError : as every aligner; or there is one class only, or too many.
        """

        def head(
            name: str, owner: np.ndarray, placed: Mapping[str, Any], points: np.ndarray
        ) -> Map:
            rows = np.flatnonzero(owner >= 0)
            x = np.asarray(as_array(views[name])[rows], np.float64)
            return self._map(x, owner[rows], row_weights(name, rows, pairs)[0], points)

        return by_classes(views, pairs, frozen, 0, head)

    def _map(
        self, x: np.ndarray, label: np.ndarray, weight: np.ndarray, points: np.ndarray
    ) -> Affine:
        share = np.zeros((len(points), len(x)))
        share[label, np.arange(len(x))] = weight / weight.sum()
        parts = share.sum(axis=1, keepdims=True)
        mean = share.sum(axis=0) @ x
        centres = share @ x / np.maximum(parts, np.finfo(float).tiny)
        centres[parts[:, 0] == 0] = mean
        within = self.rule == "discriminant"
        each = share.sum(axis=0)[:, None]
        spread = float((each * (x - mean) ** 2).sum()) / x.shape[1]
        apart = x - (centres[label] if within else mean)
        scatter = (apart * each).T @ apart
        scatter.ravel()[:: len(scatter) + 1] += self.lam * spread + np.finfo(float).tiny
        toward = centres - mean if within else parts * (centres - mean)
        solved = np.linalg.solve(scatter, toward.T @ points)
        kind = np.float32
        bias = np.zeros(points.shape[1], kind)
        return Affine(solved.astype(kind), mean.astype(kind), bias)
