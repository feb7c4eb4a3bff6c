"""What verbs do and say where a joint encoder's vectors are served as they are."""

from typing import Any

from conjoin.cli.actions.align import calibration
from conjoin.cli.console import Console
from conjoin.encoders.open import parse, towers
from conjoin.project.fit import joint
from conjoin.project.fit import pipeline as jobs
from conjoin.project.search import queries
from conjoin.project.workspace import Workspace
from conjoin.storage.files import expanded


def towers_of(uri: str) -> dict[str, str]:
    """By kind, the encoders of one URI; a model in a folder by its whole path."""
    row, rest, _ = parse(uri)
    place = expanded(rest)
    if row.name in ("hf", "st") and place.is_dir():
        uri = uri.replace(f"{row.name}:{rest}", f"{row.name}:{place.resolve()}", 1)
    return towers(uri)


def serve_as_it_is(ws: Workspace, console: Console) -> dict[str, Any] | None:
    """Make modalities of one joint encoder searchable, and say so."""
    made = joint.publish(ws)
    if made is None:
        known = (ws.state / "current.json").exists()
        group = None if known else joint.group_of(ws)
        if group is not None and not group.names and "different joint" in group.why:
            console.note(group.why)
        return None
    return show_as_it_is(ws, *made, console)


def show_as_it_is(ws: Workspace, made: Any, hubs: Any, console: Console) -> dict[str, Any]:
    """Say what is searchable without a fit, by what, and what its scores are worth."""
    names = ", ".join(made.binding.maps)
    kinds = sorted(queries.kinds_read(ws))
    console.say(f"{names}: searchable as the encoder gave them, without pairs; "
                f"ask with {' or '.join(kinds)}")  # fmt: skip
    for way, one in hubs.items():
        console.say(f"{way}: {calibration.hubs_line({'index': {'hubs': one}})}")
    for edge in made.rules.calibrations:
        console.say(f"{' → '.join(edge)}: probabilities from pieces of cells")
    for (query, target), why in made.rules.uncalibrated.items():
        console.say(f"{query} → {target}: uncalibrated ({why})")
    return {
        "modalities": list(made.binding.maps), "frame": made.binding.frame.id, "asks": kinds,
        "hubs": dict(hubs),
        "calibrated": [list(edge) for edge in made.rules.calibrations],
        "uncalibrated": [[*edge, why] for edge, why in made.rules.uncalibrated.items()],
    }  # fmt: skip


def fit_nothing(ws: Workspace, console: Console, *, seed: int, dry: bool) -> None:
    """Where one joint encoder made everything and no pairs are there: its frame is the fit."""
    if dry:
        console.say("no pairs: the joint encoder's vectors would be served as they are")
        console.result({"train": 0, "test": 0, "modalities": list(ws.config.modalities)})
        return
    made = jobs.fit(ws, seed=seed)
    console.say("no pairs, so nothing is fitted: the encoder's own space is used as it is")
    hubs = joint.hub_facts(ws.spaces(list(made.binding.maps)))
    told = show_as_it_is(ws, made, hubs, console)
    console.result({
        "method": made.binding.choice.method, "fields": {}, "hub": made.binding.hub,
        "frame": made.binding.frame.id, "folder": str(made.folder), "card": None,
        "corrections": [], "trials": [], "skipped": {}, "served": told,
    })  # fmt: skip


def show_beside(made: Any, console: Console) -> None:
    """How modalities of other encoders were bound to a joint frame."""
    for name, own in made.binding.beside.items():
        reached = own.best_of().get(own.method)
        worth = f" ({reached.mean:.3f} on the folds)" if reached else ""
        console.say(f"{name}: bound to the joint frame, which stays, by {own.method}{worth}")
