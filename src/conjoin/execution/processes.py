"""Tasks in processes of this machine; one that dies costs its task an attempt, and no other."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, ClassVar

from conjoin.errors import ConjoinError
from conjoin.execution.tasks import ONE, TRIES, Done, Needs, Task

#: Tasks that a process performs before a fresh one takes its place: what leaks is bounded.
RECYCLED = 40
#: What linear algebra libraries read their number of threads from.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Processes:
    """``count`` worker processes on this machine, each with its own interpreter.

    Parameters
    ----------
    count : of processes; fewer where tasks need GPUs and there are fewer of these.
    """

    count: int
    machines: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """As ``--engine`` names it."""
        return f"processes:{self.count}"

    def run(
        self, tasks: Iterable[Task], needs: Needs = ONE, *, tries: int = TRIES
    ) -> Iterator[Done]:
        """The tasks as they end.

        Raises
        ------
        ConjoinError : tasks need GPUs and this machine has too few.
        """
        todo: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        ended: queue.SimpleQueue[Done] = queue.SimpleQueue()
        shares = _gpus(self.count, needs.gpus) if needs.gpus else [{}] * self.count
        slots = [_Slot(todo, ended, {**threads_of(needs), **gpu}, tries) for gpu in shares]
        source, flying = iter(tasks), 0
        try:
            while True:
                while flying < len(slots) and (task := next(source, None)) is not None:
                    todo.put(task)
                    slots[flying].begin()
                    flying += 1
                if not flying:
                    return
                done = ended.get()
                flying -= 1
                yield done
        finally:
            for slot in slots:
                slot.end()
            for _ in slots:
                todo.put(None)

    def everywhere(self, task: Task, needs: Needs = ONE) -> list[Done]:
        """The task once: there is one machine."""
        return list(Processes(1).run([task], needs))


def threads_of(needs: Needs) -> dict[str, str]:
    """Environment variables that give a worker its threads.

    >>> threads_of(Needs(threads=2))["OMP_NUM_THREADS"]
    '2'
    """
    return dict.fromkeys(THREADS, str(needs.threads)) if needs.threads else {}


def _gpus(count: int, each: float) -> list[dict[str, str]]:
    """The GPUs of each process, as many processes as they are enough for."""
    held = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = _seen() if held is None else [one for one in held.split(",") if one and one != "-1"]
    whole = max(1, round(each))
    if len(ids) < whole:
        raise ConjoinError(
            "--gpus", f"{whole} a task, and this machine has {len(ids)}", "ask for fewer"
        )
    groups = [ids[at : at + whole] for at in range(0, len(ids) - whole + 1, whole)]
    return [{"CUDA_VISIBLE_DEVICES": ",".join(group)} for group in groups[:count]]


def _seen() -> list[str]:
    """The GPUs that the driver lists."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()


class _Slot:
    """A thread that hands tasks to one process at a time, and starts another when it dies."""

    def __init__(
        self, todo: "queue.SimpleQueue[Task | None]", ended: "queue.SimpleQueue[Done]",
        more: Mapping[str, str], tries: int,
    ):  # fmt: skip
        self.todo, self.ended, self.tries = todo, ended, tries
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self.environment = {**os.environ, **more, "PYTHONPATH": path}
        self.process: subprocess.Popen[str] | None = None
        self.errors: IO[bytes] | None = None
        self.performed, self.over = 0, False
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def begin(self) -> None:
        """Start, unless it has."""
        if self.thread.ident is None:
            self.thread.start()

    def end(self) -> None:
        """Kill the process; nothing is begun after it."""
        with self.lock:
            self.over = True
            self._stop()

    def _serve(self) -> None:
        while (task := self.todo.get()) is not None and not self.over:
            self.ended.put(self._done(task))

    def _done(self, task: Task) -> Done:
        code, said = 0, ""
        for _ in range(self.tries):
            line, place = self._asked(json.dumps({"name": task.name, "args": dict(task.args)}))
            if line:
                return Done.of(task, json.loads(line))
            if self.over:
                break
            code, said = self._buried()
        why = f"its worker died ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
        return Done(task, error=f"{why}{': ' if said else ''}{said}", died=True, where=place)

    def _asked(self, line: str) -> tuple[str, str]:
        """An answer, empty where the process died, and the process."""
        with self.lock:
            if self.over:
                return "", ""
            if self.process is None or self.performed == RECYCLED:
                self._stop()
                self._start()
            process = self.process
            self.performed += 1
        if process is None or process.stdin is None or process.stdout is None:
            return "", ""
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            return process.stdout.readline(), f"pid {process.pid}"
        except (OSError, ValueError):  # it died before it read; or was ended from outside
            return "", f"pid {process.pid}"

    def _start(self) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process is gone
        code = "from conjoin.execution.worker import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", code], env=self.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, encoding="utf-8",
        )  # fmt: skip
        self.performed = 0

    def _buried(self) -> tuple[int, str]:
        """The exit code of a process that died, and the last line it said."""
        with self.lock:
            if self.process is None or self.errors is None:
                return 0, ""
            code = self.process.wait()
            size = self.errors.seek(0, os.SEEK_END)
            self.errors.seek(max(0, size - 2000))
            lines = self.errors.read().decode(errors="replace").split("\n")
            self._stop()
        return code, next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")

    def _stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None and process.poll() is not None:
                    _close(stream)
        if self.errors is not None:
            self.errors.close()
            self.errors = None


def _close(stream: Any) -> None:
    try:
        stream.close()
    except (OSError, ValueError):  # what was not flushed to a process that is gone
        return
