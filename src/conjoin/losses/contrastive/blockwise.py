"""The contrastive loss over all pairs of a batch, without the matrix of all pairs."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from conjoin.losses.contrastive.softmax import Keys, alike


@dataclass(frozen=True)
class Tiling:
    """How :func:`contrast` walks the logits.

    Parameters
    ----------
    block : rows of logits held at a time.
    both_ways : columns compete as well as rows.
    half : multiply in bfloat16 and add up in single precision.
    """

    block: int = 512
    both_ways: bool = True
    half: bool = False


def contrast(u: Any, v: Any, scale: Any, weights: Any, same: Keys | None, tiling: Tiling) -> Any:
    """Weighted mean cross-entropy of picking line ``i`` of ``v`` for line ``i`` of ``u``.

    With ``S = scale · u vᵀ``, entries between different lines that show the same thing left out,
    ``loss = Σᵢ wᵢ (log Σⱼ exp Sᵢⱼ − Sᵢᵢ) / Σ w``, averaged with the same over columns where
    ``both_ways``. Its gradient by S has a closed form, computed here by blocks of rows in a
    second pass: memory is ``O(n · block)``. Exact at any scale: exponents are shifted by the
    largest a logit can be, and where that would lose a sum, rows by their own maximum and columns
    by a running one.

    Parameters
    ----------
    u, v : ``[n, d]``, line by line positives.
    scale : scalar tensor, the inverse temperature, above 0.
    weights : ``[n]``, above 0.
    same : lines that are no negatives of each other.
    """
    return _Contrast.apply(u, v, scale, weights, same, tiling)


class _Contrast(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, u: Any, v: Any, scale: Any, weights: Any, same: Any, tiling: Tiling
    ) -> Any:
        share = weights / weights.sum()
        walk: _Walk = _Shifted(u, v, scale, same, tiling)
        if not walk.sums():
            walk = _Running(u, v, scale, same, tiling)
            walk.sums()
        loss = (share * (walk.rows - walk.diagonal)).sum()
        if tiling.both_ways:
            loss = (loss + (share * (walk.columns - walk.diagonal)).sum()) / 2
        if any(ctx.needs_input_grad[:3]):
            to_u, to_v = walk.gradient(share)
            to_scale = (to_u * u).sum() / scale
            ctx.save_for_backward(to_u, to_v, to_scale)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Any) -> tuple[Any, ...]:
        to_u, to_v, to_scale = ctx.saved_tensors
        return upstream * to_u, upstream * to_v, upstream * to_scale, None, None, None


class _Walk:
    """Two passes over the logits by blocks of rows, in two buffers of a block.

    ``rows`` and ``columns`` are the logs of the sums of exponentials, once :meth:`sums` has run.
    """

    rows: Any
    columns: Any

    def __init__(self, u: Any, v: Any, scale: Any, same: Any, tiling: Tiling):
        self.u, self.v, self.same, self.tiling = u * scale, v, same, tiling
        self.scale = scale
        self.diagonal = (self.u * v).sum(1)
        half = tiling.half and u.dtype == torch.float32
        self.low_u = self.u.bfloat16() if half else self.u
        self.low_v = v.bfloat16() if half else v
        size = min(tiling.block, len(u))
        self.blocks = [(a, min(a + size, len(u))) for a in range(0, len(u), size)]
        self.buffer, self.spare = u.new_empty(size, len(u)), u.new_empty(size, len(u))
        self.kept = False

    def logits(self, a: int, b: int, shift: Any) -> Any:
        """Rows ``a`` to ``b`` plus ``shift``, minus infinity where lines show the same thing."""
        s = self.buffer[: b - a]
        if self.low_u is self.u:
            torch.addmm(shift, self.u[a:b], self.v.T, out=s)
        else:
            s.copy_(self.low_u[a:b] @ self.low_v.T).add_(shift)
        if self.same is not None:
            s.masked_fill_(alike(self.same, slice(a, b)), -torch.inf)
        torch.add(self.diagonal[a:b], shift, out=s.diagonal(offset=a))
        return s

    def sums(self) -> bool:
        """Fill in the sums; whether nothing was lost."""
        raise NotImplementedError

    def slopes(self, a: int, b: int, share: Any) -> Any:
        """Derivatives by rows ``a`` to ``b`` of the logits, but for what is theirs at ``i = j``."""
        raise NotImplementedError

    def gradient(self, share: Any) -> tuple[Any, Any]:
        """Derivatives by ``u`` and ``v`` as they were given."""
        to_u, to_v = torch.empty_like(self.u), torch.zeros_like(self.v)
        self.kept = len(self.blocks) == 1
        for a, b in self.blocks:
            g = self.slopes(a, b, share)
            g.diagonal(offset=a).sub_(share[a:b])
            if self.low_u is self.u:
                torch.mm(g, self.v, out=to_u[a:b])
                to_v.addmm_(g.T, self.u[a:b])
            else:
                low = g.to(self.low_u.dtype)
                to_u[a:b] = low @ self.low_v
                to_v += low.T @ self.low_u[a:b]
        return to_u.mul_(self.scale), to_v

    @property
    def part(self) -> float:
        """What each direction counts."""
        return 0.5 if self.tiling.both_ways else 1.0


class _Shifted(_Walk):
    """All exponents shifted alike, by the most a logit can be: one exponential an entry a pass."""

    def exponentials(self, a: int, b: int) -> Any:
        return self.logits(a, b, self.shift).exp_()

    def sums(self) -> bool:
        longest = self.u.norm(dim=1).amax() * self.v.norm(dim=1).amax()
        self.shift = -longest
        rows, columns = torch.empty_like(self.diagonal), torch.zeros_like(self.diagonal)
        for a, b in self.blocks:
            e = self.exponentials(a, b)
            torch.sum(e, 1, out=rows[a:b])
            columns += e.sum(0)
        # What is too small to be held, n times over, must not matter to the smallest sum.
        kind = torch.finfo(rows.dtype)
        floor = math.log(kind.tiny) - math.log(kind.eps) + math.log(len(rows)) + 1
        lost = torch.minimum(rows.amin(), columns.amin()) < math.exp(floor)
        self.totals = rows, columns
        self.rows, self.columns = rows.log().add_(longest), columns.log().add_(longest)
        return not bool(lost)

    def slopes(self, a: int, b: int, share: Any) -> Any:
        e = self.buffer[: b - a] if self.kept else self.exponentials(a, b)
        by_row = (self.part * share / self.totals[0])[a:b, None]
        if not self.tiling.both_ways:
            return e.mul_(by_row)
        by_column = self.part * share / self.totals[1]
        return e.mul_(torch.add(by_row, by_column, out=self.spare[: b - a]))


class _Running(_Walk):
    """Rows shifted by their own maximum and columns by a running one: exact at any scale."""

    def sums(self) -> bool:
        nothing = self.u.new_zeros(())
        rows = torch.empty_like(self.diagonal)
        top, total = self.diagonal.clone(), torch.zeros_like(self.diagonal)
        for a, b in self.blocks:
            s = self.logits(a, b, nothing)
            rows[a:b] = s.logsumexp(1)
            higher = torch.maximum(top, s.amax(0))
            total *= (top - higher).exp_()
            total += torch.sub(s, higher, out=self.spare[: b - a]).exp_().sum(0)
            top = higher
        self.rows, self.columns = rows, total.log_().add_(top)
        return True

    def slopes(self, a: int, b: int, share: Any) -> Any:
        s = self.buffer[: b - a] if self.kept else self.logits(a, b, self.u.new_zeros(()))
        g = torch.sub(s, self.rows[a:b, None], out=self.spare[: b - a]).exp_()
        g.mul_(self.part * share[a:b, None])
        if self.tiling.both_ways:
            g += s.sub_(self.columns).exp_().mul_(self.part * share)
        return g
