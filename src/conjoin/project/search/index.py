"""The index of a workspace: bound vectors, their corrections and metadata, where they lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conjoin.errors import ConjoinError, FewPairs, MissingDependency, StateError, optional
from conjoin.project.fit.stored import Fit, current_fit, stale
from conjoin.project.search.cascade import bridged
from conjoin.project.workspace import Workspace
from conjoin.retrieval.engines.kernels import have
from conjoin.retrieval.engines.quantization import Storage
from conjoin.retrieval.evaluation import bank_of
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.index.integrity import faults
from conjoin.retrieval.index.store import Change, IndexStore
from conjoin.spaces import Pairs, Space
from conjoin.spaces.rownumbers import item_numbers, places, row_numbers
from conjoin.storage.files import NEWER, read_json

#: Changes of a store after which it holds every bound row.
BUILT = ("build", "engine", "lists", "compact")


def build_index(ws: Workspace, made: Fit, spaces: Mapping[str, Space], train: Pairs) -> Index:
    """Bind what is not yet bound and save it beside what is."""
    bound = {
        name: made.binding.bind(name, space)
        for name, space in spaces.items()
        if name in made.binding.maps
    }
    index = Index.build(
        bound,
        corrections=made.rules.corrections(made.binding, spaces, train, bound),
        calibrations=made.rules.serving(bound),
        mixing=made.rules.mixing,
    )
    keep_index(ws, made, index, spaces, train)
    return index


def keep_index(
    ws: Workspace, made: Fit, index: Index, spaces: Mapping[str, Space], train: Pairs
) -> None:
    """Write an index where the fit's lies: a store where the database is installed.

    Without it, or where vectors are token sets, it is a snapshot that is searched exactly.
    """
    folder = ws.state / "index" / made.folder.name
    if not have("lancedb") or index.frame.score == "maxsim":
        refuse_settings(ws, index)
        index.save(folder)
        return
    store = IndexStore(folder)
    store.build(index, metadata(ws, index.spaces))
    tune_store(ws, store, made, spaces, train)
    store.open()  # derives the rows, so that searching writes nothing


def problem_of(
    folder: Path, rows: Mapping[str, int] | None = None, frame: str | None = None
) -> str | None:
    """What is wrong with an index, so that it should be built again; ``None`` where nothing is.

    All its files are read and compared with their digests.

    Parameters
    ----------
    rows : how many rows each modality must have, where nothing was added or deleted since.
    frame : the id of the frame it must be in.

    Raises
    ------
    StateError : it was written by a newer conjoin.
    """
    try:
        spoilt = [fault for fault in faults(folder) if not fault.derived]
        if spoilt:
            return f"{spoilt[0].path.name}: {spoilt[0].found}"
        index = Index.open(folder)
    except StateError as error:
        if error.remedy == NEWER:
            raise
        return f"it cannot be used: {Path(error.where).name}: {error.found}"
    except MissingDependency:  # whole, but not readable here
        return None
    except FileNotFoundError:
        return "it is missing"
    if frame is not None and index.frame.id != frame:
        return f"it is of another fit: frame {index.frame.id}, not {frame}"
    there = {name: len(space) for name, space in index.spaces.items()}
    store = IndexStore(folder) if is_store(folder) else None
    touched = store is not None and any(v.why not in BUILT for v in store.versions())
    if rows is not None and not touched and there != dict(rows):
        return f"it holds {_counted(there)}, bound are {_counted(rows)}"
    if store is None and have("lancedb") and index.frame.score != "maxsim":
        return "it is a snapshot, and a store is possible"
    return None


def _counted(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {name}" for name, count in rows.items()) or "nothing"


def refuse_settings(ws: Workspace, index: Index) -> None:
    """Say that settings of the index need what is not there.

    Raises
    ------
    MissingDependency, ConjoinError : the configuration asks for another storage or engine.
    """
    part = ws.config.index
    if storage_of(ws) == Storage() and part.engine in ("auto", "exact"):
        return
    if index.frame.score == "maxsim":
        raise ConjoinError("[index]", "token sets are scored as they are", "remove the section")
    optional("lancedb", "search")


def storage_of(ws: Workspace) -> Storage:
    """What the configuration says is scanned."""
    part = ws.config.index
    return Storage(part.storage, part.prefix or 0, part.funnel)


def tune_store(
    ws: Workspace, store: IndexStore, made: Fit, spaces: Mapping[str, Space], train: Pairs
) -> None:
    """Choose what finds candidates, by queries of the training rows."""
    from conjoin.retrieval.index.tuning import SMALL, tune

    part, storage = ws.config.index, storage_of(ws)
    large = part.engine == "auto" and max(store.version().rows.values()) >= SMALL
    plain = storage == Storage() and part.engine in ("auto", "exact") and not large
    if plain and not store.version().engines:
        return
    queries = {} if plain else training_queries(made, spaces, train)
    tune(store, queries, engine="exact" if plain else part.engine, storage=storage)


def tune_index(ws: Workspace) -> IndexStore:
    """Apply ``[index]`` of the configuration to the index in use."""
    made, store = current_fit(ws), open_store(ws)
    spaces = ws.spaces(list(store.version().rows))
    tune_store(ws, store, made, spaces, ws.pairs(spaces)[0])
    store.open()
    return store


def training_queries(
    made: Fit, spaces: Mapping[str, Space], train: Pairs, most: int = 512
) -> dict[str, np.ndarray]:
    """By modality, training rows as queries of the joint frame."""
    found = {}
    for name in spaces:
        if name in made.binding.maps:
            rows = np.asarray(bank_of(made.binding, spaces, train, name, most), dtype=np.float32)
            found[name] = made.binding.frame.query(rows)
    return found


def metadata(ws: Workspace, spaces: Mapping[str, Space]) -> dict[str, pa.Table]:
    """By modality, the items' single values, a line a row of its space."""
    table = ws.items.scalars
    items = pa.array(ws.items.ids.tolist(), pa.string())
    return {
        name: table.take(pc.index_in(pa.array(space.ids.tolist(), pa.string()), value_set=items))
        for name, space in spaces.items()
    }


