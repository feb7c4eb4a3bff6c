"""What every way of keeping experts promises."""

import numpy as np
import pytest

from conjoin import catalogue
from conjoin.models.merging.store import Packing, store, take

from copies import changes, experts, made  # isort: skip

ROWS = catalogue.of_kind("expert-store")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return made(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("name", ROWS)
def test_a_bit_for_each_number_and_no_more_error_than_the_base(name, home, tmp_path):
    engine = ROWS[name].make()
    assert isinstance(engine, Packing)
    rng = np.random.default_rng(0)
    delta, total = rng.normal(size=(2, 64))
    bits = engine.pack(delta, total)
    assert bits.dtype == bool
    assert bits.shape == delta.shape
    back = engine.unpack(bits, total, float(np.abs(delta).mean()))
    assert ((back - delta) ** 2).sum() < (delta**2).sum()
    base = home / "tiny" / "model"
    kept = store(base, experts(home), tmp_path / "kept", name)
    assert all(0 < error < 1 for error in kept.errors.values())
    again = store(base, experts(home), tmp_path / "again", name)
    assert again.errors == kept.errors
    for own in ("one", "two"):
        paths = [take(kept.folder, own, tmp_path / f"{own}-{i}") for i in range(2)]
        one, other = (changes(path, base) for path in paths)
        for tensor in one:
            np.testing.assert_array_equal(one[tensor], other[tensor])


def test_one_expert_alone_comes_back_whole(home, tmp_path):
    base = home / "tiny" / "model"
    kept = store(base, {"one": home / "one"}, tmp_path / "kept")
    assert kept.errors == {"one": 0.0}
    found, own = (
        changes(take(kept.folder, "one", tmp_path / "o"), base),
        changes(home / "one", base),
    )
    for name in own:
        np.testing.assert_allclose(found[name], own[name], atol=1e-7)
