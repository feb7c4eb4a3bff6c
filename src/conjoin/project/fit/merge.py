"""A modality taken out of a workspace, and two workspaces' bindings joined."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from conjoin.alignment.merge import Merged, anchored, merge
from conjoin.errors import ConjoinError, nearest
from conjoin.metrics.retrieval.relevance import relevance_by_id
from conjoin.project.fit.stored import current_fit, open_fit, write_facts
from conjoin.project.search.index import keep_index, open_index
from conjoin.project.upgrade import state
from conjoin.project.workspace import CONFIG, Workspace
from conjoin.retrieval.index.index import Index
from conjoin.spaces import Pairs, Space
from conjoin.storage.digest import digest, stable_hash
from conjoin.storage.files import read_json
from conjoin.upgrade.regression import Asked, Change, regression

#: Fewest held-out items that a direction is judged by.
FEWEST = 10


@dataclass(frozen=True, eq=False)
class Without:
    """A modality taken out: where the new fit lies and what each direction lost."""

    folder: str
    changes: list[Change]


def check_removable(ws: Workspace, name: str) -> None:
    """Refuse to take out what is not bound, the hub, or one of the last two.

    Raises
    ------
    ConjoinError : it is one of those.
    """
    binding = current_fit(ws).binding
    if name not in binding.maps:
        raise ConjoinError("modality", f"{name!r} is not bound", nearest(name, binding.maps))
    if name == binding.hub:
        raise ConjoinError("modality", f"{name!r} is the hub", "fit again with another: --hub")
    if len(binding.maps) < 3:
        raise ConjoinError("modality", "one would be left", "keep two, or start over")


def remove(ws: Workspace, name: str, *, write: bool = True) -> Without:
    """Take a modality out of fit, index and ``conjoin.toml``; the others' vectors stay.

    What was in use before is kept until the next removal, for :func:`undo`.

    Raises
    ------
    ConjoinError : as :func:`check_removable`, or its section cannot be cut out.
    """
    if not write:
        return _without(ws, name, write=False)
    with ws.changing():
        return _without(ws, name, write=True)


def _without(ws: Workspace, name: str, *, write: bool) -> Without:
    check_removable(ws, name)
    text = (ws.folder / CONFIG).read_text(encoding="utf-8")
    cut = state.without_modality(text, name, ws.folder / CONFIG)
    made, index = current_fit(ws), open_index(ws)
    binding = made.binding.without(name)
    bound = {n: space for n, space in index.spaces.items() if n != name}
    changes = regression(index.spaces, bound, _asks(ws, index.spaces))
    key = digest([made.folder.name, "without", name])
    if not write:
        return Without(key, changes)
    state.drop_removed(ws)
    state.keep_before(ws, state.REMOVED)
    folder = ws.state / "maps" / key
    binding.save(folder)
    raw = dict(read_json(made.folder / "fit.json", ["corrections"]))
    raw["corrections"] = [e for e in raw["corrections"] if name not in e[:2]]
    if "rules" in raw:
        parts = ("correctors", "calibrations", "uncalibrated")
        raw["rules"] = {**raw["rules"], **{
            part: [e for e in raw["rules"].get(part, ()) if name not in e[:2]] for part in parts
        }}  # fmt: skip
    write_facts(folder, raw, {n: len(space) for n, space in bound.items()})
    kept = Index.build(
        bound, {e: c for e, c in index.corrections.items() if name not in e},
        calibrations={e: c for e, c in index.calibrations.items() if name not in e},
    )  # fmt: skip
    after = state.other_workspace(ws, cut)
    keep_index(after, open_fit(folder), kept, {}, Pairs((name,), np.empty((0, 1), np.int64)))
    ws.publish({"maps": f"maps/{key}", "index": f"index/{key}"})
    state.write_config(ws, cut)
    return Without(key, changes)


def undo(ws: Workspace) -> list[str]:
    """Put back what the last removal took out, byte for byte; returns what was written.

    Raises
    ------
    ConjoinError : nothing was taken out, or another fit is in use since.
    """
    with ws.changing():
        return _put_back(ws)


def _put_back(ws: Workspace) -> list[str]:
    before = state.before_folder(ws, state.REMOVED)
    last = read_json(before / "current.json", ("maps", "index"))["maps"].rpartition("/")[2]
    kept = tomllib.loads((before / CONFIG).read_text(encoding="utf-8"))["modalities"]
    taken = [name for name in kept if name not in {m.name for m in ws.modalities}]
    if ws.current["maps"] not in {f"maps/{digest([last, 'without', name])}" for name in taken}:
        raise ConjoinError(
            "--undo", "something was fitted since",
            f"the conjoin.toml of before lies in {before.relative_to(ws.folder)}",
        )  # fmt: skip
    written = state.put_back(ws, state.REMOVED)
    state.drop_removed(ws)
    return written


def _asks(ws: Workspace, bound: Mapping[str, Space]) -> Iterator[Asked]:
    """Every direction among held-out rows, right answers by id."""
    groups = _groups(ws)
    held = {n: np.flatnonzero(ws.split.is_test(space.ids)) for n, space in bound.items()}
    yield from asks_of(bound, held, groups)


def _groups(ws: Workspace) -> dict[str, str]:
    return dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))


def asks_of(
    bound: Mapping[str, Space], held: Mapping[str, np.ndarray], groups: Mapping[str, str]
) -> Iterator[Asked]:
    """Directions between modalities whose held-out rows share enough items."""
    for query, left in bound.items():
        for target, right in bound.items():
            if query == target:
                continue
            rows, gallery = held[query], held[target]
            shared = np.intersect1d(left.ids[rows], right.ids[gallery])
            if len(shared) < FEWEST:
                continue
            wanted = relevance_by_id(left.take(rows), right.take(gallery))
            ids = left.ids[rows][wanted.queries]
            labels = np.array([stable_hash(groups.get(str(i), str(i))) for i in ids])
            yield Asked(query, target, rows, gallery, wanted, labels)


@dataclass(frozen=True, eq=False)
class Joined:
    """Two workspaces merged: the bindings, the index of both, and what changed."""

    merged: Merged
    index: Index
    anchors: int
    changes: list[Change]


def keys_of(ws: Workspace, anchors: str) -> dict[str, str]:
    """The anchor of each item: its id, or a column's value.

    Raises
    ------
    ConjoinError : there is no such column.
    """
    ids = [str(item) for item in ws.items.ids]
    if anchors == "ids":
        return {item: item for item in ids}
    if anchors not in ws.items.names:
        raise ConjoinError("--anchors", f"no column {anchors!r} in {ws.folder}",
                           nearest(anchors, ws.items.names))  # fmt: skip
    values = ws.items.column(anchors)
    return {i: str(v) for i, v in zip(ids, values, strict=True) if v is not None}


def join(
    a: Workspace, b: Workspace, *, anchors: str = "ids", method: str = "ridge", seed: int = 0
) -> Joined:
    """Merge the binding and index of ``b`` into those of ``a``; neither workspace is written to.

    Anchors that are held out in either are not fitted to: they judge. A direction within ``b`` is
    compared with what it was in its own frame.

    Raises
    ------
    ConjoinError : too few anchors, or they are not the same items.
    """
    keys = keys_of(a, anchors), keys_of(b, anchors)
    indices = open_index(a), open_index(b)
    held = {
        *(keys[0][i] for i in keys[0] if bool(a.split.is_test(np.array([i]))[0])),
        *(keys[1][i] for i in keys[1] if bool(b.split.is_test(np.array([i]))[0])),
    }
    both = set(keys[0].values()) & set(keys[1].values())
    fit = both - held if len(both - held) >= 4 * FEWEST else both
    sides = []
    for index, key in zip(indices, keys, strict=True):
        chosen = {item: k for item, k in key.items() if k in fit}
        sides.append(anchored(index.spaces, chosen))
    shared = sorted(set(sides[0][0]) & set(sides[1][0]))
    rows = [vectors[np.searchsorted(names, shared)] for names, vectors in sides if len(names)]
    if len(rows) < 2:
        raise ConjoinError("--anchors", "the workspaces share no item", "name a column of both")
    merged = merge(
        current_fit(a).binding, current_fit(b).binding, (rows[0], rows[1]), method=method,
        label=_label(b), seed=seed,
    )  # fmt: skip
    moved = {merged.names[n]: merged.move(n, s) for n, s in indices[1].spaces.items()}
    after = {**indices[0].spaces, **moved}
    changes = _merge_report(a, b, indices, merged, after, keys, held, seed)
    corrections = {e: c for e, c in indices[0].corrections.items()}
    return Joined(merged, Index.build(after, corrections), len(shared), changes)


def _label(b: Workspace) -> str:
    name = "".join(c if c.isalnum() or c in "_-" else "-" for c in b.folder.resolve().name)
    return name.strip("-") or "other"


def _merge_report(
    a: Workspace, b: Workspace, indices: tuple[Index, Index], merged: Merged,
    after: Mapping[str, Space], keys: tuple[dict[str, str], dict[str, str]], held: set[str],
    seed: int,
) -> list[Change]:  # fmt: skip
    """Directions within either as they were, and across the two, asked by held-out items."""
    own = set(indices[0].spaces)
    named = {merged.names[n]: s for n, s in indices[1].spaces.items()}
    before = {**indices[0].spaces, **named}
    key_of = {n: keys[0] if n in own else keys[1] for n in after}
    keyed = {
        n: replace(space, ids=np.array([key_of[n].get(i, f"{n}/{i}") for i in space.ids.tolist()]),
                   parts=np.empty(0, np.int32))
        for n, space in after.items()
    }  # fmt: skip
    rows = {n: np.flatnonzero(np.isin(s.ids, sorted(held))) for n, s in keyed.items()}
    groups = {keys[0][i]: g for i, g in _groups(a).items() if i in keys[0]}
    found = []
    for ask in asks_of(keyed, rows, groups):
        inside = (ask.query in own) == (ask.target in own)
        found += regression(before if inside else {}, after, [ask], seed)
    return found


def write_joined(joined: Joined, folder: Path) -> None:
    """Write the merged binding and index, to be opened by ``Binding.load`` and ``Index.open``.

    Raises
    ------
    ConjoinError : the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConjoinError("--out", f"{folder} is not empty", "name a new folder")
    joined.merged.binding.save(folder / "maps")
    joined.index.save(folder / "index")
