"""Tasks by shape, what a format promises, and errors that name the file and the line."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from conjoin.errors import ConjoinError, nearest


@dataclass(frozen=True)
class Cells:
    """Cells of one kind by id: texts, or pictures as paths or bytes."""

    kind: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Rank:
    """For each query, order a corpus; judgements say what is relevant.

    Parameters
    ----------
    name : what the task is called, mostly its folder.
    queries, corpus : cells by id; None where only judgements and runs are published.
    relevance : by query, by document, a grade; above 0 is relevant.
    runs : by name, by query, by document, a score of a system that already ran.
    groups : by query, what is resampled together; a query alone by default.
    tags : by query, the part of the breakdown it belongs to.
    notes : what was left out on reading, in sentences.
    """

    name: str
    relevance: Mapping[str, Mapping[str, int]]
    queries: Cells | None = None
    corpus: Cells | None = None
    runs: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    shape: str = "rank"


@dataclass(frozen=True)
class Foil:
    """One picture, a caption that is true of it and one that is not."""

    image: str
    true: str
    false: str
    tag: str = ""


@dataclass(frozen=True)
class Contrast:
    """For each picture, score its caption above a foil."""

    name: str
    foils: tuple[Foil, ...]
    notes: tuple[str, ...] = ()
    shape: str = "contrast"


@dataclass(frozen=True)
class Generate:
    """Texts of systems beside references, by item; and what they were made from, where it is."""

    name: str
    references: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...] = ()
    shape: str = "generate"
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Square:
    """Two pictures and two captions of the same words; picture i belongs to caption i."""

    images: tuple[str, str]
    captions: tuple[str, str]
    tag: str = ""


@dataclass(frozen=True)
class Crossed:
    """For two pictures and two captions, score both true pairs above both false ones."""

    name: str
    squares: tuple[Square, ...]
    notes: tuple[str, ...] = ()
    shape: str = "contrast"


@dataclass(frozen=True)
class Question:
    """What is shown, options of one kind, and the place of the right one.

    Parameters
    ----------
    text : what is asked; the same for all questions of a task of matching, and not embedded.
    kind, shown : the kind and the cell of what is shown.
    option_kind, options : those among which one is chosen.
    right : its place, from 0.
    tag : the part of the breakdown it belongs to: ``A>B`` where several directions are asked.
    """

    text: str
    kind: str
    shown: str
    option_kind: str
    options: tuple[str, ...]
    right: int
    tag: str = ""


@dataclass(frozen=True)
class Choose:
    """For each question, choose one of several options."""

    name: str
    questions: tuple[Question, ...]
    notes: tuple[str, ...] = ()
    shape: str = "choice"


@dataclass(frozen=True)
class Probe:
    """Cells of known class to train a simple classifier on, and cells to test it on.

    Parameters
    ----------
    labels : by item, its class; of train and test, whose items differ.
    """

    name: str
    train: Cells
    test: Cells
    labels: Mapping[str, str]
    notes: tuple[str, ...] = ()
    shape: str = "probe"


Task = Rank | Contrast | Crossed | Choose | Probe | Generate


@runtime_checkable
class Format(Protocol):
    """A published layout; its catalogue rows are of kind ``format``."""

    #: What people call it.
    title: str
    #: The files by which it is known, for messages.
    looks_for: str

    def recognises(self, path: Path) -> bool:
        """Whether a path is laid out so, whole or in part; reads no more than it must."""
        ...

    def open(self, path: Path, split: str = "test") -> Task:
        """The task of a path.

        Raises
        ------
        ConjoinError : a file or field is missing; it names the file and the line.
        """
        ...

    def write(self, task: Any, path: Path) -> None:
        """Write a task in this layout, so that :meth:`open` gives it again."""
        ...


def lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each record of a JSON-lines file, and ``file:line`` of where it stands.

    Raises
    ------
    ConjoinError : the file is missing, or a line is no JSON object.
    """
    with lines_of(path) as file:
        for number, line in enumerate(file, 1):
            where = f"{path}:{number}"
            if line.strip():
                yield where, _record(where, line)


def _record(where: str, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ConjoinError(where, f"is no JSON ({error})", "write one object a line") from None
    if not isinstance(found, dict):
        raise ConjoinError(where, f"is a {type(found).__name__}", "write one object a line")
    return found


def readable(path: Path) -> Path:
    """The path, where it is a file.

    Raises
    ------
    ConjoinError : it is not; a near name beside it is offered.
    """
    if path.is_file():
        return path
    beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    raise ConjoinError(str(path), "is not there", nearest(path.name, beside))


def read(path: Path) -> Any:
    """A JSON file.

    Raises
    ------
    ConjoinError : it is missing or no JSON.
    """
    try:
        return json.loads(readable(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConjoinError(str(path), f"is no JSON ({error})", "fix the file") from None


def taken(where: str, record: Any, name: str) -> Any:
    """A field of a record.

    Raises
    ------
    ConjoinError : it is missing; a near name in the record is offered.
    """
    if not isinstance(record, Mapping):
        raise ConjoinError(where, f"is a {type(record).__name__}", f"give an object with {name!r}")
    if name not in record:
        raise ConjoinError(where, f"no field {name!r}", f"its fields: {nearest(name, record)}")
    return record[name]


def listed(where: str, value: Any) -> list[Any]:
    """A value that must be a list.

    Raises
    ------
    ConjoinError : it is something else.
    """
    if not isinstance(value, list):
        raise ConjoinError(where, f"is a {type(value).__name__}", "write a list")
    return value


@contextmanager
def lines_of(path: Path, newline: str | None = None) -> Iterator[Iterator[str]]:
    """The lines of a text file, where it is one.

    Raises
    ------
    ConjoinError : it is missing, or a line is not UTF-8.
    """
    with readable(path).open(encoding="utf-8", newline=newline) as file:
        try:
            yield file
        except UnicodeDecodeError as error:
            raise ConjoinError(
                str(path), f"is not UTF-8 at byte {error.start}", "write it in UTF-8"
            ) from None


def text_of(where: str, record: Any, name: str) -> str:
    """A field that must be a text.

    Raises
    ------
    ConjoinError : it is missing or something else.
    """
    value = taken(where, record, name)
    if not isinstance(value, str):
        raise ConjoinError(where, f"{name!r} is a {type(value).__name__}", "write a text")
    return value


def grade(where: str, value: str) -> int:
    """A relevance grade: a whole number.

    Raises
    ------
    ConjoinError : it is not.
    """
    try:
        return int(value)
    except ValueError:
        raise ConjoinError(where, f"score {value!r}", "write a whole number") from None


def check_judged(name: str, found: Rank) -> Rank:
    """The task, where its judgements speak of queries and documents that are there.

    Judgements of other queries or documents are left out and counted in a note.

    Raises
    ------
    ConjoinError : no judgement of a relevant document is left.
    """
    if found.queries is None or found.corpus is None:
        return found
    asked, shown = found.queries.values, found.corpus.values
    kept = {
        query: {d: g for d, g in judged.items() if d in shown}
        for query, judged in found.relevance.items()
        if query in asked
    }
    kept = {query: judged for query, judged in kept.items() if any(g > 0 for g in judged.values())}
    if not kept:
        raise ConjoinError(name, "no judgement names a query and a document", "check the ids")
    notes = list(found.notes)
    lost = sum(map(len, found.relevance.values())) - sum(map(len, kept.values()))
    if lost:
        notes.append(f"{lost} judgements left out: their query, document or answer is not there")
    return Rank(
        found.name, kept, found.queries, found.corpus, found.runs, found.groups, found.tags,
        tuple(notes),
    )  # fmt: skip
