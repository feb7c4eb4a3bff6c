"""How alike two spaces are as a whole: kernel alignment, shared directions, the best layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError
from conjoin.metrics.base import Pairwise, Reads, measure_named
from conjoin.metrics.measurement import Measurement

#: Rows read at a time.
BLOCK = 4096

_WHOLE = frozenset({"order", "swap", "rotation", "scale", "shift"})


@dataclass(frozen=True, eq=False)
class Centred:
    """What linear kernel alignment needs of two centred views.

    Parameters
    ----------
    xx, xy, yy : ``|Σ x xᵀ|²``, ``|Σ x yᵀ|²``, ``|Σ y yᵀ|²``, squared Frobenius norms.
    a, b, aa, ab, bb : ``Σ |x|²``, ``Σ |y|²`` and the sums of their products.
    """

    n: int
    xx: float
    xy: float
    yy: float
    a: float
    b: float
    aa: float
    ab: float
    bb: float

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> "Centred":
        """Read two views aligned line by line: by features, or by rows where those are fewer."""
        kind = np.result_type(x.dtype, y.dtype, np.float32)
        middle = tuple(_mean(v).astype(kind) for v in (x, y))
        if len(x) < x.shape[1] + y.shape[1]:
            p, q = (v - m for v, m in zip((x, y), middle, strict=True))
            k, m = p @ p.T, q @ q.T
            xx, xy, yy = (_total(u, v) for u, v in ((k, k), (k, m), (m, m)))
            pair = np.stack([np.diag(k), np.diag(m)]).astype(np.float64)
            lengths, sums = pair @ pair.T, pair.sum(axis=1)
        else:
            total, lengths, sums = _moments((x, y), middle)
            dx = x.shape[1]
            parts = total[:dx, :dx], total[:dx, dx:], total[dx:, dx:]
            xx, xy, yy = (_total(part, part) for part in parts)
        aa, ab, bb = (float(lengths[i, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
        return cls(len(x), xx, xy, yy, float(sums[0]), float(sums[1]), aa, ab, bb)

    def unbiased(self, cross: float, a: float, b: float, ab: float) -> float:
        """Unbiased HSIC up to its factor of n, from ``|Σ x yᵀ|²`` and the lengths of the rows."""
        n = self.n
        return cross - ab + a * b / ((n - 1) * (n - 2)) - 2 * ab / (n - 2)


def _total(u: np.ndarray, v: np.ndarray) -> float:
    return float(np.einsum("ij,ij->", u, v, dtype=np.float64))


def _moments(
    views: tuple[np.ndarray, np.ndarray], middle: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``Σ z zᵀ`` of ``z = [x y]`` centred, and the sums and products of squared row lengths."""
    from scipy.linalg import blas

    n, dx, kind = len(views[0]), views[0].shape[1], middle[0].dtype
    width = dx + views[1].shape[1]
    product = blas.ssyrk if kind == np.float32 else blas.dsyrk
    total, lengths, sums = np.zeros((width, width)), np.zeros((2, 2)), np.zeros(2)
    held = np.empty((BLOCK, width), dtype=kind)
    for start in range(0, n, BLOCK):
        both = held[: min(BLOCK, n - start)]
        np.subtract(views[0][start : start + BLOCK], middle[0], out=both[:, :dx])
        np.subtract(views[1][start : start + BLOCK], middle[1], out=both[:, dx:])
        total += product(1.0, both.T, lower=1)  # the upper triangle stays zero
        pair = np.stack([_squares(both[:, :dx]), _squares(both[:, dx:])])
        lengths += pair @ pair.T
        sums += pair.sum(axis=1)
    total += np.tril(total, -1).T
    return total, lengths, sums


def _mean(x: np.ndarray) -> np.ndarray:
    """The mean row: short sums in the precision given, their sum in float64."""
    total = np.zeros(x.shape[1])
    for start in range(0, len(x), BLOCK):
        total += x[start : start + BLOCK].sum(axis=0, dtype=np.result_type(x.dtype, np.float32))
    return total / len(x)


def _squares(x: np.ndarray) -> np.ndarray:
    """``|row|²`` in float64."""
    return np.einsum("nd,nd->n", x, x).astype(np.float64)


@dataclass(frozen=True)
class CKA(Pairwise):
    """Linear centred kernel alignment: how alike the similarities within two spaces are.

    ``|XᵀY|² / (|XᵀX| |YᵀY|)`` of centred views, Frobenius norms; 1 for spaces that differ by a
    rotation and a scale. It costs O(n d²); an n × n kernel is held only where rows are fewer than
    dimensions. There it is far above 0 for unrelated spaces: use ``unbiased-cka``.

    What to do: compare encoders of one modality; a low value before binding calls for a map with
    more freedom than a rotation (ridge or CCA rather than Procrustes).

    References
    ----------
    Kornblith et al. 2019 (kornblith2019similarity).
    """

    name: ClassVar[str] = "cka"
    meaning: ClassVar[str] = (
        "How alike the similarities within both spaces are; with few rows trust unbiased-cka."
    )
    invariances: ClassVar[frozenset[str]] = _WHOLE

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """The alignment of two views."""
        m = Centred.of(a, b)
        return float(min(1.0, m.xy / np.sqrt(m.xx * m.yy)))


