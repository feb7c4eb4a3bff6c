"""Embedding on an engine: the shards of a modality as tasks, and what is told of a job under way.

A worker opens the workspace by its path, which must be the same on every machine, and its own
encoder; it refuses by name where that is not the one the job was planned with. A shard that kills
its worker each time is searched for the cell that does, and made without it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from conjoin.encoders.base import CellError, Encoder
from conjoin.encoders.run import (
    EmbedResult,
    Survey,
    embed_elsewhere,
    encode_shard,
    make_shard,
    provenance,
)
from conjoin.errors import ConjoinError, StateError
from conjoin.execution.tasks import TRIES, Done, Engine, Local, Needs, Task, place
from conjoin.project.workspace import Workspace
from conjoin.spaces.store import Key, Plan, SpaceStore
from conjoin.storage.digest import digest
from conjoin.storage.files import FORMAT, at_work, read_json, write_json

#: Rows of a shard: the unit of work, which fixes what shares a batch and so the last bits.
SHARD_ROWS = 1024
#: What is recorded of a cell that ends the process which reads it.
DEADLY = "ended the process that read it, each time it was tried"


def embed_on(
    ws: Workspace,
    name: str,
    engine: Engine,
    needs: Needs,
    *,
    strict: bool = False,
    retry: bool = False,
    progress: Callable[[int, int], None] | None = None,
    seen: Survey | None = None,
) -> EmbedResult:
    """:meth:`Workspace.embed <conjoin.project.workspace.Workspace.embed>` with an engine's workers.

    Raises
    ------
    ConjoinError : another process is embedding the modality, or a worker has not the encoder,
        version or threads that the job was planned with.
    EngineLost : the engine went away; shards that are written stay.
    """
    if isinstance(engine, Local):
        return ws.embed(name, strict=strict, retry=retry, progress=progress, seen=seen)
    encoder = ws.encoder(name)
    ws._joined.pop(name, None)
    shards = Shards(ws, name, engine, needs._replace(threads=max(1, needs.threads)))
    with ws._embedding(name), shards.announced():
        return embed_elsewhere(
            ws.store(name), encoder, seen or ws.survey(name), shards, shard_rows=SHARD_ROWS,
            retry_failed=retry, strict=strict, progress=progress,
        )  # fmt: skip


@dataclass(eq=False)
class Shards:
    """Makes the shards of one modality's pending plan on an engine."""

    ws: Workspace
    modality: str
    engine: Engine
    needs: Needs
    found: dict[int, dict[int, str]] = field(default_factory=dict)

    @property
    def threads(self) -> int:
        """Of linear algebra in each worker."""
        return self.needs.threads

    def make(self, plan: Plan, numbers: Sequence[int], strict: bool) -> Iterator[int]:
        """The shards as they are there; those that kill their worker last.

        Raises
        ------
        ConjoinError : a worker refuses the job, or a shard cannot be made.
        """
        if self.engine.machines:
            for done in self.engine.everywhere(self._task("ready", plan, {}), self.needs):
                if not done.died:  # a node that went as it was asked: others make its shards
                    _refuse(done)
        deadly = []
        tasks = (self._task("make", plan, {"shard": n, "strict": strict}) for n in numbers)
        for done in self.engine.run(tasks, self.needs, tries=TRIES):
            if done.died:
                deadly.append(int(done.task.args["shard"]))
                continue
            _refuse(done)
            yield int(done.task.args["shard"])
        for number in deadly:
            lost = self._killers(plan, number)
            self._once("make", plan, {"shard": number, "strict": strict, "lost": lost})
            yield number

    def _killers(self, plan: Plan, number: int) -> list[int]:
        """Places in a shard whose cells end their worker, by halving what dies.

        Raises
        ------
        ConjoinError : none does alone.
        """
        whole = list(range(len(plan.shard(number))))
        groups, killers = [whole[: len(whole) // 2], whole[len(whole) // 2 :]], list[int]()
        while groups:
            tasks = [self._task("probe", plan, {"shard": number, "places": g}) for g in groups if g]
            died = [d for d in self.engine.run(tasks, self.needs, tries=1) if d.died]
            groups = []
            for group in (list(done.task.args["places"]) for done in died):
                if len(group) == 1:
                    killers += group
                else:
                    groups += [group[: len(group) // 2], group[len(group) // 2 :]]
        if not killers:
            raise ConjoinError(
                f"shard {number} of {self.modality}", "ends its worker, though no cell of it does",
                "give a worker more memory (fewer at once: --slots), and run it again",
            )  # fmt: skip
        return sorted(killers)

    def _once(self, what: str, plan: Plan, more: Mapping[str, Any]) -> None:
        for done in self.engine.run([self._task(what, plan, more)], self.needs):
            if done.died:
                raise ConjoinError(
                    f"shard {more['shard']} of {self.modality}", done.error,
                    "give a worker more memory, and run it again",
                )  # fmt: skip
            _refuse(done)

    def _task(self, what: str, plan: Plan, more: Mapping[str, Any]) -> Task:
        asked = {
            "folder": str(self.ws.folder.resolve()), "modality": self.modality,
            "plan": plan.name, "provenance": list(plan.provenance),
            "frame": self.ws.store(self.modality).frame.id, "version": version("conjoin"),
        }  # fmt: skip
        output = "/".join(str(part) for part in (self.modality, what, *more.values()))
        return Task(f"conjoin.project.embedding:{what}", {"asked": asked, **more}, output)

    def announced(self) -> "_Announced":
        """Keeps a record of who drives the job while it runs, for :func:`jobs`."""
        record = {"modality": self.modality, "engine": self.engine.name, "driver": place()}
        return _Announced(_record(self.ws, self.modality), record)


class _Announced:
    """A file that is there while a block runs."""

    def __init__(self, path: Path, record: Mapping[str, Any]):
        self.path, self.record = path, record

    def __enter__(self) -> None:
        write_json(self.path, {"version": FORMAT, **self.record})

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)


def _record(ws: Workspace, name: str) -> Path:
    return ws.state / "jobs" / f"{digest(name)}.json"


def _refuse(done: Done) -> None:
    """Raise what kept a task from its end, with the machine that says so."""
    if done.refused:
        where, found, remedy = done.refused
        raise ConjoinError(f"worker {done.where}", f"{where}: {found}", remedy)
    if done.error:
        raise ConjoinError(f"worker {done.where}", done.error, "fix it and run the command again")


# What workers do


@dataclass(frozen=True, eq=False)
class _Opened:
    """A modality as a worker holds it from task to task."""

    store: SpaceStore
    encoder: Encoder
    cell: Callable[[Key], Any]
    plan: Plan


def ready(asked: Mapping[str, Any]) -> None:
    """Refuse, before any work, a machine that would make other vectors than were planned."""
    _opened(**_hashable(asked))


def make(asked: Mapping[str, Any], shard: int, strict: bool, lost: Sequence[int] = ()) -> None:
    """Write a shard, without the cells at some places of it."""
    held = _opened(**_hashable(asked))
    mark = held.store.folder / "shards" / f"{shard:06d}.at"
    write_json(mark, {"version": FORMAT, "shard": shard, "where": place()})
    gone = {held.plan.shard(shard)[at] for at in lost}

    def cell(key: Key) -> Any:
        return CellError(DEADLY) if key in gone else held.cell(key)

    make_shard(held.store, held.encoder, cell, held.plan, shard, strict=strict)


def probe(asked: Mapping[str, Any], shard: int, places: Sequence[int]) -> None:
    """Encode some cells of a shard and keep nothing: whoever asks learns whether that kills."""
    held = _opened(**_hashable(asked))
    keys = held.plan.shard(shard)
    encode_shard(held.encoder, tuple(keys[at] for at in places), held.cell, False)


def _hashable(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {**asked, "provenance": tuple(asked["provenance"])}


@lru_cache(maxsize=1)
def _opened(
    folder: str, modality: str, plan: str, provenance: tuple[str, ...], frame: str, version: str
) -> _Opened:  # fmt: skip
    """The store, encoder and plan of a job, as this machine has them.

    Raises
    ------
    ConjoinError : this machine has another conjoin, encoder, runtime or number of threads, does
        not see the workspace, or sees another job in it.
    """
    _agree("conjoin", version, _version())
    if not Path(folder).is_dir():
        raise ConjoinError(folder, "is not there", "put the workspace where every machine sees it")
    ws = Workspace(Path(folder), writes=False)
    encoder = ws.encoder(modality)
    _agree("encoder", frame, encoder.frame.id)
    for planned, here in zip(provenance, _provenance(encoder), strict=True):
        _agree(planned.split()[0], planned, here)
    store = ws.store(modality)
    pending = store.pending()
    if pending is None or pending.name != plan:
        raise ConjoinError(folder, "has no such job", "see that every machine has the same folder")
    cells = ws.cells(modality, encoder.kind)
    return _Opened(store, encoder, lambda key: cells.get(key.id, key.part), pending)


_provenance = provenance


def _version() -> str:
    return version("conjoin")


def _agree(what: str, planned: str, here: str) -> None:
    if planned != here:
        raise ConjoinError(what, f"{here} here, and the job has {planned}", "make them the same")


# What is told of jobs under way


@dataclass(frozen=True)
class Job:
    """An embedding that was begun and not finished.

    Parameters
    ----------
    rows, shards, done : planned rows and shards, and shards that are written.
    failed : cells that could not be made so far, with their reasons.
    workers : shards in the making: ``shard``, ``where`` and ``since`` (seconds of the epoch).
    engine, driver : who runs it; empty where nobody does.
    since : when the plan was written, in seconds of the epoch.
    """

    modality: str
    rows: int
    shards: int
    done: int
    failed: tuple[tuple[str, str], ...]
    workers: tuple[Mapping[str, Any], ...]
    engine: str
    driver: str
    since: float

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            "modality": self.modality, "rows": self.rows, "shards": self.shards,
            "done": self.done, "left": self.shards - self.done,
            "failed": [{"id": item, "reason": why} for item, why in self.failed],
            "workers": [dict(one) for one in self.workers], "engine": self.engine,
            "driver": self.driver, "since": self.since,
        }  # fmt: skip


def jobs(ws: Workspace) -> list[Job]:
    """Embeddings of a workspace that are under way, or were when they stopped.

    No code of the workspace is run.
    """
    found = []
    for modality in ws.modalities:
        store = ws.stored(modality.name)
        plan = None if store is None else store.pending()
        if store is not None and plan is not None:
            found.append(_job(ws, modality.name, store, plan))
    return found


def _driven(ws: Workspace, name: str) -> bool:
    lock = ws.state / "locks" / f"{digest(name)}.lock"
    return lock.exists() and at_work(lock)


def _job(ws: Workspace, name: str, store: SpaceStore, plan: Plan) -> Job:
    numbers = range(len(plan.shards()))
    lost, there = list[tuple[str, str]](), set[int]()
    for number in numbers:
        failed = store.written(number)
        if failed is not None:
            there.add(number)
            lost += [(key.id, why) for key, why in failed.items()]
    workers = []
    for mark in sorted((store.folder / "shards").glob("*.at")):
        try:
            said, since = read_json(mark, ("shard", "where")), mark.stat().st_mtime
        except (OSError, StateError):
            continue  # the job ended while it was looked at
        if said["shard"] not in there:
            workers.append({"shard": said["shard"], "where": said["where"], "since": since})
    record = _record(ws, name)
    driven = record.exists() and _driven(ws, name)
    who = read_json(record, ("engine", "driver")) if driven else {"engine": "", "driver": ""}
    return Job(
        name, len(plan.keys), len(numbers), len(there), tuple(lost), tuple(workers),
        who["engine"], who["driver"], store.begun(),
    )  # fmt: skip
