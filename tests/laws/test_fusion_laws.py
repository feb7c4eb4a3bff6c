"""What every fusion of the catalogue keeps."""

import dataclasses

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.fusion.model import Fused, Fusion

ROWS = of_kind("fusion")
SHORT = {"steps": 12, "hidden": 16, "batch": 64}
NAMES = ("a", "b", "c")
ITEMS = 120
each = pytest.mark.parametrize("name", ROWS)


def make(name):
    known = {field.name for field in dataclasses.fields(ROWS[name].load())}
    return ROWS[name].make({k: v for k, v in SHORT.items() if k in known})


def planted(seed=0, items=ITEMS):
    """Three noisy views of a class, a third of the rows absent and holding NaN."""
    rng = np.random.default_rng(seed)
    owner = np.arange(items) % 3
    views, present = {}, {}
    for place, name in enumerate(NAMES):
        centres = 3 * np.random.default_rng(place).normal(size=(3, 4 + place))
        views[name] = (centres[owner] + rng.normal(size=(items, 4 + place))).astype(np.float32)
        present[name] = rng.random(items) > 1 / 3
    present["a"] |= ~(present["b"] | present["c"])
    for name in NAMES:
        views[name][~present[name]] = np.nan
    return views, present, np.array(["x", "y", "z"])[owner]


@pytest.fixture(scope="module")
def fitted():
    """Each method once, fitted to the planted data."""
    views, present, labels = planted()
    return {name: make(name).fit(views, present, labels=labels, seed=3) for name in ROWS}


def test_they_are_frozen_and_fit():
    for name in ROWS:
        method = make(name)
        assert isinstance(method, Fusion)
        assert dataclasses.is_dataclass(method)


@each
def test_any_subset_is_decided(name, fitted):
    views, _, _ = planted(1)
    whole = {key: np.nan_to_num(view) for key, view in views.items()}
    for mask in range(1, 8):
        kept = {key: whole[key] for k, key in enumerate(NAMES) if mask >> k & 1}
        shares = fitted[name].predict_proba(kept, {})
        assert shares.shape == (ITEMS, 3)
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
        assert np.isfinite(fitted[name].apply(kept, {})).all()
        absent = {key: np.full(ITEMS, key in kept) for key in NAMES}
        np.testing.assert_array_equal(fitted[name].predict_proba(whole, absent), shares)


@each
def test_it_learns(name, fitted):
    views, present, labels = planted(2)
    least = 0.6 if ROWS[name].cost == "trained" else 0.8
    assert (fitted[name].predict(views, present) == labels).mean() > least


@each
def test_what_an_absent_row_holds_never_matters(name, fitted):
    views, present, labels = planted()
    other = {key: np.where(present[key][:, None], view, 7.0) for key, view in views.items()}
    again = make(name).fit(other, present, labels=labels, seed=3)
    shares = fitted[name].predict_proba(views, present)
    np.testing.assert_array_equal(again.predict_proba(other, present), shares)
    np.testing.assert_array_equal(
        fitted[name].trust(other, present), fitted[name].trust(views, present)
    )


@each
def test_absent_differs_from_zero(name, fitted):
    views, _, _ = planted()
    whole = {key: np.nan_to_num(view) for key, view in views.items()}
    zero = {**whole, "b": np.zeros_like(whole["b"])}
    absent = {"b": np.zeros(ITEMS, dtype=bool)}
    one, other = fitted[name].scores(zero, {}), fitted[name].scores(zero, absent)
    if ROWS[name].settings.get("fill") == "zero":
        np.testing.assert_allclose(one, other, atol=1e-5)  # that is what it is
        return
    if ROWS[name].settings.get("weigh") == "best":
        trusted = fitted[name].trust(zero, {})
        assert (trusted[:, 1] == 0).all() or np.abs(one - other).max() > 1e-3
        return
    assert np.abs(one - other).max() > 1e-3


