"""What people decided about findings: a table, and pairs that follow it.

======== =========================================================================================
decision what a fit with fixes does
======== =========================================================================================
keep     nothing: the finding was looked at and is right as it is
drop     a mismatch: the two cells are no pair. Else the item's cell (or, where no modality is
         named, the item) is in no pair
fix      a mismatch: the left cell is paired with the item that ``fix`` names instead. Twins,
         duplicates and leaks: the two items are one group, and training has none of a group that
         is held out
======== =========================================================================================
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from conjoin.errors import ConjoinError, nearest
from conjoin.quality.finding import KINDS
from conjoin.spaces import Pairs, Space
from conjoin.storage.digest import stable_hash
from conjoin.storage.files import atomic

DECISIONS = ("keep", "drop", "fix")
#: Kinds of which two items can be made one group.
LINKED = ("twin", "duplicate", "leak")


@dataclass(frozen=True)
class Decision:
    """One line of the table.

    Parameters
    ----------
    id : the item; of a mismatch that of the left modality.
    modality : as in the finding; empty for the whole item.
    kind, decision : one of the kinds of findings, one of :data:`DECISIONS`.
    note : anything.
    other : the second item of a pair of items; of a mismatch that of the right modality.
    fix : of a mismatch to be fixed, the item whose cell is the right partner.
    """

    id: str
    modality: str
    kind: str
    decision: str
    note: str = ""
    other: str = ""
    fix: str = ""


def read_csv(path: Path) -> list[Decision]:
    """Decisions as the review page gives them.

    Raises
    ------
    ConjoinError : there is no such file, or it lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConjoinError(str(path), "no such file", "give the CSV that the page gave") from None
    except UnicodeDecodeError:
        raise ConjoinError(str(path), "is not UTF-8 text", "give the CSV of the page") from None
    rows = csv.DictReader(io.StringIO(text))
    lost = [n for n in ("id", "modality", "kind", "decision") if n not in (rows.fieldnames or ())]
    if lost:
        raise ConjoinError(str(path), f"has no column {lost[0]!r}", "give the CSV of the page")
    names = [field.name for field in fields(Decision)]
    return [Decision(**{n: (row.get(n) or "").strip() for n in names}) for row in rows]


def check(
    decisions: Iterable[Decision], known: set[str], modalities: Sequence[str], where: str
) -> None:
    """Refuse what cannot be followed, naming the line.

    Raises
    ------
    ConjoinError : an id, modality, kind or decision is unknown, or a fix names no partner.
    """
    for line, one in enumerate(decisions, 2):
        place = f"{where}:{line}"
        if one.kind not in KINDS:
            raise ConjoinError(place, f"{one.kind!r} is no kind", nearest(one.kind, KINDS))
        if one.decision not in DECISIONS:
            raise ConjoinError(
                place, f"{one.decision!r} is no decision", nearest(one.decision, DECISIONS)
            )
        for name in filter(None, one.modality.split("+")):
            if name not in modalities:
                raise ConjoinError(place, f"no modality {name!r}", nearest(name, modalities))
        for item in filter(None, (one.id, one.other, one.fix)):
            if item not in known:
                raise ConjoinError(place, f"no item {item!r}", "give an id of the table")
        _check_whole(one, place)


def _check_whole(one: Decision, place: str) -> None:
    if one.decision == "keep":
        return
    if not one.id:
        raise ConjoinError(place, f"{one.decision} without an id", "name the item")
    if one.kind == "mismatch" and (not one.other or one.modality.count("+") != 1):
        raise ConjoinError(
            place, "a mismatch without both sides", "give other, and a+b as modality"
        )
    if one.decision == "fix":
        if one.kind == "mismatch" and not one.fix:
            raise ConjoinError(place, "a fix that names no partner", "give its id as fix, or drop")
        if one.kind in LINKED and not one.other:
            raise ConjoinError(place, "a fix without a second item", "give other")
        if one.kind not in ("mismatch", *LINKED):
            raise ConjoinError(place, f"{one.kind} cannot be fixed here", "keep it or drop it")


