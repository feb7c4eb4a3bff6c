"""Small workspaces and the command line called as a person calls it, for tests of both."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conjoin.cli.main import main

#: A fast modality a column; ``c`` is the one that tests add later.
MODALITIES = {
    "text": ("name", "builtin:chargram"),
    "a": ("a", "builtin:vector"),
    "b": ("b", "builtin:vector"),
    "c": ("c", "builtin:vector"),
}


@dataclass(frozen=True)
class Told:
    """What a call printed and returned."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


class Caller:
    """Runs ``conjoin`` within the test's process."""

    def __init__(self, monkeypatch: Any, capsys: Any):
        self._patch, self._capsys = monkeypatch, capsys

    def __call__(self, *words: Any) -> Told:
        self._capsys.readouterr()
        self._patch.setattr(sys, "argv", ["conjoin", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = self._capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Told(code, said.out, said.err)

    def good(self, *words: Any) -> Told:
        """A call that must end well."""
        told = self(*words)
        assert told.code == 0, told.err
        return told

    def bad(self, folder: Path, *words: Any, says: tuple[str, ...]) -> Told:
        """A call that must be refused in one line, with these words in it, writing nothing."""
        before = snapshot(folder)
        told = self(*words)
        assert told.code == 2, (told.code, told.out, told.err)
        assert told.out == ""
        assert told.err.count("\n") == 1, told.err
        assert told.err.startswith("conjoin"), told.err
        for word in says:
            assert word in told.err, told.err
        assert snapshot(folder) == before
        as_json = self(*words, "--json")
        error = as_json.json["error"]
        assert as_json.code == 2
        assert set(error) == {"where", "found", "remedy"}
        assert all(error.values())
        assert snapshot(folder) == before
        return told


def table(n: int = 60, seed: int = 0) -> dict[str, list]:
    """Items of one hidden cause: a name and three vectors."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 4))
    mixing = np.random.default_rng(99)  # the same for every seed
    columns: dict[str, list] = {
        "id": [f"i{row}" for row in range(n)],
        "name": [f"{'red' if v[0] > 0 else 'blue'} thing {row}" for row, v in enumerate(z)],
    }
    for name, dim in (("a", 8), ("b", 6), ("c", 5)):
        columns[name] = (z @ mixing.normal(size=(4, dim))).astype(np.float32).tolist()
    return columns


def write_table(folder: Path, columns: dict[str, list], name: str = "items.parquet") -> Path:
    """Write a Parquet table."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / name)
    return folder / name


def config(folder: Path, modalities: Any = ("text", "a", "b"), more: str = "") -> None:
    """Write a ``conjoin.toml``; a modality is a name of :data:`MODALITIES` or a name, column and
    encoder."""
    lines = ["version = 1", "[items]", 'table = "items.parquet"', 'id = "id"']
    for entry in modalities:
        name, column, uri = (entry, *MODALITIES[entry]) if isinstance(entry, str) else entry
        shown = json.dumps(column)
        lines += [f'[modalities."{name}"]', f"column = {shown}", f'encoder = "{uri}"']
    lines += ["[split]", "test = 0.25", more]
    (folder / "conjoin.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def shelf(folder: Path, modalities: Any = ("text", "a", "b"), n: int = 60, more: str = "") -> Path:
    """A folder with a table and its configuration, nothing made yet."""
    write_table(folder, table(n))
    config(folder, modalities, more)
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, whole; but for locks, which hold nothing."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".lock"):
                continue
            path = Path(where) / name
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found
