"""CSLS against the paper's formula; corrections with gates and maps."""

import numpy as np
import pytest

from conjoin.errors import ConjoinError
from conjoin.maps.base import Affine
from conjoin.retrieval.engines.exact import top_k
from conjoin.retrieval.hubness.csls import CSLS, Correction, largest, mean_nearest
from conjoin.spaces import unit

rng = np.random.default_rng(3)
GALLERY = unit(rng.standard_normal((70, 8))).astype(np.float32)
BANK = unit(rng.standard_normal((50, 8)) + 0.5).astype(np.float32)
QUERIES = unit(rng.standard_normal((20, 8)) + 0.5).astype(np.float32)


def csls_of_the_paper(query, gallery, bank, k):
    """``2 cos(q, x) − r_T(q) − r_S(x)``, means written out over the k nearest."""
    scores = []
    nearest_gallery = sorted((float(query @ x) for x in gallery), reverse=True)[:k]
    for x in gallery:
        nearest_bank = sorted((float(b @ x) for b in bank), reverse=True)[:k]
        scores.append(2 * float(query @ x) - sum(nearest_gallery) / k - sum(nearest_bank) / k)
    return np.array(scores)


@pytest.mark.parametrize("k", [1, 4, 10])
def test_csls_is_the_papers_up_to_a_constant_a_query(k):
    scores, rows = CSLS(k).fit(GALLERY, BANK).top_k(QUERIES, GALLERY, len(GALLERY))
    for query, line, order in zip(QUERIES, scores, rows, strict=True):
        want = csls_of_the_paper(query, GALLERY, BANK, k)
        gap = line - want[order]
        np.testing.assert_allclose(gap, gap[0], atol=2e-6)
        assert np.all(np.diff(want[order]) <= 2e-6)


def test_a_bank_smaller_than_k_is_used_whole():
    fitted = CSLS(200).fit(GALLERY, BANK)
    np.testing.assert_allclose(fitted.offset[:, 0], (GALLERY @ BANK.T).mean(axis=1), atol=1e-6)


def test_lengths_do_not_matter():
    plain = CSLS().fit(GALLERY, BANK).offset
    np.testing.assert_allclose(CSLS().fit(GALLERY * 7, BANK * 3).offset, plain, atol=1e-6)


def test_a_gate_opens_the_offsets_of_the_row_most_alike():
    offset = rng.random((70, 2)).astype(np.float32)
    active = rng.random((70, 2)) > 0.5
    fitted = Correction("csls", 1.5, offset, active)
    scores, rows = fitted.top_k(QUERIES, GALLERY, 70)
    for query, line, order in zip(QUERIES, scores, rows, strict=True):
        alike = int(np.argmax(GALLERY @ query))
        want = 1.5 * GALLERY @ query - offset @ active[alike].astype(float)
        np.testing.assert_allclose(line, want[order], atol=1e-5)


def test_maps_of_both_sides_are_kept(tmp_path):
    turn = np.linalg.qr(rng.standard_normal((8, 8)))[0].astype(np.float32)
    zero = np.zeros(8, np.float32)
    held = Affine(turn, zero, zero)
    fitted = Correction("csls", 1.0, np.zeros((70, 1), np.float32), None, held, held)
    fitted.save(tmp_path / "c.safetensors")
    again = Correction.load(tmp_path / "c.safetensors")
    rows = again.top_k(QUERIES, again.items(GALLERY), 9)[1]
    np.testing.assert_array_equal(rows, top_k(QUERIES, GALLERY, 9)[1])


def test_bad_parts_are_named():
    with pytest.raises(ConjoinError, match="bank is empty"):
        CSLS().fit(GALLERY, BANK[:0])
    with pytest.raises(ConjoinError, match="scale"):
        Correction("csls", 0.0, np.zeros((3, 1)))
    with pytest.raises(ConjoinError, match="finite"):
        Correction("csls", 1.0, np.full((3, 1), np.nan))


@pytest.mark.parametrize(("width", "k"), [(5, 3), (64, 1), (700, 4), (700, 11), (3, 9)])
def test_the_largest_of_a_line_are_those_of_a_sort(width, k):
    rng = np.random.default_rng(width + k)
    values = rng.normal(size=(40, width)).astype(np.float32)
    values[:10] = values[:10].round(1)  # ties
    values[10:14] = -np.inf
    values[14, 2:] = -np.inf
    want = np.full((40, max(k, width)), -np.inf, dtype=np.float32)
    want[:, :width] = -np.sort(-values, axis=1)
    np.testing.assert_array_equal(largest(values, k), want[:, :k])


@pytest.mark.parametrize("tile", [(7, 64), (64, 33), (4096, 4096)])
def test_neighbourhoods_leave_partners_out_however_they_are_walked(monkeypatch, tile):
    monkeypatch.setattr("conjoin.retrieval.hubness.csls.TILE", tile)
    rng = np.random.default_rng(4)
    x, bank = (rng.normal(size=(n, 6)).astype(np.float32) for n in (50, 300))
    of_x, of_bank = rng.integers(-1, 20, 50), rng.integers(-1, 20, 300)
    alike = (x / np.linalg.norm(x, axis=1)[:, None]) @ (
        bank / np.linalg.norm(bank, axis=1)[:, None]
    ).T
    alike[(of_x[:, None] == of_bank) & (of_bank >= 0)] = np.nan
    found = mean_nearest(x, unit(bank), [2, 7, 400], (of_x, of_bank))
    for place, k in enumerate([2, 7, 400]):
        want = [np.mean(np.sort(line[~np.isnan(line)])[::-1][:k]) for line in alike]
        np.testing.assert_allclose(found[:, place], want, atol=1e-6)


def test_a_bank_of_nothing_but_partners_is_refused():
    own = np.zeros(5, dtype=np.int64)
    with pytest.raises(ConjoinError, match="own partners"):
        mean_nearest(np.eye(5, dtype=np.float32), np.eye(5, dtype=np.float32), [2], (own, own))
