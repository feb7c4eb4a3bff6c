"""What ``conjoin tune`` prints."""

from collections.abc import Mapping
from typing import Any

from conjoin.catalogue import find
from conjoin.cli.console import Console
from conjoin.project.search.tune import keep_fusion, tune_composer, tune_mixer
from conjoin.project.workspace import Workspace
from conjoin.report.text import number


def run_tune(
    ws: Workspace, console: Console, options: Mapping[str, Any], *, seed: int, dry: bool
) -> None:
    """Tune, store, and say what was found."""
    if options["composer"] is not None:
        _run_composer(ws, console, options, seed=seed, dry=dry)
        return
    found = tune_mixer(
        ws, options["mixer"], options["queries"], source=options["source"], seed=seed
    )
    path = None if dry else keep_fusion(ws, found)
    rows = [(name, number(value), number(found.only[name]), f"{found.weights[name]:.1f}")
            for name, value in found.recall.items()]  # fmt: skip
    rows.append((found.mixer, number(found.mixed), "", ""))
    title = f"{found.queries} judged queries ({found.source}), recall@10"
    console.table(title, ("list", "recall@10", "it alone", "weight"), rows)
    console.say(f"answered by several lists {number(found.both)}, by none {number(found.neither)}")
    console.say(found.verdict)
    console.result({**found.to_json(), "path": None if path is None else str(path), "dry": dry})


def _run_composer(
    ws: Workspace, console: Console, options: Mapping[str, Any], *, seed: int, dry: bool
) -> None:
    name = options["composer"]
    if dry:
        find("query-composition", name)
        console.say(f"would train {name}")
        console.result({"composer": name, "dry": True})
        return
    made = tune_composer(ws, name, source=options["source"], seed=seed)
    use = f"conjoin search --combine {name}"
    console.say(f"trained {name} on {made.triplets} triplets; use it: {use}")
    console.result({**made.to_json(), "dry": False})
