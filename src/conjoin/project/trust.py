"""Whether a workspace's own code may run: asked once for a workspace that was not made here.

An encoder ``python:module:function`` is code that lies in, or is named by, a workspace. Which
workspaces may run theirs is noted outside of them, in ``trusted.json`` of the user's data folder.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from conjoin.errors import ConjoinError
from conjoin.storage.files import FORMAT, expanded, read_json, write_json

#: Schemes of encoders that run code of the workspace.
CODE = ("python",)
#: Environment variable that trusts every workspace, for containers and tests; its value is ``1``.
EVERY = "CONJOIN_TRUST_CODE"
#: Entry of a workspace that ``conjoin init`` made here: whatever it names may run.
MADE = "*"


def runs_code(uri: str) -> bool:
    """Whether an encoder's URI names code.

    >>> runs_code("python:mine:f?kind=image"), runs_code("builtin:text")
    (True, False)
    """
    return uri.partition(":")[0] in CODE


def place() -> Path:
    """The note, in ``CONJOIN_DATA``, ``$XDG_DATA_HOME/conjoin`` or ``~/.local/share/conjoin``."""
    own, base = os.environ.get("CONJOIN_DATA"), os.environ.get("XDG_DATA_HOME")
    shared = expanded(base) if base else Path.home() / ".local" / "share"
    return (expanded(own) if own else shared / "conjoin") / "trusted.json"


def trusted(folder: Path) -> list[str]:
    """The URIs that a workspace may run; :data:`MADE` for all."""
    path = place()
    if not path.exists():
        return []
    known = read_json(path, ["workspaces"])["workspaces"]
    return [str(uri) for uri in known.get(str(folder.resolve()), [])]


def trust(folder: Path, uris: Sequence[str]) -> None:
    """Note that a workspace may run these."""
    path = place()
    known = dict(read_json(path, ["workspaces"])["workspaces"]) if path.exists() else {}
    own = str(folder.resolve())
    known[own] = sorted({*known.get(own, []), *uris})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"version": FORMAT, "workspaces": known})


def require(folder: Path, uri: str) -> None:
    """Let a workspace's code run, or ask; once for each encoder.

    Raises
    ------
    ConjoinError : it was not made here, and nobody is there to say yes, or the answer was no.
    """
    if not runs_code(uri) or os.environ.get(EVERY) == "1" or {MADE, uri} & set(trusted(folder)):
        return
    remedy = f"look at the code, then run: conjoin trust -w {shlex.quote(str(folder))}"
    said = f"encoder {uri}", "is code of a workspace that was not made here"
    if not sys.stdin.isatty():
        raise ConjoinError(*said, remedy)
    import typer

    if not typer.confirm(f"{' '.join(said)}; run it, now and later?", err=True):
        raise ConjoinError(*said, remedy)
    trust(folder, [uri])
