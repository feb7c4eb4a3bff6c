"""``conjoin fuse``: a decision from whatever modalities an item has."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.app.output import Console
from conjoin.app.workspace import Workspace
from conjoin.errors import ConjoinError, nearest
from conjoin.fusion.inputs import Inputs, Picked
from conjoin.items.cells import is_missing
from conjoin.spaces import Space, digest
from conjoin.spaces.files import FORMAT, atomic, read_json, write_json

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
    """

    ids: np.ndarray
    inputs: Inputs
    labels: np.ndarray
    groups: np.ndarray
    held: np.ndarray
    frames: Mapping[str, str]


def run_fuse(
    ws: Workspace, console: Console, *, label: str, names: Sequence[str], method: str,
    how: tuple[str | None, float, int], out: tuple[Path | None, bool],
) -> None:  # fmt: skip
    """Fit or open a fusion, show how it does, and apply it where asked.

    Parameters
    ----------
    how : ``classes``, ``numbers`` or nothing; seconds of the budget; seed.
    out : where predictions are written, if anywhere; whether this is a dry run.
    """
    kind, budget, seed = how
    path, dry = out
    if path is not None and path.suffix not in (".csv", ".jsonl"):
        raise ConjoinError(str(path), "neither .csv nor .jsonl", "name a file of either kind")
    table = table_of(ws, label, names)
    labels = typed(table.labels, kind, label)
    known = np.array([value is not None for value in labels])
    if known.sum() < FEWEST:
        raise ConjoinError(
            f"column {label!r}", f"{int(known.sum())} labelled items with a modality",
            f"label {FEWEST} or more",
        )  # fmt: skip
    key = _key(table, labels, label, (method, budget, seed))
    folder = ws.state / "fusions" / key
    if dry:
        there = (folder / "fusion.json").exists()
        console.say(f"would {'open' if there else 'fit'} a fusion of {', '.join(table.frames)} "
                    f"for {label} on {int(known.sum())} labelled items")  # fmt: skip
        console.result({"label": label, "items": int(known.sum()), "fitted": there, "dry": True})
        return
    fresh = not (folder / "fusion.json").exists()
    if fresh:
        _fit(folder, table, labels, known, (label, method, budget, seed), console)
    facts = read_json(folder / "fusion.json", ("arms", "missing"))
    _show(console, facts, fresh)
    written = None
    if path is not None:
        from conjoin.fusion.fused import Fused

        fused = Fused.load(folder / "fused.safetensors")
        written = apply(fused, table, labels, path)
        console.say(f"wrote {written} decisions to {path}")
    console.result({**facts, "fresh": fresh, "folder": str(folder), "applied": written})


def table_of(ws: Workspace, label: str, names: Sequence[str]) -> Table:
    """The items with a modality, in the order of the table.

    Raises
    ------
    ConjoinError : there is no such column or modality, or nothing is embedded.
    """
    items = ws.items
    if label not in items.names:
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
    present = np.stack(here, axis=1)
    kept = np.flatnonzero(present.any(axis=1))
    if not len(kept):
        raise ConjoinError("items", "none has a modality", "run: conjoin embed")
    values = items.column(label)
    labels = np.array([None if is_missing(v) else v for v in values], dtype=object)[kept]
    ids = np.asarray(items.ids)[kept].astype(str)
    inputs = Inputs(views, present).take(kept)
    groups = np.asarray(items.groups(ws.config))[kept].astype(str)
    frames = {
        name: digest([s.frame.id, digest(s.ids.tolist()), digest(s.content.tolist())])
        for name, s in spaces.items()
    }
    return Table(ids, inputs, labels, groups, ws.split.is_test(ids), frames)


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
    ConjoinError : numbers are asked for and a value is none.
    """
    values = [v for v in labels.tolist() if v is not None]
    plain = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if kind not in (None, "classes", "numbers"):
        raise ConjoinError("--as", repr(kind), "give classes or numbers")
    if kind == "numbers" and not plain:
        odd = next(v for v in values if not isinstance(v, int | float) or isinstance(v, bool))
        raise ConjoinError(f"column {label!r}", f"{odd!r} is no number", "give --as classes")
    numbers = kind == "numbers" or (kind is None and plain and len(set(values)) > CLASSES)
    read: Any = float if numbers else str
    return np.array([None if v is None else read(v) for v in labels.tolist()], dtype=object)


def _key(table: Table, labels: np.ndarray, label: str, how: tuple[Any, ...]) -> str:
    """Names a fusion by everything that decides it."""
    said = [str(v) for v in labels.tolist()]
    return digest([
        FORMAT, label, dict(table.frames), digest(table.ids.tolist()), digest(said),
        digest(table.groups.tolist()), digest(table.held.tolist()), list(how),
    ])  # fmt: skip


def _fit(
    folder: Path, table: Table, labels: np.ndarray, known: np.ndarray, how: tuple[Any, ...],
    console: Console,
) -> None:  # fmt: skip
    from conjoin.app.jobs import versions
    from conjoin.claims.deciding import Fusing
    from conjoin.report.fusion_card import fusion_card, missing_markdown
    from conjoin.transfer.kept import Kept

    label, method, budget, seed = how
    kept = Kept(folder / "unfinished")
    if kept.folder is not None and kept.folder.exists():
        console.note("goes on where it was stopped")
    lines = np.flatnonzero(known)
    values = np.array(labels[lines].tolist())
    job = Fusing(
        table.inputs.take(lines), values, table.groups[lines], table.held[lines], seed,
        report=lambda text: console.note(f"trying {text}"), kept=kept,
    )  # fmt: skip
    found = job.run(method, budget)
    facts = {
        "version": FORMAT, "label": label, "seed": seed, "versions": versions(),
        "papers": list(found.papers), "fields": dict(found.fields), **found.to_json(),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    found.fused.save(folder / "fused.safetensors")
    for name, text in (("card.md", fusion_card(facts)), ("missing.md", missing_markdown(facts))):
        with atomic(folder / name) as file:
            file.write(text.encode())
    write_json(folder / "fusion.json", facts)
    kept.clear()


def _show(console: Console, facts: Mapping[str, Any], fresh: bool) -> None:
    from conjoin.report import fusion_card as card

    if not fresh:
        console.note("opened what was fitted before; nothing that it rests on has changed")
    console.table(
        f"{facts['label']} on {facts['held_out']} held-out items ({facts['metric']}); "
        f"{facts['trained']} were trained on",
        card.ARMS, card.arm_rows(facts),
    )  # fmt: skip
    missing, names = facts["missing"], facts["modalities"]
    console.table(
        "Every subset of the modalities", card.masks_header(names), card.mask_rows(missing, names)
    )
    console.table("What to collect next", card.COLLECT, card.collect_rows(missing))
    for line in (*facts["notes"], *facts["recommendation"]):
        console.say(line)


def apply(fused: Any, table: Table, labels: np.ndarray, path: Path) -> int:
    """Write a decision an item, with how far each modality was trusted; gives their number.

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
        part = "unlabelled" if labels[k] is None else "held out" if table.held[k] else "trained on"
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
