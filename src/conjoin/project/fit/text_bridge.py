"""``conjoin bridge``: another text encoder asks a joint space, joined to it by texts alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.encoders.base import Encoder
from conjoin.encoders.open import kind_of, open_encoder, state_of
from conjoin.encoders.run import encode
from conjoin.errors import CellError, ConjoinError
from conjoin.maps.base import apply_rows, save_map
from conjoin.project.fit import joint
from conjoin.project.fit.stored import Fit, current_fit
from conjoin.project.workspace import Workspace
from conjoin.selection.frozen import for_frozen
from conjoin.selection.text_bridge import K, TextBridge, compared, own_found, text_bridge
from conjoin.spaces import Pairs, Space, unit
from conjoin.storage.digest import stable_hash
from conjoin.storage.files import FORMAT, write_json

#: Texts and held-out pairs that are embedded to judge, at most.
MOST = 20_000
JUDGED = 2_000


@dataclass(frozen=True, eq=False)
class Bridged:
    """A bridge by texts, and what it is worth.

    Parameters
    ----------
    uri : of the text encoder that was brought in.
    texts : that both encoders could read.
    pairs : where pairs exist, recall of held-out texts by target and by text encoder.
    applied : typed words are read by it from now on.
    """

    uri: str
    bridge: TextBridge
    texts: int
    pairs: Mapping[str, Any]
    applied: bool

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        choice = self.bridge.choice
        return {
            "to": self.uri, "method": choice.method, "fields": dict(choice.fields),
            "texts": self.texts, "held": self.bridge.held.to_json(),
            "tried": {name: trial.mean for name, trial in choice.best_of().items()},
            "pairs": self.pairs, "applied": self.applied,
        }  # fmt: skip


def bridge_texts(
    ws: Workspace, texts: Sequence[str], uri: str, *, seed: int = 0, apply: bool = False
) -> Bridged:
    """Fit a bridge by texts, judge it, and put it to use where asked.

    Raises
    ------
    ConjoinError : the encoder reads no text, or nothing in use is a joint encoder's frame.
    """
    made = current_fit(ws)
    reader = reader_for(ws, uri)
    listed = list(texts)
    encoder = open_encoder(uri, cells=lambda: listed)
    old, new = embedded(reader.encoder, listed), embedded(encoder, listed)
    bridge = text_bridge(old, new, seed=seed)
    judged = on_pairs(ws, made, encoder, bridge, seed=seed)
    if apply:
        keep(ws, made, bridge, uri, encoder)
    return Bridged(uri, bridge, len(old), judged, apply)


def reader_for(ws: Workspace, uri: str) -> joint.Reader:
    """The text encoder of the joint space that another one is to be joined to.

    Raises
    ------
    ConjoinError : the other reads no text, or nothing in use is a joint encoder's frame.
    """
    if kind_of(uri) != "text":
        raise ConjoinError("--to", f"{uri} reads {kind_of(uri)}", "name an encoder of texts")
    return own_reader(ws, current_fit(ws))


def drop_bridge(ws: Workspace, *, dry: bool = False) -> None:
    """Let the joint model's own text encoder read words again.

    Raises
    ------
    ConjoinError : no bridge is in use.
    """
    path = ws.state / joint.BRIDGE / "bridge.json"
    if not path.exists():
        raise ConjoinError("--drop", "no bridge is in use", "there is nothing to undo")
    if not dry:
        path.unlink()


def own_reader(ws: Workspace, made: Fit) -> joint.Reader:
    """The text encoder of the joint space.

    Raises
    ------
    ConjoinError : what is in use is no joint encoder's frame, or its model reads no text.
    """
    name = next((n for n in made.binding.joint if kind_of(ws.modality(n).uri) == "text"), None)
    if name is not None:
        return joint.Reader(name, ws.encoder(name), name)
    found = joint.tower_of(ws, made.binding, "text") if made.binding.joint else None
    if found is None:
        raise ConjoinError(
            "bridge", "no joint encoder that reads text is in use",
            "embed with one (conjoin init --encoder), or plan an upgrade: conjoin upgrade plan",
        )  # fmt: skip
    return found


def read_texts(path: Path) -> list[str]:
    """The lines of a file that are not blank, each once.

    Raises
    ------
    ConjoinError : it cannot be read as UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise ConjoinError(str(path), "no such file", "give a file of one text a line") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise ConjoinError(str(path), "is not text in UTF-8", "give one text a line") from None
    listed = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    return listed[:MOST]


