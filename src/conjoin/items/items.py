"""Items: the rows of a table, their cells by modality, and which belong together."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from conjoin.errors import CellError, ConjoinError, FewPairs, Unreachable, one_line
from conjoin.items.cells import (
    MEDIA,
    PLACED,
    cell_parts,
    content_hash,
    is_missing,
    place_of,
    resolve,
    shown_hash,
)
from conjoin.items.config import Config
from conjoin.items.journal import Journal, overlaid
from conjoin.items.links import (
    Links,
    id_strings,
    in_order,
    linked,
    merge_groups,
    read_links,
    same_row,
)
from conjoin.items.moments import STREAMS, Cut, Moment, moments, seconds_of
from conjoin.items.reading.sources import with_classes
from conjoin.items.reading.table import (
    Held,
    Source,
    is_scalar,
    open_source,
    require_columns,
    table_base,
)
from conjoin.items.split import Split, column_split, make_split
from conjoin.items.web.reach import Reach, is_address
from conjoin.spaces import Pairs, Space
from conjoin.spaces.given import frame_columns
from conjoin.spaces.store import Key
from conjoin.storage.digest import stable_hash
from conjoin.storage.files import expanded


class Look(NamedTuple):
    """What a walk found of one cell, without the cell.

    Parameters
    ----------
    key : its item, part and content; content 0 where that cannot be told now.
    place : hash of the file or address that it names; 0 where it names none.
    away : why it cannot be read now; ``None`` where it can.
    """

    key: Key
    place: int
    away: str | None


@dataclass(frozen=True, eq=False)
class Modality:
    """The cells of one kind in some columns of the items; made by :meth:`Items.cells`.

    Walking gives a key and a resolved cell a part, in row order, as often as asked; addresses are
    fetched some rows ahead. A cell that cannot be resolved comes as the
    :class:`~conjoin.errors.CellError` itself, so that the walk goes on and the failure is
    recorded with its reason. The content of an :class:`~conjoin.errors.Unreachable` one is 0: it
    is not known.

    With ``cut`` the cells are recordings, and their parts are moments of them: pictures of a video
    for kind ``image``, stretches of its sound for ``audio``
    (:class:`~conjoin.items.moments.Moment`). The number of a part is then its millisecond.
    """

    items: "Items"
    columns: tuple[str, ...]
    kind: str
    cut: Cut | None = None

    def __iter__(self) -> Iterator[tuple[Key, Any]]:
        for key, cell, _ in self._walk():
            yield key, cell

    def look(self) -> Iterator[Look]:
        """The keys, what the cells name, and which of them cannot be read now."""
        for key, cell, value in self._walk():
            named = place_of(value) if self.kind in PLACED else ""
            away = str(cell) if isinstance(cell, Unreachable) else None
            yield Look(key, stable_hash(f"place/{named}") if named else 0, away)

    def _walk(self) -> Iterator[tuple[Key, Any, Any]]:
        some = False
        rows = zip(self.items.ids.tolist(), self.items.values(self.columns), strict=True)
        if self.kind in MEDIA:
            read = _ahead(rows, self._read)
        else:
            read = ((item, self._read(values)) for item, values in rows)
        for item, parts in read:
            for part, content, cell, value in parts:
                some = True
                yield Key(item, part, content), cell, value
        if not some:
            raise self._empty()

    def _read(self, values: tuple[Any, ...]) -> list[tuple[int, int, Any, Any]]:
        """Number, content, cell and value of each part of a row."""
        read = [(*self._hashed(value, cell), value) for value, cell in self._resolved(values)]
        if self.cut is None or not read:
            return [(part, *each) for part, each in enumerate(read)]
        content, cell, value = read[0]
        try:
            if len(read) > 1:
                raise CellError(_SEVERAL.format(len(read)))
            if isinstance(cell, CellError):
                return [(0, content, cell, value)]
            found = moments(cell, self.kind, self.cut)
        except CellError as error:
            known = 0 if isinstance(error, Unreachable) else content_hash(
                [str(error), str(content)], "other")  # fmt: skip
            return [(0, known, error, value)]
        return [(one.part, one.content(content, self.kind), one, value) for one in found]

    def _hashed(self, value: Any, cell: Any) -> tuple[int, Any]:
        if not isinstance(cell, CellError):
            try:
                return shown_hash(cell, self.kind), cell
            except CellError as error:
                cell = error
        if isinstance(cell, Unreachable):
            return 0, cell
        # What cannot be a cell is known, and known to be another if it changes.
        return content_hash([str(cell), _spelt(value)], "other"), cell

    def refuse_empty(self) -> None:
        """Refuse columns without a cell; reads no further than the first there is.

        Raises
        ------
        ConjoinError : all cells are missing.
        """
        if all(is_missing(v) for values in self.items.values(self.columns) for v in values):
            raise self._empty()

    def _empty(self) -> ConjoinError:
        return ConjoinError(
            self._where, f"all {len(self.items)} cells are missing: an empty modality",
            "fill some cells or drop the modality",
        )  # fmt: skip

    def of(self, items: Iterable[str]) -> list[tuple[Key, Any]]:
        """The keys and cells of some items that are there, as walking gives them."""
        found = []
        for item in items:
            if item not in self.items:
                continue
            values = tuple(self.items.value(name, item) for name in self.columns)
            found += [
                (Key(item, part, content), cell) for part, content, cell, _ in self._read(values)
            ]
        return found

    def list_keys(self) -> list[Key]:
        """The keys alone; no two cells are in memory at a time."""
        return [key for key, _ in self]

    def get(self, item: str, part: int = 0) -> Any:
        """One resolved cell, to show it or to embed a shard again.

        Raises
        ------
        ConjoinError : there is no such item or part.
        CellError : it cannot be resolved.
        """
        values = tuple(self.items.value(name, item) for name in self.columns)
        parts = [cell for _, cell in self._resolved(values)]
        if self.cut is not None and len(parts) > 1:
            raise CellError(_SEVERAL.format(len(parts)))
        if self.cut is not None and parts and not isinstance(parts[0], CellError):
            return Moment(parts[0], seconds_of(part), self.cut)
        if part >= len(parts):
            raise ConjoinError(
                self._where, f"item {str(item)!r} has {len(parts)} parts",
                f"part {part} is not among them",
            )  # fmt: skip
        if isinstance(parts[part], CellError):
            raise parts[part]
        return parts[part]

    @property
    def _where(self) -> str:
        return f"{self.items.where}, column {', '.join(self.columns)!r}"

    def _resolved(self, values: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
        """Each part as it is stored and as an encoder takes it."""
        value = values[0]
        if self.kind == "table" and (len(values) > 1 or not _is_record(value)):
            value = dict(zip(self.columns, values, strict=True))
        try:
            parts = cell_parts(value, self.kind)
        except Exception as error:  # objects that cannot be looked at
            yield value, CellError(f"cannot be read: {type(error).__name__}: {one_line(error)}")
            return
        for part in parts:
            try:
                yield part, resolve(part, self.items.base, self.kind, self.items.reach)
            except CellError as error:
                yield part, error


_SEVERAL = "{} recordings in one cell: give each a row of its own"
#: Rows of addresses that are fetched before they are asked for, and by how many threads.
_ROWS_AHEAD, _FETCHERS = 32, 8


def _ahead(
    rows: Iterable[tuple[str, tuple[Any, ...]]], read: Callable[[tuple[Any, ...]], Any]
) -> Iterator[tuple[str, Any]]:
    """Rows as they are read; those of addresses some rows ahead, by threads."""
    waiting: deque[tuple[str, Any]] = deque()
    pool = ThreadPoolExecutor(_FETCHERS, "fetcher")
    try:
        for item, values in rows:
            if any(map(_names_address, values)):
                waiting.append((item, pool.submit(read, values)))
            else:
                waiting.append((item, partial(read, values)))
            if len(waiting) > _ROWS_AHEAD or not isinstance(waiting[0][1], Future):
                yield _done(waiting.popleft())
        while waiting:
            yield _done(waiting.popleft())
    finally:  # also of a walk that is left half way
        pool.shutdown(wait=False, cancel_futures=True)


def _done(entry: tuple[str, Any]) -> tuple[str, Any]:
    item, found = entry
    return item, found.result() if isinstance(found, Future) else found()


def _names_address(value: Any) -> bool:
    value = value[0] if isinstance(value, list) and value else value
    value = value.get("path") if isinstance(value, Mapping) else value
    return isinstance(value, str) and is_address(value)


def _spelt(value: Any) -> str:
    """The beginning of a value as text, whatever it is."""
    try:
        return repr(value[:1000] if isinstance(value, bytes | str | list) else value)[:1000]
    except Exception:  # objects that cannot be looked at
        return type(value).__name__


def _is_record(value: Any) -> bool:
    inside = value[0] if isinstance(value, list) and value else value
    return isinstance(inside, Mapping)


class Items:
    """Rows with unique ids, read column by column as they are asked for.

    Made by :meth:`load` or :meth:`from_frame`.

    Parameters
    ----------
    source : the columns.
    ids : ``[n]`` unique strings.
    base : folder that relative paths in cells start from.
    where : names the table in errors.
    reach : which files and addresses the cells may name; all where not given.
    """

    def __init__(
        self, source: Source, ids: np.ndarray, base: Path, where: str, reach: Reach | None = None
    ):
        self._source, self.ids, self.base, self.where = source, ids, base, where
        self.reach = Reach() if reach is None else reach
        self._row_of = {str(item): row for row, item in enumerate(ids.tolist())}

    @classmethod
    def load(
        cls, config: Config, folder: Path | None = None, journal: Journal | None = None
    ) -> "Items":
        """The items of a workspace.

        Its cells may name files of the table's folder and addresses of the open internet, and
        what ``folders`` and ``hosts`` of ``[items]`` add to these.

        Parameters
        ----------
        folder : what paths are relative to; the folder of ``conjoin.toml`` when not given.
        journal : what was put beside the table, or deleted.

        Raises
        ------
        ConjoinError : the table cannot be read, an id is missing or repeats, or a column named in
            ``conjoin.toml`` is not there.
        """
        path = (config.folder if folder is None else folder) / config.items.table
        source = open_source(path)
        for name, part in config.modalities.items():
            columns = [part.column] if isinstance(part.column, str) else part.column
            where = f"{path} ([modalities.{name}] column)"
            require_columns(source.names, columns, where)
        for key in ("column", "group"):
            column = getattr(config.split, key)
            require_columns(source.names, [column] if column else [], f"{path} ([split] {key})")
        ids = _ids(source, config.items.id, str(path))
        overlay = journal.read() if journal is not None else None
        if journal is not None and overlay:
            source, ids = overlaid(source, ids, overlay, config.items.id, journal.media)
        home = config.folder if folder is None else folder
        beside = [home / expanded(name) for name in config.items.folders]
        base = table_base(path)
        media = [] if journal is None else [journal.media]
        reach = Reach(base, (*beside, *media), tuple(config.items.hosts))
        return cls(source, ids, base, str(path), reach)

    @classmethod
    def from_frame(cls, frame: Any, *, id: str | None = None, base: Path | None = None) -> "Items":
        """Items of a table in memory.

        Parameters
        ----------
        frame : a pandas or polars DataFrame, a pyarrow Table, a Hugging Face data set, or a
            mapping of columns, each by position. Cells may be PIL pictures and NumPy arrays.
        id : column of unique ids; row number when not given.
        base : folder that relative paths in cells start from; the current one when not given.
            Cells may name any file and address, as code of your own may.

        Raises
        ------
        ConjoinError : it is no table, is empty, or its ids are missing or repeat.

        Examples
        --------
        >>> items = Items.from_frame({"name": ["a", "b"], "caption": ["a cat", None]}, id="name")
        >>> [cell for key, cell in items.cells("caption", "text")]
        ['a cat']
        """
        source = _held(frame)
        if not isinstance(id, str | None):
            raise ConjoinError("id", f"is a {type(id).__name__}", "name a column")
        if source.rows == 0:
            raise ConjoinError("frame", "has no rows", "give one row an item")
        return cls(source, _ids(source, id, "frame"), base or Path(), "frame")

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item: object) -> bool:
        return item in self._row_of

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self._source.names

    @property
    def notes(self) -> tuple[str, ...]:
        """What was guessed or passed over in reading the table, a line each."""
        return self._source.notes

    @property
    def table(self) -> pa.Table:
        """Everything as an Arrow table, but for columns of Python objects."""
        return self._source.read()

    @property
    def scalars(self) -> pa.Table:
        """The columns whose cells are single values: text, numbers, truth, dates."""
        names = [name for name in self.names if is_scalar(self._source.type(name))]
        return self._source.read(names)

    def column(self, name: str) -> list[Any]:
        """Values of a column in row order, ``None`` where missing (labels, filters, groups).

        Raises
        ------
        ConjoinError : there is no such column.
        """
        require_columns(self.names, [name], self.where)
        return [None if is_missing(value) else value for value in self._source.values(name)]

    def row(self, item: str) -> int:
        """Row number of an item.

        Raises
        ------
        ConjoinError : there is no such item.
        """
        if item not in self._row_of:
            raise ConjoinError(self.where, f"has no item {str(item)!r}", "give one of its ids")
        return self._row_of[item]

    def cells(self, column: str | Sequence[str], kind: str, cut: Cut | None = None) -> Modality:
        """The cells of a modality, to walk as ``(Key, cell)`` or to fetch one by one.

        Parameters
        ----------
        column : one column, or several for kind ``table``.
        kind : what the encoder reads: text, image, audio, table, series, vector…
        cut : the cells are recordings, and moments of them are read.

        Raises
        ------
        ConjoinError : there is no such column, or (at the end of a walk) every cell is missing, or
            recordings are to be cut for an encoder of another kind than ``image`` and ``audio``.
        """
        if cut is not None and kind not in STREAMS:
            raise ConjoinError(
                f"{self.where}, column {column!r}",
                f"every = {cut.every:g} for cells of kind {kind}",
                "give an encoder of pictures or sounds, or leave every out",
            )  # fmt: skip
        if not isinstance(column, str) and not _are_names(column):
            raise ConjoinError("column", f"is a {type(column).__name__}", "name a column")
        if not isinstance(column, str) and kind != "table":
            raise ConjoinError(
                f"{self.where}, columns {list(column)}", f"several for cells of kind {kind}",
                "name one column, or give an encoder of table rows such as builtin:table",
            )  # fmt: skip
        columns = (column,) if isinstance(column, str) else tuple(column)
        require_columns(self.names, columns, self.where)
        return Modality(self, columns, kind, cut)

    def values(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Walk the rows of some columns as they are stored."""
        return zip(*(self._source.values(name) for name in columns), strict=True)

    def value(self, column: str, item: str) -> Any:
        """One item's value in a column, as it is stored.

        Raises
        ------
        ConjoinError : there is no such item or column.
        """
        require_columns(self.names, [column], self.where)
        return self._source.at(column, self.row(item))

    def groups(self, config: Config | None = None) -> np.ndarray:
        """``[n]`` group of each item: the group column's, merged where a pairs table links them.

        An item without one is a group of its own.
        """
        return self._merged(config, self._links(config))

    def _links(self, config: Config | None) -> list[Links]:
        tables = [name for name, part in config.pairs.items() if part.table] if config else []
        return [read_links(config, name, self._row_of) for name in tables] if config else []

    def _merged(self, config: Config | None, links: list[Links]) -> np.ndarray:
        groups = [str(item) for item in self.ids]
        if config is not None and config.split.group is not None:
            values = self.column(config.split.group)
            groups = [
                item if value is None else str(value)
                for item, value in zip(groups, values, strict=True)
            ]
        return merge_groups(groups, links)

    def split(self, config: Config) -> Split:
        """The split that ``[split]`` asks for.

        Raises
        ------
        ConjoinError : as :func:`~conjoin.items.split.make_split` and ``column_split``.
        """
        groups, rule = self.groups(config), config.split
        if rule.column is not None:
            where = f"{self.where}, column {rule.column!r}"
            return column_split(self.ids, groups, self.column(rule.column), where)
        return make_split(self.ids, groups, test=rule.test, seed=rule.seed)

    def pairs(self, config: Config | None, spaces: Mapping[str, Space]) -> Pairs:
        """Lines of the rows of ``spaces`` that belong together.

        Cells of one row are pairs, but for modalities that a pairs table joins: there only its
        lines count. Where ``[pairs]`` entries without a table name couples of modalities, a row
        pairs those couples alone. Rows that a space lacks are absent. The columns follow
        ``spaces``.

        Raises
        ------
        ConjoinError : a pairs table is wrong, or there are fewer than two lines.
        """
        every = self._links(config)
        links = [link for link in every if link.left in spaces and link.right in spaces]
        groups = self._merged(config, every)
        group_of = dict(zip(map(str, self.ids), map(str, groups), strict=True))
        named = {frozenset((link.left, link.right)) for link in links}
        by_row = [part for part in config.pairs.values() if not part.table] if config else []
        if by_row:
            kept = {frozenset((part.left, part.right)) for part in by_row}
            named |= {frozenset(couple) for couple in combinations(spaces, 2)} - kept
        found = [same_row(spaces, group_of, named)]
        found += [linked(link, spaces, self.ids, groups) for link in links]
        lines = [in_order(pairs, list(spaces)) for pairs in found if pairs is not None]
        if sum(map(len, lines)) < 2:
            raise FewPairs(
                self.where, f"{sum(map(len, lines))} pairs between {', '.join(spaces)}",
                "give items with cells in two modalities, or a pairs table",
            )  # fmt: skip
        joined = lines[0]
        for more in lines[1:]:
            joined = joined.join(more)
        return joined


