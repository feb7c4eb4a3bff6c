"""Run every arm that claims ask for: resumable, in parallel, within a budget."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.catalogue import Claim, Row
from conjoin.claims.keys import key_of
from conjoin.errors import ConjoinError
from conjoin.evaluation import arms
from conjoin.evaluation.arms import CHANCE, Arm, beside, judges, run_arm
from conjoin.evaluation.benchmark import Bench
from conjoin.execution.processes import Processes
from conjoin.execution.tasks import Engine, Needs, Task
from conjoin.storage.files import map_arrays, write_arrays

#: Seeds of every arm.
SEEDS = 5
#: Memory a worker may come to need, in bytes.
WORKER = 1_500_000_000


@dataclass(frozen=True)
class Job:
    """One arm of one table: all its seeds.

    Parameters
    ----------
    task, condition, data, metric : of the claims it serves; the metric chooses its settings.
    arm : as claims write it.
    """

    task: str
    condition: tuple[tuple[str, Any], ...]
    data: str
    metric: str
    arm: str

    @classmethod
    def of(cls, claim: Claim, arm: str) -> "Job":
        """The job of one arm of a claim."""
        condition = tuple(sorted(claim.condition.items()))
        return cls(claim.task, condition, claim.data, claim.metric, arm)

    @property
    def table(self) -> tuple[Any, ...]:
        """What it shares with the other arms it is compared with."""
        return (self.task, self.condition, self.data, self.metric)

    @property
    def way(self) -> Arm:
        """The arm, of the kind its task judges."""
        return Arm.parse(self.arm, judges(catalogue.find("task", self.task).load()))

    @property
    def key(self) -> str:
        """What decides its scores, as :func:`~conjoin.claims.keys.key_of` tells it."""
        return _key(self)

    def make_task(self) -> arms.Task:
        """The task under its condition."""
        made: arms.Task = catalogue.find("task", self.task).make(dict(self.condition))
        return made


@dataclass(frozen=True, eq=False)
class Done:
    """A job's scores: ``[seeds, n]`` a metric, and what each fit cost.

    Parameters
    ----------
    fields : the settings chosen on validation.
    seconds : of a fit, on average; ``tuning`` of the whole choice.
    failed : why it has no scores; empty where it has.
    """

    scores: Mapping[str, np.ndarray]
    groups: np.ndarray
    fields: Mapping[str, Any]
    tried: int
    tuning: float
    seconds: float
    failed: str = ""


@dataclass(frozen=True, eq=False)
class Claimed:
    """A claim with the row it belongs to."""

    row: Row
    claim: Claim

    @property
    def arm(self) -> str:
        """The arm under test."""
        return self.claim.arm or self.row.name

    def jobs(self) -> Iterator[Job]:
        """Its arm, its baseline, and the arms of every table."""
        always = beside(catalogue.find("task", self.claim.task).load())
        for arm in dict.fromkeys((self.arm, self.claim.baseline, *always)):
            yield Job.of(self.claim, arm)


def claims_of(family: str | None = None, method: str | None = None) -> list[Claimed]:
    """Every claim of the catalogue, or those of a family or a method.

    Raises
    ------
    ConjoinError : none has them.
    """
    found = [
        Claimed(row, claim)
        for row in catalogue.rows()
        for claim in row.claims
        if (family is None or row.family == family) and (method is None or row.name == method)
    ]
    if not found:
        known = sorted({row.family for row in catalogue.rows() if row.claims})
        asked = family or method or "any"
        raise ConjoinError("claims", f"none of {asked}", f"families are {', '.join(known)}")
    return found


@dataclass(frozen=True, eq=False)
class Store:
    """Scores on disk, one file a job and seed, so that a stopped run goes on.

    Parameters
    ----------
    folder : where the files lie.
    """

    folder: Path

    def path(self, job: Job, seed: int) -> Path:
        """Where a seed's scores lie; the name tells what decided them."""
        return self.folder / job.key / f"{seed}"

    def read(self, job: Job, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """A seed's arrays and facts, or nothing where it has not run."""
        path = self.path(job, seed)
        if not path.exists():
            return None
        arrays, meta = map_arrays(path)
        return {name: np.array(values) for name, values in arrays.items()}, meta

    def write(
        self, job: Job, seed: int, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]
    ) -> None:
        """Keep a seed's scores."""
        path = self.path(job, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, dict(arrays), dict(meta))

    def done(self, job: Job, seeds: int = SEEDS) -> Done | None:
        """A job's scores over all seeds, or nothing while one is missing."""
        found = [self.read(job, seed) for seed in range(seeds)]
        first = found[0]
        if first is not None and first[1].get("failed"):
            return Done({}, np.empty(0), {}, 0, 0.0, 0.0, str(first[1]["failed"]))
        if any(each is None for each in found):
            return None
        kept = [each for each in found if each is not None]
        metrics = [name for name in kept[0][0] if name != "groups"]
        scores = {name: np.stack([arrays[name] for arrays, _ in kept]) for name in metrics}
        facts = [meta for _, meta in kept]
        return Done(
            scores, kept[0][0]["groups"], facts[0]["fields"], facts[0]["tried"],
            sum(f["tuning"] for f in facts), float(np.mean([f["seconds"] for f in facts])),
        )  # fmt: skip


