"""Filters on metadata: a small grammar, as a mask over rows and as SQL.

``family=hearts and (year>=2010 or author in (Ann, "Le Bon")) and not seen=true``: terms joined by
``and`` and ``or`` (``and`` binds more closely), with ``not`` and parentheses. A term is a column,
one of ``= != < <= > >=`` and a value; a column ``in (a, b)`` or ``not in (a, b)``; or a column
``is null`` or ``is not null``. Words need no quotes; values with spaces or signs take ``'…'`` or
``"…"`` and columns take backticks, doubled where they hold one. A row without a value in a column
meets no term on it but ``is null``. In texts ``true`` and ``false`` match in any case.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conjoin.errors import ConjoinError, nearest

OPS = {
    "=": pc.equal, "!=": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater,
    ">=": pc.greater_equal,
}  # fmt: skip
#: Operators that take a list of values, and those that take none.
LISTS, ALONE = ("in", "not in"), ("is null", "is not null")

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<column>`(?:[^`]|``)*`) | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<op><=|>=|!=|=|<|>) | (?P<mark>[(),]) | (?P<word>[^\s=!<>(),'"`]+)
    )""",
    re.VERBOSE,
)
_WHERE = "filter"


@dataclass(frozen=True)
class Term:
    """One condition: ``op`` is a key of :data:`OPS`, or one of :data:`LISTS` or :data:`ALONE`."""

    column: str
    op: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        column = f"`{self.column.replace('`', '``')}`"
        shown = ["'" + value.replace("'", "''") + "'" for value in self.values]
        if self.op in ALONE:
            return f"{column} {self.op}"
        return f"{column} {self.op} ({', '.join(shown)})" if self.op in LISTS else (
            f"{column} {self.op} {shown[0]}"
        )  # fmt: skip


@dataclass(frozen=True)
class Join:
    """Conditions of which all must hold (``and``), or one (``or``); or one that must not."""

    op: str
    parts: tuple["Term | Join", ...]

    def __str__(self) -> str:
        if self.op == "not":
            return f"not ({self.parts[0]})"
        shown = [str(part) if isinstance(part, Term) else f"({part})" for part in self.parts]
        return f" {self.op} ".join(shown)


@dataclass(frozen=True)
class Filter:
    """A condition on rows; made by :func:`parse`."""

    root: Term | Join

    def __str__(self) -> str:
        return str(self.root)

    def terms(self) -> Iterator[Term]:
        """Every term, from left to right."""
        yield from _terms(self.root)

    def mask(self, table: pa.Table) -> np.ndarray:
        """``[n]`` booleans: the rows that meet the filter.

        Raises
        ------
        ConjoinError : a column is unknown (near matches are named), or a value is not of its type.
        """
        found = pc.fill_null(_held(self.root, table), False)
        return np.asarray(found.to_numpy(zero_copy_only=False)).astype(bool)

    def sql(self, types: Mapping[str, pa.DataType], names: Mapping[str, str]) -> str:
        """The same as SQL over columns that a table calls ``names[column]``."""
        return _sql(self.root, types, names)

    def met_nothing(self, table: pa.Table) -> str:
        """Why no row meets it: the first term that none meets, and what its column holds."""
        for term in self.terms():
            if Filter(term).mask(table).any():
                continue
            return (
                f"the filter meets none of {len(table)} rows: {term.column!r} holds "
                f"{_shown(table.column(term.column))}"
            )
        return f"the filter meets none of {len(table)} rows, though each of its terms meets some"


