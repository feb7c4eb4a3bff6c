"""A fusion with the manners of scikit-learn."""

from collections.abc import Mapping, Sequence
from typing import Any, no_type_check

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from conjoin.catalogue import find
from conjoin.errors import ConjoinError, nearest
from conjoin.fusion.inputs import absent_rows
from conjoin.spaces.given import labels_of, mapping_of, matrix_of, one_line, plain, whole_number

#: The name of the only view where ``X`` is one table that nothing parts.
ONE = "all"
FLOATS = [np.float64, np.float32]


class FusionEstimator(BaseEstimator):
    """A classifier or regressor on several tables, of which an item may lack some.

    ``X`` maps names to ``[n, d]`` tables, or is one table or data frame whose columns ``views``
    parts: so it goes through pipelines, cross-validation, searches and votes. An item lacks a view
    where its row is NaN throughout; single cells of NaN are refused. One table without ``views`` is
    one view.

    Parameters
    ----------
    method : a row of kind ``fusion``.
    fields : settings of the method.
    seed : decides every random draw.
    views : by name, the columns of each view: numbers, or names of a data frame's columns.
    task : ``classes`` or ``numbers``: what is decided. Classes may be floats.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(80) % 2
    >>> X = {"ear": y[:, None] + rng.normal(size=(80, 3)) / 3, "eye": rng.normal(size=(80, 2))}
    >>> X["ear"][:5] = np.nan
    >>> FusionEstimator("late").fit(X, y).score(X, y) > 0.8
    True
    >>> table = np.concatenate(list(X.values()), axis=1)
    >>> parted = FusionEstimator("late", views={"ear": [0, 1, 2], "eye": [3, 4]})
    >>> parted.fit(table, y).score(table, y) > 0.8
    True
    """

    method: str
    fields: Mapping[str, Any] | None
    seed: int
    views: Mapping[str, Any] | None
    task: str
    classes_: np.ndarray

    @no_type_check  # scikit-learn wants any value taken here, and refused in fit
    def __init__(self, method="late", fields=None, seed=0, views=None, task="classes"):
        self.method = method
        self.fields = fields
        self.seed = seed
        self.views = views
        self.task = task

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "FusionEstimator":
        """Fit the method.

        Parameters
        ----------
        X : tables by name, or one table.
        y : ``[n]`` classes of any kind, or numbers.
        sample_weight : ``[n]`` what each item counts; an item of 0 is left out.

        Raises
        ------
        ConjoinError : as the method's ``fit``; a label is missing; or ``task`` does not go with
            the labels.
        """
        if not isinstance(self.task, str) or self.task not in ("classes", "numbers"):
            raise ConjoinError("task", repr(self.task), "give 'classes' or 'numbers'")
        views, present = self._apart(X, first=True)
        count = len(next(iter(views.values())))
        if count < 2:
            raise ConjoinError("X", f"n_samples = {count}", "give two items or more")
        labels = self._labels(y, count)
        weight = None
        if sample_weight is not None:
            with one_line("sample_weight", "give a number of 0 or more an item"):
                weight = _check_sample_weight(
                    sample_weight, np.empty((count, 1)), dtype=np.float64, ensure_non_negative=True
                )
            kept = weight > 0
            views = {name: table[kept] for name, table in views.items()}
            present = {name: here[kept] for name, here in present.items()}
            labels, weight = labels[kept], weight[kept]
        fields = mapping_of(self.fields, "fields", "give the method's fields by name")
        made, seed = find("fusion", self.method).make(fields), whole_number(self.seed, "seed")
        self.fused_ = made.fit(views, present, labels=labels, weight=weight, seed=seed)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Classes as they were given, or numbers."""
        said = self._fused().predict(*self._apart(X))
        return said if self.task == "numbers" else self.classes_[said.astype(np.int64)]

    @available_if(lambda self: self.task == "classes")
    def predict_proba(self, X: Any) -> np.ndarray:
        """``[n, classes]`` in the order of ``classes_``."""
        shares = self._fused().predict_proba(*self._apart(X))
        return self._ordered(shares.astype(np.float64), 0.0)

    @available_if(lambda self: self.task == "classes")
    def decision_function(self, X: Any) -> np.ndarray:
        """``[n, classes]`` logarithms of odds; of two classes ``[n]``, above 0 for the second."""
        scores = self._fused().scores(*self._apart(X)).astype(np.float64)
        scores = self._ordered(scores, -np.inf)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def trust(self, X: Any) -> np.ndarray:
        """``[n, views]``; see :meth:`~conjoin.fusion.model.Fused.trust`."""
        return self._fused().trust(*self._apart(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, or the share of the variance explained."""
        measure = accuracy_score if self.task == "classes" else r2_score
        said = self.predict(X)
        right = labels_of(y, "y", len(said))
        if self.task == "numbers":
            right = _numbers(right)
        with one_line("y"):
            return float(measure(right, said, sample_weight=sample_weight))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fused_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self.task == "numbers":
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        else:
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        return tags

    def _fused(self) -> Any:
        check_is_fitted(self)
        return self.fused_

    def _labels(self, y: Any, count: int) -> np.ndarray:
        """Numbers of classes, in the order of ``classes_``, or numbers."""
        if y is None:
            raise ConjoinError("y", "is None; y should be a 1d array", "give one label an item")
        y = plain(y)
        if not isinstance(y, np.ndarray | Sequence) and hasattr(y, "__array__"):
            y = np.asarray(y)
        if isinstance(y, np.ndarray) and y.ndim == 2:
            with one_line("y", "give one label an item"):
                y = column_or_1d(y, warn=True)
        labels = labels_of(y, "y", count)
        if self.task == "numbers":
            if hasattr(self, "classes_"):
                del self.classes_  # of classes it was fitted to before
            return _numbers(labels)
        if labels.dtype.kind == "f" and not (labels == np.round(labels)).all():
            said = "Unknown label type: numbers that are no classes"
            raise ConjoinError("y", said, 'give task="numbers"')
        with one_line("y"):
            check_classification_targets(labels)
        self.classes_, owner = np.unique(labels, return_inverse=True)
        return owner

    def _ordered(self, columns: np.ndarray, absent: float) -> np.ndarray:
        """A fusion's columns in the order of ``classes_``: it has their numbers as texts."""
        found = np.full((len(columns), len(self.classes_)), absent)
        found[:, [int(name) for name in self.fused_.target.classes]] = columns
        return found

    def _apart(
        self, X: Any, first: bool = False
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Tables by name and what is present, of either kind of ``X``."""
        sparse = hasattr(X, "tocsr")  # some of these are mappings
        if sparse and self.views is not None:
            raise ConjoinError("X", "is sparse", "give it as an array: X.toarray()")
        if isinstance(X, Mapping) and not sparse:
            if first:
                for name in ("n_features_in_", "feature_names_in_"):
                    self.__dict__.pop(name, None)
            tables = {str(name): matrix_of(table, f"view {name}") for name, table in X.items()}
            if not tables:
                raise ConjoinError("X", "no table", "give tables by name")
            if first:
                self.n_features_in_ = sum(table.shape[1] for table in tables.values())
        elif self.views is None and not first and self.fused_.names != (ONE,):
            raise ConjoinError("X", f"a {type(X).__name__}", "give tables by name, as in fit")
        elif self.views is None:
            with one_line("X"):
                whole = validate_data(
                    self, X, reset=first, dtype=FLOATS, ensure_all_finite="allow-nan"
                )
            tables = {ONE: whole}
        else:
            parts = mapping_of(self.views, "views", "give the columns of each view by name")
            with one_line("X", "give a table [n, d]"):
                validate_data(self, X, reset=first, skip_check_array=True)
                tables = {name: _columns(X, own, name) for name, own in parts.items()}
            if not tables:
                raise ConjoinError("views", "none", "give the columns of each view by name")
        return tables, {name: ~absent_rows(table) for name, table in tables.items()}


def _numbers(labels: np.ndarray) -> np.ndarray:
    """Labels as numbers; digits in text are taken as the numbers they write."""
    try:
        return labels.astype(np.float64)
    except ValueError:
        raise ConjoinError("y", f"{labels[0]!r} is no number", 'give task="classes"') from None


def _columns(table: Any, own: Any, name: str) -> np.ndarray:
    """Columns of an array by number, of a data frame by name or number."""
    where = f"view {name}"
    columns = getattr(table, "columns", None)
    if columns is not None and all(isinstance(one, str) for one in own):
        gone = [one for one in own if one not in columns]
        if gone:
            raise ConjoinError(where, f"no column {gone[0]!r}", nearest(gone[0], list(columns)))
        return np.asarray(matrix_of(table[list(own)], where), dtype=np.float64)
    held = table.iloc if hasattr(table, "iloc") else np.asarray(table)
    shape = table.shape if hasattr(table, "shape") else held.shape
    if len(shape) != 2:
        raise ConjoinError("X", f"shape {shape}", "give [n, d]")
    try:
        taken = held[:, own if isinstance(own, slice) else list(own)]
    except (IndexError, TypeError):
        said = f"columns {own} of a table of {shape[1]}"
        raise ConjoinError(where, said, "give numbers of its columns") from None
    return np.asarray(matrix_of(taken, where), dtype=np.float64)
