"""How good what is in use is: held-out items, the worth of scores, pair sources that contradict."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.alignment.binding import pairs_digest
from conjoin.alignment.cycle_consistency import CycleReport, cycle_report
from conjoin.errors import ConjoinError
from conjoin.project.fit.crops import pieces_of
from conjoin.project.fit.relevance import grades_of
from conjoin.project.fit.stored import current_fit, stale
from conjoin.project.workspace import Workspace
from conjoin.retrieval.calibration.reliability import Trust, trust
from conjoin.retrieval.evaluation import Evaluation, TestBed, evaluate
from conjoin.storage.digest import digest
from conjoin.storage.files import FORMAT, read_json, write_json

Note = Callable[[str], None]


def test_bed(ws: Workspace) -> TestBed:
    """Held-out rows of every modality that is embedded."""
    spaces = ws.spaces()
    train, test = ws.pairs(spaces)
    rows = {name: np.flatnonzero(ws.split.is_test(space.ids)) for name, space in spaces.items()}
    empty = [name for name, held in rows.items() if len(held) == 0]
    if empty:
        raise ConjoinError(
            "[split]", f"no held-out item has {', '.join(empty)}", "hold out more, or other groups"
        )
    groups = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))
    return TestBed(spaces, train, test, rows, groups)


def _keep(path: Path, value: Any, note: Note) -> None:
    """Keep a result; where it cannot be kept it is still given, and that is said."""
    try:
        write_json(path, value)
    except ConjoinError as error:
        note(f"this result could not be kept: {error}")


def evaluate_workspace(ws: Workspace, *, seed: int = 0, note: Note = lambda _: None) -> Evaluation:
    """Score the binding in use on held-out items, beside chance and the simple baselines.

    What was measured is kept: the same binding, items and seed are not scored again, and
    ``touch`` in the record counts how often held-out items were looked at.
    """
    made = current_fit(ws)
    bed = test_bed(ws)
    changed = [n for n, m in made.binding.maps.items() if bed.spaces[n].frame != m.source]
    if changed:
        raise stale(changed[0])
    runs = ws.state / "runs"
    path = runs / f"{digest([made.folder.name, sorted(made.binding.maps), _held(bed), seed])}.json"
    if path.exists():
        return Evaluation.from_json(read_json(path))
    found = evaluate(bed, made.binding, made.corrections, seed=seed)
    number = len(list(runs.glob("*.json"))) + 1 if runs.exists() else 1
    record = {
        "version": FORMAT,
        "config": ws.config.model_dump(mode="json"),
        "binding": made.binding.frame.id,
        "choice": made.binding.choice.to_json(),
        "seed": seed,
        "versions": versions(),
        "touch": number,
        **found.to_json(),
    }
    _keep(path, record, note)
    return found


def trust_workspace(ws: Workspace, *, seed: int = 0, note: Note = lambda _: None) -> Trust:
    """What scores and mixed lists of the binding in use are worth on held-out items; kept."""
    made, bed = current_fit(ws), test_bed(ws)
    key = digest(["trust", made.folder.name, sorted(made.binding.maps), _held(bed), seed])
    path = ws.state / "trust" / f"{key}.json"
    if path.exists():
        return Trust.from_json(read_json(path, ("reliability",)))
    same = [name for name in bed.rows if (name, name) in made.rules.calibrations]
    pieces = pieces_of(ws, bed.spaces, {name: bed.rows[name] for name in same}, "held")
    found = trust(bed, made.binding, made.rules, seed=seed, pieces=pieces, grades=grades_of(ws))
    _keep(path, {"version": FORMAT, **found.to_json()}, note)
    return found


def _held(bed: TestBed) -> list[Any]:
    """What a measurement rests on besides the binding: held-out cells, their pairs and groups."""
    cells = []
    for name, rows in bed.rows.items():
        space = bed.spaces[name]
        held = zip(space.ids[rows], space.parts[rows], space.content[rows], strict=True)
        cells.append([name, sorted(f"{a}:{b}:{c}" for a, b, c in held)])
    return [cells, pairs_digest(bed.spaces, bed.test), sorted(bed.groups.items())]


def versions() -> dict[str, str]:
    """Versions of what decides a number."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("conjoin", "numpy", "scipy", "scikit-learn", "torch", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def cycles(ws: Workspace, *, seed: int = 0) -> CycleReport:
    """Whether the pair sources contradict each other."""
    spaces = ws.spaces()
    train, _ = ws.pairs(spaces)
    return cycle_report(spaces, train, seed=seed)
