"""Write what the docs take from the code: method pages, bibliography, schema, CLI reference.

``--check`` writes nothing and exits 1, naming the files that differ from what is committed.
"""

import argparse
import importlib
import inspect
import json
import sys
import tempfile
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.models import ArgumentInfo

from conjoin.catalogue import KINDS, Row, of_kind, rows
from conjoin.cli.actions.judge.methods import method_page
from conjoin.report.bibliography import cite, papers
from conjoin.report.pages.claims import claims_page
from conjoin.report.pages.gallery import gallery_page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
NOTE = "<!-- Written by scripts/make_docs.py from the code: change that, not this. -->\n\n"
BEGIN, END = "<!-- reference: begin -->", "<!-- reference: end -->"


def pages() -> Iterator[tuple[Path, str]]:
    """Every generated file and what it must hold."""
    kinds = [kind for kind in KINDS if of_kind(kind)]
    yield DOCS / "methods" / "index.md", NOTE + _catalogue(kinds)
    for kind in kinds:
        yield DOCS / "methods" / f"{kind}.md", NOTE + _kind_page(kind)
    yield DOCS / "bibliography.md", NOTE + _bibliography()
    facts = DOCS / "claims.json"
    if facts.exists():
        found = json.loads(facts.read_text(encoding="utf-8"))
        record = DOCS / "claims-before.json"
        before = json.loads(record.read_text(encoding="utf-8")) if record.exists() else None
        yield DOCS / "claims.md", NOTE + claims_page(found, before)
        yield DOCS / "claims-gallery.md", NOTE + gallery_page(found)
    yield DOCS / "conjoin.schema.json", _schema()
    yield DOCS / "cli.md", _between((DOCS / "cli.md").read_text(encoding="utf-8"), _commands())
    for path in (DOCS / "design.md", ROOT / "CONTRIBUTING.md"):
        yield path, _between(path.read_text(encoding="utf-8"), _rooms())


def _rooms() -> str:
    """The rooms from the top layer down, as the import contract has them."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = told["tool"]["importlinter"]["contracts"][0]["layers"]
    lines = ["| room, highest first | what is in it |", "|---|---|"]
    for layer in layers:
        for room in layer.split(" | "):
            found = importlib.import_module(f"conjoin.{room}").__doc__ or ""
            lines.append(f"| `{room}` | {found.splitlines()[0].rstrip('.')} |")
    return "\n".join(lines)


def anchor(row: Row) -> str:
    """The name of a method's heading on its kind's page."""
    kept = (char if char.isalnum() else "-" for char in f"{row.kind}-{row.name}")
    return "".join(kept).lower()


def _place(row: Row) -> str:
    return f"{row.kind}.md#{anchor(row)}"


def _catalogue(kinds: list[str]) -> str:
    lines = ["# Methods", "", f"{len(rows())} methods of {len(kinds)} kinds.", ""]
    for kind in kinds:
        lines += [f"## {kind}", "", f"{KINDS[kind].sentence}.", ""]
        lines += ["| method | what it does | needs | cost | extra |", "|---|---|---|---|---|"]
        for row in of_kind(kind).values():
            needs, extra = ", ".join(sorted(row.needs)), row.extra or ""
            lines.append(
                f"| [{row.name}]({_place(row)}) | {row.summary} | {needs} | {row.cost} | {extra} |"
            )
        lines.append("")
    return "\n".join(lines)


def _kind_page(kind: str) -> str:
    parts = [f"# {kind[0].upper()}{kind[1:]}\n\n{KINDS[kind].sentence}.\n"]
    for row in of_kind(kind).values():
        heading, _, body = method_page(row, level=2).partition("\n")
        parts.append(f"{heading} {{#{anchor(row)}}}\n{body}")
    return "\n".join(parts)


def _bibliography() -> str:
    used: dict[str, list[Row]] = {}
    for row in rows():
        for key in row.papers:
            used.setdefault(key, []).append(row)
    lines = ["# Bibliography", "", "What the methods rest on, and where each is used.", ""]
    for key in sorted(papers(), key=cite):
        where = ", ".join(f"[{row.name}](methods/{_place(row)})" for row in used.get(key, []))
        lines.append(f"- {cite(key)}" + (f" Used by {where}." if where else ""))
    return "\n".join(lines) + "\n"


def _schema() -> str:
    from conjoin.items.config import write_schema

    with tempfile.TemporaryDirectory() as folder:
        write_schema(Path(folder) / "schema.json")
        return (Path(folder) / "schema.json").read_text(encoding="utf-8")


def _between(page: str, middle: str) -> str:
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n{NOTE}{middle}\n{END}{rest.partition(END)[2]}"


def _commands() -> str:
    from conjoin.cli.main import app

    return "\n".join(_group(app, "conjoin"))


def _group(app: typer.Typer, name: str) -> Iterator[str]:
    """The commands of an app, then those of its groups, from what was registered."""
    for command in app.registered_commands:
        call = command.callback
        yield from _command(f"{name} {command.name or call.__name__.replace('_', '-')}", call)
    for group in app.registered_groups:
        # A group without a name of its own adds its verbs to those around it.
        own = f"{name} {group.name}" if isinstance(group.name, str) else name
        yield from _group(group.typer_instance, own)


def _command(name: str, call: Any) -> Iterator[str]:
    found = [_parameter(*entry) for entry in _parameters(call)]
    arguments = [slot for slot, _ in found if slot]
    options = ["[OPTIONS]"] if len(arguments) < len(found) else []
    yield f"### {name}\n\n{inspect.cleandoc(call.__doc__)}\n"
    yield f"```sh\n{' '.join([name, *arguments, *options])}\n```\n"
    if found:
        yield "\n".join(["| | meaning | default |", "|---|---|---|", *(line for _, line in found)])
        yield ""


def _parameters(call: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """Name, type, typer's own note and default of each parameter."""
    hints = typing.get_type_hints(call, include_extras=True)
    for name, parameter in inspect.signature(call).parameters.items():
        kind, note = typing.get_args(hints[name])
        if not note.hidden:
            yield name, kind, note, parameter.default


