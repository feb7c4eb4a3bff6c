"""A head of a workspace: its vectors and labels, its fit, its card, its predictions."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.display import Tabular
from conjoin.encoders.open import kind_of
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError, nearest
from conjoin.evaluation.few_shot import Curve, few_shot
from conjoin.project.fit.card import FACTS, PAGE
from conjoin.project.fit.stored import current_fit, stale
from conjoin.project.workspace import Workspace
from conjoin.report.cards.transfer import gain_said, head_cautions, head_markdown, sources_of
from conjoin.selection.heads import HeadChoice, Lesson, choose_head
from conjoin.spaces import Space
from conjoin.spaces.frame import unit
from conjoin.storage.digest import digest
from conjoin.storage.files import FORMAT, atomic, read_json, within, write_json
from conjoin.transfer.base import Prototypes
from conjoin.transfer.heads import load_head, save_head

FILE = "head.safetensors"
SUFFIXES = (".csv", ".parquet", ".json")


@dataclass(frozen=True)
class HeadAsk:
    """What ``conjoin head`` was asked.

    Parameters
    ----------
    names : file of class names.
    label : column of classes.
    shots : labelled items a class; empty takes all.
    source, target : modality trained on, and modality it is used on.
    """

    names: Path | None = None
    label: str | None = None
    shots: tuple[int, ...] = ()
    source: str | None = None
    target: str | None = None
    method: str = "auto"
    reject: float | None = None
    seed: int = 0


def read_names(path: Path) -> dict[str, list[str]]:
    """Names of classes with their prompts: one name a line, or JSON of names and lists.

    Raises
    ------
    ConjoinError : the file is missing, empty or no text, or a name is given twice.
    """
    if not path.exists():
        raise ConjoinError(str(path), "no such file", "give one class name a line")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConjoinError(str(path), "is not UTF-8 text", "save it as UTF-8") from None
    if text.lstrip()[:1] in ("{", "["):
        return _named_by_json(path, text)
    found: dict[str, int] = {}
    for place, line in enumerate(text.splitlines(), 1):
        name = line.strip()
        if name and name in found:
            raise ConjoinError(
                str(path), f"line {place} repeats {name!r} of line {found[name]}", "name it once"
            )
        if name:
            found[name] = place
    return _enough(path, {name: [name] for name in found})


def _named_by_json(path: Path, text: str) -> dict[str, list[str]]:
    def once(lines: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in lines]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ConjoinError(str(path), f"{twice[0]!r} is given twice", "name it once")
        return dict(lines)

    try:
        found = json.loads(text, object_pairs_hook=once)
    except ConjoinError:
        raise
    except ValueError as error:
        raise ConjoinError(str(path), f"is not JSON: {error}", "fix it") from None
    if isinstance(found, list):
        found = once([(str(name), str(name)) for name in found])
    named = {}
    for name, prompts in found.items():
        listed = [prompts] if isinstance(prompts, str) else prompts
        if (
            not isinstance(listed, list)
            or not listed
            or not all(isinstance(p, str) and p.strip() for p in listed)
        ):
            raise ConjoinError(
                str(path), f"{name!r} has {prompts!r}", "give a prompt, or a list of prompts"
            )
        named[str(name)] = listed
    return _enough(path, named)


def _enough(path: Path, named: dict[str, list[str]]) -> dict[str, list[str]]:
    if len(named) < 2:
        said = "holds no names" if not named else f"holds one name, {next(iter(named))!r}"
        raise ConjoinError(str(path), said, "name two classes or more")
    return named


@dataclass(frozen=True, eq=False)
class Rows:
    """One vector an item: the mean of its parts.

    Parameters
    ----------
    ids : ``[n]``.
    x : ``[n, d]`` as an inner product scores them.
    """

    ids: np.ndarray
    x: np.ndarray
    frame: Any


def rows_of(space: Space) -> Rows:
    """The items of a space, in the order in which they come."""
    space = space.pooled()
    ids, first, owner = np.unique(space.ids, return_index=True, return_inverse=True)
    if len(ids) == len(space):
        x = np.concatenate([space.frame.item(block) for _, block in space.blocks()])
        return Rows(space.ids.astype(str), x, space.frame)
    sums = np.zeros((len(ids), space.dim), np.float32)
    for start, block in space.blocks():
        np.add.at(sums, owner[start : start + len(block)], space.frame.item(block))
    order = np.argsort(first, kind="stable")
    return Rows(ids[order].astype(str), unit(sums[order]), space.frame)


def bound_rows(ws: Workspace, name: str) -> Rows:
    """A bound modality's items where the binding in use puts them.

    Raises
    ------
    ConjoinError : nothing is fitted, it is not bound, or its encoder has changed.
    """
    binding = current_fit(ws).binding
    if name not in binding.maps:
        raise ConjoinError("modality", f"{name!r} is not bound", nearest(name, binding.maps))
    space = ws.space(name)
    if space.frame != binding.maps[name].source:
        raise stale(name)
    return rows_of(binding.bind(name, space))


def prototypes(ws: Workspace, named: Mapping[str, Sequence[str]]) -> Prototypes:
    """Names as the bound text modality reads them, in the frame of the binding.

    Raises
    ------
    ConjoinError : no bound modality reads text.
    """
    binding = current_fit(ws).binding
    readers = [n for n in binding.maps if kind_of(ws.modality(n).uri) == "text"]
    if not readers:
        raise ConjoinError("--names", "no bound modality reads text", "bind one, or give --label")
    name = binding.hub if binding.hub in readers else readers[0]
    encoder = ws.encoder(name)
    if ws.frame(name) != binding.maps[name].source:
        raise stale(name)
    labels = [label for label, prompts in named.items() for _ in prompts]
    words = [prompt for prompts in named.values() for prompt in prompts]
    made = encode(encoder, words)
    if made.failed:
        place, why = next(iter(made.failed.items()))
        raise ConjoinError("--names", f"{words[place]!r}: {why}", "fix that name")
    space = Space(np.arange(len(words)).astype(str), made.vectors, encoder.frame)
    bound = binding.bind(name, ws.joined(name, space.pooled()))
    return Prototypes(np.array(labels), bound.frame.item(np.asarray(bound.vectors)))


@dataclass(frozen=True, eq=False)
class Question:
    """What a head is fitted to and asked, read from a workspace."""

    ask: HeadAsk
    train: Lesson
    test: Lesson
    named: Mapping[str, Sequence[str]]
    source: str
    target: str
    frame: Any
    bound: bool
    unlabelled: int

    @property
    def key(self) -> str:
        """A hash of everything that decides the head."""
        a = self.ask
        names = None if self.train.prototypes is None else self.train.prototypes.vectors
        return digest([
            "by nearness", a.label, list(a.shots), a.method, a.reject, a.seed, self.source,
            self.target, self.frame.id, {k: list(v) for k, v in self.named.items()},
            *(digest(np.ascontiguousarray(v).tobytes()) for v in (
                self.train.x, self.test.x, np.array("" if names is None else names))),
            [self.train.y.tolist(), self.test.y.tolist()],
        ])  # fmt: skip


def question(ws: Workspace, ask: HeadAsk) -> Question:
    """Vectors, labels and names, or one clear refusal."""
    if ask.reject is not None and not 0 <= ask.reject < 1:
        raise ConjoinError("--reject", f"{ask.reject:g}", "give a rate from 0 to below 1")
    named = read_names(ask.names) if ask.names else {}
    source, target = _views(ws, ask, bool(named))
    bound = bool(named) or source != target
    labels, lost = classes_in(ws, ask.label)
    if named and labels:
        _check_names(ask, set(labels.values()), named)
    names = prototypes(ws, named) if named else None
    rows = {n: _rows(ws, n, bound) for n in dict.fromkeys((source, target))}
    groups = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))

    def lesson(name: str, test: bool) -> Lesson:
        own = rows[name]
        side = ws.split.is_test(own.ids) if test else ws.split.is_train(own.ids)
        kept = np.flatnonzero(side & np.isin(own.ids, list(labels)))
        ids = own.ids[kept].tolist()
        y = np.array([labels[i] for i in ids], dtype=str)
        return Lesson.of(own.x[kept], y, names, np.array([groups[i] for i in ids], dtype=str))

    train, test = lesson(source, False), lesson(target, True)
    if ask.label:
        _check_sides(ask, train, test, source, target)
    if ask.reject is not None and not ask.label:
        raise ConjoinError("--reject", "a threshold needs labelled items", "give --label COLUMN")
    return Question(ask, train, test, named, source, target, rows[target].frame, bound, lost)


def _rows(ws: Workspace, name: str, bound: bool) -> Rows:
    return bound_rows(ws, name) if bound else rows_of(ws.space(name))


def _check_sides(ask: HeadAsk, train: Lesson, test: Lesson, source: str, target: str) -> None:
    where = f"column {ask.label!r}"
    if not len(train) or not len(test):
        found = f"{len(train)} labelled items of {source} to train on, {len(test)} of {target} held"
        raise ConjoinError(where, found, "label more items, or hold out others")
    if len(np.unique(train.y)) < 2:
        raise ConjoinError(
            where, f"all {len(train)} training items are {str(train.y[0])!r}, one class",
            "label items of two classes or more",
        )  # fmt: skip
    if not np.isin(test.y, train.y).any():
        raise ConjoinError(
            where, f"{len(np.unique(train.y))} classes for {len(train)} training items, and none "
            f"of them is that of any of the {len(test)} held-out items",
            "name a column whose values repeat",
        )  # fmt: skip
    if test.groups is not None and len(np.unique(test.groups)) < 2:
        raise ConjoinError(where, "held-out items are of one group", "hold out more groups")


def _check_names(ask: HeadAsk, classes: set[str], named: Mapping[str, Sequence[str]]) -> None:
    if classes.isdisjoint(named):
        raise ConjoinError(
            str(ask.names), f"none of its {len(named)} names is a class of {ask.label!r}",
            f"name classes as the column does, such as {min(classes)!r}",
        )  # fmt: skip


def _views(ws: Workspace, ask: HeadAsk, named: bool) -> tuple[str, str]:
    """The modality trained on and the one asked."""
    for name in (ask.source, ask.target):
        if name is not None:
            ws.modality(name)
    known = [m.name for m in ws.modalities]
    if named:
        known = list(current_fit(ws).binding.maps)
    seen = [n for n in known if kind_of(ws.modality(n).uri) != "text"] or known
    target = ask.target or ask.source or seen[0]
    return ask.source or target, target


def classes_in(ws: Workspace, column: str | None) -> tuple[dict[str, str], int]:
    """The class of each item that a column labels, and how many items have none.

    Raises
    ------
    ConjoinError : there is no such column, it is empty, or it holds no classes.
    """
    if column is None:
        return {}, 0
    values = ws.items.column(column)
    kept = [(str(i), v) for i, v in zip(ws.items.ids, values, strict=True) if v is not None]
    where = f"column {column!r}"
    if not kept:
        raise ConjoinError(where, f"all {len(values)} cells are missing", "name another column")
    if all(isinstance(v, float) for _, v in kept) and not all(v.is_integer() for _, v in kept):
        raise ConjoinError(
            where, "holds numbers and no classes", "cut it into classes, or use conjoin fuse"
        )
    if any(isinstance(v, list | dict | bytes) for _, v in kept):
        raise ConjoinError(where, "holds lists or bytes", "name a column of one value a cell")
    if all(isinstance(v, float) for _, v in kept):
        kept = [(i, int(v)) for i, v in kept]
    return {i: str(v) for i, v in kept}, len(values) - len(kept)


@dataclass(frozen=True, eq=False, repr=False)
class MadeHead(Tabular):
    """A head where it lies, with the facts of its card."""

    folder: Path
    facts: dict[str, Any]
    fresh: bool

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per head and number of labels, the one chosen marked."""
        return ("shots", "head", "accuracy", "low", "high"), [
            (
                "all" if p["shots"] is None else p["shots"],
                ("* " if p["chosen"] else "  ") + p["method"], p["value"], p["low"], p["high"],
            )
            for p in self.facts["points"]
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {**self.facts, "folder": str(self.folder), "fresh": self.fresh}


def fit_head(
    ws: Workspace, ask: HeadAsk, report: Callable[[str], None] = lambda _: None
) -> MadeHead:
    """Fit a head, write it and its card, and make it the one in use.

    The same inputs give the same folder: a repeated call only opens it.
    """
    asked = question(ws, ask)
    folder = ws.state / "heads" / asked.key
    fresh = not (folder / FACTS).exists()
    if fresh:
        curve = _curve(asked, report)
        choice = curve.choice if curve else _named_only(asked)
        facts = _facts(asked, choice, curve)
        about = {
            "frame": asked.frame.id, "target": asked.target, "bound": asked.bound,
            "method": choice.method,
        }  # fmt: skip
        save_head(choice.head, folder / FILE, about)
        with atomic(folder / PAGE) as file:
            file.write(head_markdown(facts).encode())
        write_json(folder / FACTS, facts)
    write_json(ws.state / "heads" / "current.json", {"version": FORMAT, "head": folder.name})
    return MadeHead(folder, read_json(folder / FACTS), fresh)


def _curve(asked: Question, report: Callable[[str], None]) -> Curve | None:
    a = asked.ask
    if a.label is None:
        return None
    return few_shot(
        asked.train, asked.test, shots=a.shots or (None,), method=a.method, reject=a.reject,
        alike=asked.source == asked.target, seed=a.seed, report=report,
    )  # fmt: skip


def _named_only(asked: Question) -> HeadChoice:
    """A head of names alone; those that learn from labels have nothing to learn from."""
    t = asked.train
    return choose_head(t.x, t.y, prototypes=t.prototypes, method=asked.ask.method, seed=0)


def _facts(asked: Question, choice: HeadChoice, curve: Curve | None) -> dict[str, Any]:
    from conjoin.project.evaluation.evaluate import versions

    a = asked.ask
    found = curve.to_json() if curve else {"points": [], "rejection": None, "notes": [],
                                           "tried": [], "skipped": {}}  # fmt: skip
    notes = list(found["notes"])
    if asked.unlabelled:
        notes.append(f"{asked.unlabelled} items have no {a.label} and were left out")
    verdict = "nothing was measured"
    if curve:
        verdict = gain_said(choice.method, found["gain"], "accuracy on held-out items")
    space = f"the binding's ({asked.frame.label})" if asked.bound else asked.frame.label
    facts = {
        "version": FORMAT, "method": choice.method, "fields": dict(choice.fields),
        "what": a.label or "names", "source": asked.source, "target": asked.target,
        "frame": asked.frame.id, "space": space, "seed": a.seed,
        "classes": list(map(str, choice.head.classes)),
        "names": sum(map(len, asked.named.values())), "train": len(asked.train),
        "test": len(asked.test), **found, "notes": notes, "verdict": verdict,
        "versions": versions(),
        "sources": sources_of("head", [choice.method, *(p["method"] for p in found["points"]
                                                        if p["method"] != "chance")]),
    }  # fmt: skip
    return {**facts, "cautions": head_cautions(facts)}


def check_file(path: Path) -> None:
    """Refuse a file of predictions by its suffix.

    Raises
    ------
    ConjoinError : it is none of :data:`SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise ConjoinError(
            "--apply", f"{path.name} is none of them", "name .csv, .parquet or .json"
        )


def predict_to(ws: Workspace, path: Path, target: str | None = None) -> int:
    """Write the head's answer for every item of a modality; returns how many.

    Raises
    ------
    ConjoinError : no head is in use, vectors are of another frame than it was fitted in, or the
        file's suffix is none of :data:`SUFFIXES`.
    """
    check_file(path)
    current = ws.state / "heads" / "current.json"
    if not current.exists():
        raise ConjoinError("--apply", "no head is fitted yet", "give --names or --label too")
    folder = within(ws.state / "heads", read_json(current, ["head"])["head"])
    head, about = load_head(folder / FILE)
    name = target or about["target"]
    ws.modality(name)
    rows = _rows(ws, name, about["bound"])
    if rows.frame.id != about["frame"]:
        raise ConjoinError(
            f"modality {name}", "is not in the frame the head was fitted in",
            "run conjoin head with --names or --label again",
        )  # fmt: skip
    p = head.predict_proba(rows.x)
    found = [None if v is None else str(v) for v in head.predict(rows.x).tolist()]
    held = ws.split.is_test(rows.ids)
    write_table(path, {
        "id": rows.ids.tolist(), "prediction": found,
        "probability": [round(float(v), 6) for v in p.max(axis=1)],
        "likeliest": [str(v) for v in np.asarray(head.classes)[p.argmax(axis=1)]],
        "held_out": held.tolist(),
    })  # fmt: skip
    return len(rows.ids)


def write_table(path: Path, columns: Mapping[str, list[Any]]) -> None:
    """Columns as CSV, Parquet or JSON, by the file's suffix."""
    with atomic(path) as file:
        if path.suffix == ".parquet":
            import pyarrow as pa
            from pyarrow import parquet

            parquet.write_table(pa.table(dict(columns)), file)
            return
        lines = [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
        if path.suffix == ".json":
            file.write(json.dumps(lines, ensure_ascii=False, indent=1).encode())
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, list(columns))
        writer.writeheader()
        writer.writerows(lines)
        file.write(text.getvalue().encode())
