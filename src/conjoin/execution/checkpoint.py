"""What a long job has finished, on disk, so that a job killed at any point goes on from there."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conjoin.errors import StateError
from conjoin.storage.digest import digest
from conjoin.storage.files import FORMAT, read_json, write_json


class Kept:
    """Finished parts of one job, each under a hash of what decides it.

    Parameters
    ----------
    folder : where they lie; ``None`` keeps nothing.

    Examples
    --------
    >>> Kept().value(["ridge", 0], lambda: [0.5])
    [0.5]
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder

    def value(self, key: Any, make: Callable[[], Any]) -> Any:
        """A JSON-able value, read back where it was made before."""
        if self.folder is None:
            return make()
        path = self.folder / f"{digest(key)}.json"
        try:
            if path.exists():
                return read_json(path, ("value",))["value"]
        except StateError:
            pass  # torn by another program, for writes are atomic: it is made again
        made = make()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"version": FORMAT, "value": made})
        return made

    def file(
        self, key: Any, make: Callable[[], Any], load: Callable[[Path], Any],
        save: Callable[[Any, Path], None],
    ) -> Any:  # fmt: skip
        """The same for what has a file format of its own."""
        if self.folder is None:
            return make()
        path = self.folder / f"{digest(key)}.safetensors"
        try:
            if path.exists():
                return load(path)
        except StateError:
            pass
        made = make()
        self.folder.mkdir(parents=True, exist_ok=True)
        save(made, path)
        return made

    def clear(self) -> None:
        """Forget all: the job is done and what it made lies elsewhere."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
