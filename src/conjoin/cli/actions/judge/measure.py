"""What ``conjoin measure`` prints."""

from collections.abc import Sequence

from conjoin.cli.actions.align.calibration import counted
from conjoin.cli.console import Console
from conjoin.project.evaluation.measure import Found, Measured, chosen, measure_workspace
from conjoin.project.workspace import Workspace
from conjoin.report.text import number


def run_measure(
    ws: Workspace, names: Sequence[str], console: Console, *, seed: int, dry: bool
) -> None:
    """Measure, and say how far neighbours agree; every measure where asked or named."""
    if dry:
        listed = [measure.name for measure in chosen(names)]
        console.say("would measure " + ", ".join(listed))
        console.result({"measures": listed, "dry": True})
        return
    made = measure_workspace(ws, names=names, seed=seed)
    if not (console.verbose or names):
        _summary(made, console)
        console.result(made.to_json())
        return
    for stage, views in dict.fromkeys((row.stage, row.views) for row in made.found):
        rows = [row for row in made.found if (row.stage, row.views) == (stage, views)]
        console.table(
            f"{' – '.join(views)}, {stage} ({rows[0].measurement.n} lines)",
            ("measure", "value", "by chance", "what it says"),
            [_cells(row) for row in rows],
        )
    for note in made.notes:
        console.say(f"note: {note}")
    console.say(
        "brackets are 95 % intervals by group; values of neighbours hold at this many lines"
    )
    console.result(made.to_json())


def _cells(row: Found) -> tuple[str, str, str, str]:
    one = row.measurement
    better = "higher" if one.higher_is_better else "lower"
    value = number(one.value, one.low, one.high)
    return one.name, value, number(row.chance), f"{one.meaning} ({better} is better)"


#: The measure that answers how alike two spaces are: the share of neighbours that both have.
AGREES = "mutual-knn"
#: Notes that are shown; the rest are counted.
NOTES = 2


def _summary(made: Measured, console: Console) -> None:
    """One table of the neighbours that two modalities share, and a sentence on it."""
    rows = [row for row in made.found if row.measurement.name == AGREES]
    if rows:
        console.table(
            "Share of neighbours that two modalities have in common",
            ("modalities", "stage", "shared", "by chance"),
            [
                (" – ".join(row.views), row.stage, _cells(row)[1], number(row.chance))
                for row in rows
            ],
        )
    for line in verdict(rows):
        console.say(line)
    for note in made.notes[:NOTES]:
        console.say(f"note: {note}")
    if len(made.notes) > NOTES:
        console.say(f"and {counted(len(made.notes) - NOTES, 'further note')}")
    console.say("--verbose shows every measure, what it says and what to do about it")


def verdict(rows: Sequence[Found]) -> list[str]:
    """By stage, how many pairs of modalities share more neighbours than shuffled rows do.

    A pair counts where the interval lies above its level of chance.
    """
    told = []
    for stage in dict.fromkeys(row.stage for row in rows):
        own = [row for row in rows if row.stage == stage]
        more = sum(
            row.measurement.low is not None
            and row.chance is not None
            and row.measurement.low > row.chance
            for row in own
        )
        told.append(
            f"{stage}: {more} of {counted(len(own), 'pair')} of modalities share more neighbours "
            "than by chance"
        )
    return told
