"""A first ``conjoin.toml`` for a table: what each column seems to be, and why."""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from conjoin.errors import ConjoinError
from conjoin.items.cells import is_missing
from conjoin.items.kinds import Guess, guess_column
from conjoin.items.reading.guess_relevance import relevance_part
from conjoin.items.reading.table import Source, open_source, table_base
from conjoin.items.web.permits import permits

_MOST_TEXTS = 3
_ID_NAMES = ("id", "item_id", "uuid", "uid", "key", "item", "image_id", "name")
_SPLIT_NAMES = ("split", "fold", "subset", "partition", "set")
_GROUP_NAMES = (
    "family", "group_id", "cluster", "speaker", "speaker_id", "patient", "patient_id", "subject",
    "session", "scene", "author", "user", "user_id", "group", "subgroup",
)  # fmt: skip
_SIDES = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}
_ENCODERS = {
    "image": "builtin:image", "audio": "builtin:audio", "vector": "builtin:vector",
    "series": "builtin:series", "text": "builtin:text", "video": "builtin:image",
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What a look at a table found.

    Parameters
    ----------
    toml : the text of a commented ``conjoin.toml``.
    left_out : why, by column, of those that are neither a modality nor ids, split or groups.
    notes : what was guessed or passed over in reading, and ids that repeat, a line each.
    figures : those left out that are numbers or categories.
    """

    toml: str
    left_out: Mapping[str, str]
    notes: tuple[str, ...]
    figures: tuple[str, ...] = ()

    def said_left_out(self) -> list[str]:
        """A line for each column left out, and one for all numbers and categories."""
        lines = [
            f"left out: column {name!r}: {_line(why)}"
            for name, why in self.left_out.items()
            if name not in self.figures
        ]
        if self.figures:
            shown = ", ".join(map(repr, self.figures[:6]))
            more = ", …" if len(self.figures) > 6 else ""
            columns = "column" if len(self.figures) == 1 else "columns"
            lines.append(
                f"left out: {len(self.figures)} {columns} of numbers or categories ({shown}{more}):"
                " builtin:table makes a modality of them"
            )
        return lines


def _allowed(source: Source, guesses: Sequence[Guess], path: Path) -> list[tuple[str, str]]:
    """Lines of ``[items]`` that allow what the table's cells name, and a word on each."""
    named = [g.column for g in guesses if g.kind in ("image", "audio", "video", "vector", "series")
             and ("paths" in g.why or "URLs" in g.why)]  # fmt: skip
    cells = (value for name in named for value in source.values(name))
    folders, hosts = permits(cells, table_base(path))
    lines = []
    for key, found, what in (
        ("folders", folders, "files outside the table's folder"),
        ("hosts", hosts, "addresses of this machine or a private network"),
    ):
        if found:
            value = json.dumps(found, ensure_ascii=False)
            lines.append((
                f"{key} = {value} # cells name {what}",
                f"cells name {what}, which conjoin.toml allows: {key} = {value}",
            ))  # fmt: skip
    return lines


def guess(path: Path, folder: Path | None = None, *, encoders: Mapping[str, str] = {}) -> str:
    """The text of a commented ``conjoin.toml`` for a table or folder: :func:`look` without notes.

    Raises
    ------
    ConjoinError : the table cannot be read.
    """
    return look(path, folder, encoders=encoders).toml


def look(path: Path, folder: Path | None = None, *, encoders: Mapping[str, str] = {}) -> Look:
    """Look at a table or folder: names, types and the first 200 values of each column.

    Parameters
    ----------
    folder : where the file will lie; beside the table when not given.
    encoders : by kind of cell, the encoder to write; the built-in one of other kinds.

    Raises
    ------
    ConjoinError : the table cannot be read, its path cannot be written in a text file, or no
        column is of a kind that ``encoders`` read.
    """
    path = Path(path)
    _require_text(path)
    source = open_source(path)
    told = told_by_table(path)
    if told:
        return _told(source, path, folder, told, encoders)
    guesses = [guess_column(source, name) for name in source.names]
    if "image" in encoders:  # a video is read by its pictures
        encoders = {**encoders, "video": encoders["image"]}
    if encoders and not any(g.kind in encoders for g in guesses):
        kinds = sorted({g.kind for g in guesses} & set(_ENCODERS)) or ["nothing to encode"]
        raise ConjoinError(
            "--encoder", f"reads {' and '.join(encoders)}; {path} holds {' and '.join(kinds)}",
            "give an encoder of what is there",
        )  # fmt: skip
    where = Path(os.path.relpath(path, folder if folder is not None else path.parent)).as_posix()
    id_column, doubt = _id_column(source, guesses)
    split_lines, used = _split_part(source, guesses)
    lines = [
        f"# Guessed by `conjoin init` from {source.rows} rows; change what is wrong.",
        "version = 1", "", "[items]", f"table = {_quoted(where)}",
    ]  # fmt: skip
    if id_column is not None:
        lines.append(f"id = {_quoted(id_column):<24} # every value is there once")
    elif doubt:
        lines.append(f"# {_line(doubt)}")
    else:
        lines.append("# no column of unique ids was found: row numbers are used")
    rest = [g for g in guesses if g.column not in {id_column, *used}]
    allowed = _allowed(source, rest, path)
    lines += [line for line, _ in allowed]
    spare = {g.column for g in _spare_texts([g for g in rest if g.kind in _ENCODERS])}
    left = {
        g.column: f"{g.why}, beside other texts" if g.column in spare else g.why
        for g in rest
        if g.kind not in _ENCODERS or g.column in spare
    }
    lines += _modality_parts(rest, encoders)
    notes = (*source.notes, doubt) if doubt else source.notes
    notes = (*notes, *(note for _, note in allowed))
    figures = tuple(g.column for g in rest if g.kind in ("number", "category"))
    relevant, said = relevance_part(source)
    notes = (*notes, said) if said else notes
    return Look("\n".join([*lines, *split_lines, *relevant, ""]), left, notes, figures)


#: Cells of a modality below which, if they are few beside the rows too, it is not joined.
SCARCE = 20


def told_by_table(path: Path) -> dict[str, Any]:
    """What a Parquet file says of its own columns, as ``conjoin read`` writes it.

    A JSON object under the key ``conjoin`` of its metadata: ``id`` and ``group``, names of
    columns, and ``modalities``, by name a column and its kind. Empty where it says nothing.
    """
    if not path.is_file() or path.suffix.lower() != ".parquet":
        return {}
    try:
        said = json.loads((pq.read_schema(path).metadata or {}).get(b"conjoin", b"{}"))
    except (ValueError, OSError):
        return {}
    return said if isinstance(said, dict) and isinstance(said.get("modalities"), dict) else {}


def _told(
    source: Source, path: Path, folder: Path | None, told: Mapping[str, Any],
    encoders: Mapping[str, str],
) -> Look:  # fmt: skip
    """The file for a table that says what its columns are; modalities without a cell are left."""
    where = Path(os.path.relpath(path, folder if folder is not None else path.parent)).as_posix()
    lines = [
        f"# Written by `conjoin init` from what {_line(path.name)} says of its columns.",
        "version = 1", "", "[items]", f"table = {_quoted(where)}", f"id = {_quoted(told['id'])}",
    ]  # fmt: skip
    notes: tuple[str, ...] = ()
    for name, (column, kind) in told["modalities"].items():
        filled = sum(not is_missing(value) for value in source.values(column))
        if filled < SCARCE and 2 * filled < source.rows:
            if filled:
                said = f"{name}: {filled} of {source.rows} rows have one, too few to be joined"
                notes = (*notes, f"{said}; write [modalities.{name}] to search them all the same")
            continue
        guess = Guess(column, kind, f"{filled} of {source.rows} rows")
        lines += ["", *_modality(name, guess, {**_ENCODERS, **encoders})]
    lines += ["", "[split]", f"test = {'0.2':<22} # share of the items held out to judge by"]
    groups = len(set(source.values(told["group"])))
    if groups > 1:
        lines.append(f"group = {_quoted(told['group']):<21} # {groups} of them; never split")
    else:
        said = f"all rows are of one {told['group']}: rows of it are on both sides of the split"
        notes = (*notes, said)
    return Look("\n".join([*lines, "seed = 0", ""]), {}, notes)


def _require_text(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("ascii", "backslashreplace")
        raise ConjoinError(shown, "is a name that is not UTF-8", "rename it") from None


def _id_column(source: Source, guesses: Sequence[Guess]) -> tuple[str | None, str]:
    """The first likely column whose values are all there and all different; else what is wrong
    with the likeliest.
    """
    simple = [g for g in guesses if g.kind in ("number", "text", "other", "category")]
    lower = {g.column.lower(): g.column for g in simple}
    likely = [lower[name] for name in _ID_NAMES if name in lower]
    likely += [g.column for g in simple if g.column.lower().endswith("_id")]
    likely += [g.column for g in simple if g.why.startswith("short codes")]
    doubt = ""
    for name in dict.fromkeys(likely):
        values = list(source.values(name))
        wrong = _not_unique(name, values)
        if not wrong:
            return name, ""
        doubt = doubt or (wrong if _nearly_ids(name, values) else "")
    return None, doubt


def _not_unique(name: str, values: Sequence[Any]) -> str:
    """Why values are no ids: the first that repeats, or is no id at all."""
    first: dict[Any, int] = {}
    for row, value in enumerate(values):
        if not (isinstance(value, int) or (isinstance(value, str) and value.strip())):
            return f"column {name!r} would be the ids, but row {row} has none: row numbers are used"
        if value in first:
            return (
                f"column {name!r} would be the ids, but {value!r} is on rows {first[value]} and "
                f"{row}: row numbers are used until it is unique"
            )
        first[value] = row
    return ""


def _nearly_ids(name: str, values: Sequence[Any]) -> bool:
    plain = [value for value in values if isinstance(value, int | str)]
    return len(plain) > 0 and len(set(plain)) >= 0.9 * len(values)


def _modality_parts(guesses: Sequence[Guess], encoders: Mapping[str, str]) -> list[str]:
    real = [g for g in guesses if g.kind in _ENCODERS]
    held = {g.column for g in _spare_texts(real)}
    shown = [g for g in real if g.column not in held]
    count = Counter(g.kind for g in shown)
    lines: list[str] = []
    taken: set[str] = set()
    for g in shown:
        name = g.kind if count[g.kind] == 1 else _name(g.column)
        while name in taken:
            name += "_2"
        taken.add(name)
        lines += ["", *_modality(name, g, encoders)]
    if not shown:
        lines += [
            "", "# no column looks like a modality; name at least one:", "# [modalities.text]",
            '# column = "COLUMN"', '# encoder = "builtin:text"',
        ]  # fmt: skip
    for g in real:
        if g.column in held:
            held_out = _modality(_name(g.column), g, encoders)
            lines += ["", *(f"# {line}" for line in held_out)]
    return lines + _table_part([g for g in guesses if g.kind in ("number", "category")])


def _spare_texts(guesses: Sequence[Guess]) -> list[Guess]:
    """Texts left commented out: another language of a column, lists beside plain texts, too many.

    Lists of keywords would otherwise outnumber the captions many times over.
    """
    texts = [g for g in guesses if g.kind == "text"]
    names = {g.column for g in texts}
    suffix = re.compile(r"[_-][a-z]{2}([_-]\w{2,4})?$")
    other = [g for g in texts if suffix.search(g.column) and suffix.sub("", g.column) in names]
    kept = [g for g in texts if g not in other]
    plain = [g for g in kept if not g.why.startswith("lists of")]
    lists = [g for g in kept if g not in plain]
    return [*other, *plain[_MOST_TEXTS:], *(lists if plain else lists[_MOST_TEXTS:])]


def _modality(name: str, g: Guess, encoders: Mapping[str, str]) -> list[str]:
    encoder = "builtin:chargram" if g.foreign else _ENCODERS[g.kind]
    lines = [
        f"[modalities.{name if re.fullmatch(r'[A-Za-z0-9_-]+', name) else _quoted(name)}]",
        f"column = {_quoted(g.column):<20} # {_line(g.why)}",
    ]
    if g.kind == "video":
        return [*lines, *_moments(name, g, encoders)]
    if g.kind in encoders:
        return [*lines, f"encoder = {_quoted(encoders[g.kind])}"]
    if g.kind == "text":
        note = "any language, by its letters" if g.foreign else (
            "reads English; builtin:chargram reads any language by its letters"
        )  # fmt: skip
        return [*lines, f"encoder = {_quoted(encoder):<19} # {note}"]
    return [*lines, f"encoder = {_quoted(encoder)}"]


def _moments(name: str, g: Guess, encoders: Mapping[str, str]) -> list[str]:
    """How a video is read: by its pictures, and its sound track where a person wants that."""
    sound = encoders.get("audio", _ENCODERS["audio"])
    return [
        f"encoder = {_quoted(encoders.get('video', _ENCODERS['video']))}",
        f"every = {'1.0':<21} # seconds between the pictures that are read of a video",
        "", "# Their sound tracks, in stretches of ten seconds:",
        f"# [modalities.{_quoted(name + '_sound')}]", f"# column = {_quoted(g.column)}",
        f"# encoder = {_quoted(sound)}", "# every = 10.0",
    ]  # fmt: skip


def _name(column: str) -> str:
    """A column's name with what a modality's name may not have replaced."""
    return re.sub(r"[^\w .-]", "_", column).lstrip(" .-") or "modality"


def _table_part(guesses: Sequence[Guess]) -> list[str]:
    if not guesses:
        return []
    numbers = sum(g.kind == "number" for g in guesses)
    columns = ", ".join(_quoted(g.column) for g in guesses)
    return [
        "",
        f"# {numbers} columns of numbers and {len(guesses) - numbers} of categories are left. As a"
        " modality of their own:",
        "# [modalities.table]", f"# column = [{columns}]", '# encoder = "builtin:table"',
    ]  # fmt: skip


def _split_part(source: Source, guesses: Sequence[Guess]) -> tuple[list[str], set[str]]:
    lower = {g.column.lower(): g.column for g in guesses}
    lines, used = ["", "[split]"], set()
    column = next((lower[n] for n in _SPLIT_NAMES if n in lower and _sides(source, lower[n])), None)
    if column is not None:
        lines.append(f"column = {_quoted(column):<20} # its values say train and test")
        used.add(column)
    else:
        lines.append(f"test = {'0.2':<22} # share of the items held out to judge by")
    for name in _GROUP_NAMES:
        if column is None and name in lower:
            why = _group_reason(source, lower[name])
            if why is not None:
                lines.append(f"group = {_quoted(lower[name]):<21} # {why}; never split")
                used.add(lower[name])
                break
    return [*lines, "seed = 0"], used


def _sides(source: Source, name: str) -> bool:
    values = {str(value).strip().lower() for value in source.values(name)}
    return values <= _SIDES and any(v.startswith("test") for v in values) and len(values) > 1


def _group_reason(source: Source, name: str) -> str | None:
    """Why a column may serve as groups: many of them, none holding most of the items."""
    values = [value for value in source.values(name) if isinstance(value, str | int)]
    sizes = Counter(values)
    if len(sizes) < 5 or len(sizes) == len(values) or max(sizes.values()) > 0.3 * source.rows:
        return None
    return f"{len(sizes)} groups of up to {max(sizes.values())} items"


def _quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _line(text: str) -> str:
    """A text as it may stand in a comment."""
    return "".join(c if c.isprintable() else "?" for c in text)
