"""The doctor on a workspace: what it is shown, what is printed, decisions and the page."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conjoin.encoders.open import kind_of
from conjoin.errors import CellError, ConjoinError, nearest
from conjoin.project.workspace import DECIDED, Workspace
from conjoin.quality.decisions import Decision, check, merged, read_csv, read_table, write_table
from conjoin.quality.finding import Finding, Report
from conjoin.quality.inputs import Case
from conjoin.quality.run import examine
from conjoin.quality.table_checks import VALUES
from conjoin.spaces import Pairs, Space

#: Methods in use that are fitted again on folds; in place of others CCA is.
QUICK = ("ridge", "procrustes", "cca", "whitened-procrustes", "low-rank")
#: Label-like columns that are read, at most.
COLUMNS = 60
#: Share of different values above which a column is no label.
OWN = 0.95
#: Characters of an item's name in a table.
SHORT = 28


def case_of(ws: Workspace, *, labels: Sequence[str] = (), seed: int = 0) -> tuple[Case, list[str]]:
    """What is examined of a workspace, and what cannot be, each a plain sentence.

    Parameters
    ----------
    labels : columns that are labels; guessed where none is named.

    Raises
    ------
    ConjoinError : no modality is embedded, or a column is none or no label.
    """
    notes: list[str] = []
    spaces: dict[str, Space] = {}
    failed: dict[str, dict[str, str]] = {}
    for modality in ws.modalities:
        store = ws.store(modality.name)
        space = store.open()
        if space is None:
            notes.append(f"modality {modality.name} is not embedded; run: conjoin embed")
            continue
        spaces[modality.name] = space
        failed[modality.name] = {key.id: reason for key, reason in store.failed().items()}
    if not spaces:
        raise ConjoinError(str(ws.folder), "no modality is embedded", "run: conjoin embed")
    if len(spaces) == 1:
        notes.append(f"only {next(iter(spaces))} is embedded: pairs cannot be judged")
    groups = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))
    case = Case(
        spaces, _pairs(ws, spaces, notes), ws.items.ids, groups, _held(ws, notes),
        {**_columns(ws), **_named(ws, labels)}, _texts(ws, spaces), failed, _aligner(ws), seed,
        tuple(dict.fromkeys(labels)),
    )  # fmt: skip
    return case, notes


def _named(ws: Workspace, labels: Sequence[str]) -> dict[str, list[Any]]:
    """Values of the columns that were named as labels; figures of many values in five parts."""
    found: dict[str, list[Any]] = {}
    for name in labels:
        if name not in ws.items.names:
            raise ConjoinError("--label", f"no column {name!r}", nearest(name, ws.items.names))
        values = [None if _empty(v) else v for v in ws.items.column(name)]
        filled = [v for v in values if v is not None]
        if not all(isinstance(v, str | int | float | bool) for v in filled):
            raise ConjoinError(
                "--label", f"{name} holds no words or figures", "name another column"
            )
        if len(set(filled)) > VALUES and not any(isinstance(v, str) for v in filled):
            values = _fifths(values)
            filled = [v for v in values if v is not None]
        if not 2 <= len(set(filled)) <= VALUES:
            raise ConjoinError(
                "--label", f"{name} has {len(set(filled)):,} different values",
                f"name a column of 2 to {VALUES}, or of figures",
            )  # fmt: skip
        found[name] = [None if v is None else str(v) for v in values]
    return found


def _empty(value: Any) -> bool:
    """Whether a cell holds nothing, or no number."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _fifths(values: Sequence[Any]) -> list[Any]:
    """Figures by the fifth of all they lie in, as ``≤ 3.2``."""
    import numpy as np

    marks = np.unique(np.quantile([v for v in values if v is not None], [0.2, 0.4, 0.6, 0.8, 1.0]))
    told = [f"≤ {mark:.4g}" for mark in marks]
    return [None if v is None else told[int(np.searchsorted(marks, v))] for v in values]


def _pairs(ws: Workspace, spaces: Mapping[str, Space], notes: list[str]) -> Pairs | None:
    if len(spaces) < 2:
        return None
    try:
        return ws.items.pairs(ws.config, spaces)
    except ConjoinError as error:
        notes.append(f"pairs cannot be judged: {error}")
        return None


def _held(ws: Workspace, notes: list[str]) -> frozenset[str]:
    try:
        return frozenset(map(str, ws.split.test))
    except ConjoinError as error:
        notes.append(f"the split is wrong: {error}")
        return frozenset()


def _columns(ws: Workspace) -> dict[str, list[Any]]:
    """Columns of words or numbers that repeat: labels and groups, as far as can be told."""
    used = {ws.config.items.id, ws.config.split.group, ws.config.split.column}
    for part in ws.config.modalities.values():
        used |= {part.column} if isinstance(part.column, str) else set(part.column)
    found: dict[str, list[Any]] = {}
    for name in ws.items.names:
        if name in used or len(found) >= COLUMNS:
            continue
        values = [None if _empty(v) else v for v in ws.items.column(name)]
        filled = [v for v in values if v is not None]
        if not filled or not all(isinstance(v, str | int | bool) for v in filled):
            continue
        if 1 < len(set(filled)) <= OWN * len(filled):
            found[name] = values
    return found


