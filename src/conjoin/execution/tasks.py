"""Tasks and the engines that run them: in this process, in processes of this machine, on Ray.

A task is an import path inside conjoin and JSON-able arguments. It writes one whole file under its
final name, so that it is done when the file is there: engines hold no state, and a run that was
stopped is repeated and makes only what lacks. Whoever gave the tasks commits what they made.
"""

import importlib
import json
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from conjoin.errors import ConjoinError, one_line

#: Times that a task is begun before a worker that dies each time is its own fault.
TRIES = 4


@dataclass(frozen=True)
class Task:
    """A function of conjoin, by name, with what it is called with.

    Parameters
    ----------
    name : ``module:function``.
    args : its keyword arguments, JSON-able.
    output : what it makes; two tasks of one run differ in it.

    Raises
    ------
    ConjoinError : the name does not lie in conjoin, or the arguments are no JSON.

    Examples
    --------
    >>> task = Task("conjoin.execution.budget:seconds_of", {"text": "10m"}, "minutes")
    >>> [done.value for done in Local().run([task])]
    [600.0]
    """

    name: str
    args: Mapping[str, Any]
    output: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"conjoin(\.\w+)+:\w+", self.name):
            raise ConjoinError(
                "task", f"{self.name!r}", "name a function as conjoin.room.file:name"
            )
        try:
            json.dumps(dict(self.args))
        except (TypeError, ValueError) as error:
            raise ConjoinError(
                f"task {self.output}",
                f"arguments that are no JSON: {error}",
                "give names and numbers",
            ) from None


class Needs(NamedTuple):
    """What one task takes of its machine.

    Parameters
    ----------
    cpus, gpus : cores and accelerators.
    memory : bytes; 0 where nothing is known.
    threads : threads of linear algebra in a worker; 0 leaves the worker's own.
    """

    cpus: float = 1
    gpus: float = 0
    memory: int = 0
    threads: int = 0


#: What a task takes that says nothing of it: a core.
ONE = Needs()


@dataclass(frozen=True)
class Done:
    """A task that has ended.

    Parameters
    ----------
    value : what the function returned, JSON-able and small.
    error : why there is no value; empty where there is one.
    refused : where, what and remedy of a :class:`~conjoin.errors.ConjoinError` it raised.
    died : whether the worker died each time, rather than the function raising.
    seconds : that the last attempt took.
    where : the machine and process.
    """

    task: Task
    value: Any = None
    error: str = ""
    refused: tuple[str, str, str] | None = None
    died: bool = False
    seconds: float = 0.0
    where: str = ""

    @classmethod
    def of(cls, task: Task, answer: Mapping[str, Any]) -> "Done":
        """What :func:`perform` answered."""
        refused = answer.get("refused")
        return cls(
            task, answer.get("value"), answer.get("error", ""),
            tuple(refused) if refused else None, False, answer["seconds"], answer["where"],
        )  # fmt: skip

    def result(self) -> Any:
        """The value, or the refusal raised again.

        Raises
        ------
        ConjoinError : the task has none.
        """
        if self.refused:
            raise ConjoinError(*self.refused)
        if self.error:
            raise ConjoinError(
                f"task {self.task.output} on {self.where}", self.error, "run it again"
            )
        return self.value


class EngineLost(ConjoinError):
    """The engine itself is gone; what its tasks have written stays."""

    exit_code = 3


class Engine(Protocol):
    """Runs tasks; holds no state that outlives a run."""

    @property
    def name(self) -> str:
        """As ``--engine`` names it."""
        ...

    @property
    def machines(self) -> bool:
        """Whether tasks may run on other machines than this."""
        ...

    def run(
        self, tasks: Iterable[Task], needs: Needs = ONE, *, tries: int = TRIES
    ) -> Iterator[Done]:
        """The tasks as they end, in any order; the iterable is read as workers come free."""
        ...

    def everywhere(self, task: Task, needs: Needs = ONE) -> list[Done]:
        """One task run once on each machine."""
        ...


def perform(name: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Call a function of conjoin by name: its value or why there is none, the time and place."""
    began = time.monotonic()
    answer: dict[str, Any] = {"where": place()}
    try:
        module, _, function = name.partition(":")
        value = getattr(importlib.import_module(module), function)(**args)
        json.dumps(value)
        answer["value"] = value
    except ConjoinError as error:
        answer["error"] = str(error)
        answer["refused"] = [error.where, error.found, error.remedy]
    except Exception as error:  # whatever a task may raise is told where it was asked for
        answer["error"] = f"{type(error).__name__}: {one_line(error, 400)}"
    return {**answer, "seconds": time.monotonic() - began}


def place() -> str:
    """Name this machine and process, as ``jobs`` tells it."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True)
class Local:
    """One task after the other in this process; a worker that dies is this process."""

    name: str = field(default="local", init=False)
    machines: ClassVar[bool] = False

    def run(
        self, tasks: Iterable[Task], needs: Needs = ONE, *, tries: int = TRIES
    ) -> Iterator[Done]:
        """The tasks in order."""
        for task in tasks:
            yield Done.of(task, perform(task.name, task.args))

    def everywhere(self, task: Task, needs: Needs = ONE) -> list[Done]:
        """The task, here."""
        return list(self.run([task], needs))
