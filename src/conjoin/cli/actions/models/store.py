"""What ``conjoin model store`` prints."""

from dataclasses import dataclass
from pathlib import Path

from conjoin.cli.console import Console
from conjoin.errors import ConjoinError
from conjoin.models.merging.store import Stored, open_store, store, take
from conjoin.project.models.merge_verdict import named, uri_of


@dataclass(frozen=True)
class StoreAsk:
    """What ``conjoin model store`` was asked.

    Parameters
    ----------
    folder : of the store.
    experts : to keep; none shows or takes.
    base : what they were trained from, or where it lies now.
    take : expert to write to ``out``.
    """

    folder: Path
    experts: tuple[str, ...]
    base: str | None
    method: str
    take: str | None
    out: Path | None


def run_store(ask: StoreAsk, console: Console, *, dry: bool = False) -> None:
    """Keep experts, take one out, or say what is kept."""
    if ask.take is not None:
        _take(ask, console, dry=dry)
        return
    if not ask.experts:
        _show(open_store(ask.folder), console)
        return
    if ask.base is None:
        raise ConjoinError("--base", "is missing", "name what the experts were trained from")
    experts = dict(zip(named(ask.experts), ask.experts, strict=True))
    if dry:
        console.say(f"would keep {', '.join(experts)} by {ask.method} in {ask.folder}")
        console.result({"experts": list(experts), "method": ask.method, "dry": True})
        return
    _show(store(ask.base, experts, ask.folder, ask.method), console)


def _take(ask: StoreAsk, console: Console, *, dry: bool) -> None:
    if ask.experts:
        raise ConjoinError("--take", "experts are named, too", "take from a store that is there")
    if ask.out is None:
        raise ConjoinError("--out", "is missing", "name the folder of the expert")
    assert ask.take is not None
    if dry:
        open_store(ask.folder)
        console.say(f"would write {ask.take} to {ask.out}")
        console.result({"take": ask.take, "out": str(ask.out), "dry": True})
        return
    uri = uri_of(str(take(ask.folder, ask.take, ask.out, ask.base)))
    console.say(f'encoder = "{uri}"')
    console.result({"take": ask.take, "folder": str(ask.out), "uri": uri})


def _show(found: Stored, console: Console) -> None:
    share = found.bytes / max(found.before, 1)
    console.say(
        f"{len(found.names)} experts by {found.method}: {found.bytes / 2**20:,.1f} MiB, "
        f"{share:.0%} of their own {found.before / 2**20:,.1f}; beside them {found.base}\n"
    )
    console.table(
        "", ("expert", "relative error of its change"),
        [(name, f"{found.errors[name]:.3f}") for name in found.names],
    )  # fmt: skip
    console.say(
        "an error of 1 is as if the expert had never been trained; to take one out: "
        f"conjoin model store {found.folder} --take {found.names[0]} --out DIR"
    )
    console.result(found.to_json())
