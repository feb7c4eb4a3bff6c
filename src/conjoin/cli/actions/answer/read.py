"""What ``conjoin read`` prints."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conjoin.answering.documents.read import ReadResult, read_documents
from conjoin.cli.console import Console
from conjoin.encoders.function import find_function
from conjoin.errors import ConjoinError


def run_read(
    paths: Sequence[Path], out: Path, console: Console, *, most: int, reader: str | None, dry: bool
) -> bool:
    """Read documents, say what the table holds and what was left out; whether all were read."""
    if out.suffix.lower() != ".parquet":
        raise ConjoinError(
            f"--out {out}",
            "is no .parquet file",
            f"write {out.with_suffix('.parquet')}" if out.name else "name one: items.parquet",
        )
    own: Any = find_function(reader.removeprefix("python:"), reader) if reader else None
    found = read_documents(
        paths, out, most=most, reader=own, dry=dry, progress=console.progress("reading")
    )
    if console.as_json:
        console.result({**found.to_json(), "dry": dry})
        return not found.unread
    _show(found, console, dry=dry)
    return not found.unread


def _show(found: ReadResult, console: Console, *, dry: bool) -> None:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.kinds.items())
    copied = f" ({found.unchanged} unchanged)" if found.unchanged else ""
    word = "document" if found.documents == 1 else "documents"
    console.say(
        f"{found.documents:,} {word}{copied}: {found.rows:,} rows ({kinds or 'none'}), "
        f"{found.letters:,} characters, {found.pictures:,} pictures"
    )
    console.say(f"{found.asked:,} rows have a heading, caption or link that asks for them")
    for one in found.unread:
        console.say(one.line())
    for one in found.left:
        if one.what == "note":
            console.say(one.line())
    rest = [one for one in found.left if one.what in ("text", "picture")]
    for (what, why), count in _summed(rest).items():
        console.say(f"left out: {count:,} {what}: {why}")
    for one in rest:
        console.detail().say(one.line())
    if found.removed:
        console.say(f"no longer there: {', '.join(found.removed[:5])}")
    if dry:
        console.say("nothing was written")
    elif found.rows:
        console.say(f"wrote {found.out}: next, conjoin init {shlex.quote(str(found.out))}")


def _summed(left: Sequence) -> Counter[tuple[str, str]]:
    """Counts by what and why; figures in a reason are one reason."""
    import re

    counts: Counter[tuple[str, str]] = Counter()
    for one in left:
        unit = "characters" if one.what == "text" else "pictures"
        why = re.sub(r"\d+ × \d+ pixels", "few pixels", one.why)
        why = re.sub(r": \S+$", "", why) if one.what == "picture" and "pixels" not in why else why
        counts[unit, why] += one.count
    return counts
