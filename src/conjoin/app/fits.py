"""A fit in use: the binding, its corrections, and where they lie."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from conjoin.app.workspace import Workspace
from conjoin.binding import Binding
from conjoin.catalogue import find
from conjoin.errors import FrameError
from conjoin.search.correction import Corrector
from conjoin.search.rules import Rules
from conjoin.spaces.files import read_json

#: The binding of a cascade's second stage, beside the fit.
AGAIN = "again"


@dataclass(frozen=True, eq=False)
class Fit:
    """A binding in use: where it lies and the rules by which its index scores."""

    folder: Path
    binding: Binding
    rules: Rules = field(default_factory=Rules)
    fresh: bool = False

    @cached_property
    def upgrade(self) -> dict[str, Any] | None:
        """What an upgrade said when it made this fit, if one did."""
        return read_json(self.folder / "fit.json", ["corrections"]).get("upgrade")

    @cached_property
    def again(self) -> Binding | None:
        """The binding of a cascade's second stage; read once, as a rollback may take it away."""
        said, folder = self.upgrade, self.folder / AGAIN
        if not said or said["arm"]["name"] != "cascade" or not folder.exists():
            return None
        return Binding.load(folder)

    @property
    def corrections(self) -> dict[tuple[str, str], Corrector]:
        """The correction of each direction that has one."""
        return dict(self.rules.correctors)


def open_fit(folder: Path) -> Fit:
    """The fit that lies in a folder."""
    binding = Binding.load(folder)
    raw = read_json(folder / "fit.json", ["corrections"])
    if "rules" in raw:
        return Fit(folder, binding, Rules.from_json(raw["rules"]))
    # A fit of an earlier version: corrections by name, scores without a calibration.
    known = {(q, t): find("correction", name).make() for q, t, name in raw["corrections"]}
    return Fit(folder, binding, Rules(known))


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
