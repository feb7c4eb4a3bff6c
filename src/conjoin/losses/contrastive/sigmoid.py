"""Every pair of lines is a yes or no of its own: no sum over the batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch

from conjoin.catalogue import Search
from conjoin.losses.base import Addable, Param, nothing, pairs_present
from conjoin.losses.contrastive.softmax import Keys, alike, by_rows
from conjoin.losses.temperature import inverse, start
from conjoin.spaces import Batch


@dataclass(frozen=True)
class Sigmoid(Addable):
    """Binary cross-entropy of "these two lines belong together", over all pairs of a batch.

    ``loss = −(1/n) Σᵢ Σⱼ log σ(zᵢⱼ (s(aᵢ, bⱼ)/τ + β))`` with ``zᵢⱼ = 1`` on the diagonal and −1
    elsewhere, s the cosine; averaged over pairs of views that share a line. Lines of weight w
    count ``(wᵢ + wⱼ)/2`` in their common term. Lines that show the same thing, or that the batch
    bars, are no negatives.

    Parameters
    ----------
    temperature : τ at the start; trained.
    bias : β at the start; trained. About ``−log`` of the negatives of a line lets training begin
        where most pairs are negatives already.
    block : rows of logits held at a time.

    References
    ----------
    Zhai et al. 2023 (zhai2023siglip), who start at τ = .1 and β = −10.
    """

    temperature: Annotated[float, Search(0.005, 1.0, log=True)] = 0.1
    bias: Annotated[float, Search(-20.0, 0.0)] = -10.0
    learn_temperature: bool = True
    block: int = 1024
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """``log_scale`` where it is learned, and ``bias``."""
        return {**start(self.temperature, self.learn_temperature), "bias": Param(self.bias)}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over the pairs of views that share a line; zero where none do."""
        losses = []
        for a, b, lines in pairs_present(out, batch):
            u, v = (torch.nn.functional.normalize(out[name][lines], dim=1) for name in (a, b))
            trust = batch.weights[lines].to(u.dtype)
            scale, bias = inverse(self.temperature, params, u), params["bias"].to(u.dtype)
            rows = partial(self._rows, u * scale, v, bias, trust, Keys.of(batch, a, b, lines))
            losses.append(by_rows(rows, len(u), self.block).sum() / trust.sum())
        return torch.stack(losses).mean() if losses else nothing(out, batch)

    def _rows(self, u: Any, v: Any, bias: Any, trust: Any, keys: Keys, cut: slice) -> Any:
        """``[k]`` the terms of some lines with all lines."""
        logits = u[cut] @ v.T + bias
        own = logits.diagonal(offset=cut.start)
        soft = torch.nn.functional.softplus
        apart = soft(logits).masked_fill(alike(keys, cut), 0.0)
        apart = apart * (trust[cut, None] + trust) / 2
        return apart.sum(1) + trust[cut] * soft(-own)
