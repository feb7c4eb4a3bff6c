"""What ``conjoin weights`` prints."""

from pathlib import Path

from conjoin.cli.console import Console, confirm
from conjoin.encoders.open import cache_folder
from conjoin.encoders.weights import add, available
from conjoin.errors import ConjoinError, nearest


def run_weights_list(console: Console) -> None:
    """List weight sets."""
    found = available(cache_folder())
    console.table(
        "", ("weights", "size", "licence", "here"),
        [(w.name, f"{w.size / 1e6:.0f} MB", w.licence, "yes" if w.installed else "no")
         for w in found],
    )  # fmt: skip
    console.result({"weights": [dict(w.__dict__) for w in found]})


def run_weights_add(
    name: str, console: Console, *, source: Path | None, dry: bool, yes: bool
) -> None:
    """Fetch and convert a weight set."""
    known = {w.name: w for w in available(cache_folder())}
    if name not in known:
        raise ConjoinError("weights", f"{name!r} is unknown", nearest(name, known))
    if dry:
        there = "is here already" if known[name].installed else "would be fetched"
        console.say(f"{name} {there}")
        console.result({"weights": name, "installed": known[name].installed, "dry": True})
        return
    if name in known and source is None and not known[name].installed:
        confirm(f"fetch {name} ({known[name].size / 1e6:.0f} MB, {known[name].licence})?", yes=yes)
    made = add(name, cache_folder(), source)
    console.say(f"{name}: {made}")
    console.result({"weights": name, "path": str(made)})