def _ids(source: Source, column: str | None, where: str) -> np.ndarray:
    if column is None:
        return np.arange(source.rows).astype(str)
    require_columns(source.names, [column], f"{where} ([items] id)" if where != "frame" else where)
    place = f"{where}, column {column!r}"
    found = id_strings(list(source.values(column)), place)
    if len(set(found)) < len(found):
        first: dict[str, int] = {}
        for row, item in enumerate(found):
            if first.setdefault(item, row) != row:
                raise ConjoinError(
                    place, f"id {item!r} is on rows {first[item]} and {row}", "make ids unique"
                )
    return np.array(found, dtype=str)


def _are_names(columns: Any) -> bool:
    return isinstance(columns, list | tuple) and all(isinstance(name, str) for name in columns)


def _held(frame: Any) -> Source:
    if hasattr(frame, "with_format") and hasattr(frame, "features"):  # Hugging Face
        frame = frame.with_format("arrow")[:]
    if isinstance(frame, pa.Table):
        held = Held(frame.replace_schema_metadata(None))
        return with_classes(held, frame.schema.metadata)
    columns = {name: list(values) for name, values in frame_columns(frame).items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ConjoinError("frame", f"columns of {lengths} rows", "give columns of one length")
    arrays, objects = {}, {}
    for name, values in columns.items():
        try:
            arrays[name] = pa.array(values, from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            objects[name] = [None if is_missing(value) else value for value in values]
    return Held(pa.table(arrays), objects)
