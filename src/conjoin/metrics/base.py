"""What every measure of vectors promises, and how far its number may be trusted.

Source of the interval: Shao and Wu, A General Theory for Jackknife Variance Estimation, Annals
of Statistics 17 (1989); Politis, Romano and Wolf, Subsampling (1999).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin.errors import ConjoinError, nearest
from conjoin.metrics.measurement import Measurement
from conjoin.spaces import check_vectors, unit
from conjoin.stats.bootstrap import check_groups
from conjoin.storage.digest import stable_hash

#: What a measure may declare to leave its value as it is; the laws try each.
INVARIANCES: Mapping[str, str] = {
    "order": "lines in another order, the same for every view",
    "pairing": "lines of each view in an order of its own",
    "swap": "views in another order",
    "rotation": "each view turned by a rotation of its own",
    "common rotation": "all views turned by one rotation",
    "scale": "each view times a positive number of its own",
    "common scale": "all views times one positive number",
    "lengths": "each row times a positive number of its own",
    "shift": "each view moved by a vector of its own",
    "common shift": "all views moved by one vector",
    "linear": "each view under an invertible linear map of its own",
}


@runtime_checkable
class Geometry(Protocol):
    """A frozen dataclass that reads aligned views; its catalogue rows are of kind ``measure``.

    Row i of every view shows the same thing where ``paired``.
    """

    #: Views it takes; the least number of them where ``many``.
    views: ClassVar[int]
    many: ClassVar[bool]
    #: Whether the value depends on which rows stand on one line.
    paired: ClassVar[bool]
    #: Whether the views must lie in one frame.
    shared: ClassVar[bool]
    range: ClassVar[tuple[float, float]]
    higher_is_better: ClassVar[bool]
    #: Keys of :data:`INVARIANCES` that hold for any input.
    invariances: ClassVar[frozenset[str]]

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def meaning(self) -> str:
        """One plain sentence."""
        ...

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        ...


class Reads:
    """What measures share: their declarations, the checks of their input, the wrapping."""

    views: ClassVar[int] = 2
    many: ClassVar[bool] = False
    paired: ClassVar[bool] = True
    shared: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    invariances: ClassVar[frozenset[str]] = frozenset({"order"})
    name: ClassVar[str]
    meaning: ClassVar[str]
    #: Fewest rows of a view.
    least: ClassVar[int] = 4
    #: Whether rows are scaled to length 1 first.
    on_sphere: ClassVar[bool] = False

    def read(self, views: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The views as finite arrays, in the order given.

        Raises
        ------
        ConjoinError : too few or many views, lengths or widths that differ, too few rows, NaN,
            every row the same, or a zero row where rows are scaled.
        """
        if len(views) < self.views or (len(views) > self.views and not self.many):
            wanted = f"{self.views} or more" if self.many else f"{self.views}"
            raise ConjoinError(self.name, f"{len(views)} views {sorted(views)}", f"give {wanted}")
        found = {name: self._one(name, x) for name, x in views.items()}
        if self.paired:
            self._same(found, 0, "rows", "align the views line by line")
        if self.shared:
            self._same(found, -1, "dimensions", "bind the views into one frame first")
        return list(found.values())

    def _one(self, name: str, x: np.ndarray) -> np.ndarray:
        where = f"{self.name}: view {name}"
        x = check_vectors(x, where)
        if len(x) < self.least:
            raise ConjoinError(where, f"{len(x)} rows", f"give at least {self.least}")
        return unit_rows(x, where) if self.on_sphere else x

    def _same(self, found: Mapping[str, np.ndarray], axis: int, what: str, remedy: str) -> None:
        sizes = {name: x.shape[axis] for name, x in found.items()}
        if len(set(sizes.values())) > 1:
            said = ", ".join(f"{size} {what} in {name}" for name, size in sizes.items())
            raise ConjoinError(self.name, said, remedy)

    def told(self, value: float, n: int, meaning: str | None = None) -> Measurement:
        """The value as a measurement."""
        return Measurement(
            self.name, float(value), None, None, n, self.range, self.higher_is_better,
            meaning or self.meaning,
        )  # fmt: skip


class Pairwise(Reads):
    """A measure of two views that reads each once and then compares what it read."""

    def prepare(self, x: np.ndarray) -> Any:
        """What is read of one view; kept where one view is compared with many."""
        return x

    def compare(self, a: Any, b: Any) -> float:
        """The value for two views that were read."""
        raise NotImplementedError

    def __call__(self, views: Mapping[str, np.ndarray]) -> Measurement:
        """The measurement, without an interval."""
        x, y = self.read(views)
        return self.told(self.compare(self.prepare(x), self.prepare(y)), len(x))


