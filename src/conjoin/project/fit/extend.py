"""A modality more for what is in use: written beside it, and published when all of it is there."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from conjoin.alignment.binding import Binding
from conjoin.errors import StateError
from conjoin.project.fit.card import write_card
from conjoin.project.fit.multi_part import EACH
from conjoin.project.fit.stored import Fit, open_fit, write_facts
from conjoin.project.search.index import build_index, index_folder, keep_index
from conjoin.project.upgrade.state import link_tree
from conjoin.project.workspace import Workspace
from conjoin.retrieval.index.index import Index
from conjoin.spaces import Pairs, Space
from conjoin.storage.digest import digest
from conjoin.storage.files import read_json


def extend(
    ws: Workspace,
    made: Fit,
    binding: Binding,
    spaces: Mapping[str, Space],
    train: Pairs,
    facts: Sequence[Any] = (),
) -> Fit:
    """Put a binding with more modalities, its card and its index in use.

    Everything is written under a name of its own and ``current.json`` is renamed last: stopped
    anywhere, what was in use still is, and doing it again starts anew. Rows that are indexed stay
    as they are, with what was deleted or added since they were bound, their corrections and the
    versions of the index.

    Parameters
    ----------
    made, binding : what is in use, and its binding extended.
    spaces : stored vectors of every modality that is bound now.
    facts : what else decides the new maps.
    """
    new = [name for name in binding.maps if name not in made.binding.maps]
    rows = {name: [spaces[name].frame.id, digest(spaces[name].content.tobytes())] for name in new}
    key = digest([made.folder.name, "with", rows, *facts])
    folder, index = ws.state / "maps" / key, ws.state / "index" / key
    for left in (folder, index):
        shutil.rmtree(left, ignore_errors=True)
    link_tree(made.folder, folder)
    binding.save(folder)
    _write_facts(ws, made, binding, folder, {name: len(spaces[name]) for name in new})
    write_card(ws, folder, binding, made.rules, spaces, train)
    extended = replace(open_fit(folder), fresh=True)
    held = _held(ws)
    if held is None:
        build_index(ws, extended, spaces, train)
    else:
        link_tree(index_folder(ws), index)
        kept = {name: space for name, space in held.spaces.items() if name not in new}
        bound = {**kept, **{name: binding.bind(name, spaces[name]) for name in new}}
        whole = Index.build(
            bound, held.corrections, calibrations=held.calibrations, mixing=held.mixing
        )
        keep_index(ws, extended, whole, spaces, train)
    ws.publish({**ws.current, "maps": f"maps/{key}", "index": f"index/{key}"})
    return extended


def _write_facts(
    ws: Workspace, made: Fit, binding: Binding, folder: Path, new: Mapping[str, int]
) -> None:
    raw = read_json(made.folder / "fit.json", ["corrections"])
    facts = {key: value for key, value in raw.items() if key != "parts"}
    parts, rows = joined_parts(ws, binding.maps), raw.get("rows")
    known = {**rows, **new} if rows else None
    write_facts(folder, {**facts, "parts": parts} if parts else facts, known)


def joined_parts(ws: Workspace, names: Iterable[str]) -> dict[str, str]:
    """How parts are joined, of each modality where they are."""
    rules = {name: ws.modality(name).parts for name in names}
    return {name: rule for name, rule in rules.items() if rule != EACH}


def _held(ws: Workspace) -> Index | None:
    """The index in use; ``None`` where it cannot be read and is built from stored vectors."""
    try:
        return Index.open(index_folder(ws))
    except StateError:
        return None
