"""What a person or a program reads: results on stdout, progress and notes on stderr."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from conjoin.errors import ConjoinError
from conjoin.report.text import is_figure

#: Columns of a table where there is no terminal to ask.
WIDE = 120

#: Exit codes; documented in docs/cli.md.
DONE, INCOMPLETE, BAD_INPUT, LOST, DEFECT, INTERRUPTED = 0, 1, 2, 3, 70, 130


#: Control characters, but for tabs and line feeds.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    r"""A text without control characters: those of a document, a model or a name move no cursor.

    >>> plain("a\x1b[2Jb\tc")
    'a[2Jb\tc'
    """
    return _CONTROLS.sub("", text)


@dataclass
class Console:
    """One place that decides what is printed where.

    Parameters
    ----------
    as_json : results are one JSON object on stdout and nothing else is printed there.
    quiet : no progress and no notes.
    silent : nothing at all on stdout (a step inside another verb).
    verbose : also what stands behind the answer; see :meth:`detail`.
    """

    as_json: bool = False
    quiet: bool = False
    silent: bool = False
    verbose: bool = False

    def result(self, value: Any) -> None:
        """Print a JSON result; people's form is printed by whoever has it."""
        if self.as_json and not self.silent:
            sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")

    def say(self, text: str) -> None:
        """Print a line of the people's form."""
        if not (self.as_json or self.silent):
            sys.stdout.write(plain(text) + "\n")

    def note(self, text: str) -> None:
        """Say something beside the result."""
        if not self.quiet:
            sys.stderr.write(plain(text) + "\n")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a table; columns of figures are set right, the last wraps where it must."""
        if self.as_json or self.silent:
            return
        from rich import box
        from rich.console import Console as Rich
        from rich.markup import escape
        from rich.table import Table

        body = [[plain(str(cell)) for cell in row] for row in rows]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for place, name in enumerate(columns):
            right = place > 0 and all(is_figure(row[place]) for row in body)
            last = place == len(columns) - 1 and not right
            table.add_column(name, justify="right" if right else "left", no_wrap=not last)
        for cells in body:
            table.add_row(*map(escape, cells))
        screen = Rich()
        screen = screen if screen.is_terminal else Rich(width=WIDE)
        with screen.capture() as drawn:
            screen.print(table)
        lines = [line.rstrip() for line in drawn.get().splitlines()]
        sys.stdout.write("\n".join([title, *lines] if title else lines) + "\n\n")

    def hushed(self) -> "Console":
        """The same console for a step whose result is not this verb's: stdout stays clean."""
        return Console(self.as_json, self.quiet, silent=True)

    def detail(self) -> "Console":
        """Where to print what stands behind an answer: nowhere unless ``--verbose`` was given."""
        return self if self.verbose else self.hushed()

    def steps(self, word: str) -> Callable[[str], None]:
        """Tells of each step where someone watches; elsewhere now and then, with the time gone."""
        began = time.monotonic()
        last = began + FIRST - AGAIN

        def note(text: str) -> None:
            nonlocal last
            now = time.monotonic()
            if sys.stderr.isatty():
                self.note(f"{word} {text}")
            elif now - last >= AGAIN:
                last = now
                self.note(f"{now - began:.0f} s: {word} {text}")

        return note

    def progress(self, task: str) -> "Progress":
        """A progress line for one task."""
        return Progress(task, silent=self.quiet, live=sys.stderr.isatty())


#: Seconds until a task off a terminal is told of, and between two lines on it.
FIRST, AGAIN = 10.0, 30.0


@dataclass
class Progress:
    """Done, total, rate and time left: one line of a terminal, written over; elsewhere plain
    lines, none of a task that is soon done, and then one every half minute and one at the end.
    """

    task: str
    silent: bool
    live: bool = True
    started: float = field(default_factory=time.monotonic)
    shown: float = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show where the task stands."""
        now = time.monotonic()
        if self.silent or not self._due(now, done >= total):
            return
        self.shown = now
        rate = done / max(now - self.started, 1e-6)
        left = f"  {(total - done) / rate:,.0f} s left" if rate and done < total else ""
        speed = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s" if rate else "starting"
        line = f"{self.task}: {done:,}/{total:,}  {speed}{left}"
        end = "\n" if done >= total else ""
        sys.stderr.write(f"\r{line}\x1b[K{end}" if self.live else f"{line}\n")
        sys.stderr.flush()

    def _due(self, now: float, over: bool) -> bool:
        if self.live:
            return over or now - self.shown >= 0.2
        if over:
            return self.shown > 0
        return now - (self.shown or self.started + FIRST - AGAIN) >= AGAIN


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is lost.

    Raises
    ------
    ConjoinError : nobody is there to answer.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConjoinError(question, "nobody to ask", "give --yes")
    import typer

    if not typer.confirm(question, err=True):
        raise ConjoinError(question, "the answer was no", "nothing was changed")
