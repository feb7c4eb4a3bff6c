"""The verbs that judge methods, as a person or a program meets them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conjoin.cli.actions.align.calibration import counted
from conjoin.cli.console import Console
from conjoin.execution.tasks import Engine
from conjoin.project.workspace import Workspace
from conjoin.report.text import number, plain


def run_compare(
    ws: Workspace,
    console: Console,
    *,
    families: Sequence[str],
    budget: float,
    seed: int,
    dry: bool,
) -> None:
    """Compare methods on this workspace, and say which to use."""
    from conjoin import catalogue
    from conjoin.evaluation.compare import methods_of
    from conjoin.project.evaluation.comparison import compare_workspace
    from conjoin.selection.choose import feedable

    if dry:
        skipped: dict[str, str] = {}
        spaces = ws.spaces()
        rows = feedable(spaces, methods_of(families), skipped, len(ws.pairs(spaces)[0]))
        named = [r.name for r in rows]
        console.say(f"would compare {', '.join(named)} within {budget:.0f} units of work")
        console.result({"methods": named, "skipped": skipped, "budget": budget, "dry": True})
        return
    found, path = compare_workspace(
        ws, families=families, budget=budget, seed=seed,
        note=lambda text: console.note(f"trying {text}"),
    )  # fmt: skip
    console.table(
        f"Held-out items, all directions; chance {found.chance:.3f}",
        ("method", "recall@10", "over ridge, corrected", "validation", "units a fit", "settings"),
        [
            (
                ("* " if one.method == found.choice.method else "  ") + one.method,
                number(one.value, one.low, one.high), _gain(one), number(one.validation),
                f"{one.units:.2g}", plain({**one.fields, "hub": one.hub}),
            )
            for one in found.ranked
        ],
    )  # fmt: skip
    behind = [
        t for n, t in found.choice.best_of().items() if n not in {o.method for o in found.ranked}
    ]
    console.detail().table(
        "Not among the finalists (validation only)", ("method", "score", "folds", "settings"),
        [(t.method, number(t.mean), str(len(t.scores)), plain(t.fields)) for t in behind],
    ) if behind else None  # fmt: skip
    if not console.verbose and (behind or found.untried):
        console.say(
            f"{counted(len(behind), 'method')} not among the finalists, {len(found.untried)} not "
            "tried to the end: --verbose names them"
        )
    for name, why in found.untried.items():
        cost = catalogue.find("aligner", name).cost
        console.detail().say(f"not tried to the end: {name} ({cost}): {why}")
    console.say(found.said)
    console.say(
        f"{found.touches} fits were judged on the held-out items, in {found.units:.0f} units; "
        "conjoin fit uses what was chosen"
    )
    console.result({**found.to_json(), "record": str(path)})


def _gain(one: Any) -> str:
    from conjoin.evaluation.compare import TO_BEAT

    return (
        ""
        if one.method == TO_BEAT
        else f"{one.gain:+.3f} [{one.gain_low:+.3f}, {one.gain_high:+.3f}]"
    )


def run_forecast(
    ws: Workspace, console: Console, *, more: int, count: int, method: str | None, seed: int
) -> None:
    """The learning curve, its forecast, and the items to pair next."""
    from conjoin.evaluation.learning_curve import forecast, method_of
    from conjoin.project.evaluation.evaluate import test_bed
    from conjoin.project.fit.stored import current_fit

    choice = method_of(method, current_fit(ws).binding.choice)
    found = forecast(
        test_bed(ws), choice, more=more, count=count, seed=seed,
        report=lambda text: console.note(f"measuring {text}"),
    )  # fmt: skip
    console.say(found.said + "\n")
    console.table(
        f"{found.method}: recall@10 on training pairs set apart",
        ("pairs", "recall@10", ""),
        [
            (str(p.pairs), number(p.value, p.low, p.high), "measured" if p.measured else "forecast")
            for p in found.points
        ],
    )
    console.say(f"which items to pair next: {found.picking.said}")
    if found.picking.items:
        console.say(f"by {found.picking.strategy}: {', '.join(found.picking.items)}")
    console.result(found.to_json())


@dataclass(frozen=True)
class ClaimsAsk:
    """What ``conjoin claims`` was asked.

    Parameters
    ----------
    family, method : claims of these alone; of all where ``None``.
    out : file of the results, read first where it is there.
    budget : seconds after which nothing is started.
    memory : bytes that the workers may use together.
    again : also arms that only serve verdicts which ``out`` holds already, of the same keys;
        after those that have none.
    engine : where they run; processes of this machine where ``None``.
    """

    family: str | None
    method: str | None
    out: Path
    budget: float | None = None
    memory: float = 4e9
    again: bool = False
    engine: Engine | None = None


def run_claims(ask: ClaimsAsk, console: Console, *, dry: bool = False) -> None:
    """Run the claims of the catalogue, and write what came of them."""
    from conjoin.claims.engine import Store, claims_of, run
    from conjoin.claims.results import arms_due, changed, judge, waiting
    from conjoin.encoders.open import cache_folder
    from conjoin.storage.files import read_json, write_json

    chosen = claims_of(ask.family, ask.method)
    whole = ask.family is None and ask.method is None
    before = read_json(ask.out) if ask.out.exists() else None
    due = chosen if ask.again else waiting(chosen, before)
    jobs = arms_due(chosen, before, again=ask.again)
    store = Store(cache_folder() / "claims" / "scores")
    if dry:
        data = sorted({job.data for job in jobs})
        console.say(
            f"would check {len(due)} of {len(chosen)} claims by {len(jobs)} arms on {len(data)} "
            "data sets"
        )
        facts = {"claims": len(chosen), "due": len(due), "arms": len(jobs), "data": data}
        console.result({**facts, "dry": True})
        return

    def told(progress: Any) -> None:
        job = progress.job
        console.note(
            f"{progress.done}/{progress.total} {job.arm}: {job.task}, {job.data} "
            f"({progress.seconds:.0f} s)"
        )

    ended = run(
        jobs, store.folder, budget=ask.budget, memory=ask.memory, engine=ask.engine, report=told
    )
    for job, why in ended.broken.items():
        console.note(f"{job.arm}, {job.task}, {job.data}: {why}")
    facts = judge(chosen, store, before=before)
    if whole:
        for line in changed(before, facts):
            console.say(f"changed: {line}")
        write_json(ask.out, facts)
        console.note(f"wrote {ask.out}")
    _show_claims(facts, console)


def _show_claims(facts: dict[str, Any], console: Console) -> None:
    console.table(
        "", ("method", "against", "task", "data", "effect", "verdict"),
        [
            (c["arm"], c["baseline"], c["task"], c["data"],
             f"{c['effect']:+.3f} [{c['least']:+.3f}, {c['most']:+.3f}]", c["said"])
            for c in facts["claims"]
        ],
    )  # fmt: skip
    for each in facts["open"]:
        console.say(f"no verdict: {each['arm']}, {each['task']}, {each['data']}: {each['why']}")
    if facts["stale"]:
        console.say(
            f"{len(facts['stale'])} verdicts wait for a run: what decides their scores has changed"
        )
    console.result(facts)
