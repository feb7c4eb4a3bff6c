"""Tasks on a Ray cluster that is already there, through a driver process that is watched.

When the head of a cluster dies, Ray ends the process that drives it, and no exception is raised.
So the driver (:mod:`conjoin.execution.ray_driver`) is a child of its own: its end is seen here and
said in a sentence. Tasks are plain Ray tasks, which are begun again on another node where theirs
is lost; an actor's caller would get the error instead.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.errors import ConjoinError, optional
from conjoin.execution.processes import threads_of
from conjoin.execution.tasks import ONE, TRIES, Done, EngineLost, Needs, Task

#: What workers get of this process's environment; secrets are theirs to have from their own.
PASSED = ("PYTHONPATH", "CONJOIN_CACHE", "CONJOIN_DATA", "CONJOIN_TRUST_CODE", "HF_HUB_OFFLINE")
#: Tasks handed to the cluster at once, by slot: enough that none waits for the driver.
AHEAD = 2
#: Seconds after which a head that does not answer is given up.
PATIENCE = 15


@dataclass(frozen=True)
class Ray:
    """A cluster of Ray that this machine is a node of.

    Parameters
    ----------
    address : ``HOST:PORT`` of the head, as ``ray start --head`` prints it; ``auto`` for the cluster
        that runs here.
    slots : tasks at once, at most.
    """

    address: str = "auto"
    slots: int | None = None
    machines: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """As ``--engine`` names it."""
        return "ray" if self.address == "auto" else f"ray://{self.address}"

    def run(
        self, tasks: Iterable[Task], needs: Needs = ONE, *, tries: int = TRIES
    ) -> Iterator[Done]:
        """The tasks as they end.

        Raises
        ------
        MissingDependency : Ray is not installed.
        ConjoinError : there is no such cluster, or it has too few cores or GPUs for one task.
        EngineLost : its head went away while tasks ran.
        """
        with _Driver(self, needs, tries) as driver:
            source, flying = iter(enumerate(tasks)), dict[int, Task]()
            most = AHEAD * driver.slots if self.slots is None else self.slots
            while True:
                while len(flying) < most:
                    number, task = next(source, (-1, None))
                    if task is None:
                        break
                    driver.ask(number, task)
                    flying[number] = task
                if not flying:
                    return
                answer = driver.answer()
                yield _done(flying.pop(answer["number"]), answer)

    def everywhere(self, task: Task, needs: Needs = ONE) -> list[Done]:
        """The task once on each node."""
        with _Driver(self, needs, 1) as driver:
            for number, node in enumerate(driver.nodes):
                driver.ask(number, task, node)
            return [_done(task, driver.answer()) for _ in driver.nodes]


def _done(task: Task, answer: Mapping[str, Any]) -> Done:
    if "died" in answer:
        return Done(task, error=answer["died"], died=True, where="ray")
    return Done.of(task, answer)


class _Driver:
    """The child that speaks with the cluster."""

    def __init__(self, engine: Ray, needs: Needs, tries: int):
        optional("ray", "scale")
        self.engine = engine
        worker = {name: os.environ[name] for name in PASSED if name in os.environ}
        self.asked = {
            "address": engine.address, "cpus": needs.cpus, "gpus": needs.gpus,
            "memory": needs.memory, "retries": tries - 1, "folder": os.getcwd(),
            "environment": {**worker, **threads_of(needs)},
        }  # fmt: skip
        self.said: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.slots, self.nodes = 0, list[str]()

    def __enter__(self) -> "_Driver":
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        environment = {
            **os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_gcs_rpc_server_reconnect_timeout_s": str(PATIENCE),
        }  # fmt: skip
        code = "from conjoin.execution.ray_driver import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", code], env=environment, text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self._tell(self.asked)
            ready = self.answer()
        except BaseException:
            self.__exit__()
            raise
        self.slots, self.nodes = ready["slots"], ready["nodes"]
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()  # the cluster ends what it still runs for a driver that is gone
        self.process.wait()

    def ask(self, number: int, task: Task, node: str | None = None) -> None:
        """Hand a task over."""
        self._tell({"number": number, "name": task.name, "args": dict(task.args), "node": node})

    def answer(self) -> dict[str, Any]:
        """What the driver says next.

        Raises
        ------
        ConjoinError : it refuses.
        EngineLost : it ended.
        """
        said = self.said.get()
        if said is None:
            raise EngineLost(
                self.engine.name, "the head of the cluster is gone",
                "bring it up and run the same command again: what is done is kept",
            )  # fmt: skip
        if "refusal" in said:
            raise ConjoinError(self.engine.name, *said["refusal"])
        return said

    def _tell(self, line: Mapping[str, Any]) -> None:
        if self.process.stdin is not None:
            try:
                self.process.stdin.write(json.dumps(line) + "\n")
                self.process.stdin.flush()
            except OSError:  # it is gone, which its silence will tell
                return

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            self.said.put(json.loads(line))
        self.said.put(None)