def _texts(
    ws: Workspace, spaces: Mapping[str, Space]
) -> dict[str, Callable[[], Iterable[tuple[str, str]]]]:
    def reader(name: str) -> Callable[[], Iterable[tuple[str, str]]]:
        return lambda: (
            (key.id, str(cell))
            for key, cell in ws.cells(name, "text")
            if not isinstance(cell, CellError)
        )

    return {n: reader(n) for n in spaces if kind_of(ws.modality(n).uri) == "text"}


def _aligner(ws: Workspace) -> Any:
    """The method in use, where fitting it five times more is quick; else nothing."""
    from conjoin.project.fit.stored import fit_as_it_is

    try:
        choice = fit_as_it_is(ws).binding.choice
        made = choice.make()
    except ConjoinError:
        return None
    return made if choice.method in QUICK else None


def examine_workspace(
    ws: Workspace,
    *,
    kinds: Sequence[str] = (),
    least: float = 0.5,
    labels: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Report:
    """Examine a workspace: findings, and what could not be looked at.

    Parameters
    ----------
    kinds : of finding; all where none is named.
    least : confidence of a finding, at least.
    labels : columns that are labels; guessed where none is named.
    progress : told a task, how much of it is done, and of how much.

    Raises
    ------
    ConjoinError : no modality is embedded, or a column is none or no label.
    """
    case, notes = case_of(ws, labels=labels, seed=seed)
    found = examine(case, kinds, least=least, progress=progress)
    return Report(found.findings, (*notes, *found.notes), found.facts)


def short(label: str) -> str:
    """A name in few characters."""
    return label if len(label) <= SHORT else label[: SHORT - 1].rstrip() + "…"


def said(one: Finding, label: Callable[[str], str]) -> str:
    """Why, in a few plain words."""
    e = one.evidence
    if one.kind == "mismatch":
        return (
            f"partner ranks {e['rank']:,} of {e['of']:,}; nearer: {short(label(e['better']))}"
            + ("; weakly bound, look first" if e.get("weakly_bound") else "")
        )
    if one.kind == "twin":
        names = one.modality.split("+")
        near = ", ".join(f"{e['ratios'][name]:.2f} ({name})" for name in names)
        return f"apart by {near} of the usual distance"
    if one.kind == "duplicate":
        apart = f", at {e['ratio']:.2f} of the usual distance" if "ratio" in e else ""
        return f"{e['cells']}{apart}{'; one group' if e['linked'] else ''}"
    if one.kind == "leak":
        column = f" ({e['column']}, {e['values']} values)" if "column" in e else ""
        return f"on both sides of the split: {e['because']}{column}"
    if one.kind == "outlier":
        return str(e["because"]) + (f", {e['deviations']} deviations" if "deviations" in e else "")
    if one.kind == "language":
        what = e["language"] if "language" in e else f"{e['script'].title()} script"
        of = f" {e['read']:,}" if "read" in e else " the"
        return f"{what}: {e['count']:,} of{of} texts, most are {e['most'].title()}"
    if one.kind == "length":
        return f"{e['characters']} characters, the median is {e['median']}"
    if one.kind == "imbalance":
        first = e["most"][0]
        return f"{e['column']}: {first['entry']} {first['count']}, median {e['median']:.0f}"
    if "column" in e:
        return f"{e['because']}: {e['column']}, p {e['p_corrected']}"
    return f"{e['because']}" + (f": {e['count']}" if "count" in e else "")


def decisions_path(ws: Workspace) -> Path:
    """Where the decisions of a workspace lie."""
    return ws.state / DECIDED


@dataclass(frozen=True)
class Taken:
    """Decisions taken into a workspace.

    Parameters
    ----------
    read : that were given.
    counts : by decision (``keep``, ``drop``, ``fix``), all that the workspace has now.
    table : where they lie.
    """

    read: int
    counts: Mapping[str, int]
    table: Path

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        total = sum(self.counts.values())
        return {"read": self.read, "decisions": total, **self.counts, "table": str(self.table)}


def take_decisions(ws: Workspace, path: Path, *, dry: bool = False) -> Taken:
    """Take decisions from a CSV into the workspace; ``dry`` only reads and checks them.

    Raises
    ------
    ConjoinError : the file is no table of decisions, or names what is not here.
    """
    new = read_csv(path)
    check(new, set(map(str, ws.items.ids)), list(ws.config.modalities), str(path))
    table = merged(read_table(decisions_path(ws)), new)
    if not dry:
        write_table(decisions_path(ws), table)
    counts = {name: sum(d.decision == name for d in table) for name in ("keep", "drop", "fix")}
    return Taken(len(new), counts, decisions_path(ws))


def fixes_of(ws: Workspace) -> list[Decision]:
    """The decisions of a workspace that change pairs."""
    return [d for d in read_table(decisions_path(ws)) if d.decision != "keep"]
