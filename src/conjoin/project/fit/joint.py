"""Joint encoders as they are: modalities of one frame are searched without pairs and without a fit.

A joint encoder (CLIP, SigLIP, CLAP…) reads several kinds of cell into one frame. Modalities of one
frame are bound by the identity, so the index holds what the encoder gave, and words reach pictures
by the model's text tower even where the table has no text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conjoin.alignment.binding import FEWEST, Binding
from conjoin.encoders.base import Encoder, Quick
from conjoin.encoders.open import open_encoder, restore, towers
from conjoin.errors import ConjoinError, FewPairs, FrameError
from conjoin.maps.base import apply_rows, load_map
from conjoin.project.fit.crops import pieces_of
from conjoin.project.fit.multi_part import EACH
from conjoin.project.fit.stored import Fit, fit_as_it_is, open_fit, write_facts
from conjoin.project.search.index import (
    index_folder,
    is_store,
    keep_index,
    open_index,
    pending,
    serve_pending,
)
from conjoin.project.workspace import Workspace
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.hubness.report import Hubness, K
from conjoin.retrieval.index.index import Index
from conjoin.selection.frozen import for_frozen
from conjoin.spaces import Frame, Pairs, Space, require_same, unit
from conjoin.storage.digest import digest, stable_hash
from conjoin.storage.files import read_json

#: Folder of a bridge that reads typed words, in the state folder.
BRIDGE = "bridge"
#: Queries, and rows of the gallery, by which hubs are counted, at most.
ASKED, COUNTED = 1000, 20_000
#: Rows whose pieces tell what scores mean, drawn where there are more.
ROWS = 10_000
#: Why a direction between modalities has no probabilities as long as nothing was fitted.
NO_PAIRS = "scores are cosines: without pairs nothing says which hits are right"


@dataclass(frozen=True)
class Group:
    """Modalities of one frame that are served as they are.

    Parameters
    ----------
    names : in the order of the configuration; empty where nothing can be served so.
    others : embedded modalities of other frames.
    why : why there is no such group; empty where there is one.
    """

    names: tuple[str, ...]
    others: tuple[str, ...] = ()
    why: str = ""


def group_of(ws: Workspace, names: Sequence[str] = ()) -> Group:
    """Which embedded modalities can be searched as they are.

    Those are modalities of one frame: two or more, or one whose encoder has further towers, or
    one that is alone in its workspace.

    Parameters
    ----------
    names : modalities to look at; all of the configuration when not given.
    """
    frames: dict[Any, list[str]] = {}
    for name in names or [entry.name for entry in ws.modalities]:
        if len(ws.store(name).live()):
            frames.setdefault(ws.frame(name), []).append(name)
    cosine = {frame: held for frame, held in frames.items() if frame.score == "cosine"}
    joint = [
        held for held in cosine.values()
        if len(held) > 1 or len(towers(ws.modality(held[0]).uri)) > 1
    ]  # fmt: skip
    if not joint and len(ws.modalities) == 1:
        joint = list(cosine.values())
    if len(joint) == 1:
        kept = tuple(joint[0])
        others = (name for held in frames.values() for name in held if name not in kept)
        return Group(kept, tuple(others))
    if joint:
        said = " and ".join(f"{', '.join(held)} ({ws.modality(held[0]).uri})" for held in joint)
        return Group((), (), f"{said} are of different joint encoders, whose vectors do not compare"
                     ": name one encoder for all, or join them by pairs (conjoin fit)")  # fmt: skip
    return Group((), (), "no two modalities are of one joint encoder")


def is_served(ws: Workspace) -> bool:
    """Whether what is in use is an encoder's own frame, with nothing fitted to pairs."""
    if not (ws.state / "current.json").exists():
        return False
    binding = fit_as_it_is(ws).binding
    return bool(binding.joint) and not len(binding.trained)


def publish(ws: Workspace, *, seed: int = 0) -> tuple[Fit, dict[str, Any]] | None:
    """Put modalities of one frame to use as they are; bring an index of before up to date.

    Returns
    -------
    The fit, whose maps change nothing, and what was measured; ``None`` where no modalities can be
    served so, or where a fit is in use.

    Raises
    ------
    ConjoinError : a modality's vectors cannot be read.
    """
    if (ws.state / "current.json").exists() and not is_served(ws):
        return None
    group = group_of(ws)
    if not group.names:
        return None
    spaces = ws.spaces(list(group.names))
    return put(ws, Binding.as_it_is(spaces), spaces, seed=seed)


