"""What ``conjoin model adapt`` prints."""

from conjoin.cli.console import Console
from conjoin.project.models.adapt import UNKNOWN, AdaptAsk, Adapted, adapt_modality
from conjoin.project.workspace import Workspace
from conjoin.report.text import number


def run_adapt(ws: Workspace, ask: AdaptAsk, console: Console) -> None:
    """Adapt, and say what is known of it."""
    made = adapt_modality(ws, ask, lambda text: console.note(text))
    show(made, console)
    console.result(made.to_json())


def show(made: Adapted, console: Console) -> None:
    """The verdict, what differs, the arms or what cannot be known, and the class shares."""
    console.say(f"{made.verdict}\n")
    shift = made.shift
    console.say(
        f"target against source: means {shift.mean:.2f} deviations apart, spreads "
        f"{shift.spread:.2f} in logarithm, p = {shift.p:.3f}"
    )
    if made.arms is not None:
        console.table(
            "The target's labels, used to score alone", ("head", "accuracy"),
            [(("* " if arm.name == made.arms.use else "  ") + arm.name,
              number(arm.value, arm.low, arm.high)) for arm in made.arms.arms],
        )  # fmt: skip
    else:
        console.say(UNKNOWN)
    if made.folder is not None:
        console.table(
            "Share of the target's rows answered with each class",
            ("class", "before", "after", "in the source"),
            [(name, *(f"{value:.3f}" for value in three)) for name, three in made.shares.items()],
        )
        console.say(f"the adapted head lies in {made.folder}")
    for note in made.notes:
        console.say(f"note: {note}")
