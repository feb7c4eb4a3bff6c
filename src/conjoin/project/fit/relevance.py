"""What a table says is relevant: columns of labels, keywords and groups."""

from typing import Any

from conjoin.items.reading.table import require_columns
from conjoin.project.workspace import Workspace
from conjoin.retrieval.calibration.graded_relevance import Grades


def grades_of(ws: Workspace) -> Grades | None:
    """Graded relevance by the columns of ``[relevance]``; ``None`` where there are none.

    Raises
    ------
    ConjoinError : a column is not in the table.
    """
    columns = named(ws)
    if not columns:
        return None
    require_columns(ws.items.names, list(columns.values()), f"{ws.config.path}: [relevance]")
    values: dict[str, Any] = {role: ws.items.column(name) for role, name in columns.items()}
    return Grades.of(ws.items.ids, **values)


def named(ws: Workspace) -> dict[str, str]:
    """The columns that give relevance, by what they hold."""
    part = ws.config.relevance
    roles = {"labels": part.labels, "keywords": part.keywords, "groups": part.groups}
    return {role: name for role, name in roles.items() if name is not None}
