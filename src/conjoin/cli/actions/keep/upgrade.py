"""What ``conjoin upgrade``, ``remove`` and ``merge`` print."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conjoin.cli.console import Console, confirm
from conjoin.errors import ConjoinError
from conjoin.project.workspace import Workspace
from conjoin.report.text import number
from conjoin.storage.files import atomic


def run_plan(ws: Workspace, wanted: Any, console: Console, *, svg: Path | None, dry: bool) -> None:
    """Plan, and show the curve as a table and as a picture."""
    from conjoin.project.upgrade import lifecycle
    from conjoin.report.curve import curve_svg

    if dry:
        count = lifecycle.to_be_embedded(ws, wanted)
        console.say(f"would embed up to {count} items of {wanted.modality} with {wanted.uri}")
        console.result({"modality": wanted.modality, "to": wanted.uri, "items": count, "dry": True})
        return
    found = lifecycle.plan(ws, wanted, console.progress(wanted.modality))
    value = found.to_json()
    if svg is not None:
        title = f"{wanted.modality}: {ws.modality(wanted.modality).uri} → {wanted.uri}"
        with atomic(svg) as file:
            file.write(curve_svg(value, title).encode())
        console.note(f"wrote {svg}")
    _show_curve(found, console)
    console.result(value)


def _show_curve(found: Any, console: Console) -> None:
    facts = found.facts
    body = []
    for arm in found.arms:
        mark = "* " if arm == found.chosen else "  "
        gain = "" if arm.name == "nothing" else f"{arm.gain:+.3f} [{arm.gain_low:+.2f}, "
        gain += "" if arm.name == "nothing" else f"{arm.gain_high:+.2f}]"
        money = [] if arm.money is None else [f"{arm.money:.2f}"]
        body.append([mark + arm.label, number(arm.value, arm.low, arm.high), gain,
                     f"{arm.cost:.1f}", *money, f"{arm.bytes / 1e6:.1f}", arm.note])  # fmt: skip
    money = [] if facts["price_per_1000"] is None else ["money"]
    console.table(
        f"{facts['metric']} of {facts['held_out']} held-out items of a sample of "
        f"{facts['sample']}; 95 % intervals by group; cost of {facts['collection']} rows",
        ("arm", facts["metric"], "against nothing", "encoder s", *money, "MB", ""), body,
    )  # fmt: skip
    console.say(f"bridge: {found.way}")
    console.say(f"gallery: {facts['gallery']}; corrections of the index are left out of all arms")
    if fair := facts["same_lines"]:
        console.say("new against old encoder, both fitted to the sample's lines alone: "
                    f"{fair['gain']:+.3f} [{fair['low']:+.3f}, {fair['high']:+.3f}]")  # fmt: skip
    console.say(f"recommended: {found.recommendation}: {found.reason}")


def run_apply(
    ws: Workspace, arm: str | None, more: Mapping[str, Any], console: Console, *, dry: bool,
    yes: bool,
) -> None:  # fmt: skip
    """Apply the plan, or go on with an upgrade that was begun."""
    from conjoin.project.upgrade import lifecycle, state

    planned, job = state.read_plan(ws), state.read_job(ws)
    begun = job is not None and job["step"] != "done"
    chosen = dict(job["arm"]) if job and begun else lifecycle.chosen_arm(planned, arm, **more)
    said = lifecycle.label_of(chosen)
    line = f"{planned['modality']} to {planned['uri']} by {said}"
    if dry:
        console.say(f"would upgrade {line}: {chosen['cost']:.1f} encoder seconds")
        console.result({"arm": chosen, "dry": True})
        return
    if not begun:
        confirm(f"upgrade {line}, {chosen['cost']:.0f} encoder seconds?", yes=yes)
    done = lifecycle.apply(ws, chosen, console.progress(planned["modality"]))
    console.say(f"upgraded {line}; {done.embedded} items were to be embedded; "
                "verify: conjoin upgrade verify")  # fmt: skip
    for note in done.notes:
        console.say(f"note: {note}")
    console.result({"arm": chosen, "embedded": done.embedded, "fit": done.folder,
                    "notes": list(done.notes)})  # fmt: skip


def run_verify(ws: Workspace, console: Console) -> bool:
    """Show every check; returns whether all passed."""
    from conjoin.project.upgrade.verify import verify

    found = verify(ws)
    console.table(
        "", ("check", "", "what was found"),
        [(c.name, "ok" if c.ok else "FAILED", c.said) for c in found.checks],
    )  # fmt: skip
    console.say("the upgrade is whole" if found.ok else "roll back: conjoin upgrade rollback")
    console.result(found.to_json())
    return found.ok


def run_rollback(ws: Workspace, console: Console, *, dry: bool, yes: bool) -> None:
    """Undo an upgrade."""
    from conjoin.project.upgrade import lifecycle, state

    state.before_folder(ws)
    if dry:
        console.say("would put back what was in use before")
        console.result({"dry": True})
        return
    confirm("put back what was in use before the upgrade?", yes=yes)
    written = lifecycle.rollback(ws)
    console.say("rolled back: " + (", ".join(written) or "nothing had been published"))
    console.result({"restored": written})


def run_remove(
    ws: Workspace, name: str | None, console: Console, *, back: bool, dry: bool, yes: bool
) -> None:
    """Take a modality out, and say what every direction lost; or put it back."""
    from conjoin.project.fit.merge import check_removable, remove

    if back:
        run_undo(ws, name, console, dry=dry, yes=yes)
        return
    if name is None:
        raise ConjoinError("remove", "names no modality", "name one, or give --undo")
    check_removable(ws, name)
    if not dry:
        confirm(f"take {name} out of the binding, the index and conjoin.toml?", yes=yes)
    made = remove(ws, name, write=not dry)
    show_changes(made.changes, console)
    console.say(f"{'would take' if dry else 'took'} {name} out; the other vectors stay; "
                "conjoin remove --undo puts it back")  # fmt: skip
    console.result({"removed": name, "fit": made.folder, "dry": dry,
                    "directions": [c.to_json() for c in made.changes]})  # fmt: skip


def run_undo(ws: Workspace, name: str | None, console: Console, *, dry: bool, yes: bool) -> None:
    """Put back what the last removal took out."""
    from conjoin.project.fit.merge import undo
    from conjoin.project.upgrade import state

    if name is not None:
        raise ConjoinError("--undo", f"and {name} are both given", "give one of them")
    state.before_folder(ws, state.REMOVED)
    if dry:
        console.say("would put back what the last removal took out")
        console.result({"dry": True})
        return
    confirm("put back what was in use before the removal?", yes=yes)
    written = undo(ws)
    console.say("put back: " + ", ".join(written))
    console.result({"restored": written})


def run_merge(
    a: Workspace, b: Workspace, console: Console, *, anchors: str, method: str,
    out: Path | None, dry: bool, seed: int,
) -> None:  # fmt: skip
    """Merge two bindings, and say what every direction gained or lost."""
    from conjoin.project.fit.merge import join, write_joined

    made = join(a, b, anchors=anchors, method=method, seed=seed)
    show_changes(made.changes, console)
    console.say(f"{made.anchors} anchors; {made.merged.found:.1%} of those held out are found back")
    console.say("modalities: " + ", ".join(made.merged.binding.maps))
    if out is not None and not dry:
        write_joined(made, out)
        console.say(f"wrote {out}: Binding.load({str(out / 'maps')!r}), Index.open(…/index)")
    console.result({
        "modalities": list(made.merged.binding.maps), "frame": made.merged.binding.frame.id,
        "anchors": made.anchors, "found": made.merged.found, "dry": dry,
        "directions": [c.to_json() for c in made.changes],
    })  # fmt: skip


def show_changes(changes: Sequence[Any], console: Console) -> None:
    """One line a direction."""
    console.table(
        "recall@10 of held-out items; 95 % intervals by group",
        ("direction", "before", "after", "difference", ""),
        [(f"{c.query} → {c.target}", number(c.before), number(c.after),
          f"{c.gain:+.3f} [{c.low:+.3f}, {c.high:+.3f}]", c.said) for c in changes],
    )  # fmt: skip
