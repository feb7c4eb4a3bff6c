"""Nearest neighbours in tiles, and what two spaces agree on about them.

A tile of scores is computed once and read twice: its rows look for neighbours among its columns
and its columns among its rows, so that a whole space costs half its n² products. A tile is cut
into groups whose members lie a stride apart; only groups whose maximum reaches what a row
already has are opened. Memory is O(n · k + block²).
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.metrics.base import Pairwise

#: Rows scored against as many at a time.
BLOCK = 1024
#: Members of a group whose maximum is taken before any of them is looked at.
GROUP = 32
#: Candidates kept beyond k, so that rounding cannot lose a neighbour.
SPARE = 6


def knn(x: np.ndarray, k: int, block: int = BLOCK) -> np.ndarray:
    """The k other rows of largest inner product with each row, best first: ``[n, k]``.

    Equal scores stand in the order of their row numbers.

    Parameters
    ----------
    x : ``[n, d]``; give rows of length 1 for neighbours by angle.
    k : neighbours, from 1 to n - 1.
    block : rows a tile; memory holds a few tiles of ``block²`` numbers.

    Raises
    ------
    ConjoinError : k is out of range, or a number is not finite.

    Examples
    --------
    >>> knn(np.array([[1.0, 0], [0.9, 0.1], [0, 1]]), 1).tolist()
    [[1], [0], [1]]
    """
    x = _floats(x)
    _check_k(k, len(x) - 1, "other rows")
    keep = min(k + SPARE, len(x) - 1)
    ranges = _cut(len(x), block, keep)
    best = [_Best(stop - start, keep) for start, stop in ranges]
    side = max(stop - start for start, stop in ranges)
    space = np.empty(side * side, dtype=np.float32)
    for mine, (start, stop) in zip(best, ranges, strict=True):
        tile = x[start:stop] @ x[start:stop].T
        np.fill_diagonal(tile, -np.inf)
        mine.read_columns(tile, start)
    for i, (a, b) in enumerate(ranges):
        for j in range(i + 1, len(ranges)):
            c, d = ranges[j]
            tile = space[: (b - a) * (d - c)].reshape(b - a, d - c)
            np.matmul(x[a:b], x[c:d].T, out=tile)
            best[j].read_columns(tile, a)
            best[i].read_rows(tile, c)
        best[i].merge()
    return np.concatenate([m.ranked(x[a:b], x, k) for m, (a, b) in zip(best, ranges, strict=True)])


def nearest(queries: np.ndarray, gallery: np.ndarray, k: int, block: int = BLOCK) -> np.ndarray:
    """The k rows of ``gallery`` of largest inner product with each query: ``[q, k]``.

    Equal scores stand in the order of their row numbers; see :func:`knn`.

    Raises
    ------
    ConjoinError : k is out of range, widths differ, or a number is not finite.
    """
    q, g = _floats(queries), _floats(gallery)
    if q.shape[1] != g.shape[1]:
        raise ConjoinError(
            "queries", f"{q.shape[1]} dimensions for {g.shape[1]}", "bind both into one frame"
        )
    _check_k(k, len(g), "rows of the gallery")
    keep = min(k + SPARE, len(g))
    found = []
    for start, stop in _cut(len(q), block, 1):
        best = _Best(stop - start, keep)
        for a, b in _cut(len(g), block, keep):
            best.read_columns(g[a:b] @ q[start:stop].T, a)
        best.merge()
        found.append(best.ranked(q[start:stop], g, k))
    return np.concatenate(found)


def partner_ranks(queries: np.ndarray, gallery: np.ndarray, block: int = BLOCK) -> np.ndarray:
    """Rank, from 1, of gallery row i for query i; equal scores share their mean rank.

    Parameters
    ----------
    queries, gallery : ``[n, d]`` in one frame, aligned line by line.
    """
    q, g = _floats(queries), _floats(gallery)
    own = np.einsum("nd,nd->n", q, g, dtype=np.float64)
    slack = 4 * np.finfo(np.float32).eps * np.maximum(1.0, np.abs(own))
    ranks = np.ones(len(q))
    for a, b in _cut(len(q), block, 1):
        for c, d in _cut(len(g), block, 1):
            gaps = q[a:b] @ g[c:d].T - own[a:b, None]
            shared = np.arange(max(a, c), min(b, d))
            gaps[shared - a, shared - c] = -np.inf
            level = slack[a:b, None]
            ranks[a:b] += (gaps > level).sum(axis=1) + (np.abs(gaps) <= level).sum(axis=1) / 2
    return ranks


class _Best:
    """The best candidates so far of the queries of one block.

    A candidate is one integer, its falling score above its row number, so that sorting integers
    sorts by score and then by row.
    """

    def __init__(self, size: int, keep: int):
        self.keys = np.full((size, keep), _NONE)
        self.floor = np.full(size, -np.inf, dtype=np.float32)
        self.waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self.held = 0

    def read_columns(self, tile: np.ndarray, start: int) -> None:
        """Look through a tile ``[gallery rows, queries]``."""
        if self.floor[0] == -np.inf:
            return self._fill(tile.T, start)
        whole = len(tile) // GROUP * GROUP
        stride = whole // GROUP
        groups = tile[:whole].reshape(GROUP, stride, tile.shape[1])
        where, who = np.nonzero(groups.max(axis=0) >= self.floor) if whole else _NOTHING
        self._open(groups[:, where, who].T, who, where, stride, start)
        row, who = np.nonzero(tile[whole:] >= self.floor)
        return self._wait(who, row + (whole + start), tile[whole:][row, who])

    def read_rows(self, tile: np.ndarray, start: int) -> None:
        """Look through a tile ``[queries, gallery rows]``."""
        if self.floor[0] == -np.inf:
            return self._fill(tile, start)
        whole = tile.shape[1] // GROUP * GROUP
        stride = whole // GROUP
        groups = tile[:, :whole].reshape(len(tile), GROUP, stride)
        # Two steps: the first runs along many numbers in a row, which one step of 32 does not.
        halves = tile[:, :whole].reshape(len(tile), 8, whole // 8).max(axis=1)
        most = halves.reshape(len(tile), GROUP // 8, stride).max(axis=1)
        who, where = np.nonzero(most >= self.floor[:, None]) if whole else _NOTHING
        self._open(groups[who, :, where], who, where, stride, start)
        who, row = np.nonzero(tile[:, whole:] >= self.floor[:, None])
        return self._wait(who, row + (whole + start), tile[:, whole:][who, row])

    def _open(
        self, inside: np.ndarray, who: np.ndarray, where: np.ndarray, stride: int, start: int
    ) -> None:
        """Take from opened groups ``[found, GROUP]`` what reaches its query's floor."""
        at, member = np.nonzero(inside >= self.floor[who][:, None])
        self._wait(who[at], member * stride + where[at] + start, inside[at, member])

    def _fill(self, tile: np.ndarray, start: int) -> None:
        """The first tile ``[queries, gallery rows]``: a floor for every query."""
        keep = min(self.keys.shape[1], tile.shape[1])
        least = np.partition(tile, tile.shape[1] - keep, axis=1)[:, tile.shape[1] - keep]
        who, row = np.nonzero(tile >= least[:, None])
        self._wait(who, row + start, tile[who, row])
        self.merge()

    def _wait(self, who: np.ndarray, rows: np.ndarray, scores: np.ndarray) -> None:
        """Merging at every tile costs more than opening a few groups against a stale floor."""
        if len(who):
            self.waiting.append((who, _keys(scores, rows)))
            self.held += len(who)
        if self.held * 4 > self.keys.size:
            self.merge()

    def merge(self) -> None:
        """Let what waits take its place; of equal scores the lower row stays."""
        if not self.waiting:
            return
        who, keys = map(np.concatenate, zip(*self.waiting, strict=True))
        self.waiting, self.held = [], 0
        order = np.argsort(who, kind="stable")
        who, keys = who[order], keys[order]
        counts = np.bincount(who, minlength=len(self.keys))
        first = np.cumsum(counts) - counts
        keep = self.keys.shape[1]
        pool = np.full((len(self.keys), keep + int(counts.max())), _NONE)
        pool[:, :keep] = self.keys
        pool[who, keep + np.arange(len(who)) - first[who]] = keys
        pool.sort(axis=1)
        self.keys = pool[:, :keep].copy()
        last = self.keys[:, -1]
        self.floor = np.where(last == _NONE, np.float32(-np.inf), _scores(last))

    def ranked(self, queries: np.ndarray, gallery: np.ndarray, k: int) -> np.ndarray:
        """The k best; where float32 cannot tell two apart, float64 decides."""
        rows, scores = (self.keys & _ROW).astype(np.int64), _scores(self.keys)
        reach = np.maximum(np.abs(scores).max(axis=1), 1e-30)
        near = np.finfo(np.float32).eps * np.sqrt(queries.shape[1]) * reach
        gaps = scores[:, :-1] - scores[:, 1:]
        close = np.flatnonzero((gaps[:, :k] <= near[:, None]).any(axis=1))
        for part in np.array_split(close, max(1, len(close) // 256)):
            picked = gallery[rows[part]].astype(np.float64)
            exact = np.einsum("qrd,qd->qr", picked, queries[part].astype(np.float64))
            order = np.lexsort((rows[part], -exact), axis=1)
            rows[part] = np.take_along_axis(rows[part], order, axis=1)
        return rows[:, :k]


_NONE = np.uint64(2**64 - 1)
_ROW = np.uint64(2**32 - 1)
_SIGN = np.uint32(2**31)


def _keys(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Integers that grow as scores fall, then as rows rise."""
    bits = (scores + np.float32(0)).view(np.uint32)  # one zero, not two
    falling = np.where(bits & _SIGN, bits, ~bits & ~_SIGN)
    return falling.astype(np.uint64) << np.uint64(32) | rows.astype(np.uint64)


def _scores(keys: np.ndarray) -> np.ndarray:
    """The scores within keys."""
    falling = (keys >> np.uint64(32)).astype(np.uint32)
    return np.where(falling & _SIGN, falling, ~falling & ~_SIGN).view(np.float32)


_NOTHING = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def _floats(x: np.ndarray) -> np.ndarray:
    out = np.ascontiguousarray(x, dtype=np.float32)
    if out.ndim != 2 or not np.isfinite(out).all():
        raise ConjoinError("rows", "are not finite numbers [n, d]", "drop rows with NaN first")
    return out


def _check_k(k: int, most: int, of: str) -> None:
    if not 1 <= k <= most:
        raise ConjoinError("k", f"{k} neighbours among {most} {of}", "give a smaller k or more")


def _cut(n: int, block: int, keep: int) -> list[tuple[int, int]]:
    """Ranges of nearly equal length of at most ``block`` rows, each longer than ``keep``."""
    parts = max(1, min(-(-n // block), n // (keep + 1)))
    edges = np.linspace(0, n, parts + 1).astype(int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


# Measures


@dataclass(frozen=True)
class MutualKNN(Pairwise):
    """Share of each row's k nearest neighbours that two spaces have in common.

    ``mean_i |N_a(i) ∩ N_b(i)| / k``, neighbours by angle and never the row itself. With nothing
    in common it is ``k / (n − 1)`` on average, so compare it only at equal n and k.

    What to do: high before binding means that the encoders order things alike and few pairs will
    do; near chance means that no map of the vectors will join them: change an encoder.

    Parameters
    ----------
    k : neighbours of a row.

    References
    ----------
    Huh et al. 2024 (huh2024platonic); the authors also clip outlying features first.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> MutualKNN(k=5)({"a": x, "b": 2 * x}).value
    1.0
    """

    k: Annotated[int, Search(1, 100)] = 10
    name: ClassVar[str] = "mutual-knn"
    meaning: ClassVar[str] = (
        "Share of nearest neighbours that both spaces agree on; near chance, change an encoder."
    )
    invariances: ClassVar[frozenset[str]] = frozenset(
        {"order", "swap", "rotation", "scale", "lengths"}
    )
    on_sphere: ClassVar[bool] = True

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """``[n, k]`` neighbours."""
        return knn(x, self.k)

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """The share in common."""
        return float(common(a, b).mean()) / self.k

    def chance(self, n: int) -> float:
        """The value on average where rows do not belong together."""
        return self.k / (n - 1)


@dataclass(frozen=True)
class CKNNA(Pairwise):
    """Kernel alignment that looks only at rows that are near in both spaces.

    ``h(K∘A∘B, L∘A∘B) / √(h(K∘A, K∘A) h(L∘B, L∘B))`` with ``K, L`` inner products of rows of
    length 1, ``A, B`` 1 where the column is among the row's k nearest, ``h`` the unbiased
    estimator of HSIC. Between mutual-knn (k small) and unbiased CKA (k = n − 1). Being near is
    not mutual, so exchanging the views may change the value a little.

    What to do: read it as :class:`MutualKNN`; it also asks that near things be about as near.

    Parameters
    ----------
    k : neighbours of a row; at least 2.

    References
    ----------
    Huh et al. 2024 (huh2024platonic), as the authors' code has it; Song et al. 2012
    (song2012feature) for the estimator.
    """

    k: Annotated[int, Search(2, 100)] = 10
    name: ClassVar[str] = "cknna"
    meaning: ClassVar[str] = "How alike the similarities of neighbours are that both spaces share."
    range: ClassVar[tuple[float, float]] = (-np.inf, np.inf)
    invariances: ClassVar[frozenset[str]] = frozenset({"order", "rotation", "scale", "lengths"})
    on_sphere: ClassVar[bool] = True

    def prepare(self, x: np.ndarray) -> Any:
        """The kernel at each row's neighbours and where they are, sparse."""
        from scipy.sparse import csr_array

        rows = knn(x, self.k)
        n = len(x)
        values = np.empty(rows.shape)
        for start in range(0, n, BLOCK):
            part = slice(start, start + BLOCK)
            values[part] = np.einsum("nkd,nd->nk", x[rows[part]], x[part])
        ends = np.arange(n + 1) * self.k
        kernel, near = (
            csr_array((data.ravel(), rows.ravel(), ends), shape=(n, n))
            for data in (values, np.ones_like(values))
        )
        return kernel, near

    def compare(self, a: Any, b: Any) -> float:
        """The aligned share of both."""
        (k, near_a), (m, near_b) = a, b
        own = _hsic(k, k) * _hsic(m, m)
        if not own > 0:
            raise ConjoinError(
                self.name, f"{k.shape[0]} rows are too few for k {self.k}", "give a smaller k"
            )
        both = near_a.multiply(near_b)
        return _hsic(k.multiply(both), m.multiply(both)) / float(np.sqrt(own))


def common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``[n]`` how many entries of each row of ``a`` are also in that row of ``b``."""
    found = np.empty(len(a), dtype=np.int64)
    for start in range(0, len(a), BLOCK):
        part = slice(start, start + BLOCK)
        found[part] = (a[part, :, None] == b[part, None, :]).sum(axis=(1, 2))
    return found


def _hsic(k: Any, m: Any) -> float:
    """Unbiased HSIC of two sparse kernels without a diagonal, up to its factor of n."""
    n = k.shape[0]
    through = float(k.multiply(m.T).sum())
    apart = float(k.sum()) * float(m.sum()) / ((n - 1) * (n - 2))
    along = float(k.sum(axis=0) @ m.sum(axis=1)) * 2 / (n - 2)
    return through + apart - along