def write_table(path: Path, decisions: Sequence[Decision]) -> None:
    """Write the table as Parquet, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [field.name for field in fields(Decision)]
    table = pa.table({n: pa.array([getattr(d, n) for d in decisions], pa.string()) for n in names})
    with atomic(path) as file:
        pq.write_table(table.replace_schema_metadata({"conjoin.decisions": "1"}), file)


def read_table(path: Path) -> list[Decision]:
    """Read back what :func:`write_table` wrote; nothing where there is no file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        return []
    try:
        rows = pq.read_table(path).to_pylist()
        return [Decision(**{key: str(value or "") for key, value in row.items()}) for row in rows]
    except (pa.ArrowInvalid, TypeError, OSError):
        raise ConjoinError(
            str(path), "is no table of decisions", "run: conjoin doctor --decisions FILE"
        ) from None


def merged(old: Sequence[Decision], new: Sequence[Decision]) -> list[Decision]:
    """Both tables as one: what is decided again replaces what was."""
    last = {(d.id, d.other, d.modality, d.kind): d for d in (*old, *new)}
    return list(last.values())


@dataclass(frozen=True, eq=False)
class Fixed:
    """Pairs that follow the decisions.

    Parameters
    ----------
    train, held : pairs on either side.
    dropped, moved, linked : how many pairs of cells were parted, how many got another partner,
        and how many couples of items became one group.
    notes : one plain sentence each on decisions that were not followed.
    """

    train: Pairs
    held: Pairs
    dropped: int
    moved: int
    linked: int
    notes: tuple[str, ...] = ()


def follow(
    train: Pairs, held: Pairs, spaces: Mapping[str, Space], decisions: Sequence[Decision],
    groups: Mapping[str, str],
) -> Fixed:  # fmt: skip
    """Pairs without what was dropped, with the partners that were named, groups as linked.

    A partner on the other side of the split is not taken: the pair is then dropped, and said so.

    Parameters
    ----------
    groups : group of each item, as pairs carry it.
    """
    parted = {
        (*d.modality.split("+"), d.id, d.other)
        for d in decisions
        if d.kind == "mismatch" and d.decision in ("drop", "fix")
    }
    gone = {
        (name, d.id)
        for d in decisions
        if d.kind != "mismatch" and d.decision == "drop"
        for name in (d.modality.split("+") if d.modality else spaces)
    }
    sides = [_without(_apart(pairs, spaces, parted), spaces, gone) for pairs in (train, held)]
    lost = sum(
        _couples(before) - _couples(after)
        for before, after in zip((train, held), sides, strict=True)
    )
    fixes = [d for d in decisions if d.kind == "mismatch" and d.decision == "fix"]
    sides, moved, notes = _named(sides, spaces, fixes, groups, held)
    ties = _ties(decisions)
    sides = _linked(sides, ties, groups)
    for side, role in zip(sides, ("training", "held-out"), strict=True):
        if len(side) == 0:
            raise ConjoinError("decisions", f"leave no {role} pair", "drop fewer")
    return Fixed(sides[0], sides[1], int(lost), moved, len(ties), tuple(notes))


def _ties(decisions: Sequence[Decision]) -> list[tuple[str, str]]:
    """Couples of items to be linked, each once, whatever kinds of finding say it, either way."""
    found = [(d.id, d.other) for d in decisions if d.kind in LINKED and d.decision == "fix"]
    return list(dict.fromkeys((min(both), max(both)) for both in found))