def _parameter(name: str, kind: Any, note: Any, default: Any) -> tuple[str, str]:
    """The slot of an argument in the usage line, empty for an option, and its table line."""
    several = "list" in str(kind)
    if isinstance(note, ArgumentInfo):
        slot = name.upper() + ("..." if several else "")
        slot = slot if default is inspect.Parameter.empty else f"[{slot}]"
        spelled = [slot]
    else:
        slot, flag = "", f"--{name.replace('_', '-')}"
        # In Annotated, typer keeps the first spelling where a default would be.
        first = [note.default] if isinstance(note.default, str) else []
        spelled = [*first, *(note.param_decls or ())]
        if kind is bool:
            spelled = spelled or [flag, f"--no-{flag[2:]}"]
        else:
            spelled = [f"{decl} {_value(kind)}" for decl in spelled or [flag]]
    text = (note.help or "") + (" May be given several times." if several and not slot else "")
    plain = default in (None, False, inspect.Parameter.empty) or default == Path()
    names = ", ".join(f"`{entry}`" for entry in spelled)
    return slot, f"| {names} | {text} | {'' if plain else f'`{default}`'} |"


def _value(kind: Any) -> str:
    return "PATH" if "Path" in str(kind) else "N" if kind in (int, float) else "TEXT"


def main() -> int:
    """Write the files, or say which differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on difference")
    check = parser.parse_args().check
    made = dict(pages())
    stale = set((DOCS / "methods").glob("*.md")) - set(made)
    differ = [
        path for path, text in made.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]  # fmt: skip
    if check:
        for path in [*differ, *sorted(stale)]:
            print(f"{path.relative_to(DOCS.parent)} differs: run python scripts/make_docs.py")
        return 1 if differ or stale else 0
    for path in differ:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path], encoding="utf-8")
    for path in stale:
        path.unlink()
    print(f"{len(differ)} written, {len(made) - len(differ)} unchanged, {len(stale)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
