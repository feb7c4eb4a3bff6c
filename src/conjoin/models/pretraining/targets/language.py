"""Write ids one after the other: language models, captions, signals to letters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from conjoin.losses import Param
from conjoin.models.pretraining.blocks import linear, linear_init, norm_init
from conjoin.models.pretraining.targets.base import (
    Ask,
    Need,
    Pass,
    Scored,
    World,
    unigram,
)
from conjoin.models.pretraining.targets.masked import chosen_ids, id_logits
from conjoin.spaces import Batch
from conjoin.storage.digest import stable_hash


@dataclass(frozen=True)
class Write:
    """Write a view from others: ``−Σ log p(y_t | y_<t, sources)`` a token, by the decoder layers.

    The floor is what the training items' shares of ids pay.

    Parameters
    ----------
    into : the view of ids that is written; the only one if not named.
    source : the views it is written from, parted by ``+``; all others if not named.

    References
    ----------
    Vaswani et al. 2017 (vaswani2017attention); as one target among several: Li et al. 2023
    (li2023blip2).
    """

    into: str = ""
    source: str = ""
    decomposes: ClassVar[bool] = False

    def lacks(self, world: World) -> str:
        """It needs a decoder, a view of ids and another view beside it."""
        if not world.writes:
            return "the body has no decoder (set decoder = 1)"
        if not chosen_ids(self.into, world):
            return "no view of ids to write"
        return "" if self._sources(world) else "no other view to write from"

    def _sources(self, world: World) -> tuple[str, ...]:
        into = chosen_ids(self.into, world)[0]
        named = tuple(self.source.split("+")) if self.source else world.views
        return tuple(
            v for v in world.views if v in named and (v != into) and {v, into} in world.paired
        )

    def needs(self, world: World) -> frozenset[Need]:
        """Nothing beside the rows."""
        return frozenset()

    def init(self, world: World, seed: int) -> dict[str, Param]:
        """A layer before the table, and a bias an id."""
        into = chosen_ids(self.into, world)[0]
        rng = np.random.default_rng([seed, stable_hash(f"write {into}")])
        made = linear_init(rng, f"{into}/inner", world.dim, world.dim)
        made |= norm_init(f"{into}/norm", world.dim)
        return made | {f"{into}/bias": Param(np.zeros(world.vocabulary[into]))}

    def __call__(self, ask: Ask, batch: Batch, params: Mapping[str, Any], world: World) -> Scored:
        """The mean over tokens that are there."""
        import torch.nn.functional as F

        into = chosen_ids(self.into, world)[0]
        here = tuple(v for v in self._sources(world) if bool(batch.present[v].any()))
        if not here or not bool(batch.present[into].any()):
            return "no line with the written view and a source"
        out = ask(Pass(here, "fuse" if len(here) > 1 and world.meets else "alone"))
        keep = batch.masks[into][out.lines]
        if not bool(keep.any()):
            return "no line with the written view and a source"
        states = ask.write(into, out)[keep]
        targets = batch.rows[into][out.lines][keep]
        logits = id_logits(states, ask.table(into), params, into)
        return F.cross_entropy(logits, targets), unigram(world.counts[into], targets)


@dataclass(frozen=True)
class NextId:
    """Tell each next id from those before, beside other views: ``−log softmax(E g(h_{t−1}))``.

    One stack that looks back only: views stand in the order of the recipe, so that a view of ids
    continues what the views before it began.

    Parameters
    ----------
    view : whose ids; the last view of ids if not named.

    References
    ----------
    Radford et al. 2019 (radford2019gpt2).
    """

    view: str = ""
    decomposes: ClassVar[bool] = False

    def lacks(self, world: World) -> str:
        """It needs a view of ids and layers that look back."""
        if not chosen_ids(self.view, world):
            return "no view of ids"
        return "" if world.meets else "the body cannot look back only (take kind single)"

    def needs(self, world: World) -> frozenset[Need]:
        """Nothing beside the rows."""
        return frozenset()

    def init(self, world: World, seed: int) -> dict[str, Param]:
        """A layer before the table, and a bias an id."""
        view = chosen_ids(self.view, world)[-1]
        rng = np.random.default_rng([seed, stable_hash(f"next {view}")])
        made = linear_init(rng, f"{view}/inner", world.dim, world.dim)
        made |= norm_init(f"{view}/norm", world.dim)
        return made | {f"{view}/bias": Param(np.zeros(world.vocabulary[view]))}

    def __call__(self, ask: Ask, batch: Batch, params: Mapping[str, Any], world: World) -> Scored:
        """The mean over tokens that have one before them."""
        import torch.nn.functional as F

        view = chosen_ids(self.view, world)[-1]
        here = tuple(v for v in world.views if v != view and bool(batch.present[v].any()))
        if not bool(batch.present[view].any()):
            return "the view is absent from the batch"
        out = ask(Pass((*here, view), "fuse", order=True))
        keep = out.keep[view]
        follows = keep[:, 1:] & keep[:, :-1]
        if not bool(follows.any()):
            return "no id has one before it"
        states = out.tokens[view][:, :-1][follows]
        targets = batch.rows[view][out.lines][:, 1:][follows]
        logits = id_logits(states, ask.table(view), params, view)
        return F.cross_entropy(logits, targets), unigram(world.counts[view], targets)


@dataclass(frozen=True)
class Transcribe:
    """Letters of a signal without their places: connectionist temporal classification.

    ``−log Σ_paths Π_t p(path_t | signal)`` over paths that give the letters when repeats and
    blanks are taken out, divided by the number of letters. The floor is the same of one constant
    distribution, the training items' shares of letters and the best share of blanks for the
    lengths at hand.

    Parameters
    ----------
    view : the signal, a view of floats; the first if not named.
    into : the letters, a view of ids; the first if not named.

    References
    ----------
    Graves et al. 2006 (graves2006ctc).
    """

    view: str = ""
    into: str = ""
    decomposes: ClassVar[bool] = False
    fuses: ClassVar[bool] = False

    def lacks(self, world: World) -> str:
        """It needs a signal and letters on one line."""
        if not chosen_ids(self.into, world):
            return "no view of ids to write"
        if not self.signal(world):
            return "no signal on a line with letters"
        return ""

    def letters(self, world: World) -> str:
        """The view that is written."""
        return chosen_ids(self.into, world)[0]

    def signal(self, world: World) -> str:
        """The view that is read; empty if no line has one beside letters."""
        into = self.letters(world)
        named = (self.view,) if self.view else world.floats
        return next((v for v in named if frozenset((v, into)) in world.paired), "")

    def needs(self, world: World) -> frozenset[Need]:
        """Nothing beside the rows."""
        return frozenset()

    def init(self, world: World, seed: int) -> dict[str, Param]:
        """A linear map to letters and the blank, which stands last."""
        into = chosen_ids(self.into, world)[0]
        rng = np.random.default_rng([seed, stable_hash("transcribe")])
        return linear_init(rng, "head", world.dim, world.vocabulary[into] + 1)

    def __call__(self, ask: Ask, batch: Batch, params: Mapping[str, Any], world: World) -> Scored:
        """The mean over lines whose signal is long enough for its letters."""
        import torch

        into, view = self.letters(world), self.signal(world)
        out = ask(Pass((view,)))
        letters, keep = batch.rows[into][out.lines], batch.masks[into][out.lines]
        sizes, frames = keep.sum(1), out.keep[view].sum(1)
        twice = ((letters[:, 1:] == letters[:, :-1]) & keep[:, 1:]).sum(1)
        fits = (sizes > 0) & (frames >= sizes + twice)
        if not bool(fits.any()):
            return "no signal is as long as its letters"
        logits = linear(out.tokens[view], params, "head")
        targets = letters[fits], frames[fits], sizes[fits]
        loss = ctc(torch.log_softmax(logits, -1)[fits], *targets)
        with torch.no_grad():
            floor = ctc(self._constant(logits[fits], targets, world, into), *targets)
        return loss, floor

    def _constant(self, like: Any, targets: Any, world: World, into: str) -> Any:
        """Logarithms of the best constant distribution, as ``[n, t, vocabulary + 1]``."""
        import torch

        _, frames, sizes = targets
        counts = torch.as_tensor(world.counts[into]).to(like) + 1e-6
        blank = 1 - (sizes.sum() / frames.sum()).clamp(0.02, 0.98).to(like)
        shares = torch.cat([(1 - blank) * counts / counts.sum(), blank[None]])
        return shares.log().expand_as(like)


def ctc(log_probs: Any, letters: Any, frames: Any, sizes: Any) -> Any:
    """Mean over rows of the loss a letter; ``log_probs [n, t, v]``, the blank last."""
    import torch.nn.functional as F

    blank = log_probs.shape[-1] - 1
    each = F.ctc_loss(
        log_probs.transpose(0, 1), letters, frames, sizes, blank=blank, reduction="none"
    )
    return (each / sizes).mean()
