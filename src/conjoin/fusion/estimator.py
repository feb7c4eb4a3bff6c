"""A fusion with the manners of scikit-learn."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from conjoin.catalogue import find
from conjoin.errors import ConjoinError, nearest


class FusionEstimator(BaseEstimator):
    """A classifier or regressor on several tables, of which an item may lack some.

    ``X`` maps names to ``[n, d]`` tables, or is one table or data frame whose columns ``views``
    parts: so it goes through pipelines and cross-validation. An item lacks a view where its row is
    NaN throughout. Floats in ``y`` are numbers, all else classes.

    Parameters
    ----------
    method : a row of kind ``fusion``.
    fields : settings of the method.
    seed : decides every random draw.
    views : by name, the columns of each view: numbers, or names of a data frame's columns.

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

    def __init__(
        self,
        method: str = "late",
        fields: Mapping[str, Any] | None = None,
        seed: int = 0,
        views: Mapping[str, Any] | None = None,
    ):
        self.method, self.fields, self.seed, self.views = method, fields, seed, views

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "FusionEstimator":
        """Fit the method.

        Raises
        ------
        ConjoinError : as the method's ``fit``.
        """
        views, present = self._apart(X)
        if len(y) != len(next(iter(views.values()))):
            raise ConjoinError(
                "y", f"{len(y)} for {len(next(iter(views.values())))} items", "give one an item"
            )
        made = find("fusion", self.method).make(dict(self.fields or {}))
        self.fused_ = made.fit(
            views, present, labels=np.asarray(y), weight=sample_weight, seed=self.seed
        )
        if self.fused_.target.classes is not None:
            self.classes_ = np.unique(np.asarray(y))
        elif hasattr(self, "classes_"):
            del self.classes_  # of classes it was fitted to before
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Classes as they were given, or numbers."""
        if not hasattr(self, "classes_"):
            return self._fused().predict(*self._apart(X))
        names = {str(value): value for value in self.classes_}
        return np.array([names[str(v)] for v in self.fused_.predict(*self._apart(X))])

    def predict_proba(self, X: Any) -> np.ndarray:
        """``[n, classes]`` in the order of ``classes_``."""
        shares = self._fused().predict_proba(*self._apart(X))
        own = {name: place for place, name in enumerate(self.fused_.target.classes or ())}
        return shares[:, [own[str(value)] for value in self.classes_]]

    def trust(self, X: Any) -> np.ndarray:
        """``[n, views]``; see :meth:`~conjoin.fusion.fused.Fused.trust`."""
        return self._fused().trust(*self._apart(X))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fused_")

    def _fused(self) -> Any:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        return self.fused_

    def _apart(self, X: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Tables by name and what is present, of either kind of ``X``."""
        if isinstance(X, Mapping):
            return absent_apart(X)
        if self.views is None:
            raise ConjoinError(
                "X", f"a {type(X).__name__}", "give tables by name, or views of its columns"
            )
        return absent_apart({name: _columns(X, own, name) for name, own in self.views.items()})

    def score(self, X: Any, y: Any) -> float:
        """Accuracy, or the share of the variance explained."""
        said, truth = self.predict(X), np.asarray(y)
        if hasattr(self, "classes_"):
            return float((said == truth).mean())
        return float(1 - ((said - truth) ** 2).mean() / max(truth.var(), 1e-30))


def _columns(table: Any, own: Any, name: str) -> np.ndarray:
    """Columns of an array by number, of a data frame by name or number."""
    where = f"view {name}"
    columns = getattr(table, "columns", None)
    if columns is not None and all(isinstance(one, str) for one in own):
        gone = [one for one in own if one not in columns]
        if gone:
            raise ConjoinError(where, f"no column {gone[0]!r}", nearest(gone[0], list(columns)))
        return np.asarray(table[list(own)], dtype=np.float64)
    held = np.asarray(table, dtype=np.float64)
    if held.ndim != 2:
        raise ConjoinError("X", f"shape {held.shape}", "give [n, d]")
    try:
        return held[:, own if isinstance(own, slice) else list(own)]
    except (IndexError, TypeError):
        said = f"columns {own} of a table of {held.shape[1]}"
        raise ConjoinError(where, said, "give numbers of its columns") from None


def absent_apart(
    tables: Mapping[str, Any],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Tables, and which rows of each are there: not NaN throughout."""
    if not isinstance(tables, Mapping):
        raise ConjoinError("X", f"a {type(tables).__name__}", "give tables by name")
    if not tables:
        raise ConjoinError("X", "no table", "give tables by name")
    views = {str(name): np.asarray(table) for name, table in tables.items()}
    present: dict[str, np.ndarray] = {}
    for name, table in views.items():
        empty = np.isnan(np.asarray(table, dtype=np.float64)).all(axis=1)
        present[name] = np.logical_not(empty)
    return views, present
