"""The page on which findings are looked over: which cells are shown, and what can be decided."""

from collections.abc import Callable
from pathlib import Path

from conjoin.project.quality.examine import said
from conjoin.project.search.render import cell_thumb
from conjoin.project.workspace import Workspace
from conjoin.quality.finding import KINDS, Finding, Report
from conjoin.report.pages.review import Cell, Row, Section, review_page

#: Items shown of a finding about many.
MANY = 6


def review(ws: Workspace, found: Report, path: Path, *, most: int) -> int:
    """Write the page; returns how many findings are on it."""
    kinds = [kind for kind in KINDS if found.of(kind)]
    share = max(1, most // max(1, len(kinds)))
    sections, shown = [], 0
    for kind in kinds:
        each = found.of(kind)
        rows = [_row(ws, one) for one in each[:share]]
        sections.append(Section(kind, KINDS[kind], len(each), rows))
        shown += len(rows)
    name = ws.folder.resolve().name
    lead = f"{len(found.findings)} findings among {len(ws.items):,} items of {name}."
    review_page("What the doctor found", lead, sections, path)
    return shown


def _row(ws: Workspace, one: Finding) -> Row:
    drop, fix, lines = _choices(one)
    partner = one.evidence["better"] if one.kind == "mismatch" else None
    return Row(
        _title(ws, one), said(one, ws.label), one.confidence, one.precision, _cells(ws, one),
        lines, drop, fix, partner,
    )  # fmt: skip


def _title(ws: Workspace, one: Finding) -> str:
    named = [ws.label(item) for item in dict.fromkeys(one.items)]
    where = f" ({one.modality.replace('+', ', ')})" if one.modality else ""
    if not named:
        return f"{one.evidence.get('column', one.kind)}{where}"
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return ", ".join(named[:3]) + more + where


def _choices(one: Finding) -> tuple[str, str, list[dict[str, str]]]:
    """What drop and fix mean, and the lines of the table they stand for."""

    def lines(items: tuple[str, ...], other: str = "") -> list[dict[str, str]]:
        base = {"modality": one.modality, "kind": one.kind, "other": other}
        return [{"id": item, **base} for item in items]

    first, *rest = one.items or ("",)
    if one.kind == "mismatch":
        return "not a pair", "another is its partner", lines((first,), one.items[1])
    if one.kind in ("twin", "duplicate"):
        return f"leave out {', '.join(rest[:3])}", "one group", lines(tuple(rest), first)
    if one.kind == "leak" and "column" not in one.evidence:
        return f"leave out {rest[0]} of training", "one group", lines((rest[0],), first)
    if one.kind in ("outlier", "length"):
        return "leave the cell out", "", lines(one.items)
    if one.kind in ("imbalance", "language"):
        count = len(one.items)
        return f"leave {count} {'cell' if count == 1 else 'cells'} out", "", lines(one.items)
    return "", "", []


def _cells(ws: Workspace, one: Finding) -> list[Cell]:
    names = [name for name in one.modality.split("+") if name]

    def cell(role: str, name: str, item: str, part: int = 0) -> Cell:
        return Cell(role, item, ws.label(item), cell_thumb(ws, name, item, part))

    if one.kind == "mismatch":
        parts = one.part or (0, 0)
        return [
            cell(names[0], names[0], one.items[0], parts[0]),
            cell(f"its {names[1]}", names[1], one.items[1], parts[1]),
            cell(f"{names[1]} that fits better", names[1], one.evidence["better"]),
        ]
    shown = one.items[:MANY] if one.kind not in ("missing",) else ()
    roles = _roles(one)
    return [cell(roles(name, item), name, item, _part(one)) for item in shown for name in names]


def _part(one: Finding) -> int:
    return one.part[0] if one.part else 0


def _roles(one: Finding) -> Callable[[str, str], str]:
    if one.kind != "leak" or "held_out" not in one.evidence:
        return lambda name, item: name
    held = one.evidence["held_out"]
    return lambda name, item: f"{name}, {'held out' if item == held else 'training'}"
