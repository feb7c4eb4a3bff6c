"""Tune a sentence encoder for a number of steps or seconds, whichever ends first."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.models.tuning.base import Tuning
from conjoin.models.tuning.text_model import TextModel
from conjoin.storage.digest import stable_hash


class Aim(Protocol):
    """What vectors are tuned towards."""

    def parameters(self) -> list[Any]:
        """Its own trained tensors."""
        ...

    def loss(self, vectors: Any, rows: np.ndarray) -> Any:
        """A scalar from the vectors ``[b, d]`` of these rows."""
        ...


class LabelAim:
    """Cross-entropy of a linear head that starts as one fitted to the frozen vectors.

    Parameters
    ----------
    weight, bias : ``[d, c]`` and ``[c]`` of that head.
    owner : ``[n]`` the class of each row.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray, owner: np.ndarray):
        import torch

        self.weight = torch.tensor(weight, dtype=torch.float32, requires_grad=True)
        self.bias = torch.tensor(bias, dtype=torch.float32, requires_grad=True)
        self.owner = torch.from_numpy(np.asarray(owner, np.int64))

    def parameters(self) -> list[Any]:
        """Weight and bias of the head."""
        return [self.weight, self.bias]

    def loss(self, vectors: Any, rows: np.ndarray) -> Any:
        """The mean over the rows."""
        import torch

        logits = vectors @ self.weight + self.bias
        return torch.nn.functional.cross_entropy(logits, self.owner[torch.from_numpy(rows)])


