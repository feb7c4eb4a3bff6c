"""What ``conjoin head`` prints."""

from pathlib import Path
from typing import Any

from conjoin.cli.console import Console
from conjoin.errors import ConjoinError
from conjoin.project.fit.card import PAGE
from conjoin.project.transfer.heads import (
    HeadAsk,
    MadeHead,
    Question,
    check_file,
    fit_head,
    predict_to,
    question,
)
from conjoin.project.workspace import Workspace
from conjoin.report.text import number, plain


def run_head(ws: Workspace, ask: HeadAsk, console: Console, apply: Path | None, dry: bool) -> None:
    """Fit and show a head, or use the one in use; write predictions where asked."""
    if apply is not None:
        check_file(apply)
    value: dict[str, Any] = {}
    if ask.names or ask.label:
        if dry:
            _say_plan(question(ws, ask), console)
            return
        made = fit_head(ws, ask, lambda text: console.note(f"trying {text}"))
        _show(made, console)
        value = made.to_json()
    elif apply is None:
        raise ConjoinError(
            "conjoin head", "nothing to do", "give --names FILE, --label COLUMN or --apply FILE"
        )
    if apply is not None and not dry:
        count = predict_to(ws, apply, ask.target)
        console.say(f"wrote {count} predictions to {apply}")
        value |= {"predictions": str(apply), "rows": count}
    console.result(value)


def _say_plan(asked: Question, console: Console) -> None:
    console.say(
        f"would fit a head to {len(asked.train)} items of {asked.source} and ask "
        f"{len(asked.test)} held-out items of {asked.target}"
    )
    console.result({"train": len(asked.train), "test": len(asked.test), "source": asked.source,
                    "target": asked.target, "dry": True})  # fmt: skip


def _show(made: MadeHead, console: Console) -> None:
    facts = made.facts
    rows = [
        (
            "all" if p["shots"] is None else str(p["shots"]),
            ("* " if p["chosen"] else "  ") + p["method"], number(p["value"], p["low"], p["high"]),
            number(p["balanced"]), str(p["rows"]),
        )
        for p in facts["points"]
    ]  # fmt: skip
    was = "" if made.fresh else "; nothing has changed since it was fitted"
    console.say(f"{facts['verdict']}{was}\n")
    if rows:
        console.table(
            f"{facts['what']} of {facts['test']} held-out {facts['target']} items, learned from "
            f"{facts['source']}",
            ("shots", "head", "accuracy", "classes alike", "labelled"), rows,
        )  # fmt: skip
        console.say("* chosen on folds of the training items; brackets are 95 % by group")
    for note in facts["notes"]:
        console.say(f"note: {note}")
    if facts["rejection"]:
        r = facts["rejection"]
        console.say(
            f"refuses {r['known']:.1%} of known classes' held-out items (asked: at most "
            f"{r['rate']:.0%}) and {r['unknown']:.1%} of {len(r['kept_out'])} classes kept out "
            f"(by the probability alone {r['by_probability'][0]:.1%} and "
            f"{r['by_probability'][1]:.1%})"
        )
    console.detail().say(f"{facts['method']} ({plain(facts['fields'])})")
    console.say(f"card: {made.folder / PAGE}")
