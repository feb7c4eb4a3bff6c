"""system."""

from pathlib import Path

from conjoin.cli.console import Console
from conjoin.project.environment import extras, machine, versions, workspace


def run_system(folder: Path, console: Console) -> None:
    """Print it."""
    value = {"versions": versions(), "machine": machine(), "extras": extras(),
             "workspace": workspace(folder)}  # fmt: skip
    for title, part in value.items():
        console.say(f"{title}:")
        for key, told in (part or {"none": "no conjoin.toml here"}).items():
            if key != "faults":
                console.say(f"  {key}: {told}")
        for line in (part or {}).get("faults", ()):
            console.say(f"  fault: {line}")
    console.result(value)
