"""Pieces of cells: cut alike every time, smaller than the whole, embedded once."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from conjoin.encoders.media.crops import piece
from conjoin.errors import CellError, ConjoinError
from conjoin.project.fit.crops import pieces_of
from conjoin.project.workspace import Workspace


def test_a_run_of_words():
    text = "red heart, emotion, heart, love, red and warm"
    found = {piece(text, "text", 0, str(n)) for n in range(40)}
    assert len(found) > 10
    for cut in found:
        assert cut in text
        assert 0 < len(cut.split()) < len(text.split())
    assert piece(text, "text", 0, "a") == piece(text, "text", 0, "a")
    assert piece(text, "text", 0, "a") != piece(text, "text", 1, "a")


def test_a_run_of_characters_where_there_are_no_spaces():
    cut = piece("ありがとうございます", "text", 0, "a")
    assert cut in "ありがとうございます"
    assert 0 < len(cut) < 10


def test_a_crop_keeps_the_shape():
    picture = Image.fromarray(np.arange(60 * 40 * 3, dtype=np.uint8).reshape(40, 60, 3))
    cut = piece(picture, "image", 0, "a")
    assert cut.size[0] < 60
    assert cut.size[1] < 40
    assert cut.size[0] / cut.size[1] == pytest.approx(1.5, abs=0.1)
    out = io.BytesIO()
    picture.save(out, "PNG")
    assert piece(out.getvalue(), "image", 0, "a").tobytes() == cut.tobytes()


def test_a_stretch_of_sound():
    soundfile = pytest.importorskip("soundfile")
    wave = np.sin(np.arange(8000) / 20).astype(np.float32)
    out = io.BytesIO()
    soundfile.write(out, wave, 8000, format="WAV", subtype="FLOAT")
    cut, rate = soundfile.read(io.BytesIO(piece(out.getvalue(), "audio", 0, "a")), dtype="float32")
    assert rate == 8000
    assert 0.19 * 8000 < len(cut) < 0.71 * 8000
    starts = np.flatnonzero(np.isclose(wave[: 8000 - len(cut) + 1], cut[0]))
    assert any(np.array_equal(wave[s : s + len(cut)], cut) for s in starts)


@pytest.mark.parametrize(("cell", "kind"), [("x", "text"), (b"", "image"), (3, "text")])
def test_what_cannot_be_cut_says_so(cell, kind):
    with pytest.raises(CellError):
        piece(cell, kind, 0, "a")


CONFIG = """version = 1
[items]
table = "items.parquet"
id = "id"
[modalities.text]
column = "text"
encoder = "builtin:chargram"
"""


def opened(folder, texts):
    """A workspace of one column of text, its vectors up to date with the table."""
    columns = {"id": [f"i{n}" for n in range(len(texts))], "text": pa.array(texts, pa.string())}
    parquet.write_table(pa.table(columns), folder / "items.parquet")
    (folder / "conjoin.toml").write_text(CONFIG)
    ws = Workspace(folder)
    if any(texts):
        ws.embed("text")
    return ws


def test_pieces_are_embedded_once_a_side_and_anew_where_a_cell_changed(tmp_path, monkeypatch):
    texts = [f"word{n} colour{n % 7} thing{n % 5}" for n in range(30)]
    seen = []

    def counted(*given):
        seen.append(given[-1])
        return piece(*given)

    monkeypatch.setattr("conjoin.project.fit.crops.piece", counted)

    def asked(ws, side):
        seen.clear()
        space = ws.space("text")
        found = pieces_of(ws, {"text": space}, {"text": np.arange(len(space))}, side)["text"]
        assert sorted(found.ids.tolist()) == sorted(space.ids.tolist())
        assert found.frame == space.frame
        return len(seen)

    ws = opened(tmp_path, texts)
    stores = len(list((ws.state / "spaces").iterdir()))
    assert (asked(ws, "train"), asked(ws, "train"), asked(ws, "held")) == (30, 0, 30)
    changed = opened(tmp_path, ["something else here", *texts[1:25]])
    assert asked(changed, "train") == 1
    assert len(list((ws.state / "spaces").iterdir())) == stores + 2


def test_vectors_of_a_column_that_was_emptied_are_not_used(tmp_path):
    opened(tmp_path, ["some words", "more words"]).spaces()
    with pytest.raises(ConjoinError, match="empty modality"):
        opened(tmp_path, [None, None]).spaces()
