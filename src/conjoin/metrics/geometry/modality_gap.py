"""Whether two modalities bound into one frame lie in the same place, and how they fill it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.metrics.base import Reads
from conjoin.metrics.measurement import Measurement
from conjoin.storage.digest import stable_hash

#: Rows scored against as many at a time.
BLOCK = 1024


class _Bound(Reads):
    shared: ClassVar[bool] = True
    on_sphere: ClassVar[bool] = True
    higher_is_better: ClassVar[bool] = False


@dataclass(frozen=True)
class CentroidDistance(_Bound):
    """Distance between the means of two modalities on the unit sphere.

    ``|mean u/|u| − mean v/|v||`` in [0, 2]; the modality gap.

    What to do: a gap alone does not spoil a search within one modality; where results of several
    are mixed, centre each modality or search them as lists of their own.

    References
    ----------
    Liang et al. 2022 (liang2022gap); Fahim et al. 2024 (fahim2024gap), their code.
    """

    name: ClassVar[str] = "centroid-distance"
    meaning: ClassVar[str] = (
        "How far apart both modalities lie; where lists are mixed, centre each first."
    )
    paired: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, 2.0)
    invariances: ClassVar[frozenset[str]] = frozenset(
        {"order", "pairing", "swap", "common rotation", "scale", "common scale", "lengths"}
    )

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        u, v = (x.mean(axis=0, dtype=np.float64) for x in self.read(views))
        return self.told(float(np.linalg.norm(u - v)), min(map(len, views.values())))


@dataclass(frozen=True)
class LinearSeparability(_Bound):
    """Accuracy of a linear classifier that tells two modalities apart by their vectors.

    Logistic regression on rows of length 1, trained on a share of the lines (both rows of a
    line) and scored on the others: about 0.5, above or below, where the modalities lie together,
    1 where a plane parts them.

    What to do: near 1 with a small centroid distance, mean-centering will not close the gap; scores
    between modalities stay comparable only within one direction of search.

    Parameters
    ----------
    train : share of the lines to train on.
    seed : decides which.

    References
    ----------
    Fahim et al. 2024 (fahim2024gap): 20 % to train, as in their code.
    """

    train: Annotated[float, Search(0.1, 0.9)] = 0.2
    seed: int = 0
    name: ClassVar[str] = "linear-separability"
    meaning: ClassVar[str] = (
        "How well a plane tells the modalities apart; near 1, do not mix their scores."
    )
    invariances: ClassVar[frozenset[str]] = frozenset({"scale", "common scale", "lengths"})
    least: ClassVar[int] = 10

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        from sklearn.linear_model import LogisticRegression

        u, v = (x.astype(np.float64) for x in self.read(views))
        rng = np.random.default_rng([self.seed, stable_hash("linear-separability")])
        order = rng.permutation(len(u))
        seen = max(1, int(self.train * len(u)))
        sides = []
        for lines in (order[:seen], order[seen:]):
            labels = np.repeat([0, 1], len(lines))
            sides.append((np.concatenate([u[lines], v[lines]]), labels))
        fitted = LogisticRegression(max_iter=1000).fit(*sides[0])
        return self.told(fitted.score(*sides[1]), len(u))


@dataclass(frozen=True)
class Alignment(_Bound):
    """Mean power of the distance between partners on the unit sphere.

    ``mean |u − v|^power`` over lines, in [0, 2^power]; about 2 at power 2 for unrelated rows.

    What to do: read it beside uniformity. Low with a high uniformity means that everything lies
    close together, not that partners were found.

    Parameters
    ----------
    power : of the distance.

    References
    ----------
    Wang and Isola 2020 (wang2020hypersphere).
    """

    power: Annotated[float, Search(1.0, 4.0)] = 2.0
    name: ClassVar[str] = "alignment"
    meaning: ClassVar[str] = "How far partners lie from each other on the sphere."
    range: ClassVar[tuple[float, float]] = (0.0, 16.0)
    invariances: ClassVar[frozenset[str]] = frozenset(
        {"order", "swap", "common rotation", "scale", "common scale", "lengths"}
    )

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        u, v = self.read(views)
        squared = np.square(u - v).sum(axis=1, dtype=np.float64)
        found = self.told(np.mean(squared ** (self.power / 2)), len(u))
        return replace(found, range=(0.0, 2.0**self.power))


@dataclass(frozen=True)
class Uniformity(_Bound):
    """Log of the mean Gaussian potential between the rows of a space on the unit sphere.

    ``log mean_{i<j} exp(−t |zᵢ − zⱼ|²)`` in [−4t, 0], lower where rows are spread more evenly.
    Computed in tiles: no n × n matrix is held.

    What to do: near 0 the vectors fill a narrow cone: centre or whiten before anything is fitted.

    Parameters
    ----------
    t : sharpness of the potential.

    References
    ----------
    Wang and Isola 2020 (wang2020hypersphere).
    """

    t: Annotated[float, Search(0.5, 8.0, log=True)] = 2.0
    name: ClassVar[str] = "uniformity"
    meaning: ClassVar[str] = (
        "How evenly rows are spread, lower is more; near 0, centre or whiten them."
    )
    views: ClassVar[int] = 1
    paired: ClassVar[bool] = False
    shared: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (-32.0, 0.0)
    invariances: ClassVar[frozenset[str]] = frozenset({"order", "rotation", "scale", "lengths"})

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        (x,) = self.read(views)
        z, n, total = np.ascontiguousarray(x), len(x), 0.0
        for a in range(0, n, BLOCK):
            for c in range(a, n, BLOCK):
                tile = z[a : a + BLOCK] @ z[c : c + BLOCK].T
                tile -= 1
                tile *= 2 * self.t
                np.exp(tile, out=tile)
                if a == c:
                    np.fill_diagonal(tile, 0)
                total += float(tile.sum(dtype=np.float64)) / (2 if a == c else 1)
        if total <= 0:
            raise ConjoinError(self.name, "no two rows are near enough to count", "lower t")
        found = self.told(min(0.0, math.log(total / (n * (n - 1) / 2))), n)
        return replace(found, range=(-4 * self.t, 0.0))
