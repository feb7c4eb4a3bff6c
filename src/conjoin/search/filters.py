"""Filters on metadata: a small grammar, as a mask over rows and as SQL.

``family=hearts and year>=2010 and author in (Ann, "Le Bon")``: terms joined by ``and``, each a
column, one of ``= != < <= > >=`` or ``in``, and a value. Words need no quotes; values with spaces
or signs take ``'…'`` or ``"…"`` and columns take backticks, doubled where they hold one. A row
without a value in a column meets no term on it.
"""

import math
import re
from collections.abc import Mapping
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
    """One condition: ``op`` is a key of :data:`OPS`, or ``in`` with several values."""

    column: str
    op: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        column = f"`{self.column.replace('`', '``')}`"
        shown = ["'" + value.replace("'", "''") + "'" for value in self.values]
        return f"{column} in ({', '.join(shown)})" if self.op == "in" else (
            f"{column} {self.op} {shown[0]}"
        )  # fmt: skip


@dataclass(frozen=True)
class Filter:
    """Terms that must all hold; made by :func:`parse`."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return " and ".join(map(str, self.terms))

    def mask(self, table: pa.Table) -> np.ndarray:
        """``[n]`` booleans: the rows that meet every term.

        Raises
        ------
        ConjoinError : a column is unknown (near matches are named), or a value is not of its type.
        """
        held = np.ones(len(table), dtype=bool)
        for term in self.terms:
            _known(term, table.column_names)
            column = table.column(term.column)
            values = _typed(term, column.type)
            if term.op == "in":
                found = pc.is_in(column, value_set=pa.array(values, type=column.type))
            else:
                found = OPS[term.op](column, values[0])
            held &= pc.fill_null(found, False).to_numpy(zero_copy_only=False).astype(bool)
        return held

    def sql(self, types: Mapping[str, pa.DataType], names: Mapping[str, str]) -> str:
        """The same as SQL over columns that a table calls ``names[column]``."""
        parts = []
        for term in self.terms:
            _known(term, types)
            shown = [_literal(value) for value in _typed(term, types[term.column])]
            name = names[term.column]
            listed = f"in ({', '.join(shown)})" if term.op == "in" else f"{term.op} {shown[0]}"
            parts.append(f"({name} {listed})")
        return " AND ".join(parts)


def parse(text: str) -> Filter:
    """Read a filter.

    Raises
    ------
    ConjoinError : it does not follow the grammar; the place is shown.

    Examples
    --------
    >>> print(parse("year >= 2010 and kind in (cat, 'big dog')"))
    `year` >= '2010' and `kind` in ('cat', 'big dog')
    """
    tokens = _tokens(text)
    terms, at = [], 0
    while True:
        term, at = _term(tokens, at, text)
        terms.append(term)
        if at == len(tokens):
            return Filter(tuple(terms))
        kind, word = tokens[at]
        if kind != "word" or word.lower() != "and":
            raise ConjoinError(_WHERE, f"{word!r} follows a term", "join terms with and")
        at += 1


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


_FORM = "write column=value, != < <= > >= or in (a, b), joined by and"


def _plain(kind: str, text: str) -> str:
    if kind not in ("text", "column"):
        return text
    quote = text[0]
    return text[1:-1].replace(2 * quote, quote)


def _term(tokens: list[tuple[str, str]], at: int, text: str) -> tuple[Term, int]:
    def take(*kinds: str) -> str:
        nonlocal at
        if at >= len(tokens) or tokens[at][0] not in kinds:
            found = f"{tokens[at][1]!r} is out of place" if at < len(tokens) else "ends too early"
            raise ConjoinError(_WHERE, f"{found} in {text!r}", _FORM)
        at += 1
        return tokens[at - 1][1]

    column = take("word", "column", "text")
    if at < len(tokens) and tokens[at][0] == "word" and tokens[at][1].lower() == "in":
        at += 1
        values = _listed(take, text)
        return Term(column, "in", values), at
    op = take("op")
    return Term(column, op, (take("word", "text"),)), at


def _listed(take: Any, text: str) -> tuple[str, ...]:
    if take("mark") != "(":
        raise ConjoinError(_WHERE, f"in without a list in {text!r}", "write in (a, b)")
    values = []
    while True:
        values.append(take("word", "text"))
        mark = take("mark")
        if mark == ")":
            return tuple(values)
        if mark != ",":
            raise ConjoinError(_WHERE, f"{mark!r} in a list in {text!r}", "write in (a, b)")


def _known(term: Term, columns: Any) -> None:
    if term.column not in columns:
        raise ConjoinError(
            _WHERE, f"no column {term.column!r} of metadata", nearest(term.column, columns)
        )


def _typed(term: Term, kind: pa.DataType) -> list[pa.Scalar]:
    return [_value(term, value, kind) for value in term.values]


def _value(term: Term, text: str, kind: pa.DataType) -> pa.Scalar:
    where = f"{_WHERE} {term.column}{term.op if term.op != 'in' else ''}"
    try:
        if pa.types.is_boolean(kind):
            return pa.scalar({"true": True, "false": False}[text.lower()])
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


def _whole(text: str, kind: pa.DataType, op: str) -> pa.Scalar:
    """An integer; a fraction becomes the one that asks the same of integers."""
    try:
        return pa.scalar(int(text), type=kind)
    except ValueError:
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
