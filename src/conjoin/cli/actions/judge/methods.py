"""A method of the catalogue as people and programs read it; nothing here is written by hand."""

import dataclasses
import inspect
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from conjoin.catalogue import KINDS, Choice, Row, Search, of_kind, ranges, rows
from conjoin.cli.console import Console
from conjoin.errors import ConjoinError, nearest
from conjoin.report.bibliography import cite

#: The call of what is no method; kinds of methods name theirs.
CALLS: Mapping[str, str] = {
    "encoder": "forward", "map": "apply", "cells": "forward", "recipe": "fit", "data": "load",
    "task": "setting", "format": "open",
}  # fmt: skip

COSTS: Mapping[str, str] = {
    "free": "nothing is fitted",
    "closed": "one pass and a closed form",
    "trained": "trained by gradient steps",
}

_HEADING = re.compile(r"^([A-Z][A-Za-z ]+)\n-{3,}$", re.MULTILINE)
_ROLE = re.compile(r":\w+:`~?(?:[\w]+\.)*([^`]+)`")


def find_anywhere(name: str, rows: Sequence[Row]) -> Row:
    """The row a person means by ``name``, or by ``kind/name`` where two kinds share it.

    Raises
    ------
    ConjoinError : none does, near matches are named; or several do.
    """
    found = [row for row in rows if name in (row.name, f"{row.kind}/{row.name}")]
    if not found:
        raise ConjoinError("method", f"{name!r} is unknown", nearest(name, {r.name for r in rows}))
    if len(found) > 1:
        said = " or ".join(f"{row.kind}/{row.name}" for row in found)
        raise ConjoinError("method", f"{name!r} names {len(found)} of them", f"say {said}")
    return found[0]


def row_json(row: Row, brief: bool = False) -> dict[str, Any]:
    """A row as JSON-able facts; its engine is loaded unless ``brief``."""
    facts: dict[str, Any] = {
        "name": row.name, "kind": row.kind, "summary": row.summary, "cost": row.cost,
        "needs": sorted(row.needs), "extra": row.extra, "papers": list(row.papers),
    }  # fmt: skip
    if brief:
        return facts
    return {
        **facts,
        "settings": dict(row.settings),
        "fields": fields_of(row),
        "sources": [cite(key) for key in row.papers],
    }


def fields_of(row: Row) -> list[dict[str, Any]]:
    """The fields of a row's engine; none where it takes none or its extra is not installed."""
    engine = _engine(row)
    if not dataclasses.is_dataclass(engine):
        return []
    spans = ranges(engine)  # type: ignore[arg-type]
    hints = typing.get_type_hints(engine)
    said = dict(_entries(_sections(engine).get("Parameters", "")))
    return [
        {
            "name": entry.name,
            "type": _type_name(hints[entry.name]),
            "default": row.settings.get(entry.name, _default(entry)),
            "range": _range(spans.get(entry.name)),
            "meaning": said.get(entry.name, ""),
        }
        for entry in dataclasses.fields(engine)
        if entry.init and not entry.name.startswith("_")
    ]


def method_page(row: Row, level: int = 1) -> str:
    """A method in Markdown: claim, fields, formula, errors, example, needs, cost, sources.

    Parameters
    ----------
    level : of its heading.
    """
    parts = [f"{'#' * level} {row.name}", row.summary, _facts(row), _table(fields_of(row))]
    engine = _engine(row)
    if engine is not None:
        parts += [_prose(engine, skip=("Parameters", "References", "Attributes")), _call(row)]
    if row.papers:
        parts.append("Sources:\n\n" + "\n".join(f"- {cite(key)}" for key in row.papers))
    return "\n\n".join(part for part in parts if part) + "\n"


def install_line(row: Row) -> str:
    """The line that installs what a row needs."""
    return f'pip install "conjoin[{row.extra}]"' if row.extra else "pip install conjoin"


def _engine(row: Row) -> Any:
    try:
        return row.load()
    except ImportError:
        return None


def _facts(row: Row) -> str:
    needs = ", ".join(sorted(row.needs)) or "nothing beyond the vectors"
    if row.kind in ("encoder", "map"):
        needs = "nothing beyond its input"
    return "\n".join([
        f"- kind: {row.kind} ({KINDS[row.kind].promise})",
        f"- needs: {needs}",
        f"- cost: {row.cost} ({COSTS[row.cost]})",
        f"- install: `{install_line(row)}`",
        f"- engine: `{row.target}`" + (f" with {_given(row.settings)}" if row.settings else ""),
    ])  # fmt: skip


