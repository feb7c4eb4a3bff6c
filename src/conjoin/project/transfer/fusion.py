"""``conjoin fuse``: a decision from whatever modalities an item has."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.display import Tabular
from conjoin.errors import ConjoinError, nearest
from conjoin.fusion.inputs import Inputs, Picked
from conjoin.items.cells import is_missing
from conjoin.project.workspace import Workspace
from conjoin.spaces import Space
from conjoin.storage.digest import digest
from conjoin.storage.files import FORMAT, atomic, read_json, write_json

#: More different numbers than this in a column are decided as numbers, fewer as classes.
CLASSES = 20
#: Fewest labelled items.
FEWEST = 20


@dataclass(frozen=True, eq=False)
class Table:
    """The items a fusion is about.

    Parameters
    ----------
    ids : of all items that have a modality.
    inputs : their rows.
    labels : as objects; ``None`` where an item has none.
    groups, held : of each item.
    frames : of the vectors, by modality.
    content : by modality, a hash of each item's cell; what it holds where there is none is no
        matter.
    """

    ids: np.ndarray
    inputs: Inputs
    labels: np.ndarray
    groups: np.ndarray
    held: np.ndarray
    frames: Mapping[str, str]
    content: Mapping[str, np.ndarray]


#: What each task decides.
TASKS = {"classification": "classes", "regression": "numbers"}


def kind_of_task(task: str | None) -> str | None:
    """What a task decides, classes or numbers; nothing where none is named.

    Raises
    ------
    ConjoinError : it is neither classification nor regression.

    Examples
    --------
    >>> kind_of_task("regression")
    'numbers'
    """
    if task is None:
        return None
    if task not in TASKS:
        raise ConjoinError("--task", repr(task), "give classification or regression")
    return TASKS[task]


@dataclass(frozen=True)
class FuseAsk:
    """What ``conjoin fuse`` was asked.

    Parameters
    ----------
    label : column to decide.
    names : modalities; all where none is named.
    kind : ``classes``, ``numbers``, or as the column looks.
    budget : seconds that choosing may take, about.
    """

    label: str
    names: tuple[str, ...] = ()
    method: str = "auto"
    kind: str | None = None
    budget: float = 60.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class FusePlan:
    """What a fusion is fitted to, read from a workspace, and where it lies.

    Parameters
    ----------
    labels : of the table's items, typed; ``None`` where an item has none.
    known : which items have one.
    """

    ask: FuseAsk
    table: Table
    labels: np.ndarray
    known: np.ndarray
    folder: Path

    @property
    def fitted(self) -> bool:
        """Whether it was fitted before."""
        return (self.folder / "fusion.json").exists()

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            "label": self.ask.label, "items": int(self.known.sum()), "fitted": self.fitted,
        }  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class MadeFusion(Tabular):
    """A fusion where it lies, with the facts of its card.

    Parameters
    ----------
    fresh : it was fitted now, not opened.
    """

    plan: FusePlan
    facts: dict[str, Any]
    fresh: bool

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per method that was judged, the one in use marked."""
        from conjoin.report.cards.fusion import ARMS, arm_rows

        return ARMS, arm_rows(self.facts)

    def apply(self, path: Path) -> int:
        """Write a decision per item; gives their number."""
        from conjoin.fusion.model import Fused

        plan = self.plan
        fused = Fused.load(plan.folder / "fused.safetensors")
        return apply(fused, plan.table, plan.labels, path, _sides(plan.folder))

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {**self.facts, "fresh": self.fresh, "folder": str(self.plan.folder)}


def plan_fusion(ws: Workspace, ask: FuseAsk) -> FusePlan:
    """The items a fusion is about, or one clear refusal.

    Raises
    ------
    ConjoinError : the method, column or a modality is unknown, or no fusion can be trained on it.
    """
    if ask.method != "auto":
        catalogue.find("fusion", ask.method)
    table = table_of(ws, ask.label, ask.names)
    labels = typed(table.labels, ask.kind, ask.label)
    known = np.array([value is not None for value in labels])
    check_labels(ask.label, labels[known], table.held[known])
    key = _key(table, labels, ask.label, (ask.method, ask.budget, ask.seed))
    return FusePlan(ask, table, labels, known, ws.state / "fusions" / key)


