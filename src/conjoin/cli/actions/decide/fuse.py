"""What ``conjoin fuse`` prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conjoin.cli.console import Console
from conjoin.errors import ConjoinError
from conjoin.project.transfer.fusion import FuseAsk, check_file, fuse, last_fusion, plan_fusion
from conjoin.project.workspace import Workspace
from conjoin.report.cards import fusion as card


def run_fuse(ws: Workspace, ask: FuseAsk, console: Console, apply: Path | None, dry: bool) -> None:
    """Fit or open a fusion, show how it does, and apply it where asked."""
    if apply is not None:
        check_file(apply)
    plan = plan_fusion(ws, ask)
    if dry:
        console.say(
            f"would {'open' if plan.fitted else 'fit'} a fusion of {', '.join(plan.table.frames)} "
            f"for {ask.label} on {int(plan.known.sum())} labelled items"
        )
        console.result({**plan.to_json(), "dry": True})
        return
    made = fuse(plan, console.note)
    _show(console, made.facts, made.fresh)
    written = None
    if apply is not None:
        written = made.apply(apply)
        console.say(f"wrote {written} decisions to {apply}")
    console.result({**made.to_json(), "applied": written})


def run_apply(
    ws: Workspace, names: Sequence[str], console: Console, path: Path | None, dry: bool
) -> None:
    """Decide all items by the last fusion that was fitted.

    Raises
    ------
    ConjoinError : no file is named, or modalities are.
    """
    if path is None:
        raise ConjoinError("conjoin fuse", "nothing to do", "give --label COLUMN or --apply FILE")
    check_file(path)
    if names:
        raise ConjoinError(
            "modalities", f"{names[0]!r} beside --apply alone", "give --label COLUMN, too"
        )
    last = last_fusion(ws)
    label = last.label
    if dry:
        console.say(f"would write {len(last.table.ids)} decisions of {label} to {path}")
        console.result({"label": label, "items": len(last.table.ids), "dry": True})
        return
    written = last.apply(path)
    console.say(f"wrote {written} decisions of {label} to {path}")
    console.result({"label": label, "folder": str(last.folder), "applied": written})


def _show(console: Console, facts: Mapping[str, Any], fresh: bool) -> None:
    if not fresh:
        console.note("opened what was fitted before; nothing that it rests on has changed")
    for line in facts["recommendation"]:
        console.say(line)
    console.say("")
    console.table(
        f"{facts['label']} on {facts['held_out']} held-out items ({facts['metric']}); "
        f"{facts['trained']} were trained on",
        card.ARMS, card.arm_rows(facts),
    )  # fmt: skip
    missing, names = facts["missing"], facts["modalities"]
    detail = console.detail()
    detail.table(
        "Every subset of the modalities", card.masks_header(names), card.mask_rows(missing, names)
    )
    detail.table("What to collect next", card.COLLECT, card.collect_rows(missing))
    for line in facts["notes"]:
        console.say(line)
    if not console.verbose:
        console.say("--verbose shows every subset of the modalities and what to collect next")
