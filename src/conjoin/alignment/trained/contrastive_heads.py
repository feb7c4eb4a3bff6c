"""Trained heads: residual networks on frozen vectors, from a closed form or from a random start."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.covariance import Joint, require_reached
from conjoin.alignment.closed_form.linear import CCA
from conjoin.alignment.pair_trust import trusted
from conjoin.catalogue import Choice, Search, find
from conjoin.errors import ConjoinError, nearest, optional
from conjoin.maps.base import Affine, Map, Normalise, as_array
from conjoin.maps.standardise import Standardise
from conjoin.spaces import Pairs, Rows, Tokens
from conjoin.spaces.pairs import ABSENT
from conjoin.training.early_stopping import Pace, Training, objective_named, split
from conjoin.training.loop import Arrays
from conjoin.training.networks import FreshHeads, Heads, Taught, place, same_rows, scaled, used
from conjoin.training.samplers import Mining
from conjoin.training.weight_tying import tied


@dataclass(frozen=True)
class ContrastiveHeads:
    """A small network a view on frozen vectors, trained to name each row's partner.

    With ``start="closed"`` and ``z = c CCA(x)``, ``c`` giving it length 1 on average, a view is
    mapped by ``y = z + z Δ + b + relu(norm(x) W₁ + b₁) W₂`` to unit length, where ``Δ``, ``b`` and
    ``W₂`` start at zero. With ``start="random"`` it is ``y = x' W + b + relu(norm(x') W₁ + b₁) W₂``
    to unit length, ``x'`` being ``x`` with mean 0 and spread 1 a coordinate and all matrices drawn
    at random. An eighth of the pairs, whole groups, decides when to stop; then training is
    repeated on all pairs for as long as was best. Views in ``frozen`` stay where they are and the
    heads of the others are trained towards them.

    Parameters
    ----------
    loss : name of the objective that is minimised.
    augment : name of the augmentation that makes of each batch the one trained on.
    start : from regularised CCA, or at random as papers do.
    rescue : give back the closed form fitted to all pairs where training gains less than two
        standard errors on the pairs held out, or where there are fewer than 16 groups.
    lock : take only the mean off the first view, and train the heads of the others.
    together : stop by naming a view from the product of all the others.
    whole : keep the lines of a group in one batch.
    tie : views of one source frame share a head, an item's rows in them being partners of the
        same rows; from a random start.
    partners : which frozen views a new one is trained towards, ``all`` of those its pairs reach
        or the ``first``.
    identity : lines of one group show the same thing, so that an objective that shares the answer
        among partners counts all of them, and others leave them out as negatives.
    borrow : of views of one source frame only the first is trained; the others take its map.
    trust : weigh each line by the chance that its two sides belong together, as maps fitted
        without it find (:func:`~conjoin.alignment.pair_trust.trusted`).
    teacher : name of an aligner that is fitted to the same pairs first, for losses that read where
        it puts the rows; from a random start, without frozen views.
    sampler : name of the rule that parts lines into batches; at random where not given.
    guide : view, or ``first``, whose frozen vectors keep lines that are nearly the same from being
        negatives of each other; a sampler goes by it too, and by the first view without one.
    margin : of the guide: 1 less the cosine above which it bars two lines.
    lam, power, width : λ of the closed form at the start, how it weighs directions, and how many
        it keeps at most; from a random start ``width`` is that of the outputs.
    hidden : units of a head's hidden layer.
    dropout : share of hidden units dropped a step.
    noise : expected length of the random vector added to each row of ``z`` or ``x'`` a step.
    temperature : of the loss, at the start, where it has one.
    lr, weight_decay : of AdamW.
    steps, batch : steps at most (whole passes, one at least) and lines in each.

    References
    ----------
    The loss: Radford et al. 2021 (radford2021clip). Heads on frozen encoders: Zhai et al. 2022
    (zhai2022lit). The start from a closed form and the stop are this project's.
    """

    lam: Annotated[float, Search(1e-4, 1e2, log=True)] = 1.0
    power: Annotated[float, Search(0.0, 2.0)] = 1.0
    width: Annotated[int, Search(8, 1024, log=True)] = 384
    hidden: Annotated[int, Search(16, 2048, log=True)] = 256
    dropout: Annotated[float, Search(0.0, 0.8)] = 0.5
    noise: Annotated[float, Search(0.0, 8.0)] = 3.0
    temperature: Annotated[float, Search(0.005, 1.0, log=True)] = 0.07
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 3e-4
    weight_decay: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-2
    steps: Annotated[int, Search(1, 10_000, log=True)] = 100
    batch: Annotated[int, Search(32, 8192, log=True)] = 1024
    loss: str = "infonce"
    augment: str | None = None
    start: Annotated[str, Choice(("closed", "random"))] = "closed"
    rescue: bool = True
    lock: bool = False
    together: bool = False
    whole: bool = False
    tie: bool = False
    partners: Annotated[str, Choice(("all", "first"))] = "all"
    identity: bool = False
    borrow: bool = False
    trust: bool = False
    teacher: str | None = None
    sampler: str | None = None
    guide: str | None = None
    margin: Annotated[float, Search(0.0, 0.5)] = 0.1
    neutral: ClassVar[Mapping[str, Any]] = {
        "partners": "all", "identity": False, "borrow": False, "trust": False, "teacher": None,
        "sampler": None, "guide": None, "margin": 0.1,
    }  # fmt: skip

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """One map a view.

        Raises
        ------
        ConjoinError : as the closed form; or torch is missing.
        """
        optional("torch", "train")
        if (home := self._homes(views, frames, frozen)) is not None:
            kept = {name: rows for name, rows in views.items() if home[name] == name}
            near = {name: frozen[name] for name in frozen if name in kept}
            found = self.fit(kept, pairs.select(tuple(kept)), frames=frames, frozen=near, seed=seed)
            return {name: frozen.get(name, found.get(home[name])) for name in views}
        if self.trust:
            pairs = trusted(views, pairs, frozen, seed)
        joint = Joint.of(views, pairs, frozen)
        if self.start == "closed":
            return self._from_closed(views, pairs, joint, frozen, seed)
        require_reached(joint, list(frozen) or list(views)[:1])
        if self.lock and not frozen:
            hub = next(iter(views))
            frozen = {hub: centred(as_array(views[hub])[used(pairs, hub)])}
        width = joint.dims[next(iter(frozen))] if frozen else self.width
        views, pairs, home = tied(views, pairs, frames if self.tie else {}, frozen)
        heads = fresh(self, views, pairs, frozen, width)
        run = training(self, heads, views, frozen)
        if self.identity:
            run = replace(run, shown=by_group(views, pairs))
        if self.teacher is not None and not frozen:
            arrays = self._taught(run, views, pairs, seed)
        else:
            arrays = run.fit(pairs, seed)
        maps = {**frozen, **heads.maps(arrays)}
        return {name: maps[stand_in] for name, stand_in in home.items()}

    def _homes(
        self, views: Mapping[str, Rows], frames: Mapping[str, str], frozen: Mapping[str, Any]
    ) -> dict[str, str] | None:
        """By view the one whose map it takes or that stands for it; ``None`` where all train."""
        home = {name: name for name in views}
        if self.partners == "first":
            home |= dict.fromkeys(frozen, next(iter(frozen), ""))
        if self.borrow:
            first: dict[str, str] = {}
            for name in views:
                frame = frames.get(name)
                if frame is not None and name not in frozen:
                    home[name] = first.setdefault(frame, name)
        return home if any(name != kept for name, kept in home.items()) else None

    def _taught(self, run: Training, views: Mapping[str, Rows], pairs: Pairs, seed: int) -> Arrays:
        """Train beside a teacher, which does not see what decides when to stop either."""

        def learner(lines: Pairs) -> Training:
            teacher = find("aligner", str(self.teacher)).make().fit(views, lines, seed=seed)
            return replace(run, trainable=Taught(run.trainable, teacher))

        parts = split(pairs, seed)
        if parts is None:
            return learner(pairs).run(pairs, seed).params
        learn, held = parts
        found = learner(learn).run(learn, seed, held)
        return learner(pairs).run(pairs, seed, None, max(1, found.epoch)).params

    def _from_closed(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        joint: Joint,
        frozen: Mapping[str, Any],
        seed: int,
    ) -> dict[str, Map]:
        start = self._closed(joint, frozen)
        parts = split(pairs, seed)
        stop = None
        if parts is not None:
            learn, held = parts
            early = self._closed(Joint.of(views, learn, frozen), frozen)
            first = training(self, self._on(early, views, learn, frozen), views, frozen)
            found = first.run(learn, seed, held)
            if self.rescue and not clearly_better(first, found.params, seed, held):
                return start
            stop = max(1, found.epoch)
        elif self.rescue:
            return start
        heads = self._on(start, views, pairs, frozen)
        last = training(self, heads, views, frozen).run(pairs, seed, None, stop)
        return {**start, **heads.maps(last.params)}

    def _closed(self, joint: Joint, frozen: Mapping[str, Any]) -> dict[str, Map]:
        return CCA(lam=self.lam, rank=self.width, power=self.power).solve(joint, frozen)

    def _on(
        self,
        start: Mapping[str, Map],
        views: Mapping[str, Rows],
        pairs: Pairs,
        frozen: Mapping[str, Any],
    ) -> Heads:
        """Heads that continue a closed form."""
        straight = {
            name: scaled(start[name], as_array(view)[used(pairs, name)])
            for name, view in views.items()
            if name not in frozen
        }
        return Heads(tuple(views), straight, self.hidden, self.dropout, self.noise)


def centred(x: np.ndarray) -> Affine:
    """The map that takes the mean of these rows off: a locked encoder's rows share a large one."""
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    return Affine(None, mean, np.zeros_like(mean))


