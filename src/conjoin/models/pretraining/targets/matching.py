"""Tell true lines from lines with a wrong partner, through the layers where views meet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Choice
from conjoin.losses import Param
from conjoin.models.pretraining.blocks import linear, linear_init
from conjoin.models.pretraining.targets.base import Ask, Need, Pass, Scored, World
from conjoin.models.pretraining.targets.contrast import (
    ALONE,
    couples,
    other_family,
    paired_lines,
)
from conjoin.spaces import Batch
from conjoin.storage.digest import stable_hash

#: A true line to two false ones: what the best constant answer pays, in nats.
FLOOR = float(np.log(3) - 2 / 3 * np.log(2))


@dataclass(frozen=True)
class Matching:
    """Is this pair true? ``−log σ(±f(fused))`` of each true pair and two false ones.

    Each side of a true pair gets one wrong partner of another family, at random or, as ``hard``,
    drawn by the softmax of the similarities of the two views alone. Without legal partners (one
    family in the batch) it does not run.

    Parameters
    ----------
    negatives : ``hard`` or ``random``.

    References
    ----------
    Li et al. 2021 (li2021albef); Bao et al. 2022 (bao2022vlmo).
    """

    negatives: Annotated[str, Choice(("hard", "random"))] = "hard"
    decomposes: ClassVar[bool] = False

    def lacks(self, world: World) -> str:
        """It needs two views on one line, and layers where they meet."""
        if not world.paired:
            return ALONE
        return "" if world.meets else "in this body views never meet"

    def needs(self, world: World) -> frozenset[Need]:
        """Nothing beside the rows."""
        return frozenset()

    def init(self, world: World, seed: int) -> dict[str, Param]:
        """One logit of the fused vector."""
        rng = np.random.default_rng([seed, stable_hash("matching")])
        return linear_init(rng, "head", world.dim, 1, 0.1)

    def __call__(self, ask: Ask, batch: Batch, params: Mapping[str, Any], world: World) -> Scored:
        """The mean over couples of views."""
        import torch
        import torch.nn.functional as F

        found = []
        for couple in couples(world):
            lines = paired_lines(batch, couple)
            legal = other_family(batch, lines, couple[0])
            if not len(lines) or not bool(legal.any(1).all()):
                continue
            wanted = Pass(couple, "fuse")
            a, b = self._wrong(ask, batch, couple, lines, legal)
            true = ask(wanted).whole()
            rows = {couple[0]: torch.cat([lines, a]), couple[1]: torch.cat([b, lines])}
            false = ask.again(wanted, rows).whole()
            logits = linear(torch.cat([true, false]), params, "head")[:, 0]
            truth = (torch.arange(len(logits)) < len(true)).to(logits)
            found.append(F.binary_cross_entropy_with_logits(logits, truth))
        if not found:
            return "no partner of another family in the batch"
        return torch.stack(found).mean(), FLOOR

    def _wrong(
        self, ask: Ask, batch: Batch, couple: tuple[str, str], lines: Any, legal: Any
    ) -> tuple[Any, Any]:
        """For each line a wrong row of the first view, and one of the second."""
        import torch
        import torch.nn.functional as F

        s = torch.zeros(legal.shape)
        if self.negatives == "hard":
            with torch.no_grad():
                z = []
                for view in couple:
                    out = ask(Pass((view,)))
                    at = torch.searchsorted(out.lines, lines)
                    pooled = out.pooled(view)
                    z.append(F.normalize(pooled - pooled.mean(0), dim=-1)[at])
                s = (z[0] @ z[1].T / 0.1).float()
        picked = []
        for name, one in (("first", s.T), ("second", s)):
            draw = torch.from_numpy(batch.draw(f"wrong {name}").gumbel(size=legal.shape))
            picked.append(lines[(one + draw).masked_fill(~legal, -torch.inf).argmax(1)])
        return picked[0], picked[1]
