"""Cheap first looks at a gallery, by name: what is scanned, and what is scored again."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from conjoin.retrieval.engines.exact import rescore
from conjoin.retrieval.engines.quantization import Codes, Storage


@runtime_checkable
class Shelving(Protocol):
    """Finds the best rows of a gallery without scoring all of them whole."""

    def find(self, q: np.ndarray, gallery: np.ndarray, k: int, *, cosine: bool) -> np.ndarray:
        """Rows ``[q, k]``, best first.

        Parameters
        ----------
        q, gallery : float32 rows of one frame; ``cosine`` says that they have length 1.
        """
        ...


@dataclass(frozen=True)
class Shelf:
    """Codes or a prefix are scanned; ``more · k`` candidates are then scored by whole vectors.

    Of ``n`` rows of width ``d`` a query costs ``n · share · d + more · k · d`` multiplications,
    that is ``share + more · k / n`` of the exact search; codes cost what their bits do, a 32nd or
    a quarter.

    Parameters
    ----------
    kind : what is scanned, of :data:`conjoin.retrieval.engines.quantization.KINDS`.
    share : of the width that is scanned, from the first dimension on.
    more : candidates for each of the k; 0 keeps the order of the scan.
    funnel : candidates pass through prefixes of twice the width each, half of them at a step.
    paid : for a scan alone: as many more dimensions as ``paid`` candidates for each of the k
        would have cost, so that it is as dear as the two stages it is compared with.

    References
    ----------
    Kusupati et al., Matryoshka Representation Learning, NeurIPS 2022: adaptive and funnel
    retrieval.
    """

    kind: str = "float32"
    share: float = 1.0
    more: int = 0
    funnel: bool = False
    paid: int = 0

    def find(self, q: np.ndarray, gallery: np.ndarray, k: int, *, cosine: bool) -> np.ndarray:
        """Candidates by codes; ranked by the float32 rows where ``more`` is above 0."""
        q, gallery = (np.ascontiguousarray(x, dtype=np.float32) for x in (q, gallery))
        k = min(k, len(gallery))
        storage = self.storage(gallery.shape, k)
        codes: Any = Codes.of(storage, gallery, cosine=cosine)
        if not self.more:
            return np.asarray(codes.candidates(q, k, None, None))
        keep = min(len(gallery), self.more * k)
        rows = codes.candidates(q, keep, None, None)
        return np.asarray(rescore(q, gallery, rows, k, None)[1])

    def storage(self, shape: tuple[int, ...], k: int) -> Storage:
        """What is scanned of a gallery ``[n, d]``."""
        n, width = shape
        share = min(1.0, self.share + self.paid * k / n)
        cut = max(1, round(share * width))
        return Storage(self.kind, 0 if cut >= width else cut, self.funnel and cut < width)