def _given(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}={value!r}`" for key, value in settings.items())


def _table(fields: Sequence[Mapping[str, Any]]) -> str:
    if not fields:
        return ""
    lines = ["| field | type | default | range | meaning |", "|---|---|---|---|---|"]
    for entry in fields:
        span, default = entry["range"], entry["default"]
        cells = [
            f"`{entry['name']}`",
            f"`{entry['type']}`",
            "required" if default == "required" else f"`{default!r}`",
            "" if span is None else _range_text(span),
            entry["meaning"],
        ]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def _default(entry: Any) -> Any:
    if entry.default is not dataclasses.MISSING:
        return entry.default
    return entry.default_factory() if callable(entry.default_factory) else "required"


def _range(span: Search | Choice | None) -> dict[str, Any] | None:
    if isinstance(span, Search):
        return {"low": span.low, "high": span.high, "log": span.log}
    return None if span is None else {"values": list(span.values)}


def _range_text(span: Mapping[str, Any]) -> str:
    if "values" in span:
        return ", ".join(f"`{value!r}`" for value in span["values"])
    return f"{span['low']:g} to {span['high']:g}" + (", log" if span["log"] else "")


def _type_name(hint: Any) -> str:
    name = hint.__name__ if isinstance(hint, type) else str(hint)
    return re.sub(r"\b(?:[a-z_]\w*\.)+", "", name)


def _sections(owner: Any) -> dict[str, str]:
    """The parts of a docstring by heading; what comes first is under the empty one."""
    text = inspect.cleandoc(owner.__doc__ or "")
    pieces = _HEADING.split(text)
    return {"": pieces[0].strip(), **dict(zip(pieces[1::2], map(_bare, pieces[2::2]), strict=True))}


def _bare(text: str) -> str:
    return text.strip("\n").rstrip()


def _entries(section: str) -> list[tuple[str, str]]:
    """``name, other : meaning`` lines with what is indented below them; one entry a name."""
    found: list[tuple[str, str]] = []
    for block in re.split(r"\n(?=\S)", section):
        names, separator, meaning = " ".join(block.split()).partition(" : ")
        if separator:
            found += [(name.strip(), _markdown(meaning)) for name in names.split(",")]
    return found


def _prose(owner: Any, skip: Sequence[str]) -> str:
    parts = []
    for heading, body in _sections(owner).items():
        if heading in skip or not body:
            continue
        if heading == "":
            parts.append(_markdown(body))
        elif heading == "Examples":
            parts.append(f"Example:\n\n```pycon\n{body}\n```")
        else:
            entries = _entries(body)
            lines = [f"- {name}: {meaning}" for name, meaning in entries] or [_markdown(body)]
            parts.append(f"{heading}:\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _call(row: Row) -> str:
    """The call a kind is used by, with what its docstring says."""
    calls = KINDS[row.kind].calls or (CALLS[row.kind],)
    name = "fit" if "fit" in calls else calls[-1]  # what prepares stands before what is asked
    call = getattr(row.load(), name, None)
    if not callable(call):
        return ""
    shown = [p for p in inspect.signature(call).parameters if p != "self"]
    said = _prose(call, skip=("Examples", "References"))
    return f"`{name}({', '.join(shown)})`" + (f": {said}" if said else "")


def _markdown(text: str) -> str:
    """Docstring markup as Markdown: roles lose their prefix, double backticks become single."""
    text = _ROLE.sub(lambda match: f"`{match.group(1)}`", text)
    return text.replace("``", "`")


def run_methods(name: str | None, kind: str | None, console: Console) -> None:
    """List the catalogue, or show one method in full."""
    listed = [row for row in (of_kind(kind).values() if kind else rows())]
    if name is not None:
        row = find_anywhere(name, listed)
        console.say(method_page(row))
        console.result(row_json(row))
        return
    console.table(
        "", ("method", "kind", "cost", "needs", "what it does"),
        [(r.name, r.kind, r.cost, ", ".join(sorted(r.needs)), r.summary) for r in listed],
    )  # fmt: skip
    console.result({"methods": [row_json(row, brief=True) for row in listed]})
