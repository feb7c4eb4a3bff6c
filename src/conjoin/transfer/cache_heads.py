"""Heads without training: what a row lies near to, and what it retrieves."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.spaces.frame import unit
from conjoin.transfer.base import (
    Prototypes,
    blocks,
    check_labels,
    check_rows,
    known_classes,
    require_prototypes,
    softmax,
)
from conjoin.transfer.heads import Cache, Rescored, confidence, divergences, log_softmax

#: Keys among which the span of divergences is taken.
SPAN = 2048


@dataclass(frozen=True)
class CacheHead:
    """Names, and a cache of labelled rows that a row is compared with.

    With rows ``F``, their one-hot labels ``L`` and class prototypes ``W``, all at unit length,
    ``scores(x) = scale x Wᵀ + α exp(−β (1 − x Fᵀ)) L − γ ψ(KL(p(x) ‖ p(F))) L`` where
    ``p(z) = softmax(z Wᵀ / T)``. ``ψ`` brings divergences to the range of the cosines: from the
    lowest and highest among the cached rows to the lowest and highest cosine of two of them. With
    ``γ = 0`` it is Tip-Adapter; the last term is TIP-X's.

    Parameters
    ----------
    alpha, beta : what the cache counts, and how sharply.
    gamma : what the agreement on the names counts.
    scale : of the names' cosines.
    temperature : T.

    References
    ----------
    Zhang et al. 2022 (zhang2022tipadapter); the divergence: Udandarao et al. 2023
    (udandarao2023susx), whose code takes the span of ψ from the test rows as a whole; taken from
    the cache, an answer does not depend on what else is asked.
    """

    alpha: Annotated[float, Search(0.1, 50.0, log=True)] = 1.0
    beta: Annotated[float, Search(0.5, 50.0, log=True)] = 5.5
    gamma: Annotated[float, Search(0.0, 30.0)] = 0.0
    scale: Annotated[float, Search(1.0, 200.0, log=True)] = 100.0
    temperature: Annotated[float, Search(0.005, 1.0, log=True)] = 0.5
    prototypes: ClassVar[str] = "needed"
    answers: ClassVar[str] = "classes"

    def fit(self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0) -> Cache:
        """The cache; nothing is trained."""
        rows = check_rows(x, "x")
        named = require_prototypes(prototypes, rows.shape[1], "tip-adapter")
        labels = check_labels(y, len(rows))
        classes = known_classes(labels, named)
        keys = unit(rows)
        names = named.means(classes).T.astype(rows.dtype)
        held = np.concatenate(
            [log_softmax(keys[cut] @ names / self.temperature) for cut in blocks(keys)]
            or [np.empty((0, len(classes)), rows.dtype)]
        )
        numbers = {
            "scale": self.scale, "alpha": self.alpha, "beta": self.beta, "gamma": self.gamma,
            "temperature": self.temperature,
        }  # fmt: skip
        owner = np.searchsorted(classes, labels) if len(labels) else np.empty(0, np.int64)
        span = self._span(keys, held) if self.gamma else (0.0, 1.0, 0.0, 1.0)
        return Cache(classes, keys, owner, names, held, numbers, span)

    def _span(self, keys: np.ndarray, held: np.ndarray) -> tuple[float, float, float, float]:
        if len(keys) < 2:
            return 0.0, 1.0, 0.0, 1.0
        at = np.unique(np.linspace(0, len(keys) - 1, min(len(keys), SPAN)).astype(np.int64))
        apart = divergences(held[at], held[at])
        near = keys[at] @ keys[at].T
        return float(apart.min()), float(apart.max()), float(near.min()), float(near.max())


@dataclass(frozen=True)
class RetrievalHead:
    """Names, asked by a row and by the k rows it retrieves; the surer of the two counts more.

    ``p = softmax(scale x Wᵀ)`` for a row and ``q`` the mean of the same over the k rows of the
    pool nearest to it. With confidence ``c(p) = 1 − H(p) / log C``, the answer is
    ``c(p)/c̄ p + c(q)/c̄' q`` brought to sum 1, each mean being over the rows of the pool, every
    one asked without itself. The pool are the rows it is fitted to, of another modality where
    those asked are of one; their labels are not read.

    Parameters
    ----------
    k : rows retrieved.
    scale : inverse temperature.

    References
    ----------
    Eom et al. 2023 (eom2023xmore). Their code divides a confidence by the running mean of those
    of the test rows asked before; the pool's mean in its place leaves answers alone.
    """

    k: Annotated[int, Search(1, 128, log=True)] = 16
    scale: Annotated[float, Search(1.0, 1000.0, log=True)] = 100.0
    prototypes: ClassVar[str] = "needed"
    answers: ClassVar[str] = "classes"

    def fit(
        self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0
    ) -> Rescored:
        """The pool, and what the names make of each of its rows."""
        rows = check_rows(x, "x")
        named = require_prototypes(prototypes, rows.shape[1], "x-more")
        check_labels(y, len(rows))
        classes = known_classes(named.labels)
        names = named.means(classes).T.astype(rows.dtype)
        pool = unit(rows)
        held = np.concatenate(
            [softmax(self.scale * (pool[cut] @ names)) for cut in blocks(pool)]
            or [np.empty((0, len(classes)), rows.dtype)]
        )
        made = Rescored(classes, pool, held, names, int(self.k), self.scale)
        if len(pool) < 2:
            return made
        at = np.unique(np.linspace(0, len(pool) - 1, min(len(pool), SPAN)).astype(np.int64))
        own, found = made.parts(pool[at], at)
        usual = tuple(max(float(confidence(p).mean()), 1e-12) for p in (own, found))
        return Rescored(classes, pool, held, names, int(self.k), self.scale, (usual[0], usual[1]))
