"""How alike the lines of two views are: by cosine, in hyperbolic space, or token by token."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from conjoin.losses.hyperbolic import lorentz
from conjoin.spaces import Batch


class Side(NamedTuple):
    """Outputs of one view.

    Parameters
    ----------
    rows : ``[n, d]``, or tokens ``[n, t, d]``.
    mask : ``[n, t]`` which tokens are there, where there are tokens.
    """

    rows: Any
    mask: Any = None

    def take(self, lines: Any) -> "Side":
        """Some of the lines."""
        return Side(self.rows[lines], None if self.mask is None else self.mask[lines])

    def tokens(self) -> "Side":
        """Unit tokens and their mask; a vector is a set of one token."""
        rows = self.rows if self.rows.ndim == 3 else self.rows[:, None]
        mask = self.mask
        if mask is None or self.rows.ndim == 2:
            mask = torch.ones(rows.shape[:2], dtype=torch.bool)
        rows = torch.where(mask[..., None], rows, rows.new_zeros(()))
        return Side(torch.nn.functional.normalize(rows, dim=-1), mask)

    def cells(self) -> int:
        """Vectors a line."""
        return self.rows.shape[1] if self.rows.ndim == 3 else 1


#: Scores ``[k, n]`` of the lines of one side against all lines of the other.
Score = Callable[[Side, Side], Any]


def side(name: str, lines: Any, out: Mapping[str, Any], batch: Batch) -> Side:
    """The outputs of a view on some lines."""
    mask = batch.masks.get(name)
    return Side(out[name][lines], None if mask is None else mask[lines])


def with_tokens(name: str, batch: Batch) -> Any:
    """``[b]`` which lines have something to compare: a token, where the view has tokens."""
    mask = batch.masks.get(name)
    return torch.ones(len(batch), dtype=torch.bool) if mask is None else mask.any(1)


def curvature(out: Mapping[str, Any], like: Any) -> Any:
    """``out["curvature"]``, a positive scalar; 1 where the trainable gives none."""
    if "curvature" not in out:
        return like.new_ones(())
    return out["curvature"].reshape(()).to(like.dtype)


def cosine(ask: Side, answer: Side) -> Any:
    """Cosine of every row with every row."""
    unit = torch.nn.functional.normalize
    return unit(ask.rows, dim=1) @ unit(answer.rows, dim=1).T


def maxsim(ask: Side, answer: Side) -> Any:
    """Mean over the asker's tokens of the best cosine with a token of the answer."""
    u, v = ask.tokens(), answer.tokens()
    pairs = torch.einsum("ktd,nsd->ktns", u.rows, v.rows)
    best = pairs.masked_fill(~v.mask, -torch.inf).amax(-1)
    share = u.mask.to(best.dtype) / u.mask.sum(1, keepdim=True).clamp_min(1)
    return (best * share[..., None]).sum(1)


def scorer(kind: str, out: Mapping[str, Any]) -> Score:
    """The score of that name; ``lorentz`` takes space components and ``out["curvature"]``."""

    def hyperbolic(ask: Side, answer: Side) -> Any:
        c = curvature(out, ask.rows)
        return -lorentz.distances(ask.rows, answer.rows, c)

    return {"cosine": cosine, "lorentz": hyperbolic, "maxsim": maxsim}[kind]


#: What :func:`scorer` knows.
KINDS = ("cosine", "lorentz", "maxsim")
