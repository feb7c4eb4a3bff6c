"""DOCX: paragraphs, headings by style, tables, inline pictures."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conjoin.answering.documents.blocks import (
    UNPACKED,
    Block,
    Leavings,
    Unreadable,
    checked_picture,
)
from conjoin.errors import optional

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_CAPTION = re.compile(r"(?i)(figure|fig\.|table|abbildung|abb\.|tabelle|tableau)\s*\d")


def read_docx(path: Path, left: Leavings) -> Iterator[Block]:
    """Blocks of a DOCX file."""
    docx = optional("docx", "documents")
    _check_size(path)
    try:
        document = docx.Document(str(path))
    except Exception as error:  # the library has no one error for a broken file
        raise Unreadable(f"is no DOCX that can be read ({type(error).__name__})") from None
    _beside(document, left)
    yield from _captioned(list(_body(document, left)))


def _check_size(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as packed:
            total = sum(entry.file_size for entry in packed.infolist())
    except (zipfile.BadZipFile, OSError):
        raise Unreadable("is no DOCX: not a zip archive (encrypted, broken or old .doc)") from None
    if total > UNPACKED:
        raise Unreadable(f"unpacks to {total >> 20} MB, more than {UNPACKED >> 20}")


def _body(document: Any, left: Leavings) -> Iterator[Block]:
    for node in document.element.body.iterchildren():
        if node.tag == f"{_W}p":
            yield from _paragraph(document, node, left)
        elif node.tag == f"{_W}tbl":
            rows = tuple(
                tuple(" ".join(_text(cell, left).split()) for cell in row.iter(f"{_W}tc"))
                for row in node.iterchildren(f"{_W}tr")
            )
            filled = tuple(row for row in rows if any(row))
            if filled:
                text = "\n".join(" | ".join(row) for row in filled)
                marked = node.find(f"{_W}tr/{_W}trPr/{_W}tblHeader") is not None
                yield Block("table", text, rows=filled, header=marked or len(filled) > 2)
            yield from _pictures(document, node, left)
        else:
            said = _text(node, left)
            if said.strip():
                yield Block("text", said.strip("\n"))


def _paragraph(document: Any, node: Any, left: Leavings) -> Iterator[Block]:
    said = _text(node, left).strip("\n")
    level = _level(document, node)
    if said.strip():
        kind = "heading" if level else "text"
        yield Block(kind, " ".join(said.split()) if level else said, level=level)
    yield from _pictures(document, node, left)


def _text(node: Any, left: Leavings) -> str:
    parts = []
    for one in node.iter():
        if one.tag == f"{_W}t":
            parts.append(one.text or "")
        elif one.tag == f"{_W}tab":
            parts.append("\t")
        elif one.tag in (f"{_W}br", f"{_W}cr") or (one.tag == f"{_W}p" and one is not node):
            parts.append("\n")
        elif one.tag == f"{_W}delText":
            left.text(one.text or "", "deleted in the document's history")
    return "".join(parts)


def _level(document: Any, node: Any) -> int:
    style = node.find(f"{_W}pPr/{_W}pStyle")
    if style is None:
        return 0
    named = style.get(f"{_W}val") or ""
    for known in document.styles:
        if known.style_id == named:
            named = known.name or named
            break
    found = re.match(r"(?i)(?:heading|überschrift|titre)\s*(\d)", named)
    return int(found.group(1)) if found else int(named == "Title")


def _pictures(document: Any, node: Any, left: Leavings) -> Iterator[Block]:
    for blip in node.iter(f"{_A}blip"):
        part = document.part.related_parts.get(blip.get(f"{_R}embed") or "")
        if part is None:
            left.picture("is linked, not held in the file")
            continue
        if checked_picture(part.blob, left):
            suffix = str(part.partname).rpartition(".")[2].lower() or "png"
            yield Block("picture", picture=left.keep(part.blob, suffix))


def _captioned(blocks: list[Block]) -> Iterator[Block]:
    """A paragraph that begins like a caption, beside a picture or table, is its caption."""
    from dataclasses import replace

    skip = -1
    for at, block in enumerate(blocks):
        if at == skip:
            continue
        if block.kind in ("picture", "table"):
            after = blocks[at + 1] if at + 1 < len(blocks) else None
            if after is not None and after.kind == "text" and _CAPTION.match(after.text.strip()):
                skip = at + 1
                yield replace(block, caption=after.text.strip())
                continue
        yield block


def _beside(document: Any, left: Leavings) -> None:
    """What lies outside the body: heads, feet, notes and comments."""
    seen = set()
    for relation in document.part.rels.values():
        kind = relation.reltype.rpartition("/")[2]
        if kind in ("header", "footer", "footnotes", "endnotes", "comments"):
            part = relation.target_part
            if part.partname in seen:
                continue
            seen.add(part.partname)
            words = re.findall(rb"<w:t(?:\s[^>]*)?>([^<]*)</w:t>", part.blob)
            left.text(b" ".join(words).decode("utf-8", "replace"), f"in the {kind}")