def fresh(
    method: Any, views: Mapping[str, Rows], pairs: Pairs, frozen: Mapping[str, Any], width: int
) -> FreshHeads:
    """Heads at random on the views that are not frozen, by the fields of a method."""
    before = {
        name: Standardise.of(as_array(view)[used(pairs, name)])
        for name, view in views.items()
        if name not in frozen
    }
    return FreshHeads(tuple(views), before, width, method.hidden, method.dropout, method.noise)


def training(
    method: Any, trainable: Any, views: Mapping[str, Rows], frozen: Mapping[str, Any]
) -> Training:
    """What trains heads of the views, by the fields of a method."""
    augment = find("augmentation", method.augment).make() if method.augment else None
    rows = place(views, frozen)
    return Training(
        trainable,
        objective_named(method.loss, method.temperature),
        rows,
        {name: same_rows(as_array(view)) for name, view in views.items()},
        Pace.of(method),
        augment,
        method.together,
        method.whole,
        mining(method, views),
    )


def mining(method: Any, views: Mapping[str, Rows]) -> Mining | None:
    """How batches and negatives are chosen, by the fields of a method; ``None`` at random.

    Raises
    ------
    ConjoinError : the guide is no view, or holds token sets.
    """
    sampler, guide = getattr(method, "sampler", None), getattr(method, "guide", None)
    if sampler is None and guide is None:
        return None
    name = next(iter(views)) if guide in (None, "first") else guide
    if name not in views:
        raise ConjoinError("guide", f"{name!r} is no modality here", nearest(name, views))
    if isinstance(views[name], Tokens):
        raise ConjoinError("guide", f"{name} holds token sets", "name a view of vectors")
    rows = Normalise().apply(np.asarray(as_array(views[name]), dtype=np.float32))
    if guide and not getattr(objective_named(method.loss), "guided", True):
        raise ConjoinError(
            "guide", f"the loss {method.loss} leaves out no negatives",
            "use infonce, sigmoid or hinge",
        )  # fmt: skip
    rule = find("sampler", sampler).make() if sampler else None
    return Mining(rule, rows, name, method.margin if guide else None)


def by_group(views: Mapping[str, Rows], pairs: Pairs) -> dict[str, np.ndarray]:
    """What each row shows where lines of one group show the same: the group of its first line."""
    numbers = np.unique(pairs.group, return_inverse=True)[1]
    shown = {}
    for name, view in views.items():
        own = pairs.column(name)
        there = np.flatnonzero(own != ABSENT)[::-1]
        # Rows without a line show something of their own.
        held = len(numbers) + np.arange(len(as_array(view)))
        held[own[there]] = numbers[there]
        shown[name] = held
    return shown


def clearly_better(run: Training, params: Arrays, seed: int, held: Pairs) -> bool:
    """Whether held-out rows gain two standard errors over the start.

    The best of many looks at a small held-out set is a little better by luck alone.
    """
    start = {k: np.asarray(p.value, np.float32) for k, p in run.trainable.init(seed).items()}
    gain = run.scores(params, held) - run.scores(start, held)
    return bool(gain.mean() > 2 * gain.std() / np.sqrt(len(gain)))


def in_order(views: Mapping[str, Rows], maps: Mapping[str, Any]) -> dict[str, Map]:
    """The maps in the order of the views."""
    return {name: maps[name] for name in views}
