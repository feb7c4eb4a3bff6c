"""Train a model: stages, several targets, a moving average, and checkpoints to go on from.

The general form of :mod:`conjoin.training.loop`: many targets and streams in place of one loss
over pairs. A batch is a function of (seed, step), every draw is one of (seed, step, role), and
the rest of the state is in one file that is replaced whole; so a run that was killed anywhere
ends in the same bytes as one that was not.
"""

import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, StateError, optional
from conjoin.losses import Param
from conjoin.models.pretraining.batches import Corpus, Stepped, collate
from conjoin.models.pretraining.model import Losses, Model
from conjoin.models.pretraining.steps import Step
from conjoin.storage.files import FORMAT, map_arrays, write_arrays

Arrays = dict[str, np.ndarray]
#: Where a run's state lies in its folder.
CHECKPOINT = "checkpoint.safetensors"
#: A target whose loss stays above this share of its floor has learnt nothing.
STUCK = 0.99
#: Steps over whose mean a target is judged.
WINDOW = 20


@dataclass(frozen=True)
class Stage:
    """Steps of a run with targets and frozen tensors of their own.

    Parameters
    ----------
    share : of all steps.
    targets : labels that are asked; all if empty.
    freeze : patterns of names that stay as they are, as in ``stem/image/*``.
    """

    share: float = 1.0
    targets: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()


@dataclass(frozen=True)
class Course:
    """How long and how fast.

    Parameters
    ----------
    steps : of all stages together.
    lr : AdamW's step after warm-up, falling to 0 along a half cosine.
    decay : pull of weight decay on matrices.
    warmup : share of the steps over which the rate rises from 0.
    clip : largest norm of the whole gradient.
    dropout : share of units dropped.
    check : steps between looks at the validation lines.
    keep : steps between checkpoints.
    ema : the moving average keeps this share of itself at every step; 0 for none.
    threads : torch's threads meanwhile.
    """

    steps: int = 400
    lr: float = 1.5e-3
    decay: float = 0.05
    warmup: float = 0.1
    clip: float = 1.0
    dropout: float = 0.1
    check: int = 25
    keep: int = 100
    ema: float = 0.0
    threads: int = 1

    def rate(self, step: int) -> float:
        """The factor on ``lr`` at a step."""
        done = (step + 1) / (self.steps + 1)
        if done < self.warmup:
            return done / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))


