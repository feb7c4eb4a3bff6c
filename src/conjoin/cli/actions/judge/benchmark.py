"""What ``conjoin benchmark`` prints."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from conjoin.cli.console import Console
from conjoin.errors import ConjoinError
from conjoin.evaluation.published import Judged, Result, standings
from conjoin.project.evaluation.benchmark import benchmark, write_foils, write_held_out
from conjoin.project.workspace import Workspace
from conjoin.report.text import number

#: Metrics beside each other in a table.
WIDE = 3


def run_benchmark(
    paths: Sequence[Path],
    encoders: Sequence[str],
    ws: Workspace | None,
    console: Console,
    *,
    layout: str | None,
    split: str,
    seed: int,
) -> None:
    """Judge, and show a table a task."""
    if not paths:
        raise ConjoinError("conjoin benchmark", "no path", "give the folder of a benchmark")
    found = benchmark(paths, encoders, ws, layout=layout, split=split, seed=seed)
    for one in found:
        _show(one, console)
    placed = standings(found, seed=seed)
    if placed:
        rows = [[s.arm, number(s.rank, s.low, s.high), f"{s.best:.0%}"] for s in placed]
        title = f"Mean rank by the first metric over {len(found)} tasks"
        console.table(title, ("arm", "rank", "best in resamples"), rows)
    console.say("brackets are 95 % intervals by group; --verbose adds metrics, tags and costs")
    ranks = [vars(one) for one in placed]
    console.result({"results": [one.to_json() for one in found], "ranks": ranks})


def run_write_foils(
    ws: Workspace, folder: Path, rules: Sequence[str], console: Console, *,
    sides: tuple[str | None, str | None], seed: int,
) -> None:  # fmt: skip
    """Save held-out pictures with texts and foils in VL-CheckList's layout."""
    names = [name for each in rules for name in each.split(",")]
    task = write_foils(ws, folder, names, *sides, seed=seed)
    counts = Counter(foil.tag for foil in task.foils)
    console.say(f"{folder}: {', '.join(f'{n} {tag}' for tag, n in counts.items())} ({task.name})")
    for note in task.notes:
        console.say(f"note: {note}")
    console.result({"folder": str(folder), "task": task.name, "foils": dict(counts),
                    "notes": list(task.notes)})  # fmt: skip


def run_write(
    ws: Workspace, folder: Path, console: Console, *, sides: tuple[str | None, str | None]
) -> None:
    """Save held-out items in MTEB's layout."""
    task = write_held_out(ws, folder, *sides)
    shown = len(task.corpus.values) if task.corpus else 0
    console.say(f"{folder}: {len(task.relevance)} queries, {shown} documents ({task.name})")
    for note in task.notes:
        console.say(f"note: {note}")
    console.result({"folder": str(folder), "task": task.name, "queries": len(task.relevance),
                    "documents": shown, "notes": list(task.notes)})  # fmt: skip


def _show(one: Result, console: Console) -> None:
    metrics = [score.metric for score in one.arms[0].scores]
    first = {score.metric: score.chance for score in one.arms[-1].scores}
    title = f"{one.task} ({one.format}; {one.n} units in {one.groups} groups)"
    for start in range(0, len(metrics) if console.verbose else 1, WIDE):
        shown = metrics[start : start + WIDE]
        body = [_row(arm, shown) for arm in one.arms]
        if any(first.get(metric) is not None for metric in shown):
            body.insert(0, ["chance", *(number(first.get(metric)) for metric in shown)])
        console.table("" if start else title, ("arm", *shown), body)
    for line in verdict(one):
        console.say(line)
    for note in one.notes:
        console.say(f"note: {note}")
    if console.verbose:
        _details(one, console)


def _row(arm: Judged, shown: Sequence[str]) -> list[str]:
    own = {score.metric: score for score in arm.scores}
    mark = "  " if arm.kind == "trivial" else "* "
    cells = [number(own[m].value, own[m].low, own[m].high) for m in shown]
    return [mark + arm.arm, *cells]


def verdict(one: Result) -> list[str]:
    """Each judged arm against the best trivial answer and chance, then arm against arm.

    An arm is better where its interval lies above both.
    """
    metric = one.arms[0].scores[0].metric
    trivial = {arm.arm: arm.scores[0].value for arm in one.arms if arm.kind == "trivial"}
    best = max(trivial, key=lambda name: trivial[name], default=None)
    told = []
    for arm in (arm for arm in one.arms if arm.kind != "trivial"):
        own = arm.scores[0]
        bars = {} if best is None else {f"the best trivial answer, {best}": trivial[best]}
        if own.chance is not None:
            bars["chance"] = own.chance
        if not bars or own.low is None:
            continue
        name = max(bars, key=lambda each: bars[each])
        above = "better than" if own.low > bars[name] else "not shown to be better than"
        told.append(f"{arm.arm}: {metric} {above} {name} ({number(bars[name])})")
    for each in one.differences:
        if each.metric == metric:
            said = number(each.value, each.low, each.high)
            sure = "" if each.low > 0 or each.high < 0 else "; these data cannot tell them apart"
            told.append(f"{each.first} − {each.second}: {metric} {said}{sure}")
    return told


def _details(one: Result, console: Console) -> None:
    rows = [(arm.arm, f"{arm.seconds:.2f}", f"{arm.peak_mb:.0f}") for arm in one.arms]
    console.table("Costs", ("arm", "seconds", "peak MB of the process"), rows)
    pooled = {s.metric for arm in one.arms for s in arm.scores if s.whole is not None}
    if pooled:
        names = sorted(pooled)
        own = [{s.metric: s.whole for s in arm.scores} for arm in one.arms]
        body = [[arm.arm, *(number(x.get(m)) for m in names)]
                for arm, x in zip(one.arms, own, strict=True)]  # fmt: skip
        console.table("On all texts together", ("arm", *names), body)
    facts = [
        (arm.arm, name, number(value)) for arm in one.arms for name, value in arm.facts.items()
    ]
    if facts:
        console.table("Over ordered pairs of modalities", ("arm", "measure", "value"), facts)
    tags = sorted({tag for arm in one.arms for score in arm.scores[:1] for tag in score.tags})
    if tags:
        body = [[tag, *(number(arm.scores[0].tags[tag]) for arm in one.arms)] for tag in tags]
        console.table("By tag", ("tag", *(arm.arm for arm in one.arms)), body)
