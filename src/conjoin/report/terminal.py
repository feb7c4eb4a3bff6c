"""Hits in a terminal: a table, with small pictures where the terminal can show them."""

import io
import os
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.style import Style
from rich.table import Table
from rich.text import Text

from conjoin.encoders.media.video import clock
from conjoin.report.thumbs import Thumb
from conjoin.retrieval.hits import Hit, Hits

#: Columns of a small picture; it has half as many lines.
WIDE = 12

Lookup = Callable[[Hit], Thumb]


def can_draw(console: Console) -> bool:
    """Whether pictures may be drawn: a person's terminal, in full colour."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return console.is_terminal and console.color_system == "truecolor" and not plain


def half_blocks(data: bytes, wide: int = WIDE) -> Text:
    """A picture as lines of ``▀``: the upper pixel in the ink, the lower in the ground."""
    with Image.open(io.BytesIO(data)) as opened:
        small = opened.convert("RGBA")
    small.thumbnail((wide, wide), Image.Resampling.LANCZOS)
    tall = small.height + small.height % 2
    ground = Image.new("RGBA", (small.width, tall), "#ffffff")
    ground.alpha_composite(small)
    pixels = ground.convert("RGB").load()
    assert pixels is not None
    text = Text(no_wrap=True)
    for y in range(0, tall, 2):
        for x in range(small.width):
            style = Style(color=_hex(pixels[x, y]), bgcolor=_hex(pixels[x, y + 1]))
            text.append("▀", style)
        text.append("\n" if y + 2 < tall else "")
    return text


def _hex(pixel: Any) -> str:
    return "#{:02x}{:02x}{:02x}".format(*pixel)


def _shown(thumb: Thumb | None, draw: bool) -> RenderableType:
    if thumb is None:
        return Text("")
    if thumb.kind == "image" and draw:
        return Group(half_blocks(thumb.data), Text(thumb.text))
    mark = {"image": "[picture] ", "audio": "[sound] "}.get(thumb.kind, "")
    return Text(mark + thumb.text)


def hits_table(
    name: str, hits: tuple[Hit, ...], lookup: Lookup | None, draw: bool,
    meaning: Mapping[str, str] = {},
) -> Table:  # fmt: skip
    """One list of hits as a table; ``meaning`` is that of a :class:`Hits`."""
    table = Table(title=escape(name), title_justify="left", show_lines=draw)
    table.add_column("#", justify="right")
    if lookup is not None:
        table.add_column("shows", overflow="fold")
    table.add_column("id", overflow="fold")
    several = any(hit.modality != name for hit in hits)
    if several:  # else the title says it
        table.add_column("modality")
    table.add_column("score", justify="right")
    known = any(hit.probability is not None for hit in hits)
    if known:
        said = {meaning.get(h.modality, "partner") for h in hits if h.probability is not None}
        table.add_column(" or ".join(sorted(said)), justify="right")
    for hit in hits:
        shown = [] if lookup is None else [_shown(lookup(hit), draw)]
        item = Text(hit.id + _which(hit))
        likely = [_percent(hit.probability)] if known else []
        table.add_row(
            str(hit.rank), *shown, item, *([Text(hit.modality)] if several else []),
            f"{hit.score:.3f}", *likely,
        )  # fmt: skip
    return table


def _which(hit: Hit) -> str:
    """The moment of a recording, or the part of an item that has several."""
    if hit.time is not None:
        return f" · at {clock(hit.time)}"
    return f" · part {hit.part + 1}" if hit.part else ""


def _percent(p: float | None) -> str:
    if p is None:
        return ""
    return "< 1 %" if p < 0.01 else f"{p:.0%}".replace("%", " %")


def print_hits(hits: Hits, console: Console, lookup: Lookup | None = None) -> None:
    """Print every list of ``hits``.

    Parameters
    ----------
    console : where to; pictures only where :func:`can_draw` says so.
    lookup : what to show of a hit's cell.
    """
    draw = can_draw(console)
    query: Mapping[str, object] = hits.query
    tables = [
        hits_table(name, found, lookup, draw, hits.meaning) for name, found in hits.lists.items()
    ]
    told = [Text(f"{name}: {said}") for name, said in hits.nothing.items()]
    plain = [name for name in hits.uncalibrated if name not in hits.nothing]
    if plain:
        told.append(Text(f"{', '.join(plain)}: scores are uncalibrated, an order and no chance"))
    console.print(Group(Text(f"Query: {query.get('shown', '')}"), *tables, *told))
