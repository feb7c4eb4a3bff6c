"""Vectors whose beginnings are good vectors too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from conjoin import catalogue
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.losses.base import Addable, Param
from conjoin.spaces import Batch


@dataclass(frozen=True)
class Matryoshka(Addable):
    """An objective on the first m coordinates of its outputs, for several m at once.

    ``loss = Σₘ cₘ · L(z[:, :m])``. Each prefix is normalised by the objective itself, where that
    compares by cosine; what it trains (temperature…) is shared by all prefixes.

    Parameters
    ----------
    of : L, an objective or the name of its row.
    dims : the m; empty for the width of the outputs and its halves. Those beyond the width are
        taken as the width, once.
    smallest : of the halves; the full width is always among them.
    weights : the cₘ, one for each of ``dims``; empty for 1 each, as published.

    Raises
    ------
    ConjoinError : there is not one weight a prefix.

    References
    ----------
    Kusupati et al. 2022 (kusupati2022matryoshka).
    """

    of: Any = "infonce"
    dims: tuple[int, ...] = ()
    smallest: Annotated[int, Search(1, 512, log=True)] = 8
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.dims):
            raise ConjoinError(
                "matryoshka.weights",
                f"{len(self.weights)} for {len(self.dims)} prefixes",
                "give one weight for each of dims",
            )

    @property
    def inner(self) -> Any:
        """The objective itself."""
        return catalogue.find("loss", self.of).make() if isinstance(self.of, str) else self.of

    @property
    def decomposes(self) -> bool:
        """Whether the objective does."""
        return bool(self.inner.decomposes)

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """What the objective trains at full width."""
        return self.inner.init(names, dim)

    def prefixes(self, width: int) -> dict[int, float]:
        """The prefixes for outputs of that width, and their weights."""
        found: dict[int, float] = {}
        if not self.dims:
            while width >= self.smallest or not found:
                found[width] = 1.0
                width //= 2
            return found
        for m, weight in zip(self.dims, self.weights or [1.0] * len(self.dims), strict=True):
            found.setdefault(min(m, width), weight)
        return found

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """The weighted sum over prefixes."""
        inner = self.inner
        views = [name for name in out if name in batch.rows]
        width = min((out[name].shape[-1] for name in views), default=1)
        total: Any = 0.0
        for m, weight in self.prefixes(width).items():
            cut = {**out, **{name: out[name][..., :m] for name in views}}
            total = total + weight * inner(cut, batch, params)
        return total
