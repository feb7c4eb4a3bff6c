"""What is written of a workspace's items, indexed by words beside the index in use."""

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from conjoin.encoders.open import kind_of
from conjoin.items.cells import cell_parts
from conjoin.project.workspace import Workspace
from conjoin.retrieval.lexical.bm25 import Lexical
from conjoin.storage.digest import digest
from conjoin.storage.files import read_json, write_json


def ranking_folder(ws: Workspace) -> Path:
    """Where words, the chosen mixture and a fitted composer lie."""
    return Path(ws.state / ws.current["index"]) / "ranking"


def text_columns(ws: Workspace) -> list[str]:
    """Columns that hold text: those of text modalities, then other columns of strings.

    Columns that other modalities read (paths, numbers as text) and the columns of ids and of the
    split are left out.
    """
    kinds = [(kind_of(entry.uri), entry.column) for entry in ws.modalities]
    read = [column for kind, column in kinds if kind == "text" and isinstance(column, str)]
    taken = {
        name
        for kind, column in kinds
        if kind != "text"
        for name in ([column] if isinstance(column, str) else column)
    }
    taken |= {ws.config.items.id or "", ws.config.split.column or ""}
    schema = ws.items.scalars.schema
    plain = [
        entry.name
        for entry in schema
        if (pa.types.is_string(entry.type) or pa.types.is_large_string(entry.type))
    ]
    return list(dict.fromkeys([*read, *(name for name in plain if name not in taken)]))


def captions_of(ws: Workspace, only: Collection[str]) -> dict[str, str]:
    """What is written of some items in the columns that text modalities read; else anywhere.

    These speak the language of queries; other columns may hold translations.
    """
    read = [entry.column for entry in ws.modalities if kind_of(entry.uri) == "text"]
    every = text_columns(ws)
    without = [name for name in every if name not in read] if read else []
    return {item: "\n".join(found) for item, found in texts_of(ws, without, only).items()}


def texts_of(
    ws: Workspace, without: Collection[str] = (), only: Collection[str] | None = None
) -> dict[str, list[str]]:
    """By item id, each text of an item.

    Parameters
    ----------
    without : columns to leave out.
    only : item ids to look at; all when not given.
    """
    found: dict[str, list[str]] = {str(item): [] for item in ws.items.ids}
    for column in text_columns(ws):
        if column in without:
            continue
        for item, value in zip(ws.items.ids, ws.items.column(column), strict=True):
            found[str(item)] += [str(part) for part in cell_parts(value, "text")]
    if only is not None:
        found = {item: texts for item, texts in found.items() if item in only}
    return found


def open_words(ws: Workspace) -> Lexical:
    """The words of all items, indexed anew where a text changed.

    While the table's file and the configuration are as they were, no text is looked at.
    """
    folder, stamp = ranking_folder(ws) / "words", _stamp(ws)
    note = folder / "seen.json"
    if stamp and note.exists():
        seen = read_json(note)
        place = folder / str(seen.get("place"))
        if seen.get("stamp") == stamp and place.is_dir():
            return Lexical.kept(place, int(seen["count"]))
    found = Lexical.open(folder, texts_of(ws))
    if stamp:
        write_json(note, {"stamp": stamp, "place": found.place.name, "count": found.count})
    return found


def _stamp(ws: Workspace) -> str:
    """What changes with the table or what is read of it; empty where it is a folder."""
    path = ws.folder / ws.config.items.table
    if not path.is_file():
        return ""
    told = path.stat()
    return digest([str(path), told.st_mtime_ns, told.st_size, ws.config.model_dump_json()])
