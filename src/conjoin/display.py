"""Values that show themselves as a table: as text in a terminal, as HTML in a notebook."""

from collections.abc import Sequence
from html import escape
from typing import Any

#: Rows of a table that a repr shows.
SHOWN = 20


class Tabular:
    """Base of results with one table worth a look; ``table`` gives its columns and rows.

    Examples
    --------
    >>> class Pair(Tabular):
    ...     def table(self):
    ...         return ("name", "value"), [("recall@10", 0.5)]
    >>> print(Pair())
    name       value
    recall@10  0.500
    >>> Pair()._repr_html_()[:25]
    '<table><thead><tr><th>nam'
    """

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Names of columns, and rows of cells."""
        raise NotImplementedError

    def __repr__(self) -> str:
        columns, rows = self.table()
        lines = [list(columns), *([_text(cell) for cell in row] for row in rows[:SHOWN])]
        widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
        shown = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([*shown, *_rest(len(rows))])

    def _repr_html_(self) -> str:
        columns, rows = self.table()
        head = "".join(f"<th>{escape(name)}</th>" for name in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_text(cell))}</td>" for cell in row) + "</tr>"
            for row in rows[:SHOWN]
        )
        rest = "".join(f"<p>{line}</p>" for line in _rest(len(rows)))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _text(cell: Any) -> str:
    """A cell as text: three decimals, and nothing for None."""
    if cell is None:
        return ""
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _rest(count: int) -> list[str]:
    return [f"… and {count - SHOWN} more rows"] if count > SHOWN else []