def open_index(ws: Workspace) -> Index:
    """The index in use."""
    timed = frozenset(modality.name for modality in ws.modalities if modality.timed)
    return replace(Index.open(ws.state / ws.current["index"]), timed=timed)


def index_of(ws: Workspace, made: Fit) -> Index | None:
    """The index of a fit, where it can be read."""
    try:
        return Index.open(ws.state / "index" / made.folder.name)
    except ConjoinError:
        return None


def index_folder(ws: Workspace) -> Path:
    """Where the index in use lies."""
    return Path(ws.state / ws.current["index"])


def open_store(ws: Workspace, *, convert: bool = True) -> IndexStore:
    """The store in use; a snapshot becomes one where the database is installed.

    Raises
    ------
    ConjoinError : it holds token sets, which no store keeps.
    MissingDependency : the database is not installed.
    """
    folder = index_folder(ws)
    store = IndexStore(folder)
    if is_store(folder):
        return store
    optional("lancedb", "search")
    index = Index.open(folder)
    if index.frame.score == "maxsim":
        raise ConjoinError("index", "holds token sets: it has no versions", "run: conjoin fit")
    if convert:
        store.build(index, metadata(ws, index.spaces))
    return store


def is_store(folder: Path) -> bool:
    """Whether a folder's index has versions."""
    path = folder / "manifest.json"
    return path.exists() and "history" in read_json(path)


@dataclass(frozen=True)
class Pending:
    """What the stored vectors have that the index has not, by modality.

    Parameters
    ----------
    new : rows of the stored space to add, or to put in place of others.
    changed : how many of them replace a row.
    gone : item ids that have no stored vector any more.
    """

    new: Mapping[str, np.ndarray]
    changed: Mapping[str, int]
    gone: Mapping[str, list[str]]


def pending(ws: Workspace, index: Index, names: Sequence[str] = ()) -> Pending:
    """What was embedded since the index was written."""
    made = current_fit(ws)
    new: dict[str, np.ndarray] = {}
    changed: dict[str, int] = {}
    gone: dict[str, list[str]] = {}
    for name in names or list(index.spaces):
        if name not in index.spaces:
            ws.modality(name)
            raise ConjoinError("modality", f"{name!r} is not bound", "run: conjoin add")
        space = ws.space(name)
        if space.frame != made.binding.maps[name].source:
            raise stale(name)
        held = index.spaces[name]
        old, now = item_numbers(held.ids, space.ids)
        at = places(row_numbers(now, space.parts), row_numbers(old, held.parts))
        there = at >= 0
        new[name] = np.flatnonzero(~there | (held.content[at] != space.content))
        changed[name] = int(there[new[name]].sum())
        lost = set(held.ids[~np.isin(old, now)].tolist())
        # After a bridge, rows of the old encoder stand for cells that the new one never read.
        standing = {str(item) for item in ws.items.ids} if bridged(made) == name else set()
        gone[name] = sorted(lost - standing)
    return Pending(new, changed, gone)


def add_rows(ws: Workspace, wanted: Pending, *, prune: bool = False, why: str = "add") -> Change:
    """Bind and add what is pending; ``prune`` takes away what is gone, in the same version.

    Raises
    ------
    ConjoinError : another process is changing what is in use.
    """
    with ws.changing():
        made, store = current_fit(ws), open_store(ws)
        bound = {
            name: made.binding.bind(name, ws.space(name).take(rows))
            for name, rows in wanted.new.items()
            if len(rows)
        }
        gone = wanted.gone if prune else None
        change = store.add(bound, metadata(ws, bound), why=why, gone=gone)
        store.open()
    return change


def serve_pending(ws: Workspace, wanted: Pending, *, why: str = "add") -> int | None:
    """Serve what is pending: the number of the new version, ``None`` where there is none.

    A snapshot, which has no versions, is written anew.
    """
    some = any(len(rows) for rows in wanted.new.values()) or any(wanted.gone.values())
    if not some:
        return None
    made = current_fit(ws)
    if is_store(index_folder(ws)) or (have("lancedb") and made.binding.frame.score != "maxsim"):
        return add_rows(ws, wanted, prune=True, why=why).version
    with ws.changing():
        spaces = ws.spaces(list(open_index(ws).spaces))
        try:
            train = ws.pairs(spaces)[0]
        except FewPairs:  # a joint encoder's vectors, served as they are
            train = Pairs((), np.empty((0, 0), dtype=np.int64))
        build_index(ws, made, spaces, train)
    return None
