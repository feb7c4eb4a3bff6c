"""What an upgrade writes: the plan, the job, a copy of what was in use, and ``conjoin.toml``."""

import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.items.config import Config
from conjoin.project.workspace import CONFIG, Workspace
from conjoin.spaces import Frame, Space, Tokens
from conjoin.storage.files import FORMAT, atomic, read_json, within, write_json

FOLDER = "upgrade"
#: Copies of what was in use before an upgrade, and before a modality was taken out.
BEFORE, REMOVED = "before", "removed"

_ENCODER = re.compile(r"(\s*encoder\s*=\s*)(\"[^\"]*\"|'[^']*')(.*)", re.DOTALL)


def folder_of(ws: Workspace) -> Path:
    """Where upgrades keep their state."""
    return Path(ws.state / FOLDER)


def read_plan(ws: Workspace) -> dict[str, Any]:
    """The last plan.

    Raises
    ------
    ConjoinError : there is none.
    """
    path = folder_of(ws) / "plan.json"
    if not path.exists():
        raise ConjoinError(
            "upgrade", "nothing is planned",
            "run: conjoin upgrade plan --modality NAME --to URI",
        )  # fmt: skip
    return dict(read_json(path, ("modality", "uri", "arms", "recommendation")))


def write_plan(ws: Workspace, value: Mapping[str, Any]) -> None:
    """Keep a plan."""
    write_json(folder_of(ws) / "plan.json", {"version": FORMAT, **value})


def keep_plan(ws: Workspace, value: Mapping[str, Any]) -> None:
    """Keep the plan that is applied beside what was in use before."""
    write_json(folder_of(ws) / BEFORE / "plan.json", {"version": FORMAT, **value})


def applied_plan(ws: Workspace) -> dict[str, Any]:
    """The plan that was applied, though another may have been made since."""
    path = folder_of(ws) / BEFORE / "plan.json"
    return dict(read_json(path, ("modality", "uri", "arms"))) if path.exists() else read_plan(ws)


def read_job(ws: Workspace) -> dict[str, Any] | None:
    """The upgrade that was begun, if any."""
    path = folder_of(ws) / "job.json"
    return dict(read_json(path, ("modality", "uri", "step"))) if path.exists() else None


def write_job(ws: Workspace, value: Mapping[str, Any]) -> None:
    """Say how far an upgrade has come."""
    write_json(folder_of(ws) / "job.json", {"version": FORMAT, **value})


def drop_job(ws: Workspace) -> None:
    """Forget an upgrade that was undone, with its copies."""
    (folder_of(ws) / "job.json").unlink(missing_ok=True)
    shutil.rmtree(folder_of(ws) / BEFORE, ignore_errors=True)


def drop_removed(ws: Workspace) -> None:
    """Forget what was in use before a modality was taken out."""
    shutil.rmtree(folder_of(ws) / REMOVED, ignore_errors=True)


def raw_of(ws: Workspace, name: str, bound: Space, frame: Frame | None) -> Space | None:
    """The encoder's own vectors of indexed rows, in their order; ``None`` where one is gone."""
    stored = ws.store(name).open()
    if stored is None or stored.frame != frame or isinstance(stored.vectors, Tokens):
        return None
    keys = zip(stored.ids.tolist(), stored.parts.tolist(), strict=True)
    at = {key: row for row, key in enumerate(keys)}
    rows = [at.get(key, -1) for key in zip(bound.ids.tolist(), bound.parts.tolist(), strict=True)]
    return None if -1 in rows else stored.take(np.array(rows, dtype=np.int64))


