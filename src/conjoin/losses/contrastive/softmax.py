"""Cross-entropies over scores that are never held whole."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


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


def alike(keys: tuple[Any, Any], lines: slice) -> Any:
    """``[k, n]`` which lines show what some lines show, in either view."""
    left, right = keys
    return (left[lines, None] == left) | (right[lines, None] == right)


def hard(scores: Callable[[slice], Any], keys: tuple[Any, Any], block: int) -> Any:
    """``log Σⱼ exp sᵢⱼ − sᵢᵢ`` of each line; others that show the same thing are left out.

    Parameters
    ----------
    scores : ``[k, n]`` of some of the n lines against all.
    keys : ``[n]`` what each line shows in either view.
    """

    def each(lines: slice) -> Any:
        s = scores(lines)
        other = alike(keys, lines)
        other.diagonal(offset=lines.start).fill_(False)
        own = s.diagonal(offset=lines.start)
        return s.masked_fill(other, -torch.inf).logsumexp(1) - own

    return by_rows(each, len(keys[0]), block)


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