@each
def test_rows_permute(name, fitted):
    views, present, _ = planted(4)
    order = np.random.default_rng(0).permutation(ITEMS)
    turned = {key: view[order] for key, view in views.items()}
    there = {key: mask[order] for key, mask in present.items()}
    np.testing.assert_allclose(
        fitted[name].scores(turned, there), fitted[name].scores(views, present)[order],
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip


@each
def test_the_seed_decides(name, fitted):
    views, present, labels = planted()
    again = make(name).fit(views, present, labels=labels, seed=3)
    np.testing.assert_array_equal(again.scores(views, present), fitted[name].scores(views, present))


@each
def test_saving_is_exact(name, fitted, tmp_path):
    views, present, _ = planted(5)
    fitted[name].save(tmp_path / "fused.safetensors")
    back = Fused.load(tmp_path / "fused.safetensors")
    assert back.names == NAMES
    assert back.target.classes == ("x", "y", "z")
    for call in ("scores", "apply", "trust"):
        np.testing.assert_array_equal(
            getattr(back, call)(views, present), getattr(fitted[name], call)(views, present)
        )


@each
def test_trust_is_shared_among_the_present(name, fitted):
    views, present, _ = planted(6)
    trust = fitted[name].trust(views, present)
    here = np.stack([present[key] for key in NAMES], axis=1)
    np.testing.assert_allclose(trust.sum(axis=1), 1, atol=1e-6)
    assert (trust >= 0).all()
    assert (trust[~here] == 0).all()


@each
def test_numbers_are_decided_too(name):
    views, present, labels = planted()
    truth = (labels == "x") * 10.0 + 5
    if ROWS[name].settings.get("weigh") == "entropy":
        with pytest.raises(ConjoinError, match="weighs classes"):
            make(name).fit(views, present, labels=truth)
        return
    fitted = make(name).fit(views, present, labels=truth, seed=1)
    said = fitted.predict(views, present)
    assert said.shape == (ITEMS,)
    assert np.corrcoef(said, truth)[0, 1] > 0.3
    with pytest.raises(ConjoinError, match="no probabilities"):
        fitted.predict_proba(views, present)


@each
def test_bad_input_is_refused_by_name(name, fitted):
    views, present, labels = planted()
    method = make(name)
    with pytest.raises(ConjoinError, match="all 120 are 'x'"):
        method.fit(views, present, labels=np.full(ITEMS, "x"))
    with pytest.raises(ConjoinError, match="labels: none"):
        method.fit(views, present)
    with pytest.raises(ConjoinError, match="labels: 3 for 120 items"):
        method.fit(views, present, labels=labels[:3])
    gone = {**present, "c": np.zeros(ITEMS, bool), "a": np.ones(ITEMS, bool)}
    with pytest.raises(ConjoinError, match="view c: present in no training item"):
        method.fit({**views, "a": np.nan_to_num(views["a"])}, gone, labels=labels)
    with pytest.raises(ConjoinError, match=r"view b: row .* is not finite"):
        method.fit(views, {**present, "b": np.ones(ITEMS, bool)}, labels=labels)
    with pytest.raises(ConjoinError, match=r"view b: row .* is not finite"):
        fitted[name].predict(views, {**present, "b": np.ones(ITEMS, bool)})
    nothing = dict.fromkeys(NAMES, np.zeros(ITEMS, bool))
    for call in (fitted[name].predict, lambda v, p: method.fit(v, p, labels=labels)):
        with pytest.raises(ConjoinError, match="120 of 120 items lack every modality"):
            call(views, nothing)
    with pytest.raises(ConjoinError, match="view b: 7 rows for 120 items"):
        fitted[name].predict({**views, "b": views["b"][:7]}, {})
    with pytest.raises(ConjoinError, match="'d' is unknown"):
        fitted[name].predict({"d": views["a"]}, {})
    with pytest.raises(ConjoinError, match="5 dimensions; give vectors of 4"):
        fitted[name].predict({"a": np.zeros((2, 5))}, {})


@each
def test_one_view_alone_is_decided_by_itself(name):
    """With one view all linear fusions are the same head, and trained ones still learn."""
    views, _, labels = planted(7)
    alone = {"c": np.nan_to_num(views["c"], nan=0.0)}
    here = {"c": np.isfinite(views["c"]).all(axis=1)}
    kept = {key: view[here["c"]] for key, view in alone.items()}
    method = make(name)
    if ROWS[name].cost == "trained":
        known = {field.name for field in dataclasses.fields(method)}
        method = dataclasses.replace(
            method, **{k: v for k, v in {"steps": 60, "dropout": 0.0}.items() if k in known}
        )
    if name == "imputed-logistic":  # which is pulled by all items together, not by each
        method = dataclasses.replace(method, C=1 / (0.01 * here["c"].sum()))
    fitted = method.fit(kept, {}, labels=labels[here["c"]])
    shares = fitted.predict_proba(kept, {})
    if ROWS[name].cost == "trained":
        assert (fitted.predict(kept, {}) == labels[here["c"]]).mean() > 0.5
        return
    plain = ROWS["late"].make().fit(kept, {}, labels=labels[here["c"]])
    np.testing.assert_allclose(shares, plain.predict_proba(kept, {}), atol=2e-3)