def fuse(plan: FusePlan, report: Callable[[str], None] = lambda _: None) -> MadeFusion:
    """Fit a fusion, or open what was fitted to the same inputs."""
    ask, fresh = plan.ask, not plan.fitted
    if fresh:
        how = (ask.label, ask.method, ask.budget, ask.seed)
        _fit(plan.folder, plan.table, plan.labels, plan.known, how, report)
    facts = read_json(plan.folder / "fusion.json", ("arms", "missing"))
    return MadeFusion(plan, facts, fresh)


def check_file(path: Path) -> None:
    """Refuse a file of decisions by its suffix.

    Raises
    ------
    ConjoinError : it is neither ``.csv`` nor ``.jsonl``.
    """
    if path.suffix not in (".csv", ".jsonl"):
        raise ConjoinError(str(path), "neither .csv nor .jsonl", "name a file of either kind")


@dataclass(frozen=True, eq=False)
class LastFusion:
    """The last fusion that was fitted, and the items it decides now."""

    label: str
    table: Table
    folder: Path

    def apply(self, path: Path) -> int:
        """Write a decision per item, whatever of the modalities it has; gives their number."""
        from conjoin.fusion.model import Fused

        fused = Fused.load(self.folder / "fused.safetensors")
        kind = "numbers" if fused.target.classes is None else "classes"
        labels = typed(self.table.labels, kind, self.label)
        return apply(fused, self.table, labels, path, _sides(self.folder))


def last_fusion(ws: Workspace) -> LastFusion:
    """The last fusion that was fitted, for the items there are now.

    Raises
    ------
    ConjoinError : there is none, or a modality's encoder has changed since.
    """
    there = [p for p in (ws.state / "fusions").glob("*/fusion.json")]
    if not there:
        raise ConjoinError("--apply", "no fusion is fitted yet", "give --label COLUMN, too")
    found = max(there, key=lambda p: (p.stat().st_mtime_ns, p.parent.name))
    facts = read_json(found, ("label", "modalities"))
    label, frames = facts["label"], facts.get("frames", {})
    embedded = [n for n in facts["modalities"] if ws.modality(n) and _embedded(ws, n)]
    if not embedded:
        raise ConjoinError("items", "none has a modality of the fusion", "run: conjoin embed")
    table = table_of(ws, label if label in ws.items.names else None, embedded)
    for name in embedded:
        if frames.get(name) != table.frames[name]:
            raise ConjoinError(
                f"modality {name}", "is not in the frame the fusion was fitted in",
                f"run: conjoin fuse --label {label}",
            )  # fmt: skip
    return LastFusion(label, table, found.parent)


def _embedded(ws: Workspace, name: str) -> bool:
    """Whether a modality has a vector of any item."""
    try:
        return len(ws.space(name)) > 0
    except ConjoinError:
        return False


def _sides(folder: Path) -> Mapping[str, str]:
    """By id, whether an item was trained on or held out; empty for a fusion that never said."""
    path = folder / "items.json"
    if not path.exists():
        return {}
    said = read_json(path, ("trained", "held"))
    return dict.fromkeys(said["trained"], "trained on") | dict.fromkeys(said["held"], "held out")


