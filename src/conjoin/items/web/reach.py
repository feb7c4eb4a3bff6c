"""Which files and addresses the cells of a table may name, and the file a text stands for."""

import base64
import binascii
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from conjoin.errors import CellError, Unreachable
from conjoin.items.web.web import Web

#: Schemes that name a place we do not go to, and what to do instead.
_ELSEWHERE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


@dataclass(frozen=True)
class Reach:
    """What cells may name.

    Parameters
    ----------
    root : folder whose files they may name; any file where ``None``.
    folders : other folders whose files they may name.
    hosts : hosts of this machine and of private networks that they may name; ``*`` is all.
    """

    root: Path | None = None
    folders: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = ("*",)
    web: Web = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "web", Web(hosts=self.hosts))

    @cached_property
    def _roots(self) -> tuple[str, ...]:
        roots = () if self.root is None else (self.root, *self.folders)
        return tuple(os.path.join(os.path.realpath(root), "") for root in roots)

    def admits(self, path: Path) -> bool:
        """Whether a file lies, its links followed, in a folder that cells may name."""
        return not self._roots or os.path.realpath(path).startswith(self._roots)

    def file(self, text: str, base: Path) -> Path:
        """The file a cell names.

        Raises
        ------
        Unreachable : it lies where cells of this table may not reach.
        CellError : it is no path.
        """
        path = locate(text, base)
        if not self.admits(path):
            raise Unreachable(
                f"{path} lies outside {self.root}: refused unless conjoin.toml has "
                f'folders = ["{Path(os.path.realpath(path)).parent.as_posix()}"] under [items]'
            )
        return path


def is_address(text: str) -> bool:
    """Whether a text is an ``http`` or ``https`` URL."""
    return text[:8].lower().startswith(("http://", "https://"))


def inside(text: str) -> bytes | None:
    """The bytes of a ``data:`` URI; ``None`` where a text is none.

    Raises
    ------
    CellError : it is torn.

    Examples
    --------
    >>> inside("data:text/plain;base64,aGk="), inside("data:,hi"), inside("a.png")
    (b'hi', b'hi', None)
    """
    if text[:5].lower() != "data:":
        return None
    head, comma, body = text[5:].partition(",")
    if not comma:
        raise CellError("a data: URI without a comma")
    if not head.rstrip().lower().endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        packed = unquote(body).translate({ord(c): None for c in " \r\n\t"})
        packed = packed.replace("-", "+").replace("_", "/")
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise CellError("a data: URI that is not base64") from None


def locate(text: str, base: Path) -> Path:
    r"""The file a text names, in whichever way it was written.

    As it stands where that is there; else without blanks around it, with ``\`` for ``/``, with
    ``%20`` for a blank, or with its accents composed or decomposed. ``file:`` URLs and ``~`` are
    understood. Where none is there, the likeliest is given; whoever reads it finds it missing.

    Raises
    ------
    CellError : it names a place that is no file, or cannot be a path.
    """
    if "\x00" in text:
        raise CellError("a path with a NUL in it")
    if text[:5].lower() == "file:":
        text = _of_url(text)
    elif _ELSEWHERE.match(text):
        scheme = text.partition(":")[0]
        raise CellError(f"{scheme}:// is not read: fetch the files, or give http(s) addresses")
    first = (base / os.path.expanduser(text)).absolute()
    for form in _forms(text):
        path = (base / form).absolute()
        if os.path.lexists(path):
            return path
    if os.name != "nt" and "\\" in text and "/" not in text:
        return (base / text.replace("\\", "/")).absolute()
    return first


def _of_url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise CellError(f"{text[:80]!r} is no file: URL") from None
    if parts.netloc not in ("", "localhost"):
        raise CellError(f"a file: URL of another machine, {parts.netloc}: mount it, give its path")
    return url2pathname(parts.path)


def _forms(text: str) -> Iterator[str]:
    """Ways in which a text may have been meant, the plainest first."""
    seen = set()
    for bare in (text, text.strip()):
        for spelt in (bare, bare.replace("\\", "/"), unquote(bare)):
            accents = (unicodedata.normalize(form, spelt) for form in ("NFC", "NFD"))
            for form in (spelt, os.path.expanduser(spelt), *accents):
                if form not in seen:
                    seen.add(form)
                    yield form


def missing(path: Path) -> str:
    """Why a file is not there, as far as can be told."""
    twin = next(
        (p for p in (path.with_suffix(f(path.suffix)) for f in (str.lower, str.upper))
         if path.suffix and p != path and os.path.lexists(p)), None,
    )  # fmt: skip
    if twin is not None:
        return f"{path}: no such file; there is {twin.name}"
    if not path.parent.is_dir():
        return f"{path}: no such file; its folder is not there"
    return f"{path}: no such file"
