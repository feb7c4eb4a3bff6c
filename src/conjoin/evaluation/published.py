"""Scores of arms on a published task: intervals over groups, chance, the best trivial answer."""

import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError, nearest
from conjoin.evaluation.by_shape.base import Arm, Made
from conjoin.evaluation.by_shape.choice import chosen
from conjoin.evaluation.by_shape.contrast import contrasted, crossed
from conjoin.evaluation.by_shape.generate import generated
from conjoin.evaluation.by_shape.probe import probed
from conjoin.evaluation.by_shape.rank import ranked, units
from conjoin.evaluation.formats.base import Contrast, Crossed, Format, Generate, Probe, Rank, Task
from conjoin.stats.bootstrap import interval, mean_draws, paired_difference


@dataclass(frozen=True)
class Score:
    """One metric of one arm on one task, with its interval over groups.

    Parameters
    ----------
    value : the mean over units.
    whole : the value on all units together, where the metric pools what it counts.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    chance: float | None = None
    tags: Mapping[str, float] = field(default_factory=dict)
    whole: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON-able fields."""
        return {**vars(self), "tags": dict(self.tags)}


@dataclass(frozen=True)
class Judged:
    """One arm on one task.

    Parameters
    ----------
    kind : ``trivial``, ``run`` or ``encoder``.
    seconds, peak_mb : wall time of the arm; peak memory of the process when it had ended.
    units : by metric, the value of each unit, in the task's order; not part of the JSON.
    facts : named numbers that have no value of each unit.
    """

    arm: str
    kind: str
    scores: tuple[Score, ...]
    seconds: float
    peak_mb: float
    units: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON-able fields."""
        scores = [each.to_json() for each in self.scores]
        return {"arm": self.arm, "kind": self.kind, "scores": scores, "facts": dict(self.facts),
                "seconds": round(self.seconds, 3), "peak_mb": round(self.peak_mb, 1)}  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """Two arms on the same units: ``first − second`` with its interval over groups."""

    metric: str
    first: str
    second: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """A task, every arm on it, and the differences between arms that are no trivial answers."""

    task: str
    format: str
    shape: str
    n: int
    groups: int
    arms: tuple[Judged, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    owners: np.ndarray = field(default_factory=lambda: np.array([]), repr=False)

    def to_json(self) -> dict[str, Any]:
        """As JSON-able fields."""
        own = {
            k: v
            for k, v in vars(self).items()
            if k not in ("arms", "differences", "notes", "owners")
        }
        return {
            **own,
            "arms": [each.to_json() for each in self.arms],
            "differences": [vars(each) for each in self.differences],
            "notes": list(self.notes),
        }


def open_task(path: Path, *, split: str = "test", name: str | None = None) -> tuple[str, Task]:
    """The task at a path, and the name of its format.

    Parameters
    ----------
    name : of the format, where it is not to be recognised.

    Raises
    ------
    ConjoinError : the path is not there, is laid out in no known format, or in another than named.
    """
    if not path.is_dir():
        raise ConjoinError(str(path), "is no folder", "give the folder of a benchmark")
    path = path.resolve()
    known: dict[str, Format] = {n: row.make() for n, row in of_kind("format").items()}
    if name is not None and name not in known:
        raise ConjoinError("--format", f"{name!r} is unknown", nearest(name, known))
    seen = [each for each, one in known.items() if one.recognises(path)]
    if name is not None and name not in seen:
        said = f"is laid out as {known[seen[0]].title}" if seen else "is not laid out so"
        raise ConjoinError(str(path), said, f"{known[name].title} has {known[name].looks_for}")
    if not seen:
        said = "; ".join(f"{one.title}: {one.looks_for}" for one in known.values())
        raise ConjoinError(str(path), "is no known benchmark format", f"known are {said}")
    chosen = name or seen[0]
    return chosen, known[chosen].open(path, split)


def judge(task: Task, layout: str, arms: Sequence[Arm] = (), *, seed: int = 0) -> Result:
    """Every arm on a task, beside trivial answers.

    Raises
    ------
    ConjoinError : there is nothing to judge: no arm, and the task holds no outputs of systems.
    """
    groups, tags, made = _shaped(task, arms, seed)
    found = tuple(_judged(one, groups, tags, seed) for one in made)
    if not any(one.kind != "trivial" for one in found):
        raise ConjoinError(task.name, "no encoder and no run to judge", "give --encoder URI")
    return Result(
        task.name, layout, task.shape, len(groups), len(np.unique(groups)), found,
        tuple(_differences(found, groups, seed)), task.notes, groups,
    )  # fmt: skip


def _shaped(
    task: Task, arms: Sequence[Arm], seed: int
) -> tuple[np.ndarray, np.ndarray, Iterator[Made]]:
    """Groups and tags of a task's units, and what every arm makes of them."""
    if isinstance(task, Rank):
        return *units(task), ranked(task, arms)
    if isinstance(task, Generate):
        groups = np.array(list(task.references))
        return groups, np.full(len(groups), ""), generated(task)
    if isinstance(task, Probe):
        groups = np.array(list(task.test.values))
        return groups, np.array([task.labels[item] for item in groups]), probed(task, arms, seed)
    if isinstance(task, Contrast):
        told = [(foil.image, foil.tag) for foil in task.foils]
        made = contrasted(task, arms)
    elif isinstance(task, Crossed):
        told = [(f"{at}", square.tag) for at, square in enumerate(task.squares)]
        made = crossed(task, arms)
    else:
        told = [(q.shown, q.tag) for q in task.questions]
        made = chosen(task, arms)
    return np.array([group for group, _ in told]), np.array([tag for _, tag in told]), made


