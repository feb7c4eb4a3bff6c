"""What ``conjoin sync`` does and prints."""

from pathlib import Path
from typing import Any

from conjoin.cli.console import Console, confirm
from conjoin.cli.options import opened
from conjoin.errors import ConjoinError
from conjoin.project.search.index import open_index, pending
from conjoin.project.search.sync import Synced, bound_names, follow, sync
from conjoin.project.workspace import Workspace


def run_sync(
    folder: Path, console: Console, *, watch: bool, every: float, dry: bool, yes: bool
) -> None:
    """Bring the index up to date, once or for as long as it runs."""
    if dry:
        _planned(opened(folder, writes=False), console)
        return
    if not watch:
        _once(opened(folder, writes=True), console, yes=yes)
        return

    def act(ws: Workspace) -> None:
        try:
            _once(ws, console, yes=yes)
        except ConjoinError as error:  # the next change is followed all the same
            console.say(str(error))

    console.note(f"following {folder.resolve()}; stop with Ctrl-C")
    try:
        follow(lambda: opened(folder, writes=True), act, every=every)
    except KeyboardInterrupt:
        console.note("stopped; what was brought up to date stays")


def _planned(ws: Workspace, console: Console) -> None:
    """What there would be to do, as far as it shows without embedding."""
    told: dict[str, Any] = {"modalities": {}, "dry": True}
    wanted = pending(ws, open_index(ws), bound_names(ws))
    for name in bound_names(ws):
        keys = set(ws.cells(name, ws.encoder(name).kind).list_keys())
        have = set(ws.store(name).live())
        told["modalities"][name] = {
            "embed": len(keys - have), "drop": len(have - keys),
            "index": len(wanted.new[name]), "gone": len(wanted.gone[name]),
        }  # fmt: skip
        one = told["modalities"][name]
        console.say(
            f"{name}: {one['embed']} cells to embed, {one['drop']} to drop; {one['index']} "
            f"embedded rows not in the index, {one['gone']} of it no longer embedded"
        )
    console.result(told)


def _once(ws: Workspace, console: Console, *, yes: bool) -> Synced:
    def embed(name: str) -> Any:
        return ws.embed(name, progress=console.progress(name))

    steps = console.steps("sync")
    made = sync(ws, note=steps, ask=lambda question: confirm(question, yes=yes), embed=embed)
    for name, one in made.embedded.items():
        away = f", {len(one.away)} unreachable and kept" if one.away else ""
        if one.failed or one.away:
            console.say(f"{name}: {len(one.failed)} cells failed{away}; conjoin embed lists them")
    console.say(sentence(made))
    console.result(made.to_json())
    return made


def sentence(made: Synced) -> str:
    """What a sync did, in a line."""
    if not made.changed:
        return f"nothing has changed ({made.seconds:.1f} s)"
    parts = [
        f"{sum(counts.values())} {word} ({', '.join(f'{n} {c}' for n, c in counts.items())})"
        for word, counts in (
            ("added", made.added), ("replaced", made.replaced), ("deleted", made.deleted),
        )
        if counts
    ]  # fmt: skip
    shown = f"; version {made.version}" if made.version else ""
    return f"{', '.join(parts)}: searched from now on{shown} ({made.seconds:.1f} s)"
