"""A fit in use: the binding, its corrections, and where they lie."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from conjoin.app.parts import EACH
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
    """A binding in use: where it lies and the rules by which its index scores.

    Parameters
    ----------
    parts : how parts were joined, of each modality where they were.
    drift : how answers moved against the fit before, where this one was just made.
    """

    folder: Path
    binding: Binding
    rules: Rules = field(default_factory=Rules)
    fresh: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)
    drift: Any = None

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
        return Fit(folder, binding, Rules.from_json(raw["rules"]), parts=raw.get("parts", {}))
    # A fit of an earlier version: corrections by name, scores without a calibration.
    known = {(q, t): find("correction", name).make() for q, t, name in raw["corrections"]}
    return Fit(folder, binding, Rules(known))


def current_fit(ws: Workspace) -> Fit:
    """The fit in use.

    Raises
    ------
    FrameError : the configuration now joins a modality's parts in another way.
    """
    made = fit_as_it_is(ws)
    for name in made.binding.maps:
        entry = ws.config.modalities.get(name)
        before = made.parts.get(name, EACH)
        if entry is not None and entry.parts != before:
            raise FrameError(
                f"modality {name}",
                f'was fitted with parts = "{before}", conjoin.toml says "{entry.parts}"',
                f'fit again (conjoin fit), or write parts = "{before}"',
            )
    return made


def fit_as_it_is(ws: Workspace) -> Fit:
    """The fit in use, to tell of it; not to ask it, as it may be stale."""
    return open_fit(ws.state / ws.current["maps"])


def stale(name: str) -> FrameError:
    """The refusal of a modality whose encoder is not the one it was fitted with."""
    return FrameError(
        f"modality {name}",
        "its encoder changed since the fit, so its map is stale",
        "re-embed and fit again (conjoin embed, conjoin fit), or restore the encoder",
    )
