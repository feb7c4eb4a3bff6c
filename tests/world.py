"""A workspace beside a plain model of what it must hold; ``machine.py`` gives it random verbs.

The model knows, by modality, which items are stored, bound and indexed, and by which content of
their cells; after every verb the files are read back and compared. A verb may be killed at a
write: then the workspace holds what it held before or what it would hold after, and the same verb
given again must end.
"""

import contextlib
import io
import json
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conjoin.alignment.binding import Binding
from conjoin.cli.actions.find import index as index_verbs
from conjoin.cli.main import main
from conjoin.errors import ConjoinError
from conjoin.project.fit import card as cards
from conjoin.project.fit import extend as extending
from conjoin.project.fit import pipeline as jobs
from conjoin.project.search import index as indexing
from conjoin.project.workspace import Workspace
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.engines import kernels
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.index.store import IndexStore
from conjoin.storage import files
from conjoin.storage.files import read_json
from shelf import write_table

#: Column, width, of each modality; all are given vectors.
WIDTHS = {"a": 5, "b": 4, "c": 3}
#: Content of cells by item.
Cells = dict[str, int]
Held = dict[str, Cells]


class Killed(BaseException):
    """Stands for a signal at a write: nothing may catch it."""


@dataclass(frozen=True)
class Model:
    """What the workspace must hold.

    Parameters
    ----------
    stored : by modality, the content each item's vector was made from.
    bound : modalities of the fit in use, with the content they were bound from when indexed.
    history : what each version of the index held; empty for a snapshot.
    """

    stored: Held = field(default_factory=dict)
    bound: tuple[str, ...] = ()
    index: Held = field(default_factory=dict)
    history: dict[int, Held] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """What a verb said."""

    code: int
    out: str
    err: str


