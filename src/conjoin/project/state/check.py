"""Every file of a workspace's state compared with what it was when it was written."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conjoin.errors import ConjoinError
from conjoin.project.fit.stored import check_whole
from conjoin.project.search.index import problem_of
from conjoin.project.workspace import Workspace
from conjoin.retrieval.index.integrity import faults
from conjoin.spaces.store import SpaceStore
from conjoin.storage.files import check_arrays, read_json


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file of the state, and what puts it right."""

    where: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.found}; {self.remedy}"


def problems(ws: Workspace) -> list[Problem]:
    """What is torn, rotten, missing or of another workspace; all bytes are read."""
    found = [*_encoders(ws), *_spaces(ws), *_fit(ws)]
    return list(dict.fromkeys(found))


def index_problems(ws: Workspace) -> list[Problem]:
    """What is wrong with the index in use."""
    current = ws.current
    folder = ws.state / current["index"]
    try:
        bad = faults(folder)
    except FileNotFoundError:
        return [Problem(_shown(ws, folder), "is missing", "run: conjoin fit")]
    except ConjoinError as error:
        return [_said(ws, error, "run: conjoin fit")]
    if bad:
        return [Problem(_shown(ws, f.path), f.found, f.remedy) for f in bad]
    fit = ws.state / current["maps"]
    rows = read_json(fit / "fit.json", ["corrections"]).get("rows")
    whole = problem_of(folder, rows, read_json(fit / "binding.json", ["frame"])["frame"]["id"])
    return [Problem(_shown(ws, folder), whole, "run: conjoin fit")] if whole else []


def _shown(ws: Workspace, path: Path | str) -> str:
    return str(path).replace(f"{ws.folder}/", "", 1)


def _said(ws: Workspace, error: ConjoinError, remedy: str | None = None) -> Problem:
    return Problem(_shown(ws, error.where), error.found, remedy or error.remedy)


def _encoders(ws: Workspace) -> Iterator[Problem]:
    again = "run: conjoin clean, then: conjoin embed"
    for path in sorted((ws.state / "encoders").glob("*/*")):
        try:
            if path.suffix == ".json":
                read_json(path, ["state"])
            elif path.suffix == ".safetensors":
                check_arrays(path)
        except ConjoinError as error:
            yield _said(ws, error, again)


def _spaces(ws: Workspace) -> Iterator[Problem]:
    again = "run: conjoin clean, then: conjoin embed"
    for folder in sorted((ws.state / "spaces").glob("*")):
        try:
            store = SpaceStore.at(folder)
            store.open()
            store.pending()
        except FileNotFoundError:
            continue  # a job that has published nothing yet
        except ConjoinError as error:
            yield _said(ws, error, again)
            continue
        for fault in store.faults():
            yield _said(ws, fault, again)


def _fit(ws: Workspace) -> Iterator[Problem]:
    if not (ws.state / "current.json").exists():
        return
    again = "run: conjoin clean, then: conjoin fit"
    try:
        current = ws.current
        check_whole(ws.state / current["maps"], current.get("fit"))
    except FileNotFoundError as error:
        yield Problem(_shown(ws, str(error.filename)), "is missing", again)
        return
    except ConjoinError as error:
        yield _said(ws, error, again)
        return
    yield from index_problems(ws)
