"""Every line of the batch is a partner, as much as a frozen encoder finds it alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch

from conjoin.catalogue import Choice, Search
from conjoin.losses.base import Addable, Param, nothing, pairs_present
from conjoin.losses.contrastive.softmax import Keys, hard, soft
from conjoin.losses.temperature import inverse, start
from conjoin.spaces import Batch


@dataclass(frozen=True)
class CWCL(Addable):
    """Contrast one way with continuous weights from source vectors, the usual way back.

    With ``wᵢⱼ = (1 + cos(xᵢ, xⱼ)) / 2`` of the anchor view's source rows x, the other view b asks
    the anchor a: ``−(1/n) Σᵢ (1/Σⱼ wᵢⱼ) Σⱼ wᵢⱼ log( exp(cos(bᵢ, aⱼ)/τ) / Σₖ exp(cos(bᵢ, aₖ)/τ) )``.
    From a to b it is ``InfoNCE`` in one direction. The loss is
    their mean (the paper's sum, halved), averaged over the pairs of views that share a line. A
    line counts by ``batch.weights`` as anchor and fully as candidate. A line without a source row
    of the anchor is a partner of itself only.

    Parameters
    ----------
    temperature, learn_temperature : τ at the start, and whether it is trained.
    anchor : view whose source rows in the batch give the weights; empty for the earlier of each
        pair. It may be a view that is not trained.
    weighted : which asker gets them: the view that is not the anchor (``to``, as the paper's
        loss reads), or the anchor (``from``).
    block : rows of logits held at a time.

    References
    ----------
    Srinivasa et al. 2023 (srinivasa2023cwcl).
    """

    temperature: Annotated[float, Search(0.001, 1.0, log=True)] = 0.07
    learn_temperature: bool = True
    anchor: str = ""
    weighted: Annotated[str, Choice(("to", "from"))] = "to"
    block: int = 512
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """``log_scale``, where it is learned."""
        return start(self.temperature, self.learn_temperature)

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over the pairs of views that share a line; zero where none do."""
        losses = []
        for first, second, lines in pairs_present(out, batch):
            a, b = (second, first) if self.anchor == second else (first, second)
            keys = Keys.of(batch, a, b, lines)
            u, v = (torch.nn.functional.normalize(out[name][lines], dim=1) for name in (a, b))
            u = u * inverse(self.temperature, params, u)
            share = batch.weights[lines].to(u.dtype)
            share = share / share.sum()
            shares = self._shares(self.anchor or a, lines, batch, u)
            if self.weighted == "from":
                u, v = v, u
            wide = soft(partial(_products, v, u), shares, len(lines), self.block)
            narrow = hard(partial(_products, u, v), keys, self.block)
            losses.append((share * (wide + narrow)).sum() / 2)
        return torch.stack(losses).mean() if losses else nothing(out, batch)

    def _shares(self, anchor: str, lines: Any, batch: Batch, like: Any) -> Any:
        rows, here = batch.rows[anchor][lines].to(like.dtype), batch.present[anchor][lines]
        rows = torch.nn.functional.normalize(torch.where(here[:, None], rows, 0.0), dim=1).detach()

        def shares(cut: slice) -> Any:
            weight = (1 + rows[cut] @ rows.T).clamp_min(0) / 2
            weight = weight * (here[cut, None] & here)
            weight.diagonal(offset=cut.start).fill_(1)
            return weight / weight.sum(1, keepdim=True)

        return shares


def _products(ask: Any, answer: Any, cut: slice) -> Any:
    return ask[cut] @ answer.T
