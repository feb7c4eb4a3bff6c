"""Encoders and a workspace on published benchmarks, and a workspace's held-out items as one."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.catalogue import find
from conjoin.encoders.open import cache_folder, open_encoder, towers
from conjoin.errors import CellError, ConjoinError
from conjoin.evaluation.by_shape.base import Arm
from conjoin.evaluation.formats.base import Cells, Contrast, Foil, Rank
from conjoin.evaluation.placing import Placed, vectors_of
from conjoin.evaluation.published import Result, judge, open_task
from conjoin.project.fit.stored import current_fit
from conjoin.project.workspace import Workspace


def benchmark(
    paths: Sequence[Path],
    encoders: Sequence[str] = (),
    ws: Workspace | None = None,
    *,
    layout: str | None = None,
    split: str = "test",
    seed: int = 0,
) -> list[Result]:
    """Every encoder, and the binding in use of a workspace, on the task of each path.

    Raises
    ------
    ConjoinError : a path is no known benchmark, a field is missing, or an encoder reads other
        kinds of cells than the task has.
    """
    opened = [open_task(path, split=split, name=layout) for path in paths]
    arms = [_encoder_arm(uri) for uri in encoders]
    if ws is not None:
        arms.append(Arm("workspace", placed(ws)))
    return [judge(task, name, arms, seed=seed) for name, task in opened]


def _encoder_arm(uri: str) -> Arm:
    """An encoder, with the other towers of its model where it has them."""
    of_kind = towers(uri, cache=cache_folder())
    made: dict[str, Any] = {}

    def embed(cells: Cells) -> np.ndarray:
        if cells.kind not in of_kind:
            said = ", ".join(sorted(of_kind))
            raise ConjoinError(f"encoder {uri}", f"reads {said}, the task has {cells.kind}",
                               "give an encoder that reads both sides")  # fmt: skip
        if cells.kind not in made:
            made[cells.kind] = open_encoder(of_kind[cells.kind])
        return vectors_of(made[cells.kind], cells)

    return Arm(uri, embed)


def placed(ws: Workspace) -> Placed:
    """The binding in use of a workspace with the encoders of its modalities."""
    binding = current_fit(ws).binding
    return Placed({name: ws.encoder(name) for name in binding.maps}, binding)


def held_out(ws: Workspace, query: str | None = None, target: str | None = None) -> Rank:
    """A workspace's held-out items as a ranking task: one modality asks for another.

    Parameters
    ----------
    query, target : names of modalities; the first that reads text, and the first other.

    Raises
    ------
    ConjoinError : no such modality, fewer than two, or a kind that is no text, picture or sound.
    """
    names = [each.name for each in ws.modalities]
    query = query or next((n for n in names if ws.kind(n) == "text"), names[0])
    target = target or next((n for n in names if n != query), None)
    if target is None:
        raise ConjoinError("workspace", f"one modality, {query}", "give another to search")
    asked, shown = (_held_cells(ws, name) for name in (query, target))
    both = [key for key in asked.values if key in shown.values]
    if not both:
        raise ConjoinError("workspace", f"no held-out item has {query} and {target}", "name others")
    owners = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))
    lost = len(asked.values) - len(both)
    notes = (f"{lost} held-out items without {target} left out",) if lost else ()
    kept = Cells(asked.kind, {key: asked.values[key] for key in both})
    return Rank(
        f"{query} to {target}", {key: {key: 1} for key in both}, kept, shown,
        groups={key: owners[key] for key in both}, notes=notes,
    )  # fmt: skip


def _held_cells(ws: Workspace, name: str) -> Cells:
    """The first cell that can be read of each held-out item."""
    kind = ws.kind(name)
    if kind not in ("text", "image", "audio"):
        raise ConjoinError(f"modality {name}", f"reads {kind}", "name one of text, image or audio")
    found: dict[str, Any] = {}
    for key, cell in ws.cells(name, kind):
        item = str(key.id)
        if item in found or isinstance(cell, CellError):
            continue
        if bool(ws.split.is_test(np.array([item]))[0]):
            found[item] = cell if isinstance(cell, str | bytes) else str(cell)
    return Cells(kind, found)


def write_held_out(
    ws: Workspace, folder: Path, query: str | None = None, target: str | None = None
) -> Rank:
    """Write :func:`held_out` as a folder that MTEB loads, and return it.

    Raises
    ------
    ConjoinError : the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConjoinError(str(folder), "is not empty", "name a new folder")
    task = held_out(ws, query, target)
    find("format", "mteb").make().write(task, folder)
    return task


def write_foils(
    ws: Workspace, folder: Path, rules: Sequence[str], query: str | None = None,
    target: str | None = None, *, seed: int = 0,
) -> Contrast:  # fmt: skip
    """Write held-out pictures, their texts and foils of these in VL-CheckList's layout.

    Parameters
    ----------
    rules : rows of kind ``foil``; each becomes a leaf, with the texts it finds a hold in.
    query, target : names of the modality of texts and of that of pictures.

    Raises
    ------
    ConjoinError : the folder holds something already, a rule is unknown, the modalities read
        something else, or no rule finds a hold.
    """
    kinds = {each.name: ws.kind(each.name) for each in ws.modalities}
    target = target or next((name for name, kind in kinds.items() if kind == "image"), None)
    return write_foiled(held_out(ws, query, target), folder, rules, seed=seed)


def write_foiled(task: Rank, folder: Path, rules: Sequence[str], *, seed: int = 0) -> Contrast:
    """:func:`write_foils` of a task whose texts ask for pictures."""
    if folder.exists() and any(folder.iterdir()):
        raise ConjoinError(str(folder), "is not empty", "name a new folder")
    makers = {name: find("foil", name).make() for name in rules}
    asked, shown = task.queries, task.corpus
    if asked is None or shown is None or (asked.kind, shown.kind) != ("text", "image"):
        raise ConjoinError("foils", f"{task.name} is no text to picture", "name --from and --into")
    items = list(asked.values)
    texts = [str(asked.values[item]) for item in items]
    made = []
    with tempfile.TemporaryDirectory() as kept:
        files = [_copied(shown.values[item], Path(kept), at) for at, item in enumerate(items)]
        for name, maker in makers.items():
            found = zip(files, texts, maker.make(texts, seed), strict=True)
            made += [Foil(file, text, foil, name) for file, text, foil in found if foil]
        if not made:
            raise ConjoinError("foils", f"{', '.join(rules)} find no hold", "name other rules")
        whole = Contrast(f"{task.name}, foils", tuple(made), task.notes)
        find("format", "vl-checklist").make().write(whole, folder)
    return whole


def _copied(cell: Any, folder: Path, number: int) -> str:
    """A picture, in a file or as bytes, in a file of a name of its own."""
    ending = ".png" if isinstance(cell, bytes) else Path(cell).suffix
    file = folder / f"{number:06d}{ending}"
    file.write_bytes(cell if isinstance(cell, bytes) else Path(cell).read_bytes())
    return str(file)
