"""Vectors as weights of words, and an inverted index that searches them exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
from scipy import sparse

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError, optional
from conjoin.spaces import Pairs, unit

#: Queries scored at a time.
BLOCK = 256


@runtime_checkable
class Fitted(Protocol):
    """What turns bound vectors into weights of words."""

    def weights(self, name: str, x: np.ndarray) -> sparse.csr_matrix:
        """``[n, V]`` weights, none negative, each row at length 1 (or all 0), of a view's rows."""
        ...


@runtime_checkable
class SparseEncoder(Protocol):
    """A frozen dataclass that learns how vectors of one frame weigh the words of a vocabulary."""

    def fit(
        self,
        views: Mapping[str, np.ndarray],
        pairs: Pairs,
        vocabulary: np.ndarray,
        *,
        seed: int = 0,
    ) -> Fitted:
        """Fit to bound vectors by view, their pairs, and the bound vectors ``[V, d]`` of words."""
        ...


@dataclass(frozen=True)
class NearestWords:
    """A vector is the words it is nearest to: ``w_v(x) = relu(cos(x, c_v) − mean_v)``.

    ``mean_v`` is the word's mean cosine to the view's training rows, so that words near to all
    weigh nothing. Only the ``keep`` largest of a row stay; rows have length 1. Nothing is trained.

    Parameters
    ----------
    keep : words a row.
    slices : where above 0, the vocabulary is dealt into so many slices, word v into slice
        ``v mod slices``, and of each slice only the largest weight stays. The inner product of two
        such rows is the gated inner product of the densified ones: values are multiplied only
        where both sides hold the same word of the slice.

    References
    ----------
    Slices: Lin and Lin 2021 (lin2021slicing), dealt as in the authors' code.
    """

    keep: Annotated[int, Search(4, 1024, log=True)] = 64
    slices: int = 0

    def fit(
        self, views: Mapping[str, np.ndarray], pairs: Pairs, vocabulary: np.ndarray, *,
        seed: int = 0,
    ) -> "Words":  # fmt: skip
        """Take each word's mean cosine in each view."""
        words = unit(np.asarray(vocabulary, dtype=np.float64))
        means = {}
        for name, x in views.items():
            rows = pairs.column(name) if name in pairs.names else np.arange(len(x))
            rows = np.unique(rows[rows >= 0])
            means[name] = unit(np.asarray(x, np.float64))[rows].mean(axis=0) @ words.T
        return Words(words, means, self.keep, self.slices)


@dataclass(frozen=True, eq=False)
class Words:
    """Nearest words, ready: ``words`` ``[V, d]`` and by view the mean cosine ``[V]`` to each."""

    words: np.ndarray
    means: Mapping[str, np.ndarray]
    keep: int
    slices: int = 0

    def weights(self, name: str, x: np.ndarray) -> sparse.csr_matrix:
        """Rows over the vocabulary."""
        if name not in self.means:
            raise ConjoinError("view", f"{name!r} was not fitted", f"fitted: {list(self.means)}")
        found = np.maximum(unit(np.asarray(x, np.float64)) @ self.words.T - self.means[name], 0)
        whole = largest(found, self.keep)
        return rows_to_unit(sliced(whole, self.slices) if self.slices else whole)


def largest(dense: np.ndarray, keep: int) -> sparse.csr_matrix:
    """Only the ``keep`` largest weights of each row; equal ones in the order of words."""
    if keep >= dense.shape[1]:
        return sparse.csr_matrix(dense)
    order = np.argsort(-dense, axis=1, kind="stable")[:, :keep]
    values = np.take_along_axis(dense, order, axis=1)
    at = np.repeat(np.arange(len(dense)), keep)
    found = sparse.csr_matrix((values.ravel(), (at, order.ravel())), shape=dense.shape)
    found.eliminate_zeros()
    return found


def rows_to_unit(found: sparse.csr_matrix) -> sparse.csr_matrix:
    """Rows scaled to length 1; empty ones stay."""
    length = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
    scale = np.divide(1, length, out=np.zeros_like(length), where=length > 0)
    return sparse.csr_matrix(sparse.diags(scale) @ found)


