"""Heads under scikit-learn's rules, and against scikit-learn's own."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from conjoin.errors import ConjoinError
from conjoin.transfer.estimators import HeadClassifier, HeadRegressor
from conjoin.transfer.linear import NearestMean, RidgeClassifier, RidgeRegressor
from conjoin.transfer.logistic import Logistic

RNG = np.random.default_rng(0)
OWNER = RNG.integers(0, 5, 300)
X = RNG.normal(size=(5, 12))[OWNER] + RNG.normal(size=(300, 12)) * np.linspace(2, 0.2, 12) + 1
Y = np.array(["a", "b", "c", "d", "e"])[OWNER]

CHECKED = [
    HeadClassifier(), HeadClassifier("nearest-mean"),
    HeadClassifier("ridge-classifier"), HeadRegressor(params={"lam": 1e-3}),
]  # fmt: skip


# Its check of array-API input runs only where SciPy was started for it.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(CHECKED)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_logistic_is_scikit_learns():
    lam = 0.05
    pull = lam * np.trace(np.cov(X.T, bias=True)) / 12
    peer = LogisticRegression(C=1 / (pull * len(X)), max_iter=5000, tol=1e-8).fit(X, Y)
    head = Logistic(lam=lam).fit(X, Y)
    np.testing.assert_allclose(head.predict_proba(X), peer.predict_proba(X), atol=2e-3)


def test_ridge_and_means_are_scikit_learns():
    lam = 0.2
    pull = lam * np.trace(np.cov(X.T, bias=True)) / 12
    hot = (Y[:, None] == np.unique(Y)).astype(float)
    peer = Ridge(alpha=pull * len(X)).fit(X, hot)
    np.testing.assert_allclose(RidgeRegressor(lam).fit(X, hot).predict(X), peer.predict(X))
    head = RidgeClassifier(lam).fit(X, Y)
    assert np.array_equal(head.predict(X), np.unique(Y)[peer.predict(X).argmax(axis=1)])
    near = NearestCentroid().fit(X, Y)
    assert np.array_equal(NearestMean().fit(X, Y).predict(X), near.predict(X))


def test_they_fit_pipelines_searches_and_clones():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), HeadClassifier()),
        {"headclassifier__params": [{"lam": 0.01}, {"lam": 1.0}]}, cv=3,
    ).fit(X, Y)  # fmt: skip
    assert search.best_score_ > 0.8
    assert clone(HeadClassifier("nearest-mean", seed=3)).get_params()["seed"] == 3


def test_the_wrong_kind_of_head_is_refused():
    with pytest.raises(ConjoinError, match="predicts numbers; use HeadRegressor"):
        HeadClassifier("ridge-regressor").fit(X, Y)
    with pytest.raises(ConjoinError, match="predicts classes; use HeadClassifier"):
        HeadRegressor("logistic").fit(X, OWNER)
    with pytest.raises(ConjoinError, match="did you mean logistic"):
        HeadClassifier("logistc").fit(X, Y)
