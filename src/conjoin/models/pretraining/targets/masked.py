"""Tell what is hidden from what is shown: ids, and float tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Choice
from conjoin.losses import Param
from conjoin.models.pretraining.blocks import linear, linear_init, norm, norm_init
from conjoin.models.pretraining.model import hidden
from conjoin.models.pretraining.targets.base import (
    Ask,
    Need,
    Pass,
    Scored,
    World,
    chosen,
    unigram,
)
from conjoin.spaces import Batch
from conjoin.storage.digest import stable_hash


def passes(
    views: tuple[str, ...], view: str, spec: str, together: bool, both: bool
) -> tuple[Pass, Need]:
    """The forward request of a masked view, and the plan that hides it.

    With ``both`` all views are masked by the one plan; else the others are shown whole.
    """
    need = Need("plan", "" if both else view, spec)
    if together:
        return Pass(views, "fuse", (need,)), need
    return Pass((view,), "alone", (need,)), need


@dataclass(frozen=True)
class MaskedIds:
    """Name hidden ids: ``−log softmax(E g(h))`` at hidden places only, ``E`` the stem's table.

    Beside other views where the batch has them and the body lets them meet (``beside``), alone
    elsewhere. The floor is what the training items' shares of ids pay.

    Parameters
    ----------
    view : whose ids; every view of ids if not named.
    mask : what is hidden, as in ``token:0.15``.
    beside : whether other views are shown; ``both`` masks them by the same plan.

    References
    ----------
    Devlin et al. 2019 (devlin2019bert); one side masked at a time: Chen et al. 2020
    (chen2020uniter).
    """

    view: str = ""
    mask: str = "token:0.15"
    beside: Annotated[str, Choice(("no", "yes", "both"))] = "yes"
    decomposes: ClassVar[bool] = False

    def lacks(self, world: World) -> str:
        """It needs a view of ids."""
        return "" if chosen_ids(self.view, world) else "no view of ids (bytes, words or codes)"

    def needs(self, world: World) -> frozenset[Need]:
        """A plan for each view it masks."""
        own = chosen_ids(self.view, world)
        both = self.beside == "both"
        return frozenset(passes((view,), view, self.mask, False, both)[1] for view in own)

    def init(self, world: World, seed: int) -> dict[str, Param]:
        """A layer before the table, and a bias an id."""
        made: dict[str, Param] = {}
        for view in chosen_ids(self.view, world):
            rng = np.random.default_rng([seed, stable_hash(f"masked ids {view}")])
            made |= linear_init(rng, f"{view}/inner", world.dim, world.dim)
            made |= norm_init(f"{view}/norm", world.dim)
            made[f"{view}/bias"] = Param(np.zeros(world.vocabulary[view]))
        return made

    def __call__(self, ask: Ask, batch: Batch, params: Mapping[str, Any], world: World) -> Scored:
        """The mean over views and hidden places."""
        import torch
        import torch.nn.functional as F

        found, floors = [], []
        for view in chosen_ids(self.view, world):
            wanted = request(batch, world, view, self.mask, self.beside)
            states, targets = at_hidden(ask, batch, wanted, view)
            if not len(targets):
                continue
            logits = id_logits(states, ask.table(view), params, view)
            found.append(F.cross_entropy(logits, targets))
            floors.append(unigram(world.counts[view], targets))
        if not found:
            return "nothing hidden in the batch"
        return torch.stack(found).mean(), torch.stack(floors).mean()


def chosen_ids(view: str, world: World) -> tuple[str, ...]:
    """The views of ids that a target reads."""
    return tuple(v for v in chosen(view, world.ids, "ids") if v in world.ids)


def id_logits(states: Any, table: Any, params: Mapping[str, Any], view: str) -> Any:
    """``[n, vocabulary]`` of states ``[n, dim]``: a layer, its norm, and the table."""
    import torch.nn.functional as F

    inner = norm(F.gelu(linear(states, params, f"{view}/inner")), params, f"{view}/norm")
    return F.linear(inner, table, params[f"{view}/bias"])


def request(batch: Batch, world: World, view: str, spec: str, beside: str) -> Pass:
    """The pass in which a view is masked: beside every view that the batch's lines have."""
    here = tuple(v for v in world.views if bool(batch.present[v].any()))
    together = beside != "no" and world.meets and len(here) > 1 and view in here
    return passes(here, view, spec, together, beside == "both")[0]


