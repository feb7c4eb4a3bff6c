"""Agree on the order of everything, not only on who comes first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch

from conjoin.catalogue import Search
from conjoin.losses.base import Addable, Param, Ramp, nothing, pairs_present
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.losses.contrastive.softmax import by_rows
from conjoin.losses.temperature import inverse, start
from conjoin.spaces import Batch

#: What the authors' code divides each sum of two directions by.
SCALE = 32


def list_loss(scores: Any, target: Any) -> Any:
    """ListMLE: ``Σₖ ( log Σ_{l ≥ k} exp s₍ₗ₎ − s₍ₖ₎ )`` of each row, in the order of its target.

    Lines that tie in the target are taken in the order of the scores.

    Parameters
    ----------
    scores, target : ``[k, n]``; the highest target comes first, only its order matters.
    """
    order = scores.detach().argsort(dim=1, descending=True, stable=True)
    by_target = target.detach().gather(1, order).argsort(dim=1, descending=True, stable=True)
    s = scores.gather(1, order.gather(1, by_target))
    return (s.flip(1).logcumsumexp(1).flip(1) - s).sum(1)


@dataclass(frozen=True)
class RankConsistency(Addable):
    """Likelihood of the order one view gives, under the scores of the other.

    With ``S_uv = u vᵀ/τ`` of unit rows and ListMLE L of rows averaged over them,
    ``loss = ( inmodal (L(S_aa; S_bb) + L(S_bb; S_aa)) + crossmodal (L(S_ab; S_ba) + L(S_ba;
    S_ab)) ) / (32 n)``, the mean over pairs of views that share a line. Rows count by
    ``batch.weights``, columns all alike.

    Parameters
    ----------
    temperature, learn_temperature : τ at the start, and whether it is trained.
    inmodal, crossmodal : weights of the two parts.
    block : rows of scores held at a time.

    References
    ----------
    Zhang et al. 2024 (zhang2024rankclip), scaled as in the authors' code.
    """

    temperature: Annotated[float, Search(0.001, 1.0, log=True)] = 0.07
    learn_temperature: bool = True
    inmodal: Annotated[float, Search(0.0, 4.0)] = 1.0
    crossmodal: Annotated[float, Search(0.0, 4.0)] = 1.0
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
            scale = inverse(self.temperature, params, u)
            share = batch.weights[lines].to(u.dtype)
            each = by_rows(partial(self._rows, u, v, scale), len(u), self.block)
            losses.append((share * each).sum() / share.sum() / (SCALE * len(u)))
        return torch.stack(losses).mean() if losses else nothing(out, batch)

    def _rows(self, u: Any, v: Any, scale: Any, cut: slice) -> Any:
        su, sv = scale * u[cut], scale * v[cut]
        loss: Any = 0.0
        if self.inmodal:
            left, right = su @ u.T, sv @ v.T
            loss = loss + self.inmodal * (list_loss(left, right) + list_loss(right, left))
        if self.crossmodal:
            there, back = su @ v.T, sv @ u.T
            loss = loss + self.crossmodal * (list_loss(there, back) + list_loss(back, there))
        return loss


@dataclass(frozen=True)
class RankCLIP(Addable):
    """InfoNCE and, more and more as the training goes on, consistent orders.

    ``loss = InfoNCE + min(high, slope · progress) · RankConsistency``, with one temperature for
    both.

    Parameters
    ----------
    temperature, learn_temperature : τ at the start, and whether it is trained.
    slope, high : of the ramp.
    inmodal, crossmodal : weights of the parts of
        :class:`~conjoin.losses.contrastive.rankclip.RankConsistency`.
    block : rows of scores held at a time.

    References
    ----------
    Zhang et al. 2024 (zhang2024rankclip), weights as in the authors' code.
    """

    temperature: Annotated[float, Search(0.001, 1.0, log=True)] = 0.07
    learn_temperature: bool = True
    slope: Annotated[float, Search(0.0, 10.0)] = 3.0
    high: Annotated[float, Search(0.0, 10.0)] = 2.0
    inmodal: Annotated[float, Search(0.0, 4.0)] = 1.0
    crossmodal: Annotated[float, Search(0.0, 4.0)] = 1.0
    block: int = 512
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """``log_scale``, where it is learned."""
        return start(self.temperature, self.learn_temperature)

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """The sum at the batch's progress."""
        given = (self.temperature, self.learn_temperature)
        loss = InfoNCE(*given, block=self.block)(out, batch, params)
        weight = Ramp(self.slope, self.high).at(batch.progress)
        if not weight:
            return loss
        ranks = RankConsistency(*given, self.inmodal, self.crossmodal, self.block)
        return loss + weight * ranks(out, batch, params)