def _couples(pairs: Pairs) -> int:
    count = (pairs.rows >= 0).sum(axis=1)
    return int((count * (count - 1) // 2).sum())


def _ids(pairs: Pairs, spaces: Mapping[str, Space], name: str) -> np.ndarray:
    rows = pairs.column(name)
    return np.where(rows >= 0, spaces[name].ids.astype(str)[rows], "")


def _apart(pairs: Pairs, spaces: Mapping[str, Space], parted: set[tuple[str, ...]]) -> Pairs:
    """Lines in which two cells are no pair become two: one without either cell."""
    for left, right in sorted({entry[:2] for entry in parted}):
        if left not in pairs.names or right not in pairs.names:
            continue
        a, b = _ids(pairs, spaces, left), _ids(pairs, spaces, right)
        couples = zip(a.tolist(), b.tolist(), strict=True)
        torn = np.array([(left, right, x, y) in parted for x, y in couples], dtype=bool)
        halves = []
        for name in (left, right):
            part = pairs.take(torn)
            rows = part.rows.copy()
            rows[:, pairs.names.index(name)] = -1
            halves.append(_live(Pairs(pairs.names, rows, part.weight, part.group)))
        pairs = pairs.take(~torn).join(halves[0]).join(halves[1])
    return pairs


def _without(pairs: Pairs, spaces: Mapping[str, Space], gone: set[tuple[str, str]]) -> Pairs:
    rows = pairs.rows.copy()
    for column, name in enumerate(pairs.names):
        lost = np.array(sorted(item for other, item in gone if other == name), dtype=str)
        if len(lost):
            rows[np.isin(_ids(pairs, spaces, name), lost), column] = -1
    return _live(Pairs(pairs.names, rows, pairs.weight, pairs.group))


def _live(pairs: Pairs) -> Pairs:
    return pairs.take((pairs.rows >= 0).sum(axis=1) > 1)


def _named(
    sides: list[Pairs], spaces: Mapping[str, Space], fixes: Sequence[Decision],
    groups: Mapping[str, str], held: Pairs,
) -> tuple[list[Pairs], int, list[str]]:  # fmt: skip
    """Add the lines that fixes name, on the side where both items are."""
    testing = set(held.group.tolist())
    made: list[list[tuple[dict[str, int], int]]] = [[], []]
    notes = []
    first = {name: _first_rows(space) for name, space in spaces.items()}
    for one in fixes:
        left, right = one.modality.split("+")
        number = [stable_hash(groups.get(item, item)) for item in (one.id, one.fix)]
        if one.id not in first[left] or one.fix not in first[right]:
            notes.append(f"{one.id} and {one.fix} are not paired: a cell is missing")
        elif (number[0] in testing) != (number[1] in testing):
            notes.append(f"{one.id} and {one.fix} are not paired: one of them is held out")
        else:
            line = {left: first[left][one.id], right: first[right][one.fix]}
            made[number[0] in testing].append((line, number[0]))
    out = []
    for side, lines in zip(sides, made, strict=True):
        rows = np.full((len(lines), len(side.names)), -1, dtype=np.int64)
        for at, (line, _) in enumerate(lines):
            for name, row in line.items():
                rows[at, side.names.index(name)] = row
        group = np.array([number for _, number in lines], dtype=np.int64)
        out.append(side.join(Pairs(side.names, rows, group=group)) if lines else side)
    return out, sum(map(len, made)), notes


def _first_rows(space: Space) -> dict[str, int]:
    found: dict[str, int] = {}
    for row, item in enumerate(space.ids.tolist()):
        found.setdefault(str(item), row)
    return found


def _linked(
    sides: list[Pairs], ties: Sequence[tuple[str, str]], groups: Mapping[str, str]
) -> list[Pairs]:
    """Groups that are tied get one number; training keeps none of a group that is held out."""
    if not ties:
        return sides
    parent: dict[int, int] = {}

    def root(number: int) -> int:
        while parent.get(number, number) != number:
            number = parent[number]
        return number

    for couple in ties:
        a, b = (root(stable_hash(groups.get(item, item))) for item in couple)
        parent[max(a, b)] = min(a, b)
    out = []
    for side in sides:
        number = np.array([root(int(g)) for g in side.group], dtype=np.int64)
        out.append(Pairs(side.names, side.rows, side.weight, number))
    return [out[0].take(~np.isin(out[0].group, out[1].group)), out[1]]
