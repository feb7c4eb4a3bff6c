"""Findings of the doctor as one page to look over and decide: it needs nothing else."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conjoin.report.thumbs import Thumb
from conjoin.storage.files import atomic


@dataclass(frozen=True)
class Cell:
    """One cell as a reader sees it.

    Parameters
    ----------
    role : what it is here, such as ``picture of`` or ``fits better``.
    item : its id; ``label`` is its name.
    """

    role: str
    item: str
    label: str
    thumb: Thumb


@dataclass(frozen=True)
class Row:
    """One finding to decide.

    Parameters
    ----------
    lines : decisions as the table takes them, but for what is decided; none where there is
        nothing to decide.
    fix : what ``fix`` means here; empty where it cannot be fixed.
    drop : what ``drop`` means here.
    partner : id proposed as the right partner, where a fix names one.
    """

    title: str
    because: str
    confidence: float
    precision: float | None
    cells: Sequence[Cell]
    lines: Sequence[Mapping[str, str]] = ()
    drop: str = ""
    fix: str = ""
    partner: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def payload(self) -> str:
        """The lines as JSON."""
        return json.dumps(list(self.lines), ensure_ascii=False)


@dataclass(frozen=True)
class Section:
    """The findings of one kind."""

    kind: str
    remedy: str
    count: int
    rows: Sequence[Row]


def review_page(title: str, lead: str, sections: Sequence[Section], path: Path) -> None:
    """Write one self-contained HTML page: a section a kind, a row a finding.

    Pictures and sounds are inlined, nothing is loaded from elsewhere, every value is escaped, and
    the page's policy admits no script but its own.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("conjoin.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    script = pages.get_template("review.js").render()
    seal = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = pages.get_template("review.html").render(
        title=title, lead=lead, sections=sections, script=script, seal=seal,
        to_decide=sum(bool(row.lines) for section in sections for row in section.rows),
    )  # fmt: skip
    with atomic(path) as file:
        file.write(page.encode())