def work(job: Job, folder: str, seeds: int) -> Job:
    """Run what is missing of a job; what a worker process does."""
    from threadpoolctl import threadpool_limits

    store, bench = Store(Path(folder)), open_bench(job.data)
    fields: Mapping[str, Any] | None = None
    with threadpool_limits(1):
        for seed in range(seeds):
            before = store.read(job, seed)
            if before is None:
                fields = _run(store, job, bench, seed, fields)
            else:
                fields = before[1].get("fields")
            if fields is None:
                break
    return job


def work_on(job: dict[str, Any], folder: str, seeds: int) -> None:
    """:func:`work` on a job as JSON has it: what a task of an engine calls."""
    condition = tuple((name, _frozen(value)) for name, value in job["condition"])
    work(Job(**{**job, "condition": condition}), folder, seeds)


def _frozen(value: Any) -> Any:
    """A value as conditions hold it, whose sequences JSON made lists."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _run(
    store: Store, job: Job, bench: Bench, seed: int, fields: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """One seed; the first chooses the settings for all. ``None`` where the arm cannot run."""
    try:
        ran = run_arm(job.make_task(), bench, job.way, job.metric, seed, fields)
    except ConjoinError as error:
        store.write(job, seed, {"groups": np.zeros(1)}, {"failed": str(error)})
        return None
    # A metric of other units than the job's own is another job's: one table, one set of groups.
    first = ran.scores[job.metric]
    arrays = {
        name: units.values for name, units in ran.scores.items()
        if np.array_equal(units.groups, first.groups)
    }  # fmt: skip
    facts = {
        "fields": dict(ran.fields), "tried": ran.tried, "tuning": ran.tuning,
        "seconds": ran.seconds,
    }  # fmt: skip
    store.write(job, seed, {**arrays, "groups": first.groups}, facts)
    return ran.fields


@cache
def open_bench(name: str) -> Bench:
    """A data set, kept open by the process."""
    from conjoin.claims.datasets.registry import open_bench as opened

    return opened(name)


@dataclass(frozen=True, eq=False)
class Progress:
    """What a run tells as it goes: jobs done, of how many, and the one just ended."""

    done: int
    total: int
    job: Job
    seconds: float


@dataclass(frozen=True, eq=False)
class Run:
    """What a run did.

    Parameters
    ----------
    left : jobs that time did not allow.
    broken : jobs whose worker died, and how.
    """

    left: list[Job] = field(default_factory=list)
    broken: dict[Job, str] = field(default_factory=dict)


def run(
    jobs: Iterable[Job],
    folder: Path,
    *,
    budget: float | None = None,
    memory: float = 4e9,
    engine: Engine | None = None,
    seeds: int = SEEDS,
    report: Callable[[Progress], None] = lambda _: None,
) -> Run:
    """Run the jobs that have not been run, a task each; nothing starts after ``budget``.

    Parameters
    ----------
    folder : of the :class:`Store`.
    budget : seconds; ``None`` for no end.
    memory : bytes the workers may use together; each may come to :data:`WORKER`.
    engine : where they run; as many processes here as cores and memory allow when not given.
    """
    store, start = Store(folder), time.perf_counter()
    waiting = [job for job in dict.fromkeys(jobs) if store.done(job, seeds) is None]
    count = max(1, min(os.cpu_count() or 1, int(memory // WORKER)))
    chosen = Processes(count) if engine is None else engine
    done, offered = Run(), dict[str, Job]()

    def tasks() -> Iterator[Task]:
        for place, job in enumerate(waiting):
            if budget is not None and time.perf_counter() - start > budget:
                done.left.extend(waiting[place:])
                return
            args = {"job": asdict(job), "folder": str(folder), "seeds": seeds}
            offered[f"job {place}"] = job
            yield Task("conjoin.claims.engine:work_on", args, f"job {place}")

    for number, ended in enumerate(chosen.run(tasks(), Needs(memory=WORKER)), 1):
        job = offered[ended.task.output]
        if ended.error:
            done.broken[job] = ended.error
        report(Progress(number, len(waiting), job, ended.seconds))
    return done


@cache
def _bench_digest(data: str) -> str:
    return open_bench(data).digest


@cache
def _key(job: Job) -> str:
    task = catalogue.find("task", job.task)
    return key_of(task, dict(job.condition), job.data, job.metric, job.way, _bench_digest(job.data))


def in_order(claims: Sequence[Claimed]) -> list[Job]:
    """The jobs of claims: what verdicts need before what only stands beside, cheap before dear."""
    own = [Job.of(each.claim, arm) for each in claims for arm in (each.arm, each.claim.baseline)]
    jobs = dict.fromkeys(sorted(own, key=_cost))
    beside = [job for each in claims for job in each.jobs() if job not in jobs]
    return [*jobs, *dict.fromkeys(sorted(beside, key=_cost))]


def _cost(job: Job) -> int:
    if job.arm == CHANCE:
        return 0
    return catalogue.COSTS.index(job.way.method.cost)
