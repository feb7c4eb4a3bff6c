"""Take a head of a modality to another domain that has no labels, or say why not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.catalogue import find
from conjoin.display import Tabular
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError
from conjoin.evaluation.verdict import Arms, judge
from conjoin.items import Items
from conjoin.items.config import Config
from conjoin.project.transfer.heads import check_file, classes_in, rows_of, write_table
from conjoin.project.workspace import Workspace
from conjoin.selection.heads import choose_head
from conjoin.storage.files import write_json
from conjoin.transfer.adaptation.base import Source, shares
from conjoin.transfer.adaptation.shift import Shift, answered, collapsed, shift_test
from conjoin.transfer.heads import save_head

#: What a person must know who has no labels of the target.
UNKNOWN = (
    "without labels of the target no one can tell whether answers became better: a shift of the "
    "vectors and classes that are not as common there look alike"
)
#: Entries of a transport plan that are still quick and small.
LARGEST = 25_000_000
HEAD, CARD = "head.safetensors", "adapted.json"


@dataclass(frozen=True)
class AdaptAsk:
    """What ``conjoin model adapt`` was asked.

    Parameters
    ----------
    modality : whose vectors the head reads.
    table : of the target; a column of the modality's name there holds its cells.
    label : column of classes of the workspace's items.
    method : a row of kind ``adaptation``; ``auto`` is ``transport`` where skada is installed and
        rows are few enough, else ``match-deviation``.
    score : column of the target's classes, which are used to score and for nothing else.
    apply : file of the answers for the target's rows.
    out : folder of the adapted head.
    force : adapt although no shift was found.
    """

    modality: str
    table: Path
    label: str
    method: str = "auto"
    score: str | None = None
    apply: Path | None = None
    out: Path | None = None
    force: bool = False
    seed: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class Adapted(Tabular):
    """What was found and made.

    Parameters
    ----------
    arms : ``unchanged`` and adapted on the target's labels, where it has some.
    shift : between the source's and the target's vectors.
    shares : by class, the share of the target's rows answered so: before, after, and the share of
        the source's labels.
    verdict : in a sentence.
    folder : of the adapted head; nothing where none was saved.
    """

    arms: Arms | None
    shift: Shift
    shares: Mapping[str, tuple[float, float, float]]
    verdict: str
    folder: Path | None
    notes: tuple[str, ...]

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per class: its share of answers before and after, and of the source's labels."""
        return ("class", "before", "after", "source"), [
            (name, *share) for name, share in self.shares.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        arms = [] if self.arms is None else self.arms.to_json()["arms"]
        keys = ("before", "after", "source")
        return {
            "arms": arms, "verdict": self.verdict, "shift": asdict(self.shift),
            "shares": {c: dict(zip(keys, s, strict=True)) for c, s in self.shares.items()},
            "unknown": None if arms else UNKNOWN,
            "folder": None if self.folder is None else str(self.folder), "notes": list(self.notes),
        }  # fmt: skip


def chosen_method(name: str, plan: int) -> str:
    """What ``auto`` stands for: no label of the target can choose, so the claims' verdicts do.

    Parameters
    ----------
    plan : entries of a transport plan between the source and the target.
    """
    if name != "auto":
        return name
    return "transport" if find_spec("skada") and plan <= LARGEST else "match-deviation"


@dataclass(frozen=True, eq=False)
class _Domains:
    """Source rows, fitted to and not, and the target's."""

    x: np.ndarray
    y: np.ndarray
    held: np.ndarray
    target: np.ndarray
    ids: list[str]
    truth: np.ndarray | None
    frame: Any
    groups: np.ndarray


def adapt_modality(
    ws: Workspace, ask: AdaptAsk, report: Callable[[str], None] = lambda _: None
) -> Adapted:
    """Test for a shift, adapt, refuse a collapse, save.

    Raises
    ------
    ConjoinError : the table or its column is not there, it is empty or has too few rows, labels
        are of one class, or the answers collapse.
    """
    if ask.method != "auto":
        find("adaptation", ask.method)
    if ask.apply is not None:
        check_file(ask.apply)
    folder = ask.out or ws.folder / f"adapted-{ask.modality}"
    if folder.exists():
        raise ConjoinError(str(folder), "is there already", "name another folder: --out DIR")
    notes: list[str] = []
    d = _read(ws, ask, notes, report)
    shift = shift_test(d.x[~d.held], d.target, seed=ask.seed)
    report("fitting a head to the labelled items")
    chosen = choose_head(d.x[~d.held], d.y[~d.held], groups=d.groups[~d.held], method="logistic",
                         seed=ask.seed)  # fmt: skip
    head = chosen.head
    before = shares(head, d.target)
    if not shift.found and not ask.force:
        verdict = f"use unchanged: no shift was found (p = {shift.p:.2f})"
        return Adapted(None, shift, _table(head, d, before, before), verdict, None, tuple(notes))
    ask = replace(ask, method=chosen_method(ask.method, len(d.x) * len(d.target)))
    method = find("adaptation", ask.method).make()
    report(f"adapting by {ask.method} to {len(d.target)} rows")
    made = method.fit(head, d.target, source=Source.of(d.x, d.y, d.held), seed=ask.seed)
    after = shares(made, d.target)
    if collapsed(before, after):
        largest = int(after.argmax())
        raise ConjoinError(
            f"--method {ask.method}",
            f"refused: predicted shares collapsed ({after[largest]:.2f} in "
            f"{str(made.classes[largest])!r}; {answered(after):.1f} classes answered, "
            f"{answered(before):.1f} before)", "take another method, or label a few rows",
        )  # fmt: skip
    arms = _judged(head, made, d, ask)
    verdict = arms.verdict if arms else f"adapted by {ask.method} (p of no shift = {shift.p:.3f})"
    _save(folder, made, d, ask, verdict)
    if ask.apply is not None:
        _apply(ask.apply, made, d)
    return Adapted(arms, shift, _table(head, d, before, after), verdict, folder, tuple(notes))


def _read(
    ws: Workspace, ask: AdaptAsk, notes: list[str], report: Callable[[str], None]
) -> _Domains:  # fmt: skip
    modality = ws.modality(ask.modality)
    rows = rows_of(ws.space(ask.modality))
    labels, lost = classes_in(ws, ask.label)
    kept = np.flatnonzero(np.isin(rows.ids, list(labels)))
    if lost:
        notes.append(f"{lost} items have no {ask.label} and were left out")
    ids = rows.ids[kept].tolist()
    y = np.array([labels[i] for i in ids], dtype=str)
    held = ws.split.is_test(rows.ids[kept])
    if len(np.unique(y[~held])) < 2:
        raise ConjoinError(f"column {ask.label!r}", "one class", "name a column of two or more")
    groups = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))
    target, places, truth = _target(ws, ask, modality.column, notes, report)
    return _Domains(
        rows.x[kept], y, held, target, places, truth, rows.frame,
        np.array([groups[i] for i in ids], dtype=str),
    )  # fmt: skip


