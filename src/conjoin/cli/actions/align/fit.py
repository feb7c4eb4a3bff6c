"""What ``conjoin fit`` and ``conjoin add`` print."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from conjoin import catalogue
from conjoin.cli.actions.align import calibration as scores
from conjoin.cli.actions.align import joint as joint_verbs
from conjoin.cli.actions.align.changes import show_change
from conjoin.cli.actions.align.embed import Asked, run_embed
from conjoin.cli.console import Console
from conjoin.project.evaluation import evaluate
from conjoin.project.fit import decisions, joint, pipeline, stored
from conjoin.project.fit.card import FACTS, PAGE
from conjoin.project.workspace import Workspace
from conjoin.report.text import number, plain
from conjoin.storage.files import read_json

#: Methods of the folds that are shown where all are not asked for.
SHOWN = 5


def run_fit(
    ws: Workspace,
    console: Console,
    *,
    method: str | None,
    hub: str | None,
    budget: float,
    seed: int,
    dry: bool,
    ways: Collection[str] = (),
) -> None:
    """Fit, and show what was tried on the held-out folds of the training pairs.

    Parameters
    ----------
    ways : ``fixes`` follows the decisions about findings, ``fresh`` forgets what is in use.
    """
    fixes = "fixes" in ways
    if fixes:
        decisions.require_fixes(ws)
    ws.fixes = fixes
    spaces = ws.spaces()
    if joint.unpaired(ws, spaces, method):
        joint_verbs.fit_nothing(ws, console, seed=seed, dry=dry)
        return
    train, test = ws.pairs(spaces)
    if dry:
        joined = ", ".join(spaces)
        console.say(f"{len(train)} training and {len(test)} held-out pairs of {joined}")
        console.result({"train": len(train), "test": len(test), "modalities": list(spaces)})
        return
    made = pipeline.fit(
        ws, method=method, hub=hub, budget=budget, seed=seed, note=console.steps("trying"),
        fixes=fixes, fresh="fresh" in ways,
    )  # fmt: skip
    choice = made.binding.choice
    _show_trials(choice, console)
    was = "" if made.fresh else "; nothing has changed since it was fitted"
    if made.repaired:
        was = f"; the fit is as it was, its index was built again ({made.repaired})"
    fields = plain(apart(choice.method, choice.fields))
    console.say(f"{choice.method} ({fields}), hub {made.binding.hub}{was}")
    for line in scores.choice_lines(made, names=console.verbose):
        console.say(line)
    joint_verbs.show_beside(made, console)
    scores.show_rules(made.rules, console.detail())
    if not console.verbose:
        console.say(scores.rules_line(made.rules))
    card = read_json(made.folder / FACTS)
    console.say(f"{card['verdict']}; card: {made.folder / PAGE}")
    report = evaluate.cycles(ws, seed=seed) if len(spaces) > 2 else None
    _show_suspect(report, console)
    if told := decisions.change(ws, made, seed=seed) if fixes else None:
        show_change(told, console)
    console.result({**_fit_json(made, report), **({"fixes": told} if told else {})})


def _show_suspect(report: Any, console: Console) -> None:
    """Which source of pairs the other paths contradict, where one does."""
    if report and report.suspect:
        console.say(
            f"suspect pairs: {'–'.join(report.suspect)} disagrees with the other paths "
            f"(error {report.blame[report.suspect]:.2f}); check that table"
        )


def apart(method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a method that differ from those its row has of itself.

    Examples
    --------
    >>> apart("infonce-head", {"batch": 512, "lr": 0.01})
    {'lr': 0.01}
    """
    row = catalogue.of_kind("aligner").get(method)
    usual = row.make() if row else None
    return {name: value for name, value in fields.items() if getattr(usual, name, None) != value}


def _show_trials(choice: Any, console: Console) -> None:
    """The best trial of each method on the folds; of many methods the best ones."""
    best = choice.best_of()
    first = list(best) if console.verbose else list(best)[:SHOWN]
    if choice.method in best and choice.method not in first:
        first.append(choice.method)
    if first:
        rest = len(best) - len(first)
        console.table(
            "Held-out folds of the training pairs (mean of recall@1, @5, @10"
            + (f"; {scores.counted(rest, 'further method')}: --verbose)" if rest else ")"),
            ("method", "score", "fields", "tried"),
            [
                (name, number(best[name].mean), plain(apart(name, best[name].fields)),
                 sum(other.method == name for other in choice.trials))
                for name in first
            ],
        )  # fmt: skip


def _fit_json(made: Any, report: Any) -> dict[str, Any]:
    value = {
        "method": made.binding.choice.method,
        "fields": dict(made.binding.choice.fields),
        "hub": made.binding.hub,
        "frame": made.binding.frame.id,
        "folder": str(made.folder),
        "card": str(made.folder / "card.md"),
        "index_rebuilt": made.repaired,
        "corrections": [
            {"query": q, "target": t, "method": rule.name}
            for (q, t), rule in made.corrections.items()
        ],
        "trials": made.binding.choice.to_json()["trials"],
        "skipped": dict(made.binding.choice.skipped),
        "kept": made.binding.choice.to_json()["kept"],
        "work": scores.work_json(made),
        "drift": None if made.drift is None else made.drift.to_json(),
    }
    if report:
        value["cycles"] = {
            "blame": [{"edge": list(e), "error": v} for e, v in report.blame.items()],
            "suspect": list(report.suspect) if report.suspect else None,
        }
    return value


def run_add(ws: Workspace, names: Sequence[str], console: Console, *, dry: bool) -> None:
    """Embed and bind modalities that the binding lacks."""
    bound = stored.current_fit(ws).binding.maps
    new = list(names) or [m.name for m in ws.modalities if m.name not in bound]
    if dry:
        console.say(f"would add {', '.join(new) or 'nothing'}")
        console.result({"add": new})
        return
    for name in new:
        ws.modality(name)
    if new:
        run_embed(ws, new, console.hushed(), Asked(), dry=False)
    made = pipeline.add(ws, new)
    console.say(f"added {', '.join(new)} to frame {made.binding.frame.id}; search sees it")
    console.result({"added": new, "frame": made.binding.frame.id})