def table_of(ws: Workspace, label: str | None, names: Sequence[str]) -> Table:
    """The items with a modality, in the order of the table; without a column none has a label.

    Raises
    ------
    ConjoinError : there is no such column or modality, or nothing is embedded.
    """
    items = ws.items
    if label is not None and label not in items.names:
        raise ConjoinError("--label", f"{label!r} is no column", nearest(label, items.names))
    for name in names:
        ws.modality(name)
    spaces = ws.spaces(list(names) or None)
    place = {str(item): row for row, item in enumerate(items.ids)}
    views, here = {}, []
    for name, space in spaces.items():
        rows = first_rows(space, place)
        views[name] = Picked(_vectors(space), rows)
        here.append(rows >= 0)
    present = np.stack(here, axis=1) if here else np.zeros((len(place), 0), bool)
    kept = np.flatnonzero(present.any(axis=1))
    if not len(kept):
        raise ConjoinError("items", "none has a modality", "run: conjoin embed")
    values = items.column(label) if label is not None else [None] * len(items.ids)
    labels = np.empty(len(values), dtype=object)
    labels[:] = [None if is_missing(v) else v for v in values]
    labels = labels[kept]
    ids = np.asarray(items.ids)[kept].astype(str)
    inputs = Inputs(views, present).take(kept)
    groups = np.asarray(items.groups(ws.config))[kept].astype(str)
    frames = {name: space.frame.id for name, space in spaces.items()}
    content = {
        name: np.asarray(space.content)[np.maximum(first_rows(space, place), 0)][kept]
        for name, space in spaces.items()
    }
    return Table(ids, inputs, labels, groups, ws.split.is_test(ids), frames, content)


def check_labels(label: str, labels: np.ndarray, held: np.ndarray) -> None:
    """Refuse by the column's name what no fusion can be trained on.

    Raises
    ------
    ConjoinError : too few are labelled, all training items are of one class, or classes hardly
        repeat.
    """
    where = f"column {label!r}"
    if len(labels) < FEWEST:
        raise ConjoinError(
            where, f"{len(labels)} labelled items with a modality", f"label {FEWEST} or more"
        )
    learn = labels[~held].tolist()
    kinds = sorted(set(learn))
    if not learn or held.sum() < 2:
        found = f"{len(learn)} labelled items to train on, {int(held.sum())} held out"
        raise ConjoinError(where, found, "label more items")
    if len(kinds) < 2:
        raise ConjoinError(
            where, f"all {len(learn)} training items are {kinds[0]!r}",
            "label items of two classes or more",
        )  # fmt: skip
    if isinstance(kinds[0], str) and len(kinds) > len(learn) / 2:
        raise ConjoinError(
            where, f"{len(kinds)} classes for {len(learn)} training items",
            "name a column whose values repeat, or numbers",
        )  # fmt: skip


def first_rows(space: Space, place: Mapping[str, int]) -> np.ndarray:
    """The row of each item, −1 where it has none; of several parts the first."""
    found = np.full(len(place), -1, dtype=np.int64)
    order = np.argsort(space.parts, kind="stable")[::-1]
    for row in order.tolist():
        at = place.get(str(space.ids[row]))
        if at is not None:
            found[at] = row
    return found


def _vectors(space: Space) -> Any:
    """A space's vectors as they lie, token sets as their means."""
    return space.pooled().vectors


def typed(labels: np.ndarray, kind: str | None, label: str) -> np.ndarray:
    """Labels as classes (strings) or numbers (floats), ``None`` staying.

    Raises
    ------
    ConjoinError : numbers are asked for and a value is none, or cells hold lists.
    """
    values = [v for v in labels.tolist() if v is not None]
    where = f"column {label!r}"
    if kind not in (None, "classes", "numbers"):
        raise ConjoinError("kind", repr(kind), "give classes or numbers")
    if any(isinstance(v, list | tuple | dict | bytes | np.ndarray) for v in values):
        raise ConjoinError(where, "holds lists or bytes", "name a column of one value a cell")
    if kind == "numbers":
        return np.array([_number(v, where) for v in labels.tolist()], dtype=object)
    plain = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if kind is None and plain and len(set(values)) > CLASSES:
        return np.array([None if v is None else float(v) for v in labels.tolist()], dtype=object)
    whole = plain and all(float(v).is_integer() for v in values)
    # A column of whole numbers with gaps is read as fractions: 1 stays 1.
    read: Any = (lambda v: str(int(v))) if whole else str
    return np.array([None if v is None else read(v) for v in labels.tolist()], dtype=object)