def _target(
    ws: Workspace, ask: AdaptAsk, column: Any, notes: list[str], report: Callable[[str], None]
) -> tuple[np.ndarray, list[str], np.ndarray | None]:
    """Vectors of the target's cells by the modality's own encoder, ids, and classes to score by."""
    part: dict[str, Any] = {"column": column, "encoder": ws.modality(ask.modality).uri}
    table = ask.table.absolute()
    items = Items.load(
        Config.of({"items": {"table": str(table)}, "modalities": {ask.modality: part}}),
        table.parent,
    )
    seen: dict[str, Any] = {}
    for (item, *_), cell in items.cells(column, ws.kind(ask.modality)):
        seen.setdefault(str(item), cell)
    if not seen:
        raise ConjoinError(str(ask.table), f"column {column!r} has no cell", "fill some of them")
    report(f"reading {len(seen)} cells of the target")
    found = encode(ws.encoder(ask.modality), list(seen.values()))
    if found.failed:
        notes.append(f"{len(found.failed)} of {len(seen)} cells of the target could not be read")
    ids = [item for place, item in enumerate(seen) if place not in found.failed]
    vectors = np.asarray(found.vectors, np.float32)
    frame = ws.frame(ask.modality)
    truth = None
    if ask.score is not None:
        values = dict(zip(map(str, items.ids), items.column(ask.score), strict=True))
        truth = np.array([str(values[i]) for i in ids], dtype=str)
    return np.asarray(frame.item(vectors)), ids, truth


def _judged(head: Any, made: Any, d: _Domains, ask: AdaptAsk) -> Arms | None:
    if d.truth is None:
        return None
    right = {
        name: (each.predict(d.target) == d.truth).astype(np.float64)
        for name, each in (("unchanged", head), (ask.method, made))
    }
    return judge(right, np.array(d.ids), metric="accuracy", costs={}, seed=ask.seed)


def _table(
    head: Any, d: _Domains, before: np.ndarray, after: np.ndarray
) -> dict[str, tuple[float, float, float]]:  # fmt: skip
    own = [(str(c), float((d.y == c).mean())) for c in head.classes]
    return {c: (float(b), float(a), s) for (c, s), b, a in zip(own, before, after, strict=True)}


def _save(folder: Path, made: Any, d: _Domains, ask: AdaptAsk, verdict: str) -> None:
    folder.mkdir(parents=True)
    about = {"frame": d.frame.id, "target": ask.modality, "bound": False, "method": ask.method}
    save_head(made, folder / HEAD, about)
    write_json(folder / CARD, {**about, "table": ask.table.name, "verdict": verdict,
                               "rows": len(d.target), "label": ask.label})  # fmt: skip


def _apply(path: Path, made: Any, d: _Domains) -> None:
    p = made.predict_proba(d.target)
    write_table(path, {
        "id": d.ids, "prediction": [str(v) for v in made.predict(d.target)],
        "probability": [round(float(v), 6) for v in p.max(axis=1)],
    })  # fmt: skip