def put(
    ws: Workspace, binding: Binding, spaces: Mapping[str, Space], *, seed: int = 0
) -> tuple[Fit, dict[str, Any]]:
    """Write a binding that changes nothing, its rules and its index, and publish them."""
    parts = {n: ws.modality(n).parts for n in spaces if ws.modality(n).parts != EACH}
    key = digest(["as it is", binding.frame.id, sorted(binding.maps), sorted(parts.items()), seed])
    folder = ws.state / "maps" / key
    if not (folder / "fit.json").exists():
        rules = told_by_pieces(ws, binding, spaces, seed=seed)
        binding.save(folder)
        facts = {"corrections": [], "seed": seed, "rules": rules.to_json(), "parts": parts}
        write_facts(folder, facts)
    made = open_fit(folder)
    entry = {"maps": f"maps/{key}", "index": f"index/{key}"}
    where = ws.state / entry["index"]
    if is_store(where) and is_served(ws) and index_folder(ws) == where:
        serve_pending(ws, pending(ws, open_index(ws)))
    else:
        index = Index.build(dict(spaces), calibrations=made.rules.serving(spaces),
                            mixing=made.rules.mixing)  # fmt: skip
        keep_index(ws, made, index, spaces, Pairs((), np.empty((0, 0), dtype=np.int64)))
    ws.publish(entry)
    return made, hub_facts(spaces)


def _alone(name: str, count: int) -> Pairs:
    """Rows of one modality that are nobody's partners."""
    return Pairs((name,), np.arange(count, dtype=np.int64)[:, None])


def told_by_pieces(
    ws: Workspace, binding: Binding, spaces: Mapping[str, Space], *, seed: int = 0
) -> Rules:
    """What scores of queries into their own modality mean, by pieces of its cells.

    A piece is right for the cell it was cut from, so no pairs are needed. Directions between
    modalities stay uncalibrated: only pairs say which of their hits are right.
    """
    calibrations: dict[tuple[str, str], Any] = {}
    left = {(a, b): NO_PAIRS for a in spaces for b in spaces if a != b}
    for name, space in spaces.items():
        rows = np.arange(len(space))
        if len(rows) > ROWS:
            rows = np.sort(np.random.default_rng([seed, 13]).permutation(rows)[:ROWS])
        drawn = space.take(rows)
        try:
            pieces = pieces_of(ws, {name: drawn}, {name: np.arange(len(drawn))}, "alone", seed)
            alone = Binding.as_it_is({name: drawn})
            rules = Rules.rehearse(alone, {name: drawn}, _alone(name, len(drawn)), seed=seed,
                                   pieces=pieces)  # fmt: skip
        except ConjoinError as error:  # too few cells, or an encoder that reads no pieces
            left[name, name] = str(error)
            continue
        calibrations |= rules.calibrations
        left |= rules.uncalibrated
        if (name, name) not in rules.calibrations:
            left.setdefault((name, name), "its cells cannot be cut into pieces")
    return Rules(calibrations=calibrations, uncalibrated=left)


def hubs(spaces: Mapping[str, Space], k: int = K) -> dict[tuple[str, str], Hubness]:
    """How unevenly each direction shows its items, asked by rows that are there.

    Queries are at most :data:`ASKED` rows of the query's modality, the gallery at most
    :data:`COUNTED` of the target's; an item asked for does not count as its own hit. Whether a
    correction helps is not decided here: that takes queries whose answers are known, which is to
    say pairs and ``conjoin fit``.
    """
    found = {}
    for query, left in spaces.items():
        for target, right in spaces.items():
            asked, shown = _drawn(left, ASKED), _drawn(right, COUNTED)
            if len(asked) < 2 or len(shown) <= k:
                continue
            found[query, target] = _hubs(left.take(asked), right.take(shown), k)
    return found


def _drawn(space: Space, most: int) -> np.ndarray:
    if len(space) <= most:
        return np.arange(len(space))
    order = np.argsort([stable_hash(f"hubs/{item}") for item in space.ids.tolist()], kind="stable")
    return np.sort(order[:most])


def _hubs(left: Space, right: Space, k: int) -> Hubness:
    q, x = (unit(np.asarray(side.vectors, np.float32)) for side in (left, right))
    lists = np.empty((len(q), k), dtype=np.int64)
    for start in range(0, len(q), 256):
        rows = slice(start, start + 256)
        scores = q[rows] @ x.T
        scores[left.ids[rows, None] == right.ids[None, :]] = -np.inf
        lists[rows] = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return Hubness.of(lists, len(x), np.array([stable_hash(item) for item in left.ids.tolist()]))


