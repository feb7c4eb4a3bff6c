"""What every composer of the catalogue keeps."""

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.retrieval.queries.composition import QueryComposition, load_composed, save_composed
from conjoin.spaces import unit

ROWS = of_kind("query-composition")
each = pytest.mark.parametrize("name", sorted(ROWS))
SMALL = {"combiner": {"steps": 8, "hidden": 32, "projection": 16},
         "transagg": {"steps": 8, "hidden": 32}}  # fmt: skip


def triplets(m=40, d=8, seed=0):
    rng = np.random.default_rng(seed)
    reference, change = (unit(rng.normal(size=(m, d))) for _ in range(2))
    target = unit(reference + change + 0.2 * rng.normal(size=(m, d)))
    return reference, change, target


@pytest.fixture(scope="module", params=sorted(ROWS))
def fitted(request):
    made = ROWS[request.param].make(SMALL.get(request.param))
    assert isinstance(made, QueryComposition)
    return request.param, made, made.fit(*triplets(), seed=3)


def test_scores_are_one_a_row_and_finite(fitted):
    reference, change, target = triplets()
    found = fitted[2].scores(np.stack([reference[0], change[0]]), np.ones(2), target)
    assert found.shape == (len(target),)
    assert np.isfinite(found).all()


def test_a_vector_where_there_is_one_says_the_scores(fitted):
    reference, change, target = triplets()
    parts = np.stack([reference[0], change[0]])
    vector = fitted[2].vector(parts, np.ones(2))
    if vector is None:
        pytest.skip("says more than a vector")
    np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-5)
    np.testing.assert_allclose(fitted[2].scores(parts, np.ones(2), target), target @ vector,
                               atol=1e-6)  # fmt: skip


def test_rows_permute(fitted):
    reference, change, target = triplets()
    parts = np.stack([reference[0], change[0]])
    order = np.random.default_rng(1).permutation(len(target))
    np.testing.assert_allclose(
        fitted[2].scores(parts, np.ones(2), target[order]),
        fitted[2].scores(parts, np.ones(2), target)[order], atol=1e-9,
    )  # fmt: skip


def test_the_same_seed_gives_the_same(fitted):
    _, made, one = fitted
    two = made.fit(*triplets(), seed=3)
    for key, value in one.arrays().items():
        np.testing.assert_array_equal(two.arrays()[key], value)


def test_saving_is_exact(fitted, tmp_path):
    name, _, one = fitted
    path = tmp_path / "c.safetensors"
    fields = {} if name not in SMALL else dict(SMALL[name])
    save_composed(path, name, fields, one, "frame-a")
    back_name, back = load_composed(path, "frame-a")
    assert back_name == name
    reference, change, target = triplets()
    parts = np.stack([reference[2], change[2]])
    np.testing.assert_array_equal(
        back.scores(parts, np.ones(2), target), one.scores(parts, np.ones(2), target)
    )
    with pytest.raises(ConjoinError, match="another frame"):
        load_composed(path, "frame-b")


@each
def test_a_target_that_is_the_sum_is_found(name):
    if name == "change-alone":
        pytest.skip("looks at one part only")
    fields = {"combiner": {"steps": 60, "hidden": 64, "projection": 32},
              "transagg": {"steps": 60, "hidden": 64}}  # fmt: skip
    reference, change, target = triplets(200, 12)
    ready = ROWS[name].make(fields.get(name)).fit(reference[:150], change[:150], target[:150])
    found = [
        ready.scores(np.stack([r, c]), np.ones(2), target).argmax() == at
        for at, r, c in zip(range(150, 200), reference[150:], change[150:], strict=True)
    ]
    assert np.mean(found) > 0.6
