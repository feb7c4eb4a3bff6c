"""The second stage of a cascade: first hits by the bridge, put in order by the new encoder."""

from dataclasses import replace
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.encoders.run import encode
from conjoin.errors import CellError
from conjoin.project.fit.multi_part import EACH
from conjoin.project.fit.stored import Fit
from conjoin.project.workspace import Workspace
from conjoin.retrieval.hits import Hit, Hits
from conjoin.retrieval.ranking.rerank import rerank
from conjoin.spaces import Space, Tokens

SCORE = "cascade"


def stage_of(made: Fit) -> dict[str, Any] | None:
    """What the fit says of a cascade: the modality and how many hits are put in order."""
    said = made.upgrade
    if not said or made.again is None:
        return None
    return {"modality": said["modality"], "top": int(said.get("top", 20))}


def depth(made: Fit, k: int) -> int:
    """Hits that are asked of the index so that a cascade has enough to put in order."""
    stage = stage_of(made)
    return k if stage is None else max(k, stage["top"])


def bridged(made: Fit) -> str | None:
    """The modality in which rows of an old encoder stand beside a new encoder's, if any.

    Such rows have no vector of the encoder in use, and are not gone for that.
    """
    said = made.upgrade
    if not said or said["arm"]["name"] not in ("bridge", "cascade", "partial"):
        return None
    return str(said["modality"])


def cascaded(ws: Workspace, made: Fit, source: str, query: Space, hits: Hits, k: int) -> Hits:
    """The hits with their first ones in the order of the second stage, where there is one.

    Lists of directions that the upgraded modality has no part in stay as they are. The cells of
    the first hits are encoded anew where no vector of theirs is stored.

    Parameters
    ----------
    query : the query's one row, as its encoder gave it.
    k : hits a list; a fit without a second stage leaves them as they are.
    """
    stage, again = stage_of(made), made.again
    if stage is None or again is None:
        return hits
    lists = {}
    for target, own in hits.lists.items():
        if stage["modality"] in (source, target) and {source, target} <= set(again.maps):
            first, rest = own[: stage["top"]], own[stage["top"] :]
            lists[target] = (*_ordered(ws, again, source, query, target, first), *rest)
        else:
            lists[target] = own
    return cut(replace(hits, lists=lists), k)


def cut(hits: Hits, k: int) -> Hits:
    """The first ``k`` of every list, ranked anew."""
    lists = {
        name: tuple(replace(hit, rank=rank) for rank, hit in enumerate(own[:k], 1))
        for name, own in hits.lists.items()
    }
    return replace(hits, lists=lists)


def _ordered(
    ws: Workspace, again: Binding, source: str, query: Space, target: str, hits: tuple[Hit, ...]
) -> tuple[Hit, ...]:
    asked: Any = again.bind(source, query.pooled()).vectors
    q = again.frame.query(np.asarray(asked, np.float32))[0]
    vectors = _vectors(ws, target, hits)
    known = [(hit, row) for hit, row in zip(hits, vectors, strict=True) if row is not None]
    if not known:
        return hits
    rows = np.stack([row for _, row in known])
    space = Space(np.arange(len(known)).astype(str), rows, again.maps[target].source)
    placed: Any = again.bind(target, space).vectors
    scores = again.frame.item(np.asarray(placed, np.float32)) @ q
    lost = tuple(hit for hit, row in zip(hits, vectors, strict=True) if row is None)
    return (*rerank([hit for hit, _ in known], scores, SCORE), *lost)


def _vectors(ws: Workspace, name: str, hits: tuple[Hit, ...]) -> list[np.ndarray | None]:
    """Each hit's vector by the encoder in use: stored, or made now."""
    stored = ws.store(name).open()
    found: dict[tuple[str, int], np.ndarray] = {}
    if stored is not None:
        space = ws.joined(name, stored.pooled().of_items([hit.id for hit in hits]))
        rows: Any = space.vectors
        keys = zip(space.ids.tolist(), space.parts.tolist(), strict=True)
        found = {key: np.asarray(rows[at], np.float32) for at, key in enumerate(keys)}
    missing = [hit for hit in hits if (hit.id, hit.part) not in found]
    if missing and ws.modality(name).parts == EACH:
        encoder = ws.encoder(name)
        cells = ws.cells(name, encoder.kind)
        got = [(hit, cells.get(hit.id, hit.part)) for hit in missing]
        good = [(hit, cell) for hit, cell in got if not isinstance(cell, CellError)]
        made = encode(encoder, [cell for _, cell in good])
        vectors: Any = made.vectors.mean() if isinstance(made.vectors, Tokens) else made.vectors
        kept = [hit for at, (hit, _) in enumerate(good) if at not in made.failed]
        found |= {(hit.id, hit.part): v for hit, v in zip(kept, vectors, strict=True)}
    return [found.get((hit.id, hit.part)) for hit in hits]
