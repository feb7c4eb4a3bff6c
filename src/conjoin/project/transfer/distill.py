"""A student of a workspace: what it reads, who teaches it, what it keeps, and its use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.catalogue import find
from conjoin.display import Tabular
from conjoin.encoders.open import open_encoder
from conjoin.encoders.run import embed
from conjoin.errors import ConjoinError, nearest
from conjoin.execution.checkpoint import Kept
from conjoin.maps.base import load_map, save_map
from conjoin.project.fit.card import FACTS, PAGE
from conjoin.project.fit.stored import Fit, current_fit
from conjoin.project.transfer.heads import Rows, bound_rows, rows_of
from conjoin.project.workspace import Workspace
from conjoin.report.cards.transfer import FEW, gain_said, sources_of, student_markdown
from conjoin.selection.students import K, Taught, distill, found_own, retention
from conjoin.spaces import Frame, Space
from conjoin.spaces.frame import unit
from conjoin.spaces.store import SpaceStore
from conjoin.stats.bootstrap import interval, paired_difference
from conjoin.storage.digest import digest
from conjoin.storage.files import FORMAT, atomic, read_json, write_json
from conjoin.transfer.students import RidgeStudent
from conjoin.transfer.teachers import side_by_side

FILE = "student.safetensors"


@dataclass(frozen=True)
class DistillAsk:
    """What ``conjoin distill`` was asked.

    Parameters
    ----------
    modality : whose cells the student reads.
    to : the encoder it reads them with, or a modality whose vectors it reads; the modality's own
        when not given.
    teachers : modalities that teach.
    use : bind the student's modality by it.
    """

    modality: str
    to: str | None = None
    teachers: tuple[str, ...] = ()
    method: str = "auto"
    use: bool = False
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Class:
    """The same items as the student reads them and as its teachers put them.

    Parameters
    ----------
    x : ``[n, d]`` what the student reads.
    teachers : by name, ``[n, k]``.
    source, target : frames of the student's map.
    gallery : items of another bound modality that are searched, or ``None``.
    """

    ids: np.ndarray
    x: np.ndarray
    teachers: dict[str, np.ndarray]
    groups: np.ndarray
    held: np.ndarray
    source: Frame
    target: Frame
    gallery: tuple[str, Rows] | None

    @property
    def aim(self) -> np.ndarray:
        """``[n, k]`` where the student should land."""
        return side_by_side(self.teachers)


def read_class(ws: Workspace, ask: DistillAsk) -> Class:
    """Vectors of student and teachers on the items that all of them have."""
    ws.modality(ask.modality)
    names = ask.teachers or ((ask.modality,) if ask.to else ())
    if not names:
        raise ConjoinError(
            "--teacher", "no teacher", "name a modality, or a smaller encoder by --student"
        )
    for name in names:
        ws.modality(name)
    if len(set(names)) < len(names):
        raise ConjoinError("--teacher", f"a teacher twice in {','.join(names)}", "name each once")
    if not ask.to and names == (ask.modality,):
        raise ConjoinError("--teacher", f"{ask.modality!r} would teach itself", "name another")
    reads = _reads(ws, ask)
    taught, target, bound = _teachers(ws, names)
    ids = reads.ids
    for rows in taught.values():
        ids = ids[np.isin(ids, rows.ids)]
    held = ws.split.is_test(ids)
    if held.sum() < 2 or (~held).sum() < 4:
        found = f"{(~held).sum()} items to learn from and {held.sum()} held out have all of them"
        raise ConjoinError("--teacher", found, "embed more, or name other teachers")
    owner = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))
    aims = {name: _at(rows, ids) for name, rows in taught.items()}
    if bound and len(aims) > 1:
        aims = {"+".join(aims): np.mean([unit(rows) for rows in aims.values()], axis=0)}
    groups = np.array([owner[i] for i in ids.tolist()])
    gallery = _gallery(ws, {ask.modality, ask.to or "", *names}) if bound else None
    return Class(ids, _at(reads, ids), aims, groups, held, reads.frame, target, gallery)


def _at(rows: Rows, ids: np.ndarray) -> np.ndarray:
    order = np.argsort(rows.ids)
    return rows.x[order[np.searchsorted(rows.ids, ids, sorter=order)]]


def _reads(ws: Workspace, ask: DistillAsk) -> Rows:
    """What the student reads; a smaller encoder's vectors are embedded and kept."""
    if ask.to is None or ask.to in ws.config.modalities:
        return rows_of(ws.space(ask.to or ask.modality))
    if ":" not in ask.to:
        raise ConjoinError(
            "--student", f"{ask.to!r} is neither modality nor encoder",
            f"{nearest(ask.to, ws.config.modalities)} An encoder is written builtin:text-static",
        )  # fmt: skip
    column = ws.modality(ask.modality).column
    encoder = open_encoder(
        ask.to, cells=lambda: (cell for _, cell in ws.cells(ask.modality, kind_of_uri(ask.to)))
    )
    store = SpaceStore(ws.state / "spaces" / digest([column, encoder.frame.id]), encoder.frame)
    embed(store, encoder, ws.items.cells(column, encoder.kind))
    space = store.open()
    if space is None:
        raise ConjoinError("--student", f"{ask.to} read no cell of {ask.modality}", "name another")
    return rows_of(space)


