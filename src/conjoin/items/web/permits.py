"""What a table's own cells name outside its folder, so that `conjoin init` may allow it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from conjoin.errors import CellError
from conjoin.items.cells import is_missing
from conjoin.items.web.network import is_public
from conjoin.items.web.reach import Reach, is_address

#: Folders that are listed each; more are drawn together to those that hold them.
_MOST = 8
#: Ends of names that no resolver of the open internet knows.
_PRIVATE = (".local", ".localhost", ".internal", ".lan", ".intranet", ".home.arpa")


def permits(cells: Iterable[Any], base: Path) -> tuple[list[str], list[str]]:
    """Folders outside a table's own that its cells name, and hosts of private networks.

    Only files that are there count, and only hosts whose address or name says what they are:
    nothing is asked of the network.

    Parameters
    ----------
    cells : values of columns of pictures, sounds and stored arrays.
    base : the table's folder.
    """
    reach, folders, hosts = Reach(base), set(), set()
    for text in _texts(cells):
        if is_address(text):
            host = _private_host(text)
            hosts |= {host} if host else set()
            continue
        try:
            reach.file(text, base)
        except CellError:
            path = _outside(text, base)
            folders |= {os.path.dirname(os.path.realpath(path))} if path else set()
    return _drawn_together(folders), sorted(hosts)


def _texts(cells: Iterable[Any]) -> Iterator[str]:
    for cell in cells:
        if isinstance(cell, str):
            yield cell.strip()
        elif isinstance(cell, list | tuple):
            yield from _texts(cell)
        elif isinstance(cell, Mapping) and is_missing(cell.get("bytes")):
            yield from _texts([cell.get("path")])


def _outside(text: str, base: Path) -> Path | None:
    try:
        path = Reach().file(text, base)
    except CellError:
        return None
    return path if os.path.isfile(path) else None


def _private_host(url: str) -> str | None:
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError:
        return None
    try:
        return None if is_public(host) else host
    except ValueError:  # a name
        plain = bool(host) and "." not in host
        return host if plain or host.endswith(_PRIVATE) else None


def _drawn_together(folders: set[str]) -> list[str]:
    """The same folders without those inside another; where many, what holds them."""
    kept = [f for f in folders if not any(f.startswith(os.path.join(o, "")) for o in folders)]
    depth = max((f.count(os.sep) for f in kept), default=0)
    while len(kept) > _MOST and depth > 2:
        depth -= 1
        shorter = {os.sep.join(f.split(os.sep)[: depth + 1]) for f in kept}
        kept = [f for f in shorter if not any(f.startswith(os.path.join(o, "")) for o in shorter)]
    return sorted(Path(folder).as_posix() for folder in kept)