def at_hidden(ask: Ask, batch: Batch, wanted: Pass, view: str) -> tuple[Any, Any]:
    """States at a view's hidden places ``[n, dim]`` and what the batch holds there."""
    out = ask(wanted)
    plan = batch.drawn[str(hidden(wanted, view))][out.lines]
    return out.tokens[view][plan], batch.rows[view][out.lines][plan]


@dataclass(frozen=True)
class MaskedFeatures:
    """Give back hidden float tokens, in the standard units of the training items.

    ``mse``: ``‖f(h) − x‖² / d``; ``patch``: the same of tokens that are standardised each by
    itself (the masked autoencoder's normalised pixels); ``cos``: ``1 − cos(f(h), x)``; ``nce``:
    name the token among all hidden ones of the batch, temperature 0.07. Floors: the mean square of
    the tokens (their mean answers), 1, and the logarithm of how many there are.

    Parameters
    ----------
    view : whose tokens; every view of floats if not named.
    mask : what is hidden; a mask that shares a budget among views hides some of each.
    beside : whether other views are shown; ``both`` masks them by the same plan.
    how : one of the above.

    References
    ----------
    He et al. 2022 (he2022mae); Chen et al. 2020 (chen2020uniter); Fang et al. 2023 (fang2023eva).
    """

    view: str = ""
    mask: str = "token:0.5"
    beside: Annotated[str, Choice(("no", "yes", "both"))] = "yes"
    how: Annotated[str, Choice(("mse", "patch", "cos", "nce"))] = "mse"
    decomposes: ClassVar[bool] = False

    def lacks(self, world: World) -> str:
        """It needs a view of floats."""
        return "" if self._views(world) else "no view of float tokens"

    def _views(self, world: World) -> tuple[str, ...]:
        return tuple(v for v in chosen(self.view, world.floats, "floats") if v in world.floats)

    def needs(self, world: World) -> frozenset[Need]:
        """A plan for each view it masks."""
        both = self.beside == "both"
        return frozenset(passes((v,), v, self.mask, False, both)[1] for v in self._views(world))

    def init(self, world: World, seed: int) -> dict[str, Param]:
        """A small network a view, from states to tokens."""
        made: dict[str, Param] = {}
        for view in self._views(world):
            rng = np.random.default_rng([seed, stable_hash(f"masked features {view}")])
            made |= linear_init(rng, f"{view}/up", world.dim, world.dim)
            made |= linear_init(rng, f"{view}/down", world.dim, world.wide[view], 0.5)
        return made

    def __call__(self, ask: Ask, batch: Batch, params: Mapping[str, Any], world: World) -> Scored:
        """The mean over views and hidden tokens."""
        import torch
        import torch.nn.functional as F

        found, floors = [], []
        for view in self._views(world):
            wanted = request(batch, world, view, self.mask, self.beside)
            out = ask(wanted)
            plan = batch.drawn[str(hidden(wanted, view))][out.lines]
            if not bool(plan.any()):
                continue
            states = F.gelu(linear(out.tokens[view][plan], params, f"{view}/up"))
            made = linear(states, params, f"{view}/down")
            loss, floor = feature_loss(made, ask.standard(view)[out.lines][plan], self.how)
            found.append(loss)
            floors.append(torch.as_tensor(floor).to(loss))
        if not found:
            return "nothing hidden in the batch"
        return torch.stack(found).mean(), torch.stack(floors).mean()


def feature_loss(made: Any, true: Any, how: str) -> tuple[Any, Any]:
    """Loss and floor of predicted tokens ``[n, d]`` against true ones, as in MaskedFeatures."""
    import torch
    import torch.nn.functional as F

    if how == "patch":
        wide = true.var(-1, keepdim=True, unbiased=False)
        true = (true - true.mean(-1, keepdim=True)) / (wide + 1e-6).sqrt()
    if how in ("mse", "patch"):
        return ((made - true) ** 2).mean(), (true**2).mean()
    if how == "cos":
        return (1 - F.cosine_similarity(made, true, dim=-1)).mean(), 1.0
    logits = F.normalize(made, dim=-1) @ F.normalize(true, dim=-1).T / 0.07
    return F.cross_entropy(logits, torch.arange(len(made))), float(np.log(len(made)))
