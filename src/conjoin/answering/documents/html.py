"""HTML and Markdown: one walk over the tree, without recursion."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from conjoin.answering.documents.blocks import Block, Leavings, Unreadable, checked_picture
from conjoin.errors import optional

_PARAGRAPHS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figure",
        "footer",
        "form",
        "header",
        "hr",
        "html",
        "li",
        "main",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "ul",
        "legend",
        "option",
        "optgroup",
        "select",
        "textarea",
        "button",
        "tr",
        "td",
        "th",
        "tbody",
        "thead",
        "tfoot",
        "noscript",
        "template",
    ]
)
#: What of a page is not its text, and why.
_SKIPPED = {
    "script": "program code of the page", "style": "style sheet", "nav": "navigation",
    "head": "head of the page", "svg": "drawing in SVG", "template": "template, never shown",
    "noscript": "shown without scripts only", "iframe": "another page", "object": "embedded object",
}  # fmt: skip
#: Elements inside one another at most; parsers take time with the square of it.
DEEPEST = 10_000
_TAG = re.compile(
    r"<(/?)(?!/|p\b|li\b|t[rdh]\b|d[td]\b|t(?:head|body|foot)\b|option\b|br\b|hr\b|img\b|meta\b|link\b|"
    r"input\b|col\b|wbr\b|source\b|area\b|base\b|embed\b|track\b|param\b)[a-zA-Z]"
)
_HEADING = re.compile(r"h([1-6])$")
_SPACE = re.compile(r"[ \t\r\n\f]+")
_PICTURE = re.compile(r"data:image/([\w.+-]+)(;base64)?,", re.I)


@dataclass
class _Walk:
    """The paragraph being filled, and what was finished."""

    base: Path
    left: Leavings
    said: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)
    done: list[Block] = field(default_factory=list)

    def end(self, level: int = 0, *, plain: bool = False) -> None:
        """Finish the paragraph as a heading of a level, or as text."""
        text = "".join(self.said)
        self.said = []
        text = text.strip("\n") if plain else _SPACE.sub(" ", text).strip()
        if not text.strip():
            if not level:
                return
            text = ""
        kind = "heading" if level and text else "text"
        if not text:
            return
        anchors = [*self.anchors, *([slug(text)] if level else [])]
        self.done.append(
            Block(kind, text, level=level, links=tuple(self.links), anchors=tuple(anchors))
        )
        self.links, self.anchors = [], []


def read_html(path: Path, left: Leavings) -> Iterator[Block]:
    """Blocks of an HTML page: headings, paragraphs, tables, pictures with their captions."""
    yield from html_blocks(decoded(path.read_bytes()), path.parent, left)


def read_markdown(path: Path, left: Leavings) -> Iterator[Block]:
    """Blocks of a Markdown file, which is made HTML by the rules of CommonMark with tables."""
    made = optional("markdown_it", "documents").MarkdownIt("commonmark").enable("table")
    text = decoded(path.read_bytes())
    if text.startswith("---\n") and "\n---\n" in text[4:]:
        head, _, text = text[4:].partition("\n---\n")
        left.text(head, "front matter")
    yield from html_blocks(made.render(text), path.parent, left)


def html_blocks(text: str, base: Path, left: Leavings) -> list[Block]:
    """Blocks of HTML text.

    Parameters
    ----------
    base : folder from which the pictures it names are found.

    Raises
    ------
    Unreadable : more than :data:`DEEPEST` elements lie inside one another.
    """
    deep = deepest = 0
    for tag in _TAG.finditer(text):
        deep = max(0, deep - 1) if tag.group(1) else deep + 1
        deepest = max(deepest, deep)
    if deepest > DEEPEST:
        raise Unreadable(f"nests {deepest} elements, more than {DEEPEST}")
    parser = optional("selectolax.lexbor", "documents").LexborHTMLParser(text)
    walk = _Walk(base, left)
    if parser.head is not None:
        left.text(parser.head.text(), _SKIPPED["head"])
    stack: list[tuple[Any, bool]] = [(parser.body, False)] if parser.body is not None else []
    while stack:
        node, closing = stack.pop()
        tag = node.tag
        if closing:
            _close(walk, tag)
        elif tag == "-text":
            walk.said.append(node.text_content or "")
        elif tag in _SKIPPED:
            _skip(walk, node)
        elif _whole(walk, node, tag):
            pass
        elif tag is not None and not tag.startswith(("-", "_", "!")):
            _open(walk, node, tag)
            stack.append((node, True))
            stack += [(child, False) for child in _children(node)][::-1]
    walk.end()
    return walk.done


def slug(title: str) -> str:
    """The anchor that common renderers give a heading.

    >>> slug("Set & show: Terminals")
    'set--show-terminals'
    """
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", title.strip().lower()))


def _children(node: Any) -> Iterator[Any]:
    child = node.child
    while child is not None:
        yield child
        child = child.next


def _whole(walk: _Walk, node: Any, tag: str | None) -> bool:
    """Whether an element was taken as a whole."""
    if tag == "br":
        walk.said.append("\n")
    elif tag == "img":
        _picture(walk, node, "")
    elif tag == "table" and node.css_first("table table") is None:
        walk.end()
        _table(walk, node)
    elif tag == "pre":
        walk.end()
        walk.said.append(node.text())
        walk.end(plain=True)
    elif tag == "figure" and node.css_first("img") is not None:
        walk.end()
        _figure(walk, node)
    else:
        return False
    return True


def _skip(walk: _Walk, node: Any) -> None:
    walk.left.text(node.text(), _SKIPPED[node.tag])
    if node.tag == "svg":
        walk.left.picture("drawing in SVG inside the page")


def _open(walk: _Walk, node: Any, tag: str) -> None:
    if tag in _PARAGRAPHS or _HEADING.match(tag):
        walk.end()
    name = node.attributes.get("id") or (node.attributes.get("name") if tag == "a" else None)
    if name:
        walk.anchors.append(name)
    target = node.attributes.get("href") if tag == "a" else None
    said = _SPACE.sub(" ", node.text()).strip()[:200] if target else ""
    if target and said and not urlsplit(target).scheme:
        walk.links.append((said, unquote(target)))


def _close(walk: _Walk, tag: str) -> None:
    heading = _HEADING.match(tag)
    if heading:
        walk.end(int(heading.group(1)))
    elif tag in _PARAGRAPHS:
        walk.end()


def _table(walk: _Walk, node: Any) -> None:
    rows, header = [], False
    for number, row in enumerate(node.css("tr")):
        cells = [one for one in _children(row) if one.tag in ("td", "th")]
        header = header or (number == 0 and bool(cells) and all(c.tag == "th" for c in cells))
        rows.append(tuple(_SPACE.sub(" ", one.text()).strip() for one in cells))
    title = node.css_first("caption")
    caption = _SPACE.sub(" ", title.text()).strip() if title is not None else ""
    inside = "".join("".join(row) for row in rows) + caption
    stray = _without(node.text(), inside)
    walk.left.text(stray, "inside a table, outside its cells")
    filled = tuple(row for row in rows if any(row))
    if filled:
        text = "\n".join(" | ".join(row) for row in filled)
        anchors = (*walk.anchors, *([node.attributes["id"]] if node.attributes.get("id") else []))
        walk.done.append(
            Block("table", text, rows=filled, header=header, caption=caption, anchors=anchors)
        )
        walk.anchors = []
    elif caption:
        walk.done.append(Block("text", caption))
    for image in node.css("img"):
        _picture(walk, image, "")


def _without(whole: str, inside: str) -> str:
    """Characters of ``whole`` that are not those of ``inside``, where it holds more."""
    letters = re.sub(r"\s", "", whole)
    taken = re.sub(r"\s", "", inside)
    if len(letters) <= len(taken):
        return ""
    from collections import Counter

    spare = Counter(letters)
    spare.subtract(taken)
    return "".join(char * count for char, count in spare.items() if count > 0)


def _figure(walk: _Walk, node: Any) -> None:
    title = node.css_first("figcaption")
    caption = _SPACE.sub(" ", title.text()).strip() if title is not None else ""
    images = node.css("img")
    rest = _without(node.text(), caption)
    if rest:  # words beside caption and picture are a paragraph of their own
        walk.said += [one.text() for one in _children(node) if one.tag not in ("figcaption",)]
        walk.end()
    kept = [_picture(walk, image, caption if number == 0 else "")
            for number, image in enumerate(images)]  # fmt: skip
    if caption and not (kept and kept[0]):
        walk.done.append(Block("text", caption))


def _picture(walk: _Walk, node: Any, caption: str) -> bool:
    """Add a picture's block; whether it could be read."""
    source = node.attributes.get("src") or ""
    said = caption or _SPACE.sub(" ", node.attributes.get("alt") or "").strip()
    read = _bytes_of(walk, source)
    if read is None or not checked_picture(read[0], walk.left):
        return False
    if "".join(walk.said).strip():
        walk.end()
    walk.done.append(Block("picture", picture=walk.left.keep(*read), caption=said))
    return True