class World:
    """One workspace, its model, and the verbs.

    Parameters
    ----------
    folder : where it lies.
    database : whether the database is installed; it may come and go.
    """

    def __init__(self, folder: Path, *, database: bool = True, counts: Counter | None = None):
        self.folder, self.database = folder, database
        self.counts: Counter = Counter() if counts is None else counts
        self.names: list[str] = ["a", "b"]
        self.rows = {f"i{n}": dict.fromkeys(WIDTHS, 0) for n in range(10)}
        self.next = len(self.rows)
        self.model = Model()
        self._dice = np.random.default_rng(7)
        self._vectors: dict[tuple[str, str, int], list[float]] = {}
        self.write()

    # The user's files

    def write(self) -> None:
        """Write the table and the configuration as the user has them."""
        columns: dict[str, list] = {"id": list(self.rows), "name": [f"n{i}" for i in self.rows]}
        for name in WIDTHS:
            columns[name] = [
                None if version is None else self._vector(item, name, version)
                for item, version in ((item, row[name]) for item, row in self.rows.items())
            ]
        write_table(self.folder, columns)
        lines = ["version = 1", "[items]", 'table = "items.parquet"', 'id = "id"']
        for name in self.names:
            lines += [f"[modalities.{name}]", f'column = "{name}"', 'encoder = "builtin:vector"']
        lines += ["[split]", "test = 0.2", "[fit]", 'method = "ridge"']
        (self.folder / "conjoin.toml").write_text("\n".join(lines) + "\n")

    def _vector(self, item: str, name: str, version: int) -> list[float]:
        key = item, name, version
        if key not in self._vectors:
            self._vectors[key] = self._dice.normal(size=WIDTHS[name]).astype("f4").tolist()
        return self._vectors[key]

    @property
    def table(self) -> Held:
        """Content of every cell that is there, by modality, as the software tells cells apart."""
        ws = Workspace(self.folder, writes=False)
        return {
            name: {key.id: int(key.content) for key in ws.cells(name, "vector").list_keys()}
            for name in self.names
        }

    # Verbs

    def call(self, *words: Any, kill: int | None = None) -> Told:
        """Run a verb as a person does; ``kill`` is the write at which it is stopped."""
        out, err = io.StringIO(), io.StringIO()
        code = 0
        self.counts[words[0] if words[0] != "index" else f"index {words[1]}"] += 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["conjoin", *map(str, words), "-w", str(self.folder)])
            self._plain(patch)
            if kill is not None:
                self._mortal(patch, kill)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main()
                except SystemExit as stop:
                    code = int(stop.code or 0)
                except Killed:
                    code = -9
                    self.counts["killed"] += 1
        told = Told(code, out.getvalue(), err.getvalue())
        assert "Traceback" not in told.out + told.err, told
        assert code in (0, 1, 2, -9), (words, told)
        if code == 2:
            assert told.err.count("\n") >= 1, told
            self.counts["refused"] += 1
        return told

    def _plain(self, patch: pytest.MonkeyPatch) -> None:
        """Leave out what a fit measures, and the database where it is not installed."""
        patch.setattr(Rules, "rehearse", classmethod(lambda cls, *_, **__: cls()))
        patch.setattr(jobs, "_beside", lambda binding, *_: binding)
        for room in (jobs, extending):
            patch.setattr(room, "write_card", _card)
        if not self.database:
            real = kernels.have
            for room in (kernels, indexing, index_verbs):
                patch.setattr(room, "have", lambda name: name != "lancedb" and real(name))
            patch.setitem(sys.modules, "lancedb", None)

    def _mortal(self, patch: pytest.MonkeyPatch, at: int) -> None:
        """Stop at a write: before the file is renamed, or before the database is asked."""
        count = 0

        def mortal(real: Any) -> Any:
            def run(*given: Any, **named: Any) -> Any:
                nonlocal count
                count += 1
                if count > at:
                    raise Killed
                return real(*given, **named)

            return run

        patch.setattr(files.os, "replace", mortal(files.os.replace))
        if self.database:
            from conjoin.retrieval.index.lance import Tables

            for name in ("create", "append", "delete", "restore", "tag"):
                patch.setattr(Tables, name, mortal(getattr(Tables, name)))

    def must(self, wanted: Model, *words: Any, kill: int | None = None) -> None:
        """A verb that must end well and leave ``wanted``; killed, it is given again."""
        if kill is not None:
            told = self.call(*words, kill=kill)
            if told.code == -9:
                seen = self.seen()
                assert _same(seen, self.model) or _same(seen, wanted) or self._between(
                    seen, wanted
                ), (words, kill, "half", seen, self.model, wanted)  # fmt: skip
            else:
                assert told.code == 0, (words, told)
        told = self.call(*words)
        assert told.code == 0, (words, told)
        self.model = wanted
        self.check()

    def _between(self, seen: Model, wanted: Model) -> bool:
        """What was bound is the old or the new; of modalities, some may be stored already."""
        fit = any((seen.bound, seen.index) == (m.bound, m.index) for m in (self.model, wanted))
        return fit and all(
            seen.stored.get(name, {}) in (
                self.model.stored.get(name, {}), wanted.stored.get(name, {}),
                {i: c for i, c in self.model.stored.get(name, {}).items()
                 if wanted.stored.get(name, {}).get(i) == c},
            ) for name in {*seen.stored, *wanted.stored}
        )  # fmt: skip

    # What is there

    def seen(self) -> Model:
        """What the workspace holds, read from its files."""
        with pytest.MonkeyPatch.context() as patch:
            self._plain(patch)
            ws = Workspace(self.folder, writes=False)
            stored = {}
            for name in self.names:
                space = ws.store(name).open()
                stored[name] = {} if space is None else _content(space)
            if not (ws.state / "current.json").exists():
                return Model(stored)
            current = ws.current
            binding = Binding.load(ws.state / current["maps"])
            folder = ws.state / current["index"]
            index, history = Index.open(folder), {}
            if "history" in read_json(folder / "manifest.json"):
                store = IndexStore(folder)
                history = {v.number: {} for v in store.versions()}
            self._bound_as_said(ws, binding, index, stored)
            return Model(
                stored, tuple(binding.maps), {n: _content(s) for n, s in index.spaces.items()},
                history,
            )  # fmt: skip

    @staticmethod
    def _bound_as_said(ws: Workspace, binding: Binding, index: Index, stored: Held) -> None:
        """Indexed vectors are what the binding makes of the stored ones of the same content."""
        for name, space in index.spaces.items():
            whole = ws.store(name).open() if name in stored else None
            if whole is None or name not in binding.maps:
                continue
            made = binding.bind(name, whole)
            at = {item: row for row, item in enumerate(made.ids.tolist())}
            held = np.asarray(space.vectors[:])
            for row, item in enumerate(space.ids.tolist()):
                if stored[name].get(item) == int(space.content[row]):
                    wanted = np.asarray(made.vectors[at[item] : at[item] + 1], dtype=np.float32)[0]
                    wanted = wanted / np.linalg.norm(wanted)
                    np.testing.assert_allclose(held[row], wanted, atol=1e-5)

    def check(self) -> None:
        """What is there is what the model says."""
        seen = self.seen()
        assert _same(seen, self.model), (seen, self.model)

    @property
    def kind(self) -> str:
        """What the index in use is: none, a snapshot or a store."""
        if not (self.folder / ".conjoin" / "current.json").exists():
            return "none"
        current = read_json(self.folder / ".conjoin" / "current.json")
        raw = read_json(self.folder / ".conjoin" / current["index"] / "manifest.json")
        return "store" if "history" in raw else "snapshot"

    def last(self) -> int:
        """The number of the version in use."""
        current = read_json(self.folder / ".conjoin" / "current.json")
        return IndexStore(self.folder / ".conjoin" / current["index"]).version().number

    # Each verb with what it must leave

    def embed(self, kill: int | None = None) -> None:
        """Every modality's vectors are those of the table."""
        self.must(replace(self.model, stored=self.table), "embed", "-q", kill=kill)

    def fit(self, kill: int | None = None) -> None:
        """The index holds what is stored; deletions are undone only where something changed."""
        stored = self.model.stored
        if any(not stored.get(name) for name in self.names) or self._pairs() < 4:
            assert self.call("fit", "-q").code == 2
            self.check()
            return
        told = self.call("fit", "-q", "--dry-run")
        assert told.code == 0, told
        before = self.seen()
        if kill is not None and self.call("fit", "-q", kill=kill).code == -9:
            seen = self.seen()
            assert _same(seen, before) or seen.index == stored, (kill, seen, before)
        told = self.call("fit", "--json")
        assert told.code == 0, told
        after = self.seen()
        assert after.bound == tuple(self.names)
        said = json.loads(told.out)
        if said["index_rebuilt"] or after.index != before.index or not before.bound:
            # Built now, or in use since another fit: then as that was left, which verbs change.
            assert all(set(after.index[n]) <= set(stored[n]) or before.bound for n in self.names)
        self.model = replace(after, stored=stored, history=self._versions(after))
        self.check()

    def _pairs(self) -> int:
        first, second = (self.model.stored.get(name, {}) for name in ("a", "b"))
        return len(set(first) & set(second))

    def _versions(self, seen: Model) -> dict[int, Held]:
        """What versions of an index hold that was built, or is back in use."""
        if self.kind != "store":
            return {}
        current = read_json(self.folder / ".conjoin" / "current.json")
        store = IndexStore(self.folder / ".conjoin" / current["index"])
        return {
            v.number: {n: _content(s) for n, s in store.open(v.number).spaces.items()}
            for v in store.versions()
        }

    def add_modality(self, kill: int | None = None) -> None:
        """A third modality is bound to what is fitted; the others stay as they are indexed."""
        self.names = ["a", "b", "c"]
        self.write()
        stored = {**self.model.stored, "c": self.table["c"]}
        if kill is not None:
            before = self.seen()
            told = self.call("add", "c", "-q", kill=kill)
            seen = self.seen()
            if told.code == -9:
                assert seen.bound in (before.bound, (*before.bound, "c"))
                assert {n: seen.index[n] for n in before.index} == before.index
        if self.model.bound != (*self.model.bound, "c") and "c" not in self.seen().bound:
            told = self.call("add", "c", "-q")
            assert told.code == 0, told
        seen = self.seen()
        assert seen.stored["c"] == stored["c"]
        index = {**self.model.index, "c": stored["c"]}
        assert (seen.bound, seen.index) == ((*self.model.bound, "c"), index)
        self.model = Model(stored, seen.bound, index, self._versions(seen))
        self.check()

    def remove_modality(self, kill: int | None = None) -> None:
        """A modality is taken out of fit, index and configuration."""
        told = self.call("remove", "c", "--yes")
        if told.code == 2 and "is the hub" in told.err:
            self.check()
            return
        assert told.code == 0, told
        self.names = ["a", "b"]
        index = {name: held for name, held in self.model.index.items() if name != "c"}
        stored = {name: held for name, held in self.model.stored.items() if name != "c"}
        seen = self.seen()
        assert (seen.bound, seen.index) == (("a", "b"), index)
        self.model = Model(stored, seen.bound, index, self._versions(seen))
        self.check()

    def index_add(self, *, prune: bool, kill: int | None = None) -> None:
        """What was embedded since is indexed; with ``--prune``, what is gone is not."""
        index = {}
        for name, held in self.model.index.items():
            stored = self.model.stored[name]
            kept = {i: c for i, c in held.items() if i in stored or not prune}
            index[name] = {**kept, **stored}
        words = ["index", "add", "-q", *(["--prune", "--yes"] if prune else [])]
        self._changed(index, words, kill)

    def sync(self, kill: int | None = None) -> None:
        """Vectors and index are those of the table, deletions undone; refused, it has embedded."""
        table = self.table
        if not self.database and self.kind == "store":
            told = self.call("sync", "--yes", "-q")
            assert told.code == 2 or table == self.model.index, told
            self.model = replace(self.model, stored=table)
            self.check()
            return
        wanted = replace(self.model, stored=table, index=table)
        self.must(wanted, "sync", "--yes", "-q", kill=kill)
        versions = self._versions(self.seen())
        for number, held in self.model.history.items():
            assert versions.get(number, held) == held, "an earlier version changed"
        self.model = replace(self.model, history=versions)

    def delete(self, items: list[str], kill: int | None = None) -> None:
        """Rows of items are no longer indexed; one that is in no modality is refused."""
        index = {
            name: {i: c for i, c in held.items() if i not in items}
            for name, held in self.model.index.items()
        }
        words = ["index", "delete", *items, "--yes", "-q"]
        there = set().union(*self.model.index.values())
        if not all(index.values()) or not set(items) <= there:
            assert self.call(*words).code == 2
            self.check()
            return
        if kill is not None and self.call(*words, kill=kill).code != 2:
            seen = self.seen()
            assert seen.index in (self.model.index, index), (items, kill, seen)
            if seen.index == index:  # done: a second time is refused, as nothing is there
                self._after(index)
                return
        self._changed(index, words, None)

    def _changed(self, index: Held, words: list[str], kill: int | None) -> None:
        if not self.database:
            assert self.call(*words).code == 2 or index == self.model.index
            self.check()
            return
        if kill is not None and self.call(*words, kill=kill).code == -9:
            seen = self.seen()
            assert seen.index in (self.model.index, index), (words, kill, seen)
        told = self.call(*words)
        assert told.code == 0, (words, told)
        self._after(index)

    def _after(self, index: Held) -> None:
        seen = self.seen()
        assert seen.index == index, (seen.index, index)
        versions = self._versions(seen)
        for number, held in self.model.history.items():
            assert versions.get(number, held) == held, "an earlier version changed"
        self.model = replace(self.model, index=index, history=versions)
        self.check()

    def compact(self, kill: int | None = None) -> None:
        """The rows stay; earlier versions go, and vectors of items that the table has no more."""
        if self.database:
            stored = self.model.stored.items()
            kept = {n: {i: c for i, c in held.items() if i in self.rows} for n, held in stored}
            self.model = replace(self.model, stored=kept)
        words = ["index", "compact", "--yes", "-q"]
        self._changed(self.model.index, words, kill)
        if self.database:
            assert len(self.model.history) == 1, self.model.history

    def rollback(self, number: int, kill: int | None = None) -> None:
        """An earlier version is served again."""
        words = ["index", "rollback", number, "--yes", "-q"]
        if number not in self.model.history:
            told = self.call(*words)
            assert told.code == 2, (told, self.kind, self.database, self.model.history)
            self.check()
            return
        wanted = self.model.history[number]
        if not self.database:
            assert self.call(*words).code == 2
            self.check()
            return
        if set(wanted) != set(self.model.index):
            return  # of before a modality came: another fit's
        self._changed(wanted, words, kill)

    def clean(self) -> None:
        """Nothing in use goes."""
        assert self.call("clean", "--dry-run").code == 0
        self.check()
        assert self.call("clean", "--yes").code == 0
        self.check()
        again = self.call("clean", "--yes", "--json")
        assert json.loads(again.out)["removed"] == []

    def look(self) -> None:
        """Verbs that only look change nothing and see no fault."""
        for words in (["info"], ["index", "info"], ["index", "versions"], ["index", "add"],
                      ["index", "compact"]):  # fmt: skip
            told = self.call(*words, "--dry-run", "--json")
            fine = self.model.bound and (self.database or words[-1] in ("info", "versions"))
            assert told.code == 0 or not fine or words[0] != "info", (words, told)
        self.check()
        told = self.call("doctor", "--system", "--json")
        found = json.loads(told.out)["workspace"]["faults"]
        assert all("a store is possible" in line for line in found), found

    def search(self, item: str, source: str, target: str) -> None:
        """All indexed items are found, those nearest first, by the vectors that are indexed."""
        words = ["search", "--item", item, "--from", source, "--into", target, "-k", 200, "--json"]
        told = self.call(*words)
        index = self.model.index
        if not self.model.bound or source not in index or target not in index:
            assert told.code == 2, told
            return
        if told.code == 2:
            assert item not in index[source] or item not in self.model.stored.get(source, {}), told
            return
        found = {hit["id"] for hit in json.loads(told.out)["lists"][target]}
        assert found | {item} == set(index[target]) | {item}, (found, index[target])

    def switch(self) -> None:
        """The database is installed, or is no more."""
        self.database = not self.database
        with contextlib.suppress(ConjoinError):
            self.check()

    def away(self) -> None:
        """The table is away: verbs that need it are refused, and nothing changes."""
        table = self.folder / "items.parquet"
        table.rename(table.with_suffix(".away"))
        for words in (["embed"], ["fit"], ["index", "add"]):
            told = self.call(*words)
            assert told.code == 2 or not self.model.bound, told
        table.with_suffix(".away").rename(table)
        self.check()


def _content(space: Any) -> Cells:
    return {str(i): int(c) for i, c in zip(space.ids, space.content, strict=True)}


def _same(seen: Model, wanted: Model) -> bool:
    stored = all(seen.stored.get(n, {}) == h for n, h in wanted.stored.items())
    return stored and (set(seen.bound), seen.index) == (set(wanted.bound), wanted.index)


def _card(ws: Workspace, folder: Path, *_: Any) -> None:
    files.write_json(folder / cards.FACTS, {"version": 1, "verdict": "none"})
