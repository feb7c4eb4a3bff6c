"""What ``conjoin bridge`` prints."""

from pathlib import Path

from conjoin.cli.console import Console
from conjoin.project.fit.text_bridge import bridge_texts, drop_bridge, read_texts, reader_for
from conjoin.project.workspace import Workspace
from conjoin.report.text import number
from conjoin.selection.text_bridge import K


def run_bridge(
    ws: Workspace,
    texts: Path,
    uri: str,
    console: Console,
    *,
    seed: int,
    apply: bool,
    dry: bool,
) -> None:
    """Fit a bridge by texts, say what it is worth, and put it to use where asked."""
    reader = reader_for(ws, uri)
    listed = read_texts(texts)
    if dry:
        console.say(f"would embed {len(listed)} texts by {reader.encoder.uri} and {uri}")
        console.result({"texts": len(listed), "dry": True})
        return
    found = bridge_texts(ws, listed, uri, seed=seed, apply=apply)
    held = found.bridge.held
    console.say(
        f"{found.bridge.choice.method}: {number(held.value, held.low, held.high)} of "
        f"{held.queries} held-out texts find their own vector among the first {K} (recall@{K})"
    )
    for target, arms in found.pairs.items():
        rows = [(name, number(one["value"], one["low"], one["high"])) for name, one in arms.items()]
        console.table(f"Held-out texts into {target} (recall@{K})", ("asked by", "recall"), rows)
    if apply:
        console.say(f"typed words are read by {uri} from now on; conjoin bridge --drop undoes it")
    console.result(found.to_json())


def run_drop(ws: Workspace, console: Console, *, dry: bool) -> None:
    """Let the joint model's own text encoder read words again."""
    drop_bridge(ws, dry=dry)
    console.say("typed words are read by the joint model's own text encoder again")
    console.result({"dropped": True, "dry": dry})
