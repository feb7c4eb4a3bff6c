"""What ``conjoin evaluate`` prints."""

from typing import Any

from conjoin.cli.actions.align import calibration as scores
from conjoin.cli.console import Console
from conjoin.project.evaluation import evaluate
from conjoin.project.workspace import Workspace
from conjoin.report.text import number


def run_evaluate(ws: Workspace, console: Console, *, seed: int, dry: bool) -> None:
    """Evaluate, and say how well search works; every metric where asked."""
    if dry:
        held = {name: len(rows) for name, rows in evaluate.test_bed(ws).rows.items()}
        console.say("would score held-out " + ", ".join(f"{n} {name}" for name, n in held.items()))
        console.result({"held": held, "dry": True})
        return
    found = evaluate.evaluate_workspace(ws, seed=seed, note=console.note)
    trust = evaluate.trust_workspace(ws, seed=seed, note=console.note)
    if console.verbose:
        show_evaluation(found, console)
        scores.show_trust(trust, console)
    else:
        _show_short(found, console)
        for line in verdict(found):
            console.say(line)
        console.say(scores.trust_line(trust))
        console.say("--verbose shows every metric and how probabilities were checked")
    console.result({**found.to_json(), "trust": trust.to_json()})


def verdict(found: Any) -> list[str]:
    """In how many directions search finds more than by chance, and the weakest of them.

    A direction counts where the interval of its recall@10 lies above chance.
    """
    rows = [row for row in found.results if row.metric == "recall@10"]
    chance = {(row.query, row.target): row.value for row in rows if row.method == "chance"}
    own = [row for row in rows if row.chosen and (row.query, row.target) in chance]
    if not own:
        return []
    above = [row for row in own if row.low is not None and row.low > chance[row.query, row.target]]
    weakest = min(own, key=lambda row: row.value)
    return [
        f"better than chance in {len(above)} of {scores.counted(len(own), 'direction')}",
        f"weakest: {weakest.query} → {weakest.target}, where "
        f"{number(weakest.value, weakest.low, weakest.high)} of the queries find a right item "
        "among the first 10",
    ]


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


def _show_short(found: Any, console: Console) -> None:
    """Recall@10 of every direction beside chance and the best simple baseline."""
    body = []
    rows = [row for row in found.results if row.metric == "recall@10"]
    for way in dict.fromkeys((row.query, row.target) for row in rows):
        own = [row for row in rows if (row.query, row.target) == way]
        simple = {row.method: row.value for row in own if not row.chosen}
        chance = simple.pop("chance", None)
        best = max(simple, key=lambda name: simple[name], default=None)
        for row in (row for row in own if row.chosen):
            body.append((
                " → ".join(way), str(row.n), number(chance),
                "-" if best is None else f"{number(simple[best])} ({best})",
                f"{number(row.value, row.low, row.high)} ({row.method})",
            ))  # fmt: skip
    columns = ("recall@10", "queries", "chance", "best simple baseline", "chosen")
    console.table("Held-out items; 95 % intervals by group in brackets", columns, body)
    for note in found.notes:
        console.say(f"note: {note}")


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
