"""What an index's files were when they were written, and which of them are no longer that."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conjoin.errors import StateError
from conjoin.storage.files import check_arrays, file_digest, map_arrays, read_json, within

#: Folders of a table whose files are never written into once they are there.
_LASTING = ("data", "_deletions", "_versions", "_indices")


@dataclass(frozen=True)
class Fault:
    """A file that is not what it was.

    Parameters
    ----------
    path, found : which, and what is wrong with it.
    derived : whether it is made again from the others.
    """

    path: Path
    found: str
    derived: bool = False

    @property
    def remedy(self) -> str:
        """What puts it right."""
        return "run: conjoin clean" if self.derived else "run: conjoin fit"

    def error(self) -> StateError:
        """The refusal to go on with it."""
        return StateError(str(self.path), self.found, self.remedy)


def lasting(tables: Path, names: Collection[str]) -> Iterator[Path]:
    """The files of some tables, but for those the database writes anew."""
    for name in sorted(names):
        for part in _LASTING:
            for path in sorted((tables / f"{name}.lance" / part).rglob("*")):
                if path.is_file() and path.suffix != ".json":
                    yield path


def listed(
    folder: Path, names: Collection[str], known: Mapping[str, Any]
) -> dict[str, tuple[int, str]]:
    """Size and digest of each lasting file by its name; of those known as they were listed."""
    found = {}
    for path in lasting(folder / "tables", names):
        name = path.relative_to(folder).as_posix()
        size = path.stat().st_size
        told = known.get(name)
        found[name] = (size, told[1] if told else file_digest(path))
    return found


def differing(
    folder: Path, files: Mapping[str, Any], *, most: int | None = None, table: str = ""
) -> list[Fault]:
    """Files that are gone or not what was listed.

    Parameters
    ----------
    most : bytes above which only the size of a file is compared; all are read without it.
    table : only files of this table.
    """
    found = []
    for name, (size, mark) in files.items():
        if table and not name.startswith(f"tables/{table}.lance/"):
            continue
        path = within(folder, name)
        if not path.is_file():
            found.append(Fault(path, "is missing"))
        elif path.stat().st_size != size:
            found.append(Fault(path, f"has {path.stat().st_size} bytes of {size}"))
        elif (most is None or size <= most) and file_digest(path) != mark:
            found.append(Fault(path, "its bytes are not those that were written"))
    return found


def arrays_differing(folder: Path, marks: Mapping[str, str | None]) -> list[Fault]:
    """Safetensors files, by the marks their manifest keeps, that are not whole."""
    found = []
    for name, mark in marks.items():
        try:
            check_arrays(within(folder, name), mark)
        except StateError as error:
            found.append(Fault(folder / name, error.found))
    return found


def derived_differing(folder: Path, lists: Mapping[str, str]) -> list[Fault]:
    """Derived files that are not what was derived; ``lists`` are digests of inverted lists."""
    found = []
    for path in sorted((folder / "derived").rglob("*.safetensors")):
        try:
            check_arrays(path)
        except StateError as error:
            found.append(Fault(path, error.found, derived=True))
            continue
        about = path.with_suffix(".arrow")
        said = _said_of(path)
        if said is not None and (not about.exists() or file_digest(about) != said):
            found.append(Fault(about, "its bytes are not those that were written", derived=True))
    for path in sorted((folder / "derived").rglob("*.faiss")):
        mark = lists.get(path.name)
        if mark is not None and file_digest(path) != mark:
            found.append(Fault(path, "its bytes are not those that were written", derived=True))
    return found


def _said_of(path: Path) -> str | None:
    return map_arrays(path)[1].get("about")


def faults(folder: Path) -> list[Fault]:
    """Every file of an index, snapshot or store, compared with what it was when written.

    All bytes are read. What earlier versions wrote without digests is compared as far as it can
    be: whether it opens.

    Raises
    ------
    StateError : the manifest cannot be read, or was written by a newer conjoin.
    """
    raw = read_json(folder / "manifest.json")
    marks = dict(raw.get("marks", {}))
    if "history" not in raw:
        named = [file for _, file in raw.get("spaces", [])]
        named += [file for *_, file in raw.get("corrections", [])]
        return arrays_differing(folder, {**dict.fromkeys(named), **marks})
    lists = {}
    for version in raw["history"]:
        for told in version["engines"].values():
            if "digest" in told:
                lists[str(told["file"])] = str(told["digest"])
    return [
        *differing(folder, raw.get("files", {})), *arrays_differing(folder, marks),
        *derived_differing(folder, lists),
    ]  # fmt: skip
