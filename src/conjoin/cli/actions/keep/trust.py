"""What ``conjoin trust`` prints."""

from conjoin.cli.console import Console
from conjoin.project.trust import runs_code, trust
from conjoin.project.workspace import Workspace


def run_trust(ws: Workspace, console: Console, *, dry: bool) -> None:
    """Let a workspace's own code run from now on."""
    uris = [modality.uri for modality in ws.modalities if runs_code(modality.uri)]
    if uris and not dry:
        trust(ws.folder, uris)
    said = "may run" if not dry else "would be let run"
    console.say(f"{', '.join(uris)} {said}" if uris else "it names no code: nothing to trust")
    console.result({"code": uris, "dry": dry})
