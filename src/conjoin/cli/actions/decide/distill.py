"""What ``conjoin distill`` prints."""

from conjoin.cli.console import Console
from conjoin.project.fit.card import PAGE
from conjoin.project.transfer.distill import (
    FILE,
    DistillAsk,
    check_ask,
    fit_student,
    read_class,
    use_student,
)
from conjoin.project.workspace import Workspace
from conjoin.report.text import number


def run_distill(ws: Workspace, ask: DistillAsk, console: Console, dry: bool) -> None:
    """Fit, judge and show a student; bind its modality by it where asked."""
    if dry:
        check_ask(ws, ask)
        taught = read_class(ws, ask) if ask.to is None or ask.to in ws.config.modalities else None
        said = "" if taught is None else f" from {(~taught.held).sum()} items"
        console.say(f"would teach {ask.modality}{said}")
        console.result({"modality": ask.modality, "dry": True})
        return
    made = fit_student(ws, ask, lambda text: console.note(f"trying {text}"))
    facts = made.facts
    against = f", search {facts['gallery']}" if facts["gallery"] else ""
    console.table(
        f"Recall@10 of {facts['test']} held-out items: own teacher's vector{against}",
        ("student", "own", "search", "retention"),
        [
            (("* " if c["method"] == facts["method"] else "  ") + c["method"],
             *(number(*c[k]) if c[k] else "-" for k in ("own", "search", "retention")))
            for c in facts["compared"]
        ],
    )  # fmt: skip
    was = "" if made.fresh else "; nothing has changed since it was fitted"
    console.say(f"* chosen on training items{was}")
    console.say(f"{facts['verdict']}; card: {made.folder / PAGE}")
    console.say(f"map: {made.folder / FILE}")
    used = None
    if ask.use:
        used = use_student(ws, ask, made).binding.frame.id
        console.say(f"{ask.to or ask.modality} is bound by it: search, evaluate and head see it")
    console.result({**made.to_json(), "bound_in": used})
