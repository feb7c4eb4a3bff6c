"""text."""

from collections.abc import Mapping
from typing import Any


def is_figure(text: str) -> bool:
    """Whether a cell is a number, or stands for one that is not there."""
    return text in ("", "-") or text[:1].isdigit() or text[:2].lstrip("-.").isdigit()


def number(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A figure as people read it, with its interval where there is one."""
    if value is None:
        return "-"
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    if low is None or high is None:
        return text
    pattern = ".2f" if abs(value) < 10 else ".1f"
    return f"{text} [{low:{pattern}}, {high:{pattern}}]"


def plain(mapping: Mapping[str, Any]) -> str:
    """Fields of a method on one line."""
    shown = {
        key: f"{value:.3g}" if isinstance(value, float) else str(value)
        for key, value in mapping.items()
    }
    return ", ".join(f"{key}={value}" for key, value in shown.items()) or "defaults"
