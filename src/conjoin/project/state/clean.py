"""``conjoin clean``: state that nothing in use needs, and state that is no longer what it was."""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conjoin.errors import ConjoinError, MissingDependency, StateError
from conjoin.project.fit.stored import check_whole
from conjoin.project.workspace import CONFIG, STATE, Workspace
from conjoin.retrieval.index.integrity import faults
from conjoin.spaces.store import SpaceStore
from conjoin.storage.files import NEWER, at_work, check_arrays, read_json, temporaries, within


@dataclass(frozen=True)
class Unneeded:
    """State that nothing in use needs.

    Parameters
    ----------
    folder : of the workspace.
    paths : files and folders of its state.
    size : their bytes.
    """

    folder: Path
    paths: tuple[Path, ...]
    size: int

    def to_json(self) -> dict[str, Any]:
        """One object for programs; paths are within the workspace."""
        return {
            "removed": [str(path.relative_to(self.folder)) for path in self.paths],
            "bytes": self.size,
        }

    def remove(self) -> None:
        """Remove all of it."""
        for path in self.paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def unneeded(folder: Path, *, everything: bool = False) -> Unneeded:
    """What could be removed; found even where the state is torn.

    Parameters
    ----------
    everything : the whole state, also what is in use.

    Raises
    ------
    ConjoinError : the folder is no workspace.
    """
    state = folder / STATE
    if not (folder / CONFIG).exists():
        raise ConjoinError(str(folder / CONFIG), "is missing", "name the workspace: --workspace")
    doomed = [state] if everything and state.exists() else _unused(folder, state)
    size = sum(
        f.stat().st_size for d in doomed for f in ([d] if d.is_file() else d.rglob("*"))
        if f.is_file()
    )  # fmt: skip
    return Unneeded(folder, tuple(doomed), size)


def _unused(folder: Path, state: Path) -> list[Path]:
    """State folders that neither the configuration nor the fit in use names, or that are torn.

    What is torn is made again by the next ``embed`` or ``fit``.
    """
    ws = Workspace(folder, writes=False)
    frames, keep = _in_use(state)
    for modality in ws.modalities:
        try:
            store = ws.stored(modality.name)
            keep |= set(state.glob("spaces/*")) if store is None else {store.folder}
        except ConjoinError:  # which vectors are its own cannot be told: keep them all
            keep |= set(state.glob("spaces/*"))
    keep |= {p for p in (state / "spaces").glob("*") if _frame_of(p) in frames}
    groups = [state / name for name in ("spaces", "maps", "index")]
    found = {p for group in groups if group.exists() for p in group.iterdir()} - keep
    found |= {p for p in state.glob("spaces/*") if _torn(p)}
    found |= {p.parent for p in state.glob("encoders/*/encoder.json") if not _whole(p, ["state"])}
    found |= {p for p in state.glob("encoders/*/probes.safetensors") if _rotten(p)}
    found |= {p for p in state.glob("runs/*.json") if not _whole(p, ["results"])}
    found |= _unused_knowledge(state)
    found |= {p for p in state.glob("trust/*.json") if not _whole(p, ["reliability"])}
    for index in (state / "index").glob("*"):
        if index not in found:
            found |= _rotten_derived(index)
    if (state / "current.json").exists() and not keep & found and not frames:
        found.add(state / "current.json")
    left = {*state.rglob("*.tmp"), *temporaries(folder, CONFIG)}
    left -= {p for p in left if p.is_file() and at_work(p)}
    return sorted(found | {p for p in left if not any(p.is_relative_to(gone) for gone in found)})


def _rotten(path: Path) -> bool:
    """Whether a safetensors file is not what was written."""
    try:
        check_arrays(path)
    except StateError as error:
        return error.remedy != NEWER
    return False


def _rotten_derived(index: Path) -> set[Path]:
    """Derived files of an index that are not what was derived; they are made again."""
    try:
        return {fault.path for fault in faults(index) if fault.derived and fault.path.exists()}
    except (OSError, ConjoinError, KeyError, TypeError):
        return set()


def _unused_knowledge(state: Path) -> set[Path]:
    """Heads that are not in use, students that bind nothing, and fusions that are torn or partial.

    A fusion that is whole is what its question opens, so it stays until ``--all``.
    """
    facts = {p: p / "fusion.json" for p in (state / "fusions").glob("*")}
    found = {p for p, f in facts.items() if not (f.exists() and _whole(f, ["arms"]))}
    found |= set(state.glob("fusions/*/unfinished")) - {p / "unfinished" for p in found}
    used: set[str] = set()
    with contextlib.suppress(OSError, ConjoinError, KeyError, TypeError):
        used.add(str(read_json(state / "heads" / "current.json", ["head"])["head"]))
    found |= {p for p in (state / "heads").glob("*") if p.is_dir() and p.name not in used}
    bound = _bound_maps(state)
    for folder in (state / "students").glob("*"):
        if bound is not None and not any(_binds(folder, one) for one in bound):
            found.add(folder)
    return found


def _bound_maps(state: Path) -> list[Any] | None:
    """The maps of the binding in use; ``None`` where it cannot be told."""
    from conjoin.alignment.binding import Binding

    if not (state / "current.json").exists():
        return []
    try:
        current = read_json(state / "current.json", ("maps", "index"))
        return list(Binding.load(within(state, current["maps"])).maps.values())
    except (OSError, ConjoinError, KeyError, TypeError):
        return None


def _binds(folder: Path, bound: Any) -> bool:
    """Whether a modality is bound by the student that lies here."""
    from conjoin.maps.base import load_map
    from conjoin.project.transfer.distill import FILE, same_map

    with contextlib.suppress(OSError, ConjoinError):
        return same_map(bound, load_map(folder / FILE))
    return False


def _in_use(state: Path) -> tuple[set[str], set[Path]]:
    """Source frames and folders of the fit in use; none where it cannot be opened."""
    from conjoin.alignment.binding import Binding
    from conjoin.retrieval.index.index import Index

    try:
        current = read_json(state / "current.json", ("maps", "index"))
        folders = {part: within(state, current[part]) for part in ("maps", "index")}
        check_whole(folders["maps"], current.get("fit"))
        binding = Binding.load(folders["maps"])
    except (OSError, ConjoinError, KeyError, TypeError) as error:
        if getattr(error, "remedy", "") == NEWER:
            raise
        return set(), set()
    keep = {folders["maps"]}
    with contextlib.suppress(ConjoinError, FileNotFoundError):
        if not any(not fault.derived for fault in faults(folders["index"])):
            with contextlib.suppress(MissingDependency):  # whole, but not readable here
                Index.open(folders["index"])
            keep.add(folders["index"])
    return {item.source.id for item in binding.maps.values()}, keep


def _whole(path: Path, needs: Sequence[str]) -> bool:
    try:
        read_json(path, needs)
    except StateError as error:
        return error.remedy == NEWER
    return True


def _torn(folder: Path) -> bool:
    """Whether stored vectors cannot be opened."""
    try:
        store = SpaceStore.at(folder)
        store.open()
        store.pending()
        if any(fault.remedy != NEWER for fault in store.faults()):
            return True
    except StateError as error:
        return error.remedy != NEWER
    except (OSError, ConjoinError, KeyError, TypeError):
        return True
    return False


def _frame_of(folder: Path) -> str | None:
    try:
        return str(read_json(folder / "manifest.json")["frame"]["id"])
    except (OSError, ConjoinError, KeyError, TypeError):
        return None
