"""The process that drives a Ray cluster: tasks in as lines of JSON, answers out."""

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from conjoin.execution.tasks import perform

#: Seconds between looks for further tasks while none has ended.
LOOK = 0.2


def main() -> None:
    """Serve the parent until it goes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def say(line: Mapping[str, Any]) -> None:
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    try:
        _serve(json.loads(sys.stdin.readline()), say)
    except _Refused as error:
        say({"refusal": error.args})
    except Exception as error:  # of Ray: where the head is gone there is none, the process ends
        found = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        say({"refusal": [found, "see that every node has the same versions of Ray and Python"]})
    answers.flush()
    os._exit(0)  # Ray's own end waits for a head that may be gone


def _serve(asked: Mapping[str, Any], say: Callable[[Mapping[str, Any]], None]) -> None:
    """Connect, then put tasks to the cluster and tell how they end, for ever."""
    cluster = _Cluster(asked)
    say({"slots": cluster.slots, "nodes": cluster.nodes})
    todo: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(todo,), daemon=True).start()
    flying: dict[Any, int] = {}
    while True:
        while not todo.empty() or not flying:
            task = todo.get()
            flying[cluster.begin(task)] = task["number"]
        for reference in cluster.ended(list(flying)):
            say({"number": flying.pop(reference), **cluster.answer(reference)})


def _listen(todo: "queue.SimpleQueue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        todo.put(json.loads(line))
    os._exit(0)  # the parent is gone, and nobody waits for the rest


class _Refused(Exception):
    """The cluster is not there, or too small: what was found, and the remedy."""


class _Cluster:
    """A connected cluster, and how a task is put to it."""

    def __init__(self, asked: Mapping[str, Any]):
        import ray

        self.ray = ray
        try:
            ray.init(
                address=asked["address"], configure_logging=False, log_to_driver=False,
                runtime_env={"env_vars": asked["environment"]},
            )  # fmt: skip
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise _Refused(
                f"there is no cluster ({str(error).split(chr(10))[0][:160]})",
                "run: ray start --head, or on another node ray start --address=HOST:PORT",
            ) from None
        nodes = [node for node in ray.nodes() if node["Alive"]]
        self.nodes = [node["NodeID"] for node in nodes]
        needs = {"CPU": asked["cpus"], "GPU": asked["gpus"]}
        self.slots = sum(
            int(min(node["Resources"].get(kind, 0) / n for kind, n in needs.items() if n))
            for node in nodes
        )
        if not self.slots:
            held = {kind: max(node["Resources"].get(kind, 0) for node in nodes) for kind in needs}
            raise _Refused(
                f"no node has {needs['CPU']:g} CPU and {needs['GPU']:g} GPU for a task; the most "
                f"are {held['CPU']:g} and {held['GPU']:g}", "ask for fewer",
            )  # fmt: skip
        self.folder = asked["folder"]
        remote: Any = ray.remote  # its types know no option that may be absent
        self.function = remote(
            num_cpus=asked["cpus"], num_gpus=asked["gpus"], memory=asked["memory"] or None,
            max_retries=asked["retries"], scheduling_strategy="SPREAD",
        )(at_folder)  # fmt: skip

    def begin(self, task: Mapping[str, Any]) -> Any:
        """Put a task to the cluster, or to one node of it."""
        function = self.function
        if task["node"]:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            there = NodeAffinitySchedulingStrategy(task["node"], soft=False)
            function = function.options(scheduling_strategy=there)
        return function.remote(self.folder, task["name"], task["args"])

    def ended(self, flying: list[Any]) -> list[Any]:
        """Those that have ended, after a moment at most."""
        return list(self.ray.wait(flying, num_returns=1, timeout=LOOK)[0])

    def answer(self, reference: Any) -> dict[str, Any]:
        """What a task came to."""
        try:
            found: dict[str, Any] = self.ray.get(reference)
        except Exception as error:  # perform raises none: its worker or node died each time
            lines = str(error).strip().split("\n")
            return {"died": f"its worker died ({type(error).__name__}: {lines[0][:200]})"}
        return found


def at_folder(folder: str, name: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Perform a task in the folder the command was given in, where this node has it."""
    if os.path.isdir(folder):
        os.chdir(folder)
    return perform(name, args)
