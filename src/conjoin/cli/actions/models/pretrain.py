"""``conjoin model pretrain``: the plan, the losses as they fall, and the card."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conjoin.cli.console import Console
from conjoin.errors import ConjoinError
from conjoin.project.models import pretrain
from conjoin.project.models.pretrain import Plan, Pretrained
from conjoin.project.workspace import CONFIG, Workspace


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    recipe: str
    settings: Sequence[str] = ()
    budget: float | None = None
    name: str | None = None
    start: str | None = None
    transductive: bool = False


def run_pretrain(
    ws: Workspace, asked: Asked, console: Console, *, seed: int, dry: bool = False
) -> None:
    """Say what will be done, do it, and say whether the result is to be used."""
    name, made = pretrain.named(asked.recipe, asked.settings)
    name, start = asked.name or name, None
    if asked.start:
        known = pretrain.begun(asked.start, made)
        made, start = known.recipe, known.tensors
    cut = console.steps("cutting")
    prepared = pretrain.ready(
        ws, made, transductive=asked.transductive,
        progress=lambda view, done, total: cut(f"{view}: {done} of {total}"),
    )  # fmt: skip
    plan = pretrain.planned(name, made, prepared)
    short = pretrain.within(made, plan, asked.budget)
    if short is not made:
        plan = pretrain.planned(name, short, prepared)
    show_plan(plan, console)
    if dry:
        console.result({"plan": plan.to_json(), "dry": True})
        return
    found = pretrain.run(ws, plan, prepared, seed=seed, start=start, progress=curves(console))
    show(found, console)
    console.result(found.to_json())


def show_plan(plan: Plan, console: Console) -> None:
    """What the run eats and costs."""
    items = ", ".join(f"{count:,} {view}" for view, count in plan.items.items())
    console.say(f"{plan.name}: {items}; {plan.paired:,} items with two views or more")
    console.say(
        f"{plan.parameters:,} parameters, {plan.steps:,} steps of {plan.tokens:,.0f} tokens, about "
        f"{plan.seconds:,.0f} s of one core"
    )
    for label, how in plan.targets.items():
        if how != "runs":
            console.say(f"target {label} is {how}")
    for note in plan.notes:
        console.say(note)


def curves(console: Console) -> Callable[..., None]:
    """A line of losses beside what the best constant answer pays, now and then."""
    steps = console.steps("step")

    def told(step: int, total: int, found: Any) -> None:
        said = ", ".join(
            f"{label} {loss:.3f} (constant {floor:.3f})"
            for label, (loss, floor) in found.found.items()
        )
        steps(f"{step} of {total}: {said}")

    return told


def show(found: Pretrained, console: Console) -> None:
    """The card for people."""
    console.table(
        "Losses at the end", ("target", "loss", "best constant answer", ""),
        [
            (label, f"{loss:.3f}", f"{floor:.3f}",
             "stuck: it has learnt nothing" if label in found.stuck else "")
            for label, (loss, floor) in found.ends.items()
        ],
    )  # fmt: skip
    for title, arms in (*found.card.ways.items(), ("All directions", found.card.whole)):
        if arms is not None:
            columns, rows = arms.table()
            first = found.card.first.get(title)
            ones = {} if first is None else {arm.name: f"{arm.value:.3f}" for arm in first.arms}
            wide = [[*row, ones.get(arm.name, "")] for row, arm in
                    zip(shown(rows), arms.arms, strict=True)]  # fmt: skip
            console.table(f"{title}, held-out families", (*columns, "recall@1"), wide)
    for note in found.card.notes:
        console.say(note)
    console.say(found.card.verdict[0].upper() + found.card.verdict[1:])
    for view, uri in found.uris.items():
        console.say(f'encoder = "{uri}"   # {view}')
    console.say(f"curves: {found.folder / 'curves.html'}")


def shown(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    """A table's cells as people read them."""
    return [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row] for row in rows]


def run_export(uri: str, to: str, out: Path | None, console: Console) -> None:
    """Write a trained model in another program's shape, and say how well it agrees."""
    found = pretrain.exported(uri, to, out)
    console.say(f"{found.folder}: {found.format}, opens as {found.uri}")
    console.say(f"read back: least cosine {found.cosine:.6f} over {found.rows} drawn rows")
    console.result(found.to_json())


def run_list(folder: Path, console: Console) -> None:
    """Every recipe, what it would read of these items, and why some cannot run."""
    ws = Workspace(folder, writes=False) if (folder / CONFIG).exists() else None
    found = pretrain.listed(ws)
    console.table(
        "Recipes", ("recipe", "steps", "core s", "targets", "reads here, or why it cannot run"),
        [
            (one.name, f"{one.steps:,}", one.cost, str(len(one.targets)),
             one.cannot or "; ".join(f"{v}: {r}" for v, r in one.reads.items()))
            for one in found
        ],
    )  # fmt: skip
    console.result({"recipes": [one.to_json() for one in found]})


def budget_of(text: str | None) -> float | None:
    """Seconds from ``600``, ``600s``, ``10m`` or ``1h``.

    >>> budget_of("10m"), budget_of("90")
    (600.0, 90.0)
    """
    if text is None:
        return None
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    unit = units.get(text[-1:], 0.0)
    try:
        found = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        found = 0.0
    if not found > 0:
        raise ConjoinError("--budget", repr(text), "give seconds of one core, or 10m, 1h")
    return found
