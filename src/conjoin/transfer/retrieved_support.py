"""A head from names alone: rows that the names retrieve stand in for labelled ones."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.spaces.frame import unit
from conjoin.transfer.base import (
    Prototypes,
    check_labels,
    check_rows,
    known_classes,
    require_prototypes,
)
from conjoin.transfer.cache_heads import CacheHead
from conjoin.transfer.heads import Cache


@dataclass(frozen=True)
class SupportHead:
    """Each class's support set is the ``shots`` rows nearest to its name; then a cache of them.

    With a pool of rows x and class prototypes W, both at unit length, class c is supported by the
    rows of the largest ``x · w_c``, equal ones in stored order; a row may support several classes.
    Scores are those of ``CacheHead`` with these rows as the labelled
    ones. The pool's labels are not read.

    Parameters
    ----------
    shots : rows a class.
    alpha, beta, gamma : as of the cache head.

    References
    ----------
    Udandarao et al. 2023 (udandarao2023susx): support sets retrieved from a large pool by class
    name (the other way there, generating them, needs a generator); classified by TIP-X.
    """

    shots: Annotated[int, Search(1, 128, log=True)] = 8
    alpha: Annotated[float, Search(0.1, 50.0, log=True)] = 1.0
    beta: Annotated[float, Search(0.5, 50.0, log=True)] = 5.5
    gamma: Annotated[float, Search(0.0, 30.0)] = 5.0
    prototypes: ClassVar[str] = "needed"
    answers: ClassVar[str] = "classes"

    def fit(self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0) -> Cache:
        """The cache of retrieved rows; nothing is trained.

        Raises
        ------
        ConjoinError : rows are not finite, or there are no prototypes.
        """
        rows = check_rows(x, "x")
        named = require_prototypes(prototypes, rows.shape[1], "sus-x")
        check_labels(y, len(rows))
        classes = known_classes(named.labels)
        near = named.means(classes).astype(rows.dtype) @ unit(rows).T
        kept = np.argsort(-near, axis=1, kind="stable")[:, : int(self.shots)]
        labels = np.repeat(classes, kept.shape[1])
        cache = CacheHead(self.alpha, self.beta, self.gamma)
        return cache.fit(rows[kept.ravel()], labels, prototypes=named, seed=seed)
