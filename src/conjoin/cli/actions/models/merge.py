"""``conjoin model merge``: what differs, the table of arms, and what was written."""

import time
from collections.abc import Sequence

from conjoin.cli.console import Console
from conjoin.errors import ConjoinError
from conjoin.project.models import merge as use
from conjoin.project.models.merge import MergeAsk, MergePlan
from conjoin.project.models.merge_skills import Judge
from conjoin.project.models.merge_verdict import Judged, judged
from conjoin.report.text import number


def run_merge(
    ask: MergeAsk, console: Console, *, skills: Sequence[Judge], explaining: bool, judging: bool,
    dry: bool,
) -> None:  # fmt: skip
    """Explain, plan, judge or merge."""
    if explaining:
        show_layers(ask, console)
        return
    if judging and not skills:
        raise ConjoinError(
            "--evaluate", "nothing to judge on", "give --pairs NAME=FILE, or -w WORKSPACE"
        )
    if ask.out is not None and ask.out.exists() and (
        not ask.out.is_dir() or any(ask.out.iterdir())
    ):  # fmt: skip
        raise ConjoinError(str(ask.out), "is there already", "name another folder, or remove it")
    plan = use.plan(ask)
    if dry:
        show_plan(ask, plan, console)
        console.result({"plan": plan.to_json(), **use.described(ask), "dry": True})
        return
    if judging:
        _judge(ask, plan, skills, console)
        return
    began = time.process_time()
    steps = console.steps("tensor")
    made = use.run(ask, plan, lambda name, done, total: steps(f"{done} of {total}: {name}"))
    console.say(f"{ask.named}: {plan.tensors} tensors, {plan.written / 2**20:,.1f} MiB, "
                f"{time.process_time() - began:.1f} CPU-s")  # fmt: skip
    show_notes(made, console)
    console.say(f'not judged: give --pairs NAME=FILE or -w WORKSPACE to compare it with the base\n'
                f'encoder = "{made.uri}"')  # fmt: skip
    console.result({
        "arms": [], "verdict": "not judged: no pairs were given", "folder": str(made.folder),
        "uri": made.uri, "method": dict(made.method), "notes": dict(made.notes),
        "resumed": made.resumed, "copied": made.copied,
    })  # fmt: skip


def show_notes(made: use.Merged, console: Console) -> None:
    """What was decided by order, taken as it was, or gone on from."""
    if made.notes.get("ties"):
        console.say(f"{made.notes['ties']:,} numbers stood exactly at a threshold; the first in "
                    "order of storage were kept")  # fmt: skip
    if made.copied:
        console.say(f"{made.copied} tensors of whole numbers are the base's")
    if made.resumed:
        console.say(f"{made.resumed} tensors were there from a run that was stopped")


def show_plan(ask: MergeAsk, plan: MergePlan, console: Console) -> None:
    """What would be read, written and held."""
    kinds = ", ".join(f"{count} {name}" for name, count in plan.dtypes.items())
    console.say(f"{ask.named}: {plan.tensors} tensors ({kinds}), {plan.numbers:,} numbers a model")
    console.say(f"reads {plan.read / 2**20:,.1f} MiB, writes {plan.written / 2**20:,.1f} MiB, "
                f"holds about {plan.memory / 2**20:,.0f} MiB")  # fmt: skip
    console.table("", ("model", "hash", "licence"),
                  [tuple(one.values()) for one in plan.parents])  # fmt: skip
    for line in plan.differs:
        console.say(f"differs: {line}; the base's is taken")


def show_layers(ask: MergeAsk, console: Console) -> None:
    """Layers, a line each."""
    layers = use.explained(ask)
    several = len(ask.experts) > 1
    console.table(
        "What the experts added, beside the base's norm",
        ("layer", *(f"‖δ{i + 1}‖" for i in range(len(ask.experts))), "cosine", "sign conflicts",
         *(f"rows still {i + 1}" for i in range(len(ask.experts)))),
        [
            (one.name, *(f"{n:.4f}" for n in one.norms), f"{one.cosine:.3f}" if several else "",
             f"{one.conflicts:.2f}", *(f"{s:.2f}" for s in one.still))
            for one in layers
        ],
    )  # fmt: skip
    console.result({"layers": [one.to_json() for one in layers]})


def _judge(ask: MergeAsk, plan: MergePlan, skills: Sequence[Judge], console: Console) -> None:
    names = [one.name for one in skills]
    if len(set(names)) < len(names):
        raise ConjoinError("--pairs", "two skills have one name", "write NAME=FILE")
    found = judged(ask, skills, ask.out, console.steps("merge"))
    if found.merged is not None:
        use.write_card(found.merged, plan, found.arms.to_json())
    show_judged(found, names, console)
    said = found.arms.to_json()
    said |= {
        "chosen": dict(found.chosen), "kept": dict(found.kept),
        "skills": {arm: {k: list(v) for k, v in row.items()} for arm, row in found.table.items()},
        "lines": {s.name: {"chosen": len(s.part(False).groups), "tested": len(s.part(True).groups)}
                  for s in skills},
    }  # fmt: skip
    if found.merged is not None:
        said |= {"folder": str(found.merged.folder), "uri": found.merged.uri,
                 "notes": dict(found.merged.notes)}  # fmt: skip
    console.result(said)


def show_judged(found: Judged, names: Sequence[str], console: Console) -> None:
    """The table of arms and skills, what is kept of each gain, and the verdict."""
    console.table(
        f"Held-out lines: {found.arms.arms[0].metric}, and CPU-seconds to embed them",
        ("arm", "all", *names, "CPU-s"),
        [
            (
                f"{'*' if arm.name == found.arms.use else ' '} {arm.name}",
                number(arm.value, arm.low, arm.high),
                *(number(*found.table[arm.name][name]) for name in names), f"{arm.cost:.1f}",
            )
            for arm in found.arms.arms
        ],
    )  # fmt: skip
    for name, share in found.kept.items():
        console.say(
            f"{name}: no expert is clearly better than the base" if share is None
            else f"{name}: the merge keeps {share:.0%} of the best expert's gain"
        )  # fmt: skip
    chosen = dict(found.chosen)
    tried, method = chosen.pop("tried"), chosen.pop("method")
    settings = ", ".join(f"{key} {value:g}" for key, value in chosen.items())
    console.say(f"merged by {method} ({settings}), the best of {tried} on validation")
    console.say(found.arms.verdict)
    if found.merged is not None:
        show_notes(found.merged, console)
        console.say(f'encoder = "{found.merged.uri}"')
