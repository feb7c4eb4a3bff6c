"""Targets that tell which rows belong together among many."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin import catalogue
from conjoin.catalogue import Choice, Search
from conjoin.losses import Param
from conjoin.models.pretraining.blocks import linear, linear_init
from conjoin.models.pretraining.targets.base import Ask, Need, Out, Pass, Scored, World
from conjoin.spaces import Batch
from conjoin.storage.digest import stable_hash

ALONE = "no line has two views"


@dataclass(frozen=True)
class Contrast:
    """Any loss of the catalogue over one vector a view: ``loss({v: P_v pooled_v}, batch)``.

    Rows of one family are never negatives of each other. The floor is the loss itself where every
    row gets the same vector.

    Parameters
    ----------
    loss : its name, ``infonce`` by default.

    References
    ----------
    Radford et al. 2021 (radford2021clip); Li et al. 2021 (li2021albef).
    """

    loss: str = "infonce"
    decomposes: ClassVar[bool] = False
    fuses: ClassVar[bool] = False

    def lacks(self, world: World) -> str:
        """It needs two views on one line."""
        return "" if world.paired else ALONE

    def needs(self, world: World) -> frozenset[Need]:
        """Nothing beside the rows."""
        return frozenset()

    def init(self, world: World, seed: int) -> dict[str, Param]:
        """A projection a view, and what the loss trains itself."""
        made = projections("proj", world, seed)
        own = catalogue.find("loss", self.loss).make().init(world.views, world.dim)
        return made | {f"loss/{key}": value for key, value in own.items()}

    def __call__(self, ask: Ask, batch: Batch, params: Mapping[str, Any], world: World) -> Scored:
        """The loss of every couple of views that lines have."""
        import torch

        here = [view for view in world.views if bool(batch.present[view].any())]
        both = [c for c in combinations(here, 2) if frozenset(c) in world.paired]
        lines = {c: batch.present[c[0]] & batch.present[c[1]] for c in both}
        legal = [c for c in both if len(batch.ids[c[0]][lines[c]].unique()) > 1]
        if not legal:
            return "no line with two views of different families" if both else ALONE
        views = list(dict.fromkeys(view for couple in legal for view in couple))
        out = {}
        for view in views:
            own = ask(Pass((view,)))
            made = torch.zeros(len(batch), world.dim).to(own.tokens[view])
            out[view] = made.index_copy(0, own.lines, linear(own.pooled(view), params,
                                                             f"proj/{view}"))  # fmt: skip
        loss = catalogue.find("loss", self.loss).make()
        held = {k.removeprefix("loss/"): v for k, v in params.items() if k.startswith("loss/")}
        kept = Batch(
            {v: batch.rows[v] for v in views}, batch.ids, batch.present, batch.weights,
            batch.labels, batch.masks, progress=batch.progress, seed=batch.seed,
        )  # fmt: skip
        same = {view: torch.ones_like(z.detach()) for view, z in out.items()}
        with torch.no_grad():
            floor = loss(same, kept, held)
        return loss(out, kept, held), floor


def projections(name: str, world: World, seed: int) -> dict[str, Param]:
    """A linear map of the body's width for each view."""
    made: dict[str, Param] = {}
    for view in world.views:
        rng = np.random.default_rng([seed, stable_hash(f"{name} {view}")])
        made |= linear_init(rng, f"{name}/{view}", world.dim, world.dim)
    return made


def couples(world: World) -> list[tuple[str, str]]:
    """Couples of views that stand on one line somewhere, in the order of the views."""
    return [c for c in combinations(world.views, 2) if frozenset(c) in world.paired]


def paired_lines(batch: Batch, couple: tuple[str, str]) -> Any:
    """Lines of a batch that have both views."""
    return (batch.present[couple[0]] & batch.present[couple[1]]).nonzero()[:, 0]


def other_family(batch: Batch, lines: Any, view: str) -> Any:
    """``[n, n]``: whether two lines are of different families."""
    ids = batch.ids[view][lines]
    return ids[:, None] != ids[None]


