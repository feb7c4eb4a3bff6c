"""What a text file is encoded in: UTF-8 where it can be, else a guess that is said."""

import codecs
import importlib.util
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from conjoin.errors import ConjoinError

#: Bytes that a guess is made from.
HEAD = 2**18
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",  # begins the mark of UTF-32, which is looked for before
    codecs.BOM_UTF16_BE: "utf-16",
}
#: What the bytes of Central European letters become where they are read as Western ones.
_ODD = frozenset("¹³¿¼¾½£¥¯±¶¤§¢¦¬¸÷×")
_OTHERS = [
    "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874", "koi8_r",
    "cp932", "euc_jp", "gb18030", "big5", "cp949",
]  # fmt: skip
_WEST = frozenset({"cp1250", "cp1254", "cp1257"})


def encoding_of(data: bytes) -> str | None:
    """The encoding that a byte-order mark or the bytes themselves settle; ``None`` where neither.

    Parameters
    ----------
    data : the start of a file; a letter cut off at its end is no fault.
    """
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return name
    if len(data) > 3 and data.count(0) > len(data) / 4:
        odd, even = data[1::2].count(0), data[::2].count(0)
        if max(odd, even) > 4 * min(odd, even):
            return "utf-16-le" if odd > even else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return None
    return "utf-8"


def guess_encoding(data: bytes, where: str) -> str:
    """The likeliest encoding of bytes that are not UTF-8.

    Western text (mostly ASCII letters, with accents) is taken for Windows-1252, the superset of
    Latin-1 that programs write. Other scripts are told apart by ``charset-normalizer``, where it is
    installed.

    Raises
    ------
    ConjoinError : nothing fits, or it takes the library to tell.

    Examples
    --------
    >>> guess_encoding("un café noir".encode("latin-1"), "a.csv")
    'cp1252'
    """
    western = _western(data)
    if western and not _odd(data):
        return "cp1252"
    if importlib.util.find_spec("charset_normalizer") is None:
        raise ConjoinError(
            where, "is not UTF-8",
            'save it as UTF-8, or run: pip install "conjoin[data]", which tells encodings apart',
        )  # fmt: skip
    import charset_normalizer

    best = charset_normalizer.from_bytes(data[:HEAD], cp_isolation=_OTHERS).best()
    found = None if best is None else best.encoding
    if found is None or (western and found not in _WEST):
        found = "cp1252" if western else found
    if found is None:
        raise ConjoinError(where, "is in no encoding that is known", "save it as UTF-8")
    return found


def decode(data: bytes, where: str) -> tuple[str, str]:
    """The text of a small file, and what it was encoded in.

    Raises
    ------
    ConjoinError : as :func:`guess_encoding`.
    """
    found = encoding_of(data) or guess_encoding(data, where)
    try:
        return data.decode(found), found
    except UnicodeError:
        found = guess_encoding(data, where)
        return data.decode(found, errors="replace"), found


def lines_at_fault(path: Path) -> tuple[bytes, int, int]:
    """Lines of a file that are not UTF-8, the number of the first, and how many others are not
    plain ASCII and UTF-8.
    """
    bad, first, good, size = [], 0, 0, 0
    with pa.input_stream(str(path), compression="detect") as stream:
        number, rest = 0, b""
        while block := stream.read(2**20):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                number += 1
                fine = _fine(line)
                good += fine == 1
                if fine == 0:
                    first = first or number
                    size += len(line)
                    bad += [line] if size < HEAD else []
        if _fine(rest) == 0:
            first, bad = first or number + 1, [*bad, rest]
    return b"\n".join(bad), first, good


def _fine(line: bytes) -> int:
    """0 for what is not UTF-8, 1 for UTF-8 beyond ASCII, 2 for ASCII."""
    if line.isascii():
        return 2
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return 0
    return 1


def _western(data: bytes) -> bool:
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    accents = sum(c.isalpha() and not c.isascii() for c in text)
    letters = sum(c.isalpha() and c.isascii() for c in text)
    return accents <= 0.4 * letters


def _odd(data: bytes) -> bool:
    """Whether signs stand where letters would, read as Western text."""
    text = data.decode("cp1252")
    accents = sum(c.isalpha() and not c.isascii() for c in text)
    odd = sum(b in _ODD and a.isalpha() for a, b in pairwise(text))
    return odd > 0.1 * (accents + odd)
