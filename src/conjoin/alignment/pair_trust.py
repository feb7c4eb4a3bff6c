"""How far each line is to be trusted, by maps that were fitted without it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conjoin.alignment.closed_form.covariance import Joint
from conjoin.alignment.closed_form.linear import CCA
from conjoin.maps.base import as_array
from conjoin.spaces import Pairs, Rows, unit
from conjoin.spaces.pairs import ABSENT
from conjoin.stats.mixture import gaussian_split
from conjoin.storage.digest import stable_hash

#: Folds of the lines, the margin of the loss in cosines, and answers a line is compared with.
FOLDS, MARGIN, GALLERY = 5, 0.2, 2048
#: Rows scored at a time, and the least a line counts.
BLOCK, LEAST = 512, 1e-3


def trusted(views: Mapping[str, Rows], pairs: Pairs, frozen: Mapping[str, Any], seed: int) -> Pairs:
    """The lines, each weighed by the chance that it belongs together.

    Every line gets the hinge loss ``Σ_sides mean_j max(0, .2 + s_ij − s_ii)`` of its pair under
    CCA fitted to the other folds, averaged over its pairs of views; two Gaussians are fitted to
    the losses, and a line's weight is multiplied by the posterior of the lower one (.001 at least:
    a line without weight would be no negative of the others). Lines stay as they are where there
    are fewer than two groups a fold.

    Parameters
    ----------
    frozen : maps that stay as they are.

    References
    ----------
    Huang et al. 2021 (huang2021ncr), who split the losses of a network in training this way; PC²
    (duan2024pc2) does so too and then weighs lines.
    """
    if len(np.unique(pairs.group)) < 2 * FOLDS:
        return pairs
    total, seen = np.zeros(len(pairs)), np.zeros(len(pairs))
    fold = pairs.folds(FOLDS, seed)
    for number in range(FOLDS):
        learn = pairs.take(fold != number)
        if len(learn.edges()) < len(pairs.edges()):
            return pairs
        maps = {**CCA().solve(Joint.of(views, learn, frozen), frozen), **frozen}
        for a, b in pairs.edges():
            sides = [pairs.column(name) for name in (a, b)]
            held = np.flatnonzero((fold == number) & (sides[0] != ABSENT) & (sides[1] != ABSENT))
            u, v = (
                unit(np.asarray(maps[name].apply(as_array(views[name])[own[held]]), np.float32))
                for name, own in zip((a, b), sides, strict=True)
            )
            total[held] += losses(u, v, [seed, number]) + losses(v, u, [seed, number])
            seen[held] += 1
    found = total / np.maximum(seen, 1)
    spread = max(float(np.ptp(found)), 1e-12)
    scaled = (found - found.min()) / spread
    clean = np.maximum(1 - gaussian_split(scaled, scaled), LEAST)
    return replace(pairs, weight=pairs.weight * clean)


def losses(ask: np.ndarray, answer: np.ndarray, seed: list[int]) -> np.ndarray:
    """``mean_j max(0, margin + s_ij − s_ii)`` of each line over other lines, some where many."""
    n = len(ask)
    shown = np.arange(n)
    if n > GALLERY:
        rng = np.random.default_rng([*seed, stable_hash("trusted")])
        shown = np.sort(rng.permutation(n)[:GALLERY])
    out = np.zeros(n)
    for start in range(0, n, BLOCK):
        mine = np.arange(start, min(start + BLOCK, n))
        own = np.einsum("nd,nd->n", ask[mine], answer[mine])
        cost = np.maximum(MARGIN + ask[mine] @ answer[shown].T - own[:, None], 0)
        other = mine[:, None] != shown
        out[mine] = (cost * other).sum(axis=1) / np.maximum(other.sum(axis=1), 1)
    return out
