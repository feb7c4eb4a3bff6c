"""Verbs in forked children, and what a workspace holds; shared by the trials of this folder.

The parent imports everything, runs no verb and forks, so that a verb costs what it costs and not
its imports. A child says when it begins; it can be killed, held beside another, or starved.
"""

import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import lancedb  # noqa: F401
import numpy as np
import pandas  # noqa: F401

from conjoin.cli.main import main
from conjoin.project.search.index import open_index
from conjoin.project.upgrade import lifecycle as upgrading  # noqa: F401
from conjoin.project.workspace import Workspace
from conjoin.storage.files import read_json
from shelf import config, table, write_table

RESULTS = Path(__file__).resolve().parents[1] / "results"
#: Seconds after which a verb counts as hung.
HUNG = 120.0
RIDGE = '[fit]\nmethod = "ridge"'


@dataclass(frozen=True)
class Told:
    """What a verb said, its exit code (negative: the signal it died of) and its seconds."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def plain(self) -> bool:
        """Whether it ended well, or was refused in one line."""
        loud = any(word in self.out + self.err for word in ("Traceback", "panicked", "defect in"))
        return not loud and (self.code in (0, 1) or (self.code == 2 and self.err.count("\n") == 1))


class Child:
    """A forked child that runs something once :meth:`go` is called."""

    def __init__(self, work: Callable[[], int], before: Callable[[], None] | None = None):
        self._files = [tempfile.TemporaryFile("w+b") for _ in "oe"]  # noqa: SIM115 - closed by wait
        ready, begun = os.pipe()
        gate, self._gate = os.pipe()
        self._ready = ready
        sys.stdout.flush()
        sys.stderr.flush()
        warnings.filterwarnings("ignore", message="lancedb fork")
        self.pid = os.fork()
        if self.pid == 0:
            self._live(work, before, (gate, begun))
        os.close(begun)
        os.close(gate)

    def _live(
        self, work: Callable[[], int], before: Callable[[], None] | None, ends: tuple[int, int]
    ) -> None:
        code = 99
        try:
            os.close(self._gate)
            for place, file in enumerate(self._files):
                os.dup2(file.fileno(), place + 1)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.read(ends[0], 1)
            if before is not None:
                before()
            os.write(ends[1], b".")
            code = work()
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def go(self) -> "Child":
        """Let it begin; returns when it says that it has."""
        os.write(self._gate, b".")  # an end of file would wait for a later child's copy
        os.close(self._gate)
        os.read(self._ready, 1)
        self._began = time.monotonic()
        return self

    def wait(self, end: tuple[int, float] | None = None) -> Told:
        """Wait for its end; ``end`` is a signal and the seconds after which it is sent."""
        code = None
        if end is not None:
            code = self._over(end[1])
            if code is None:
                os.kill(self.pid, end[0])
        code = self._over(HUNG) if code is None else code
        if code is None:
            os.kill(self.pid, signal.SIGKILL)
            code = self._over(HUNG)
            code = 124
        seconds = time.monotonic() - self._began
        os.close(self._ready)
        out, err = (self._said(file) for file in self._files)
        return Told(int(code), out, err, seconds)

    def _over(self, seconds: float) -> int | None:
        """Its exit code as soon as it has ended, or ``None`` after so many seconds."""
        door = os.pidfd_open(self.pid)
        try:
            if not select.select([door], [], [], seconds)[0]:
                return None
        finally:
            os.close(door)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @staticmethod
    def _said(file: Any) -> str:
        with file:
            file.seek(0)
            return file.read().decode("utf-8", "replace")


def verb(folder: Path, *words: Any, before: Callable[[], None] | None = None) -> Child:
    """A child that will run a verb on a workspace."""

    def work() -> int:
        sys.argv = ["conjoin", *map(str, words), "-w", str(folder)]
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return Child(work, before)


def call(folder: Path, *words: Any) -> Told:
    """Run a verb in a child to its end."""
    return verb(folder, *words).go().wait()


def must(folder: Path, *words: Any) -> Told:
    """Run a verb that has to end well."""
    told = call(folder, *words)
    if told.code:
        raise SystemExit(f"{words}: {told}")
    return told


# What a workspace holds


def held(folder: Path) -> dict[str, Any]:
    """What a workspace holds: its configuration, stored and indexed vectors, and answers.

    Read in a child; raises where it cannot be read.
    """

    def work() -> int:
        sys.stdout.write(json.dumps(_held(folder)))
        return 0

    told = Child(work).go().wait()
    if told.code:
        raise UnreadableError(told.err[-600:])
    return json.loads(told.out)


class UnreadableError(Exception):
    """A workspace cannot be read as it lies."""


def _held(folder: Path) -> dict[str, Any]:
    path = folder / "conjoin.toml"
    if not path.exists():
        return {"config": None, "stored": {}, "index": {}, "answers": {}}
    ws = Workspace(folder, writes=False)
    stored = {}
    for modality in ws.modalities:
        space = ws.store(modality.name).open()
        if space is not None:
            stored[modality.name] = _digests(space)
    seen = {"config": path.read_text(), "stored": stored, "index": {}, "answers": {}}
    if (ws.state / "current.json").exists():
        index = open_index(ws)
        seen["index"] = {name: _digests(space) for name, space in index.spaces.items()}
        for name, space in index.spaces.items():
            at = {item: row for row, item in enumerate(space.ids.tolist())}
            rows = np.array([at[item] for item in sorted(at)[::20]])
            hits = index.search_many(space.take(rows), name, k=4)
            seen["answers"][name] = [_rounded(one.to_json()) for one in hits]
    return seen


def _digests(space: Any) -> dict[str, str]:
    rows = np.ascontiguousarray(np.asarray(space.vectors[:], dtype=np.float32))
    return {
        item: hashlib.sha256(row.tobytes()).hexdigest()[:16]
        for item, row in zip(space.ids.tolist(), rows, strict=True)
    }


def _rounded(value: Any) -> Any:
    """Scores to five places: rows in another order are summed in another one."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def left_over(folder: Path) -> set[str]:
    """Half-written files, and tables that no version of an index names."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.tmp")}
    for index in (folder / ".conjoin" / "index").glob("*"):
        manifest = index / "manifest.json"
        raw = read_json(manifest) if manifest.exists() else {}
        named = {one["table"] for version in raw.get("history", []) for one in version["held"]}
        found |= {str(path.relative_to(folder)) for path in (index / "tables").glob("*.lance")
                  if path.stem not in named}  # fmt: skip
    return found


# Workspaces


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lay(folder: Path, names: Sequence[str] = ("a", "b"), n: int = 60, seed: int = 0) -> Path:
    """A workspace of vectors, with nothing made yet."""
    write_table(folder, table(n, seed))
    config(folder, names, RIDGE)
    return folder


def change(folder: Path, n: int = 66, seed: int = 0) -> Path:
    """The user's table with three items more, one gone and one changed."""
    columns = table(60, seed)
    more = table(n, seed + 1)
    rows = [{key: values[at] for key, values in columns.items()} for at in range(60)]
    rows += [{**{k: v[at] for k, v in more.items()}, "id": f"n{at}"} for at in range(3)]
    rows[5] = {**rows[5], "a": more["a"][50]}
    del rows[9]
    write_table(folder, {key: [row[key] for row in rows] for key in columns})
    return folder


