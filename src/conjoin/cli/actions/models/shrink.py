"""What ``conjoin model shrink`` prints."""

from conjoin.cli.console import Console
from conjoin.encoders.open import kind_of
from conjoin.project.models.shrink import KINDS, ShrinkAsk, Shrunk, shrink_modality, tries_of
from conjoin.project.models.tuning_data import read_material
from conjoin.project.workspace import Workspace


def run_shrink(ws: Workspace, ask: ShrinkAsk, console: Console, *, dry: bool = False) -> None:
    """Say what would be tried, or try it and say what pays."""
    if dry:
        made = read_material(ws, ask.modality, ask.label, ask.seed, KINDS)
        names = [name for name, *_ in tries_of(ask, kind_of(ws.modality(ask.modality).uri))]
        console.say(
            f"would try {', '.join(names)} on {len(made.train)} items and judge them on "
            f"{len(made.test)} held out"
        )
        console.result({"candidates": names, "train": len(made.train), "test": len(made.test),
                        "dry": True})  # fmt: skip
        return
    found = shrink_modality(ws, ask, lambda text: console.note(text))
    show(found, console)
    console.result(found.to_json())


def show(found: Shrunk, console: Console) -> None:
    """The verdict, the table, and where the encoder lies."""
    console.say(f"{found.arms.verdict}\n")
    console.table("Held-out items; rates of one thread of this machine", *found.table())
    for name, why in found.failed.items():
        console.detail().say(f"not tried: {name}: {why}")
    if found.failed and not console.verbose:
        console.say(f"{len(found.failed)} could not be tried: --verbose says why")
    for note in found.notes:
        console.say(f"note: {note}")
    if found.arms.use != "frozen":
        console.say(
            f"opens as {found.uri}\nto change to it: conjoin upgrade plan --to '{found.uri}'"
        )
