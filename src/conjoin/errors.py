"""The one kind of error a user meets: where, what was found, and the remedy."""

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class ConjoinError(ValueError):
    """Bad input, said in one line.

    Parameters
    ----------
    where : the file, column or argument at fault.
    found : what was found there.
    remedy : what to do about it.
    """

    exit_code = 2

    def __init__(self, where: str, found: str, remedy: str):
        super().__init__(f"{where}: {found}; {remedy}".replace("\n", " "))
        self.where, self.found, self.remedy = where, found, remedy

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.where, self.found, self.remedy)


class FrameError(ConjoinError):
    """Vectors of different frames were about to be compared."""


class StateError(ConjoinError):
    """A state file is corrupt, or newer than this version reads."""


class FewPairs(ConjoinError):
    """A table pairs too few rows for anything to be fitted."""


class MissingDependency(ConjoinError, ImportError):
    """An optional dependency is not installed."""


class CellError(ValueError):
    """One cell could not be read; its text is the reason a user will see."""


class Unreachable(CellError):
    """One cell cannot be read now, which says nothing of what it holds.

    A drive that is away, a host that is silent, a permission that is missing. A vector made of
    the cell earlier stands until it is known to be of something else.
    """


def one_line(error: BaseException, most: int = 160) -> str:
    r"""What an exception says, on one line of at most ``most`` letters.

    >>> one_line(ValueError("two\n lines"))
    'two lines'
    """
    try:
        said = str(error)
    except Exception:  # an exception whose text cannot be made
        said = ""
    return " ".join(said.split())[:most] or type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names are near to a misspelt one, or list the first of them.

    >>> nearest("txet", ["text", "image"])
    'did you mean text?'
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"known are {', '.join(names[:12])}" if names else "none is known"


def optional(module: str, extra: str) -> ModuleType:
    """Import an optional dependency at its point of use, or name the line that installs it.

    Raises
    ------
    MissingDependency : the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name != module.split(".")[0]:
            raise
        raise MissingDependency(
            module, "is not installed", f'run: pip install "conjoin[{extra}]"'
        ) from error
