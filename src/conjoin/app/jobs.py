"""What each verb does: from a workspace to a value; printing is the command line's."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.app.budget import FIT_BUDGET
from conjoin.app.cards import write_card
from conjoin.app.fits import Fit, current_fit, open_fit, stale
from conjoin.app.indexing import build_index
from conjoin.app.judging import compared
from conjoin.app.parts import EACH
from conjoin.app.pieces import cuttable, pieces_of
from conjoin.app.workspace import Workspace
from conjoin.binding import Binding, Choice, CycleReport, by_validation, cycle_report
from conjoin.binding.binding import pairs_digest
from conjoin.binding.choose import beside_baselines
from conjoin.catalogue import find
from conjoin.errors import ConjoinError, StateError
from conjoin.search.evaluation import Evaluation, TestBed, evaluate
from conjoin.search.index import Index
from conjoin.search.reliability import Trust, trust
from conjoin.search.rules import Rules
from conjoin.spaces import Pairs, Space, digest
from conjoin.spaces.files import FORMAT, read_json, write_json

Note = Callable[[str], None]


def fit(
    ws: Workspace,
    *,
    method: str | None = None,
    hub: str | None = None,
    seed: int = 0,
    budget: float | None = None,
    note: Note = lambda _: None,
    fixes: bool = False,
) -> Fit:
    """Fit a binding on the training pairs, choose corrections, build the index, publish both.

    The same inputs give the same folder: a repeated fit only opens it. Method ``auto`` takes
    what ``compare`` chose on these very pairs; without one it chooses on folds of them.

    Parameters
    ----------
    budget : seconds that choosing may take; :data:`~conjoin.app.budget.FIT_BUDGET` when not
        given.
    fixes : follow the decisions about the doctor's findings.

    Raises
    ------
    ConjoinError : a modality is not embedded or has too few pairs, or the method is unknown.
    """
    ws.fixes = fixes
    spaces = ws.spaces()
    train, _ = ws.pairs(spaces)
    method, hub = method or ws.config.fit.method, hub or ws.config.fit.hub
    fields = dict(ws.config.fit.fields)
    if method != "auto":
        find("binder", method)
    elif fields:
        raise ConjoinError(
            "[fit] fields", "are given without a method", 'name the method: method = "ridge"'
        )
    before = compared(ws, spaces, train) if method == "auto" else None
    before = before if before and hub in (None, before.hub) else None
    among = _among(ws) if method == "auto" else None
    facts: list[Any] = [method, hub, seed, fields, pairs_digest(spaces, train), _rows(spaces)]
    facts += [*([among] if among else []), *_cut(ws, train)]
    key = digest([*facts, before.to_json()["trials"]] if before else facts)
    folder = ws.state / "maps" / key
    fresh = not (folder / "fit.json").exists()
    if fresh:
        chosen = find("binder", method).make(fields) if fields else method
        chooser = _chooser(before, among, budget or FIT_BUDGET, note)
        binding = Binding.fit(spaces, train, method=chosen, hub=hub, seed=seed, chooser=chooser)
        binding = _beside(binding, spaces, train, seed, note)
        note("corrections and what scores mean")
        rules = Rules.rehearse(binding, spaces, train, seed=seed, pieces=_pieces(ws, spaces, train))
        binding.save(folder)
        write_card(ws, folder, binding, rules, spaces, train)
        _write_fit(folder, rules, seed, joined_parts(ws, binding.maps))
    made = open_fit(folder)
    if fresh or not (ws.state / "index" / key / "manifest.json").exists():
        build_index(ws, made, spaces, train)
    entry: dict[str, Any] = {"maps": f"maps/{key}", "index": f"index/{key}"}
    ws.publish({**entry, "fixes": True} if fixes else entry)
    return Fit(folder, made.binding, made.rules, fresh, made.parts)


def _cut(ws: Workspace, pairs: Pairs) -> list[list[str]]:
    """Which modalities are told of by pieces; a fit that knew of none is another."""
    names = cuttable(ws, list(pairs.names))
    return [["pieces", *names]] if names else []


def _pieces(ws: Workspace, spaces: Mapping[str, Space], pairs: Pairs) -> dict[str, Space]:
    """Pieces of cells that pairs join, by which queries into their own modality are rehearsed."""
    rows = {name: np.unique(pairs.column(name)) for name in pairs.names}
    return pieces_of(ws, spaces, {name: own[own >= 0] for name, own in rows.items()}, "train")


def _among(ws: Workspace) -> list[str] | None:
    """What auto chooses among, where the configuration says; each is a binder."""
    for name in ws.config.fit.among or ():
        find("binder", name)
    return ws.config.fit.among


def _beside(
    binding: Binding, spaces: Mapping[str, Space], train: Pairs, seed: int, note: Note
) -> Binding:
    """Where nothing was compared: the same binding, measured beside the baselines."""
    if binding.choice.trials:
        return binding
    note("baselines")
    return replace(binding, choice=beside_baselines(binding.choice, spaces, train, seed=seed))


def _chooser(
    before: Choice | None, among: Sequence[str] | None, budget: float, note: Note
) -> Callable[..., Choice]:
    """What decides ``auto``: a comparison made before, else folds of the training pairs."""

    def chooser(
        spaces: Mapping[str, Space], pairs: Pairs, *, hubs: Sequence[str], seed: int
    ) -> Choice:
        return before or by_validation(
            spaces, pairs, hubs=hubs, seed=seed, methods=among, budget=budget, report=note
        )

    return chooser


def _rows(spaces: Mapping[str, Space]) -> dict[str, list[str]]:
    """What each space was made from: its frame, and which cells its rows show."""
    return {
        name: [space.frame.id, digest([space.ids.tolist(), space.parts.tolist(),
                                       space.content.tolist()])]
        for name, space in spaces.items()
    }  # fmt: skip


def _write_fit(folder: Path, rules: Rules, seed: int, parts: Mapping[str, str]) -> None:
    listed = [[*edge, rule.name] for edge, rule in sorted(rules.correctors.items())]
    facts = {"version": FORMAT, "corrections": listed, "seed": seed, "rules": rules.to_json()}
    write_json(folder / "fit.json", {**facts, "parts": dict(parts)} if parts else facts)


def joined_parts(ws: Workspace, names: Iterable[str]) -> dict[str, str]:
    """How parts are joined, of each modality where they are."""
    rules = {name: ws.modality(name).parts for name in names}
    return {name: rule for name, rule in rules.items() if rule != EACH}


def add(ws: Workspace, names: Sequence[str]) -> Fit:
    """Fit maps for modalities that the binding lacks, to its frozen frame.

    Stored vectors of the others stay byte for byte.
    """
    made = current_fit(ws)
    new = list(names) or [m.name for m in ws.modalities if m.name not in made.binding.maps]
    for name in new:
        ws.modality(name)
        if name in made.binding.maps:
            raise ConjoinError("modality", f"{name!r} is bound already", "name a new one")
    unfinished = [n for n in made.binding.maps if n not in _indexed(ws)]
    if unfinished and not new:  # stopped between the map and the index
        spaces = ws.spaces(list(made.binding.maps))
        build_index(ws, made, spaces, ws.pairs(spaces)[0])
        return made
    if not new:
        raise ConjoinError("add", "every modality is bound", "add one to conjoin.toml first")
    spaces = ws.spaces([*made.binding.maps, *new])
    train, _ = ws.pairs(spaces)
    binding = made.binding.extend(spaces, train)
    binding.save(made.folder)
    parts = joined_parts(ws, binding.maps)
    if parts != made.parts:
        raw = read_json(made.folder / "fit.json", ["corrections"])
        write_json(made.folder / "fit.json", {**raw, "parts": parts})
    extended = Fit(made.folder, binding, made.rules, True, parts)
    build_index(ws, extended, spaces, train)
    return extended


def _indexed(ws: Workspace) -> Collection[str]:
    try:
        return Index.open(ws.state / ws.current["index"]).spaces.keys()
    except StateError:
        return ()


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


def evaluate_workspace(ws: Workspace, *, seed: int = 0) -> Evaluation:
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
    write_json(path, record)
    return found


def trust_workspace(ws: Workspace, *, seed: int = 0) -> Trust:
    """What scores and mixed lists of the binding in use are worth on held-out items; kept."""
    made, bed = current_fit(ws), test_bed(ws)
    key = digest(["trust", made.folder.name, sorted(made.binding.maps), _held(bed), seed])
    path = ws.state / "trust" / f"{key}.json"
    if path.exists():
        return Trust.from_json(read_json(path, ("reliability",)))
    same = [name for name in bed.rows if (name, name) in made.rules.calibrations]
    pieces = pieces_of(ws, bed.spaces, {name: bed.rows[name] for name in same}, "held")
    found = trust(bed, made.binding, made.rules, seed=seed, pieces=pieces)
    write_json(path, {"version": FORMAT, **found.to_json()})
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
