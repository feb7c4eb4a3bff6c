"""A linear probe whose class weights blend rows and names, by steps that need no rate."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.transfer.base import Prototypes, softmax
from conjoin.transfer.few_shot.names import Shots
from conjoin.transfer.heads import Linear


@dataclass(frozen=True)
class BlendedProbe:
    """``scores = x̂ · (w_c + α_c t_c)``, both w and α fitted by majorise-minimise steps.

    The mean cross-entropy is lowered by turns: ``W ← W − 4N/λ_max(X̂ᵀX̂) ∂W`` and
    ``α ← α − 4N/max_c Σᵢ(x̂ᵢ·t_c)² ∂α``, whose lengths are the inverses of the blocks' Lipschitz
    constants, so that no rate is looked for. w starts as the sum of its class's rows, α, one for
    all, as ``start`` times the mean of ``x̂ᵢ · t_{yᵢ}``.

    Parameters
    ----------
    start : what the names count at first.
    steps : turns.

    References
    ----------
    Huang et al. 2024 (huang2024lpplus). Their code adds momentum .9, moves α every tenth turn and
    by a sixteenth of this length, and keeps the turn that is best on validation rows; here the
    paper's steps are taken, all of them.
    """

    start: Annotated[float, Search(1.0, 1000.0, log=True)] = 250.0
    steps: Annotated[int, Search(1, 2000, log=True)] = 300
    prototypes: ClassVar[str] = "needed"
    answers: ClassVar[str] = "classes"

    def fit(self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0) -> Linear:
        """A linear head on rows at unit length."""
        shots = Shots.of(x, y, prototypes, "lp++")
        rows, names = shots.rows.astype(np.float64), shots.names.astype(np.float64)
        n, c = len(rows), len(names)
        bias = np.zeros(c)
        if not n:
            return Linear(shots.classes, self.start * names.T, bias, unit=True)
        hot = np.eye(c)[shots.owner]
        near = rows @ names.T
        weight = rows.T @ hot
        alpha = np.full(c, self.start * float(near[np.arange(n), shots.owner].mean()))
        long = 4 * n / max(float(np.linalg.eigvalsh(rows.T @ rows)[-1]), 1e-12)
        wide = 4 * n / max(float((near**2).sum(axis=0).max()), 1e-12)
        for _ in range(int(self.steps)):
            off = (softmax(rows @ weight + near * alpha) - hot) / n
            weight = weight - long * rows.T @ off
            off = (softmax(rows @ weight + near * alpha) - hot) / n
            alpha = alpha - wide * (off * near).sum(axis=0)
        return Linear(shots.classes, weight + names.T * alpha, bias, unit=True)