def embedded(encoder: Encoder, texts: list[str]) -> Space:
    """Vectors of texts under the texts themselves; those it cannot read are left out."""
    made = encode(encoder, texts)
    kept = [text for place, text in enumerate(texts) if place not in made.failed]
    if not isinstance(made.vectors, np.ndarray):
        raise ConjoinError(f"encoder {encoder.uri}", "gives token sets", "name one of vectors")
    ids = np.array([f"{stable_hash(text):x}" for text in kept])
    return Space(ids, made.vectors, encoder.frame)


def on_pairs(
    ws: Workspace, made: Fit, encoder: Encoder, bridge: TextBridge, *, seed: int = 0
) -> dict[str, Any]:
    """Where pairs exist: held-out texts into each other joint modality, by three text encoders.

    ``own`` is the joint model's, ``bridged`` the new one through the bridge, ``pairs`` the new one
    fitted to the training pairs themselves, which the bridge has never seen.
    """
    names = made.binding.joint
    source = next((n for n in names if kind_of(ws.modality(n).uri) == "text"), None)
    if source is None:
        return {}
    spaces = ws.spaces(list(names))
    if joint.pairs_of(ws, spaces) is None:
        return {}
    train, test = ws.pairs(spaces)
    cells = ws.cells(source, "text")
    found = {}
    for target in (n for n in names if n != source):
        (i, j, _), (a, b, _) = test.between(source, target), train.between(source, target)
        i, j, a, b = i[:JUDGED], j[:JUDGED], a[:JUDGED], b[:JUDGED]
        if len(i) <= K or len(a) < K:
            continue
        texts = spaces[source]
        read = [cells.get(str(texts.ids[r]), int(texts.parts[r])) for r in (*i, *a)]
        if any(isinstance(cell, CellError) for cell in read):
            continue
        rows: Any = encode(encoder, read, strict=True).vectors
        space = Space(np.arange(len(rows)).astype(str), rows, encoder.frame)
        gallery = np.asarray(spaces[target].vectors, np.float32)
        whole = replace(
            spaces[target].take(b), ids=space.ids[len(i) :], parts=np.empty(0, np.int32)
        )
        direct = text_direct(space.take(np.arange(len(i), len(rows))), whole, seed)
        asked = {
            "own": np.asarray(texts.vectors, np.float32)[i],
            "bridged": np.asarray(apply_rows(bridge.item, rows[: len(i)])),
            "pairs": np.asarray(apply_rows(direct, rows[: len(i)])),
        }
        hits = {name: own_found(q, unit(gallery[j])) for name, q in asked.items()}
        found[target] = compared(hits, "own", seed)
    return found


def text_direct(new: Space, target: Space, seed: int) -> Any:
    """The map that pairs with the target modality itself would give."""
    spaces = {"target": target, "new": new}
    made = Binding.as_it_is({"target": target}).extend(
        spaces, Pairs.by_id(spaces), chooser=for_frozen
    )
    return made.maps["new"]


def keep(ws: Workspace, made: Fit, bridge: TextBridge, uri: str, encoder: Encoder) -> None:
    """Write a bridge for queries in words; the note that names the map comes last."""
    folder = ws.state / joint.BRIDGE
    item = bridge.item.between(encoder.frame, made.binding.frame)
    save_map(item, folder / "map.safetensors")
    write_json(folder / "bridge.json", {
        "version": FORMAT, "uri": uri, "kind": "text", "frame": encoder.frame.to_json(),
        "joint": made.binding.frame.to_json(), "method": bridge.choice.method,
        "state": state_of(encoder),
    })  # fmt: skip
