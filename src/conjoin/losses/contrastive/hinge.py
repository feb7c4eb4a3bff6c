"""A partner must be nearer than the negatives by a margin: triplet losses within the batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from conjoin.catalogue import Choice, Search
from conjoin.losses.base import Addable, Param, nothing, pairs_present
from conjoin.losses.contrastive.softmax import Keys, alike, by_rows
from conjoin.spaces import Batch

#: Which negatives of a line count.
NEGATIVES = ("all", "hardest", "semi-hard")


@dataclass(frozen=True)
class Hinge(Addable):
    """``Σⱼ [m − s(aᵢ, bᵢ) + s(aᵢ, bⱼ)]₊`` over the negatives of each line, both ways.

    s is the cosine. ``all`` sums the negatives, ``hardest`` takes the one of largest s (nothing is
    left of a line whose hardest is far enough), ``semi-hard`` the largest below ``s(aᵢ, bᵢ)``, and
    nothing of lines without one. The mean over lines, by ``batch.weights``, is the sum of both
    directions, averaged over pairs of views that share a line. Lines that show the same thing, or
    that the batch bars, are no negatives.

    Parameters
    ----------
    margin : m.
    negatives : which count.
    block : rows of scores held at a time.

    References
    ----------
    Faghri et al. 2018 (faghri2018vsepp): all and hardest; Schroff et al. 2015
    (schroff2015facenet): semi-hard, there among squared distances.
    """

    margin: Annotated[float, Search(0.01, 1.0, log=True)] = 0.2
    negatives: Annotated[str, Choice(NEGATIVES)] = "all"
    block: int = 1024
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing to train."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Mean over the pairs of views that share a line; zero where none do."""
        losses = []
        for a, b, lines in pairs_present(out, batch):
            u, v = (torch.nn.functional.normalize(out[name][lines], dim=1) for name in (a, b))
            share = batch.weights[lines].to(u.dtype)
            keys = Keys.of(batch, a, b, lines)
            each = self._one_way(u, v, keys) + self._one_way(v, u, keys)
            losses.append((share * each).sum() / share.sum())
        return torch.stack(losses).mean() if losses else nothing(out, batch)

    def _one_way(self, ask: Any, answer: Any, keys: Keys) -> Any:
        own = (ask * answer).sum(1)

        def rows(cut: slice) -> Any:
            scores = ask[cut] @ answer.T
            off = alike(keys, cut)
            if self.negatives == "semi-hard":
                off = off | (scores >= own[cut, None])
            above = (self.margin - own[cut, None] + scores).clamp_min(0).masked_fill(off, 0.0)
            return above.sum(1) if self.negatives == "all" else above.amax(1)

        return by_rows(rows, len(ask), self.block)
