"""What ``conjoin model tune`` prints."""

from collections.abc import Mapping
from typing import Any

from conjoin.catalogue import find
from conjoin.cli.console import Console
from conjoin.errors import ConjoinError
from conjoin.project.models.tune import TuneAsk, TunedResult, plan_tuning, tune_modality
from conjoin.project.workspace import Workspace
from conjoin.report.text import number


def run_tune(ws: Workspace, ask: TuneAsk, console: Console, *, dry: bool = False) -> None:
    """Say what would be done, or do it and say whether it pays."""
    if dry:
        plan = plan_tuning(ws, ask)
        console.say(
            f"would tune a copy of {ask.modality} by {ask.peft} on {plan['train']} items, "
            f"at most {plan['steps']} steps of {plan['batch']}, and ask {plan['test']} held out"
        )
        console.result({**plan, "dry": True})
        return
    made = tune_modality(ws, ask, lambda text: console.note(text))
    show(made, console)
    console.result(made.to_json())


def show(made: TunedResult, console: Console) -> None:
    """The verdict, the table, what was lost, and where it lies."""
    console.say(f"{made.arms.verdict}\n")
    first = made.arms.arms[0]
    console.table(
        "Held-out items", ("vectors", first.metric, "CPU-s"),
        [
            (("* " if arm.name == made.arms.use else "  ") + arm.name,
             number(arm.value, arm.low, arm.high), f"{arm.cost:.1f}")
            for arm in made.arms.arms
        ],
    )  # fmt: skip
    console.say(
        "frozen: the vectors as they are, with the best head or map of them; brackets are 95 % by "
        "group"
    )
    if made.kept:
        said = ", ".join(f"{name} {value:.3f}" for name, value in made.kept.items())
        console.say(f"what --keep holds: {said}")
    if made.alpha < 1:
        console.say(f"saved: {made.alpha:.2f} of the tuned weights and the rest of the original's")
    if made.more is not None:
        console.say(f"about {made.more} more labels until this pays, as two sizes tell")
    for note in made.notes:
        console.say(f"note: {note}")
    console.say(f"opens as st:{made.folder}")


def settings_of(peft: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, as fields of the method.

    Raises
    ------
    ConjoinError : the method has no such field.
    """
    row = find("tuning", peft)
    known = row.load().__dataclass_fields__
    fields = {name: value for name, value in given.items() if value is not None}
    for name in fields:
        if name not in known or (name in row.settings and name != "lr"):
            raise ConjoinError(f"--{name}", f"{peft} has no {name}", "leave it out")
    return fields
