"""Targets over tokens and whole batches: transport between tokens, named tokens, random nets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Choice, Search
from conjoin.losses import Param
from conjoin.models.pretraining.blocks import linear, linear_init
from conjoin.models.pretraining.model import hidden
from conjoin.models.pretraining.targets.base import Ask, Need, Pass, Scored, World
from conjoin.models.pretraining.targets.contrast import (
    ALONE,
    couples,
    other_family,
    paired_lines,
)
from conjoin.spaces import Batch
from conjoin.storage.digest import stable_hash


@dataclass(frozen=True)
class TokenTransport:
    """Least cost of carrying one view's tokens onto the other's, of true pairs less false ones.

    ``⟨T, C⟩`` with ``C = 1 − cos`` of the fused tokens and ``T`` by the inexact proximal point
    method (IPOT, even margins), held fixed in the gradient; the loss is the cost of true pairs
    minus that of lines with another family's partner, plus 1. The floor is 1: what tokens that are
    all alike pay.

    Parameters
    ----------
    beta : step of the proximal point method.
    iterations : of it.

    References
    ----------
    Chen et al. 2020 (chen2020uniter).
    """

    beta: Annotated[float, Search(0.05, 5, log=True)] = 0.5
    iterations: Annotated[int, Search(1, 200)] = 50
    decomposes: ClassVar[bool] = True
    stops: ClassVar[bool] = True

    def lacks(self, world: World) -> str:
        """It needs two views on one line, and layers where they meet."""
        if not world.paired:
            return ALONE
        return "" if world.meets else "in this body views never meet"

    def needs(self, world: World) -> frozenset[Need]:
        """Nothing beside the rows."""
        return frozenset()

    def init(self, world: World, seed: int) -> dict[str, Param]:
        """Nothing."""
        return {}

    def __call__(self, ask: Ask, batch: Batch, params: Mapping[str, Any], world: World) -> Scored:
        """The mean over couples of views."""
        import torch

        found = []
        for a, b in couples(world):
            lines = paired_lines(batch, (a, b))
            legal = other_family(batch, lines, a)
            if not len(lines) or not bool(legal.any(1).all()):
                continue
            wanted = Pass((a, b), "fuse")
            draw = torch.from_numpy(batch.draw("transport").gumbel(size=tuple(legal.shape)))
            wrong = lines[draw.masked_fill(~legal, -torch.inf).argmax(1)]
            costs = []
            for out in (ask(wanted), ask.again(wanted, {a: lines, b: wrong})):
                x, y = out.tokens[a], out.tokens[b]
                costs.append(transport_cost(x, y, (out.keep[a], out.keep[b]), self))
            found.append((costs[0] - costs[1]).mean() + 1)
        if not found:
            return "no partner of another family in the batch"
        return torch.stack(found).mean(), 1.0


def transport_cost(x: Any, y: Any, keep: tuple[Any, Any], how: TokenTransport) -> Any:
    """``[n]`` costs of carrying ``x [n, t, d]`` onto ``y [n, s, d]``; padding has no mass."""
    import torch
    import torch.nn.functional as F

    cost = 1 - F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).transpose(1, 2)
    both = keep[0][:, :, None] & keep[1][:, None]
    cost = torch.where(both, cost, 0.0)
    with torch.no_grad():
        plan = ipot(cost, keep, how.beta, how.iterations)
    return (plan * cost).sum((1, 2))


def ipot(cost: Any, keep: tuple[Any, Any], beta: float, iterations: int) -> Any:
    """Plans ``[n, t, s]`` between even margins over what exists, by proximal points."""
    import torch

    here, there = (own.to(cost) for own in keep)
    both = here[:, :, None] * there[:, None]
    rows, columns = here.sum(1, keepdim=True), there.sum(1, keepdim=True)
    sigma = there / columns
    plan, kernel = both.clone(), torch.exp(-cost / beta) * both
    for _ in range(iterations):
        q = kernel * plan
        delta = here / (rows * torch.einsum("nts,ns->nt", q, sigma)).clamp(min=1e-30)
        sigma = there / (columns * torch.einsum("nts,nt->ns", q, delta)).clamp(min=1e-30)
        plan = delta[:, :, None] * q * sigma[:, None]
    return plan


@dataclass(frozen=True)
class NamedTokens:
    """Name each hidden token among all tokens of the batch, as the whole, unhidden view has them.

    ``−log softmax(s · cos(h_i, u_j))`` over all shown tokens ``u`` of the batch, those of the same
    weights with nothing hidden and without gradient; ``s`` fixed. The floor is the logarithm of how
    many tokens there are.

    Parameters
    ----------
    view : whose tokens; every view if not named.
    mask : what is hidden.
    scale : what cosines are multiplied by.
    beside : whether other views are shown.

    References
    ----------
    Wang et al. 2023 (wang2023onepeace).
    """

    view: str = ""
    mask: str = "token:0.5"
    scale: Annotated[float, Search(0.5, 50, log=True)] = 2.5
    beside: Annotated[str, Choice(("no", "yes"))] = "no"
    decomposes: ClassVar[bool] = False
    stops: ClassVar[bool] = True

    def lacks(self, world: World) -> str:
        """It needs a view."""
        return "" if self._views(world) else f"no view {self.view!r}"

    def _views(self, world: World) -> tuple[str, ...]:
        return tuple(v for v in world.views if self.view in ("", v))

    def needs(self, world: World) -> frozenset[Need]:
        """A plan for each view."""
        return frozenset(Need("plan", view, self.mask) for view in self._views(world))

    def init(self, world: World, seed: int) -> dict[str, Param]:
        """Nothing: states are compared as they are."""
        return {}

    def __call__(self, ask: Ask, batch: Batch, params: Mapping[str, Any], world: World) -> Scored:
        """The mean over views and hidden tokens."""
        import torch
        import torch.nn.functional as F

        found, floors = [], []
        for view in self._views(world):
            here = tuple(v for v in world.views if bool(batch.present[v].any()))
            together = self.beside == "yes" and world.meets and len(here) > 1 and view in here
            views, mode = (here, "fuse") if together else ((view,), "alone")
            wanted = Pass(views, mode, (Need("plan", view, self.mask),))
            out = ask(wanted)
            plan = batch.drawn[str(hidden(wanted, view))][out.lines]
            if not bool(plan.any()):
                continue
            with torch.no_grad():
                whole = ask(Pass(views, mode))
            keep = whole.keep[view]
            bank = F.normalize(whole.tokens[view][keep].detach(), dim=-1)
            place = torch.cumsum(keep.flatten(), 0).reshape(keep.shape) - 1
            states = F.normalize(out.tokens[view][plan], dim=-1)
            found.append(F.cross_entropy(self.scale * states @ bank.T, place[plan]))
            floors.append(states.new_tensor(float(np.log(len(bank)))))
        if not found:
            return "nothing hidden in the batch"
        return torch.stack(found).mean(), torch.stack(floors).mean()


@dataclass(frozen=True)
class RandomProjections:
    """Agree with random networks of the input, entry by entry of the batch.

    For each of ``networks`` fixed random networks ``g`` of a view's mean token and a trained head
    ``h`` of its state: ``Σ_i (1 − c_ii)² + λ Σ_i Σ_{j≠i} c_ij²`` with ``c_ij`` the cosine of
    ``h(z_i)`` and ``g(x_j)`` among the lines, centred over the batch; divided by the lines. The
    floor is 1: what answers that have no direction pay.

    Parameters
    ----------
    networks : random networks.
    wide : outputs of each.
    weight : λ.

    References
    ----------
    Sui et al. 2024 (sui2023lfr), without the choice of diverse networks by a determinantal point
    process.
    """

    networks: Annotated[int, Search(1, 64)] = 6
    wide: Annotated[int, Search(2, 1024, log=True)] = 32
    weight: Annotated[float, Search(1e-4, 1, log=True)] = 0.01
    decomposes: ClassVar[bool] = False
    fuses: ClassVar[bool] = False

    def lacks(self, world: World) -> str:
        """It needs a view of floats."""
        return "" if world.floats else "no view of float tokens"

    def needs(self, world: World) -> frozenset[Need]:
        """Nothing beside the rows."""
        return frozenset()

    def init(self, world: World, seed: int) -> dict[str, Param]:
        """A head for each view and network."""
        made: dict[str, Param] = {}
        for view in world.floats:
            for k in range(self.networks):
                rng = np.random.default_rng([seed, k, stable_hash(f"random projection {view}")])
                made |= linear_init(rng, f"{view}/{k}", world.dim, self.wide)
        return made

    def __call__(self, ask: Ask, batch: Batch, params: Mapping[str, Any], world: World) -> Scored:
        """The mean over views, networks and lines."""
        import torch
        import torch.nn.functional as F

        found = []
        for view in world.floats:
            out = ask(Pass((view,)))
            if len(out.lines) < 2:
                continue
            keep = out.keep[view].to(out.tokens[view])
            raw = (ask.standard(view)[out.lines] * keep[..., None]).sum(1)
            raw = raw / keep.sum(1, keepdim=True).clamp(min=1)
            for k in range(self.networks):
                aim = self.project(raw, view, k)
                made = linear(out.pooled(view), params, f"{view}/{k}")
                u, v = (F.normalize(z - z.mean(0), dim=-1) for z in (made, aim))
                found.append(barlow_rows(u @ v.T, self.weight))
        if not found:
            return "fewer than two lines"
        return torch.stack(found).mean(), 1.0

    def project(self, raw: Any, view: str, number: int) -> Any:
        """A fixed random network of two layers, drawn from its number."""
        import torch

        rng = np.random.default_rng([number, stable_hash(f"random network {view}")])
        wide = raw.shape[1]
        one = torch.from_numpy(rng.standard_normal((wide, 64)) / np.sqrt(wide)).to(raw)
        two = torch.from_numpy(rng.standard_normal((64, self.wide)) / 8).to(raw)
        return torch.relu(raw @ one) @ two


def barlow_rows(c: Any, weight: float) -> Any:
    """``(Σ (1 − c_ii)² + λ Σ c_ij²) / n`` of cosines ``[n, n]``."""
    own = c.diagonal()
    return (((1 - own) ** 2).sum() + weight * ((c**2).sum() - (own**2).sum())) / len(c)