def unit_rows(x: np.ndarray, where: str) -> np.ndarray:
    """Rows scaled to length 1, in the precision they came in.

    Raises
    ------
    ConjoinError : a row is zero and so has no direction.
    """
    some = np.asarray(x != 0).any(axis=-1)
    if not some.all():
        row = int(np.argwhere(~some)[0][0])
        raise ConjoinError(where, f"row {row} is all zeros", "drop it: it has no direction")
    return unit(x)


def subsampled(
    measure: Geometry,
    views: Mapping[str, np.ndarray],
    groups: np.ndarray,
    *,
    draws: int = 100,
    share: float = 0.8,
    level: float = 0.95,
    seed: int = 0,
) -> Measurement:
    """The measurement with an interval from subsamples of whole groups, without replacement.

    A row drawn twice would be its own neighbour, so groups are never repeated. With m of G
    groups drawn, the variance over draws times ``m / (G − m)`` estimates the variance of the
    value on all of them (the delete-d jackknife); the interval is ``value ± t · sd``, cut to the
    measure's range. A level that moves with the number of rows, as that of neighbour measures
    does, is left out: only the spread of the draws is used.

    Parameters
    ----------
    views : aligned line by line.
    groups : ``[n]`` labels; rows of one group are kept or left together. At least 5 groups.
    share : of the groups in a draw.

    Raises
    ------
    ConjoinError : lengths differ, there are too few groups, or draws or share out of range.
    """
    whole = measure(views)
    lengths = {len(x) for x in views.values()}
    if lengths != {len(groups)}:
        raise ConjoinError("groups", f"{len(groups)} for {sorted(lengths)} rows", "give one a row")
    owner = check_groups(np.zeros(len(groups)), np.asarray(groups))
    count = int(owner.max()) + 1
    kept = round(share * count)
    if not (0 < share < 1 and draws >= 2 and count >= 5 and 0 < kept < count):
        raise ConjoinError(
            "subsampled", f"{draws} draws of {share} of {count} groups",
            "give 2 draws or more, a share below 1 and at least 5 groups",
        )  # fmt: skip
    rng = np.random.default_rng([seed, stable_hash("subsample")])
    values = []
    for _ in range(draws):
        live = np.zeros(count, dtype=bool)
        live[rng.permutation(count)[:kept]] = True
        values.append(measure({name: x[live[owner]] for name, x in views.items()}).value)
    spread = float(np.std(values, ddof=1)) * math.sqrt(kept / (count - kept))
    return _around(whole, spread, count, level)


def _around(whole: Measurement, spread: float, count: int, level: float) -> Measurement:
    from scipy.special import stdtrit

    reach = float(stdtrit(count - 1, (1 + level) / 2)) * spread
    least, most = whole.range
    low, high = max(least, whole.value - reach), min(most, whole.value + reach)
    return replace(whole, low=min(low, whole.value), high=max(high, whole.value))


def by_chance(
    measure: Geometry, views: Mapping[str, np.ndarray], *, draws: int = 20, seed: int = 0
) -> np.ndarray:
    """``[draws]`` values with the lines of every view but the first shuffled.

    What a paired measure is worth where nothing belongs together; compare its value with these.

    Raises
    ------
    ConjoinError : the measure does not read which rows belong together.
    """
    if not measure.paired:
        raise ConjoinError(measure.name, "does not read pairs", "no shuffling can change it")
    rng = np.random.default_rng([seed, stable_hash("shuffle")])
    first = next(iter(views))
    found = []
    for _ in range(draws):
        mixed = {n: x if n == first else x[rng.permutation(len(x))] for n, x in views.items()}
        found.append(measure(mixed).value)
    return np.array(found)


def measure_named(name: str, fields: Mapping[str, Any] | None = None) -> Geometry:
    """The measure of vectors of that name.

    Raises
    ------
    ConjoinError : there is none; near matches are named.
    """
    known = geometry_rows()
    if name not in known:
        raise ConjoinError("measure", f"{name!r} is unknown", nearest(name, known))
    return known[name].make(fields)


def geometry_rows() -> dict[str, Any]:
    """The catalogue rows whose measures read vectors, by name."""
    from conjoin.catalogue import of_kind

    return {name: row for name, row in of_kind("metric").items() if row.family in FAMILIES}


#: Families of rows whose measures read vectors and not rankings.
FAMILIES: Sequence[str] = ("alignment", "geometry", "hubness")
