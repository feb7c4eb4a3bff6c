"""Cells spoilt on purpose: nothing at severity 0, more at 5, the same for an item every time."""

import io

import numpy as np
import pytest
from PIL import Image

from conjoin.errors import ConjoinError
from conjoin.quality.robustness.corruptions import ATTRIBUTES, IMAGES, TEXTS, Corruption

TEXT = "a grinning cat sits beside two green apples on the wooden table"


def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 3))
    pixels[30:80, 30:80] = (250, 20, 20)
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def pixels(cell):
    return np.asarray(Image.open(io.BytesIO(cell)).convert("RGB"), float)


def test_severity_0_is_the_cell_itself_and_an_item_is_spoilt_alike_every_time():
    cell = picture()
    for name in (*IMAGES, *TEXTS):
        given = cell if name in IMAGES else TEXT
        assert Corruption(name, 0)(given, "7") is given, name
        assert Corruption(name, 3)(given, "7") == Corruption(name, 3)(given, "7"), name
        assert Corruption(name, 3).kind == ("image" if name in IMAGES else "text")


def test_pictures_lie_further_off_at_5_than_at_1():
    cell = picture()
    for name in IMAGES:
        near, far = (np.abs(pixels(Corruption(name, s)(cell, "7")) - pixels(cell)).mean()
                     for s in (1, 5))  # fmt: skip
        assert 0 < near < far, name


def test_texts_keep_something_and_change_more_at_5():
    assert sorted(Corruption("swaps", 5)(TEXT, "7")) == sorted(TEXT)
    assert len(Corruption("losses", 1)(TEXT, "7")) > len(Corruption("losses", 5)(TEXT, "7")) > 0
    assert len(Corruption("words", 5)(TEXT, "7").split()) < len(TEXT.split())
    assert Corruption("words", 5)("cat", "7") == "cat"
    more = [word for word in Corruption("attributes", 3)("cat", "7").split() if word != "cat"]
    assert len(more) == 3
    assert set(more) <= set(ATTRIBUTES)


def test_unknown_names_and_severities_are_refused():
    with pytest.raises(ConjoinError, match="did you mean blur"):
        Corruption("blurr")
    for severity in (-1, 6):
        with pytest.raises(ConjoinError, match="give 0 to 5"):
            Corruption("blur", severity)
