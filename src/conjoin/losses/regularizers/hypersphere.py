"""The two halves of contrast on the sphere: partners near, everything else spread out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch

from conjoin.catalogue import Search
from conjoin.losses.base import Addable, Param, nothing, pairs_present, trained_views
from conjoin.losses.contrastive.softmax import Keys, alike, by_rows
from conjoin.spaces import Batch


@dataclass(frozen=True)
class Alignment(Addable):
    """Mean power of the distance between partners on the unit sphere.

    ``loss = Σ w |a − b|^power / Σ w`` over lines and pairs of views where both are present;
    in [0, 2^power].

    References
    ----------
    Wang and Isola 2020 (wang2020hypersphere).
    """

    power: Annotated[float, Search(1.0, 4.0)] = 2.0
    decomposes: ClassVar[bool] = True

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing to train."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """The weighted mean; zero where no line has two views."""
        total, weight = nothing(out, batch), 0.0
        for a, b, lines in pairs_present(out, batch):
            u, v = (torch.nn.functional.normalize(out[name][lines], dim=1) for name in (a, b))
            trust = batch.weights[lines].to(u.dtype)
            squared = (u - v).square().sum(1).clamp_min(1e-12)
            total = total + (trust * squared.pow(self.power / 2)).sum()
            weight = weight + trust.sum()
        return total / weight if isinstance(weight, torch.Tensor) else total


@dataclass(frozen=True)
class Uniformity(Addable):
    """Log of the mean Gaussian potential between the rows of each view on the unit sphere.

    ``loss = log( Σ_{i<j} wᵢ wⱼ exp(−t |zᵢ − zⱼ|²) / Σ_{i<j} wᵢ wⱼ )``, averaged over views with
    two present lines; in [−4t, 0], lower where rows are spread more evenly.

    References
    ----------
    Wang and Isola 2020 (wang2020hypersphere).
    """

    t: Annotated[float, Search(0.5, 8.0, log=True)] = 2.0
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing to train."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over views; zero where none has two rows."""
        losses = [nothing(out, batch)]
        for name in trained_views(out, batch):
            lines = (batch.present[name] & (batch.weights > 0)).nonzero()[:, 0]
            if len(lines) > 1:
                z = torch.nn.functional.normalize(out[name][lines], dim=1)
                first, second = torch.triu_indices(len(z), len(z), offset=1)
                trust = batch.weights[lines].log().to(z.dtype)
                weight = trust[first] + trust[second]
                potential = -2 * self.t * (1 - (z @ z.T)[first, second]) + weight
                losses.append(potential.logsumexp(0) - weight.logsumexp(0))
        return sum(losses) / max(len(losses) - 1, 1)


@dataclass(frozen=True)
class CrossUniformity(Addable):
    """Log of the mean Gaussian potential between rows of two views that are no partners.

    ``loss = log( Σ_{i≠j} wᵢ wⱼ exp(−t |aᵢ − bⱼ|²) / Σ_{i≠j} wᵢ wⱼ )`` on the unit sphere, averaged
    over pairs of views with two lines to tell apart; in [−4t, 0]. Lines whose ``ids`` agree in
    either view are partners.

    Parameters
    ----------
    t : sharpness of the potential.
    block : rows of distances held at a time.

    References
    ----------
    Fahim et al. 2024 (fahim2024gap).
    """

    t: Annotated[float, Search(0.5, 8.0, log=True)] = 2.0
    block: int = 512
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing to train."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over pairs of views; zero where none has two lines to tell apart."""
        losses = [nothing(out, batch)]
        for a, b, lines in pairs_present(out, batch):
            u, v = (torch.nn.functional.normalize(out[name][lines], dim=1) for name in (a, b))
            keys = Keys.of(batch, a, b, lines)
            trust = batch.weights[lines].log().to(u.dtype)
            both = by_rows(partial(self._rows, u, v, keys, trust), len(u), self.block).logsumexp(0)
            if both[1] > -torch.inf:
                losses.append(both[0] - both[1])
        return sum(losses) / max(len(losses) - 1, 1)

    def _rows(self, u: Any, v: Any, keys: Keys, trust: Any, cut: slice) -> Any:
        """Logs of the potentials' and of the weights' sums, ``[1, 2]``."""
        weight = (trust[cut, None] + trust).masked_fill(alike(keys, cut), -torch.inf)
        potential = -2 * self.t * (1 - u[cut] @ v.T) + weight
        return torch.stack([potential.flatten(), weight.flatten()]).logsumexp(1)[None]
