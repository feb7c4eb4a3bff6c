"""Cross-entropies over scores that are never held whole."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from conjoin.spaces import Batch


def by_rows(each: Callable[[slice], Any], count: int, block: int) -> Any:
    """``each`` of blocks of lines, one after another, as one tensor ``[count, …]``.

    What a block needs besides its result is dropped and made again for the gradient, so that
    memory is one block's.
    """
    if count <= block:
        return each(slice(0, count))
    cuts = [slice(a, min(a + block, count)) for a in range(0, count, block)]
    return torch.cat(
        [checkpoint(each, cut, use_reentrant=False, preserve_rng_state=False) for cut in cuts]
    )


@dataclass(frozen=True, eq=False)
class Keys:
    """Which of n lines may not be contrasted: the one place where that is decided.

    Parameters
    ----------
    left, right : ``[n]`` what each line shows in either view.
    barred : ``[n, n]`` further lines that may not, or ``None``.
    """

    left: Any
    right: Any
    barred: Any = None

    @classmethod
    def of(cls, batch: Batch, a: str, b: str, lines: Any) -> "Keys":
        """Of some lines of a batch, in two of its views."""
        barred = None if batch.barred is None else batch.barred[lines][:, lines]
        return cls(batch.ids[a][lines], batch.ids[b][lines], barred)

    def __len__(self) -> int:
        return len(self.left)

    @property
    def matter(self) -> bool:
        """Whether any two lines may not be contrasted."""
        repeats = any(len(ids.unique()) < len(ids) for ids in (self.left, self.right))
        return repeats or self.barred is not None


def alike(keys: Keys, lines: slice) -> Any:
    """``[k, n]`` the lines that some lines may not be contrasted with, themselves among them."""
    found = (keys.left[lines, None] == keys.left) | (keys.right[lines, None] == keys.right)
    return found if keys.barred is None else found | keys.barred[lines]


def hard(scores: Callable[[slice], Any], keys: Keys, block: int) -> Any:
    """``log Σⱼ exp sᵢⱼ − sᵢᵢ`` of each line; others that show the same thing are left out.

    Parameters
    ----------
    scores : ``[k, n]`` of some of the n lines against all.
    keys : which lines may not be contrasted.
    """

    def each(lines: slice) -> Any:
        s = scores(lines)
        other = alike(keys, lines)
        other.diagonal(offset=lines.start).fill_(False)
        own = s.diagonal(offset=lines.start)
        return s.masked_fill(other, -torch.inf).logsumexp(1) - own

    return by_rows(each, len(keys), block)


def soft(
    scores: Callable[[slice], Any],
    shares: Callable[[slice], Any],
    count: int,
    block: int,
    bias: Any = 0.0,
) -> Any:
    """``log Σⱼ exp(sᵢⱼ + biasⱼ) − Σⱼ shareᵢⱼ sᵢⱼ`` of each line.

    Parameters
    ----------
    shares : ``[k, n]`` how much of a line's answer each line is; rows sum to 1.
    """

    def each(lines: slice) -> Any:
        s = scores(lines)
        return (s + bias).logsumexp(1) - (shares(lines) * s).sum(1)

    return by_rows(each, count, block)
