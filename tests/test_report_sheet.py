"""Sheets, thumbnails and terminal tables: whole, escaped, and told apart without colour."""

import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from conjoin.errors import ConjoinError
from conjoin.report.pages.sheet import QueryResult, Shown, contact_png, contact_sheet, wrapped
from conjoin.report.terminal import can_draw, half_blocks, print_hits
from conjoin.report.thumbs import MOST_TEXT, picture, thumb
from conjoin.retrieval.hits import Hit, Hits

NASTY = '"><script>alert(1)</script>'


def png(colour=(200, 30, 30), size=(400, 100)):
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def rows():
    shown = thumb(png(), "image", NASTY)
    sound = thumb(b"OggS" + bytes(40), "audio", "a bark")
    return [
        QueryResult(
            thumb(NASTY, "text"),
            NASTY,
            [Shown(shown, "red", 0.9, True), Shown(sound, "bark", 0.5, False)],
            "words",
        ),
        QueryResult(sound, "bark", [Shown(thumb("a dog", "text"), "a dog", 0.25)]),
        QueryResult(shown, "none", []),
    ]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture
def page(tmp_path):
    contact_sheet(NASTY, rows(), tmp_path / "sheet.html")
    return (tmp_path / "sheet.html").read_text()


def test_everything_is_escaped(page):
    assert "<script" not in page
    assert not Page(page).all("script")
    assert page.count("&lt;script&gt;") >= 4


def test_nothing_is_loaded_from_elsewhere(page):
    for _, attrs in Page(page).tags:
        for name in ("src", "href", "poster", "srcset"):
            assert attrs.get(name, "data:").startswith("data:")
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page


def test_it_can_be_heard_and_walked(page):
    read = Page(page)
    assert read.all("html")[0]["lang"] == "en"
    assert all(attrs["alt"] for attrs in read.all("img"))
    assert all(attrs["aria-label"] and "controls" in attrs for attrs in read.all("audio"))
    assert len(read.all("img")) == 2
    assert len(read.all("audio")) == 2
    assert all(attrs["tabindex"] == "0" for attrs in read.all("ol"))
    ids = [attrs["id"] for attrs in read.all("h2")]
    assert ids == [attrs["aria-labelledby"] for attrs in read.all("section")]
    assert "width=device-width" in page
    assert "prefers-color-scheme: dark" in page


def test_the_partner_is_said_in_words(page):
    hits = re.findall(r"<li.*?</li>", page, re.S)
    assert [("✓ partner" in hit) for hit in hits] == [True, False, False]
    assert "in 1 of 1 such row." in page
    assert "Nothing was found." in page


def near(pixels, colour):
    return np.abs(pixels.astype(int) - colour).max(axis=2) < 12


def test_a_picture_without_hits_says_so(tmp_path):
    contact_png([QueryResult(thumb("a dog", "text"), "a dog", [])], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.width > 300


@given(
    text=st.text("ab ,", max_size=60),
    wide=st.integers(4, 30),
    most=st.integers(1, 4),
    indent=st.integers(0, 3),
)
def test_wrapped_words_fit_and_lose_nothing_silently(text, wide, most, indent):
    lines = wrapped(text, len, wide, most, indent)
    assert len(lines) <= most
    assert all(len(line) <= wide - (0 if place else indent) for place, line in enumerate(lines))
    if not any("…" in line for line in lines):
        assert " ".join(lines) == " ".join(text.split())


def test_the_picture_marks_the_partner(tmp_path):
    contact_png(rows(), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] < 1000
    blue = near(pixels, (0x0B, 0x5F, 0xAE))
    assert blue.any()
    right = blue[:, pixels.shape[1] // 3 :]  # the queries' column is left of it
    marked = np.flatnonzero(right.any(axis=1))
    assert marked.max() < pixels.shape[0] / 3
    assert near(pixels, (200, 30, 30)).sum() > 500
    with pytest.raises(ConjoinError, match="no rows"):
        contact_png([], tmp_path / "none.png")


@pytest.mark.parametrize("cell", [b"not a picture", b"", "no/such/file.png"])
@pytest.mark.parametrize("kind", ["image", "audio"])
def test_an_unreadable_cell_is_said_so(cell, kind):
    made = thumb(cell, kind, "mine")
    assert made.kind == "text"
    assert made.text == "mine (cannot be shown)"


def test_pictures_shrink_and_keep_shape_and_clearness(tmp_path):
    (tmp_path / "a.png").write_bytes(png(size=(1000, 250)))
    for cell in (png(size=(1000, 250)), tmp_path / "a.png", np.zeros((250, 1000, 3))):
        with Image.open(io.BytesIO(picture(cell))) as small:
            assert (small.format, small.size) == ("WEBP", (160, 40))
    clear = io.BytesIO()
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(clear, "PNG")
    with Image.open(io.BytesIO(picture(clear.getvalue()))) as small:
        assert small.convert("RGBA").getpixel((5, 5))[3] == 0


def test_long_texts_are_cut():
    made = thumb("word " * 500, "text")
    assert len(made.text) == MOST_TEXT
    assert made.text.endswith("…")


def found():
    hit = Hit("[bold]i1", "image", 2, 0.87654, 1, {"cosine": 0.87654})
    return Hits({"shown": "[red]cat"}, {"image": (hit,)}, "frame")


def console(**options):
    return Console(file=io.StringIO(), width=80, _environ={}, **options)


def test_a_pipe_gets_plain_words():
    out = console(force_terminal=False)
    print_hits(found(), out, lambda hit: thumb(png(), "image", "red"))
    text = out.file.getvalue()
    assert "\x1b" not in text
    for words in ("Query: [red]cat", "[bold]i1 · part 3", "0.877", "[picture] red"):
        assert words in text


def test_a_terminal_gets_pictures(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = console(force_terminal=True, color_system="truecolor")
    assert can_draw(out)
    print_hits(found(), out, lambda hit: thumb(png(), "image", "red"))
    assert "▀" in out.file.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not can_draw(out)


def test_half_blocks_hold_two_pixels_a_letter():
    image = Image.new("RGB", (4, 4))
    image.putpixel((0, 0), (255, 0, 0))
    image.putpixel((0, 1), (0, 0, 255))
    out = io.BytesIO()
    image.save(out, "PNG")
    text = half_blocks(out.getvalue(), 4)
    assert text.plain == "▀▀▀▀\n▀▀▀▀"
    style = text.spans[0].style
    assert (style.color.name, style.bgcolor.name) == ("#ff0000", "#0000ff")