@dataclass(frozen=True)
class Standing:
    """An arm among several over several tasks: the mean of its ranks, 1 being the best.

    Parameters
    ----------
    rank : mean over tasks of its rank by the first metric; equal values share a rank.
    low, high : the middle 95 % of that mean where groups of each task are resampled, tasks kept.
    best : share of the resamples in which no arm has a lower mean rank.
    """

    arm: str
    rank: float
    low: float
    high: float
    best: float


def standings(results: Sequence[Result], *, seed: int = 0, draws: int = 2000) -> list[Standing]:
    """Arms that were judged on every task, the best first; none where fewer than two were.

    Tasks are taken as given: an interval says how ranks would move with other items of these
    tasks, not with other tasks.
    """
    names = [
        {arm.arm for arm in one.arms if arm.kind != "trivial"} for one in results if one.groups > 1
    ]
    shared = sorted(set.intersection(*names)) if names and len(names) == len(results) else []
    if len(shared) < 2:
        return []
    from scipy.stats import rankdata

    drawn, plain = [], []
    for at, one in enumerate(results):
        by_name = {arm.arm: arm for arm in one.arms if arm.kind != "trivial"}
        metric = one.arms[0].scores[0].metric
        table = np.stack([by_name[name].units[metric] for name in shared], axis=1)
        means = mean_draws(table, one.owners, draws=draws, seed=seed + at)
        drawn.append(rankdata(-means, axis=1))
        plain.append(rankdata(-table.mean(axis=0)))
    whole, each = np.mean(drawn, axis=0), np.mean(plain, axis=0)
    best = np.mean(whole <= whole.min(axis=1, keepdims=True), axis=0)
    low, high = np.quantile(whole, [0.025, 0.975], axis=0)
    made = [
        Standing(name, float(each[i]), float(low[i]), float(high[i]), float(best[i]))
        for i, name in enumerate(shared)
    ]
    return sorted(made, key=lambda one: one.rank)


def _judged(made: Made, groups: np.ndarray, tags: np.ndarray, seed: int) -> Judged:
    scores = []
    for metric, values in made.units.items():
        span: tuple[float | None, float | None] = (None, None)
        if len(np.unique(groups)) > 1:
            span = interval(values, groups, seed=seed)
        parts = {str(t): float(values[tags == t].mean()) for t in np.unique(tags) if t}
        scores.append(Score(
            metric, float(values.mean()), *span, made.chance.get(metric), parts,
            made.whole.get(metric),
        ))  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Judged(made.name, made.kind, tuple(scores), made.seconds, peak, made.units, made.facts)


def _differences(found: Sequence[Judged], groups: np.ndarray, seed: int) -> Iterator[Difference]:
    own = [one for one in found if one.kind != "trivial"]
    if len(np.unique(groups)) < 2:
        return
    for at, first in enumerate(own):
        for second in own[at + 1 :]:
            for metric, values in first.units.items():
                value, low, high, _ = paired_difference(
                    values, second.units[metric], groups, seed=seed
                )
                yield Difference(metric, first.arm, second.arm, value, low, high)
