"""What ``conjoin init`` writes and prints."""

import shlex
from pathlib import Path

from conjoin.cli.actions.align.joint import towers_of
from conjoin.cli.console import Console, confirm
from conjoin.items.reading.guess import look
from conjoin.project.trust import MADE, trust
from conjoin.project.workspace import CONFIG
from conjoin.storage.files import atomic


def run_init(
    table: Path, folder: Path, console: Console, *, encoder: str | None, dry: bool, yes: bool
) -> None:
    """Write a commented ``conjoin.toml`` from a look at a table."""
    path = folder / CONFIG
    found = look(table, folder, encoders=towers_of(encoder) if encoder else {})
    told = {
        "path": str(path), "toml": found.toml, "left_out": dict(found.left_out),
        "notes": list(found.notes),
    }  # fmt: skip
    for note in found.notes:
        console.note(note)
    for line in found.said_left_out():
        console.note(line)
    if dry:
        console.say(found.toml.rstrip("\n"))
        console.result({**told, "dry": True})
        return
    if path.exists():
        confirm(f"replace {path}?", yes=yes)
    with atomic(path) as file:
        file.write(found.toml.encode())
    trust(folder, [MADE])
    there = "" if folder.resolve() == Path.cwd() else f" -w {shlex.quote(str(folder))}"
    console.say(f"wrote {path}: look it over, then run: conjoin embed{there}")
    console.result(told)
