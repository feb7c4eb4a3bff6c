"""What keeps the spectrum of outputs as one would have it, on the outputs of each view alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.losses.base import Addable, Param, nothing, trained_views
from conjoin.spaces import Batch


def lines_of(name: str, batch: Batch) -> Any:
    """The lines on which a view counts: present, weight above 0."""
    return (batch.present[name] & (batch.weights > 0)).nonzero()[:, 0]


@dataclass(frozen=True)
class Consistency(Addable):
    """Outputs point where the rows they were made of point.

    ``loss = Σᵢ wᵢ |ẑᵢ − x̂ᵢ|² / (d Σ w)`` with outputs z, source rows x, hats for unit length;
    averaged over views. In [0, 4/d].

    References
    ----------
    Chen et al. 2024 (chen2024nmtune).
    """

    decomposes: ClassVar[bool] = True

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing to train."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over views; zero where no line counts.

        Raises
        ------
        ConjoinError : outputs are not as wide as the rows.
        """
        total, weight = nothing(out, batch), 0.0
        for name in trained_views(out, batch):
            lines = lines_of(name, batch)
            if not len(lines):
                continue
            z, x = out[name][lines], batch.rows[name][lines]
            if z.shape != x.shape:
                raise ConjoinError(
                    f"view {name}", f"outputs of {z.shape[-1]} for rows of {x.shape[-1]}",
                    "keep the width, or leave consistency out",
                )  # fmt: skip
            unit = torch.nn.functional.normalize
            trust = batch.weights[lines].to(z.dtype)
            apart = (unit(z, dim=1) - unit(x.to(z.dtype), dim=1)).square().mean(dim=1)
            total = total + (trust * apart).sum()
            weight = weight + trust.sum()
        return total / weight if isinstance(weight, torch.Tensor) else total


@dataclass(frozen=True)
class Decorrelation(Addable):
    """Coordinates of a view's outputs vary on their own.

    ``loss = Σ_{i≠j} Cov(z)ᵢⱼ² / d`` with the unbiased covariance of the batch, averaged over
    views with two lines.

    References
    ----------
    Chen et al. 2024 (chen2024nmtune).
    """

    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing to train."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over views; zero where none has two lines."""
        losses = [nothing(out, batch)]
        for name in trained_views(out, batch):
            lines = lines_of(name, batch)
            if len(lines) < 2:
                continue
            z = out[name][lines]
            trust = batch.weights[lines].to(z.dtype)
            share = trust / trust.sum()
            inside = z - share @ z
            cov = (share[:, None] * inside).T @ inside / (1 - share.square().sum())
            losses.append((cov.square().sum() - cov.diagonal().square().sum()) / z.shape[1])
        return sum(losses) / max(len(losses) - 1, 1)


@dataclass(frozen=True)
class DominantSingular(Addable):
    """A few directions of a view's outputs carry most.

    ``loss = −mean(σ₁ … σ_k) / Σ σ``, σ being the singular values of the batch's outputs, each
    row times the root of its weight; averaged over views. In [−1, 0).

    Parameters
    ----------
    k : directions, at most half of those there are: all of them always carry everything.

    References
    ----------
    Chen et al. 2024 (chen2024nmtune); five directions as in their code.
    """

    k: Annotated[int, Search(1, 64, log=True)] = 5
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing to train."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over views; zero where none has a line."""
        losses = [nothing(out, batch)]
        for name in trained_views(out, batch):
            lines = lines_of(name, batch)
            if len(lines):
                trust = batch.weights[lines].to(out[name].dtype)
                values = torch.linalg.svdvals(trust.sqrt()[:, None] * out[name][lines])
                kept = values[: min(self.k, max(1, len(values) // 2))]
                losses.append(-kept.mean() / values.sum().clamp_min(1e-12))
        return sum(losses) / max(len(losses) - 1, 1)