def sliced(found: sparse.csr_matrix, slices: int) -> sparse.csr_matrix:
    """Of every slice of the vocabulary only a row's largest weight.

    Word v lies in slice ``v mod slices``; of equal weights the word of the lower number stays.

    Raises
    ------
    ConjoinError : there is no slice.
    """
    if slices < 1:
        raise ConjoinError("slices", str(slices), "give 1 or more")
    table = found.tocoo()
    order = np.lexsort((table.col, -table.data, table.col % slices, table.row))
    row, col, data = table.row[order], table.col[order], table.data[order]
    first = np.ones(len(row), dtype=bool)
    first[1:] = (row[1:] != row[:-1]) | (col[1:] % slices != col[:-1] % slices)
    return sparse.csr_matrix((data[first], (row[first], col[first])), shape=found.shape)


def densified(found: sparse.csr_matrix, slices: int) -> tuple[np.ndarray, np.ndarray]:
    """The sliced rows as ``[n, slices]`` values and the place in its slice of each word kept."""
    kept = sliced(found, slices).tocoo()
    values, places = np.zeros((found.shape[0], slices)), np.zeros((found.shape[0], slices), int)
    values[kept.row, kept.col % slices] = kept.data
    places[kept.row, kept.col % slices] = kept.col // slices
    return values, places