@dataclass(frozen=True)
class TokenContrast:
    """Contrast by tokens: ``s(a, b) = ½ (Σᵢ wᵢ maxⱼ aᵢ·bⱼ + Σⱼ wⱼ maxᵢ aᵢ·bⱼ)``, then InfoNCE.

    Tokens are projected to unit length; ``w = softmax`` over a set's tokens of a small network, or
    even. Padding is never the maximum.

    Parameters
    ----------
    weights : ``learnt`` or ``even``.
    temperature : what similarities are divided by.

    References
    ----------
    Yao et al. 2022 (yao2022filip); learnt weights: Chen et al. 2023 (chen2023valor).
    """

    weights: Annotated[str, Choice(("learnt", "even"))] = "learnt"
    temperature: Annotated[float, Search(0.01, 1.0, log=True)] = 0.07
    decomposes: ClassVar[bool] = False
    fuses: ClassVar[bool] = False

    def lacks(self, world: World) -> str:
        """It needs two views on one line."""
        return "" if world.paired else ALONE

    def needs(self, world: World) -> frozenset[Need]:
        """Nothing beside the rows."""
        return frozenset()

    def init(self, world: World, seed: int) -> dict[str, Param]:
        """A projection and a weigher a view."""
        made = projections("proj", world, seed)
        for view in world.views:
            rng = np.random.default_rng([seed, stable_hash(f"weigh {view}")])
            made |= linear_init(rng, f"weigh/{view}", world.dim, 1, 0.1)
        return made

    def __call__(self, ask: Ask, batch: Batch, params: Mapping[str, Any], world: World) -> Scored:
        """The mean over couples and both directions."""
        import torch

        found, floors = [], []
        for a, b in couples(world):
            lines = paired_lines(batch, (a, b))
            apart = other_family(batch, lines, a)
            if not bool(apart.any()):
                continue
            s = self.scores(ask, (a, b), lines, params) / self.temperature
            legal = apart | torch.eye(len(lines), dtype=torch.bool)
            for one in (s, s.T):
                masked = one.masked_fill(~legal, -torch.inf)
                found.append(-torch.log_softmax(masked, 1).diagonal().mean())
                floors.append(legal.sum(1).to(s).log().mean())
        if not found:
            return "no line with two views of different families"
        return torch.stack(found).mean(), torch.stack(floors).mean()

    def scores(
        self, ask: Ask, couple: tuple[str, str], lines: Any, params: Mapping[str, Any]
    ) -> Any:
        """Similarities ``[n, n]`` of lines of two views."""
        x, keep, w = zip(*(self._tokens(ask(Pass((v,))), v, lines, params) for v in couple),
                         strict=True)  # fmt: skip
        return token_similarity(x, keep, w)

    def _tokens(
        self, out: Out, view: str, lines: Any, params: Mapping[str, Any]
    ) -> tuple[Any, Any, Any]:
        import torch
        import torch.nn.functional as F

        at = torch.searchsorted(out.lines, lines)
        tokens, keep = out.tokens[view][at], out.keep[view][at]
        x = F.normalize(linear(tokens, params, f"proj/{view}"), dim=-1)
        logits = torch.zeros_like(x[..., 0])
        if self.weights == "learnt":
            logits = linear(tokens, params, f"weigh/{view}")[..., 0]
        return x, keep, torch.softmax(logits.masked_fill(~keep, -1e9), -1)


def token_similarity(x: Any, keep: Any, w: Any) -> Any:
    """``[n, m]`` from tokens ``[n, t, d]`` and ``[m, s, d]``, what exists of them and weights."""
    import torch

    (a, b), (here, there) = x, keep
    every = torch.einsum("ntd,msd->nmts", a, b)
    forth = every.masked_fill(~there[None, :, None, :], -torch.inf).amax(3)
    back = every.masked_fill(~here[:, None, :, None], -torch.inf).amax(2)
    one = torch.einsum("nmt,nt->nm", forth.masked_fill(~here[:, None], 0.0), w[0])
    two = torch.einsum("nms,ms->nm", back.masked_fill(~there[None], 0.0), w[1])
    return (one + two) / 2