def _number(value: Any, where: str) -> float | None:
    """A cell as a number, texts that are numbers among them."""
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not np.isfinite(found := float(value)):
            raise ValueError
    except (TypeError, ValueError):
        raise ConjoinError(where, f"{value!r} is no number", "give --task classification") from None
    return found


def _key(table: Table, labels: np.ndarray, label: str, how: tuple[Any, ...]) -> str:
    """Names a fusion by everything that decides it; items to be decided do not."""
    lines = np.flatnonzero([value is not None for value in labels])
    here = table.inputs.here[lines]
    cells = {
        name: digest(np.where(here[:, place], table.content[name][lines], 0).tolist())
        for place, name in enumerate(table.inputs.names)
    }
    return digest([
        FORMAT, "plain first", label, dict(table.frames), digest(table.ids[lines].tolist()), cells,
        digest(here.tolist()), digest([str(v) for v in labels[lines].tolist()]),
        digest(table.groups[lines].tolist()), digest(table.held[lines].tolist()), list(how),
    ])  # fmt: skip


def _fit(
    folder: Path, table: Table, labels: np.ndarray, known: np.ndarray, how: tuple[Any, ...],
    report: Callable[[str], None],
) -> None:  # fmt: skip
    from conjoin.execution.checkpoint import Kept
    from conjoin.project.evaluation.evaluate import versions
    from conjoin.report.cards.fusion import fusion_card, missing_markdown
    from conjoin.selection.fusion import Fusing

    label, method, budget, seed = how
    kept = Kept(folder / "unfinished")
    if kept.folder is not None and kept.folder.exists():
        report("goes on where it was stopped")
    lines = np.flatnonzero(known)
    values = np.array(labels[lines].tolist())
    job = Fusing(
        table.inputs.take(lines), values, table.groups[lines], table.held[lines], seed,
        report=lambda text: report(f"trying {text}"), kept=kept,
    )  # fmt: skip
    found = job.run(method, budget)
    facts = {
        "version": FORMAT, "label": label, "seed": seed, "versions": versions(),
        "papers": list(found.papers), "fields": dict(found.fields),
        "frames": dict(table.frames), **found.to_json(),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    found.fused.save(folder / "fused.safetensors")
    for name, text in (("card.md", fusion_card(facts)), ("missing.md", missing_markdown(facts))):
        with atomic(folder / name) as file:
            file.write(text.encode())
    held = table.held[lines]
    sides = {"trained": table.ids[lines][~held].tolist(), "held": table.ids[lines][held].tolist()}
    write_json(folder / "items.json", {"version": FORMAT, **sides})
    write_json(folder / "fusion.json", facts)
    kept.clear()


def apply(
    fused: Any, table: Table, labels: np.ndarray, path: Path, sides: Mapping[str, str]
) -> int:
    """Write a decision an item, with how far each modality was trusted; gives their number.

    Parameters
    ----------
    sides : by id, whether an item was trained on or held out.

    The file holds JSON lines where its name ends in ``.jsonl``, CSV otherwise.
    """
    names = fused.names
    present = {n: table.inputs.here[:, k] for k, n in enumerate(table.inputs.names)}
    views = dict(table.inputs.views)
    said, trust = fused.predict(views, present), fused.trust(views, present)
    sure = None
    if fused.target.classes is not None:
        sure = fused.predict_proba(views, present).max(axis=1)
    rows = []
    for k, item in enumerate(table.ids):
        part = "unlabelled" if labels[k] is None else sides.get(str(item), "new")
        row: dict[str, Any] = {"id": str(item), "decided": said[k].item()}
        if sure is not None:
            row["probability"] = round(float(sure[k]), 6)
        row |= {f"trust_{n}": round(float(trust[k, at]), 6) for at, n in enumerate(names)}
        rows.append({**row, "label": labels[k], "part": part})
    with atomic(path) as file:
        if path.suffix == ".jsonl":
            file.write("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode())
        else:
            import io

            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
            file.write(text.getvalue().encode())
    return len(rows)
