"""Engines for large indexes: inverted lists whose candidates are ranked exactly."""

from typing import Any

import numpy as np

from conjoin.errors import optional
from conjoin.retrieval.engines.exact import Penalty, top_k
from conjoin.retrieval.engines.kernels import Picked, Tiles
from conjoin.spaces.space import BLOCK

#: Candidates for each of the k where nothing was tuned: lists hold two bits a dimension, the
#: database's one.
WIDE = 10
#: Width from which codes are short.
MIN_FAST = 16
#: Rows a list is trained on, and rounds of it and of its codes: more change recall by nothing.
TRAINED, ROUNDS = 32, 3


class FaissIVF:
    """faiss inverted lists of short codes, by row number; see ``Engine``.

    Rows added since they were built are scored as they are, rows deleted are passed over.

    Parameters
    ----------
    index : what :func:`build_lists` made.
    numbers : the live rows' numbers, ascending.
    gallery : the live rows.
    upto : the number from which rows are in no list.
    """

    def __init__(
        self, index: Any, numbers: np.ndarray, gallery: Any, upto: int, *, nprobe: int = 1,
        wide: int = WIDE,
    ):  # fmt: skip
        self._faiss = optional("faiss", "accel")
        self.index, self.gallery, self.nprobe, self.wide = index, gallery, nprobe, wide
        self._numbers = np.asarray(numbers)
        self._listed = int(np.searchsorted(self._numbers, upto))
        self._plain = self._listed == index.ntotal and self._listed == upto
        late = np.arange(self._listed, len(numbers))
        self._tail = Tiles(Picked(gallery, late)) if len(late) else None
        self._live: Any = None

    def candidates(
        self, q: np.ndarray, keep: int, penalty: Penalty | None, allowed: np.ndarray | None
    ) -> np.ndarray:
        """Rows ``[q, keep]``; the penalty is left to the exact scores."""
        found = self.index.search(q, keep, params=self._params(allowed))[1]
        if not self._plain:
            at = np.searchsorted(self._numbers, found)
            found = np.where(found < 0, -1, np.minimum(at, len(self._numbers) - 1))
        if self._tail is None:
            return found
        late = top_k(q, self._tail, keep)[1] + self._listed
        if allowed is not None:
            late = np.where(np.isin(late, allowed), late, -1)
        return np.concatenate([found, late], axis=1)

    def _params(self, allowed: np.ndarray | None) -> Any:
        if allowed is None and self._plain:
            return self._faiss.SearchParametersIVF(nprobe=self.nprobe)
        if allowed is None and self._live is None:
            self._live = self._selector(self._numbers[: self._listed])
        chosen = self._live
        if allowed is not None:
            listed = allowed[: np.searchsorted(allowed, self._listed)]
            chosen = self._selector(self._numbers[listed])
        return self._faiss.SearchParametersIVF(nprobe=self.nprobe, sel=chosen[0])

    def _selector(self, numbers: np.ndarray) -> tuple[Any, np.ndarray]:
        """A selector and the bits it points to, which must outlive it."""
        bits = np.zeros(int(self._numbers[-1]) + 1, dtype=bool)
        bits[numbers] = True
        packed = np.packbits(bits, bitorder="little")
        return self._faiss.IDSelectorBitmap(len(packed), self._faiss.swig_ptr(packed)), packed


def lists_for(rows: int) -> int:
    """How many lists: the power of two next below four times the root of the rows."""
    return int(2 ** np.floor(np.log2(max(4.0, 4 * np.sqrt(rows)))))


def build_lists(gallery: Any, numbers: np.ndarray, *, seed: int = 0) -> Any:
    """Inverted lists over rows, trained on a sample of them.

    A code is four bits for two dimensions, which fast scan reads 32 rows at a time; of an odd
    width, a byte a dimension. Half the size of byte codes, and four times as fast at the same
    recall after exact scores.
    """
    faiss = optional("faiss", "accel")
    n, dim = gallery.shape
    count = lists_for(n)
    codes = f"PQ{dim // 2}x4fs" if dim % 2 == 0 and dim >= MIN_FAST else "SQ8"
    index = faiss.index_factory(dim, f"IVF{count},{codes}", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.niter, index.cp.spherical = seed + 1, ROUNDS, True
    index.cp.max_points_per_centroid = index.cp.min_points_per_centroid = TRAINED
    index.by_residual = True  # a code says where a row lies from its list's centre
    if codes != "SQ8":
        index.pq.cp.niter = ROUNDS
    picked = np.random.default_rng([seed, 6]).permutation(n)[: TRAINED * count]
    index.train(np.ascontiguousarray(gallery[np.sort(picked)], dtype=np.float32))
    append_lists(index, gallery, numbers)
    return index


def append_lists(index: Any, gallery: Any, numbers: np.ndarray) -> None:
    """Add rows to lists under their numbers, a block at a time."""
    for start in range(0, len(numbers), BLOCK):
        rows = np.ascontiguousarray(gallery[start : start + BLOCK], dtype=np.float32)
        index.add_with_ids(rows, np.ascontiguousarray(numbers[start : start + BLOCK]))


class LanceIVF:
    """The database's own inverted lists of binary codes, refined by its float32 rows.

    It serves where faiss is not installed.
    """

    def __init__(self, table: Any, numbers: np.ndarray, *, nprobe: int = 8, wide: int = WIDE):
        self._table, self._numbers = table, np.asarray(numbers)
        self.nprobe, self.wide = nprobe, wide

    def candidates(
        self, q: np.ndarray, keep: int, penalty: Penalty | None, allowed: np.ndarray | None
    ) -> np.ndarray:
        """Rows ``[q, keep]``; a filter is applied to more candidates."""
        share = 1.0 if allowed is None else len(allowed) / len(self._numbers)
        asked = min(len(self._numbers), int(keep / max(share, 0.05)))
        found = np.full((len(q), asked), -1, dtype=np.int64)
        for place, line in enumerate(q):
            search = self._table.search(line, vector_column_name="vector").distance_type("dot")
            search = search.nprobes(self.nprobe).refine_factor(4).select(["row", "_distance"])
            rows = search.limit(asked).to_arrow().column("row").to_numpy()
            found[place, : len(rows)] = np.searchsorted(self._numbers, rows)
        if allowed is not None:
            found = np.where(np.isin(found, allowed), found, -1)
        return found
