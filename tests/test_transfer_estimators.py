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
from conjoin.transfer.linear_heads import NearestMean, RidgeClassifier, RidgeRegressor
from conjoin.transfer.logistic import Logistic
from conjoin.transfer.sklearn import HeadClassifier, HeadRegressor

RNG = np.random.default_rng(0)
OWNER = RNG.integers(0, 5, 300)
X = RNG.normal(size=(5, 12))[OWNER] + RNG.normal(size=(300, 12)) * np.linspace(2, 0.2, 12) + 1
Y = np.array(["a", "b", "c", "d", "e"])[OWNER]

CHECKED = [
    HeadClassifier(), HeadClassifier("nearest-mean"),
    HeadClassifier("ridge-classifier"), HeadRegressor(params={"lam": 1e-3}),
]  # fmt: skip


def unlike(estimator):
    """Checks that do not apply, and why."""
    why = {
        "HeadClassifier": {
            "logistic": "its solver stops at a change of 1e-7, the check compares to 1e-7",
            "nearest-mean": "temperatures leave out a row, be it one of two copies or of weight 2",
            "ridge-classifier": "temperatures leave out a row, as those of nearest-mean",
        }
    }  # fmt: skip
    said = why.get(type(estimator).__name__, {}).get(estimator.method)
    return {} if said is None else {"check_sample_weight_equivalence_on_dense_data": said}


# Its check of array-API input runs only where SciPy was started for it.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(CHECKED, expected_failed_checks=unlike)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_logistic_is_scikit_learns():
    lam = 0.05
    pull = lam * np.trace(np.cov(X.T, bias=True)) / 12
    peer = LogisticRegression(C=1 / (pull * len(X)), max_iter=5000, tol=1e-8).fit(X, Y)
    head = Logistic(lam=lam, standardise=False).fit(X, Y)
    np.testing.assert_allclose(head.predict_proba(X), peer.predict_proba(X), atol=2e-3)


def test_ridge_and_means_are_scikit_learns():
    lam = 0.2
    pull = lam * np.trace(np.cov(X.T, bias=True)) / 12
    hot = (Y[:, None] == np.unique(Y)).astype(float)
    peer = Ridge(alpha=pull * len(X)).fit(X, hot)
    np.testing.assert_allclose(
        RidgeRegressor(lam, standardise=False).fit(X, hot).predict(X), peer.predict(X)
    )
    head = RidgeClassifier(lam, standardise=False).fit(X, Y)
    assert np.array_equal(head.predict(X), np.unique(Y)[peer.predict(X).argmax(axis=1)])
    near = NearestCentroid().fit(X, Y)
    assert np.array_equal(NearestMean().fit(X, Y).predict(X), near.predict(X))


WIDE = np.array([1e4, 1e-3] + [1.0] * 10)


@pytest.mark.parametrize("classes", [2, 5])
def test_heads_on_columns_of_any_unit_are_scikit_learns_on_scaled_ones(classes):
    x, y, lam = X * WIDE + 7 * WIDE, OWNER % classes, 0.02
    scaled = StandardScaler().fit_transform(x)
    # A softmax over two classes holds the one logit in two halves.
    pull = 1 / (lam * len(x)) * (2 if classes == 2 else 1)
    peer = LogisticRegression(C=pull, max_iter=5000, tol=1e-8).fit(scaled, y)
    head = Logistic(lam).fit(x, y)
    np.testing.assert_allclose(head.predict_proba(x), peer.predict_proba(scaled), atol=2e-3)
    ridge = Ridge(alpha=lam * len(x)).fit(scaled, x[:, 3])
    np.testing.assert_allclose(
        RidgeRegressor(lam).fit(x, x[:, 3]).predict(x), ridge.predict(scaled), rtol=1e-6
    )
    # Units change nothing but what is turned off on purpose.
    same = [Logistic(lam).fit(rows, y).predict(rows) for rows in (x, scaled)]
    assert (same[0] == same[1]).mean() > 0.99
    raw = Logistic(lam, standardise=False).fit(x, y).predict(x)
    assert (raw == y).mean() < (same[0] == y).mean() - 0.1


def test_constant_columns_and_weights_are_as_they_should_be():
    flat = np.concatenate([X, np.full((300, 1), 0.1), np.zeros((300, 1))], axis=1)
    for method in (Logistic(), RidgeClassifier()):
        one, other = method.fit(X, Y), method.fit(flat, Y)
        np.testing.assert_allclose(other.predict_proba(flat), one.predict_proba(X), atol=1e-2)
        assert np.isfinite(other.predict_proba(flat + 1)).all()
    twice = np.arange(300) % 3
    repeated = np.repeat(np.arange(300), twice)
    for name in ("logistic", "ridge-classifier", "nearest-mean", "majority"):
        heavy = HeadClassifier(name).fit(X, Y, sample_weight=twice)
        copies = HeadClassifier(name).fit(X[repeated], Y[repeated])
        assert (heavy.predict(X) == copies.predict(X)).mean() > 0.99, name
        assert (heavy.predict(X) == HeadClassifier(name).fit(X, Y).predict(X)).mean() < 1 or (
            name == "majority"
        )
    numbers = HeadRegressor().fit(X, X[:, 0], sample_weight=twice)
    other = HeadRegressor().fit(X[repeated], X[repeated, 0])
    np.testing.assert_allclose(numbers.predict(X), other.predict(X), rtol=1e-6, atol=1e-8)
    with pytest.raises(ConjoinError, match="tip-adapter weighs no rows; name logistic"):
        HeadClassifier("tip-adapter").fit(X, Y, sample_weight=twice)
    with pytest.raises(ConjoinError, match="one is not above 0"):
        Logistic().fit(X, Y, weight=np.zeros(300))


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