def parse(text: str) -> Filter:
    """Read a filter.

    Raises
    ------
    ConjoinError : it does not follow the grammar; the place is shown.

    Examples
    --------
    >>> print(parse("year >= 2010 and kind in (cat, 'big dog') or year is null"))
    (`year` >= '2010' and `kind` in ('cat', 'big dog')) or `year` is null
    """
    reader = _Reader(_tokens(text), text)
    root = reader.either()
    if reader.at < len(reader.tokens):
        word = reader.tokens[reader.at][1]
        raise ConjoinError(_WHERE, f"{word!r} follows a term", "join terms with and, or")
    return Filter(root)


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, tokens: list[tuple[str, str]], text: str):
        self.tokens, self.text, self.at, self.depth = tokens, text, 0, 0

    def either(self) -> Term | Join:
        return self._joined("or", lambda: self._joined("and", self._one))

    def _joined(self, op: str, read: Any) -> Term | Join:
        parts = [read()]
        while self._word(op):
            parts.append(read())
        return parts[0] if len(parts) == 1 else Join(op, tuple(parts))

    def _one(self) -> Term | Join:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ConjoinError(_WHERE, f"nested more than {_DEEPEST} deep", "write less of it")
        try:
            if self._next_is("mark", "(") and self._take("mark"):
                inside = self.either()
                if self._take("mark") != ")":
                    raise ConjoinError(
                        _WHERE, f"a list that is out of place in {self.text!r}", _FORM
                    )
                return inside
            if self._negates() and self._word("not"):
                return Join("not", (self._one(),))
            return self._term()
        finally:
            self.depth -= 1

    def _term(self) -> Term:
        column = self._take("word", "column", "text")
        if self._word("is"):
            op = "is not null" if self._word("not") else "is null"
            if not (self._word("null") or self._word("missing") or self._word("none")):
                raise ConjoinError(_WHERE, f"is without null in {self.text!r}", "write is null")
            return Term(column, op)
        negated = self._next_is("word", "not", 0) and self._next_is("word", "in", 1)
        if negated:
            self.at += 1
        if self._word("in"):
            return Term(column, "not in" if negated else "in", self._listed())
        op = self._take("op")
        return Term(column, op, (self._take("word", "text"),))

    def _negates(self) -> bool:
        """Whether a ``not`` that comes next is no column's name."""
        if not self._next_is("word", "not"):
            return False
        after = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else ("", "")
        return after[0] != "op" and not (after[0] == "word" and after[1].lower() in ("in", "is"))

    def _next_is(self, kind: str, word: str, ahead: int = 0) -> bool:
        at = self.at + ahead
        return at < len(self.tokens) and (
            self.tokens[at][0] == kind and self.tokens[at][1].lower() == word
        )

    def _word(self, word: str) -> bool:
        """Whether that word comes next; it is then taken."""
        found = self._next_is("word", word)
        self.at += found
        return found

    def _take(self, *kinds: str) -> str:
        if self.at >= len(self.tokens) or self.tokens[self.at][0] not in kinds:
            ends = self.at >= len(self.tokens)
            found = "ends too early" if ends else f"{self.tokens[self.at][1]!r} is out of place"
            raise ConjoinError(_WHERE, f"{found} in {self.text!r}", _FORM)
        self.at += 1
        return self.tokens[self.at - 1][1]

    def _listed(self) -> tuple[str, ...]:
        if self._take("mark") != "(":
            raise ConjoinError(_WHERE, f"in without a list in {self.text!r}", "write in (a, b)")
        values = []
        while True:
            values.append(self._take("word", "text"))
            mark = self._take("mark")
            if mark == ")":
                return tuple(values)
            if mark != ",":
                found = f"{mark!r} in a list in {self.text!r}"
                raise ConjoinError(_WHERE, found, "write in (a, b)")


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise ConjoinError(_WHERE, f"cannot be read at {text[at:].strip()[:20]!r}", _FORM)
        kind = str(match.lastgroup)
        found.append((kind, _plain(kind, match.group(kind))))
        at = match.end()
    return found


_FORM = "write column=value, != < <= > >=, in (a, b) or is null, joined by and, or"
#: Parentheses and nots within each other.
_DEEPEST = 50


def _plain(kind: str, text: str) -> str:
    if kind not in ("text", "column"):
        return text
    quote = text[0]
    return text[1:-1].replace(2 * quote, quote)


def _known(term: Term, columns: Any) -> None:
    if term.column not in columns:
        raise ConjoinError(
            _WHERE, f"no column {term.column!r} of metadata", nearest(term.column, columns)
        )


def _terms(node: Term | Join) -> Iterator[Term]:
    if isinstance(node, Term):
        yield node
        return
    for part in node.parts:
        yield from _terms(part)


