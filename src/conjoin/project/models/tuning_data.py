"""What a modality's encoder is tuned on: texts, and their classes or their partners."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.open import kind_of
from conjoin.errors import ConjoinError, one_line
from conjoin.project.fit.stored import current_fit
from conjoin.project.transfer.heads import bound_rows, classes_in, rows_of
from conjoin.project.workspace import Workspace
from conjoin.spaces.frame import unit
from conjoin.storage.digest import stable_hash

#: Items learned from and held-out items judged on, at most; drawn of more.
LEARN, JUDGE = 4000, 2000
#: Places in which a partner is found.
K = 10
#: One group in so many of those learned from is validation.
INNER = 5


@dataclass(frozen=True, eq=False)
class Material:
    """Cells with their classes, or with the vectors of their partners.

    Parameters
    ----------
    kind : of the cells.
    texts : the cells, texts for most, of all items learned from and held out.
    train, test : ``[m]`` places of items.
    inner : ``[m]`` of ``train``, whether validation.
    groups : ``[n]``.
    classes : ``[n]`` or ``None``.
    partners : ``[n, k]`` at unit length, or ``None``.
    partner : the modality of the partners.
    notes : what was cut or left out.
    """

    kind: str
    texts: list[Any]
    train: np.ndarray
    test: np.ndarray
    inner: np.ndarray
    groups: np.ndarray
    classes: np.ndarray | None
    partners: np.ndarray | None
    partner: str
    notes: tuple[str, ...]

    @property
    def metric(self) -> str:
        """Accuracy of classes, or partners found."""
        return "accuracy" if self.classes is not None else f"recall@{K}"

    @property
    def learn(self) -> np.ndarray:
        """Places of the items that steps are taken on."""
        return self.train[~self.inner]

    @property
    def look(self) -> np.ndarray:
        """Places of the items that validation looks at."""
        return self.train[self.inner]


def read_material(
    ws: Workspace, modality: str, label: str | None, seed: int, kinds: tuple[str, ...] = ("text",)
) -> Material:
    """Read what is to be learned, or one clear refusal; cells beyond the limits are not read.

    Parameters
    ----------
    kinds : of cells that will do.

    Raises
    ------
    ConjoinError : the modality is of another kind, no item has what is needed, or there is one
        class, or fewer labels than classes leave on both sides.
    """
    kind = kind_of(ws.modality(modality).uri)
    if kind not in kinds:
        wanted = " or ".join(kinds)
        raise ConjoinError(
            "--modality", f"{modality!r} reads no {wanted}", f"name a {wanted} modality"
        )
    cells = ws.cells(modality, kind)
    parts: dict[str, int] = {}
    for key in cells.list_keys():
        parts.setdefault(str(key[0]), int(key[1]))
    notes: list[str] = []
    classes: dict[str, str] = {}
    partners: dict[str, np.ndarray] = {}
    partner = ""
    if label is not None:
        classes, lost = classes_in(ws, label)
        kept = [i for i in parts if i in classes]
        if lost:
            notes.append(f"{lost} items have no {label} and were left out")
    else:
        partner, partners = _partners(ws, modality)
        kept = [i for i in parts if i in partners]
        if len(kept) < len(parts):
            notes.append(f"{len(parts) - len(kept)} {kind}s have no {partner} and were left out")
    ids = np.array(kept, dtype=str)
    held = ws.split.is_test(ids) if len(ids) else np.zeros(0, bool)
    train = _some(np.flatnonzero(~held), LEARN, "learned from", notes, seed)
    test = _some(np.flatnonzero(held), JUDGE, "judged on", notes, seed)
    ids, train, test = _packed(ids, train, test)
    owner = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))
    groups = np.array([owner[i] for i in ids], dtype=str)
    inner = np.array([stable_hash(f"tuning/{seed}/{g}") % INNER == 0 for g in groups[train]], bool)
    read = [cells.get(i, parts[i]) for i in ids]
    made = Material(
        kind, [str(cell) for cell in read] if kind == "text" else read, train, test, inner, groups,
        np.array([classes[i] for i in ids], dtype=str) if classes else None,
        unit(np.stack([partners[i] for i in ids])) if partners and len(ids) else None,
        partner, tuple(notes),
    )  # fmt: skip
    _check(made, label)
    return made


def _packed(
    ids: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The items in use, and the places of both parts among them."""
    used = np.union1d(train, test).astype(int)
    return ids[used], np.searchsorted(used, train), np.searchsorted(used, test)


def _check(made: Material, label: str | None) -> None:
    where = f"column {label!r}" if label else "pairs"
    if len(made.learn) < 4 or len(made.look) < 1 or len(made.test) < 2:
        found = f"{len(made.learn)} items to learn from, {len(made.look)} to validate on and "
        raise ConjoinError(where, f"{found}{len(made.test)} held out", "give more items")
    if made.classes is None:
        return
    known = np.unique(made.classes[made.train])
    if len(known) < 2:
        raise ConjoinError(where, f"one class, {str(known[0])!r}", "label two classes or more")
    if len(made.train) < len(known) * 2:
        raise ConjoinError(
            where, f"{len(made.train)} labels of {len(known)} classes", "label two a class or more"
        )


def _some(rows: np.ndarray, most: int, what: str, notes: list[str], seed: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    notes.append(f"{most} of {len(rows)} items are {what}")
    draw = np.random.default_rng([seed, stable_hash(what)])
    return np.sort(draw.choice(rows, most, replace=False))


def _partners(ws: Workspace, modality: str) -> tuple[str, dict[str, np.ndarray]]:
    """The other modality, and its items' vectors: bound where a fit has it, else its encoder's."""
    others = [m.name for m in ws.modalities if m.name != modality]
    if not others:
        raise ConjoinError("--with pairs", "there is one modality", "give --label COLUMN")
    bound: Any = {}
    if (ws.state / "current.json").exists():
        bound = current_fit(ws).binding.maps
    both = [name for name in others if name in bound]
    name = (both or others)[0]
    rows = bound_rows(ws, name) if both else rows_of(ws.space(name))
    return name, dict(zip(map(str, rows.ids), np.asarray(rows.x, np.float32), strict=True))


def read_keep(path: Path) -> tuple[list[str], list[str] | None]:
    """Texts that a tuned encoder should still place well: one column, or pairs in two.

    Raises
    ------
    ConjoinError : the file is missing, no table, or has no two columns of texts.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    if not path.is_file():
        raise ConjoinError(f"--keep {path}", "no such file", "name a .csv or .parquet of texts")
    try:
        table = parquet.read_table(path) if path.suffix == ".parquet" else csv.read_csv(path)
        table.column_names  # noqa: B018 - they are decoded, and refused, when asked for
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise ConjoinError(
            f"--keep {path}", one_line(error), "give a .csv or .parquet of texts"
        ) from None
    if len(set(table.column_names)) < len(table.column_names):
        raise ConjoinError(f"--keep {path}", "has two columns of one name", "rename one")
    kinds = (pa.types.is_string, pa.types.is_large_string)
    columns = [f.name for f in table.schema if any(kind(f.type) for kind in kinds)][:2]
    if not columns or table.num_rows < 20:
        raise ConjoinError(
            f"--keep {path}", f"{len(columns)} columns of texts and {table.num_rows} rows",
            "give a column of 20 texts or more, or two whose rows are pairs",
        )  # fmt: skip
    lines = table.select(columns).slice(0, JUDGE).to_pydict()
    whole = [row for row in zip(*lines.values(), strict=True) if all(row)]
    if len(columns) == 1:
        return [row[0] for row in whole], None
    return [row[0] for row in whole], [row[1] for row in whole]