@dataclass(frozen=True, eq=False)
class Curves:
    """What every target found at every step.

    Parameters
    ----------
    labels : of the targets.
    loss, floor : ``[steps, targets]``, NaN where a target did not run.
    checks : ``(step, validation loss)`` of each look.
    skipped : by label, steps at which it could not run, by reason.
    """

    labels: tuple[str, ...]
    loss: np.ndarray
    floor: np.ndarray
    checks: tuple[tuple[int, float], ...] = ()
    skipped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def ends(self) -> dict[str, tuple[float, float]]:
        """Mean loss and floor of each target over the last steps at which it ran."""
        found = {}
        for at, label in enumerate(self.labels):
            ran = np.flatnonzero(~np.isnan(self.loss[:, at]))[-WINDOW:]
            if len(ran):
                found[label] = float(self.loss[ran, at].mean()), float(self.floor[ran, at].mean())
        return found

    def stuck(self) -> list[str]:
        """Targets that have learnt no more than the best constant answer."""
        return [label for label, (loss, floor) in self.ends().items() if loss > STUCK * floor]


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run ended with.

    Parameters
    ----------
    params : the best arrays met by validation, else the last.
    step : after how many steps they were reached.
    """

    params: Arrays
    step: int
    curves: Curves


@dataclass(eq=False)
class _State:
    """Everything a run goes on from."""

    params: dict[str, Any]
    moments: dict[str, tuple[Any, Any]]
    average: dict[str, Any]
    best: Arrays
    best_step: int
    best_score: float
    step: int
    loss: np.ndarray
    floor: np.ndarray
    counts: dict[str, int]
    checks: list[tuple[int, float]]
    skipped: dict[str, dict[str, int]]


def pretrain(
    model: Model,
    batches: Stepped,
    course: Course,
    *,
    stages: Sequence[Stage] = (Stage(),),
    check: Corpus | None = None,
    folder: Path | None = None,
    start: Mapping[str, np.ndarray] | None = None,
    progress: Callable[[int, int, Losses], None] | None = None,
) -> Trained:
    """Train a model on its batches; go on where a checkpoint in ``folder`` left off.

    Parameters
    ----------
    check : validation lines; the state with the least loss on them is given back.
    folder : where the checkpoint lies; none keeps nothing.
    start : arrays that replace the first ones of the same name.
    progress : told the step, how many there are, and what the batch cost.

    Raises
    ------
    ConjoinError : the loss is no longer a number (the target is named; the last checkpoint
        stays), or no target can run on any batch.
    StateError : the checkpoint is of another recipe, data or version.
    """
    torch = optional("torch", "train")
    own = model.init(batches.seed)
    key = {
        "course": _facts(course, stages), "data": batches.corpus.digest, "seed": batches.seed,
        "recipe": dict(model.facts),
    }  # fmt: skip
    state = _begun(own, model, course, start)
    if folder is not None and (folder / CHECKPOINT).exists():
        _resume(folder / CHECKPOINT, state, key)
    looks = _looks(model, batches, check)
    before = torch.get_num_threads()
    torch.set_num_threads(course.threads)
    try:
        while state.step < course.steps:
            found = _advance(torch, model, batches, course, stages, own, state)
            if progress is not None:
                progress(state.step, course.steps, found)
            last = state.step == course.steps
            if looks and (state.step % course.check == 0 or last):
                _look(torch, model, looks, state)
            if folder is not None and (state.step % course.keep == 0 or last):
                _save(folder / CHECKPOINT, state, key)
    finally:
        torch.set_num_threads(before)
    if not any(state.counts.values()):
        raise ConjoinError("targets", _why(state.skipped), "change the recipe or the items")
    params, step = (state.best, state.best_step) if looks else (_arrays(state.params), state.step)
    labels = tuple(each.label for each in model.targets)
    curves = Curves(labels, state.loss, state.floor, tuple(state.checks), state.skipped)
    return Trained(params, step, curves)


def _facts(course: Course, stages: Sequence[Stage]) -> dict[str, Any]:
    own = {k: v for k, v in vars(course).items() if k not in ("keep", "threads")}
    return {**own, "stages": [[s.share, list(s.targets), list(s.freeze)] for s in stages]}


def _begun(
    own: Mapping[str, Param], model: Model, course: Course,
    start: Mapping[str, np.ndarray] | None,
) -> _State:  # fmt: skip
    given = dict(start or {})
    params = {
        key: replace(param, value=given.get(key, param.value)).tensor()
        for key, param in own.items()
    }
    average = {k: p.detach().clone() for k, p in params.items()} if course.ema else {}
    shape = (course.steps, len(model.targets))
    return _State(
        params, {}, average, _arrays(params), 0, math.inf, 0, np.full(shape, np.nan),
        np.full(shape, np.nan), {each.label: 0 for each in model.targets}, [], {},
    )  # fmt: skip


def stage_of(stages: Sequence[Stage], step: int, steps: int) -> Stage:
    """The stage that a step belongs to.

    Examples
    --------
    >>> two = (Stage(1, ("a",)), Stage(3, ("b",)))
    >>> [stage_of(two, step, 8).targets for step in (0, 1, 2, 7)]
    [('a',), ('a',), ('b',), ('b',)]
    """
    total = sum(stage.share for stage in stages)
    ends = np.cumsum([stage.share / total for stage in stages])
    return stages[min(int(np.searchsorted(ends, (step + 0.5) / steps)), len(stages) - 1)]


def frozen(names: Sequence[str], stage: Stage) -> set[str]:
    """Names that a stage leaves as they are."""
    return {n for n in names if any(fnmatch.fnmatch(n, one) for one in stage.freeze)}


def _advance(
    torch: Any, model: Model, batches: Stepped, course: Course, stages: Sequence[Stage],
    own: Mapping[str, Param], state: _State,
) -> Losses:  # fmt: skip
    """One step."""
    step = state.step
    stage = stage_of(stages, step, course.steps)
    held = frozen(list(state.params), stage)
    for name, leaf in state.params.items():
        leaf.requires_grad_(name not in held)
        leaf.grad = None
    batch = batches.at(step)
    found = model.losses(
        batch, state.params, Step((batches.seed, step), course.dropout),
        active=stage.targets or None, number=step, teacher=state.average or None,
    )  # fmt: skip
    for at, each in enumerate(model.targets):
        if each.label in found.found:
            state.loss[step, at], state.floor[step, at] = found.found[each.label]
            state.counts[each.label] += 1
            if not math.isfinite(state.loss[step, at]):
                raise ConjoinError(
                    f"step {step + 1}, target {each.label}", f"its loss is {state.loss[step, at]}",
                    "the last good state is kept: lower the rate (lr) and run again",
                )  # fmt: skip
        elif each.label in found.skipped:
            why = state.skipped.setdefault(each.label, {})
            reason = found.skipped[each.label]
            why[reason] = why.get(reason, 0) + 1
    if found.total is not None:
        found.total.backward()
        _adamw(torch, own, state, course, step)
    for name, kept in state.average.items():
        kept.mul_(course.ema).add_(state.params[name].detach(), alpha=1 - course.ema)
    state.step += 1
    return found


def _adamw(torch: Any, own: Mapping[str, Param], state: _State, course: Course, step: int) -> None:
    """AdamW with all of its state in the open; tensors without a gradient stay as they are."""
    from torch.optim._functional import adamw

    rate = course.lr * course.rate(step)
    live = {name: leaf for name, leaf in state.params.items() if leaf.grad is not None}
    torch.nn.utils.clip_grad_norm_(list(live.values()), course.clip)
    for name in live:
        if name not in state.moments:
            zero = torch.zeros_like(live[name])
            state.moments[name] = (zero, zero.clone())
    with torch.no_grad():
        for decays in (True, False):
            names = [name for name in live if own[name].decay is decays]
            if not names:
                continue
            adamw(
                [live[n] for n in names], [live[n].grad for n in names],
                [state.moments[n][0] for n in names], [state.moments[n][1] for n in names], [],
                [torch.tensor(float(step)) for _ in names], amsgrad=False, beta1=0.9, beta2=0.98,
                lr=rate,
                weight_decay=course.decay if decays else 0.0, eps=1e-8, maximize=False, fused=True,
            )  # fmt: skip
        for name, leaf in live.items():
            if math.isfinite(own[name].low) or math.isfinite(own[name].high):
                leaf.clamp_(own[name].low, own[name].high)


#: Validation batches at most, so that a look costs a few steps.
LOOKS = 6


def _looks(model: Model, batches: Stepped, check: Corpus | None) -> list[Any]:
    """The validation batches, the same at every look."""
    if check is None or not len(check):
        return []
    count = max(1, min(LOOKS, round(len(check) / batches.size)))
    lines = np.array_split(np.arange(len(check)), count)
    return [
        collate(check, own, model.needs, longest=batches.longest, seed=(batches.seed, 2**40 + k))
        for k, own in enumerate(lines)
    ]


def _look(torch: Any, model: Model, looks: Sequence[Any], state: _State) -> None:
    """Measure the state on validation lines; keep it where it is the best so far."""
    with torch.no_grad():
        found = [model.losses(batch, state.params, Step(), teacher=state.average or None)
                 for batch in looks]  # fmt: skip
    scores = [float(one.total) for one in found if one.total is not None]
    score = float(np.mean(scores)) if scores else math.inf
    state.checks.append((state.step, score))
    if score < state.best_score or not state.best_step:
        state.best, state.best_step, state.best_score = _arrays(state.params), state.step, score


def _why(skipped: Mapping[str, Mapping[str, int]]) -> str:
    said = [f"{label}: {next(iter(why))}" for label, why in skipped.items()]
    return "none could run on any batch (" + "; ".join(said) + ")"


def _arrays(params: Mapping[str, Any]) -> Arrays:
    return {key: value.detach().numpy().copy() for key, value in params.items()}


def _save(path: Path, state: _State, key: Mapping[str, Any]) -> None:
    arrays = {f"params/{k}": v for k, v in _arrays(state.params).items()}
    arrays |= {f"best/{k}": v for k, v in state.best.items()}
    arrays |= {f"average/{k}": v for k, v in _arrays(state.average).items()}
    for name, (one, two) in state.moments.items():
        arrays[f"first/{name}"], arrays[f"second/{name}"] = one.numpy(), two.numpy()
    arrays |= {"curves/loss": state.loss, "curves/floor": state.floor}
    write_arrays(path, arrays, {
        "version": FORMAT, "key": dict(key), "step": state.step, "best_step": state.best_step,
        "best_score": None if math.isinf(state.best_score) else state.best_score,
        "counts": state.counts, "checks": state.checks, "skipped": state.skipped,
    })  # fmt: skip


def _resume(path: Path, state: _State, key: Mapping[str, Any]) -> None:
    """Fill the state from a checkpoint of the same recipe, data and seed."""
    import torch

    held, meta = map_arrays(path)
    differ = differences(meta.get("key", {}), key)
    if differ:
        raise StateError(
            str(path.parent), "its checkpoint is of another run: " + "; ".join(differ),
            "give the run another name, or remove the folder",
        )  # fmt: skip

    def part(name: str) -> dict[str, Any]:
        own = f"{name}/"
        return {k[len(own) :]: np.array(v) for k, v in held.items() if k.startswith(own)}

    for name, values in part("params").items():
        with torch.no_grad():
            state.params[name].copy_(torch.from_numpy(values))
    state.best = part("best")
    state.average = {k: torch.from_numpy(v) for k, v in part("average").items()}
    second = part("second")
    for name, values in part("first").items():
        state.moments[name] = torch.from_numpy(values), torch.from_numpy(second[name])
    curves = part("curves")
    state.loss, state.floor = curves["loss"], curves["floor"]
    state.step, state.best_step = meta["step"], meta["best_step"]
    state.best_score = math.inf if meta["best_score"] is None else meta["best_score"]
    state.counts, state.skipped = dict(meta["counts"]), dict(meta["skipped"])
    state.checks = [(int(step), float(score)) for step, score in meta["checks"]]


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """In words, where two JSON-able values differ.

    >>> differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c is 3, was 2']
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found = []
        for name in sorted({*old, *new}):
            at = f"{where}.{name}" if where else str(name)
            found += differences(old.get(name), new.get(name), at)
        return found
    return [] if old == new else [f"{where} is {new}, was {old}"]