def hub_facts(spaces: Mapping[str, Space]) -> dict[str, Any]:
    """:func:`hubs` as JSON, by direction as it is shown."""
    return {f"{q} → {t}": one.to_json() for (q, t), one in hubs(spaces).items()}


# What reads a query


@dataclass(frozen=True, eq=False)
class Reader:
    """What reads a query, and how it comes into the joint frame.

    Parameters
    ----------
    modality : the bound modality whose map takes the vector.
    encoder : opened.
    source : what the query's side of a direction is called.
    way : a map into the joint frame, where a bridge brings the encoder in.
    """

    modality: str
    encoder: Encoder
    source: str
    way: Any = None

    def bound(self, ws: Workspace, binding: Binding, rows: Space) -> Space:
        """Rows of the encoder in the joint frame: by the modality's map, or by a bridge."""
        if self.way is None:
            return binding.bind(self.modality, ws.joined(self.modality, rows))
        require_same(rows.frame, self.way.source, "bridge (its encoder changed)")
        return replace(rows, vectors=apply_rows(self.way, rows.vectors), frame=binding.frame)

    def quick(self) -> Encoder:
        """The encoder as a lone query is answered soonest."""
        return self.encoder.for_queries() if isinstance(self.encoder, Quick) else self.encoder


def tower_of(ws: Workspace, binding: Binding, kind: str) -> Reader | None:
    """A tower for queries of a kind that no bound modality reads.

    The hub's model is asked first. A tower shares its modality's frame, so that one's map takes
    its vectors.

    Raises
    ------
    FrameError : the tower's frame is not the modality's.
    """
    bridged = bridge_of(ws, binding, kind)
    if bridged is not None:
        return bridged
    bound = [binding.hub, *(name for name in binding.maps if name != binding.hub)]
    for name in (each for each in bound if each in ws.config.modalities):
        uri = towers(ws.modality(name).uri).get(kind)
        if uri is None:
            continue
        encoder = ws.tower(name, uri)
        own = ws.encoder(name).frame
        if encoder.frame != own:
            raise FrameError(
                f"modality {name}",
                f"its {kind} tower is of frame {encoder.frame.id}, its vectors of {own.id}",
                "embed again with the model as it is, or restore it",
            )
        return Reader(name, encoder, kind)
    return None


def bridge_of(ws: Workspace, binding: Binding, kind: str) -> Reader | None:
    """Another encoder that ``conjoin bridge --apply`` put to use for queries of a kind.

    One that was made for another joint frame is left out.
    """
    folder = ws.state / BRIDGE
    if kind != "text" or not (folder / "bridge.json").exists():
        return None
    raw = read_json(folder / "bridge.json", ["uri", "joint", "state"])
    if Frame.from_json(raw["joint"]) != binding.frame:
        return None
    way = load_map(folder / "map.safetensors")
    if raw["uri"] not in ws.towers:
        ws.permit(raw["uri"])
        ws.towers[raw["uri"]] = (
            restore(raw["uri"], raw["state"]) if raw["state"] else open_encoder(raw["uri"])
        )
    return Reader(binding.hub, ws.towers[raw["uri"]], kind, way)


def kinds_of(ws: Workspace, binding: Binding) -> set[str]:
    """Kinds of query that the towers of bound modalities read."""
    known = [name for name in binding.maps if name in ws.config.modalities]
    return {kind for name in known for kind in towers(ws.modality(name).uri)}


# With pairs


def pairs_of(ws: Workspace, spaces: Mapping[str, Space]) -> Pairs | None:
    """Training pairs; none where the table has too few, which a joint encoder does not need."""
    if len(spaces) < 2:
        return None
    try:
        return ws.pairs(spaces)[0]
    except FewPairs:
        return None


def unpaired(ws: Workspace, spaces: Mapping[str, Space], method: str | None) -> bool:
    """Whether a fit would have too few pairs, and a joint encoder's frame stands in for it."""
    if (method or ws.config.fit.method) != "auto" or not group_of(ws).names:
        return False
    train = pairs_of(ws, spaces)
    return train is None or len(train) < FEWEST


def with_others(
    group: Group, spaces: Mapping[str, Space], train: Pairs, *, seed: int = 0
) -> Binding:
    """The joint frame as it is, and every other modality bound to it by pairs.

    Raises
    ------
    ConjoinError : a modality has too few pairs with what is bound.
    """
    binding = replace(Binding.as_it_is({name: spaces[name] for name in group.names}), seed=seed)
    return binding.extend(spaces, train, chooser=for_frozen)
