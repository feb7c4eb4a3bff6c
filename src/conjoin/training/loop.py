"""The one training loop: everything trained here goes through it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from conjoin.errors import ConjoinError, optional
from conjoin.losses import Loss, Param
from conjoin.spaces import Batch, Pairs, Rows, Tokens
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import stable_hash
from conjoin.training.samplers import Mining, batches_of

Arrays = dict[str, np.ndarray]


@runtime_checkable
class Trainable(Protocol):
    """Parameters and what to do with them; holds no state of its own."""

    @property
    def names(self) -> Sequence[str]:
        """The views it puts out."""
        ...

    @property
    def dim(self) -> int:
        """Their width."""
        ...

    def init(self, seed: int) -> dict[str, Param]:
        """Where each parameter starts."""
        ...

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Outputs by view ``[b, dim]``, and extras by name, from tensors of :meth:`init`."""
        ...


@runtime_checkable
class Batches(Protocol):
    """Where batches come from; ``len`` is the steps of an epoch."""

    def __len__(self) -> int: ...

    def epoch(self, number: int, seed: int) -> Iterator[Batch]:
        """The batches of one pass."""
        ...


@dataclass(frozen=True, eq=False)
class PairBatches:
    """Lines of pairs in a new order every pass.

    Parameters
    ----------
    views : vectors by view, or token sets, which come padded with their masks.
    pairs : lines of row numbers.
    size : lines a batch; a rest shorter than half of it joins the batch before.
    ids : what each row shows, by view (rows that show the same are no negatives); the row
        number when not given.
    whole : keep the lines of a group beside each other; a batch may still end within one.
    mining : which lines share a batch and which may not be contrasted; at random, and all, where
        not given.
    """

    views: Mapping[str, Rows]
    pairs: Pairs
    size: int
    ids: Mapping[str, np.ndarray] | None = None
    whole: bool = False
    mining: Mining | None = None

    def __len__(self) -> int:
        return batches_of(len(self.pairs), self.size)

    @cached_property
    def _state(self) -> Any:
        """What the sampler finds once a training, from the lines trained on alone."""
        assert self.mining is not None
        assert self.mining.sampler is not None
        own = self.pairs.column(self.mining.view)
        guide = np.where((own != ABSENT)[:, None], self.mining.rows[np.maximum(own, 0)], 0.0)
        return self.mining.sampler.prepare(guide, self.pairs.group, self.size, 0)

    def epoch(self, number: int, seed: int) -> Iterator[Batch]:
        """The batches of one pass."""
        order = np.random.default_rng([seed, number, stable_hash("order")])
        if self.mining is not None and self.mining.sampler is not None:
            parts = self.mining.sampler.epoch(self._state, number, order)
            for step, chosen in enumerate(parts):
                yield replace(self.batch(chosen), seed=(seed, number, step))
            return
        lines = order.permutation(len(self.pairs))
        if self.whole:
            groups, owner = np.unique(self.pairs.group, return_inverse=True)
            lines = lines[np.argsort(order.permutation(len(groups))[owner[lines]], kind="stable")]
        for step, chosen in enumerate(np.array_split(lines, len(self))):
            yield replace(self.batch(chosen), seed=(seed, number, step))

    def batch(self, lines: np.ndarray) -> Batch:
        """The lines asked for as one batch of float32 tensors."""
        torch = optional("torch", "train")
        rows, ids, present, masks = {}, {}, {}, {}
        for name, view in self.views.items():
            own = self.pairs.column(name)[lines]
            here = own != ABSENT
            at = np.where(here, own, 0)
            if isinstance(view, Tokens):
                taken, mask = padded(view.take(at))
                masks[name] = torch.from_numpy(mask)
            else:
                taken = np.asarray(view[at], dtype=np.float32)
            shown = own if self.ids is None else np.where(here, self.ids[name][own], ABSENT)
            rows[name] = torch.from_numpy(taken)
            ids[name] = torch.from_numpy(shown)
            present[name] = torch.from_numpy(here)
        weights = torch.from_numpy(self.pairs.weight[lines].astype(np.float32))
        barred = None
        if self.mining is not None:
            found = self.mining.barred(self.pairs.column(self.mining.view)[lines])
            barred = None if found is None else torch.from_numpy(found)
        return Batch(rows, ids, present, weights, masks=masks, barred=barred)