def _held(node: Term | Join, table: pa.Table) -> Any:
    """Which rows meet a condition, null where that cannot be told (as in SQL)."""
    if isinstance(node, Join):
        parts = [_held(part, table) for part in node.parts]
        if node.op == "not":
            return pc.invert(parts[0])
        join = pc.and_kleene if node.op == "and" else pc.or_kleene
        held = parts[0]
        for part in parts[1:]:
            held = join(held, part)
        return held
    _known(node, table.column_names)
    column = table.column(node.column)
    if node.op in ALONE:
        return pc.is_null(column) if node.op == "is null" else pc.is_valid(column)
    values = _typed(node, column.type)
    if _truth(node, column.type):
        column = pc.utf8_lower(column)
        values = [pa.scalar(value.as_py().lower(), column.type) for value in values]
    if node.op in LISTS:
        found = pc.is_in(column, value_set=pa.array([v.as_py() for v in values], column.type))
        found = pc.invert(found) if node.op == "not in" else found
        return pc.if_else(pc.is_valid(column), found, pa.scalar(None, pa.bool_()))
    return OPS[node.op](column, values[0])


def _sql(node: Term | Join, types: Mapping[str, pa.DataType], names: Mapping[str, str]) -> str:
    if isinstance(node, Join):
        parts = [_sql(part, types, names) for part in node.parts]
        if node.op == "not":
            return f"(NOT {parts[0]})"
        return f"({f' {node.op.upper()} '.join(parts)})"
    _known(node, types)
    name, kind = names[node.column], types[node.column]
    if node.op in ALONE:
        return f"({name} {node.op})"
    shown = [_literal(value) for value in _typed(node, kind)]
    if _truth(node, kind):
        name, shown = f"lower({name})", [value.lower() for value in shown]
    listed = f"{node.op} ({', '.join(shown)})" if node.op in LISTS else f"{node.op} {shown[0]}"
    return f"({name} {listed})"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _truth(term: Term, kind: pa.DataType) -> bool:
    """Whether texts are asked for truth values, which programs write in several cases."""
    asked = all(value.lower() in ("true", "false") for value in term.values)
    return _is_text(kind) and asked and term.op in ("=", "!=", *LISTS)


def _shown(column: pa.ChunkedArray) -> str:
    """The commonest values of a column, or its range."""
    filled = column.drop_null()
    if len(filled) == 0:
        return "no value"
    kind = column.type
    if not _is_text(kind) and not pa.types.is_boolean(kind) and not pa.types.is_dictionary(kind):
        ends = pc.min_max(filled)
        return f"{ends['min'].as_py()} to {ends['max'].as_py()}"
    counts = Counter(map(str, filled.to_pylist()))
    listed = ", ".join(repr(value[:40]) for value, _ in counts.most_common(5))
    return f"{listed} and {len(counts) - 5} others" if len(counts) > 5 else listed


def _typed(term: Term, kind: pa.DataType) -> list[pa.Scalar]:
    return [_value(term, value, kind) for value in term.values]


def _value(term: Term, text: str, kind: pa.DataType) -> pa.Scalar:
    where = f"{_WHERE} {term.column}{term.op if term.op in OPS else ''}"
    if _is_text(kind) and term.op in ("<", "<=", ">", ">=") and _NUMBER.fullmatch(text):
        raise ConjoinError(
            where, f"{text!r} is a number and the column holds texts, ordered by their letters",
            "write the column as numbers, or use = or in",
        )  # fmt: skip
    try:
        if pa.types.is_boolean(kind):
            return pa.scalar(_TRUTH[text.lower()])
        if pa.types.is_floating(kind):
            number = float(text)
            if not np.isfinite(number):
                raise ValueError
            return pa.scalar(number, type=kind)
        if pa.types.is_integer(kind):
            return _whole(text, kind, term.op)
        return pa.scalar(text).cast(kind)
    except (KeyError, ValueError, OverflowError, pa.ArrowException):
        raise ConjoinError(where, f"{text!r} is not of type {kind}", f"give a {kind}") from None


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TRUTH = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


def _whole(text: str, kind: pa.DataType, op: str) -> pa.Scalar:
    """An integer; a fraction becomes the one that asks the same of integers."""
    try:
        return pa.scalar(int(text), type=kind)
    except ValueError:
        if float(text).is_integer():  # 2.0, 1e3
            return pa.scalar(int(float(text)), type=kind)
        if op not in ("<", "<=", ">", ">="):
            raise
        near = math.ceil if op in ("<", ">=") else math.floor
        return pa.scalar(near(float(text)), type=kind)


def _literal(value: pa.Scalar) -> str:
    held = value.as_py()
    if isinstance(held, bool):
        return "true" if held else "false"
    if isinstance(held, int | float):
        return repr(held)
    text = str(held).replace("'", "''")
    kind = value.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return f"{'date' if pa.types.is_date(kind) else 'timestamp'} '{text}'"
    return f"'{text}'"
