"""The claims at a glance: effects with intervals, drawn so that no program has to run."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from conjoin.report.pages.claims import anchor, asked, span, table

Facts = Mapping[str, Any]

#: Verdict, its colour (Okabe and Ito's, told on light ground and dark) and its mark.
VERDICTS: Mapping[str, tuple[str, str]] = {
    "holds here": ("#0b84c4", "disc"),
    "does not hold here": ("#d55e00", "square"),
    "undecided": ("#8a8a8a", "ring"),
    "these data cannot tell": ("#8a8a8a", "cross"),
    "beats doing nothing only": ("#0b84c4", "ring"),
}
INTRO = """# Gallery of claims

Every claim's effect with its 95 % interval: right of the line at zero the method helped. A disc
**holds here**, a square **does not hold here**, a grey ring is **undecided**, a cross where
**these data cannot tell**, a blue ring **beats doing nothing only**. The numbers, the settings
and what differs from the papers are on [the page of claims](claims.md).
"""
#: Pixels: the picture, the column of names, that of verdicts, a line, and what is above the first.
WIDTH, NAMES, SAID, LINE, TOP = 900, 380, 150, 22, 12


def gallery_page(facts: Facts) -> str:
    """Results of ``conjoin claims`` as Markdown with a picture a family.

    Each picture is followed by the same in a table that leads to each claim.
    """
    parts = [INTRO.rstrip()]
    for family in dict.fromkeys(c["family"] for c in facts["claims"]):
        own = [c for c in facts["claims"] if c["family"] == family]
        rows = [
            (
                f"[`{c['arm']}` against `{c['baseline']}`](claims.md#{anchor(c)})", asked(c),
                c["data"], c["metric"], f"{c['effect']:+.3f} {span(c['low'], c['high'])}",
                f"**{c['said']}**",
            )
            for c in own
        ]  # fmt: skip
        listed = table(("claim", "task", "data", "metric", "effect", "verdict"), rows)
        parts.append(f"## {family.capitalize()}\n\n{picture(family, own)}\n\n{listed}")
    return "\n\n".join(parts) + "\n"


def picture(family: str, claims: Sequence[Facts]) -> str:
    """One family's effects as SVG, in the page's own colour of text."""
    low = min(0.0, *(c["low"] for c in claims))
    high = max(0.0, *(c["high"] for c in claims))
    room = WIDTH - NAMES - SAID - 20

    def at(value: float) -> float:
        share = (value - low) / max(high - low, 1e-9)
        return round(NAMES + 10 + share * room, 1)

    bottom = TOP + LINE * len(claims)
    lines = [
        f'<figure><svg viewBox="0 0 {WIDTH} {bottom + 30}" width="100%" role="img" '
        f'aria-label="{escape(family)}: effects of {len(claims)} claims; the table below has them" '
        'font-family="sans-serif" font-size="12" fill="currentColor">',
        f'<line x1="{at(0)}" x2="{at(0)}" y1="4" y2="{bottom}" stroke="currentColor" '
        'stroke-dasharray="3 3"/>',
    ]
    lines += [line for row, c in enumerate(claims) for line in _row(c, TOP + LINE * row, at)]
    ends = {0.0, low, high}
    lines += [
        f'<text x="{at(v)}" y="{bottom + 18}" text-anchor="middle">{v:+.2f}</text>'
        for v in sorted(ends) if v == 0 or abs(at(v) - at(0)) > 36
    ]  # fmt: skip
    return "\n".join([*lines, "</svg></figure>"])


def _row(c: Facts, y: int, at: Any) -> list[str]:
    colour, mark = VERDICTS[c["said"]]
    name = f"{c['arm']} – {c['baseline']}: {asked(c)}"
    name = name if len(name) <= 62 else name[:61] + "…"
    middle, x = y + LINE // 2, at(c["effect"])
    drawn = {
        "disc": f'<circle cx="{x}" cy="{middle}" r="5" fill="{colour}"/>',
        "ring": f'<circle cx="{x}" cy="{middle}" r="4.5" fill="none" stroke="{colour}" '
        'stroke-width="2"/>',
        "cross": f'<path d="M{x - 4} {middle - 4}l8 8m0 -8l-8 8" stroke="{colour}" '
        'stroke-width="2"/>',
        "square": f'<rect x="{x - 4.5}" y="{middle - 4.5}" width="9" height="9" fill="{colour}"/>',
    }[mark]
    told = f"{c['effect']:+.3f} {span(c['low'], c['high'])} {c['metric']} on {c['data']}"
    return [
        f"<g><title>{escape(told)}</title>",
        f'<text x="{NAMES}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>',
        f'<line x1="{at(c["low"])}" x2="{at(c["high"])}" y1="{middle}" y2="{middle}" '
        f'stroke="{colour}" stroke-width="2"/>{drawn}',
        f'<text x="{WIDTH - SAID}" y="{middle + 4}">{escape(c["said"])}</text></g>',
    ]
