"""What every correction of the catalogue keeps."""

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.retrieval.engines.exact import top_k
from conjoin.retrieval.hubness import csls as module
from conjoin.retrieval.hubness import query_bank as banks
from conjoin.retrieval.hubness.csls import Correction, Corrector
from conjoin.spaces import unit

ROWS = of_kind("correction")


@pytest.fixture(params=sorted(ROWS))
def method(request):
    return ROWS[request.param].make()


@pytest.fixture
def data():
    """Gallery, query bank, queries and gallery bank."""
    rng = np.random.default_rng(5)
    return tuple(
        unit(rng.standard_normal((n, 12))).astype(np.float32) for n in (300, 80, 40, 60)
    )  # fmt: skip


def test_it_is_a_corrector(method):
    assert isinstance(method, Corrector)


def test_its_tries_are_settings_of_it(method):
    row = ROWS[method.name]
    for fields in method.tries:
        assert row.make(fields).name == method.name


def test_equal_offsets_leave_the_ranking(method, data):
    gallery, bank, queries, items = data
    fitted = method.fit(gallery, bank, items)
    shown = fitted.items(gallery)
    flat = Correction(
        fitted.method, fitted.scale, np.ones_like(fitted.offset), None, fitted.query_map
    )
    np.testing.assert_array_equal(flat.top_k(queries, shown, 20)[1], top_k(queries, shown, 20)[1])


def test_moved_galleries_mint_a_frame(method, data):
    gallery, bank, _, items = data
    fitted = method.fit(gallery, bank, items)
    assert (fitted.gallery_map is None) == (fitted.query_map is None)
    if fitted.gallery_map is None:
        pytest.skip("leaves the gallery")
    assert fitted.gallery_map.target == fitted.query_map.target
    assert fitted.gallery_map.target != method.fit(gallery, bank[1:], items).gallery_map.target
    assert fitted.items(gallery).shape == gallery.shape
    np.testing.assert_allclose(np.linalg.norm(fitted.items(gallery), axis=1), 1, atol=1e-5)


def test_streaming_is_one_block(method, data, monkeypatch):
    gallery, bank, _, items = data
    whole = method.fit(gallery, bank, items)
    monkeypatch.setattr(module, "TILE", (7, 11))
    monkeypatch.setattr(banks, "TILE", (7, 11))
    again = method.fit(gallery, bank, items)
    np.testing.assert_allclose(again.offset, whole.offset, atol=2e-7)
    same_gates(again, whole)


def same_gates(a, b):
    assert (a.active is None) == (b.active is None)
    if a.active is not None:
        np.testing.assert_array_equal(a.active, b.active)


def test_extending_is_fitting_at_once(method, data):
    gallery, bank, _, items = data
    whole = method.fit(gallery, bank, items)
    grown = method.fit(gallery[:90], bank, items).extend(gallery[90:200]).extend(gallery[200:])
    np.testing.assert_allclose(grown.offset, whole.offset, atol=2e-7)
    same_gates(grown, whole)
    assert grown.scale == whole.scale
    np.testing.assert_array_equal(grown.items(gallery), whole.items(gallery))


def test_rows_permute(method, data):
    gallery, bank, _, items = data
    order = np.random.default_rng(0).permutation(len(gallery))
    turned = np.random.default_rng(1).permutation(len(bank))
    one, other = method.fit(gallery[order], bank[turned], items), method.fit(gallery, bank, items)
    np.testing.assert_allclose(one.offset, other.offset[order], atol=2e-7)
    np.testing.assert_allclose(one.items(gallery), other.items(gallery), atol=1e-6)


def test_saving_is_exact(method, data, tmp_path):
    gallery, bank, queries, items = data
    fitted = method.fit(gallery, bank, items)
    fitted.save(tmp_path / "c.safetensors")
    again = Correction.load(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(again.offset, fitted.offset)
    more = gallery[:5]
    np.testing.assert_array_equal(again.extend(more).offset, fitted.extend(more).offset)
    shown = fitted.items(gallery)
    for a, b in zip(
        again.top_k(queries, again.items(gallery), 9), fitted.top_k(queries, shown, 9), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_a_ranking_is_that_of_a_search(method, data):
    gallery, bank, queries, items = data
    fitted = method.fit(gallery, bank, items)
    shown, truth = fitted.items(gallery), np.arange(len(queries))
    wanted = Relevance(truth, np.arange(len(queries) + 1), truth, np.arange(len(gallery)))
    rows = fitted.top_k(queries, shown, len(gallery))[1]
    found = 1 + np.argmax(rows == truth[:, None], axis=1)
    np.testing.assert_array_equal(fitted.rank(queries, shown, wanted).best, found)


def test_a_bank_without_rows_is_refused(method, data):
    gallery, bank, _, items = data
    with pytest.raises(ConjoinError, match="bank is empty"):
        method.fit(gallery, bank[:0], items)


def test_a_planted_hub_is_demoted(method, data):
    if method.name.startswith("invgc"):
        pytest.skip("pushes rows from their neighbours; a row amid all others becomes a larger hub")
    queries, bank, _, items = data
    rng = np.random.default_rng(9)
    shared = unit(rng.standard_normal(12))
    bank, queries = (unit(x + 0.8 * shared) for x in (bank, queries))
    partners = unit(queries + 0.35 * rng.standard_normal(queries.shape))
    gallery = np.concatenate([partners, shared[None]]).astype(np.float32)
    hub = len(gallery) - 1
    plain = top_k(queries, gallery, 3)[1]
    fitted = method.fit(gallery, bank, unit(items + 0.8 * shared).astype(np.float32))
    corrected = fitted.top_k(queries, fitted.items(gallery), 3)[1]
    assert (plain == hub).sum() >= 20
    assert (corrected == hub).sum() < (plain == hub).sum() / 2
    truth = np.arange(len(queries))
    assert (corrected[:, 0] == truth).mean() >= (plain[:, 0] == truth).mean()


def test_rows_taken_away_and_put_back_leave_every_score(method, data):
    gallery, bank, _, items = data
    fitted = method.fit(gallery, bank, items)
    gone = np.array([0, 7, 8, 150, 299])
    stay = np.setdiff1d(np.arange(len(gallery)), gone)
    less = fitted.without(gone)
    np.testing.assert_array_equal(less.offset, np.asarray(fitted.offset)[stay])
    again = less.extend(gallery[gone])
    order = np.append(stay, gone)
    np.testing.assert_allclose(again.offset, np.asarray(fitted.offset)[order], atol=1e-5)
    if fitted.active is not None:  # gates are of rows, not of their old numbers
        np.testing.assert_array_equal(less.active, fitted.active[stay])
        np.testing.assert_array_equal(again.active, fitted.active[order])
