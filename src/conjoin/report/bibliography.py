"""``papers.bib``: the one list of sources, read by the docs, the method pages and the tests."""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from conjoin.errors import ConjoinError, nearest

NAME = "papers.bib"

_ACCENTS = {
    '"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", "c": "\u0327",
    "v": "\u030c", "H": "\u030b", "=": "\u0304", "u": "\u0306", "k": "\u0328", "r": "\u030a",
}  # fmt: skip
_LETTERS = {"o": "ø", "O": "Ø", "ss": "ß", "l": "ł", "L": "Ł", "ae": "æ", "i": "i", "&": "&"}

_ACCENT = re.compile(r"\\(?:([\"'`^~=])\s*|([cvHukr])(?:\s+|(?=\{)))(?:\{\\?(\w)\}|\\?(\w))")
_LETTER = re.compile(r"\\(ss|ae|[oOlLi]|&)(?![A-Za-z])\s?")
_ENTRY = re.compile(r"@(\w+)\s*\{\s*([\w:.-]+)\s*,")
_FIELD = re.compile(r"\s*(\w+)\s*=\s*\{")


def path() -> Path:
    """Where ``papers.bib`` lies: in the installed package, or at the root of a checkout.

    Raises
    ------
    ConjoinError : it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package, package.parents[1]):
        if (folder / NAME).is_file():
            return folder / NAME
    raise ConjoinError(NAME, "is missing from the installation", "install conjoin again")


@cache
def papers() -> Mapping[str, Mapping[str, str]]:
    """The fields of every source by key; ``type`` holds the kind of entry."""
    return parse(path().read_text(encoding="utf-8"), NAME)


def parse(text: str, where: str = NAME) -> dict[str, dict[str, str]]:
    """Read entries ``@type{key, name={value}, …}``; lines starting with ``%`` are comments.

    Raises
    ------
    ConjoinError : an entry is not of that form, or a key comes twice.

    Examples
    --------
    >>> parse("@book{a1, title={On {X}}, year={1999}}")["a1"]["title"]
    'On X'
    """
    text = "\n".join("" if line.startswith("%") else line for line in text.splitlines())
    found: dict[str, dict[str, str]] = {}
    at = 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        head = _ENTRY.match(text, at)
        if head is None:
            raise _broken(text, at, where, "is no entry", "write @type{key, name={value}}")
        kind, key = head.groups()
        if key in found:
            raise _broken(text, at, where, f"key {key} comes twice", "keep one entry")
        fields, at = _fields(text, head.end(), where)
        found[key] = {"type": kind.lower(), **fields}
    return found


def _fields(text: str, at: int, where: str) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    while field := _FIELD.match(text, at):
        end = _closing(text, field.end(), where)
        fields[field.group(1).lower()] = plain(text[field.end() : end])
        at = end + 1
        rest = re.compile(r"\s*,").match(text, at)
        at = rest.end() if rest else at
    close = re.compile(r"\s*\}").match(text, at)
    if close is None:
        raise _broken(text, at, where, "is no field and no end", "write name={value}, … }")
    return fields, close.end()


def _closing(text: str, at: int, where: str) -> int:
    depth = 1
    for place in range(at, len(text)):
        if text[place - 1] != "\\" and text[place] in "{}":
            depth += 1 if text[place] == "{" else -1
            if depth == 0:
                return place
    raise _broken(text, at, where, "a brace is never closed", "close it")


def _broken(text: str, at: int, where: str, found: str, remedy: str) -> ConjoinError:
    line = text.count("\n", 0, at) + 1
    return ConjoinError(f"{where}:{line}", f"{text[at : at + 30]!r} {found}", remedy)


def _accented(match: re.Match[str]) -> str:
    mark, letter = match.group(1) or match.group(2), match.group(3) or match.group(4)
    return unicodedata.normalize("NFC", letter + _ACCENTS[mark])


def plain(value: str) -> str:
    r"""A field as people read it: accents as letters, braces gone, spaces single.

    >>> plain(r"Sch{\"o}nemann and {CLIP} -- a  test")
    'Schönemann and CLIP – a test'
    """
    value = _ACCENT.sub(_accented, value)
    value = _LETTER.sub(lambda match: _LETTERS[match.group(1)], value)
    value = value.replace("{", "").replace("}", "").replace("~", " ")
    return " ".join(value.replace("---", "—").replace("--", "–").split())


def entry(key: str) -> Mapping[str, str]:
    """The fields of one source.

    Raises
    ------
    ConjoinError : no source has that key.
    """
    known = papers()
    if key not in known:
        raise ConjoinError(NAME, f"no entry {key!r}", nearest(key, known))
    return known[key]


def cite(key: str) -> str:
    """One source as a line of plain text: authors, year, title, where it appeared.

    Examples
    --------
    >>> cite("hotelling1936cca")
    'Hotelling (1936). Relations Between Two Sets of Variates. Biometrika 28(3/4).'
    """
    fields = entry(key)
    venue = next((fields[n] for n in ("journal", "booktitle", "publisher", "howpublished")
                  if n in fields), "")  # fmt: skip
    if "volume" in fields:
        venue += f" {fields['volume']}" + (f"({fields['number']})" if "number" in fields else "")
    parts = [f"{authors(fields.get('author', ''))} ({fields.get('year', 'n.d.')})"]
    parts += [fields.get("title", key), venue, link(fields)]
    return " ".join(part if part[-1] in ".?!" else f"{part}." for part in parts if part)


def link(fields: Mapping[str, str]) -> str:
    """Where a source is found, if its entry says."""
    if "doi" in fields:
        return f"https://doi.org/{fields['doi']}"
    if "eprint" in fields:
        return f"arXiv:{fields['eprint']}"
    return fields.get("url", "")


def authors(value: str) -> str:
    """Family names: all of up to three, the first and 'et al.' of more."""
    names = [name.split(",")[0].strip() for name in value.split(" and ") if name.strip()]
    if len(names) > 3:
        return f"{names[0]} et al."
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