def keep_before(ws: Workspace, name: str = BEFORE) -> None:
    """Copy what is in use, so that it can be put back byte for byte; files are linked if they can.

    Written aside and renamed, so that a copy is whole or absent.
    """
    target = folder_of(ws) / name
    if target.exists():
        return
    aside = target.with_name(f".{name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    current = ws.current
    shutil.copyfile(ws.folder / CONFIG, aside / CONFIG)
    shutil.copyfile(ws.state / "current.json", aside / "current.json")
    for part in ("maps", "index"):
        link_tree(ws.state / current[part], aside / part)
    os.replace(aside, target)


def link_tree(source: Path, target: Path) -> None:
    """Copy a folder of state; files are linked if they can, but for the lock of its writers."""
    locks = shutil.ignore_patterns(".lock")
    shutil.copytree(source, target, copy_function=_link, ignore=locks)


def _link(source: str, target: str) -> None:
    # State files are replaced whole, never written into, so a link stays as it was.
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def before_folder(ws: Workspace, name: str = BEFORE) -> Path:
    """Where the copies lie.

    Raises
    ------
    ConjoinError : there are none.
    """
    folder = folder_of(ws) / name
    if not (folder / "current.json").exists():
        if name == REMOVED:
            raise ConjoinError("--undo", "no modality was taken out", "name one to take out")
        raise ConjoinError("upgrade", "nothing was applied", "run: conjoin upgrade apply")
    return folder


def put_back(ws: Workspace, name: str = BEFORE) -> list[str]:
    """Restore what was in use before, byte for byte; returns what was written."""
    before = before_folder(ws, name)
    named = read_json(before / "current.json", ("maps", "index"))
    written = []
    for part in ("maps", "index"):
        target = within(ws.state, named[part])
        if not target.exists():
            link_tree(before / part, target)
            written.append(str(target.relative_to(ws.folder)))
    for source, target in (
        (before / CONFIG, ws.folder / CONFIG),
        (before / "current.json", ws.state / "current.json"),
    ):
        if target.read_bytes() != source.read_bytes():
            with atomic(target) as file:
                file.write(source.read_bytes())
            written.append(str(target.relative_to(ws.folder)))
    return written


def with_encoder(text: str, name: str, uri: str, path: Path) -> str:
    r"""The text of a ``conjoin.toml`` with another encoder for one modality; all else as it is.

    Raises
    ------
    ConjoinError : the line cannot be found, or the result would say something else.

    Examples
    --------
    >>> print(with_encoder('[modalities.a]\ncolumn = "t"\nencoder = "x:y"  # old', "a", "p:q",
    ...                    Path("conjoin.toml")))
    [modalities.a]
    column = "t"
    encoder = "p:q"  # old
    """
    lines, here, done = text.splitlines(keepends=True), False, 0
    for place, line in enumerate(lines):
        bare = line.strip()
        if bare.startswith("["):
            header = bare.split("#")[0].strip().strip("[]")
            here = header in (f"modalities.{name}", f'modalities."{name}"', f"modalities.'{name}'")
        elif here and (
            found := re.match(r"(\s*encoder\s*=\s*)(\"[^\"]*\"|'[^']*')(.*)", line, re.S)
        ):
            lines[place] = f'{found[1]}"{uri}"{found[3]}'
            done += 1
    made = "".join(lines)
    try:
        old, new = tomllib.loads(text), tomllib.loads(made)
        same = {**old, "modalities": {**old["modalities"], name: {
            **old["modalities"][name], "encoder": uri}}} == new  # fmt: skip
    except (tomllib.TOMLDecodeError, KeyError):
        same = False
    if done != 1 or not same:
        raise ConjoinError(
            f"{path}: modalities.{name}.encoder", "cannot be rewritten in place",
            f'put encoder = "..." on a line of its own under [modalities.{name}]',
        )  # fmt: skip
    return made


def without_modality(text: str, name: str, path: Path) -> str:
    """The text of a ``conjoin.toml`` without a modality and the pairs that name it.

    Raises
    ------
    ConjoinError : its sections cannot be told.
    """
    values = tomllib.loads(text)
    pairs = {
        key
        for key, part in values.get("pairs", {}).items()
        if name in (part["left"], part["right"])
    }
    gone = {f"modalities.{name}"} | {f"pairs.{key}" for key in pairs}
    kept, here = [], True
    for line in text.splitlines(keepends=True):
        if line.strip().startswith("["):
            header = line.split("#")[0].strip().strip("[]").replace('"', "").replace("'", "")
            here = header not in gone
        if here:
            kept.append(line)
    made = "".join(kept)
    wanted = {key: value for key, value in values.items() if key != "pairs"}
    wanted["modalities"] = {k: v for k, v in values["modalities"].items() if k != name}
    if left := {k: v for k, v in values.get("pairs", {}).items() if k not in pairs}:
        wanted["pairs"] = left
    if tomllib.loads(made) != wanted:
        raise ConjoinError(
            f"{path}: modalities.{name}", "cannot be cut out in place",
            f"put it in a section [modalities.{name}] of its own",
        )  # fmt: skip
    return made


def write_config(ws: Workspace, text: str) -> None:
    """Write a ``conjoin.toml`` that was checked to read."""
    Config.of(tomllib.loads(text), ws.folder / CONFIG, text)
    with atomic(ws.folder / CONFIG) as file:
        file.write(text.encode())


def other_workspace(ws: Workspace, text: str) -> Workspace:
    """The workspace as another ``conjoin.toml`` would have it, which is not written."""
    made = Workspace(ws.folder, writes=ws.writes)
    made.config = Config.of(tomllib.loads(text), ws.folder / CONFIG, text)
    return made
