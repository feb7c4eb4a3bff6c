"""How one list is ranked: candidates from an engine or from every row, then exact scores."""

from typing import Protocol, runtime_checkable

import numpy as np

from conjoin.retrieval.engines.exact import Penalty, best_rows, top_k
from conjoin.retrieval.engines.kernels import Picked, Tiles
from conjoin.retrieval.hubness.csls import Correction

#: Candidates an engine is asked for at least.
LEAST = 24
#: Rows left by a filter up to which all of them are scored, whatever the engine.
FEW = 20_000


@runtime_checkable
class Engine(Protocol):
    """Finds rows that may be among the best; their exact scores are taken elsewhere.

    ``wide`` is how many it is asked for each of the k.
    """

    wide: int

    def candidates(
        self, q: np.ndarray, keep: int, penalty: Penalty | None, allowed: np.ndarray | None
    ) -> np.ndarray:
        """Rows ``[q, keep]``, −1 where it found fewer.

        Parameters
        ----------
        penalty : what is taken off each score; an engine may leave it to the exact scores.
        allowed : ascending rows among which to look; all where ``None``.
        """
        ...


def ranked(
    q: np.ndarray,
    gallery: Tiles,
    k: int,
    *,
    correction: Correction | None = None,
    engine: Engine | None = None,
    allowed: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, corrected scores and plain scores, ``[q, k]`` each, of the k best rows allowed.

    Parameters
    ----------
    gallery : rows where the correction scores them.
    allowed : ascending rows; all where ``None``.
    """
    if correction is None:
        scores, rows = _found(q, gallery, k, 1.0, None, engine, allowed)
        return rows, scores, scores
    mapped = correction.queries(q)
    penalty = Penalty(correction.offset, _gate(correction, mapped, gallery, engine))
    scores, rows = _found(mapped, gallery, k, correction.scale, penalty, engine, allowed)
    plain = (scores + penalty.at(rows)) / correction.scale
    return rows, scores, plain.astype(np.float32)


def _gate(
    correction: Correction, q: np.ndarray, gallery: Tiles, engine: Engine | None
) -> np.ndarray | None:
    """The gate is the nearest row's among all rows, whatever a filter leaves."""
    if correction.active is None or engine is None:
        return correction.gate(q, gallery)
    nearest = _found(q, gallery, 1, 1.0, None, engine, None)[1][:, 0]
    return np.asarray(correction.active[nearest], dtype=np.float32)


def _found(
    q: np.ndarray,
    gallery: Tiles,
    k: int,
    scale: float,
    penalty: Penalty | None,
    engine: Engine | None,
    allowed: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    count = len(gallery) if allowed is None else len(allowed)
    k = min(k, count)
    keep = min(max(k * engine.wide, LEAST), count) if engine else count
    if engine is None or keep == count or (allowed is not None and count <= FEW):
        return _every(q, gallery, k, scale, penalty, allowed)
    scaled = np.ascontiguousarray(q, dtype=np.float32) * np.float32(scale)
    rows = engine.candidates(scaled, keep, penalty, allowed)
    scores, best = best_rows(scaled, gallery.gallery, rows, k, penalty)
    short = best[:, -1] < 0
    if short.any():
        part = None if penalty is None else Penalty(
            penalty.offset, None if penalty.gate is None else penalty.gate[short]
        )  # fmt: skip
        scores[short], best[short] = _every(q[short], gallery, k, scale, part, allowed)
    return scores, best


def _every(
    q: np.ndarray,
    gallery: Tiles,
    k: int,
    scale: float,
    penalty: Penalty | None,
    allowed: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """All rows, or all that are allowed."""
    offset = None if penalty is None else penalty.offset
    gate = None if penalty is None else penalty.gate
    if allowed is None:
        return top_k(q, gallery, k, scale=scale, offset=offset, gate=gate)
    part = Tiles(Picked(gallery.gallery, allowed))
    offset = None if offset is None else offset[allowed]
    scores, at = top_k(q, part, k, scale=scale, offset=offset, gate=gate)
    return scores, allowed[at]
