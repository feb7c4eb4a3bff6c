"""What ``conjoin clean`` asks and prints."""

from pathlib import Path

from conjoin.cli.console import Console, confirm
from conjoin.project.state.clean import unneeded


def run_clean(folder: Path, console: Console, *, dry: bool, yes: bool, everything: bool) -> None:
    """Remove state that nothing in use needs."""
    found = unneeded(folder, everything=everything)
    size = f"{len(found.paths)} entries, {found.size / 1e6:.1f} MB"
    if found.paths and not dry:
        confirm(f"remove {size}?", yes=yes)
        found.remove()
    console.say(f"{'would remove' if dry else 'removed'} {size}")
    console.result({**found.to_json(), "dry": dry})
