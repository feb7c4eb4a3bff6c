"""A fit in use: the binding, its corrections, and where they lie."""

from dataclasses import dataclass
from pathlib import Path

from conjoin.app.workspace import Workspace
from conjoin.binding import Binding
from conjoin.errors import FrameError
from conjoin.spaces.files import read_json


@dataclass(frozen=True, eq=False)
class Fit:
    """A binding in use: where it lies and which corrections go with it."""

    folder: Path
    binding: Binding
    corrections: dict[tuple[str, str], str]
    fresh: bool = False


def open_fit(folder: Path) -> Fit:
    """The fit that lies in a folder."""
    binding = Binding.load(folder)
    listed = read_json(folder / "fit.json", ["corrections"])["corrections"]
    return Fit(folder, binding, {(query, target): name for query, target, name in listed})


def current_fit(ws: Workspace) -> Fit:
    """The fit in use."""
    return open_fit(ws.state / ws.current["maps"])


def stale(name: str) -> FrameError:
    """The refusal of a modality whose encoder is not the one it was fitted with."""
    return FrameError(
        f"modality {name}",
        "its encoder changed since the fit, so its map is stale",
        "re-embed and fit again (conjoin embed, conjoin fit), or restore the encoder",
    )
