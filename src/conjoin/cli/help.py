"""The commands in groups by what they are for, as ``conjoin --help`` lists them."""

from collections.abc import Mapping
from typing import Any

from typer.core import TyperGroup

#: Commands by purpose; each stands in one group.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Start": ("demo", "read", "init", "embed", "info", "trust"),
    "Align and search": ("fit", "search", "ask", "tune", "explain"),
    "Trust": (
        "evaluate",
        "measure",
        "compare",
        "benchmark",
        "forecast",
        "doctor",
        "report",
        "claims",
    ),
    "Decide": ("head", "fuse", "transcribe"),
    "Models": ("methods", "model", "weights", "negatives", "bridge", "distill", "upgrade"),
    "Keep current": ("sync", "index", "add", "remove", "merge", "jobs", "clean"),
    "Serve": ("serve",),
}


class Grouped(TyperGroup):
    """A group of commands whose help has a section per purpose."""

    # Versions of typer differ in whose context and formatter these are: click's or their own.
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group; a command of none comes last."""
        known = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        listed = {name: each for name, each in known.items() if each and not each.hidden}
        placed = {name for names in GROUPS.values() for name in names}
        groups = {**GROUPS, "Further": tuple(name for name in listed if name not in placed)}
        wide = max(map(len, listed))
        for title, names in groups.items():
            lines = [
                (name.ljust(wide), listed[name].get_short_help_str(formatter.width - 6 - wide))
                for name in names
                if name in listed
            ]
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)