def kind_of_uri(uri: str | None) -> str:
    """What an encoder reads."""
    from conjoin.encoders.open import kind_of

    return kind_of(uri or "")


def _teachers(ws: Workspace, names: tuple[str, ...]) -> tuple[dict[str, Rows], Frame, bool]:
    """Teachers where the binding puts them, or as their encoders made them."""
    bound = False
    if (ws.state / "current.json").exists():
        bound = all(name in current_fit(ws).binding.maps for name in names)
    rows = {name: bound_rows(ws, name) if bound else rows_of(ws.space(name)) for name in names}
    first = next(iter(rows.values())).frame
    if bound or len(rows) == 1:
        return rows, first, bound
    width = sum(each.frame.dim for each in rows.values())
    recipe = {"beside": [each.frame.id for each in rows.values()]}
    return rows, Frame.mint("beside", " beside ".join(rows), width, recipe), bound


def _gallery(ws: Workspace, taken: set[str]) -> tuple[str, Rows] | None:
    others = [name for name in current_fit(ws).binding.maps if name not in taken]
    return (others[0], bound_rows(ws, others[0])) if others else None


@dataclass(frozen=True, eq=False, repr=False)
class MadeStudent(Tabular):
    """A student where it lies, with the facts of its card."""

    folder: Path
    facts: dict[str, Any]
    fresh: bool

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per student: recall of the teacher's vector and of a partner; the chosen marked."""
        return ("student", "own", "search", "retention"), [
            (
                ("* " if c["method"] == self.facts["method"] else "  ") + c["method"],
                *(c[k][0] if c[k] else None for k in ("own", "search", "retention")),
            )
            for c in self.facts["compared"]
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {**self.facts, "folder": str(self.folder), "fresh": self.fresh}


def check_ask(ws: Workspace, ask: DistillAsk) -> None:
    """Refuse what cannot be done before anything is fitted.

    Raises
    ------
    ConjoinError : the method is unknown, or as :func:`check_use`.
    """
    if ask.method != "auto":
        find("student", ask.method)
    if ask.use:
        check_use(ws, ask)


def fit_student(
    ws: Workspace, ask: DistillAsk, report: Callable[[str], None] = lambda _: None
) -> MadeStudent:
    """Fit a student, judge it on held-out items, and write it with its card.

    The same inputs give the same folder: a repeated call only opens it.
    """
    check_ask(ws, ask)
    taught = read_class(ws, ask)
    key = digest([
        ask.modality, ask.to, list(taught.teachers), ask.method, ask.seed, taught.source.id,
        taught.target.id, digest(np.ascontiguousarray(taught.x).tobytes()),
        digest(np.ascontiguousarray(taught.aim).tobytes()), taught.held.tolist(),
    ])  # fmt: skip
    folder = ws.state / "students" / key
    fresh = not (folder / FACTS).exists()
    if fresh:
        learn = np.flatnonzero(~taught.held)
        own = {name: rows[learn] for name, rows in taught.teachers.items()}
        kept = Kept(folder / "unfinished")
        if (folder / "unfinished").exists():
            report("to go on where it was stopped")
        made = distill(
            taught.x[learn], own, method=ask.method, groups=taught.groups[learn], seed=ask.seed,
            kept=kept, report=report,
        )  # fmt: skip
        facts = _facts(ask, taught, made)
        save_map(made.map.between(taught.source, taught.target), folder / FILE)  # type: ignore[attr-defined]
        with atomic(folder / PAGE) as file:
            file.write(student_markdown(facts).encode())
        write_json(folder / FACTS, facts)
        kept.clear()
    return MadeStudent(folder, read_json(folder / FACTS), fresh)


def _facts(ask: DistillAsk, taught: Class, made: Taught) -> dict[str, Any]:
    from conjoin.project.evaluation.evaluate import versions

    held, learn = np.flatnonzero(taught.held), np.flatnonzero(~taught.held)
    aim, groups = taught.aim[held], taught.groups[held]
    own = {name: rows[learn] for name, rows in taught.teachers.items()}
    ridge = RidgeStudent().fit(taught.x[learn], own).apply(taught.x[held])
    placed = {"teacher": aim, "ridge-student": ridge}
    if taught.x.shape[1] == aim.shape[1]:
        placed["do nothing"] = taught.x[held]
    if made.method != "ridge-student":
        placed[made.method] = np.asarray(made.map.apply(taught.x[held]))
    hits = {name: found_own(rows, aim) for name, rows in placed.items()}
    seek = _searched(taught, held, placed)
    chance = min(1.0, K / len(held))
    compared = [{"method": "chance", "own": (chance, chance, chance), "search": None,
                 "retention": None}]  # fmt: skip
    for name in sorted(placed, key=lambda n: float(hits[n].mean())):
        compared.append(_compared(name, hits, seek, groups, ask.seed))
    gap = paired_difference(hits[made.method], hits["ridge-student"], groups, seed=ask.seed)
    gain = {"baseline": "ridge-student", "value": gap[0], "low": gap[1], "high": gap[2]}
    verdict = "ridge-student is the baseline itself"
    verdict += "; nothing tried was clearly better" if made.tried else ""
    if made.method != "ridge-student":
        verdict = gain_said(made.method, gain, "recall@10 of its teacher's own vector")
    gallery = taught.gallery[0] if taught.gallery else None
    facts = {
        "version": FORMAT, "method": made.method, "fields": dict(made.fields),
        "tried": made.tried, "modality": ask.modality, "reads": ask.to or ask.modality,
        "width": taught.x.shape[1], "teachers": list(taught.teachers), "gallery": gallery,
        "train": len(learn), "test": len(held), "compared": compared, "gain": gain,
        "verdict": verdict, "source_frame": taught.source.id, "target_frame": taught.target.id,
        "seed": ask.seed, "versions": versions(),
        "sources": sources_of("student", [made.method, "ridge-student"]),
    }  # fmt: skip
    return {**facts, "cautions": _cautions(facts)}


def _searched(
    taught: Class, held: np.ndarray, placed: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray] | None:
    """Whether each held-out item that the gallery has finds its partner there, by method."""
    if taught.gallery is None:
        return None
    rows = taught.gallery[1]
    both = np.flatnonzero(np.isin(taught.ids[held], rows.ids))
    if len(both) < 2:
        return None
    partners = _at(rows, taught.ids[held][both])
    found = {
        name: found_own(each[both], partners)
        for name, each in placed.items()
        if each.shape[1] == partners.shape[1]
    }
    return found, taught.groups[held][both]


def _compared(
    name: str, hits: dict[str, np.ndarray], seek: Any, groups: np.ndarray, seed: int
) -> dict[str, Any]:
    def with_interval(values: np.ndarray, owners: np.ndarray) -> tuple[float, float, float]:
        return (float(values.mean()), *interval(values, owners, seed=seed))

    search = kept = None
    if seek is not None and name in seek[0]:
        search = with_interval(seek[0][name], seek[1])
        kept = retention(seek[0][name], seek[0]["teacher"], seek[1], seed)
    elif seek is None:
        kept = retention(hits[name], hits["teacher"], groups, seed)
    return {
        "method": name, "own": with_interval(hits[name], groups), "search": search,
        "retention": kept,
    }  # fmt: skip


def _cautions(facts: dict[str, Any]) -> list[str]:
    said = []
    if facts["test"] < FEW:
        said.append(f"{facts['test']} held-out items decide little")
    if facts["gallery"] is None:
        said.append("it was asked for its teacher's own vectors only, not in a search")
    said.append("it knows its teacher's mistakes as well as what the teacher knows")
    said.append("for data unlike this table it was not tested")
    return said


def check_use(ws: Workspace, ask: DistillAsk) -> str:
    """The modality that is to be bound by a student.

    Raises
    ------
    ConjoinError : what the student reads is no modality of the configuration, or it is bound by
        a map that is no student.
    """
    name = ask.to or ask.modality
    if name not in ws.config.modalities:
        column = ws.modality(ask.modality).column
        teachers = ",".join(ask.teachers or (ask.modality,))
        raise ConjoinError(
            "--use", f"{name} is no modality of conjoin.toml",
            f'add [modalities.small] with column = "{column}" and encoder = "{name}", then run: '
            f"conjoin embed small, conjoin distill --modality small --teacher {teachers} --use",
        )  # fmt: skip
    held = current_fit(ws).binding.maps.get(name)
    stored = (ws.state / "students").glob(f"*/{FILE}")
    if held is not None and not any(same_map(held, load_map(path)) for path in stored):
        raise ConjoinError(
            "--use", f"modality {name!r} is bound by another map", "add a modality to teach"
        )
    return name


def use_student(ws: Workspace, ask: DistillAsk, made: MadeStudent) -> Fit:
    """Bind the student's modality by it, in the binding in use, and index it.

    Raises
    ------
    ConjoinError : as :func:`check_use`, or it leads to another frame.
    """
    from conjoin.project.fit.extend import extend

    name, fit = check_use(ws, ask), current_fit(ws)
    student = load_map(made.folder / FILE)
    if student.target != fit.binding.frame:
        raise ConjoinError("--use", "teachers are not of the binding in use", "run: conjoin fit")
    binding = replace(fit.binding, maps={**fit.binding.maps, name: student})
    spaces: dict[str, Space] = ws.spaces(list(binding.maps))
    return extend(ws, fit, binding, spaces, ws.pairs(spaces)[0], [made.folder.name])


def same_map(one: Any, other: Any) -> bool:
    """Whether two maps are one: the same frames, fields and numbers."""
    (fields, arrays), (others, held) = one.state(), other.state()
    return (
        one.source == other.source and fields == others and arrays.keys() == held.keys()
        and all(np.array_equal(arrays[key], held[key]) for key in arrays)
    )  # fmt: skip
