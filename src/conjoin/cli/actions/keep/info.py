"""What ``conjoin info`` prints."""

from typing import Any

from conjoin.cli.console import Console
from conjoin.errors import ConjoinError
from conjoin.project.evaluation import evaluate
from conjoin.project.fit import stored
from conjoin.project.workspace import Workspace


def run_info(ws: Workspace, console: Console) -> None:
    """What the workspace holds and what is in use."""
    listed = []
    for modality in ws.modalities:
        try:
            store = ws.stored(modality.name)
            space = None if store is None else store.open()
            count, frame = (0, None) if space is None else (len(space), space.frame.id)
            problem = None
        except ConjoinError as error:
            count, frame, problem = 0, None, str(error)
        listed.append(
            {"modality": modality.name, "encoder": modality.uri, "rows": count, "frame": frame,
             "problem": problem}
        )  # fmt: skip
    value: dict[str, Any] = {"modalities": listed, "versions": evaluate.versions(), "bound": None}
    if (ws.state / "current.json").exists():
        made = stored.fit_as_it_is(ws)
        value["bound"] = {
            "frame": made.binding.frame.id, "method": made.binding.choice.method,
            "hub": made.binding.hub, "modalities": list(made.binding.maps),
        }  # fmt: skip
    size = sum(f.stat().st_size for f in ws.state.rglob("*") if f.is_file())
    value["state_bytes"] = size
    console.table(
        "", ("modality", "encoder", "rows", "frame"),
        [(s["modality"], s["encoder"], s["rows"], s["problem"] or s["frame"] or "-")
         for s in listed],
    )  # fmt: skip
    bound = value["bound"]
    console.say(f"bound: {bound['method']}, hub {bound['hub']}" if bound else "bound: nothing yet")
    console.say(f"state: {size / 1e6:.1f} MB in {ws.state}")
    console.say("versions: " + ", ".join(f"{k} {v}" for k, v in value["versions"].items()))
    console.result(value)
