"""Spaces joined to spaces: views that two of them share carry the rest across."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.covariance import Joint, require_reached
from conjoin.alignment.trained.contrastive_heads import fresh, in_order, training
from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError, optional
from conjoin.losses import Param
from conjoin.maps.average import Mix
from conjoin.maps.base import Map, Normalise, as_array
from conjoin.maps.standardise import Standardise
from conjoin.spaces import Batch, Pairs, Rows, unit
from conjoin.storage.digest import stable_hash
from conjoin.training.early_stopping import Pace, Training, objective_named
from conjoin.training.loop import Arrays
from conjoin.training.networks import FreshHeads, part_of, used

#: Rows of a shared view that a bond is trained on at most.
MOST = 20_000


@dataclass(frozen=True, eq=False)
class Joined:
    """A space: some views and the map of each into it.

    Parameters
    ----------
    frame : the source frame its views share, where it was given and not fitted.
    """

    maps: Mapping[str, Any]
    frame: str | None = None


@dataclass(frozen=True)
class SpaceBonds:
    """Whole spaces projected onto one by ensembles trained on pseudo-pairs (FreeBind).

    A space is a set of views that compare already: those of one source frame, or a view and its
    partners under heads trained by contrast. Another space E joins the base U through a view b
    that both hold. For every row of b, the two places of b, and what b retrieves on either side
    by ``softmax(b·C/τ) C``, are pseudo-pairs; ``projectors`` networks P_k are trained on draws of
    them. A view of E alone is then mapped by ``y = unit(mean_k unit(P_k(E(x))))``, a view of both
    by ``unit(f y + (1 − f) U(x))``. Views of one frame share their projectors.

    Parameters
    ----------
    bond : ``combination`` keeps the first view's space as the base; ``displacement`` projects it
        into the next one, where no view is frozen.
    factor : f, how far a shared view moves towards what the joined space says of it.
    projectors : P_k in an ensemble.
    sharpness : 1/τ of what is retrieved.
    projector_steps : of training each projector.
    width : coordinates of a fitted space.
    hidden : units of a network's hidden layer.
    dropout : share of hidden units dropped a step.
    noise : expected length of the random vector added to each row a step.
    temperature : of the loss, at the start.
    lr, weight_decay : of AdamW.
    steps, batch : steps at most (whole passes, one at least) of fitting a space, and lines in each.

    References
    ----------
    Wang et al. 2024 (wang2024freebind); pseudo-pairs through a shared view as in Wang et al. 2023
    (wang2023cmcr).
    """

    bond: Annotated[str, Choice(("combination", "displacement"))] = "combination"
    factor: Annotated[float, Search(0.0, 1.0)] = 0.5
    projectors: Annotated[int, Search(1, 21)] = 7
    sharpness: Annotated[float, Search(1.0, 500.0, log=True)] = 100.0
    projector_steps: Annotated[int, Search(1, 1_000, log=True)] = 40
    width: Annotated[int, Search(8, 1024, log=True)] = 256
    hidden: Annotated[int, Search(16, 2048, log=True)] = 256
    dropout: Annotated[float, Search(0.0, 0.8)] = 0.5
    noise: Annotated[float, Search(0.0, 8.0)] = 0.0
    temperature: Annotated[float, Search(0.005, 1.0, log=True)] = 0.07
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 1e-3
    weight_decay: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-1
    steps: Annotated[int, Search(1, 10_000, log=True)] = 120
    batch: Annotated[int, Search(32, 8192, log=True)] = 512
    loss: str = "infonce"
    augment: str | None = None
    together: ClassVar[bool] = False
    whole: ClassVar[bool] = False

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """One map a view, into the base space.

        Raises
        ------
        ConjoinError : as other heads; or a displacement is asked for beside frozen views.
        """
        optional("torch", "train")
        joint = Joint.of(views, pairs, frozen)
        start = list(frozen) or list(views)[:1]
        require_reached(joint, start)
        if frozen and self.bond == "displacement":
            raise ConjoinError("bond", "displacement would move frozen views", "use combination")
        spaces = [Joined(frozen)] if frozen else []
        for names, given in _members(joint, start, frames):
            spaces.append(self._space(names, given, views, pairs, seed))
        order = [1, 0, *range(2, len(spaces))] if self.bond == "displacement" else None
        base, *others = [spaces[i] for i in order] if order and len(spaces) > 1 else spaces
        maps = dict(base.maps)
        while others:
            nearest = next(space for space in others if space.maps.keys() & maps.keys())
            others.remove(nearest)
            maps = self._bonded(maps, nearest, views, pairs, frozen, seed)
        return in_order(views, maps)

    def _space(
        self,
        names: list[str],
        given: str | None,
        views: Mapping[str, Rows],
        pairs: Pairs,
        seed: int,
    ) -> Joined:
        if given is not None:
            return Joined({name: Normalise() for name in names}, given)
        own = {name: views[name] for name in names}
        lines = pairs.select(tuple(names))
        heads = fresh(self, own, lines, {}, self.width)
        return Joined(heads.maps(training(self, heads, own, {}).fit(lines, seed)))

    def _bonded(
        self,
        maps: Mapping[str, Any],
        other: Joined,
        views: Mapping[str, Rows],
        pairs: Pairs,
        frozen: Mapping[str, Any],
        seed: int,
    ) -> dict[str, Any]:
        """The base's maps, with those of the other space's views."""
        rows = self._pseudo(maps, other, views, pairs)
        ensemble = self._ensemble(rows, seed)
        joined = dict(maps)
        for name, item in other.maps.items():
            across = item.between(None, None).then(ensemble)
            if name not in maps:
                joined[name] = across
            elif name not in frozen and self.factor:
                joined[name] = Mix((across, maps[name]), (self.factor, 1 - self.factor))
        return joined

    def _pseudo(
        self,
        maps: Mapping[str, Any],
        other: Joined,
        views: Mapping[str, Rows],
        pairs: Pairs,
    ) -> dict[str, np.ndarray]:
        """Rows of E and of U that stand for the same things, line by line."""
        sides = {"from": other.maps, "to": maps}
        shared = sorted(other.maps.keys() & maps.keys())
        banks = {
            side: _bank({n: m for n, m in held.items() if n not in shared}, views, pairs)
            for side, held in sides.items()
        }
        found: dict[str, list[np.ndarray]] = {}
        for name in shared:
            x = as_array(views[name])[used(pairs, name)[:MOST]]
            for side, held in sides.items():
                here = unit(np.asarray(held[name].apply(x), np.float32))
                found.setdefault(side, []).append(here)
                bank = banks[side]
                if bank is not None:
                    found.setdefault(f"{side} retrieved", []).append(self._retrieved(here, bank))
        return {side: np.concatenate(parts) for side, parts in found.items()}

    def _retrieved(self, asked: np.ndarray, bank: np.ndarray) -> np.ndarray:
        """``softmax(a·C/τ) C`` of every row, at unit length."""
        out = np.empty_like(asked)
        for start in range(0, len(asked), 1024):
            scores = asked[start : start + 1024] @ bank.T * self.sharpness
            share = np.exp(scores - scores.max(axis=1, keepdims=True))
            out[start : start + 1024] = unit(share @ bank / share.sum(axis=1, keepdims=True))
        return out

    def _ensemble(self, rows: Mapping[str, np.ndarray], seed: int) -> Mix:
        """Projectors, each trained on its own draw of the pseudo-pairs from its own start."""
        n, dim = rows["to"].shape
        asked = [name for name in rows if name.startswith("from")]
        lines = np.arange(n)
        before = Standardise.of(np.concatenate([rows[name] for name in asked]))
        net = FreshHeads(("P",), {"P": before}, dim, self.hidden, self.dropout)
        run = Training(
            Projector(net, tuple(asked), tuple(rows)),
            objective_named(self.loss, self.temperature),
            rows,
            dict.fromkeys(rows, lines),
            replace(Pace.of(self), steps=self.projector_steps),
        )
        found = []
        for number in range(self.projectors):
            rng = np.random.default_rng([seed, number, stable_hash("projector draw")])
            drawn = np.sort(rng.choice(n, size=n)) if self.projectors > 1 else lines
            pairs = Pairs(tuple(rows), np.stack([drawn] * len(rows), axis=1))
            own = stable_hash(f"projector {seed} {number}")
            found.append(run.trainable.maps(run.run(pairs, own).params)["P"])
        return Mix.mean(found)


@dataclass(frozen=True, eq=False)
class Projector:
    """The trainable: one network that several views share; the others stay where they are.

    Parameters
    ----------
    asked : the views that it maps.
    names : all views.
    """

    net: FreshHeads
    asked: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def dim(self) -> int:
        """Width of the outputs."""
        return self.net.dim

    def init(self, seed: int) -> dict[str, Param]:
        """The network's values."""
        return self.net.init(seed)

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by view."""
        held = part_of(params, "P")
        return {
            name: self.net.head("P", replace(batch, rows={"P": batch.rows[name]}), held)
            if name in self.asked
            else batch.rows[name]
            for name in self.names
        }

    def maps(self, arrays: Arrays) -> dict[str, Map]:
        """The network as a map, under ``P``."""
        return self.net.maps(arrays)


def _bank(maps: Mapping[str, Any], views: Mapping[str, Rows], pairs: Pairs) -> np.ndarray | None:
    """What a space's own views hold: all their paired rows, at unit length."""
    rows = [m.apply(as_array(views[n])[used(pairs, n)[:MOST]]) for n, m in maps.items()]
    return unit(np.concatenate(rows)).astype(np.float32) if rows else None


def _members(
    joint: Joint, start: list[str], frames: Mapping[str, str]
) -> Iterator[tuple[list[str], str | None]]:
    """The views of each space, and its frame where it is given; the first view's space first."""
    by_frame: dict[str, list[str]] = {}
    for name in joint.dims:
        if name not in joint.frozen:
            by_frame.setdefault(frames.get(name, f"its own {name}"), []).append(name)
    given = {frame: names for frame, names in by_frame.items() if len(names) > 1}
    home = {name: frame for frame, names in given.items() for name in names}
    done = list(start)
    told: set[str] = set()
    for name in done:
        frame = home.get(name)
        if frame and frame not in told:
            told.add(frame)
            yield given[frame], frame
            done += [n for n in given[frame] if n not in done]
        new = [n for n in joint.partners(name) if n not in done]
        if new:
            yield [name, *new], None
            done += new
