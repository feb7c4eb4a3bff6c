"""PDF: lines by their boxes, headings by the outline or the size of letters, pictures."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from conjoin.answering.documents.blocks import PIXELS, SMALLEST, Block, Leavings, Unreadable
from conjoin.errors import optional

#: Pages of a document at most.
PAGES = 50_000
_CAPTION = re.compile(r"(?i)(figure|fig\.|abbildung|abb\.|bild|plate|image)\s*[\dA-Z]")
#: What pdfium writes for a hyphen at a line's end, and for what has no Unicode.
_HYPHENS = re.compile("[\x02\ufffe\u00ad](?:\r?\n)?")
_NUMBERS = re.compile(r"\d+|\b[ivxlc]+\b")


@dataclass(frozen=True)
class _Line:
    text: str
    page: int
    box: tuple[float, ...]
    size: float


def read_pdf(path: Path, left: Leavings) -> Iterator[Block]:
    """Blocks of a PDF: running heads and page numbers are left out, and said."""
    pdfium = optional("pypdfium2", "documents")
    try:
        document = pdfium.PdfDocument(str(path))
    except pdfium.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise Unreadable("is encrypted: give it without a password" if locked
                         else "is no PDF that can be read") from None  # fmt: skip
    try:
        if len(document) > PAGES:
            raise Unreadable(f"has {len(document)} pages, more than {PAGES}")
        yield from _document(document, left)
    finally:
        document.close()


def _document(document: Any, left: Leavings) -> Iterator[Block]:
    lines: list[list[_Line]] = []
    pictures: list[list[Block]] = []
    for number in range(len(document)):
        left.alive()
        try:
            page = document[number]
            lines.append(_lines(page, number + 1, left))
            pictures.append(_pictures(page, number + 1, left))
            page.close()
        except Exception as error:  # a page whose content is broken
            left.note(f"the page cannot be read ({type(error).__name__})", number + 1)
            lines, pictures = [*lines[:number], []], [*pictures[:number], []]
    scanned = [at + 1 for at, (own, shown) in enumerate(zip(lines, pictures, strict=True))
               if shown and not own]  # fmt: skip
    if scanned and len(scanned) == len(lines):
        left.note("scanned: pictures of pages without text; run it through OCR first")
    elif scanned:
        left.note(f"{len(scanned)} pages are pictures without text", scanned[0])
    titles = _outline(document)
    kept = _without_running(lines, titles, left)
    if not titles:
        titles = _by_size(kept)
    yield from _blocks(kept, pictures, titles)


def _lines(page: Any, number: int, left: Leavings) -> list[_Line]:
    """Lines of a page in the order of its text, with their boxes and sizes of letters."""
    raw = optional("pypdfium2.raw", "documents")
    sheet = page.get_textpage()
    whole = sheet.get_text_range()
    count = sheet.count_chars()
    same = len(whole) == count  # characters beyond the basic plane count twice in pdfium
    found, start = [], 0
    dropped = sum(1 for _ in _HYPHENS.finditer(whole))
    if dropped:
        left.text("-" * dropped, "hyphens at the ends of lines", number)
    for part in re.split(r"(\r?\n)", whole):
        if part.strip() and not part.isspace():
            first = len(part) - len(part.lstrip())
            at = start + first
            end = start + len(part.rstrip()) - 1
            box, size = _box(sheet, raw, at, end, count) if same else ((), 0.0)
            found.append(_Line(part.strip(), number, box, size))
        start += len(part)
    sheet.close()
    return found


def _box(sheet: Any, raw: Any, at: int, end: int, count: int) -> tuple[tuple[float, ...], float]:
    if end >= count:
        return (), 0.0
    low, high = sheet.get_charbox(at, loose=True), sheet.get_charbox(end, loose=True)
    box = (min(low[0], high[0]), min(low[1], high[1]), max(low[2], high[2]), max(low[3], high[3]))
    return tuple(round(v, 1) for v in box), round(raw.FPDFText_GetFontSize(sheet, at), 1)


def _pictures(page: Any, number: int, left: Leavings) -> list[Block]:
    raw = optional("pypdfium2.raw", "documents")
    found = []
    for shape in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=8):
        try:
            wide, high = shape.get_px_size()
            if min(wide, high) < SMALLEST:
                left.picture(f"{wide} × {high} pixels: decoration", number)
                continue
            if wide * high > PIXELS:
                left.picture(f"{wide} × {high} pixels are more than are unpacked", number)
                continue
            held = io.BytesIO()
            shape.get_bitmap(render=False).to_pil().convert("RGB").save(held, "PNG")
            box = tuple(round(float(v), 1) for v in shape.get_bounds())
        except Exception as error:  # whatever a decoder raises on hostile bytes
            left.picture(f"cannot be decoded ({type(error).__name__})", number)
            continue
        found.append(
            Block("picture", page=number, box=box, picture=left.keep(held.getvalue(), "png"))
        )
    return found


def _outline(document: Any) -> dict[tuple[int, str], int]:
    """Level of a heading by its page and its letters."""
    found: dict[tuple[int, str], int] = {}
    try:
        for mark in document.get_toc(max_depth=12):
            place, title = mark.get_dest(), mark.get_title()
            page = place.get_index() if place is not None else None
            if page is not None and title.strip():
                found.setdefault((page + 1, _plain(title)), mark.level + 1)
    except Exception:  # an outline that points nowhere or in a circle says nothing
        return {}
    return found


def _plain(text: str) -> str:
    """A title without the number and the spaces before and in it."""
    return re.sub(r"\s", "", re.sub(r"^\s*[\dA-Z]?[\d.]*\s+", "", text))


def _by_size(lines: list[list[_Line]]) -> dict[tuple[int, str], int]:
    """Headings of a document without an outline: short lines in larger letters."""
    sizes: Counter[float] = Counter()
    for page in lines:
        for line in page:
            sizes[line.size] += len(line.text)
    if not sizes:
        return {}
    usual = sizes.most_common(1)[0][0]
    larger = sorted({size for size in sizes if size > 1.12 * usual}, reverse=True)
    return {
        (line.page, _plain(line.text)): min(larger.index(line.size), 5) + 1
        for page in lines for line in page
        if line.size in larger and len(line.text) <= 90 and _plain(line.text)
    }  # fmt: skip


def _without_running(
    lines: list[list[_Line]], titles: dict[tuple[int, str], int], left: Leavings
) -> list[list[_Line]]:
    """The lines without those that run along the head or foot of many pages.

    Numbers in them may differ. What the outline names and what begins as a caption stays.
    """

    def runs(line: _Line) -> bool:
        named = (line.page, _plain(line.text)) in titles
        return _NUMBERS.sub("#", line.text) in often and not named and not _CAPTION.match(line.text)

    marks: Counter[str] = Counter()
    ends = [{at for at in (0, 1, len(page) - 2, len(page) - 1) if 0 <= at < len(page)}
            if len(page) > 4 else {0, len(page) - 1} & set(range(len(page)))
            for page in lines]  # fmt: skip
    for page, places in zip(lines, ends, strict=True):
        marks.update({_NUMBERS.sub("#", page[at].text) for at in places})
    often = {mark for mark, count in marks.items() if count >= max(4, 0.1 * len(lines))}
    kept = []
    for page, places in zip(lines, ends, strict=True):
        gone = {at for at in places if runs(page[at])}
        for at in sorted(gone):
            left.text(page[at].text, "running head or foot", page[at].page)
        kept.append([line for at, line in enumerate(page) if at not in gone])
    return kept


def _blocks(
    lines: list[list[_Line]], pictures: list[list[Block]], titles: dict[tuple[int, str], int]
) -> Iterator[Block]:
    held: list[_Line] = []
    for page, shown in zip(lines, pictures, strict=True):
        page, shown = _captioned(page, shown)
        gaps = [above.box[1] - below.box[1]
                for above, below in pairwise(page)
                if above.box and below.box and above.box[1] > below.box[1]]  # fmt: skip
        usual = median(gaps) if gaps else 0.0
        at = 0
        while at < len(page):
            title, used = _title(page, at, titles)
            if title is not None:
                yield from _paragraph(held)
                held = []
                yield title
                at += used
                continue
            line = page[at]
            if held and _parted(held[-1], line, usual):
                yield from _paragraph(held)
                held = []
            held.append(line)
            at += 1
        if shown:
            yield from _paragraph(held)
            held = []
            yield from shown
    yield from _paragraph(held)


def _title(
    page: list[_Line], at: int, titles: dict[tuple[int, str], int]
) -> tuple[Block | None, int]:
    """The heading of one or two lines that begins here, and how many lines it takes."""
    for used in (1, 2):
        part = page[at : at + used]
        said = " ".join(line.text for line in part)
        level = titles.get((part[0].page, _plain(said)))
        if len(part) == used and level is not None and len(said) <= 200:
            del titles[part[0].page, _plain(said)]  # later lines of these words are no heading
            return Block(
                "heading", _clean(said), page=part[0].page, box=part[0].box, level=level
            ), used
    return None, 0


def _parted(above: _Line, below: _Line, usual: float) -> bool:
    """Whether a paragraph ends between two lines."""
    if above.page != below.page:
        return above.text[-1:] in ".!?:" or not below.text[:1].islower()
    if not (above.box and below.box and usual):
        return False
    gap = above.box[1] - below.box[1]
    return gap > 1.35 * usual or gap < -usual


def _paragraph(held: list[_Line]) -> Iterator[Block]:
    if not held:
        return
    text = ""
    breaks: list[int] = []
    page = held[0].page
    for line in held:
        joint = "" if not text or text[-1] in "\x02\ufffe\u00ad" else "\n"
        breaks += [len(_clean(text + joint))] * (line.page - page - len(breaks))
        text += joint + line.text
    first = [line.box for line in held if line.box and line.page == page]
    box: tuple[float, ...] = ()
    if first:
        low, bottom, high, top = zip(*first, strict=True)
        box = (min(low), min(bottom), max(high), max(top))
    yield Block("text", _clean(text), page=page, breaks=tuple(breaks), box=box)


def _clean(text: str) -> str:
    return _HYPHENS.sub("", text).replace("\0", "\ufffd")


def _captioned(page: list[_Line], shown: list[Block]) -> tuple[list[_Line], list[Block]]:
    """Pictures with the nearest lines that begin as a caption does; those lines are then spent."""
    taken: set[int] = set()
    made = []
    for block in shown:
        near = [
            (min(abs(block.box[1] - line.box[3]), abs(line.box[1] - block.box[3])), at)
            for at, line in enumerate(page)
            if line.box and at not in taken and _CAPTION.match(line.text)
        ]
        if not near or min(near)[0] > 72:
            made.append(block)
            continue
        at = min(near)[1]
        own = [at]
        while own[-1] + 1 < len(page) and page[own[-1]].text[-1:] not in ".!?":
            after, last = page[own[-1] + 1], page[own[-1]]
            high = last.box[3] - last.box[1]
            if not after.box or not 0 < last.box[1] - after.box[1] < 1.6 * high or len(own) > 6:
                break
            own.append(own[-1] + 1)
        taken.update(own)
        caption = _clean("\n".join(page[one].text for one in own))
        made.append(replace(block, caption=caption))
    return [line for at, line in enumerate(page) if at not in taken], made
