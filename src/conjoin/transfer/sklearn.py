"""Heads as scikit-learn estimators, for pipelines, grid searches and clones.

Any head of the catalogue by its name; ``params`` are its fields.
"""

import inspect
from collections.abc import Mapping
from typing import Any, no_type_check

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from conjoin.catalogue import find
from conjoin.errors import ConjoinError
from conjoin.spaces.given import mapping_of, one_line, whole_number
from conjoin.transfer.base import Prototypes

_FLOATS = [np.float64, np.float32]


class HeadClassifier(ClassifierMixin, BaseEstimator):
    """A head over classes as a scikit-learn classifier.

    Parameters
    ----------
    method : name of a head, as ``conjoin methods --kind head`` lists them.
    params : its fields.
    seed : decides every random draw.

    Examples
    --------
    >>> x = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]])
    >>> HeadClassifier("nearest-mean").fit(x, ["up", "up", "right", "right"]).predict(x[:1])
    array(['up'], dtype='<U5')
    """

    method: str
    params: Mapping[str, Any] | None
    seed: int

    @no_type_check  # scikit-learn wants any value taken here, and refused in fit
    def __init__(self, method="logistic", params=None, seed=0):
        self.method = method
        self.params = params
        self.seed = seed

    def fit(
        self,
        X: Any,
        y: Any,
        prototypes: Prototypes | None = None,
        sample_weight: Any = None,
    ) -> "HeadClassifier":
        """Fit the head.

        Parameters
        ----------
        X : ``[n, d]``.
        y : ``[n]`` classes.
        prototypes : vectors of the classes' names, for heads that look at them.
        sample_weight : ``[n]`` what each row counts; a row of 0 is left out.

        Raises
        ------
        ConjoinError : the head weighs no rows, or answers numbers.
        """
        with one_line("X, y"):
            X, y = validate_data(self, X, y, dtype=_FLOATS)
            check_classification_targets(y)
        head, seed = _made(self)
        if head.answers != "classes":
            raise ConjoinError("method", f"{self.method} predicts numbers", "use HeadRegressor")
        X, y, weighed = _weighed(head, self.method, (X, y), sample_weight)
        self.head_ = head.fit(X, y, prototypes=prototypes, seed=seed, **weighed)
        self.classes_ = self.head_.classes
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """``[n, c]`` scores; of two classes ``[n]``, above 0 for the second."""
        check_is_fitted(self)
        scores = self.head_.scores(_rows(self, X))
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> np.ndarray:
        """``[n, c]`` probabilities."""
        check_is_fitted(self)
        return self.head_.predict_proba(_rows(self, X))

    def predict(self, X: Any) -> np.ndarray:
        """``[n]`` classes."""
        check_is_fitted(self)
        return self.head_.predict(_rows(self, X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of rows whose class is right."""
        check_is_fitted(self)
        with one_line("X, y", "give one class a row"):
            return float(super().score(X, y, sample_weight))


class HeadRegressor(RegressorMixin, BaseEstimator):
    """A head over numbers as a scikit-learn regressor.

    Parameters
    ----------
    method, params, seed : as of :class:`HeadClassifier`.

    Examples
    --------
    >>> x = np.arange(6.0)[:, None]
    >>> HeadRegressor(params={"lam": 1e-4}).fit(x, 2 * x[:, 0]).predict([[10.0]]).round(1)
    array([20.])
    """

    method: str
    params: Mapping[str, Any] | None
    seed: int

    @no_type_check
    def __init__(self, method="ridge-regressor", params=None, seed=0):
        self.method = method
        self.params = params
        self.seed = seed

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "HeadRegressor":
        """Fit the head.

        Parameters
        ----------
        X : ``[n, d]``.
        y : ``[n]`` or ``[n, k]`` numbers.
        sample_weight : ``[n]`` what each row counts; a row of 0 is left out.

        Raises
        ------
        ConjoinError : the head weighs no rows, or answers classes.
        """
        with one_line("X, y"):
            X, y = validate_data(
                self, X, y, dtype=_FLOATS, multi_output=True, y_numeric=True, ensure_min_samples=2
            )
        head, seed = _made(self)
        if head.answers != "numbers":
            raise ConjoinError("method", f"{self.method} predicts classes", "use HeadClassifier")
        X, y, weighed = _weighed(head, self.method, (X, y), sample_weight)
        self.head_ = head.fit(X, y, seed=seed, **weighed)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """``[n]`` or ``[n, k]`` numbers."""
        check_is_fitted(self)
        return self.head_.predict(_rows(self, X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the variance explained."""
        check_is_fitted(self)
        with one_line("X, y", "give numbers of the shape fitted to"):
            return float(super().score(X, y, sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _made(estimator: Any) -> tuple[Any, int]:
    """The head an estimator names, with its fields, and its seed."""
    fields = mapping_of(estimator.params, "params", "give the head's fields by name")
    seed = whole_number(estimator.seed, "seed")
    return find("head", estimator.method).make(fields), seed


def _rows(estimator: Any, X: Any) -> np.ndarray:
    """Rows of as many columns as the estimator was fitted to."""
    with one_line("X"):
        return validate_data(estimator, X, reset=False, dtype=_FLOATS)


def _weighed(
    head: Any, name: str, rows: tuple[np.ndarray, np.ndarray], sample_weight: Any
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Rows that count, and what they count as an argument of ``fit``; nothing where all do alike.

    Raises
    ------
    ConjoinError : the head weighs no rows.
    """
    if sample_weight is None:
        return *rows, {}
    if "weight" not in inspect.signature(head.fit).parameters:
        able = "logistic, ridge-classifier, ridge-regressor, nearest-mean or majority"
        raise ConjoinError("sample_weight", f"{name} weighs no rows", f"name {able}")
    with one_line("sample_weight", "give a number of 0 or more a row"):
        trust = _check_sample_weight(
            sample_weight, rows[0], dtype=np.float64, ensure_non_negative=True
        )
    kept = trust > 0
    return rows[0][kept], rows[1][kept], {"weight": trust[kept]}


__all__ = ["HeadClassifier", "HeadRegressor"]
