"""changes."""

from collections.abc import Mapping
from typing import Any

from conjoin.cli.console import Console
from conjoin.report.text import number


def show_change(told: Mapping[str, Any], console: Console) -> None:
    """The change as a table and a sentence."""
    console.say(
        f"fixes: {told['dropped']} pairs left out, {told['moved']} given another partner, "
        f"{told['linked']} couples of items linked"
    )
    for note in told["notes"]:
        console.say(f"note: {note}")
    console.table(
        f"The same held-out pairs ({told['held_out'][1]} of {told['held_out'][0]}: what was "
        "dropped is asked of neither)",
        (told["metric"], "without fixes", "with fixes", "change, 95 % interval by group"),
        [
            (row["direction"], number(row["without"]), number(row["with"]),
             f"{row['change']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]")
            for row in (*told["directions"], told["all"])
        ],
    )  # fmt: skip
    row = told["all"]
    sure = (
        "better than" if row["low"] > 0 else "worse than" if row["high"] < 0
        else "not told apart from"
    )  # fmt: skip
    console.say(f"the fit with fixes is {sure} that without")
