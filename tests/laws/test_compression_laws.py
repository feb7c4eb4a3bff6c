"""What every way of compressing an encoder promises, on tiny encoders with random weights."""

import numpy as np
import pytest

import tiny_text
from conjoin import catalogue
from conjoin.encoders.open import open_encoder
from conjoin.encoders.run import encode
from conjoin.models.compression.base import Compression

ROWS = catalogue.of_kind("compression")
OF_TEXT = [name for name, row in ROWS.items() if "text" in row.load().kinds]
TEXTS, _ = tiny_text.sentences(120)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return f"st:{tiny_text.saved(tmp_path_factory.mktemp('tiny'), layers=3)}"


def vectors(uri, texts=TEXTS):
    x = np.asarray(encode(open_encoder(uri), texts, strict=True).vectors)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("name", ROWS)
def test_every_engine_keeps_the_interface(name):
    engine = ROWS[name].load()
    assert isinstance(engine(), Compression)
    assert engine.tries
    for settings in engine.tries:
        ROWS[name].make(settings)


@pytest.mark.parametrize("name", [n for n in OF_TEXT if ROWS[n].load().whole is not None])
def test_nothing_left_out_gives_the_vectors_of_the_original(name, original, tmp_path):
    row = ROWS[name]
    made = row.load()(**row.load().whole).write(original, TEXTS, tmp_path / "whole")
    made = made.replace("?precision=fast", "")  # bfloat16 moves the last bits, where there is any
    np.testing.assert_allclose(vectors(made), vectors(original), atol=1e-5)


@pytest.mark.parametrize("name", OF_TEXT)
def test_what_is_written_opens_and_stays_near_the_original(name, original, tmp_path):
    settings = ROWS[name].load().tries[0]
    made = ROWS[name].make(settings).write(original, TEXTS[:80], tmp_path / "made", seed=0)
    cosine = (vectors(made, TEXTS[80:]) * vectors(original, TEXTS[80:])).sum(axis=1)
    other = (vectors(made, TEXTS[80:]) * np.roll(vectors(original, TEXTS[80:]), 1, 0)).sum(axis=1)
    assert cosine.mean() > other.mean()
    assert cosine.mean() > 0.8


@pytest.mark.parametrize("name", ["fewer-layers", "fewer-units", "token-table"])
def test_written_twice_gives_the_same_vectors(name, original, tmp_path):
    row = ROWS[name]
    both = [row.make().write(original, TEXTS, tmp_path / f"{i}", seed=3) for i in range(2)]
    np.testing.assert_array_equal(*map(vectors, both))