class PairAim:
    """Contrast with the fixed vectors of each row's partner, through a linear map.

    ``mean −log softmax(cos(v M, z) / T)`` over the partners of a batch; partners that are the
    same item are no negatives.

    Parameters
    ----------
    map : ``[d, k]`` M at the start.
    partners : ``[n, k]`` z.
    owner : ``[n]`` rows of equal numbers have one partner.
    temperature : T.
    """

    def __init__(
        self, map: np.ndarray, partners: np.ndarray, owner: np.ndarray, temperature: float = 0.05
    ):
        import torch

        self.map = torch.tensor(map, dtype=torch.float32, requires_grad=True)
        norm = torch.nn.functional.normalize
        self.partners = norm(torch.from_numpy(np.asarray(partners, np.float32)), dim=1)
        self.owner = torch.from_numpy(np.asarray(owner, np.int64))
        self.temperature = temperature

    def parameters(self) -> list[Any]:
        """The map."""
        return [self.map]

    def loss(self, vectors: Any, rows: np.ndarray) -> Any:
        """The mean over the rows."""
        import torch

        at = torch.from_numpy(rows)
        asked = torch.nn.functional.normalize(vectors @ self.map, dim=1)
        scores = asked @ self.partners[at].T / self.temperature
        same = self.owner[at][:, None] == self.owner[at][None, :]
        same.fill_diagonal_(False)
        scores = scores.masked_fill(same, float("-inf"))
        return torch.nn.functional.cross_entropy(scores, torch.arange(len(rows)))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What tuning did; the model is left in its best state.

    Parameters
    ----------
    steps : taken.
    best : the step after which validation was best; 0 is the start.
    trained : parameters that moved.
    scores : ``(step, validation score)``.
    stopped : whether the budget ended it.
    cpu : CPU-seconds.
    """

    steps: int
    best: int
    trained: int
    scores: tuple[tuple[int, float], ...]
    stopped: bool
    cpu: float


@dataclass(frozen=True)
class Pace:
    """How long and in what steps.

    Parameters
    ----------
    steps, batch : steps at most and texts in each.
    budget : seconds after which no step begins; ``None`` for no end.
    looks : validations on the way.
    warmup : share of the steps over which the rate rises; then it falls linearly to 0.
    clip : largest norm of the gradient.
    """

    steps: int = 64
    batch: int = 32
    budget: float | None = None
    looks: int = 4
    warmup: float = 0.1
    clip: float = 1.0

    def rate(self, step: int) -> float:
        """The factor on the rate at a step, from 0."""
        rise = max(1, round(self.warmup * self.steps))
        if step < rise:
            return (step + 1) / rise
        return max(0.0, (self.steps - step) / max(1, self.steps - rise))


def tune(
    model: TextModel,
    texts: Sequence[str],
    rows: np.ndarray,
    aim: Aim,
    method: Tuning,
    *,
    pace: Pace,
    seed: int = 0,
    validate: Callable[[], float] | None = None,
) -> Outcome:
    """Tune in place; the model is left with what :meth:`Tuning.attach` made, in its best state.

    Parameters
    ----------
    rows : numbers of the texts that are learned from.
    validate : a score to raise, of the model as it is; the start is looked at too, so that what
        validation does not see improve is left as it was.

    Raises
    ------
    ConjoinError : a loss is not finite, or there are no rows.
    """
    import torch

    if not len(rows):
        raise ConjoinError("tuning", "no texts to learn from", "give more items")
    start, clock = time.process_time(), time.perf_counter()
    model.put(method.attach(model.transformer, seed=seed).eval())
    moving = [p for p in model.transformer.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        [{"params": moving}, {"params": aim.parameters()}], lr=method.lr, weight_decay=0.01
    )
    scores = [(0, validate())] if validate is not None else []
    best = (0, _copied(moving))
    looks = {round(pace.steps * (k + 1) / pace.looks) for k in range(pace.looks)}
    step, stopped = 0, False
    order = _batches(rows, pace.batch, seed)
    while step < pace.steps:
        if pace.budget is not None and time.perf_counter() - clock > pace.budget:
            stopped = True
            break
        _step(model, texts, next(order), aim, optimiser, pace, method.lr * pace.rate(step))
        step += 1
        if validate is not None and step in looks:
            scores.append((step, validate()))
            if scores[-1][1] > max(score for _, score in scores[:-1]):
                best = (step, _copied(moving))
    if validate is not None:
        if stopped and step:
            scores.append((step, validate()))
            if scores[-1][1] > max(score for _, score in scores[:-1]):
                best = (step, _copied(moving))
        with torch.no_grad():
            for parameter, value in zip(moving, best[1], strict=True):
                parameter.copy_(value)
    return Outcome(
        step, best[0] if validate is not None else step, sum(p.numel() for p in moving),
        tuple(scores), stopped, time.process_time() - start,
    )  # fmt: skip


def _step(
    model: TextModel, texts: Sequence[str], rows: np.ndarray, aim: Aim, optimiser: Any, pace: Pace,
    lr: float,
) -> None:  # fmt: skip
    import torch

    for group in optimiser.param_groups:
        group["lr"] = lr
    loss = aim.loss(model.forward([texts[i] for i in rows]), rows)
    if not bool(torch.isfinite(loss)):
        raise ConjoinError("tuning", f"the loss is {float(loss)}", "lower the rate: --lr")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    leaves = [p for group in optimiser.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(leaves, pace.clip)
    optimiser.step()


def _copied(leaves: Sequence[Any]) -> list[Any]:
    return [leaf.detach().clone() for leaf in leaves]


def _batches(rows: np.ndarray, size: int, seed: int) -> Any:
    epoch = 0
    while True:
        rng = np.random.default_rng([seed, epoch, stable_hash("tuning order")])
        order = rng.permutation(rows)
        yield from np.array_split(order, max(1, round(len(order) / size)))
        epoch += 1


def mixed(base: Mapping[str, Any], tuned: Mapping[str, Any], alpha: float) -> dict[str, Any]:
    """``(1 − α) base + α tuned`` tensor by tensor; numbers that are no floats stay the base's.

    Raises
    ------
    ConjoinError : the two have other tensors.
    """
    if base.keys() != tuned.keys():
        lost = sorted(set(base) ^ set(tuned))
        raise ConjoinError("mix", f"{lost[0]} is in one only", "mix a model with its own base")
    return {
        name: (1 - alpha) * value + alpha * tuned[name] if value.is_floating_point() else value
        for name, value in base.items()
    }
