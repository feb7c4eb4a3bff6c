"""Items: the rows of a table, their cells by modality, and which belong together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from conjoin.errors import CellError, ConjoinError
from conjoin.items.cells import cell_parts, content_hash, is_missing, resolve
from conjoin.items.config import Config
from conjoin.items.links import (
    Links,
    id_strings,
    in_order,
    linked,
    merge_groups,
    read_links,
    same_row,
)
from conjoin.items.sources import with_classes
from conjoin.items.split import Split, column_split, make_split
from conjoin.items.table import Held, Source, is_scalar, open_source, require_columns, table_base
from conjoin.spaces import Pairs, Space
from conjoin.spaces.given import frame_columns
from conjoin.spaces.store import Key


@dataclass(frozen=True, eq=False)
class Modality:
    """The cells of one kind in some columns of the items; made by :meth:`Items.cells`.

    Walking gives a key and a resolved cell a part, in row order, as often as asked. A cell that
    cannot be resolved (a URL that does not answer, say) comes as the
    :class:`~conjoin.errors.CellError` itself, its key's content 0, so that the walk goes on and
    the failure is recorded with its reason.
    """

    items: "Items"
    columns: tuple[str, ...]
    kind: str

    def __iter__(self) -> Iterator[tuple[Key, Any]]:
        some = False
        rows = zip(self.items.ids.tolist(), self.items.values(self.columns), strict=True)
        for item, values in rows:
            for part, cell in enumerate(self._resolved(values)):
                some = True
                content = 0 if isinstance(cell, CellError) else content_hash(cell, self.kind)
                yield Key(item, part, content), cell
        if not some:
            raise self._empty()

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
        parts = list(self._resolved(values))
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

    def _resolved(self, values: tuple[Any, ...]) -> Iterator[Any]:
        value = values[0]
        if self.kind == "table" and (len(values) > 1 or not _is_record(value)):
            value = dict(zip(self.columns, values, strict=True))
        for part in cell_parts(value, self.kind):
            try:
                yield resolve(part, self.items.base, self.kind)
            except CellError as error:
                yield error


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
    """

    def __init__(self, source: Source, ids: np.ndarray, base: Path, where: str):
        self._source, self.ids, self.base, self.where = source, ids, base, where
        self._row_of = {str(item): row for row, item in enumerate(ids)}

    @classmethod
    def load(cls, config: Config, folder: Path | None = None) -> "Items":
        """The items of a workspace.

        Parameters
        ----------
        folder : what paths are relative to; the folder of ``conjoin.toml`` when not given.

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
        return cls(source, ids, table_base(path), str(path))

    @classmethod
    def from_frame(cls, frame: Any, *, id: str | None = None, base: Path | None = None) -> "Items":
        """Items of a table in memory.

        Parameters
        ----------
        frame : a pandas or polars DataFrame, a pyarrow Table, a Hugging Face data set, or a
            mapping of columns, each by position. Cells may be PIL pictures and NumPy arrays.
        id : column of unique ids; row number when not given.
        base : folder that relative paths in cells start from; the current one when not given.

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
        if source.rows == 0:
            raise ConjoinError("frame", "has no rows", "give one row an item")
        return cls(source, _ids(source, id, "frame"), base or Path(), "frame")

    def __len__(self) -> int:
        return len(self.ids)

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

    def cells(self, column: str | Sequence[str], kind: str) -> Modality:
        """The cells of a modality, to walk as ``(Key, cell)`` or to fetch one by one.

        Parameters
        ----------
        column : one column, or several for kind ``table``.
        kind : what the encoder reads: text, image, audio, table, series, vector…

        Raises
        ------
        ConjoinError : there is no such column, or (at the end of a walk) every cell is missing.
        """
        if not isinstance(column, str) and kind != "table":
            raise ConjoinError(
                f"{self.where}, columns {list(column)}", f"several for cells of kind {kind}",
                "name one column, or give an encoder of table rows such as builtin:table",
            )  # fmt: skip
        columns = (column,) if isinstance(column, str) else tuple(column)
        require_columns(self.names, columns, self.where)
        return Modality(self, columns, kind)

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
            raise ConjoinError(
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
    first: dict[str, int] = {}
    for row, item in enumerate(id_strings(list(source.values(column)), place)):
        if item in first:
            raise ConjoinError(
                place, f"id {item!r} is on rows {first[item]} and {row}", "make ids unique"
            )
        first[item] = row
    return np.array(list(first))


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
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            objects[name] = [None if is_missing(value) else value for value in values]
    return Held(pa.table(arrays), objects)
