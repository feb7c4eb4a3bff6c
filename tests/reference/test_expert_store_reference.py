"""Slow restatements of what bits keep of an expert."""

import numpy as np
import pytest

from conjoin import catalogue
from conjoin.encoders.open import open_encoder
from conjoin.models.merging.store import SharedVector, SignBits, store, take

from copies import changes, experts, made  # isort: skip

ROWS = catalogue.of_kind("expert-store")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return made(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("method", ROWS)
def test_what_is_taken_out_is_the_formula_and_the_error_that_was_told(home, tmp_path, method):
    base = home / "tiny" / "model"
    kept = store(base, experts(home), tmp_path / "kept", method)
    own = {name: changes(folder, base) for name, folder in experts(home).items()}
    for name in own:
        back = changes(take(kept.folder, name, tmp_path / name), base)
        lost = whole = 0.0
        for tensor, delta in own[name].items():
            if method == "sign-bits":
                size = np.mean([abs(x) for x in delta])
                slow = np.array([size if x > 0 else -size for x in delta])
            else:
                total = sum(each[tensor] for each in own.values())
                slow = np.array([
                    t if abs(d) > abs(t - d) else 0.0 for d, t in zip(delta, total, strict=True)
                ])  # fmt: skip
                # Each bit has the smaller error of the two.
                other = np.where(slow != 0, 0.0, total)
                assert (np.abs(slow - delta) <= np.abs(other - delta) + 1e-9).all()
            np.testing.assert_allclose(back[tensor], slow, atol=2e-7)
            lost += ((slow - delta) ** 2).sum()
            whole += (delta**2).sum()
        assert kept.errors[name] == pytest.approx(np.sqrt(lost / whole), rel=1e-4)
        assert open_encoder(f"st:{tmp_path / name}").frame.dim == 32


def test_signs_have_the_size_of_least_squared_error():
    rng = np.random.default_rng(0)
    delta = rng.normal(size=50)
    bits = SignBits().pack(delta, delta)
    size = float(np.abs(delta).mean())

    def error(alpha):
        return ((SignBits().unpack(bits, delta, alpha) - delta) ** 2).sum()

    assert error(size) < min(error(size * 1.05), error(size * 0.95))
    assert SharedVector(strictness=0.0).pack(delta, 3 * delta).all()