def bases(place: Path) -> dict[str, Path]:
    """Workspaces at the points from which verbs start."""
    made: dict[str, Path] = {}

    def at(name: str, source: str | None = None, **given: Any) -> Path:
        folder = place / name
        made[name] = shutil.copytree(made[source], folder) if source else lay(folder, **given)
        return made[name]

    (at("table") / "conjoin.toml").unlink()
    at("configured")
    must(at("embedded", "configured"), "embed")
    must(at("fitted", "embedded"), "fit")
    config(at("widened", "fitted"), ("a", "b", "c"), RIDGE)
    must(at("three", "widened"), "add", "c")
    change(at("changed", "fitted"))
    must(at("grown", "changed"), "embed")
    must(at("thinned", "fitted"), "index", "delete", "i1", "i2", "i3", "--yes")
    must(at("littered", "grown"), "fit")
    large = at("planned", n=140)
    for words in (["embed"], ["fit"],
                  ["upgrade", "plan", "--modality", "a", "--to", "builtin:vector?name=new",
                   "--sample", "140"]):  # fmt: skip
        must(large, *words)
    return made


def verbs() -> dict[str, tuple[str, list[str]]]:
    """By name, the workspace a verb starts from and its words."""
    return {
        "init": ("table", ["init", "{}/items.parquet", "--yes"]),
        "embed": ("configured", ["embed"]),
        "fit": ("embedded", ["fit"]),
        "add": ("widened", ["add", "c"]),
        "sync": ("changed", ["sync", "--yes"]),
        "index add": ("grown", ["index", "add", "--prune", "--yes"]),
        "index delete": ("fitted", ["index", "delete", "i1", "i2", "--yes"]),
        "index compact": ("thinned", ["index", "compact", "--yes"]),
        "index rollback": ("thinned", ["index", "rollback", "1", "--yes"]),
        "upgrade": ("planned", ["upgrade", "apply", "--arm", "re-embed", "--yes"]),
        "remove": ("three", ["remove", "c", "--yes"]),
        "clean": ("littered", ["clean", "--yes"]),
    }


def named(words: Sequence[str], folder: Path) -> list[str]:
    """Words with the workspace's folder in its place."""
    return [word.format(folder) if "{}" in word else word for word in words]
