"""The workspace's items as what a recipe trains on: cells cut once and kept, families apart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.run import embed
from conjoin.errors import CellError, ConjoinError, nearest
from conjoin.models.pretraining.batches import Column, Corpus
from conjoin.models.pretraining.cells import cells_kind, open_cells
from conjoin.models.pretraining.recipe import Recipe
from conjoin.project.workspace import Workspace
from conjoin.spaces import Pairs, Space, Tokens
from conjoin.spaces.pairs import ABSENT
from conjoin.spaces.store import SpaceStore
from conjoin.storage.digest import digest, stable_hash
from conjoin.storage.files import FORMAT, read_json, write_json

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Source:
    """Where one view of a recipe comes from.

    Parameters
    ----------
    view : its name in the recipe.
    modality : of the workspace, whose encoder is the frozen one; "" where a column is read.
    column, cells, uri : what is read, what it is cut into, and the encoder of frozen tokens.
    kind : of cell.
    """

    view: str
    modality: str
    column: Any
    cells: str
    uri: str
    kind: str


@dataclass(frozen=True, eq=False)
class Prepared:
    """Cut cells of all views.

    Parameters
    ----------
    corpus : training lines.
    spaces : by view, the token sets of every item, one a row, held-out ones included.
    specs : by view what :mod:`conjoin.models.pretraining.saved` keeps.
    notes : what was left out, in plain sentences.
    """

    sources: tuple[Source, ...]
    corpus: Corpus
    spaces: Mapping[str, Space]
    specs: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = field(default=())


def sources(ws: Workspace, recipe: Recipe) -> tuple[Source, ...]:
    """What each view of a recipe reads here.

    A view takes the column it names; else the modality of its own name; else the first modality of
    its kind that no other view took. A recipe without views takes every modality.

    Raises
    ------
    ConjoinError : nothing here suits a view; what it asks for is named.
    """
    known = {entry.name: entry for entry in ws.modalities}
    views = dict(recipe.views) or {name: {} for name in known}
    found, taken = [], set[str]()
    for view, table in views.items():
        spec = str(table.get("cells", "frozen"))
        if "column" in table:
            column = str(table["column"])
            if column not in ws.items.names:
                raise ConjoinError(f"views.{view}.column", f"no column {column!r}",
                                   nearest(column, ws.items.names))  # fmt: skip
            found.append(Source(view, "", column, spec, "", cells_kind(spec, "")))
            continue
        wanted = str(table.get("kind") or (cells_kind(spec, "") if spec != "frozen" else view))
        name = view if view in known else next(
            (n for n in known if n not in taken and ws.kind(n) == wanted), ""
        )  # fmt: skip
        if not name:
            raise ConjoinError(
                f"views.{view}", f"no modality of kind {wanted} in this workspace",
                f"name a column of yours (views.{view}.column=…), or leave the view out",
            )  # fmt: skip
        taken.add(name)
        entry = known[name]
        kind = cells_kind(spec, entry.uri)
        found.append(Source(view, name, entry.column, spec, entry.uri, kind))
    return tuple(found)


def prepare(
    ws: Workspace, recipe: Recipe, *, transductive: bool = False,
    progress: Progress | None = None,
) -> Prepared:  # fmt: skip
    """Cut every view's cells, once for good, and put the training lines together.

    Families of held-out items are never trained on, paired or not, unless ``transductive``.

    Raises
    ------
    ConjoinError : a view has no cells here, or no training item has one.
    """
    found = sources(ws, recipe)
    spaces, specs, notes = {}, {}, []
    for source in found:
        cells = _cells(ws, source)
        specs[source.view] = {
            "cells": source.cells, "uri": source.uri, "state": cells.state(), "kind": cells.kind,
            "modality": source.modality,
        }  # fmt: skip
        space, said = _cut(ws, source, cells, progress)
        notes += said
        spaces[source.view] = space
        specs[source.view]["vocabulary"] = cells.vocabulary
    corpus = _corpus(ws, found, spaces, specs, transductive)
    if transductive:
        notes.append("transductive: cells of held-out items were trained on")
    return Prepared(found, corpus, spaces, specs, tuple(notes))


def _cells(ws: Workspace, source: Source) -> Any:
    """What cuts a view's cells; what it learns it learns of training items only, once."""
    path = ws.state / "cells" / f"{digest([source.column, source.cells, source.uri])}.json"
    if source.modality:
        ws.permit(source.uri)
    if path.exists():
        kept = read_json(path, ("state",))["state"]
        return open_cells(source.cells, source.uri, state=kept)
    train = set(map(str, ws.items.ids[ws.split.is_train(ws.items.ids)]))

    def column() -> Any:
        for key, cell in ws.items.cells(source.column, source.kind):
            if key.id in train and not isinstance(cell, CellError):
                yield cell

    made = open_cells(source.cells, source.uri, column=column)
    write_json(path, {"version": FORMAT, "state": made.state()})
    return made


