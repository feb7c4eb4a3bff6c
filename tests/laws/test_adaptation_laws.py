"""What every adaptation of the catalogue promises."""

from dataclasses import fields

import numpy as np
import pytest

from conjoin import catalogue
from conjoin.errors import ConjoinError
from conjoin.transfer.adaptation.base import Adaptation, Source
from conjoin.transfer.base import Classifier, Prototypes
from conjoin.transfer.heads import load_head, save_head
from conjoin.transfer.linear_heads import NearestMean, ZeroShot
from conjoin.transfer.logistic import Logistic

ROWS = catalogue.of_kind("adaptation")
ALL = pytest.mark.parametrize("name", ROWS)
CLASSES = np.array(["bird", "boat", "book", "bread"])
_TURN = np.linalg.qr(np.random.default_rng(5).normal(size=(8, 8)))[0]
CENTRES, SHARED = 2 * _TURN[:4], _TURN[4]


def planted(n=80, seed=0, shift=0.0, size=1.0):
    """Rows of four classes; a target is moved and stretched."""
    rng = np.random.default_rng(seed)
    owner = np.arange(n) % 4
    x = CENTRES[owner] + 0.5 * rng.normal(size=(n, 8))
    return size * x + shift, CLASSES[owner]


X, Y = planted()
SOURCE = Source.of(X, Y)
TARGET, TRUTH = planted(seed=1, shift=1.5, size=1.3)


def started(name):
    """A head that the adaptation can begin with."""
    if name == "reclip":
        # Names of an encoder share a direction, which is the first that it leaves out. Of names
        # that are orthogonal and equally long any would be, as the library's SVD has it.
        named = Prototypes(CLASSES, CENTRES + 4 * SHARED)
        return ZeroShot().fit(np.empty((0, 8)), np.empty(0, str), prototypes=named)
    return Logistic().fit(X, Y)


def method(name):
    known = {field.name for field in fields(ROWS[name].load())}
    return ROWS[name].make({"steps": 30} if "steps" in known else {})


def fitted(name, x=TARGET, seed=0):
    return method(name).fit(started(name), x, source=SOURCE, seed=seed)


@ALL
def test_it_keeps_the_interface(name):
    assert isinstance(method(name), Adaptation)
    assert ROWS[name].load().reads in ("nothing", "rows", "labels")
    head = fitted(name)
    assert isinstance(head, Classifier)
    assert list(head.classes) == sorted(CLASSES)
    np.testing.assert_allclose(head.predict_proba(TARGET).sum(axis=1), 1, atol=1e-5)


@ALL
def test_where_nothing_moved_little_is_lost(name):
    same, truth = planted(seed=2)
    assert fitted(name, same).score(same, truth) >= 0.95


@ALL
def test_rows_may_come_in_any_order_and_alone(name):
    order = np.random.default_rng(0).permutation(len(TARGET))
    one, other = fitted(name), fitted(name, TARGET[order])
    whole = one.predict_proba(TARGET)
    loose = 0.1 if ROWS[name].cost == "trained" else 1e-3
    np.testing.assert_allclose(other.predict_proba(TARGET), whole, atol=loose)
    alone = np.concatenate([one.predict_proba(TARGET[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(alone, whole[:5], atol=1e-6)


@ALL
def test_saving_and_loading_is_exact_and_a_seed_decides(name, tmp_path):
    head = fitted(name, seed=3)
    assert fitted(name, seed=3).predict_proba(X).tobytes() == head.predict_proba(X).tobytes()
    save_head(head, tmp_path / "head")
    again, _ = load_head(tmp_path / "head")
    assert again.predict_proba(TARGET).tobytes() == head.predict_proba(TARGET).tobytes()


@ALL
def test_bad_input_is_refused_by_name(name):
    head = started(name)
    with pytest.raises(ConjoinError, match="target: has 0 rows; give 2 or more"):
        method(name).fit(head, np.empty((0, 8)), source=SOURCE)
    with pytest.raises(ConjoinError, match="target: has 5 dimensions; give vectors of 8"):
        method(name).fit(head, TARGET[:, :5], source=SOURCE)
    spoilt = TARGET.copy()
    spoilt[4, 2] = np.nan
    with pytest.raises(ConjoinError, match="target: row 4 holds NaN"):
        method(name).fit(head, spoilt, source=SOURCE)
    if ROWS[name].load().reads != "nothing":
        with pytest.raises(ConjoinError, match="reads the source; give source="):
            method(name).fit(head, TARGET)


@ALL
def test_labels_shuffled_give_chance(name):
    if name == "reclip":  # it is given names, and reads no label
        return
    rng = np.random.default_rng(0)
    mixed = Y[rng.permutation(len(Y))]
    head = Logistic().fit(X, mixed)
    made = method(name).fit(head, TARGET, source=Source.of(X, mixed))
    assert made.score(TARGET, TRUTH) < 0.6


@pytest.mark.parametrize("name", ["match-mean", "match-deviation", "match-covariance"])
def test_equal_samples_are_not_moved(name):
    made = ROWS[name].make().fit(started(name), X, source=SOURCE)
    np.testing.assert_allclose(made.map.apply(X), X, atol=1e-8)


@pytest.mark.parametrize("name", ["match-deviation", "match-covariance", "transport", "shot-im"])
def test_a_planted_move_is_undone(name):
    before = started(name).score(TARGET, TRUTH)
    assert before < 0.8
    assert ROWS[name].make().fit(started(name), TARGET, source=SOURCE).score(TARGET, TRUTH) > 0.9


@pytest.mark.parametrize("name", ["bbse", "mlls"])
def test_planted_class_shares_are_found(name):
    x, y = planted(400, seed=4)
    kept = (y != "boat") | (np.arange(len(y)) % 16 == 1)
    made = ROWS[name].make().fit(started(name), x[kept], source=SOURCE)
    truth = np.array([(y[kept] == c).mean() for c in made.classes]) / 0.25
    np.testing.assert_allclose(made.weight, truth, atol=0.15)


def test_zero_strength_is_the_head_itself():
    head = started("lame")
    lame = ROWS["lame"].make({"weight": 0.0}).fit(head, TARGET)
    np.testing.assert_allclose(lame.predict_proba(TARGET), head.predict_proba(TARGET), atol=1e-9)


def test_a_head_that_is_not_linear_is_refused_where_one_is_needed():
    named = Prototypes(CLASSES, CENTRES)
    cache = catalogue.find("head", "tip-adapter").make().fit(X, Y, prototypes=named)
    for name in ("shot-im", "reclip"):
        with pytest.raises(ConjoinError, match="the head is cache; give a linear head"):
            ROWS[name].make().fit(cache, TARGET)
    assert NearestMean().fit(X, Y).name == "linear"
