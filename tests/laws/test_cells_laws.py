"""What everything that cuts cells keeps."""

import io
import wave

import numpy as np
import pytest
from PIL import Image

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.models.pretraining.cells import Cells, Letters, open_cells
from conjoin.spaces import Tokens

RNG = np.random.default_rng(0)
PICTURES = [Image.fromarray(RNG.integers(0, 255, (40, 30, 3), dtype=np.uint8)) for _ in "abc"]
SERIES = [RNG.normal(size=(n, 2)) for n in (5, 24, 31)]
TEXTS = ["Red Heart", "a  blue fish", "clapping hands", "Heart"]


def column(kind):
    if kind == "text":
        return TEXTS
    if kind == "image":
        return PICTURES
    if kind == "series":
        return SERIES
    return [sound(200), sound(400)]


def sound(pitch) -> bytes:
    """Half a second of a tone, as a WAV file."""
    wave_form = 8000 * np.sin(2 * np.pi * pitch * np.arange(8000) / 16000)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(wave_form.astype("<i2").tobytes())
    return file.getvalue()


@pytest.fixture(scope="module")
def opened():
    found = {}
    for name, row in of_kind("cells").items():
        kind = row.load().kind
        found[name] = open_cells(name, column=lambda kind=kind: iter(column(kind))), kind
    return found


def test_they_give_token_sets_of_their_frame(opened):
    for name, (cells, kind) in opened.items():
        assert isinstance(cells, Cells), name
        given = column(kind)
        sets = cells.forward([cells.decode(cell) for cell in given])
        assert isinstance(sets, Tokens), name
        assert (len(sets), sets.dim) == (len(given), cells.frame.dim), name
        if cells.vocabulary:
            ids = sets.vectors.ravel()
            assert (ids == ids.astype(int)).all(), name
            assert ids.min() >= 0, name
            assert ids.max() < cells.vocabulary, name


def test_what_they_saw_opens_them_again(opened):
    for name, (cells, kind) in opened.items():
        again = open_cells(name, state=cells.state())
        assert again.frame == cells.frame, name
        one = column(kind)[0]
        np.testing.assert_array_equal(
            again.forward([again.decode(one)]).vectors, cells.forward([cells.decode(one)]).vectors
        )


def test_letters_spell_what_was_read():
    cells = Letters().prepare(TEXTS)
    for text in TEXTS:
        assert cells.text(cells.decode(text)[:, 0]) == " ".join(text.lower().split())
    assert cells.text(cells.decode("xqz heart")[:, 0]) == " heart"
    with pytest.raises(ConjoinError, match="no text"):
        Letters().prepare([])


def test_patches_are_the_picture():
    pixels = RNG.integers(0, 255, (16, 16, 3), dtype=np.uint8)
    cells = open_cells("patches:4:4")
    made = cells.decode(Image.fromarray(pixels)).reshape(4, 4, 3, 4, 4)
    back = made.transpose(0, 3, 1, 4, 2).reshape(16, 16, 3)
    np.testing.assert_allclose(back * 255, pixels, atol=1e-3)


def test_unknown_cells_are_named():
    with pytest.raises(ConjoinError, match="did you mean letters"):
        open_cells("leters")
    with pytest.raises(ConjoinError, match="no number"):
        open_cells("patches:x")