def _bytes_of(walk: _Walk, source: str) -> tuple[bytes, str] | None:
    inline = _PICTURE.match(source)
    if inline:
        kind = inline.group(1).lower().replace("jpeg", "jpg")
        try:
            body = source[inline.end() :]
            data = base64.b64decode(body) if inline.group(2) else unquote(body).encode("latin-1")
        except (binascii.Error, ValueError):
            walk.left.picture("its data cannot be decoded")
            return None
        return data, kind
    parts = urlsplit(source)
    if parts.scheme or parts.netloc or not parts.path:
        walk.left.picture(f"lies elsewhere: {source[:60]}")
        return None
    try:
        file = (walk.base / unquote(parts.path)).resolve()
        inside = file.is_relative_to(walk.left.root.resolve())
    except (ValueError, OSError):
        inside = False
    if not inside:
        walk.left.picture(f"lies outside the folder that is read: {source[:60]}")
        return None
    if not file.is_file():
        walk.left.picture(f"no such file: {source[:60]}")
        return None
    if file.suffix.lower() == ".svg":
        walk.left.picture(f"drawing in SVG: {source[:60]}")
        return None
    return file.read_bytes(), file.suffix.lower().lstrip(".")


def decoded(raw: bytes) -> str:
    """The text of a file: UTF-8, UTF-16 by its mark, else Windows 1252.

    Raises
    ------
    Unreadable : it is no text.
    """
    if b"\0" in raw[:4096] and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("holds binary data, not text")
    for encoding in ("utf-8-sig", "utf-16") if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else (
        "utf-8-sig",
    ):  # fmt: skip
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("cp1252", "replace")