@dataclass(frozen=True)
class UnbiasedCKA(Pairwise):
    """Linear CKA from the unbiased estimator of HSIC: 0 on average for unrelated spaces.

    ``h(K, L) / √(h(K, K) h(L, L))`` with ``h(K, L) ∝ tr K̃L̃ + 1ᵀK̃1 1ᵀL̃1 / ((n−1)(n−2)) −
    2 1ᵀK̃L̃1 / (n−2)`` and ``K̃`` without its diagonal, all from sums over features.

    What to do: trust it over ``cka`` when rows are not many times the dimensions.

    References
    ----------
    Song et al. 2012 (song2012feature) for the estimator; Nguyen et al. 2021 (nguyen2021wide).
    """

    name: ClassVar[str] = "unbiased-cka"
    meaning: ClassVar[str] = (
        "How alike the similarities within both spaces are; 0 where nothing is shared."
    )
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    invariances: ClassVar[frozenset[str]] = _WHOLE

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """The alignment of two views."""
        m = Centred.of(a, b)
        own = m.unbiased(m.xx, m.a, m.a, m.aa) * m.unbiased(m.yy, m.b, m.b, m.bb)
        if not own > 0:
            raise ConjoinError(self.name, "a view has no structure beyond noise", "give more rows")
        value = m.unbiased(m.xy, m.a, m.b, m.ab) / np.sqrt(own)
        return float(np.clip(value, -1.0, 1.0))


@dataclass(frozen=True)
class SVCCA(Pairwise):
    """Mean canonical correlation of the leading principal directions of two spaces.

    Each view is cut to its first ``dim`` principal directions; the value is the mean of the
    canonical correlations of what is left. Unrelated spaces give about ``√(dim / n)``.

    What to do: high with a low mutual-knn says that the coarse layout agrees and the fine one
    does not: expect recall@10 to be well ahead of recall@1.

    Parameters
    ----------
    dim : principal directions kept of each view.

    References
    ----------
    Raghu et al. 2017 (raghu2017svcca) keep the directions of 99 % of the variance; Huh et al. 2024
    (huh2024platonic) keep ten, of columns scaled to unit variance. Here ten, of columns as given.
    """

    dim: Annotated[int, Search(1, 512)] = 10
    name: ClassVar[str] = "svcca"
    meaning: ClassVar[str] = "How far the main directions of both spaces predict each other."
    invariances: ClassVar[frozenset[str]] = _WHOLE

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """``[n, dim]`` leading principal directions over rows, orthonormal."""
        from scipy.linalg import eigh

        if self.dim >= len(x):
            raise ConjoinError(self.name, f"{self.dim} directions of {len(x)} rows", "lower dim")
        z = x.astype(np.float64)
        z -= z.mean(axis=0)
        wide = z.shape[1] > len(z)
        gram = z @ z.T if wide else z.T @ z
        last = len(gram) - 1
        values, vectors = eigh(gram, subset_by_index=(max(0, last - self.dim + 1), last))
        kept = values > values[-1] * 1e-10
        return vectors[:, kept] if wide else z @ (vectors[:, kept] / np.sqrt(values[kept]))

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """The mean correlation of two sets of directions."""
        return float(np.clip(np.linalg.svd(a.T @ b, compute_uv=False), 0, 1).mean())


@dataclass(frozen=True)
class BestLayers(Reads):
    """The best value of a pairwise measure over the layers of one view and of the other.

    Views hold ``[n, layers, d]``. Each layer is read once. A maximum over many pairs is high even
    by chance: compare it with shuffled lines (``by_chance``).

    What to do: its meaning names the layers; bind those instead of the last ones.

    Parameters
    ----------
    measure : the pairwise measure.

    References
    ----------
    Huh et al. 2024 (huh2024platonic).
    """

    measure: Annotated[
        str, Choice(("mutual-knn", "cknna", "cka", "unbiased-cka", "svcca"))
    ] = "mutual-knn"  # fmt: skip
    name: ClassVar[str] = "best-layers"
    meaning: ClassVar[str] = "The pair of layers that agree most."
    range: ClassVar[tuple[float, float]] = (-np.inf, np.inf)
    invariances: ClassVar[frozenset[str]] = frozenset({"order", "swap", "rotation", "scale"})

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The best pair's value; its layers, counted from 0, are in the meaning."""
        x, y = self.read(views)
        each = measure_named(self.measure)
        if not isinstance(each, Pairwise):
            raise ConjoinError(self.name, f"{self.measure} compares no two views", "name another")
        read: list[list[Any]] = [
            [each.prepare(each._one(f"{name}, layer {i}", v[:, i])) for i in range(v.shape[1])]
            for name, v in zip(views, (x, y), strict=True)
        ]
        table = np.array([[each.compare(a, b) for b in read[1]] for a in read[0]])
        i, j = np.unravel_index(int(table.argmax()), table.shape)
        one, other = views
        return Measurement(
            self.name, float(table[i, j]), None, None, len(x), each.range, True,
            f"Best {self.measure}: layer {i} of {one} with layer {j} of {other}.",
        )  # fmt: skip

    def _one(self, name: str, x: np.ndarray) -> np.ndarray:
        where = f"{self.name}: view {name}"
        if np.ndim(x) != 3:
            raise ConjoinError(where, f"has shape {np.shape(x)}", "give [n, layers, d]")
        if len(x) < self.least:
            raise ConjoinError(where, f"{len(x)} rows", f"give at least {self.least}")
        return x
