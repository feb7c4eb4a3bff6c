"""Queries and what they found, as one page that needs nothing else, or as one picture."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from conjoin.errors import ConjoinError
from conjoin.report.thumbs import Thumb
from conjoin.storage.files import atomic


@dataclass(frozen=True)
class Shown:
    """One hit as a reader sees it.

    Parameters
    ----------
    thumb : what is shown of it.
    label : its name.
    score : what it was ranked by.
    partner : whether it is what the query belongs to; ``None`` where not known.
    probability : that it is a match; ``None`` where not known.
    """

    thumb: Thumb
    label: str
    score: float
    partner: bool | None = None
    probability: float | None = None


@dataclass(frozen=True)
class QueryResult:
    """One row of a sheet.

    Parameters
    ----------
    thumb : what is shown of the query.
    label : its name.
    hits : best first.
    note : a line under the query, such as ``picture → text``.
    """

    thumb: Thumb
    label: str
    hits: Sequence[Shown]
    note: str = ""


def contact_sheet(title: str, rows: Sequence[QueryResult], path: Path) -> None:
    """Write one self-contained HTML page: a row a query, its hits in order of rank.

    Pictures and sounds are inlined, nothing is loaded from elsewhere, and every value is escaped.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("conjoin.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known = [row for row in rows if any(hit.partner is not None for hit in row.hits)]
    found = sum(any(hit.partner for hit in row.hits) for row in known)
    page = pages.get_template("sheet.html").render(
        title=title, rows=rows, known=len(known), found=found
    )
    with atomic(path) as file:
        file.write(page.encode())


#: Side of a hit's cell, width of the query's column, height of the words under a cell, and the
#: space between, in points; a picture has :data:`SCALE` pixels a point, for sharp screens.
CELL, ASKED, CAPTION, GAP = 96, 148, 34, 14
SCALE = 2
_INK, _SOFT, _LINE, _CARD, _MARK = "#1a1f27", "#566172", "#cfd5dd", "#eef1f5", "#0b5fae"


def contact_png(rows: Sequence[QueryResult], path: Path) -> None:
    """Draw the sheet as one picture: the query at the left, hits at the right, best first.

    Letters outside the Latin script may be missing; the page of :func:`contact_sheet` has them.

    Raises
    ------
    ConjoinError : there is nothing to draw.
    """
    if not rows:
        raise ConjoinError("contact_png", "no rows", "give at least one query")
    columns = max(1, *(len(row.hits) for row in rows))
    tall = CELL + CAPTION + GAP
    pen = _Pen(ASKED + 2 * GAP + columns * (CELL + GAP) + 2, len(rows) * tall + GAP)
    pen.box(0, 0, ASKED + GAP, pen.tall, fill=_CARD)
    for line, row in enumerate(rows):
        top = GAP + line * tall
        if line:
            pen.box(0, top - GAP / 2 - 1, pen.wide, top - GAP / 2, fill=_LINE)
        _question(pen, top, row)
        for place, hit in enumerate(row.hits):
            left = ASKED + 2 * GAP + place * (CELL + GAP)
            _answer(pen, left, top, hit)
        if not row.hits:
            pen.words(ASKED + 2 * GAP, top + 4, "Nothing was found.", CELL * 2, 1, ink=_SOFT)
    pen.box(0, 0, pen.wide, pen.tall, line=_LINE)
    small = pen.image.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    with atomic(path) as file:
        small.save(file, "PNG", optimize=True)


class _Pen:
    """A white picture drawn on in points."""

    def __init__(self, wide: float, tall: float):
        self.wide, self.tall = wide, tall
        self.image = Image.new("RGB", (round(wide * SCALE), round(tall * SCALE)), "#ffffff")
        self.draw = ImageDraw.Draw(self.image)

    def box(
        self, left: float, top: float, right: float, low: float, *,
        fill: str | None = None, line: str | None = None, thick: float = 1, round_by: float = 0,
    ) -> None:  # fmt: skip
        """A rectangle whose corners may be round."""
        corners = (left * SCALE, top * SCALE, right * SCALE - 1, low * SCALE - 1)
        self.draw.rounded_rectangle(
            corners, round_by * SCALE, fill, line, round(thick * SCALE) if line else 1
        )

    def picture(self, left: float, top: float, side: float, data: bytes) -> None:
        """A picture in the middle of a square."""
        with Image.open(io.BytesIO(data)) as opened:
            small = opened.convert("RGBA")
        whole = round(side * SCALE)
        small = ImageOps.contain(small, (whole, whole), Image.Resampling.LANCZOS)
        x = round(left * SCALE) + (whole - small.width) // 2
        self.image.paste(small, (x, round(top * SCALE) + (whole - small.height) // 2), small)

    def sound(self, left: float, top: float, side: float) -> None:
        """What stands for a sound."""
        for bar, share in enumerate((0.12, 0.3, 0.52, 0.36, 0.6, 0.27, 0.43, 0.18)):
            x, half = left + side * (0.14 + 0.095 * bar), side * share / 2
            self.box(x, top + side / 2 - half, x + side * 0.05, top + side / 2 + half,
                     fill=_MARK, round_by=side * 0.025)  # fmt: skip

    def words(
        self, left: float, top: float, text: str, wide: float, most: int, *,
        size: float = 13, ink: str = _INK, lead: str = "",
    ) -> float:  # fmt: skip
        """Text wrapped to ``wide``, after a soft ``lead``; the height of at most ``most`` lines."""
        font = ImageFont.load_default(size * SCALE)
        width = lambda words: self.draw.textlength(words, font=font) / SCALE  # noqa: E731
        indent = width(f"{lead} ") if lead else 0.0
        self.draw.text((left * SCALE, top * SCALE), lead, fill=_SOFT, font=font)
        lines = wrapped(text, width, wide, most, indent)
        for place, line in enumerate(lines):
            at = ((left + (0 if place else indent)) * SCALE, (top + place * size * 1.25) * SCALE)
            self.draw.text(at, line, fill=ink, font=font)
        return len(lines) * size * 1.25


def wrapped(
    text: str, width: Callable[[str], float], wide: float, most: int, indent: float = 0
) -> list[str]:
    """Text as at most ``most`` lines of ``width`` up to ``wide``; the first is shorter by
    ``indent``. What is left out is told by ``…``.

    >>> wrapped("a pear and a plum", len, 8, 2)
    ['a pear', 'and a p…']
    """
    lines: list[str] = []
    rest = text.split()
    while rest and len(lines) < most:
        room = wide - (0 if lines else indent)
        count = 1
        while count < len(rest) and width(" ".join(rest[: count + 1])) <= room:
            count += 1
        if len(lines) == most - 1 and count < len(rest):
            count = len(rest)
        line = " ".join(rest[:count])
        while width(line) > room and len(line) > 1:
            line = line.rstrip("…")[:-1].rstrip(" ,") + "…"
        lines.append(line)
        rest = rest[count:]
    return lines


def _question(pen: _Pen, top: float, row: QueryResult) -> None:
    wide, low = ASKED - GAP, top + CELL
    if row.thumb.kind == "text":
        low = top + pen.words(GAP, top, f"“{row.thumb.text}”", wide, 4, size=16) + 4
    else:
        if row.thumb.kind == "image":
            pen.picture(GAP, top, CELL - 8, row.thumb.data)
        else:
            pen.sound(GAP, top, CELL - 8)
        low += pen.words(GAP, low - 4, row.label, wide, 1) - 4
    note = row.note.replace("→", "to")  # the font has no arrow
    pen.words(GAP, low, note, wide, 1, size=11.5, ink=_SOFT)


def _answer(pen: _Pen, left: float, top: float, hit: Shown) -> None:
    if hit.thumb.kind == "image":
        pen.picture(left + 4, top + 4, CELL - 8, hit.thumb.data)
    elif hit.thumb.kind == "audio":
        pen.sound(left + 4, top + 4, CELL - 8)
    else:
        pen.box(left, top, left + CELL, top + CELL, fill="#f6f7f9", line=_LINE, round_by=5)
        pen.words(left + 7, top + 6, hit.thumb.text, CELL - 14, 5, size=12)
    pen.words(left, top + CELL + 4, hit.label, CELL, 2, size=12, lead=f"{hit.score:.2f}")
    if hit.partner:
        _mark(pen, left, top)


def _mark(pen: _Pen, left: float, top: float) -> None:
    """A frame and a tick: told by shape, not by colour alone."""
    right, low = left + CELL, top + CELL
    pen.box(left, top, right, low, line=_MARK, thick=3, round_by=5)
    pen.box(right - 22, low - 22, right, low, fill=_MARK, round_by=5)
    tick = [(right - 17, low - 11), (right - 13, low - 6), (right - 5, low - 16)]
    points = [(x * SCALE, y * SCALE) for x, y in tick]
    pen.draw.line(points, fill="#ffffff", width=3 * SCALE, joint="curve")
