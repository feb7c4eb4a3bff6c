"""Detectors of mismatched pairs: each says how suspect it finds a pairing, a larger number more.

They are asked of the pairing as it stands and of one in which every line has the wrong partner;
what sets the two apart is what a mismatch looks like in these very data.
"""

from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
from scipy.special import betaln, logsumexp

from conjoin.catalogue import Choice, Search
from conjoin.quality.cross_fit import Crossed
from conjoin.stats.mixture import STEPS, gaussian_split


@runtime_checkable
class Detector(Protocol):
    """A frozen dataclass; its catalogue rows are of kind ``detector``."""

    def __call__(self, crossed: Crossed, partners: np.ndarray) -> np.ndarray:
        """How suspect each pairing is.

        Parameters
        ----------
        partners : ``[r, m]``: in pairing ``r``, line ``i`` has the right cell of line
            ``partners[r, i]``.

        Returns
        -------
        ``[r, m]`` finite numbers.
        """
        ...


@dataclass(frozen=True)
class PartnerRank:
    """``½ Σ_sides log((1 + #{wrong answers scored above the partner}) / (1 + #{wrong answers}))``.

    The rank of the partner, from either side, under maps fitted without the pair; a tie counts
    as half. At most 0; a partner that beats nothing gives 0.
    """

    def __call__(self, crossed: Crossed, partners: np.ndarray) -> np.ndarray:
        """Mean logarithm of the share of wrong answers that beat the partner."""
        out = np.zeros(partners.shape)
        for block in crossed.blocks(partners):
            own = block.own[:, :, None]
            above = ((block.scores > own) & block.wrong).sum(axis=2)
            level = ((block.scores == own) & block.wrong).sum(axis=2)
            count = block.wrong.sum(axis=2)
            out[:, block.lines] += np.log((1 + above + level / 2) / (1 + count)) / 2
        return out


@dataclass(frozen=True)
class ContrastiveLoss:
    """``½ Σ_sides [log mean_j exp(s_ij / τ) - s_ii / τ]`` over wrong answers ``j`` (InfoNCE).

    Parameters
    ----------
    temperature : τ; scores are cosines.
    """

    temperature: Annotated[float, Search(0.01, 1.0, log=True)] = 0.1

    def __call__(self, crossed: Crossed, partners: np.ndarray) -> np.ndarray:
        """Log of how much better the average wrong answer fits."""
        out = np.zeros(partners.shape)
        for block in crossed.blocks(partners):
            scaled = np.where(block.wrong, block.scores, -np.inf) / self.temperature
            count = np.maximum(block.wrong.sum(axis=2), 1)
            most = np.maximum(scaled.max(axis=2), -1e9)
            mass = np.exp(scaled - most[:, :, None]).sum(axis=2)
            total = most + np.log(np.maximum(mass, 1e-30) / count)
            out[:, block.lines] += (total - block.own / self.temperature) / 2
        return out


@dataclass(frozen=True)
class LossMixture:
    """``p(the component of the larger mean | loss)`` of two components fitted to all losses.

    The loss of a line is ``Σ_sides mean_j max(0, margin + s_ij - s_ii)`` over wrong answers
    ``j``, the losses scaled to [0, 1] (Huang et al. 2021; PC², Duan et al. 2024, split theirs
    the same way).

    Parameters
    ----------
    margin : by how much a partner should lead, in cosines.
    mixture : ``gaussian`` as in NCR, or ``beta`` (Arazo et al. 2019), which fits losses that
        crowd at an end of their range.
    """

    margin: Annotated[float, Search(0.0, 1.0)] = 0.2
    mixture: Annotated[str, Choice(("gaussian", "beta"))] = "gaussian"

    def __call__(self, crossed: Crossed, partners: np.ndarray) -> np.ndarray:
        """Posterior of the noisy component; fitted to the pairing as it stands."""
        losses = self.losses(crossed, np.concatenate([crossed.given, partners]))
        low, high = losses[0].min(), losses[0].max()
        scaled = np.clip((losses - low) / max(high - low, 1e-12), 0, 1)
        split = gaussian_split if self.mixture == "gaussian" else beta_split
        return split(scaled[0], scaled[1:])

    def losses(self, crossed: Crossed, partners: np.ndarray) -> np.ndarray:
        """The hinge losses ``[r, m]``."""
        out = np.zeros(partners.shape)
        for block in crossed.blocks(partners):
            cost = np.maximum(self.margin + block.scores - block.own[:, :, None], 0)
            count = np.maximum(block.wrong.sum(axis=2), 1)
            out[:, block.lines] += (cost * block.wrong).sum(axis=2) / count
        return out


@dataclass(frozen=True)
class NeighbourVote:
    """``- ½ Σ_sides mean_{n in N(i)} cos(partner of i, partner of n)``.

    ``N(i)`` are the lines of other groups whose cells are nearest in one modality, partners are
    cells of the other, both as their encoders placed them: no map is fitted. Neighbours whose
    partners lie elsewhere vote against the pair.
    """

    def __call__(self, crossed: Crossed, partners: np.ndarray) -> np.ndarray:
        """Disagreement of the neighbours, from -1 to 1."""
        out = np.zeros(partners.shape)
        for turn, other in enumerate(partners):
            # The right cell that line i was given has that cell's own neighbours.
            sides = (
                (crossed.voters_left, crossed.votes_right[other], crossed.votes_right),
                (crossed.voters_right[other], crossed.votes_left, crossed.votes_left),
            )
            for voters, own, theirs in sides:
                out[turn] -= _agreement(voters, own, theirs) / 2
        return out


def _agreement(voters: np.ndarray, own: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    out = np.zeros(len(voters))
    for start in range(0, len(voters), 2048):
        part = slice(start, start + 2048)
        here = voters[part] >= 0
        cosines = np.einsum("nd,nkd->nk", own[part], theirs[voters[part]])
        out[part] = (cosines * here).sum(axis=1) / np.maximum(here.sum(axis=1), 1)
    return out


def beta_split(losses: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Posterior of the component of larger mean, of two beta distributions fitted to ``losses``.

    The maximisation matches weighted means and variances, as Arazo et al. do.
    """
    x = np.clip(losses, 1e-4, 1 - 1e-4)
    shapes = np.array([[1.0, 2.0], [2.0, 1.0]])
    weight = np.array([0.5, 0.5])
    for _ in range(STEPS):
        share = np.exp(_posterior(x, shapes, weight))
        weight = share.mean(axis=1)
        for number, w in enumerate(share):
            mean = float(np.average(x, weights=w + 1e-12))
            var = float(np.average((x - mean) ** 2, weights=w + 1e-12))
            both = max(mean * (1 - mean) / max(var, 1e-6) - 1, 1e-2)
            shapes[number] = mean * both, (1 - mean) * both
    noisy = int((shapes[:, 0] / shapes.sum(axis=1)).argmax())
    flat = np.clip(asked.reshape(-1), 1e-4, 1 - 1e-4)
    found: np.ndarray = np.exp(_posterior(flat, shapes, weight))[noisy].reshape(asked.shape)
    return found


def _posterior(x: np.ndarray, shapes: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Logarithm of the share of each component, ``[2, n]``."""
    a, b = shapes[:, :1], shapes[:, 1:]
    dense = (a - 1) * np.log(x) + (b - 1) * np.log1p(-x) - betaln(a, b)
    joint = dense + np.log(np.maximum(weight, 1e-12))[:, None]
    found: np.ndarray = joint - logsumexp(joint, axis=0)
    return found
