"""The closed forms as scikit-learn estimators: for pipelines, grid searches and clones.

``fit(X, y)`` takes paired rows of two views; ``transform`` maps ``X`` and ``transform_y`` maps
``y``, into one space; ``score`` is the mean reciprocal rank of each row's own partner.
"""

from typing import Any, get_type_hints, no_type_check

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from conjoin.alignment.base import Aligner
from conjoin.alignment.closed_form.linear import CCA, MeanCentering, Procrustes, Ridge
from conjoin.catalogue import fits
from conjoin.errors import ConjoinError
from conjoin.maps.base import Normalise
from conjoin.metrics.retrieval.ranks import rank_queries
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.spaces import Pairs
from conjoin.spaces.given import one_line


class _PairMap(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Two paired views, fitted by the aligner that a subclass names."""

    def _aligner(self) -> Aligner:
        raise NotImplementedError

    def fit(self, X: Any, y: Any) -> "_PairMap":
        """Fit both maps to paired rows.

        Parameters
        ----------
        X : ``[n, dx]``.
        y : ``[n, dy]``, or ``[n]`` for a view of one dimension; the hub.

        Raises
        ------
        ConjoinError : either is no array of finite numbers, lengths differ, all rows of one are
            the same, or a setting is out of its range.
        """
        with one_line("X, y"):
            X, y = validate_data(
                self, X, y, multi_output=True, y_numeric=True, dtype=[np.float64, np.float32],
                ensure_min_samples=2,
            )  # fmt: skip
            y = _columns(y)
        for name, rows in (("X", X), ("y", y)):
            if (rows == rows[0]).all():
                raise ConjoinError(
                    name, f"all {len(rows)} rows are the same", "give rows that differ"
                )
        rows = np.arange(len(X))
        maps = self._aligner().fit({"y": y, "x": X}, Pairs.of(y=rows, x=rows))
        self.map_, self.map_y_ = maps["x"], maps["y"]
        self.n_outputs_ = y.shape[1]
        # How many names get_feature_names_out gives, which set_output writes above the columns.
        self._n_features_out = self.map_.apply(X[:1]).shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Map rows of the first view."""
        check_is_fitted(self)
        with one_line("X"):
            X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return self.map_.apply(X)

    def transform_y(self, y: Any) -> np.ndarray:
        """Map rows of the second view."""
        check_is_fitted(self)
        with one_line("y"):
            y = _columns(y)
        return self.map_y_.apply(y)

    def score(self, X: Any, y: Any) -> float:
        """Mean reciprocal rank of ``y[i]`` when all of ``y`` is searched with ``X[i]``."""
        unit = Normalise()
        found, asked = unit.apply(self.transform_y(y)), unit.apply(self.transform(X))
        rows, ends = np.arange(len(asked)), np.arange(len(asked) + 1)
        own = Relevance(rows, ends, rows, rows)
        return float(np.mean(1.0 / rank_queries(asked, found, own).best))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class CenteringMap(_PairMap):
    """Subtract each view's mean; both need one width. See ``MeanCentering``.

    Examples
    --------
    >>> x = np.array([[0.0, 1.0], [2.0, 3.0]])
    >>> CenteringMap().fit(x, x).transform(x)
    array([[-1., -1.],
           [ 1.,  1.]])
    """

    def _aligner(self) -> Aligner:
        return MeanCentering()


class RidgeMap(_PairMap):
    """Ridge regression of the first view onto the second. See ``Ridge``.

    Parameters
    ----------
    lam : λ over the mean eigenvalue of the first view's covariance.
    """

    lam: float

    @no_type_check  # scikit-learn wants any value taken here, and refused in fit
    def __init__(self, lam: float = Ridge.lam):
        self.lam = lam

    def _aligner(self) -> Aligner:
        _require("RidgeMap", Ridge, {"lam": self.lam})
        return Ridge(self.lam)


class ProcrustesMap(_PairMap):
    """Rotate the first view onto the second. See ``Procrustes``.

    Parameters
    ----------
    scale : also multiply by the best single factor.
    """

    scale: bool

    @no_type_check  # scikit-learn wants any value taken here, and refused in fit
    def __init__(self, scale: bool = Procrustes.scale):
        self.scale = scale

    def _aligner(self) -> Aligner:
        _require("ProcrustesMap", Procrustes, {"scale": self.scale})
        return Procrustes(self.scale)


class CCAMap(_PairMap):
    """Regularised canonical correlation. See :class:`~conjoin.alignment.closed_form.linear.CCA`.

    Parameters
    ----------
    lam : λ over the mean eigenvalue of each view's covariance.
    rank : directions kept; ``None`` keeps all.
    power : weight of a direction: its correlation to this power.
    """

    lam: float
    rank: int | None
    power: float

    @no_type_check  # scikit-learn wants any value taken here, and refused in fit
    def __init__(self, lam: float = CCA.lam, rank: int | None = CCA.rank, power: float = CCA.power):
        self.lam = lam
        self.rank = rank
        self.power = power

    def _aligner(self) -> Aligner:
        given = {"lam": self.lam, "rank": self.rank, "power": self.power}
        _require("CCAMap", CCA, given)
        return CCA(self.lam, self.rank, self.power)


def _require(name: str, engine: type, given: dict[str, Any]) -> None:
    """Refuse settings of another type, and numbers that are not finite or below 0.

    Any number may be given here, not only those a search looks among.
    """
    hints = get_type_hints(engine)
    for key, value in given.items():
        number = isinstance(value, int | float | np.number)
        if not fits(value, hints[key]) or (number and not (0 <= value < np.inf)):
            found = f"{repr(value)[:60]} is a {type(value).__name__}"
            remedy = "give what its docstring asks for, not below 0"
            raise ConjoinError(f"{name}.{key}", found, remedy)


def _columns(y: Any) -> np.ndarray:
    array = check_array(y, ensure_2d=False, dtype=[np.float64, np.float32], input_name="y")
    return array[:, None] if array.ndim == 1 else array


__all__ = ["CCAMap", "CenteringMap", "ProcrustesMap", "RidgeMap"]
