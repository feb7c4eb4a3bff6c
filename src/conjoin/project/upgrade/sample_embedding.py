"""Some cells embedded by another encoder, and how long one of them takes."""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from conjoin.encoders.run import embed, encode, survey
from conjoin.errors import CellError
from conjoin.project.workspace import Workspace
from conjoin.spaces import Space
from conjoin.spaces.store import Key
from conjoin.storage.digest import stable_hash
from conjoin.storage.files import FORMAT, read_json, write_json

#: Cells that are encoded once more where no embedding was timed.
TIMED = 64

Progress = Callable[[int, int], None]


def drawn(space: Space, count: int, seed: int) -> list[str]:
    """Items of a sample, so that a larger one holds the smaller."""
    ids = list(dict.fromkeys(map(str, space.ids)))
    return sorted(ids, key=lambda item: stable_hash(f"upgrade/{seed}/{item}"))[:count]


def embed_some(
    ws: Workspace, name: str, items: Collection[str], progress: Progress | None = None
) -> float:
    """Embed the cells of some items beside what is embedded; seconds a cell, as measured.

    Stopped anywhere it goes on from there; what was measured is kept with the vectors.
    """
    encoder, store = ws.encoder(name), ws.store(name)
    cells = ws.cells(name, encoder.kind)
    chosen = set(items)
    live = set(store.live())
    stored = {key[:2] for key in live}
    everything = survey(cells)
    seen = everything.among(
        {
            key[:2] for key in everything.keys
            if key.id in chosen or key in live or (key in everything.away and key[:2] in stored)
        }
    )  # fmt: skip
    keys = [key for key in seen.keys if key not in seen.away]
    path = store.folder / "rate.json"
    known = read_json(path, ("cells", "seconds")) if path.exists() else {"cells": 0, "seconds": 0.0}
    fresh = [key for key in keys if key not in live]
    if fresh and not known["cells"]:
        _warm(encoder, cells, fresh[0])
    began = time.perf_counter()
    made = embed(
        store, encoder, lambda key: cells.get(key.id, key.part), keys=seen, shard_rows=256,
        progress=progress,
    )  # fmt: skip
    if made.made:
        spent = time.perf_counter() - began
        known = {"cells": known["cells"] + made.made, "seconds": known["seconds"] + spent}
        write_json(path, {"version": FORMAT, **known})
    if known["cells"]:
        return float(known["seconds"] / known["cells"])
    return timed(encoder, cells, keys)


def timed(encoder: Any, cells: Any, keys: Sequence[Key]) -> float:
    """Seconds a cell of an encoder whose vectors were all kept from before."""
    some = [cells.get(key.id, key.part) for key in keys[:TIMED]]
    some = [cell for cell in some if not isinstance(cell, CellError)]
    if not some:
        return 0.0
    encode(encoder, some[:1])
    began = time.perf_counter()
    encode(encoder, some)
    return (time.perf_counter() - began) / len(some)


def _warm(encoder: Any, cells: Any, key: Key) -> None:
    """Run the encoder once, so that opening it is not counted."""
    cell = cells.get(key.id, key.part)
    if not isinstance(cell, CellError):
        encode(encoder, [cell])
