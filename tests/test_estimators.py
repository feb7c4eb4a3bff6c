"""The closed forms under scikit-learn's rules."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from conjoin.alignment.closed_form.linear import CCA, Ridge
from conjoin.alignment.sklearn import CCAMap, CenteringMap, ProcrustesMap, RidgeMap
from conjoin.errors import ConjoinError
from conjoin.spaces import Pairs

RNG = np.random.default_rng(0)
LATENT = RNG.normal(size=(120, 5))
X = LATENT @ RNG.normal(size=(5, 9)) + 0.1 * RNG.normal(size=(120, 9))
Y = LATENT @ RNG.normal(size=(5, 7)) + 0.1 * RNG.normal(size=(120, 7))

# CenteringMap is not among them: scikit-learn's checks fit a y of one column to an X of several,
# which mean-centering must refuse. Its own test is below.
CHECKED = [RidgeMap(), ProcrustesMap(), CCAMap()]


# Its check of array-API input runs only where SciPy was started for it.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(CHECKED)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_centring_subtracts_means_and_refuses_other_widths():
    fitted = CenteringMap().fit(X[:, :7], Y)
    np.testing.assert_allclose(fitted.transform(X[:, :7]), X[:, :7] - X[:, :7].mean(0), atol=1e-6)
    np.testing.assert_allclose(fitted.transform_y(Y), Y - Y.mean(0), atol=1e-6)
    assert clone(fitted).get_params() == {}
    with pytest.raises(ConjoinError, match="has 9 dimensions, the joint space 7"):
        CenteringMap().fit(X, Y)


def test_they_are_the_aligners():
    rows = np.arange(120)
    for estimator, aligner in (
        (RidgeMap(0.3), Ridge(0.3)),
        (CCAMap(0.3, 4, 0.5), CCA(0.3, 4, 0.5)),
    ):
        fitted = estimator.fit(X, Y)
        maps = aligner.fit({"y": Y, "x": X}, Pairs.of(y=rows, x=rows))
        assert np.array_equal(fitted.transform(X), maps["x"].apply(X))
        assert np.array_equal(fitted.transform_y(Y), maps["y"].apply(Y))


def test_defaults_are_the_aligners():
    assert CCAMap().get_params() == {"lam": CCA.lam, "rank": CCA.rank, "power": CCA.power}
    assert RidgeMap().get_params() == {"lam": Ridge.lam}


def test_score_is_the_mean_reciprocal_rank():
    fitted = CCAMap(0.1).fit(X[:80], Y[:80])
    a, b = fitted.transform(X[80:]), fitted.transform_y(Y[80:])
    cosine = (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    ranks = 1 + np.sum(cosine > cosine.diagonal()[:, None], axis=1)
    assert fitted.score(X[80:], Y[80:]) == pytest.approx(np.mean(1 / ranks))
    assert fitted.score(X[80:], Y[80:]) > 0.9
    shuffled = fitted.score(X[80:], Y[80:][::-1].copy())
    assert shuffled < 0.4


def test_pipelines_and_grids():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), CCAMap()), {"ccamap__lam": [0.01, 100.0]}, cv=3
    ).fit(X, Y)
    assert search.best_score_ > 0.8
    assert search.transform(X).shape == (120, 7)


def test_names_of_what_comes_out_and_frames_of_it():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"c{k}" for k in range(9)])
    for made, width in ((RidgeMap(), 7), (CCAMap(rank=3), 3)):
        fitted = made.set_output(transform="pandas").fit(frame, Y)
        names = [f"{type(made).__name__.lower()}{k}" for k in range(width)]
        assert fitted.get_feature_names_out().tolist() == names
        assert list(fitted.transform(frame).columns) == names
        assert fitted.n_features_in_ == 9


def test_maps_import_without_scikit_learn():
    code = (
        "import sys, conjoin.maps, conjoin.alignment.closed_form.linear; "
        "sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
