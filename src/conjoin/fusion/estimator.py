"""A fusion with the manners of scikit-learn."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from conjoin.catalogue import find
from conjoin.errors import ConjoinError


class FusionEstimator(BaseEstimator):
    """A classifier or regressor on several tables, of which an item may lack some.

    ``X`` maps names to ``[n, d]`` tables; an item lacks a view where its row is NaN throughout,
    or where a mask in ``present`` says so. Floats in ``y`` are numbers, all else classes.

    Parameters
    ----------
    method : a row of kind ``fusion``.
    fields : settings of the method.
    seed : decides every random draw.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(80) % 2
    >>> X = {"ear": y[:, None] + rng.normal(size=(80, 3)) / 3, "eye": rng.normal(size=(80, 2))}
    >>> X["ear"][:5] = np.nan
    >>> FusionEstimator("late").fit(X, y).score(X, y) > 0.8
    True
    """

    def __init__(
        self, method: str = "late", fields: Mapping[str, Any] | None = None, seed: int = 0
    ):
        self.method, self.fields, self.seed = method, fields, seed

    def fit(self, X: Mapping[str, Any], y: Any, sample_weight: Any = None) -> "FusionEstimator":
        """Fit the method.

        Raises
        ------
        ConjoinError : as the method's ``fit``.
        """
        views, present = absent_apart(X)
        made = find("fusion", self.method).make(dict(self.fields or {}))
        self.fused_ = made.fit(
            views, present, labels=np.asarray(y), weight=sample_weight, seed=self.seed
        )
        if self.fused_.target.classes is not None:
            self.classes_ = np.unique(np.asarray(y))
        return self

    def predict(self, X: Mapping[str, Any]) -> np.ndarray:
        """Classes as they were given, or numbers."""
        if not hasattr(self, "classes_"):
            return self.fused_.predict(*absent_apart(X))
        names = {str(value): value for value in self.classes_}
        return np.array([names[str(v)] for v in self.fused_.predict(*absent_apart(X))])

    def predict_proba(self, X: Mapping[str, Any]) -> np.ndarray:
        """``[n, classes]`` in the order of ``classes_``."""
        shares = self.fused_.predict_proba(*absent_apart(X))
        own = {name: place for place, name in enumerate(self.fused_.target.classes or ())}
        return shares[:, [own[str(value)] for value in self.classes_]]

    def trust(self, X: Mapping[str, Any]) -> np.ndarray:
        """``[n, views]``; see :meth:`~conjoin.fusion.fused.Fused.trust`."""
        return self.fused_.trust(*absent_apart(X))

    def score(self, X: Mapping[str, Any], y: Any) -> float:
        """Accuracy, or the share of the variance explained."""
        said, truth = self.predict(X), np.asarray(y)
        if hasattr(self, "classes_"):
            return float((said == truth).mean())
        return float(1 - ((said - truth) ** 2).mean() / max(truth.var(), 1e-30))


def absent_apart(
    tables: Mapping[str, Any],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Tables, and which rows of each are there: not NaN throughout."""
    if not isinstance(tables, Mapping):
        raise ConjoinError("X", f"a {type(tables).__name__}", "give tables by name")
    views = {str(name): np.asarray(table) for name, table in tables.items()}
    present: dict[str, np.ndarray] = {}
    for name, table in views.items():
        empty = np.isnan(np.asarray(table, dtype=np.float64)).all(axis=1)
        present[name] = np.logical_not(empty)
    return views, present
