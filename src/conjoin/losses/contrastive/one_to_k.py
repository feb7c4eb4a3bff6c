"""Several right answers to one question, all of them right alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from conjoin.catalogue import Search
from conjoin.losses.base import Addable, Param, nothing, pairs_present
from conjoin.losses.contrastive.softmax import soft
from conjoin.losses.temperature import inverse, start
from conjoin.spaces import Batch


@dataclass(frozen=True)
class OneToK(Addable):
    """Cross-entropy whose target is shared evenly by all partners of an item.

    Lines with one id in a view show one item. With ``pᵢⱼ = exp(cos(aᵢ, bⱼ)/τ) / Σₖ exp(cos(aᵢ,
    bₖ)/τ)``, k over the distinct items of view b, an item i of view a with partners P(i) there
    costs ``−(1/|P(i)|) Σ_{j ∈ P(i)} log pᵢⱼ``; the same from b to a, averaged, and over all pairs
    of views that share a line. Lines of one item share one candidate's place, 1/copies each.
    Anchors are averaged over lines, by ``batch.weights``.

    With an image on K lines, one a language, this is the published loss: K captions are right for
    it, and one image is right for each of them. The published code divides the sum of both
    directions by K in one setting; here each direction is a mean.

    Parameters
    ----------
    temperature, learn_temperature : τ at the start, and whether it is trained.
    block : rows of logits held at a time.

    References
    ----------
    Nie et al. 2024 (nie2024onetok).
    """

    temperature: Annotated[float, Search(0.001, 1.0, log=True)] = 0.07
    learn_temperature: bool = True
    block: int = 512
    decomposes: ClassVar[bool] = False
    guided: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """``log_scale``, where it is learned."""
        return start(self.temperature, self.learn_temperature)

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over the pairs of views that share a line; zero where none do."""
        losses = []
        for a, b, lines in pairs_present(out, batch):
            u, v = (torch.nn.functional.normalize(out[name][lines], dim=1) for name in (a, b))
            u = u * inverse(self.temperature, params, u)
            left, right = (_numbered(batch.ids[name][lines]) for name in (a, b))
            share = batch.weights[lines].to(u.dtype)
            share = share / share.sum()
            there = self._one_way(u, v, left, right)
            back = self._one_way(v, u, right, left)
            losses.append((share * (there + back)).sum() / 2)
        return torch.stack(losses).mean() if losses else nothing(out, batch)

    def _one_way(self, ask: Any, answer: Any, asked: Any, answered: Any) -> Any:
        copies = answered.bincount()[answered].to(ask.dtype)

        def shares(cut: slice) -> Any:
            together = (asked[cut, None] == asked).to(ask.dtype)
            items = ask.new_zeros(len(together), int(answered.max()) + 1)
            items.index_add_(1, answered, together)
            partner = (items[:, answered] > 0) / copies
            return partner / partner.sum(1, keepdim=True)

        return soft(lambda cut: ask[cut] @ answer.T, shares, len(ask), self.block, -copies.log())


def _numbered(ids: Any) -> Any:
    """Ids as numbers from 0."""
    return ids.unique(return_inverse=True)[1]
