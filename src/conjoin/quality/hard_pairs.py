"""How well a pair can be expected to be told, from the pairs around it.

A right pair that its maps place badly looks as a wrong one does. What sets the two apart is where
they lie: right pairs are hard in company, among cells whose own pairs are hard too, while wrong
ones turn up anywhere.
"""

import numpy as np

from conjoin.quality.cross_fit import Crossed

#: Neighbours that count as the nearest ones.
NEAREST = 3
#: Ridge on the standardised covariates.
LAM = 1.0
#: Fewest lines of a part in which the share of wrong pairs is read.
PART = 64
#: Parts of the lines, by hardness, where there are enough of them: an eighth, an eighth, quarters.
CUTS = (0.125, 0.25, 0.5, 0.75)


def hardness(crossed: Crossed, odds: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """``E[odds of a given pair | its surroundings]``, a ridge regression across the folds.

    The surroundings of a cell are the mean odds of the pairs of its neighbours and of the nearest
    three, and the mean and largest cosine to them. A pairing has those of both its cells; the
    fold of a line is predicted by the other folds.

    Parameters
    ----------
    odds : ``[m]`` how suspect each line is, as it stands.
    partners : ``[r, m]`` pairings, as detectors take them.

    Returns
    -------
    ``[r, m]``.
    """
    left = around(crossed.voters_left, crossed.votes_left, odds)
    right = around(crossed.voters_right, crossed.votes_right, odds)
    known = _scaled(np.concatenate([left, right], axis=1))
    left, right = known[:, : left.shape[1]], known[:, left.shape[1] :]
    out = np.empty(partners.shape)
    for number in np.unique(crossed.fold):
        mine = crossed.fold == number
        seen = known[~mine]
        middle, mean = seen.mean(axis=0), float(odds[~mine].mean())
        seen = seen - middle
        weigh = np.linalg.solve(
            seen.T @ seen + LAM * np.eye(seen.shape[1]), seen.T @ (odds[~mine] - mean)
        )
        for turn, other in enumerate(partners):
            both = np.concatenate([left[mine], right[other[mine]]], axis=1)
            out[turn, mine] = (both - middle) @ weigh + mean
    return out


def around(voters: np.ndarray, own: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """``[m, 4]`` what the neighbours of each cell say; the mean of all where it has none."""
    out = np.zeros((len(voters), 4))
    for start in range(0, len(voters), 2048):
        part = slice(start, start + 2048)
        near, here = voters[part], voters[part] >= 0
        cosines = np.where(here, np.einsum("nd,nkd->nk", own[part], own[near]), 0)
        told = np.where(here, odds[near], 0)
        count = np.maximum(here.sum(axis=1), 1)
        first = here[:, :NEAREST].sum(axis=1)
        out[part] = np.stack([
            told.sum(axis=1) / count,
            told[:, :NEAREST].sum(axis=1) / np.maximum(first, 1),
            cosines.max(axis=1), cosines.sum(axis=1) / count,
        ], axis=1)  # fmt: skip
    alone = ~(voters >= 0).any(axis=1)
    if alone.any() and not alone.all():
        out[alone] = out[~alone].mean(axis=0)
    return out


def parts(given: np.ndarray, planted: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which given and which planted lines are in each part, the same bounds of hardness for both.

    Parts are cut by the quantiles of the given lines; a cut that leaves fewer than :data:`PART`
    lines is not made. All lines together are the first part.
    """
    cuts = [cut for cut in CUTS if cut * len(given) >= PART and (1 - cut) * len(given) >= PART]
    cuts = [cut for cut, before in zip(cuts, [0.0, *cuts], strict=False)
            if (cut - before) * len(given) >= PART - 1]  # fmt: skip
    bounds = np.quantile(given, cuts) if cuts else np.empty(0)
    mine, theirs = np.digitize(given, bounds), np.digitize(planted, bounds)
    found = [(np.ones(len(given), bool), np.ones(len(planted), bool))]
    return found + [(mine == n, theirs == n) for n in range(len(cuts) + 1) if len(cuts)]


def _scaled(x: np.ndarray) -> np.ndarray:
    return np.asarray((x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9))
