"""Modality integration rate: how far apart two token clouds lie through the layers of a model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.metrics.base import Reads
from conjoin.metrics.measurement import Measurement
from conjoin.spaces import check_vectors

#: What a sum of distances of 0 is taken for, so that its logarithm is finite.
LEAST = 1e-12


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Squared Fréchet distance between Gaussians fitted to two clouds of rows.

    ``|μ_x − μ_y|² + tr(C_x + C_y − 2 (C_x C_y)^½)``, covariances over ``n − 1``.
    """
    x, y = (v.astype(np.float64) for v in (x, y))
    means = x.mean(axis=0), y.mean(axis=0)
    a, b = (
        (v - m) / math.sqrt(len(v) - 1) for v, m in zip((x, y), means, strict=True)
    )  # fmt: skip
    # tr (AᵀA BᵀB)^½ is the sum of the singular values of A Bᵀ; a tall A is cut to its R of QR.
    left, right = (
        np.asarray(np.linalg.qr(v, mode="r")) if len(v) > v.shape[1] else v for v in (a, b)
    )
    shared = np.linalg.svd(left @ right.T, compute_uv=False).sum()
    apart = float(np.square(means[0] - means[1]).sum())
    return max(0.0, apart + float(np.square(a).sum() + np.square(b).sum()) - 2 * float(shared))


def calmed(x: np.ndarray, sigmas: float = 3.0) -> np.ndarray:
    """Rows whose length is off the median by more than ``sigmas`` standard deviations replaced.

    They become the median of each coordinate over all rows.
    """
    lengths = np.linalg.norm(x, axis=1)
    odd = np.abs(lengths - np.median(lengths)) > sigmas * lengths.std(ddof=1)
    return np.where(odd[:, None], np.median(x, axis=0), x)


@dataclass(frozen=True)
class MIR(Reads):
    """Log of the Fréchet distances between two modalities' rows, summed over layers.

    ``log₁₀ Σ_layers |μ₁ − μ₂|² + tr(C₁ + C₂ − 2 (C₁C₂)^½)``, after both were divided by the mean
    length of the second view's rows in that layer and rows of odd length were replaced by the
    median row. Lower is better; clouds that coincide give −12. Views are token states
    ``[tokens, layers, d]``, or ``[n, d]`` for one layer, and may differ in length.

    What to do: after binding, a value far above that of one modality split in two halves means
    that the modalities still occupy different regions: centre, or bind with CCA.

    Parameters
    ----------
    sigmas : how odd a length must be.

    References
    ----------
    Huang et al. 2024 (huang2024mir): pictures first, text second; layers 1 and on. Their fast
    mode takes the root of the product by iteration; here it is exact, as in their other mode.
    """

    sigmas: Annotated[float, Search(1.0, 10.0)] = 3.0
    name: ClassVar[str] = "mir"
    meaning: ClassVar[str] = "Log distance between the clouds of both modalities; lower is better."
    paired: ClassVar[bool] = False
    shared: ClassVar[bool] = True
    higher_is_better: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (math.log10(LEAST), np.inf)
    invariances: ClassVar[frozenset[str]] = frozenset({"order", "pairing", "common scale"})

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        x, y = self.read(views)
        if x.shape[1] != y.shape[1]:
            raise ConjoinError(self.name, f"{x.shape[1]} and {y.shape[1]} layers", "give as many")
        total = 0.0
        for layer in range(x.shape[1]):
            unit = np.linalg.norm(y[:, layer], axis=1).mean()
            if not unit > 0:
                raise ConjoinError(self.name, f"layer {layer} is all zeros", "leave it out")
            total += frechet(*(calmed(v[:, layer] / unit, self.sigmas) for v in (x, y)))
        return self.told(math.log10(max(total, LEAST)), min(len(x), len(y)))

    def _one(self, name: str, x: np.ndarray) -> np.ndarray:
        where = f"{self.name}: view {name}"
        x = np.asarray(x)
        layers = x[:, None] if x.ndim == 2 else x
        if layers.ndim != 3 or len(layers) < self.least:
            raise ConjoinError(where, f"shape {x.shape}", f"give {self.least} rows or more, [n, d]")
        for i in range(layers.shape[1]):
            check_vectors(layers[:, i], f"{where}, layer {i}" if x.ndim == 3 else where)
        return layers.astype(np.float64)