def _cut(
    ws: Workspace, source: Source, cells: Any, progress: Progress | None
) -> tuple[Space, list[str]]:
    """A view's token sets, one row an item: its first part that can be read and is not empty."""
    place = ws.state / "spaces" / digest([source.column, cells.frame.id])
    store = SpaceStore(place, cells.frame)
    told = None if progress is None else lambda done, total: progress(source.view, done, total)
    result = embed(store, cells, ws.items.cells(source.column, cells.kind), progress=told)
    space = store.open()
    if space is None:
        raise ConjoinError(f"view {source.view}", "no cell can be read", "see the column's files")
    notes = []
    if result.failed:
        notes.append(f"{source.view}: {len(result.failed)} cells cannot be read and are left out")
    sets = space.vectors
    assert isinstance(sets, Tokens)
    first = np.lexsort((space.parts, space.ids))
    first = first[np.diff(sets.offsets)[first] > 0]
    _, at = np.unique(space.ids[first], return_index=True)
    rows = np.sort(first[at])
    if len(rows) < len(space):
        notes.append(
            f"{source.view}: {len(space) - len(rows)} further parts or empty cells left out"
        )
    return space.take(rows), notes


def all_cut(ws: Workspace, recipe: Recipe) -> bool:
    """Whether every view of a recipe has been cut before, so that preparing it embeds nothing."""
    return all(
        (ws.state / "cells" / f"{digest([s.column, s.cells, s.uri])}.json").exists()
        for s in sources(ws, recipe)
    )


def _corpus(
    ws: Workspace, found: tuple[Source, ...], spaces: Mapping[str, Space],
    specs: Mapping[str, Mapping[str, Any]], transductive: bool,
) -> Corpus:  # fmt: skip
    ids = ws.items.ids
    keep = np.ones(len(ids), bool) if transductive else np.asarray(ws.split.is_train(ids))
    groups = ws.items.groups(ws.config)
    rows = np.full((len(ids), len(spaces)), ABSENT)
    columns = {}
    for at, (view, space) in enumerate(spaces.items()):
        place = {str(item): row for row, item in enumerate(space.ids)}
        rows[:, at] = [place.get(str(item), ABSENT) for item in ids]
        sets = space.vectors
        assert isinstance(sets, Tokens)
        vocabulary = int(specs[view]["vocabulary"])
        if vocabulary:
            sets = Tokens(np.asarray(sets.vectors).astype(np.int32), sets.offsets)
        columns[view] = Column(sets, vocabulary)
    keep &= (rows != ABSENT).any(1)
    if not keep.any():
        raise ConjoinError("items", "none to train on", "check the split and the columns")
    named = np.array([stable_hash(str(group)) for group in groups])
    lines = Pairs(tuple(spaces), rows[keep], np.ones(int(keep.sum())), named[keep])
    return Corpus(columns, lines)


def run_folder(ws: Workspace, name: str) -> Path:
    """Where a run of a name lies: ``models/NAME`` beside ``conjoin.toml``."""
    return ws.folder / "models" / name
