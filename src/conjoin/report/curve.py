"""What each arm of an upgrade is worth against what it costs, as one picture."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDE, HIGH = 884, 500
LEFT, RIGHT, TOP, BOTTOM = 64, 254, 56, 60
#: One colour a kind of arm, told apart without red and green, and by shape as well.
COLOURS = {
    "nothing": "#555555", "bridge": "#0072b2", "cascade": "#cc79a7", "partial": "#e69f00",
    "re-embed": "#009e73",
}  # fmt: skip


def label_of(arm: Mapping[str, Any]) -> str:
    """What people call an arm."""
    share = None if arm.get("share") is None else f"{arm['share']:.0%}"
    moved = "all moved" if arm.get("others") == "move" and arm["name"] == "re-embed" else None
    return " ".join(filter(None, (arm["name"], arm.get("direction"), share, moved)))


def curve_svg(plan: Mapping[str, Any], title: str) -> str:
    """The quality-cost curve of a plan as SVG: a dot an arm, a bar for its 95 % interval."""
    arms = list(plan["arms"])
    most = max((arm["cost"] for arm in arms), default=0.0) or 1.0
    low = min(arm["low"] for arm in arms)
    high = max(arm["high"] for arm in arms)
    step = _step(high - low)
    bottom, top = math.floor(low / step) * step, math.ceil(high / step) * step

    def x(cost: float) -> float:
        # Roots keep what is cheap apart where a cascade or a re-embedding is dear.
        return LEFT + 14 + (WIDE - LEFT - RIGHT - 28) * math.sqrt(cost / most)

    def y(value: float) -> float:
        return TOP + (HIGH - TOP - BOTTOM) * (top - value) / (top - bottom)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13"><title>{html.escape(title)}</title>',
        f'<rect width="{WIDE}" height="{HIGH}" fill="#ffffff"/>',
        _text(LEFT, 24, title, size=16, weight="600"),
        _text(LEFT, 43, f"recommended: {plan['recommendation']}", fill="#444444"),
        *_axes(bottom, top, step, most, x, y),
    ]
    base = next(arm for arm in arms if arm["name"] == "nothing")
    parts.append(
        f'<line x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y(base["value"]):.1f}" '
        f'y2="{y(base["value"]):.1f}" stroke="#555555" stroke-dasharray="4 4"/>'
    )
    beside = _beside(arms, x)
    chosen = label_of(plan["recommended"])
    for arm, shift in zip(arms, beside, strict=True):
        parts += _arm(arm, x(arm["cost"]) + shift, y, label_of(arm) == chosen)
    parts += _legend(arms, y, chosen)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _step(span: float) -> float:
    for step in (0.01, 0.02, 0.05, 0.1, 0.2):
        if span / step <= 8:
            return step
    return 0.5


def _text(x: float, y: float, said: str, **more: Any) -> str:
    named = {"size": "font-size", "weight": "font-weight", "anchor": "text-anchor"}
    rest = " ".join(f'{named.get(k, k)}="{v}"' for k, v in more.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" {rest}>{html.escape(said)}</text>'


def _axes(bottom: float, top: float, step: float, most: float, x: Any, y: Any) -> list[str]:
    parts = []
    for place in range(round((top - bottom) / step) + 1):
        value = bottom + place * step
        at = y(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" '
                     'stroke="#e5e5e5"/>')  # fmt: skip
        parts.append(_text(LEFT - 8, at + 4, f"{value:.2f}", anchor="end", fill="#444444"))
    for share in (0.0, 0.1, 0.4, 1.0):
        cost = most * share
        parts.append(_text(x(cost), HIGH - BOTTOM + 20, f"{cost:.0f}" if cost >= 10 or not cost
                           else f"{cost:.1f}", anchor="middle", fill="#444444"))  # fmt: skip
    middle = (LEFT + WIDE - RIGHT) / 2
    parts.append(_text(middle, HIGH - 16, "encoder seconds (scale of roots)", anchor="middle"))
    half = (TOP + HIGH - BOTTOM) / 2
    parts.append(
        f'<text x="18" y="{half:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 18 {half:.0f})">recall@10</text>'
    )
    return parts


def _beside(arms: Sequence[Mapping[str, Any]], x: Any) -> list[float]:
    """How far each dot is moved so that equal costs do not hide one another."""
    seen: list[float] = []
    shifts = []
    for arm in arms:
        at = x(arm["cost"])
        shift = 14.0 * sum(abs(at - other) < 12 for other in seen)
        seen.append(at)
        shifts.append(shift)
    return shifts


def _arm(arm: Mapping[str, Any], at: float, y: Any, chosen: bool) -> list[str]:
    colour, value = COLOURS[arm["name"]], y(arm["value"])
    parts = [f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(arm["low"]):.1f}" '
             f'y2="{y(arm["high"]):.1f}" stroke="{colour}" stroke-width="2"/>']  # fmt: skip
    if chosen:
        parts.append(f'<circle cx="{at:.1f}" cy="{value:.1f}" r="10" fill="none" '
                     f'stroke="{colour}" stroke-width="2"/>')  # fmt: skip
    parts.append(_mark(arm, at, value, colour))
    return parts


def _mark(arm: Mapping[str, Any], at: float, value: float, colour: str) -> str:
    if arm.get("others") == "move":
        return (f'<rect x="{at - 5:.1f}" y="{value - 5:.1f}" width="10" height="10" '
                f'fill="#ffffff" stroke="{colour}" stroke-width="2"/>')  # fmt: skip
    return f'<circle cx="{at:.1f}" cy="{value:.1f}" r="5.5" fill="{colour}"/>'


def _legend(arms: Sequence[Mapping[str, Any]], y: Any, chosen: str) -> list[str]:
    parts = []
    at = WIDE - RIGHT + 22
    for place, arm in enumerate(arms):
        line = TOP + 14 + 24 * place
        parts.append(_mark(arm, at, line - 4, COLOURS[arm["name"]]))
        said = label_of(arm)
        bold = {"weight": "600"} if said == chosen else {}
        parts.append(_text(at + 14, line, f"{said}  {arm['value']:.3f}", **bold))
    parts.append(_text(at - 6, TOP + 30 + 24 * len(arms), "bars: 95 % intervals by group", size=11,
                       fill="#444444"))  # fmt: skip
    parts.append(_text(at - 6, TOP + 46 + 24 * len(arms), "hollow: other vectors move", size=11,
                       fill="#444444"))  # fmt: skip
    return parts
