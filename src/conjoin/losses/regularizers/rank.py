"""How many directions the outputs use, as something to train down or up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from conjoin.catalogue import Search
from conjoin.losses.base import Addable, Param, nothing, trained_views
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.losses.regularizers.spectral import lines_of
from conjoin.losses.temperature import start
from conjoin.spaces import Batch


@dataclass(frozen=True)
class RankPenalty(Addable):
    """Effective rank of a view's outputs: the number of directions in use, as a penalty.

    ``loss = exp(−Σ p log p) / d`` with ``p = σ / Σ σ``, σ being the singular values of the batch's
    outputs at unit length, each row times the root of its weight, and d the most there can be;
    averaged over views. In (0, 1]; minimised, a few directions carry everything.

    References
    ----------
    Effective rank: Roy and Vetterli 2007 (roy2007effective). As a penalty while sentence encoders
    are tuned: Jung et al. 2024 (jung2024rank), whose exact term was not read.
    """

    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing to train."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over views; zero where none has a line."""
        losses = [nothing(out, batch)]
        for name in trained_views(out, batch):
            lines = lines_of(name, batch)
            if not len(lines):
                continue
            rows = torch.nn.functional.normalize(out[name][lines], dim=1)
            trust = batch.weights[lines].to(rows.dtype)
            values = torch.linalg.svdvals(trust.sqrt()[:, None] * rows)
            share = values / values.sum().clamp_min(1e-12)
            entropy = -torch.special.xlogy(share, share.clamp_min(1e-12)).sum()
            losses.append(entropy.exp() / len(values))
        return sum(losses) / max(len(losses) - 1, 1)


@dataclass(frozen=True)
class RankReduced(Addable):
    """InfoNCE that also keeps the number of directions in use low.

    ``loss = InfoNCE + weight · RankPenalty``.

    Parameters
    ----------
    temperature, learn_temperature : τ at the start, and whether it is trained.
    weight : of the penalty; 0 is InfoNCE.
    block : rows of logits held at a time.

    References
    ----------
    Jung et al. 2024 (jung2024rank): a rank-reducing term beside contrast, to tune sentence
    encoders faster and more steadily. The form and the weight of their term were not read; only
    the idea is here.
    """

    temperature: Annotated[float, Search(0.001, 1.0, log=True)] = 0.07
    learn_temperature: bool = True
    weight: Annotated[float, Search(0.0, 10.0)] = 1.0
    block: int = 512
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """``log_scale``, where it is learned."""
        return start(self.temperature, self.learn_temperature)

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """The weighted sum."""
        loss = InfoNCE(self.temperature, self.learn_temperature, block=self.block)
        return loss(out, batch, params) + self.weight * RankPenalty()(out, batch, {})
