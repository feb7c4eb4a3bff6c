"""Plain text: paragraphs between blank lines."""

import re
from collections.abc import Iterator
from pathlib import Path

from conjoin.answering.documents.blocks import Block, Leavings
from conjoin.answering.documents.html import decoded

_RULE = re.compile(r"[=\-~^\"*#]{3,}\s*$")
_LEVELS = '=-~^"*#'
_NUMBERED = re.compile(r"(\d+(?:\.\d+)*)\.?\s+\S.{0,78}$")


def read_text(path: Path, left: Leavings) -> Iterator[Block]:
    """Blocks of a text file; a short line over a rule of signs is a heading, a form feed a page."""
    page = 1
    text = decoded(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
    paged = "\f" in text
    for sheet in text.split("\f"):
        for part in re.split(r"\n[ \t]*\n+", sheet):
            said = part.strip("\n")
            if said.strip():
                yield from _paragraph(said, page if paged else 0, left)
        page += 1


def _paragraph(said: str, page: int, left: Leavings) -> Iterator[Block]:
    lines = said.split("\n")
    if len(lines) >= 2 and _RULE.match(lines[1].strip()) and len(lines[0].strip()) <= 80:
        rule = lines[1].strip()
        if lines[0].strip() and len(set(rule)) == 1:
            left.text(rule, "rule below a heading", page)
            yield Block(
                "heading", lines[0].strip(), page=page, level=_LEVELS.index(rule[0]) + 1,
            )  # fmt: skip
            rest = "\n".join(lines[2:])
            if rest.strip():
                yield Block("text", rest, page=page)
            return
    numbered = _NUMBERED.match(said.strip()) if len(lines) == 1 else None
    if numbered and said.strip()[-1:] not in ".,;:!?":
        yield Block("heading", said.strip(), page=page, level=numbered.group(1).count(".") + 1)
        return
    yield Block("text", said, page=page)
