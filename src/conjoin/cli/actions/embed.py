"""What `conjoin embed` says: what was made, what failed, what is away, what was cut or blank."""

from collections.abc import Mapping, Sequence
from typing import Any

from conjoin.cli.console import Console
from conjoin.encoders.media.video import clock
from conjoin.encoders.run import EmbedResult, Survey
from conjoin.items.moments import seconds_of
from conjoin.project.workspace import Workspace
from conjoin.spaces.store import Key

#: Share of a modality's cells that may be away without a question.
AWAY = 0.1
#: Cells that are listed on a terminal.
_SHOWN = 5


def planned(ws: Workspace, name: str, seen: Survey) -> dict[str, Any]:
    """What there is to embed of a modality."""
    store = ws.stored(name)
    return {
        "modality": name, "have": 0 if store is None else len(store.live()),
        "wanted": len(seen.keys), "unreachable": len(seen.away),
    }  # fmt: skip


def question(ws: Workspace, name: str, seen: Survey, *, prune: bool) -> str | None:
    """What to ask before vectors of cells that are away are passed over or dropped, if anything.

    Nothing is asked where there are no vectors yet: then there is nothing to lose.
    """
    if len(seen.away) <= AWAY * len(seen.keys) or not ws.store(name).live():
        return None
    reason = next(iter(seen.away.values()))
    what = "drop their vectors" if prune else "go on, and keep the vectors they have"
    return (
        f"{name}: {len(seen.away)} of {len(seen.keys)} cells cannot be read now ({reason}); {what}?"
    )


def entry(name: str, made: EmbedResult) -> dict[str, Any]:
    """The JSON of one modality."""
    return {
        "modality": name, "made": made.made, "kept": made.kept, "dropped": made.dropped,
        "failed": _listed(made.failed), "unreachable": _listed(made.away),
        "remarks": dict(made.said),
    }  # fmt: skip


def _listed(cells: Mapping[Key, str]) -> list[dict[str, Any]]:
    return [{"id": key.id, "part": key.part, "reason": why} for key, why in cells.items()]


def show(name: str, made: EmbedResult, console: Console, *, timed: bool = False) -> None:
    """One line of what was done, and the first cells that have or keep no fresh vector.

    Parameters
    ----------
    timed : its parts are moments of recordings.
    """
    away = f" ({len(made.away)} of them unreachable)" if made.away else ""
    gone = f", {made.dropped} dropped" if made.dropped else ""
    counts = f"{made.made} made, {made.kept} kept{away}{gone}, {len(made.failed)} failed"
    console.say(f"{name}: {counts}")
    for word, cells in (("", made.failed), ("kept, unreachable: ", made.away)):
        for key, reason in list(cells.items())[:_SHOWN]:
            part = f", part {key.part + 1}" if key.part and not timed else ""
            part = f" at {clock(seconds_of(key.part))}" if key.part and timed else part
            console.note(f"  item {key.id}{part}: {word}{reason}")
        if len(cells) > _SHOWN:
            console.note(f"  and {len(cells) - _SHOWN} more; --json lists them all")


def show_remarks(summary: Sequence[Mapping[str, Any]], console: Console) -> None:
    """One line of what was cut, blank or silent, by modality; nothing where nothing was."""
    told = [
        f"{entry['modality']}: " + ", ".join(f"{n} {text}" for text, n in entry["remarks"].items())
        for entry in summary if entry["remarks"]
    ]  # fmt: skip
    if told:
        console.say("note: " + "; ".join(told))