def padded(sets: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Token sets as ``[b, t, d]`` float32 with zeros at their ends, and ``[b, t]`` what counts."""
    counts = np.diff(sets.offsets)
    mask = np.arange(max(1, int(counts.max(initial=0)))) < counts[:, None]
    out = np.zeros((*mask.shape, sets.dim), dtype=np.float32)
    out[mask] = sets.vectors
    return out, mask


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Parameters
    ----------
    epochs : passes over the pairs that the fall of the rate is laid out for.
    stop : passes after which to end all the same; ``None`` for all of them.
    lr : AdamW's step after warm-up, falling to 0 along a half cosine.
    weight_decay : pull towards zero of parameters that ask for it.
    warmup : share of the steps over which the rate rises from 0.
    every : epochs between validations.
    early : look after passes 1, 2, 4, … too, up to ``every``: what overfits at once is seen to.
    patience : validations without a better score before it stops, early ones not counted.
    clip : largest norm of the whole gradient.
    threads : torch's threads meanwhile; fixed, since sums depend on their number.
    """

    epochs: int = 60
    stop: int | None = None
    lr: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.1
    every: int = 1
    early: bool = False
    patience: int = 10
    clip: float = 1.0
    threads: int = 1

    @property
    def last(self) -> int:
        """The pass after which it ends at the latest."""
        return min(self.epochs, self.stop or self.epochs)

    def looks(self, epoch: int) -> bool:
        """Whether a pass ends with a validation.

        Examples
        --------
        >>> [n for n in range(1, 21) if Schedule(20, every=10, early=True).looks(n)]
        [1, 2, 4, 8, 10, 20]
        """
        soon = self.early and epoch < self.every and epoch & (epoch - 1) == 0
        return soon or epoch % self.every == 0 or epoch == self.last

    def rate(self, done: float) -> float:
        """The factor on ``lr`` when the share ``done`` of all steps is over."""
        if done < self.warmup:
            return done / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))


@dataclass(frozen=True, eq=False)
class Trained:
    """The best state met.

    Parameters
    ----------
    params : arrays of the trainable.
    objective : arrays of the objective (temperature…).
    epoch : passes after which it was reached; 0 is the start.
    score : its validation score; NaN without validation.
    history : ``(epoch, mean loss, score)`` of each epoch that was validated.
    """

    params: Arrays
    objective: Arrays
    epoch: int
    score: float
    history: tuple[tuple[int, float, float], ...]


def train(
    trainable: Trainable,
    batches: Batches,
    objective: Loss,
    *,
    seed: int,
    schedule: Schedule,
    validate: Callable[[Arrays], float] | None = None,
    progress: Callable[[int, float, float], None] | None = None,
    augment: Callable[[Batch], Batch] | None = None,
) -> Trained:
    """Minimise an objective by AdamW; give back the best state by validation.

    The start is validated too, so training never ends worse than it began there. The same seed
    gives the same bytes; torch's global state is left as it was.

    Parameters
    ----------
    validate : arrays of the trainable → a score to raise; without it the last state is given back.
    progress : told ``(epoch, mean loss, score)`` after every validation.
    augment : makes of each batch the one that is trained on.

    Raises
    ------
    ConjoinError : the loss is no longer a number.
    """
    torch = optional("torch", "train")
    own = trainable.init(seed)
    extra = objective.init(trainable.names, trainable.dim)
    params = {key: value.tensor() for key, value in own.items()}
    numbers = {key: value.tensor() for key, value in extra.items()}
    leaves = [(own[k], params[k]) for k in own] + [(extra[k], numbers[k]) for k in extra]
    steps, history = schedule.epochs * len(batches), list[tuple[int, float, float]]()
    best = Trained(_arrays(params), _arrays(numbers), 0, math.nan, ())
    with _threads(torch, schedule.threads):
        optimiser = _adamw(torch, leaves, schedule)
        if validate is not None:
            best = replace(best, score=validate(best.params))
        step, stale, losses = 0, 0, []
        for epoch in range(1, schedule.last + 1):
            for batch in batches.epoch(epoch, seed):
                _set_rate(optimiser, schedule, (step + 1) / (steps + 1))
                ready = _ready(batch, step / steps, augment)
                loss = objective(trainable.forward(ready, params), ready, numbers)
                losses.append(_step(torch, optimiser, leaves, loss, schedule))
                step += 1
            if not schedule.looks(epoch):
                continue
            now = _arrays(params)
            score = validate(now) if validate is not None else math.nan
            history.append((epoch, float(np.mean(losses)), score))
            losses = []
            if progress is not None:
                progress(*history[-1])
            stale += epoch >= schedule.every
            if validate is None or score > best.score:
                best, stale = Trained(now, _arrays(numbers), epoch, score, ()), 0
            if stale >= schedule.patience:
                break
    return replace(best, history=tuple(history))


def _ready(batch: Batch, done: float, augment: Callable[[Batch], Batch] | None) -> Batch:
    batch = replace(batch, progress=done)
    return batch if augment is None else augment(batch)


def _set_rate(optimiser: Any, schedule: Schedule, done: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = schedule.lr * schedule.rate(done)


def _step(torch: Any, optimiser: Any, leaves: list, loss: Any, schedule: Schedule) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ConjoinError("training", f"the loss is {value}", "lower the rate, or check the rows")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([leaf for _, leaf in leaves], schedule.clip)
    optimiser.step()
    with torch.no_grad():
        for param, leaf in leaves:
            if math.isfinite(param.low) or math.isfinite(param.high):
                leaf.clamp_(param.low, param.high)
    return value


def _adamw(torch: Any, leaves: list[tuple[Param, Any]], schedule: Schedule) -> Any:
    groups = [
        {
            "params": [leaf for param, leaf in leaves if param.decay is decay],
            "weight_decay": schedule.weight_decay if decay else 0.0,
        }
        for decay in (True, False)
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=schedule.lr)


def _arrays(params: Mapping[str, Any]) -> Arrays:
    return {key: value.detach().numpy().copy() for key, value in params.items()}


@contextmanager
def _threads(torch: Any, count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
