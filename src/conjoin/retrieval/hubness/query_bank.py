"""Corrections by banks of queries and items: inverted softmax, QB-Norm and dual banks.

A gallery's similarities to a bank are walked in tiles small enough to stay near the processor.
A tile is read once for every sum that is asked of it, and nothing of the size of gallery times
bank is ever held.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.retrieval.hubness.csls import CSLS, Correction, Corrector, mean_nearest
from conjoin.spaces import Rows, Tokens, unit

#: Gallery and bank rows of a tile: products of smaller ones take longer.
TILE = 2048, 1024
#: Sharpness up to which exp(β s) of cosines, and sums of a tile's, need no shift in float32.
PLAIN = 80.0

Beta = Annotated[float, Search(0.5, 200, log=True)]


@dataclass(frozen=True, eq=False)
class Own:
    """Which bank rows belong to which gallery rows, and so say nothing of how much a hub they are.

    A training item's partner is in the bank of training queries and is as near to it as nothing
    else. Counted, it would mark down every item that was trained on, and none that is new.

    Parameters
    ----------
    gallery, query, items : a number for each row of the gallery and of both banks; rows with one
        number belong together, −1 belongs to none.
    """

    gallery: np.ndarray
    query: np.ndarray
    items: np.ndarray

    def of(self, side: str) -> np.ndarray:
        """The numbers of a bank."""
        return self.query if side == "query" else self.items


class Best:
    """The ``k`` gallery rows nearest to each bank row, kept while a gallery streams by."""

    def __init__(self, bank: int, k: int):
        self.scores = np.full((bank, k), -np.inf, dtype=np.float32)
        self.rows = np.full((bank, k), -1, dtype=np.int64)

    def see(self, tile: np.ndarray, start: int, columns: slice, scale: float = 1.0) -> None:
        """Look through ``scale · [gallery rows, bank rows]``; only what beats a floor is opened."""
        floor = self.scores[columns, -1] * np.float32(scale)
        top = tile.max(axis=0)
        hot = np.flatnonzero(top > floor)
        if not len(hot):
            return
        if self.scores.shape[1] == 1:
            whole = 4 * len(hot) > len(top)
            alike = (
                tile == np.where(top > floor, top, np.inf) if whole else tile[:, hot] == top[hot]
            )
            where, column = np.divmod(np.flatnonzero(alike), alike.shape[1])
            column, first = np.unique(column, return_index=True)
            at = (column if whole else hot[column]) + (columns.start or 0)
            self.scores[at, 0] = top[at - (columns.start or 0)] / np.float32(scale)
            self.rows[at, 0] = where[first] + start
            return
        part = np.ascontiguousarray(tile[:, hot].T)
        keep = min(self.scores.shape[1], part.shape[1])
        place = np.argpartition(-part, keep - 1, axis=1)[:, :keep]
        at = hot + (columns.start or 0)
        near = np.take_along_axis(part, place, axis=1) / np.float32(scale)
        scores = np.hstack([self.scores[at], near])
        rows = np.hstack([self.rows[at], place + start])
        order = np.lexsort((rows, -scores), axis=1)[:, : self.scores.shape[1]]
        self.scores[at] = np.take_along_axis(scores, order, axis=1)
        self.rows[at] = np.take_along_axis(rows, order, axis=1)


def bank_sums(
    gallery: Rows,
    bank: np.ndarray,
    betas: Sequence[float],
    best: Best | None = None,
    start: int = 0,
    own: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """``[n, b]`` of ``log mean_i exp(β · cos(bank_i, x_j))``, for each ``β`` asked for.

    Parameters
    ----------
    gallery : read a block at a time.
    bank : ``[m, d]`` of length 1.
    best : also keeps the gallery rows nearest to each bank row, numbered from ``start``.
    own : numbers of gallery and bank rows; where they are the same, the bank row is left out.
    """
    if isinstance(gallery, Tokens):
        raise ConjoinError("gallery", "holds token sets", "pool them first")
    sums = np.zeros((len(gallery), len(betas)))
    tops = np.full((len(gallery), len(betas)), -np.inf)
    # One sharpness goes into the product itself; several need a second tile.
    factor = betas[0] if len(betas) == 1 else 1.0
    room = [np.empty(TILE[0] * TILE[1], dtype=np.float32) for _ in range(1 + (len(betas) > 1))]
    counted = np.full(len(gallery), len(bank))
    for rows, columns, tile in _tiles(gallery, bank, room[0], factor):
        if own is not None:
            same = (own[0][rows, None] == own[1][columns]) & (own[1][columns] >= 0)
            counted[rows] -= same.sum(axis=1)
            tile[same] = -np.inf
        if best is not None:
            best.see(tile, start + rows.start, columns, factor)
        held = room[-1][: tile.size].reshape(tile.shape)
        for place, beta in enumerate(betas):
            if len(betas) > 1:
                np.multiply(tile, np.float32(beta), out=held)
            _add(sums[rows, place], tops[rows, place], held, beta)
    shift = np.where(np.isfinite(tops), tops, 0.0)
    if (counted < 1).any():
        raise ConjoinError("bank", "holds nothing but a row's own partners", "give more queries")
    return np.asarray(np.log(sums / counted[:, None]) + shift)


def _tiles(
    gallery: Any, bank: np.ndarray, room: np.ndarray, factor: float
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    for a in range(0, len(gallery), TILE[0]):
        x = unit(np.asarray(gallery[a : a + TILE[0]], dtype=np.float32)) * np.float32(factor)
        for c in range(0, len(bank), TILE[1]):
            other = bank[c : c + TILE[1]]
            tile = room[: len(x) * len(other)].reshape(len(x), len(other))
            np.matmul(x, other.T, out=tile)
            yield slice(a, a + len(x)), slice(c, c + len(other)), tile


def _add(sums: np.ndarray, tops: np.ndarray, held: np.ndarray, beta: float) -> None:
    """Add ``exp`` of a tile of ``β s`` to running sums, shifted by the running maximum if sharp.

    The tile is used up. Sums of a tile are products with ones: faster than sums along an axis.
    """
    if beta > PLAIN:
        reached = np.maximum(tops, np.maximum(held.max(axis=1), -beta)).astype(np.float32)
        with np.errstate(invalid="ignore"):
            sums *= np.where(np.isfinite(tops), np.exp(tops - reached), 0.0)
        held -= reached[:, None]
        tops[:] = reached
    np.exp(held, out=held)
    sums += held @ np.ones(held.shape[1], dtype=np.float32)


@dataclass(frozen=True)
class _Softmax:
    """What both engines share: fit and extend by bank sums, one column a bank."""

    sides: ClassVar[tuple[str, ...]] = ("query",)

    def beta_of(self, side: str) -> float:
        """The sharpness of a bank."""
        raise NotImplementedError

    def fit(self, gallery: Rows, query_bank: Rows, gallery_bank: Rows | None = None) -> Correction:
        """Fit; only directions matter. Both banks are kept, so that new rows can be added."""
        return fit_all([self], gallery, query_bank, gallery_bank)[0]  # type: ignore[list-item]

    def extend(self: Any, fitted: Correction, new: Rows) -> Correction:
        """Append the offsets of new gallery rows; the gates of all are looked at anew."""
        count = len(fitted)
        state, columns = dict(fitted.state), []
        for side in self.sides:
            best = _best_of(self, state, side)
            bank = np.asarray(state[f"{side}_bank"])
            columns.append(bank_sums(new, bank, [self.beta_of(side)], best, count)[:, 0])
            if best is not None:
                state |= {f"{side}_scores": best.scores, f"{side}_rows": best.rows}
        offset = np.concatenate([np.asarray(fitted.offset), self.weighed(columns)])
        return replace(
            fitted, offset=offset, active=_active(self, state, len(offset)), state=state
        )  # fmt: skip

    def weighed(self: Any, columns: Sequence[np.ndarray]) -> np.ndarray:
        """``[n, t]`` offsets in units of cosine."""
        total = sum(self.beta_of(side) for side in self.sides)
        return (np.stack(columns, axis=1) / total).astype(np.float32)


def _best_of(method: Any, state: Mapping[str, np.ndarray], side: str) -> Best | None:
    if not method.dynamic:
        return None
    best = Best(len(state[f"{side}_bank"]), method.k)
    if f"{side}_rows" in state:
        best.scores = np.array(state[f"{side}_scores"])
        best.rows = np.array(state[f"{side}_rows"])
    return best


def _active(method: Any, state: Mapping[str, np.ndarray], n: int) -> np.ndarray | None:
    if not method.dynamic:
        return None
    found = np.zeros((n, len(method.sides)), dtype=bool)
    for column, side in enumerate(method.sides):
        rows = state[f"{side}_rows"]
        found[rows[rows >= 0], column] = True
    return found


def fit_all(
    methods: Sequence[Corrector],
    gallery: Rows,
    query_bank: Rows,
    gallery_bank: Rows | None = None,
    own: Own | None = None,
) -> list[Correction]:
    """Fit several corrections at once: those by bank sums share one walk over each bank.

    Parameters
    ----------
    own : leaves each gallery row's own partners out of its banks. Corrections that move the
        gallery by one map for all rows cannot, and do not.

    Raises
    ------
    ConjoinError : a bank that a method needs is missing or empty.
    """
    soft = [one for one in methods if isinstance(one, _Softmax)]
    banks: dict[str, np.ndarray] = {}
    sums: dict[tuple[str, float], np.ndarray] = {}
    bests: dict[tuple[str, int], Best] = {}
    for side, given in (("query", query_bank), ("gallery", gallery_bank)):
        asked: list[Any] = [one for one in soft if side in one.sides]
        if not asked:
            continue
        banks[side] = bank_rows(given, side, asked[0].name)
        betas = sorted({one.beta_of(side) for one in asked})
        depth = max((one.k for one in asked if one.dynamic), default=0)
        best = Best(len(banks[side]), depth) if depth else None
        apart = None if own is None else (own.gallery, own.of(side))
        columns = bank_sums(gallery, banks[side], betas, best, own=apart)
        sums |= {(side, beta): columns[:, place] for place, beta in enumerate(betas)}
        if best is not None:
            bests[side, depth] = best
    local = _local(methods, gallery, query_bank, own)
    made = []
    for one in methods:
        if isinstance(one, _Softmax):
            made.append(_assembled(one, banks, sums, bests, len(gallery)))
        elif isinstance(one, CSLS):
            made.append(local[one.k])
        else:
            made.append(one.fit(gallery, query_bank, gallery_bank))
    return made


def _local(
    methods: Sequence[Corrector], gallery: Rows, query_bank: Rows, own: Own | None
) -> dict[int, Correction]:
    """Every CSLS asked for, from one search for the nearest queries, by ``k``."""
    asked = sorted({one.k for one in methods if isinstance(one, CSLS)})
    if not asked:
        return {}
    bank = bank_rows(query_bank, "query", "csls")
    apart = None if own is None else (own.gallery, own.query)
    columns = mean_nearest(gallery, bank, asked, apart)
    return {
        k: Correction(
            "csls", 2.0, columns[:, [place]], fields=asdict(CSLS(k)), state={"query_bank": bank}
        )
        for place, k in enumerate(asked)
    }


def _assembled(
    method: Any,
    banks: Mapping[str, np.ndarray],
    sums: Mapping[tuple[str, float], np.ndarray],
    bests: Mapping[tuple[str, int], Best],
    n: int,
) -> Correction:
    state = {f"{side}_bank": banks[side] for side in method.sides}
    if method.dynamic:
        for (side, _), best in bests.items():
            if side in method.sides:
                state[f"{side}_scores"] = best.scores[:, : method.k]
                state[f"{side}_rows"] = best.rows[:, : method.k]
    offset = method.weighed([sums[side, method.beta_of(side)] for side in method.sides])
    return Correction(
        method.name, 1.0, offset, _active(method, state, n), fields=asdict(method), state=state
    )


def bank_rows(given: Rows | None, side: str, name: str) -> np.ndarray:
    """A bank at length 1.

    Raises
    ------
    ConjoinError : it is missing, empty or made of token sets.
    """
    if given is None or len(given) == 0:
        found = "is empty" if given is not None else "was not given"
        raise ConjoinError(name, f"the {side} bank {found}", f"give {side} vectors of the training")
    if isinstance(given, Tokens):
        raise ConjoinError(name, f"the {side} bank holds token sets", "pool them first")
    return unit(np.asarray(given, dtype=np.float32))


@dataclass(frozen=True)
class InvertedSoftmax(_Softmax):
    """Rows that many queries are near to are marked down, the nearest queries counting most.

    ``P(x | q) ∝ exp(β cos(q, x)) / Σ_i exp(β cos(b_i, x))`` over the queries ``b`` of a bank; in
    logarithm and over β ``score = cos(q, x) − (1/β) log mean_i exp(β cos(b_i, x))``, which ranks
    alike. The dynamic form (QB-Norm) does so only for a query whose best row is active, that is
    among the ``k`` best rows of any query of the bank, and leaves the others as they are.

    Parameters
    ----------
    beta : the sharpness β; near 0 it takes off the mean, at 200 about the largest similarity.
        The authors' code takes 20 for most models, and 1/1.99 for one.
    dynamic : only where the query's best row is active.
    k : rows of each bank query that are active.

    References
    ----------
    Smith et al. 2017 (smith2017offline); Bogolin et al. 2022 (bogolin2022querybank) for banks of
    training queries and the dynamic form, as in the authors' code.
    """

    beta: Beta = 10.0
    dynamic: bool = False
    k: Annotated[int, Search(1, 100, log=True)] = 1
    tries: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"beta": 20.0})

    @property
    def name(self) -> str:
        """The row's name."""
        return "qb-norm" if self.dynamic else "inverted-softmax"

    def beta_of(self, side: str) -> float:
        """The sharpness of the one bank."""
        return self.beta


