"""What ``conjoin measure`` prints."""

from collections.abc import Sequence

from conjoin.cli.console import Console
from conjoin.project.fit.measure import Found, chosen, measure_workspace
from conjoin.project.workspace import Workspace
from conjoin.report.text import number


def run_measure(
    ws: Workspace, names: Sequence[str], console: Console, *, seed: int, dry: bool
) -> None:
    """Measure, and show a table for each modality or two of them, at each stage."""
    if dry:
        listed = [measure.name for measure in chosen(names)]
        console.say("would measure " + ", ".join(listed))
        console.result({"measures": listed, "dry": True})
        return
    made = measure_workspace(ws, names=names, seed=seed)
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
