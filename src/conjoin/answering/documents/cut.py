"""Blocks of a document as pieces: one piece lies in one section and cuts no sentence."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from conjoin.answering.documents.blocks import Block, letters
from conjoin.answering.documents.sentences import sentence_spans

#: Letters of a piece at most, except where one sentence or one table row is longer.
MOST = 1200
#: Letters of a sentence at most; what is longer is no prose and is cut between words.
LONGEST = 8000


@dataclass(frozen=True)
class Piece:
    """One row of the items: part of a section, a table or part of one, or a picture.

    Parameters
    ----------
    document, page, box, order : where it stands; ``order`` counts the pieces of the document.
    breaks : offsets in ``text`` at which the following pages begin.
    path : headings above it, outermost first.
    opens : those of them that begin here, so that each heading is in one piece only.
    kind : ``text``, ``table`` or ``figure``.
    text : its characters; of a table the cells of its rows, without a repeated header.
    header : a cut table's header in the pieces after the first, where it is repeated.
    rows : of a table, its cells, header included.
    picture : name of its file.
    chapter : what a split never divides.
    asked : what structure asks of it: heading, caption, text of links to it.
    """

    document: str
    page: int
    order: int
    path: tuple[str, ...]
    opens: tuple[str, ...]
    kind: str
    text: str
    box: tuple[float, ...] = ()
    breaks: tuple[int, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    picture: str = ""
    caption: str = ""
    chapter: str = ""
    asked: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    anchors: tuple[str, ...] = ()
    cut: int = 0

    @property
    def shown(self) -> str:
        """Its text with a repeated header before it; its caption is asked and not shown."""
        parts = [" | ".join(self.header), self.text]
        return "\n".join(part for part in parts if part)


@dataclass
class _Open:
    """The section being filled."""

    path: tuple[str, ...] = ()
    levels: tuple[int, ...] = ()
    opens: list[str] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)
    page: int = 0
    box: tuple[float, ...] = ()
    held: list[Block] = field(default_factory=list)

    def heading(self, block: Block) -> None:
        keep = next((i for i, lvl in enumerate(self.levels) if lvl >= block.level), None)
        title = " ".join(block.text.split())
        self.path = (*self.path[:keep], title)
        self.levels = (*self.levels[:keep], block.level)
        if not self.opens:
            self.page, self.box = block.page, block.box
        self.opens.append(title)
        self.anchors += block.anchors


def pieces(document: str, blocks: Iterable[Block], most: int = MOST) -> list[Piece]:
    """The pieces of a document in order, with chapters and what structure asks of them.

    Parameters
    ----------
    most : letters of a piece; a longer sentence stays whole, up to :data:`LONGEST`.
    """
    made = [
        replace(piece, order=order) for order, piece in enumerate(_pieces(document, blocks, most))
    ]
    return _asked(_chapters(document, made))


def _pieces(document: str, blocks: Iterable[Block], most: int) -> Iterator[Piece]:
    state = _Open()
    for block in blocks:
        if block.kind == "heading":
            yield from _flush(document, state)
            state.heading(block)
        elif block.kind == "text":
            for part in _parts(block, most):
                size = sum(len(one.text) for one in state.held)
                if state.held and size + len(part.text) > most:
                    yield from _flush(document, state)
                state.held.append(part)
        else:
            yield from _flush(document, state)
            make = _tables if block.kind == "table" else _figures
            for piece in make(document, state, block, most):
                yield _opened(piece, state)
    yield from _flush(document, state)
    if state.opens:  # headings with nothing below them are a piece of their own
        yield _opened(Piece(document, state.page, 0, state.path, (), "text", "", state.box), state)


def _opened(piece: Piece, state: _Open) -> Piece:
    """The piece with the headings that begin at it; they are then spent."""
    found = replace(
        piece, opens=tuple(state.opens), anchors=(*state.anchors, *piece.anchors),
    )  # fmt: skip
    state.opens, state.anchors = [], []
    return found


def _flush(document: str, state: _Open) -> Iterator[Piece]:
    if not state.held:
        return
    text = ""
    breaks: list[int] = []
    first = state.held[0]
    page = first.page
    for block in state.held:
        text += "\n\n" if text else ""
        step = block.page - (page + len(breaks))
        breaks += [len(text)] * max(0, step)
        breaks += [len(text) + at for at in block.breaks]
        text += block.text
    same = [block.box for block in state.held if block.box and block.page == page]
    piece = Piece(
        document, page, 0, state.path, (), "text", text, _union(same), tuple(breaks),
        links=tuple(link for block in state.held for link in block.links),
        anchors=tuple(name for block in state.held for name in block.anchors),
        cut=sum(block.level < 0 for block in state.held),
    )  # fmt: skip
    state.held = []
    yield _opened(piece, state)


def _union(boxes: list[tuple[float, ...]]) -> tuple[float, ...]:
    if not boxes:
        return ()
    left, low, right, high = zip(*boxes, strict=True)
    return (min(left), min(low), max(right), max(high))


def _parts(block: Block, most: int) -> Iterator[Block]:
    """A paragraph whole, or cut between sentences into parts of at most ``most`` letters."""
    if len(block.text) <= most:
        yield block
        return
    spans = [part for span in sentence_spans(block.text) for part in _bounded(block.text, *span)]
    start, end = spans[0][0], spans[0][1]
    for low, high in spans[1:]:
        if high - start > most:
            yield _slice(block, start, end)
            start = low
        end = high
    yield _slice(block, start, end)


def _bounded(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A sentence whole; what is longer than any sentence, cut between words where it has some."""
    while end - start > LONGEST:
        at = text.rfind(" ", start + LONGEST // 2, start + LONGEST)
        at = at if at > 0 else start + LONGEST
        yield start, at
        start = at
    yield start, end


def _slice(block: Block, start: int, end: int) -> Block:
    before = sum(at <= start for at in block.breaks)
    inside = tuple(at - start for at in block.breaks if start < at < end)
    held = block.text[start:end]
    broken = end - start >= LONGEST // 2 and end < len(block.text) and held[-1:] not in ".!?…。！？"
    return replace(
        block, text=held, page=block.page + before, breaks=inside,
        links=tuple(link for link in block.links if link[0] in held),
        anchors=block.anchors if start == 0 else (), level=-1 if broken else 0,
    )  # fmt: skip


def _figures(document: str, state: _Open, block: Block, most: int) -> Iterator[Piece]:
    yield Piece(
        document, block.page, 0, state.path, (), "figure", block.text, block.box,
        picture=block.picture, caption=block.caption, anchors=block.anchors, links=block.links,
    )  # fmt: skip


def _tables(document: str, state: _Open, block: Block, most: int) -> Iterator[Piece]:
    """A table whole, or cut between rows; each part after the first repeats the header."""
    head = block.rows[:1] if block.header else ()
    body = block.rows[len(head) :]
    groups: list[list[tuple[str, ...]]] = [[]]
    for row in body:
        size = sum(len(cell) for one in groups[-1] for cell in one)
        if groups[-1] and size + sum(map(len, row)) > most:
            groups.append([])
        groups[-1].append(row)
    for number, group in enumerate(groups):
        own = [*head, *group] if number == 0 else group
        yield Piece(
            document, block.page, 0, state.path, (), "table",
            "\n".join(" | ".join(row) for row in own), block.box,
            header=head[0] if head and number else (), rows=(*head, *group),
            caption=block.caption if number == 0 else "",
            anchors=block.anchors if number == 0 else (), links=block.links if number == 0 else (),
        )  # fmt: skip


def _chapters(document: str, made: list[Piece]) -> list[Piece]:
    """Each piece with its chapter: by the outermost level of headings that has five or more."""
    deepest = max((len(piece.path) for piece in made), default=0)
    for depth in range(1, deepest + 1):
        found = {piece.path[:depth] for piece in made}
        if len(found) >= 5:
            return [
                replace(piece, chapter=" › ".join((document, *piece.path[:depth])))
                for piece in made
            ]
    return [replace(piece, chapter=document) for piece in made]


#: Headings that every other manual has too ask for nothing in particular.
_GENERAL = re.compile(
    r"(?i)(introduction|overview|example[s]?|notes?|see also|summary|contents|index|references|"
    r"syntax|usage|description|options?|name|synopsis)$"
)


def _asked(made: list[Piece]) -> list[Piece]:
    """Each piece with what structure asks of it, none said of two pieces."""
    targets: dict[str, list[str]] = {}
    for piece in made:
        for said, anchor in piece.links:
            targets.setdefault(anchor.rpartition("#")[2] or anchor, []).append(said)
    wanted = []
    for piece in made:
        found = []
        title = re.sub(r"^[\dA-Z]?[\d.]*\s+", "", piece.opens[-1]) if piece.opens else ""
        if piece.kind == "text" and letters(piece.text) >= 40 and title:
            found += [] if _GENERAL.fullmatch(title) else [title]
        if piece.kind != "text" and letters(piece.caption) >= 8:
            found.append(" ".join(piece.caption.split()))
        if letters(piece.text) >= 40:
            found += [said for name in piece.anchors for said in targets.get(name, ())]
        spoken = {one.casefold(): one for one in reversed(found) if letters(one) >= 3}
        wanted.append(list(reversed(spoken.values())))
    often = Counter(said for found in wanted for said in {one.casefold() for one in found})
    return [
        replace(piece, asked=tuple(one for one in found if often[one.casefold()] == 1))
        for piece, found in zip(made, wanted, strict=True)
    ]


def piece_ids(made: Iterable[Piece]) -> list[str]:
    """An id for each piece: its document and what it holds, so that what stays keeps its vectors.

    Examples
    --------
    >>> from conjoin.answering.documents.blocks import Block
    >>> made = pieces("a.txt", [Block("text", "One."), Block("heading", "B", level=1),
    ...     Block("text", "One.")])
    >>> [name[:6] for name in piece_ids(made)]
    ['a.txt#', 'a.txt#']
    """
    seen: Counter[str] = Counter()
    ids = []
    for piece in made:
        held = hashlib.sha256()
        for part in (
            *piece.path,
            piece.kind,
            piece.text,
            piece.caption,
            piece.picture,
            *piece.header,
        ):
            held.update(part.encode("utf-8", "replace") + b"\0")
        mark = held.hexdigest()[:12]
        again = seen[mark]
        seen[mark] += 1
        ids.append(f"{piece.document}#{mark}" + (f"-{again}" if again else ""))
    return ids