@dataclass(frozen=True)
class DualSoftmax(_Softmax):
    """Inverted softmax over two banks: queries, and items of the gallery's own modality.

    ``exp(β₁ s) / Σ_i exp(β₁ cos(b_i, x)) · exp(β₂ s) / Σ_j exp(β₂ cos(g_j, x))`` with
    ``s = cos(q, x)``; here ``score = s − (log mean_i exp(β₁ …) + log mean_j exp(β₂ …)) /
    (β₁ + β₂)``, which ranks alike. In the dynamic form each bank has its own gate: its sum counts
    where the query's best row is among the ``k`` best of any row of that bank. There the authors'
    code puts the bare similarity in place of a factor whose gate is shut, here it is
    ``exp(β s)``, which is what an open gate would give with a flat sum.

    Parameters
    ----------
    beta : sharpness β₁ of the query bank.
    beta_gallery : sharpness β₂ of the gallery bank.
    dynamic : only where the query's best row is active.
    k : rows of each bank row that are active.

    References
    ----------
    Wang et al. 2023 (wang2023balance), DualIS and DualDIS, with the authors' code.
    """

    beta: Beta = 10.0
    beta_gallery: Beta = 3.0
    dynamic: bool = False
    k: Annotated[int, Search(1, 100, log=True)] = 1
    sides: ClassVar[tuple[str, ...]] = ("query", "gallery")
    tries: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"beta_gallery": 10.0})

    @property
    def name(self) -> str:
        """The row's name."""
        return "dual-dis" if self.dynamic else "dual-is"

    def beta_of(self, side: str) -> float:
        """The sharpness of a bank."""
        return self.beta if side == "query" else self.beta_gallery
