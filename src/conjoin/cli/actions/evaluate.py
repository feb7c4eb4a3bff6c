"""What ``conjoin evaluate`` prints."""

from typing import Any

from conjoin.cli.actions import calibration as scores
from conjoin.cli.console import Console
from conjoin.project.fit import pipeline
from conjoin.project.workspace import Workspace
from conjoin.report.text import number


def run_evaluate(ws: Workspace, console: Console, *, seed: int, dry: bool) -> None:
    """Evaluate, and show a table a direction."""
    if dry:
        held = {name: len(rows) for name, rows in pipeline.test_bed(ws).rows.items()}
        console.say("would score held-out " + ", ".join(f"{n} {name}" for name, n in held.items()))
        console.result({"held": held, "dry": True})
        return
    found = pipeline.evaluate_workspace(ws, seed=seed, note=console.note)
    trust = pipeline.trust_workspace(ws, seed=seed, note=console.note)
    show_evaluation(found, console)
    scores.show_trust(trust, console)
    console.result({**found.to_json(), "trust": trust.to_json()})


def show_evaluation(found: Any, console: Console) -> None:
    """One table a direction: chance and baselines first, what was chosen last and marked."""
    columns = ("recall@1", "recall@5", "recall@10", "mrr", "ndcg@10", "median_rank")
    for query, target in dict.fromkeys((row.query, row.target) for row in found.results):
        rows = [r for r in found.results if (r.query, r.target) == (query, target)]
        values = {(r.method, r.chosen, r.metric): r for r in rows}
        order = dict.fromkeys((r.method, r.chosen) for r in sorted(rows, key=lambda r: r.chosen))
        body = []
        for method, chosen in order:
            cells = [values.get((method, chosen, metric)) for metric in columns]
            mark = "* " if chosen else "  "
            body.append([mark + method, *(_cell(cell) for cell in cells)])
        count = max(r.n for r in rows)
        console.table(f"{query} → {target} ({count} held-out queries)", ("method", *columns), body)
    for note in found.notes:
        console.say(f"note: {note}")
    console.say("* chosen on validation; brackets are 95 % intervals by group; --json has them all")


def _cell(row: Any) -> str:
    """A figure; with its interval where people look first."""
    if row is None:
        return "-"
    if row.metric == "recall@10":
        return number(row.value, row.low, row.high)
    return number(row.value)


def show_summary(found: Any, console: Console) -> None:
    """Recall@10 of every direction: chance, the simple baselines, what was chosen."""
    rows = [r for r in found.results if r.metric == "recall@10"]
    methods = list(dict.fromkeys(r.method for r in rows if not r.chosen))
    body = []
    for query, target in dict.fromkeys((r.query, r.target) for r in rows):
        own = {r.method: r for r in rows if (r.query, r.target) == (query, target) and not r.chosen}
        best = next(r for r in rows if (r.query, r.target) == (query, target) and r.chosen)
        cells = [number(own[m].value) if m in own else "" for m in methods]
        shown = number(best.value, best.low, best.high)
        body.append([f"{query} → {target}", *cells, best.method, shown])
    columns = ("recall@10", *methods, "chosen", "its recall@10")
    console.table("Held-out items; 95 % intervals by group in brackets", columns, body)
    for note in found.notes:
        console.say(f"note: {note}")
