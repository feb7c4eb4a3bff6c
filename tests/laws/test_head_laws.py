"""What every head of the catalogue promises."""

import inspect
from dataclasses import fields

import numpy as np
import pytest

from conjoin import catalogue
from conjoin.errors import ConjoinError, StateError
from conjoin.storage.files import write_arrays
from conjoin.transfer.base import Classifier, Head, Prototypes
from conjoin.transfer.heads import load_head, save_head

ROWS = catalogue.of_kind("head")
CLASSES = ("bird", "boat", "book", "bread")
OVER_CLASSES = [name for name, row in ROWS.items() if row.load().answers == "classes"]
ALL = pytest.mark.parametrize("name", OVER_CLASSES)
LEARNS = [name for name in OVER_CLASSES if name != "majority"]


def planted(n: int = 80, dim: int = 8, seed: int = 0, noise: float = 0.25):
    """Rows of four classes around unit centres, and the centres as prototypes."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(np.random.default_rng(5).normal(size=(dim, dim)))[0][:4]
    owner = np.arange(n) % 4
    x = centres[owner] + noise * rng.normal(size=(n, dim)) / np.sqrt(dim)
    named = Prototypes(np.array(CLASSES), centres)
    return x, np.array(CLASSES)[owner], named


def method(name):
    quick = {"steps": 40, "hidden": 16} if ROWS[name].cost == "trained" else {}
    known = {field.name for field in fields(ROWS[name].load())}
    return ROWS[name].make({key: value for key, value in quick.items() if key in known})


def fitted(name, x, y, named, seed=0):
    return method(name).fit(x, y, prototypes=named, seed=seed)


@ALL
def test_it_keeps_the_interface(name):
    x, y, named = planted()
    assert isinstance(ROWS[name].make(), Head)
    head = fitted(name, x, y, named)
    assert isinstance(head, Classifier)
    assert ROWS[name].load().prototypes in ("needed", "used", "unused")
    assert list(head.classes) == sorted(CLASSES)
    p = head.predict_proba(x)
    assert p.shape == (len(x), 4)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert (p >= 0).all()
    assert np.array_equal(head.predict(x), head.classes[p.argmax(axis=1)])


@pytest.mark.parametrize("name", LEARNS)
def test_planted_classes_are_told_apart(name):
    x, y, named = planted()
    new, truth, _ = planted(seed=1)
    assert fitted(name, x, y, named).score(new, truth) > 0.95


@ALL
def test_rows_may_come_in_any_order(name):
    x, y, named = planted()
    order = np.random.default_rng(1).permutation(len(x))
    one = fitted(name, x, y, named).predict_proba(x)
    other = fitted(name, x[order], y[order], named).predict_proba(x)
    loose = 0.2 if ROWS[name].cost == "trained" else 1e-4
    np.testing.assert_allclose(one, other, atol=loose)


@pytest.mark.parametrize("name", LEARNS)
def test_classes_may_have_any_names(name):
    x, y, named = planted()
    places = {c: 10 - i for i, c in enumerate(CLASSES)}
    numbers = np.array([places[c] for c in y])
    other = Prototypes(np.array([places[c] for c in named.labels]), named.vectors)
    one, two = fitted(name, x, y, named), fitted(name, x, numbers, other)
    assert two.classes.dtype.kind == "i"
    assert [places[c] for c in one.predict(x)] == two.predict(x).tolist()


@ALL
def test_a_row_is_answered_alike_alone_and_among_others(name):
    x, y, named = planted()
    head = fitted(name, x, y, named)
    whole = head.predict_proba(x)
    np.testing.assert_allclose(
        np.concatenate([head.predict_proba(x[i : i + 1]) for i in range(8)]), whole[:8], atol=1e-6
    )
    np.testing.assert_allclose(head.predict_proba(x.astype(np.float32)), whole, atol=2e-3)


@ALL
def test_the_same_seed_gives_the_same_head(name):
    x, y, named = planted()
    one, two = fitted(name, x, y, named, 3), fitted(name, x, y, named, 3)
    assert one.predict_proba(x).tobytes() == two.predict_proba(x).tobytes()


@ALL
@pytest.mark.parametrize("kind", ["str", "int"])
def test_saving_and_loading_is_exact(name, kind, tmp_path):
    x, y, named = planted()
    if kind == "int":
        y = np.searchsorted(CLASSES, y)
        named = Prototypes(np.searchsorted(CLASSES, named.labels), named.vectors)
    head = fitted(name, x, y, named)
    save_head(head, tmp_path / "head", {"frame": "f"})
    again, about = load_head(tmp_path / "head")
    assert about == {"frame": "f"}
    assert again.predict_proba(x).tobytes() == head.predict_proba(x).tobytes()
    assert np.array_equal(again.predict(x), head.predict(x))
    assert again.classes.dtype.kind == head.classes.dtype.kind


@ALL
def test_bad_input_is_refused_by_name(name):
    x, y, named = planted()
    head = method(name)
    spoilt = x.copy()
    spoilt[7, 2] = np.nan
    with pytest.raises(ConjoinError, match="x: row 7 holds NaN"):
        head.fit(spoilt, y, prototypes=named)
    lost = y.astype(object)
    lost[3] = None
    with pytest.raises(ConjoinError, match="y: 1 of 80 are missing, the first in row 3"):
        head.fit(x, lost, prototypes=named)
    with pytest.raises(ConjoinError, match="y: 79 for 80 items"):
        head.fit(x, y[1:], prototypes=named)
    made = head.fit(x, y, prototypes=named)
    with pytest.raises(ConjoinError, match="x: has 5 dimensions; give vectors of 8"):
        made.predict(x[:, :5])
    with pytest.raises(ConjoinError, match=r"'brid' was not trained on; fit .* did you mean bird"):
        made.score(x[:1], ["brid"])


@ALL
def test_one_class_is_refused(name):
    x, y, named = planted()
    if ROWS[name].load().prototypes == "needed":
        with pytest.raises(ConjoinError, match="needs class prototypes"):
            ROWS[name].make().fit(x, y)
        named = Prototypes(np.array(["bird"]), named.vectors[:1])
    else:
        named = None
        if name == "cross-modal":
            with pytest.raises(ConjoinError, match="needs class prototypes"):
                ROWS[name].make().fit(x, y)
            return
    with pytest.raises(ConjoinError, match="'bird', one class; give two classes"):
        ROWS[name].make().fit(x[::4], y[::4], prototypes=named)


@pytest.mark.parametrize("name", [n for n in OVER_CLASSES if ROWS[n].load().prototypes == "needed"])
def test_names_alone_suffice(name):
    x, y, named = planted()
    head = ROWS[name].make().fit(np.empty((0, 8)), np.empty(0, str), prototypes=named)
    assert head.score(x, y) > 0.95


def test_numbers_are_predicted_and_kept(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    y = x @ rng.normal(size=5) + 3
    head = ROWS["ridge-regressor"].make({"lam": 1e-4}).fit(x, y)
    np.testing.assert_allclose(head.predict(x), y, atol=0.02)
    save_head(head, tmp_path / "head")
    again, _ = load_head(tmp_path / "head")
    assert again.predict(x).tobytes() == head.predict(x).tobytes()
    both = ROWS["ridge-regressor"].make().fit(x, np.stack([y, -y], axis=1))
    assert both.predict(x).shape == (60, 2)
    with pytest.raises(ConjoinError, match="y: is not numbers"):
        ROWS["ridge-regressor"].make().fit(x, ["a"] * 60)


def test_a_torn_file_is_refused(tmp_path):
    (tmp_path / "torn").write_bytes(b"no head at all")
    with pytest.raises(StateError, match="torn"):
        load_head(tmp_path / "torn")
    write_arrays(tmp_path / "other", {"a": np.zeros(2)}, {"map": "affine"})
    with pytest.raises(StateError, match="holds no head"):
        load_head(tmp_path / "other")


def test_every_head_is_a_frozen_engine_with_seeded_fit():
    for row in ROWS.values():
        assert "seed" in inspect.signature(row.load().fit).parameters
