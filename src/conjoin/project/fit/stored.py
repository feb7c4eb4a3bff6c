"""A fit in use: the binding, its corrections, and where they lie."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from conjoin.alignment.binding import Binding
from conjoin.catalogue import find
from conjoin.errors import FrameError, StateError
from conjoin.project.fit.multi_part import EACH
from conjoin.project.workspace import Workspace
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.hubness.csls import Corrector
from conjoin.storage.files import FORMAT, check_arrays, json_mark, read_json, within, write_json

#: The binding of a cascade's second stage, beside the fit.
AGAIN = "again"


@dataclass(frozen=True, eq=False)
class Fit:
    """A binding in use: where it lies and the rules by which its index scores.

    Parameters
    ----------
    parts : how parts were joined, of each modality where they were.
    drift : how answers moved against the fit before, where this one was just made.
    repaired : what was wrong with the index of a fit that was there, and is built again.
    """

    folder: Path
    binding: Binding
    rules: Rules = field(default_factory=Rules)
    fresh: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)
    drift: Any = None
    repaired: str | None = None

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
    _same_file(folder / "binding.json", raw.get("binding"))
    if "rules" in raw:
        return Fit(folder, binding, Rules.from_json(raw["rules"]), parts=raw.get("parts", {}))
    # A fit of an earlier version: corrections by name, scores without a calibration.
    known = {(q, t): find("correction", name).make() for q, t, name in raw["corrections"]}
    return Fit(folder, binding, Rules(known))


def write_facts(
    folder: Path, facts: Mapping[str, Any], rows: Mapping[str, int] | None = None
) -> None:
    """Write ``fit.json``, which names the binding beside it by its digest.

    Parameters
    ----------
    facts : what it says; the digest and the rows of a fit it was copied from are left out.
    rows : how many rows of each modality are bound, where the index is to hold just these.
    """
    kept = {key: value for key, value in facts.items() if key not in ("binding", "rows")}
    kept |= {"version": FORMAT, "binding": json_mark(folder / "binding.json")}
    write_json(folder / "fit.json", {**kept, "rows": dict(rows)} if rows else kept)


def check_whole(folder: Path, mark: str | None = None) -> None:
    """Read every file of a fit and compare it with what it was when it was written.

    Parameters
    ----------
    mark : the digest of its ``fit.json``, where it was published.

    Raises
    ------
    StateError : one is missing, torn, rotten or another.
    """
    facts = read_json(folder / "fit.json", ["corrections"])
    _same_file(folder / "fit.json", mark)
    _same_file(folder / "binding.json", facts.get("binding"))
    marks = read_json(folder / "binding.json", ["maps"]).get("marks", {})
    for name, held in marks.items():
        check_arrays(within(folder, name), held)


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
    """The fit in use, to tell of it; not to ask it, as it may be stale.

    Raises
    ------
    StateError : it is another than the one that was published.
    """
    current = ws.current
    folder = ws.state / current["maps"]
    _same_file(folder / "fit.json", current.get("fit"))
    return open_fit(folder)


def _same_file(path: Path, mark: Any) -> None:
    if mark is not None and path.is_file() and json_mark(path) != mark:
        read_json(path)  # rotten, or of a newer conjoin: then that is what is wrong
        raise StateError(
            str(path), "is another file than the one its manifest names",
            "run: conjoin clean, then: conjoin fit",
        )  # fmt: skip


def stale(name: str) -> FrameError:
    """The refusal of a modality whose encoder is not the one it was fitted with."""
    return FrameError(
        f"modality {name}",
        "its encoder changed since the fit, so its map is stale",
        "re-embed and fit again (conjoin embed, conjoin fit), or restore the encoder",
    )
