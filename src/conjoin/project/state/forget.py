"""What a workspace's state still holds of an item, and how that goes.

A deleted row stands in no list at once, but its bytes lie in earlier versions of the index, in
stored vectors and in records of what was measured until they are rewritten.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from conjoin.errors import ConjoinError, optional
from conjoin.project.workspace import Workspace
from conjoin.spaces.store import SpaceStore
from conjoin.storage.digest import stable_hash
from conjoin.storage.files import map_arrays, unpack_strings

#: Records that are made again when they are asked for; one that names a gone item is removed.
RECORDS = ("runs", "trust", "report", "comparisons", "doctor")
#: Text files larger than this are scanned in steps.
STEP = 2**22


@dataclass(frozen=True)
class Trace:
    """A file that names an item.

    Parameters
    ----------
    path : within the state folder.
    remedy : what makes it go.
    """

    path: Path
    remedy: str


def traces(ws: Workspace, items: Collection[str]) -> dict[str, list[Trace]]:
    """By item, every file of the state that names it; empty lists where none does.

    Files are read as what they are: tables by their id columns, JSON and text word by word. Maps
    and corrections hold no ids; where the fit in use was trained on an item's group, that is a
    trace too, as its vectors decided the maps.

    Raises
    ------
    ConjoinError : a file cannot be read.
    """
    wanted = frozenset(map(str, items))
    found: dict[str, list[Trace]] = {item: [] for item in sorted(wanted)}
    for path in _files(ws.state):
        for item in sorted(_named(path, wanted)):
            found[item].append(Trace(path.relative_to(ws.state), _remedy(path, ws)))
    for item in _learned(ws, wanted):
        found[item].append(Trace(Path("maps"), "conjoin fit --fresh: the fit learned from it"))
    return found


def _files(state: Path) -> Iterator[Path]:
    for path in sorted(state.rglob("*")):
        inside = any(parent.suffix == ".lance" for parent in path.parents)
        table = path.suffix == ".lance" and path.is_dir()
        if table or (path.is_file() and not inside and path.name != ".lock"):
            yield path


def _remedy(path: Path, ws: Workspace) -> str:
    kind, *rest = path.relative_to(ws.state).parts
    used = [Path(ws.current[part]).name for part in ("index", "maps")] if _is_fitted(ws) else []
    if kind in ("index", "maps") and rest and rest[0] not in used:
        return "conjoin clean"
    if kind in ("index", "spaces", "items", *RECORDS):
        return "conjoin index compact"
    return "conjoin fit --fresh, then conjoin clean"


def _is_fitted(ws: Workspace) -> bool:
    return (ws.state / "current.json").exists()


def _named(path: Path, wanted: frozenset[str]) -> set[str]:
    """Which of the items a file names."""
    if path.suffix == ".lance":
        return _of_lance(path, wanted)
    if path.suffix == ".safetensors":
        return _of_arrays(path, wanted)
    if path.suffix in (".arrow", ".parquet"):
        return _of_table(path, wanted)
    if path.suffix in (".json", ".jsonl"):
        return _of_json(path, wanted)
    return _of_text(path, wanted)


def _of_lance(path: Path, wanted: frozenset[str]) -> set[str]:
    """Ids in any version of a table that is still on disk."""
    lancedb = optional("lancedb", "search")
    table = lancedb.connect(path.parent).open_table(path.stem)
    found: set[str] = set()
    for version in table.list_versions():
        table.checkout(version["version"])
        column = table.to_arrow().column("id").to_pylist()
        found |= wanted.intersection(map(str, column))
    return found


def _of_arrays(path: Path, wanted: frozenset[str]) -> set[str]:
    arrays, meta = map_arrays(path)
    found = _inside(meta, wanted)
    for name, ends in (("ids", "id_ends"), ("id", "id_ends")):
        if name in arrays and ends in arrays:
            ids = unpack_strings(arrays[name], arrays[ends]).tolist()
            found |= {i for each in ids for i in (each, each.rpartition("/")[0]) if i in wanted}
    return found


def _of_table(path: Path, wanted: frozenset[str]) -> set[str]:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(path)
    else:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
    found: set[str] = set()
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            found |= wanted.intersection(v for v in column.to_pylist() if v is not None)
    return found


def _of_json(path: Path, wanted: frozenset[str]) -> set[str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    found: set[str] = set()
    for line in text.splitlines() if path.suffix == ".jsonl" else [text]:
        try:
            found |= _inside(json.loads(line), wanted)
        except ValueError:
            found |= {item for item in wanted if item in line}
    return found


def _inside(value: Any, wanted: frozenset[str]) -> set[str]:
    """Items that a JSON value names, as a key, a text, or the beginning of ``item/part``."""
    if isinstance(value, str):
        return {each for each in (value, value.rpartition("/")[0]) if each in wanted}
    if isinstance(value, Mapping):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple):
        parts = list(value)
    else:
        return set()
    found: set[str] = set()
    for part in parts:
        found |= _inside(part, wanted)
    return found


def _of_text(path: Path, wanted: frozenset[str]) -> set[str]:
    """Items that stand in a text as a word; those of fewer than four letters are not looked for."""
    found: set[str] = set()
    names = {item: re.compile(rb"(?<!\w)" + re.escape(item.encode()) + rb"(?!\w)")
             for item in wanted if len(item) > 3}  # fmt: skip
    with path.open("rb") as file:
        before = b""
        while block := file.read(STEP):
            held = before + block
            found |= {item for item, word in names.items() if word.search(held)}
            before = block[-256:]
    return found


def _learned(ws: Workspace, wanted: frozenset[str]) -> list[str]:
    """Items whose own group the fit in use was trained on, where they are still in no group."""
    from conjoin.project.fit.stored import fit_as_it_is

    if not _is_fitted(ws):
        return []
    trained = set(np.asarray(fit_as_it_is(ws).binding.trained).tolist())
    return [item for item in sorted(wanted) if stable_hash(item) in trained]


def forget(ws: Workspace) -> dict[str, int]:
    """Rewrite what still holds items that are among the workspace's no more; counts by kind.

    Stored vectors and the journal are rewritten without them, records that name one are removed:
    they are made again when asked for. The index is compacted by its own verb.

    Raises
    ------
    ConjoinError : another process is changing the state.
    """
    known = set(map(str, ws.items.ids))
    gone: set[str] = set()
    told = {"vectors": 0, "records": 0, "items": 0}
    for folder in sorted(ws.state.glob("spaces/*/manifest.json")):
        store = SpaceStore.at(folder.parent)
        rows = [key for key in store.rows() if _owner(key.id, known) is None]
        gone |= {key.id for key in rows} | {key.id.rpartition("/")[0] for key in rows}
        if rows or store.wasted():
            store.drop([key for key in rows if key in set(store.live())])
            told["vectors"] += store.rewrite()
    overlay = ws.journal.read()
    gone |= set(overlay.deleted) - known
    table = set(ws.table_ids())
    told["items"] = ws.journal.compact(table)
    gone.discard("")
    for path in _files(ws.state):
        if path.relative_to(ws.state).parts[0] in RECORDS and _named(path, frozenset(gone)):
            path.unlink()
            told["records"] += 1
    return told


def _owner(item: str, known: Collection[str]) -> str | None:
    """The item a row is of: its own id, or that of the row a piece was cut from."""
    for each in (item, item.rpartition("/")[0]):
        if each in known:
            return each
    return None


def refuse_unproved(found: Mapping[str, list[Trace]]) -> None:
    """Refuse where a trace is left.

    Raises
    ------
    ConjoinError : it names the first file and what makes it go.
    """
    for item, left in found.items():
        if left:
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            raise ConjoinError(
                f"item {item}", f"is still named in {left[0].path}{more}", f"run: {left[0].remedy}"
            )