@dataclass(frozen=True, eq=False)
class Inverted:
    """Postings of each word: which rows hold it, and how much.

    Parameters
    ----------
    postings : ``[n, V]`` in compressed columns, no weight negative.
    words : what each column means, where known.
    """

    postings: sparse.csc_matrix
    words: Sequence[str] = field(default_factory=tuple)

    @classmethod
    def build(cls, weights: sparse.spmatrix, words: Sequence[str] = ()) -> "Inverted":
        """Index rows of weights.

        Raises
        ------
        ConjoinError : a weight is negative, NaN or infinite, or words are of another number.
        """
        held = sparse.csc_matrix(weights)
        if len(held.data) and not (np.isfinite(held.data).all() and held.data.min() >= 0):
            raise ConjoinError("weights", "some are negative or not finite", "give 0 or more")
        if len(words) not in (0, held.shape[1]):
            raise ConjoinError("words", f"{len(words)} for {held.shape[1]} columns", "name each")
        return cls(held, tuple(words))

    def __len__(self) -> int:
        return int(self.postings.shape[0])

    def top_k(self, queries: sparse.spmatrix, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k rows of the largest inner products, exactly; only postings of a query's words are
        read.

        Returns
        -------
        scores, rows : ``[q, min(k, n)]``, falling; equal scores, zeros too, by row number.
        """
        asked = sparse.csr_matrix(queries)
        if asked.shape[1] != self.postings.shape[1] or k < 1:
            raise ConjoinError("queries", f"{asked.shape}, k {k}", "give rows of this vocabulary")
        if len(asked.data) and asked.data.min() < 0:
            raise ConjoinError("queries", "some weights are negative", "give 0 or more")
        k = min(k, len(self))
        scores, rows = np.zeros((asked.shape[0], k)), np.empty((asked.shape[0], k), np.int64)
        for start in range(0, asked.shape[0], BLOCK):
            found = sparse.csr_matrix(asked[start : start + BLOCK] @ self.postings.T)
            for at in range(found.shape[0]):
                own = slice(found.indptr[at], found.indptr[at + 1])
                best = _best(found.indices[own], found.data[own], k)
                scores[start + at, : len(best[0])] = best[0]
                rows[start + at] = _filled(best[1], k)
        return scores, rows

    def explain(self, query: sparse.spmatrix, row: int) -> dict[str, float]:
        """What each word adds to the score of a row, the most first."""
        shares = sparse.csr_matrix(query).multiply(self.postings[row].tocsr()).tocoo()
        named = self.words or [str(word) for word in range(self.postings.shape[1])]
        order = np.argsort(-shares.data, kind="stable")
        return {named[shares.col[at]]: float(shares.data[at]) for at in order}


def _best(rows: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    keep = scores > 0
    rows, scores = rows[keep], scores[keep]
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]


def _filled(rows: np.ndarray, k: int) -> np.ndarray:
    """Rows, then the first of those that score 0."""
    if len(rows) == k:
        return rows
    others = np.setdiff1d(np.arange(k + len(rows)), rows)[: k - len(rows)]
    return np.concatenate([rows, others])


def words_of(texts: Sequence[str], most: int = 2000) -> list[str]:
    """A vocabulary: the words that stand in two texts or more, the most frequent first."""
    from collections import Counter

    held: Counter[str] = Counter()
    for text in texts:
        held.update({word.strip(",.:;!?()“”\"'") for word in text.lower().split()} - {""})
    found = [word for word, count in sorted(held.items(), key=lambda e: (-e[1], e[0])) if count > 1]
    return found[:most]


@dataclass(frozen=True)
class LexicalHead:
    """Trained weights of words: ``w_v(x) = log(1 + s · relu(unit(x + x W) · c_v − b_v))``.

    One mapper ``W`` and one bias a word for each view, over one frozen codebook ``c``. Minimises
    the contrast of the pairs' rows plus ``overuse · Σ_v (mean_i w_iv)²`` a view (rows at length
    1), which makes words that many rows use expensive. ``W`` starts at 0 and ``b`` at the word's
    mean cosine. Afterwards the ``keep`` largest of a row stay.

    Parameters
    ----------
    keep : words a row.
    overuse : weight of the penalty.
    sharpness : s.
    temperature : of the contrast, at the start.
    lr : AdamW's rate.
    steps, batch : steps at most and lines in each.

    References
    ----------
    Li et al. 2024 (li2024lexvla): a frozen image encoder and a language model's codebook, with a
    contrast and a penalty of overuse. Its formula of the penalty could not be checked; this is
    the squared mean activation that sparse retrieval uses for the same end.
    """

    keep: Annotated[int, Search(4, 1024, log=True)] = 64
    overuse: Annotated[float, Search(0.0, 100.0)] = 1.0
    sharpness: Annotated[float, Search(1.0, 100.0, log=True)] = 20.0
    temperature: Annotated[float, Search(0.01, 1.0, log=True)] = 0.07
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 2e-3
    steps: Annotated[int, Search(1, 10_000, log=True)] = 200
    batch: Annotated[int, Search(8, 4096, log=True)] = 128

    def fit(
        self, views: Mapping[str, np.ndarray], pairs: Pairs, vocabulary: np.ndarray, *,
        seed: int = 0,
    ) -> "LexicalWords":  # fmt: skip
        """Train on the pairs."""
        optional("torch", "train")
        from conjoin.losses.contrastive.infonce import InfoNCE
        from conjoin.retrieval.sparse.head import Lexicon, Overuse, train_lexicon

        start = NearestWords(self.keep).fit(views, pairs, vocabulary)
        lexicon = Lexicon(tuple(pairs.names), start.words, start.means, self.sharpness)
        loss = Overuse(InfoNCE(self.temperature), self.overuse)
        pace = (self.steps, self.batch, self.lr)
        arrays = train_lexicon(lexicon, views, pairs, loss, pace, seed)
        return LexicalWords(start.words, arrays, self.keep, self.sharpness)


@dataclass(frozen=True, eq=False)
class LexicalWords:
    """A lexical head, ready; applied without torch."""

    words: np.ndarray
    held: Mapping[str, np.ndarray]
    keep: int
    sharpness: float

    def weights(self, name: str, x: np.ndarray) -> sparse.csr_matrix:
        """Rows over the vocabulary."""
        if f"{name}/map" not in self.held:
            raise ConjoinError(
                "view", f"{name!r} was not fitted", "fit it to pairs with the others"
            )
        x = np.asarray(x, dtype=np.float64)
        z = unit(x + x @ self.held[f"{name}/map"])
        above = np.maximum(z @ self.words.T - self.held[f"{name}/bias"], 0)
        return rows_to_unit(largest(np.log1p(self.sharpness * above), self.keep))
