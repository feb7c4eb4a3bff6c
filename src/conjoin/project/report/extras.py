"""What a report says of fusions and of encoders' layers, where a workspace has them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.metrics.base import by_chance, measure_named, subsampled
from conjoin.project.evaluation.measure import lines
from conjoin.project.workspace import Workspace
from conjoin.spaces import Space
from conjoin.storage.files import read_json

Facts = dict[str, Any]

#: Measure by which a layer is held against another modality.
MEASURE = "mutual-knn"
#: Subsamples behind an interval, and shuffles behind chance.
DRAWS, SHUFFLES = 20, 3


def fusions(ws: Workspace) -> list[Facts]:
    """What ``conjoin fuse`` found of missing modalities: of each label the newest fusion."""
    newest: dict[str, Facts] = {}
    found = (ws.state / "fusions").glob("*/fusion.json")
    for path in sorted(found, key=lambda p: (p.stat().st_mtime_ns, p.parent.name)):
        raw = read_json(path, ("label", "modalities", "missing"))
        known = ("label", "use", "metric", "held_out", "modalities", "missing")
        newest[raw["label"]] = {name: raw[name] for name in known}
    return [newest[label] for label in sorted(newest)]


def layers_of(ws: Workspace, notes: list[str], *, seed: int = 0) -> list[Facts]:
    """How each stored layer of an encoder agrees with each paired modality, before binding.

    Layers are stored side by side by encoders opened with ``output=layers``; their lines are
    those of ``conjoin measure``. Chance is the mean with lines shuffled.
    """
    spaces = {name: space.pooled() for name, space in ws.spaces().items()}
    kept = {name: numbers for name in spaces if len(numbers := _layers(ws, name)) > 1}
    if not kept:
        return []
    pairs = ws.items.pairs(ws.config, spaces)
    groups = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))
    joined = {frozenset(edge) for edge in pairs.edges()}
    found: list[Facts] = []
    for name, numbers in kept.items():
        for other in spaces:
            if frozenset((name, other)) in joined and name != other:
                rows = lines(pairs, (name, other), seed)
                views = {n: spaces[n].take(rows[n]) for n in (name, other)}
                try:
                    found.extend(_by_layer(views, numbers, groups, seed))
                except ConjoinError as error:
                    notes.append(f"layers of {name} against {other}: {error}")
    return found


def _layers(ws: Workspace, name: str) -> tuple[int, ...]:
    """Numbers of the layers that a modality's vectors hold side by side; -1 is the output."""
    reading: Any = getattr(ws.encoder(name), "reading", None)
    return tuple(reading.layers) if getattr(reading, "output", "") == "layers" else ()


def _by_layer(
    views: Mapping[str, Space], numbers: tuple[int, ...], groups: Mapping[str, str], seed: int
) -> list[Facts]:
    name, other = views
    whole = np.asarray(views[name].vectors, dtype=np.float32)
    beside = np.asarray(views[other].vectors, dtype=np.float32)
    owners = np.array([groups.get(item, item) for item in map(str, views[name].ids)])
    measure, found = measure_named(MEASURE), []
    for number, one in zip(numbers, np.split(whole, len(numbers), axis=1), strict=True):
        read = {name: one, other: beside}
        if len(set(owners.tolist())) >= 5:
            value = subsampled(measure, read, owners, draws=DRAWS, seed=seed)
        else:
            value = measure(read)
        chance = float(by_chance(measure, read, draws=SHUFFLES, seed=seed).mean())
        found.append({
            "modality": name, "other": other, "layer": number, "value": value.value,
            "low": value.low, "high": value.high, "chance": chance, "n": len(one),
        })  # fmt: skip
    return found
