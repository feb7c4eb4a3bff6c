"""What ``conjoin embed`` asks and prints: made, failed, away, cut or blank."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conjoin.cli.actions.align.joint import serve_as_it_is
from conjoin.cli.console import Console, confirm
from conjoin.encoders.media.video import clock
from conjoin.encoders.run import EmbedResult, Survey
from conjoin.errors import ConjoinError
from conjoin.execution.engines import engine_of
from conjoin.execution.tasks import Engine, Needs
from conjoin.items.moments import seconds_of
from conjoin.project.embedding import embed_on
from conjoin.project.workspace import Workspace
from conjoin.spaces.store import Key

#: Share of a modality's cells that may be away without a question.
AWAY = 0.1
#: Cells that are listed on a terminal.
_SHOWN = 5


@dataclass(frozen=True)
class Asked:
    """How cells are encoded and where, as the options say.

    Parameters
    ----------
    strict, retry : stop at the first cell that fails; try those again that failed before.
    prune : drop the vectors of cells that cannot be read now.
    name, slots, gpus, threads : of the engine, and of a task on it.
    """

    strict: bool = False
    retry: bool = False
    prune: bool = False
    name: str = "local"
    slots: int | None = None
    gpus: float = 0.0
    threads: int | None = None

    def engine(self) -> Engine:
        """The engine; with ``local`` no other option has a meaning.

        Raises
        ------
        ConjoinError : it is unknown, or options are given that ``local`` has not.
        """
        if self.name == "local" and (self.slots or self.gpus or self.threads):
            raise ConjoinError(
                "--engine", "local has no --slots, --gpus or --threads",
                "add --engine processes:N or ray, or set OMP_NUM_THREADS",
            )  # fmt: skip
        return engine_of(self.name, self.slots)

    def needs(self) -> Needs:
        """What a task takes; as many cores as threads."""
        threads = self.threads or whole(os.environ.get("OMP_NUM_THREADS", "1"))
        return Needs(threads, self.gpus, 0, threads)


def whole(text: str) -> int:
    """A number of threads as OMP_NUM_THREADS has it: the first of a list; 1 where it is none.

    >>> whole("4,2"), whole("many")
    (4, 1)
    """
    first = text.split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else 1


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


def run_sizing(
    ws: Workspace, names: Sequence[str], console: Console, how: tuple[str, int, int], *, dry: bool
) -> None:
    """What so many items on so many nodes would take.

    Parameters
    ----------
    how : items as typed, nodes, and slots of each.

    Raises
    ------
    ConjoinError : it is not a dry run.
    """
    from conjoin.project.sizing import count_of, size_up

    if not dry:
        raise ConjoinError("--items", "embeds nothing", "add --dry-run")
    ws.check(chosen := list(names) or [m.name for m in ws.modalities])
    found = size_up(
        ws, chosen, items=count_of(how[0]), nodes=how[1], slots=how[2], note=console.note
    )
    console.table(
        f"{found.items:,} items on {found.nodes} × {found.slots} cores, from rates of this machine",
        *found.table(),
    )
    for name, why in found.left_out.items():
        console.say(f"{name}: {why}")
    console.say("reading cells, the network and other work on the machines come on top")
    console.result({**found.to_json(), "dry": True})


def run_embed(
    ws: Workspace,
    names: Sequence[str],
    console: Console,
    asked: Asked,
    *,
    dry: bool,
    yes: bool = False,
) -> bool:
    """Embed modalities; says which items failed and why. Returns whether none did.

    What cannot be read now keeps its vectors unless they are pruned; where that is more than a
    tenth of a modality, ``yes`` is asked for before anything changes.
    """
    chosen = list(names) or [m.name for m in ws.modalities]
    engine, needs = asked.engine(), asked.needs()
    ws.check(chosen)
    for name in () if dry else chosen:  # opened first: the walk is not told of as slow
        ws.encoder(name)
    watched = sys.stderr.isatty()
    seen = {
        name: ws.survey(name, console.progress(f"{name}, looking") if watched else None)
        for name in chosen
    }
    if dry:
        plans = [planned(ws, name, seen[name]) for name in chosen]
        for plan in plans:
            console.say("{modality}: {wanted} cells, {have} vectors stored".format(**plan))
        console.result({"modalities": plans})
        return True
    for name in chosen:
        doubt = question(ws, name, seen[name], prune=asked.prune)
        if doubt:
            confirm(doubt, yes=yes)
    summary: list[dict[str, Any]] = []
    changed: list[str] = []
    for name in chosen:
        found = seen[name].pruned() if asked.prune else seen[name]
        progress = console.progress(name)
        made = embed_on(
            ws, name, engine, needs, strict=asked.strict, retry=asked.retry, progress=progress,
            seen=found,
        )  # fmt: skip
        summary.append(entry(name, made))
        show(name, made, console, timed=ws.modality(name).timed)
        changed += [name] if made.made or made.dropped else []
    served = serve_as_it_is(ws, console)
    notes = list(ws.items.notes)
    for note in notes:
        console.say(f"note: {note}")
    show_remarks(summary, console)
    hint = None if served else _unseen(ws, changed)
    if hint and not console.silent:
        console.note(hint)
    more = {"served": served} if served else {}
    console.result({"modalities": summary, "notes": notes, **more})
    return not any(one["failed"] or one["unreachable"] for one in summary)


def _unseen(ws: Workspace, changed: Sequence[str]) -> str | None:
    """What makes new vectors seen by search; ``None`` where nothing changed or is fitted."""
    from conjoin.project.fit.stored import fit_as_it_is

    if not changed or not (ws.state / "current.json").exists():
        return None
    try:
        bound = fit_as_it_is(ws).binding.maps
    except ConjoinError:
        return "what is fitted cannot be read; run: conjoin clean, then: conjoin fit"
    new = [name for name in changed if name not in bound]
    if len(new) == len(changed):
        return f"search does not know {', '.join(new)} yet; run: conjoin add"
    return "search still sees the last fit; run: conjoin fit, or conjoin index add to keep the fit"
